//! What each request does.

mod copy;
mod files;
mod folders;
mod links;
mod metadata;
mod paths;

use super::extensions::{self, Extended};
use super::packet::Request;
use super::reply::{Replies, Reply};
use super::server::Server;
use super::{Status, StatusCode};

/// What a request that is answered by a status alone comes to.
type Done = Result<(), Status>;

const INVALID_HANDLE: Status = Status::failure("Invalid handle");
/// Where sftp-server answers so.
const NO_SUCH_HANDLE: Status = Status::new(StatusCode::NoSuchFile, "Invalid handle");

impl Server {
    /// Carries out a request, and adds its one reply.
    pub(super) fn carry_out(&mut self, id: u32, request: Request<'_>, replies: &mut Replies) {
        if let Err(refused) = self.permitted.check(&request) {
            return replies.add(id, &Reply::Status(refused));
        }
        let outcome = match request {
            // Read straight into the reply.
            Request::Read {
                handle,
                offset,
                length,
            } => match self.read(handle, offset, length, id, replies) {
                Ok(()) => return,
                Err(status) => Err(status),
            },
            request => self.outcome(request),
        };
        replies.add(id, &outcome.into());
    }

    fn outcome(&mut self, request: Request<'_>) -> Result<Reply, Status> {
        match request {
            Request::Open {
                path,
                flags,
                attributes,
            } => self.open(path, flags, attributes),
            Request::Close { handle } => self.close(handle).map(done),
            // Answered by `carry_out`.
            Request::Read { .. } | Request::Unknown { .. } => Err(Status::UNSUPPORTED),
            Request::Write {
                handle,
                offset,
                data,
            } => self.write(handle, offset, data).map(done),
            Request::Lstat { path } => metadata::lstat(path),
            Request::Fstat { handle } => self.fstat(handle),
            Request::Setstat { path, attributes } => metadata::setstat(path, attributes).map(done),
            Request::Fsetstat { handle, attributes } => self.fsetstat(handle, attributes).map(done),
            Request::Opendir { path } => self.opendir(path),
            Request::Readdir { handle } => self.readdir(handle),
            Request::Remove { path } => links::remove(path).map(done),
            Request::Mkdir { path, attributes } => folders::mkdir(path, attributes).map(done),
            Request::Rmdir { path } => folders::rmdir(path).map(done),
            Request::Realpath { path } => paths::realpath(path),
            Request::Stat { path } => metadata::stat(path),
            Request::Rename { old, new } => links::rename(old, new).map(done),
            Request::Readlink { path } => links::readlink(path),
            Request::Symlink { target, link } => links::symlink(target, link).map(done),
            Request::Extended(request) => self.extended(request),
        }
    }

    fn extended(&mut self, request: Extended<'_>) -> Result<Reply, Status> {
        match request {
            Extended::PosixRename { old, new } => links::posix_rename(old, new).map(done),
            Extended::Statvfs { path } => metadata::statvfs(path),
            Extended::Fstatvfs { handle } => self.fstatvfs(handle),
            Extended::Hardlink { old, new } => links::hardlink(old, new).map(done),
            Extended::Fsync { handle } => self.fsync(handle).map(done),
            Extended::Lsetstat { path, attributes } => {
                metadata::lsetstat(path, attributes).map(done)
            }
            Extended::Limits => Ok(Reply::Extended(extensions::limits(self.handles.limit()))),
            Extended::ExpandPath { path } => paths::expand_path(path),
            Extended::CopyData(request) => self.copy_data(&request).map(done),
            Extended::HomeDirectory { username } => paths::home_directory(username),
            Extended::UsersGroupsById { uids, gids } => Ok(self.users_groups_by_id(&uids, &gids)),
            // The draft's §8 demands this answer.
            Extended::Unknown { .. } => Err(Status::UNSUPPORTED),
        }
    }

    /// An id without a name has an empty one (PROTOCOL §4.12).
    fn users_groups_by_id(&mut self, uids: &[u32], gids: &[u32]) -> Reply {
        let name = |name: Option<&str>| name.unwrap_or_default().to_owned();
        let users: Vec<_> = uids
            .iter()
            .map(|&uid| name(self.accounts.user(uid)))
            .collect();
        let groups: Vec<_> = gids
            .iter()
            .map(|&gid| name(self.accounts.group(gid)))
            .collect();
        Reply::Extended(extensions::users_groups(&users, &groups))
    }
}

fn done((): ()) -> Reply {
    Reply::Status(Status::OK)
}
