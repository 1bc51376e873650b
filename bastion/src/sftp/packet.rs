//! Requests as bytes. Pure, and open to fuzzing: any bytes give a request or an error.

#[cfg(test)]
mod tests;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use thiserror::Error;

use super::Attributes;
use super::extensions::Extended;

/// The longest packet, without its length field: sftp-server's SFTP_MAX_MSG_LENGTH.
pub const MAX_PACKET: usize = 256 * 1024;
/// The most bytes that one READ returns or one WRITE brings, as sftp-server says in its limits.
pub const MAX_DATA: usize = MAX_PACKET - 1024;
/// SSH_FXP_EXTENDED.
const EXTENDED: u8 = 200;
/// The most extended attributes in one ATTRS, as in sftp-server.
const MAX_EXTENDED_ATTRIBUTES: u32 = 0x0010_0000;

/// Why bytes are no packet. Nothing after them can be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Malformed {
    /// The length field is 0, or too large.
    #[error("the client sent a packet of {0} bytes; this server takes 1 to {MAX_PACKET}")]
    Length(u32),
    /// The packet ends within a field.
    #[error("the client sent a packet of type {0} that ends within its {1}")]
    CutShort(u8, &'static str),
    /// More extended attributes than there could be a use for.
    #[error("the client sent {0} extended attributes in one packet")]
    ExtendedAttributes(u32),
}

/// A packet from a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet<'a> {
    /// SSH_FXP_INIT, the first one (§4).
    Init {
        /// The version of the protocol that the client speaks.
        version: u32,
    },
    /// A request; its answer carries the same id (§6).
    Request {
        /// The id.
        id: u32,
        /// What is asked for.
        request: Request<'a>,
    },
}

/// A request (§6). Handles are as the client sent them; paths are bytes without an encoding.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are named as in the draft")]
pub enum Request<'a> {
    Open {
        path: &'a Path,
        flags: OpenFlags,
        attributes: Attributes,
    },
    Close {
        handle: &'a [u8],
    },
    Read {
        handle: &'a [u8],
        offset: u64,
        length: u32,
    },
    Write {
        handle: &'a [u8],
        offset: u64,
        data: &'a [u8],
    },
    Lstat {
        path: &'a Path,
    },
    Fstat {
        handle: &'a [u8],
    },
    Setstat {
        path: &'a Path,
        attributes: Attributes,
    },
    Fsetstat {
        handle: &'a [u8],
        attributes: Attributes,
    },
    Opendir {
        path: &'a Path,
    },
    Readdir {
        handle: &'a [u8],
    },
    Remove {
        path: &'a Path,
    },
    Mkdir {
        path: &'a Path,
        attributes: Attributes,
    },
    Rmdir {
        path: &'a Path,
    },
    Realpath {
        path: &'a Path,
    },
    Stat {
        path: &'a Path,
    },
    Rename {
        old: &'a Path,
        new: &'a Path,
    },
    Readlink {
        path: &'a Path,
    },
    /// In the order of OpenSSH's PROTOCOL §4.1, which is not the draft's.
    Symlink {
        target: &'a Path,
        link: &'a Path,
    },
    Extended(Extended<'a>),
    /// A type that version 3 of the protocol does not have.
    Unknown {
        kind: u8,
    },
}

/// How a file is to be opened: SSH_FXF_* (§6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenFlags(pub u32);

#[expect(missing_docs, reason = "they are named as in the draft")]
impl OpenFlags {
    pub const READ: Self = Self(0x01);
    pub const WRITE: Self = Self(0x02);
    pub const APPEND: Self = Self(0x04);
    pub const CREAT: Self = Self(0x08);
    pub const TRUNC: Self = Self(0x10);
    pub const EXCL: Self = Self(0x20);

    /// Whether all of these are set.
    pub fn contains(self, flags: Self) -> bool {
        self.0 & flags.0 == flags.0
    }
}

/// The length of the packet that `bytes` begin with, without its length field; `None` if that is
/// not all there yet.
pub fn length(bytes: &[u8]) -> Result<Option<usize>, Malformed> {
    let Some(field) = bytes.first_chunk() else {
        return Ok(None);
    };
    let length = u32::from_be_bytes(*field);
    match usize::try_from(length) {
        Ok(bytes @ 1..=MAX_PACKET) => Ok(Some(bytes)),
        _ => Err(Malformed::Length(length)),
    }
}

/// Whether a request may keep whoever has asked for others waiting for long: it is an extension, and
/// fsync and copy-data can.
pub(super) fn may_take_long(packet: &[u8]) -> bool {
    packet.first() == Some(&EXTENDED)
}

/// A packet from its bytes, without the length field. Bytes after the last field are ignored, as
/// sftp-server does.
pub fn decode(packet: &[u8]) -> Result<Packet<'_>, Malformed> {
    let Some((&kind, fields)) = packet.split_first() else {
        return Err(Malformed::Length(0));
    };
    let mut fields = Fields { kind, rest: fields };
    if kind == 1 {
        return Ok(Packet::Init {
            version: fields.u32("version")?,
        });
    }
    let id = fields.u32("id")?;
    let request = decode_request(kind, &mut fields)?;
    Ok(Packet::Request { id, request })
}

