//! The forwarded channels of a connection (RFC 4254 §7): each a channel and a socket, and a task
//! that carries bytes between the two until both directions are done.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use russh::server::{ChannelOpenHandle, Handle, Msg};
use russh::{ChannelId, ChannelOpenFailure, ChannelWriteHalf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;

use super::connector::{Accepted, Connector};
use super::listeners::Listeners;
use crate::gate::channels::{LINGER, RunTerms};
use crate::gate::lock;
use crate::gate::pump::{Descriptor, Input, Output};
use crate::gate::traffic::{Activity, Traffic};
use crate::gate::{Gate, Terms, input_queue};
use crate::ipc::{
    ConnectionId, Destination, ForwardFailure, FromGate, ListenAddress, ListenerNumber,
    MAX_FORWARDS,
};

/// The forwarded channels of one connection, and what is listened at for it. Shared with the
/// tasks that carry them.
#[derive(Clone)]
pub(in crate::gate) struct ForwardedChannels {
    state: Arc<Mutex<State>>,
    /// For those that the client opens, and for those that come from listeners and the agent's socket:
    /// neither takes the other's.
    room: Arc<Semaphore>,
    room_for_accepted: Arc<Semaphore>,
    activity: Arc<Activity>,
}

#[derive(Default)]
struct State {
    open: HashMap<ChannelId, ForwardedChannel>,
    listeners: Listeners,
    tasks: JoinSet<()>,
    /// The connection is gone: nothing begins any more.
    ended: bool,
}

/// An open channel, as those see it who hear the client.
struct ForwardedChannel {
    /// To the socket; gone when the client has said that there is no more.
    input: Option<input_queue::Sender>,
    /// To be told when the client has closed the channel.
    closed: Option<oneshot::Sender<()>>,
    /// The other ends of both, until a task takes them.
    untaken: Option<Ends>,
    traffic: Arc<Traffic>,
}

/// What the client does, as the task that carries the channel sees it.
struct Ends {
    queue: input_queue::Receiver,
    closed: oneshot::Receiver<()>,
}

/// What carrying a channel takes from its connection.
#[derive(Clone)]
pub(in crate::gate) struct CarryTerms {
    pub(super) run: RunTerms,
    pub(super) connector: Connector,
    pub(super) gate: Arc<Gate>,
    pub(super) of_connection: Arc<Terms>,
    pub(super) connection: ConnectionId,
}

impl ForwardedChannels {
    pub(in crate::gate) fn new(activity: &Arc<Activity>) -> Self {
        Self {
            state: Arc::default(),
            room: Arc::new(Semaphore::new(MAX_FORWARDS)),
            room_for_accepted: Arc::new(Semaphore::new(MAX_FORWARDS)),
            activity: activity.clone(),
        }
    }

    /// How many channels are open.
    pub(in crate::gate) fn count(&self) -> usize {
        self.lock().open.len()
    }

    /// Connects for a channel that the client opens, and carries it.
    pub(in crate::gate) fn open_direct(
        &self,
        to: Destination,
        writer: ChannelWriteHalf<Msg>,
        reply: ChannelOpenHandle,
        terms: CarryTerms,
    ) -> Result<(), ChannelOpenHandle> {
        let Ok(room) = self.room.clone().try_acquire_owned() else {
            return Err(reply);
        };
        let forwarded = self.clone();
        self.spawn(async move {
            let (id, kind) = (writer.id(), kind_of_direct(&to));
            let connected = terms.connector.connect(id.into(), to).await;
            let socket =
                connected.and_then(|socket| Descriptor::to_exchange(socket).map_err(unusable));
            match socket {
                Ok(socket) => {
                    // Before the client knows of it: what it sends has to go somewhere.
                    forwarded.opened(id);
                    reply.accept().await;
                    forwarded.carry(socket, writer, kind, &terms, room).await;
                }
                Err(failure) => reply.reject(refusal(&failure)).await,
            }
        });
        Ok(())
    }

    /// Opens a channel for everybody who connects to a listener, and carries it.
    pub(in crate::gate) fn serve_accepted(
        &self,
        mut accepted: mpsc::Receiver<Accepted>,
        terms: CarryTerms,
    ) {
        let forwarded = self.clone();
        self.spawn(async move {
            // While there is no room for more, nothing is taken, and the session accepts nothing.
            while let Some(one) = accepted.recv().await {
                let room = forwarded.room_for_accepted.clone();
                let Ok(room) = room.acquire_owned().await else {
                    return;
                };
                let (terms, this) = (terms.clone(), forwarded.clone());
                forwarded.spawn(async move { this.open_forwarded(one, terms, room).await });
            }
        });
    }

    async fn open_forwarded(
        &self,
        accepted: Accepted,
        terms: CarryTerms,
        room: OwnedSemaphorePermit,
    ) {
        let listener = self.lock().listeners.get(accepted.listener).cloned();
        let socket = accepted.socket.map(Descriptor::to_exchange);
        let opened = match (listener, socket) {
            (Some(listener), Some(Ok(socket))) => {
                let who = (accepted.port, accepted.originator);
                let kind = kind_of_forwarded(&listener);
                let opened = open_channel(&terms.run.handle, listener, who).await;
                // Its reading half is not kept: russh would wait for us to read from it.
                opened.ok().map(|channel| (channel.split().1, kind, socket))
            }
            // Cancelled in the meantime; or no socket at all.
            _ => None,
        };
        terms.connector.taken().await;
        if let Some((writer, kind, socket)) = opened {
            self.carry(socket, writer, kind, &terms, room).await;
        }
    }

    /// A channel is open: what the client sends is kept until a task takes it.
    pub(in crate::gate) fn opened(&self, id: ChannelId) {
        let mut state = self.lock();
        if !state.ended {
            let new = || ForwardedChannel::new(Traffic::of_channel(&self.activity));
            state.open.entry(id).or_insert_with(new);
        }
    }

    /// Bytes from the client. What nobody wants is dropped.
    pub(in crate::gate) fn input(&self, id: ChannelId, data: Bytes) {
        // No data takes nothing off the window, and so must not be queued.
        if data.is_empty() {
            return;
        }
        if let Some(input) = self
            .lock()
            .open
            .get(&id)
            .and_then(|channel| channel.input.as_ref())
        {
            input.send(data);
        }
    }

    /// The client has no more to send.
    pub(in crate::gate) fn input_ends(&self, id: ChannelId) {
        if let Some(forward) = self.lock().open.get_mut(&id) {
            forward.input = None;
        }
    }

    /// The client has closed a channel; russh has answered already.
    pub(in crate::gate) fn closed(&self, id: ChannelId) {
        let mut state = self.lock();
        let Some(forward) = state.open.get_mut(&id) else {
            return;
        };
        forward.input = None;
        match (&forward.untaken, forward.closed.take()) {
            (None, Some(closed)) => {
                let _already_done = closed.send(());
            }
            // No task has it; none will find it.
            _ => {
                state.open.remove(&id);
            }
        }
    }

    /// A number for something to listen at, unless it is listened at already.
    pub(in crate::gate) fn add_listener(&self, at: ListenAddress) -> Option<ListenerNumber> {
        self.lock().listeners.add(at)
    }

    /// Port 0 turned out to be this one.
    pub(in crate::gate) fn set_port(&self, number: ListenerNumber, allocated: u16) {
        self.lock().listeners.set_port(number, allocated);
    }

    /// Forgets a listener.
    pub(in crate::gate) fn remove_listener(&self, at: &ListenAddress) -> Option<ListenerNumber> {
        self.lock().listeners.remove(at)
    }

    /// Whether the agent is listened for.
    pub(in crate::gate) fn has_agent(&self) -> bool {
        self.lock().listeners.has(&ListenAddress::Agent)
    }

    /// The connection is gone, and all that is forwarded with it; returns what was open.
    pub(in crate::gate) fn end(&self) -> Vec<(ChannelId, Arc<Traffic>)> {
        let mut state = self.lock();
        state.ended = true;
        state.tasks.abort_all();
        let open = std::mem::take(&mut state.open);
        open.into_iter()
            .map(|(id, forward)| (id, forward.traffic))
            .collect()
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut state = self.lock();
        while state.tasks.try_join_next().is_some() {}
        if !state.ended {
            state.tasks.spawn(task);
        }
    }

    /// Carries bytes both ways until both directions are done, or the client closes the channel.
    async fn carry(
        &self,
        socket: Descriptor,
        writer: ChannelWriteHalf<Msg>,
        kind: &str,
        terms: &CarryTerms,
        _room: OwnedSemaphorePermit,
    ) {
        let id = writer.id();
        let Some((Ends { queue, closed }, traffic)) = self.take(id) else {
            return;
        };
        let handle = &terms.run.handle;
        let mut input = Input::new(queue, handle.clone(), id, terms.run.window, traffic.clone());
        let to_client = async {
            let (channel, chunk) = (Arc::new(writer), terms.run.chunk);
            Output {
                channel,
                kind: None,
                chunk,
                traffic: traffic.clone(),
            }
            .drain(&socket)
            .await;
            // A connection that is gone needs no word.
            let _gone = handle.eof(id).await;
        };
        let idle_limit = terms.of_connection.limits.lifetime.channel_timeout(kind);
        tokio::select! {
            () = exchange(&mut input, &socket, to_client) => {
                let _gone = handle.close(id).await;
            }
            () = traffic.stays_idle(idle_limit) => {
                let _gone = handle.close(id).await;
            }
            _ = closed => {
                // As sshd does: what was sent before is delivered. More does not come.
                let _or_never = tokio::time::timeout(LINGER, input.copy_to(&socket)).await;
            }
        }
        // Both ends first: they may be waiting for this, and the log is not.
        tokio::task::yield_now().await;
        drop(socket);
        self.lock().open.remove(&id);
        let closed = FromGate::channel_closed(terms.connection, id.into(), &traffic);
        terms.gate.monitor.tell(closed).await;
    }

    /// A channel's ends; `None` where the client has closed it before we came to it.
    fn take(&self, id: ChannelId) -> Option<(Ends, Arc<Traffic>)> {
        let mut state = self.lock();
        let forward = state.open.get_mut(&id)?;
        Some((forward.untaken.take()?, forward.traffic.clone()))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl ForwardedChannel {
    fn new(traffic: Arc<Traffic>) -> Self {
        let (input, queue) = input_queue::new();
        let (tell_closed, closed) = oneshot::channel();
        Self {
            input: Some(input),
            closed: Some(tell_closed),
            untaken: Some(Ends { queue, closed }),
            traffic,
        }
    }
}

/// The kind of a channel that the client opens, as sshd_config(5) names it under ChannelTimeout.
fn kind_of_direct(to: &Destination) -> &'static str {
    match to {
        Destination::Tcp { .. } => "direct-tcpip",
        Destination::Unix { .. } => "direct-streamlocal@openssh.com",
    }
}

/// The kind of a channel that we open.
fn kind_of_forwarded(listener: &ListenAddress) -> &'static str {
    match listener {
        ListenAddress::Tcp { .. } => "forwarded-tcpip",
        ListenAddress::Unix { .. } => "forwarded-streamlocal@openssh.com",
        ListenAddress::Agent => "agent-connection",
    }
}

/// Both directions, until both are done: each may end before the other (a half-closed TCP
/// connection).
async fn exchange(input: &mut Input, socket: &Descriptor, to_client: impl Future<Output = ()>) {
    tokio::pin!(to_client);
    let mut drained = false;
    loop {
        tokio::select! {
            () = &mut to_client, if !drained => drained = true,
            _ended_or_failed = input.copy_to(socket) => break,
        }
    }
    socket.finish_writing();
    if !drained {
        // A far end that takes no more may still have something to say.
        tokio::select! {
            () = &mut to_client => return,
            () = input.discard() => {}
        }
        to_client.await;
    }
}

async fn open_channel(
    handle: &Handle,
    listener: ListenAddress,
    (port, originator): (u16, Option<SocketAddr>),
) -> Result<russh::Channel<Msg>, russh::Error> {
    match listener {
        // The address as the client wrote it, by which it knows what it asked for; the port as it
        // turned out.
        ListenAddress::Tcp { host, .. } => {
            let (from, from_port) = originator.map_or((String::new(), 0), |address| {
                (
                    address.ip().to_canonical().to_string(),
                    address.port().into(),
                )
            });
            handle
                .channel_open_forwarded_tcpip(host, port.into(), from, from_port)
                .await
        }
        ListenAddress::Unix { path } => handle.channel_open_forwarded_streamlocal(path).await,
        ListenAddress::Agent => handle.channel_open_agent().await,
    }
}

fn unusable(error: std::io::Error) -> ForwardFailure {
    ForwardFailure::ConnectFailed(format!("the socket cannot be used: {error}"))
}

/// RFC 4254 §5.1: the reason, and words for the user.
pub(super) fn refusal(failure: &ForwardFailure) -> ChannelOpenFailure {
    let code = match failure {
        ForwardFailure::Prohibited(_) => ChannelOpenFailure::AdministrativelyProhibited,
        ForwardFailure::ConnectFailed(_) => ChannelOpenFailure::ConnectFailed,
        ForwardFailure::Shortage(_) => ChannelOpenFailure::ResourceShortage,
    }
    .code();
    ChannelOpenFailure::Other {
        code,
        reason: format!("bastion: {}", failure.sentence()),
    }
}
