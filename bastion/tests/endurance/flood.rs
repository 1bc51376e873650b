//! Thousands of connections a second that never log in, while the holder of a certificate does,
//! again and again, by OpenSSH's client: each time he is let in.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::net::{TcpSocket, TcpStream};
use tokio::runtime::Runtime;

use crate::support::{as_root, output, status_field, text};
use crate::{is_full, start_plain};

/// What a stranger does with a connection.
#[derive(Clone, Copy)]
enum Kind {
    /// Nothing.
    HalfOpen,
    /// A byte now and then, of a version line that never ends.
    Slow,
    /// A version, and what is no packet.
    Garbage,
    /// A version and a packet that begins a key exchange, and no more.
    Stalled,
    /// A version, and the length of the largest packet, which never comes.
    Announced,
}

const KINDS: [Kind; 5] = [
    Kind::HalfOpen,
    Kind::Slow,
    Kind::Garbage,
    Kind::Stalled,
    Kind::Announced,
];

/// Where they come from; who logs in comes from 127.0.0.1.
#[derive(Clone, Copy, Debug)]
enum Sources {
    /// From there, too: behind Pomerium, all do.
    TheSame,
    /// From another address, as somebody beside Pomerium would.
    Another,
    /// From a few, none of which has most of the connections.
    AFew,
    /// From a hundred thousand addresses, as on the Internet.
    Many,
}

/// Connections of one task that are open at a time.
const OPEN: usize = 200;
/// Logins at a time.
const TOGETHER: usize = 5;
/// Tasks of each kind.
const TASKS: u32 = 4;

/// (Connections a second, logins.)
fn extent() -> (u32, usize) {
    if is_full() { (3_000, 300) } else { (500, 5) }
}

impl Sources {
    /// The benchmark network (RFC 2544), which is nobody's.
    fn one(self) -> Ipv4Addr {
        match self {
            Self::TheSame => Ipv4Addr::LOCALHOST,
            Self::Another => Ipv4Addr::new(198, 18, 0, 1),
            Self::AFew => Ipv4Addr::new(198, 18, 0, rand::random_range(1..=5)),
            Self::Many => {
                let [_, low, middle, high] = rand::random_range(0..1_u32 << 17).to_be_bytes();
                Ipv4Addr::new(198, 18 + low, middle, high)
            }
        }
    }
}

#[test]
fn load_of_a_flood_from_where_users_come_from() {
    withstands(Sources::TheSame);
}

#[test]
fn load_of_a_flood_from_elsewhere() {
    if in_a_network_of_its_own() {
        withstands(Sources::Another);
    }
}

#[test]
fn load_of_a_flood_from_a_few_addresses() {
    if in_a_network_of_its_own() {
        withstands(Sources::AFew);
    }
}

#[test]
fn load_of_a_flood_from_everywhere() {
    if in_a_network_of_its_own() {
        withstands(Sources::Many);
    }
}

/// Puts this thread and what it starts into a network where every address of 198.18.0.0/15 is
/// this machine.
fn in_a_network_of_its_own() -> bool {
    let ip = |arguments: &str| {
        let arguments = arguments.split(' ');
        Command::new("ip").args(arguments).status().unwrap();
    };
    if !as_root() || nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).is_err() {
        eprintln!("skipped: no network namespace can be made");
        return false;
    }
    ip("link set lo up");
    ip("route add local 198.18.0.0/15 dev lo");
    true
}

/// With the limits that nobody has changed.
fn withstands(sources: Sources) {
    let server = start_plain("");
    let user = server.user();
    let (rate, logins) = extent();
    let flood = Flood::start(server.address, sources, rate);
    flood.has_begun();
    let (began, before) = (Instant::now(), flood.made());
    let gate = server.gate();
    let memory_before = status_field(gate, "VmRSS").unwrap();
    // Several at a time, by one proxy: they must not be a crowd.
    let together = || {
        let ssh = |_| {
            let mut ssh = server.ssh(&user, &[]);
            ssh.arg("echo in");
            ssh
        };
        let all: Vec<_> = (0..TOGETHER).map(ssh).collect();
        std::thread::scope(|scope| {
            let all = all.into_iter();
            let all: Vec<_> = all
                .map(|ssh| scope.spawn(move || log_in(ssh, sources)))
                .collect();
            let took = all.into_iter().map(|one| one.join().unwrap());
            took.collect::<Vec<_>>()
        })
    };
    let mut times: Vec<_> = (0..logins / TOGETHER).flat_map(|_| together()).collect();
    let seconds = began.elapsed().as_secs_f64();
    let made = flood.made() - before;
    let memory = status_field(gate, "VmHWM").unwrap();
    drop(flood);
    times.sort();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100].as_millis();
    println!(
        "flood from {sources:?}: {logins} of {logins} logins, p50 {} ms, p99 {} ms, beside {made} connections in {seconds:.1} s, {:.0} a second; the gate had {memory_before}, and {memory} at most",
        at(50),
        at(99),
        (made as f64) / seconds
    );
    assert_eq!(server.gate(), gate, "the gate has been restarted");
}

