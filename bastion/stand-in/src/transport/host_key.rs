//! The host keys of a server: which algorithms they sign with.

use ssh_key::{Algorithm, PrivateKey};

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
        self.keys
            .iter()
            .find(|key| algorithms_of(key).any(|known| known == name))
    }

    /// The key with this public blob.
    pub fn by_blob(&self, blob: &[u8]) -> Option<&PrivateKey> {
        self.keys
            .iter()
            .find(|key| key.public_key().to_bytes().is_ok_and(|known| known == blob))
    }
}

fn algorithms_of(key: &PrivateKey) -> impl Iterator<Item = String> + use<> {
    let names = match key.algorithm() {
        Algorithm::Rsa { .. } => vec!["rsa-sha2-256".to_owned(), "rsa-sha2-512".to_owned()],
        other => vec![other.as_str().to_owned()],
    };
    names.into_iter()
}
