//! The list of networks in the critical option source-address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A list of networks, as OpenSSH's `addr_match_cidr_list` reads it: addresses or address/length,
/// separated by commas, with nothing in between and no bits set beyond the length.
///
/// One bad entry spoils the list, even behind one that matches: whoever wrote it meant something else
/// than what we would be doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SourceAddresses {
    text: String,
    networks: Vec<Network>,
}

impl SourceAddresses {
    /// An empty list is an error: read as "from anywhere" it would lift the limit (Go b9229ec).
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let networks = text
            .split(',')
            .map(Network::parse)
            .collect::<Result<_, _>>()?;
        Ok(Self {
            text: text.to_owned(),
            networks,
        })
    }

    /// A source that is an IPv4-mapped IPv6 address (`::ffff:10.0.0.1`, from a dual-stack socket) counts as
    /// the IPv4 address. Other than that, IPv4 networks hold IPv4 addresses only and IPv6 IPv6.
    pub(super) fn contains(&self, source: IpAddr) -> bool {
        let source = source.to_canonical();
        self.networks.iter().any(|network| network.contains(source))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.text
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Network {
    V4(Ipv4Addr, u32),
    V6(Ipv6Addr, u32),
}

impl Network {
    pub(super) fn parse(entry: &str) -> Result<Self, String> {
        let problem = |what| {
            let entry = super::refusal::printable(entry, 64);
            Err(format!("its entry \"{entry}\" {what}"))
        };
        let (address, length) = match entry.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (entry, None),
        };
        let Ok(address) = address.parse() else {
            return problem("is neither an IP address nor address/length");
        };
        let longest = match address {
            IpAddr::V4(_) => Ipv4Addr::BITS,
            IpAddr::V6(_) => Ipv6Addr::BITS,
        };
        let Some(length) = length.map_or(Some(longest), parse_length) else {
            return problem("has a length that is not a number");
        };
        if length > longest {
            return problem("has a length beyond that of the address");
        }
        let network = match address {
            IpAddr::V4(address) => Network::V4(address, length),
            IpAddr::V6(address) => Network::V6(address, length),
        };
        if network.has_host_bits() {
            return problem("has bits set beyond its length");
        }
        Ok(network)
    }

    /// A shift by the whole width, where there is nothing to compare, is `None`.
    fn has_host_bits(self) -> bool {
        match self {
            Network::V4(address, length) => address.to_bits().checked_shl(length).unwrap_or(0) != 0,
            Network::V6(address, length) => address.to_bits().checked_shl(length).unwrap_or(0) != 0,
        }
    }

    pub(super) fn contains(self, source: IpAddr) -> bool {
        match (self, source) {
            (Network::V4(network, length), IpAddr::V4(source)) => {
                let differing = network.to_bits() ^ source.to_bits();
                differing.checked_shr(Ipv4Addr::BITS - length).unwrap_or(0) == 0
            }
            (Network::V6(network, length), IpAddr::V6(source)) => {
                let differing = network.to_bits() ^ source.to_bits();
                differing.checked_shr(Ipv6Addr::BITS - length).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

/// Rust's integer parser would accept a sign.
fn parse_length(digits: &str) -> Option<u32> {
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(list: &str, source: &str) -> &'static str {
        match SourceAddresses::parse(list) {
            Err(_) => "invalid",
            Ok(list) if list.contains(source.parse().unwrap()) => "yes",
            Ok(_) => "no",
        }
    }

    /// A network as the bits that its addresses start with.
    fn bits(address: IpAddr) -> String {
        match address {
            IpAddr::V4(address) => format!("4:{:032b}", address.to_bits()),
            IpAddr::V6(address) => format!("6:{:0128b}", address.to_bits()),
        }
    }

    proptest::proptest! {
        #[test]
        fn a_network_is_a_prefix(
            network: IpAddr, source: IpAddr, length in 0..129_u32, masked: bool, flipped in 0..256_u32,
        ) {
            // Most networks have no host bits, and half of the sources differ from them in one bit.
            let (network, near) = match network {
                IpAddr::V4(network) => {
                    let host_bits = u32::MAX.checked_shr(length).filter(|_| masked).unwrap_or(0);
                    let network = network.to_bits() & !host_bits;
                    (Ipv4Addr::from_bits(network).into(),
                        Ipv4Addr::from_bits(network ^ 1_u32.wrapping_shl(flipped)).into())
                }
                IpAddr::V6(network) => {
                    let host_bits = u128::MAX.checked_shr(length).filter(|_| masked).unwrap_or(0);
                    let network = network.to_bits() & !host_bits;
                    (IpAddr::from(Ipv6Addr::from_bits(network)),
                        IpAddr::from(Ipv6Addr::from_bits(network ^ 1_u128.wrapping_shl(flipped))))
                }
            };
            let source = if flipped < 128 { near } else { source };
            let (bits_of_network, family) = (bits(network), "4:".len());
            let width = bits_of_network.len() - family;
            let (prefix, rest) = bits_of_network.split_at(family + width.min(length as usize));
            let expected = if length as usize > width || rest.contains('1') {
                "invalid"
            } else if bits(source.to_canonical()).starts_with(prefix) {
                "yes"
            } else {
                "no"
            };
            let list = format!("{network}/{length}");
            proptest::prop_assert_eq!(verdict(&list, &source.to_string()), expected);
        }
    }

    #[test]
    fn lists() {
        for (list, source, expected) in [
            ("10.0.0.1", "10.0.0.1", "yes"),
            ("10.0.0.1", "10.0.0.2", "no"),
            ("10.0.0.1/32", "10.0.0.1", "yes"),
            ("10.0.0.0/8", "10.255.255.255", "yes"),
            ("10.0.0.0/8", "11.0.0.0", "no"),
            ("10.0.0.0/31", "10.0.0.1", "yes"),
            ("10.0.0.0/31", "10.0.0.2", "no"),
            ("0.0.0.0/0", "255.255.255.255", "yes"),
            ("0.0.0.0/0", "::1", "no"),
            ("::/0", "2001:db8::1", "yes"),
            ("::/0", "10.0.0.1", "no"),
            ("::/0", "::ffff:10.0.0.1", "no"),
            ("2001:db8::/32", "2001:db8:ffff::1", "yes"),
            ("2001:db8::/32", "2001:db9::1", "no"),
            ("2001:db8::1/128", "2001:db8::1", "yes"),
            ("2001:db8::1/128", "2001:db8::2", "no"),
            ("2001:DB8::1", "2001:db8::1", "yes"),
            ("10.0.0.1", "::ffff:10.0.0.1", "yes"),
            ("10.0.0.1", "::ffff:10.0.0.2", "no"),
            // As in OpenSSH: the peer's address is normalised, the list is not.
            ("::ffff:10.0.0.1", "10.0.0.1", "no"),
            ("::ffff:10.0.0.1", "::ffff:10.0.0.1", "no"),
            ("192.0.2.1,10.0.0.0/8,2001:db8::/32", "10.1.2.3", "yes"),
            ("192.0.2.1,10.0.0.0/8,2001:db8::/32", "2001:db8::5", "yes"),
            ("192.0.2.1,10.0.0.0/8,2001:db8::/32", "192.0.2.2", "no"),
            ("", "10.0.0.1", "invalid"),
            (",", "10.0.0.1", "invalid"),
            ("10.0.0.1,", "10.0.0.1", "invalid"),
            (",10.0.0.1", "10.0.0.1", "invalid"),
            ("10.0.0.1,,10.0.0.2", "10.0.0.1", "invalid"),
            ("10.0.0.1, 10.0.0.2", "10.0.0.1", "invalid"),
            (" 10.0.0.1", "10.0.0.1", "invalid"),
            ("10.0.0.1\n", "10.0.0.1", "invalid"),
            ("10.0.0.1\0", "10.0.0.1", "invalid"),
            ("10.0.0.1/8", "10.0.0.1", "invalid"),
            ("10.0.0.0/33", "10.0.0.0", "invalid"),
            ("10.0.0.0/", "10.0.0.0", "invalid"),
            ("10.0.0.0/+8", "10.0.0.0", "invalid"),
            ("10.0.0.0/-8", "10.0.0.0", "invalid"),
            ("10.0.0.0/8/8", "10.0.0.0", "invalid"),
            ("10.0.0.0/99999999999", "10.0.0.0", "invalid"),
            ("10.0.0.0/255.0.0.0", "10.0.0.0", "invalid"),
            ("10.0.0", "10.0.0.0", "invalid"),
            ("010.0.0.1", "10.0.0.1", "invalid"),
            ("10.*", "10.0.0.1", "invalid"),
            ("*", "10.0.0.1", "invalid"),
            ("!10.0.0.1", "10.0.0.1", "invalid"),
            ("localhost", "127.0.0.1", "invalid"),
            ("2001:db8::1/32", "2001:db8::1", "invalid"),
            ("2001:db8::/129", "2001:db8::", "invalid"),
            ("fe80::1%eth0", "fe80::1", "invalid"),
            ("[::1]", "::1", "invalid"),
            ("10.0.0.1,nonsense", "10.0.0.1", "invalid"),
        ] {
            assert_eq!(verdict(list, source), expected, "{list:?} from {source}");
        }
    }
}
