//! Opening, reading, writing and closing files (§6.3, §6.4).

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;

use nix::fcntl::OFlag;
use nix::sys::stat::Mode;

use super::{Done, INVALID_HANDLE, NO_SUCH_HANDLE};
use crate::sftp::handles::{Handle, OpenFile};
use crate::sftp::packet::OpenFlags;
use crate::sftp::reply::{Replies, Reply};
use crate::sftp::server::Server;
use crate::sftp::{Attributes, Status};

impl Server {
    pub(super) fn open(
        &mut self,
        path: &Path,
        flags: OpenFlags,
        attributes: Attributes,
    ) -> Result<Reply, Status> {
        self.handles.check_room()?;
        let mode = Mode::from_bits_truncate(attributes.mode_or(0o666));
        // Unlike sftp-server's, an open waits for nobody (a FIFO's other end), and a terminal that
        // is opened does not become this session's.
        let flags_always = OFlag::O_CLOEXEC | OFlag::O_NOCTTY | OFlag::O_NONBLOCK;
        let file = nix::fcntl::open(path, open_flags(flags) | flags_always, mode)?;
        let open = OpenFile {
            file: File::from(file),
            append: flags.contains(OpenFlags::APPEND),
        };
        Ok(Reply::Handle(self.handles.add(Handle::File(open))))
    }

    /// Closes a file or a folder. What the system says then is the last word on what was written:
    /// a full quota on a network's file system, for one.
    pub(super) fn close(&mut self, handle: &[u8]) -> Done {
        match self.handles.remove(handle) {
            Some(Handle::File(open)) => Ok(nix::unistd::close(open.file)?),
            Some(Handle::Folder(_)) => Ok(()),
            None => Err(NO_SUCH_HANDLE),
        }
    }

    pub(super) fn read(
        &self,
        handle: &[u8],
        offset: u64,
        length: u32,
        id: u32,
        replies: &mut Replies,
    ) -> Done {
        let open = self.handles.file(handle).ok_or(INVALID_HANDLE)?;
        replies.data(id, length, |room| open.file.read_at(room, offset))
    }

    /// Writes all of the data. If that cannot be done, it is an error, whatever has been written.
    /// To a file that was opened to append, the system itself writes at the end, whatever the offset.
    pub(super) fn write(&self, handle: &[u8], offset: u64, data: &[u8]) -> Done {
        let open = self.handles.file(handle).ok_or(INVALID_HANDLE)?;
        let written = match open.append {
            true => (&open.file).write_all(data),
            false => open.file.write_all_at(data, offset),
        };
        Ok(written?)
    }

    pub(super) fn fsync(&self, handle: &[u8]) -> Done {
        let open = self.handles.file(handle).ok_or(NO_SUCH_HANDLE)?;
        Ok(open.file.sync_all()?)
    }
}

/// As sftp-server's flags_from_portable.
fn open_flags(flags: OpenFlags) -> OFlag {
    let mut to = match (
        flags.contains(OpenFlags::READ),
        flags.contains(OpenFlags::WRITE),
    ) {
        (true, true) => OFlag::O_RDWR,
        (false, true) => OFlag::O_WRONLY,
        (_, false) => OFlag::O_RDONLY,
    };
    to.set(OFlag::O_APPEND, flags.contains(OpenFlags::APPEND));
    to.set(OFlag::O_CREAT, flags.contains(OpenFlags::CREAT));
    to.set(OFlag::O_TRUNC, flags.contains(OpenFlags::TRUNC));
    to.set(OFlag::O_EXCL, flags.contains(OpenFlags::EXCL));
    to
}
