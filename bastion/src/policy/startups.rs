//! Connections that nobody has logged in on yet: how many there may be, and whose has to go.
//!
//! sshd (`MaxStartups`) turns newcomers away, so that whoever holds its places open locks everybody
//! out. Here a newcomer is let in and another makes room: the one that has been there the longest
//! of the largest crowd. A crowd is of one network, and has come equally far: those who say nothing
//! push out each other, and not somebody of their network who is about to log in. A login takes a
//! few milliseconds; who only sits there goes.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// `start:rate:full`, as in sshd_config(5): from `start` connections on, `rate` per cent of the
/// newcomers make another one go, rising to all of them at `full`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MaxStartups {
    start: usize,
    rate: u8,
    full: usize,
}

/// Not a value for `max_startups`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "write 100, or \"start:rate:full\" such as \"100:30:200\", with a rate of 1 to 100 per cent and start up to full"
)]
pub struct NotMaxStartups;

/// Where a connection comes from, as far as it counts: an IPv4 address, or an IPv6 network of 64
/// bits, in which one machine may have as many addresses as it likes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SourceNetwork(IpAddr);

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// It is there.
    Accepted,
    /// Its version has been read to the end (RFC 4253 4.2).
    Greeted,
    /// Keys have been exchanged, and it has asked to authenticate (RFC 4253 10).
    Encrypted,
}

impl MaxStartups {
    /// So many, and no more.
    pub const fn all_at(full: usize) -> Self {
        Self {
            start: full,
            rate: 100,
            full,
        }
    }

    /// The most there may be at a time.
    pub fn full(&self) -> usize {
        self.full
    }

    /// Whether one of those that are there has to go before another comes; `dice` is a random
    /// number below 100.
    pub fn make_room(&self, there: usize, dice: u8) -> bool {
        if there < self.start {
            return false;
        }
        let (over, range) = (there - self.start, self.full.saturating_sub(self.start));
        let rate = usize::from(self.rate);
        let rising = (100 - rate) * over.min(range) / range.max(1);
        there >= self.full || usize::from(dice) < rate + rising
    }
}

impl FromStr for MaxStartups {
    type Err = NotMaxStartups;

    fn from_str(text: &str) -> Result<Self, NotMaxStartups> {
        let number = |text: &str| text.parse().map_err(|_| NotMaxStartups);
        let parts: Vec<_> = text.split(':').collect();
        let parsed = match *parts.as_slice() {
            [full] => Self::all_at(number(full)?),
            [start, rate, full] => Self {
                start: number(start)?,
                rate: rate.parse().map_err(|_| NotMaxStartups)?,
                full: number(full)?,
            },
            _ => return Err(NotMaxStartups),
        };
        let sensible = (1..=100).contains(&parsed.rate) && parsed.start <= parsed.full;
        match sensible && parsed.full > 0 {
            true => Ok(parsed),
            false => Err(NotMaxStartups),
        }
    }
}

impl From<IpAddr> for SourceNetwork {
    fn from(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            // One machine, and anybody on it may call himself by any of them.
            address if address.is_loopback() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V4(address) => Ipv4Addr::into(address),
            IpAddr::V6(address) => {
                let network = u128::from(address) >> 64 << 64;
                Ipv6Addr::from(network).into()
            }
        })
    }
}

