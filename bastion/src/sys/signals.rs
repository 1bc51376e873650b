//! Signals as something to wait for, beside descriptors.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// Signals that are blocked for the process and read from a descriptor instead.
pub struct Signals(SignalFd);

impl Signals {
    /// Takes over these signals. To be called while the process has one thread.
    pub fn take(signals: &[Signal]) -> io::Result<Self> {
        let mut set = SigSet::empty();
        signals.iter().for_each(|signal| set.add(*signal));
        set.thread_block()?;
        for &signal in signals {
            // Whoever started us may have ignored it, and execve passes that on: with SIGCHLD the
            // kernel would reap our children itself, and their numbers would be others'.
            restore_default(signal)?;
        }
        Ok(Self(SignalFd::with_flags(
            &set,
            SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK,
        )?))
    }

    /// The next signal that has arrived, if there is one. Several of a kind may be one.
    pub fn next(&self) -> Option<Signal> {
        let info = self.0.read_signal().ok().flatten()?;
        Signal::try_from(i32::try_from(info.ssi_signo).ok()?).ok()
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Lets all signals through again and gives each its default action: what a program that is
/// about to be executed expects. Safe between fork and execve.
pub(super) fn restore_defaults() -> io::Result<()> {
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)?;
    for signal in Signal::iterator() {
        if matches!(signal, Signal::SIGKILL | Signal::SIGSTOP) {
            continue;
        }
        restore_default(signal)?;
    }
    Ok(())
}

fn restore_default(signal: Signal) -> io::Result<()> {
    // SAFETY: a default action runs no code of ours.
    unsafe { nix::sys::signal::signal(signal, nix::sys::signal::SigHandler::SigDfl) }?;
    Ok(())
}

/// Lets a signal pass without effect.
pub fn ignore(signal: Signal) -> io::Result<()> {
    // SAFETY: to ignore a signal runs no code of ours.
    unsafe { nix::sys::signal::signal(signal, nix::sys::signal::SigHandler::SigIgn) }?;
    Ok(())
}
