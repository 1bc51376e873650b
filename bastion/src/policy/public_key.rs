//! One plain public key, strictly parsed.
//!
//! The formats are RFC 4253 Section 6.6 (RSA), RFC 5656 Section 3.1 (ECDSA), RFC 8709 Section 4
//! (Ed25519) and OpenSSH's PROTOCOL.u2f (security keys).

use std::fmt;

use serde::{Deserialize, Serialize};
use ssh_key::public::{
    EcdsaPublicKey, Ed25519PublicKey, KeyData, RsaPublicKey, SkEcdsaSha2NistP256, SkEd25519,
};
use ssh_key::{HashAlg, Mpint};

use super::refusal::printable;
use super::wire::{Reader, WireError, put_string};

/// The kinds of key that are understood. DSA is not one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum KeyType {
    /// `ssh-ed25519`
    Ed25519,
    /// `ecdsa-sha2-nistp256`
    EcdsaP256,
    /// `ecdsa-sha2-nistp384`
    EcdsaP384,
    /// `ecdsa-sha2-nistp521`
    EcdsaP521,
    /// `ssh-rsa`: the name of the key's format; SHA-1 signatures of the same name are refused.
    Rsa,
    /// `sk-ssh-ed25519@openssh.com`, held by a security key
    SkEd25519,
    /// `sk-ecdsa-sha2-nistp256@openssh.com`, held by a security key
    SkEcdsaP256,
}

impl KeyType {
    /// Every kind.
    pub const ALL: [KeyType; 7] = [
        KeyType::Ed25519,
        KeyType::EcdsaP256,
        KeyType::EcdsaP384,
        KeyType::EcdsaP521,
        KeyType::Rsa,
        KeyType::SkEd25519,
        KeyType::SkEcdsaP256,
    ];

    /// The name that a plain key of this kind starts with.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            KeyType::Ed25519 => "ssh-ed25519",
            KeyType::EcdsaP256 => "ecdsa-sha2-nistp256",
            KeyType::EcdsaP384 => "ecdsa-sha2-nistp384",
            KeyType::EcdsaP521 => "ecdsa-sha2-nistp521",
            KeyType::Rsa => "ssh-rsa",
            KeyType::SkEd25519 => "sk-ssh-ed25519@openssh.com",
            KeyType::SkEcdsaP256 => "sk-ecdsa-sha2-nistp256@openssh.com",
        }
    }

    /// The name that a certificate for a key of this kind starts with.
    ///
    /// `rsa-sha2-256-cert-v01@openssh.com` and `rsa-sha2-512-cert-v01@openssh.com` name signature
    /// algorithms; no certificate starts with them.
    #[must_use]
    pub fn certificate_name(self) -> &'static str {
        match self {
            KeyType::Ed25519 => "ssh-ed25519-cert-v01@openssh.com",
            KeyType::EcdsaP256 => "ecdsa-sha2-nistp256-cert-v01@openssh.com",
            KeyType::EcdsaP384 => "ecdsa-sha2-nistp384-cert-v01@openssh.com",
            KeyType::EcdsaP521 => "ecdsa-sha2-nistp521-cert-v01@openssh.com",
            KeyType::Rsa => "ssh-rsa-cert-v01@openssh.com",
            KeyType::SkEd25519 => "sk-ssh-ed25519-cert-v01@openssh.com",
            KeyType::SkEcdsaP256 => "sk-ecdsa-sha2-nistp256-cert-v01@openssh.com",
        }
    }

    /// Whether the private key is held by a security key, whose signatures say if it was touched.
    #[must_use]
    pub fn is_security_key(self) -> bool {
        matches!(self, KeyType::SkEd25519 | KeyType::SkEcdsaP256)
    }

    pub(super) fn from_name(name: &str) -> Option<KeyType> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    pub(super) fn from_certificate_name(name: &str) -> Option<KeyType> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.certificate_name() == name)
    }
}

