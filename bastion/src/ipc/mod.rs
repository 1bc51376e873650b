//! Messages between the three parts, and the sockets that carry them.
//!
//! Each part treats what it reads as written by an enemy: the monitor what the gate says (it may
//! have been taken over from the network), the gate what a session says (the account may have
//! taken it over). Messages are whole packets of bounded length.

mod forward;
mod gate;
mod link;
mod session;

use serde::{Deserialize, Serialize};

pub use forward::{
    Destination, ForwardAnswer, ForwardEvent, ForwardFailure, ForwardOrder, ListenAddress,
    ListenerNumber, MAX_FORWARDS, MAX_LISTENERS, MAX_UNTAKEN,
};
pub use gate::{
    CertificateRecord, FromGate, GateSetup, GrantRequest, HostKey, Limits, RefusalRecord, ToGate,
    Verdict,
};
pub use link::{Link, LinkError, MAX_MESSAGE, decode};
pub use session::{
    FromSession, FromStarter, Program, ProgramEnd, ProgramKind, PtyRequest, SessionConfig,
    SessionEvent, SessionSetup, Started, ToSession, ToStarter,
};

/// A connection's number, counted by the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ConnectionId(pub u64);

/// A channel's number on its connection: the gate's side of RFC 4254 §5.1.
pub type ChannelNumber = u32;

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
