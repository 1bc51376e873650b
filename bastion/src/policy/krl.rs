//! Bytes → [`RevokedKeys`]: OpenSSH's key revocation lists, as `ssh-keygen -k` makes them (PROTOCOL.krl).
//!
//! A list has sections, and one kind of section has sections of its own; nothing lies deeper, and nothing
//! here is recursive. A list that is not understood whole is refused whole: what could not be read may
//! be the very key that must not get in.

use super::public_key::{MalformedKey, PublicKey};
use super::refusal::printable;
use super::revoked_keys::{RevokedCertificates, RevokedKeys, SerialBitmap};
use super::wire::{Reader, WireError};

/// KRL_MAGIC, which every list begins with.
pub(super) const MAGIC: &[u8] = b"SSHKRL\n\0";
const FORMAT_VERSION: u32 = 1;

const CERTIFICATES: u8 = 1;
const EXPLICIT_KEY: u8 = 2;
const FINGERPRINT_SHA1: u8 = 3;
const SIGNATURE: u8 = 4;
const FINGERPRINT_SHA256: u8 = 5;
const EXTENSION: u8 = 255;

const CERT_SERIAL_LIST: u8 = 0x20;
const CERT_SERIAL_RANGE: u8 = 0x21;
const CERT_SERIAL_BITMAP: u8 = 0x22;
const CERT_KEY_ID: u8 = 0x23;
const CERT_EXTENSION: u8 = 0x39;

