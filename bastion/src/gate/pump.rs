//! Bytes between a channel and a descriptor of the session's.
//!
//! The descriptors were made by a process of the account, and may be anything: what cannot be
//! waited for is refused, what never becomes ready holds up nothing but its own channel.

use std::borrow::Borrow;
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;

use bytes::{Buf, Bytes};
use nix::errno::Errno;
use nix::sys::socket::{Shutdown, shutdown};
use nix::sys::uio::writev;
use russh::server::{Handle, Msg};
use russh::{ChannelId, ChannelWriteHalf};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::closers;
use super::input_queue;
use super::traffic::Traffic;
use crate::sys::readiness::{self, ClosedBy};
use crate::sys::{read, socket};

/// The most that is read at a time.
const PIECE: usize = 64 * 1024;
/// The most packets of a client that are written at a time.
const AT_ONCE: usize = 8;
/// The most that a terminal still has to say when its program has ended, in reads: the kernel keeps less.
const LAST_PIECES: usize = 256;

/// A descriptor that tasks can wait for.
pub(super) struct Descriptor(AsyncFd<ClosedBy>);

impl Descriptor {
    pub(super) fn to_read(fd: OwnedFd) -> io::Result<Self> {
        Self::new(fd.into(), Interest::READABLE)
    }

    pub(super) fn to_write(fd: OwnedFd) -> io::Result<Self> {
        Self::new(fd.into(), Interest::WRITABLE)
    }

    /// The two directions of a terminal: to write, and to read.
    pub(super) fn of_terminal(fd: ClosedBy) -> io::Result<[Self; 2]> {
        let other = ClosedBy::new(closers::close, fd.as_fd().try_clone_to_owned()?);
        Ok([
            Self::new(fd, Interest::WRITABLE)?,
            Self::new(other, Interest::READABLE)?,
        ])
    }

    /// A socket, for both directions.
    pub(super) fn to_exchange(fd: OwnedFd) -> io::Result<Self> {
        Self::new(fd.into(), Interest::READABLE | Interest::WRITABLE)
    }

    fn new(fd: ClosedBy, interest: Interest) -> io::Result<Self> {
        socket::do_not_block(fd.as_fd())?;
        Ok(Self(readiness::watch(fd, interest)?))
    }

    /// Reads what there is, `most` bytes at most; none at the end. A terminal whose last program
    /// has gone says EIO.
    async fn read(&self, most: usize) -> io::Result<Bytes> {
        // Memory is taken when there is something to read: most channels are idle.
        let read = self.0.async_io(Interest::READABLE, |fd| {
            match read::available(fd.as_fd(), most) {
                Err(error) if error.raw_os_error() == Some(Errno::EIO as i32) => Ok(Bytes::new()),
                other => other,
            }
        });
        read.await
    }

    /// Reads what there is at this moment; `WouldBlock` where that is nothing.
    fn read_now(&self, most: usize) -> io::Result<Bytes> {
        read::available(self.0.get_ref().as_fd(), most)
    }

    /// Throws away what there is to read, until the end.
    pub(super) async fn discard(&self) {
        while self.read(PIECE).await.is_ok_and(|bytes| !bytes.is_empty()) {}
    }

    /// Writes what it can, at least a byte.
    async fn write(&self, packets: &VecDeque<Bytes>) -> io::Result<usize> {
        let packet = |at| packets.get(at).map_or(&[][..], |packet| packet);
        self.0
            .async_io(Interest::WRITABLE, |fd| {
                let packets = std::array::from_fn::<_, AT_ONCE, _>(|at| IoSlice::new(packet(at)));
                Ok(writev(fd, &packets)?)
            })
            .await
    }

    /// Tells the far end of a socket that there is no more to come.
    pub(super) fn finish_writing(&self) {
        // One that has closed its end needs not be told.
        let _gone = shutdown(self.0.get_ref().as_raw_fd(), Shutdown::Write);
    }
}

/// What a program or a socket has to say, on its way to a channel.
pub(super) struct Output {
    pub(super) channel: Arc<ChannelWriteHalf<Msg>>,
    /// The kind of extended data (RFC 4254 §5.2), if it is such.
    pub(super) kind: Option<u32>,
    /// The most that one packet is to carry.
    pub(super) chunk: usize,
    pub(super) traffic: Arc<Traffic>,
}

