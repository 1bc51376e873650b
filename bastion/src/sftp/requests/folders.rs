//! Making, removing and listing folders (§6.6, §6.7).

use std::path::Path;

use nix::sys::stat::Mode;

use super::{Done, INVALID_HANDLE};
use crate::sftp::handles::Handle;
use crate::sftp::listing::Folder;
use crate::sftp::reply::Reply;
use crate::sftp::server::Server;
use crate::sftp::{Attributes, Status};

impl Server {
    pub(super) fn opendir(&mut self, path: &Path) -> Result<Reply, Status> {
        self.handles.check_room()?;
        let folder = Folder::open(path)?;
        Ok(Reply::Handle(self.handles.add(Handle::Folder(folder))))
    }

    pub(super) fn readdir(&mut self, handle: &[u8]) -> Result<Reply, Status> {
        let folder = self.handles.folder(handle).ok_or(INVALID_HANDLE)?;
        let names = folder.next(&mut self.accounts)?;
        match names.is_empty() {
            true => Err(Status::EOF),
            false => Ok(Reply::Names(names)),
        }
    }
}

pub(super) fn mkdir(path: &Path, attributes: Attributes) -> Done {
    Ok(nix::unistd::mkdir(
        path,
        Mode::from_bits_truncate(attributes.mode_or(0o777)),
    )?)
}

pub(super) fn rmdir(path: &Path) -> Done {
    Ok(std::fs::remove_dir(path)?)
}
