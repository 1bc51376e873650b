//! Paths made absolute: REALPATH (§6.11), `expand-path`, `home-directory` (PROTOCOL §4.9, §4.11).

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::unistd::{Uid, User};

use crate::sftp::reply::{Name, Reply};
use crate::sftp::{Status, StatusCode};

/// The most symbolic links on the way to a file that is not there: Linux's own MAXSYMLINKS.
const MAX_LINKS: usize = 40;

pub(super) fn realpath(path: &Path) -> Result<Reply, Status> {
    let path = if path.as_os_str().is_empty() {
        Path::new(".")
    } else {
        path
    };
    Ok(name(resolve(path)?))
}

/// As a shell expands `~` and `~user`, then as REALPATH. `~` is the folder that the server was
/// started in, as in sftp-server: the home folder, unless told otherwise by `-d`.
pub(super) fn expand_path(path: &Path) -> Result<Reply, Status> {
    let bytes = path.as_os_str().as_bytes();
    let Some(tilde) = bytes.strip_prefix(b"~") else {
        return realpath(path);
    };
    let end = tilde
        .iter()
        .position(|&byte| byte == b'/')
        .unwrap_or(tilde.len());
    let (user, rest) = tilde.split_at_checked(end).unwrap_or_default();
    let rest = Path::new(OsStr::from_bytes(rest.strip_prefix(b"/").unwrap_or(rest)));
    let home = match user {
        b"" => std::env::current_dir()?,
        user => home_of(user)?.ok_or(Status::new(StatusCode::NoSuchFile, "No such user"))?,
    };
    Ok(name(resolve(&home.join(rest))?))
}

/// As sftp-server: the folder that the account's entry names, there or not.
pub(super) fn home_directory(username: &[u8]) -> Result<Reply, Status> {
    let home = match username {
        b"" => User::from_uid(Uid::current())?.map(|user| user.dir),
        username => home_of(username)?,
    };
    home.map(name).ok_or(Status::failure("No such user"))
}

fn home_of(user: &[u8]) -> Result<Option<PathBuf>, Status> {
    // A name that is no UTF-8 is nobody's.
    let Ok(user) = std::str::from_utf8(user) else {
        return Ok(None);
    };
    Ok(User::from_name(user)?.map(|user| user.dir))
}

/// The path without `.`, `..` and symbolic links. The last component need not be there: clients
/// ask where they are about to make something.
fn resolve(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..MAX_LINKS {
        match std::fs::canonicalize(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            outcome => return outcome,
        }
        let (folder, last) = split(&path).ok_or(Errno::ENOENT)?;
        let missing = std::fs::canonicalize(folder)?.join(last);
        match std::fs::read_link(&missing) {
            Ok(target) => path = missing.with_file_name("").join(target),
            Err(_) => return Ok(missing),
        }
    }
    Err(Errno::ELOOP.into())
}

/// A path's folder and last component; `None` where that is none that could be missing.
fn split(path: &Path) -> Option<(&Path, &OsStr)> {
    let bytes = path.as_os_str().as_bytes();
    let (folder, last) = match bytes.iter().rposition(|&byte| byte == b'/') {
        None => (&b"."[..], bytes),
        Some(0) => (&b"/"[..], bytes.get(1..)?),
        Some(at) => (bytes.get(..at)?, bytes.get(at + 1..)?),
    };
    let named = !matches!(last, b"" | b"." | b"..");
    named.then(|| {
        (
            Path::new(OsStr::from_bytes(folder)),
            OsStr::from_bytes(last),
        )
    })
}

fn name(path: PathBuf) -> Reply {
    Reply::Names(vec![Name::path(path.into_os_string().into_vec())])
}
