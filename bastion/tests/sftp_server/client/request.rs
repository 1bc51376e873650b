//! What an SFTP client asks for (draft-ietf-secsh-filexfer-02, §6), or anything else.

pub(crate) const READ: u32 = 0x01;
pub(crate) const WRITE: u32 = 0x02;
pub(crate) const APPEND: u32 = 0x04;
pub(crate) const CREAT: u32 = 0x08;
pub(crate) const TRUNC: u32 = 0x10;
pub(crate) const EXCL: u32 = 0x20;

/// A request without its id.
#[derive(Clone)]
pub(crate) struct Request {
    kind: u8,
    fields: Vec<u8>,
}

impl Request {
    pub(crate) fn new(kind: u8) -> Self {
        Self {
            kind,
            fields: Vec::new(),
        }
    }

    pub(crate) fn extended(name: &str) -> Self {
        Self::new(200).string(name)
    }

    pub(crate) fn string(mut self, bytes: impl AsRef<[u8]>) -> Self {
        let bytes = bytes.as_ref();
        self.fields.extend((bytes.len() as u32).to_be_bytes());
        self.fields.extend(bytes);
        self
    }

    pub(crate) fn u32(mut self, value: u32) -> Self {
        self.fields.extend(value.to_be_bytes());
        self
    }

    pub(crate) fn u64(mut self, value: u64) -> Self {
        self.fields.extend(value.to_be_bytes());
        self
    }

    pub(crate) fn attributes(mut self, attributes: Attributes) -> Self {
        let mut fields = Vec::new();
        attributes.0.encode(&mut fields);
        self.fields.extend(fields);
        self
    }

    pub(crate) fn packet(&self, id: u32) -> Vec<u8> {
        let mut packet = ((self.fields.len() + 5) as u32).to_be_bytes().to_vec();
        packet.push(self.kind);
        packet.extend(id.to_be_bytes());
        packet.extend(&self.fields);
        packet
    }
}

/// ATTRS, as the server's own code writes them: what it reads is tested by what it then does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Attributes(pub(crate) bastion::sftp::Attributes);

impl Attributes {
    pub(crate) fn none() -> Self {
        Self::default()
    }
    pub(crate) fn size(mut self, size: u64) -> Self {
        self.0.size = Some(size);
        self
    }
    pub(crate) fn mode(mut self, mode: u32) -> Self {
        self.0.permissions = Some(mode);
        self
    }
    pub(crate) fn times(mut self, read: u32, changed: u32) -> Self {
        self.0.times = Some((read, changed));
        self
    }
    pub(crate) fn owner(mut self, uid: u32, gid: u32) -> Self {
        self.0.owner = Some((uid, gid));
        self
    }
}

pub(crate) fn open(path: impl AsRef<[u8]>, flags: u32) -> Request {
    open_with(path, flags, Attributes::none())
}

pub(crate) fn open_with(path: impl AsRef<[u8]>, flags: u32, attributes: Attributes) -> Request {
    Request::new(3)
        .string(path)
        .u32(flags)
        .attributes(attributes)
}

pub(crate) fn close(handle: &[u8]) -> Request {
    Request::new(4).string(handle)
}

pub(crate) fn read(handle: &[u8], offset: u64, length: u32) -> Request {
    Request::new(5).string(handle).u64(offset).u32(length)
}

pub(crate) fn write(handle: &[u8], offset: u64, data: impl AsRef<[u8]>) -> Request {
    Request::new(6).string(handle).u64(offset).string(data)
}

pub(crate) fn lstat(path: impl AsRef<[u8]>) -> Request {
    Request::new(7).string(path)
}

pub(crate) fn fstat(handle: &[u8]) -> Request {
    Request::new(8).string(handle)
}

pub(crate) fn setstat(path: impl AsRef<[u8]>, attributes: Attributes) -> Request {
    Request::new(9).string(path).attributes(attributes)
}

pub(crate) fn fsetstat(handle: &[u8], attributes: Attributes) -> Request {
    Request::new(10).string(handle).attributes(attributes)
}

pub(crate) fn opendir(path: impl AsRef<[u8]>) -> Request {
    Request::new(11).string(path)
}

pub(crate) fn readdir(handle: &[u8]) -> Request {
    Request::new(12).string(handle)
}

pub(crate) fn remove(path: impl AsRef<[u8]>) -> Request {
    Request::new(13).string(path)
}

pub(crate) fn mkdir(path: impl AsRef<[u8]>, attributes: Attributes) -> Request {
    Request::new(14).string(path).attributes(attributes)
}

pub(crate) fn rmdir(path: impl AsRef<[u8]>) -> Request {
    Request::new(15).string(path)
}

pub(crate) fn realpath(path: impl AsRef<[u8]>) -> Request {
    Request::new(16).string(path)
}

pub(crate) fn stat(path: impl AsRef<[u8]>) -> Request {
    Request::new(17).string(path)
}

pub(crate) fn rename(old: impl AsRef<[u8]>, new: impl AsRef<[u8]>) -> Request {
    Request::new(18).string(old).string(new)
}

pub(crate) fn readlink(path: impl AsRef<[u8]>) -> Request {
    Request::new(19).string(path)
}

pub(crate) fn symlink(target: impl AsRef<[u8]>, link: impl AsRef<[u8]>) -> Request {
    Request::new(20).string(target).string(link)
}

pub(crate) fn copy_data(from: &[u8], at: u64, length: u64, to: &[u8], to_at: u64) -> Request {
    Request::extended("copy-data")
        .string(from)
        .u64(at)
        .u64(length)
        .string(to)
        .u64(to_at)
}
