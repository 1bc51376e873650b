//! The version exchange (RFC 4253 section 4.2), with Pomerium's rules about it.

use super::Role;
use crate::strict::Violation;

/// Lines and version together (pomerium/envoy-custom version_exchange.h).
const MAX_EXCHANGE: usize = 16 * 1024;
const MAX_VERSION_LINE: usize = 255;
/// OpenSSH's limits, which pomerium/envoy-custom version_exchange.cc took over.
const MAX_BANNER_LINES: usize = 1024;
const MAX_BANNER_LINE: usize = 8192;

/// The peer's identification string (without line end) and how many bytes it and the lines before
/// it took, or `None` while the bytes so far may still become one. `rules` are Pomerium's.
pub(super) fn find(
    bytes: &[u8],
    role: Role,
    rules: bool,
) -> Result<Option<(String, usize)>, Violation> {
    if bytes.len() > MAX_EXCHANGE && !bytes.starts_with(b"SSH-") {
        return Err(Violation::NoVersion);
    }
    if bytes.len() < 4 {
        return Ok(None);
    }
    let start = if bytes.starts_with(b"SSH-") {
        0
    } else if role == Role::Server {
        // Only a server may send lines before its version.
        return Err(Violation::VersionString);
    } else {
        match bytes.windows(5).position(|window| window == b"\nSSH-") {
            Some(newline) => newline + 1,
            None => return Ok(None),
        }
    };
    let (banner, rest) = bytes.split_at_checked(start).unwrap_or((bytes, &[]));
    check_banner(banner)?;
    let head = rest
        .get(..rest.len().min(MAX_VERSION_LINE))
        .unwrap_or_default();
    let Some(end) = head.iter().position(|byte| *byte == b'\n') else {
        let too_long = rest.len() >= MAX_VERSION_LINE;
        return if too_long {
            Err(Violation::VersionLength)
        } else {
            Ok(None)
        };
    };
    let line = head.get(..end).unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if rules {
        check_version(line)?;
    }
    let version = String::from_utf8(line.to_vec()).map_err(|_| Violation::VersionCharacters)?;
    Ok(Some((version, start + end + 1)))
}

fn check_banner(banner: &[u8]) -> Result<(), Violation> {
    for (count, line) in banner.split(|byte| *byte == b'\n').enumerate() {
        let text = line.strip_suffix(b"\r").unwrap_or(line);
        let invalid = text.iter().any(|byte| matches!(byte, b'\0' | b'\r'));
        if count >= MAX_BANNER_LINES || line.len() > MAX_BANNER_LINE || invalid {
            return Err(Violation::VersionBanner);
        }
    }
    Ok(())
}

fn check_version(line: &[u8]) -> Result<(), Violation> {
    let Some(rest) = line.strip_prefix(b"SSH-2.0-") else {
        return Err(Violation::ProtocolVersion);
    };
    let software = rest.split(|byte| *byte == b' ').next().unwrap_or_default();
    if software.is_empty() {
        return Err(Violation::VersionString);
    }
    let printable = rest.iter().all(|byte| (b' '..=b'~').contains(byte));
    // `-` ends softwareversion; pomerium/envoy-custom allows it in the comments only.
    if !printable || software.contains(&b'-') {
        return Err(Violation::VersionCharacters);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_pomerium_makes_of_a_servers_version() {
        let long = format!("SSH-2.0-{}\r\n", "a".repeat(245));
        let rows = [
            (
                "SSH-2.0-bastion_1.0\r\n",
                Ok(Some(("SSH-2.0-bastion_1.0", 21))),
            ),
            ("SSH-2.0-x\n", Ok(Some(("SSH-2.0-x", 10)))),
            ("SSH-2.0-x a-b\r\n", Ok(Some(("SSH-2.0-x a-b", 15)))),
            ("hello\r\nSSH-2.0-x\r\n", Ok(Some(("SSH-2.0-x", 18)))),
            ("SS", Ok(None)),
            ("SSH-2.0-x\r", Ok(None)),
            ("hello\r\nSSH", Ok(None)),
            ("SSH-1.99-x\r\n", Err(Violation::ProtocolVersion)),
            ("SSH-2.0-\r\n", Err(Violation::VersionString)),
            ("SSH-2.0- comment\r\n", Err(Violation::VersionString)),
            (
                "SSH-2.0-openclaw-bastion\r\n",
                Err(Violation::VersionCharacters),
            ),
            ("SSH-2.0-x\u{1b}\r\n", Err(Violation::VersionCharacters)),
            ("a\rb\r\nSSH-2.0-x\r\n", Err(Violation::VersionBanner)),
            (long.as_str(), Ok(Some((long.trim_end(), 255)))),
        ];
        for (line, expected) in rows {
            let expected =
                expected.map(|found| found.map(|(text, n): (&str, _)| (text.to_owned(), n)));
            assert_eq!(
                find(line.as_bytes(), Role::Client, true),
                expected,
                "{line:?}"
            );
        }
    }

    #[test]
    fn the_line_ends_within_255_bytes() {
        let line = format!("SSH-2.0-{}\r\n", "a".repeat(246));
        let found = find(line.as_bytes(), Role::Client, true);
        assert_eq!(found, Err(Violation::VersionLength));
    }

    #[test]
    fn a_client_sends_nothing_before_its_version() {
        let found = find(b"hello\r\nSSH-2.0-x\r\n", Role::Server, true);
        assert_eq!(found, Err(Violation::VersionString));
    }
}
