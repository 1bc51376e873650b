//! Descriptors that tasks of the runtime wait for.

use std::io;
use std::os::fd::OwnedFd;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Watches a descriptor, which must not block. To be called on a runtime. An error where the
/// descriptor is of a kind that cannot be waited for, such as a regular file.
pub fn watch(fd: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` is open, and the same, until it is dropped, which `AsyncFd` does last.
    unsafe { AsyncFd::register_with_interest(fd, interest) }.map_err(io::Error::from)
}
