//! Critical options and extensions on the command line of `bastion-keygen issue`.

use keys::certificate::CertificateOption;
use keys::pomerium::EXTENSIONS;
use std::net::IpAddr;

/// `force-command=…`, `source-address=…`, `verify-required`, or a vendor's `name@domain[=…]`.
pub(crate) fn critical_option(text: &str) -> Result<CertificateOption, String> {
    match text.split_once('=') {
        Some(("force-command", "")) => Err("it names no command".to_owned()),
        Some((name @ "force-command", command)) => with_value(name, command),
        Some((name @ "source-address", list)) => {
            address_list(list)?;
            with_value(name, list)
        }
        None if text == "verify-required" => Ok(CertificateOption::flag(text)),
        _ => vendor(text).ok_or_else(|| {
            "it is none of force-command=COMMAND, source-address=ADDRESSES, verify-required or \
             NAME@DOMAIN[=VALUE]"
                .to_owned()
        }),
    }
}

/// `permit-pty` and its like, or a vendor's `name@domain[=…]`.
pub(crate) fn extension(text: &str) -> Result<CertificateOption, String> {
    if EXTENSIONS.contains(&text) || text == "no-touch-required" {
        return Ok(CertificateOption::flag(text));
    }
    vendor(text).ok_or_else(|| {
        let known = EXTENSIONS.join(", ");
        format!("it is none of {known}, no-touch-required or NAME@DOMAIN[=VALUE]")
    })
}

/// Sorts by name, as the format demands, and refuses a name that comes twice (draft-ietf-sshm-cert,
/// "critical options").
pub(crate) fn sorted(
    mut options: Vec<CertificateOption>,
) -> Result<Vec<CertificateOption>, RepeatedOption> {
    options.sort_by(|a, b| a.name.cmp(&b.name));
    let repeated = options.windows(2).find_map(|neighbours| match neighbours {
        [a, b] if a.name == b.name => Some(RepeatedOption(a.name.clone())),
        _ => None,
    });
    match repeated {
        Some(repeated) => Err(repeated),
        None => Ok(options),
    }
}

/// A certificate can say a thing only once.
#[derive(Debug, thiserror::Error)]
#[error("{0} is given more than once, and a certificate can say it only once")]
pub(crate) struct RepeatedOption(String);

fn vendor(text: &str) -> Option<CertificateOption> {
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (text, None),
    };
    let (own, domain) = name.split_once('@')?;
    if own.is_empty() || domain.is_empty() {
        return None;
    }
    match value {
        Some(value) => with_value(name, value).ok(),
        None => Some(CertificateOption::flag(name)),
    }
}

fn with_value(name: &str, value: &str) -> Result<CertificateOption, String> {
    CertificateOption::with_value(name, value).map_err(|error| error.to_string())
}

/// Addresses or CIDR ranges with commas between them. sshd refuses the whole certificate over a
/// range whose host bits are not zero (`addr_pton_cidr`), so that it is refused here.
fn address_list(list: &str) -> Result<(), String> {
    for entry in list.split(',') {
        let (address, length) = match entry.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (entry, None),
        };
        let address: IpAddr = address
            .parse()
            .map_err(|_| format!("{entry:?} is neither an address nor a range"))?;
        let Some(length) = length else { continue };
        let (bits, width) = match address {
            IpAddr::V4(address) => (u128::from(address.to_bits()) << 96, 32),
            IpAddr::V6(address) => (address.to_bits(), 128),
        };
        let length = length.parse::<u32>().ok().filter(|length| *length <= width);
        let length = length.ok_or_else(|| format!("{entry:?} has no length from 0 to {width}"))?;
        if bits.checked_shl(length).unwrap_or(0) != 0 {
            return Err(format!("{entry:?} has bits set behind its first {length}"));
        }
    }
    Ok(())
}
