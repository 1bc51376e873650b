//! Threads that close what may take its time to be closed.
//!
//! Whoever closes the last descriptor of a terminal waits for all that its account reads and writes at it,
//! past all signals. The session has a descriptor of it, too, but its account can end that.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, OnceLock};

use super::lock;

/// So many terminals may be held at a time before others wait to be closed.
const THREADS: usize = 4;

static QUEUE: OnceLock<Sender<OwnedFd>> = OnceLock::new();

/// Starts the threads, which end with the process.
pub(super) fn start() -> io::Result<()> {
    let (sender, receiver) = channel::<OwnedFd>();
    let receiver = Arc::new(Mutex::new(receiver));
    for _ in 0..THREADS {
        let receiver = receiver.clone();
        std::thread::Builder::new()
            .name("bastion-closer".into())
            .spawn(move || {
                // Not in the loop's head, where the lock would be held while it is closed.
                loop {
                    let Ok(fd) = lock(&receiver).recv() else {
                        return;
                    };
                    drop(fd);
                }
            })?;
    }
    // Started twice, the second threads have nobody to hear from, and end.
    let _started_before = QUEUE.set(sender);
    Ok(())
}

/// Closes a descriptor elsewhere; here, where no threads were started.
pub(super) fn close(fd: OwnedFd) {
    match QUEUE.get() {
        // What cannot be sent is closed with the error.
        Some(queue) => drop(queue.send(fd)),
        None => drop(fd),
    }
}