/// Why bytes are not a key revocation list that is understood. Where OpenSSH refuses a list, so do we.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MalformedKrl {
    /// The fields are not laid out as they should be.
    #[error("{0}")]
    Encoding(#[from] WireError),
    /// Another format.
    #[error("its format version is {0}, and only {FORMAT_VERSION} is known")]
    Version(u32),
    /// A section that is not known; what it revokes cannot be told.
    #[error("it has a section of the unknown type {0}")]
    UnknownSection(u8),
    /// An extension that may not be ignored.
    #[error("it has the critical extension \"{}\", which is not known", printable(.name, 64))]
    CriticalExtension {
        /// Its name.
        name: String,
    },
    /// OpenSSH does not support them either ("refuse to load KRLs that contain signatures").
    #[error("it has a signature, which is not supported; sign with ssh-keygen -Y sign instead")]
    Signature,
    /// The serial number 0, which stands for none, or a range that runs backwards.
    #[error("it revokes the serial numbers {0} to {1}, which is no range of numbers from 1 on")]
    SerialRange(u64, u64),
    /// A bitmap that is negative, longer than OpenSSH's, or runs past 2^64-1.
    #[error("its bitmap of serial numbers is negative, too long or runs past the last number")]
    SerialBitmap,
    /// C's strings end there, so that it means two things.
    #[error("its {0} has a NUL in it")]
    Nul(&'static str),
    /// A CA's key, or a revoked one, that is no plain key.
    #[error("one of its keys is not as it should be: {0}")]
    Key(#[source] MalformedKey),
    /// A hash of another length than its kind has.
    #[error("one of its fingerprints has {0} bytes")]
    FingerprintLength(usize),
}

/// Parses a whole list.
pub(super) fn parse(bytes: &[u8]) -> Result<RevokedKeys, MalformedKrl> {
    let mut reader = Reader::new(bytes.strip_prefix(MAGIC).unwrap_or_default());
    match reader.u32("format version")? {
        FORMAT_VERSION => {}
        other => return Err(MalformedKrl::Version(other)),
    }
    reader.u64("version")?;
    reader.u64("date")?;
    // "No flags are currently defined": OpenSSH looks at none.
    reader.u64("flags")?;
    reader.string("reserved field")?;
    c_string(&mut reader, "comment")?;
    let mut revoked = RevokedKeys::default();
    while !reader.is_empty() {
        let kind = reader.u8("section type")?;
        let section = Reader::new(reader.string("section")?);
        match kind {
            CERTIFICATES => revoked.certificates.extend(certificates(section)?),
            EXPLICIT_KEY => explicit_keys(section, &mut revoked)?,
            FINGERPRINT_SHA1 => fingerprints(section, |hash| revoked.sha1.insert(hash))?,
            FINGERPRINT_SHA256 => fingerprints(section, |hash| revoked.sha256.insert(hash))?,
            EXTENSION => extension(section)?,
            SIGNATURE => return Err(MalformedKrl::Signature),
            other => return Err(MalformedKrl::UnknownSection(other)),
        }
    }
    Ok(revoked)
}

/// A section of one CA's certificates, or of any CA's; none if the CA is one that nobody can be let in by.
fn certificates(mut reader: Reader<'_>) -> Result<Option<RevokedCertificates>, MalformedKrl> {
    let ca = reader.string("CA key")?;
    reader.string("reserved field")?;
    let (ca, can_matter) = match ca {
        [] => (None, true),
        key => {
            let key = supported_key(key)?;
            let can_matter = key.is_some();
            (key, can_matter)
        }
    };
    let mut revoked = RevokedCertificates::of(ca);
    while !reader.is_empty() {
        let kind = reader.u8("certificate section type")?;
        let section = Reader::new(reader.string("certificate section")?);
        match kind {
            CERT_SERIAL_LIST => serial_list(section, &mut revoked)?,
            CERT_SERIAL_RANGE => serial_range(section, &mut revoked)?,
            CERT_SERIAL_BITMAP => revoked.bitmaps.push(serial_bitmap(section)?),
            CERT_KEY_ID => key_ids(section, &mut revoked)?,
            CERT_EXTENSION => extension(section)?,
            other => return Err(MalformedKrl::UnknownSection(other)),
        }
    }
    Ok(can_matter.then_some(revoked))
}

fn serial_list(
    mut reader: Reader<'_>,
    revoked: &mut RevokedCertificates,
) -> Result<(), MalformedKrl> {
    while !reader.is_empty() {
        let serial = reader.u64("serial number")?;
        if serial == 0 {
            return Err(MalformedKrl::SerialRange(0, 0));
        }
        revoked.serials.push(serial..=serial);
    }
    Ok(())
}

fn serial_range(
    mut reader: Reader<'_>,
    revoked: &mut RevokedCertificates,
) -> Result<(), MalformedKrl> {
    let (first, last) = (reader.u64("first serial")?, reader.u64("last serial")?);
    reader.finish("range of serial numbers")?;
    if first == 0 || first > last {
        return Err(MalformedKrl::SerialRange(first, last));
    }
    revoked.serials.push(first..=last);
    Ok(())
}

fn serial_bitmap(mut reader: Reader<'_>) -> Result<SerialBitmap, MalformedKrl> {
    let offset = reader.u64("serial offset")?;
    let bits = reader.string("bitmap of serial numbers")?;
    reader.finish("bitmap of serial numbers")?;
    SerialBitmap::new(offset, bits).ok_or(MalformedKrl::SerialBitmap)
}

fn key_ids(mut reader: Reader<'_>, revoked: &mut RevokedCertificates) -> Result<(), MalformedKrl> {
    while !reader.is_empty() {
        revoked
            .key_ids
            .insert(c_string(&mut reader, "key id")?.to_vec());
    }
    Ok(())
}

fn explicit_keys(mut reader: Reader<'_>, revoked: &mut RevokedKeys) -> Result<(), MalformedKrl> {
    while !reader.is_empty() {
        let key = supported_key(reader.string("revoked key")?)?;
        revoked.keys.extend(key.map(Vec::from));
    }
    Ok(())
}

fn fingerprints<const N: usize>(
    mut reader: Reader<'_>,
    mut revoke: impl FnMut([u8; N]) -> bool,
) -> Result<(), MalformedKrl> {
    while !reader.is_empty() {
        let hash = reader.string("fingerprint")?;
        let length = MalformedKrl::FingerprintLength(hash.len());
        // Revoked twice is revoked.
        revoke(hash.try_into().map_err(|_| length)?);
    }
    Ok(())
}

/// None is known, so that a critical one refuses the list, and any other is passed over.
fn extension(mut reader: Reader<'_>) -> Result<(), MalformedKrl> {
    let name = c_string(&mut reader, "extension name")?;
    let critical = reader.u8("critical flag")? != 0;
    reader.string("extension")?;
    reader.finish("extension")?;
    if critical {
        let name = String::from_utf8_lossy(name).into_owned();
        return Err(MalformedKrl::CriticalExtension { name });
    }
    Ok(())
}

/// A plain key; none if it is of a kind that no certificate here can have, or be signed by.
///
/// An encoding that is not the canonical one is refused, because it would compare equal to nothing.
fn supported_key(bytes: &[u8]) -> Result<Option<PublicKey>, MalformedKrl> {
    match PublicKey::from_bytes(bytes) {
        Ok(key) => Ok(Some(key)),
        Err(problem) if problem.is_of_unsupported_key() => Ok(None),
        Err(problem) => Err(MalformedKrl::Key(problem)),
    }
}

/// As OpenSSH reads one: a NUL may be its last byte, and nowhere else.
fn c_string<'a>(reader: &mut Reader<'a>, what: &'static str) -> Result<&'a [u8], MalformedKrl> {
    let bytes = reader.string(what)?;
    let text = bytes.strip_suffix(b"\0").unwrap_or(bytes);
    match text.contains(&0) {
        true => Err(MalformedKrl::Nul(what)),
        false => Ok(text),
    }
}
