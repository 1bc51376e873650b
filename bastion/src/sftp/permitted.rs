//! Which requests are carried out at all: `-R`, `-p` and `-P` of sftp-server(8).

use super::Options;
use super::extensions::Extended;
use super::packet::{OpenFlags, Request};
use super::status::Status;

/// What `-p` and `-P` may name: what `sftp-server -Q requests` lists.
pub(super) const NAMES: [&str; 29] = [
    "open",
    "close",
    "read",
    "write",
    "lstat",
    "fstat",
    "setstat",
    "fsetstat",
    "opendir",
    "readdir",
    "remove",
    "mkdir",
    "rmdir",
    "realpath",
    "stat",
    "rename",
    "readlink",
    "symlink",
    "posix-rename",
    "statvfs",
    "fstatvfs",
    "hardlink",
    "fsync",
    "lsetstat",
    "limits",
    "expand-path",
    "copy-data",
    "home-directory",
    "users-groups-by-id",
];

/// What a client may ask for.
#[derive(Default)]
pub(super) struct Permitted {
    read_only: bool,
    denied: Vec<String>,
    /// If any: these alone.
    allowed: Vec<String>,
}

impl From<&Options> for Permitted {
    fn from(options: &Options) -> Self {
        Self {
            read_only: options.read_only,
            denied: options.denied.clone(),
            allowed: options.allowed.clone(),
        }
    }
}

impl Permitted {
    /// Refuses what is not permitted. A request that is not known is answered as such.
    pub(super) fn check(&self, request: &Request<'_>) -> Result<(), Status> {
        if self.read_only && changes(request) {
            return Err(Status::READ_ONLY);
        }
        match name(request) {
            Some(name) if !self.permits(name) => Err(Status::PROHIBITED),
            _ => Ok(()),
        }
    }

    /// Whether an extension is announced: one that is refused anyhow is not.
    pub(super) fn announces(&self, extension: &str) -> bool {
        let name = extension.split('@').next().unwrap_or_default();
        self.permits(name) && !(self.read_only && CHANGING_EXTENSIONS.contains(&name))
    }

    fn permits(&self, name: &str) -> bool {
        let lists = |list: &[String]| list.iter().any(|listed| listed == name);
        !lists(&self.denied) && (self.allowed.is_empty() || lists(&self.allowed))
    }
}

fn name(request: &Request<'_>) -> Option<&'static str> {
    Some(match request {
        Request::Open { .. } => "open",
        Request::Close { .. } => "close",
        Request::Read { .. } => "read",
        Request::Write { .. } => "write",
        Request::Lstat { .. } => "lstat",
        Request::Fstat { .. } => "fstat",
        Request::Setstat { .. } => "setstat",
        Request::Fsetstat { .. } => "fsetstat",
        Request::Opendir { .. } => "opendir",
        Request::Readdir { .. } => "readdir",
        Request::Remove { .. } => "remove",
        Request::Mkdir { .. } => "mkdir",
        Request::Rmdir { .. } => "rmdir",
        Request::Realpath { .. } => "realpath",
        Request::Stat { .. } => "stat",
        Request::Rename { .. } => "rename",
        Request::Readlink { .. } => "readlink",
        Request::Symlink { .. } => "symlink",
        Request::Extended(extended) => match extended {
            Extended::PosixRename { .. } => "posix-rename",
            Extended::Statvfs { .. } => "statvfs",
            Extended::Fstatvfs { .. } => "fstatvfs",
            Extended::Hardlink { .. } => "hardlink",
            Extended::Fsync { .. } => "fsync",
            Extended::Lsetstat { .. } => "lsetstat",
            Extended::Limits => "limits",
            Extended::ExpandPath { .. } => "expand-path",
            Extended::CopyData(_) => "copy-data",
            Extended::HomeDirectory { .. } => "home-directory",
            Extended::UsersGroupsById { .. } => "users-groups-by-id",
            Extended::Unknown { .. } => return None,
        },
        Request::Unknown { .. } => return None,
    })
}

/// The extensions that change something.
const CHANGING_EXTENSIONS: [&str; 5] =
    ["posix-rename", "hardlink", "fsync", "lsetstat", "copy-data"];

/// Whether a request changes anything, which `-R` forbids: those that sftp-server lists.
fn changes(request: &Request<'_>) -> bool {
    match request {
        Request::Open { flags, .. } => [OpenFlags::WRITE, OpenFlags::CREAT, OpenFlags::TRUNC]
            .into_iter()
            .any(|flag| flags.contains(flag)),
        Request::Write { .. }
        | Request::Setstat { .. }
        | Request::Fsetstat { .. }
        | Request::Remove { .. }
        | Request::Mkdir { .. }
        | Request::Rmdir { .. }
        | Request::Rename { .. }
        | Request::Symlink { .. } => true,
        Request::Extended(_) => {
            name(request).is_some_and(|name| CHANGING_EXTENSIONS.contains(&name))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn permitted(options: &[&str]) -> Permitted {
        Permitted::from(&Options::try_parse_from(options).unwrap())
    }

    #[test]
    fn denied_wins_over_allowed() {
        let permitted = permitted(&["-p", "open,read,close", "-P", "read"]);
        let permits = |name| permitted.permits(name);
        assert!(permits("open") && permits("close"));
        assert!(!permits("read") && !permits("write"));
    }

    #[test]
    fn without_lists_everything_is_permitted() {
        assert!(NAMES.iter().all(|name| permitted(&[]).permits(name)));
    }

    #[test]
    fn an_extension_that_is_refused_is_not_announced() {
        let permitted = permitted(&["-P", "statvfs,copy-data"]);
        assert!(!permitted.announces("statvfs@openssh.com"));
        assert!(!permitted.announces("copy-data"));
        assert!(permitted.announces("fstatvfs@openssh.com"));
        assert!(permitted.announces("fsync@openssh.com"));
    }

    #[test]
    fn who_may_change_nothing_is_offered_no_way_to() {
        let read_only = permitted(&["-R"]);
        assert!(!read_only.announces("fsync@openssh.com"));
        assert!(!read_only.announces("posix-rename@openssh.com"));
        assert!(read_only.announces("statvfs@openssh.com"));
    }
}
