//! Channel numbers. Each side is told one that is the proxy's own, the same one for both, and the
//! numbers that the sides gave are looked up on the way (pomerium/envoy-custom id_manager.h).

use crate::message::{
    SSH_MSG_CHANNEL_CLOSE, SSH_MSG_CHANNEL_FAILURE, SSH_MSG_CHANNEL_OPEN,
    SSH_MSG_CHANNEL_OPEN_CONFIRMATION, SSH_MSG_CHANNEL_OPEN_FAILURE, SSH_MSG_CHANNEL_WINDOW_ADJUST,
};
use crate::strict::Violation;
use crate::wire::{Malformed, Reader};
use std::collections::BTreeMap;

/// The two ends of the proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    User,
    Upstream,
}

impl Side {
    fn other(self) -> Self {
        match self {
            Self::User => Self::Upstream,
            Self::Upstream => Self::User,
        }
    }
}

/// How many channels a connection may have (pomerium/envoy-custom id_manager.h).
const MAX_CHANNELS: usize = 32_768;

/// What one side has said about a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The other side wants to open it.
    Pending,
    /// Open, under this number of its own.
    Bound(u32),
    /// It sent SSH_MSG_CHANNEL_CLOSE; messages to it still go through.
    Released(u32),
}

#[derive(Debug)]
struct Channel {
    user: State,
    upstream: State,
}

impl Channel {
    fn state(&mut self, side: Side) -> &mut State {
        match side {
            Side::User => &mut self.user,
            Side::Upstream => &mut self.upstream,
        }
    }
}

/// A message on its way to the other side: `head`, then what is left of the payload from `tail` on.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Renumbered {
    pub(super) head: Vec<u8>,
    pub(super) tail: usize,
}

/// Why a channel message goes nowhere.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum ChannelError {
    #[error(transparent)]
    Violation(#[from] Violation),
    #[error("no more than {MAX_CHANNELS} channels")]
    TooMany,
}

/// All channels of a connection, by the proxy's number.
#[derive(Debug, Default)]
pub(super) struct Channels {
    by_number: BTreeMap<u32, Channel>,
    /// Below it, all numbers are in use or in `free`.
    next: u32,
    free: Vec<u32>,
}

impl Channels {
    /// What becomes of the numbers in a message `from` one side, if it may be sent at all.
    pub(super) fn translate(
        &mut self,
        from: Side,
        payload: &[u8],
    ) -> Result<Renumbered, ChannelError> {
        let number = payload.first().copied().unwrap_or_default();
        let malformed = |source: Malformed| Violation::Malformed { number, source };
        let mut reader = Reader::new(payload.get(1..).unwrap_or_default());
        if number == SSH_MSG_CHANNEL_OPEN {
            let kind = reader.string().map_err(malformed)?.len();
            let sender = reader.u32().map_err(malformed)?;
            return self.open(from, sender, payload.get(..5 + kind).unwrap_or_default());
        }
        let recipient = reader.u32().map_err(malformed)?;
        let unknown = Violation::UnknownChannel {
            channel: recipient,
            number,
        };
        let channel = self
            .by_number
            .get_mut(&recipient)
            .ok_or_else(|| unknown.clone())?;
        let ours = *channel.state(from);
        let (State::Bound(theirs) | State::Released(theirs)) = *channel.state(from.other()) else {
            return Err(unknown.into());
        };
        let mut head = [&[number][..], &theirs.to_be_bytes()].concat();
        match (ours, number) {
            (State::Pending, SSH_MSG_CHANNEL_OPEN_CONFIRMATION) => {
                *channel.state(from) = State::Bound(reader.u32().map_err(malformed)?);
                head.extend_from_slice(&recipient.to_be_bytes());
            }
            (State::Pending, SSH_MSG_CHANNEL_OPEN_FAILURE) => self.release(recipient),
            (State::Bound(id), SSH_MSG_CHANNEL_CLOSE) => {
                *channel.state(from) = State::Released(id);
                if matches!(channel.state(from.other()), State::Released(_)) {
                    self.release(recipient);
                }
            }
            (State::Bound(_), SSH_MSG_CHANNEL_WINDOW_ADJUST..=SSH_MSG_CHANNEL_FAILURE) => {}
            _ => return Err(unknown.into()),
        }
        Ok(Renumbered {
            tail: head.len(),
            head,
        })
    }

    fn open(&mut self, from: Side, sender: u32, start: &[u8]) -> Result<Renumbered, ChannelError> {
        if self.by_number.len() >= MAX_CHANNELS {
            return Err(ChannelError::TooMany);
        }
        let number = self.free.pop().unwrap_or_else(|| {
            self.next += 1;
            self.next - 1
        });
        let mut channel = Channel {
            user: State::Pending,
            upstream: State::Pending,
        };
        *channel.state(from) = State::Bound(sender);
        self.by_number.insert(number, channel);
        let head = [start, &number.to_be_bytes()].concat();
        Ok(Renumbered {
            tail: head.len(),
            head,
        })
    }

    fn release(&mut self, number: u32) {
        self.by_number.remove(&number);
        self.free.push(number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Writer;

    fn passed(channels: &mut Channels, from: Side, payload: Vec<u8>) -> Option<Vec<u8>> {
        let Renumbered { mut head, tail } = channels.translate(from, &payload).ok()?;
        head.extend_from_slice(&payload[tail..]);
        Some(head)
    }

    fn on(number: u8, channel: u32) -> Vec<u8> {
        Writer::message(number).u32(channel).into_vec()
    }

    #[test]
    fn a_channel_from_open_to_both_closes() {
        let mut channels = Channels {
            next: 50,
            ..Channels::default()
        };
        let open = |id| {
            Writer::message(90)
                .string("session")
                .u32(id)
                .u32(5)
                .u32(6)
                .into_vec()
        };
        let confirm = |to, id| Writer::message(91).u32(to).u32(id).u32(7).u32(8).into_vec();
        let (user, upstream) = (Side::User, Side::Upstream);
        assert_eq!(passed(&mut channels, user, open(3)), Some(open(50)));
        assert_eq!(
            passed(&mut channels, upstream, on(94, 50)),
            None,
            "not confirmed yet"
        );
        assert_eq!(
            passed(&mut channels, upstream, confirm(50, 9)),
            Some(confirm(3, 50))
        );
        assert_eq!(passed(&mut channels, user, on(96, 50)), Some(on(96, 9)));
        assert_eq!(passed(&mut channels, upstream, on(99, 50)), Some(on(99, 3)));
        assert_eq!(passed(&mut channels, upstream, on(97, 50)), Some(on(97, 3)));
        assert_eq!(
            passed(&mut channels, upstream, on(98, 50)),
            None,
            "after its own CLOSE"
        );
        assert_eq!(
            passed(&mut channels, user, on(94, 50)),
            Some(on(94, 9)),
            "still half open"
        );
        assert_eq!(passed(&mut channels, user, on(97, 50)), Some(on(97, 9)));
        assert_eq!(
            passed(&mut channels, user, on(94, 50)),
            None,
            "closed by both"
        );
        assert_eq!(
            passed(&mut channels, upstream, open(1)),
            Some(open(50)),
            "used again"
        );
        assert_eq!(passed(&mut channels, user, on(92, 50)), Some(on(92, 1)));
        assert!(channels.by_number.is_empty());
    }
}
