//! What the gate's fence forbids, tried from inside: this program re-executes itself, puts itself
//! behind the fence as the gate does, and tries one thing.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

use std::os::fd::AsRawFd;

use bastion::sys::account::Account;
use bastion::sys::sandbox::{self, Landlock};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::socket::{
    AddressFamily, MsgFlags, Shutdown, SockFlag, SockType, SockaddrIn, sendto, setsockopt,
    shutdown, socketpair, sockopt,
};

/// How an attempt is to end.
#[derive(Debug, PartialEq)]
enum Wanted {
    /// Killed by the system-call filter.
    Killed,
    /// Refused with an error.
    Refused,
    /// It is what the gate lives on.
    Works,
}

use Wanted::{Killed, Refused, Works};

/// Returns whether it succeeded. It is given the listening socket that the gate has.
type Attempt = fn(&TcpListener) -> bool;

const ATTEMPTS: &[(&str, Attempt, Wanted)] = &[
    (
        "open a file",
        |_| std::fs::File::open("/etc/passwd").is_ok(),
        Refused,
    ),
    ("open a folder", |_| std::fs::read_dir("/").is_ok(), Refused),
    (
        "make a file",
        |_| std::fs::write("/tmp/of-the-gate", "x").is_ok(),
        Refused,
    ),
    (
        "look at a file",
        |_| std::fs::metadata("/etc/passwd").is_ok(),
        Killed,
    ),
    (
        "remove a file",
        |_| std::fs::remove_file("/tmp/of-the-gate").is_ok(),
        Killed,
    ),
    (
        "execute a program",
        |_| Command::new("/bin/true").status().is_ok(),
        Killed,
    ),
    (
        "connect by TCP",
        |_| TcpStream::connect("127.0.0.1:22").is_ok(),
        Killed,
    ),
    (
        "listen",
        |_| TcpListener::bind("127.0.0.1:0").is_ok(),
        Killed,
    ),
    (
        "send a datagram",
        |_| UdpSocket::bind("127.0.0.1:0").is_ok(),
        Killed,
    ),
    (
        "connect to a Unix socket",
        |_| UnixStream::connect("/tmp/x").is_ok(),
        Killed,
    ),
    (
        "connect by TCP Fast Open",
        |listener| sends(listener, MsgFlags::from_bits_retain(libc::MSG_FASTOPEN)),
        Killed,
    ),
    (
        "send to an address",
        |listener| sends(listener, MsgFlags::empty()),
        Killed,
    ),
    (
        "shut the listening socket down",
        |listener| shutdown(listener.as_raw_fd(), Shutdown::Read).is_ok(),
        Killed,
    ),
    (
        "set another option of a socket",
        |listener| setsockopt(listener, sockopt::ReuseAddr, &true).is_ok(),
        Killed,
    ),
    (
        "make a pair of datagram sockets",
        |_| pair(SockType::Datagram),
        Killed,
    ),
    ("make a pair of streams", |_| pair(SockType::Stream), Works),
    (
        "signal its parent",
        |_| nix::sys::signal::kill(nix::unistd::getppid(), None).is_ok(),
        Killed,
    ),
    (
        "send itself a signal",
        |_| nix::sys::signal::raise(nix::sys::signal::Signal::SIGUSR1).is_ok(),
        Killed,
    ),
    (
        "become root",
        |_| nix::unistd::setuid(nix::unistd::Uid::from_raw(0)).is_ok(),
        Killed,
    ),
    (
        "start a thread",
        |_| std::thread::spawn(|| ()).join().is_ok(),
        Works,
    ),
    (
        "start a thread beyond those that there are to be",
        |_| {
            sandbox::forbid_more_threads().unwrap();
            std::thread::Builder::new().spawn(|| ()).is_ok()
        },
        Refused,
    ),
    (
        "raise a limit again",
        |_| {
            sandbox::forbid_more_threads().unwrap();
            setrlimit(Resource::RLIMIT_NPROC, 100, 100).is_ok()
        },
        Refused,
    ),
    (
        "set another limit",
        |_| setrlimit(Resource::RLIMIT_NOFILE, 10, 10).is_ok(),
        Killed,
    ),
    (
        "leave a core dump, write a file, lock memory",
        |_| {
            let forbidden = [
                Resource::RLIMIT_CORE,
                Resource::RLIMIT_FSIZE,
                Resource::RLIMIT_MEMLOCK,
            ];
            let may = |resource| getrlimit(resource).unwrap() != (0, 0);
            forbidden.into_iter().any(may)
        },
        Refused,
    ),
    (
        "read the clock",
        |_| std::time::SystemTime::now() > std::time::UNIX_EPOCH,
        Works,
    ),
    (
        "draw random numbers",
        |_| rand::random::<u64>() != rand::random::<u64>(),
        Works,
    ),
    (
        "take and give back memory",
        |_| (0..100).all(|n| vec![n; 1 << 20].len() == 1 << 20),
        Works,
    ),
];

fn sends(listener: &TcpListener, flags: MsgFlags) -> bool {
    let address = SockaddrIn::new(127, 0, 0, 1, 22);
    sendto(listener.as_raw_fd(), b"x", &address, flags).is_ok()
}

fn pair(kind: SockType) -> bool {
    socketpair(AddressFamily::Unix, kind, None, SockFlag::empty()).is_ok()
}

fn main() {
    match std::env::args()
        .nth(1)
        .and_then(|name| name.strip_prefix("attempt:").map(str::to_owned))
    {
        Some(name) => attempt(&name),
        None => driver(),
    }
}

fn driver() {
    for (name, _, wanted) in ATTEMPTS {
        let run = Command::new(std::env::current_exe().unwrap())
            .arg(format!("attempt:{name}"))
            .stderr(Stdio::null())
            .output()
            .unwrap();
        let found = match (run.status.signal(), run.status.code()) {
            (Some(libc::SIGSYS), _) => Killed,
            (None, Some(0)) => Works,
            (None, Some(2)) => Refused,
            other => panic!("{name}: {other:?}"),
        };
        assert_eq!(&found, wanted, "{name}");
        println!("test gate_fence: {name} ... {found:?}");
    }
}

fn attempt(name: &str) {
    let (_, attempt, _) = ATTEMPTS.iter().find(|(known, ..)| *known == name).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let empty = std::env::temp_dir();
    let account =
        bastion::sys::account::running_as_root().then(|| Account::by_name("nobody").unwrap());
    let fence = sandbox::enter(account.as_ref(), &empty).unwrap();
    if fence.landlock != Landlock::Full {
        println!("only {fence:?}");
    }
    let succeeded = attempt(&listener);
    // Exits without a look back: the folder cannot be removed from in here. The driver's can.
    std::process::exit(if succeeded { 0 } else { 2 });
}
