//! Starting processes: the parts of bastion itself, and the account's programs.
//!
//! The callers are single-threaded, so that what runs between fork and execve may allocate.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use nix::sys::resource::Resource;
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use super::{process, pty, signals};

/// This same binary, whatever has become of the file that it was started from.
pub const OURSELVES: &str = "/proc/self/exe";

/// The descriptors that a part finds at its start, after the three standard ones.
const FIRST_INHERITED: RawFd = 3;

/// Starts this same binary as another part.
///
/// It runs as us (and becomes another in good time by itself), with `name` as its only argument, no
/// environment but the time zone, nothing at its standard input and output, `stderr` at its
/// standard error (nothing without), and `descriptors` from number 3 on. Our own standard output,
/// the audit log, is for nobody else to write on.
pub fn part(
    name: &str,
    stderr: Option<OwnedFd>,
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<Pid> {
    // Duplicates above the range that they are to be moved to, so that no move overwrites another.
    let above = FIRST_INHERITED + RawFd::try_from(descriptors.len()).unwrap_or(RawFd::MAX);
    let inherited = descriptors
        .iter()
        .map(|fd| duplicate_above(*fd, above))
        .collect::<io::Result<Vec<OwnedFd>>>()?;
    let raw: Vec<RawFd> = inherited.iter().map(AsRawFd::as_raw_fd).collect();
    let mut command = Command::new(OURSELVES);
    command.arg0("bastion").arg(name).env_clear();
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command.stderr(stderr.map_or_else(Stdio::null, Stdio::from));
    if let Some(zone) = std::env::var_os("TZ") {
        command.env("TZ", zone);
    }
    let prepare = move || {
        signals::restore_defaults()?;
        for (target, fd) in (FIRST_INHERITED..).zip(&raw) {
            // SAFETY: dup2 on numbers only; the target is free or meant to be replaced.
            if unsafe { libc::dup2(*fd, target) } < 0 {
                return Err(io::Error::last_os_error());
            }
        }
        Ok(())
    };
    // SAFETY: this process has one thread, so that no lock can be held at the fork.
    unsafe { command.pre_exec(prepare) };
    let child = command.spawn()?;
    drop(inherited);
    Ok(pid_of(&child))
}

/// Which of two processes this is.
pub enum Sibling {
    /// The one that was copied; the copy has this number.
    Original(Pid),
    /// The copy.
    Copy,
}

/// Copies this process, which must have one thread. The copy is a child of this process's parent.
pub fn sibling() -> io::Result<Sibling> {
    let flags = libc::c_long::from(libc::CLONE_PARENT | libc::SIGCHLD);
    // SAFETY: as fork(2): no memory is shared, and with one thread no lock is held at this moment.
    let pid = unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) };
    match i32::try_from(pid) {
        Ok(0) => Ok(Sibling::Copy),
        Ok(pid) if pid > 0 => Ok(Sibling::Original(Pid::from_raw(pid))),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Takes over the `count` descriptors that [`part`] handed to this process. To be called once,
/// first of all.
pub fn inherited(count: usize) -> io::Result<Vec<OwnedFd>> {
    (FIRST_INHERITED..)
        .take(count)
        .map(|fd| {
            nix::fcntl::fcntl(
                // SAFETY: borrowed for this one call, which fails if it is not open.
                unsafe { BorrowedFd::borrow_raw(fd) },
                nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::FD_CLOEXEC),
            )?;
            // SAFETY: it is open, `part` made it for us, and nothing else knows of it.
            Ok(unsafe { std::os::fd::FromRawFd::from_raw_fd(fd) })
        })
        .collect()
}

fn duplicate_above(fd: BorrowedFd<'_>, lowest: RawFd) -> io::Result<OwnedFd> {
    let copy = nix::fcntl::fcntl(fd, nix::fcntl::FcntlArg::F_DUPFD_CLOEXEC(lowest))?;
    // SAFETY: the kernel has just made it, and nothing else owns it.
    Ok(unsafe { std::os::fd::FromRawFd::from_raw_fd(copy) })
}

/// A program to be started for the account, in a session (setsid(2)) and process group of its own.
pub struct Program {
    /// The file to execute.
    pub file: PathBuf,
    /// Its arguments, the zeroth included.
    pub arguments: Vec<OsString>,
    /// Its whole environment.
    pub environment: Vec<(OsString, OsString)>,
    /// The folder to start in; `/` where that cannot be entered.
    pub folder: PathBuf,
    /// Standard input, output and error.
    pub stdio: [OwnedFd; 3],
    /// Whether standard input is a terminal that is to control it.
    pub terminal: bool,
    /// What it may use up.
    pub limits: ProgramLimits,
}

/// What a program may use up, by setrlimit(2).
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct ProgramLimits {
    /// Descriptors, unless it asks for more: programs that are not made for many go through all
    /// that they may have.
    pub descriptors: u64,
    /// Processes of its account altogether, for it to start another.
    pub processes: Option<u64>,
    /// Bytes of a core dump, unless it asks for more.
    pub dump: u64,
}

impl ProgramLimits {
    fn take_on(self) -> io::Result<()> {
        process::lower_descriptor_limit(self.descriptors)?;
        process::permit_dump(self.dump)?;
        match self.processes {
            Some(processes) => process::limit(Resource::RLIMIT_NPROC, processes),
            None => Ok(()),
        }
    }
}

impl Program {
    /// Starts it. Its process group has the number of its process.
    pub fn spawn(self) -> io::Result<Pid> {
        let Self {
            file,
            arguments,
            environment,
            folder,
            stdio,
            terminal,
            limits,
        } = self;
        let mut arguments = arguments.into_iter();
        let mut command = Command::new(&file);
        command
            .arg0(arguments.next().unwrap_or_else(|| file.into_os_string()))
            .args(arguments);
        command.env_clear().envs(environment);
        let [input, output, error] = stdio;
        command.stdin(input).stdout(output).stderr(error);
        let prepare = move || {
            signals::restore_defaults()?;
            nix::unistd::setsid()?;
            if terminal {
                // SAFETY: standard input was set up just before, for as long as this process runs.
                pty::become_controlling(unsafe { BorrowedFd::borrow_raw(0) })?;
            }
            // Here, not before: a shell can always be started, and its own `kill` ends the others.
            limits.take_on()?;
            if nix::unistd::chdir(&folder).is_err() {
                nix::unistd::chdir("/")?;
            }
            Ok(())
        };
        // SAFETY: as for `part`.
        unsafe { command.pre_exec(prepare) };
        Ok(pid_of(&command.spawn()?))
    }
}

/// Children are reaped by `process::reap`, all of them in one place, not by `Child`.
fn pid_of(child: &std::process::Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).unwrap_or(i32::MAX))
}

/// Ends a child that turned out not to be wanted.
pub fn discard(child: Pid) {
    process::kill(child, nix::sys::signal::Signal::SIGKILL);
}
