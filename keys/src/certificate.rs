//! OpenSSH certificates (draft-ietf-sshm-cert, formerly OpenSSH's PROTOCOL.certkeys): making and
//! reading them.
//!
//! Own encoder and decoder around ssh-key's keys and signatures, because ssh-key's certificates
//! can neither be wrong on purpose, which tests need, nor be read where they are wrong, which
//! `inspect` needs. And this decoder does not follow a certificate in place of a signature key.

use crate::openssh::{self, KeyError};
use rand::TryRng;
use rand::rngs::{SysError, SysRng};
use signature::{Signer, Verifier};
use ssh_key::encoding::base64::{Base64, Encoding};
use ssh_key::encoding::{self, Decode, Encode, Reader};
use ssh_key::private::KeypairData;
use ssh_key::public::KeyData;
use ssh_key::{Algorithm, HashAlg, PrivateKey, PublicKey, Signature};

/// What a CA certifies about a key: every field of a certificate but the keys, the nonce and the
/// signature. It may say things that no CA should, so that tests can.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateSpec {
    /// Whom it identifies.
    pub kind: CertificateKind,
    /// The CA's number for it; 0 where it does not number.
    pub serial: u64,
    /// The CA's name for it, which ends up in logs.
    pub key_id: String,
    /// Login names of a user certificate, host names of a host certificate.
    pub principals: Vec<String>,
    /// Seconds since 1970, inclusive; [`crate::validity::ALWAYS`] for no limit.
    pub valid_after: u64,
    /// Seconds since 1970, exclusive; [`crate::validity::FOREVER`] for no limit.
    pub valid_before: u64,
    /// Who does not know one of these must refuse the certificate. In the order of their names.
    pub critical_options: Vec<CertificateOption>,
    /// Who does not know one of these ignores it. In the order of their names.
    pub extensions: Vec<CertificateOption>,
}

/// The field `type` of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateKind {
    /// SSH_CERT_TYPE_USER
    User,
    /// SSH_CERT_TYPE_HOST
    Host,
    /// Any other number; 1 and 2 are the ones above.
    Unknown(u32),
}

/// A critical option or an extension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateOption {
    /// Such as `force-command` or `permit-pty`.
    pub name: String,
    /// As encoded: empty, or for all options defined so far an SSH string within this string.
    pub data: Vec<u8>,
}

/// A certificate as decoded. That it decodes says nothing about its worth: its signature is
/// checked by [`Certificate::verify`], and what it says by nothing here.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// Random bytes by the CA, 32 where OpenSSH or this crate made it.
    pub nonce: Vec<u8>,
    /// The certified key.
    pub subject: KeyData,
    /// What it says.
    pub spec: CertificateSpec,
    /// Empty until there is a use for it.
    pub reserved: Vec<u8>,
    /// The CA's public key.
    pub signature_key: KeyData,
    /// The CA's signature.
    pub signature: Signature,
    signed: Vec<u8>,
}

/// Why a certificate could not be made or read.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The subject or the signature key is not a plain key.
    #[error("the {0} {1}")]
    Key(&'static str, KeyError),
    /// A field is malformed, cut off or followed by something.
    #[error("it is damaged ({0})")]
    Damaged(#[from] ssh_key::Error),
    /// The blob begins with another name.
    #[error("{0:?} is not the name of a kind of certificate")]
    NotACertificate(String),
    /// The CA's key does not sign with this algorithm.
    #[error("a key of type {key} does not sign with {algorithm}")]
    WrongAlgorithm {
        /// The CA key's.
        key: Algorithm,
        /// The one asked for.
        algorithm: Algorithm,
    },
    /// getrandom(2) failed, so there is no nonce.
    #[error("the operating system gives no randomness: {0}")]
    NoRandomness(#[from] SysError),
}

/// Why a certificate's signature counts for nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// Not by this key, or not over this certificate.
    #[error("its signature is wrong: it was altered, or not signed by the CA that it names")]
    Invalid,
    /// RSA with SHA-1, which nobody accepts any more (RFC 8332; OpenSSH 8.2 for certificates).
    #[error("it is signed with SHA-1 (ssh-rsa), which is not accepted: sign with rsa-sha2-512")]
    Sha1,
}

impl From<encoding::Error> for CertificateError {
    fn from(error: encoding::Error) -> Self {
        Self::Damaged(error.into())
    }
}

impl CertificateOption {
    /// An option that is there or not, such as `permit-pty`.
    #[must_use]
    pub fn flag(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            data: Vec::new(),
        }
    }

    /// An option with a value, such as `force-command`.
    pub fn with_value(name: &str, value: &str) -> Result<Self, CertificateError> {
        Ok(Self {
            name: name.to_owned(),
            data: value.encode_vec()?,
        })
    }

    /// The value of an option that has exactly one.
    #[must_use]
    pub fn value(&self) -> Option<String> {
        let mut data = self.data.as_slice();
        let value = String::decode(&mut data).ok()?;
        data.is_empty().then_some(value)
    }
}

