//! The loop: bytes in, requests answered in their order, bytes out.

use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Uid, User};
use thiserror::Error;

use super::Options;
use super::extensions::EXTENSIONS;
use super::handles::Handles;
use super::listing::AccountNames;
use super::options::StartFolder;
use super::packet::{self, MAX_PACKET, Malformed, Packet};
use super::permitted::Permitted;
use super::reply::Replies;
use crate::sys::{process, signals};

/// The version of the protocol: the only one, as in sftp-server.
const VERSION: u32 = 3;
/// Room for a packet of the largest size and the next one behind it.
const INPUT: usize = 2 * (4 + MAX_PACKET);
/// Replies that are ready within this time go together.
const TOGETHER: Duration = Duration::from_millis(2);

/// Why the server ends before its client does.
#[derive(Debug, Error)]
pub enum SftpError {
    /// The client sent what cannot be understood.
    #[error("sftp: {0}")]
    Malformed(#[from] Malformed),
    /// A request came before SSH_FXP_INIT.
    #[error("sftp: the client sent a request before it said which version it speaks")]
    NotInitialised,
    /// The client speaks an older version.
    #[error("sftp: the client speaks version {0} of the protocol; this server speaks {VERSION}")]
    Version(u32),
    /// The input ended within a packet.
    #[error("sftp: the connection ended within a packet")]
    CutShort,
    /// The system refused.
    #[error("sftp: {what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

/// Serves at standard input and output until the input ends.
pub fn run(options: &Options) -> Result<(), SftpError> {
    let system = |what| move |source| SftpError::System { what, source };
    process::set_name(c"bastion-sftp");
    // A user who may have nothing but SFTP must not get at more by writing to /proc/self/mem;
    // sftp-server does likewise (platform_disable_tracing).
    process::forbid_dump().map_err(system("forbid dumps"))?;
    process::forbid_new_privileges().map_err(system("forbid new privileges"))?;
    // A file that reaches RLIMIT_FSIZE is an error to report, not the end.
    signals::ignore(Signal::SIGXFSZ).map_err(system("ignore SIGXFSZ"))?;
    if let Some(mask) = options.umask {
        umask(Mode::from_bits_truncate(mask));
    }
    if let Some(folder) = &options.start_folder {
        start_in(folder);
    }
    let (input, output) = (io::stdin(), io::stdout());
    Server::new(options.into()).serve(&input, &output)
}

/// Where that cannot be, it stays in the home folder, as sftp-server does: whoever can remove a folder
/// must not thereby shut others out.
fn start_in(folder: &StartFolder) {
    let account = User::from_uid(Uid::current()).ok().flatten();
    let Some(folder) = account.map(|account| folder.of(&account)) else {
        return;
    };
    if let Err(error) = std::env::set_current_dir(&folder) {
        eprintln!("sftp: cannot start in {}: {error}", folder.display());
    }
}

/// What the server keeps from one request to the next.
pub(super) struct Server {
    pub(super) handles: Handles,
    pub(super) accounts: AccountNames,
    pub(super) permitted: Permitted,
    initialised: bool,
}

impl Server {
    pub(super) fn new(permitted: Permitted) -> Self {
        let descriptors = process::descriptor_limit().unwrap_or(0);
        let handles = Handles::new(descriptors);
        Self {
            handles,
            accounts: AccountNames::default(),
            permitted,
            initialised: false,
        }
    }

    /// Answers requests until the input ends. All that came before its end is done and answered,
    /// whether anybody still reads the answers or not.
    fn serve(&mut self, input: &impl AsFd, output: &impl AsFd) -> Result<(), SftpError> {
        let mut replies = Replies::new();
        let outcome = self.serve_until_the_end(input, output, &mut replies);
        // What was done is told, whatever has come after it.
        outcome.and(write_all(output, &mut replies))
    }

    fn serve_until_the_end(
        &mut self,
        input: &impl AsFd,
        output: &impl AsFd,
        replies: &mut Replies,
    ) -> Result<(), SftpError> {
        let mut requests = Requests::new();
        loop {
            let mut waiting_since = Instant::now();
            while let Some(packet) = requests.next()? {
                if packet::may_take_long(packet) {
                    write_all(output, replies)?;
                }
                self.answer(packet, replies)?;
                if replies.are_enough() || waiting_since.elapsed() > TOGETHER {
                    write_all(output, replies)?;
                    waiting_since = Instant::now();
                }
            }
            write_all(output, replies)?;
            if !requests.read_more(input)? {
                return Ok(());
            }
        }
    }

    /// Answers one packet.
    pub(super) fn answer(&mut self, packet: &[u8], replies: &mut Replies) -> Result<(), SftpError> {
        match packet::decode(packet)? {
            Packet::Init { version } if version < VERSION => Err(SftpError::Version(version)),
            Packet::Init { .. } => {
                self.initialised = true;
                let announced = |&(name, _): &(&str, &str)| self.permitted.announces(name);
                let extensions: Vec<_> = EXTENSIONS.into_iter().filter(announced).collect();
                replies.add_version(VERSION, &extensions);
                Ok(())
            }
            Packet::Request { .. } if !self.initialised => Err(SftpError::NotInitialised),
            Packet::Request { id, request } => {
                self.carry_out(id, request, replies);
                Ok(())
            }
        }
    }
}

/// Bytes from the client, and the packets in them.
struct Requests {
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Requests {
    fn new() -> Self {
        Self {
            bytes: vec![0; INPUT].into_boxed_slice(),
            start: 0,
            end: 0,
        }
    }

    fn unread(&self) -> &[u8] {
        self.bytes.get(self.start..self.end).unwrap_or_default()
    }

    /// The next packet, if all of it is there.
    fn next(&mut self) -> Result<Option<&[u8]>, Malformed> {
        let Some(length) = packet::length(self.unread())? else {
            return Ok(None);
        };
        let (start, end) = (self.start + 4, self.start + 4 + length);
        if end > self.end {
            return Ok(None);
        }
        self.start = end;
        Ok(self.bytes.get(start..end))
    }

    /// Waits for more; false at the end of the input.
    fn read_more(&mut self, input: &impl AsFd) -> Result<bool, SftpError> {
        self.make_room()?;
        let room = self.bytes.get_mut(self.end..).unwrap_or_default();
        match retried(|| nix::unistd::read(input, room)) {
            Ok(0) if self.start < self.end => Err(SftpError::CutShort),
            Ok(read) => {
                self.end += read;
                Ok(read > 0)
            }
            Err(source) => Err(SftpError::System {
                what: "read",
                source: source.into(),
            }),
        }
    }

    /// Makes room for all of the packet that has begun.
    fn make_room(&mut self) -> Result<(), Malformed> {
        let needed = 4 + packet::length(self.unread())?.unwrap_or(0);
        if self.start == self.end || self.start + needed > self.bytes.len() {
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        Ok(())
    }
}

fn write_all(output: &impl AsFd, replies: &mut Replies) -> Result<(), SftpError> {
    let mut bytes = replies.as_bytes();
    while !bytes.is_empty() {
        let written =
            retried(|| nix::unistd::write(output, bytes)).map_err(|source| SftpError::System {
                what: "write",
                source: source.into(),
            })?;
        bytes = bytes.get(written..).unwrap_or_default();
    }
    replies.clear();
    Ok(())
}

/// A call that a signal interrupted is made again.
fn retried<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    loop {
        match call() {
            Err(Errno::EINTR) => {}
            outcome => return outcome,
        }
    }
}
