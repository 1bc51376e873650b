//! Key files: reading with the checks that a key deserves, and writing that never overwrites.

use crate::openssh::{self, KeyError};
use ssh_key::{PrivateKey, PublicKey};
use std::fs::{self, File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown, lchown};
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;
use zeroize::Zeroizing;

/// The largest file that is read, in bytes; OpenSSH's own limit (MAX_KEY_FILE_SIZE).
const MAX_FILE: u64 = 1024 * 1024;

/// Who may read a file that is written here. The file gets exactly this, whatever the umask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// 0600: the owner alone.
    Private,
    /// 0644: everyone may read it.
    Public,
}

/// Whose a file is that is written here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// Who runs the program: a server's own keys.
    Us,
    /// Where root runs it, who owns the folder that the file goes to: a person's keys, made by
    /// sudo or in a container, are that person's, and those in a container's folder its own.
    Folder,
}

/// Why a key file could not be read or written. Each says what to do where that is known.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// There is no such file.
    #[error("{} does not exist", .0.display())]
    NotFound(PathBuf),
    /// The path is a symbolic link to a file that does not exist.
    #[error("{} is a symbolic link to nothing: mend or remove the link", .0.display())]
    DanglingLink(PathBuf),
    /// The folder that the file should be in does not exist or is no folder.
    #[error("there is no folder {}: create it first, or name another", .0.display())]
    NoFolder(PathBuf),
    /// A folder could not be made.
    #[error("cannot create the folder {}: {}", .0.display(), .1)]
    Folder(PathBuf, io::Error),
    /// The path is a folder.
    #[error("{} is a folder, and not a file", .0.display())]
    IsFolder(PathBuf),
    /// The file is larger than any key file.
    #[error("{} is larger than any key file (1 MiB)", .0.display())]
    TooLarge(PathBuf),
    /// Group or others may read or change a private key: the file's mode.
    #[error(
        "{path} is a private key that others may read or change (mode {mode:04o}): run \
         `chmod 600 {path}`",
        path = .0.display(),
        mode = .1,
    )]
    Exposed(PathBuf, u32),
    /// Something exists at the path where a new file should go. It is untouched.
    #[error("{} exists and is never overwritten: move it away, or name another file", .0.display())]
    Exists(PathBuf),
    /// The file was expected to hold one public key, and holds this many.
    #[error("{} holds {} public keys; expected is one", .0.display(), .1)]
    NotOneKey(PathBuf, usize),
    /// The content is not the key that it should be; with its line (from 1) where it has several.
    #[error("{}", key_sentence(.0, *.1, .2))]
    Key(PathBuf, Option<usize>, KeyError),
    /// The system refused to read.
    #[error("cannot read {}: {}", .0.display(), .1)]
    Read(PathBuf, io::Error),
    /// The system refused to write.
    #[error("cannot write {}: {}", .0.display(), .1)]
    Write(PathBuf, io::Error),
}

/// Reads a private key, and refuses it where group or others may read or change the file, or
/// where it has a passphrase.
pub fn read_private_key(path: &Path) -> Result<PrivateKey, FileError> {
    read_private_key_and_text(path).map(|(key, _)| key)
}

/// The same, and the file's text as it is.
pub fn read_private_key_and_text(
    path: &Path,
) -> Result<(PrivateKey, Zeroizing<String>), FileError> {
    let (mut content, mode) = read(path)?;
    if mode & 0o077 != 0 {
        return Err(FileError::Exposed(path.to_owned(), mode & 0o777));
    }
    let failed = |error| FileError::Key(path.to_owned(), None, error);
    let text = String::from_utf8(std::mem::take(&mut *content));
    let text = text
        .map(Zeroizing::new)
        .map_err(|_| failed(KeyError::NotAKey))?;
    let key = openssh::private_key(&text).map_err(failed)?;
    Ok((key, text))
}

