//! Messages between the three parts, and the sockets that carry them.
//!
//! Each part treats what it reads as written by an enemy: the monitor what the gate says (it may
//! have been taken over from the network), the gate what a session says (the account may have
//! taken it over). Messages are whole packets of bounded length.

mod forward;
mod link;
mod message;

pub use forward::{
    Destination, ForwardAnswer, ForwardEvent, ForwardFailure, ForwardOrder, ListenAddress,
    ListenerNumber, MAX_FORWARDS, MAX_LISTENERS, MAX_UNTAKEN,
};
pub use link::{Link, LinkError, MAX_MESSAGE, decode};
pub use message::{
    CertificateRecord, ChannelNumber, ConnectionId, FromGate, FromSession, FromStarter, GateSetup,
    GrantRequest, HostKey, Limits, Program, ProgramEnd, ProgramKind, PtyRequest, RefusalRecord,
    SessionEvent, SessionSetup, SessionTerms, Started, ToGate, ToSession, ToStarter, Verdict,
    bounded,
};
