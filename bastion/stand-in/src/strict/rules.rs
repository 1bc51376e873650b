//! The rules about what a server sends once keys are in use, message by message.

use super::{Violation, check_layout};
use crate::message::{
    SSH_MSG_CHANNEL_CLOSE, SSH_MSG_CHANNEL_FAILURE, SSH_MSG_CHANNEL_OPEN,
    SSH_MSG_CHANNEL_OPEN_CONFIRMATION, SSH_MSG_CHANNEL_OPEN_FAILURE, SSH_MSG_CHANNEL_WINDOW_ADJUST,
    SSH_MSG_DEBUG, SSH_MSG_DISCONNECT, SSH_MSG_EXT_INFO, SSH_MSG_GLOBAL_REQUEST, SSH_MSG_IGNORE,
    SSH_MSG_REQUEST_FAILURE, SSH_MSG_REQUEST_SUCCESS, SSH_MSG_SERVICE_ACCEPT,
    SSH_MSG_UNIMPLEMENTED, SSH_MSG_USERAUTH_BANNER, SSH_MSG_USERAUTH_FAILURE,
    SSH_MSG_USERAUTH_REQUEST, SSH_MSG_USERAUTH_SUCCESS, SSH2_MSG_PING, SSH2_MSG_PONG, name,
};
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
            return Err(Violation::Unexpected {
                number: SSH_MSG_EXT_INFO,
            });
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
            b"ssh-userauth" => Err(Violation::Unexpected {
                number: SSH_MSG_SERVICE_ACCEPT,
            }),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Writer;

    /// Each row: what was sent (`>`) and received (`<`) before, the message received, the outcome.
    #[test]
    fn what_pomerium_makes_of_a_servers_messages() {
        let ok = Ok(Verdict::Pass);
        let dropped = Ok(Verdict::Drop);
        let unexpected = |number| Err(Violation::Unexpected { number });
        let unknown = |number| Err(Violation::UnknownChannel { channel: 5, number });
        let (a, s) = (">request", "<success");
        let rows: &[(&[&str], &str, Result<Verdict, Violation>)] = &[
            (&[], "ext-info", dropped.clone()),
            (&["<ext-info"], "ext-info", dropped.clone()),
            (
                &["<ext-info", "<ext-info"],
                "ext-info",
                Err(Violation::ExtInfo),
            ),
            (&["<accept"], "ext-info", dropped.clone()),
            (
                &["<accept", "<ext-info"],
                "ext-info",
                Err(Violation::ExtInfo),
            ),
            (&[a, s], "ext-info", unexpected(7)),
            (&[], "accept", ok.clone()),
            (&[], "success", Err(Violation::UnaskedSuccess)),
            (&[a], "success", ok.clone()),
            (&[a], "failure", ok.clone()),
            (&[a], "banner", ok.clone()),
            (&[a], "pk-ok", unexpected(60)),
            (&[a], "hostkeys", unexpected(80)),
            (&[a, s], "banner", unexpected(53)),
            (&[a, s], "success", unexpected(52)),
            (&[a, s], "failure", unexpected(51)),
            (&[a, s], "hostkeys", dropped.clone()),
            (&[a, s], "keepalive", ok.clone()),
            (&[a, s], "debug", dropped.clone()),
            (&[a, s], "unknown", Ok(Verdict::Unimplemented)),
            (&[a, s], "data", unknown(94)),
            (&[a, s, ">open"], "data", unknown(94)),
            (&[a, s, ">open"], "confirm", ok.clone()),
            (&[a, s, ">open", "<confirm"], "data", ok.clone()),
            (&[a, s, ">open", "<confirm"], "confirm", unknown(91)),
            (&[a, s, ">open", "<confirm"], "close", ok.clone()),
            (&[a, s, ">open", "<confirm", "<close"], "data", unknown(94)),
            (
                &[a, s, ">open", "<confirm", "<close"],
                "adjust",
                unknown(93),
            ),
            (&[a, s, ">open", "<confirm", "<close"], "close", unknown(97)),
            (
                &[a, s, ">open", "<confirm", "<close", ">open"],
                "confirm",
                ok.clone(),
            ),
            (&[a, s, ">open"], "open-failure", ok.clone()),
            (&[a, s, ">open", "<open-failure"], "confirm", unknown(91)),
            (&[a, s, ">confirm"], "data", ok),
        ];
        for (before, received, expected) in rows {
            let mut rules = ServerRules::new();
            for step in *before {
                match step.split_at(1) {
                    (">", what) => rules.sent(&message(what)),
                    (_, what) => drop(rules.received(&message(what)).unwrap()),
                }
            }
            assert_eq!(
                &rules.received(&message(received)),
                expected,
                "{before:?} {received}"
            );
        }
    }

    fn message(what: &str) -> Vec<u8> {
        let start = Writer::message;
        match what {
            "ext-info" => start(7).u32(0),
            "accept" => start(6).string("ssh-userauth"),
            "request" => start(50).string("u"),
            "success" => start(52),
            "failure" => start(51).string("publickey").bool(false),
            "banner" => start(53).string("b").string(""),
            "pk-ok" => start(60).string("a").string("b"),
            "debug" => start(4).bool(true).string("d").string(""),
            "hostkeys" => start(80).string("hostkeys-00@openssh.com").bool(false),
            "keepalive" => start(80).string("keepalive@openssh.com").bool(true),
            "open" => start(90).string("session").u32(5).u32(1).u32(1),
            "confirm" => start(91).u32(5).u32(5).u32(1).u32(1),
            "open-failure" => start(92).u32(5).u32(1).string("").string(""),
            "adjust" => start(93).u32(5).u32(1),
            "data" => start(94).u32(5).string("x"),
            "close" => start(97).u32(5),
            _ => start(250),
        }
        .into_vec()
    }
}
