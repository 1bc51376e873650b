//! Replies as bytes. Pure: nothing here touches a file or a descriptor.

use super::packet::{MAX_DATA, MAX_PACKET};
use super::{Attributes, Status};

/// The fields of a DATA reply before its data: length, type, id, length of the data.
const DATA_HEADER: usize = 4 + 1 + 4 + 4;
/// Replies are handed on once they take up so many bytes: the size of a pipe.
const ENOUGH: usize = 64 * 1024;

/// A reply (§7), but for SSH_FXP_DATA, which is written in place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// How it went.
    Status(Status),
    /// A file or a folder that was opened.
    Handle([u8; 4]),
    /// Names: of a folder's entries, or one path.
    Names(Vec<Name>),
    /// What is known of a file.
    Attributes(Attributes),
    /// The answer to an extended request, as the extension defines it.
    Extended(Vec<u8>),
}

/// One name of SSH_FXP_NAME.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// The file's name.
    pub name: Vec<u8>,
    /// What `ls -l` would say.
    pub long_name: Vec<u8>,
    /// What is known of it.
    pub attributes: Attributes,
}

impl Name {
    /// A path alone, as REALPATH and READLINK answer.
    pub(super) fn path(path: Vec<u8>) -> Self {
        Self {
            long_name: path.clone(),
            name: path,
            attributes: Attributes::default(),
        }
    }
}

impl From<Result<Reply, Status>> for Reply {
    fn from(outcome: Result<Reply, Status>) -> Self {
        outcome.unwrap_or_else(Reply::Status)
    }
}

/// Appends a reply's packet, length field and all.
pub fn encode(id: u32, reply: &Reply, to: &mut Vec<u8>) {
    let kind = match reply {
        Reply::Status(_) => 101,
        Reply::Handle(_) => 102,
        Reply::Names(_) => 104,
        Reply::Attributes(_) => 105,
        Reply::Extended(_) => 201,
    };
    packet(to, kind, |to| {
        to.extend(id.to_be_bytes());
        match reply {
            Reply::Status(Status { code, message }) => {
                to.extend((*code as u32).to_be_bytes());
                string(to, message.as_bytes());
                // The message's language (RFC 3066): not said, as in sftp-server.
                string(to, b"");
            }
            Reply::Handle(handle) => string(to, handle),
            Reply::Names(names) => {
                to.extend(u32_from(names.len()).to_be_bytes());
                for Name {
                    name,
                    long_name,
                    attributes,
                } in names
                {
                    string(to, name);
                    string(to, long_name);
                    attributes.encode(to);
                }
            }
            Reply::Attributes(attributes) => attributes.encode(to),
            Reply::Extended(fields) => to.extend(fields),
        }
    });
}

/// Appends SSH_FXP_VERSION (§4): what this server speaks, and its extensions.
fn encode_version(version: u32, extensions: &[(&str, &str)], to: &mut Vec<u8>) {
    packet(to, 2, |to| {
        to.extend(version.to_be_bytes());
        for (name, version) in extensions {
            string(to, name.as_bytes());
            string(to, version.as_bytes());
        }
    });
}

/// Appends a string: its length and its bytes (§3).
pub(super) fn string(to: &mut Vec<u8>, bytes: &[u8]) {
    to.extend(u32_from(bytes.len()).to_be_bytes());
    to.extend(bytes);
}

fn packet(to: &mut Vec<u8>, kind: u8, fields: impl FnOnce(&mut Vec<u8>)) {
    let start = to.len();
    to.extend([0, 0, 0, 0, kind]);
    fields(to);
    let length = u32_from(to.len() - start - 4);
    if let Some(field) = to.get_mut(start..).and_then(<[u8]>::first_chunk_mut) {
        *field = length.to_be_bytes();
    }
}

