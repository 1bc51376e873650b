//! Which signatures count.
//!
//! A signature is `string` algorithm, `string` value (RFC 4253, Section 6.6); a security key adds its
//! flags and counter (PROTOCOL.u2f). The algorithm must be one of the key's, and not SHA-1.

// The trait that ssh-key implements, from the crate that it does not re-export.
use ::signature::Verifier;
use ssh_key::{Algorithm, EcdsaCurve, HashAlg, Signature};

use super::public_key::{KeyType, PublicKey};
use super::refusal::printable;
use super::wire::{Reader, WireError};

/// Name of the algorithm RSASSA-PKCS1-v1_5 with SHA-1 (RFC 4253, Section 6.6).
const RSA_SHA1: &str = "ssh-rsa";

/// What a security key says, under its signature, of how it was used (PROTOCOL.u2f).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SecurityKeyFlags {
    /// Somebody touched it.
    pub user_present: bool,
    /// It knew its user, by PIN or fingerprint.
    pub user_verified: bool,
}

/// A signature that was found to be good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Verified {
    /// The name of the algorithm that it was made with.
    pub signature_algorithm: &'static str,
    /// Present if, and only if, a security key made it.
    pub security_key: Option<SecurityKeyFlags>,
}

/// Why a signature does not count.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// The fields are not laid out as they should be.
    #[error("the signature is malformed: {0}")]
    Encoding(#[from] WireError),
    /// RSA with SHA-1, for which collisions can be bought (RFC 8332, Section 1).
    #[error("the signature is made with SHA-1 (ssh-rsa), which is no longer safe")]
    Sha1,
    /// An algorithm that is not one of the key's.
    #[error(
        "a signature of type \"{}\" cannot be one of an {key_type} key",
        printable(.algorithm, 64)
    )]
    WrongAlgorithm {
        /// What the signature says it is.
        algorithm: String,
        /// What the key is.
        key_type: KeyType,
    },
    /// The value is not what the algorithm makes: of the wrong length, or not canonical.
    #[error("the value of the {algorithm} signature is malformed")]
    Value {
        /// What the signature says it is.
        algorithm: &'static str,
    },
    /// The signature is not one of this key over this message.
    #[error("the {algorithm} signature does not verify")]
    Wrong {
        /// What the signature says it is.
        algorithm: &'static str,
    },
}

impl PublicKey {
    /// Checks a signature over `message`.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<Verified, SignatureError> {
        let mut reader = Reader::new(signature);
        let name = reader.text("signature algorithm")?;
        let (signature_algorithm, algorithm) = self.accepted_algorithm(name)?;
        let malformed = || SignatureError::Value {
            algorithm: signature_algorithm,
        };
        let mut value = reader.string("signature value")?.to_vec();
        // RFC 8017, Section 8.2.2, step 1: it also keeps the arithmetic to the modulus' size. Some
        // signers leave out the zeros in front (RFC 8332 §3).
        if let Some(len) = self.rsa_modulus_len() {
            let left_out = len.checked_sub(value.len()).ok_or_else(malformed)?;
            value.splice(..0, std::iter::repeat_n(0, left_out));
        }
        let security_key = if self.algorithm().is_security_key() {
            Some(read_security_key_fields(&mut reader, &mut value)?)
        } else {
            None
        };
        reader.finish("signature value")?;
        let signature = Signature::new(algorithm, value).map_err(|_| malformed())?;
        self.data
            .verify(message, &signature)
            .map_err(|_| SignatureError::Wrong {
                algorithm: signature_algorithm,
            })?;
        Ok(Verified {
            signature_algorithm,
            security_key,
        })
    }

    fn accepted_algorithm(&self, name: &str) -> Result<(&'static str, Algorithm), SignatureError> {
        let key_type = self.algorithm();
        let ecdsa = |curve| Algorithm::Ecdsa { curve };
        let rsa = |hash| Algorithm::Rsa { hash: Some(hash) };
        let accepted = match (key_type, name) {
            (KeyType::Rsa, "rsa-sha2-256") => ("rsa-sha2-256", rsa(HashAlg::Sha256)),
            (KeyType::Rsa, "rsa-sha2-512") => ("rsa-sha2-512", rsa(HashAlg::Sha512)),
            (KeyType::Rsa, RSA_SHA1) => return Err(SignatureError::Sha1),
            // Every other kind of key has one algorithm, which has the key's name.
            (KeyType::Rsa, _) => return Err(wrong_algorithm(name, key_type)),
            (_, name) if name != key_type.name() => return Err(wrong_algorithm(name, key_type)),
            (KeyType::Ed25519, _) => (key_type.name(), Algorithm::Ed25519),
            (KeyType::EcdsaP256, _) => (key_type.name(), ecdsa(EcdsaCurve::NistP256)),
            (KeyType::EcdsaP384, _) => (key_type.name(), ecdsa(EcdsaCurve::NistP384)),
            (KeyType::EcdsaP521, _) => (key_type.name(), ecdsa(EcdsaCurve::NistP521)),
            (KeyType::SkEd25519, _) => (key_type.name(), Algorithm::SkEd25519),
            (KeyType::SkEcdsaP256, _) => (key_type.name(), Algorithm::SkEcdsaSha2NistP256),
        };
        Ok(accepted)
    }
}

fn wrong_algorithm(name: &str, key_type: KeyType) -> SignatureError {
    SignatureError::WrongAlgorithm {
        algorithm: name.to_owned(),
        key_type,
    }
}

/// Reads the flags and the counter, and appends them to the value, where the library expects them.
fn read_security_key_fields(
    reader: &mut Reader<'_>,
    value: &mut Vec<u8>,
) -> Result<SecurityKeyFlags, SignatureError> {
    /// SSH_SK_USER_PRESENCE_REQD and SSH_SK_USER_VERIFICATION_REQD, the bits of CTAP's flags byte.
    const USER_PRESENT: u8 = 0x01;
    const USER_VERIFIED: u8 = 0x04;
    let flags = reader.u8("security key's flags")?;
    let counter = reader.u32("security key's counter")?;
    value.push(flags);
    value.extend_from_slice(&counter.to_be_bytes());
    Ok(SecurityKeyFlags {
        user_present: flags & USER_PRESENT != 0,
        user_verified: flags & USER_VERIFIED != 0,
    })
}
