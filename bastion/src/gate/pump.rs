//! Bytes between a channel and a descriptor of the session's.
//!
//! The descriptors were made by a process of the account, and may be anything: what cannot be
//! waited for is refused, what never becomes ready holds up nothing but its own channel.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use bytes::Bytes;
use nix::errno::Errno;
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

    async fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let written = self.0.async_io(Interest::WRITABLE, |fd| Ok(nix::unistd::write(fd, bytes)?)).await?;
            bytes = bytes.get(written..).unwrap_or_default();
        }
        Ok(())
    }
}

/// Copies what a program writes to its channel, until the program's end of the descriptor or the
/// channel is closed.
pub(super) async fn drain(
    from: Descriptor,
    mut to: impl AsyncWrite + Unpin,
    chunk: usize,
    traffic: Arc<Traffic>,
) {
    let mut buffer = vec![0; chunk];
    while let Ok(read) = from.read(&mut buffer).await {
        let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else { return };
        if to.write_all(bytes).await.is_err() {
            return;
        }
        traffic.count_sent(read);
    }
}

/// What a client has sent on a channel, on its way to a program; no more than the window allows.
pub(super) struct Input {
    pub(super) queue: mpsc::UnboundedReceiver<Bytes>,
    pub(super) handle: Handle,
    pub(super) channel: ChannelId,
    pub(super) window: u32,
    pub(super) traffic: Arc<Traffic>,
}

impl Input {
    /// Copies to a program what the client sends, until the client is done; then the descriptor
    /// is closed. What a program that no longer reads does not take is thrown away, so that the
    /// client is not held up by it.
    pub(super) async fn feed(mut self, to: Descriptor) {
        let mut to = Some(to);
        let mut taken = 0_u32;
        while let Some(bytes) = self.queue.recv().await {
            if let Some(descriptor) = &to {
                match descriptor.write_all(&bytes).await {
                    Ok(()) => self.traffic.count_received(bytes.len()),
                    Err(_) => to = None,
                }
            }
            taken = taken.saturating_add(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
            // Not after every packet: an adjustment is a packet, too.
            if taken >= self.window / 8 {
                if self.handle.window_adjust(self.channel, taken).is_err() {
                    return;
                }
                taken = 0;
            }
        }
    }
}
