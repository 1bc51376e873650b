//! The connections that nobody has logged in on yet, each with a place among them.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use tokio::sync::oneshot;

use super::lock;
use crate::ipc::{ConnectionId, Limits};
use crate::policy::startups::{self, SITS_AFTER, SourceNetwork, Stage, who_goes};

/// All of them.
#[derive(Default)]
pub(super) struct Startups {
    there: Mutex<BTreeMap<ConnectionId, Startup>>,
}

struct Startup {
    network: SourceNetwork,
    since: Instant,
    progress: Progress,
    /// To be told when it has to go.
    go: oneshot::Sender<()>,
}

/// A place; dropped when somebody has logged in, or the connection is over.
pub(super) struct Place {
    startups: Arc<Startups>,
    id: ConnectionId,
}

/// How far a connection has come: told by those who serve it, read when somebody has to go.
#[derive(Clone, Default)]
pub(super) struct Progress(Arc<AtomicU8>);

impl Progress {
    pub(super) fn come_to(&self, stage: Stage) {
        self.0.fetch_max(stage as u8, Ordering::Relaxed);
    }

    fn stage(&self) -> Stage {
        let told = self.0.load(Ordering::Relaxed);
        let stages = [Stage::Encrypted, Stage::Greeted];
        let come_to = stages.into_iter().find(|&stage| stage as u8 <= told);
        come_to.unwrap_or(Stage::Accepted)
    }
}

/// Ready when a place has to be given up; never, once it has been dropped.
pub(super) type HasToGo = oneshot::Receiver<()>;

impl Startups {
    /// A place for a new connection, and for it alone: another may have to go. `None` where its
    /// network has all it may have. `dice` is a random number below 100.
    pub(super) fn come(
        self: &Arc<Self>,
        limits: &Limits,
        id: ConnectionId,
        from: IpAddr,
        dice: u8,
    ) -> Option<(Place, Progress, HasToGo)> {
        let network = SourceNetwork::from(from);
        let mut there = self.lock();
        let neighbours = || there.values().filter(|one| one.network == network).count();
        let per_source = limits.per_source_max_startups;
        if per_source.is_some_and(|most| neighbours() >= most) {
            return None;
        }
        if limits.max_startups.make_room(there.len(), dice) {
            one_goes(&mut there, |_| true);
        }
        let (go, has_to_go) = oneshot::channel();
        let progress = Progress::default();
        there.insert(
            id,
            Startup {
                network,
                since: Instant::now(),
                progress: progress.clone(),
                go,
            },
        );
        let place = Place {
            startups: self.clone(),
            id,
        };
        Some((place, progress, has_to_go))
    }

    /// Has one give up its place because there is no room for more connections at all. Whether
    /// there was one.
    pub(super) fn make_room(&self) -> bool {
        one_goes(&mut self.lock(), |_| true)
    }

    /// As above, but nobody has to go who may be about to log in.
    pub(super) fn make_room_of_who_sits(&self) -> bool {
        one_goes(&mut self.lock(), |one| one.sits)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ConnectionId, Startup>> {
        lock(&self.there)
    }
}

fn one_goes(
    there: &mut BTreeMap<ConnectionId, Startup>,
    may_go: impl Fn(&startups::Startup<ConnectionId>) -> bool,
) -> bool {
    let now = Instant::now();
    let all: Vec<_> = there
        .iter()
        .map(|(&id, one)| startups::Startup {
            id,
            network: one.network,
            stage: one.progress.stage(),
            sits: now.saturating_duration_since(one.since) >= SITS_AFTER,
        })
        .filter(may_go)
        .collect();
    match who_goes(&all).and_then(|id| there.remove(&id)) {
        Some(one) => one.go.send(()).is_ok(),
        None => false,
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.startups.lock().remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_be_about_to_log_in_makes_no_room_where_only_those_who_sit_have_to() {
        let startups = Startups::default();
        let come = |id, since| {
            let (go, has_to_go) = oneshot::channel();
            let one = Startup {
                network: IpAddr::from([192, 0, 2, 1]).into(),
                since,
                progress: Progress::default(),
                go,
            };
            startups.lock().insert(ConnectionId(id), one);
            has_to_go
        };
        let now = Instant::now();
        let mut newcomer = come(1, now + SITS_AFTER);
        assert!(!startups.make_room_of_who_sits());
        let mut sits = come(2, now.checked_sub(SITS_AFTER).unwrap());
        assert!(startups.make_room_of_who_sits());
        assert!(sits.try_recv().is_ok() && newcomer.try_recv().is_err());
        assert!(!startups.make_room_of_who_sits() && startups.make_room());
        assert!(newcomer.try_recv().is_ok());
    }
}
