//! `copy-data`: from one open file to another, without a way over the network (PROTOCOL §4.10).

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};

use nix::errno::Errno;
use nix::fcntl::copy_file_range;

use super::{Done, NO_SUCH_HANDLE};
use crate::sftp::Status;
use crate::sftp::extensions::CopyData;
use crate::sftp::server::Server;

/// What is copied at a time where the system does not copy by itself.
const CHUNK: usize = 256 * 1024;
/// What the system is asked to copy at a time: less than its own limit of 2 GiB.
const LARGEST: u64 = 1 << 30;

impl Server {
    /// Copies, until the end if no length is given. The end before the length is an error, so
    /// that no part passes for the whole; sftp-server reports it for more than one block only.
    pub(super) fn copy_data(&self, request: &CopyData<'_>) -> Done {
        let file = |handle| self.handles.file(handle).ok_or(NO_SUCH_HANDLE);
        let (from, to) = (
            file(request.read_from_handle)?,
            file(request.write_to_handle)?,
        );
        if is_same(&from.file, &to.file)? {
            return Err(Status::failure("A file cannot be copied onto itself"));
        }
        let length = match request.read_data_length {
            0 => u64::MAX,
            length => length,
        };
        let mut copy = Copy {
            from: &from.file,
            read_at: request.read_from_offset,
            to: &to.file,
            write_at: request.write_to_offset,
        };
        let copied = match to.append {
            // copy_file_range(2) does not append.
            true => 0,
            false => copy.by_system(length)?,
        };
        let copied = copied + copy.by_hand(length - copied)?;
        match request.read_data_length {
            0 => Ok(()),
            length if copied == length => Ok(()),
            _ => Err(Status::EOF),
        }
    }
}

fn is_same(one: &File, other: &File) -> io::Result<bool> {
    let (one, other) = (one.metadata()?, other.metadata()?);
    Ok((one.dev(), one.ino()) == (other.dev(), other.ino()))
}

struct Copy<'a> {
    from: &'a File,
    read_at: u64,
    to: &'a File,
    write_at: u64,
}

impl Copy<'_> {
    /// Lets the system copy, which some file systems do without moving a byte. It stops where the
    /// system does not, or at the end: what is left, if anything, is to be copied by hand.
    fn by_system(&mut self, length: u64) -> io::Result<u64> {
        let mut copied = 0;
        while copied < length {
            let offset = |at| i64::try_from(at).map_err(|_| io::Error::from(Errno::EINVAL));
            let (mut read_at, mut write_at) = (offset(self.read_at)?, offset(self.write_at)?);
            let chunk = usize::try_from(LARGEST.min(length - copied)).unwrap_or(CHUNK);
            match copy_file_range(
                self.from,
                Some(&mut read_at),
                self.to,
                Some(&mut write_at),
                chunk,
            ) {
                // The end; or a file of /proc, whose size is said to be 0.
                Ok(0) => break,
                Ok(moved) => copied += self.advance(moved),
                Err(Errno::EINTR) => {}
                // Whatever is wrong, reading or writing says it again, or does better.
                Err(_) => break,
            }
        }
        Ok(copied)
    }

    fn by_hand(&mut self, length: u64) -> io::Result<u64> {
        let mut buffer = vec![0; CHUNK];
        let mut copied = 0;
        while copied < length {
            let chunk = usize::try_from(length - copied).map_or(CHUNK, |left| left.min(CHUNK));
            let room = buffer.get_mut(..chunk).unwrap_or_default();
            let read = match self.from.read_at(room, self.read_at) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            self.to
                .write_all_at(room.get(..read).unwrap_or_default(), self.write_at)?;
            copied += self.advance(read);
        }
        Ok(copied)
    }

    fn advance(&mut self, bytes: usize) -> u64 {
        self.read_at += bytes as u64;
        self.write_at += bytes as u64;
        bytes as u64
    }
}
