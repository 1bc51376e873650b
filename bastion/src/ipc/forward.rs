//! What gate and session say to each other about forwarding (RFC 4254 §7).

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::ChannelNumber;

/// A listener's number on its connection, counted by the gate.
pub type ListenerNumber = u32;

/// The most listeners of one connection.
pub const MAX_LISTENERS: usize = 64;
/// The most connections that are being made for one connection. The gate permits no more
/// forwarded channels of either kind at a time.
pub const MAX_FORWARDS: usize = 256;
/// So many connections that a session has accepted may wait for the gate to take them.
pub const MAX_UNTAKEN: usize = 16;

/// What the gate asks for.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ForwardOrder {
    /// Connect, for a channel that the client wants to open.
    Connect {
        /// The channel.
        channel: ChannelNumber,
        /// Where to.
        to: Destination,
    },
    /// Listen.
    Listen {
        /// The listener.
        listener: ListenerNumber,
        /// Where.
        at: ListenAddress,
    },
    /// Listen no more.
    CancelListen {
        /// The listener.
        listener: ListenerNumber,
    },
    /// An accepted connection was opened to the client, or refused by it: one more may be sent.
    Taken,
}

/// Where to connect to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Destination {
    /// direct-tcpip.
    Tcp {
        /// A name or an address.
        host: String,
        /// The port, as wide as the protocol has it.
        port: u32,
    },
    /// direct-streamlocal@openssh.com.
    Unix {
        /// The socket's path.
        path: String,
    },
}

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ListenAddress {
    /// tcpip-forward.
    Tcp {
        /// An address, or one of the words of RFC 4254 §7.1.
        host: String,
        /// The port; 0: any that is free.
        port: u32,
    },
    /// streamlocal-forward@openssh.com.
    Unix {
        /// The socket's path.
        path: String,
    },
    /// auth-agent-req@openssh.com: a socket for the account's eyes only, known to all programs
    /// that are started from now on.
    Agent,
}

/// What the session answers.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ForwardAnswer {
    /// Connected; the socket is beside this message.
    Connected {
        /// The channel.
        channel: ChannelNumber,
    },
    /// Not connected.
    NotConnected {
        /// The channel.
        channel: ChannelNumber,
        /// Why.
        failure: ForwardFailure,
    },
    /// It listens.
    Listening {
        /// The listener.
        listener: ListenerNumber,
        /// The port; 0 for Unix sockets.
        port: u16,
    },
    /// It does not listen.
    NotListening {
        /// The listener.
        listener: ListenerNumber,
        /// Why.
        failure: ForwardFailure,
    },
    /// It listens no more.
    Cancelled {
        /// The listener.
        listener: ListenerNumber,
    },
    /// Somebody has connected; the socket is beside this message.
    Accepted {
        /// To this listener.
        listener: ListenerNumber,
        /// At this port; 0 for Unix sockets.
        port: u16,
        /// Who, for TCP.
        originator: Option<SocketAddr>,
    },
}

/// Why nothing is forwarded: RFC 4254 §5.1's reasons, each with a sentence for the user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ForwardFailure {
    /// SSH_OPEN_ADMINISTRATIVELY_PROHIBITED
    Prohibited(String),
    /// SSH_OPEN_CONNECT_FAILED
    ConnectFailed(String),
    /// SSH_OPEN_RESOURCE_SHORTAGE
    Shortage(String),
}

impl ForwardFailure {
    /// The sentence.
    pub fn sentence(&self) -> &str {
        match self {
            Self::Prohibited(sentence)
            | Self::ConnectFailed(sentence)
            | Self::Shortage(sentence) => sentence,
        }
    }
}

/// What a session tells the monitor about forwarding, for the audit log.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ForwardEvent {
    /// A connection was made for a channel.
    Connected {
        /// The channel.
        channel: ChannelNumber,
        /// What was asked for.
        destination: String,
        /// Where that is, for TCP.
        address: Option<SocketAddr>,
    },
    /// It listens for the client.
    Listening {
        /// Where.
        at: String,
    },
    /// The account's rules or certificate do not permit it.
    Prohibited {
        /// Why.
        reason: String,
    },
}