/// Lengths here are bounded by [`MAX_PACKET`], by what a folder holds or by PATH_MAX.
fn u32_from(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

/// Replies that wait to be written. The buffer is made once: what a READ returns is read straight
/// into it.
pub(super) struct Replies {
    bytes: Box<[u8]>,
    filled: usize,
    scratch: Vec<u8>,
}

impl Replies {
    pub(super) fn new() -> Self {
        let bytes = vec![0; ENOUGH + 4 + MAX_PACKET].into_boxed_slice();
        Self {
            bytes,
            filled: 0,
            scratch: Vec::new(),
        }
    }

    /// Adds a reply. There is room for it if there are not [`Self::are_enough`].
    pub(super) fn add(&mut self, id: u32, reply: &Reply) {
        self.scratch.clear();
        encode(id, reply, &mut self.scratch);
        if self.scratch.len() > 4 + MAX_PACKET {
            self.scratch.clear();
            encode(
                id,
                &Reply::Status(Status::failure("The answer is too long")),
                &mut self.scratch,
            );
        }
        self.append_scratch();
    }

    /// Adds SSH_FXP_VERSION.
    pub(super) fn add_version(&mut self, version: u32, extensions: &[(&str, &str)]) {
        self.scratch.clear();
        encode_version(version, extensions, &mut self.scratch);
        self.append_scratch();
    }

    fn append_scratch(&mut self) {
        let end = self.filled + self.scratch.len();
        if let Some(room) = self.bytes.get_mut(self.filled..end) {
            room.copy_from_slice(&self.scratch);
            self.filled = end;
        }
    }

    /// Adds SSH_FXP_DATA with what `read` reads into the room of `length` bytes (at most
    /// [`MAX_DATA`]) that it is given. Nothing read: the end of the file.
    pub(super) fn data(
        &mut self,
        id: u32,
        length: u32,
        read: impl FnOnce(&mut [u8]) -> std::io::Result<usize>,
    ) -> Result<(), Status> {
        let asked = usize::try_from(length).map_or(MAX_DATA, |length| length.min(MAX_DATA));
        let free = self.bytes.get_mut(self.filled..).unwrap_or_default();
        let Some((header, room)) = free.split_first_chunk_mut::<DATA_HEADER>() else {
            return Err(Status::failure("Replies are not taken"));
        };
        let room = room
            .get_mut(..asked)
            .ok_or(Status::failure("Replies are not taken"))?;
        let read = read(room)?;
        // To ask for nothing is "weird, but not strictly disallowed" (sftp-server).
        if read == 0 && asked > 0 {
            return Err(Status::EOF);
        }
        *header = data_header(id, u32_from(read));
        self.filled += DATA_HEADER + read;
        Ok(())
    }

    /// Whether no more should be added before what there is has been written.
    pub(super) fn are_enough(&self) -> bool {
        self.filled >= ENOUGH
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.filled).unwrap_or_default()
    }

    pub(super) fn clear(&mut self) {
        self.filled = 0;
    }
}

fn data_header(id: u32, length: u32) -> [u8; DATA_HEADER] {
    let ([a, b, c, d], [e, f, g, h], [i, j, k, l]) = (
        (length + 9).to_be_bytes(),
        id.to_be_bytes(),
        length.to_be_bytes(),
    );
    [a, b, c, d, 103, e, f, g, h, i, j, k, l]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_has_its_code_its_sentence_and_no_language() {
        let mut bytes = Vec::new();
        encode(7, &Reply::Status(Status::EOF), &mut bytes);
        let expected = b"\0\0\0\x1c\x65\0\0\0\x07\0\0\0\x01\0\0\0\x0bEnd of file\0\0\0\0";
        assert_eq!(bytes, expected);
    }

    #[test]
    fn data_is_read_into_its_reply() {
        let mut replies = Replies::new();
        replies.add(1, &Reply::Handle([0, 0, 0, 5]));
        let before = replies.as_bytes().len();
        replies
            .data(2, 10, |room| {
                assert_eq!(room.len(), 10);
                room[..2].copy_from_slice(b"hi");
                Ok(2)
            })
            .unwrap();
        assert_eq!(
            &replies.as_bytes()[before..],
            b"\0\0\0\x0b\x67\0\0\0\x02\0\0\0\x02hi"
        );
        assert_eq!(replies.data(3, 10, |_| Ok(0)), Err(Status::EOF));
        assert_eq!(replies.as_bytes().len(), before + 15);
    }

    #[test]
    fn there_is_room_for_the_largest_reply_until_there_are_enough() {
        let mut replies = Replies::new();
        while !replies.are_enough() {
            let before = replies.as_bytes().len();
            replies.add(1, &Reply::Extended(vec![0; 40_000]));
            assert_eq!(replies.as_bytes().len(), before + 40_009);
        }
        let mut replies = Replies::new();
        replies.add(1, &Reply::Extended(vec![0; ENOUGH - 10]));
        assert!(!replies.are_enough());
        replies.add(2, &Reply::Extended(vec![0; MAX_PACKET - 5]));
        assert_eq!(replies.as_bytes().len(), ENOUGH - 1 + 4 + MAX_PACKET);
    }

    #[test]
    fn a_reply_of_more_than_a_packet_is_a_failure() {
        let mut replies = Replies::new();
        replies.add(1, &Reply::Extended(vec![0; MAX_PACKET - 4]));
        assert_eq!(replies.as_bytes().get(4), Some(&101));
    }
}
