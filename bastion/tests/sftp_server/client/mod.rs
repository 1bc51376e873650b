//! An SFTP client that sends any bytes, and waits for no answer longer than a limit.

mod answer;
pub(crate) mod request;

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

pub(crate) use answer::{
    Answer, BAD_MESSAGE, EOF, FAILURE, NO_SUCH_FILE, Name, OK, OP_UNSUPPORTED, PERMISSION_DENIED,
};
pub(crate) use request::{APPEND, Attributes, CREAT, EXCL, READ, Request, TRUNC, WRITE};

/// Nothing here takes long; this is for a test that would otherwise hang.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

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
        let (id, answer, message) = Answer::decode(&self.receive());
        if let Some(message) = message {
            self.message = message;
        }
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
