//! The connection's session process, as the gate sees it. It runs as the account, and may say
//! anything: what it says is believed for its own connection only.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use russh::Disconnect;
use russh::server::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;

use super::closers;
use super::forward::{Accepted, Connector};
use super::handler::{ConnectionHandler, State};
use super::link::AsyncLink;
use super::lock;
use crate::ipc::{
    ChannelNumber, FromSession, Link, LinkError, Program, ProgramEnd, PtyRequest, Started,
    ToSession,
};
use crate::sys::readiness::ClosedBy;

/// How long the session may take to start a program, or to take an order.
const PATIENCE: Duration = Duration::from_secs(10);

/// A session process. Dropping it ends the process: it sees the socket closed.
pub(super) struct Session {
    link: Arc<AsyncLink<ToSession, FromSession>>,
    programs: Arc<Mutex<Programs>>,
    connector: Connector,
    listening: AbortHandle,
}

/// A program that was started.
pub(super) struct StartedProgram {
    pub(super) descriptors: Descriptors,
    pub(super) ended: oneshot::Receiver<ProgramEnd>,
    pub(super) hang_up: HangUp,
}

/// Why a program was not started, in a sentence for the user.
pub(super) enum NotStarted {
    /// The session says so.
    Refused(String),
    /// It may have been, but not within reach: it is to be hung up.
    Lost(String),
}

/// The order to hang up a channel.
pub(super) struct HangUp {
    link: Arc<AsyncLink<ToSession, FromSession>>,
    channel: ChannelNumber,
}

impl HangUp {
    pub(super) async fn send(self) {
        let order = ToSession::HangUp {
            channel: self.channel,
        };
        order_by(&self.link, &order).await;
    }
}

/// A program's descriptors.
pub(super) enum Descriptors {
    /// Its terminal. Where nobody waits for it any more, it takes its time to be closed.
    Terminal(ClosedBy),
    /// Its standard input, output and error.
    Pipes([OwnedFd; 3]),
}

/// Whoever waits for news of a program.
#[derive(Default)]
struct Programs {
    starting: HashMap<ChannelNumber, oneshot::Sender<Result<Descriptors, NotStarted>>>,
    running: HashMap<ChannelNumber, oneshot::Sender<ProgramEnd>>,
}

impl Session {
    /// Over this socket, with the connections that are accepted for the client. `gone` is called
    /// when the session process goes by itself.
    pub(super) fn new(
        socket: OwnedFd,
        gone: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(Self, mpsc::Receiver<Accepted>), LinkError> {
        let link = Arc::new(AsyncLink::new(Link::new(socket))?);
        let programs = Arc::<Mutex<Programs>>::default();
        let (connector, accepted) = Connector::new(&link);
        let listening = listen(link.clone(), programs.clone(), connector.clone(), gone);
        let listening = tokio::spawn(listening).abort_handle();
        Ok((
            Self {
                link,
                programs,
                connector,
                listening,
            },
            accepted,
        ))
    }

    /// The session as one that connects and listens.
    pub(super) fn connector(&self) -> Connector {
        self.connector.clone()
    }

    /// Starts a program.
    pub(super) async fn start(
        &self,
        channel: ChannelNumber,
        program: Program,
        pty: Option<PtyRequest>,
        environment: Vec<(String, String)>,
    ) -> Result<StartedProgram, NotStarted> {
        let (started, starting) = oneshot::channel();
        let (end, ended) = oneshot::channel();
        {
            let mut programs = lock(&self.programs);
            programs.starting.insert(channel, started);
            programs.running.insert(channel, end);
        }
        let outcome = tokio::time::timeout(PATIENCE, async {
            let order = ToSession::Start {
                channel,
                program,
                pty,
                environment,
            };
            self.link
                .send(&order, &[])
                .await
                .map_err(|error| NotStarted::Lost(error.to_string()))?;
            let ended = |_| NotStarted::Lost("the session process has ended".into());
            starting.await.map_err(ended)?
        });
        let outcome = outcome.await.unwrap_or_else(|_| {
            Err(NotStarted::Lost(
                "the session process does not answer".into(),
            ))
        });
        match outcome {
            Ok(descriptors) => Ok(StartedProgram {
                descriptors,
                ended,
                hang_up: self.hang_up(channel),
            }),
            Err(reason) => {
                self.forget(channel);
                Err(reason)
            }
        }
    }

    /// The order to hang up a channel.
    pub(super) fn hang_up(&self, channel: ChannelNumber) -> HangUp {
        HangUp {
            link: self.link.clone(),
            channel,
        }
    }

    /// Passes an order on.
    pub(super) async fn order(&self, order: ToSession) {
        order_by(&self.link, &order).await;
    }

    /// Its client has closed this channel, and waits for no news of it any more: ready when its
    /// program has ended.
    pub(super) fn end_of(&self, channel: ChannelNumber) -> impl Future<Output = ()> + use<> {
        let (end, ended) = oneshot::channel();
        let mut programs = lock(&self.programs);
        if let Some(running) = programs.running.get_mut(&channel) {
            *running = end;
        }
        async move {
            let _or_the_session_did = ended.await;
        }
    }

    /// Nobody waits for news of this channel any more.
    fn forget(&self, channel: ChannelNumber) {
        let mut programs = lock(&self.programs);
        programs.starting.remove(&channel);
        programs.running.remove(&channel);
    }
}

impl ConnectionHandler {
    /// Has the session process started, if this is the first that needs it.
    pub(super) async fn open_session(&mut self, handle: Handle) -> Result<(), String> {
        match &self.state {
            State::Stranger => return Err("nobody was let in".into()),
            State::LoggedIn {
                session: Some(_), ..
            } => return Ok(()),
            State::LoggedIn { session: None, .. } => {}
        }
        let socket = self.gate.monitor.open_session(self.id).await?;
        let tell = handle.clone();
        let gone = async move {
            let text = "bastion: the session process has ended".to_owned();
            // The connection may be gone just as well.
            let _gone = tell
                .disconnect(Disconnect::ByApplication, text, String::new())
                .await;
        };
        let (new, accepted) = Session::new(socket, gone).map_err(|error| error.to_string())?;
        self.open
            .forwarded
            .serve_accepted(accepted, self.carry_terms(handle, new.connector()));
        if let State::LoggedIn { session, .. } = &mut self.state {
            *session = Some(new);
        }
        Ok(())
    }

