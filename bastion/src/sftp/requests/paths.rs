//! Paths made absolute: REALPATH (§6.11), `expand-path`, `home-directory` (PROTOCOL §4.9, §4.11).

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::unistd::{Uid, User};

use crate::sftp::reply::{Name, Reply};
use crate::sftp::{Status, StatusCode};

/// The most symbolic links on the way: Linux's own MAXSYMLINKS.
const MAX_LINKS: usize = 40;
const EINVAL: i32 = Errno::EINVAL as i32;
const ENOENT: i32 = Errno::ENOENT as i32;

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
    // As many slashes as there are: a path that begins with one would take the folder's place.
    let named = rest.iter().position(|&byte| byte != b'/');
    let rest = named.and_then(|at| rest.get(at..)).unwrap_or_default();
    let rest = Path::new(OsStr::from_bytes(rest));
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

/// The path without `.`, `..` and symbolic links, as sftp-server's `sftp_realpath`: `..` takes away what
/// is before it, a folder or not. The last component need not be there: clients ask where they are
/// about to make something.
fn resolve(path: &Path) -> io::Result<PathBuf> {
    let mut resolved = match path.is_absolute() {
        true => PathBuf::from("/"),
        false => std::env::current_dir()?,
    };
    // The next component last.
    let mut rest = Vec::new();
    enter(path.as_os_str(), &mut resolved, &mut rest);
    let mut links = 0;
    while let Some(component) = rest.pop() {
        match component.as_bytes() {
            b"" | b"." => {}
            b".." => {
                resolved.pop();
            }
            _ => {
                let next = resolved.join(component);
                match std::fs::read_link(&next).map_err(|error| (error.raw_os_error(), error)) {
                    Ok(_) if links == MAX_LINKS => return Err(Errno::ELOOP.into()),
                    Ok(target) => {
                        links += 1;
                        enter(target.as_os_str(), &mut resolved, &mut rest);
                    }
                    // It is no link.
                    Err((Some(EINVAL), _)) => resolved = next,
                    Err((Some(ENOENT), _)) if rest.is_empty() => resolved = next,
                    Err((_, error)) => return Err(error),
                }
            }
        }
    }
    Ok(resolved)
}

/// Puts a path's components before the rest; an absolute one begins anew.
fn enter(path: &OsStr, resolved: &mut PathBuf, rest: &mut Vec<OsString>) {
    if path.as_bytes().starts_with(b"/") {
        *resolved = PathBuf::from("/");
    }
    let components = path.as_bytes().split(|&byte| byte == b'/');
    rest.extend(
        components
            .rev()
            .map(|name| OsStr::from_bytes(name).to_owned()),
    );
}

fn name(path: PathBuf) -> Reply {
    Reply::Names(vec![Name::path(path.into_os_string().into_vec())])
}
