//! Between the gate and a Unix socket of the account's.
//!
//! Who reads from a Unix socket has to close the descriptors that came along with the bytes, and that
//! may take as long as their sender likes (a TCP socket that lingers). A thread of the gate serves
//! many connections. Before Linux 6.16 nobody can refuse such descriptors: there a process that
//! serves this one socket stands between, and passes on the bytes alone.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use bytes::{Buf, Bytes};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{Shutdown, shutdown};

use super::LINGER;
use crate::sys::{process, read, socket, spawn};

/// The most that is read at a time.
const PIECE: usize = 64 * 1024;

/// This Unix socket, or one that is as good and brings no descriptors. To be called in a process of one
/// thread; a child that it starts is to be reaped like any other.
pub fn without_descriptors(socket: OwnedFd) -> io::Result<OwnedFd> {
    match socket::take_no_descriptors(socket.as_fd()) {
        true => Ok(socket),
        false => stand_between(socket),
    }
}

fn stand_between(far: OwnedFd) -> io::Result<OwnedFd> {
    let (ours, near) = socket::stream_pair()?;
    socket::do_not_block(far.as_fd())?;
    spawn::helper([far, near], |[far, near]| {
        process::set_name(c"bastion-relay");
        relay(far.as_fd(), near.as_fd())
    })?;
    Ok(ours)
}

/// Until both directions have ended, or somebody has closed his end and read nothing more.
fn relay(far: BorrowedFd<'_>, near: BorrowedFd<'_>) -> io::Result<()> {
    let mut there = Way::new(near, far);
    let mut back = Way::new(far, near);
    let (mut far_is_closed, mut near_is_closed) = (false, false);
    loop {
        let at_far = back.wants_to_read() | there.wants_to_write();
        let at_near = there.wants_to_read() | back.wants_to_write();
        let closed = (far_is_closed && back.is_over) || (near_is_closed && there.is_over);
        if closed || (there.is_over && back.is_over) {
            return Ok(());
        }
        // One that is closed is ready for ever, and looked at only where there is more to read.
        let mut watched = Vec::new();
        if !(far_is_closed && at_far.is_empty()) {
            watched.push(PollFd::new(far, at_far));
        }
        if !(near_is_closed && at_near.is_empty()) {
            watched.push(PollFd::new(near, at_near));
        }
        poll(&mut watched, PollTimeout::NONE)?;
        for ready in &watched {
            let hung_up = ready
                .revents()
                .is_some_and(|events| events.contains(PollFlags::POLLHUP));
            match ready.as_fd().as_raw_fd() == far.as_raw_fd() {
                true => far_is_closed |= hung_up,
                false if hung_up && !near_is_closed => {
                    near_is_closed = true;
                    // What was sent before is still to be taken, but not for ever.
                    process::end_after(LINGER);
                }
                false => {}
            }
        }
        if there.go_on() && near_is_closed {
            process::end_after(LINGER);
        }
        back.go_on();
    }
}

/// One direction.
struct Way<'a> {
    from: BorrowedFd<'a>,
    to: BorrowedFd<'a>,
    /// Read, and not written yet.
    bytes: Bytes,
    is_over: bool,
}

impl<'a> Way<'a> {
    fn new(from: BorrowedFd<'a>, to: BorrowedFd<'a>) -> Self {
        Self {
            from,
            to,
            bytes: Bytes::new(),
            is_over: false,
        }
    }

    fn wants_to_read(&self) -> PollFlags {
        match !self.is_over && self.bytes.is_empty() {
            true => PollFlags::POLLIN,
            false => PollFlags::empty(),
        }
    }

    fn wants_to_write(&self) -> PollFlags {
        match self.bytes.is_empty() {
            true => PollFlags::empty(),
            false => PollFlags::POLLOUT,
        }
    }

    /// Moves what can be moved now; whether that was anything. Where nothing can be moved any more
    /// this direction is over, and the other goes on.
    fn go_on(&mut self) -> bool {
        if self.is_over {
            return false;
        }
        let moved = self.move_on();
        if moved.is_err() {
            self.bytes.clear();
            self.is_over = true;
            // Who still writes is told. One that is closed needs not be.
            let _gone = shutdown(self.from.as_raw_fd(), Shutdown::Read);
        }
        moved.unwrap_or(false)
    }