/// How long it took.
fn log_in(mut ssh: Command, sources: Sources) -> Duration {
    let began = Instant::now();
    let run = output(&mut ssh);
    let said = text(&run.stderr);
    assert_eq!(
        text(&run.stdout),
        "in\n",
        "in a flood from {sources:?}: {said}"
    );
    began.elapsed()
}

/// Goes on until it is dropped.
struct Flood {
    made: Arc<AtomicU64>,
    _runtime: Runtime,
}

impl Flood {
    fn start(server: SocketAddr, sources: Sources, rate: u32) -> Self {
        let made = Arc::<AtomicU64>::default();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let tasks = TASKS * u32::try_from(KINDS.len()).unwrap();
        for kind in KINDS.repeat(TASKS as usize) {
            let pace = Duration::from_secs(1) * tasks / rate;
            runtime.spawn(keep_coming(kind, server, sources, pace, made.clone()));
        }
        Self {
            made,
            _runtime: runtime,
        }
    }

    fn made(&self) -> u64 {
        self.made.load(Ordering::Relaxed)
    }

    /// There are more than bastion keeps.
    fn has_begun(&self) {
        crate::support::wait_for("a flood", || (self.made() > 1_500).then_some(()));
    }
}

async fn keep_coming(
    kind: Kind,
    server: SocketAddr,
    sources: Sources,
    pace: Duration,
    made: Arc<AtomicU64>,
) {
    let mut open = VecDeque::new();
    let mut next = tokio::time::interval(pace);
    loop {
        next.tick().await;
        if open.len() >= OPEN {
            open.pop_front();
        }
        let limit = Duration::from_secs(1);
        let coming = tokio::time::timeout(limit, come(kind, server, sources));
        if let Ok(Ok(stream)) = coming.await {
            made.fetch_add(1, Ordering::Relaxed);
            open.push_back(stream);
        }
        if matches!(kind, Kind::Slow) {
            for stream in &open {
                let _closed_by_now = stream.try_write(b"x");
            }
        }
    }
}

async fn come(kind: Kind, server: SocketAddr, sources: Sources) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    // As somebody who does not care, and without a port that is kept for him.
    socket.set_zero_linger()?;
    socket.bind((sources.one(), 0).into())?;
    let stream = socket.connect(server).await?;
    let says: &[u8] = match kind {
        Kind::HalfOpen => b"",
        Kind::Slow => b"SSH-2.0-",
        Kind::Garbage => &[b"SSH-2.0-x\r\n".as_slice(), &rand::random::<[u8; 32]>()].concat(),
        Kind::Stalled => &[b"SSH-2.0-x\r\n".as_slice(), &kexinit()].concat(),
        Kind::Announced => b"SSH-2.0-x\r\n\x00\x04\x00\x00\x08\x14",
    };
    let _closed_by_now = stream.try_write(says);
    Ok(stream)
}

/// SSH_MSG_KEXINIT as a packet (RFC 4253 6, 7.1) that a key exchange could go on from.
fn kexinit() -> Vec<u8> {
    let lists = [
        "curve25519-sha256,kex-strict-c-v00@openssh.com",
        "ssh-ed25519",
        "aes256-gcm@openssh.com",
        "aes256-gcm@openssh.com",
        "hmac-sha2-256-etm@openssh.com",
        "hmac-sha2-256-etm@openssh.com",
        "none",
        "none",
        "",
        "",
    ];
    let mut payload = vec![20];
    payload.extend(rand::random::<[u8; 16]>());
    for list in lists {
        payload.extend(u32::try_from(list.len()).unwrap().to_be_bytes());
        payload.extend(list.as_bytes());
    }
    payload.extend([0; 5]);
    let padding = 4 + (8 - (payload.len() + 9) % 8) % 8;
    let length = u32::try_from(payload.len() + padding + 1).unwrap();
    let mut packet = length.to_be_bytes().to_vec();
    packet.push(u8::try_from(padding).unwrap());
    packet.extend(payload);
    packet.resize(packet.len() + padding, 0);
    packet
}
