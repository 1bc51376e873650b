//! A link to another part, for tasks to wait on.

use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use nix::sys::socket::{Shutdown, shutdown};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::Mutex;

use super::closers;
use crate::ipc::{Link, LinkError};
use crate::sys::readiness::{self, ClosedBy};

/// How long to wait before asking again where nothing tells us.
const MEANWHILE: Duration = Duration::from_millis(10);

/// A [`Link`] whose operations wait until they can be done.
pub(super) struct AsyncLink<S, R> {
    socket: AsyncFd<ClosedBy>,
    /// Who sends: where there is no room, first come is first served.
    turn: Mutex<()>,
    messages: PhantomData<fn(&S) -> R>,
}

impl<S: Serialize, R: DeserializeOwned> AsyncLink<S, R> {
    /// To be called on a runtime.
    pub(super) fn new(link: Link<S, R>) -> Result<Self, LinkError> {
        let socket = ClosedBy::new(close, link.into_socket());
        let socket = readiness::watch(socket, Interest::READABLE);
        Ok(Self {
            socket: socket.map_err(LinkError::System)?,
            turn: Mutex::default(),
            messages: PhantomData,
        })
    }

    pub(super) async fn send(
        &self,
        message: &S,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<(), LinkError> {
        let _turn = self.turn.lock().await;
        loop {
            match Link::<S, R>::send_on(self.socket.get_ref().as_fd(), message, descriptors) {
                Err(LinkError::NotNow) => self.room().await,
                outcome => return outcome,
            }
        }
    }

    pub(super) async fn receive(&self) -> Result<(R, Vec<OwnedFd>), LinkError> {
        // A peer that never stops talking must not keep its thread from the others.
        tokio::task::consume_budget().await;
        loop {
            let mut guard = self.socket.readable().await.map_err(LinkError::System)?;
            match Link::<S, R>::receive_on(self.socket.get_ref().as_fd()) {
                Err(LinkError::NotNow) => guard.clear_ready(),
                outcome => return outcome,
            }
        }
    }

    /// Waits for room. That is watched for only as long as it is wanted: each message that the
    /// other part takes makes some, and would wake this thread.
    async fn room(&self) {
        let again = self.socket.get_ref().as_fd().try_clone_to_owned();
        match again.and_then(|socket| readiness::watch(socket.into(), Interest::WRITABLE)) {
            // Who has failed is told so by the next attempt.
            Ok(socket) => drop(socket.writable().await),
            // No descriptor left to watch it by.
            Err(_) => tokio::time::sleep(MEANWHILE).await,
        }
    }
}

/// Descriptors that nobody has received are closed with it; the other part hears of its end at once.
fn close(socket: OwnedFd) {
    let _other_part_has_gone = shutdown(socket.as_raw_fd(), Shutdown::Write);
    closers::close(socket);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::socket;

    #[test]
    fn who_finds_no_room_goes_on_when_there_is_some() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let (here, there) = socket::packet_pair().unwrap();
        let there = Link::<(), u32>::new(there);
        runtime.block_on(async {
            let here = AsyncLink::<u32, ()>::new(Link::new(here)).unwrap();
            let mut next = 0;
            // Tried once, and waited for no longer.
            while let Ok(sent) = tokio::time::timeout(Duration::ZERO, here.send(&next, &[])).await {
                sent.unwrap();
                next += 1;
            }
            let taken = async {
                tokio::task::yield_now().await;
                (0..next).for_each(|number| assert_eq!(there.receive().unwrap().0, number));
            };
            let last = async { tokio::join!(here.send(&next, &[]), taken).0 };
            let sent = tokio::time::timeout(Duration::from_secs(10), last).await;
            sent.expect("there was room").unwrap();
            assert_eq!(there.receive().unwrap().0, next);
        });
    }
}