    fn move_on(&mut self) -> io::Result<bool> {
        if self.bytes.is_empty() {
            match read::available(self.from, PIECE) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                read => self.bytes = read?,
            }
            if self.bytes.is_empty() {
                self.is_over = true;
                shutdown(self.to.as_raw_fd(), Shutdown::Write)?;
                return Ok(false);
            }
        }
        match nix::unistd::write(self.to, &self.bytes).map_err(io::Error::from) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            written => {
                self.bytes.advance(written?);
                Ok(true)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
    use std::io::{IoSlice, Read, Write};
    use std::net::Shutdown;
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    /// The account's end, and the gate's.
    fn relayed() -> (UnixStream, UnixStream) {
        let (outer, inner) = UnixStream::pair().unwrap();
        let ours = UnixStream::from(stand_between(inner.into()).unwrap());
        ours.set_nonblocking(false).unwrap();
        for end in [&outer, &ours] {
            end.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        }
        (outer, ours)
    }

    #[test]
    fn all_bytes_go_both_ways_and_each_way_ends_by_itself() {
        let (mut outer, mut ours) = relayed();
        let much: Vec<u8> = (0..3_000_000_u32).map(|byte| byte as u8).collect();
        let sent = much.clone();
        let mut writer = ours.try_clone().unwrap();
        let writing = std::thread::spawn(move || {
            writer.write_all(&sent).unwrap();
            writer.shutdown(Shutdown::Write).unwrap();
        });
        let mut came = Vec::new();
        outer.read_to_end(&mut came).unwrap();
        assert!(came == much);
        writing.join().unwrap();
        outer.write_all(b"and back").unwrap();
        drop(outer);
        came.clear();
        ours.read_to_end(&mut came).unwrap();
        assert_eq!(came, b"and back");
    }

    #[test]
    fn who_closes_his_end_closes_the_others() {
        let (mut outer, ours) = relayed();
        drop(ours);
        assert_eq!(outer.read(&mut [0]).unwrap(), 0);
        // What is sent now is taken until the relay has gone, and then refused.
        while outer.write_all(b"to nobody").is_ok() {}
    }

    /// As a server that refuses an upload before it has read it.
    #[test]
    fn who_takes_no_more_may_still_have_something_to_say() {
        let (mut outer, mut ours) = relayed();
        ours.set_nonblocking(true).unwrap();
        while ours.write(&[7; 65_536]).is_ok() {}
        outer.write_all(b"too large").unwrap();
        drop(outer);
        ours.set_nonblocking(false).unwrap();
        let mut came = Vec::new();
        // As without a relay: who closes with something unread is not heard to end in order.
        let _reset = ours.read_to_end(&mut came);
        assert_eq!(came, b"too large");
    }

    #[test]
    fn what_was_sent_before_the_end_arrives_whatever_comes_back() {
        let (mut outer, mut ours) = relayed();
        let sent = vec![7; 150_000];
        ours.write_all(&sent).unwrap();
        drop(ours);
        let mut came = vec![0; sent.len()];
        for piece in came.chunks_mut(1000) {
            // The relay may have nowhere to put it any more.
            let _gone = outer.write(b"and what about this?");
            outer.read_exact(piece).unwrap();
        }
        assert!(came == sent);
    }

    #[test]
    fn descriptors_stay_behind() {
        let (outer, ours) = relayed();
        let rights = [outer.as_raw_fd()];
        sendmsg::<()>(
            outer.as_raw_fd(),
            &[IoSlice::new(b"x")],
            &[ControlMessage::ScmRights(&rights)],
            MsgFlags::empty(),
            None,
        )
        .unwrap();
        let mut room = Vec::with_capacity(16);
        let came = socket::receive(ours.as_fd(), &mut room).unwrap().unwrap();
        assert_eq!((room.as_slice(), came.len()), (&b"x"[..], 0));
    }
}
