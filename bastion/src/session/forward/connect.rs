//! Connections that are being made: a name is resolved, its addresses are judged and tried.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::poll::PollFlags;

use super::words;
use crate::ipc::{ChannelNumber, Destination, ForwardFailure};
use crate::policy::forwarding::ForwardingRules;
use crate::policy::printable;
use crate::sys::resolver::Lookup;
use crate::sys::{network, relay};

/// From the order to the answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
/// For one address, where there are others to try.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);
/// Names that are looked up at a time; others wait.
const MAX_LOOKUPS: usize = 16;
/// The longest name (RFC 1035 §2.3.4).
const MAX_NAME: usize = 255;

/// A connected socket, and where it leads if that is an address.
pub(super) type Result = std::result::Result<(OwnedFd, Option<SocketAddr>), ForwardFailure>;

/// How far a connection has come.
pub(super) enum Attempt {
    /// It is being made.
    Going,
    /// It stands, or never will.
    Over(Result),
}

/// A connection that is being made.
pub(super) struct Connecting {
    pub(super) channel: ChannelNumber,
    to: Destination,
    deadline: Instant,
    stage: Stage,
}

enum Stage {
    /// Until there are fewer lookups.
    WaitingForLookup,
    LookingUp(Lookup),
    Trying(Trying),
}

/// Addresses to try, one after the other.
struct Trying {
    /// The one that is being tried, and how long.
    current: Option<(OwnedFd, SocketAddr, Instant)>,
    /// Those that are left, the next one last.
    rest: Vec<SocketAddr>,
    /// Why the last one did not do.
    failure: ForwardFailure,
}

impl Connecting {
    pub(super) fn new(channel: ChannelNumber, to: Destination) -> Self {
        let deadline = Instant::now() + CONNECT_TIMEOUT;
        Self {
            channel,
            to,
            deadline,
            stage: Stage::WaitingForLookup,
        }
    }

    /// What was asked for, for people.
    pub(super) fn description(&self) -> String {
        match &self.to {
            Destination::Tcp { host, port } => format!("{} port {port}", printable(host, 128)),
            Destination::Unix { path } => printable(path, 128),
        }
    }

    pub(super) fn begin(&mut self, rules: &ForwardingRules) -> Attempt {
        match &self.to {
            Destination::Unix { path } => Attempt::Over(connect_unix(Path::new(path), rules)),
            Destination::Tcp { host, port } => match addresses_to_try(host, *port, rules) {
                Err(failure) => Attempt::Over(Err(failure)),
                Ok(None) => Attempt::Going,
                Ok(Some(addresses)) => self.try_addresses(addresses, rules),
            },
        }
    }

    pub(super) fn watched(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        match &self.stage {
            Stage::WaitingForLookup => None,
            Stage::LookingUp(lookup) => Some((lookup.as_fd(), PollFlags::POLLIN)),
            Stage::Trying(trying) => trying
                .current
                .as_ref()
                .map(|(socket, ..)| (socket.as_fd(), PollFlags::POLLOUT)),
        }
    }

    pub(super) fn deadline(&self) -> Instant {
        match &self.stage {
            Stage::Trying(Trying {
                current: Some((.., until)),
                ..
            }) => self.deadline.min(*until),
            _ => self.deadline,
        }
    }

    /// Goes on if its descriptor is ready, or its time is up.
    pub(super) fn go_on(&mut self, ready: bool, now: Instant, rules: &ForwardingRules) -> Attempt {
        if !ready && now < self.deadline() {
            return Attempt::Going;
        }
        if !ready && now >= self.deadline {
            let why = match self.stage {
                Stage::WaitingForLookup => "its name could not be looked up in time",
                Stage::LookingUp(_) | Stage::Trying(_) => "it takes too long",
            };
            return Attempt::Over(Err(self.failed(why)));
        }
        match &mut self.stage {
            Stage::WaitingForLookup => Attempt::Going,
            Stage::LookingUp(lookup) => match lookup.answer() {
                Ok(addresses) => self.try_addresses(addresses, rules),
                Err(complaint) => Attempt::Over(Err(self.failed(&complaint))),
            },
            Stage::Trying(trying) => {
                let outcome = trying.current.take().map(|(socket, address, _)| {
                    let outcome = match ready {
                        true => network::outcome(socket.as_fd()),
                        false => Err(std::io::ErrorKind::TimedOut.into()),
                    };
                    outcome.map(|()| (socket, Some(address)))
                });
                match outcome {
                    Some(Ok(connected)) => Attempt::Over(Ok(connected)),
                    Some(Err(error)) => self.try_next(Some(words(&error)), rules),
                    None => self.try_next(None, rules),
                }
            }
        }
    }

    fn try_addresses(
        &mut self,
        mut addresses: Vec<SocketAddr>,
        rules: &ForwardingRules,
    ) -> Attempt {
        addresses.reverse();
        let failure = self.failed("it has no address");
        self.stage = Stage::Trying(Trying {
            current: None,
            rest: addresses,
            failure,
        });
        self.try_next(None, rules)
    }

