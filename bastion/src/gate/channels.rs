//! The open channels of a connection: each waits for its program, or runs it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use russh::server::{Handle, Msg};
use russh::{ChannelId, ChannelWriteHalf};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::task::{AbortHandle, JoinHandle, JoinSet};

use super::ending::Ending;
use super::input_queue;
use super::lock;
use super::pump::{Descriptor, Input, Output};
use super::session::{Descriptors, StartedProgram};
use super::traffic::{Activity, Traffic};
use crate::ipc::PtyRequest;

/// Extended data of type 1 is standard error (RFC 4254 §5.2).
const STDERR: u32 = 1;
/// How long a program that nobody listens to any more may still speak.
const LAST_WORDS: Duration = Duration::from_secs(10);
/// The most programs that may do so at a time; any more find their pipes closed.
static LAST_SPEAKERS: Semaphore = Semaphore::const_new(256);
/// How long whoever is at the far end may take to read what a client has sent before it closed the
/// channel.
pub(super) const LINGER: Duration = Duration::from_secs(30);
/// The most programs of a connection for which that is kept at a time: a window of memory for each.
const MOST_THAT_READ_ON: usize = 8;
/// The most that may end by themselves when they have read it.
const MOST_THAT_LINGER: usize = 64;

/// The channels of one connection. Shared with the tasks that close them.
#[derive(Clone)]
pub(super) struct Channels {
    open: Arc<Mutex<HashMap<ChannelId, Channel>>>,
    /// Of channels that the client has closed: what it sent before is still to be read.
    read_on: Arc<Mutex<JoinSet<()>>>,
    places: Arc<Semaphore>,
}

impl Default for Channels {
    fn default() -> Self {
        Self {
            open: Arc::default(),
            read_on: Arc::default(),
            places: Arc::new(Semaphore::new(MOST_THAT_READ_ON)),
        }
    }
}

/// One channel of type session.
pub(super) struct Channel {
    writer: Arc<ChannelWriteHalf<Msg>>,
    /// To the program; gone when the client has said that there is no more.
    input: Option<input_queue::Sender>,
    /// What is known of its program to be; `None` once that was started.
    pub(super) waiting: Option<Waiting>,
    traffic: Arc<Traffic>,
    tasks: Vec<AbortHandle>,
    /// The one that feeds the program.
    feeding: Option<AbortOnDrop>,
    /// The program's standard output and error, where they are pipes.
    pipes: Vec<Arc<Descriptor>>,
    /// Somebody may be looking at it.
    has_terminal: bool,
}

/// What a channel has been told before its program is started.
pub(super) struct Waiting {
    queue: input_queue::Receiver,
    /// The terminal asked for.
    pub(super) pty: Option<PtyRequest>,
    /// The variables asked for.
    pub(super) environment: Vec<(String, String)>,
}

impl Channel {
    pub(super) fn new(writer: ChannelWriteHalf<Msg>, connection: &Arc<Activity>) -> Self {
        let (input, queue) = input_queue::new();
        let waiting = Waiting {
            queue,
            pty: None,
            environment: Vec::new(),
        };
        Self {
            writer: Arc::new(writer),
            input: Some(input),
            waiting: Some(waiting),
            traffic: Traffic::of_channel(connection),
            tasks: Vec::new(),
            feeding: None,
            pipes: Vec::new(),
            has_terminal: false,
        }
    }

    /// Bytes from the client. What nobody wants is dropped.
    pub(super) fn input(&self, data: Bytes) {
        // No data takes nothing off the window, and so must not be queued.
        if let Some(input) = self.input.as_ref().filter(|_| !data.is_empty()) {
            input.send(data);
        }
    }

    /// The client has no more to send.
    pub(super) fn input_ends(&mut self) {
        self.input = None;
    }

    pub(super) fn traffic(&self) -> &Arc<Traffic> {
        &self.traffic
    }

    /// From the client to the program, from now on.
    fn feed(
        &mut self,
        id: ChannelId,
        to: Descriptor,
        queue: input_queue::Receiver,
        terms: &RunTerms,
    ) {
        let (handle, traffic) = (terms.handle.clone(), self.traffic.clone());
        let input = Input::new(queue, handle, id, terms.window, traffic);
        self.feeding = Some(AbortOnDrop(tokio::spawn(input.feed(to))));
    }