    pub(super) fn session(&self) -> Option<&Session> {
        match &self.state {
            State::LoggedIn { session, .. } => session.as_ref(),
            State::Stranger => None,
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

/// Sends an order. One that the session does not take in time is lost with the session.
async fn order_by(link: &AsyncLink<ToSession, FromSession>, order: &ToSession) {
    let _lost = tokio::time::timeout(PATIENCE, link.send(order, &[])).await;
}

async fn listen(
    link: Arc<AsyncLink<ToSession, FromSession>>,
    programs: Arc<Mutex<Programs>>,
    connector: Connector,
    gone: impl Future<Output = ()>,
) {
    while let Ok((message, descriptors)) = link.receive().await {
        match message {
            FromSession::Started { channel, started } => {
                let started = sort(started, descriptors);
                if let Some(waiting) = lock(&programs).starting.remove(&channel) {
                    // One who has stopped waiting hangs the program up.
                    let _gone = waiting.send(started);
                }
            }
            FromSession::Failed { channel, reason } => {
                if let Some(waiting) = lock(&programs).starting.remove(&channel) {
                    let _gone = waiting.send(Err(NotStarted::Refused(reason)));
                }
            }
            FromSession::Ended { channel, end } => {
                if let Some(waiting) = lock(&programs).running.remove(&channel) {
                    let _gone = waiting.send(end);
                }
            }
            FromSession::Forward(answer) => connector.hear(answer, descriptors),
        }
    }
    // Whoever waits for news waits in vain.
    *lock(&programs) = Programs::default();
    gone.await;
}

fn sort(started: Started, descriptors: Vec<OwnedFd>) -> Result<Descriptors, NotStarted> {
    let wrong = |came: Vec<OwnedFd>| {
        NotStarted::Lost(match came.is_empty() {
            // That is how the kernel says so (recvmsg(2), MSG_CTRUNC).
            true => "the network process has no descriptors left for it".into(),
            false => "the session process sent other descriptors than it said".into(),
        })
    };
    match started {
        Started::Terminal => <[OwnedFd; 1]>::try_from(descriptors)
            .map(|[fd]| Descriptors::Terminal(ClosedBy::new(closers::close, fd)))
            .map_err(wrong),
        Started::Pipes => <[OwnedFd; 3]>::try_from(descriptors)
            .map(Descriptors::Pipes)
            .map_err(wrong),
    }
}
