//! The network process, supervised: started, heard, restarted when it ends.

use std::io::Read;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use keys::host_keys::HOST_KEYS;
use nix::sys::signal::Signal;
use nix::unistd::Pid;

use super::MonitorError;
use super::audit::Event;
use crate::ipc::{FromGate, GateSetup, HostKey, Link, LinkError, ToGate};
use crate::sys::{files, process, socket, spawn};

/// The folder, under the state folder, that the gate has for a root: empty, and root's.
pub(super) const EMPTY_ROOT: &str = "empty";
/// OpenSSH's MAX_KEY_FILE_SIZE, in bytes.
const MAX_HOST_KEY: u64 = 1024 * 1024;
/// A gate that ended is started again after this time.
const RESTART_AFTER: Duration = Duration::from_millis(200);
/// How often it is asked whether it lives, and how long it may stay silent.
const ASK_EVERY: Duration = Duration::from_secs(5);
const LONGEST_SILENCE: Duration = Duration::from_secs(30);
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
        let (here, there) = socket::packet_pair().map_err(failed)?;
        let (stderr, its_stderr) = socket::pipe().map_err(failed)?;
        socket::do_not_block(stderr.as_fd()).map_err(failed)?;
        let pid = spawn::part("gate", Some(its_stderr), &[there.as_fd()]).map_err(failed)?;
        let link = Link::new(here);
        let listeners: Vec<_> = self.listeners.iter().map(AsFd::as_fd).collect();
        let setup = ToGate::Setup(Box::new(setup));
        link.send(&setup, &listeners)
            .map_err(|error| MonitorError::GateUnusable(error.to_string()))?;
        self.ended_at = None;
        self.running = Some(Running {
            pid,
            link,
            stderr: Some(stderr.into()),
            said: Vec::new(),
            lines: 0,
            ready: false,
            liveness: Liveness::asked(Instant::now()),
            reaped: false,
            condemned: None,
        });
        Ok(())
    }

    /// Whether it has not said yet that it serves.
    pub(super) fn is_starting(&self) -> bool {
        self.running.as_ref().is_some_and(|gate| !gate.ready)
    }

    pub(super) fn is_alive(&mut self) {
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

    pub(super) fn is_ready(&mut self) {
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

    /// Whether this child, which has ended, was the gate.
    pub(super) fn has_ended(&mut self, pid: Pid) -> bool {
        let gate = self.running.as_mut().filter(|gate| gate.pid == pid);
        gate.map(|gate| gate.reaped = true).is_some()
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

    pub(super) fn kill(&self) {
        if let Some(gate) = &self.running {
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

    fn kill(&self) {
        if !self.reaped {
            process::kill(self.pid, Signal::SIGKILL);
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

/// Whether the gate answers the question whether it lives: the first of them is what it is told to
/// serve.
struct Liveness {
    /// When it was asked, if it has not answered since.
    unanswered: Option<Instant>,
    heard: Instant,
    /// When we last looked.
    looked: Instant,
}

#[derive(Debug, PartialEq, Eq)]
enum Next {
    Wait,
    Ask,
    GiveUp,
}

impl Liveness {
    fn asked(now: Instant) -> Self {
        Self {
            unanswered: Some(now),
            heard: now,
            looked: now,
        }
    }

    fn heard(&mut self, now: Instant) {
        self.unanswered = None;
        self.heard = now;
    }

    fn next(&mut self, now: Instant) -> Next {
        // We stood still ourselves, and the gate perhaps with us (a container that is paused): it
        // has all its time again.
        let stood_still = now - std::mem::replace(&mut self.looked, now) > ASK_EVERY;
        match &mut self.unanswered {
            Some(asked) if stood_still => *asked = now,
            Some(asked) if now - *asked > LONGEST_SILENCE => return Next::GiveUp,
            Some(_) => {}
            None if now - self.heard > ASK_EVERY => {
                self.unanswered = Some(now);
                return Next::Ask;
            }
            None => {}
        }
        Next::Wait
    }
}

/// Makes the host keys that are missing; says of each what it is.
pub(super) fn ensure_host_keys(folder: &Path) -> Result<Vec<Event>, MonitorError> {
    let wrong = |source: Box<dyn std::error::Error + Send + Sync>| MonitorError::HostKeys {
        folder: folder.into(),
        source,
    };
    make_folder(folder).map_err(|error| wrong(error.into()))?;
    check_state_folder(folder)?;
    make_folder(&folder.join(EMPTY_ROOT)).map_err(|error| wrong(error.into()))?;
    let keys = keys::host_keys::ensure_host_keys(folder, "bastion")
        .map_err(|error| wrong(error.into()))?;
    Ok(keys.iter().map(host_key).collect())
}

/// Whether the folder, and each host key that is in it, is where nobody else could have put it. What is
/// not there is no harm: it is made.
fn check_state_folder(folder: &Path) -> Result<(), MonitorError> {
    let is_there = |path: &Path| path.symlink_metadata().is_ok();
    let key_files = HOST_KEYS.iter().map(|(name, _)| folder.join(name));
    let checked = match is_there(folder) {
        true => files::check_folder_relied_on(folder).and_then(|()| {
            key_files
                .filter(|path| is_there(path))
                .try_for_each(|path| files::read_relied_on(&path, MAX_HOST_KEY).map(drop))
        }),
        false => Ok(()),
    };
    checked.map_err(|error| MonitorError::HostKeys {
        folder: folder.into(),
        source: error.into(),
    })
}

/// Whether the host keys that are there can be used.
pub(super) fn check_host_keys(folder: &Path) -> Result<(), MonitorError> {
    check_state_folder(folder)?;
    keys::host_keys::check_host_keys(folder).map_err(|error| MonitorError::HostKeys {
        folder: folder.into(),
        source: error.into(),
    })
}

/// The private halves, read anew for each gate so that the monitor need not keep them. One that has
/// gone meanwhile is made again, of which there is something to say.
pub(super) fn read_host_keys(folder: &Path) -> Result<(Vec<HostKey>, Vec<Event>), MonitorError> {
    let wrong = |source: Box<dyn std::error::Error + Send + Sync>| MonitorError::HostKeys {
        folder: folder.into(),
        source,
    };
    check_state_folder(folder)?;
    let keys = keys::host_keys::ensure_host_keys(folder, "bastion")
        .map_err(|error| wrong(error.into()))?;
    let made = keys.iter().filter(|key| key.made).map(host_key).collect();
    let private = keys.iter().map(|key| {
        let text = key.key.to_openssh(ssh_key::LineEnding::LF);
        text.map(HostKey).map_err(|error| wrong(error.into()))
    });
    Ok((private.collect::<Result<_, _>>()?, made))
}

/// That there is this host key.
fn host_key(key: &keys::host_keys::HostKeyFile) -> Event {
    Event::HostKey {
        file: key.path.display().to_string(),
        made: key.made,
        fingerprint: key.key.fingerprint(ssh_key::HashAlg::Sha256).to_string(),
    }
}

/// Makes a folder for our eyes only, and its parents, where missing.
fn make_folder(folder: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gate_is_given_up_when_it_answers_no_more_and_not_when_we_stood_still() {
        let mut now = Instant::now();
        let mut liveness = Liveness::asked(now);
        let mut in_turn = |liveness: &mut Liveness, seconds| {
            now += Duration::from_secs(seconds);
            (now, liveness.next(now))
        };
        let (answered, next) = in_turn(&mut liveness, 2);
        assert_eq!(next, Next::Wait);
        liveness.heard(answered);
        assert_eq!(in_turn(&mut liveness, 5).1, Next::Wait);
        assert_eq!(in_turn(&mut liveness, 1).1, Next::Ask);
        // Paused for an hour, and both of us go on.
        assert_eq!(in_turn(&mut liveness, 3600).1, Next::Wait);
        let silent = (1..).take_while(|_| in_turn(&mut liveness, 1).1 == Next::Wait);
        assert_eq!(silent.count() as u64, LONGEST_SILENCE.as_secs());
    }

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
            reaped: true,
        };
        let lines = std::iter::from_fn(|| gate.read_line()).count();
        assert_eq!(lines, MAX_LINES as usize);
        assert_eq!(gate.read_line(), None);
        assert!(gate.said.len() <= 2 * MAX_LINE, "{}", gate.said.len());
    }
}
