//! The key exchange methods, the exchange hash, and the keys that come of it. All three methods
//! share messages 30 and 31, SHA-256, and the layout of the exchange hash (RFC 5656 section 4,
//! draft-ietf-sshm-mlkem-hybrid-kex); they differ in the secret and how it is encoded.

use super::algorithm::{Cipher, KexMethod, Mac};
use super::cipher::DirectionKeys;
use crate::wire::Writer;
use aws_lc_rs::agreement::{self, UnparsedPublicKey, X25519};
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::kem::{self, ML_KEM_768};

const MLKEM768_PUBLIC_KEY_LEN: usize = 1184;
const MLKEM768_CIPHERTEXT_LEN: usize = 1088;

/// The peer's share of the secret is not what the method needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("key exchange failed: invalid share of the secret")]
pub struct InvalidShare;

impl From<aws_lc_rs::error::Unspecified> for InvalidShare {
    fn from(_: aws_lc_rs::error::Unspecified) -> Self {
        Self
    }
}

/// The client's private half of a key exchange.
pub(super) struct ClientSecret {
    x25519: agreement::PrivateKey,
    ml_kem: Option<kem::DecapsulationKey<kem::AlgorithmId>>,
}

/// The shared secret, encoded as the exchange hash and the key derivation take it: `mpint`, or
/// `string` for the hybrid method.
pub(super) struct SharedSecret(Vec<u8>);

/// What the exchange hash covers (RFC 5656 section 4).
pub(super) struct Transcript<'a> {
    pub(super) client_version: &'a str,
    pub(super) server_version: &'a str,
    pub(super) client_kexinit: &'a [u8],
    pub(super) server_kexinit: &'a [u8],
    pub(super) host_key: &'a [u8],
    pub(super) client_share: &'a [u8],
    pub(super) server_share: &'a [u8],
}

impl ClientSecret {
    /// A fresh secret, and the share to send in message 30.
    pub(super) fn generate(method: KexMethod) -> Result<(Self, Vec<u8>), InvalidShare> {
        let x25519 = agreement::PrivateKey::generate(&X25519)?;
        let mut share = Vec::new();
        let ml_kem = match method {
            KexMethod::MlKem768X25519Sha256 => {
                let key = kem::DecapsulationKey::generate(&ML_KEM_768)?;
                share.extend_from_slice(key.encapsulation_key()?.key_bytes()?.as_ref());
                Some(key)
            }
            KexMethod::Curve25519Sha256 | KexMethod::Curve25519Sha256Libssh => None,
        };
        share.extend_from_slice(x25519.compute_public_key()?.as_ref());
        Ok((Self { x25519, ml_kem }, share))
    }

    /// The shared secret with the server's share of message 31.
    pub(super) fn agree(&self, server_share: &[u8]) -> Result<SharedSecret, InvalidShare> {
        let Some(ml_kem) = &self.ml_kem else {
            return Ok(SharedSecret::mpint(&x25519(&self.x25519, server_share)?));
        };
        let (ciphertext, public) = server_share
            .split_at_checked(MLKEM768_CIPHERTEXT_LEN)
            .ok_or(InvalidShare)?;
        let post_quantum = ml_kem.decapsulate(ciphertext.into())?;
        Ok(SharedSecret::hybrid(
            post_quantum.as_ref(),
            &x25519(&self.x25519, public)?,
        ))
    }
}

impl SharedSecret {
    /// The server's whole part: its share for message 31, and the secret.
    pub(super) fn respond(
        method: KexMethod,
        client_share: &[u8],
    ) -> Result<(Vec<u8>, Self), InvalidShare> {
        let private = agreement::PrivateKey::generate(&X25519)?;
        let public = private.compute_public_key()?;
        if method != KexMethod::MlKem768X25519Sha256 {
            let secret = Self::mpint(&x25519(&private, client_share)?);
            return Ok((public.as_ref().to_vec(), secret));
        }
        let (ml_kem, client_public) = client_share
            .split_at_checked(MLKEM768_PUBLIC_KEY_LEN)
            .ok_or(InvalidShare)?;
        let ml_kem = kem::EncapsulationKey::new(&ML_KEM_768, ml_kem).map_err(|_| InvalidShare)?;
        let (ciphertext, post_quantum) = ml_kem.encapsulate()?;
        let secret = Self::hybrid(post_quantum.as_ref(), &x25519(&private, client_public)?);
        Ok(([ciphertext.as_ref(), public.as_ref()].concat(), secret))
    }

    fn mpint(secret: &[u8]) -> Self {
        Self(Writer::new().mpint(secret).into_vec())
    }

    /// `K = SHA256(K_PQ || K_CL)`, as a string.
    fn hybrid(post_quantum: &[u8], classical: &[u8]) -> Self {
        let secret = digest(&SHA256, &[post_quantum, classical].concat());
        Self(Writer::new().string(secret).into_vec())
    }

    /// The exchange hash H.
    pub(super) fn exchange_hash(&self, transcript: &Transcript<'_>) -> Vec<u8> {
        let hashed = Writer::new()
            .string(transcript.client_version)
            .string(transcript.server_version)
            .string(transcript.client_kexinit)
            .string(transcript.server_kexinit)
            .string(transcript.host_key)
            .string(transcript.client_share)
            .string(transcript.server_share)
            .bytes(&self.0)
            .into_vec();
        digest(&SHA256, &hashed).as_ref().to_vec()
    }

    /// RFC 4253 section 7.2; `to_server` picks the letters A, C, E or B, D, F.
    pub(super) fn direction_keys(
        &self,
        hash: &[u8],
        session_id: &[u8],
        to_server: bool,
        cipher: Cipher,
        mac: Option<Mac>,
    ) -> DirectionKeys {
        let [iv, key, mac_key] = if to_server { *b"ACE" } else { *b"BDF" };
        let derive = |letter, len| self.derive(hash, session_id, letter, len);
        DirectionKeys {
            cipher,
            mac,
            iv: derive(iv, cipher.iv_len()),
            key: derive(key, cipher.key_len()),
            mac_key: derive(mac_key, mac.map_or(0, Mac::key_len)),
        }
    }

    fn derive(&self, hash: &[u8], session_id: &[u8], letter: u8, len: usize) -> Vec<u8> {
        let first = [self.0.as_slice(), hash, &[letter], session_id].concat();
        let mut material = digest(&SHA256, &first).as_ref().to_vec();
        while material.len() < len {
            let more = [self.0.as_slice(), hash, &material].concat();
            material.extend_from_slice(digest(&SHA256, &more).as_ref());
        }
        material.truncate(len);
        material
    }
}

/// Refuses a public key of the wrong length, and the all-zero secret (RFC 8731 section 3).
fn x25519(private: &agreement::PrivateKey, public: &[u8]) -> Result<Vec<u8>, InvalidShare> {
    let public = UnparsedPublicKey::new(&X25519, public);
    let secret = agreement::agree(private, public, InvalidShare, |secret| Ok(secret.to_vec()))?;
    if secret.iter().all(|byte| *byte == 0) {
        Err(InvalidShare)
    } else {
        Ok(secret)
    }
}
