//! Seconds since the epoch as RFC 3339, for sentences that compare two clocks.

use std::time::{Duration, UNIX_EPOCH};

/// `seconds` since 1970-01-01T00:00:00Z as RFC 3339 in UTC, `2026-11-22T14:29:00Z`.
///
/// RFC 3339 ends with the year 9999; what lies beyond is given as a number of seconds, and 2^64-1,
/// by which a certificate says that it has no end, as "forever".
#[must_use]
pub fn rfc3339(seconds: u64) -> String {
    // humantime's Display fails from here on, and a Display that fails panics.
    const YEAR_10000: u64 = 253_402_300_800;
    match seconds {
        0..YEAR_10000 => {
            humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(seconds)).to_string()
        }
        YEAR_10000..u64::MAX => format!("{seconds} seconds after 1970-01-01T00:00:00Z"),
        u64::MAX => "forever".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::rfc3339;

    #[test]
    fn known_moments() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_763_821_740, "2025-11-22T14:29:00Z"),
            (253_402_300_799, "9999-12-31T23:59:59Z"),
            (
                253_402_300_800,
                "253402300800 seconds after 1970-01-01T00:00:00Z",
            ),
            (
                u64::MAX - 1,
                "18446744073709551614 seconds after 1970-01-01T00:00:00Z",
            ),
            (u64::MAX, "forever"),
        ] {
            assert_eq!(rfc3339(seconds), text);
        }
    }
}
