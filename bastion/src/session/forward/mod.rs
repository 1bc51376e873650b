//! Forwarding (RFC 4254 §7): connects and listens as the account, and hands the sockets to the
//! gate. No byte of a forwarded connection passes through here, but those of Unix sockets before Linux
//! 6.16 through a child (`sys::relay`).
//!
//! What may be forwarded the session knows from the monitor, and judges itself: the gate's word
//! is only what the client asks for. Nothing here waits; [`Forwarding::step`] goes on with what
//! has become possible.

mod connect;
mod listen;
#[cfg(test)]
mod tests;

use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::poll::PollFlags;

use crate::ipc::{
    ChannelNumber, Destination, ForwardAnswer, ForwardEvent, ForwardFailure, ForwardOrder,
    FromSession, ListenAddress, ListenerNumber, MAX_FORWARDS, MAX_LISTENERS, MAX_UNTAKEN,
    SessionSetup,
};
use crate::policy::Permits;
use crate::policy::forwarding::{ForwardingRules, NotPermitted};
use connect::{Attempt, Connecting};
use listen::Listening;

/// A lookup that could not begin, because the account has all the processes that it may have, is
/// tried again after this time.
const LOOK_UP_AGAIN: Duration = Duration::from_millis(200);

/// All that is forwarded for one connection.
pub(super) struct Forwarding {
    permits: Permits,
    rules: ForwardingRules,
    superuser: bool,
    connecting: Vec<Connecting>,
    listening: Vec<Listening>,
    /// Accepted connections that the gate has not taken yet.
    untaken: usize,
}

/// What came of an order: to be told to the monitor first, then to the gate.
#[derive(Default)]
pub(super) struct Outcome {
    pub(super) event: Option<ForwardEvent>,
    pub(super) answer: Option<(ForwardAnswer, Option<OwnedFd>)>,
    /// The agent's socket, for programs that are started from now on.
    pub(super) agent: Option<PathBuf>,
}

impl Forwarding {
    pub(super) fn new(setup: &SessionSetup) -> Self {
        Self {
            permits: setup.permits,
            rules: setup.config.forwarding.clone(),
            superuser: setup.account.is_root(),
            connecting: Vec::new(),
            listening: Vec::new(),
            untaken: 0,
        }
    }

    /// Begins to do what the gate asks for.
    pub(super) fn obey(&mut self, order: ForwardOrder) -> Option<Outcome> {
        match order {
            ForwardOrder::Connect { channel, to } => self.connect(channel, to),
            ForwardOrder::Listen { listener, at } => Some(match self.listen(listener, at) {
                Ok(outcome) => outcome,
                Err(failure) => refused(
                    ForwardAnswer::NotListening {
                        listener,
                        failure: failure.clone(),
                    },
                    &failure,
                ),
            }),
            ForwardOrder::CancelListen { listener } => {
                self.listening
                    .retain(|listening| listening.number != listener);
                Some(answered(ForwardAnswer::Cancelled { listener }))
            }
            ForwardOrder::Taken => {
                self.untaken = self.untaken.saturating_sub(1);
                None
            }
        }
    }

    fn connect(&mut self, channel: ChannelNumber, to: Destination) -> Option<Outcome> {
        let begun = if !self.permits.port_forwarding {
            Err(not_permitted_by_certificate("forwarding"))
        } else if self.connecting.len() >= MAX_FORWARDS {
            Err(ForwardFailure::Shortage(
                "too many connections are being made".into(),
            ))
        } else {
            Ok(Connecting::new(channel, to))
        };
        let attempt = match begun {
            Ok(mut connecting) => match connecting.begin(&self.rules) {
                Attempt::Going => {
                    self.connecting.push(connecting);
                    connect::begin_lookups(&mut self.connecting);
                    return None;
                }
                Attempt::Over(result) => (connecting.description(), result),
            },
            Err(failure) => (String::new(), Err(failure)),
        };
        Some(connected(channel, attempt))
    }

    fn listen(
        &mut self,
        number: ListenerNumber,
        at: ListenAddress,
    ) -> Result<Outcome, ForwardFailure> {
        let (permitted, what) = match at {
            ListenAddress::Agent => (self.permits.agent_forwarding, "agent forwarding"),
            _ => (self.permits.port_forwarding, "forwarding"),
        };
        if !permitted {
            return Err(not_permitted_by_certificate(what));
        }
        if self.listening.len() >= MAX_LISTENERS {
            return Err(ForwardFailure::Shortage(
                "there are too many listeners".into(),
            ));
        }
        let listening = Listening::new(number, at, &self.rules, self.superuser)?;
        let answer = ForwardAnswer::Listening {
            listener: number,
            port: listening.port,
        };
        let outcome = Outcome {
            event: Some(ForwardEvent::Listening {
                at: listening.description.clone(),
            }),
            answer: Some((answer, None)),
            agent: listening.agent.clone(),
        };
        self.listening.push(listening);
        Ok(outcome)
    }

