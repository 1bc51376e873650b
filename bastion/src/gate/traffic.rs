//! How much goes over a connection and each of its channels, and when something last did.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::ipc::{ChannelNumber, ConnectionId, FromGate};

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
