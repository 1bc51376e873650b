//! Open files and folders, by the handles that the client has for them (§6.3).

use std::collections::HashMap;
use std::fs::File;

use nix::errno::Errno;

use super::Status;
use super::listing::Folder;

/// The most handles at a time, whatever the limit of descriptors is.
const MAX_HANDLES: usize = 4096;
/// Descriptors that are no handles: three standard ones, and some that libraries open for a while.
const RESERVED: usize = 8;

/// Open files and folders.
pub(super) struct Handles {
    open: HashMap<u32, Handle>,
    next: u32,
    limit: usize,
}

/// What a handle stands for.
pub(super) enum Handle {
    File(OpenFile),
    Folder(Folder),
}

/// An open file.
pub(super) struct OpenFile {
    pub(super) file: File,
    /// Whether all that is written goes to its end.
    pub(super) append: bool,
}

impl Handles {
    /// No handles; `descriptors` is how many this process may have open.
    pub(super) fn new(descriptors: usize) -> Self {
        let limit = descriptors.saturating_sub(RESERVED);
        Self {
            open: HashMap::new(),
            next: 0,
            limit: limit.min(MAX_HANDLES),
        }
    }

    /// How many there may be.
    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// Refuses one handle too many. To be asked before anything is opened or made.
    pub(super) fn check_room(&self) -> Result<(), Status> {
        match self.open.len() < self.limit {
            true => Ok(()),
            false => Err(Errno::EMFILE.into()),
        }
    }

    /// A handle for something that was opened. Unlike sftp-server's, a closed handle's number is
    /// not given out again soon, so that a client that mixes them up hears of it.
    pub(super) fn add(&mut self, handle: Handle) -> [u8; 4] {
        while self.open.contains_key(&self.next) {
            self.next = self.next.wrapping_add(1);
        }
        let number = self.next;
        self.next = self.next.wrapping_add(1);
        self.open.insert(number, handle);
        number.to_be_bytes()
    }

    /// The open file of a handle.
    pub(super) fn file(&self, handle: &[u8]) -> Option<&OpenFile> {
        match self.open.get(&number(handle)?)? {
            Handle::File(file) => Some(file),
            Handle::Folder(_) => None,
        }
    }

    /// The open folder of a handle.
    pub(super) fn folder(&mut self, handle: &[u8]) -> Option<&mut Folder> {
        match self.open.get_mut(&number(handle)?)? {
            Handle::Folder(folder) => Some(folder),
            Handle::File(_) => None,
        }
    }

    /// Takes a handle out.
    pub(super) fn remove(&mut self, handle: &[u8]) -> Option<Handle> {
        self.open.remove(&number(handle)?)
    }
}

fn number(handle: &[u8]) -> Option<u32> {
    handle.try_into().ok().map(u32::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open() -> Handle {
        Handle::File(OpenFile {
            file: File::open("/dev/null").unwrap(),
            append: false,
        })
    }

    #[test]
    fn a_closed_handle_is_not_given_out_again() {
        let mut handles = Handles::new(100);
        let first = handles.add(open());
        assert!(handles.file(&first).is_some());
        assert!(handles.folder(&first).is_none());
        assert!(handles.remove(&first).is_some());
        assert!(handles.remove(&first).is_none());
        assert_ne!(handles.add(open()), first);
    }

    #[test]
    fn a_handle_that_was_never_given_out_is_none() {
        let mut handles = Handles::new(100);
        handles.add(open());
        for handle in [&[0, 0, 0, 1][..], &[0, 0, 0], &[0; 5], &[], &[0xff; 4]] {
            assert!(handles.file(handle).is_none(), "{handle:?}");
        }
    }

    #[test]
    fn handles_are_bounded() {
        let mut handles = Handles::new(RESERVED + 2);
        for _ in 0..2 {
            handles.check_room().unwrap();
            handles.add(open());
        }
        assert_eq!(
            handles.check_room().unwrap_err(),
            Status::from(Errno::EMFILE)
        );
        assert_eq!(Handles::new(usize::MAX).limit(), MAX_HANDLES);
        assert_eq!(Handles::new(0).limit(), 0);
    }
}