    /// From the program to the client, until there is no more; of a terminal, until its program has
    /// `ended` and there is no more for now.
    fn drain(
        &mut self,
        from: Descriptor,
        kind: Option<u32>,
        terms: &RunTerms,
        ended: &Arc<Notify>,
    ) -> JoinHandle<()> {
        let from = Arc::new(from);
        if !self.has_terminal {
            self.pipes.push(from.clone());
        }
        let output = Output {
            channel: self.writer.clone(),
            kind,
            chunk: terms.chunk,
            traffic: self.traffic.clone(),
        };
        // Who was left behind at a terminal holds it open, and the user of it up. Who was left behind
        // at a pipe is waited for: that is what sshd does.
        let drain = match self.has_terminal {
            true => {
                let ended = ended.clone();
                tokio::spawn(async move { output.drain_until(from, ended.notified()).await })
            }
            false => tokio::spawn(output.drain(from)),
        };
        self.tasks.push(drain.abort_handle());
        drain
    }

    /// The client has closed the channel: what it sent before goes on its way, and then the end of
    /// it. Ready when its program has `ended`, or has nothing that it could still be reading. A
    /// terminal is hung up at once.
    fn read_on(
        &mut self,
        place: OwnedSemaphorePermit,
        ended: impl Future<Output = ()> + Send + 'static,
    ) -> Option<impl Future<Output = ()> + Send + 'static> {
        self.input = None;
        let mut feeding = self.feeding.take().filter(|_| !self.has_terminal)?;
        let traffic = self.traffic.clone();
        Some(async move {
            let read = async {
                let all_taken = (&mut feeding.0).await.unwrap_or(false);
                drop(place);
                if all_taken && traffic.received() > 0 {
                    ended.await;
                }
            };
            let _or_never = tokio::time::timeout(LINGER, read).await;
        })
    }

    /// The client is gone. A program that gets SIGHUP may say so while it tidies up, as shells do
    /// of their children: a pipe closed at once would kill it by SIGPIPE in the middle of that. A
    /// terminal is closed at once, which is what SIGHUP means.
    ///
    /// `limit`: how long it may speak on.
    fn let_go(mut self, limit: Duration) {
        let pipes = std::mem::take(&mut self.pipes);
        let Some(room) = LAST_SPEAKERS
            .try_acquire()
            .ok()
            .filter(|_| !pipes.is_empty())
        else {
            return;
        };
        let mut unheard: JoinSet<()> = pipes
            .into_iter()
            .map(|pipe| async move { pipe.discard().await })
            .collect();
        tokio::spawn(async move {
            let all = async { while unheard.join_next().await.is_some() {} };
            let _speaks_on = tokio::time::timeout(limit, all).await;
            drop(room);
        });
    }
}

