//! Connections that nobody has logged in on yet: how many there may be, and whose has to go.
//!
//! sshd (`MaxStartups`) turns newcomers away, so that whoever holds its places open locks everybody
//! out. Here a newcomer is let in and another makes room: the one that has been there the longest
//! of the largest crowd. A crowd is of one network, and has come equally far: those who say nothing
//! push out each other, and not somebody of their network who is about to log in. A login takes a
//! few milliseconds: as long as anybody only sits there, it is one of those who goes.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::time::Duration;

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

/// A login that takes longer than this is not about to be one.
pub const SITS_AFTER: Duration = Duration::from_secs(2);

/// More than one in so many, of one network and equally far, are a crowd.
const CROWD: usize = 20;

/// A connection, for the question of who has to go.
#[derive(Clone, Copy, Debug)]
pub struct Startup<Id> {
    /// Whose it is.
    pub id: Id,
    /// Where it comes from.
    pub network: SourceNetwork,
    /// How far it has come.
    pub stage: Stage,
    /// Whether it has been there for [`SITS_AFTER`].
    pub sits: bool,
}

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

/// Who has to go of those that are there, in the order in which they came: somebody who sits there,
/// if anybody does; of the stage where most are; of the largest crowd there; the one that came
/// first. Where many networks send few each, those who log in by one proxy are more than a network
/// of the others: a few are no crowd, and it is by age alone that one goes.
pub fn who_goes<Id: Copy>(there: &[Startup<Id>]) -> Option<Id> {
    let anybody_sits = there.iter().any(|one| one.sits);
    let mut crowds: HashMap<(SourceNetwork, Stage), (usize, usize, Id)> = HashMap::new();
    let mut stages: BTreeMap<Stage, usize> = BTreeMap::new();
    let candidates = there.iter().filter(|one| one.sits || !anybody_sits);
    for (order, one) in candidates.enumerate() {
        let crowd = crowds.entry((one.network, one.stage));
        crowd.or_insert((0, order, one.id)).0 += 1;
        *stages.entry(one.stage).or_default() += 1;
    }
    let a_few = stages.values().sum::<usize>() / CROWD;
    let rank = |&((_, stage), (count, order, _)): &((_, Stage), (usize, usize, _))| {
        let crowd = Some(count).filter(|&count| count > a_few);
        (stages.get(&stage).copied(), crowd, usize::MAX - order)
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

    fn came(
        there: impl IntoIterator<Item = (u8, &'static str, Stage)>,
        sitting: &[u8],
    ) -> Vec<Startup<u8>> {
        let one = |(id, address, stage)| Startup {
            id,
            network: network(address),
            stage,
            sits: sitting.contains(&id),
        };
        there.into_iter().map(one).collect()
    }

    #[test]
    fn the_longest_there_of_the_largest_crowd_goes() {
        let there = [
            (1, "192.0.2.1", Accepted),
            (2, "192.0.2.2", Accepted),
            (3, "192.0.2.2", Accepted),
            (4, "192.0.2.3", Accepted),
        ];
        assert_eq!(who_goes(&came(there, &[])), Some(2));
        assert_eq!(who_goes(&came(there[..2].to_vec(), &[])), Some(1));
        assert_eq!(who_goes::<u8>(&[]), None);
    }

    #[test]
    fn who_has_come_farther_is_of_another_crowd() {
        let proxy = "192.0.2.1";
        let there = [
            (1, proxy, Encrypted),
            (2, proxy, Greeted),
            (3, proxy, Accepted),
            (4, proxy, Accepted),
        ];
        assert_eq!(who_goes(&came(there, &[])), Some(3));
        // Nor can it be made a reason to go: who holds places there loses them.
        let there = [
            (1, proxy, Encrypted),
            (2, proxy, Encrypted),
            (3, proxy, Accepted),
        ];
        assert_eq!(who_goes(&came(there, &[])), Some(1));
    }

    #[test]
    fn of_many_networks_it_is_one_of_where_most_have_come_to() {
        let there = [
            (1, "192.0.2.1", Encrypted),
            (2, "192.0.2.2", Greeted),
            (3, "192.0.2.3", Accepted),
            (4, "192.0.2.4", Accepted),
        ];
        assert_eq!(who_goes(&came(there, &[])), Some(3));
        assert_eq!(who_goes(&came(there[..3].to_vec(), &[])), Some(1));
    }

    #[test]
    fn two_who_log_in_by_one_proxy_are_no_crowd_beside_many_networks() {
        let there = [
            (1, "192.0.2.1", Accepted),
            (2, "192.0.2.2", Accepted),
            (3, "192.0.2.3", Accepted),
            (4, "192.0.2.10", Greeted),
            (5, "192.0.2.10", Greeted),
        ];
        assert_eq!(who_goes(&came(there, &[])), Some(1));
    }

    #[test]
    fn a_few_by_one_proxy_are_no_crowd_where_they_are_as_far_as_many_networks() {
        let network_of = |id: u8| SourceNetwork(Ipv4Addr::new(198, 18, 0, id).into());
        let of = |id, network| Startup {
            id,
            network,
            stage: Greeted,
            sits: false,
        };
        let others = (0..100).map(|id| of(id, network_of(id)));
        let with = |by_proxy: std::ops::Range<u8>| -> Vec<_> {
            let by_proxy = by_proxy.map(|id| of(id, network("192.0.2.10")));
            others.clone().chain(by_proxy).collect()
        };
        assert_eq!(who_goes(&with(100..105)), Some(0));
        assert_eq!(who_goes(&with(100..110)), Some(100));
    }

    #[test]
    fn who_has_just_come_stays_while_others_sit_there() {
        let there = [
            (1, "192.0.2.1", Greeted),
            (2, "192.0.2.10", Accepted),
            (3, "192.0.2.10", Accepted),
            (4, "192.0.2.10", Accepted),
        ];
        assert_eq!(who_goes(&came(there, &[1])), Some(1));
        assert_eq!(who_goes(&came(there, &[1, 3, 4])), Some(3));
        assert_eq!(who_goes(&came(there, &[])), Some(2));
    }
}
