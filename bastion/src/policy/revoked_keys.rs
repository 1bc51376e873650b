//! The keys and certificates that no longer count: the file that sshd_config calls RevokedKeys.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;

use sha1::Sha1;
use sha2::{Digest, Sha256};
use ssh_key::encoding::base64::{Base64, Encoding};

use keys::openssh::content_lines;

use super::certificate::{MalformedCertificate, UserCertificate};
use super::krl::{self, MalformedKrl};
use super::public_key::{MalformedKey, PublicKey, names_a_certificate};
use super::refusal::Refusal;

/// What is known of revocations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Revocations {
    /// No list is configured: nothing is revoked.
    #[default]
    None,
    /// The list.
    Listed(Arc<RevokedKeys>),
    /// There should be a list, and it cannot be read: nobody can be told not to be on it.
    Unknown,
}

impl Revocations {
    /// Whether the CA's key itself is revoked. A list that cannot be read says nothing here; it does in
    /// [`check_certificate`](Self::check_certificate).
    pub(super) fn check_authority(&self, authority: &PublicKey) -> Result<(), Refusal> {
        match self {
            Revocations::Listed(revoked) if revoked.contains_key(authority) => {
                let fingerprint = authority.fingerprint();
                Err(Refusal::RevokedAuthority { fingerprint })
            }
            _ => Ok(()),
        }
    }

    /// Whether the certificate, or the key that it certifies, is revoked.
    pub(super) fn check_certificate(&self, certificate: &UserCertificate) -> Result<(), Refusal> {
        match self {
            Revocations::None => Ok(()),
            Revocations::Listed(revoked) => revoked.check_certificate(certificate),
            Revocations::Unknown => Err(Refusal::RevocationsUnknown),
        }
    }
}

/// A list of what is revoked. Reading it anew for every login, as sshd does, is not needed: who asks
/// gets answers from memory.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct RevokedKeys {
    /// Plain keys, in their wire format.
    pub(super) keys: BTreeSet<Vec<u8>>,
    /// Hashes of plain keys.
    pub(super) sha1: BTreeSet<[u8; 20]>,
    pub(super) sha256: BTreeSet<[u8; 32]>,
    pub(super) certificates: Vec<RevokedCertificates>,
}

/// Revoked certificates of one CA, or of any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RevokedCertificates {
    ca: Option<PublicKey>,
    pub(super) serials: Vec<RangeInclusive<u64>>,
    pub(super) bitmaps: Vec<SerialBitmap>,
    pub(super) key_ids: BTreeSet<Vec<u8>>,
}

/// Serial numbers from `offset` on, a bit each; the last bit of the last byte is `offset` itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SerialBitmap {
    offset: u64,
    bytes: Vec<u8>,
}

/// Why a file is no list of revoked keys.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RevokedKeysError {
    /// A key revocation list that is not understood.
    #[error(
        "{origin} is a key revocation list that cannot be used: {problem}; make it anew with ssh-keygen -k"
    )]
    Krl {
        /// Where the list is from.
        origin: String,
        /// What is wrong with it.
        problem: MalformedKrl,
    },
    /// A line is not a public key.
    #[error("{origin}, line {line}: {problem}")]
    Line {
        /// Where the list is from.
        origin: String,
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        problem: NotAPublicKey,
    },
}

/// Why a line of a list is not a public key. None quotes the line, which may be a private key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAPublicKey {
    /// Not even the form of one.
    #[error(
        "this is no public key; write one a line, as in a .pub file, or make a key revocation list of \
         serial numbers, key ids and hashes with ssh-keygen -k"
    )]
    NotAKey,
    /// The line says one type and the key is of another.
    #[error("the key is not of the type that the line says; copy the line again, whole")]
    TypeMismatch,
    /// The key is not as it should be.
    #[error("the key is not as it should be: {0}")]
    Key(#[source] MalformedKey),
    /// The certificate is not as it should be.
    #[error("{0}")]
    Certificate(#[source] MalformedCertificate),
}

impl RevokedKeys {
    /// Parses a key revocation list (`ssh-keygen -k`), or else lines of public keys as in `.pub` files,
    /// where a certificate stands for its plain key. `origin` names the list in errors.
    ///
    /// An empty file revokes nothing, as with sshd.
    pub fn parse(bytes: &[u8], origin: &str) -> Result<Self, RevokedKeysError> {
        let origin = || origin.to_owned();
        if bytes.starts_with(krl::MAGIC) {
            return krl::parse(bytes).map_err(|problem| RevokedKeysError::Krl {
                origin: origin(),
                problem,
            });
        }
        let mut revoked = Self::default();
        // A comment may be in any encoding; a key is ASCII.
        let text = String::from_utf8_lossy(bytes);
        for (number, line) in content_lines(&text) {
            let key = parse_line(line).map_err(|problem| RevokedKeysError::Line {
                origin: origin(),
                line: number,
                problem,
            })?;
            revoked.keys.extend(key.map(Vec::from));
        }
        Ok(revoked)
    }

    /// How many entries there are, of whatever kind.
    #[must_use]
    pub fn len(&self) -> usize {
        let certificates: usize = self.certificates.iter().map(RevokedCertificates::len).sum();
        self.keys.len() + self.sha1.len() + self.sha256.len() + certificates
    }

    /// Whether nothing is revoked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether this very key is revoked, by itself or by a hash of it.
    #[must_use]
    pub fn contains_key(&self, key: &PublicKey) -> bool {
        let bytes = key.as_bytes();
        self.keys.contains(bytes)
            || (!self.sha1.is_empty() && self.sha1.contains(&Sha1::digest(bytes).0))
            || (!self.sha256.is_empty() && self.sha256.contains(&Sha256::digest(bytes).0))
    }

    /// krl.c's is_key_revoked, but for the CA's key.
    fn check_certificate(&self, certificate: &UserCertificate) -> Result<(), Refusal> {
        let key = certificate.public_key();
        if self.contains_key(key) {
            let fingerprint = key.fingerprint();
            return Err(Refusal::RevokedKey { fingerprint });
        }
        let of_its_ca = self
            .certificates
            .iter()
            .filter(|revoked| revoked.are_by(certificate.signature_key()));
        for revoked in of_its_ca {
            if revoked.has_key_id(certificate.key_id_bytes()) {
                let key_id = certificate.key_id().into_owned();
                return Err(Refusal::RevokedKeyId { key_id });
            }
            if revoked.has_serial(certificate.serial()) {
                let serial = certificate.serial();
                return Err(Refusal::RevokedSerial { serial });
            }
        }
        Ok(())
    }
}

impl fmt::Debug for RevokedKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RevokedKeys({} entries)", self.len())
    }
}

