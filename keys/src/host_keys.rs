//! The host keys of an SSH server: one of each type that a client may insist on. Pomerium has a
//! set towards its users, and bastion one towards Pomerium, under the same names.

use crate::file::{self, Owner};
use crate::generate::KeyKind;
use crate::pair::{self, KeyPair, PairError};
use ssh_key::PrivateKey;
use std::path::{Path, PathBuf};

/// The files' names, which are OpenSSH's, in the order in which Pomerium is given them: it
/// offers algorithms in this order, and asks bastion for the same.
pub const HOST_KEYS: [(&str, KeyKind); 3] = [
    ("ssh_host_ed25519_key", KeyKind::Ed25519),
    ("ssh_host_rsa_key", KeyKind::Rsa3072),
    ("ssh_host_ecdsa_key", KeyKind::EcdsaP256),
];

/// A host key and where it is kept.
#[derive(Debug)]
pub struct HostKeyFile {
    /// The private key's file.
    pub path: PathBuf,
    /// The key.
    pub key: PrivateKey,
    /// Whether it was made just now.
    pub made: bool,
}

/// Reads a server's three host keys from `folder`, and makes those that are missing, with their
/// `.pub` files. Where none is missing it writes nothing, so that the folder can be read-only.
/// The comment goes into new keys.
pub fn ensure_host_keys(folder: &Path, comment: &str) -> Result<Vec<HostKeyFile>, PairError> {
    let ensure = |(name, kind): (&str, KeyKind)| {
        let path = folder.join(name);
        let (key, made) = pair::ensure_private_key(&path, kind, comment, Owner::Us)?;
        check_kind(&path, kind, &key)?;
        if made {
            pair::ensure_public_key(&path, &key, Owner::Us)?;
        }
        Ok(HostKeyFile { path, key, made })
    };
    HOST_KEYS.into_iter().map(ensure).collect()
}

/// Whether those that are in `folder` can be used; makes none.
pub fn check_host_keys(folder: &Path) -> Result<(), PairError> {
    for (name, kind) in HOST_KEYS {
        let path = folder.join(name);
        if path.symlink_metadata().is_ok() {
            check_kind(&path, kind, &file::read_private_key(&path)?)?;
        }
    }
    Ok(())
}

/// The same with both halves of each pair looked after, and theirs whom the folder belongs to, as
/// an operator wants it.
pub(crate) fn ensure_host_key_pair(
    folder: &Path,
    (name, kind): (&str, KeyKind),
    comment: &str,
) -> Result<KeyPair, PairError> {
    let path = folder.join(name);
    let pair = pair::ensure_pair(&path, kind, comment)?;
    check_kind(&path, kind, &pair.key)?;
    Ok(pair)
}

/// Two host keys of one type would shadow each other.
pub(crate) fn check_kind(path: &Path, kind: KeyKind, key: &PrivateKey) -> Result<(), PairError> {
    match kind.admits(&key.algorithm()) {
        true => Ok(()),
        false => Err(PairError::WrongKind {
            path: path.to_owned(),
            found: key.algorithm(),
        }),
    }
}
