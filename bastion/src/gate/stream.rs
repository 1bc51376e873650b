//! A connection's bytes: counted, read in larger pieces than russh asks for, and ended from outside.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::{Sleep, sleep};

use super::read_ahead::ReadAhead;
use crate::ipc::{ChannelNumber, ConnectionId, FromGate};

/// How long a client may take to close its side once we have closed ours. A stream that is dropped
/// with something unread is reset, and the client may never see what was said last.
const TO_CLOSE: Duration = Duration::from_secs(2);

/// When something was last done.
pub(super) struct Activity {
    since: Instant,
    /// In milliseconds from then.
    last: AtomicU64,
}

impl Default for Activity {
    fn default() -> Self {
        Self {
            since: Instant::now(),
            last: AtomicU64::new(0),
        }
    }
}

impl Activity {
    fn touch(&self) {
        self.last.store(self.elapsed(), Ordering::Relaxed);
    }

    /// How long nothing has been done.
    pub(super) fn quiet(&self) -> Duration {
        let last = self.last.load(Ordering::Relaxed);
        Duration::from_millis(self.elapsed().saturating_sub(last))
    }

    fn elapsed(&self) -> u64 {
        u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// How many bytes went each way, and when the last of them.
#[derive(Default)]
pub(super) struct Traffic {
    received: AtomicU64,
    sent: AtomicU64,
    activity: Activity,
    /// The connection's, if this is a channel's.
    of_connection: Option<Arc<Activity>>,
}

impl Drop for Traffic {
    fn drop(&mut self) {
        // That a channel closes is activity, too.
        self.touch();
    }
}

impl Traffic {
    /// That of a channel which opens now.
    pub(super) fn of_channel(connection: &Arc<Activity>) -> Arc<Self> {
        connection.touch();
        let mut channel = Self::default();
        channel.of_connection = Some(connection.clone());
        Arc::new(channel)
    }

    /// Ready when nothing has moved for this long; without a limit never.
    pub(super) async fn stays_idle(&self, limit: Option<Duration>) {
        let Some(limit) = limit else {
            return std::future::pending().await;
        };
        while let Some(left) = limit
            .checked_sub(self.activity.quiet())
            .filter(|left| !left.is_zero())
        {
            tokio::time::sleep(left).await;
        }
    }

    fn touch(&self) {
        self.activity.touch();
        if let Some(connection) = &self.of_connection {
            connection.touch();
        }
    }

    pub(super) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    pub(super) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    pub(super) fn count_received(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Ordering::Relaxed);
        self.touch();
    }

    pub(super) fn count_sent(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Ordering::Relaxed);
        self.touch();
    }
}

impl FromGate {
    /// That a channel is closed.
    pub(super) fn channel_closed(
        connection: ConnectionId,
        channel: ChannelNumber,
        traffic: &Traffic,
    ) -> Self {
        let (received, sent) = (traffic.received(), traffic.sent());
        Self::ChannelClosed {
            connection,
            channel,
            received,
            sent,
        }
    }
}

/// Ends its stream when it is dropped, whatever that waits for.
pub(super) struct StreamEnd(
    #[expect(dead_code, reason = "it is there to be dropped")] oneshot::Sender<()>,
);

/// The stream that russh reads and writes.
pub(super) struct CountedStream {
    inner: TcpStream,
    ahead: ReadAhead,
    traffic: Arc<Traffic>,
    /// None once it has been dropped.
    end: Option<oneshot::Receiver<()>>,
    /// Set once we have closed our side; then there is nothing more to read.
    closing: Option<Pin<Box<Sleep>>>,
}

impl CountedStream {
    pub(super) fn new(stream: TcpStream, traffic: Arc<Traffic>) -> (Self, StreamEnd) {
        let (sender, end) = oneshot::channel();
        (
            Self {
                inner: stream,
                ahead: ReadAhead::new(),
                traffic,
                end: Some(end),
                closing: None,
            },
            StreamEnd(sender),
        )
    }

    fn check_end(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let ended = self
            .end
            .as_mut()
            .is_none_or(|end| Pin::new(end).poll(cx).is_ready());
        if ended {
            self.end = None;
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        Ok(())
    }
}

impl AsyncRead for CountedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check_end(cx)?;
        if let Some(limit) = &mut self.closing
            && limit.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(Ok(()));
        }
        let Self {
            inner,
            ahead,
            traffic,
            ..
        } = &mut *self;
        let taken = std::task::ready!(ahead.poll_take(Pin::new(inner), cx, buffer))?;
        traffic.count_received(taken);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for CountedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check_end(cx)?;
        let written = std::task::ready!(Pin::new(&mut self.inner).poll_write(cx, bytes))?;
        self.traffic.count_sent(written);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut_down = Pin::new(&mut self.inner).poll_shutdown(cx);
        self.closing
            .get_or_insert_with(|| Box::pin(sleep(TO_CLOSE)));
        shut_down
    }
}
