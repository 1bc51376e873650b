//! OpenSSH's text forms of keys, read and written: pure, no files.
//!
//! ssh-key's decoders follow a certificate whose signature key is a certificate, and so on,
//! until the stack overflows. So nothing reaches them here before it is known to be a plain key:
//! see `plain_key`.

use ssh_key::encoding::base64::{Base64, Encoding};
use ssh_key::encoding::{self, Decode, Encode, Reader};
use ssh_key::public::KeyData;
use ssh_key::{Algorithm, LineEnding, PrivateKey, PublicKey};
use zeroize::Zeroizing;

const BEGIN: &str = "-----BEGIN ";
const OPENSSH_PRIVATE_KEY: &str = "OPENSSH PRIVATE KEY";

/// Why a text is not the key that it should be. Each reads as the end of a sentence that begins
/// with the file's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The private key has a passphrase.
    #[error("is protected by a passphrase, which neither Pomerium nor bastion can enter")]
    Encrypted,
    /// PEM, but not OpenSSH's: the older PKCS#1 and PKCS#8 forms, or no key at all.
    #[error("holds {0:?} in PEM, and not an {OPENSSH_PRIVATE_KEY:?}")]
    OtherPem(String),
    /// A certificate stands where a key is expected.
    #[error("holds a certificate, and not a key")]
    IsCertificate,
    /// A public key stands where the private key is expected.
    #[error("holds a public key, and not a private one")]
    IsPublic,
    /// A private key stands where the public key is expected.
    #[error("holds a private key, and not a public one")]
    IsPrivate,
    /// Nothing that this crate knows.
    #[error("holds nothing that looks like an OpenSSH key")]
    NotAKey,
    /// A key of an algorithm that this crate does not know.
    #[error("holds a key of the algorithm {0:?}, which is not supported")]
    Unsupported(String),
    /// It begins like a key and then goes wrong.
    #[error("holds a damaged key ({0})")]
    Damaged(#[from] ssh_key::Error),
}

impl From<encoding::Error> for KeyError {
    fn from(error: encoding::Error) -> Self {
        Self::Damaged(error.into())
    }
}

/// Reads an OpenSSH private key that has no passphrase.
pub fn private_key(text: &str) -> Result<PrivateKey, KeyError> {
    match locked_private_key(text)? {
        key if key.is_encrypted() => Err(KeyError::Encrypted),
        key => Ok(key),
    }
}

/// Reads an OpenSSH private key; where it has a passphrase, only its public half is readable.
pub fn locked_private_key(text: &str) -> Result<PrivateKey, KeyError> {
    let Some((label, body)) = pem(text) else {
        return Err(match text.lines().next().map(public_key) {
            Some(Ok(_)) => KeyError::IsPublic,
            Some(Err(KeyError::IsCertificate)) => KeyError::IsCertificate,
            _ => KeyError::NotAKey,
        });
    };
    if label != OPENSSH_PRIVATE_KEY {
        return Err(KeyError::OtherPem(label.to_owned()));
    }
    let bytes = Zeroizing::new(base64(&body)?);
    let (header, section) = split_at_private_section(&bytes)?;
    let Some(section) = with_full_scalar(section) else {
        return Ok(PrivateKey::from_bytes(&bytes)?);
    };
    let mut bytes = Zeroizing::new(header.to_owned());
    section.encode(&mut *bytes)?;
    Ok(PrivateKey::from_bytes(&bytes)?)
}

/// Reads one line `algorithm base64 comment`, the form of `.pub` files and of
/// `TrustedUserCAKeys`. The comment may be absent, or contain spaces.
pub fn public_key(line: &str) -> Result<PublicKey, KeyError> {
    let (algorithm, blob, comment) = fields(line)?;
    let key = plain_key(&blob)?;
    // The name stands twice, in the text and in the blob: RFC 4253 §6.6, and sshkey_read().
    if algorithm != key.algorithm().as_str() {
        return Err(KeyError::NotAKey);
    }
    Ok(PublicKey::new(key, comment))
}

/// Reads all keys of a text of one or more lines. Blank lines and those that begin with `#` are
/// skipped, as sshd does with `TrustedUserCAKeys`. An error comes with the number of its line,
/// counted from 1.
pub fn public_keys(text: &str) -> Result<Vec<PublicKey>, (usize, KeyError)> {
    content_lines(text)
        .map(|(number, line)| public_key(line).map_err(|error| (number, error)))
        .collect()
}

/// Writes a private key as ssh-keygen does.
pub fn private_key_text(key: &PrivateKey) -> Result<Zeroizing<String>, KeyError> {
    Ok(key.to_openssh(LineEnding::LF)?)
}

/// Writes a public key as one line, with its end. A comment can hold anything; what would end
/// the line, and begin another key, becomes a space.
pub fn public_key_line(key: &PublicKey) -> Result<String, KeyError> {
    let mut line = key.to_openssh()?.replace(char::is_control, " ");
    line.push('\n');
    Ok(line)
}

