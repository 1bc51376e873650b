//! What the parts say to each other.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::forward::{ForwardAnswer, ForwardEvent, ForwardOrder};
use crate::policy::forwarding::ForwardingRules;
use crate::policy::startups::MaxStartups;
use crate::policy::{Proof, Rules, lifetime};
use crate::sys::account::Account;
use crate::sys::pty::WindowSize;
use crate::sys::sandbox::Fence;
use crate::sys::spawn::ProgramLimits;

/// The longest text of somebody else's in a message, in bytes: a stranger must not be able to make
/// a message too long to be sent.
const MAX_TEXT: usize = 1024;

/// A text, cut to what a message may hold.
pub fn bounded(text: impl Into<String>) -> String {
    let mut text = text.into();
    if text.len() > MAX_TEXT {
        let end = (0..=MAX_TEXT)
            .rev()
            .find(|&end| text.is_char_boundary(end))
            .unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    text
}

/// A connection's number, counted by the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ConnectionId(pub u64);

/// A channel's number on its connection: the gate's side of RFC 4254 §5.1.
pub type ChannelNumber = u32;

/// The first message to the gate, with the listening sockets beside it.
#[derive(Serialize, Deserialize)]
pub struct GateSetup {
    /// The server's keys, in the order of preference.
    pub host_keys: Vec<HostKey>,
    /// Who may log in, and to what at most.
    pub rules: Rules,
    /// Limits on what a client may use up.
    pub limits: Limits,
    /// The number of the first connection.
    pub first_connection: ConnectionId,
    /// Whom to become; absent when started without root.
    pub account: Option<Account>,
    /// An empty folder for a root.
    pub root: PathBuf,
}

/// A host key's private half, in the OpenSSH format.
#[derive(Serialize, Deserialize)]
pub struct HostKey(pub zeroize::Zeroizing<String>);

/// Limits that the gate keeps.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Limits {
    /// From accept to a successful login.
    pub login_grace_time: Duration,
    /// Refused requests and queries on one connection, together.
    pub max_auth_tries: u32,
    /// Connections at a time that are not logged in yet.
    pub max_startups: MaxStartups,
    /// The same, of one source network.
    pub per_source_max_startups: Option<usize>,
    /// Connections at a time.
    pub max_connections: usize,
    /// Open channels of one connection.
    pub max_sessions: usize,
    /// Bytes in one direction after which we ask for new keys.
    pub rekey_limit: u64,
    /// Time after which we ask for new keys; zero: never.
    pub rekey_interval: Duration,
    /// After this time without a sign of the client it is asked for one; zero: never.
    pub client_alive_interval: Duration,
    /// So many questions without an answer end the connection.
    pub client_alive_count_max: u32,
    /// Bytes that a client may send ahead on a channel.
    pub window: u32,
    /// How long a connection may go on.
    pub lifetime: lifetime::Limits,
    /// What everybody reads before the login.
    pub banner: Option<String>,
}

/// What the configuration permits, whatever a certificate says.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct SessionTerms {
    /// Terminals.
    pub pty: bool,
    /// TCP and Unix-socket forwarding.
    pub port_forwarding: bool,
    /// Forwarding of the user's authentication agent.
    pub agent_forwarding: bool,
}

/// What the gate says to the monitor.
#[derive(Serialize, Deserialize)]
pub enum FromGate {
    /// It serves; what of its fence stands.
    Ready(Fence),
    /// The answer to [`ToGate::AreYouAlive`].
    Alive,
    /// A connection was accepted.
    Opened {
        /// Its number.
        connection: ConnectionId,
        /// Where it comes from.
        peer: SocketAddr,
    },
    /// A user asks to be let in.
    Grant(Box<GrantRequest>),
    /// A connection that was let in opens its first channel: a session process is wanted.
    OpenSession {
        /// The connection.
        connection: ConnectionId,
    },
    /// The gate itself refused a user.
    Refused {
        /// The connection.
        connection: ConnectionId,
        /// The login name that was asked for.
        login_name: String,
        /// Why.
        refusal: RefusalRecord,
    },
    /// A channel is closed.
    ChannelClosed {
        /// The connection.
        connection: ConnectionId,
        /// The channel.
        channel: ChannelNumber,
        /// Bytes from the client to the program.
        received: u64,
        /// Bytes from the program to the client.
        sent: u64,
    },
    /// A connection has ended; all that it was granted is void.
    Closed {
        /// The connection.
        connection: ConnectionId,
        /// How.
        reason: String,
        /// Bytes read from the network.
        received: u64,
        /// Bytes written to the network.
        sent: u64,
    },
}

