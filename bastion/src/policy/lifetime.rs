//! How long a connection may go on: what is to be done about it, and when to look again.
//!
//! Times are handed in, never read. A zero duration is no limit, as in sshd_config(5).

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::utc::rfc3339;
use super::wildcard;

/// Terminals are warned this long before the end, or when half of the time is over.
const WARNING: Duration = Duration::from_secs(60);
/// The clock that certificates go by may be set: it is looked at so often. The monitor does, too, and
/// has more patience, so that it is the gate that ends the connection and says why.
const LOOK_AT_CLOCK: Duration = Duration::from_secs(2);

/// What the configuration says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Without a byte on any channel.
    pub idle_timeout: Duration,
    /// Without an open channel.
    pub unused_connection_timeout: Duration,
    /// From the login.
    pub max_session_time: Duration,
    /// Until the certificate is no longer valid.
    pub end_at_certificate_expiry: bool,
    /// Without a byte on a channel, by its kind as sshd_config(5) names it under ChannelTimeout,
    /// with wildcards.
    pub channel_timeout: BTreeMap<String, Duration>,
}

/// A login, as far as it limits what follows.
#[derive(Clone, Copy, Debug)]
pub struct LoggedIn {
    /// When.
    pub at: Instant,
    /// The certificate's end, in seconds since the epoch.
    pub valid_before: u64,
}

/// What both clocks say.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// The one that nobody sets.
    pub instant: Instant,
    /// Seconds since the epoch.
    pub epoch: u64,
}

/// What a connection is seen to do.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// How long nothing has moved, opened or closed.
    pub quiet: Duration,
    /// Open channels.
    pub channels: usize,
    /// Whether terminals were warned.
    pub warned: bool,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing; look again after this time, if ever.
    Wait(Option<Duration>),
    /// Warn the terminals that it ends in so much time.
    Warn(Duration, Ending),
    /// End the connection.
    End(Ending),
}

/// Why a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// `idle_timeout`
    Idle(Duration),
    /// `unused_connection_timeout`
    Unused(Duration),
    /// `max_session_time`
    MaxSessionTime(Duration),
    /// `end_at_certificate_expiry`, and the certificate's end.
    CertificateExpiry(u64),
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = |&limit: &Duration| humantime::format_duration(limit);
        match self {
            Self::Idle(limit) => write!(f, "nothing has moved for {}", time(limit)),
            Self::Unused(limit) => write!(f, "nothing was open for {}", time(limit)),
            Self::MaxSessionTime(limit) => write!(f, "a session may last {}", time(limit)),
            Self::CertificateExpiry(end) => write!(f, "the certificate ends at {}", rfc3339(*end)),
        }
    }
}

impl Limits {
    /// What is to be done about a connection now.
    pub fn next(&self, login: LoggedIn, seen: Seen, now: Now) -> Next {
        let limit = |limit: Duration, ending: fn(Duration) -> Ending| {
            (!limit.is_zero()).then(|| (limit.saturating_sub(seen.quiet), ending(limit)))
        };
        let idle = limit(self.idle_timeout, Ending::Idle);
        let mut unused = limit(self.unused_connection_timeout, Ending::Unused);
        if let Some((left, _)) = unused.as_mut().filter(|_| seen.channels > 0) {
            // It begins anew when the last of them is closed, of which nobody tells us.
            *left = self.unused_connection_timeout;
        }
        let last = self.last_moment(login, now);
        let ends = idle.into_iter().chain(unused).chain(last);
        let Some((left, ending)) = ends.min_by_key(|&(left, _)| left) else {
            return Next::Wait(None);
        };
        if left.is_zero() {
            return Next::End(ending);
        }
        let mut wait = left;
        if let Some((left, ending)) = last.filter(|_| !seen.warned) {
            let elapsed = now.instant.saturating_duration_since(login.at);
            let before = WARNING.min(left.saturating_add(elapsed) / 2);
            match left.checked_sub(before) {
                Some(until) if !until.is_zero() => wait = wait.min(until),
                _ => return Next::Warn(left, ending),
            }
        }
        if self.end_at_certificate_expiry {
            wait = wait.min(LOOK_AT_CLOCK);
        }
        Next::Wait(Some(wait))
    }

    /// The end that comes whatever a connection does, and the time until then.
    pub fn last_moment(&self, login: LoggedIn, now: Now) -> Option<(Duration, Ending)> {
        let elapsed = now.instant.saturating_duration_since(login.at);
        let longest = (!self.max_session_time.is_zero()).then(|| {
            let left = self.max_session_time.saturating_sub(elapsed);
            (left, Ending::MaxSessionTime(self.max_session_time))
        });
        let valid = self.end_at_certificate_expiry.then(|| {
            let left = Duration::from_secs(login.valid_before.saturating_sub(now.epoch));
            (left, Ending::CertificateExpiry(login.valid_before))
        });
        longest
            .into_iter()
            .chain(valid)
            .min_by_key(|&(left, _)| left)
    }

