//! Files: those that bastion relies on, and what neither the standard library nor nix offers on every Linux.

use std::ffi::CString;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::statvfs::{FsFlags, fstatvfs};
use nix::unistd::geteuid;
use thiserror::Error;

/// Why a file or a folder cannot be relied on. Each says what to do.
#[derive(Debug, Error)]
pub enum FileError {
    /// The system refused.
    #[error("{}: {source}", path.display())]
    System {
        /// The path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A folder, a pipe or a device.
    #[error("{} is no regular file; put one there, or name another", .0.display())]
    NotAFile(PathBuf),
    /// A file where a folder should be.
    #[error("{} is no folder; name another", .0.display())]
    NotAFolder(PathBuf),
    /// Not for everybody's eyes.
    #[error("{path} is not for everybody to read, and so is not shown to everybody; run `chmod o+r {path}`", path = .0.display())]
    NotPublic(PathBuf),
    /// More than such a file ever has.
    #[error("{} is larger than {limit} bytes, which is more than such a file has", path.display())]
    TooLarge {
        /// The path.
        path: PathBuf,
        /// The limit, in bytes.
        limit: u64,
    },
    /// Somebody else's.
    #[error(
        "{path} belongs to the user with the number {owner}, who could change it; run `chown {own} {path}`",
        path = path.display()
    )]
    Owner {
        /// The path.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Whose it should be: ours, by its number.
        own: u32,
    },
    /// Others than its owner may change it.
    #[error(
        "{path} may be changed by others than its owner (mode {mode:04o}); run `chmod go-w {path}`",
        path = path.display()
    )]
    Writable {
        /// The path.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
}

/// Reads a file that bastion relies on: a regular one of at most `limit` bytes that nobody can change
/// but root and who started bastion, as sshd's StrictModes asks of a user's files. A pipe or a device in
/// its place is no reason to wait.
pub fn read_relied_on(path: &Path, limit: u64) -> Result<Vec<u8>, FileError> {
    let (file, _) = open_relied_on(path)?;
    read_all(path, file, limit)
}

/// As [`read_relied_on`], a file that is to be shown to everybody: one that everybody may read, so that
/// a link to a secret one shows nothing.
pub fn read_public(path: &Path, limit: u64) -> Result<Vec<u8>, FileError> {
    let (file, found) = open_relied_on(path)?;
    match found.mode() & 0o004 {
        0 => Err(FileError::NotPublic(path.into())),
        _ => read_all(path, file, limit),
    }
}

fn open_relied_on(path: &Path) -> Result<(File, Metadata), FileError> {
    let system = |source| FileError::System {
        path: path.into(),
        source,
    };
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path);
    let file = file.map_err(system)?;
    let found = file.metadata().map_err(system)?;
    if !found.is_file() {
        return Err(FileError::NotAFile(path.into()));
    }
    check_who_can_change(path, &file, &found)?;
    Ok((file, found))
}

fn read_all(path: &Path, file: File, limit: u64) -> Result<Vec<u8>, FileError> {
    let mut content = Vec::new();
    let read = file.take(limit + 1).read_to_end(&mut content);
    read.map_err(|source| FileError::System {
        path: path.into(),
        source,
    })?;
    match content.len() as u64 > limit {
        true => Err(FileError::TooLarge {
            path: path.into(),
            limit,
        }),
        false => Ok(content),
    }
}

/// Checks a folder that bastion relies on, as [`read_relied_on`] does a file.
pub fn check_folder_relied_on(path: &Path) -> Result<(), FileError> {
    let system = |source| FileError::System {
        path: path.into(),
        source,
    };
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    let folder = OpenOptions::new().read(true).custom_flags(flags).open(path);
    let folder = folder.map_err(system)?;
    let found = folder.metadata().map_err(system)?;
    if !found.is_dir() {
        return Err(FileError::NotAFolder(path.into()));
    }
    check_who_can_change(path, &folder, &found)
}

/// On a file system that is mounted read-only here, whose a file is makes no difference.
fn check_who_can_change(path: &Path, open: &File, found: &Metadata) -> Result<(), FileError> {
    let read_only = fstatvfs(open).is_ok_and(|fs| fs.flags().contains(FsFlags::ST_RDONLY));
    if read_only {
        return Ok(());
    }
    let (owner, own) = (found.uid(), geteuid().as_raw());
    if owner != 0 && owner != own {
        return Err(FileError::Owner {
            path: path.into(),
            owner,
            own,
        });
    }
    let mode = found.mode() & 0o7777;
    match mode & 0o022 {
        0 => Ok(()),
        _ => Err(FileError::Writable {
            path: path.into(),
            mode,
        }),
    }
}