impl RevokedCertificates {
    /// None yet; of this CA, or of any.
    pub(super) fn of(ca: Option<PublicKey>) -> Self {
        Self {
            ca,
            serials: Vec::new(),
            bitmaps: Vec::new(),
            key_ids: BTreeSet::new(),
        }
    }

    fn len(&self) -> usize {
        self.serials.len() + self.bitmaps.len() + self.key_ids.len()
    }

    fn are_by(&self, authority: &PublicKey) -> bool {
        self.ca.as_ref().is_none_or(|ca| ca == authority)
    }

    /// A key id ends at its first NUL, if it has one: OpenSSH would refuse the certificate.
    fn has_key_id(&self, key_id: &[u8]) -> bool {
        let end = key_id.iter().position(|&byte| byte == 0);
        let text = key_id.get(..end.unwrap_or(key_id.len()));
        text.is_some_and(|text| self.key_ids.contains(text))
    }

    /// 0 is what a CA writes that does not count, and is never revoked. The lists are searched from end to
    /// end: even one of a million numbers takes less time than verifying a signature does in sshd.
    fn has_serial(&self, serial: u64) -> bool {
        serial != 0
            && (self.serials.iter().any(|range| range.contains(&serial))
                || self.bitmaps.iter().any(|bitmap| bitmap.contains(serial)))
    }
}

impl SerialBitmap {
    /// OpenSSH's SSHBUF_MAX_BIGNUM.
    const MAX_BYTES: usize = 16384 / 8;

    /// From the bytes of an `mpint`. `None` if it is negative, too long, revokes the serial number 0, or
    /// one past 2^64-1.
    pub(super) fn new(offset: u64, mpint: &[u8]) -> Option<Self> {
        let is_negative = mpint.first().is_some_and(|byte| byte & 0x80 != 0);
        let too_long = mpint.len() > Self::MAX_BYTES + 1
            || (mpint.len() > Self::MAX_BYTES && mpint.first() != Some(&0));
        if is_negative || too_long {
            return None;
        }
        let zeros = mpint.iter().take_while(|&&byte| byte == 0).count();
        let bytes = mpint.get(zeros..).unwrap_or_default().to_vec();
        let bitmap = Self { offset, bytes };
        let in_range = match bitmap.bytes.first() {
            None => true,
            Some(first) => {
                let highest = bitmap.bytes.len() as u64 * 8 - 1 - u64::from(first.leading_zeros());
                offset.checked_add(highest).is_some()
            }
        };
        (in_range && !bitmap.contains(0)).then_some(bitmap)
    }

    fn contains(&self, serial: u64) -> bool {
        let bit = serial.checked_sub(self.offset);
        let Some(bit) = bit.and_then(|bit| usize::try_from(bit).ok()) else {
            return false;
        };
        let byte = self.bytes.iter().rev().nth(bit / 8);
        byte.is_some_and(|byte| byte >> (bit % 8) & 1 == 1)
    }
}

/// The plain key of a line; none if it is of a kind that nobody can be let in by.
fn parse_line(line: &str) -> Result<Option<PublicKey>, NotAPublicKey> {
    let mut words = line.split_ascii_whitespace();
    let (name, base64) = (words.next().unwrap_or_default(), words.next());
    let bytes = base64
        .and_then(|base64| Base64::decode_vec(base64).ok())
        .ok_or(NotAPublicKey::NotAKey)?;
    if !says(&bytes, name) {
        return Err(NotAPublicKey::TypeMismatch);
    }
    if names_a_certificate(name) {
        let certificate = UserCertificate::parse(&bytes).map_err(NotAPublicKey::Certificate)?;
        return Ok(Some(certificate.public_key().clone()));
    }
    match PublicKey::from_bytes(&bytes) {
        Ok(key) => Ok(Some(key)),
        Err(problem) if problem.is_of_unsupported_key() => Ok(None),
        Err(problem) => Err(NotAPublicKey::Key(problem)),
    }
}

/// Whether a key or a certificate begins with this type.
fn says(bytes: &[u8], name: &str) -> bool {
    let mut reader = super::wire::Reader::new(bytes);
    reader.text("type") == Ok(name)
}
