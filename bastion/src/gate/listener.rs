//! Accepting connections, whatever happens.

use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tracing::warn;

use super::connection::Newcomer;
use super::shards::Shards;
use super::startups::Startups;
use super::{Gate, GateError, connection};
use crate::ipc::ConnectionId;
use crate::sys::process;

/// After an error that will not go by itself (EMFILE, ENOMEM), before trying again.
const PAUSE: Duration = Duration::from_millis(100);

/// So many connections at a time leave memory behind that is worth giving back: some ten megabytes.
const CROWD: usize = 128;

/// More than there are descriptors: the limits, which can change, are looked at for each connection.
const PLACES: u32 = u32::MAX >> 1;

/// Serves all listening sockets until the monitor says to drain, and the open connections until
/// they have ended.
pub(super) async fn serve(
    gate: &Arc<Gate>,
    shards: Shards,
    listeners: Vec<OwnedFd>,
    first: ConnectionId,
) -> Result<(), GateError> {
    let failed = |source| GateError::System {
        what: "the listening socket",
        source,
    };
    let shared = Arc::new(Shared {
        surge: Arc::default(),
        shards,
        next: AtomicU64::new(first.0),
        startups: Arc::default(),
        connections: Arc::new(Semaphore::new(PLACES as usize)),
    });
    let mut accepting = JoinSet::new();
    for listener in listeners {
        let listener = TcpListener::from_std(listener.into()).map_err(failed)?;
        accepting.spawn(accept(gate.clone(), listener, shared.clone()));
    }
    while accepting.join_next().await.is_some() {}
    // Every connection holds one permit until it has ended; each ends itself after the grace time.
    let _never_closed = shared.connections.acquire_many(PLACES).await;
    Ok(())
}

/// The most connections that there were since memory was last given back. What a crowd of them took
/// is kept by the allocator otherwise, for as long as the gate runs.
#[derive(Default)]
struct Surge(AtomicUsize);

impl Surge {
    fn rise_to(&self, open: usize) {
        self.0.fetch_max(open, Ordering::Relaxed);
    }

    /// Whether half of a crowd has gone; once for each crowd.
    fn take_end(&self, open: usize) -> bool {
        let most = self.0.load(Ordering::Relaxed);
        let (now, relaxed) = (open.max(1), Ordering::Relaxed);
        most >= CROWD
            && open <= most / 2
            && self.0.compare_exchange(most, now, relaxed, relaxed).is_ok()
    }
}

struct Shared {
    surge: Arc<Surge>,
    shards: Shards,
    next: AtomicU64,
    startups: Arc<Startups>,
    connections: Arc<Semaphore>,
}

async fn accept(gate: Arc<Gate>, listener: TcpListener, shared: Arc<Shared>) {
    let mut draining = gate.draining.clone();
    let mut accepts = true;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = draining.wait_for(Option::is_some) => return,
        };
        // Off this thread's runtime: the shard's is to watch it.
        match accepted.and_then(|(stream, peer)| Ok((stream.into_std()?, peer))) {
            Ok((stream, peer)) => {
                accepts = true;
                admit(&gate, &shared, stream, peer);
            }
            // One client's misfortune is not ours.
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                if std::mem::take(&mut accepts) {
                    warn!("no connection can be accepted for now: {error}");
                }
                // Somebody who only sits there is not to keep the others out. Anybody else will be
                // through in a moment, and may not be what is in the way.
                shared.startups.make_room_of_who_sits();
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Starts to serve a connection, if there is room for it; else it is closed.
fn admit(gate: &Arc<Gate>, shared: &Shared, stream: TcpStream, peer: SocketAddr) {
    let terms = gate.terms();
    let Some(room) = room_for_one(shared, terms.limits.max_connections) else {
        return;
    };
    let id = ConnectionId(shared.next.fetch_add(1, Ordering::Relaxed));
    let startup = shared
        .startups
        .come(&terms.limits, id, peer.ip(), rand::random_range(0..100));
    let (Some((startup, progress, has_to_go)), Some(place)) = (startup, shared.shards.place())
    else {
        return;
    };
    let (logged_in, mut let_in) = watch::channel(None);
    let newcomer = Newcomer {
        id,
        stream,
        peer,
        progress,
        logged_in,
        has_to_go,
    };
    let (gate, surge, connections) = (
        gate.clone(),
        shared.surge.clone(),
        shared.connections.clone(),
    );
    surge.rise_to(taken(&connections));
    place.spawn(async move {
        let serving = tokio::spawn(connection::serve(gate, newcomer));
        // Until it is logged in or over, it takes a place among those that are not logged in.
        drop(let_in.wait_for(Option::is_some).await);
        drop(startup);
        // A panic ends its own connection only; it is reported at standard error.
        let _panicked = serving.await;
        drop(room);
        if surge.take_end(taken(&connections)) {
            process::trim_memory();
        }
    });
}

/// A place for one more: where there is none, one that has not logged in has to go. Those that go
/// keep theirs for a moment, so that there are a few too many of them, and never twice as many.
fn room_for_one(shared: &Shared, limit: usize) -> Option<OwnedSemaphorePermit> {
    take_place(&shared.connections, limit).or_else(|| {
        let made = shared.startups.make_room();
        made.then(|| take_place(&shared.connections, limit.saturating_mul(2)))?
    })
}

/// A place, if fewer than `limit` are taken. The limit may have been another when they were.
fn take_place(places: &Arc<Semaphore>, limit: usize) -> Option<OwnedSemaphorePermit> {
    let place = (taken(places) < limit).then(|| places.clone().try_acquire_owned());
    place?.ok()
}

fn taken(places: &Semaphore) -> usize {
    (PLACES as usize).saturating_sub(places.available_permits())
}

fn is_of_one_connection(error: &std::io::Error) -> bool {
    use std::io::ErrorKind;
    matches!(
        error.kind(),
        ErrorKind::ConnectionAborted
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionRefused
            | ErrorKind::Interrupted
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_given_back_each_time_half_of_a_crowd_has_gone() {
        let surge = Surge::default();
        (1..=1000).for_each(|open| surge.rise_to(open));
        let over: Vec<_> = (0..1000)
            .rev()
            .filter(|&open| surge.take_end(open))
            .collect();
        assert_eq!(over, [500, 250, 125]);
        (1..CROWD).for_each(|open| surge.rise_to(open));
        assert!(!surge.take_end(0));
    }

    #[test]
    fn one_clients_misfortune_is_not_ours() {
        let of_one = |error| is_of_one_connection(&std::io::Error::from_raw_os_error(error));
        assert!(of_one(libc::ECONNABORTED) && of_one(libc::ECONNRESET));
        assert!(!of_one(libc::EMFILE) && !of_one(libc::ENOMEM) && !of_one(libc::ENFILE));
    }
}
