//! Bytes → [`UserCertificate`]: draft-ietf-sshm-cert, formerly OpenSSH's PROTOCOL.certkeys.
//!
//! Parsing believes nothing: what comes out is what the certificate *says*. Whether to believe it is
//! [`authorize`](super::authorize()). The parser has no recursion: the one field that could hold
//! another certificate, the signature key, is read as a plain key or not at all.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::OnceLock;

use super::public_key::{KeyType, MalformedKey, PublicKey, names_a_certificate};
use super::refusal::printable;
use super::signature::{SignatureError, Verified};
use super::wire::{Reader, WireError};

/// One of the critical options or extensions; what the data means depends on the name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedData {
    /// Its name.
    pub name: String,
    /// Its data, still packed.
    pub data: Vec<u8>,
}

/// Whom a certificate is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateType {
    /// SSH_CERT_TYPE_USER, 1
    User,
    /// SSH_CERT_TYPE_HOST, 2
    Host,
    /// A number that means nothing.
    Other(u32),
}

impl fmt::Display for CertificateType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CertificateType::User => f.write_str("user"),
            CertificateType::Host => f.write_str("host"),
            CertificateType::Other(number) => write!(f, "unknown ({number})"),
        }
    }
}

/// Why bytes are not a certificate that is accepted here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MalformedCertificate {
    /// More bytes than any certificate needs.
    #[error(
        "the certificate has {len} bytes; at most {} are accepted",
        UserCertificate::MAX_BYTES
    )]
    TooLong {
        /// How many there are.
        len: usize,
    },
    /// The fields are not laid out as they should be.
    #[error("the certificate is malformed: {0}")]
    Encoding(#[from] WireError),
    /// A plain key, or something else altogether.
    #[error("a certificate is needed, and this is of type \"{}\"", printable(.name, 64))]
    NotACertificate {
        /// The name that it starts with.
        name: String,
    },
    /// A certificate of a kind that is not understood.
    #[error(
        "certificates of type \"{}\" are not supported; certify an Ed25519, ECDSA or RSA key",
        printable(.name, 64)
    )]
    UnknownType {
        /// The name that it starts with.
        name: String,
    },
    /// The certified key is not acceptable.
    #[error("the certified key is not accepted: {0}")]
    PublicKey(#[source] MalformedKey),
    /// The CA's key is not acceptable; a certificate in its place is not looked into.
    #[error("the key of the certificate's CA is not accepted: {0}")]
    SignatureKey(#[source] MalformedKey),
    /// More entries than any certificate needs.
    #[error("the certificate has more than {limit} {what}")]
    TooMany {
        /// Entries of what.
        what: &'static str,
        /// How many are accepted.
        limit: usize,
    },
    /// A name that may appear once appears again.
    #[error("the certificate's {what} name \"{}\" twice", printable(.name, 64))]
    Duplicate {
        /// In what.
        what: &'static str,
        /// The name.
        name: String,
    },
}

/// The fields of a certificate. It may be expired, forged or a host's: see [`authorize`](super::authorize()).
///
/// The fields are private because they are only as good as the bytes that the CA signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserCertificate {
    bytes: Vec<u8>,
    /// How many of `bytes` are under the CA's signature.
    signed_len: usize,
    public_key: PublicKey,
    serial: u64,
    certificate_type: CertificateType,
    key_id: Vec<u8>,
    valid_principals: Vec<String>,
    valid_after: u64,
    valid_before: u64,
    critical_options: Vec<NamedData>,
    extensions: Vec<NamedData>,
    signature_key: PublicKey,
    signature: Vec<u8>,
    verdict: SignatureVerdict,
}

/// What came of checking the CA's signature, once that was asked for. It follows from the bytes,
/// which never change, and so it says nothing about whether two certificates are the same.
#[derive(Clone, Debug, Default)]
struct SignatureVerdict(OnceLock<Result<Verified, SignatureError>>);

impl PartialEq for SignatureVerdict {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for SignatureVerdict {}

impl UserCertificate {
    /// The longest certificate that is accepted. Two 8192-bit RSA keys and a signature are 3 KiB.
    pub const MAX_BYTES: usize = 64 * 1024;
    /// OpenSSH's limit, SSHKEY_CERT_MAX_PRINCIPALS.
    pub const MAX_PRINCIPALS: usize = 256;
    /// The most critical options, and the most extensions. OpenSSH knows ten names altogether.
    pub const MAX_OPTIONS: usize = 128;

    /// Parses a certificate in its wire format (what an OpenSSH certificate file has in base64).
    ///
    /// ```
    /// use bastion::policy::{MalformedCertificate, UserCertificate};
    ///
    /// let plain_key = b"\0\0\0\x0bssh-ed25519\0\0\0\x20................................";
    /// assert_eq!(
    ///     UserCertificate::parse(plain_key),
    ///     Err(MalformedCertificate::NotACertificate { name: "ssh-ed25519".to_owned() })
    /// );
    /// ```
    pub fn parse(bytes: &[u8]) -> Result<Self, MalformedCertificate> {
        if bytes.len() > Self::MAX_BYTES {
            return Err(MalformedCertificate::TooLong { len: bytes.len() });
        }
        let mut reader = Reader::new(bytes);
        let key_type = read_type(&mut reader)?;
        // Random bytes that make the signed message unpredictable; nothing to check.
        reader.string("nonce")?;
        let public_key = PublicKey::read_fields(key_type, &mut reader)
            .map_err(MalformedCertificate::PublicKey)?;
        let serial = reader.u64("serial")?;
        let certificate_type = read_certificate_type(&mut reader)?;
        let key_id = reader.string("key id")?.to_vec();
        let valid_principals = read_principals(reader.string("valid principals")?)?;
        let valid_after = reader.u64("valid after")?;
        let valid_before = reader.u64("valid before")?;
        let critical_options =
            read_options(reader.string("critical options")?, "critical options")?;
        let extensions = read_options(reader.string("extensions")?, "extensions")?;
        // "currently unused and MUST be ignored"
        reader.string("reserved")?;
        let signature_key = PublicKey::from_bytes(reader.string("signature key")?)
            .map_err(MalformedCertificate::SignatureKey)?;
        let signed_len = reader.position();
        let signature = reader.string("signature")?.to_vec();
        reader.finish("signature")?;
        Ok(Self {
            bytes: bytes.to_vec(),
            signed_len,
            public_key,
            serial,
            certificate_type,
            key_id,
            valid_principals,
            valid_after,
            valid_before,
            critical_options,
            extensions,
            signature_key,
            signature,
            verdict: SignatureVerdict::default(),
        })
    }

