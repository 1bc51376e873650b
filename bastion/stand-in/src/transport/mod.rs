//! The SSH transport layer (RFC 4253), both roles: version exchange, packets, key exchange.
//!
//! A [`Transport`] does by itself only what the transport layer must: it answers KEXINITs, holds
//! messages back while a key exchange runs, and starts one when enough bytes have passed. All other
//! messages it hands up, and it sends whatever it is told to, at any time: see [`Transport::forge`].

mod algorithm;
mod cipher;
mod exchange;
mod host_key;
mod io;
mod kex;
mod kexinit;
mod key_exchange;
mod packet;
#[cfg(test)]
mod tests;
mod version;

pub use algorithm::{Cipher, KexMethod, Mac};
pub use host_key::HostKeys;
pub use kexinit::{Agreed, Direction, EXT_INFO, KexInit, Lists, STRICT_KEX};
pub use packet::{Forgery, MAX_PACKET_LENGTH, MIN_PACKET_LENGTH};

use crate::message::{Disconnect, SSH_MSG_DISCONNECT, SSH_MSG_KEXINIT, SSH_MSG_NEWKEYS};
use crate::signing::SignatureError;
use crate::strict::Violation;
use bytes::Bytes;
use exchange::Exchange;
use packet::{Inbound, Outbound, PacketError};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

/// Which end of the connection we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The one that connected.
    Client,
    /// The one that has host keys.
    Server,
}

