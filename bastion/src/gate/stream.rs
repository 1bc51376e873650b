//! The stream that a connection is: counted, read in larger pieces than russh asks for, and ended from
//! outside.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::{Sleep, sleep};

use super::read_ahead::ReadAhead;
use super::traffic::Traffic;

/// How long a client may take to close its side once we have closed ours. A stream that is dropped
/// with something unread is reset, and the client may never see what was said last.
const TO_CLOSE: Duration = Duration::from_secs(2);

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
