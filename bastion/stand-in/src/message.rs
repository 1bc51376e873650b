//! Message numbers (RFC 4250 section 4.1), reason codes, and the messages that several parts send.

use crate::wire::{Malformed, Reader, Writer};

macro_rules! numbers {
    ($($(#[$doc:meta])* $name:ident = $value:literal;)*) => {
        $($(#[$doc])* pub const $name: u8 = $value;)*

        /// The name of a message number that pomerium/envoy-custom knows (its wire/messages.h).
        pub fn name(number: u8) -> Option<&'static str> {
            match number {
                $($value => Some(stringify!($name)),)*
                _ => None,
            }
        }
    };
}

numbers! {
    /// RFC 4253 section 11.1.
    SSH_MSG_DISCONNECT = 1;
    /// RFC 4253 section 11.2.
    SSH_MSG_IGNORE = 2;
    /// RFC 4253 section 11.4.
    SSH_MSG_UNIMPLEMENTED = 3;
    /// RFC 4253 section 11.3.
    SSH_MSG_DEBUG = 4;
    /// RFC 4253 section 10.
    SSH_MSG_SERVICE_REQUEST = 5;
    /// RFC 4253 section 10.
    SSH_MSG_SERVICE_ACCEPT = 6;
    /// RFC 8308 section 2.3.
    SSH_MSG_EXT_INFO = 7;
    /// RFC 4253 section 7.1.
    SSH_MSG_KEXINIT = 20;
    /// RFC 4253 section 7.3.
    SSH_MSG_NEWKEYS = 21;
    /// RFC 5656 section 4; draft-ietf-sshm-mlkem-hybrid-kex calls it SSH_MSG_KEX_HYBRID_INIT.
    SSH_MSG_KEX_ECDH_INIT = 30;
    /// RFC 5656 section 4; draft-ietf-sshm-mlkem-hybrid-kex calls it SSH_MSG_KEX_HYBRID_REPLY.
    SSH_MSG_KEX_ECDH_REPLY = 31;
    /// RFC 4252 section 5.
    SSH_MSG_USERAUTH_REQUEST = 50;
    /// RFC 4252 section 5.1.
    SSH_MSG_USERAUTH_FAILURE = 51;
    /// RFC 4252 section 5.1.
    SSH_MSG_USERAUTH_SUCCESS = 52;
    /// RFC 4252 section 5.4.
    SSH_MSG_USERAUTH_BANNER = 53;
    /// RFC 4252 section 7 (there SSH_MSG_USERAUTH_PK_OK) and RFC 4256 section 3.2.
    SSH_MSG_USERAUTH_INFO_REQUEST = 60;
    /// RFC 4256 section 3.4.
    SSH_MSG_USERAUTH_INFO_RESPONSE = 61;
    /// RFC 4254 section 4.
    SSH_MSG_GLOBAL_REQUEST = 80;
    /// RFC 4254 section 4.
    SSH_MSG_REQUEST_SUCCESS = 81;
    /// RFC 4254 section 4.
    SSH_MSG_REQUEST_FAILURE = 82;
    /// RFC 4254 section 5.1.
    SSH_MSG_CHANNEL_OPEN = 90;
    /// RFC 4254 section 5.1.
    SSH_MSG_CHANNEL_OPEN_CONFIRMATION = 91;
    /// RFC 4254 section 5.1.
    SSH_MSG_CHANNEL_OPEN_FAILURE = 92;
    /// RFC 4254 section 5.2.
    SSH_MSG_CHANNEL_WINDOW_ADJUST = 93;
    /// RFC 4254 section 5.2.
    SSH_MSG_CHANNEL_DATA = 94;
    /// RFC 4254 section 5.2.
    SSH_MSG_CHANNEL_EXTENDED_DATA = 95;
    /// RFC 4254 section 5.3.
    SSH_MSG_CHANNEL_EOF = 96;
    /// RFC 4254 section 5.3.
    SSH_MSG_CHANNEL_CLOSE = 97;
    /// RFC 4254 section 5.4.
    SSH_MSG_CHANNEL_REQUEST = 98;
    /// RFC 4254 section 5.4.
    SSH_MSG_CHANNEL_SUCCESS = 99;
    /// RFC 4254 section 5.4.
    SSH_MSG_CHANNEL_FAILURE = 100;
    /// OpenSSH PROTOCOL section 1.8.
    SSH2_MSG_PING = 192;
    /// OpenSSH PROTOCOL section 1.8.
    SSH2_MSG_PONG = 193;
}

/// RFC 4252 section 7: the number that publickey shares with keyboard-interactive.
pub const SSH_MSG_USERAUTH_PK_OK: u8 = SSH_MSG_USERAUTH_INFO_REQUEST;

/// RFC 4253 section 11.1.
pub const SSH_DISCONNECT_HOST_NOT_ALLOWED_TO_CONNECT: u32 = 1;
/// RFC 4253 section 11.1.
pub const SSH_DISCONNECT_PROTOCOL_ERROR: u32 = 2;
/// RFC 4253 section 11.1.
pub const SSH_DISCONNECT_SERVICE_NOT_AVAILABLE: u32 = 7;
/// RFC 4253 section 11.1.
pub const SSH_DISCONNECT_CONNECTION_LOST: u32 = 10;
/// RFC 4253 section 11.1.
pub const SSH_DISCONNECT_BY_APPLICATION: u32 = 11;

/// RFC 4254 section 5.2.
pub const SSH_EXTENDED_DATA_STDERR: u32 = 1;

/// SSH_MSG_DISCONNECT, taken apart.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{description} (reason {reason})")]
pub struct Disconnect {
    /// RFC 4253 section 11.1.
    pub reason: u32,
    /// What the peer says.
    pub description: String,
}

impl Disconnect {
    /// Reads the payload of an SSH_MSG_DISCONNECT; some peers leave the language tag out.
    pub fn parse(payload: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(payload);
        reader.u8()?;
        let reason = reader.u32()?;
        let description = String::from_utf8_lossy(reader.string()?).into_owned();
        Ok(Self {
            reason,
            description,
        })
    }

    /// The payload to send.
    pub fn to_payload(&self) -> Vec<u8> {
        Writer::message(SSH_MSG_DISCONNECT)
            .u32(self.reason)
            .string(&self.description)
            .string("")
            .into_vec()
    }
}

/// The message number of a payload, with its name if it has one: `SSH_MSG_DEBUG (4)`.
pub fn describe(number: u8) -> String {
    match name(number) {
        Some(name) => format!("{name} ({number})"),
        None => number.to_string(),
    }
}
