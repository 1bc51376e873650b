//! What a session says to the monitor and to the gate, and they to it.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::forward::{ForwardAnswer, ForwardEvent, ForwardOrder};
use super::{ChannelNumber, ConnectionId};
use crate::policy::Permits;
use crate::policy::forwarding::ForwardingRules;
use crate::sys::account::Account;
use crate::sys::pty::WindowSize;
use crate::sys::spawn::ProgramLimits;

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
    pub permits: Permits,
    /// The only command there is, whatever is asked for (force-command).
    pub force_command: Option<String>,
    /// What all sessions get.
    pub config: SessionConfig,
}

/// What the configuration gives to every session.
#[derive(Clone, Serialize, Deserialize)]
pub struct SessionConfig {
    /// What may be forwarded, if forwarding is permitted at all.
    pub forwarding: ForwardingRules,
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
    /// The session cannot begin, or not go on, and ends.
    Failed {
        /// Why.
        why: String,
    },
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
