//! Threads that serve connections, each with a runtime of its own.
//!
//! A connection lives on one of them with all its tasks, so that its bytes cross no threads on
//! their way. There are many more threads than processors: it is the kernel that decides who runs,
//! and it prefers a connection where a key was pressed to one that moves a file, if the two are
//! not on the same thread. An idle thread takes some kilobytes.

use std::future::pending;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::runtime::{Builder, Handle};

/// Threads, and how many there are for each processor where those are many.
const AT_LEAST: usize = 32;
const FOR_EACH_PROCESSOR: usize = 4;
/// Of which a thread itself takes three.
const DESCRIPTORS_FOR_EACH: usize = 16;
/// Tasks that run before the thread looks for news from outside: few, because connections that
/// move bytes always have one ready.
const TASKS_BEFORE_NEWS: u32 = 8;

/// All threads.
pub(super) struct Shards(Vec<Shard>);

struct Shard {
    runtime: Handle,
    connections: Arc<AtomicUsize>,
}

/// A place on a thread, held for as long as its connection lives.
pub(super) struct Place {
    runtime: Handle,
    connections: Arc<AtomicUsize>,
}

impl Shards {
    /// Starts the threads, which end with the process: fewer, where there are few descriptors for
    /// the connections.
    pub(super) fn start(processors: usize, descriptors: usize) -> io::Result<Self> {
        let wanted = AT_LEAST.max(processors * FOR_EACH_PROCESSOR);
        (0..wanted.min(descriptors / DESCRIPTORS_FOR_EACH).max(1))
            .map(|_| Shard::start())
            .collect::<io::Result<_>>()
            .map(Self)
    }

    /// What it takes to find out whether every thread does its work.
    pub(super) fn pulse(&self) -> Pulse {
        Pulse(self.0.iter().map(|shard| shard.runtime.clone()).collect())
    }

    /// A place on the thread with the fewest connections; `None` where there are no threads.
    pub(super) fn place(&self) -> Option<Place> {
        let quietest = self
            .0
            .iter()
            .min_by_key(|shard| shard.connections.load(Ordering::Relaxed))?;
        quietest.connections.fetch_add(1, Ordering::Relaxed);
        Some(Place {
            runtime: quietest.runtime.clone(),
            connections: quietest.connections.clone(),
        })
    }
}

/// All threads, to be asked for a sign of life.
#[derive(Clone)]
pub(super) struct Pulse(Vec<Handle>);

impl Pulse {
    /// Ready when every thread has given one: never, while one of them is held up.
    pub(super) async fn felt(self) {
        for runtime in self.0 {
            // A task without content cannot fail.
            let _beat = runtime.spawn(async {}).await;
        }
    }
}

impl Shard {
    fn start() -> io::Result<Self> {
        let runtime = Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .event_interval(TASKS_BEFORE_NEWS)
            .build()?;
        let shard = Self {
            runtime: runtime.handle().clone(),
            connections: Arc::default(),
        };
        std::thread::Builder::new()
            .name("bastion-shard".into())
            .spawn(move || runtime.block_on(pending::<()>()))?;
        Ok(shard)
    }
}

impl Place {
    /// Runs a task here, and gives the place up when it has ended.
    pub(super) fn spawn(self, task: impl Future<Output = ()> + Send + 'static) {
        let runtime = self.runtime.clone();
        runtime.spawn(async move {
            task.await;
            drop(self);
        });
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
    }
}