/// Renames a file or a folder, unless the new name is taken (`RENAME_NOREPLACE`).
///
/// On a file system without such a call the two steps, looking and renaming, are not one: what is
/// made in between is replaced.
pub fn rename_without_replacing(old: &Path, new: &Path) -> io::Result<()> {
    let c_string = |path: &Path| CString::new(path.as_os_str().as_bytes()).map_err(io::Error::from);
    let (old_c, new_c) = (c_string(old)?, c_string(new)?);
    // SAFETY: both are strings that end with NUL and outlive the call, which writes nothing. By
    // its number, because not every C library has a function for it.
    let result = unsafe {
        let (here, flags) = (libc::AT_FDCWD, libc::RENAME_NOREPLACE);
        libc::syscall(
            libc::SYS_renameat2,
            here,
            old_c.as_ptr(),
            here,
            new_c.as_ptr(),
            flags,
        )
    };
    match Errno::result(result) {
        Ok(_) => Ok(()),
        Err(Errno::EINVAL | Errno::ENOSYS) => match new.symlink_metadata() {
            Ok(_) => Err(Errno::EEXIST.into()),
            Err(_) => std::fs::rename(old, new),
        },
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_taken_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name| folder.path().join(name);
        std::fs::write(path("a"), "a").unwrap();
        std::fs::write(path("b"), "b").unwrap();
        let taken = rename_without_replacing(&path("a"), &path("b")).unwrap_err();
        assert_eq!(taken.raw_os_error(), Some(libc::EEXIST));
        assert_eq!(std::fs::read(path("b")).unwrap(), b"b");
        rename_without_replacing(&path("a"), &path("c")).unwrap();
        assert_eq!(std::fs::read(path("c")).unwrap(), b"a");
        let gone = rename_without_replacing(&path("a"), &path("d")).unwrap_err();
        assert_eq!(gone.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn what_others_can_change_or_never_ends_is_not_relied_on() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        let set_mode = |path: &Path, mode| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        let read = || read_relied_on(&file, 10).map_err(|error| error.to_string());
        assert!(read().unwrap_err().contains("No such file"));
        std::fs::write(&file, "0123456789").unwrap();
        set_mode(&file, 0o644);
        assert_eq!(read().unwrap(), b"0123456789");
        for mode in [0o664, 0o646] {
            set_mode(&file, mode);
            assert!(read().unwrap_err().contains("chmod go-w"));
        }
        set_mode(&file, 0o644);
        std::fs::write(&file, "0123456789a").unwrap();
        assert!(read().unwrap_err().contains("larger than 10 bytes"));
        if geteuid().is_root() {
            std::os::unix::fs::chown(&file, Some(65534), None).unwrap();
            assert!(read().unwrap_err().contains("chown 0"));
        }
        std::fs::remove_file(&file).unwrap();
        nix::unistd::mkfifo(&file, nix::sys::stat::Mode::S_IRUSR).unwrap();
        assert!(read().unwrap_err().contains("no regular file"));
        let of_nobody = folder.path().join("secret");
        std::fs::write(&of_nobody, "key").unwrap();
        set_mode(&of_nobody, 0o600);
        std::os::unix::fs::symlink(&of_nobody, folder.path().join("banner")).unwrap();
        let shown = read_public(&folder.path().join("banner"), 10).unwrap_err();
        assert!(matches!(shown, FileError::NotPublic(_)), "{shown}");
        set_mode(&of_nobody, 0o644);
        assert_eq!(read_public(&of_nobody, 10).unwrap(), b"key");
        let of_device = read_relied_on(Path::new("/dev/zero"), 10).unwrap_err();
        assert!(matches!(of_device, FileError::NotAFile(_)));
        let of_folder = read_relied_on(folder.path(), 10).unwrap_err();
        assert!(matches!(of_folder, FileError::NotAFile(_)));
        set_mode(folder.path(), 0o755);
        check_folder_relied_on(folder.path()).unwrap();
        assert!(check_folder_relied_on(Path::new("/dev/zero")).is_err());
        set_mode(folder.path(), 0o777);
        let error = check_folder_relied_on(folder.path()).unwrap_err();
        assert!(matches!(error, FileError::Writable { .. }), "{error}");
    }

    #[test]
    fn a_folder_is_not_moved_into_itself() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("inner");
        std::fs::create_dir(&inner).unwrap();
        assert!(rename_without_replacing(folder.path(), &inner.join("x")).is_err());
    }
}