    /// Whether the CA that the certificate names has signed it. Whether that CA is trusted is another
    /// question.
    #[must_use]
    pub fn signature_is_valid(&self) -> bool {
        self.verify_signature().is_ok()
    }

    /// [`signature_is_valid`](Self::signature_is_valid), with the algorithm or the reason. It is
    /// computed when it is first asked for.
    pub fn verify_signature(&self) -> Result<Verified, SignatureError> {
        let verdict = self.verdict.0.get_or_init(|| {
            // "computed over all preceding fields from the initial string up to, and including the
            // signature key"
            let signed = self.bytes.get(..self.signed_len).unwrap_or_default();
            self.signature_key.verify(signed, &self.signature)
        });
        verdict.clone()
    }

    /// The certificate's bytes, as they were parsed.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The certified key, whose private half the user must prove to hold.
    #[must_use]
    pub fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    /// The CA's number for the certificate; Pomerium's is always 1.
    #[must_use]
    pub fn serial(&self) -> u64 {
        self.serial
    }

    /// Whether it is for a user or for a host.
    #[must_use]
    pub fn certificate_type(&self) -> CertificateType {
        self.certificate_type
    }

    /// The CA's words on whom it certified: for logs, and to revoke by, never to let in by. They can be any bytes, which
    /// are shown as UTF-8 as far as they are, and none: Pomerium's are always empty.
    #[must_use]
    pub fn key_id(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.key_id)
    }

    /// The key id's bytes, for the list of revoked ones.
    pub(super) fn key_id_bytes(&self) -> &[u8] {
        &self.key_id
    }

    /// The login names that it is for. None means none, here; OpenSSH's format means any.
    #[must_use]
    pub fn valid_principals(&self) -> &[String] {
        &self.valid_principals
    }

    /// The first second at which it is valid, since the epoch. 0 is "always has been".
    #[must_use]
    pub fn valid_after(&self) -> u64 {
        self.valid_after
    }

    /// The first second at which it is no longer valid, since the epoch. 2^64-1 is "forever".
    #[must_use]
    pub fn valid_before(&self) -> u64 {
        self.valid_before
    }

    /// What limits the certificate's use, in its order; whoever does not understand one must refuse.
    #[must_use]
    pub fn critical_options(&self) -> &[NamedData] {
        &self.critical_options
    }

    /// What the certificate permits, in its order; whoever does not understand one ignores it.
    #[must_use]
    pub fn extensions(&self) -> &[NamedData] {
        &self.extensions
    }

    /// The key of the CA that, by its own account, signed it.
    #[must_use]
    pub fn signature_key(&self) -> &PublicKey {
        &self.signature_key
    }
}

fn read_type(reader: &mut Reader<'_>) -> Result<KeyType, MalformedCertificate> {
    let name = reader.text("certificate type name")?;
    KeyType::from_certificate_name(name).ok_or_else(|| {
        let name = name.to_owned();
        if names_a_certificate(&name) {
            MalformedCertificate::UnknownType { name }
        } else {
            MalformedCertificate::NotACertificate { name }
        }
    })
}

fn read_certificate_type(reader: &mut Reader<'_>) -> Result<CertificateType, WireError> {
    Ok(match reader.u32("certificate type")? {
        1 => CertificateType::User,
        2 => CertificateType::Host,
        number => CertificateType::Other(number),
    })
}

fn read_principals(packed: &[u8]) -> Result<Vec<String>, MalformedCertificate> {
    let mut reader = Reader::new(packed);
    let mut principals = Vec::new();
    while !reader.is_empty() {
        if principals.len() == UserCertificate::MAX_PRINCIPALS {
            return Err(MalformedCertificate::TooMany {
                what: "principals",
                limit: UserCertificate::MAX_PRINCIPALS,
            });
        }
        principals.push(reader.text("valid principals")?.to_owned());
    }
    Ok(principals)
}

/// Reads names and data. Their order, which the draft prescribes, makes no difference to their meaning
/// and is not enforced, as it is not by OpenSSH; a name that appears twice could mean two things.
fn read_options(packed: &[u8], what: &'static str) -> Result<Vec<NamedData>, MalformedCertificate> {
    let mut reader = Reader::new(packed);
    let mut seen = BTreeSet::new();
    let mut options = Vec::new();
    while !reader.is_empty() {
        if options.len() == UserCertificate::MAX_OPTIONS {
            return Err(MalformedCertificate::TooMany {
                what,
                limit: UserCertificate::MAX_OPTIONS,
            });
        }
        let name = reader.text(what)?;
        let data = reader.string(what)?;
        if !seen.insert(name) {
            let name = name.to_owned();
            return Err(MalformedCertificate::Duplicate { what, name });
        }
        options.push(NamedData {
            name: name.to_owned(),
            data: data.to_vec(),
        });
    }
    Ok(options)
}
