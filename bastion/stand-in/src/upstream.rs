//! Pomerium's SSH client towards its upstream, as strict: pomerium/envoy-custom
//! client_transport.cc and service_userauth.cc, `UpstreamUserAuthService`.

use crate::authentication::publickey_request;
use crate::message::{
    SSH_MSG_CHANNEL_OPEN, SSH_MSG_CHANNEL_OPEN_CONFIRMATION, SSH_MSG_DISCONNECT, SSH_MSG_EXT_INFO,
    SSH_MSG_SERVICE_ACCEPT, SSH_MSG_SERVICE_REQUEST, SSH_MSG_UNIMPLEMENTED,
    SSH_MSG_USERAUTH_BANNER, SSH_MSG_USERAUTH_FAILURE, SSH_MSG_USERAUTH_SUCCESS, SSH2_MSG_PING,
    SSH2_MSG_PONG,
};
use crate::strict::{ServerRules, Verdict};
use crate::transport::{self, Config, EXT_INFO, Event, Role, Transport};
use crate::wire::{Reader, Writer};
use bytes::Bytes;
use keys::certificate::CertificateError;
use ssh_key::{Algorithm, EcdsaCurve, PrivateKey};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncRead, AsyncWrite};

/// Why there is no connection to the upstream, or no longer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Of the transport, violations included.
    #[error(transparent)]
    Transport(#[from] transport::Error),
    /// SSH_MSG_USERAUTH_FAILURE, partial or not: there is no second try.
    #[error("the upstream refused the certificate")]
    PermissionDenied,
    /// No certificate could be made.
    #[error("certificate: {0}")]
    Certificate(#[from] CertificateError),
    /// No key could be made, or it cannot sign.
    #[error("key: {0}")]
    Key(#[from] ssh_key::Error),
}

/// Whom to be towards the upstream.
#[derive(Clone)]
pub struct Identity {
    /// The user and the only principal.
    pub login_name: String,
    /// Signs the certificate.
    pub user_ca_key: Arc<PrivateKey>,
    /// When the user was admitted, in seconds since 1970: the certificate's validity counts from
    /// there, not from when it is made.
    pub admitted: u64,
}

impl Identity {
    /// Admitted now.
    pub fn now(login_name: &str, user_ca_key: Arc<PrivateKey>) -> Self {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let login_name = login_name.to_owned();
        Self {
            login_name,
            user_ca_key,
            admitted: since.as_secs(),
        }
    }
}

/// What the upstream says that concerns others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// SSH_MSG_USERAUTH_BANNER, whole.
    Banner(Bytes),
    /// SSH_MSG_USERAUTH_SUCCESS.
    Success,
    /// SSH_MSG_DISCONNECT, whole; the connection is over.
    Disconnect(Bytes),
    /// Any message of the connection protocol, and pings.
    Message(Bytes),
    /// There is room again for more to send.
    Drained,
}

/// The connection to the upstream.
pub struct Upstream {
    transport: Transport,
    rules: ServerRules,
    identity: Identity,
    server_sig_algs: Vec<String>,
    answers_pings: bool,
}

impl Upstream {
    /// Versions, keys, EXT_INFO, and the request for `ssh-userauth`; the rest of the
    /// authentication happens in [`Upstream::next`].
    pub async fn connect<S>(stream: S, config: Config, identity: Identity) -> Result<Self, Error>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let mut transport = Transport::open(stream, Role::Client, config).await?;
        transport.exchange_keys().await?;
        let [_, ext_info_s] = EXT_INFO;
        if transport.peer_listed(ext_info_s) {
            transport.send(&ping_extension())?;
        }
        let service = Writer::message(SSH_MSG_SERVICE_REQUEST).string("ssh-userauth");
        transport.send(&service.into_vec())?;
        Ok(Self {
            transport,
            rules: ServerRules::new(),
            identity,
            server_sig_algs: Vec::new(),
            answers_pings: false,
        })
    }

    /// Whether the upstream advertised `ping@openssh.com`, so that pings go through to it.
    pub fn answers_pings(&self) -> bool {
        self.answers_pings
    }

    /// The transport below.
    pub fn transport(&mut self) -> &mut Transport {
        &mut self.transport
    }

    /// Whether there is room for more to send.
    pub fn has_room(&self) -> bool {
        self.transport.has_room()
    }

    /// Sends a message given in parts, the first one not empty.
    pub fn send_parts(&mut self, parts: &[&[u8]]) -> Result<(), Error> {
        // Messages that name a channel of ours give the server leave to speak about it.
        if let Some(&(SSH_MSG_CHANNEL_OPEN | SSH_MSG_CHANNEL_OPEN_CONFIRMATION)) =
            parts.first().and_then(|part| part.first())
        {
            self.rules.sent(&parts.concat());
        }
        Ok(self.transport.send_parts(parts)?)
    }

    /// What comes next from the upstream; see [`Transport::next`] for `read`.
    pub async fn next(&mut self, read: bool) -> Result<Heard, Error> {
        loop {
            let payload = match self.transport.next(read).await? {
                Event::Message(payload) => payload,
                Event::Keyed { .. } => continue,
                Event::Drained => return Ok(Heard::Drained),
            };
            if let Some(heard) = self.take(payload)? {
                return Ok(heard);
            }
        }
    }

    fn take(&mut self, payload: Bytes) -> Result<Option<Heard>, Error> {
        let number = payload.first().copied().unwrap_or_default();
        match self
            .rules
            .received(&payload)
            .map_err(transport::Error::from)?
        {
            Verdict::Pass => {}
            Verdict::Drop => {
                if number == SSH_MSG_EXT_INFO {
                    self.take_ext_info(&payload);
                }
                return Ok(None);
            }
            Verdict::Unimplemented => {
                let sequence = self.transport.last_received();
                let reply = Writer::message(SSH_MSG_UNIMPLEMENTED)
                    .u32(sequence)
                    .into_vec();
                self.transport.send(&reply)?;
                return Ok(None);
            }
        }
        match number {
            SSH_MSG_SERVICE_ACCEPT => {
                self.request_authentication()?;
                Ok(None)
            }
            SSH_MSG_USERAUTH_FAILURE => Err(Error::PermissionDenied),
            SSH_MSG_USERAUTH_BANNER => Ok(Some(Heard::Banner(payload))),
            SSH_MSG_USERAUTH_SUCCESS => Ok(Some(Heard::Success)),
            SSH_MSG_DISCONNECT => Ok(Some(Heard::Disconnect(payload))),
            SSH2_MSG_PING if !self.answers_pings => {
                let pong = payload.get(1..).unwrap_or_default();
                self.transport.send_parts(&[&[SSH2_MSG_PONG], pong])?;
                Ok(None)
            }
            SSH2_MSG_PONG if !self.answers_pings => Ok(None),
            _ => Ok(Some(Heard::Message(payload))),
        }
    }

    fn take_ext_info(&mut self, payload: &[u8]) {
        let mut reader = Reader::new(payload.get(1..).unwrap_or_default());
        // The last EXT_INFO counts alone (pomerium/envoy-custom `updatePeerExtInfo`).
        self.server_sig_algs.clear();
        self.answers_pings = false;
        for _ in 0..reader.u32().unwrap_or_default() {
            let (Ok(name), Ok(value)) = (reader.string(), reader.string()) else {
                return;
            };
            match name {
                b"server-sig-algs" => {
                    let list = String::from_utf8_lossy(value);
                    self.server_sig_algs = list.split(',').map(str::to_owned).collect();
                }
                b"ping@openssh.com" => self.answers_pings = true,
                _ => {}
            }
        }
    }

    /// One signed request with a fresh key and certificate: no `none`, no query.
    fn request_authentication(&mut self) -> Result<(), Error> {
        let (algorithm, kind) = key_parameters(&self.server_sig_algs);
        let key = PrivateKey::random(&mut rand::rng(), kind)?;
        let Identity {
            login_name,
            user_ca_key,
            admitted,
        } = &self.identity;
        let certificate = keys::pomerium::pomerium_certificate(
            login_name,
            key.public_key(),
            user_ca_key,
            *admitted,
        )?;
        let session_id = self.transport.session_id();
        let request = publickey_request(session_id, login_name, algorithm, &certificate, &key)
            .map_err(transport::Error::from)?;
        self.rules.sent(&request);
        Ok(self.transport.send(&request)?)
    }
}