    /// How long a channel of this kind may be idle. Of several that fit, the shortest. `session` fits
    /// all of its kinds, such as `session:shell`.
    pub fn channel_timeout(&self, kind: &str) -> Option<Duration> {
        let kind_at_large = kind.split_once(':').map_or(kind, |(at_large, _)| at_large);
        let fits =
            |pattern: &str| [kind, kind_at_large].map(|kind| wildcard::matches(pattern, kind));
        let fitting = self.channel_timeout.iter();
        let fitting = fitting.filter(|(pattern, _)| fits(pattern).contains(&true));
        fitting
            .map(|(_, &limit)| limit)
            .filter(|limit| !limit.is_zero())
            .min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const NOTHING: Seen = Seen {
        quiet: Duration::ZERO,
        channels: 0,
        warned: false,
    };

    /// What is to be done so many seconds after a login at the epoch's second 1000.
    fn after(seconds: u32, limits: &Limits, valid_before: u64, seen: Seen) -> Next {
        let at = Instant::now();
        let now = Now {
            instant: at + SECOND * seconds,
            epoch: 1000 + u64::from(seconds),
        };
        limits.next(LoggedIn { at, valid_before }, seen, now)
    }

    #[test]
    fn without_limits_nothing_is_to_be_done() {
        let quiet = Seen {
            quiet: SECOND * 1_000_000,
            ..NOTHING
        };
        assert_eq!(after(99, &Limits::default(), 0, quiet), Next::Wait(None));
    }

    #[test]
    fn what_is_idle_or_unused_ends() {
        let limits = Limits {
            idle_timeout: SECOND * 10,
            unused_connection_timeout: SECOND * 4,
            ..Limits::default()
        };
        let seen = |quiet, channels| Seen {
            quiet: SECOND * quiet,
            channels,
            warned: false,
        };
        let next = |quiet, channels| after(99, &limits, 0, seen(quiet, channels));
        assert_eq!(next(3, 1), Next::Wait(Some(SECOND * 4)));
        assert_eq!(next(3, 0), Next::Wait(Some(SECOND)));
        assert_eq!(next(4, 0), Next::End(Ending::Unused(SECOND * 4)));
        assert_eq!(next(5, 1), Next::Wait(Some(SECOND * 4)));
        assert_eq!(next(9, 2), Next::Wait(Some(SECOND)));
        assert_eq!(next(10, 2), Next::End(Ending::Idle(SECOND * 10)));
    }

    #[test]
    fn terminals_are_warned_once_a_minute_before_the_end() {
        let limits = Limits {
            max_session_time: SECOND * 600,
            ..Limits::default()
        };
        let ending = Ending::MaxSessionTime(SECOND * 600);
        let warned = Seen {
            warned: true,
            ..NOTHING
        };
        assert_eq!(
            after(0, &limits, 0, NOTHING),
            Next::Wait(Some(SECOND * 540))
        );
        assert_eq!(
            after(540, &limits, 0, NOTHING),
            Next::Warn(SECOND * 60, ending)
        );
        assert_eq!(
            after(541, &limits, 0, warned),
            Next::Wait(Some(SECOND * 59))
        );
        assert_eq!(after(600, &limits, 0, warned), Next::End(ending));
        // Nobody was there to be warned in time.
        assert_eq!(after(700, &limits, 0, NOTHING), Next::End(ending));
    }

    #[test]
    fn a_short_time_is_half_over_when_it_is_warned_of() {
        let limits = Limits {
            max_session_time: SECOND * 10,
            ..Limits::default()
        };
        assert_eq!(after(4, &limits, 0, NOTHING), Next::Wait(Some(SECOND)));
        let ending = Ending::MaxSessionTime(SECOND * 10);
        assert_eq!(
            after(5, &limits, 0, NOTHING),
            Next::Warn(SECOND * 5, ending)
        );
    }

    #[test]
    fn a_certificate_ends_its_connection_only_where_it_is_asked_to() {
        let mut limits = Limits::default();
        assert_eq!(after(500, &limits, 1100, NOTHING), Next::Wait(None));
        limits.end_at_certificate_expiry = true;
        assert_eq!(
            after(99, &limits, 2000, NOTHING),
            Next::Wait(Some(LOOK_AT_CLOCK))
        );
        let warned = Seen {
            warned: true,
            ..NOTHING
        };
        assert_eq!(after(99, &limits, 1100, warned), Next::Wait(Some(SECOND)));
        assert_eq!(
            after(100, &limits, 1100, warned),
            Next::End(Ending::CertificateExpiry(1100))
        );
        // Forever.
        assert_eq!(
            after(0, &limits, u64::MAX, NOTHING),
            Next::Wait(Some(LOOK_AT_CLOCK))
        );
    }

    #[test]
    fn the_earliest_end_counts() {
        let limits = Limits {
            idle_timeout: SECOND * 30,
            max_session_time: SECOND * 40,
            end_at_certificate_expiry: true,
            ..Limits::default()
        };
        let quiet = Seen {
            quiet: SECOND * 30,
            channels: 1,
            warned: true,
        };
        assert_eq!(
            after(35, &limits, 1050, quiet),
            Next::End(Ending::Idle(SECOND * 30))
        );
        let ending = Ending::MaxSessionTime(SECOND * 40);
        assert_eq!(after(40, &limits, 1050, NOTHING), Next::End(ending));
    }

    #[test]
    fn channels_are_named_as_in_sshd_config() {
        let pairs = [
            ("session:*", 9),
            ("session:command", 5),
            ("direct-tcpip", 0),
        ];
        let channel_timeout = pairs.map(|(kind, seconds)| (kind.to_owned(), SECOND * seconds));
        let limits = Limits {
            channel_timeout: channel_timeout.into(),
            ..Limits::default()
        };
        assert_eq!(limits.channel_timeout("session:command"), Some(SECOND * 5));
        assert_eq!(
            limits.channel_timeout("session:subsystem:sftp"),
            Some(SECOND * 9)
        );
        assert_eq!(limits.channel_timeout("direct-tcpip"), None);
        assert_eq!(limits.channel_timeout("agent-connection"), None);
        let at_large = Limits {
            channel_timeout: [("session".into(), SECOND)].into(),
            ..Limits::default()
        };
        assert_eq!(at_large.channel_timeout("session:shell"), Some(SECOND));
        assert_eq!(at_large.channel_timeout("direct-tcpip"), None);
    }
}
