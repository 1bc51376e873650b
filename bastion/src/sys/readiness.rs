//! Descriptors that tasks of the runtime wait for.

use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A descriptor, and who closes it when it is dropped.
pub struct ClosedBy {
    fd: ManuallyDrop<OwnedFd>,
    close: fn(OwnedFd),
}

impl ClosedBy {
    /// One that `close` closes.
    pub fn new(close: fn(OwnedFd), fd: OwnedFd) -> Self {
        Self {
            fd: ManuallyDrop::new(fd),
            close,
        }
    }
}

impl From<OwnedFd> for ClosedBy {
    /// One that whoever drops it closes.
    fn from(fd: OwnedFd) -> Self {
        Self::new(drop, fd)
    }
}

impl AsFd for ClosedBy {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for ClosedBy {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

impl Drop for ClosedBy {
    fn drop(&mut self) {
        // SAFETY: nothing touches it after this, which is done once.
        (self.close)(unsafe { ManuallyDrop::take(&mut self.fd) });
    }
}

/// Watches a descriptor, which must not block, until it is dropped. To be called on a runtime. An error
/// where it is of a kind that cannot be waited for, such as a regular file.
pub fn watch(fd: ClosedBy, interest: Interest) -> io::Result<AsyncFd<ClosedBy>> {
    // SAFETY: it is open, and the same, until it is dropped, which `AsyncFd` does last.
    unsafe { AsyncFd::register_with_interest(fd, interest) }.map_err(io::Error::from)
}