fn decode_request<'a>(kind: u8, fields: &mut Fields<'a>) -> Result<Request<'a>, Malformed> {
    Ok(match kind {
        3 => Request::Open {
            path: fields.path()?,
            flags: OpenFlags(fields.u32("flags")?),
            attributes: fields.attributes()?,
        },
        4 => Request::Close {
            handle: fields.handle()?,
        },
        5 => Request::Read {
            handle: fields.handle()?,
            offset: fields.u64("offset")?,
            length: fields.u32("length")?,
        },
        6 => Request::Write {
            handle: fields.handle()?,
            offset: fields.u64("offset")?,
            data: fields.string("data")?,
        },
        7 => Request::Lstat {
            path: fields.path()?,
        },
        8 => Request::Fstat {
            handle: fields.handle()?,
        },
        9 => Request::Setstat {
            path: fields.path()?,
            attributes: fields.attributes()?,
        },
        10 => Request::Fsetstat {
            handle: fields.handle()?,
            attributes: fields.attributes()?,
        },
        11 => Request::Opendir {
            path: fields.path()?,
        },
        12 => Request::Readdir {
            handle: fields.handle()?,
        },
        13 => Request::Remove {
            path: fields.path()?,
        },
        14 => Request::Mkdir {
            path: fields.path()?,
            attributes: fields.attributes()?,
        },
        15 => Request::Rmdir {
            path: fields.path()?,
        },
        16 => Request::Realpath {
            path: fields.path()?,
        },
        17 => Request::Stat {
            path: fields.path()?,
        },
        18 => Request::Rename {
            old: fields.path()?,
            new: fields.path()?,
        },
        19 => Request::Readlink {
            path: fields.path()?,
        },
        20 => Request::Symlink {
            target: fields.path()?,
            link: fields.path()?,
        },
        EXTENDED => Request::Extended(Extended::decode(fields)?),
        kind => Request::Unknown { kind },
    })
}

/// The fields of one packet (§3): taken from the front, never beyond the end.
pub(super) struct Fields<'a> {
    kind: u8,
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(super) fn u32(&mut self, name: &'static str) -> Result<u32, Malformed> {
        self.array(name).map(u32::from_be_bytes)
    }

    pub(super) fn u64(&mut self, name: &'static str) -> Result<u64, Malformed> {
        self.array(name).map(u64::from_be_bytes)
    }

    pub(super) fn string(&mut self, name: &'static str) -> Result<&'a [u8], Malformed> {
        let length = self.u32(name)?;
        let split = usize::try_from(length)
            .ok()
            .and_then(|length| self.rest.split_at_checked(length));
        let (string, rest) = split.ok_or(Malformed::CutShort(self.kind, name))?;
        self.rest = rest;
        Ok(string)
    }

    pub(super) fn path(&mut self) -> Result<&'a Path, Malformed> {
        self.string("path")
            .map(|bytes| Path::new(OsStr::from_bytes(bytes)))
    }

    pub(super) fn handle(&mut self) -> Result<&'a [u8], Malformed> {
        self.string("handle")
    }

    /// A string of numbers without a length of its own (PROTOCOL §4.12).
    pub(super) fn ids(&mut self, name: &'static str) -> Result<Vec<u32>, Malformed> {
        let (ids, rest) = self.string(name)?.as_chunks();
        match rest.is_empty() {
            true => Ok(ids.iter().copied().map(u32::from_be_bytes).collect()),
            false => Err(Malformed::CutShort(self.kind, name)),
        }
    }

    /// ATTRS (§5). Extended attributes are read over: none has a meaning here.
    pub(super) fn attributes(&mut self) -> Result<Attributes, Malformed> {
        use super::attributes::flags;
        let flags = self.u32("attributes")?;
        let has = |flag| flags & flag != 0;
        let pair = |fields: &mut Self| Ok((fields.u32("attributes")?, fields.u32("attributes")?));
        let attributes = Attributes {
            size: has(flags::SIZE)
                .then(|| self.u64("attributes"))
                .transpose()?,
            owner: has(flags::UIDGID).then(|| pair(self)).transpose()?,
            permissions: has(flags::PERMISSIONS)
                .then(|| self.u32("attributes"))
                .transpose()?,
            times: has(flags::ACMODTIME).then(|| pair(self)).transpose()?,
        };
        if has(flags::EXTENDED) {
            let count = self.u32("attributes")?;
            if count > MAX_EXTENDED_ATTRIBUTES {
                return Err(Malformed::ExtendedAttributes(count));
            }
            for _ in 0..count {
                self.string("attributes")?;
                self.string("attributes")?;
            }
        }
        Ok(attributes)
    }

    fn array<const N: usize>(&mut self, name: &'static str) -> Result<[u8; N], Malformed> {
        let (array, rest) = self
            .rest
            .split_first_chunk()
            .ok_or(Malformed::CutShort(self.kind, name))?;
        self.rest = rest;
        Ok(*array)
    }
}
