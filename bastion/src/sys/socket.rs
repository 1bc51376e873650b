//! Sockets between the parts: of sequenced packets for whole messages, with descriptors beside them, of
//! streams for bytes.

use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, getsockopt, sendmsg, setsockopt,
    socketpair, sockopt,
};

/// The most descriptors that one message carries.
pub const MAX_DESCRIPTORS: usize = 4;

/// A connected pair of sequenced-packet sockets, close-on-exec and not blocking.
pub fn packet_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    pair(SockType::SeqPacket)
}

/// A connected pair of stream sockets, close-on-exec and not blocking.
pub fn stream_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    pair(SockType::Stream)
}

fn pair(kind: SockType) -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    Ok(socketpair(AddressFamily::Unix, kind, None, flags)?)
}

/// Sends one message with its descriptors. `WouldBlock` when the peer's queue is full.
pub fn send(
    socket: BorrowedFd<'_>,
    message: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let flags = MsgFlags::MSG_NOSIGNAL;
    if descriptors.is_empty() {
        // The gate's fence knows no sendmsg.
        nix::sys::socket::send(socket.as_raw_fd(), message, flags)?;
        return Ok(());
    }
    let raw: Vec<_> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
    let control = [ControlMessage::ScmRights(&raw)];
    sendmsg::<()>(
        socket.as_raw_fd(),
        &[IoSlice::new(message)],
        &control,
        flags,
        None,
    )?;
    Ok(())
}

/// Receives one message into `room`, in place of what is there, and its descriptors; `None` when the
/// peer has closed. `WouldBlock` when there is none, `InvalidData` when it is longer than `room` may be
/// without growing, or has more descriptors than a message of ours; all that came with it is closed
/// then. A process that can hold no more descriptors gets the message without any.
pub fn receive(socket: BorrowedFd<'_>, room: &mut Vec<u8>) -> io::Result<Option<Vec<OwnedFd>>> {
    let (missing, descriptors) = receive_with_descriptors(socket, room)?;
    let descriptors = match missing.contains(MsgFlags::MSG_CTRUNC) {
        true => Vec::new(),
        false => descriptors,
    };
    if missing.contains(MsgFlags::MSG_TRUNC) || descriptors.len() > MAX_DESCRIPTORS {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "a message of another part is not as it should be",
        ));
    }
    // A sequenced-packet socket has no other sign of its end than a message of no bytes; our
    // messages are never empty.
    Ok((!room.is_empty()).then_some(descriptors))
}

/// recvmsg(2), with every descriptor that the kernel hands out owned, also where it had to leave
/// some out (EMFILE). Returns what the kernel says is missing, too.
fn receive_with_descriptors(
    socket: BorrowedFd<'_>,
    message: &mut Vec<u8>,
) -> io::Result<(MsgFlags, Vec<OwnedFd>)> {
    message.clear();
    // Room for all that one message can carry (SCM_MAX_FD, 253), in units that are aligned.
    let mut control = [0_u64; 160];
    let mut part = libc::iovec {
        iov_base: message.as_mut_ptr().cast(),
        iov_len: message.capacity(),
    };
    // SAFETY: a msghdr of zeros is one without anything.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_iov = &raw mut part;
    header.msg_iovlen = 1;
    header.msg_control = control.as_mut_ptr().cast();
    header.msg_controllen = std::mem::size_of_val(&control);
    // SAFETY: the header points at buffers that live through the call, with their lengths.
    let received =
        unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut header, libc::MSG_CMSG_CLOEXEC) };
    let received = Errno::result(received)?.unsigned_abs();
    // SAFETY: the kernel has written so many bytes, no more than there is room for.
    unsafe { message.set_len(received.min(message.capacity())) };
    let mut descriptors = Vec::new();
    // SAFETY: the kernel has filled the control buffer, of which the header has the length.
    let mut item = unsafe { libc::CMSG_FIRSTHDR(&raw const header) };
    while !item.is_null() {
        // SAFETY: CMSG_FIRSTHDR and CMSG_NXTHDR return headers that lie within the buffer.
        let (level, kind, length) =
            unsafe { ((*item).cmsg_level, (*item).cmsg_type, (*item).cmsg_len) };
        if (level, kind) == (libc::SOL_SOCKET, libc::SCM_RIGHTS) {
            // SAFETY: as above; the data of SCM_RIGHTS are descriptors, as many as fit.
            let (data, empty) =
                unsafe { (libc::CMSG_DATA(item).cast::<RawFd>(), libc::CMSG_LEN(0)) };
            let count = length.saturating_sub(empty as usize) / size_of::<RawFd>();
            for index in 0..count {
                // SAFETY: within the data; the kernel has just made it, and nothing else owns it.
                descriptors.push(unsafe { OwnedFd::from_raw_fd(data.add(index).read_unaligned()) });
            }
        }
        // SAFETY: as above.
        item = unsafe { libc::CMSG_NXTHDR(&raw const header, item) };
    }
    let missing = MsgFlags::from_bits_retain(header.msg_flags);
    Ok((missing, descriptors))
}

/// Has this Unix socket, and those that are accepted from it later on, take no descriptors from its
/// peer: closing one that nobody wanted may block. Before Linux 6.16 nothing changes, and it is
/// `false`.
pub fn take_no_descriptors(socket: BorrowedFd<'_>) -> bool {
    const SO_PASSRIGHTS: libc::c_int = 83;
    let no: libc::c_int = 0;
    let length = libc::socklen_t::try_from(size_of::<libc::c_int>()).unwrap_or_default();
    // SAFETY: the option's value is an integer that lives through the call.
    let set = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_PASSRIGHTS,
            (&raw const no).cast(),
            length,
        )
    };
    set == 0
}

/// A pipe, close-on-exec and blocking at both ends: (read end, write end).
pub fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(nix::unistd::pipe2(OFlag::O_CLOEXEC)?)
}

/// Makes reads and writes of this open file fail with `WouldBlock` instead of waiting.
pub fn do_not_block(fd: BorrowedFd<'_>) -> io::Result<()> {
    let flags = OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL)?);
    if !flags.contains(OFlag::O_NONBLOCK) {
        fcntl(fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    }
    Ok(())
}

/// Whether a socket still listens: whoever holds it could have ended that.
pub fn is_listening(socket: BorrowedFd<'_>) -> bool {
    getsockopt(&socket, sockopt::AcceptConn).unwrap_or(false)
}

/// Asks the kernel to find out whether the far end of a TCP connection is still there.
pub fn keep_alive(socket: BorrowedFd<'_>) -> io::Result<()> {
    Ok(setsockopt(&socket, sockopt::KeepAlive, &true)?)
}
