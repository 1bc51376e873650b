//! When a certificate is valid: `ssh-keygen -V`'s way to write it, `ssh-keygen -L`'s way to
//! show it. Times are seconds since 1970-01-01T00:00:00Z, as in the certificate, and always in
//! UTC, where ssh-keygen means local time unless told otherwise.

use std::fmt;
use std::str::FromStr;

/// `valid after` of a certificate that was always valid (draft-ietf-sshm-cert, "valid after").
pub const ALWAYS: u64 = 0;

/// `valid before` of a certificate that never expires (draft-ietf-sshm-cert, "valid before").
pub const FOREVER: u64 = u64::MAX;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// From `after`, inclusive, to `before`, exclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// The first second, or [`ALWAYS`].
    pub after: u64,
    /// The first second that is too late, or [`FOREVER`].
    pub before: u64,
}

/// Why a text says nothing about validity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValidityError {
    /// Not one of the forms.
    #[error(
        "{0:?} is not a time: write a time from now as `-5m`, `+1h` or `+1w2d`, a UTC date as \
         `20270131Z`, `202701311530Z` or `20270131153000Z`, `always` or `forever`"
    )]
    NotATime(String),
    /// A time without `Z`, which ssh-keygen would take for local time.
    #[error("{0:?} does not say its time zone: write it in UTC, with a Z at the end")]
    NoZone(String),
    /// It ends before it begins.
    #[error("{0} is no time at all: it ends before it begins")]
    Empty(Validity),
}

/// A validity as written, before it is known what time it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValiditySpec {
    after: Time,
    before: Time,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Time {
    /// This many seconds ago.
    Ago(u64),
    /// This many seconds from now.
    Ahead(u64),
    At(u64),
}

impl ValiditySpec {
    /// The validity that this means at the time `now`.
    pub fn at(&self, now: u64) -> Result<Validity, ValidityError> {
        let validity = Validity {
            after: self.after.at(now),
            before: self.before.at(now),
        };
        match validity.after < validity.before {
            true => Ok(validity),
            false => Err(ValidityError::Empty(validity)),
        }
    }
}

impl FromStr for ValiditySpec {
    type Err = ValidityError;

    /// `FROM:TO`, or `TO` alone. The latter begins a minute ago, as Pomerium's certificates do,
    /// because clocks differ.
    fn from_str(text: &str) -> Result<Self, ValidityError> {
        let Some((after, before)) = text.split_once(':') else {
            return Ok(Self {
                after: Time::Ago(MINUTE),
                before: Time::before(text)?,
            });
        };
        let after = match after {
            "always" => Time::At(ALWAYS),
            _ => after.parse()?,
        };
        let before = Time::before(before)?;
        Ok(Self { after, before })
    }
}

impl Time {
    fn before(text: &str) -> Result<Self, ValidityError> {
        match text {
            "forever" => Ok(Self::At(FOREVER)),
            _ => text.parse(),
        }
    }

    fn at(self, now: u64) -> u64 {
        match self {
            Self::Ago(seconds) => now.saturating_sub(seconds),
            // One short of the sentinel: a large number is not a word.
            Self::Ahead(seconds) => now.saturating_add(seconds).min(FOREVER - 1),
            Self::At(time) => time,
        }
    }
}

impl FromStr for Time {
    type Err = ValidityError;

    fn from_str(text: &str) -> Result<Self, ValidityError> {
        let not_a_time = || ValidityError::NotATime(text.to_owned());
        let is_date = |digits: &str| {
            matches!(digits.len(), 8 | 12 | 14) && digits.bytes().all(|b| b.is_ascii_digit())
        };
        if let Some(ago) = text.strip_prefix('-') {
            return duration(ago).map(Self::Ago).ok_or_else(not_a_time);
        }
        if let Some(digits) = text.strip_suffix('Z') {
            let time = is_date(digits).then(|| date(digits)).flatten();
            return time.map(Self::At).ok_or_else(not_a_time);
        }
        if is_date(text) {
            return Err(ValidityError::NoZone(text.to_owned()));
        }
        let ahead = duration(text.strip_prefix('+').unwrap_or(text));
        ahead.map(Self::Ahead).ok_or_else(not_a_time)
    }
}

/// sshd_config(5) "TIME FORMATS": `90`, `90s`, `1h30m`; in seconds.
fn duration(text: &str) -> Option<u64> {
    let mut seconds: u64 = 0;
    let mut rest = text;
    loop {
        let end = rest.find(|c: char| !c.is_ascii_digit());
        let (number, unit) = rest.split_at(end.unwrap_or(rest.len()));
        let mut units = unit.chars();
        let unit = match units.next().map(|c| c.to_ascii_lowercase()) {
            None | Some('s') => 1,
            Some('m') => MINUTE,
            Some('h') => HOUR,
            Some('d') => DAY,
            Some('w') => 7 * DAY,
            Some(_) => return None,
        };
        seconds = seconds.checked_add(number.parse::<u64>().ok()?.checked_mul(unit)?)?;
        rest = units.as_str();
        if rest.is_empty() {
            return Some(seconds);
        }
    }
}

