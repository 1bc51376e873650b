//! Reading more from the network than is asked for: little while little comes, so that an idle
//! connection holds little memory, and several packets at a time while much comes.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};

const LEAST: usize = 4 * 1024;
/// Less than what the allocator asks the kernel for each time.
const MOST: usize = 120 * 1024;

/// So many takes in a row of what is there already, and others of this thread have their turn:
/// small packets would keep them waiting for as long as more of them come.
const TAKES_A_TURN: u32 = 256;

/// What has been read from a stream and not been taken yet.
pub(super) struct ReadAhead {
    buffer: Vec<u8>,
    taken: usize,
    filled: usize,
    /// How much to read next.
    next: usize,
    /// Takes since others last had their turn.
    takes: u32,
}

impl ReadAhead {
    pub(super) fn new() -> Self {
        Self {
            buffer: Vec::new(),
            taken: 0,
            filled: 0,
            next: LEAST,
            takes: 0,
        }
    }

    /// Takes what there is, as much as there is room for; reads if there is nothing.
    pub(super) fn poll_take(
        &mut self,
        stream: Pin<&mut impl AsyncRead>,
        cx: &mut Context<'_>,
        to: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<usize>> {
        if self.takes >= TAKES_A_TURN {
            self.takes = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.takes += 1;
        if self.taken == self.filled {
            ready!(self.poll_fill(stream, cx))?;
        }
        let there = self.buffer.get(self.taken..self.filled).unwrap_or_default();
        let take = there.len().min(to.remaining());
        to.put_slice(there.get(..take).unwrap_or_default());
        self.taken += take;
        Poll::Ready(Ok(take))
    }

    fn poll_fill(
        &mut self,
        stream: Pin<&mut impl AsyncRead>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        if self.buffer.len() != self.next {
            self.buffer = vec![0; self.next];
        }
        let mut room = ReadBuf::new(&mut self.buffer);
        ready!(stream.poll_read(cx, &mut room))?;
        (self.taken, self.filled) = (0, room.filled().len());
        self.next = match self.buffer.len() {
            size if self.filled == size => (size * 4).min(MOST),
            size if self.filled < size / 8 => LEAST,
            size => size,
        };
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Waker;

    #[test]
    fn every_byte_comes_once_and_in_order_however_much_is_asked_for() {
        let all: Vec<u8> = (0..1_000_000_u32).map(|number| number as u8).collect();
        for step in [1, 7, 4096, 300_000] {
            let (mut ahead, mut from, mut got) = (ReadAhead::new(), all.as_slice(), Vec::new());
            let (mut takes, mut turns) = (0, 0);
            let mut cx = Context::from_waker(Waker::noop());
            loop {
                let mut room = vec![0; step];
                let mut room = ReadBuf::new(&mut room);
                match ahead.poll_take(Pin::new(&mut from), &mut cx, &mut room) {
                    Poll::Ready(Ok(0)) => break,
                    Poll::Ready(Ok(_)) => {
                        takes += 1;
                        got.extend_from_slice(room.filled());
                    }
                    Poll::Pending => turns += 1,
                    Poll::Ready(Err(error)) => panic!("{error}"),
                }
            }
            assert!(got == all, "{step}");
            // Nobody is kept waiting for as long as there is something to take.
            assert_eq!(turns, takes / TAKES_A_TURN, "{step}");
        }
    }
}
