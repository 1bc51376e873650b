//! Reading into memory that nobody has written to yet.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use bytes::{Bytes, BytesMut};

/// Reads what there is, `most` bytes at most; none at the end.
pub fn available(fd: BorrowedFd<'_>, most: usize) -> io::Result<Bytes> {
    let mut buffer = BytesMut::with_capacity(most);
    let room = buffer.spare_capacity_mut();
    let length = room.len().min(most);
    // SAFETY: the kernel writes at most `length` bytes from the pointer on, all within `room`.
    let read = unsafe { libc::read(fd.as_raw_fd(), room.as_mut_ptr().cast(), length) };
    let read = usize::try_from(read).map_err(|_| io::Error::last_os_error())?;
    // SAFETY: so many bytes, from the first on, the kernel has just written.
    unsafe { buffer.set_len(read) };
    // A few bytes are not to keep all of that memory.
    Ok(if read < most / 4 {
        Bytes::copy_from_slice(&buffer)
    } else {
        buffer.freeze()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn reads_what_there_is_and_no_more_than_is_asked_for() {
        let (from, to) = nix::unistd::pipe().unwrap();
        nix::unistd::write(&to, b"hello").unwrap();
        assert_eq!(available(from.as_fd(), 4).unwrap(), "hell");
        assert_eq!(available(from.as_fd(), 1000).unwrap(), "o");
        drop(to);
        assert_eq!(available(from.as_fd(), 4).unwrap(), "");
    }
}
