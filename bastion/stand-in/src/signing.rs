//! Signatures by private keys, and checking them (RFC 4253 section 6.6, RFC 8332).

use signature::{Signer, Verifier};
use ssh_key::private::KeypairData;
use ssh_key::{HashAlg, PrivateKey, PublicKey, Signature};

/// A key or a signature that does not fit.
#[derive(Debug, thiserror::Error)]
pub enum SignatureError {
    /// The key or the signature could not be read, or the signature is wrong.
    #[error("key or signature: {0}")]
    Key(#[from] ssh_key::Error),
    /// Likewise, from the signature library, which gives no reason.
    #[error("signature failed verification")]
    Signature,
    /// Signed with another algorithm than the one agreed on.
    #[error("the signature is {found}, agreed was {agreed}")]
    Algorithm {
        /// The name in the signature.
        found: String,
        /// The name agreed on.
        agreed: String,
    },
}

/// The signature blob over `data`, in the algorithm of that name.
pub fn sign(key: &PrivateKey, algorithm: &str, data: &[u8]) -> Result<Vec<u8>, SignatureError> {
    let hash = match algorithm {
        "rsa-sha2-256" => Some(HashAlg::Sha256),
        _ => Some(HashAlg::Sha512),
    };
    let signature = match key.key_data() {
        KeypairData::Rsa(pair) => (pair, hash).try_sign(data),
        _ => key.try_sign(data),
    };
    let signature = signature.map_err(|_| SignatureError::Signature)?;
    Ok(Vec::try_from(signature)?)
}

/// Checks a signature blob against a public key blob; both must be of the algorithm named.
pub fn verify(
    blob: &[u8],
    algorithm: &str,
    signature: &[u8],
    data: &[u8],
) -> Result<(), SignatureError> {
    let key = PublicKey::from_bytes(blob)?;
    let signature = Signature::try_from(signature)?;
    if signature.algorithm().as_str() != algorithm {
        let found = signature.algorithm().as_str().to_owned();
        return Err(SignatureError::Algorithm {
            found,
            agreed: algorithm.to_owned(),
        });
    }
    key.key_data()
        .verify(data, &signature)
        .map_err(|_| SignatureError::Signature)
}
