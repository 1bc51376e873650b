//! The monitor, as the connections see it: whom to ask, and whom to tell.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::link::AsyncLink;
use super::lock;
use crate::ipc::{ConnectionId, FromGate, GrantRequest, Limits, Link, LinkError, ToGate, Verdict};
use crate::policy::Rules;

/// How long the monitor may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the monitor tells the gate as a whole.
pub(super) enum Order {
    /// Who may log in has changed.
    Rules(Box<Rules>),
    /// The limits have changed.
    Limits(Box<Limits>),
    /// Say that the gate lives.
    SayAlive,
    /// End within this time.
    Drain(Duration),
}

/// The answer to a connection's question.
enum Answer {
    Verdict(Verdict),
    Session(Result<OwnedFd, String>),
}

type Waiting = Arc<Mutex<HashMap<ConnectionId, oneshot::Sender<Answer>>>>;

/// The monitor. Dropping the last handle ends nothing: the link lives as long as the process.
pub(super) struct Monitor {
    link: Arc<AsyncLink<FromGate, ToGate>>,
    waiting: Waiting,
}

impl Monitor {
    /// Starts to hear and to be heard.
    pub(super) fn start(
        link: Link<FromGate, ToGate>,
    ) -> Result<(Self, mpsc::Receiver<Order>), LinkError> {
        let link = Arc::new(AsyncLink::new(link)?);
        let (orders, incoming) = mpsc::channel(8);
        let waiting = Waiting::default();
        tokio::spawn(listen(link.clone(), waiting.clone(), orders));
        Ok((Self { link, waiting }, incoming))
    }

    /// Tells the monitor something; returns when it is on its way.
    pub(super) async fn tell(&self, message: FromGate) {
        match self.link.send(&message, &[]).await {
            // One message that cannot be sent is not the end of all others.
            Ok(()) | Err(LinkError::TooLong(_) | LinkError::Malformed(_)) => {}
            // Nothing that happens here would be written down any more.
            Err(_) => std::process::exit(1),
        }
    }

    /// Asks for a user to be let in. `None` when there is no answer in time: it may still come, and
    /// would then be taken for that to another question.
    pub(super) async fn grant(&self, request: GrantRequest) -> Option<Verdict> {
        let connection = request.connection;
        match self
            .ask(connection, FromGate::Grant(Box::new(request)))
            .await
        {
            Some(Answer::Verdict(verdict)) => Some(verdict),
            _ => None,
        }
    }

    /// Asks for the connection's session process; returns the socket to it.
    pub(super) async fn open_session(&self, connection: ConnectionId) -> Result<OwnedFd, String> {
        match self
            .ask(connection, FromGate::OpenSession { connection })
            .await
        {
            Some(Answer::Session(session)) => session,
            _ => Err("the monitor does not answer".into()),
        }
    }

    async fn ask(&self, connection: ConnectionId, question: FromGate) -> Option<Answer> {
        let (answer, answered) = oneshot::channel();
        lock(&self.waiting).insert(connection, answer);
        self.tell(question).await;
        let outcome = tokio::time::timeout(PATIENCE, answered).await;
        lock(&self.waiting).remove(&connection);
        outcome.ok()?.ok()
    }
}

/// Passes on what the monitor says, until it is gone.
async fn listen(
    link: Arc<AsyncLink<FromGate, ToGate>>,
    waiting: Waiting,
    orders: mpsc::Sender<Order>,
) {
    while let Ok((message, descriptors)) = link.receive().await {
        let order = match message {
            ToGate::Setup(_) => continue,
            ToGate::Verdict {
                connection,
                verdict,
            } => {
                answer(&waiting, connection, Answer::Verdict(verdict));
                continue;
            }
            ToGate::Session { connection, error } => {
                let socket = descriptors.into_iter().next();
                let session = match (error, socket) {
                    (None, Some(socket)) => Ok(socket),
                    (error, _) => Err(error.unwrap_or_else(|| "there is no socket".into())),
                };
                answer(&waiting, connection, Answer::Session(session));
                continue;
            }
            ToGate::Rules(rules) => Order::Rules(rules),
            ToGate::Limits(limits) => Order::Limits(limits),
            ToGate::AreYouAlive => Order::SayAlive,
            ToGate::Drain(grace) => Order::Drain(grace),
        };
        if orders.send(order).await.is_err() {
            return;
        }
    }
}

fn answer(waiting: &Waiting, connection: ConnectionId, answer: Answer) {
    if let Some(asker) = lock(waiting).remove(&connection) {
        // One who has stopped waiting needs no answer.
        let _gone = asker.send(answer);
    }
}
