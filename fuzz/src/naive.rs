//! The rules of certificates once more, as plainly as they can be written, and with nothing in
//! common with `policy`: what it lets in must hold here.

use std::net::IpAddr;

use signature::Verifier;
use ssh_key::{PublicKey, Signature};

/// Fields off the front of bytes; `None` when there is not enough.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(head)
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    fn u64(&mut self) -> Option<u64> {
        Some(u64::from_be_bytes(self.take(8)?.try_into().ok()?))
    }

    fn string(&mut self) -> Option<&'a [u8]> {
        let length = self.u32()?;
        self.take(length as usize)
    }

    /// Pairs of strings, to the end.
    fn pairs(mut self) -> Option<Vec<(&'a [u8], &'a [u8])>> {
        let mut pairs = Vec::new();
        while !self.0.is_empty() {
            pairs.push((self.string()?, self.string()?));
        }
        Some(pairs)
    }
}

/// What a login asks for.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    pub login_name: &'a str,
    pub source: IpAddr,
    pub now: u64,
    /// "user present" and "user verified" of a security key.
    pub flags: Option<(bool, bool)>,
}

/// What a certificate grants, if it grants anything.
#[derive(Debug, PartialEq, Eq)]
pub struct Grant {
    pub pty: bool,
    pub port_forwarding: bool,
    pub agent_forwarding: bool,
    pub force_command: Option<Vec<u8>>,
}

/// Who may log in under these names, by a certificate of this authority.
pub fn decide(
    blob: &[u8],
    request: &Request<'_>,
    ca: &PublicKey,
    logins: &[&str],
) -> Option<Grant> {
    let mut fields = Fields(blob);
    let key_type = fields.string()?.strip_suffix(b"-cert-v01@openssh.com")?;
    fields.string()?;
    let (strings, security_key) = match key_type {
        b"ssh-ed25519" => (1, false),
        b"sk-ssh-ed25519" => (2, true),
        b"ssh-rsa" | b"ecdsa-sha2-nistp256" | b"ecdsa-sha2-nistp384" | b"ecdsa-sha2-nistp521" => {
            (2, false)
        }
        b"sk-ecdsa-sha2-nistp256" => (3, true),
        _ => return None,
    };
    for _ in 0..strings {
        fields.string()?;
    }
    fields.u64()?;
    let is_user = fields.u32()? == 1;
    fields.string()?;
    let mut principals = Fields(fields.string()?);
    let mut listed = false;
    while !principals.0.is_empty() {
        listed |= principals.string()? == request.login_name.as_bytes();
    }
    let (after, before) = (fields.u64()?, fields.u64()?);
    let critical = Fields(fields.string()?).pairs()?;
    let extensions = Fields(fields.string()?).pairs()?;
    fields.string()?;
    let authority = fields.string()?;
    let signed = blob.get(..blob.len() - fields.0.len())?;
    let signature = fields.string()?;
    let good = fields.0.is_empty()
        && is_user
        && listed
        && !request.login_name.is_empty()
        && logins.contains(&request.login_name)
        && after <= request.now
        && request.now < before
        && authority == ca.to_bytes().ok()?
        && is_signed_by(ca, signed, signature);
    let mut force_command = None;
    let (present, verified) = request.flags.unwrap_or_default();
    for (name, data) in critical {
        match name {
            b"force-command" => force_command = Some(Fields(data).string()?.to_vec()),
            b"source-address" => {
                let list = std::str::from_utf8(Fields(data).string()?).ok()?;
                if !list.split(',').any(|range| contains(range, request.source)) {
                    return None;
                }
            }
            b"verify-required" if security_key && verified => {}
            _ => return None,
        }
    }
    let has = |wanted: &[u8]| extensions.iter().any(|(name, _)| *name == wanted);
    let touched = !security_key || present || has(b"no-touch-required");
    (good && touched).then(|| Grant {
        pty: has(b"permit-pty"),
        port_forwarding: has(b"permit-port-forwarding"),
        agent_forwarding: has(b"permit-agent-forwarding"),
        force_command,
    })
}

fn is_signed_by(ca: &PublicKey, signed: &[u8], signature: &[u8]) -> bool {
    let signature = Signature::try_from(signature);
    signature.is_ok_and(|signature| ca.key_data().verify(signed, &signature).is_ok())
}

fn contains(range: &str, source: IpAddr) -> bool {
    let (network, length) = match range.split_once('/') {
        Some((network, length)) => (network, length.parse().ok()),
        None => (range, Some(u32::MAX)),
    };
    let (Ok(network), Some(length)) = (network.parse::<IpAddr>(), length) else {
        return false;
    };
    // Bit by bit.
    let bits = |address: IpAddr| -> Vec<bool> {
        let bytes = match address.to_canonical() {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        let bit = |byte: u8| (0..8).rev().map(move |shift| byte >> shift & 1 == 1);
        bytes.into_iter().flat_map(bit).collect()
    };
    // A prefix of an IPv4 address within IPv6 counts from the front of the 128 bits.
    let mapped = matches!(network, IpAddr::V6(address) if address.to_ipv4_mapped().is_some());
    let length = match mapped && length != u32::MAX {
        true => length.saturating_sub(96),
        false => length,
    };
    let (network, source) = (bits(network), bits(source));
    let length = (length as usize).min(network.len());
    network.len() == source.len() && network.get(..length) == source.get(..length)
}