/// EXT_INFO with `ping@openssh.com` in version "0".
pub fn ping_extension() -> Vec<u8> {
    let ext_info = Writer::message(SSH_MSG_EXT_INFO).u32(1);
    ext_info.string("ping@openssh.com").string("0").into_vec()
}

/// The first of these whose certificate or plain name is in server-sig-algs, or else Ed25519.
fn key_parameters(server_sig_algs: &[String]) -> (&'static str, Algorithm) {
    let ecdsa = |curve| Algorithm::Ecdsa { curve };
    let parameters = [
        ("ssh-ed25519-cert-v01@openssh.com", Algorithm::Ed25519),
        (
            "ecdsa-sha2-nistp256-cert-v01@openssh.com",
            ecdsa(EcdsaCurve::NistP256),
        ),
        (
            "ecdsa-sha2-nistp384-cert-v01@openssh.com",
            ecdsa(EcdsaCurve::NistP384),
        ),
        (
            "ecdsa-sha2-nistp521-cert-v01@openssh.com",
            ecdsa(EcdsaCurve::NistP521),
        ),
        (
            "rsa-sha2-512-cert-v01@openssh.com",
            Algorithm::Rsa { hash: None },
        ),
        (
            "rsa-sha2-256-cert-v01@openssh.com",
            Algorithm::Rsa { hash: None },
        ),
    ];
    let listed = |name: &str| {
        let plain = crate::authentication::plain_algorithm(name);
        server_sig_algs
            .iter()
            .any(|known| *known == name || *known == plain)
    };
    let default = ("ssh-ed25519-cert-v01@openssh.com", Algorithm::Ed25519);
    parameters
        .into_iter()
        .find(|(name, _)| listed(name))
        .unwrap_or(default)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_follows_server_sig_algs() {
        let rows: [(&str, &str); 6] = [
            ("", "ssh-ed25519-cert-v01@openssh.com"),
            ("x", "ssh-ed25519-cert-v01@openssh.com"),
            (
                "rsa-sha2-256,ssh-ed25519",
                "ssh-ed25519-cert-v01@openssh.com",
            ),
            (
                "rsa-sha2-256,rsa-sha2-512",
                "rsa-sha2-512-cert-v01@openssh.com",
            ),
            (
                "rsa-sha2-256-cert-v01@openssh.com",
                "rsa-sha2-256-cert-v01@openssh.com",
            ),
            (
                "ecdsa-sha2-nistp521",
                "ecdsa-sha2-nistp521-cert-v01@openssh.com",
            ),
        ];
        for (listed, expected) in rows {
            let listed: Vec<String> = listed.split(',').map(str::to_owned).collect();
            assert_eq!(key_parameters(&listed).0, expected, "{listed:?}");
        }
    }
}
