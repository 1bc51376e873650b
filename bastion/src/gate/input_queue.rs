//! What a client has sent on a channel and nobody has taken yet: bytes, no more than its window,
//! whatever packets they came in.
//!
//! A packet of one byte takes one byte off the window (RFC 4254 §5.2), but kept as a packet of its
//! own it would take a hundred times that of memory. Small ones are therefore put together.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::{Bytes, BytesMut};
use tokio::sync::Notify;

use super::lock;

/// Packets from this size on are kept as they came.
const LARGE: usize = 4 * 1024;
/// The most that small packets are put together to.
const TOGETHER: usize = 16 * 1024;

/// A queue's end where the client is heard. Dropped when the client has no more to send.
pub(super) struct Sender(Arc<Shared>);

/// A queue's end where bytes are taken. Dropped when nobody wants any.
pub(super) struct Receiver(Arc<Shared>);

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    changed: Notify,
}

#[derive(Default)]
struct Queue {
    packets: VecDeque<Bytes>,
    /// Small packets, later than all others.
    small: BytesMut,
    complete: bool,
    unwanted: bool,
}

/// A queue of a channel.
pub(super) fn new() -> (Sender, Receiver) {
    let shared = Arc::<Shared>::default();
    (Sender(shared.clone()), Receiver(shared))
}

impl Sender {
    /// Queues what a packet carried; drops it where nobody wants it.
    pub(super) fn send(&self, data: Bytes) {
        let mut queue = self.0.lock();
        if queue.unwanted {
            return;
        }
        if data.len() >= LARGE {
            queue.pack();
            queue.packets.push_back(data);
        } else {
            if queue.small.len() + data.len() > TOGETHER {
                queue.pack();
            }
            queue.small.extend_from_slice(&data);
        }
        drop(queue);
        self.0.changed.notify_one();
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.0.lock().complete = true;
        self.0.changed.notify_one();
    }
}

impl Receiver {
    /// The next bytes; `None` when the client has no more to send.
    pub(super) async fn receive(&mut self) -> Option<Bytes> {
        loop {
            // Looked at first: what came before it is complete is there by now.
            let complete = self.0.lock().complete;
            let bytes = self.receive_now();
            if bytes.is_some() || complete {
                return bytes;
            }
            // One permit is kept for a change that came in between.
            self.0.changed.notified().await;
        }
    }

    /// The next bytes, where there are any.
    pub(super) fn receive_now(&mut self) -> Option<Bytes> {
        let mut queue = self.0.lock();
        if queue.packets.is_empty() {
            queue.pack();
        }
        queue.packets.pop_front()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let mut queue = self.0.lock();
        *queue = Queue {
            unwanted: true,
            ..Queue::default()
        };
    }
}

impl Queue {
    /// Ends what small packets are put together to.
    fn pack(&mut self) {
        if !self.small.is_empty() {
            let together = std::mem::take(&mut self.small);
            self.packets.push_back(together.freeze());
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        lock(&self.queue)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn bytes_come_out_as_they_went_in() {
        let (sender, mut receiver) = new();
        let sizes = [1, 1, LARGE, 3, LARGE - 1, TOGETHER, 7, 0, LARGE + 1, 2];
        let mut sent = Vec::new();
        for (number, size) in sizes.into_iter().enumerate() {
            let data = vec![u8::try_from(number).unwrap(); size];
            sent.extend_from_slice(&data);
            sender.send(data.into());
        }
        drop(sender);
        let mut received = Vec::new();
        while let Some(bytes) = receiver.receive().await {
            assert!(!bytes.is_empty());
            received.extend_from_slice(&bytes);
        }
        assert_eq!(received, sent);
        assert!(receiver.receive().await.is_none());
    }

    #[tokio::test]
    async fn packets_of_one_byte_take_little_more_than_a_byte() {
        let (sender, mut receiver) = new();
        let count = 10 * TOGETHER;
        for _ in 0..count {
            sender.send(Bytes::from_static(b"x"));
        }
        assert!(receiver.0.lock().packets.len() < 10);
        drop(sender);
        let mut received = 0;
        while let Some(bytes) = receiver.receive().await {
            received += bytes.len();
        }
        assert_eq!(received, count);
    }

    #[tokio::test]
    async fn whoever_waits_is_woken() {
        let (sender, mut receiver) = new();
        let waiting = tokio::spawn(async move {
            let first = receiver.receive().await;
            (first, receiver.receive().await)
        });
        tokio::task::yield_now().await;
        sender.send(Bytes::from_static(b"x"));
        tokio::task::yield_now().await;
        drop(sender);
        assert_eq!(
            waiting.await.unwrap(),
            (Some(Bytes::from_static(b"x")), None)
        );
    }

    #[test]
    fn what_nobody_wants_is_not_kept() {
        let (sender, receiver) = new();
        sender.send(Bytes::from_static(b"x"));
        drop(receiver);
        sender.send(Bytes::from(vec![0; LARGE]));
        let queue = sender.0.lock();
        assert!(queue.packets.is_empty() && queue.small.is_empty());
    }
}