/// `YYYYMMDD[HHMM[SS]]` in UTC.
fn date(digits: &str) -> Option<u64> {
    let number = |from: usize, to: usize| match digits.get(from..to) {
        Some(part) => part.parse::<u64>().ok(),
        None => Some(0),
    };
    let (year, month, day) = (number(0, 4)?, number(4, 6)?, number(6, 8)?);
    let (hour, minute, second) = (number(8, 10)?, number(10, 12)?, number(12, 14)?);
    if year < 1970 || !(1..=12).contains(&month) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let days = days_from_civil(year, month, day);
    // What is no day of its month comes back as a day of the next.
    (civil_from_days(days) == (year, month, day))
        .then(|| days * DAY + hour * HOUR + minute * MINUTE + second)
}

impl fmt::Display for Validity {
    /// As `ssh-keygen -L` shows it, with the time zone that ssh-keygen leaves out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (after, before) = (Timestamp(self.after), Timestamp(self.before));
        match (self.after, self.before) {
            (ALWAYS, FOREVER) => write!(f, "forever"),
            (ALWAYS, _) => write!(f, "before {before}"),
            (_, FOREVER) => write!(f, "after {after}"),
            _ => write!(f, "from {after} to {before}"),
        }
    }
}

struct Timestamp(u64);

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = civil_from_days(self.0 / DAY);
        let (hour, minute, second) = (self.0 / HOUR % 24, self.0 / MINUTE % 60, self.0 % 60);
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z"
        )
    }
}

// Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", days_from_civil and
// civil_from_days: years begin in March, so that the leap day is the last, and 400 years
// (146097 days) repeat. Day 0 is 1970-01-01, 719468 days after 0000-03-01.

fn days_from_civil(year: u64, month: u64, day: u64) -> u64 {
    let year = if month > 2 { year } else { year - 1 };
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day;
    (365 * year + year / 4 - year / 100 + year / 400 + day_of_year).saturating_sub(719_469)
}

fn civil_from_days(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-22T15:00:00Z
    const NOW: u64 = 1_795_359_600;

    #[test]
    fn as_written() {
        let table = [
            ("1h", "from 2026-11-22T14:59:00Z to 2026-11-22T16:00:00Z"),
            ("+90", "from 2026-11-22T14:59:00Z to 2026-11-22T15:01:30Z"),
            (
                "-5m:+1h",
                "from 2026-11-22T14:55:00Z to 2026-11-22T16:00:00Z",
            ),
            (
                "-1D:1w2d",
                "from 2026-11-21T15:00:00Z to 2026-12-01T15:00:00Z",
            ),
            ("always:forever", "forever"),
            ("always:+1h30m", "before 2026-11-22T16:30:00Z"),
            ("forever", "after 2026-11-22T14:59:00Z"),
            ("20261122Z:forever", "after 2026-11-22T00:00:00Z"),
            ("19700101Z:20280229Z", "before 2028-02-29T00:00:00Z"),
            (
                "202611221530Z:20261122153001Z",
                "from 2026-11-22T15:30:00Z to 2026-11-22T15:30:01Z",
            ),
            (
                "21000228235959Z:21000301Z",
                "from 2100-02-28T23:59:59Z to 2100-03-01T00:00:00Z",
            ),
        ];
        for (text, shown) in table {
            let validity = text.parse::<ValiditySpec>().unwrap().at(NOW).unwrap();
            assert_eq!(validity.to_string(), shown, "{text}");
        }
    }

    #[test]
    fn not_a_time() {
        let table = [
            "",
            ":",
            "1h:",
            ":1h",
            "+",
            "-",
            "h",
            "1x",
            "1h:2h:3h",
            "1 h",
            "always",
            "forever:1h",
            "1h:always",
            "20270229Z",
            "20261301Z",
            "2026112Z",
            "20261122T1500Z",
            "20261122240000Z",
            "19691231Z",
            "+99999999999999999999",
            "+30500568904944w",
            "²h",
            "0x10",
            "00000000Z",
        ];
        for text in table {
            let error = text.parse::<ValiditySpec>().unwrap_err();
            assert!(
                matches!(error, ValidityError::NotATime(_)),
                "{text}: {error}"
            );
        }
    }

    #[test]
    fn no_time_zone() {
        for text in ["20270131", "always:202701311530", "20270131153000:forever"] {
            let error = text.parse::<ValiditySpec>().unwrap_err();
            assert!(matches!(error, ValidityError::NoZone(_)), "{text}: {error}");
        }
    }

    #[test]
    fn ends_before_it_begins() {
        for text in [
            "+2h:+1h",
            "-1m",
            "+1h:+1h",
            "20260101Z",
            "20270101Z:20260101Z",
            "always:19700101Z",
        ] {
            let error = text.parse::<ValiditySpec>().unwrap().at(NOW).unwrap_err();
            assert!(matches!(error, ValidityError::Empty(_)), "{text}: {error}");
        }
    }

    #[test]
    fn far_away_is_not_forever() {
        let spec = format!("+{}", u64::MAX).parse::<ValiditySpec>().unwrap();
        assert_eq!(spec.at(NOW).unwrap().before, FOREVER - 1);
    }

    #[test]
    fn days_and_dates_agree() {
        for days in (0..400_000).chain([u64::MAX / DAY]) {
            let (year, month, day) = civil_from_days(days);
            assert_eq!(days_from_civil(year, month, day), days);
        }
    }
}
