//! Starting processes: the parts of bastion itself, their helpers, and the account's programs.
//!
//! The callers are single-threaded, so that what runs between fork and execve may allocate.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use nix::sys::resource::Resource;
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use super::{process, pty, signals};

/// This same binary, whatever has become of the file that it was started from.
pub const OURSELVES: &str = "/proc/self/exe";

/// The first descriptor after the three standard ones.
const FIRST_INHERITED: RawFd = 3;

/// Starts this same binary as another part.
///
/// It runs as us (and becomes another in good time by itself), with `name` as its only argument, no
/// environment but the time zone, nothing at its standard input and output, `stderr` at its
/// standard error (nothing without), and `link` as its next descriptor. Our own standard output, the
/// audit log, is for nobody else to write on.
pub fn part(name: &str, stderr: Option<OwnedFd>, link: BorrowedFd<'_>) -> io::Result<Pid> {
    // A duplicate: moved onto itself it would stay close-on-exec.
    let inherited = duplicate_above(link, FIRST_INHERITED + 1)?;
    let raw = inherited.as_raw_fd();
    let mut command = Command::new(OURSELVES);
    command.arg0("bastion").arg(name).env_clear();
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command.stderr(stderr.map_or_else(Stdio::null, Stdio::from));
    if let Some(zone) = std::env::var_os("TZ") {
        command.env("TZ", zone);
    }
    let prepare = move || {
        signals::restore_defaults()?;
        // SAFETY: dup2 on numbers only; the target is free or meant to be replaced.
        match unsafe { libc::dup2(raw, FIRST_INHERITED) } {
            -1 => Err(io::Error::last_os_error()),
            _ => Ok(()),
        }
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

/// Takes over the link that [`part`] handed to this process. To be called once, first of all.
pub fn inherited() -> io::Result<OwnedFd> {
    nix::fcntl::fcntl(
        // SAFETY: borrowed for this one call, which fails if it is not open.
        unsafe { BorrowedFd::borrow_raw(FIRST_INHERITED) },
        nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::FD_CLOEXEC),
    )?;
    // SAFETY: it is open, `part` made it for us, and nothing else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(FIRST_INHERITED) })
}

/// Has a child do one thing with these descriptors, which go with it; it has nothing else of ours
/// but the standard ones. To be called in a process of one thread; the child is to be reaped like any
/// other.
pub fn helper<const N: usize>(
    descriptors: [OwnedFd; N],
    work: impl FnOnce([OwnedFd; N]) -> io::Result<()>,
) -> io::Result<()> {
    // SAFETY: this process has one thread, so that the child may do whatever its parent may.
    match unsafe { libc::fork() } {
        // Not as it is: EAGAIN, which it usually is, means something else to who waits for sockets.
        -1 => Err(io::Error::other(io::Error::last_os_error())),
        0 => {
            // Whatever happens, the child must not return into its parent's work.
            let done = catch_unwind(AssertUnwindSafe(|| work(keep_only(descriptors)?)));
            let status = i32::from(!matches!(done, Ok(Ok(()))));
            // SAFETY: it ends the process, and runs nothing of the parent's before.
            unsafe { libc::_exit(status) }
        }
        _ => Ok(()),
    }
}

/// Closes all other descriptors but the standard ones: held by a child that waits for something, a
/// socket would look open when it is not.
fn keep_only<const N: usize>(descriptors: [OwnedFd; N]) -> io::Result<[OwnedFd; N]> {
    let after = FIRST_INHERITED + RawFd::try_from(N).unwrap_or(RawFd::MAX);
    // Above the range that they are to be moved to, so that no move overwrites another.
    let mut raw = [0; N];
    for (raw, fd) in raw.iter_mut().zip(&descriptors) {
        *raw = duplicate_above(fd.as_fd(), after)?.into_raw_fd();
    }
    // Their numbers are others' in a moment.
    std::mem::forget(descriptors);
    for (fd, target) in raw.iter_mut().zip(FIRST_INHERITED..) {
        // SAFETY: numbers only. Nothing of the parent's that owns the replaced ones is touched again.
        if unsafe { libc::dup2(*fd, target) } < 0 {
            return Err(io::Error::last_os_error());
        }
        *fd = target;
    }
    // SAFETY: as above.
    match unsafe { libc::syscall(libc::SYS_close_range, after, u32::MAX, 0) } {
        // SAFETY: they were just made, and their numbers belong to nobody who is still there.
        0 => Ok(raw.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) })),
        _ => Err(io::Error::last_os_error()),
    }
}

fn duplicate_above(fd: BorrowedFd<'_>, lowest: RawFd) -> io::Result<OwnedFd> {
    let copy = nix::fcntl::fcntl(fd, nix::fcntl::FcntlArg::F_DUPFD_CLOEXEC(lowest))?;
    // SAFETY: the kernel has just made it, and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(copy) })
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
            Some(processes) => process::lower_limit(Resource::RLIMIT_NPROC, processes),
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
            if let Err(error) = nix::unistd::chdir(&folder) {
                // As sshd says it, and where it does: whoever writes into / is to know why.
                let (folder, why) = (folder.display(), error.desc());
                eprintln!("Could not chdir to home directory {folder}: {why}");
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
