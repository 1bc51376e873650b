//! Forwarding (RFC 4254 §7), the gate's half of it: the client's requests, and the channels on which
//! bytes are carried. The sockets come from the session process, which connects and listens.

mod channels;
mod connector;
mod listeners;
mod requests;

pub(super) use channels::ForwardedChannels;
pub(super) use connector::{Accepted, Connector};