/// The lines that say something, without blanks around them, with their numbers from 1: those that are
/// empty or begin with `#` do not, nor does the byte order mark that some editors put first.
pub fn content_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let numbered = text.lines().enumerate();
    numbered
        .map(|(index, line)| (index.saturating_add(1), line.trim()))
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
}

/// Splits a public key's or certificate's line into algorithm, decoded blob and comment.
pub(crate) fn fields(line: &str) -> Result<(&str, Vec<u8>, &str), KeyError> {
    let line = line.trim();
    if is_pem(line) {
        return Err(KeyError::IsPrivate);
    }
    let (algorithm, rest) = line.split_once([' ', '\t']).ok_or(KeyError::NotAKey)?;
    let rest = rest.trim_start();
    let (blob, comment) = rest.split_once([' ', '\t']).unwrap_or((rest, ""));
    let blob = Base64::decode_vec(blob).map_err(|_| KeyError::NotAKey)?;
    Ok((algorithm, blob, comment.trim()))
}

/// Decodes a public key's blob (RFC 4253 §6.6), unless it is a certificate.
pub(crate) fn plain_key(mut blob: &[u8]) -> Result<KeyData, KeyError> {
    let name = String::decode(&mut &*blob).map_err(|_| KeyError::NotAKey)?;
    if Algorithm::new_certificate(&name).is_ok() {
        return Err(KeyError::IsCertificate);
    }
    match Algorithm::new(&name) {
        Ok(Algorithm::Other(_)) | Err(_) => return Err(KeyError::Unsupported(name)),
        Ok(_) => {}
    }
    let key = KeyData::decode(&mut blob)?;
    Ok(blob.finish(key)?)
}

/// Splits a private key's file (OpenSSH PROTOCOL.key) at the beginning of the section that a
/// passphrase would encrypt; of an encrypted file there is nothing behind. In front of it stands
/// the public key, which must not be a certificate.
fn split_at_private_section(bytes: &[u8]) -> Result<(&[u8], &[u8]), KeyError> {
    let mut reader = bytes
        .strip_prefix(b"openssh-key-v1\0")
        .ok_or(KeyError::NotAKey)?;
    let cipher = String::decode(&mut reader)?;
    let _kdf = reader.drain_prefixed()?;
    let _kdf_options = reader.drain_prefixed()?;
    let _number_of_keys = u32::decode(&mut reader)?;
    plain_key(&Vec::decode(&mut reader)?)?;
    let (header, section) = bytes.split_at(bytes.len().saturating_sub(reader.len()));
    let section = section.get(4..).filter(|_| cipher == "none");
    Ok((header, section.unwrap_or_default()))
}

/// The private section with an ECDSA key's scalar at the width of its curve; nothing where it
/// has that already. ssh-keygen leaves leading zeros out, as an mpint must (RFC 4251 §5), and
/// ssh-key refuses what is shorter than 32 bytes: one P-256 key in 512.
fn with_full_scalar(section: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let mut reader = section;
    let _checkints = u64::decode(&mut reader).ok()?;
    if !Algorithm::decode(&mut reader).ok()?.is_ecdsa() {
        return None;
    }
    let _curve = reader.drain_prefixed().ok()?;
    // 0x04, x and y: RFC 5656 §3.1 without compression.
    let width = reader.drain_prefixed().ok()? / 2;
    let (before, _) = section.split_at(section.len().saturating_sub(reader.len()));
    let scalar = Zeroizing::new(Vec::decode(&mut reader).ok()?);
    let comment = Vec::<u8>::decode(&mut reader).ok()?;
    let zeros = width.checked_sub(scalar.len()).filter(|zeros| *zeros > 0)?;

    let mut widened = Vec::with_capacity(section.len() + zeros + 8);
    widened.extend_from_slice(before);
    width.encode(&mut widened).ok()?;
    widened.resize(widened.len() + zeros, 0);
    widened.extend_from_slice(&scalar);
    comment.encode(&mut widened).ok()?;
    widened.extend((1..8).take(widened.len().next_multiple_of(8) - widened.len()));
    Some(Zeroizing::new(widened))
}

/// Whether a text begins as a private key does.
pub(crate) fn is_pem(text: &str) -> bool {
    text.trim_start().starts_with(BEGIN)
}

/// The label and the base64 of a PEM text, or nothing where it is none.
fn pem(text: &str) -> Option<(&str, Zeroizing<String>)> {
    let (first, rest) = text.trim_start().split_once('\n')?;
    let label = first
        .trim_end()
        .strip_prefix(BEGIN)?
        .strip_suffix("-----")?;
    let (body, _) = rest.split_once("-----END ")?;
    let mut base64 = Zeroizing::new(String::with_capacity(body.len()));
    base64.extend(body.split_ascii_whitespace());
    Some((label, base64))
}

fn base64(text: &str) -> Result<Vec<u8>, KeyError> {
    Base64::decode_vec(text).map_err(|error| encoding::Error::from(error).into())
}
