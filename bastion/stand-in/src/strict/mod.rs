//! What Pomerium's client does not forgive a server, each rule a [`Violation`] with its evidence.
//!
//! The sentences are those of pomerium/envoy-custom, because they are what a user gets to read in
//! SSH_MSG_DISCONNECT; [`Violation::rule`] says where each comes from.

mod layout;
mod rules;

pub use layout::check_layout;
pub use rules::{ServerRules, Verdict};

use crate::message::{self, Disconnect, describe};
use crate::wire::Malformed;

/// A rule broken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// More than 16 KiB without a version.
    #[error("no ssh identification string received")]
    NoVersion,
    /// Not `SSH-2.0-`.
    #[error("unsupported protocol version")]
    ProtocolVersion,
    /// More than 255 bytes.
    #[error("version string too long")]
    VersionLength,
    /// No `softwareversion`.
    #[error("invalid version string")]
    VersionString,
    /// Not printable, or `-` in `softwareversion`.
    #[error("version string contains invalid characters")]
    VersionCharacters,
    /// Too many, too long, or unclean lines before the version.
    #[error("banner line contains invalid characters or is too long")]
    VersionBanner,
    /// `packet_length` below 5 or above 262144.
    #[error(
        "failed to decrypt packet: invalid decoded packet length: {packet_length} (seqnr {sequence})"
    )]
    PacketLength {
        /// As received.
        packet_length: u32,
        /// Of the packet.
        sequence: u32,
    },
    /// `packet_length` is no multiple of the cipher's block.
    #[error(
        "failed to decrypt packet: padding error: decoded packet length ({packet_length}) is not a multiple of the cipher block size ({block_len})"
    )]
    PacketBlocks {
        /// As received.
        packet_length: u32,
        /// Of the cipher.
        block_len: usize,
    },
    /// `padding_length` below 4, or more than the packet holds.
    #[error("failed to decode packet: invalid padding length {padding_length}")]
    PaddingLength {
        /// As received.
        padding_length: u8,
    },
    /// A known message that is too short or too long, or has an empty name in a list.
    #[error("failed to decode packet: {}: {source}", describe(*number))]
    Malformed {
        /// Of the message.
        number: u8,
        /// What is wrong with it.
        source: Malformed,
    },
    /// The first KEXINIT lacks `kex-strict-s-v00@openssh.com`.
    #[error("strict key exchange mode is required")]
    StrictKexRequired,
    /// Anything but the expected message of a key exchange, first or later.
    #[error("unexpected message received: {}", describe(*number))]
    DuringKeyExchange {
        /// Of the message.
        number: u8,
    },
    /// Anything but SSH_MSG_NEWKEYS after the key exchange reply.
    #[error("key exchange error: expected NewKeys, received {}", describe(*number))]
    NewKeysExpected {
        /// Of the message.
        number: u8,
    },
    /// The lists have nothing in common.
    #[error(
        "no common algorithm for {what}; client offered: {client:?}; server offered: {server:?}"
    )]
    NoCommonAlgorithm {
        /// Of which list.
        what: String,
        /// The client's.
        client: Vec<String>,
        /// The server's.
        server: Vec<String>,
    },
    /// A marker such as `ext-info-c` was agreed on (RFC 8308 section 2.2).
    #[error("negotiated an invalid key exchange method: {method}")]
    MarkerNegotiated {
        /// The marker.
        method: String,
    },
    /// EXT_INFO a third time, or a second time not right after NEWKEYS.
    #[error("unexpected ExtInfoMsg received")]
    ExtInfo,
    /// USERAUTH_SUCCESS before there was a request.
    #[error("unexpected UserAuthSuccessMsg received")]
    UnaskedSuccess,
    /// A message that has no business at this point: 60 ever, 7 and 51 to 53 after SUCCESS, ….
    #[error("unexpected message received: {}", describe(*number))]
    Unexpected {
        /// Of the message.
        number: u8,
    },
    /// SERVICE_ACCEPT of something else than was asked for.
    #[error("received ServiceAccept message for unknown service {service}")]
    UnknownService {
        /// Its name.
        service: String,
    },
    /// A channel that was never opened, is not open yet, or that the server itself has closed.
    #[error("received message for unknown channel {channel}: {}", describe(*number))]
    UnknownChannel {
        /// The recipient channel.
        channel: u32,
        /// Of the message.
        number: u8,
    },
    /// A payload without a message number.
    #[error("failed to decode packet: empty payload")]
    EmptyPayload,
}

impl Violation {
    /// Where the rule is written.
    pub fn rule(&self) -> &'static str {
        match self {
            Self::NoVersion | Self::ProtocolVersion | Self::VersionLength => {
                "RFC 4253 section 4.2; pomerium/envoy-custom version_exchange.cc"
            }
            Self::VersionString | Self::VersionCharacters | Self::VersionBanner => {
                "RFC 4253 section 4.2; pomerium/envoy-custom version_exchange.cc"
            }
            Self::PacketLength { .. } | Self::PacketBlocks { .. } => {
                "RFC 4253 section 6.1; pomerium/envoy-custom openssh.cc"
            }
            Self::PaddingLength { .. } => "RFC 4253 section 6; pomerium/envoy-custom packet.h",
            Self::Malformed { .. } | Self::EmptyPayload => {
                "RFC 4251 section 5; pomerium/envoy-custom messages.cc"
            }
            Self::StrictKexRequired => "OpenSSH PROTOCOL section 1.9; pomerium/envoy-custom kex.cc",
            Self::DuringKeyExchange { .. } | Self::NewKeysExpected { .. } => {
                "OpenSSH PROTOCOL section 1.9; pomerium/envoy-custom kex.cc"
            }
            Self::NoCommonAlgorithm { .. } => "RFC 4253 section 7.1; pomerium/envoy-custom kex.cc",
            Self::MarkerNegotiated { .. } => "RFC 8308 section 2.2; pomerium/envoy-custom kex.cc",
            Self::ExtInfo => "RFC 8308 section 2.4; pomerium/envoy-custom service_userauth.cc",
            Self::UnaskedSuccess => "RFC 4252 section 5; pomerium/envoy-custom service_userauth.cc",
            Self::Unexpected { .. } => "pomerium/envoy-custom message_handler.h",
            Self::UnknownService { .. } => {
                "RFC 4253 section 10; pomerium/envoy-custom client_transport.cc"
            }
            Self::UnknownChannel { .. } => {
                "RFC 4254 section 5.3; pomerium/envoy-custom service_connection.cc"
            }
        }
    }

    /// What Pomerium tells its user when the server breaks the rule: the name of the status, then
    /// the sentence (pomerium/envoy-custom source/common/status.h, openssh.cc).
    pub fn to_disconnect(&self) -> Disconnect {
        let status = match self {
            Self::NewKeysExpected { .. } | Self::ExtInfo | Self::UnaskedSuccess => {
                "Failed Precondition"
            }
            _ => "Invalid Argument",
        };
        Disconnect {
            reason: message::SSH_DISCONNECT_PROTOCOL_ERROR,
            description: format!("{status}: {self}"),
        }
    }
}
