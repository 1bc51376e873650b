//! The process that starts sessions, as the monitor sees it.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use nix::poll::PollFlags;
use nix::sys::signal::Signal;
use nix::unistd::Pid;

use crate::ipc::{FromStarter, Link, ToStarter};
use crate::sys::{process, socket, spawn};

/// How long starting a session may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Started when it is first needed, and again when it has failed.
#[derive(Default)]
pub(super) struct Starter(Option<Running>);

struct Running {
    pid: Pid,
    link: Link<ToStarter, FromStarter>,
}

impl Starter {
    /// Starts a session process with its links to us and to the gate. It is a child of ours.
    pub(super) fn start(&mut self, links: &[BorrowedFd<'_>; 2]) -> Result<Pid, String> {
        let running = match self.0.take() {
            Some(running) => running,
            None => Running::start().map_err(|error| error.to_string())?,
        };
        match running.ask(links) {
            Ok(answer) => {
                self.0 = Some(running);
                answer
            }
            Err(why) => {
                process::kill(running.pid, Signal::SIGKILL);
                Err(why)
            }
        }
    }

    /// Takes note of a child's end; whether it was the starter, which is forgotten.
    pub(super) fn note_ended(&mut self, pid: Pid) -> bool {
        self.0.take_if(|running| running.pid == pid).is_some()
    }
}

impl Running {
    fn start() -> std::io::Result<Self> {
        let (here, there) = socket::packet_pair()?;
        let pid = spawn::part("session", None, there.as_fd())?;
        let link = Link::new(here);
        Ok(Self { pid, link })
    }

    /// The outer error is of a starter that is of no use any more.
    fn ask(&self, links: &[BorrowedFd<'_>; 2]) -> Result<Result<Pid, String>, String> {
        self.link
            .send(&ToStarter::Start, links)
            .map_err(|error| error.to_string())?;
        let answer = self
            .link
            .wait(PollFlags::POLLIN, Some(PATIENCE))
            .and_then(|()| self.link.receive());
        match answer {
            Ok((FromStarter::Started(pid), _)) => i32::try_from(pid)
                .map(|pid| Ok(Pid::from_raw(pid)))
                .map_err(|error| error.to_string()),
            Ok((FromStarter::Failed(why), _)) => Ok(Err(why)),
            Err(error) => Err(error.to_string()),
        }
    }
}
