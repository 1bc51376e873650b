//! What an SFTP server answers (draft-ietf-secsh-filexfer-02, §7).

use std::path::PathBuf;

use super::Attributes;

pub(crate) const OK: Answer = Answer::Status(0);
pub(crate) const EOF: Answer = Answer::Status(1);
pub(crate) const NO_SUCH_FILE: Answer = Answer::Status(2);
pub(crate) const PERMISSION_DENIED: Answer = Answer::Status(3);
pub(crate) const FAILURE: Answer = Answer::Status(4);
pub(crate) const BAD_MESSAGE: Answer = Answer::Status(5);
pub(crate) const OP_UNSUPPORTED: Answer = Answer::Status(8);

/// A reply without its id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Status(u32),
    Handle(Vec<u8>),
    Data(Vec<u8>),
    Names(Vec<Name>),
    Attributes(Attributes),
    Extended(Vec<u8>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Name {
    pub(crate) name: Vec<u8>,
    pub(crate) long_name: Vec<u8>,
    pub(crate) attributes: Attributes,
}

impl Answer {
    /// A reply's id, what it says, and the sentence of a status.
    pub(crate) fn decode(packet: &[u8]) -> (u32, Self, Option<String>) {
        let mut reader = Reader(packet);
        let mut message = None;
        let (kind, id) = (reader.take(1)[0], reader.u32());
        let answer = match kind {
            101 => {
                let code = reader.u32();
                message = Some(String::from_utf8(reader.string()).unwrap());
                assert_eq!(reader.string(), b"");
                Self::Status(code)
            }
            102 => Self::Handle(reader.string()),
            103 => Self::Data(reader.string()),
            104 => Self::Names((0..reader.u32()).map(|_| reader.name()).collect()),
            105 => Self::Attributes(reader.attributes()),
            201 => Self::Extended(reader.take(reader.0.len()).to_vec()),
            other => panic!("a reply of type {other}"),
        };
        assert!(reader.0.is_empty(), "bytes after the reply");
        (id, answer, message)
    }

    pub(crate) fn handle(self) -> Vec<u8> {
        let Self::Handle(handle) = self else {
            panic!("a handle was expected: {self:?}")
        };
        handle
    }
    pub(crate) fn path(self) -> PathBuf {
        let Self::Names(names) = self else {
            panic!("a name was expected: {self:?}")
        };
        assert_eq!(names.len(), 1);
        PathBuf::from(String::from_utf8(names[0].name.clone()).unwrap())
    }
    pub(crate) fn names(self) -> Vec<Name> {
        let Self::Names(names) = self else {
            panic!("names were expected: {self:?}")
        };
        names
    }
    pub(crate) fn metadata(self) -> bastion::sftp::Attributes {
        let Self::Attributes(attributes) = self else {
            panic!("attributes were expected: {self:?}")
        };
        attributes.0
    }
    pub(crate) fn numbers(self) -> Vec<u64> {
        let Self::Extended(bytes) = self else {
            panic!("an extended reply was expected: {self:?}")
        };
        bytes
            .chunks(8)
            .map(|chunk| u64::from_be_bytes(chunk.try_into().unwrap()))
            .collect()
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(length);
        self.0 = rest;
        taken
    }
    fn u32(&mut self) -> u32 {
        u32::from_be_bytes(self.take(4).try_into().unwrap())
    }
    fn u64(&mut self) -> u64 {
        u64::from_be_bytes(self.take(8).try_into().unwrap())
    }
    fn string(&mut self) -> Vec<u8> {
        let length = self.u32() as usize;
        self.take(length).to_vec()
    }
    fn name(&mut self) -> Name {
        Name {
            name: self.string(),
            long_name: self.string(),
            attributes: self.attributes(),
        }
    }
    fn attributes(&mut self) -> Attributes {
        let flags = self.u32();
        assert_eq!(flags & !0x0f, 0);
        Attributes(bastion::sftp::Attributes {
            size: (flags & 1 != 0).then(|| self.u64()),
            owner: (flags & 2 != 0).then(|| (self.u32(), self.u32())),
            permissions: (flags & 4 != 0).then(|| self.u32()),
            times: (flags & 8 != 0).then(|| (self.u32(), self.u32())),
        })
    }
}
