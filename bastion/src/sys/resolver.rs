//! Names to addresses, without waiting.
//!
//! `getaddrinfo(3)` cannot be told not to block, so that it runs in a child that ends when it
//! knows, or when its time is up. Not in a thread: the session starts programs, and between fork
//! and execve no other thread may hold a lock.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use super::{process, socket, spawn};

/// The most addresses of a name that are tried.
const MAX_ADDRESSES: usize = 16;
/// The longest answer, in bytes: a pipe takes as much at once (`PIPE_BUF`).
const MAX_ANSWER: usize = 4096;
/// The longest complaint of the name service that is passed on, in characters.
const MAX_COMPLAINT: usize = 64;

/// The addresses of a name, without a port, or what the name service says of it.
pub type Answer = Result<Vec<SocketAddr>, String>;

/// A name that is being looked up. Dropping it leaves the child to end by itself.
pub struct Lookup(File);

impl Lookup {
    /// Begins. To be called in a process of one thread. The child is to be reaped like any other.
    pub fn begin(name: &str, limit: Duration) -> io::Result<Self> {
        let (reader, writer) = socket::pipe()?;
        socket::do_not_block(reader.as_fd())?;
        spawn::helper([writer], |[writer]| {
            look_up(name, limit, File::from(writer))
        })?;
        Ok(Self(reader.into()))
    }

    /// The answer, once the descriptor can be read.
    pub fn answer(&mut self) -> Answer {
        let mut bytes = Vec::new();
        let read = (&self.0).take(MAX_ANSWER as u64).read_to_end(&mut bytes);
        match read {
            Ok(_) => {}
            // It was written at once and is whole; only the end is not there yet.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.to_string()),
        }
        postcard::from_bytes(&bytes)
            .unwrap_or_else(|_| Err("the name service does not answer".into()))
    }
}

impl AsFd for Lookup {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The child's part.
fn look_up(name: &str, limit: Duration, mut pipe: File) -> io::Result<()> {
    process::die_with_parent()?;
    process::end_after(limit);
    let answer: Answer = match (name, 0).to_socket_addrs() {
        Ok(addresses) => {
            let mut found = Vec::new();
            for address in addresses {
                if !found.contains(&address) && found.len() < MAX_ADDRESSES {
                    found.push(address);
                }
            }
            Ok(found)
        }
        Err(error) => Err(error.to_string().chars().take(MAX_COMPLAINT).collect()),
    };
    pipe.write_all(&postcard::to_stdvec(&answer).map_err(io::Error::other)?)
}
