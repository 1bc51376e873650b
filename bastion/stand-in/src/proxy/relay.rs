//! Messages between an admitted user and the upstream, both ways, as pomerium/envoy-custom
//! server_transport.cc, client_transport.cc and service_connection.cc pass them on.

use super::channels::{ChannelError, Channels, Renumbered, Side};
use super::{End, tell, upstream_error, user_error};
use crate::downstream::Downstream;
use crate::message::{
    SSH_DISCONNECT_PROTOCOL_ERROR, SSH_DISCONNECT_SERVICE_NOT_AVAILABLE, SSH_MSG_CHANNEL_FAILURE,
    SSH_MSG_CHANNEL_OPEN, SSH_MSG_DEBUG, SSH_MSG_DISCONNECT, SSH_MSG_GLOBAL_REQUEST,
    SSH_MSG_IGNORE, SSH_MSG_REQUEST_FAILURE, SSH_MSG_REQUEST_SUCCESS, SSH_MSG_UNIMPLEMENTED,
    SSH_MSG_USERAUTH_SUCCESS, SSH2_MSG_PING, SSH2_MSG_PONG, name,
};
use crate::signing;
use crate::strict::Violation;
use crate::transport::{Event, HostKeys};
use crate::upstream::{Heard, Upstream};
use crate::wire::{Reader, Writer};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// How long the upstream may take to read what the user said before leaving.
const LAST_WORDS: Duration = Duration::from_secs(1);

pub(super) struct Relay<'a> {
    user: &'a mut Downstream,
    upstream: Upstream,
    channels: Channels,
    host_keys: Arc<HostKeys>,
}

impl<'a> Relay<'a> {
    pub(super) fn new(
        user: &'a mut Downstream,
        upstream: Upstream,
        host_keys: Arc<HostKeys>,
    ) -> Self {
        Self {
            user,
            upstream,
            channels: Channels::default(),
            host_keys,
        }
    }

    /// Passes messages until one side ends. A side is not read from while the other has no room
    /// for what it would say, so that a slow reader slows its writer and fills no memory.
    pub(super) async fn run(&mut self) -> End {
        loop {
            let user_has_room = self.user.transport().has_room();
            let upstream_has_room = self.upstream.has_room();
            let passed = tokio::select! {
                event = self.user.transport().next(upstream_has_room) => match event {
                    Ok(Event::Message(payload)) => self.pass_from_user(&payload),
                    Ok(_) => Ok(()),
                    Err(error) => Err(user_error(error)),
                },
                heard = self.upstream.next(user_has_room) => match heard {
                    Ok(Heard::Message(payload)) => self.pass_from_upstream(&payload),
                    Ok(Heard::Disconnect(payload)) => Err(End::Verbatim(payload)),
                    Ok(Heard::Drained) => Ok(()),
                    Ok(Heard::Banner(payload)) => Err(unexpected(&payload)),
                    Ok(Heard::Success) => Err(unexpected(&[SSH_MSG_USERAUTH_SUCCESS])),
                    Err(error) => Err(upstream_error(error)),
                },
            };
            if let Err(end) = passed {
                return end;
            }
        }
    }

    /// Lets the upstream have what is on its way, before its connection is dropped without a
    /// SSH_MSG_DISCONNECT: Pomerium never sends it one.
    pub(super) async fn flush_upstream(&mut self) {
        let flushed = timeout(LAST_WORDS, self.upstream.transport().flush()).await;
        drop(flushed);
    }

