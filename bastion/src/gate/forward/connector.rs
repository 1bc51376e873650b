//! The session process as one that connects and listens.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::gate::link::AsyncLink;
use crate::gate::lock;
use crate::ipc::{
    ChannelNumber, Destination, ForwardAnswer, ForwardFailure, ForwardOrder, FromSession,
    ListenAddress, ListenerNumber, MAX_UNTAKEN, ToSession,
};

/// How long the session may take to connect: its own limit, and some more.
const CONNECT_PATIENCE: Duration = Duration::from_secs(30);
/// How long it may take to listen, which the client's other requests wait for.
const LISTEN_PATIENCE: Duration = Duration::from_secs(10);

/// Somebody who has connected to a listener.
pub(in crate::gate) struct Accepted {
    pub(in crate::gate) listener: ListenerNumber,
    pub(in crate::gate) port: u16,
    /// None where this process could take no more.
    pub(in crate::gate) socket: Option<OwnedFd>,
    pub(in crate::gate) originator: Option<SocketAddr>,
}

/// Asks the session to connect and to listen. It does not keep the session's link open.
#[derive(Clone)]
pub(in crate::gate) struct Connector {
    link: Weak<AsyncLink<ToSession, FromSession>>,
    waiting: Arc<Mutex<Waiting>>,
    accepted: mpsc::Sender<Accepted>,
}

/// Whoever waits for an answer.
#[derive(Default)]
struct Waiting {
    connecting: HashMap<ChannelNumber, oneshot::Sender<Result<OwnedFd, ForwardFailure>>>,
    listening: HashMap<ListenerNumber, oneshot::Sender<Result<u16, ForwardFailure>>>,
}

impl Connector {
    /// With the accepted connections, as they come.
    pub(in crate::gate) fn new(
        link: &Arc<AsyncLink<ToSession, FromSession>>,
    ) -> (Self, mpsc::Receiver<Accepted>) {
        let (accepted, incoming) = mpsc::channel(MAX_UNTAKEN);
        (
            Self {
                link: Arc::downgrade(link),
                waiting: Arc::default(),
                accepted,
            },
            incoming,
        )
    }

    /// Connects, for a channel.
    pub(in crate::gate) async fn connect(
        &self,
        channel: ChannelNumber,
        to: Destination,
    ) -> Result<OwnedFd, ForwardFailure> {
        let (answer, answered) = oneshot::channel();
        self.lock().connecting.insert(channel, answer);
        let order = ForwardOrder::Connect { channel, to };
        let outcome = self.ask(order, answered, CONNECT_PATIENCE).await;
        self.lock().connecting.remove(&channel);
        outcome
    }

    /// Listens; returns the port.
    pub(in crate::gate) async fn listen(
        &self,
        listener: ListenerNumber,
        at: ListenAddress,
    ) -> Result<u16, ForwardFailure> {
        self.ask_listener(listener, ForwardOrder::Listen { listener, at })
            .await
    }

    /// Listens no more.
    pub(in crate::gate) async fn cancel(
        &self,
        listener: ListenerNumber,
    ) -> Result<(), ForwardFailure> {
        self.ask_listener(listener, ForwardOrder::CancelListen { listener })
            .await
            .map(drop)
    }

    /// An accepted connection has been dealt with.
    pub(in crate::gate) async fn taken(&self) {
        // A session that is gone accepts no more anyway.
        let _gone = tokio::time::timeout(LISTEN_PATIENCE, self.send(ForwardOrder::Taken)).await;
    }

    /// Passes on what the session answers.
    pub(in crate::gate) fn hear(&self, answer: ForwardAnswer, descriptors: Vec<OwnedFd>) {
        let mut descriptors = descriptors.into_iter();
        let mut waiting = self.lock();
        // Who has stopped waiting drops the answer, and with it the socket.
        match answer {
            ForwardAnswer::Connected { channel } => {
                let socket = descriptors.next().ok_or_else(no_socket);
                let _gone = waiting
                    .connecting
                    .remove(&channel)
                    .map(|asker| asker.send(socket));
            }
            ForwardAnswer::NotConnected { channel, failure } => {
                let _gone = waiting
                    .connecting
                    .remove(&channel)
                    .map(|asker| asker.send(Err(failure)));
            }
            ForwardAnswer::Listening { listener, port } => {
                let _gone = waiting
                    .listening
                    .remove(&listener)
                    .map(|asker| asker.send(Ok(port)));
            }
            ForwardAnswer::NotListening { listener, failure } => {
                let _gone = waiting
                    .listening
                    .remove(&listener)
                    .map(|asker| asker.send(Err(failure)));
            }
            ForwardAnswer::Cancelled { listener } => {
                let _gone = waiting
                    .listening
                    .remove(&listener)
                    .map(|asker| asker.send(Ok(0)));
            }
            ForwardAnswer::Accepted {
                listener,
                port,
                originator,
            } => {
                // A session that sends more than it may loses what is too much.
                let _full = self.accepted.try_send(Accepted {
                    listener,
                    port,
                    socket: descriptors.next(),
                    originator,
                });
            }
        }
    }

    async fn ask_listener(
        &self,
        listener: ListenerNumber,
        order: ForwardOrder,
    ) -> Result<u16, ForwardFailure> {
        let (answer, answered) = oneshot::channel();
        self.lock().listening.insert(listener, answer);
        let outcome = self.ask(order, answered, LISTEN_PATIENCE).await;
        self.lock().listening.remove(&listener);
        outcome
    }

    async fn ask<T>(
        &self,
        order: ForwardOrder,
        answered: oneshot::Receiver<Result<T, ForwardFailure>>,
        patience: Duration,
    ) -> Result<T, ForwardFailure> {
        let gone = || ForwardFailure::ConnectFailed("the session process does not answer".into());
        let outcome = tokio::time::timeout(patience, async {
            self.send(order).await.ok_or_else(gone)?;
            answered.await.map_err(|_| gone())?
        });
        outcome.await.unwrap_or_else(|_| Err(gone()))
    }

    async fn send(&self, order: ForwardOrder) -> Option<()> {
        let link = self.link.upgrade()?;
        link.send(&ToSession::Forward(order), &[]).await.ok()
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        lock(&self.waiting)
    }
}

fn no_socket() -> ForwardFailure {
    ForwardFailure::ConnectFailed("the session process sent no socket".into())
}
