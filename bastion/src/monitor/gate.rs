//! The network process, supervised: started, heard, restarted when it ends.

use std::io::Read;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::unistd::Pid;

use super::MonitorError;
use super::liveness::{Liveness, Next};
use crate::ipc::{FromGate, GateSetup, Link, LinkError, ToGate};
use crate::sys::{process, socket, spawn};

/// A gate that ended is started again after this time.
const RESTART_AFTER: Duration = Duration::from_millis(200);
/// One that was killed and has not ended after this time is held in the kernel, by who knows what, and is
/// waited for no longer.
const TO_END: Duration = Duration::from_secs(2);
/// Pieces of what it says at its standard error that are read before anything else is done.
const PIECES_A_TURN: usize = 64;
/// So many gates in a row that never came to serve are enough.
const MAX_FAILURES: u32 = 5;
/// The longest line, and the most lines, that one gate may say at its standard error.
const MAX_LINE: usize = 1024;
const MAX_LINES: u32 = 1000;

/// The listening sockets and the gate that serves them.
pub(super) struct Gate {
    listeners: Vec<TcpListener>,
    running: Option<Running>,
    ended_at: Option<Instant>,
    /// One has served: from then on none is given up for good.
    has_served: bool,
    failures: u32,
    last_line: Option<String>,
}

struct Running {
    pid: Pid,
    link: Link<ToGate, FromGate>,
    /// None once it has been closed.
    stderr: Option<std::fs::File>,
    said: Vec<u8>,
    lines: u32,
    ready: bool,
    liveness: Liveness,
    /// It does not keep to the messages, or does not take any, or has closed the link: it is about
    /// to end by itself or to be ended.
    condemned: Option<Instant>,
    killed: Option<Instant>,
    /// Its number is not its any more.
    reaped: bool,
}

impl Gate {
    pub(super) fn new(listeners: Vec<TcpListener>) -> Self {
        Self {
            listeners,
            running: None,
            ended_at: None,
            has_served: false,
            failures: 0,
            last_line: None,
        }
    }

    pub(super) fn is_gone(&self) -> bool {
        self.running.is_none()
    }

    /// When it is to be started again, if it has ended.
    pub(super) fn restart_due(&self) -> Option<Instant> {
        self.ended_at.map(|at| at + RESTART_AFTER)
    }

    pub(super) fn should_start(&self) -> bool {
        self.is_gone() && self.restart_due().is_none_or(|due| Instant::now() >= due)
    }

    /// Starts it, with what it needs to know.
    pub(super) fn start(&mut self, setup: GateSetup) -> Result<(), MonitorError> {
        let failed = |source| MonitorError::System {
            what: "start the network process",
            source,
        };
        if !self
            .listeners
            .iter()
            .all(|listener| socket::is_listening(listener.as_fd()))
        {
            // A gate that was taken over can do that to a socket that it shares with us.
            return Err(failed(std::io::Error::other(
                "a listening socket has been shut down",
            )));
        }
        for listener in &self.listeners {
            // That, too: a gate that waits to accept does nothing else.
            socket::do_not_block(listener.as_fd()).map_err(failed)?;
        }
        let (here, there) = socket::packet_pair().map_err(failed)?;
        // No pipe: who writes to one can hold up who reads from it, for as long as he likes.
        // The gate waits until it is heard: its log knows no other answer to a full socket than to panic.
        let (stderr, its_stderr) = UnixStream::pair().map_err(failed)?;
        stderr.set_nonblocking(true).map_err(failed)?;
        let pid = spawn::part("gate", Some(its_stderr.into()), there.as_fd()).map_err(failed)?;
        let link = Link::new(here);
        let listeners: Vec<_> = self.listeners.iter().map(AsFd::as_fd).collect();
        let setup = ToGate::Setup(Box::new(setup));
        link.send(&setup, &listeners)
            .map_err(|error| MonitorError::GateUnusable(error.to_string()))?;
        self.ended_at = None;
        self.running = Some(Running {
            pid,
            link,
            stderr: Some(OwnedFd::from(stderr).into()),
            said: Vec::new(),
            lines: 0,
            ready: false,
            liveness: Liveness::asked(Instant::now()),
            reaped: false,
            condemned: None,
            killed: None,
        });
        Ok(())
    }

    /// Whether it has not said yet that it serves.
    pub(super) fn is_starting(&self) -> bool {
        self.running.as_ref().is_some_and(|gate| !gate.ready)
    }

    pub(super) fn note_alive(&mut self) {
        if let Some(gate) = &mut self.running {
            gate.liveness.heard(Instant::now());
        }
    }

    /// Ends a gate that does not keep to the messages.
    pub(super) fn condemn(&mut self) {
        if let Some(gate) = &mut self.running {
            gate.condemn();
        }
    }

    pub(super) fn note_ready(&mut self) {
        self.failures = 0;
        self.has_served = true;
        if let Some(gate) = &mut self.running {
            gate.ready = true;
            gate.liveness.heard(Instant::now());
        }
    }

    /// The next message of the gate, if there is one.
    pub(super) fn receive(&mut self) -> Option<FromGate> {
        let gate = self
            .running
            .as_mut()
            .filter(|gate| gate.condemned.is_none())?;
        match gate.link.receive() {
            Ok((message, _)) => Some(message),
            Err(LinkError::NotNow) => None,
            // As when it ends; `hurry` sees to one that does not.
            Err(LinkError::Closed) => {
                gate.condemned = Some(Instant::now());
                None
            }
            Err(_) => {
                gate.condemn();
                None
            }
        }
    }

