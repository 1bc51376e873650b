//! An SFTP client that sends any bytes, and waits for no answer longer than a limit.

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// Nothing here takes long; this is for a test that would otherwise hang.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

pub(crate) const OK: Answer = Answer::Status(0);
pub(crate) const EOF: Answer = Answer::Status(1);
pub(crate) const NO_SUCH_FILE: Answer = Answer::Status(2);
pub(crate) const PERMISSION_DENIED: Answer = Answer::Status(3);
pub(crate) const FAILURE: Answer = Answer::Status(4);
pub(crate) const BAD_MESSAGE: Answer = Answer::Status(5);
pub(crate) const OP_UNSUPPORTED: Answer = Answer::Status(8);

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

/// The requests of the draft, §6.
pub(crate) mod request {
    use super::{Attributes, Request};

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

/// A server that runs in a folder of its own.
pub(crate) struct Server {
    child: Child,
    input: Option<ChildStdin>,
    output: ChildStdout,
    folder: tempfile::TempDir,
    next_id: u32,
    /// The sentence of the last status.
    pub(crate) message: String,
}

impl Server {
    /// Ours, greeted.
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// Ours, with options.
    pub(crate) fn start_with(options: &[&str]) -> Self {
        let mut command = ours();
        command.args(options);
        Self::run(command)
    }

    /// Any, greeted.
    pub(crate) fn run(command: Command) -> Self {
        let mut server = Self::run_silent(command);
        server.greet();
        server
    }

    /// Any, which has not been said a word to.
    pub(crate) fn run_silent(mut command: Command) -> Self {
        let folder = tempfile::tempdir().unwrap();
        open_to_all(folder.path());
        command
            .current_dir(folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let (input, output) = (child.stdin.take(), child.stdout.take().unwrap());
        Self {
            child,
            input,
            output,
            folder,
            next_id: 7,
            message: String::new(),
        }
    }

    pub(crate) fn greet(&mut self) -> Vec<u8> {
        self.send(&[0, 0, 0, 5, 1, 0, 0, 0, 3]);
        let version = self.receive();
        assert_eq!(version[..5], [2, 0, 0, 0, 3]);
        version
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A request and its answer.
    pub(crate) fn ask(&mut self, request: &Request) -> Answer {
        let id = self.next_id;
        self.next_id += 1;
        self.send(&request.packet(id));
        let (answered, answer) = self.answer();
        assert_eq!(answered, id);
        answer
    }

    pub(crate) fn open(&mut self, path: impl AsRef<[u8]>, flags: u32) -> Vec<u8> {
        self.ask(&request::open(path, flags)).handle()
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.input.as_mut().unwrap().write_all(bytes).unwrap();
    }

    /// The next reply, with its id.
    pub(crate) fn answer(&mut self) -> (u32, Answer) {
        let packet = self.receive();
        let mut reader = Reader(&packet);
        let (kind, id) = (reader.take(1)[0], reader.u32());
        let answer = match kind {
            101 => {
                let code = reader.u32();
                self.message = String::from_utf8(reader.string()).unwrap();
                assert_eq!(reader.string(), b"");
                Answer::Status(code)
            }
            102 => Answer::Handle(reader.string()),
            103 => Answer::Data(reader.string()),
            104 => Answer::Names((0..reader.u32()).map(|_| reader.name()).collect()),
            105 => Answer::Attributes(reader.attributes()),
            201 => Answer::Extended(reader.take(reader.0.len()).to_vec()),
            other => panic!("a reply of type {other}"),
        };
        assert!(reader.0.is_empty(), "bytes after the reply");
        (id, answer)
    }

    /// The next packet, without its length.
    fn receive(&mut self) -> Vec<u8> {
        let length = u32::from_be_bytes(self.read(4).try_into().unwrap());
        assert!(length <= 256 * 1024, "{length}");
        self.read(length as usize)
    }

    fn read(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        let mut filled = 0;
        while filled < length {
            let limit = PollTimeout::try_from(LIMIT).unwrap();
            let ready = poll(
                &mut [PollFd::new(self.output.as_fd(), PollFlags::POLLIN)],
                limit,
            )
            .unwrap();
            assert!(ready > 0, "no answer within {LIMIT:?}");
            match self.output.read(&mut bytes[filled..]).unwrap() {
                0 => panic!("the server ended: {}", self.end().1),
                read => filled += read,
            }
        }
        bytes
    }

    /// Ends the input, and waits for the server's end: its status and its complaints.
    pub(crate) fn end(&mut self) -> (ExitStatus, String) {
        self.input = None;
        let status = self.wait();
        let mut complaints = String::new();
        self.child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut complaints)
            .unwrap();
        (status, complaints)
    }

    /// Waits for the server to end by itself.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let until = Instant::now() + LIMIT;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(
                Instant::now() < until,
                "the server did not end within {LIMIT:?}"
            );
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
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

/// Our server's command. Where the test runs as root it runs as nobody, whom modes concern.
pub(crate) fn ours() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bastion"));
    command.arg("sftp-server");
    as_ordinary_user(command)
}

pub(crate) fn as_ordinary_user(mut command: Command) -> Command {
    if nix::unistd::Uid::effective().is_root() {
        command.uid(65534).gid(65534);
    }
    command
}

fn open_to_all(folder: &Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o777)).unwrap();
}
