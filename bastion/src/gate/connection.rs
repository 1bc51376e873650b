//! One connection, from accept to its end.

use std::net::{self, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use russh::Disconnect;
use russh::server::{Handle, RunningSession, run_stream_for_peer};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::sleep;

use super::Gate;
use super::channels::Channels;
use super::forward::ForwardedChannels;
use super::handler::{ConnectionHandler, State};
use super::startups::{HasToGo, Progress};
use super::stream::CountedStream;
use super::traffic::{Activity, Traffic};
use crate::ipc::{ConnectionId, FromGate, bounded};
use crate::policy::lifetime::{self, LoggedIn, Next, Now, Seen};
use crate::policy::startups::Stage;
use crate::sys::{clock, process, socket};

/// How long a client may take to read our last words.
const TO_HEAR_WHY: Duration = Duration::from_secs(1);
/// After so many bytes a connection leaves memory behind that is worth giving back.
const LARGE: u64 = 16 << 20;

/// A connection that was accepted.
pub(super) struct Newcomer {
    pub(super) id: ConnectionId,
    pub(super) stream: net::TcpStream,
    pub(super) peer: SocketAddr,
    pub(super) progress: Progress,
    /// Told when somebody is let in.
    pub(super) logged_in: watch::Sender<Option<LoggedIn>>,
    pub(super) has_to_go: HasToGo,
}

/// Serves one connection and tells the monitor of its beginning and its end.
pub(super) async fn serve(gate: Arc<Gate>, newcomer: Newcomer) {
    let (id, peer) = (newcomer.id, newcomer.peer);
    gate.monitor
        .tell(FromGate::Opened {
            connection: id,
            peer,
        })
        .await;
    let traffic = Arc::<Traffic>::default();
    let open = Open::default();
    let outcome = run(&gate, newcomer, traffic.clone(), &open).await;
    let reason = outcome.unwrap_or_else(|error| bounded(error.to_string()));
    let Open {
        channels,
        forwarded,
        ..
    } = open;
    // What is at the other end of them does not always go with the session: a service that was
    // connected to, a program that stays in the background.
    for (channel, traffic) in channels.end().into_iter().chain(forwarded.end()) {
        let closed = FromGate::channel_closed(id, channel.into(), &traffic);
        gate.monitor.tell(closed).await;
    }
    let (received, sent) = (traffic.received(), traffic.sent());
    if received.saturating_add(sent) > LARGE {
        process::trim_memory();
    }
    gate.monitor
        .tell(FromGate::Closed {
            connection: id,
            reason,
            received,
            sent,
        })
        .await;
}

/// What is open on a connection, and when any of it was last used.
#[derive(Clone)]
pub(super) struct Open {
    pub(super) channels: Channels,
    pub(super) forwarded: ForwardedChannels,
    pub(super) activity: Arc<Activity>,
}

impl Default for Open {
    fn default() -> Self {
        let activity = Arc::<Activity>::default();
        Self {
            channels: Channels::default(),
            forwarded: ForwardedChannels::new(&activity),
            activity,
        }
    }
}

impl Open {
    fn seen(&self, warned: bool) -> Seen {
        Seen {
            quiet: self.activity.quiet(),
            channels: self.channels.count() + self.forwarded.count(),
            warned,
        }
    }
}

async fn run(
    gate: &Arc<Gate>,
    newcomer: Newcomer,
    traffic: Arc<Traffic>,
    open: &Open,
) -> Result<String, russh::Error> {
    let terms = gate.terms();
    let Newcomer {
        id,
        stream,
        peer,
        progress,
        logged_in,
        has_to_go,
    } = newcomer;
    let too_long = has_not_logged_in(terms.limits.login_grace_time, has_to_go);
    tokio::pin!(too_long);
    let stream = TcpStream::from_std(stream)?;
    let local = stream.local_addr()?;
    stream.set_nodelay(true)?;
    socket::keep_alive(std::os::fd::AsFd::as_fd(&stream))?;
    let (stream, _end) = CountedStream::new(stream, traffic);
    let (tell_client, client) = watch::channel(Vec::new());
    let let_in = logged_in.subscribe();
    let handler = ConnectionHandler {
        gate: gate.clone(),
        terms: terms.clone(),
        id,
        peer,
        local,
        client,
        progress: progress.clone(),
        logged_in,
        state: State::Stranger,
        failures: 0,
        no_more_sessions: false,
        offered: None,
        open: open.clone(),
    };
    let choose = |_, version: &[u8]| {
        progress.come_to(Stage::Greeted);
        tell_client.send_replace(version.to_owned());
        terms.transports.choose(version)
    };
    let starting = run_stream_for_peer(terms.transports.initial(), choose, stream, handler);
    let running = tokio::select! {
        running = starting => running?,
        late = &mut too_long => return Ok(late.why().to_owned()),
    };
    // `_end` ends the transport's own task when this function returns, however it returns.
    let lifetime = &terms.limits.lifetime;
    watch_over(gate, lifetime, running, open, let_in, too_long).await
}

/// Why somebody who has not logged in is to go.
#[derive(Clone, Copy)]
enum Late {
    TimeIsOver,
    /// Without a last word: who waits for it to be heard would hold a place meanwhile.
    MakesRoom,
}

impl Late {
    fn why(self) -> &'static str {
        match self {
            Self::TimeIsOver => "login grace time is over",
            Self::MakesRoom => "made room for others that are not logged in",
        }
    }
}

