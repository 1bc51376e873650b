//! Fresh private keys, from the operating system's randomness.

use rand::TryRng;
use rand::rand_core::UnwrapErr;
use rand::rngs::{SysError, SysRng};
use ssh_key::private::{EcdsaKeypair, KeypairData, RsaKeypair};
use ssh_key::{Algorithm, EcdsaCurve, PrivateKey};

/// Bits of a new RSA key's modulus: what `ssh-keygen -t rsa` makes, about 128 bits of security
/// (NIST SP 800-57 part 1, table 2).
const RSA_BITS: usize = 3072;

/// The kinds of key that Pomerium and bastion use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// Ed25519 (RFC 8709).
    Ed25519,
    /// RSA with a modulus of 3072 bits (RFC 4253 §6.6, RFC 8332).
    Rsa3072,
    /// ECDSA on the curve NIST P-256 (RFC 5656).
    EcdsaP256,
}

impl KeyKind {
    /// Whether a key of this algorithm can stand where a key of this kind is wanted: the family
    /// counts, not the size, so that an existing ECDSA P-384 or RSA 4096 key stays in use.
    #[must_use]
    pub fn admits(self, algorithm: &Algorithm) -> bool {
        matches!(
            (self, algorithm),
            (Self::Ed25519, Algorithm::Ed25519)
                | (Self::Rsa3072, Algorithm::Rsa { .. })
                | (Self::EcdsaP256, Algorithm::Ecdsa { .. })
        )
    }
}

/// Why no key could be made.
#[derive(Debug, thiserror::Error)]
pub enum GenerateError {
    /// getrandom(2) failed, so nothing secret can be made.
    #[error("the operating system gives no randomness: {0}")]
    NoRandomness(#[from] SysError),
    /// The algorithm's own code failed.
    #[error("making the key failed: {0}")]
    Key(#[from] ssh_key::Error),
}

/// Makes a private key without a passphrase. The comment ends up in the private and the public
/// file, and is not secret. RSA can take up to a second.
pub fn generate(kind: KeyKind, comment: &str) -> Result<PrivateKey, GenerateError> {
    let mut random = os_random()?;
    let mut key = match kind {
        KeyKind::Ed25519 => PrivateKey::random(&mut random, Algorithm::Ed25519)?,
        KeyKind::EcdsaP256 => loop {
            let key = EcdsaKeypair::random(&mut random, EcdsaCurve::NistP256)?;
            if is_minimal(key.private_key_bytes()) {
                break PrivateKey::new(key.into(), "")?;
            }
        },
        KeyKind::Rsa3072 => {
            let pair = RsaKeypair::random(&mut random, RSA_BITS)?;
            PrivateKey::new(KeypairData::from(pair), "")?
        }
    };
    key.set_comment(comment);
    Ok(key)
}

/// Whether ssh-key, which writes a scalar at its full width, writes the mpint that ssh-keygen
/// writes: one key in 512 begins with zeros that an mpint has not (RFC 4251 §5). Drawing again
/// costs nothing that an attacker would notice.
fn is_minimal(scalar: &[u8]) -> bool {
    !matches!(scalar, [0, 0..0x80, ..])
}

/// The operating system's generator in the shape that key generation asks for, which has no way
/// to report failure: it is tried once here, where failing is still an error and not a panic.
fn os_random() -> Result<UnwrapErr<SysRng>, SysError> {
    SysRng.try_next_u32()?;
    Ok(UnwrapErr(SysRng))
}

#[cfg(test)]
mod tests {
    use super::is_minimal;

    #[test]
    fn minimal_scalars() {
        for scalar in [
            [0x01, 0x00],
            [0x7f, 0xff],
            [0x80, 0x00],
            [0x00, 0x80],
            [0x00, 0xff],
        ] {
            assert!(is_minimal(&scalar), "{scalar:?}");
        }
        for scalar in [[0x00, 0x00], [0x00, 0x01], [0x00, 0x7f]] {
            assert!(!is_minimal(&scalar), "{scalar:?}");
        }
    }
}
