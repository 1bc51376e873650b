//! The open channels of a connection: each waits for its program, or runs it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use russh::server::{Handle, Msg};
use russh::{ChannelId, ChannelWriteHalf, Sig};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::{AbortHandle, JoinHandle, JoinSet};

use super::input_queue;
use super::pump::{Descriptor, Input, Output};
use super::session::{Descriptors, StartedProgram};
use super::stream::{Activity, Traffic};
use crate::ipc::{ProgramEnd, PtyRequest};

/// Extended data of type 1 is standard error (RFC 4254 §5.2).
const STDERR: u32 = 1;
/// How long a program that nobody listens to any more may still speak.
const LAST_WORDS: Duration = Duration::from_secs(10);
/// The most programs that may do so at a time; any more find their pipes closed.
static LAST_SPEAKERS: Semaphore = Semaphore::const_new(256);

/// The channels of one connection. Shared with the tasks that close them.
#[derive(Clone, Default)]
pub(super) struct Channels(Arc<Mutex<HashMap<ChannelId, Channel>>>);

/// One channel of type session.
pub(super) struct Channel {
    writer: Arc<ChannelWriteHalf<Msg>>,
    /// To the program; gone when the client has said that there is no more.
    input: Option<input_queue::Sender>,
    waiting: Option<Waiting>,
    traffic: Arc<Traffic>,
    tasks: Vec<AbortHandle>,
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
            pipes: Vec::new(),
            has_terminal: false,
        }
    }

    /// What is known of its program to be; `None` when that was started.
    pub(super) fn waiting(&mut self) -> Option<&mut Waiting> {
        self.waiting.as_mut()
    }

    /// Takes what is known of its program to be, to start it.
    pub(super) fn take_waiting(&mut self) -> Option<Waiting> {
        self.waiting.take()
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
        self.tasks.push(tokio::spawn(input.feed(to)).abort_handle());
    }

    /// From the program to the client, until there is no more.
    fn drain(&mut self, from: Descriptor, kind: Option<u32>, terms: &RunTerms) -> JoinHandle<()> {
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
        let drain = tokio::spawn(output.drain(from));
        self.tasks.push(drain.abort_handle());
        drain
    }

    /// The client is gone. A program that gets SIGHUP may say so while it tidies up, as shells do
    /// of their children: a pipe closed at once would kill it by SIGPIPE in the middle of that. A
    /// terminal is closed at once, which is what SIGHUP means.
    pub(super) fn let_go(mut self) {
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
            let _speaks_on = tokio::time::timeout(LAST_WORDS, all).await;
            drop(room);
        });
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

impl Channels {
    pub(super) fn lock(&self) -> MutexGuard<'_, HashMap<ChannelId, Channel>> {
        // No code that can panic runs with the lock held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
        let outputs = ends.outputs.into_iter();
        let drains = outputs
            .map(|(from, kind)| channel.drain(from, kind, terms))
            .collect();
        let (channels_of_closer, traffic) = (self.clone(), channel.traffic.clone());
        let (handle, idle_limit) = (terms.handle.clone(), terms.idle_limit);
        let (ended, hang_up) = (program.ended, program.hang_up);
        let closer = tokio::spawn(async move {
            match wait_for_the_end(drains, ended, traffic.stays_idle(idle_limit)).await {
                Some(end) => say_goodbye(&handle, id, end).await,
                None => {
                    hang_up.send().await;
                    let _gone = handle.close(id).await;
                }
            }
            closed.await;
            channels_of_closer.forget_soon(id);
        });
        channel.tasks.push(closer.abort_handle());
        Ok(())
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.lock().len()
    }

    /// Tells whoever sits at a terminal that this ends soon, and why.
    pub(super) async fn announce(&self, handle: &Handle, why: &str, left: Duration) {
        let terminals: Vec<_> = {
            let channels = self.lock();
            channels
                .iter()
                .filter(|(_, channel)| channel.has_terminal)
                .map(|(&id, _)| id)
                .collect()
        };
        let text = format!(
            "\r\nbastion: {why}; this session ends in {} s\r\n",
            left.as_secs_f64().ceil()
        );
        for id in terminals {
            // Bounded, and for a terminal that nobody reads from, in vain.
            let said = handle.extended_data(id, STDERR, text.clone().into_bytes());
            let _unread = tokio::time::timeout(Duration::from_millis(100), said).await;
        }
    }

    /// The connection is gone, and all channels with it; returns those that were open.
    pub(super) fn end(&self) -> Vec<(ChannelId, Arc<Traffic>)> {
        let channels = std::mem::take(&mut *self.lock());
        channels
            .into_iter()
            .map(|(id, channel)| {
                let traffic = channel.traffic.clone();
                channel.let_go();
                (id, traffic)
            })
            .collect()
    }

    /// Removes a closed channel. Not by its own task, which the removal ends, and which has
    /// nothing left to do.
    fn forget_soon(&self, id: ChannelId) {
        self.lock().remove(&id);
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
            Descriptors::Terminal(fd) => Self {
                input: Descriptor::to_write(fd.try_clone()?)?,
                outputs: vec![(Descriptor::to_read(fd)?, None)],
                is_terminal: true,
            },
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

/// How the program ended, when all that it wrote was sent; `None` when its channel was idle for too
/// long, and nothing more is sent.
async fn wait_for_the_end(
    mut drains: Vec<JoinHandle<()>>,
    ended: oneshot::Receiver<ProgramEnd>,
    idle_for_too_long: impl Future<Output = ()>,
) -> Option<Option<ProgramEnd>> {
    let end = async {
        for drain in &mut drains {
            // Ends in no other way than by itself or with this task.
            let _ended = drain.await;
        }
        ended.await.ok()
    };
    tokio::select! {
        end = end => return Some(end),
        () = idle_for_too_long => {}
    }
    drains.iter().for_each(JoinHandle::abort);
    for drain in drains {
        let _aborted = drain.await;
    }
    None
}

/// RFC 4254 §5.3, §6.10: no more data, how it ended, close. Nothing after that.
async fn say_goodbye(handle: &Handle, id: ChannelId, end: Option<ProgramEnd>) {
    let said = async {
        handle.eof(id).await?;
        match end {
            Some(ProgramEnd::Status(status)) => handle.exit_status_request(id, status).await?,
            Some(ProgramEnd::Signal { name, core_dumped }) => {
                let signal = Sig::Custom(name);
                handle
                    .exit_signal_request(id, signal, core_dumped, String::new(), String::new())
                    .await?;
            }
            // The session process went first; its connection ends with it.
            None => {}
        }
        handle.close(id).await
    };
    // The connection may be gone: then there is nobody to say it to.
    let _nobody_there: Result<(), ()> = said.await;
}
