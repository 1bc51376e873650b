//! Host keys: which algorithms they can sign with, signing, and verifying.

use ssh_key::private::KeypairData;
use ssh_key::{Algorithm, HashAlg, PrivateKey, PublicKey, Signature};
use signature::{Signer, Verifier};

/// A host key, a signature, or a key that does not fit.
#[derive(Debug, thiserror::Error)]
pub enum HostKeyError {
    /// The key or the signature could not be read, or the signature is wrong.
    #[error("host key: {0}")]
    Key(#[from] ssh_key::Error),
    /// Likewise, from the signature library, which gives no reason.
    #[error("signature failed verification")]
    Signature,
    /// The server signed with another algorithm than the one agreed on.
    #[error("the server's signature is {found}, agreed was {agreed}")]
    Algorithm {
        /// The name in the signature.
        found: String,
        /// The name in `server_host_key_algorithms`.
        agreed: String,
    },
}

/// The host keys of a server, in the order of its configuration.
#[derive(Debug, Clone, Default)]
pub struct HostKeys {
    keys: Vec<PrivateKey>,
}

impl HostKeys {
    /// Takes the keys as they are.
    pub fn new(keys: Vec<PrivateKey>) -> Self {
        Self { keys }
    }

    /// What they sign with, in their order; RSA with SHA-256, then SHA-512, never SHA-1
    /// (pomerium/envoy-custom openssh.cc, `signatureAlgorithmsForKeyType`).
    pub fn algorithms(&self) -> Vec<String> {
        self.keys.iter().flat_map(algorithms_of).collect()
    }

    /// The key that signs with this algorithm.
    pub fn for_algorithm(&self, name: &str) -> Option<&PrivateKey> {
        self.keys.iter().find(|key| algorithms_of(key).any(|known| known == name))
    }

    /// The key with this public blob.
    pub fn by_blob(&self, blob: &[u8]) -> Option<&PrivateKey> {
        self.keys.iter().find(|key| key.public_key().to_bytes().is_ok_and(|known| known == blob))
    }
}

fn algorithms_of(key: &PrivateKey) -> impl Iterator<Item = String> + use<> {
    let names = match key.algorithm() {
        Algorithm::Rsa { .. } => vec!["rsa-sha2-256".to_owned(), "rsa-sha2-512".to_owned()],
        other => vec![other.as_str().to_owned()],
    };
    names.into_iter()
}

/// The signature blob over `data`, in the algorithm of that name.
pub fn sign(key: &PrivateKey, algorithm: &str, data: &[u8]) -> Result<Vec<u8>, HostKeyError> {
    let hash = match algorithm {
        "rsa-sha2-256" => Some(HashAlg::Sha256),
        _ => Some(HashAlg::Sha512),
    };
    let signature = match key.key_data() {
        KeypairData::Rsa(pair) => (pair, hash).try_sign(data),
        _ => key.try_sign(data),
    };
    let signature = signature.map_err(|_| HostKeyError::Signature)?;
    Ok(Vec::try_from(signature)?)
}

/// Checks a signature blob against a public key blob; both must be of the algorithm named.
pub fn verify(
    blob: &[u8],
    algorithm: &str,
    signature: &[u8],
    data: &[u8],
) -> Result<(), HostKeyError> {
    let key = PublicKey::from_bytes(blob)?;
    let signature = Signature::try_from(signature)?;
    if signature.algorithm().as_str() != algorithm {
        let found = signature.algorithm().as_str().to_owned();
        return Err(HostKeyError::Algorithm { found, agreed: algorithm.to_owned() });
    }
    key.key_data().verify(data, &signature).map_err(|_| HostKeyError::Signature)
}