impl fmt::Display for KeyType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Whether a name is that of a certificate format, known or not.
pub(super) fn names_a_certificate(name: &str) -> bool {
    name.contains("-cert-v")
}

/// Why bytes are not a public key that is accepted here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MalformedKey {
    /// The fields are not laid out as they should be.
    #[error("{0}")]
    Encoding(#[from] WireError),
    /// A certificate stands where a plain key is meant. It is not looked into.
    #[error("it is a certificate ({}), where a plain public key is needed", printable(.name, 64))]
    Certificate {
        /// The name that it starts with.
        name: String,
    },
    /// A kind of key that is not understood, DSA among them.
    #[error("keys of type \"{}\" are not supported; use Ed25519, ECDSA or RSA", printable(.name, 64))]
    UnknownType {
        /// The name that it starts with.
        name: String,
    },
    /// The curve that an ECDSA key names is not the curve of its type.
    #[error("an {key_type} key names the curve \"{}\"", printable(.curve, 64))]
    CurveMismatch {
        /// The type that the key starts with.
        key_type: KeyType,
        /// The curve that it names.
        curve: String,
    },
    /// The value is not an uncompressed point of the right length.
    #[error("its {key_type} point is not an uncompressed point of that curve's length")]
    NotAPoint {
        /// The type that the key starts with.
        key_type: KeyType,
    },
    /// An Ed25519 key that is not 32 bytes long.
    #[error("its Ed25519 key has {len} bytes, not 32")]
    Ed25519Length {
        /// How many bytes it has.
        len: usize,
    },
    /// An Ed25519 point of small order, for which anybody can make signatures.
    #[error("its Ed25519 key is a point of small order, for which anybody can sign")]
    SmallOrder,
    /// An RSA number that is negative, zero or longer than it need be.
    #[error("its RSA {what} is not a canonically encoded positive number")]
    NotAPositiveNumber {
        /// Which number.
        what: &'static str,
    },
    /// An RSA modulus that is too short to be safe or too long to be worked with.
    #[error(
        "its RSA modulus has {bits} bits; {} to {} are accepted",
        PublicKey::MIN_RSA_BITS,
        PublicKey::MAX_RSA_BITS
    )]
    RsaModulusBits {
        /// How many bits it has.
        bits: usize,
    },
    /// An RSA modulus or exponent that no RSA key has.
    #[error("its RSA {what} is even, 1 or too large")]
    RsaNumber {
        /// Which number.
        what: &'static str,
    },
}

impl MalformedKey {
    /// Whether it is a key that OpenSSH accepts, or once did, and that is never accepted here. Anything
    /// else may be one that is accepted, in disguise or damaged.
    pub(super) fn is_of_unsupported_key(&self) -> bool {
        match self {
            MalformedKey::UnknownType { name } => name == "ssh-dss",
            MalformedKey::SmallOrder
            | MalformedKey::RsaModulusBits { .. }
            | MalformedKey::RsaNumber { .. } => true,
            _ => false,
        }
    }
}

/// One plain public key: never a certificate.
///
/// Two keys are the same if their bytes are, and there is one encoding of each key only, because any
/// other is refused.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<u8>", into = "Vec<u8>")]
pub struct PublicKey {
    key_type: KeyType,
    bytes: Vec<u8>,
    pub(super) data: KeyData,
}

impl PublicKey {
    /// Shorter RSA keys are refused, as today's guidance asks (NIST SP 800-131A).
    pub const MIN_RSA_BITS: usize = 2048;
    /// Longer RSA keys are refused before any arithmetic: their cost is the verifier's, their choice
    /// the attacker's (CVE-2026-39829).
    pub const MAX_RSA_BITS: usize = 8192;

