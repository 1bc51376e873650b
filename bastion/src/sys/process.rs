//! What a process may say about itself, and about its children.

use std::io;
use std::time::Duration;

use caps::{CapSet, Capability};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{self, Signal};
use nix::unistd::{Pid, close};

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It returned this status.
    Exited(i32),
    /// The signal of this number killed it; `true` if it left a core dump.
    Killed(i32, bool),
}

/// Reaps one child that has ended; `None` when there is no more such child for now.
pub fn reap() -> Option<(Pid, Ended)> {
    loop {
        let mut status = 0;
        // SAFETY: it writes the status, which lives through the call. Not by way of `nix`, which knows
        // no signal above 31, and would lose a child that one of those has killed.
        let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) };
        return match Errno::result(pid) {
            Err(Errno::EINTR) => continue,
            Ok(0) | Err(_) => None,
            Ok(pid) => Some((Pid::from_raw(pid), how_it_ended(status))),
        };
    }
}

fn how_it_ended(status: libc::c_int) -> Ended {
    match libc::WIFEXITED(status) {
        true => Ended::Exited(libc::WEXITSTATUS(status)),
        false => Ended::Killed(libc::WTERMSIG(status), libc::WCOREDUMP(status)),
    }
}

/// A signal's name, such as `SIGTERM`; with its number where it has none.
pub fn signal_name(number: i32) -> String {
    Signal::try_from(number).map_or_else(|_| format!("SIG{number}"), |signal| signal.to_string())
}

/// Sends a signal to a process; one that is gone already is no error.
pub fn kill(pid: Pid, by: Signal) {
    // ESRCH (gone) and EPERM (a set-uid program that the account may not signal) leave nothing to do.
    let _gone = signal::kill(pid, by);
}

/// Sends a signal to a process group; one that is gone already is no error.
pub fn kill_group(leader: Pid, by: Signal) {
    // As for `kill`.
    let _gone = signal::killpg(leader, by);
}

/// Forbids this process and its children any gain of privilege by execve (`PR_SET_NO_NEW_PRIVS`).
pub fn forbid_new_privileges() -> io::Result<()> {
    // SAFETY: prctl with integer arguments touches no memory of ours.
    check(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) })
}

/// Hides this process's memory: no core dump, and no ptrace or `/proc/PID/mem` by others of the
/// same uid (`PR_SET_DUMPABLE`). Undone by execve. Returns how large a dump might have been, which
/// [`permit_dump`] permits to a program again.
pub fn forbid_dump() -> io::Result<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_CORE)?;
    setrlimit(Resource::RLIMIT_CORE, 0, hard)?;
    // SAFETY: as above.
    check(unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) })?;
    Ok(soft)
}

/// Lets what this process becomes by execve leave a core dump of so many bytes.
pub fn permit_dump(bytes: u64) -> io::Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_CORE)?;
    Ok(setrlimit(Resource::RLIMIT_CORE, bytes.min(hard), hard)?)
}

/// Kills this process when its parent thread ends. Undone by a change of uid.
pub fn die_with_parent() -> io::Result<()> {
    hear_of_parents_end(Signal::SIGKILL)
}

/// Has this process get a signal when its parent thread ends (`PR_SET_PDEATHSIG`). Undone by a change of uid.
pub fn hear_of_parents_end(by: Signal) -> io::Result<()> {
    // SAFETY: as above.
    check(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, by as libc::c_int, 0, 0, 0) })
}

/// Ends this process after this time, rounded to seconds, at least one.
pub fn end_after(time: Duration) {
    let seconds = u32::try_from(time.as_secs()).unwrap_or(u32::MAX).max(1);
    // SAFETY: it takes an integer. The signal's default action ends the process.
    unsafe { libc::alarm(seconds) };
}

/// The name that `ps` and `top` show, cut at 15 bytes.
pub fn set_name(name: &std::ffi::CStr) {
    // SAFETY: the pointer is to a NUL-terminated string that outlives the call.
    let _shown_otherwise = unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr(), 0, 0, 0) };
}

