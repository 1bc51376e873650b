//! What may be connected to, and listened at, for a client: decided on addresses, not on names.
//!
//! A name is judged twice: as it was asked for, and by each address that it resolves to. The
//! connection goes to the very address that was judged, so that a name that resolves otherwise
//! the second time (DNS rebinding) gains nothing.

#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use super::endpoint::EndpointPattern;
use super::endpoint::canonical_name;
use super::refusal::printable;

/// Ports below this one are the system's (sshd's `bind_permitted`).
const FIRST_UNRESERVED_PORT: u16 = 1024;

/// What a forwarded connection must not reach by default.
const DENY_OPEN: &[&str] = &[
    // Link-local addresses (RFC 3927, RFC 4291), where most clouds answer at 169.254.169.254; and
    // the same by way of NAT64 (RFC 6052).
    "169.254.0.0/16:*",
    "[fe80::/10]:*",
    "[64:ff9b::a9fe:0/112]:*",
    // Metadata services at other addresses: AWS and Google by IPv6, Alibaba, Azure, Oracle.
    "[fd00:ec2::254]:*",
    "[fd20:ce::254]:*",
    "100.100.100.200:*",
    "168.63.129.16:*",
    "192.0.0.192:*",
    "metadata:*",
    "metadata.google.internal:*",
    // Who can talk to a container engine is root on its host.
    "*/docker.sock",
    "*/podman.sock",
    "*/containerd.sock",
    "*/crio.sock",
];

/// What may be forwarded by those whose certificates permit forwarding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForwardingRules {
    /// What may be connected to.
    pub permit_open: Vec<EndpointPattern>,
    /// What may not, whatever `permit_open` says.
    pub deny_open: Vec<EndpointPattern>,
    /// What may be listened at.
    pub permit_listen: Vec<EndpointPattern>,
    /// Whether others than this machine may connect to what is listened at.
    pub gateway_ports: GatewayPorts,
    /// The umask of a Unix socket that is listened at.
    pub stream_local_bind_mask: u16,
    /// Whether a socket that is in the way of such a one is removed first.
    pub stream_local_bind_unlink: bool,
}

/// sshd_config(5)'s GatewayPorts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GatewayPorts {
    /// Loopback only, whatever the client asks for.
    #[default]
    No,
    /// All addresses, whatever the client asks for.
    Yes,
    /// What the client asks for.
    ClientSpecified,
}

/// Why something may not be forwarded; a sentence for the user.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NotPermitted {
    /// `deny_open` names it.
    #[error("{what} is not to be connected to: deny_open lists \"{entry}\"")]
    Denied {
        /// What was asked for.
        what: String,
        /// The entry.
        entry: String,
    },
    /// `permit_open` does not name it.
    #[error("{0} is not to be connected to: permit_open does not list it")]
    NotOpen(String),
    /// `permit_listen` does not name it.
    #[error("{0} is not to be listened at: permit_listen does not list it")]
    NotListen(String),
    /// A port below 1024.
    #[error("port {0} is reserved, and no entry of permit_listen names it")]
    ReservedPort(u16),
    /// No address.
    #[error("'{0}' is no address of this machine; ask for an IP address, \"localhost\" or \"*\"")]
    NotAnAddress(String),
}

impl Default for ForwardingRules {
    fn default() -> Self {
        Self {
            permit_open: patterns(&["any"]),
            deny_open: patterns(DENY_OPEN),
            permit_listen: patterns(&["any"]),
            gateway_ports: GatewayPorts::default(),
            stream_local_bind_mask: 0o177,
            stream_local_bind_unlink: false,
        }
    }
}

fn patterns(entries: &[&str]) -> Vec<EndpointPattern> {
    // A test sees to it that none is left out.
    entries
        .iter()
        .filter_map(|&entry| EndpointPattern::try_from(entry.to_owned()).ok())
        .collect()
}

impl ForwardingRules {
    /// Whether a name may be asked for at all; to be decided before it is resolved.
    pub fn may_resolve(&self, host: &str, port: u16) -> Result<(), NotPermitted> {
        let name = canonical_name(host);
        let denied = self
            .deny_open
            .iter()
            .find(|entry| entry.matches_tcp(&name, None, port));
        denied.map_or(Ok(()), |entry| {
            Err(denied_by(entry, described(host, None, port)))
        })
    }

