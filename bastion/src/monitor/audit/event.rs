//! The events, and the fields of each.

use std::net::SocketAddr;

use serde::Serialize;

use crate::ipc::{
    CertificateRecord, ChannelNumber, ConnectionId, ForwardEvent, GrantRequest, ProgramEnd,
    ProgramKind, RefusalRecord,
};
use crate::monitor::grants::Outcome;
use crate::sys::process::{self, Ended};
use crate::sys::sandbox::Fence;

/// What is written down. Each variant's name, in snake_case, is the line's `event`.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[expect(
    missing_docs,
    reason = "what each is, bastion/README.md says; a test compares"
)]
pub enum Event {
    HostKey {
        file: String,
        made: bool,
        fingerprint: String,
    },
    Listening {
        listening: Vec<SocketAddr>,
        fence: Fence,
    },
    TrustedKeysRead {
        file: String,
        fingerprints: Vec<String>,
    },
    TrustedKeysUnusable {
        file: String,
        error: String,
    },
    RevokedKeysRead {
        file: String,
        entries: usize,
    },
    RevokedKeysUnusable {
        file: String,
        error: String,
    },
    ConfigurationRead {
        file: String,
        needs_restart: Vec<&'static str>,
    },
    ConfigurationUnusable {
        file: String,
        error: String,
    },
    ConnectionOpened {
        connection: ConnectionId,
        peer: SocketAddr,
    },
    Login(Box<Login>),
    SessionOpened {
        connection: ConnectionId,
        account: String,
        pid: u32,
    },
    SessionFailed {
        connection: ConnectionId,
        error: String,
    },
    SessionOverdue {
        connection: ConnectionId,
        why: String,
    },
    SessionClosed {
        connection: ConnectionId,
        account: String,
        how: String,
    },
    ProgramStarted {
        connection: ConnectionId,
        channel: ChannelNumber,
        kind: ProgramKind,
        pty: bool,
        pid: u32,
    },
    ProgramNotStarted {
        connection: ConnectionId,
        channel: ChannelNumber,
        kind: ProgramKind,
        reason: String,
    },
    ProgramEnded {
        connection: ConnectionId,
        channel: ChannelNumber,
        #[serde(flatten)]
        end: End,
    },
    ForwardConnected {
        connection: ConnectionId,
        channel: ChannelNumber,
        destination: String,
        address: Option<SocketAddr>,
    },
    ForwardListening {
        connection: ConnectionId,
        at: String,
    },
    ForwardProhibited {
        connection: ConnectionId,
        reason: String,
    },
    ChannelClosed {
        connection: ConnectionId,
        channel: ChannelNumber,
        received: u64,
        sent: u64,
    },
    ConnectionClosed {
        connection: ConnectionId,
        reason: String,
        received: u64,
        sent: u64,
    },
    BannerUnusable {
        file: String,
        error: String,
    },
    GateEnded {
        how: String,
    },
    GateSays {
        line: String,
    },
    Stopping {
        grace_seconds: u64,
    },
    Stopped,
}

/// A decision on a login.
#[derive(Debug, Serialize)]
pub struct Login {
    verdict: &'static str,
    /// Who decided: the monitor, whose word counts, or the gate, which may refuse but not let in.
    by: &'static str,
    #[serde(flatten)]
    who: Who,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Reason>,
    #[serde(flatten)]
    certificate: Option<CertificateRecord>,
}

#[derive(Debug, Serialize)]
struct Who {
    connection: ConnectionId,
    #[serde(skip_serializing_if = "Option::is_none")]
    peer: Option<SocketAddr>,
    login: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<String>,
}

#[derive(Debug, Serialize)]
struct Reason {
    code: String,
    detail: String,
}

/// How a program ended.
#[derive(Debug, Serialize)]
#[serde(untagged)]
#[expect(missing_docs, reason = "as above")]
pub enum End {
    Status { status: u32 },
    Signal { signal: String, core_dumped: bool },
}

impl From<ProgramEnd> for End {
    fn from(end: ProgramEnd) -> Self {
        match end {
            ProgramEnd::Status(status) => Self::Status { status },
            ProgramEnd::Signal { name, core_dumped } => Self::Signal {
                signal: name,
                core_dumped,
            },
        }
    }
}

impl Event {
    /// The monitor's decision on a request.
    pub(in crate::monitor) fn login(request: &GrantRequest, outcome: &Outcome) -> Self {
        let (verdict, account, reason) = match &outcome.verdict {
            Ok(account) => ("accepted", Some(account.clone()), None),
            Err(why) => {
                let reason = Reason {
                    code: why.code().into(),
                    detail: why.to_string(),
                };
                ("refused", None, Some(reason))
            }
        };
        Self::Login(Box::new(Login {
            verdict,
            by: "monitor",
            who: Who {
                connection: request.connection,
                peer: Some(request.peer),
                login: request.login_name.clone(),
                account,
                client: Some(request.client_version.clone()),
            },
            reason,
            certificate: outcome.certificate.clone(),
        }))
    }

    /// What a session says about forwarding.
    pub(in crate::monitor) fn forward(connection: ConnectionId, event: ForwardEvent) -> Self {
        match event {
            ForwardEvent::Connected {
                channel,
                destination,
                address,
            } => Self::ForwardConnected {
                connection,
                channel,
                destination,
                address,
            },
            ForwardEvent::Listening { at } => Self::ForwardListening { connection, at },
            ForwardEvent::Prohibited { reason } => Self::ForwardProhibited { connection, reason },
        }
    }

    /// A refusal by the gate, which the monitor was not asked about.
    pub(in crate::monitor) fn refused_by_gate(
        connection: ConnectionId,
        login: String,
        refusal: RefusalRecord,
    ) -> Self {
        Self::Login(Box::new(Login {
            verdict: "refused",
            by: "gate",
            who: Who {
                connection,
                peer: None,
                login,
                account: None,
                client: None,
            },
            reason: Some(Reason {
                code: refusal.code,
                detail: refusal.detail,
            }),
            certificate: refusal.certificate,
        }))
    }
}

/// How a process ended, for people.
pub(in crate::monitor) fn describe(ended: Ended) -> String {
    match ended {
        Ended::Exited(status) => format!("it exited with status {status}"),
        Ended::Killed(libc::SIGSYS, _) => {
            "it made a system call that its fence forbids, and was killed".into()
        }
        Ended::Killed(signal, _) => format!("it was killed by {}", process::signal_name(signal)),
    }
}