/// A user's request to be let in, as the gate passes it on.
#[derive(Serialize, Deserialize)]
pub struct GrantRequest {
    /// The connection.
    pub connection: ConnectionId,
    /// Its far end.
    pub peer: SocketAddr,
    /// Its near end.
    pub local: SocketAddr,
    /// What the client calls itself (RFC 4253 §4.2).
    pub client_version: String,
    /// The login name asked for.
    pub login_name: String,
    /// The certificate, as the client sent it.
    pub certificate: Vec<u8>,
    /// That the client holds the certificate's key.
    pub proof: Proof,
}

/// A refusal, for the audit log.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RefusalRecord {
    /// The reason's word.
    pub code: String,
    /// The reason with its evidence.
    pub detail: String,
    /// What the certificate says of itself, if one could be read.
    pub certificate: Option<CertificateRecord>,
}

/// A certificate, for the audit log.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CertificateRecord {
    /// Fingerprint of the key that signed it.
    pub ca: String,
    /// Fingerprint of the user's key.
    pub key: String,
    /// Its key id; empty from Pomerium.
    pub key_id: String,
    /// Its serial number.
    pub serial: u64,
    /// Its principals.
    pub principals: Vec<String>,
}

/// What the monitor says to the gate.
#[derive(Serialize, Deserialize)]
pub enum ToGate {
    /// The first message, with the listening sockets.
    Setup(Box<GateSetup>),
    /// Who may log in has changed.
    Rules(Box<Rules>),
    /// The limits of connections from now on.
    Limits(Box<Limits>),
    /// The answer to [`FromGate::Grant`].
    Verdict {
        /// The connection.
        connection: ConnectionId,
        /// Let in or not.
        verdict: Verdict,
    },
    /// The answer to [`FromGate::OpenSession`], with the session's socket where there is no error.
    Session {
        /// The connection.
        connection: ConnectionId,
        /// Why there is none.
        error: Option<String>,
    },
    /// Say so.
    AreYouAlive,
    /// Accept no more; end every connection within this time, then yourself.
    Drain(Duration),
}

/// Let in or not.
#[derive(Debug, Serialize, Deserialize)]
pub enum Verdict {
    /// Let in.
    Granted,
    /// Not; with the sentence that the user may read.
    Refused(Option<String>),
}

/// All that a session process needs to know, from the monitor.
#[derive(Serialize, Deserialize)]
pub struct SessionSetup {
    /// The account that it is to run as.
    pub account: Account,
    /// Whether it has to become that account; else it is that already.
    pub become_account: bool,
    /// The connection that it serves.
    pub connection: ConnectionId,
    /// The connection's far end.
    pub peer: SocketAddr,
    /// The connection's near end.
    pub local: SocketAddr,
    /// What the certificate and the configuration permit, both.
    pub terms: SessionTerms,
    /// What may be forwarded, if forwarding is permitted at all.
    pub forwarding: ForwardingRules,
    /// The only command there is, whatever is asked for (force-command).
    pub force_command: Option<String>,
    /// Subsystems by name, and the command of each.
    pub subsystem: BTreeMap<String, String>,
    /// Names of variables that the client may set; `*` and `?` are wildcards.
    pub accept_env: Vec<String>,
    /// Variables that every program gets.
    pub environment: Vec<(String, String)>,
    /// The group of terminals.
    pub terminal_group: Option<u32>,
    /// Forbid programs that gain privileges (sudo).
    pub no_new_privileges: bool,
    /// Let programs open network sockets.
    pub permit_network: bool,
    /// Show /etc/motd to login shells.
    pub print_motd: bool,
    /// What programs may use up.
    pub program_limits: ProgramLimits,
}