    /// Sends a message. A gate whose queue is full has stopped working, and is ended.
    pub(super) fn send(&mut self, message: &ToGate, descriptors: &[BorrowedFd<'_>]) {
        if let Some(gate) = &mut self.running
            && gate.link.send(message, descriptors).is_err()
        {
            gate.condemn();
        }
    }

    /// Asks the gate for a sign of life from time to time, and ends one that gives none, or that has
    /// closed the link and has not ended since.
    pub(super) fn watch(&mut self) {
        let Some(gate) = &mut self.running else {
            return;
        };
        let late = gate
            .condemned
            .is_some_and(|at| at.elapsed() > RESTART_AFTER);
        let next = gate.liveness.next(Instant::now());
        if late || next == Next::GiveUp {
            gate.condemn();
        } else if next == Next::Ask {
            self.send(&ToGate::AreYouAlive, &[]);
        }
    }

    /// The next line that the gate says at its standard error: a panic, or a complaint.
    pub(super) fn read_line(&mut self) -> Option<String> {
        let line = self.running.as_mut()?.read_line()?;
        self.last_line = Some(line.clone());
        Some(line)
    }

    /// Takes note of a child's end; whether it was the gate.
    pub(super) fn note_ended(&mut self, pid: Pid) -> bool {
        let gate = self.running.as_mut().filter(|gate| gate.pid == pid);
        gate.map(|gate| gate.reaped = true).is_some()
    }

    /// Whether it was killed, and does not end.
    pub(super) fn is_stuck(&self) -> bool {
        let killed = self.running.as_ref().and_then(|gate| gate.killed);
        killed.is_some_and(|at| at.elapsed() > TO_END)
    }

    /// Forgets a gate that has ended. An error if it is no use to start another.
    pub(super) fn forget(&mut self) -> Result<(), String> {
        let served = self.running.take().is_some_and(|gate| gate.ready);
        self.ended_at = Some(Instant::now());
        self.failures = if served { 0 } else { self.failures + 1 };
        match self.failures >= MAX_FAILURES && !self.has_served {
            true => Err(self
                .last_line
                .take()
                .unwrap_or_else(|| "it ends as soon as it is started".into())),
            false => Ok(()),
        }
    }

    pub(super) fn kill(&mut self) {
        if let Some(gate) = &mut self.running {
            gate.kill();
        }
    }

    pub(super) fn watched(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let gate = self
            .running
            .as_ref()
            .filter(|gate| gate.condemned.is_none());
        gate.into_iter().flat_map(Running::watched)
    }

    /// The addresses that it listens on, as they turned out (port 0).
    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        self.listeners
            .iter()
            .filter_map(|listener| listener.local_addr().ok())
            .collect()
    }
}

impl Running {
    fn condemn(&mut self) {
        self.condemned = Some(Instant::now());
        self.kill();
    }

    fn kill(&mut self) {
        if !self.reaped {
            process::kill(self.pid, Signal::SIGKILL);
            self.killed.get_or_insert_with(Instant::now);
        }
    }

    fn watched(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let stderr = self.stderr.as_ref().map(AsFd::as_fd);
        std::iter::once(self.link.as_fd()).chain(stderr)
    }

    /// Who never stops talking gets no line of it heard for now.
    fn read_line(&mut self) -> Option<String> {
        for _ in 0..PIECES_A_TURN {
            let end = self.said.iter().position(|&byte| byte == b'\n');
            let end = end.or((self.said.len() > MAX_LINE).then_some(MAX_LINE));
            if let Some(end) = end.filter(|_| self.lines < MAX_LINES) {
                let line: Vec<u8> = self.said.drain(..=end.min(self.said.len() - 1)).collect();
                self.lines += 1;
                return Some(String::from_utf8_lossy(&line).trim_end().to_owned());
            }
            let mut chunk = [0; MAX_LINE];
            match self.stderr.as_mut()?.read(&mut chunk) {
                Ok(0) => self.stderr = None,
                // Read on, so that nobody has to wait, but not written down.
                Ok(_) if self.lines >= MAX_LINES => {}
                Ok(read) => self.said.extend(chunk.iter().take(read)),
                Err(_) => return None,
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gate_that_never_stops_talking_keeps_nobody_waiting() {
        // What it writes is there at once, and more whenever we look.
        let said = std::fs::File::open("/dev/zero").unwrap();
        let (here, _there) = socket::packet_pair().unwrap();
        let mut gate = Running {
            pid: Pid::from_raw(i32::MAX),
            link: Link::new(here),
            stderr: Some(said),
            said: Vec::new(),
            lines: 0,
            ready: true,
            liveness: Liveness::asked(Instant::now()),
            condemned: None,
            killed: None,
            reaped: true,
        };
        let lines = std::iter::from_fn(|| gate.read_line()).count();
        assert_eq!(lines, MAX_LINES as usize);
        assert_eq!(gate.read_line(), None);
        assert!(gate.said.len() <= 2 * MAX_LINE, "{}", gate.said.len());
    }
}