    /// Parses a key in its wire format: `string` type name, then the fields of that type, then nothing.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, MalformedKey> {
        let mut reader = Reader::new(bytes);
        let name = reader.text("key type")?;
        let Some(key_type) = KeyType::from_name(name) else {
            let name = name.to_owned();
            return Err(if names_a_certificate(&name) {
                MalformedKey::Certificate { name }
            } else {
                MalformedKey::UnknownType { name }
            });
        };
        let key = Self::read_fields(key_type, &mut reader)?;
        reader.finish("public key")?;
        Ok(key)
    }

    /// Reads what follows the type name, in a plain key and in a certificate alike.
    pub(super) fn read_fields(
        key_type: KeyType,
        reader: &mut Reader<'_>,
    ) -> Result<Self, MalformedKey> {
        let start = reader.position();
        let data = match key_type {
            KeyType::Ed25519 => KeyData::Ed25519(ed25519(reader)?),
            KeyType::EcdsaP256 | KeyType::EcdsaP384 | KeyType::EcdsaP521 => {
                KeyData::Ecdsa(ecdsa(key_type, reader)?)
            }
            KeyType::Rsa => KeyData::Rsa(rsa(reader)?),
            KeyType::SkEd25519 => {
                KeyData::SkEd25519(SkEd25519::new(ed25519(reader)?, application(reader)?))
            }
            KeyType::SkEcdsaP256 => {
                let EcdsaPublicKey::NistP256(point) = ecdsa(key_type, reader)? else {
                    return Err(MalformedKey::NotAPoint { key_type });
                };
                KeyData::SkEcdsaSha2NistP256(SkEcdsaSha2NistP256::new(point, application(reader)?))
            }
        };
        let mut bytes = Vec::new();
        put_string(&mut bytes, key_type.name().as_bytes());
        bytes.extend_from_slice(reader.read_since(start));
        Ok(Self {
            key_type,
            bytes,
            data,
        })
    }

    /// The key in its wire format.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What kind of key it is.
    #[must_use]
    pub fn algorithm(&self) -> KeyType {
        self.key_type
    }

    /// `SHA256:…`, as `ssh-keygen -l` prints it.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        self.data.fingerprint(HashAlg::Sha256).to_string()
    }

    /// How many bytes an RSA modulus has, which is how long each of its signatures must be
    /// (RFC 8017, Section 8.2.2).
    pub(super) fn rsa_modulus_len(&self) -> Option<usize> {
        Some(self.data.rsa()?.n().as_positive_bytes()?.len())
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({} {})", self.key_type, self.fingerprint())
    }
}

impl TryFrom<Vec<u8>> for PublicKey {
    type Error = MalformedKey;

    fn try_from(bytes: Vec<u8>) -> Result<Self, MalformedKey> {
        Self::from_bytes(&bytes)
    }
}

impl From<PublicKey> for Vec<u8> {
    fn from(key: PublicKey) -> Self {
        key.bytes
    }
}

fn ed25519(reader: &mut Reader<'_>) -> Result<Ed25519PublicKey, MalformedKey> {
    let bytes = reader.string("Ed25519 key")?;
    let point: [u8; 32] = bytes
        .try_into()
        .map_err(|_| MalformedKey::Ed25519Length { len: bytes.len() })?;
    if is_of_small_order(point) {
        return Err(MalformedKey::SmallOrder);
    }
    Ok(Ed25519PublicKey(point))
}

