//! The audit log: every decision and every event of a session, one line each on standard output.
//!
//! What is written holds no secret: no private key, no signature, no command line, no value of a
//! variable. Texts that came from elsewhere are bounded and, as JSON, escaped.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::Serialize;
use serde_json::Value;

use super::MonitorError;
use super::grants::Outcome;
use crate::config::LogFormat;
use crate::ipc::{
    CertificateRecord, ChannelNumber, ConnectionId, ForwardEvent, GrantRequest, ProgramEnd,
    ProgramKind, RefusalRecord,
};
use crate::sys::process::Ended;
use crate::sys::sandbox::Fence;

/// The longest text of somebody else's in one field, in characters.
const MAX_TEXT: usize = 1024;
/// How long whoever reads the log may leave it unread.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is written down. Each variant's name, in snake_case, is the line's `event`.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[expect(
    missing_docs,
    reason = "the fields' names are the log's documentation, in the README"
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
    pub(super) fn login(request: &GrantRequest, outcome: &Outcome) -> Self {
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
    pub(super) fn forward(connection: ConnectionId, event: ForwardEvent) -> Self {
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
    pub(super) fn refused_by_gate(
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

/// The log at standard output.
pub(super) struct AuditLog {
    format: LogFormat,
}

impl AuditLog {
    pub(super) fn new(format: LogFormat) -> Self {
        Self { format }
    }

    pub(super) fn set_format(&mut self, format: LogFormat) {
        self.format = format;
    }

    /// Writes an event down. What cannot be written down must not happen: an error ends bastion.
    pub(super) fn record(&mut self, event: &Event) -> Result<(), MonitorError> {
        let line = self.line(event, SystemTime::now());
        write_all(io::stdout().as_fd(), line.as_bytes()).map_err(MonitorError::Audit)
    }

    fn line(&self, event: &Event, time: SystemTime) -> String {
        let time = humantime::format_rfc3339_millis(time).to_string();
        let mut fields = match serde_json::to_value(event) {
            Ok(Value::Object(fields)) => fields,
            // Not reached: every event is an object of plain fields.
            _ => serde_json::Map::new(),
        };
        fields.values_mut().for_each(shorten);
        match self.format {
            LogFormat::Json => {
                let mut line =
                    serde_json::Map::from_iter([("time".to_owned(), Value::String(time))]);
                line.append(&mut fields);
                format!("{}\n", Value::Object(line))
            }
            LogFormat::Text => {
                let event = fields.remove("event").unwrap_or_default();
                let name = event.as_str().unwrap_or_default().replace('_', " ");
                let rest: String = fields
                    .iter()
                    .map(|(name, value)| format!(" {name}={}", for_people(value)))
                    .collect();
                format!("{time} {name}{rest}\n")
            }
        }
    }
}

/// Writes what a pipe takes without waiting, piece by piece (pipe(7), PIPE_BUF): a reader who has
/// stopped must not stop us.
fn write_all(out: BorrowedFd<'_>, mut bytes: &[u8]) -> io::Result<()> {
    let limit = PollTimeout::try_from(PATIENCE).unwrap_or(PollTimeout::MAX);
    while !bytes.is_empty() {
        match poll(&mut [PollFd::new(out, PollFlags::POLLOUT)], limit) {
            Ok(0) => {
                let why = format!("nobody has read it for {} s", PATIENCE.as_secs());
                return Err(io::Error::new(io::ErrorKind::TimedOut, why));
            }
            Ok(_) => {}
            Err(Errno::EINTR) => continue,
            Err(error) => return Err(error.into()),
        }
        let (piece, _) = bytes.split_at(bytes.len().min(libc::PIPE_BUF));
        match nix::unistd::write(out, piece) {
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
            Err(Errno::EINTR | Errno::EAGAIN) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn for_people(value: &Value) -> String {
    match value.as_str() {
        Some(text)
            if !text.is_empty()
                && !text.contains(|c: char| c.is_whitespace() || c.is_control() || c == '"') =>
        {
            text.to_owned()
        }
        _ => value.to_string(),
    }
}

/// Cuts texts that are too long, at any depth.
fn shorten(value: &mut Value) {
    match value {
        Value::String(text) => {
            if let Some((at, _)) = text.char_indices().nth(MAX_TEXT) {
                text.truncate(at);
                text.push('…');
            }
            if text.contains(steers_a_terminal) {
                *text = text
                    .chars()
                    .map(|c| if steers_a_terminal(c) { '\u{fffd}' } else { c })
                    .collect();
            }
        }
        Value::Array(items) => {
            items.truncate(MAX_TEXT);
            items.iter_mut().for_each(shorten);
        }
        Value::Object(fields) => fields.values_mut().for_each(shorten),
        _ => {}
    }
}

/// What a terminal would obey, or show in another order, if somebody looks at the log. JSON escapes
/// none of these.
fn steers_a_terminal(character: char) -> bool {
    matches!(
        character,
        '\u{7f}'..='\u{9f}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    )
}

/// The clock, in seconds since the epoch.
pub(super) fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// How a process ended, for people.
pub(super) fn describe(ended: Ended) -> String {
    match ended {
        Ended::Exited(status) => format!("it exited with status {status}"),
        Ended::Killed(nix::sys::signal::Signal::SIGSYS, _) => {
            "it made a system call that its fence forbids, and was killed".into()
        }
        Ended::Killed(signal, _) => format!("it was killed by {signal}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(format: LogFormat, event: &Event) -> String {
        AuditLog::new(format).line(event, UNIX_EPOCH)
    }

    #[test]
    fn a_line_is_one_json_object_whatever_a_stranger_says() {
        let login_name = "a\nb\"\u{1b}[31m".to_owned();
        let refusal = RefusalRecord {
            code: "x".into(),
            detail: "y".repeat(5000),
            certificate: None,
        };
        let event = Event::refused_by_gate(ConnectionId(7), login_name, refusal);
        let line = line(LogFormat::Json, &event);
        assert_eq!(line.matches('\n').count(), 1);
        let value: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["event"], "login");
        assert_eq!(value["verdict"], "refused");
        assert_eq!(value["connection"], 7);
        assert!(value["reason"]["detail"].as_str().unwrap().chars().count() <= MAX_TEXT + 1);
    }

    #[test]
    fn text_is_for_people_and_still_one_line() {
        let how = "it was killed\nby SIGKILL".to_owned();
        let line = line(LogFormat::Text, &Event::GateEnded { how });
        assert_eq!(
            line,
            "1970-01-01T00:00:00.000Z gate ended how=\"it was killed\\nby SIGKILL\"\n"
        );
    }
}
