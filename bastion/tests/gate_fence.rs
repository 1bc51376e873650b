//! What the gate's fence forbids, tried from inside: this program re-executes itself, puts itself
//! behind the fence as the gate does, and tries one thing.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

use bastion::sys::account::Account;
use bastion::sys::sandbox::{self, Landlock};

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

/// Each returns whether it succeeded.
const ATTEMPTS: &[(&str, fn() -> bool, Wanted)] = &[
    (
        "open a file",
        || std::fs::File::open("/etc/passwd").is_ok(),
        Refused,
    ),
    ("open a folder", || std::fs::read_dir("/").is_ok(), Refused),
    (
        "make a file",
        || std::fs::write("/tmp/of-the-gate", "x").is_ok(),
        Refused,
    ),
    (
        "look at a file",
        || std::fs::metadata("/etc/passwd").is_ok(),
        Killed,
    ),
    (
        "remove a file",
        || std::fs::remove_file("/tmp/of-the-gate").is_ok(),
        Killed,
    ),
    (
        "execute a program",
        || Command::new("/bin/true").status().is_ok(),
        Killed,
    ),
    (
        "connect by TCP",
        || TcpStream::connect("127.0.0.1:22").is_ok(),
        Killed,
    ),
    (
        "listen",
        || TcpListener::bind("127.0.0.1:0").is_ok(),
        Killed,
    ),
    (
        "send a datagram",
        || UdpSocket::bind("127.0.0.1:0").is_ok(),
        Killed,
    ),
    (
        "connect to a Unix socket",
        || UnixStream::connect("/tmp/x").is_ok(),
        Killed,
    ),
    (
        "signal its parent",
        || nix::sys::signal::kill(nix::unistd::getppid(), None).is_ok(),
        Killed,
    ),
    (
        "become root",
        || nix::unistd::setuid(nix::unistd::Uid::from_raw(0)).is_ok(),
        Killed,
    ),
    (
        "start a thread",
        || std::thread::spawn(|| ()).join().is_ok(),
        Works,
    ),
    (
        "read the clock",
        || std::time::SystemTime::now() > std::time::UNIX_EPOCH,
        Works,
    ),
    (
        "draw random numbers",
        || rand::random::<u64>() != rand::random::<u64>(),
        Works,
    ),
    (
        "take and give back memory",
        || (0..100).all(|n| vec![n; 1 << 20].len() == 1 << 20),
        Works,
    ),
];

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
    let empty = std::env::temp_dir();
    let account =
        bastion::sys::account::running_as_root().then(|| Account::by_name("nobody").unwrap());
    let fence = sandbox::enter(account.as_ref(), &empty).unwrap();
    assert!(fence.system_calls);
    if fence.landlock != Landlock::Full {
        println!("only {fence:?}");
    }
    let succeeded = attempt();
    // Exits without a look back: the folder cannot be removed from in here. The driver's can.
    std::process::exit(if succeeded { 0 } else { 2 });
}
