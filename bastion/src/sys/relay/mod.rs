//! Processes between the gate and what the account holds the other end of.
//!
//! A thread of the gate serves many connections, and none of them is to wait for an account. These
//! processes serve a program or a socket each, run as the account, and hold up nobody but it.

mod pipes;
mod socket;

use std::time::Duration;

pub use pipes::{Pipes, pipes, sockets};
pub use socket::without_descriptors;

/// How long the account may take to read what it was sent before whoever sent it was gone.
const LINGER: Duration = Duration::from_secs(30);
