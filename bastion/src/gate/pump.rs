//! Bytes between a channel and a descriptor of the session's.
//!
//! The descriptors were made by a process of the account, and may be anything: what cannot be
//! waited for is refused, what never becomes ready holds up nothing but its own channel.

use std::borrow::Borrow;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;

use bytes::{Buf, Bytes};
use nix::errno::Errno;
use nix::sys::socket::{Shutdown, shutdown};
use russh::ChannelId;
use russh::server::Handle;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncWrite, AsyncWriteExt, Interest};
use tokio::sync::mpsc;

use super::stream::Traffic;
use crate::sys::{readiness, socket};

/// A descriptor that tasks can wait for.
pub(super) struct Descriptor(AsyncFd<OwnedFd>);

impl Descriptor {
    pub(super) fn to_read(fd: OwnedFd) -> io::Result<Self> {
        Self::new(fd, Interest::READABLE)
    }

    pub(super) fn to_write(fd: OwnedFd) -> io::Result<Self> {
        Self::new(fd, Interest::WRITABLE)
    }

    /// A socket, for both directions.
    pub(super) fn to_exchange(fd: OwnedFd) -> io::Result<Self> {
        Self::new(fd, Interest::READABLE | Interest::WRITABLE)
    }

    fn new(fd: OwnedFd, interest: Interest) -> io::Result<Self> {
        socket::do_not_block(fd.as_fd())?;
        Ok(Self(readiness::watch(fd, interest)?))
    }

    /// Reads what there is; 0 at the end. A terminal whose last program has gone says EIO.
    async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.0.async_io(Interest::READABLE, |fd| match nix::unistd::read(fd, buffer) {
            Err(Errno::EIO) => Ok(0),
            other => other.map_err(io::Error::from),
        });
        read.await
    }

    /// Writes what it can, at least a byte.
    async fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.0.async_io(Interest::WRITABLE, |fd| Ok(nix::unistd::write(fd, bytes)?)).await
    }

    /// Tells the far end of a socket that there is no more to come.
    pub(super) fn finish_writing(&self) {
        // One that has closed its end needs not be told.
        let _gone = shutdown(self.0.get_ref().as_raw_fd(), Shutdown::Write);
    }
}

/// Copies what a program writes to its channel, until the program's end of the descriptor or the
/// channel is closed.
pub(super) async fn drain(
    from: impl Borrow<Descriptor>,
    mut to: impl AsyncWrite + Unpin,
    chunk: usize,
    traffic: Arc<Traffic>,
) {
    let mut buffer = vec![0; chunk];
    while let Ok(read) = from.borrow().read(&mut buffer).await {
        let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else { return };
        if to.write_all(bytes).await.is_err() {
            return;
        }
        traffic.count_sent(read);
    }
}

/// What a client has sent on a channel, on its way to a program or a socket; no more than the
/// window allows.
pub(super) struct Input {
    queue: mpsc::UnboundedReceiver<Bytes>,
    handle: Handle,
    channel: ChannelId,
    /// The window, and how much of it is to be granted again.
    window: u32,
    taken: u32,
    traffic: Arc<Traffic>,
    /// What is still to be written of the last packet.
    current: Bytes,
}

impl Input {
    pub(super) fn new(
        queue: mpsc::UnboundedReceiver<Bytes>,
        handle: Handle,
        channel: ChannelId,
        window: u32,
        traffic: Arc<Traffic>,
    ) -> Self {
        Self { queue, handle, channel, window, taken: 0, traffic, current: Bytes::new() }
    }

    /// Copies to a program what the client sends, until the client is done; then the descriptor
    /// is closed. What a program that no longer reads does not take is thrown away, so that the
    /// client is not held up by it.
    pub(super) async fn feed(mut self, to: Descriptor) {
        let copied = self.copy_to(&to).await;
        drop(to);
        if copied.is_err() {
            self.discard().await;
        }
    }

    /// Copies until the client is done, or the descriptor takes no more. One that stops waiting
    /// for it may go on later: no byte is lost.
    pub(super) async fn copy_to(&mut self, to: &Descriptor) -> io::Result<()> {
        loop {
            while !self.current.is_empty() {
                let written = to.write(&self.current).await?;
                self.current.advance(written);
                self.traffic.count_received(written);
            }
            match self.next().await {
                Some(bytes) => self.current = bytes,
                None => return Ok(()),
            }
        }
    }

    /// Throws away what the client sends, until the client is done.
    pub(super) async fn discard(&mut self) {
        while self.next().await.is_some() {}
    }

    /// The next packet; what was taken before is granted again.
    async fn next(&mut self) -> Option<Bytes> {
        // Not after every packet: an adjustment is a packet, too.
        if self.taken >= self.window / 8 {
            self.handle.window_adjust(self.channel, self.taken).ok()?;
            self.taken = 0;
        }
        let bytes = self.queue.recv().await?;
        self.taken = self.taken.saturating_add(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        Some(bytes)
    }
}
