//! Attributes of files and of file systems: asked for and changed (§6.8, §6.9; PROTOCOL §4.4,
//! §4.7).

use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::sys::stat::{FchmodatFlags, Mode, UtimensatFlags, fchmod, fchmodat, futimens, utimensat};
use nix::sys::statvfs::fstatvfs;
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, fchown, fchownat, ftruncate, truncate};

use super::{Done, INVALID_HANDLE};
use crate::sftp::reply::Reply;
use crate::sftp::server::Server;
use crate::sftp::{Attributes, Status, extensions};

pub(super) fn stat(path: &Path) -> Result<Reply, Status> {
    Ok(Reply::Attributes(Attributes::from(&std::fs::metadata(
        path,
    )?)))
}

pub(super) fn lstat(path: &Path) -> Result<Reply, Status> {
    Ok(Reply::Attributes(Attributes::from(
        &std::fs::symlink_metadata(path)?,
    )))
}

pub(super) fn statvfs(path: &Path) -> Result<Reply, Status> {
    Ok(Reply::Extended(extensions::statvfs(
        &nix::sys::statvfs::statvfs(path)?,
    )))
}

/// Changes a file's attributes, through symbolic links.
pub(super) fn setstat(path: &Path, attributes: Attributes) -> Done {
    let mut changes = Changes::default();
    changes.make(attributes.size, |size| truncate(path, length(size)?));
    changes.make_by_path(path, attributes, Links::Followed);
    changes.outcome()
}

/// Changes attributes of a symbolic link itself.
pub(super) fn lsetstat(path: &Path, attributes: Attributes) -> Done {
    if attributes.size.is_some() {
        // "nonsensical for links" (sftp-server)
        return Err(Errno::EINVAL.into());
    }
    let mut changes = Changes::default();
    changes.make_by_path(path, attributes, Links::Themselves);
    changes.outcome()
}

/// Whether a change is of what a symbolic link points to, or of the link.
#[derive(Clone, Copy)]
enum Links {
    Followed,
    Themselves,
}

impl Server {
    pub(super) fn fstat(&self, handle: &[u8]) -> Result<Reply, Status> {
        let open = self.handles.file(handle).ok_or(INVALID_HANDLE)?;
        Ok(Reply::Attributes(Attributes::from(&open.file.metadata()?)))
    }

    pub(super) fn fstatvfs(&self, handle: &[u8]) -> Result<Reply, Status> {
        let open = self.handles.file(handle).ok_or(INVALID_HANDLE)?;
        Ok(Reply::Extended(extensions::statvfs(&fstatvfs(&open.file)?)))
    }

    pub(super) fn fsetstat(&self, handle: &[u8], attributes: Attributes) -> Done {
        let file = &self.handles.file(handle).ok_or(INVALID_HANDLE)?.file;
        let mut changes = Changes::default();
        changes.make(attributes.size, |size| ftruncate(file, length(size)?));
        changes.make(attributes.permissions, |mode| {
            fchmod(file, permissions(mode))
        });
        changes.make(attributes.times, |(atime, mtime)| {
            futimens(file, &time(atime), &time(mtime))
        });
        changes.make(attributes.owner, |(uid, gid)| {
            fchown(file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))
        });
        changes.outcome()
    }
}

/// Several changes by one request. As in sftp-server each is tried, whatever became of the others,
/// and the last that failed is what the client hears of.
#[derive(Default)]
struct Changes {
    failed: Option<Errno>,
}

impl Changes {
    fn make<T>(&mut self, wanted: Option<T>, change: impl FnOnce(T) -> Result<(), Errno>) {
        if let Some(Err(error)) = wanted.map(change) {
            self.failed = Some(error);
        }
    }

    /// All but the size.
    fn make_by_path(&mut self, path: &Path, attributes: Attributes, links: Links) {
        let (of_mode, of_times, of_owner) = match links {
            Links::Followed => (
                FchmodatFlags::FollowSymlink,
                UtimensatFlags::FollowSymlink,
                AtFlags::empty(),
            ),
            Links::Themselves => (
                FchmodatFlags::NoFollowSymlink,
                UtimensatFlags::NoFollowSymlink,
                AtFlags::AT_SYMLINK_NOFOLLOW,
            ),
        };
        self.make(attributes.permissions, |mode| {
            fchmodat(AT_FDCWD, path, permissions(mode), of_mode)
        });
        self.make(attributes.times, |(atime, mtime)| {
            utimensat(AT_FDCWD, path, &time(atime), &time(mtime), of_times)
        });
        self.make(attributes.owner, |(uid, gid)| {
            let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
            fchownat(AT_FDCWD, path, Some(uid), Some(gid), of_owner)
        });
    }

    fn outcome(self) -> Done {
        self.failed.map_or(Ok(()), |error| Err(error.into()))
    }
}

fn length(size: u64) -> Result<i64, Errno> {
    i64::try_from(size).map_err(|_| Errno::EINVAL)
}

fn permissions(mode: u32) -> Mode {
    Mode::from_bits_truncate(mode & 0o7777)
}

fn time(seconds: u32) -> TimeSpec {
    TimeSpec::new(seconds.into(), 0)
}