/// How a connection ends, other than well.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The socket failed.
    #[error("connection: {0}")]
    Io(#[from] std::io::Error),
    /// The peer closed the connection without a word.
    #[error("the peer closed the connection")]
    Closed,
    /// The peer sent SSH_MSG_DISCONNECT.
    #[error("the peer disconnected: {0}")]
    Disconnected(Disconnect),
    /// The peer broke a rule.
    #[error("{violation} [{rule}]", violation = .0, rule = .0.rule())]
    Violation(#[from] Violation),
    /// A packet's MAC is wrong.
    #[error(transparent)]
    Inauthentic(#[from] cipher::Inauthentic),
    /// The peer's share of the secret is invalid.
    #[error(transparent)]
    InvalidShare(#[from] kex::InvalidShare),
    /// The server's key or signature is wrong.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// The peer chose what we offer, but cannot do.
    #[error("{0} is offered, as Pomerium does, but not implemented here")]
    NotImplemented(String),
    /// A message for the other role.
    #[error("this message is for the other role")]
    Role,
    /// Nothing came in time.
    #[error("timed out: {0}")]
    TimedOut(&'static str),
}

impl From<PacketError> for Error {
    fn from(error: PacketError) -> Self {
        match error {
            PacketError::Violation(violation) => Self::Violation(violation),
            PacketError::Inauthentic(inauthentic) => Self::Inauthentic(inauthentic),
        }
    }
}

/// How a transport behaves.
#[derive(Debug, Clone)]
pub struct Config {
    /// Our identification string, without the line end.
    pub version: String,
    /// What we offer; cookie and markers are added when it is sent.
    pub offer: KexInit,
    /// Names added to `kex_algorithms` of the first KEXINIT only.
    pub markers: Vec<String>,
    /// What a server signs with.
    pub host_keys: Arc<HostKeys>,
    /// Whether the peer is held to Pomerium's rules, or only to what the RFCs force.
    pub pomerium_rules: bool,
    /// Start a key exchange after so many bytes in one direction; the cipher decides otherwise.
    pub rekey_after: Option<u64>,
    /// The largest `packet_length` taken from the peer. Pomerium v0.32 stalls on packets of more
    /// than 16 KiB, half of its buffer, when they arrive in pieces (pomerium/envoy-custom
    /// transport_base.h); 16384 here makes a violation of each.
    pub max_packet_length: u32,
    /// How long a key exchange may take.
    pub exchange_limit: Duration,
}

impl Config {
    /// As Pomerium's client is towards its upstream.
    pub fn client(host_key_algorithms: Vec<String>) -> Self {
        Self {
            version: "SSH-2.0-Envoy".to_owned(),
            offer: KexInit::pomerium(host_key_algorithms),
            markers: vec![
                "ext-info-c".to_owned(),
                "kex-strict-c-v00@openssh.com".to_owned(),
            ],
            host_keys: Arc::default(),
            pomerium_rules: true,
            rekey_after: None,
            max_packet_length: MAX_PACKET_LENGTH,
            exchange_limit: Duration::from_secs(60),
        }
    }

    /// As Pomerium's server is towards its users.
    pub fn server(host_keys: Arc<HostKeys>) -> Self {
        Self {
            markers: vec![
                "ext-info-s".to_owned(),
                "kex-strict-s-v00@openssh.com".to_owned(),
            ],
            offer: KexInit::pomerium(host_keys.algorithms()),
            host_keys,
            ..Self::client(Vec::new())
        }
    }
}

/// What [`Transport::next`] comes back with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A message that is not the transport's own business.
    Message(Bytes),
    /// A key exchange is complete; the first one if `initial`.
    Keyed {
        /// Whether it was the first one.
        initial: bool,
    },
    /// There is room again for more to send ([`Transport::has_room`]).
    Drained,
}

/// Bytes waiting to be written above which there is no room for more.
const ROOM: usize = 512 * 1024;

/// One SSH connection.
pub struct Transport {
    role: Role,
    config: Config,
    reader: Box<dyn AsyncRead + Send + Unpin>,
    writer: Box<dyn AsyncWrite + Send + Unpin>,
    inbound: Inbound,
    outbound: Outbound,
    peer_version: String,
    exchange: Exchange,
    exchange_deadline: Option<Instant>,
    session_id: Option<Vec<u8>>,
    strict_kex: bool,
    peer_markers: Vec<String>,
    host_key: Vec<u8>,
    agreed: Option<Agreed>,
    exchanges: u64,
    /// Messages that wait for the end of a key exchange.
    held: VecDeque<Vec<u8>>,
    held_bytes: usize,
    read_end: Option<io::ReadEnd>,
}

impl Transport {
    /// What the peer called itself.
    pub fn peer_version(&self) -> &str {
        &self.peer_version
    }

    /// RFC 4253 section 7.2: the first exchange hash; empty before.
    pub fn session_id(&self) -> &[u8] {
        self.session_id.as_deref().unwrap_or_default()
    }

    /// The public key blob of the server, or of the key we signed with; empty before.
    pub fn host_key(&self) -> &[u8] {
        &self.host_key
    }

    /// The algorithms in use.
    pub fn agreed(&self) -> Option<&Agreed> {
        self.agreed.as_ref()
    }

    /// Whether both sides are in strict key exchange.
    pub fn is_strict(&self) -> bool {
        self.strict_kex
    }

    /// Key exchanges completed, the first one included.
    pub fn exchanges(&self) -> u64 {
        self.exchanges
    }

    /// Whether the peer's first KEXINIT listed this name among the key exchange methods.
    pub fn peer_listed(&self, marker: &str) -> bool {
        self.peer_markers.iter().any(|known| known == marker)
    }

    /// Whether a key exchange runs.
    pub fn in_exchange(&self) -> bool {
        !matches!(self.exchange, Exchange::Idle)
    }

    /// Whether there is room for more to send.
    pub fn has_room(&self) -> bool {
        self.outbound.pending().len() + self.held_bytes < ROOM
    }

    /// Sequence numbers of the next packets, sent and received.
    pub fn sequence_numbers(&self) -> (u32, u32) {
        (self.outbound.sequence, self.inbound.sequence)
    }

    /// The sequence number of the packet received last, for SSH_MSG_UNIMPLEMENTED.
    pub fn last_received(&self) -> u32 {
        self.inbound.sequence.wrapping_sub(1)
    }

    /// Sends a message; one that may not go out during a key exchange waits for its end.
    pub fn send(&mut self, payload: &[u8]) -> Result<(), Error> {
        self.send_parts(&[payload])
    }

    /// Sends a message given in parts.
    pub fn send_parts(&mut self, parts: &[&[u8]]) -> Result<(), Error> {
        let number = parts.iter().find_map(|part| part.first());
        if self.in_exchange() && number != Some(&SSH_MSG_DISCONNECT) {
            let message = parts.concat();
            self.held_bytes += message.len();
            self.held.push_back(message);
            return Ok(());
        }
        self.outbound.push(parts, Forgery::default())?;
        self.rekey_when_due()
    }

    /// Sends a payload now, whatever the state, and as wrong as `forgery` wants it.
    pub fn forge(&mut self, payload: &[u8], forgery: Forgery) -> Result<(), Error> {
        Ok(self.outbound.push(&[payload], forgery)?)
    }

    /// Puts bytes on the wire that are no packet at all.
    pub fn forge_bytes(&mut self, bytes: &[u8]) {
        self.outbound.buffer.extend_from_slice(bytes);
    }

    /// Counts `n` packets as sent that nobody gets to see, as one who deletes them would have it.
    pub fn skip_sequence_numbers(&mut self, n: u32) {
        self.outbound.sequence = self.outbound.sequence.wrapping_add(n);
    }

    /// The next event among the bytes received so far.
    fn process(&mut self) -> Result<Option<Event>, Error> {
        while let Some(payload) = self.inbound.next_payload()? {
            let event = self.dispatch(payload)?;
            self.rekey_when_due()?;
            if event.is_some() {
                return Ok(event);
            }
        }
        Ok(None)
    }

    fn dispatch(&mut self, payload: Bytes) -> Result<Option<Event>, Error> {
        let number = payload.first().copied().ok_or(Violation::EmptyPayload)?;
        match &mut self.exchange {
            Exchange::Idle | Exchange::InitSent(_) if number == SSH_MSG_KEXINIT => {
                self.take_kexinit(&payload)
            }
            // RFC 4253 section 7: with a wrong guess, the next packet is silently ignored.
            Exchange::Method(method) if method.skip_guess && number == method.expected() => {
                method.skip_guess = false;
                Ok(None)
            }
            Exchange::Method(method) if number == method.expected() => self.take_share(&payload),
            Exchange::NewKeys(_) if number == SSH_MSG_NEWKEYS => self.take_newkeys(),
            Exchange::Method(_) => self.stray(Violation::DuringKeyExchange { number }, &payload),
            Exchange::NewKeys(_) => self.stray(Violation::NewKeysExpected { number }, &payload),
            Exchange::Idle | Exchange::InitSent(_) if self.session_id.is_none() => {
                self.stray(Violation::DuringKeyExchange { number }, &payload)
            }
            Exchange::Idle | Exchange::InitSent(_) => Ok(Some(Event::Message(payload))),
        }
    }
}
