//! A private key and its public key side by side, `NAME` and `NAME.pub`: made where missing,
//! completed where the public half is missing, and otherwise kept.

use crate::file::{self, FileError, Mode, Owner};
use crate::generate::{self, GenerateError, KeyKind};
use crate::openssh;
use ssh_key::{Algorithm, PrivateKey};
use std::path::{Path, PathBuf};

/// A pair of files as it is now, and what was done to get there.
#[derive(Debug)]
pub struct KeyPair {
    /// The private key's file; the public key's has `.pub` behind it.
    pub path: PathBuf,
    /// The key.
    pub key: PrivateKey,
    /// Whether the key was made, or was there already.
    pub made: bool,
    /// Whether the file of the public key was written, or was there already.
    pub public_made: bool,
}

/// Why there is no pair.
#[derive(Debug, thiserror::Error)]
pub enum PairError {
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A key could not be made.
    #[error("{0}: {1}")]
    Generate(PathBuf, GenerateError),
    /// A public key whose private key is gone: a new one would not fit it.
    #[error(
        "{public} is there, and its private key {private} is not: put the private key back, or \
         move the public one away to have a new pair made",
        public = .public.display(),
        private = .private.display(),
    )]
    PrivateMissing {
        /// The file that is missing.
        private: PathBuf,
        /// The file that is there.
        public: PathBuf,
    },
    /// Two files that do not belong together.
    #[error(
        "{public} is not the public key of {private}: remove {public} to have it made anew, or \
         put the private key back that belongs to it",
        public = .public.display(),
        private = .private.display(),
    )]
    Mismatch {
        /// The private key's file.
        private: PathBuf,
        /// The public key's file.
        public: PathBuf,
    },
    /// The name promises another kind of key.
    #[error("{path} holds a key of type {found}, and not what its name says: move it away", path = .path.display())]
    WrongKind {
        /// The private key's file.
        path: PathBuf,
        /// Its key's algorithm.
        found: Algorithm,
    },
}

/// Makes the pair at `path`, completes it, or keeps it. It is safe to run twice at once. What root
/// makes belongs to whom the folder belongs to.
pub fn ensure_pair(path: &Path, kind: KeyKind, comment: &str) -> Result<KeyPair, PairError> {
    let (key, made) = ensure_private_key(path, kind, comment, Owner::Folder)?;
    let public_made = ensure_public_key(path, &key, Owner::Folder)?;
    Ok(KeyPair {
        path: path.to_owned(),
        key,
        made,
        public_made,
    })
}

/// Makes a pair at `path`, where neither half may be yet. What root makes belongs to whom the
/// folder belongs to.
pub fn make_pair(path: &Path, kind: KeyKind, comment: &str) -> Result<PrivateKey, PairError> {
    let public = public_path(path);
    if public.symlink_metadata().is_ok() {
        return Err(FileError::Exists(public).into());
    }
    let key = make_private_key(path, kind, comment, Owner::Folder)?;
    ensure_public_key(path, &key, Owner::Folder)?;
    Ok(key)
}

/// Reads the private key at `path`, or makes it; says whether it made it.
pub fn ensure_private_key(
    path: &Path,
    kind: KeyKind,
    comment: &str,
    owner: Owner,
) -> Result<(PrivateKey, bool), PairError> {
    // In this order: who makes a pair writes the private key first, so that a public key seen
    // now has its private key by the time that one is looked for.
    let public = public_path(path);
    let public_exists = public.symlink_metadata().is_ok();
    match file::read_private_key(path) {
        Err(FileError::NotFound(private)) if public_exists => {
            Err(PairError::PrivateMissing { private, public })
        }
        Err(FileError::NotFound(_)) => match make_private_key(path, kind, comment, owner) {
            // Somebody else was faster: theirs counts.
            Err(PairError::File(FileError::Exists(_))) => {
                Ok((file::read_private_key(path)?, false))
            }
            made => Ok((made?, true)),
        },
        kept => Ok((kept?, false)),
    }
}

/// Writes the public key of `key` beside it, unless it is there; says whether it wrote it.
pub fn ensure_public_key(path: &Path, key: &PrivateKey, owner: Owner) -> Result<bool, PairError> {
    let public = public_path(path);
    // Looked for first, so that a complete pair needs no leave to write.
    if public.symlink_metadata().is_err() {
        let line = openssh::public_key_line(key.public_key());
        let line = line.map_err(|error| FileError::Key(path.to_owned(), None, error))?;
        match file::write_new(&public, &line, Mode::Public, owner) {
            Ok(()) => return Ok(true),
            Err(FileError::Exists(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    if file::read_public_key(&public)?.key_data() != key.public_key().key_data() {
        let private = path.to_owned();
        return Err(PairError::Mismatch { private, public });
    }
    Ok(false)
}

/// Where the public key of the private key at `path` is.
#[must_use]
pub fn public_path(path: &Path) -> PathBuf {
    file::with_suffix(path, ".pub")
}

fn make_private_key(
    path: &Path,
    kind: KeyKind,
    comment: &str,
    owner: Owner,
) -> Result<PrivateKey, PairError> {
    let generated = generate::generate(kind, comment);
    let key = generated.map_err(|error| PairError::Generate(path.to_owned(), error))?;
    let text = openssh::private_key_text(&key);
    let text = text.map_err(|error| FileError::Key(path.to_owned(), None, error))?;
    file::write_new(path, &text, Mode::Private, owner)?;
    Ok(key)
}
