//! The account's half: one process for each connection, running as the account, that starts what
//! the user asks for, hands its descriptors to the gate, and reports how it ended.
//!
//! It takes orders from the gate, but what may be done at all it knows from the monitor: a gate
//! that was taken over gets no more from it than the certificate permits.

mod environment;
mod environment_file;
mod forward;
#[cfg(fuzzing)]
pub mod fuzzing;
mod motd;
mod order;
mod programs;
mod starter;
mod terminal;

use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use thiserror::Error;

use crate::ipc::{
    ChannelNumber, FromSession, Link, LinkError, Program, ProgramEnd, PtyRequest, SessionEvent,
    SessionSetup, ToSession, bounded,
};
use crate::sys::signals::Signals;
use crate::sys::{process, sandbox};
use forward::{Forwarding, Outcome};
use programs::Programs;

pub use starter::run;

/// How long the monitor may take to say what this session is for, and any part to take a message.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a session outlives its connection to see its programs end.
const TO_END: Duration = Duration::from_secs(1);

type GateLink = Link<FromSession, ToSession>;
type MonitorLink = Link<SessionEvent, SessionSetup>;

/// Why a session process ends before its connection.
#[derive(Debug, Error)]
pub enum SessionError {
    /// A link to another part.
    #[error("the link to the {part}: {source}")]
    Link {
        /// Which part.
        part: &'static str,
        /// What happened to it.
        source: LinkError,
    },
    /// The system refused.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

/// Serves one connection until it ends.
fn serve(monitor: MonitorLink, gate: GateLink) -> Result<(), SessionError> {
    process::set_name(c"bastion-session");
    let outcome = serve_until_the_end(&monitor, gate);
    if let Err(error) = &outcome {
        let why = bounded(error.to_string());
        // There is nobody else to tell.
        let _gone = send(&monitor, &SessionEvent::Failed { why }, &[], "monitor");
    }
    outcome
}

fn serve_until_the_end(monitor: &MonitorLink, gate: GateLink) -> Result<(), SessionError> {
    let signals = Signals::take(&[
        Signal::SIGCHLD,
        Signal::SIGTERM,
        Signal::SIGHUP,
        Signal::SIGINT,
    ])
    .map_err(system("take signals"))?;
    let setup = first_message(monitor)?;
    take_on(&setup)?;
    let forwarding = Forwarding::new(&setup);
    let mut session = Session {
        monitor,
        gate,
        forwarding,
        programs: Programs::new(setup),
    };
    let outcome = session.serve(&signals);
    session.programs.hang_up_all();
    session.forwarding.end();
    let seen_off = session.see_off(&signals);
    match outcome.and(seen_off) {
        // The connection went while it was being told something: that is how connections end.
        Err(SessionError::Link {
            source: LinkError::Closed,
            ..
        }) => Ok(()),
        outcome => outcome,
    }
}

/// Becomes the account, and gives up what this session is not to have.
fn take_on(setup: &SessionSetup) -> Result<(), SessionError> {
    if setup.become_account {
        // Here, not before execve: the kernel then lets nobody of that account trace or stop this
        // process on its way.
        setup
            .account
            .assume()
            .map_err(|error| system("become the account")(io::Error::other(error)))?;
        process::forbid_dump().map_err(system("forbid dumps"))?;
    }
    if setup.config.no_new_privileges {
        process::forbid_new_privileges().map_err(system("forbid new privileges"))?;
    }
    if !setup.config.permit_network {
        sandbox::forbid_network()
            .map_err(|error| system("forbid the network")(io::Error::other(error)))?;
    }
    Ok(())
}

fn first_message(monitor: &MonitorLink) -> Result<SessionSetup, SessionError> {
    let received = monitor
        .wait(PollFlags::POLLIN, Some(PATIENCE))
        .and_then(|()| monitor.receive());
    received.map(|(setup, _)| setup).map_err(link("monitor"))
}

struct Session<'a> {
    monitor: &'a MonitorLink,
    gate: GateLink,
    forwarding: Forwarding,
    programs: Programs,
}