    /// A socket of an answer could not be handed over, and is closed: what to answer instead.
    pub(super) fn keeps(&mut self, answer: FromSession, why: String) -> Option<FromSession> {
        match answer {
            FromSession::Forward(ForwardAnswer::Connected { channel }) => {
                let failure = ForwardFailure::Shortage(why);
                let answer = ForwardAnswer::NotConnected { channel, failure };
                Some(FromSession::Forward(answer))
            }
            FromSession::Forward(ForwardAnswer::Accepted { .. }) => {
                self.untaken = self.untaken.saturating_sub(1);
                None
            }
            other => Some(other),
        }
    }

    /// The connection is over: nothing is listened at, or connected to, for it any more.
    pub(super) fn end(&mut self) {
        self.listening.clear();
        self.connecting.clear();
    }

    /// What to wait for, in the order that [`Forwarding::step`] takes.
    pub(super) fn watched(&self) -> impl Iterator<Item = (BorrowedFd<'_>, PollFlags)> {
        let connecting = self.connecting.iter().filter_map(Connecting::watched);
        // Who connects while the gate has enough to do waits in the kernel's queue.
        let room = self.untaken < MAX_UNTAKEN;
        let listening = self
            .listening
            .iter()
            .filter(move |_| room)
            .flat_map(Listening::watched);
        connecting.chain(listening.map(|fd| (fd, PollFlags::POLLIN)))
    }

    /// How long to wait at most.
    pub(super) fn patience(&self, now: Instant) -> Option<Duration> {
        let connecting = self.connecting.iter().map(Connecting::deadline);
        let pauses = self.listening.iter().filter_map(Listening::paused_until);
        let again = connect::want_a_lookup(&self.connecting).then(|| now + LOOK_UP_AGAIN);
        connecting
            .chain(pauses)
            .chain(again)
            .min()
            .map(|until| until.saturating_duration_since(now))
    }

    /// Goes on. `ready` says which of the descriptors of [`Forwarding::watched`] are.
    pub(super) fn step(&mut self, ready: &[bool], now: Instant) -> Vec<Outcome> {
        let mut ready = ready.iter().copied();
        let mut outcomes = Vec::new();
        // A lookup that has ended makes room for one that waits, below.
        self.connecting.retain_mut(|connecting| {
            let ready = connecting.watched().is_some() && ready.next().unwrap_or(false);
            match connecting.go_on(ready, now, &self.rules) {
                Attempt::Going => true,
                Attempt::Over(result) => {
                    outcomes.push(connected(
                        connecting.channel,
                        (connecting.description(), result),
                    ));
                    false
                }
            }
        });
        connect::begin_lookups(&mut self.connecting);
        for listening in &mut self.listening {
            listening.accept(
                now,
                MAX_UNTAKEN - self.untaken.min(MAX_UNTAKEN),
                |accepted, socket| {
                    self.untaken += 1;
                    outcomes.push(Outcome {
                        answer: Some((accepted, Some(socket))),
                        ..Outcome::default()
                    });
                },
            );
        }
        outcomes
    }
}

fn connected(channel: ChannelNumber, (destination, result): (String, connect::Result)) -> Outcome {
    match result {
        Ok((socket, address)) => Outcome {
            event: Some(ForwardEvent::Connected {
                channel,
                destination,
                address,
            }),
            answer: Some((ForwardAnswer::Connected { channel }, Some(socket))),
            agent: None,
        },
        Err(failure) => refused(
            ForwardAnswer::NotConnected {
                channel,
                failure: failure.clone(),
            },
            &failure,
        ),
    }
}

fn refused(answer: ForwardAnswer, failure: &ForwardFailure) -> Outcome {
    let event = match failure {
        ForwardFailure::Prohibited(reason) => Some(ForwardEvent::Prohibited {
            reason: reason.clone(),
        }),
        ForwardFailure::ConnectFailed(_) | ForwardFailure::Shortage(_) => None,
    };
    Outcome {
        event,
        ..answered(answer)
    }
}

fn answered(answer: ForwardAnswer) -> Outcome {
    Outcome {
        answer: Some((answer, None)),
        ..Outcome::default()
    }
}

fn not_permitted_by_certificate(what: &str) -> ForwardFailure {
    ForwardFailure::Prohibited(format!(
        "neither certificate nor configuration permit {what}"
    ))
}

impl From<NotPermitted> for ForwardFailure {
    fn from(why: NotPermitted) -> Self {
        Self::Prohibited(why.to_string())
    }
}

/// What the system says of an error, without its number.
fn words(error: &std::io::Error) -> String {
    match error.raw_os_error() {
        Some(number) => nix::errno::Errno::from_raw(number).desc().to_owned(),
        None => error.to_string(),
    }
}