    /// The address to connect to, if what `host` was resolved to may be connected to.
    pub fn may_connect(&self, host: &str, address: SocketAddr) -> Result<SocketAddr, NotPermitted> {
        let (name, address) = (canonical_name(host), as_connected(address));
        let lists =
            |entry: &&EndpointPattern| entry.matches_tcp(&name, Some(address.ip()), address.port());
        let what = || described(host, Some(address.ip()), address.port());
        if let Some(entry) = self.deny_open.iter().find(lists) {
            return Err(denied_by(entry, what()));
        }
        match self.permit_open.iter().any(|entry| lists(&entry)) {
            true => Ok(address),
            false => Err(NotPermitted::NotOpen(what())),
        }
    }

    /// Whether the Unix socket at this path, free of symbolic links, may be connected to.
    pub fn may_connect_unix(&self, path: &Path) -> Result<(), NotPermitted> {
        self.is_not_denied(path)?;
        match self
            .permit_open
            .iter()
            .any(|entry| entry.matches_unix(path))
        {
            true => Ok(()),
            false => Err(NotPermitted::NotOpen(shown(path))),
        }
    }

    /// Whether `deny_open` leaves the Unix socket at this path alone.
    pub fn is_not_denied(&self, path: &Path) -> Result<(), NotPermitted> {
        let denied = self.deny_open.iter().find(|entry| entry.matches_unix(path));
        denied.map_or(Ok(()), |entry| Err(denied_by(entry, shown(path))))
    }

    /// The addresses to listen at, if all may be; the first of them is the one that must succeed.
    ///
    /// `host` is as in RFC 4254 §7.1; what becomes of it is `gateway_ports`' to say.
    pub fn may_listen(
        &self,
        host: &str,
        port: u16,
        superuser: bool,
    ) -> Result<Vec<IpAddr>, NotPermitted> {
        let addresses = self.addresses_for(host)?;
        let name = canonical_name(host);
        let listed = |address: &IpAddr| {
            self.permit_listen
                .iter()
                .any(|entry| entry.matches_tcp(&name, Some(*address), port))
        };
        if !addresses.iter().all(listed) {
            return Err(NotPermitted::NotListen(described(host, None, port)));
        }
        let reserved = (1..FIRST_UNRESERVED_PORT).contains(&port);
        let named = self
            .permit_listen
            .iter()
            .any(|entry| entry.names_port(port));
        match reserved && !superuser && !named {
            true => Err(NotPermitted::ReservedPort(port)),
            false => Ok(addresses),
        }
    }

    /// Whether a Unix socket may be made at this path.
    pub fn may_listen_unix(&self, path: &Path) -> Result<(), NotPermitted> {
        match self
            .permit_listen
            .iter()
            .any(|entry| entry.matches_unix(path))
        {
            true => Ok(()),
            false => Err(NotPermitted::NotListen(shown(path))),
        }
    }

    /// As sshd's `channel_fwd_bind_addr`, but for names: they are nobody's to resolve here.
    fn addresses_for(&self, host: &str) -> Result<Vec<IpAddr>, NotPermitted> {
        let loopback = || vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        let all = || vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
        let asked: Option<IpAddr> = host.parse().ok();
        Ok(match (self.gateway_ports, asked, host) {
            (GatewayPorts::No, Some(address), _) if address.is_loopback() => vec![address],
            (GatewayPorts::No, _, _) => loopback(),
            (GatewayPorts::Yes, _, _) | (_, _, "" | "*") => all(),
            (_, Some(address), _) => vec![address],
            (_, None, "localhost") => loopback(),
            (_, None, _) => return Err(NotPermitted::NotAnAddress(printable(host, 64))),
        })
    }
}

/// The address as the kernel will take it: an IPv4-mapped address is that IPv4 address, and the
/// unspecified address connects to this machine. Judged as written, both would pass by the rules
/// for what they are.
fn as_connected(address: SocketAddr) -> SocketAddr {
    let port = address.port();
    match address.ip().to_canonical() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => (Ipv4Addr::LOCALHOST, port).into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => (Ipv6Addr::LOCALHOST, port).into(),
        IpAddr::V4(ip) => (ip, port).into(),
        // With its scope, which a link-local address needs.
        IpAddr::V6(_) => address,
    }
}

fn denied_by(entry: &EndpointPattern, what: String) -> NotPermitted {
    NotPermitted::Denied {
        what,
        entry: entry.to_string(),
    }
}

fn described(host: &str, address: Option<IpAddr>, port: u16) -> String {
    let shown = printable(host, 128);
    match address {
        Some(address) if address.to_string() != host => format!("{shown} ({address}) port {port}"),
        _ => format!("{shown} port {port}"),
    }
}

fn shown(path: &Path) -> String {
    printable(&path.to_string_lossy(), 128)
}