/// Ready when somebody who has not logged in by then is to go.
async fn has_not_logged_in(grace: Duration, has_to_go: HasToGo) -> Late {
    tokio::select! {
        () = sleep(grace) => Late::TimeIsOver,
        // Without a place among those that are not logged in, nobody asks for it any more.
        Ok(()) = has_to_go => Late::MakesRoom,
    }
}

/// Waits for the connection's end, or brings it about.
async fn watch_over(
    gate: &Gate,
    lifetime: &lifetime::Limits,
    mut running: RunningSession<ConnectionHandler>,
    open: &Open,
    mut let_in: watch::Receiver<Option<LoggedIn>>,
    too_long: impl Future<Output = Late>,
) -> Result<String, russh::Error> {
    let closed = |()| "closed".to_owned();
    let mut draining = gate.draining.clone();
    let logged_in = tokio::select! {
        ended = &mut running => return ended.map(closed),
        logged_in = log_in(&mut let_in) => logged_in.ok_or(None),
        _ = drain_begins(&mut draining) => {
            return Ok(part_with(running, "bastion is shutting down").await);
        }
        // Somebody may have been let in just now.
        late = too_long => let_in.borrow().ok_or(Some(late)),
    };
    let logged_in = match logged_in {
        Ok(logged_in) => logged_in,
        Err(Some(late @ Late::TimeIsOver)) => return Ok(part_with(running, late.why()).await),
        Err(Some(late @ Late::MakesRoom)) => return Ok(late.why().to_owned()),
        Err(None) => return Ok(closed(())),
    };
    let grace = tokio::select! {
        ended = &mut running => return ended.map(closed),
        ending = lifetime_ends(lifetime, logged_in, open) => {
            return Ok(part_with(running, &ending).await);
        }
        grace = drain_begins(&mut draining) => grace,
    };
    let why = "bastion is shutting down";
    if !grace.is_zero() {
        open.channels.announce(why, grace).await;
    }
    tokio::select! {
        ended = &mut running => return ended.map(closed),
        () = sleep(grace) => {}
    }
    Ok(part_with(running, why).await)
}

/// Ready when somebody is let in; with none when nobody ever will be.
async fn log_in(let_in: &mut watch::Receiver<Option<LoggedIn>>) -> Option<LoggedIn> {
    let logged_in = let_in.wait_for(Option::is_some).await;
    logged_in.ok().and_then(|logged_in| *logged_in)
}

/// Ready when the configuration gives the connection no more time; says why. Warns terminals.
async fn lifetime_ends(limits: &lifetime::Limits, login: LoggedIn, open: &Open) -> String {
    let mut warned = false;
    loop {
        let clocks = Now {
            instant: std::time::Instant::now(),
            epoch: clock::epoch(),
        };
        match limits.next(login, open.seen(warned), clocks) {
            Next::Wait(None) => std::future::pending().await,
            Next::Wait(Some(time)) => sleep(time).await,
            Next::Warn(left, ending) => {
                warned = true;
                open.channels.announce(&ending.to_string(), left).await;
            }
            Next::End(ending) => return ending.to_string(),
        }
    }
}

/// Says why, and ends the connection, whether that was read or not.
async fn part_with(running: RunningSession<ConnectionHandler>, why: &str) -> String {
    say(&running.handle(), why).await;
    let _read = tokio::time::timeout(TO_HEAR_WHY, running).await;
    why.to_owned()
}

/// Ready when a shutdown begins; what is left of the time then.
async fn drain_begins(draining: &mut watch::Receiver<Option<Duration>>) -> Duration {
    match draining.wait_for(Option::is_some).await {
        Ok(grace) => grace.unwrap_or_default(),
        Err(_) => Duration::ZERO,
    }
}

async fn say(handle: &Handle, text: &str) {
    let words = handle.disconnect(Disconnect::ByApplication, text.to_owned(), String::new());
    // A queue that does not move is no reason to stay.
    let _said = tokio::time::timeout(TO_HEAR_WHY, words).await;
}