/// Closes every descriptor but the three standard ones: what whoever started us left open is not
/// for our children. To be called first of all.
pub fn close_what_was_left_open() -> io::Result<()> {
    // SAFETY: nothing in this process has opened a descriptor yet.
    match unsafe { libc::close_range(3, libc::c_uint::MAX, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Sets a limit of this process, soft and hard.
pub fn limit(resource: Resource, value: u64) -> io::Result<()> {
    Ok(setrlimit(resource, value, value)?)
}

/// Lowers a limit of this process, soft and hard. What it may not have is not asked for.
pub fn lower_limit(resource: Resource, value: u64) -> io::Result<()> {
    let (_, hard) = getrlimit(resource)?;
    limit(resource, value.min(hard))
}

/// Keeps so much of the memory that is freed for each thread, and does not ask the system for
/// smaller pieces one by one: what moves bytes frees and takes again all the time.
pub fn keep_freed_memory(bytes: libc::c_int) {
    // SAFETY: both set a number of the allocator's, before there are other threads.
    #[cfg(target_env = "gnu")]
    let _slower_otherwise = unsafe {
        libc::mallopt(libc::M_TRIM_THRESHOLD, bytes) + libc::mallopt(libc::M_MMAP_THRESHOLD, bytes)
    };
}

/// Gives memory that was freed back to the system. The allocator keeps it otherwise.
pub fn trim_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it touches nothing but the allocator's own books, which it locks.
    let _whether_there_was_any = unsafe { libc::malloc_trim(0) };
}

/// Raises the number of descriptors that this process may hold to what it is allowed; returns what
/// it was before.
pub fn raise_descriptor_limit() -> io::Result<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    Ok(soft)
}

/// How many descriptors this process may have.
pub fn descriptor_limit() -> io::Result<usize> {
    let (soft, _) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok(usize::try_from(soft).unwrap_or(usize::MAX))
}

/// Makes room in this process's table for so many descriptors. Where there are other threads, each
/// time that it grows holds up whoever opens one, for as long as it takes every processor to let go
/// of the old table: ten milliseconds and more.
///
/// # Errors
/// What the system says of fcntl(2); EINVAL where the limit is lower.
pub fn reserve_descriptors(count: usize) -> io::Result<()> {
    let last = libc::c_int::try_from(count.saturating_sub(1)).unwrap_or(libc::c_int::MAX);
    let furthest = fcntl(io::stderr(), FcntlArg::F_DUPFD_CLOEXEC(last))?;
    Ok(close(furthest)?)
}

/// Gives up every capability but these, as far as they are there.
pub fn keep_capabilities(needed: &[Capability]) -> io::Result<()> {
    for set in [CapSet::Effective, CapSet::Permitted] {
        let mut held = caps::read(None, set).map_err(io::Error::other)?;
        held.retain(|capability| needed.contains(capability));
        caps::set(None, set, &held).map_err(io::Error::other)?;
    }
    Ok(())
}

/// Raises the number of processes that this process's account may have to what it is allowed; returns
/// what it was before, if that was less.
pub fn raise_process_limit() -> io::Result<Option<u64>> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NPROC)?;
    setrlimit(Resource::RLIMIT_NPROC, hard, hard)?;
    Ok((soft < hard).then_some(soft))
}

/// Lowers the number of descriptors that this process may hold, as it may raise it again: to half.
/// The descriptors that an account has sent and nobody has received are counted together, and whoever
/// may hold fewer than that cannot send any (unix(7), ETOOMANYREFS). What is left to the session
/// processes keeps their programs from shutting everybody out. Half, because the kernel looks first
/// and counts later: each thread that waits in between may send 253 more than it may.
pub fn lower_descriptor_limit(soft: u64) -> io::Result<()> {
    const ENOUGH_FOR_HALF: u64 = 4096;
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let most = match hard >= ENOUGH_FOR_HALF {
        true => hard / 2,
        false => hard,
    };
    Ok(setrlimit(Resource::RLIMIT_NOFILE, soft.min(most), most)?)
}

fn check(result: libc::c_int) -> io::Result<()> {
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_for_as_many_descriptors_as_are_reserved() {
        reserve_descriptors(1024).unwrap();
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let size = status.lines().find_map(|line| line.strip_prefix("FDSize:"));
        let size: usize = size.unwrap().trim().parse().unwrap();
        assert!(size >= 1024, "{size}");
        let more_than_allowed = descriptor_limit().unwrap() + 1;
        assert!(reserve_descriptors(more_than_allowed).is_err());
    }
}
