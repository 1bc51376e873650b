//! A file that bastion relies on: read at the start and whenever it has changed.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::sys::clock;
use crate::sys::files::{self, FileError};

/// A file that was changed so few seconds ago may not be written to its end yet, and two changes
/// within one tick of the file system's clock look like one.
const UNSETTLED: u64 = 2;

/// What a file is to say, and how large it may be.
pub(super) struct Format<T> {
    /// In bytes.
    pub(super) limit: u64,
    /// From its content and its name, which an error names.
    pub(super) parse: fn(&[u8], &str) -> Result<T, String>,
}

/// When a changed file is read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    /// When it has not been changed for a while.
    Settled,
    /// At once: somebody says that it is as it should be.
    Now,
}

/// A file and what it said last.
pub(super) struct WatchedFile<T> {
    path: PathBuf,
    format: Format<T>,
    seen: Option<Version>,
    said: Option<Result<T, String>>,
}

/// What tells one version of a file from another.
#[derive(PartialEq, Eq)]
enum Version {
    File {
        device: u64,
        inode: u64,
        length: u64,
        owner: u32,
        changed: (i64, i64),
    },
    Error(io::ErrorKind),
}

impl<T: PartialEq> WatchedFile<T> {
    pub(super) fn new(path: &Path, format: Format<T>) -> Self {
        Self {
            path: path.into(),
            format,
            seen: None,
            said: None,
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// What it said when it was read last, unless it could not be read or understood then.
    pub(super) fn content(&self) -> Option<&T> {
        self.said.as_ref()?.as_ref().ok()
    }

    /// Reads the file if it is not the version that was read last, and tells what it says if that is
    /// something else than before.
    pub(super) fn read_if_changed(&mut self, when: When) -> Option<Result<&T, &str>> {
        // Looked at before it is read: what changes in between is seen the next time.
        let (version, settled) = self.look();
        let waits = !settled && self.said.is_some();
        if when == When::Settled && (waits || self.seen.as_ref() == Some(&version)) {
            return None;
        }
        let content = files::read_relied_on(&self.path, self.format.limit);
        // It is tried again: a shortage (EMFILE, ENOMEM) passes, and whether a file can be relied on
        // depends on how its file system is mounted, too.
        self.seen = (settled && content.is_ok()).then_some(version);
        let says = self.parse(content);
        if self.said.as_ref() == Some(&says) {
            return None;
        }
        let said = self.said.insert(says);
        Some(said.as_ref().map_err(String::as_str))
    }

    /// Reads the file as it is now.
    pub(super) fn read(&self) -> Result<T, String> {
        self.parse(files::read_relied_on(&self.path, self.format.limit))
    }

    fn parse(&self, content: Result<Vec<u8>, FileError>) -> Result<T, String> {
        let content = content.map_err(|error| error.to_string())?;
        (self.format.parse)(&content, &self.path.display().to_string())
    }

    fn look(&self) -> (Version, bool) {
        let file = match fs::metadata(&self.path) {
            Ok(file) => file,
            Err(error) => return (Version::Error(error.kind()), true),
        };
        let changed_at = u64::try_from(file.ctime()).unwrap_or(0);
        let age = clock::epoch().checked_sub(changed_at);
        let version = Version::File {
            device: file.dev(),
            inode: file.ino(),
            length: file.len(),
            owner: file.uid(),
            changed: (file.ctime(), file.ctime_nsec()),
        };
        // One from the future, because the clock was set back, would not settle for long.
        (version, age.is_none_or(|age| age > UNSETTLED))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text() -> Format<String> {
        Format {
            limit: 100,
            parse: |bytes, name| match bytes {
                b"broken" => Err(format!("{name} is broken")),
                bytes => Ok(String::from_utf8_lossy(bytes).into_owned()),
            },
        }
    }

    #[test]
    fn a_change_is_told_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let mut file = WatchedFile::new(&path, text());
        assert!(file.read_if_changed(When::Settled).unwrap().is_err());
        assert!(file.read_if_changed(When::Settled).is_none());
        fs::write(&path, "one").unwrap();
        assert_eq!(file.read_if_changed(When::Now), Some(Ok(&"one".to_owned())));
        assert!(file.read_if_changed(When::Now).is_none());
        // As many bytes, and perhaps at the same time.
        fs::write(&path, "two").unwrap();
        assert_eq!(file.read_if_changed(When::Now), Some(Ok(&"two".to_owned())));
        fs::write(&path, "broken").unwrap();
        let error = file
            .read_if_changed(When::Now)
            .unwrap()
            .unwrap_err()
            .to_owned();
        assert_eq!(error, format!("{} is broken", path.display()));
        assert_eq!(file.content(), None);
        assert!(file.read_if_changed(When::Now).is_none());
    }
}