impl CertificateKind {
    fn number(self) -> u32 {
        match self {
            Self::User => 1,
            Self::Host => 2,
            Self::Unknown(number) => number,
        }
    }

    fn from_number(number: u32) -> Self {
        match number {
            1 => Self::User,
            2 => Self::Host,
            _ => Self::Unknown(number),
        }
    }
}

/// Signs a certificate as OpenSSH does: an RSA CA signs with `rsa-sha2-512`. Returns the blob;
/// [`to_openssh`] makes a line of it.
pub fn sign(
    spec: &CertificateSpec,
    subject: &PublicKey,
    ca: &PrivateKey,
) -> Result<Vec<u8>, CertificateError> {
    let algorithm = match ca.algorithm() {
        Algorithm::Rsa { .. } => Algorithm::Rsa {
            hash: Some(HashAlg::Sha512),
        },
        other => other,
    };
    sign_as(spec, subject, ca, &algorithm)
}

/// Signs with the named signature algorithm, which makes a difference for RSA alone. SHA-1
/// (`ssh-rsa`) is not offered.
pub fn sign_as(
    spec: &CertificateSpec,
    subject: &PublicKey,
    ca: &PrivateKey,
    algorithm: &Algorithm,
) -> Result<Vec<u8>, CertificateError> {
    sign_with(spec, subject, ca.public_key(), |signed| {
        let signature = match (algorithm, ca.key_data()) {
            // With a hash: without one it would be SHA-1, where another crate has switched that on.
            (Algorithm::Rsa { hash: Some(hash) }, KeypairData::Rsa(pair)) => {
                (pair, Some(*hash)).try_sign(signed)
            }
            (Algorithm::Rsa { hash: None }, _) => {
                return Err(CertificateError::WrongAlgorithm {
                    key: ca.algorithm(),
                    algorithm: algorithm.clone(),
                });
            }
            _ if *algorithm == ca.algorithm() => ca.try_sign(signed),
            _ => {
                return Err(CertificateError::WrongAlgorithm {
                    key: ca.algorithm(),
                    algorithm: algorithm.clone(),
                });
            }
        };
        signature.map_err(|error| ssh_key::Error::from(error).into())
    })
}

/// Makes a certificate around a signature by other means: an agent, or a test that forges. The
/// function is given the bytes to sign.
pub fn sign_with(
    spec: &CertificateSpec,
    subject: &PublicKey,
    signature_key: &PublicKey,
    signer: impl FnOnce(&[u8]) -> Result<Signature, CertificateError>,
) -> Result<Vec<u8>, CertificateError> {
    // As long as OpenSSH's and Pomerium's.
    let mut nonce = [0; 32];
    SysRng.try_fill_bytes(&mut nonce)?;
    let mut blob = to_be_signed(spec, &nonce, subject.key_data(), signature_key.key_data())?;
    let signature = signer(&blob)?;
    signature.encode_prefixed(&mut blob)?;
    Ok(blob)
}

/// A certificate's blob as a line of a `-cert.pub` file, without its end.
pub fn to_openssh(blob: &[u8], comment: &str) -> Result<String, CertificateError> {
    let algorithm = String::decode(&mut &*blob)?;
    let base64 = Base64::encode_string(blob);
    Ok(format!("{algorithm} {base64} {comment}")
        .trim_end()
        .to_owned())
}