/// What a session tells the monitor, for the audit log.
#[derive(Debug, Serialize, Deserialize)]
pub enum SessionEvent {
    /// A program runs.
    Started {
        /// Its channel.
        channel: ChannelNumber,
        /// What was asked for.
        kind: ProgramKind,
        /// Whether it has a terminal.
        pty: bool,
        /// Its process.
        pid: u32,
    },
    /// A program could not be started.
    NotStarted {
        /// Its channel.
        channel: ChannelNumber,
        /// What was asked for.
        kind: ProgramKind,
        /// Why, as the user reads it.
        reason: String,
    },
    /// A program has ended.
    Ended {
        /// Its channel.
        channel: ChannelNumber,
        /// How.
        end: ProgramEnd,
    },
    /// Something was forwarded, or not.
    Forward(ForwardEvent),
}

/// What kind of program was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProgramKind {
    /// The login shell.
    Shell,
    /// A command.
    Exec,
    /// A subsystem.
    Subsystem,
    /// The certificate's force-command, in place of what was asked for.
    ForcedCommand,
}

/// What the gate says to a session.
#[derive(Debug, Serialize, Deserialize)]
pub enum ToSession {
    /// Start a program (RFC 4254 §6.5).
    Start {
        /// Its channel.
        channel: ChannelNumber,
        /// What to start.
        program: Program,
        /// The terminal to start it in.
        pty: Option<PtyRequest>,
        /// Variables that the client wants set.
        environment: Vec<(String, String)>,
    },
    /// The terminal's size has changed.
    WindowChange {
        /// Its channel.
        channel: ChannelNumber,
        /// The new size.
        size: WindowSize,
    },
    /// Send a signal to the program, by its name without SIG (RFC 4254 §6.9).
    Signal {
        /// Its channel.
        channel: ChannelNumber,
        /// The name.
        signal: String,
    },
    /// The channel is gone.
    HangUp {
        /// The channel.
        channel: ChannelNumber,
    },
    /// Forward something.
    Forward(ForwardOrder),
}

/// What to start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Program {
    /// The login shell.
    Shell,
    /// A command for the shell, as bytes: not every locale is UTF-8.
    Exec(Vec<u8>),
    /// A subsystem, by its name.
    Subsystem(String),
}

/// A terminal that is asked for (RFC 4254 §6.2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PtyRequest {
    /// The value of TERM.
    pub term: String,
    /// Its size.
    pub size: WindowSize,
    /// Encoded terminal modes, opcode and argument (RFC 4254 §8).
    pub modes: Vec<(u8, u32)>,
}

/// What a session says to the gate.
#[derive(Debug, Serialize, Deserialize)]
pub enum FromSession {
    /// The program runs; its descriptors are beside this message.
    Started {
        /// Its channel.
        channel: ChannelNumber,
        /// Which descriptors they are.
        started: Started,
    },
    /// The program could not be started.
    Failed {
        /// Its channel.
        channel: ChannelNumber,
        /// Why.
        reason: String,
    },
    /// The program has ended.
    Ended {
        /// Its channel.
        channel: ChannelNumber,
        /// How.
        end: ProgramEnd,
    },
    /// The answer to an order to forward something.
    Forward(ForwardAnswer),
}

/// The descriptors that come with a started program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Started {
    /// One: the terminal, to read and to write.
    Terminal,
    /// Three: to write its standard input, to read its standard output and error.
    Pipes,
}

/// How a program ended (RFC 4254 §6.10).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProgramEnd {
    /// With this status.
    Status(u32),
    /// Killed by this signal, named without SIG.
    Signal {
        /// The signal.
        name: String,
        /// Whether it left a core dump.
        core_dumped: bool,
    },
}

/// What the monitor says to the starter of sessions.
#[derive(Debug, Serialize, Deserialize)]
pub enum ToStarter {
    /// Start one; its links to the monitor and to the gate are beside this message.
    Start,
}

/// What the starter of sessions says to the monitor.
#[derive(Debug, Serialize, Deserialize)]
pub enum FromStarter {
    /// It runs, as a child of the monitor's.
    Started(u32),
    /// It could not be started.
    Failed(String),
}