/// Reads all public keys of a file, one a line, with their comments. Blank lines and lines that
/// begin with `#` are skipped. A file without any key gives an empty list.
pub fn read_public_keys(path: &Path) -> Result<Vec<PublicKey>, FileError> {
    openssh::public_keys(&read_text(path)?)
        .map_err(|(line, error)| FileError::Key(path.to_owned(), Some(line), error))
}

/// Reads a file that should hold exactly one public key.
pub fn read_public_key(path: &Path) -> Result<PublicKey, FileError> {
    let mut keys = read_public_keys(path)?;
    match (keys.pop(), keys.len()) {
        (Some(key), 0) => Ok(key),
        (Some(_), more) => Err(FileError::NotOneKey(
            path.to_owned(),
            more.saturating_add(1),
        )),
        (None, _) => Err(FileError::NotOneKey(path.to_owned(), 0)),
    }
}

/// Reads a text of public keys or certificates. Comments need not be UTF-8: what is not becomes
/// U+FFFD.
pub fn read_text(path: &Path) -> Result<String, FileError> {
    let (content, _) = read(path)?;
    Ok(String::from_utf8_lossy(&content).into_owned())
}

/// Writes a file that must not exist yet: it appears with its whole content or not at all, and
/// [`FileError::Exists`] leaves what is there untouched, also where another process was faster.
pub fn write_new(path: &Path, content: &str, mode: Mode, owner: Owner) -> Result<(), FileError> {
    let placed = staged(path, content, mode, owner)?.persist_noclobber(path);
    placed.map_err(|refused| match refused.error.kind() {
        io::ErrorKind::AlreadyExists => FileError::Exists(path.to_owned()),
        _ => FileError::Write(path.to_owned(), refused.error),
    })?;
    sync_folder(path);
    Ok(())
}

/// Writes a file in place of what is there: readers see the old content or the new.
pub fn replace(path: &Path, content: &str, mode: Mode, owner: Owner) -> Result<(), FileError> {
    let placed = staged(path, content, mode, owner)?.persist(path);
    placed.map_err(|refused| FileError::Write(path.to_owned(), refused.error))?;
    sync_folder(path);
    Ok(())
}

/// Creates a folder with those above it, where they are missing: readable by all whatever the
/// umask, because bastion reads what is in it as root without CAP_DAC_OVERRIDE. Each belongs to
/// whom the folder around it belongs to, as with [`Owner::Folder`].
pub fn create_folder(folder: &Path) -> Result<(), FileError> {
    let missing = |folder: &&Path| !folder.as_os_str().is_empty() && !folder.exists();
    let folders: Vec<_> = folder.ancestors().take_while(missing).collect();
    for folder in folders.into_iter().rev() {
        let made = match fs::create_dir(folder) {
            Ok(()) => open_to_all(folder),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(error),
        };
        made.map_err(|error| FileError::Folder(folder.to_owned(), error))?;
    }
    Ok(())
}

fn open_to_all(made: &Path) -> io::Result<()> {
    fs::set_permissions(made, Permissions::from_mode(0o755))?;
    match heir(fs::symlink_metadata(made)?.uid(), folder(made))? {
        Some((user, group)) => lchown(made, Some(user), Some(group)),
        None => Ok(()),
    }
}

/// Who gets what `maker` made in this folder, if not `maker`: user and group.
fn heir(maker: u32, folder: &Path) -> io::Result<Option<(u32, u32)>> {
    let around = fs::metadata(folder)?;
    Ok((maker == 0 && around.uid() != 0).then(|| (around.uid(), around.gid())))
}

