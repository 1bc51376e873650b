//! Accepting connections, whatever happens.

use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::connection::Newcomer;
use super::shards::Shards;
use super::startups::Startups;
use super::{Gate, GateError, connection};
use crate::ipc::ConnectionId;

/// After an error that will not go by itself (EMFILE, ENOMEM), before trying again.
const PAUSE: Duration = Duration::from_millis(100);

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
        shards,
        next: AtomicU64::new(first.0),
        startups: Startups::new(
            gate.limits.max_startups,
            gate.limits.per_source_max_startups,
        ),
        connections: Arc::new(Semaphore::new(gate.limits.max_connections)),
    });
    let mut accepting = JoinSet::new();
    for listener in listeners {
        let listener = TcpListener::from_std(listener.into()).map_err(failed)?;
        accepting.spawn(accept(gate.clone(), listener, shared.clone()));
    }
    while accepting.join_next().await.is_some() {}
    // Every connection holds one permit until it has ended; each ends itself after the grace time.
    let all = u32::try_from(gate.limits.max_connections).unwrap_or(u32::MAX);
    let _never_closed = shared.connections.acquire_many(all).await;
    Ok(())
}

struct Shared {
    shards: Shards,
    next: AtomicU64,
    startups: Arc<Startups>,
    connections: Arc<Semaphore>,
}

async fn accept(gate: Arc<Gate>, listener: TcpListener, shared: Arc<Shared>) {
    let mut draining = gate.draining.clone();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = draining.wait_for(Option::is_some) => return,
        };
        // Off this thread's runtime: the shard's is to watch it.
        match accepted.and_then(|(stream, peer)| Ok((stream.into_std()?, peer))) {
            Ok((stream, peer)) => admit(&gate, &shared, stream, peer),
            // One client's misfortune is not ours.
            Err(error) if is_of_one_connection(&error) => {}
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

/// Starts to serve a connection, if there is room for it; else it is closed.
fn admit(gate: &Arc<Gate>, shared: &Shared, stream: TcpStream, peer: SocketAddr) {
    let Ok(room) = shared.connections.clone().try_acquire_owned() else {
        return;
    };
    let id = ConnectionId(shared.next.fetch_add(1, Ordering::Relaxed));
    let startup = shared
        .startups
        .come(id, peer.ip(), rand::random_range(0..100));
    let (Some((startup, has_to_go)), Some(place)) = (startup, shared.shards.place()) else {
        return;
    };
    let (logged_in, mut let_in) = watch::channel(None);
    let newcomer = Newcomer {
        id,
        stream,
        peer,
        logged_in,
        has_to_go,
    };
    let gate = gate.clone();
    place.spawn(async move {
        let serving = tokio::spawn(connection::serve(gate, newcomer));
        // Until it is logged in or over, it takes a place among those that are not logged in.
        drop(let_in.wait_for(Option::is_some).await);
        drop(startup);
        // A panic ends its own connection only; it is reported at standard error.
        let _panicked = serving.await;
        drop(room);
    });
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
