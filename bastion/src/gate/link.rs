//! A link to another part, for tasks to wait on.

use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::unix::AsyncFd;
use tokio::io::{Interest, Ready};

use crate::ipc::{Link, LinkError};
use crate::sys::readiness;

/// A [`Link`] whose operations wait until they can be done.
pub(super) struct AsyncLink<S, R> {
    socket: AsyncFd<OwnedFd>,
    messages: PhantomData<fn(&S) -> R>,
}

impl<S: Serialize, R: DeserializeOwned> AsyncLink<S, R> {
    /// To be called on a runtime.
    pub(super) fn new(link: Link<S, R>) -> Result<Self, LinkError> {
        let both = Interest::READABLE | Interest::WRITABLE;
        let socket = readiness::watch(link.into_socket(), both).map_err(LinkError::System)?;
        Ok(Self {
            socket,
            messages: PhantomData,
        })
    }

    pub(super) async fn send(
        &self,
        message: &S,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<(), LinkError> {
        self.when_ready(Interest::WRITABLE, Ready::WRITABLE, |socket| {
            Link::<S, R>::send_on(socket, message, descriptors)
        })
        .await
    }

    pub(super) async fn receive(&self) -> Result<(R, Vec<OwnedFd>), LinkError> {
        self.when_ready(
            Interest::READABLE,
            Ready::READABLE,
            Link::<S, R>::receive_on,
        )
        .await
    }

    async fn when_ready<T>(
        &self,
        interest: Interest,
        readiness: Ready,
        operation: impl Fn(BorrowedFd<'_>) -> Result<T, LinkError>,
    ) -> Result<T, LinkError> {
        // A peer that never stops talking must not keep its thread from the others.
        tokio::task::consume_budget().await;
        loop {
            let mut guard = self
                .socket
                .ready(interest)
                .await
                .map_err(LinkError::System)?;
            match operation(self.socket.get_ref().as_fd()) {
                Err(LinkError::NotNow) => guard.clear_ready_matching(readiness),
                outcome => return outcome,
            }
        }
    }
}
