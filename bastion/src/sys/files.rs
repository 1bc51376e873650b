//! Files: what neither the standard library nor nix offers on every Linux.

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;

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
    fn a_folder_is_not_moved_into_itself() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("inner");
        std::fs::create_dir(&inner).unwrap();
        assert!(rename_without_replacing(folder.path(), &inner.join("x")).is_err());
    }
}