    fn pass_from_user(&mut self, payload: &Bytes) -> Result<(), End> {
        let number = payload.first().copied().unwrap_or_default();
        match number {
            SSH_MSG_IGNORE | SSH_MSG_DEBUG | SSH_MSG_UNIMPLEMENTED => Ok(()),
            SSH_MSG_DISCONNECT => Err(End::UserLeft("the user left".to_owned())),
            SSH_MSG_GLOBAL_REQUEST => self.global_request(payload),
            SSH_MSG_REQUEST_SUCCESS | SSH_MSG_REQUEST_FAILURE => self.send_to_upstream(&[payload]),
            SSH_MSG_CHANNEL_OPEN..=SSH_MSG_CHANNEL_FAILURE => {
                let Renumbered { head, tail } = match self.channels.translate(Side::User, payload) {
                    Ok(renumbered) => renumbered,
                    Err(ChannelError::Violation(violation)) => {
                        return Err(user_error(violation.into()));
                    }
                    Err(error) => return Err(too_many(&error)),
                };
                self.send_to_upstream(&[&head, payload.get(tail..).unwrap_or_default()])
            }
            SSH2_MSG_PING | SSH2_MSG_PONG if self.upstream.answers_pings() => {
                self.send_to_upstream(&[payload])
            }
            SSH2_MSG_PING => {
                let pong = payload.get(1..).unwrap_or_default();
                self.send_to_user(&[&[SSH2_MSG_PONG], pong])
            }
            SSH2_MSG_PONG => Ok(()),
            _ if name(number).is_none() => {
                let sequence = self.user.transport().last_received();
                let reply = Writer::message(SSH_MSG_UNIMPLEMENTED)
                    .u32(sequence)
                    .into_vec();
                self.send_to_user(&[&reply])
            }
            _ => Err(user_error(Violation::Unexpected { number }.into())),
        }
    }

    fn pass_from_upstream(&mut self, payload: &Bytes) -> Result<(), End> {
        let number = payload.first().copied().unwrap_or_default();
        if !(SSH_MSG_CHANNEL_OPEN..=SSH_MSG_CHANNEL_FAILURE).contains(&number) {
            return self.send_to_user(&[payload]);
        }
        match self.channels.translate(Side::Upstream, payload) {
            Ok(Renumbered { head, tail }) => {
                self.send_to_user(&[&head, payload.get(tail..).unwrap_or_default()])
            }
            Err(ChannelError::Violation(violation)) => Err(End::Violation(violation)),
            Err(error) => Err(too_many(&error)),
        }
    }

    fn global_request(&mut self, payload: &[u8]) -> Result<(), End> {
        let mut reader = Reader::new(payload.get(1..).unwrap_or_default());
        match reader.string() {
            // Server to client only.
            Ok(b"hostkeys-00@openssh.com") => {
                let text = "Invalid Argument: unexpected global request: hostkeys-00@openssh.com";
                Err(tell(SSH_DISCONNECT_PROTOCOL_ERROR, text))
            }
            Ok(b"hostkeys-prove-00@openssh.com") => self.prove_host_keys(reader),
            Ok(_) => self.send_to_upstream(&[payload]),
            Err(source) => {
                let number = SSH_MSG_GLOBAL_REQUEST;
                Err(user_error(Violation::Malformed { number, source }.into()))
            }
        }
    }

    /// OpenSSH PROTOCOL section 2.5, about our own keys; a key of another's ends the connection.
    fn prove_host_keys(&mut self, mut reader: Reader<'_>) -> Result<(), End> {
        let text =
            "Invalid Argument: error handling HostKeysProveRequest: requested key is invalid";
        let refusal = || tell(SSH_DISCONNECT_PROTOCOL_ERROR, text);
        let mut reply = Writer::message(SSH_MSG_REQUEST_SUCCESS);
        let session_id = self.user.transport().session_id().to_vec();
        reader.bool().map_err(|_| refusal())?;
        while let Ok(blob) = reader.string() {
            let key = self.host_keys.by_blob(blob).ok_or_else(refusal)?;
            let proof = Writer::new()
                .string("hostkeys-prove-00@openssh.com")
                .string(&session_id)
                .string(blob);
            let signature = signing::sign(key, "", &proof.into_vec()).map_err(|_| refusal())?;
            reply = reply.string(signature);
        }
        self.send_to_user(&[&reply.into_vec()])
    }

    fn send_to_user(&mut self, parts: &[&[u8]]) -> Result<(), End> {
        self.user.transport().send_parts(parts).map_err(user_error)
    }

    fn send_to_upstream(&mut self, parts: &[&[u8]]) -> Result<(), End> {
        self.upstream.send_parts(parts).map_err(upstream_error)
    }
}

fn unexpected(payload: &[u8]) -> End {
    let number = payload.first().copied().unwrap_or_default();
    End::Violation(Violation::Unexpected { number })
}

fn too_many(error: &ChannelError) -> End {
    tell(
        SSH_DISCONNECT_SERVICE_NOT_AVAILABLE,
        &format!("Resource Exhausted: {error}"),
    )
}
