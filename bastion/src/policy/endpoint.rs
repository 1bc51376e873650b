//! One entry of `permit_open`, `deny_open` or `permit_listen`.

use std::fmt;
use std::net::IpAddr;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::refusal::printable;
use super::source_address::Network;
use super::wildcard;

/// Which endpoints an entry means. Written as in sshd_config(5)'s PermitOpen, and beyond it:
///
/// | entry | means |
/// | --- | --- |
/// | `any` | everything |
/// | `none` | nothing |
/// | `host:port` | a name, as it was asked for; `*` and `?` are wildcards |
/// | `localhost:port` | the loopback addresses, however they were asked for |
/// | `10.0.0.1:port`, `10.0.0.0/8:port`, `[fd00::1]:port`, `[fd00::/8]:port` | addresses, as a name resolved |
/// | `host:*`, `*:port`, `port` | any port, any host |
/// | `/run/*.sock`, `*/docker.sock` | paths of Unix sockets; `*` takes in slashes, too |
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EndpointPattern {
    text: String,
    what: What,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum What {
    Any,
    None,
    Tcp { host: Host, port: Option<u16> },
    Unix,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Host {
    Any,
    Loopback,
    Name(String),
    Network(Network),
}

impl EndpointPattern {
    /// Whether it means this TCP endpoint, asked for by `name` (see [`canonical_name`]); `address`
    /// is known once the name is resolved.
    pub(super) fn matches_tcp(&self, name: &str, address: Option<IpAddr>, port: u16) -> bool {
        match &self.what {
            What::Any => true,
            What::Tcp {
                port: Some(only), ..
            } if *only != port => false,
            What::Tcp { host, .. } => match host {
                Host::Any => true,
                Host::Loopback => address.is_some_and(|address| address.is_loopback()),
                Host::Name(pattern) => wildcard::matches(pattern, name),
                Host::Network(network) => address.is_some_and(|address| network.contains(address)),
            },
            What::None | What::Unix => false,
        }
    }

    /// Whether it means the Unix socket at this path.
    pub(super) fn matches_unix(&self, path: &Path) -> bool {
        match self.what {
            What::Any => true,
            // A path that is not UTF-8 is compared by what can be read of it.
            What::Unix => wildcard::matches(&self.text, &path.to_string_lossy()),
            What::None | What::Tcp { .. } => false,
        }
    }

    /// Whether it names this port, rather than leaving the port open.
    pub(super) fn names_port(&self, asked: u16) -> bool {
        matches!(self.what, What::Tcp { port: Some(port), .. } if port == asked)
    }
}

/// A host's name as it is compared: in lower case, without the final dot of an absolute name.
pub(super) fn canonical_name(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

impl TryFrom<String> for EndpointPattern {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let what =
            parse(&text).map_err(|problem| format!("\"{}\": {problem}", printable(&text, 128)))?;
        Ok(Self { text, what })
    }
}

impl From<EndpointPattern> for String {
    fn from(pattern: EndpointPattern) -> Self {
        pattern.text
    }
}

impl fmt::Display for EndpointPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn parse(text: &str) -> Result<What, String> {
    match text {
        "any" => return Ok(What::Any),
        "none" => return Ok(What::None),
        _ if text.starts_with('/') || text.starts_with("*/") => return Ok(What::Unix),
        _ => {}
    }
    if let Some(port) = parse_port(text) {
        return Ok(What::Tcp {
            host: Host::Any,
            port: Some(port),
        });
    }
    let (host, port) = text.rsplit_once(':').ok_or(
        "write host:port, such as \"localhost:18789\" or \"*:443\", a path of a Unix socket, \"any\" or \"none\"",
    )?;
    let port = match port {
        "*" => None,
        digits => Some(
            parse_port(digits).ok_or("its port is neither a number from 1 to 65535 nor \"*\"")?,
        ),
    };
    Ok(What::Tcp {
        host: parse_host(host)?,
        port,
    })
}

fn parse_host(host: &str) -> Result<Host, String> {
    if let Some(bracketed) = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
    {
        return Network::parse(bracketed).map(Host::Network);
    }
    let of_a_name =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'*' | b'?');
    match canonical_name(host).as_str() {
        "*" => Ok(Host::Any),
        "localhost" => Ok(Host::Loopback),
        "" => Err("it has no host; write \"*\" for any".into()),
        name if name.contains(':') => {
            Err("write an IPv6 address in brackets, as in \"[::1]:80\"".into())
        }
        name if name.contains('/') || name.parse::<IpAddr>().is_ok() => {
            Network::parse(name).map(Host::Network)
        }
        name if !name.bytes().all(of_a_name) => {
            Err("its host is neither a name nor an address".into())
        }
        // It would be compared with names, and let through or held up by no address at all.
        name if !name.bytes().any(|byte| byte.is_ascii_alphabetic()) => {
            Err("write a network as address/length, as in \"10.0.0.0/8:443\"".into())
        }
        name => Ok(Host::Name(name.to_owned())),
    }
}

/// Rust's integer parser would accept a sign.
fn parse_port(digits: &str) -> Option<u16> {
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|&port| plain && port != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> EndpointPattern {
        EndpointPattern::try_from(text.to_owned()).unwrap()
    }

    #[test]
    fn tcp_endpoints() {
        for (entry, name, address, port, expected) in [
            ("any", "x", "192.0.2.1", 1, true),
            ("none", "x", "192.0.2.1", 1, false),
            ("*:*", "x", "192.0.2.1", 1, true),
            ("443", "x", "192.0.2.1", 443, true),
            ("443", "x", "192.0.2.1", 80, false),
            ("*:443", "x", "192.0.2.1", 443, true),
            ("localhost:18789", "localhost", "127.0.0.1", 18789, true),
            ("localhost:18789", "127.0.0.1", "127.0.0.1", 18789, true),
            ("localhost:18789", "x", "::1", 18789, true),
            ("localhost:18789", "localhost", "192.0.2.1", 18789, false),
            ("localhost:18789", "localhost", "127.0.0.1", 18790, false),
            ("LOCALHOST.:*", "x", "127.9.9.9", 1, true),
            ("Example.org:443", "example.org", "192.0.2.1", 443, true),
            ("*.example.org:443", "a.example.org", "192.0.2.1", 443, true),
            ("*.example.org:443", "example.org", "192.0.2.1", 443, false),
            ("10.0.0.0/8:22", "x", "10.1.2.3", 22, true),
            ("10.0.0.0/8:22", "10.1.2.3", "192.0.2.1", 22, false),
            ("10.0.0.1:*", "x", "10.0.0.1", 22, true),
            ("[fd00::/8]:*", "x", "fd12::1", 22, true),
            ("[fd00::1]:22", "x", "fd00::2", 22, false),
            ("/run/x.sock", "/run/x.sock", "127.0.0.1", 22, false),
        ] {
            let address = Some(address.parse().unwrap());
            assert_eq!(
                pattern(entry).matches_tcp(name, address, port),
                expected,
                "{entry} {name} {address:?}"
            );
        }
        assert!(
            !pattern("10.0.0.0/8:*").matches_tcp("x", None, 1),
            "an address is not known yet"
        );
    }

    #[test]
    fn unix_endpoints() {
        for (entry, path, expected) in [
            ("any", "/run/x", true),
            ("none", "/run/x", false),
            ("/run/x.sock", "/run/x.sock", true),
            ("/run/x.sock", "/run/x.sock2", false),
            ("*/docker.sock", "/var/run/docker.sock", true),
            ("*/docker.sock", "/run/user/1000/docker.sock", true),
            ("/tmp/*", "/tmp/a/b", true),
            ("*:*", "/run/x", false),
        ] {
            assert_eq!(
                pattern(entry).matches_unix(Path::new(path)),
                expected,
                "{entry} {path}"
            );
        }
    }

    #[test]
    fn entries_that_mean_nothing_are_refused() {
        for entry in [
            "",
            "localhost",
            "localhost:",
            "localhost:0",
            "localhost:65536",
            "localhost:+80",
            "localhost:http",
            ":80",
            "::1:80",
            "[::1:80",
            "[localhost]:80",
            "10.0.0.1/8:80",
            "10.0.0.0/33:80",
            "10.*:80",
            "10.0.0:80",
            "a b:80",
            "0",
            "65536",
            "example.org/24:80",
            "Any",
            "run/x.sock",
            "[fe80::1%eth0]:80",
        ] {
            let refused = EndpointPattern::try_from(entry.to_owned());
            assert!(
                refused.as_ref().is_err_and(|error| error.starts_with('"')),
                "{entry}: {refused:?}"
            );
        }
    }

    #[test]
    fn an_entry_survives_as_it_was_written() {
        for entry in ["any", "LocalHost:80", "[fd00::/8]:*", "*/docker.sock"] {
            assert_eq!(String::from(pattern(entry)), entry);
        }
    }
}
