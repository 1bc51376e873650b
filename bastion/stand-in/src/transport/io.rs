//! The transport's traffic with its socket. Every wait is safe to cancel.

use super::{Config, Error, Event, Exchange, Inbound, Outbound, Role, Transport, version};
use bytes::Bytes;
use std::io::ErrorKind;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, sleep_until, timeout};

/// How much is read at a time.
const READ: usize = 64 * 1024;
/// How much is taken in while something must be written first.
const READ_AHEAD: usize = 16 * 1024 * 1024;

/// Why there is nothing more to read.
#[derive(Debug, Clone, Copy)]
pub(super) enum ReadEnd {
    Closed,
    Failed(ErrorKind),
}

impl From<ReadEnd> for Error {
    fn from(end: ReadEnd) -> Self {
        match end {
            ReadEnd::Closed => Self::Closed,
            ReadEnd::Failed(kind) => Self::Io(kind.into()),
        }
    }
}

impl Transport {
    /// Exchanges versions. Nothing else is sent until [`Transport::exchange_keys`] or a `send`.
    pub async fn open<S>(stream: S, role: Role, config: Config) -> Result<Self, Error>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (reader, writer) = tokio::io::split(stream);
        let mut transport = Self {
            role,
            reader: Box::new(reader),
            writer: Box::new(writer),
            inbound: Inbound::new(config.max_packet_length),
            outbound: Outbound::new(),
            peer_version: String::new(),
            exchange: Exchange::Idle,
            exchange_deadline: None,
            session_id: None,
            strict_kex: false,
            peer_markers: Vec::new(),
            host_key: Vec::new(),
            agreed: None,
            exchanges: 0,
            held: std::collections::VecDeque::new(),
            held_bytes: 0,
            read_end: None,
            config,
        };
        transport.forge_bytes(format!("{}\r\n", transport.config.version).as_bytes());
        let limit = transport.config.exchange_limit;
        timeout(limit, transport.exchange_versions())
            .await
            .map_err(|_| Error::TimedOut("version exchange"))??;
        Ok(transport)
    }

    async fn exchange_versions(&mut self) -> Result<(), Error> {
        self.flush().await?;
        let rules = self.config.pomerium_rules;
        loop {
            let found = version::find(&self.inbound.buffer, self.role, rules)?;
            if let Some((version, len)) = found {
                self.peer_version = version;
                drop(self.inbound.buffer.split_to(len));
                return Ok(());
            }
            self.transfer(true).await?;
        }
    }

    /// Runs the first key exchange to its end; a message that comes instead is an error.
    pub async fn exchange_keys(&mut self) -> Result<(), Error> {
        self.start_exchange()?;
        while !matches!(self.next(true).await?, Event::Keyed { .. }) {}
        self.flush().await
    }

    /// The next event. With `read` false the peer is not read from, but what waits is written, and
    /// a running key exchange goes on: it would never end if both sides of a proxy waited for room.
    pub async fn next(&mut self, read: bool) -> Result<Event, Error> {
        loop {
            let read = read || self.in_exchange();
            if read && let Some(event) = self.process()? {
                return Ok(event);
            }
            if self.transfer(read).await? {
                return Ok(Event::Drained);
            }
        }
    }

    /// The next packet as it comes, with no key exchange in between.
    pub async fn next_packet(&mut self) -> Result<Bytes, Error> {
        loop {
            if let Some(payload) = self.inbound.next_payload()? {
                return Ok(payload);
            }
            self.transfer(true).await?;
        }
    }

    /// Writes and reads once, whichever is possible first; returns whether there is room again.
    async fn transfer(&mut self, read: bool) -> Result<bool, Error> {
        if let Some(end) = self.read_end.filter(|_| read) {
            return Err(end.into());
        }
        let full = !self.has_room();
        let writable = !self.outbound.pending().is_empty();
        if read && self.inbound.buffer.capacity() - self.inbound.buffer.len() < READ / 4 {
            self.inbound.buffer.reserve(READ);
        }
        let deadline = self.exchange_deadline;
        tokio::select! {
            written = self.writer.write(self.outbound.pending()), if writable => match written {
                Ok(n) if n > 0 => self.outbound.advance(n),
                // What the peer said before it went away may still be read.
                _ => self.outbound.give_up(),
            },
            received = self.reader.read_buf(&mut self.inbound.buffer), if read => match received {
                Ok(0) => self.read_end = Some(ReadEnd::Closed),
                Ok(_) => {}
                Err(error) => self.read_end = Some(ReadEnd::Failed(error.kind())),
            },
            () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => {
                return Err(Error::TimedOut("key exchange"));
            }
            else => std::future::pending::<()>().await,
        }
        Ok(full && self.has_room())
    }

    /// Writes all that waits. What the peer sends meanwhile is taken in, for it might not read
    /// before it has been read from; that it went away shows when that is read.
    pub async fn flush(&mut self) -> Result<(), Error> {
        while !self.outbound.pending().is_empty() {
            let read = self.read_end.is_none() && self.inbound.buffer.len() < READ_AHEAD;
            self.transfer(read).await?;
        }
        Ok(())
    }

    /// Writes what waits, for as long as `limit`, and closes the sending direction. What a peer
    /// still sends meanwhile is read and dropped, for a reset would take our last words with it.
    pub async fn close(mut self, limit: Duration) {
        let farewell = async {
            if self.flush().await.is_err() || self.writer.shutdown().await.is_err() {
                return;
            }
            let mut dropped = vec![0; READ];
            while matches!(self.reader.read(&mut dropped).await, Ok(n) if n > 0) {}
        };
        // Whether it got through or not, the connection ends here.
        timeout(limit, farewell).await.unwrap_or_default();
    }
}
