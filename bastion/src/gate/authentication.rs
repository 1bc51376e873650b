//! Who may come in (RFC 4252): the gate's own look at a request, before the monitor's.

use std::time::Instant;

use russh::server::Auth;

use super::handler::{ConnectionHandler, State};
use super::transport;
use crate::ipc::{FromGate, GrantRequest, RefusalRecord, Verdict, bounded};
use crate::policy::lifetime::LoggedIn;
use crate::policy::{self, AuthRequest, Decision, LoginRequest, Proof, UserCertificate};
use crate::sys::clock;

impl ConnectionHandler {
    /// Whether so much was refused already that no more is looked at. A query that was answered
    /// well is no failure, as at sshd.
    pub(super) fn has_failed_too_often(&self) -> bool {
        self.failures >= self.terms.limits.max_auth_tries
    }

    pub(super) fn count_failure(&mut self) {
        self.failures = self.failures.saturating_add(1);
    }

    /// A query whether a certificate would do. Those whose authority is trusted may sign, so that
    /// their holders can be told what else is wrong.
    pub(super) fn would_do(&mut self, login_name: &str, certificate: &[u8]) -> bool {
        let Ok(certificate) = UserCertificate::parse(certificate) else {
            return false;
        };
        let request = AuthRequest {
            login_name,
            source: self.peer.ip(),
            now: clock::epoch(),
            security_key: None,
        };
        let would_do = match policy::authorize(&certificate, &request, &self.gate.rules()) {
            Ok(_) => true,
            Err(refusal) => refusal.disclosed().is_some(),
        };
        self.offered = would_do.then_some(certificate);
        would_do
    }

    /// A signed request: decided here, and again by the monitor.
    pub(super) async fn log_in(
        &mut self,
        login_name: &str,
        certificate: &[u8],
        proof: Proof,
    ) -> Auth {
        let request = LoginRequest {
            login_name,
            source: self.peer.ip(),
            certificate,
            proof: &proof,
        };
        let Decision {
            certificate: parsed,
            verdict,
        } = policy::decide_on_offered(
            self.offered.take(),
            &request,
            clock::epoch(),
            &self.gate.rules(),
        );
        let permissions = match verdict {
            Ok(permissions) => permissions,
            Err(refusal) => {
                let record = RefusalRecord::new(&refusal, parsed.as_ref());
                let (connection, login_name) = (self.id, bounded(login_name));
                let refused = FromGate::Refused {
                    connection,
                    login_name,
                    refusal: record,
                };
                self.gate.monitor.tell(refused).await;
                return self.refuse(refusal.disclosed());
            }
        };
        let request = GrantRequest {
            connection: self.id,
            peer: self.peer,
            local: self.local,
            client_version: bounded(String::from_utf8_lossy(&self.client.borrow())),
            login_name: login_name.to_owned(),
            certificate: certificate.to_owned(),
            proof,
        };
        match self.gate.monitor.grant(request).await {
            Some(Verdict::Granted) => {
                let logged_in = LoggedIn {
                    at: Instant::now(),
                    valid_before: permissions.valid_before(),
                };
                self.state = State::LoggedIn {
                    permissions: Box::new(permissions),
                    session: None,
                };
                self.logged_in.send_replace(Some(logged_in));
                Auth::Accept
            }
            Some(Verdict::Refused(sentence)) => self.refuse(sentence),
            None => Auth::Disconnect("bastion: nobody decides on logins for now".into()),
        }
    }

    /// Tells a certificate's holder why. Pomerium passes on the text of a DISCONNECT, and shows
    /// "Permission Denied" alone after a FAILURE; others may have another certificate to try.
    fn refuse(&self, sentence: Option<String>) -> Auth {
        match sentence {
            None => Auth::reject(),
            Some(sentence) if transport::is_envoy(&self.client.borrow()) => {
                Auth::Disconnect(format!("bastion: {sentence}"))
            }
            Some(sentence) => Auth::RejectWithBanner(format!("bastion: {sentence}\r\n")),
        }
    }
}

pub(super) fn too_many_failures() -> Auth {
    Auth::Disconnect("Too many authentication failures".into())
}