impl Output {
    /// Copies to the channel, until the far end of the descriptor or the channel is closed.
    pub(super) async fn drain(self, from: impl Borrow<Descriptor>) {
        self.drain_until(from, std::future::pending()).await;
    }

    /// The same; from `over` on, only what is there already.
    pub(super) async fn drain_until(
        self,
        from: impl Borrow<Descriptor>,
        over: impl Future<Output = ()>,
    ) {
        let from = from.borrow();
        tokio::pin!(over);
        loop {
            let bytes = tokio::select! {
                bytes = from.read(PIECE) => bytes,
                () = &mut over => break,
            };
            if !self.send(bytes).await {
                return;
            }
        }
        // Whoever goes on writing is not heard for ever.
        for _ in 0..LAST_PIECES {
            if !self.send(from.read_now(PIECE)).await {
                return;
            }
        }
    }

    /// Sends what was read; whether there may be more to send.
    async fn send(&self, read: io::Result<Bytes>) -> bool {
        let Some(mut bytes) = read.ok().filter(|bytes| !bytes.is_empty()) else {
            return false;
        };
        self.traffic.count_sent(bytes.len());
        while !bytes.is_empty() {
            let packet = bytes.split_to(self.chunk.min(bytes.len()));
            let sent = match self.kind {
                None => self.channel.data_bytes(packet).await,
                Some(kind) => self.channel.extended_data_bytes(kind, packet).await,
            };
            if sent.is_err() {
                return false;
            }
        }
        true
    }
}

/// What a client has sent on a channel, on its way to a program or a socket; no more than the
/// window allows.
pub(super) struct Input {
    queue: input_queue::Receiver,
    handle: Handle,
    channel: ChannelId,
    /// The window, and how much of it is to be granted again.
    window: u32,
    taken: u32,
    traffic: Arc<Traffic>,
    /// What is still to be written, [`AT_ONCE`] packets at most.
    waiting: VecDeque<Bytes>,
}

impl Input {
    pub(super) fn new(
        queue: input_queue::Receiver,
        handle: Handle,
        channel: ChannelId,
        window: u32,
        traffic: Arc<Traffic>,
    ) -> Self {
        Self {
            queue,
            handle,
            channel,
            window,
            taken: 0,
            traffic,
            waiting: VecDeque::new(),
        }
    }

    /// Copies to a program what the client sends, until the client is done; then the descriptor
    /// is closed. What a program that no longer reads does not take is thrown away, so that the
    /// client is not held up by it. Whether all was taken.
    pub(super) async fn feed(mut self, to: Descriptor) -> bool {
        let copied = self.copy_to(&to).await;
        drop(to);
        if copied.is_err() {
            self.discard().await;
        }
        copied.is_ok()
    }

    /// Copies until the client is done, or the descriptor takes no more. One that stops waiting
    /// for it may go on later: no byte is lost.
    pub(super) async fn copy_to(&mut self, to: &Descriptor) -> io::Result<()> {
        loop {
            while !self.waiting.is_empty() {
                let written = to.write(&self.waiting).await?;
                self.traffic.count_received(written);
                self.take(written);
            }
            if !self.next().await {
                return Ok(());
            }
        }
    }

    /// Throws away what the client sends, until the client is done.
    pub(super) async fn discard(&mut self) {
        loop {
            self.take(self.waiting.iter().map(Bytes::len).sum());
            if !self.next().await {
                return;
            }
        }
    }

    /// Waits for the next packets; what was taken before is granted again. Whether there are any.
    async fn next(&mut self) -> bool {
        // Not after every packet: an adjustment is a packet, too.
        if self.taken >= self.window / 8 {
            if self.handle.window_adjust(self.channel, self.taken).is_err() {
                return false;
            }
            self.taken = 0;
        }
        let mut next = self.queue.receive().await;
        while let Some(packet) = next {
            self.waiting.push_back(packet);
            let has_room = self.waiting.len() < AT_ONCE;
            next = has_room.then(|| self.queue.receive_now()).flatten();
        }
        !self.waiting.is_empty()
    }

    /// So many bytes need not be kept any more.
    fn take(&mut self, mut bytes: usize) {
        let taken = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.taken = self.taken.saturating_add(taken);
        while let Some(first) = self.waiting.front_mut() {
            if bytes < first.len() {
                return first.advance(bytes);
            }
            bytes -= first.len();
            self.waiting.pop_front();
        }
    }
}