/// A task that ends with whoever waits for it.
struct AbortOnDrop(JoinHandle<bool>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

impl Channels {
    pub(super) fn lock(&self) -> MutexGuard<'_, HashMap<ChannelId, Channel>> {
        lock(&self.open)
    }

    /// The client has closed a channel: `hang_up` is awaited when its program has `ended` after it
    /// read what was sent before, or takes too long to.
    pub(super) async fn close(
        &self,
        mut channel: Channel,
        ended: impl Future<Output = ()> + Send + 'static,
        hang_up: impl Future<Output = ()> + Send + 'static,
    ) {
        let place = self.place_to_read_on();
        match place.and_then(|place| channel.read_on(place, ended)) {
            None => {
                channel.let_go(LAST_WORDS);
                hang_up.await;
            }
            Some(read) => {
                // It may have something to say while it reads, too.
                channel.let_go(LINGER + LAST_WORDS);
                self.read_on().spawn(async move {
                    read.await;
                    hang_up.await;
                });
            }
        }
    }

    fn place_to_read_on(&self) -> Option<OwnedSemaphorePermit> {
        let mut all = self.read_on();
        while all.try_join_next().is_some() {}
        let place = self.places.clone().try_acquire_owned().ok();
        place.filter(|_| all.len() < MOST_THAT_LINGER)
    }

    fn read_on(&self) -> MutexGuard<'_, JoinSet<()>> {
        lock(&self.read_on)
    }

    /// Connects a started program to its channel. `closed` is awaited when all of it has been
    /// sent and the channel was closed.
    pub(super) fn run(
        &self,
        id: ChannelId,
        waiting: Waiting,
        program: StartedProgram,
        terms: &RunTerms,
        closed: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), String> {
        let mut channels = self.lock();
        let channel = channels.get_mut(&id).ok_or("the channel is closed")?;
        let ends = Ends::of(program.descriptors)
            .map_err(|error| format!("a descriptor of the program cannot be used: {error}"))?;
        channel.has_terminal = ends.is_terminal;
        channel.feed(id, ends.input, waiting.queue, terms);
        let (outputs, last_call) = (ends.outputs.into_iter(), Arc::new(Notify::new()));
        let drains = outputs
            .map(|(from, kind)| channel.drain(from, kind, terms, &last_call))
            .collect();
        let (channels_of_closer, traffic) = (self.clone(), channel.traffic.clone());
        let (handle, idle_limit) = (terms.handle.clone(), terms.idle_limit);
        let (ended, hang_up) = (program.ended, program.hang_up);
        let closer = tokio::spawn(async move {
            let ending = Ending {
                handle: &handle,
                id,
                last_call: &last_call,
            };
            let idle = traffic.stays_idle(idle_limit);
            if !ending.tell_unless_idle(drains, ended, idle).await {
                hang_up.send().await;
                let _gone = handle.close(id).await;
            }
            closed.await;
            // Ends this task, too: it has nothing left to do.
            channels_of_closer.lock().remove(&id);
        });
        channel.tasks.push(closer.abort_handle());
        Ok(())
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.lock().len()
    }

    /// Tells whoever sits at a terminal that this ends soon, and why.
    pub(super) async fn announce(&self, why: &str, left: Duration) {
        let terminals: Vec<_> = {
            let channels = self.lock();
            let terminals = channels.values().filter(|channel| channel.has_terminal);
            terminals.map(|channel| channel.writer.clone()).collect()
        };
        let text = format!(
            "\r\nbastion: {why}; this session ends in {} s\r\n",
            left.as_secs_f64().ceil()
        );
        for writer in terminals {
            // Within its window, and for a terminal that nobody reads from, in vain: what waits for
            // room in one channel's window would hold up all others.
            let said = writer.extended_data_bytes(STDERR, text.clone());
            let _unread = tokio::time::timeout(Duration::from_millis(100), said).await;
        }
    }

    /// The connection is gone, and all channels with it; returns those that were open.
    pub(super) fn end(&self) -> Vec<(ChannelId, Arc<Traffic>)> {
        self.read_on().abort_all();
        let channels = std::mem::take(&mut *self.lock());
        channels
            .into_iter()
            .map(|(id, channel)| {
                let traffic = channel.traffic.clone();
                channel.let_go(LAST_WORDS);
                (id, traffic)
            })
            .collect()
    }
}

/// What running a program takes from its connection.
#[derive(Clone)]
pub(super) struct RunTerms {
    pub(super) handle: Handle,
    pub(super) window: u32,
    pub(super) chunk: usize,
    /// How long the channel may be idle.
    pub(super) idle_limit: Option<Duration>,
}

/// A program's descriptors, as a channel is connected to them.
struct Ends {
    input: Descriptor,
    /// With the type of extended data, where it is any (RFC 4254 §5.2).
    outputs: Vec<(Descriptor, Option<u32>)>,
    is_terminal: bool,
}

impl Ends {
    fn of(descriptors: Descriptors) -> std::io::Result<Self> {
        Ok(match descriptors {
            Descriptors::Terminal(fd) => {
                let [input, output] = Descriptor::of_terminal(fd)?;
                Self {
                    input,
                    outputs: vec![(output, None)],
                    is_terminal: true,
                }
            }
            Descriptors::Pipes([stdin, stdout, stderr]) => Self {
                input: Descriptor::to_write(stdin)?,
                outputs: vec![
                    (Descriptor::to_read(stdout)?, None),
                    (Descriptor::to_read(stderr)?, Some(STDERR)),
                ],
                is_terminal: false,
            },
        })
    }
}
