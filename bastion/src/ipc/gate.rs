//! What gate and monitor say to each other.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{ChannelNumber, ConnectionId, bounded};
use crate::policy::startups::MaxStartups;
use crate::policy::{Proof, Refusal, Rules, UserCertificate, lifetime};
use crate::sys::account::Account;
use crate::sys::sandbox::Fence;

/// How many of a certificate's principals the log names.
const MAX_PRINCIPALS: usize = 16;

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

impl From<&UserCertificate> for CertificateRecord {
    fn from(certificate: &UserCertificate) -> Self {
        Self {
            ca: certificate.signature_key().fingerprint(),
            key: certificate.public_key().fingerprint(),
            key_id: bounded(certificate.key_id()),
            serial: certificate.serial(),
            principals: certificate
                .valid_principals()
                .iter()
                .take(MAX_PRINCIPALS)
                .map(|name| bounded(name.as_str()))
                .collect(),
        }
    }
}

impl RefusalRecord {
    /// For the audit log.
    pub fn new(refusal: &Refusal, certificate: Option<&UserCertificate>) -> Self {
        Self {
            code: refusal.code().into(),
            detail: bounded(refusal.to_string()),
            certificate: certificate.map(CertificateRecord::from),
        }
    }
}