fn to_be_signed(
    spec: &CertificateSpec,
    nonce: &[u8],
    subject: &KeyData,
    signature_key: &KeyData,
) -> Result<Vec<u8>, CertificateError> {
    if subject.is_certificate() {
        return Err(CertificateError::Key("subject", KeyError::IsCertificate));
    }
    let subject_blob = subject.encode_vec()?;
    let mut subject_fields = subject_blob.as_slice();
    let _algorithm = String::decode(&mut subject_fields)?;

    let mut blob = Vec::new();
    subject
        .algorithm()
        .to_certificate_type()
        .encode(&mut blob)?;
    nonce.encode(&mut blob)?;
    blob.extend_from_slice(subject_fields);
    spec.serial.encode(&mut blob)?;
    spec.kind.number().encode(&mut blob)?;
    spec.key_id.encode(&mut blob)?;
    spec.principals.encode(&mut blob)?;
    spec.valid_after.encode(&mut blob)?;
    spec.valid_before.encode(&mut blob)?;
    encode_options(&spec.critical_options)?.encode(&mut blob)?;
    encode_options(&spec.extensions)?.encode(&mut blob)?;
    Vec::<u8>::new().encode(&mut blob)?;
    signature_key.encode_prefixed(&mut blob)?;
    Ok(blob)
}

fn encode_options(options: &[CertificateOption]) -> Result<Vec<u8>, CertificateError> {
    let mut encoded = Vec::new();
    for option in options {
        option.name.encode(&mut encoded)?;
        option.data.encode(&mut encoded)?;
    }
    Ok(encoded)
}

impl Certificate {
    /// Decodes a certificate's blob.
    pub fn decode(blob: &[u8]) -> Result<Self, CertificateError> {
        let mut reader = blob;
        let algorithm = certificate_algorithm(String::decode(&mut reader)?)?;
        let nonce = Vec::decode(&mut reader)?;
        // Not `KeyData::decode`, which would follow a certificate.
        let subject = KeyData::decode_as(&mut reader, algorithm)?;
        let spec = CertificateSpec::decode(&mut reader)?;
        let reserved = Vec::decode(&mut reader)?;
        let signature_key = openssh::plain_key(&Vec::decode(&mut reader)?)
            .map_err(|error| CertificateError::Key("signature key", error))?;
        let (signed, _) = blob.split_at(blob.len().saturating_sub(reader.len()));
        let signature = reader.read_prefixed(Signature::decode)?;
        Ok(reader.finish(Self {
            nonce,
            subject,
            spec,
            reserved,
            signature_key,
            signature,
            signed: signed.to_owned(),
        })?)
    }

    /// Checks the CA's signature over the bytes as they were decoded.
    pub fn verify(&self) -> Result<(), SignatureError> {
        if self.signature.algorithm() == (Algorithm::Rsa { hash: None }) {
            return Err(SignatureError::Sha1);
        }
        self.signature_key
            .verify(&self.signed, &self.signature)
            .map_err(|_| SignatureError::Invalid)
    }
}

impl CertificateSpec {
    fn decode(reader: &mut &[u8]) -> Result<Self, CertificateError> {
        Ok(Self {
            serial: u64::decode(reader)?,
            kind: CertificateKind::from_number(u32::decode(reader)?),
            key_id: String::decode(reader)?,
            principals: Vec::decode(reader)?,
            valid_after: u64::decode(reader)?,
            valid_before: u64::decode(reader)?,
            critical_options: decode_options(&Vec::decode(reader)?)?,
            extensions: decode_options(&Vec::decode(reader)?)?,
        })
    }
}

fn certificate_algorithm(name: String) -> Result<Algorithm, CertificateError> {
    match Algorithm::new_certificate(&name) {
        Ok(Algorithm::Other(_)) | Err(_) => Err(CertificateError::NotACertificate(name)),
        Ok(algorithm) => Ok(algorithm),
    }
}

fn decode_options(mut encoded: &[u8]) -> Result<Vec<CertificateOption>, CertificateError> {
    let mut options = Vec::new();
    while !encoded.is_empty() {
        options.push(CertificateOption {
            name: String::decode(&mut encoded)?,
            data: Vec::decode(&mut encoded)?,
        });
    }
    Ok(options)
}