/// Who has to go of those that are there, in the order in which they came: the first of the largest
/// crowd. Of crowds of one size, it is one of the stage where most are, and there the one whose
/// first came first: that is how it goes where each comes from a network of its own.
pub fn who_goes<Id: Copy>(there: impl Iterator<Item = (Id, SourceNetwork, Stage)>) -> Option<Id> {
    let mut crowds: HashMap<(SourceNetwork, Stage), (usize, usize, Id)> = HashMap::new();
    let mut stages: BTreeMap<Stage, usize> = BTreeMap::new();
    for (order, (id, network, stage)) in there.enumerate() {
        crowds.entry((network, stage)).or_insert((0, order, id)).0 += 1;
        *stages.entry(stage).or_default() += 1;
    }
    let rank = |&((_, stage), (count, order, _)): &((_, Stage), (usize, usize, _))| {
        (count, stages.get(&stage).copied(), usize::MAX - order)
    };
    let (_, (_, _, first)) = crowds.into_iter().max_by_key(rank)?;
    Some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(address: &str) -> SourceNetwork {
        address.parse::<IpAddr>().unwrap().into()
    }

    #[test]
    fn it_is_written_as_in_sshd_config() {
        let limits: MaxStartups = "10:30:60".parse().unwrap();
        assert_eq!((limits.start, limits.rate, limits.full), (10, 30, 60));
        assert_eq!("7".parse(), Ok(MaxStartups::all_at(7)));
        for wrong in [
            "",
            "0",
            "x",
            "1:2",
            "1:2:3:4",
            "10:0:60",
            "10:101:60",
            "61:30:60",
            "-1",
            "0:1:0",
        ] {
            assert_eq!(wrong.parse::<MaxStartups>(), Err(NotMaxStartups), "{wrong}");
        }
    }

    #[test]
    fn the_rate_rises_from_start_to_full() {
        let limits: MaxStartups = "10:30:60".parse().unwrap();
        let rate = |there| {
            (0..100)
                .filter(|&dice| limits.make_room(there, dice))
                .count()
        };
        assert_eq!(
            [9, 10, 35, 59, 60, 1000].map(rate),
            [0, 30, 65, 98, 100, 100]
        );
        let all = MaxStartups::all_at(3);
        assert!(!all.make_room(2, 0) && all.make_room(3, 99));
    }

    #[test]
    fn an_ipv6_host_is_its_network() {
        assert_eq!(network("2001:db8::1"), network("2001:db8::ffff:1:2:3"));
        assert_ne!(network("2001:db8::1"), network("2001:db8:0:1::1"));
        assert_eq!(network("::ffff:192.0.2.1"), network("192.0.2.1"));
        assert_ne!(network("192.0.2.1"), network("192.0.2.2"));
        assert_eq!(network("127.0.0.1"), network("127.3.2.1"));
        assert_eq!(network("127.0.0.1"), network("::1"));
    }

    use Stage::{Accepted, Encrypted, Greeted};

    #[test]
    fn the_longest_there_of_the_largest_crowd_goes() {
        let there = [
            (1, network("192.0.2.1"), Accepted),
            (2, network("192.0.2.2"), Accepted),
            (3, network("192.0.2.2"), Accepted),
            (4, network("192.0.2.3"), Accepted),
        ];
        assert_eq!(who_goes(there.into_iter()), Some(2));
        assert_eq!(who_goes(there[..2].iter().copied()), Some(1));
        assert_eq!(who_goes::<u8>(std::iter::empty()), None);
    }

    #[test]
    fn who_has_come_farther_is_of_another_crowd() {
        let proxy = network("192.0.2.1");
        let there = [
            (1, proxy, Encrypted),
            (2, proxy, Greeted),
            (3, proxy, Accepted),
            (4, proxy, Accepted),
        ];
        assert_eq!(who_goes(there.into_iter()), Some(3));
        // Nor can it be made a reason to go: who holds places there loses them.
        let there = [
            (1, proxy, Encrypted),
            (2, proxy, Encrypted),
            (3, proxy, Accepted),
        ];
        assert_eq!(who_goes(there.into_iter()), Some(1));
    }

    #[test]
    fn of_many_networks_it_is_one_of_where_most_have_come_to() {
        let there = [
            (1, network("192.0.2.1"), Encrypted),
            (2, network("192.0.2.2"), Greeted),
            (3, network("192.0.2.3"), Accepted),
            (4, network("192.0.2.4"), Accepted),
        ];
        assert_eq!(who_goes(there.into_iter()), Some(3));
        assert_eq!(who_goes(there[..3].iter().copied()), Some(1));
    }
}
