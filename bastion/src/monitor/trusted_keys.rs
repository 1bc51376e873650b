//! The file of trusted authorities: read at the start and whenever it has changed.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use super::audit::Event;
use crate::policy::TrustedUserCaKeys;

/// The largest file that is read, in bytes.
const MAX_LENGTH: u64 = 64 * 1024;

/// The file and what it said last. One that cannot be read, or understood, trusts nobody.
pub(super) struct TrustedKeysFile {
    path: PathBuf,
    seen: Option<Seen>,
    keys: TrustedUserCaKeys,
}

/// What tells one version of the file from another.
#[derive(PartialEq, Eq)]
enum Seen {
    Version {
        device: u64,
        inode: u64,
        length: u64,
        changed: (i64, i64),
    },
    Error(io::ErrorKind),
}

impl TrustedKeysFile {
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            seen: None,
            keys: TrustedUserCaKeys::nobody(),
        }
    }

    /// The keys of the last version.
    pub(super) fn keys(&self) -> &TrustedUserCaKeys {
        &self.keys
    }

    /// Reads the file if it is not the version that was read last; says what it found.
    pub(super) fn read_if_changed(&mut self) -> Option<Event> {
        let seen = Some(self.look());
        if seen == self.seen {
            return None;
        }
        self.seen = seen;
        let file = self.path.display().to_string();
        let (keys, event) = match self.read() {
            Ok(keys) => {
                let fingerprints = keys.fingerprints().collect();
                (keys, Event::TrustedKeysRead { file, fingerprints })
            }
            Err(error) => (
                TrustedUserCaKeys::nobody(),
                Event::TrustedKeysUnusable { file, error },
            ),
        };
        self.keys = keys;
        Some(event)
    }

    fn look(&self) -> Seen {
        match fs::metadata(&self.path) {
            Ok(file) => Seen::Version {
                device: file.dev(),
                inode: file.ino(),
                length: file.len(),
                changed: (file.ctime(), file.ctime_nsec()),
            },
            Err(error) => Seen::Error(error.kind()),
        }
    }

    fn read(&self) -> Result<TrustedUserCaKeys, String> {
        let unreadable = |error: io::Error| format!("{error}; nobody can log in until it is there");
        let length = fs::metadata(&self.path).map_err(unreadable)?.len();
        if length > MAX_LENGTH {
            return Err(format!(
                "it has {length} bytes; a file of public keys has no more than {MAX_LENGTH}"
            ));
        }
        let text = fs::read_to_string(&self.path).map_err(unreadable)?;
        TrustedUserCaKeys::parse(&text, &self.path.display().to_string())
            .map_err(|error| error.to_string())
    }
}
