//! The rules about what a server sends once keys are in use, message by message.

use super::{Violation, check_layout};
use crate::message::*;
use crate::wire::Reader;
use std::collections::HashMap;

/// What Pomerium's client does with a message that breaks no rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It concerns the user, or the one who waits for it.
    Pass,
    /// It ends here: IGNORE, DEBUG, UNIMPLEMENTED, EXT_INFO, hostkeys-00.
    Drop,
    /// It ends here, and is answered with SSH_MSG_UNIMPLEMENTED.
    Unimplemented,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Channel {
    /// We sent SSH_MSG_CHANNEL_OPEN.
    Opening,
    /// Confirmed, and not closed by the server.
    Open,
}

/// Follows a connection through the server's messages (and ours, as far as they give the server
/// leave to say something).
#[derive(Debug, Default)]
pub struct ServerRules {
    /// Whether any message came after the first NEWKEYS: an EXT_INFO in that place is extra.
    started: bool,
    ext_info_seen: bool,
    requested: bool,
    authenticated: bool,
    /// By the id that we gave them.
    channels: HashMap<u32, Channel>,
}

impl ServerRules {
    /// The state right after the first NEWKEYS.
    pub fn new() -> Self {
        Self::default()
    }

    /// We send this.
    pub fn sent(&mut self, payload: &[u8]) {
        let mut reader = Reader::new(payload);
        match reader.u8() {
            Ok(SSH_MSG_USERAUTH_REQUEST) => self.requested = true,
            Ok(SSH_MSG_CHANNEL_OPEN) => {
                let sender = reader.string().and_then(|_| reader.u32());
                if let Ok(id) = sender {
                    self.channels.insert(id, Channel::Opening);
                }
            }
            Ok(SSH_MSG_CHANNEL_OPEN_CONFIRMATION) => {
                if let (Ok(_), Ok(id)) = (reader.u32(), reader.u32()) {
                    self.channels.insert(id, Channel::Open);
                }
            }
            _ => {}
        }
    }

    /// The server sent this.
    pub fn received(&mut self, payload: &[u8]) -> Result<Verdict, Violation> {
        let Some(&number) = payload.first() else {
            return Err(Violation::EmptyPayload);
        };
        if name(number).is_none() {
            self.started = true;
            return Ok(Verdict::Unimplemented);
        }
        let malformed = |source| Violation::Malformed { number, source };
        check_layout(payload).map_err(malformed)?;
        let first = !std::mem::replace(&mut self.started, true);
        match number {
            SSH_MSG_IGNORE | SSH_MSG_DEBUG | SSH_MSG_UNIMPLEMENTED => Ok(Verdict::Drop),
            SSH_MSG_DISCONNECT | SSH2_MSG_PING | SSH2_MSG_PONG => Ok(Verdict::Pass),
            SSH_MSG_EXT_INFO => self.ext_info(first),
            SSH_MSG_SERVICE_ACCEPT => self.service_accept(payload),
            SSH_MSG_USERAUTH_BANNER if !self.authenticated => Ok(Verdict::Pass),
            SSH_MSG_USERAUTH_FAILURE if !self.authenticated => Ok(Verdict::Pass),
            SSH_MSG_USERAUTH_SUCCESS if !self.authenticated => self.success(),
            SSH_MSG_GLOBAL_REQUEST if self.authenticated => Ok(global_request(payload)),
            SSH_MSG_REQUEST_SUCCESS | SSH_MSG_REQUEST_FAILURE if self.authenticated => {
                Ok(Verdict::Pass)
            }
            SSH_MSG_CHANNEL_OPEN if self.authenticated => Ok(Verdict::Pass),
            SSH_MSG_CHANNEL_OPEN_CONFIRMATION..=SSH_MSG_CHANNEL_FAILURE if self.authenticated => {
                self.channel_message(number, payload)
            }
            _ => Err(Violation::Unexpected { number }),
        }
    }

    /// One EXT_INFO is taken right after NEWKEYS, and one more until SUCCESS.
    fn ext_info(&mut self, first: bool) -> Result<Verdict, Violation> {
        if self.authenticated {
            return Err(Violation::Unexpected { number: SSH_MSG_EXT_INFO });
        }
        if !first && std::mem::replace(&mut self.ext_info_seen, true) {
            return Err(Violation::ExtInfo);
        }
        Ok(Verdict::Drop)
    }

    fn service_accept(&mut self, payload: &[u8]) -> Result<Verdict, Violation> {
        let service = Reader::new(payload.get(1..).unwrap_or_default()).string();
        match service.unwrap_or_default() {
            b"ssh-userauth" if !self.requested => Ok(Verdict::Pass),
            b"ssh-userauth" => Err(Violation::Unexpected { number: SSH_MSG_SERVICE_ACCEPT }),
            other => {
                let service = String::from_utf8_lossy(other).into_owned();
                Err(Violation::UnknownService { service })
            }
        }
    }

    fn success(&mut self) -> Result<Verdict, Violation> {
        if !self.requested {
            return Err(Violation::UnaskedSuccess);
        }
        self.authenticated = true;
        Ok(Verdict::Pass)
    }

    fn channel_message(&mut self, number: u8, payload: &[u8]) -> Result<Verdict, Violation> {
        let recipient = Reader::new(payload.get(1..).unwrap_or_default()).u32();
        let channel = recipient.map_err(|source| Violation::Malformed { number, source })?;
        match (self.channels.get(&channel), number) {
            (Some(Channel::Opening), SSH_MSG_CHANNEL_OPEN_CONFIRMATION) => {
                self.channels.insert(channel, Channel::Open);
            }
            (Some(Channel::Opening), SSH_MSG_CHANNEL_OPEN_FAILURE)
            | (Some(Channel::Open), SSH_MSG_CHANNEL_CLOSE) => {
                self.channels.remove(&channel);
            }
            (Some(Channel::Open), SSH_MSG_CHANNEL_WINDOW_ADJUST..) => {}
            _ => return Err(Violation::UnknownChannel { channel, number }),
        }
        Ok(Verdict::Pass)
    }
}

/// hostkeys-00 is swallowed even if it wants a reply (pomerium/envoy-custom client_transport.cc).
fn global_request(payload: &[u8]) -> Verdict {
    match Reader::new(payload.get(1..).unwrap_or_default()).string() {
        Ok(b"hostkeys-00@openssh.com") => Verdict::Drop,
        _ => Verdict::Pass,
    }
}
