//! Between the gate and the pipes of a program.
//!
//! Whoever reads, writes or closes a pipe waits for its lock, whatever O_NONBLOCK says, and SIGKILL does
//! not end that. splice(2) holds the lock while it waits for its other side. The pipes of a program are
//! its account's to do that with, as long as it likes: the gate touches none of them.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SpliceFFlags, fcntl, splice};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::unistd::{Pid, getpid, getppid};

use super::{LINGER, without_descriptors};
use crate::sys::signals::Signals;
use crate::sys::{process, scheduling, socket, spawn};

/// The most that is moved at a time: all that a pipe holds, and more.
const PIECE: usize = 1024 * 1024;
/// So much at a time is a transfer. Then the pipe is asked to hold [`WIDE`] bytes, and not 64 KiB (pipe(7)):
/// not from the beginning, as what all pipes of an account may hold together is limited, and most are
/// little used.
const MUCH: usize = 16 * 1024;
const WIDE: i32 = 256 * 1024;

/// Standard input, output and error of a program that has no terminal.
pub struct Pipes {
    /// The program's ends.
    pub program: [OwnedFd; 3],
    /// The gate's: of sockets, whose other ends are the relay's.
    pub gate: [OwnedFd; 3],
}

/// Makes them, and a child that carries bytes between them until the program has closed its ends. To be
/// called in a process of one thread; the child is to be reaped like any other.
pub fn pipes() -> io::Result<Pipes> {
    let [
        (stdin, to_stdin),
        (from_stdout, stdout),
        (from_stderr, stderr),
    ] = [socket::pipe()?, socket::pipe()?, socket::pipe()?];
    let [(input, from_gate), (output, to_output), (errors, to_errors)] = [
        socket::stream_pair()?,
        socket::stream_pair()?,
        socket::stream_pair()?,
    ];
    let ends = [
        from_gate,
        to_stdin,
        from_stdout,
        to_output,
        from_stderr,
        to_errors,
    ];
    let session = getpid();
    spawn::helper(ends, |ends| {
        let [
            from_gate,
            to_stdin,
            from_stdout,
            to_output,
            from_stderr,
            to_errors,
        ] = ends;
        process::set_name(c"bastion-relay");
        let ways = vec![
            Way::new(from_gate, to_stdin),
            Way::new(from_stdout, to_output),
            Way::new(from_stderr, to_errors),
        ];
        relay(ways, session)
    })?;
    Ok(Pipes {
        program: [stdin, stdout, stderr],
        gate: [input, output, errors],
    })
}

/// The same for a program that does as well with sockets, which nobody can hold: without a child, since
/// Linux 6.16. What opens /dev/stdin by its name does not.
pub fn sockets() -> io::Result<Pipes> {
    let one = || -> io::Result<(OwnedFd, OwnedFd)> {
        let (program, gate) = UnixStream::pair()?;
        Ok((program.into(), without_descriptors(gate.into())?))
    };
    let [(stdin, input), (stdout, output), (stderr, errors)] = [one()?, one()?, one()?];
    Ok(Pipes {
        program: [stdin, stdout, stderr],
        gate: [input, output, errors],
    })
}

/// Until no way is left; after the `session` that it was started by has ended, until nothing was moved
/// for [`LINGER`].
fn relay(mut ways: Vec<Way>, session: Pid) -> io::Result<()> {
    let session_end = Signals::take(&[Signal::SIGHUP])?;
    process::hear_of_parents_end(Signal::SIGHUP)?;
    let mut is_orphaned = getppid() != session;
    if is_orphaned {
        process::end_after(LINGER);
    }
    while !ways.is_empty() {
        let mut watched = vec![PollFd::new(session_end.as_fd(), PollFlags::POLLIN)];
        watched.extend(ways.iter().flat_map(Way::watched));
        match poll(&mut watched, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        let ready = watched.iter().map(|fd| fd.any().unwrap_or(true));
        let mut ready = ready.collect::<Vec<_>>().into_iter();
        let mut next = || ready.next().unwrap_or(false);
        let has_ended = next() && session_end.next().is_some();
        is_orphaned |= has_ended;
        let mut moved = 0;
        ways.retain_mut(|way| {
            let (may_move, nobody_takes_it) = (next(), next());
            let now = match may_move {
                true => way.go_on(),
                false => Some(0),
            };
            moved += now.unwrap_or(0);
            !nobody_takes_it && now.is_some()
        });
        if has_ended || (is_orphaned && moved > 0) {
            process::end_after(LINGER);
        }
    }
    Ok(())
}

/// One direction.
struct Way {
    from: OwnedFd,
    to: OwnedFd,
    /// There is something to move, and no room for it; or the other way round.
    wants_room: bool,
    is_transfer: bool,
}

impl Way {
    fn new(from: OwnedFd, to: OwnedFd) -> Self {
        Self {
            from,
            to,
            wants_room: false,
            is_transfer: false,
        }
    }

    /// What to wait for, and the end, of which `poll` tells when it is closed. Of a beginning that is
    /// closed it would tell for ever: where there is no room it is not looked at.
    fn watched(&self) -> [PollFd<'_>; 2] {
        let (from, to) = (self.from.as_fd(), self.to.as_fd());
        let first = match self.wants_room {
            true => PollFd::new(to, PollFlags::POLLOUT),
            false => PollFd::new(from, PollFlags::POLLIN),
        };
        [first, PollFd::new(to, PollFlags::empty())]
    }

    /// Moves what can be moved now, and says how much that was. Nothing when there is no more to come,
    /// or nobody to take it: then both ends are to be closed, which tells whoever has the others.
    fn go_on(&mut self) -> Option<usize> {
        let flags = SpliceFFlags::SPLICE_F_MOVE | SpliceFFlags::SPLICE_F_NONBLOCK;
        match splice(&self.from, None, &self.to, None, PIECE, flags) {
            Ok(0) => return None,
            Ok(moved) => {
                self.wants_room = false;
                if moved >= MUCH && !self.is_transfer {
                    self.become_transfer();
                }
                return Some(moved);
            }
            // It does not say which of the two it would have to wait for.
            Err(Errno::EAGAIN) => self.wants_room = !self.wants_room,
            Err(Errno::EINTR) => {}
            Err(_) => return None,
        }
        Some(0)
    }

    /// Has the pipe, whichever of the two ends that is, hold more, so that much goes in few turns; and
    /// those turns wait for whoever runs, who may have somebody's keystroke in hand.
    fn become_transfer(&mut self) {
        self.is_transfer = true;
        // What is refused of this does as well without.
        let _as_it_is = scheduling::interrupt_nobody();
        for end in [&self.from, &self.to] {
            let _as_it_is = fcntl(end, FcntlArg::F_SETPIPE_SZ(WIDE));
        }
    }
}
