//! SSH_FXP_EXTENDED: requests beyond the draft, those that OpenSSH's clients use (PROTOCOL §4.3
//! to §4.12).

use std::path::Path;

use nix::sys::statvfs::{FsFlags, Statvfs};

use super::Attributes;
use super::packet::{Fields, MAX_DATA, MAX_PACKET, Malformed};
use super::reply::string;

/// What SSH_FXP_VERSION announces: names and versions.
pub(super) const EXTENSIONS: [(&str, &str); 11] = [
    ("posix-rename@openssh.com", "1"),
    ("statvfs@openssh.com", "2"),
    ("fstatvfs@openssh.com", "2"),
    ("hardlink@openssh.com", "1"),
    ("fsync@openssh.com", "1"),
    ("lsetstat@openssh.com", "1"),
    ("limits@openssh.com", "1"),
    ("expand-path@openssh.com", "1"),
    ("copy-data", "1"),
    ("home-directory", "1"),
    ("users-groups-by-id@openssh.com", "1"),
];

/// An extended request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Extended<'a> {
    PosixRename {
        old: &'a Path,
        new: &'a Path,
    },
    Statvfs {
        path: &'a Path,
    },
    Fstatvfs {
        handle: &'a [u8],
    },
    Hardlink {
        old: &'a Path,
        new: &'a Path,
    },
    Fsync {
        handle: &'a [u8],
    },
    Lsetstat {
        path: &'a Path,
        attributes: Attributes,
    },
    Limits,
    ExpandPath {
        path: &'a Path,
    },
    CopyData(CopyData<'a>),
    HomeDirectory {
        username: &'a [u8],
    },
    UsersGroupsById {
        uids: Vec<u32>,
        gids: Vec<u32>,
    },
    /// One that was not announced.
    Unknown {
        name: &'a [u8],
    },
}

/// What `copy-data` is to copy (§4.10).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopyData<'a> {
    pub read_from_handle: &'a [u8],
    pub read_from_offset: u64,
    /// 0: until the end.
    pub read_data_length: u64,
    pub write_to_handle: &'a [u8],
    pub write_to_offset: u64,
}

impl<'a> Extended<'a> {
    pub(super) fn decode(fields: &mut Fields<'a>) -> Result<Self, Malformed> {
        let name = fields.string("extended request")?;
        Ok(match name {
            b"posix-rename@openssh.com" => Self::PosixRename {
                old: fields.path()?,
                new: fields.path()?,
            },
            b"statvfs@openssh.com" => Self::Statvfs {
                path: fields.path()?,
            },
            b"fstatvfs@openssh.com" => Self::Fstatvfs {
                handle: fields.handle()?,
            },
            b"hardlink@openssh.com" => Self::Hardlink {
                old: fields.path()?,
                new: fields.path()?,
            },
            b"fsync@openssh.com" => Self::Fsync {
                handle: fields.handle()?,
            },
            b"lsetstat@openssh.com" => Self::Lsetstat {
                path: fields.path()?,
                attributes: fields.attributes()?,
            },
            b"limits@openssh.com" => Self::Limits,
            b"expand-path@openssh.com" => Self::ExpandPath {
                path: fields.path()?,
            },
            b"copy-data" => Self::CopyData(CopyData {
                read_from_handle: fields.handle()?,
                read_from_offset: fields.u64("offset")?,
                read_data_length: fields.u64("length")?,
                write_to_handle: fields.handle()?,
                write_to_offset: fields.u64("offset")?,
            }),
            b"home-directory" => Self::HomeDirectory {
                username: fields.string("user name")?,
            },
            b"users-groups-by-id@openssh.com" => Self::UsersGroupsById {
                uids: fields.ids("uids")?,
                gids: fields.ids("gids")?,
            },
            name => Self::Unknown { name },
        })
    }
}

/// The answer to `limits@openssh.com` (§4.8).
pub(super) fn limits(handles: usize) -> Vec<u8> {
    [MAX_PACKET, MAX_DATA, MAX_DATA, handles]
        .into_iter()
        .flat_map(|limit| (limit as u64).to_be_bytes())
        .collect()
}

/// The answer to `statvfs@openssh.com` and `fstatvfs@openssh.com` (§4.4).
#[expect(
    clippy::useless_conversion,
    reason = "the fields' widths differ from system to system"
)]
pub(super) fn statvfs(system: &Statvfs) -> Vec<u8> {
    let flag = |flag, value| {
        if system.flags().contains(flag) {
            value
        } else {
            0_u64
        }
    };
    let fields: [u64; 11] = [
        system.block_size().into(),
        system.fragment_size().into(),
        system.blocks().into(),
        system.blocks_free().into(),
        system.blocks_available().into(),
        system.files().into(),
        system.files_free().into(),
        system.files_available().into(),
        system.filesystem_id().into(),
        flag(FsFlags::ST_RDONLY, 1) | flag(FsFlags::ST_NOSUID, 2),
        system.name_max().into(),
    ];
    fields.into_iter().flat_map(u64::to_be_bytes).collect()
}

/// The answer to `users-groups-by-id@openssh.com` (§4.12): two strings of strings.
pub(super) fn users_groups(users: &[String], groups: &[String]) -> Vec<u8> {
    let mut answer = Vec::new();
    for names in [users, groups] {
        let mut list = Vec::new();
        names
            .iter()
            .for_each(|name| string(&mut list, name.as_bytes()));
        string(&mut answer, &list);
    }
    answer
}
