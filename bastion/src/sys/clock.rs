//! The clock that people read.

use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds since the epoch; 0 where the clock is set to a time before it.
pub fn epoch() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

/// A time of the machine's time zone (`TZ`, else `/etc/localtime`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalTime {
    /// The year.
    pub year: i64,
    /// The month, counted from 0.
    pub month: usize,
    /// The day of the month.
    pub day: i32,
    /// The hour, 0 to 23.
    pub hour: i32,
    /// The minute.
    pub minute: i32,
}

/// The local time of so many seconds since the epoch; `None` where a year has no number.
pub fn local_time(seconds: i64) -> Option<LocalTime> {
    // SAFETY: a structure of numbers and a pointer, for which zero is a value each.
    let mut broken_down: libc::tm = unsafe { std::mem::zeroed() };
    // SAFETY: it reads the time and writes the structure, both ours. The environment, which it
    // reads, is never changed by this program.
    let result = unsafe { libc::localtime_r(&raw const seconds, &raw mut broken_down) };
    (!result.is_null()).then(|| LocalTime {
        year: i64::from(broken_down.tm_year) + 1900,
        month: usize::try_from(broken_down.tm_mon).unwrap_or(0),
        day: broken_down.tm_mday,
        hour: broken_down.tm_hour,
        minute: broken_down.tm_min,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_a_local_date() {
        // The middle of a month is in that month everywhere.
        let time = local_time(1_718_452_800).unwrap();
        assert_eq!((time.year, time.month), (2024, 5));
        assert_eq!(local_time(i64::MAX), None);
    }
}
