//! Names of files: removing, renaming, linking (§6.5, §6.10; PROTOCOL §4.1, §4.3, §4.5).

use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use super::Done;
use crate::sftp::Status;
use crate::sftp::reply::{Name, Reply};
use crate::sys::files;

pub(super) fn remove(path: &Path) -> Done {
    Ok(std::fs::remove_file(path)?)
}

/// Never replaces a file (§6.5). sftp-server links and unlinks; the system has a call of its own,
/// which does for folders, too, and where no hard links are permitted.
pub(super) fn rename(old: &Path, new: &Path) -> Done {
    Ok(files::rename_without_replacing(old, new)?)
}

/// As rename(2): replaces a file that is there.
pub(super) fn posix_rename(old: &Path, new: &Path) -> Done {
    Ok(std::fs::rename(old, new)?)
}

pub(super) fn hardlink(old: &Path, new: &Path) -> Done {
    Ok(std::fs::hard_link(old, new)?)
}

pub(super) fn symlink(target: &Path, link: &Path) -> Done {
    Ok(std::os::unix::fs::symlink(target, link)?)
}

pub(super) fn readlink(path: &Path) -> Result<Reply, Status> {
    let target = std::fs::read_link(path)?;
    Ok(Reply::Names(vec![Name::path(
        target.into_os_string().into_vec(),
    )]))
}