    /// Tries the next address that may be connected to. `failed`: why the last one did not do.
    fn try_next(&mut self, failed: Option<String>, rules: &ForwardingRules) -> Attempt {
        let mut failed = failed.map(|why| self.failed(&why));
        let (Destination::Tcp { host, port }, Stage::Trying(trying)) = (&self.to, &mut self.stage)
        else {
            return Attempt::Going;
        };
        let port = u16::try_from(*port).unwrap_or(0);
        loop {
            if let Some(failure) = failed.take() {
                trying.failure = failure;
            }
            let Some(mut address) = trying.rest.pop() else {
                return Attempt::Over(Err(trying.failure.clone()));
            };
            address.set_port(port);
            let begun = match rules.may_connect(host, address) {
                Ok(address) => {
                    network::connect_tcp(address).map(|connecting| (connecting, address))
                }
                Err(why) => {
                    failed = Some(why.into());
                    continue;
                }
            };
            match begun {
                Ok((network::Connecting::Done(socket), address)) => {
                    return Attempt::Over(Ok((socket, Some(address))));
                }
                Ok((network::Connecting::Soon(socket), address)) => {
                    let alone = trying.rest.is_empty();
                    let limit = if alone {
                        CONNECT_TIMEOUT
                    } else {
                        ATTEMPT_TIMEOUT
                    };
                    trying.current = Some((socket, address, Instant::now() + limit));
                    return Attempt::Going;
                }
                Err(error) => failed = Some(cannot_connect(host, port, &words(&error))),
            }
        }
    }

    fn failed(&self, why: &str) -> ForwardFailure {
        match &self.to {
            Destination::Tcp { host, port } => cannot_connect(host, *port, why),
            Destination::Unix { path } => cannot_connect_unix(path.as_ref(), why),
        }
    }
}

/// Whether a name waits for a lookup that could not begin, though there are few.
pub(super) fn want_a_lookup(connecting: &[Connecting]) -> bool {
    let waits = |one: &Connecting| matches!(one.stage, Stage::WaitingForLookup);
    connecting.iter().any(waits) && lookups_under_way(connecting) < MAX_LOOKUPS
}

fn lookups_under_way(connecting: &[Connecting]) -> usize {
    let under_way = |one: &&Connecting| matches!(one.stage, Stage::LookingUp(_));
    connecting.iter().filter(under_way).count()
}

/// Starts to look up names that wait, as many as may be looked up at a time.
pub(super) fn begin_lookups(connecting: &mut [Connecting]) {
    let under_way = lookups_under_way(connecting);
    let waiting = connecting
        .iter_mut()
        .filter(|one| matches!(one.stage, Stage::WaitingForLookup));
    for one in waiting.take(MAX_LOOKUPS.saturating_sub(under_way)) {
        if let Destination::Tcp { host, .. } = &one.to
            // Out of processes or descriptors: another time, or when its time is up.
            && let Ok(lookup) = Lookup::begin(host, CONNECT_TIMEOUT)
        {
            one.stage = Stage::LookingUp(lookup);
        }
    }
}

/// What needs no name service: addresses, and `localhost`, which is always this machine (RFC 6761
/// §6.3). `None`: the name is to be looked up.
fn addresses_to_try(
    host: &str,
    port: u32,
    rules: &ForwardingRules,
) -> std::result::Result<Option<Vec<SocketAddr>>, ForwardFailure> {
    let Some(port) = u16::try_from(port).ok().filter(|&port| port != 0) else {
        return Err(ForwardFailure::ConnectFailed(format!(
            "there is no port {port}"
        )));
    };
    if host.is_empty() || host.len() > MAX_NAME || host.contains('\0') {
        return Err(cannot_connect(host, port, "that is no name of a host"));
    }
    rules.may_resolve(host, port)?;
    let at = |ip: IpAddr| SocketAddr::new(ip, port);
    if let Ok(address) = host.parse() {
        return Ok(Some(vec![at(address)]));
    }
    let name = host.strip_suffix('.').unwrap_or(host);
    match name.eq_ignore_ascii_case("localhost") {
        true => Ok(Some(vec![
            at(Ipv4Addr::LOCALHOST.into()),
            at(Ipv6Addr::LOCALHOST.into()),
        ])),
        false => Ok(None),
    }
}

fn connect_unix(path: &Path, rules: &ForwardingRules) -> Result {
    let failed = |error: std::io::Error| cannot_connect_unix(path, &words(&error));
    if !path.is_absolute() {
        return Err(cannot_connect_unix(
            path,
            "name the socket by its absolute path",
        ));
    }
    let found = network::find_unix(path).map_err(failed)?;
    rules.may_connect_unix(&found.path)?;
    let socket = network::connect_unix(&found).map_err(failed)?;
    if let Some(bound) = network::peer_path(socket.as_fd()) {
        rules.is_not_denied(&bound)?;
    }
    let socket = relay::without_descriptors(socket).map_err(failed)?;
    Ok((socket, None))
}

fn cannot_connect(host: &str, port: impl std::fmt::Display, why: &str) -> ForwardFailure {
    ForwardFailure::ConnectFailed(format!(
        "cannot connect to {} port {port}: {why}",
        printable(host, 128)
    ))
}

fn cannot_connect_unix(path: &Path, why: &str) -> ForwardFailure {
    let path = printable(&path.to_string_lossy(), 128);
    ForwardFailure::ConnectFailed(format!("cannot connect to {path}: {why}"))
}