impl Session<'_> {
    /// Until the gate closes the connection or the monitor stops the session.
    fn serve(&mut self, signals: &Signals) -> Result<(), SessionError> {
        loop {
            let ready = self.wait(signals)?;
            let (&[_, signalled, orphaned], forwarded) =
                ready.split_first_chunk().unwrap_or((&[false; 3], &[]));
            // The monitor never writes again; it can only go, and with it what watches over us.
            if orphaned {
                return Ok(());
            }
            if signalled {
                while let Some(signal) = signals.next() {
                    if signal != Signal::SIGCHLD {
                        return Ok(());
                    }
                }
                for ended in self.reap()? {
                    self.answer(&ended, &[])?;
                }
            }
            for outcome in self.forwarding.step(forwarded, Instant::now()) {
                self.tell(outcome)?;
            }
            if !self.obey()? {
                return Ok(());
            }
        }
    }

    /// Waits until something is to be done. Says what is ready: the gate, signals, the monitor,
    /// and what is forwarded.
    fn wait(&self, signals: &Signals) -> Result<Vec<bool>, SessionError> {
        let mut watched = vec![
            PollFd::new(self.gate.as_fd(), PollFlags::POLLIN),
            PollFd::new(signals.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.monitor.as_fd(), PollFlags::empty()),
        ];
        watched.extend(
            self.forwarding
                .watched()
                .map(|(fd, flags)| PollFd::new(fd, flags)),
        );
        let limit = match self.forwarding.patience(Instant::now()) {
            // Rounded up: woken a moment too early it would ask again, and again.
            Some(limit) => {
                PollTimeout::try_from(limit + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX)
            }
            None => PollTimeout::NONE,
        };
        match poll(&mut watched, limit) {
            Ok(_) => Ok(watched.iter().map(|fd| fd.any().unwrap_or(true)).collect()),
            Err(Errno::EINTR) => Ok(vec![false; watched.len()]),
            Err(error) => Err(system("poll")(error.into())),
        }
    }

    /// Carries out what the gate has asked for; false when the connection is gone.
    fn obey(&mut self) -> Result<bool, SessionError> {
        loop {
            let order = match self.gate.receive() {
                Ok((order, _)) => order,
                Err(LinkError::NotNow) => return Ok(true),
                Err(LinkError::Closed) => return Ok(false),
                Err(source) => {
                    return Err(SessionError::Link {
                        part: "gate",
                        source,
                    });
                }
            };
            match order {
                ToSession::Start {
                    channel,
                    program,
                    pty,
                    environment,
                } => self.start(channel, program, pty, environment)?,
                ToSession::WindowChange { channel, size } => self.programs.resize(channel, size),
                ToSession::Signal { channel, signal } => self.programs.signal(channel, &signal),
                ToSession::HangUp { channel } => self.programs.hang_up(channel),
                ToSession::Forward(order) => {
                    if let Some(outcome) = self.forwarding.obey(order) {
                        self.tell(outcome)?;
                    }
                }
            }
        }
    }

    /// Starts a program, and says whether it could be.
    fn start(
        &mut self,
        channel: ChannelNumber,
        program: Program,
        pty: Option<PtyRequest>,
        environment: Vec<(String, String)>,
    ) -> Result<(), SessionError> {
        let kind = self.programs.kind(&program);
        match self.programs.start(channel, program, pty, environment) {
            Ok(running) => {
                self.report(SessionEvent::Started {
                    channel,
                    kind,
                    pty: running.pty,
                    pid: running.pid,
                })?;
                let started = running.started;
                let answer = FromSession::Started { channel, started };
                match self.hand_over(&answer, &running.descriptors)? {
                    Ok(()) => Ok(()),
                    Err(why) => {
                        self.programs.hang_up(channel);
                        let reason = format!("it was started, and hung up again: {why}");
                        self.answer(&FromSession::Failed { channel, reason }, &[])
                    }
                }
            }
            Err(reason) => {
                self.report(SessionEvent::NotStarted {
                    channel,
                    kind,
                    reason: bounded(&reason),
                })?;
                self.answer(&FromSession::Failed { channel, reason }, &[])
            }
        }
    }

    /// Says what came of an order to forward something.
    fn tell(&mut self, outcome: Outcome) -> Result<(), SessionError> {
        if let Some(socket) = outcome.agent {
            self.programs.set_agent(&socket);
        }
        if let Some(event) = outcome.event {
            self.report(SessionEvent::Forward(event))?;
        }
        let Some((answer, descriptor)) = outcome.answer else {
            return Ok(());
        };
        let answer = FromSession::Forward(answer);
        if descriptor.is_none() {
            return self.answer(&answer, &[]);
        }
        match self.hand_over(&answer, descriptor.as_slice())? {
            Ok(()) => Ok(()),
            Err(why) => {
                let instead = self.forwarding.keeps(answer, why);
                instead.map_or(Ok(()), |answer| self.answer(&answer, &[]))
            }
        }
    }

    /// Reports the programs that have ended.
    fn reap(&mut self) -> Result<Vec<FromSession>, SessionError> {
        let mut all = Vec::new();
        while let Some((pid, ended)) = process::reap() {
            if let Some(channel) = self.programs.ended(pid) {
                let end = ProgramEnd::from(ended);
                self.report(SessionEvent::Ended {
                    channel,
                    end: end.clone(),
                })?;
                all.push(FromSession::Ended { channel, end });
            }
        }
        Ok(all)
    }

    /// The connection is over: what ends with it is still reported.
    fn see_off(&mut self, signals: &Signals) -> Result<(), SessionError> {
        let until = Instant::now() + TO_END;
        while !self.programs.are_over() {
            let left = until.saturating_duration_since(Instant::now());
            let left = PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO);
            match poll(&mut [PollFd::new(signals.as_fd(), PollFlags::POLLIN)], left) {
                Ok(0) => return Ok(()),
                Ok(_) | Err(Errno::EINTR) => {}
                Err(error) => return Err(system("poll")(error.into())),
            }
            while signals.next().is_some() {}
            self.reap()?;
        }
        Ok(())
    }

    /// Answers with descriptors. The inner error says why there was no answer: the system passes on
    /// no more descriptors of this account for now, because others wait to be received (unix(7),
    /// ETOOMANYREFS). That is no reason to end what runs.
    fn hand_over(
        &self,
        message: &FromSession,
        descriptors: &[std::os::fd::OwnedFd],
    ) -> Result<Result<(), String>, SessionError> {
        match self.answer(message, descriptors) {
            Err(SessionError::Link {
                source: LinkError::System(error),
                ..
            }) => Ok(Err(format!(
                "a descriptor cannot be handed to the network process: {error}"
            ))),
            outcome => outcome.map(Ok),
        }
    }

    fn answer(
        &self,
        message: &FromSession,
        descriptors: &[std::os::fd::OwnedFd],
    ) -> Result<(), SessionError> {
        let borrowed: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
        send(&self.gate, message, &borrowed, "gate")
    }

    fn report(&self, event: SessionEvent) -> Result<(), SessionError> {
        send(self.monitor, &event, &[], "monitor")
    }
}

impl From<process::Ended> for ProgramEnd {
    fn from(ended: process::Ended) -> Self {
        match ended {
            process::Ended::Exited(status) => Self::Status(status.unsigned_abs()),
            process::Ended::Killed(signal, core_dumped) => Self::Signal {
                name: process::signal_name(signal).split_off("SIG".len()),
                core_dumped,
            },
        }
    }
}

/// Sends, waiting for room no longer than [`PATIENCE`].
fn send<S: serde::Serialize, R: serde::de::DeserializeOwned>(
    to: &Link<S, R>,
    message: &S,
    descriptors: &[std::os::fd::BorrowedFd<'_>],
    part: &'static str,
) -> Result<(), SessionError> {
    loop {
        match to.send(message, descriptors) {
            Err(LinkError::NotNow) => to
                .wait(PollFlags::POLLOUT, Some(PATIENCE))
                .map_err(link(part))?,
            outcome => return outcome.map_err(link(part)),
        }
    }
}

fn system(what: &'static str) -> impl Fn(io::Error) -> SessionError {
    move |source| SessionError::System { what, source }
}

fn link(part: &'static str) -> impl Fn(LinkError) -> SessionError {
    move |source| SessionError::Link { part, source }
}
