//! One end of a socket that carries typed messages and descriptors.

use std::cell::RefCell;
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;
use zeroize::Zeroize;

use crate::sys::socket;

/// The longest message, in bytes: the longest command that a client may send, with room for the
/// rest. Within what a Unix socket takes in one packet by default (212,992 bytes).
pub const MAX_MESSAGE: usize = 160 * 1024;

/// Room for a message from the start: one that grows leaves copies of itself behind, and those with
/// host keys are not longer than this.
const USUAL: usize = 16 * 1024;

thread_local! {
    /// Where messages are received, one after another. Not set to anything before: what no message
    /// has reached takes no memory.
    static ROOM: RefCell<Vec<u8>> = RefCell::new(Vec::with_capacity(MAX_MESSAGE));
}

/// Why a message could not be sent or received. Any of these but `NotNow` ends the link.
#[derive(Debug, Error)]
pub enum LinkError {
    /// Nothing to receive yet, or no room to send: wait for the descriptor.
    #[error("the link is not ready")]
    NotNow,
    /// The other part has closed its end.
    #[error("the other part has closed the link")]
    Closed,
    /// The other part does not keep to the messages.
    #[error("a message of the other part cannot be understood: {0}")]
    Malformed(#[from] postcard::Error),
    /// The message is longer than the link carries.
    #[error("a message of {0} bytes is too long for the link")]
    TooLong(usize),
    /// The system refused.
    #[error("the link failed: {0}")]
    System(io::Error),
}

/// One end of a link: sends `S`, receives `R`. It never blocks.
#[derive(Debug)]
pub struct Link<S, R> {
    socket: OwnedFd,
    messages: PhantomData<fn(&S) -> R>,
}

impl<S: Serialize, R: DeserializeOwned> Link<S, R> {
    /// A link over this sequenced-packet socket.
    pub fn new(socket: OwnedFd) -> Self {
        Self {
            socket,
            messages: PhantomData,
        }
    }

    /// The socket, for those who wait for it in another way.
    pub fn into_socket(self) -> OwnedFd {
        self.socket
    }

    /// Sends a message, and duplicates of these descriptors beside it.
    pub fn send(&self, message: &S, descriptors: &[BorrowedFd<'_>]) -> Result<(), LinkError> {
        Self::send_on(self.socket.as_fd(), message, descriptors)
    }

    /// Receives a message and the descriptors that came with it.
    pub fn receive(&self) -> Result<(R, Vec<OwnedFd>), LinkError> {
        Self::receive_on(self.socket.as_fd())
    }

    /// Waits until there is something to receive (POLLIN), or room to send (POLLOUT); `NotNow` when the
    /// time is over. Without a limit, for as long as it takes.
    pub fn wait(&self, what: PollFlags, limit: Option<Duration>) -> Result<(), LinkError> {
        let limit = limit.map_or(PollTimeout::NONE, |limit| {
            PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX)
        });
        loop {
            return match poll(&mut [PollFd::new(self.as_fd(), what)], limit) {
                Ok(0) => Err(LinkError::NotNow),
                Ok(_) => Ok(()),
                Err(Errno::EINTR) => continue,
                Err(error) => Err(LinkError::System(error.into())),
            };
        }
    }

    /// As [`Link::send`], on a link's socket.
    pub fn send_on(
        socket: BorrowedFd<'_>,
        message: &S,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<(), LinkError> {
        let mut bytes = postcard::to_extend(message, Vec::with_capacity(USUAL))?;
        if bytes.len() > MAX_MESSAGE {
            return Err(LinkError::TooLong(bytes.len()));
        }
        let sent = socket::send(socket, &bytes, descriptors);
        // It may hold a host key.
        bytes.as_mut_slice().zeroize();
        sent.map_err(from_system)
    }

    /// As [`Link::receive`], on a link's socket.
    pub fn receive_on(socket: BorrowedFd<'_>) -> Result<(R, Vec<OwnedFd>), LinkError> {
        ROOM.with_borrow_mut(|room| {
            let received = socket::receive(socket, room).map_err(from_system)?;
            let descriptors = received.ok_or(LinkError::Closed)?;
            let message = decode(room);
            // It may hold a host key.
            room.as_mut_slice().zeroize();
            Ok((message?, descriptors))
        })
    }
}

/// A message from its bytes, all of them. Open to fuzzing.
pub fn decode<R: DeserializeOwned>(bytes: &[u8]) -> Result<R, LinkError> {
    let (message, rest) = postcard::take_from_bytes(bytes)?;
    match rest.is_empty() {
        true => Ok(message),
        false => Err(LinkError::Malformed(
            postcard::Error::DeserializeBadEncoding,
        )),
    }
}

impl<S, R> AsFd for Link<S, R> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn from_system(error: io::Error) -> LinkError {
    match error.kind() {
        io::ErrorKind::WouldBlock => LinkError::NotNow,
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => LinkError::Closed,
        _ => LinkError::System(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_arrives_whole_with_its_descriptors() {
        let (here, there) = socket::packet_pair().unwrap();
        let (here, there) = (
            Link::<String, u32>::new(here),
            Link::<u32, String>::new(there),
        );
        let (read, _write) = socket::pipe().unwrap();
        here.send(&"hello".to_owned(), &[read.as_fd(), read.as_fd()])
            .unwrap();
        let (message, descriptors) = there.receive().unwrap();
        assert_eq!((message.as_str(), descriptors.len()), ("hello", 2));
        assert!(matches!(there.receive(), Err(LinkError::NotNow)));
        drop(here);
        assert!(matches!(there.receive(), Err(LinkError::Closed)));
    }

    #[test]
    fn bytes_after_a_message_are_refused() {
        assert!(decode::<u32>(&[5]).is_ok());
        assert!(decode::<u32>(&[5, 0]).is_err());
    }

    #[test]
    fn the_longest_message_passes_and_a_longer_one_does_not() {
        let (here, there) = socket::packet_pair().unwrap();
        let (here, there) = (
            Link::<Vec<u8>, ()>::new(here),
            Link::<(), Vec<u8>>::new(there),
        );
        here.send(&vec![7; MAX_MESSAGE - 3], &[]).unwrap();
        assert_eq!(there.receive().unwrap().0.len(), MAX_MESSAGE - 3);
        assert!(matches!(
            here.send(&vec![7; MAX_MESSAGE], &[]),
            Err(LinkError::TooLong(_))
        ));
        socket::send(here.as_fd(), &vec![0; MAX_MESSAGE + 1], &[]).unwrap();
        assert!(matches!(there.receive(), Err(LinkError::System(_))));
    }
}
