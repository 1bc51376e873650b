//! Descriptors that tasks of the runtime wait for.

use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A descriptor, and what becomes of it when it is watched no more.
pub struct Watched {
    fd: ManuallyDrop<OwnedFd>,
    close: fn(OwnedFd),
}

impl AsFd for Watched {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for Watched {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        // SAFETY: nothing touches it after this, which is done once.
        (self.close)(unsafe { ManuallyDrop::take(&mut self.fd) });
    }
}

/// Watches a descriptor, which must not block, until it is dropped, and is closed by `close`. To be called
/// on a runtime. An error where the descriptor is of a kind that cannot be waited for, such as a regular
/// file.
pub fn watch(fd: OwnedFd, interest: Interest, close: fn(OwnedFd)) -> io::Result<AsyncFd<Watched>> {
    let fd = Watched {
        fd: ManuallyDrop::new(fd),
        close,
    };
    // SAFETY: it is open, and the same, until it is dropped, which `AsyncFd` does last.
    unsafe { AsyncFd::register_with_interest(fd, interest) }.map_err(io::Error::from)
}
