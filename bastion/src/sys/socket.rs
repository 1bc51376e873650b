//! Sequenced-packet sockets between the parts: whole messages, with descriptors beside them.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, recv, recvmsg, sendmsg, setsockopt, socketpair, sockopt,
};

/// The most descriptors that one message carries.
pub const MAX_DESCRIPTORS: usize = 4;

/// A connected pair of sequenced-packet sockets, close-on-exec and not blocking.
pub fn packet_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    Ok(socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)?)
}

/// Sends one message with its descriptors. `WouldBlock` when the peer's queue is full.
pub fn send(socket: BorrowedFd<'_>, message: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let raw: Vec<_> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&raw)];
    let control = if raw.is_empty() { &[][..] } else { &rights[..] };
    let flags = MsgFlags::MSG_NOSIGNAL;
    sendmsg::<()>(socket.as_raw_fd(), &[IoSlice::new(message)], control, flags, None)?;
    Ok(())
}

/// Receives one message of at most `limit` bytes, with its descriptors; `None` when the peer has
/// closed. `WouldBlock` when there is none. A longer message, or one with too many descriptors,
/// is an error: what came with it is closed.
pub fn receive(socket: BorrowedFd<'_>, limit: usize) -> io::Result<Option<(Vec<u8>, Vec<OwnedFd>)>> {
    let peek = MsgFlags::MSG_PEEK | MsgFlags::MSG_TRUNC;
    let length = recv(socket.as_raw_fd(), &mut [], peek)?;
    let mut message = vec![0; length.min(limit)];
    let mut control = nix::cmsg_space!([std::os::fd::RawFd; MAX_DESCRIPTORS]);
    let mut parts = [IoSliceMut::new(&mut message)];
    let received =
        recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut control), MsgFlags::MSG_CMSG_CLOEXEC)?;
    let mut descriptors = Vec::new();
    for item in received.cmsgs()? {
        if let ControlMessageOwned::ScmRights(raw) = item {
            // SAFETY: the kernel has just made these descriptors for us, and nothing else owns them.
            descriptors.extend(raw.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
        }
    }
    let cut = received.flags.intersects(MsgFlags::MSG_CTRUNC | MsgFlags::MSG_TRUNC);
    if cut || length > limit {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a message of another part is too long"));
    }
    // A sequenced-packet socket has no other sign of its end than a message of no bytes; our
    // messages are never empty.
    Ok((length > 0).then_some((message, descriptors)))
}

/// A pipe, close-on-exec and blocking at both ends: (read end, write end).
pub fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(nix::unistd::pipe2(OFlag::O_CLOEXEC)?)
}

/// Makes reads and writes of this open file fail with `WouldBlock` instead of waiting.
pub fn do_not_block(fd: BorrowedFd<'_>) -> io::Result<()> {
    let flags = OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL)?);
    fcntl(fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    Ok(())
}

/// Asks the kernel to find out whether the far end of a TCP connection is still there.
pub fn keep_alive(socket: BorrowedFd<'_>) -> io::Result<()> {
    Ok(setsockopt(&socket, sockopt::KeepAlive, &true)?)
}
