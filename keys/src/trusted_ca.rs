//! The file of CA keys that bastion trusts (`trusted_user_ca_keys`), as the operator keeps it:
//! the User CA's public key, and while Pomerium moves from one CA to the next, both.

use crate::file::{self, FileError, Mode, Owner};
use crate::openssh;
use ssh_key::{HashAlg, PublicKey};
use std::path::{Path, PathBuf};

/// Where the file is under the data folder: bastion's container sees this folder and nothing
/// else of the keys.
pub const INSTALLED: &str = "pomerium-ssh/pomerium_user_ca_key.pub";

/// What to do where another CA is trusted already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Others {
    /// Fail where ours is not among them, and leave the file alone where it is.
    #[default]
    Keep,
    /// Trust ours as well: the beginning of a rotation.
    Add,
    /// Trust ours alone: the end of a rotation.
    Replace,
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Installed {
    /// There was no CA; ours is trusted now.
    Made,
    /// Ours was trusted already; and so are these.
    Kept(Vec<PublicKey>),
    /// Ours is trusted now, and these still are.
    Added(Vec<PublicKey>),
    /// Ours is trusted, and these no more.
    Replaced(Vec<PublicKey>),
}

/// Why it was not done.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// The file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// Another CA is there, and nobody said what to do with it.
    #[error(
        "{path} trusts another CA, {others}: whoever holds its key may log in. If that is the one that \
         Pomerium uses, put its private key where this command makes keys, or make none. To trust both \
         until Pomerium uses the new one, run again with --add-installed-ca; to trust the new \
         one alone, with --replace-installed-ca",
        path = .path.display(),
        others = fingerprints(.others),
    )]
    OtherCa {
        /// The file.
        path: PathBuf,
        /// The keys in it.
        others: Vec<PublicKey>,
    },
}

/// Fails where [`install`] would for a CA that is still to be made: before it is.
pub fn check_room_for_a_new_one(path: &Path, others: Others) -> Result<(), InstallError> {
    let (_, theirs) = read(path, others)?;
    match others == Others::Keep && !theirs.is_empty() {
        true => Err(InstallError::OtherCa {
            path: path.to_owned(),
            others: theirs,
        }),
        false => Ok(()),
    }
}

/// The file's text and its keys; none where it is missing.
fn read(path: &Path, others: Others) -> Result<(String, Vec<PublicKey>), InstallError> {
    let text = match file::read_text(path) {
        Ok(text) => text,
        Err(FileError::NotFound(_) | FileError::NoFolder(_)) => String::new(),
        Err(error) => return Err(error.into()),
    };
    match openssh::public_keys(&text) {
        Ok(keys) => Ok((text, keys)),
        // A file that nobody can read lets nobody in: replacing it takes nothing away.
        Err(_) if others == Others::Replace => Ok((text, Vec::new())),
        Err((line, error)) => Err(FileError::Key(path.to_owned(), Some(line), error).into()),
    }
}

/// Makes the file at `path` trust `ca`. The folder is made where it is missing, readable by all.
pub fn install(path: &Path, ca: &PublicKey, others: Others) -> Result<Installed, InstallError> {
    let (text, keys) = read(path, others)?;
    let is_ours = |key: &PublicKey| key.key_data() == ca.key_data();
    let (ours, theirs): (Vec<_>, Vec<_>) = keys.into_iter().partition(is_ours);
    let line = openssh::public_key_line(ca)
        .map_err(|error| FileError::Key(path.to_owned(), None, error))?;

    let (content, done) = match others {
        _ if theirs.is_empty() && ours.is_empty() => (line, Installed::Made),
        _ if theirs.is_empty() => return Ok(Installed::Kept(theirs)),
        Others::Replace => (line, Installed::Replaced(theirs)),
        _ if !ours.is_empty() => return Ok(Installed::Kept(theirs)),
        Others::Add => (
            format!("{}\n{line}", text.trim_end()),
            Installed::Added(theirs),
        ),
        Others::Keep => {
            let path = path.to_owned();
            return Err(InstallError::OtherCa {
                path,
                others: theirs,
            });
        }
    };
    file::create_folder(path.parent().unwrap_or(Path::new(".")))?;
    file::replace(path, &content, Mode::Public, Owner::Folder)?;
    Ok(done)
}

/// `SHA256:…, SHA256:…`
#[must_use]
pub fn fingerprints(keys: &[PublicKey]) -> String {
    let fingerprint = |key: &PublicKey| key.fingerprint(HashAlg::Sha256).to_string();
    let list: Vec<_> = keys.iter().map(fingerprint).collect();
    list.join(", ")
}