/// Whether an encoded point of edwards25519 has an order of 1, 2, 4 or 8.
///
/// Under such a key a signature of zeros verifies for one message in eight or more. A key file of
/// zeros is one of them, so this is within reach of a mishap. RFC 8032 does not ask for the check,
/// hence neither does the library.
fn is_of_small_order(mut point: [u8; 32]) -> bool {
    /// p = 2^255 - 19, little-endian, but for its lowest byte.
    const HIGH_BYTES_OF_P: [u8; 31] = {
        let mut bytes = [0xff; 31];
        bytes[30] = 0x7f;
        bytes
    };
    const OF_ORDER_8: [[u8; 32]; 2] = [
        [
            0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef,
            0x98, 0xf0, 0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88,
            0x6d, 0x53, 0xfc, 0x05,
        ],
        [
            0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10,
            0x67, 0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77,
            0x92, 0xac, 0x03, 0x7a,
        ],
    ];
    // The top bit is the sign of x; a point and its negative have the same order.
    point[31] &= 0x7f;
    let [lowest, rest @ ..] = point;
    let y_is_0_or_1 = lowest <= 1 && rest == [0; 31];
    // p - 1, and the non-canonical p and p + 1.
    let y_is_about_p = (0xec..=0xee).contains(&lowest) && rest == HIGH_BYTES_OF_P;
    y_is_0_or_1 || y_is_about_p || OF_ORDER_8.contains(&point)
}

fn ecdsa(key_type: KeyType, reader: &mut Reader<'_>) -> Result<EcdsaPublicKey, MalformedKey> {
    let (expected_curve, coordinate_len) = match key_type {
        KeyType::EcdsaP384 => ("nistp384", 48),
        KeyType::EcdsaP521 => ("nistp521", 66),
        _ => ("nistp256", 32),
    };
    let curve = reader.text("curve name")?;
    if curve != expected_curve {
        let curve = curve.to_owned();
        return Err(MalformedKey::CurveMismatch { key_type, curve });
    }
    let point = reader.string("curve point")?;
    // OpenSSH takes uncompressed points only (SEC 1, Section 2.3.3), so that a key has one encoding.
    if point.len() != 1 + 2 * coordinate_len || point.first() != Some(&0x04) {
        return Err(MalformedKey::NotAPoint { key_type });
    }
    EcdsaPublicKey::from_sec1_bytes(point).map_err(|_| MalformedKey::NotAPoint { key_type })
}

/// A security key's application string, `ssh:` unless its owner chose another one.
fn application(reader: &mut Reader<'_>) -> Result<String, MalformedKey> {
    Ok(reader.text("security key's application")?.to_owned())
}

fn rsa(reader: &mut Reader<'_>) -> Result<RsaPublicKey, MalformedKey> {
    let exponent = positive(reader, "exponent")?;
    let modulus = positive(reader, "modulus")?;
    let bits = bit_length(modulus);
    if !(PublicKey::MIN_RSA_BITS..=PublicKey::MAX_RSA_BITS).contains(&bits) {
        return Err(MalformedKey::RsaModulusBits { bits });
    }
    if is_even(modulus) {
        return Err(MalformedKey::RsaNumber { what: "modulus" });
    }
    // 65537 is what everybody uses, 3 to 37 what some did; a longer exponent only costs the verifier.
    if is_even(exponent) || exponent == [1] || bit_length(exponent) > 32 {
        return Err(MalformedKey::RsaNumber { what: "exponent" });
    }
    RsaPublicKey::new(
        Mpint::from_positive_bytes(exponent),
        Mpint::from_positive_bytes(modulus),
    )
    .map_err(|_| MalformedKey::NotAPositiveNumber { what: "modulus" })
}

/// Reads an `mpint` that must be greater than zero and without needless leading bytes.
fn positive<'a>(reader: &mut Reader<'a>, what: &'static str) -> Result<&'a [u8], MalformedKey> {
    let bytes = reader.string(what)?;
    match bytes {
        [] | [0x80..=0xff, ..] | [0] | [0, 0..=0x7f, ..] => {
            Err(MalformedKey::NotAPositiveNumber { what })
        }
        _ => Ok(bytes),
    }
}

fn bit_length(positive: &[u8]) -> usize {
    let leading_zeros = match positive {
        [0, next, ..] => 8 + next.leading_zeros(),
        [first, ..] => first.leading_zeros(),
        [] => 0,
    };
    (positive.len() * 8).saturating_sub(leading_zeros as usize)
}

fn is_even(positive: &[u8]) -> bool {
    positive.last().is_none_or(|byte| byte % 2 == 0)
}
