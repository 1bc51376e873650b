//! The network's half: everything that a stranger can reach, in a process that can open no file,
//! start no program and make no connection.
//!
//! ```text
//! listener ─▶ shards ─▶ connection ─▶ handler ─ authentication ─▶ policy, then the monitor's grant
//!                                       ├─ programs ─▶ channels ─▶ the session process's descriptors, by way of pump
//!                                       └─ forward ─▶ sockets that the session process connects or accepts, by way of pump
//! ```

mod authentication;
mod channels;
mod closers;
mod connection;
mod ending;
mod forward;
#[cfg(fuzzing)]
pub mod fuzzing;
mod handler;
mod input_queue;
mod link;
mod listener;
mod monitor;
mod programs;
mod pump;
mod read_ahead;
mod session;
mod shards;
mod startups;
mod stream;
mod traffic;
mod transport;

use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::poll::PollFlags;
use thiserror::Error;
use tokio::sync::watch;

use crate::ipc::{FromGate, GateSetup, Limits, Link, LinkError, ToGate};
use crate::policy::Rules;
use crate::sys::sandbox::{self, SandboxError};
use crate::sys::{process, scheduling, spawn};
use monitor::Monitor;
use shards::{Pulse, Shards};
use transport::Transports;

/// How long the monitor may take to say what there is to serve.
const PATIENCE: Duration = Duration::from_secs(10);
/// What a thread keeps of memory that was freed: about a window's worth of packets and a buffer of
/// each kind. A connection that moved many bytes gives it back at its end.
const KEPT_MEMORY: i32 = 4 << 20;
/// Descriptors that there is room for from the beginning: those of 1,000 sessions at terminals.
const AT_ONCE: usize = 4096;
/// Short turns: a key that is pressed does not wait for transfers, nor for what else keeps the
/// processors busy. With shorter ones still, transfers come before the programs that echo it.
const TURN: Duration = Duration::from_micros(300);

/// Why the gate cannot serve (any more).
#[derive(Debug, Error)]
pub enum GateError {
    /// The link to the monitor.
    #[error("the link to the monitor: {0}")]
    Monitor(#[from] LinkError),
    /// The first message was another.
    #[error("the monitor did not begin with what there is to serve")]
    NoSetup,
    /// A host key.
    #[error("a host key cannot be used: {0}")]
    HostKey(#[from] ssh_key::Error),
    /// The fence.
    #[error("the fence around the network process cannot be put up: {0}")]
    Sandbox(#[from] SandboxError),
    /// The system refused.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
}

/// What all connections share.
struct Gate {
    terms: watch::Sender<Arc<Terms>>,
    rules: watch::Sender<Arc<Rules>>,
    monitor: Monitor,
    draining: watch::Receiver<Option<Duration>>,
}

/// What a connection is held to from its beginning to its end.
struct Terms {
    limits: Limits,
    transports: Transports,
}

impl Gate {
    fn new(
        terms: Terms,
        rules: Rules,
        monitor: Monitor,
        draining: watch::Receiver<Option<Duration>>,
    ) -> Self {
        Self {
            terms: watch::Sender::new(Arc::new(terms)),
            rules: watch::Sender::new(Arc::new(rules)),
            monitor,
            draining,
        }
    }

    /// Those of a connection that begins now.
    fn terms(&self) -> Arc<Terms> {
        self.terms.borrow().clone()
    }

    fn replace_limits(&self, limits: Limits) {
        let transports = self.terms().transports.with_limits(&limits);
        let new = Terms { limits, transports };
        self.terms.send_replace(Arc::new(new));
    }

    fn rules(&self) -> Arc<Rules> {
        self.rules.borrow().clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // No code that can panic runs with the lock held.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Serves until the monitor says to end. Run with the link to the monitor inherited.
pub fn run() -> Result<(), GateError> {
    let system = |what| move |source| GateError::System { what, source };
    process::set_name(c"bastion-gate");
    speak_to_the_monitor();
    let link = spawn::inherited().map_err(system(
        "bastion starts this part by itself, with a link that is missing",
    ))?;
    process::keep_freed_memory(KEPT_MEMORY);
    process::raise_descriptor_limit().map_err(system("raise the limit of descriptors"))?;
    let link = Link::<FromGate, ToGate>::new(link);
    let (setup, listeners) = receive_setup(&link)?;
    let GateSetup {
        host_keys,
        rules,
        limits,
        first_connection,
        account,
        root,
    } = setup;
    let transports = Transports::new(&host_keys, &limits)?;
    drop(host_keys);
    let descriptors = process::descriptor_limit().map_err(system("read a limit"))?;
    process::reserve_descriptors(descriptors.min(AT_ONCE)).map_err(system("make room"))?;
    // Before the fence: both look at files.
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    russh::kex::prepare_random()
        .map_err(|error| system("draw random numbers")(io::Error::other(error)))?;
    // Where that is refused, it is served like any other process.
    let _refused = scheduling::take_turns_of(TURN);
    let fence = sandbox::enter(account.as_ref(), &root)?;
    let shards = Shards::start(processors, descriptors).map_err(system("start threads"))?;
    closers::start().map_err(system("start threads"))?;
    sandbox::forbid_more_threads()?;
    // Accepts connections and hears the monitor; the connections are served by the shards.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()
        .map_err(system("start threads"))?;
    let terms = Terms { limits, transports };
    runtime.block_on(async {
        let (drain, draining) = watch::channel(None);
        let (monitor, messages) = Monitor::start(link)?;
        let gate = Arc::new(Gate::new(terms, rules, monitor, draining));
        gate.monitor.tell(FromGate::Ready(fence)).await;
        let hearing = tokio::spawn(hear(gate.clone(), messages, drain, shards.pulse()));
        listener::serve(&gate, shards, listeners, first_connection).await?;
        hearing.abort();
        Ok(())
    })
}

/// The monitor reads what is said at standard error, and writes it down.
fn speak_to_the_monitor() {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_max_level(tracing::Level::WARN)
        .with_ansi(false)
        .with_target(false)
        .without_time()
        .init();
}

fn receive_setup(link: &Link<FromGate, ToGate>) -> Result<(GateSetup, Vec<OwnedFd>), GateError> {
    link.wait(PollFlags::POLLIN, Some(PATIENCE))?;
    match link.receive()? {
        (ToGate::Setup(setup), listeners) => Ok((*setup, listeners)),
        _ => Err(GateError::NoSetup),
    }
}

/// What the monitor says to the gate as a whole.
async fn hear(
    gate: Arc<Gate>,
    mut messages: tokio::sync::mpsc::Receiver<monitor::Order>,
    drain: watch::Sender<Option<Duration>>,
    pulse: Pulse,
) {
    while let Some(order) = messages.recv().await {
        match order {
            monitor::Order::Rules(rules) => {
                gate.rules.send_replace(Arc::new(*rules));
            }
            monitor::Order::Limits(limits) => gate.replace_limits(*limits),
            // The kernel can hold a thread up in the name of an account, such as by a descriptor
            // that takes its time to be closed. The monitor replaces a gate that does not answer.
            monitor::Order::SayAlive => {
                let (gate, pulse) = (gate.clone(), pulse.clone());
                tokio::spawn(async move {
                    pulse.felt().await;
                    gate.monitor.tell(FromGate::Alive).await;
                });
            }
            monitor::Order::Drain(grace) => {
                drain.send_replace(Some(grace));
            }
        }
    }
    // The monitor is gone, and with it who could let anybody in.
    drain.send_replace(Some(Duration::ZERO));
}