/// `path` with `suffix` behind its name: `ca` and `.pub` make `ca.pub`.
#[must_use]
pub fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// The file's content and its mode, both of the same open file.
fn read(path: &Path) -> Result<(Zeroizing<Vec<u8>>, u32), FileError> {
    let failed = |error| FileError::Read(path.to_owned(), error);
    let file = File::open(path).map_err(|error| not_opened(path, error))?;
    let metadata = file.metadata().map_err(failed)?;
    if metadata.is_dir() {
        return Err(FileError::IsFolder(path.to_owned()));
    }
    // Room for everything at once: growing would leave copies of a private key behind.
    let capacity = usize::try_from(metadata.len().min(MAX_FILE)).unwrap_or(0);
    let mut content = Zeroizing::new(Vec::with_capacity(capacity.saturating_add(1)));
    let read = file.take(MAX_FILE + 1).read_to_end(&mut content);
    match read.map_err(failed)? {
        length if length as u64 > MAX_FILE => Err(FileError::TooLarge(path.to_owned())),
        _ => Ok((content, metadata.permissions().mode())),
    }
}

fn not_opened(path: &Path, error: io::Error) -> FileError {
    match error.kind() {
        io::ErrorKind::NotFound if fs::symlink_metadata(path).is_ok() => {
            FileError::DanglingLink(path.to_owned())
        }
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory if !folder(path).is_dir() => {
            FileError::NoFolder(folder(path).to_owned())
        }
        io::ErrorKind::NotFound => FileError::NotFound(path.to_owned()),
        _ => FileError::Read(path.to_owned(), error),
    }
}

/// A complete file beside its place; dropping it removes it. Its name begins with the key's, so
/// that what keeps keys out of version control keeps a left-over of a crash out, too.
fn staged(
    path: &Path,
    content: &str,
    mode: Mode,
    owner: Owner,
) -> Result<NamedTempFile, FileError> {
    let folder = folder(path);
    if !folder.is_dir() {
        return Err(FileError::NoFolder(folder.to_owned()));
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".");
    let mut file = tempfile::Builder::new()
        .prefix(&name)
        .suffix(".tmp")
        .permissions(Permissions::from_mode(0o600))
        .tempfile_in(folder)
        .map_err(|error| FileError::Write(path.to_owned(), error.kind().into()))?;
    let heir = match owner {
        Owner::Us => Ok(None),
        Owner::Folder => file
            .as_file()
            .metadata()
            .and_then(|made| heir(made.uid(), folder)),
    };
    heir.and_then(|heir| fill(&mut file, content, mode, heir))
        .map_err(|error| FileError::Write(path.to_owned(), error))?;
    Ok(file)
}

fn fill(
    file: &mut NamedTempFile,
    content: &str,
    mode: Mode,
    heir: Option<(u32, u32)>,
) -> io::Result<()> {
    let mode = match mode {
        Mode::Private => 0o600,
        Mode::Public => 0o644,
    };
    file.write_all(content.as_bytes())?;
    file.as_file()
        .set_permissions(Permissions::from_mode(mode))?;
    if let Some((user, group)) = heir {
        fchown(file.as_file(), Some(user), Some(group))?;
    }
    file.as_file().sync_all()
}

/// Makes the new name survive a power cut, where the file system can: the file itself is
/// complete by now, so that not being able to is no reason to fail.
fn sync_folder(path: &Path) {
    if let Ok(folder) = File::open(folder(path)) {
        folder.sync_all().unwrap_or_default();
    }
}

/// The folder of a path; `.` for a bare name.
fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Where a key is wrong, how, and what to do about it.
fn key_sentence(path: &Path, line: Option<usize>, error: &KeyError) -> String {
    let path = path.display();
    let remedy = match error {
        KeyError::Encrypted => format!(": run `ssh-keygen -p -N '' -f {path}` to take it off"),
        KeyError::OtherPem(label) if label.ends_with("PRIVATE KEY") => {
            format!(": run `ssh-keygen -p -N '' -f {path}` to convert it")
        }
        KeyError::IsPublic => ": name the file without `.pub`".to_owned(),
        KeyError::IsPrivate => ": name the file with `.pub`".to_owned(),
        _ => String::new(),
    };
    match line {
        Some(line) => format!("{path}, line {line}, {error}{remedy}"),
        None => format!("{path} {error}{remedy}"),
    }
}
