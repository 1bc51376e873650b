//! How the kernel shares out processors.

use std::io;
use std::time::Duration;

use nix::errno::Errno;

/// Asks for this thread, and those that it starts later, to run in turns of this length, which the
/// kernel brings between 0.1 and 100 ms. It gets no more of a processor than before, but with short
/// turns sooner when it has something to do (sched(7); Linux 6.12, an older one ignores it).
///
/// # Errors
/// What the system says of sched_setattr(2).
pub fn take_turns_of(length: Duration) -> io::Result<()> {
    let mut attributes = attributes()?;
    attributes.sched_runtime = u64::try_from(length.as_nanos()).unwrap_or(u64::MAX);
    set(&attributes)
}

/// Asks that this thread, when there is something for it to do, lets whoever runs end his turn first.
/// Its share of a processor stays what it is (`SCHED_BATCH`, sched(7)).
///
/// # Errors
/// What the system says of sched_setattr(2).
pub fn interrupt_nobody() -> io::Result<()> {
    let mut attributes = attributes()?;
    attributes.sched_policy = libc::SCHED_BATCH.cast_unsigned();
    set(&attributes)
}

fn set(attributes: &libc::sched_attr) -> io::Result<()> {
    let attributes: *const libc::sched_attr = attributes;
    // SAFETY: it reads the structure, which says how large it is, and concerns this thread alone.
    let result = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, attributes, 0) };
    Ok(Errno::result(result).map(drop)?)
}

/// Those of this thread.
fn attributes() -> io::Result<libc::sched_attr> {
    // SAFETY: a structure of numbers, for which zero is a value each.
    let mut attributes: libc::sched_attr = unsafe { std::mem::zeroed() };
    let size = size_of_val(&attributes);
    // SAFETY: it writes no more than this size to the structure.
    let result = unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut attributes, size, 0) };
    Ok(Errno::result(result).map(|_| attributes)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_are_all_that_changes() {
        let before = attributes().unwrap();
        take_turns_of(Duration::from_millis(3)).unwrap();
        let mut after = attributes().unwrap();
        // An older kernel says nothing of turns.
        assert!(
            [0, 3_000_000].contains(&after.sched_runtime),
            "{}",
            after.sched_runtime
        );
        after.sched_runtime = before.sched_runtime;
        assert_eq!(values(&before), values(&after));
    }

    #[test]
    fn who_interrupts_nobody_keeps_his_share_and_turns() {
        take_turns_of(Duration::from_millis(3)).unwrap();
        let before = attributes().unwrap();
        interrupt_nobody().unwrap();
        let mut after = attributes().unwrap();
        assert_eq!(after.sched_policy, libc::SCHED_BATCH.cast_unsigned());
        after.sched_policy = before.sched_policy;
        assert_eq!(values(&before), values(&after));
    }

    fn values(of: &libc::sched_attr) -> (u32, i32, u32, u64, u64) {
        (
            of.sched_policy,
            of.sched_nice,
            of.sched_priority,
            of.sched_flags,
            of.sched_runtime,
        )
    }
}
