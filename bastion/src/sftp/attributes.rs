//! ATTRS: what is known of a file, or to be changed (§5).

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;

/// SSH_FILEXFER_ATTR_*: which fields are there.
pub(super) mod flags {
    pub(in crate::sftp) const SIZE: u32 = 0x01;
    pub(in crate::sftp) const UIDGID: u32 = 0x02;
    pub(in crate::sftp) const PERMISSIONS: u32 = 0x04;
    pub(in crate::sftp) const ACMODTIME: u32 = 0x08;
    pub(in crate::sftp) const EXTENDED: u32 = 0x8000_0000;
}

/// Attributes of a file, each there or not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Its size in bytes.
    pub size: Option<u64>,
    /// The ids of its owner and of its group.
    pub owner: Option<(u32, u32)>,
    /// Its `st_mode`: kind and permissions.
    pub permissions: Option<u32>,
    /// When it was last read and last changed, in seconds since the epoch.
    pub times: Option<(u32, u32)>,
}

impl Attributes {
    /// The permissions that a new file or folder is asked to have, else `default`; the umask takes
    /// its part of either.
    pub(super) fn mode_or(&self, default: u32) -> u32 {
        self.permissions
            .map_or(default, |permissions| permissions & 0o7777)
    }

    /// ATTRS as bytes.
    pub fn encode(&self, to: &mut Vec<u8>) {
        let flag = |there: bool, flag| if there { flag } else { 0 };
        let flags = flag(self.size.is_some(), flags::SIZE)
            | flag(self.owner.is_some(), flags::UIDGID)
            | flag(self.permissions.is_some(), flags::PERMISSIONS)
            | flag(self.times.is_some(), flags::ACMODTIME);
        to.extend(flags.to_be_bytes());
        to.extend(self.size.map(u64::to_be_bytes).iter().flatten());
        let (owner, times) = (self.owner.into_iter(), self.times.into_iter());
        let words = owner.flat_map(|(uid, gid)| [uid, gid]);
        let words = words
            .chain(self.permissions)
            .chain(times.flat_map(|(read, changed)| [read, changed]));
        to.extend(words.flat_map(u32::to_be_bytes));
    }
}

impl From<&Metadata> for Attributes {
    fn from(metadata: &Metadata) -> Self {
        Self {
            size: Some(metadata.size()),
            owner: Some((metadata.uid(), metadata.gid())),
            permissions: Some(metadata.mode()),
            times: Some((seconds(metadata.atime()), seconds(metadata.mtime()))),
        }
    }
}

/// A time in the 32 bits that the protocol has for it: 1970 to 2106.
fn seconds(time: i64) -> u32 {
    u32::try_from(time.max(0)).unwrap_or(u32::MAX)
}
