//! What each part is, and what the account cannot do to the others. Most of it takes root to set up.

use std::fs;
use std::process::Command;

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};

use crate::support::{
    Master, Server, account, as_root, children, command_line, is_alive, output, signal,
    status_field, text, wait_for,
};

/// An account that is neither root nor the gate's; the test command makes it.
const ORDINARY: &str = "bastion-test";

/// Whether the test can be run: it takes root, and the account.
fn can_run() -> bool {
    let there = output(Command::new("id").arg(ORDINARY)).status.success();
    assert!(
        !as_root() || there,
        "make the account: useradd --system --shell /bin/sh {ORDINARY}"
    );
    if !as_root() {
        eprintln!("SKIPPED: only root can start processes as others");
    }
    as_root()
}

fn ids(pid: u32) -> (String, String, String) {
    let field = |name| status_field(pid, name).unwrap();
    (field("Uid"), field("Gid"), field("Groups"))
}

fn capabilities(pid: u32) -> [u64; 3] {
    ["CapEff", "CapPrm", "CapAmb"]
        .map(|set| u64::from_str_radix(&status_field(pid, set).unwrap(), 16).unwrap())
}

#[test]
fn the_gate_is_fenced_in() {
    let server = Server::start();
    let gate = server.gate();
    assert_eq!(status_field(gate, "Seccomp").unwrap(), "2");
    assert_eq!(status_field(gate, "NoNewPrivs").unwrap(), "1");
    assert_eq!(capabilities(gate), [0; 3]);
    if as_root() {
        let (uids, ..) = ids(gate);
        assert!(uids.split_whitespace().all(|uid| uid != "0"), "{uids}");
        let root = fs::read_dir(format!("/proc/{gate}/root")).unwrap();
        assert_eq!(root.count(), 0, "the gate's root is not empty");
    }
    for limit in ["core file size", "file size", "locked memory", "processes"] {
        assert_eq!(limits(gate, limit), ["0", "0"], "{limit}");
    }
}

/// One that was taken over would keep the port and the host keys.
#[test]
fn the_gate_cannot_outlive_the_monitor() {
    let server = Server::start();
    let gate = server.gate();
    // It does nothing by itself any more.
    signal(gate, "STOP");
    signal(server.pid(), "KILL");
    wait_for("the gate's end", || (!is_alive(gate)).then_some(()));
}

/// As one that the kernel holds. Here that is a debugger, who is told first of its end.
#[test]
fn a_gate_that_was_killed_and_does_not_end_is_replaced() {
    use nix::sys::{ptrace, wait};
    if !as_root() {
        eprintln!("SKIPPED: only root can trace the gate");
        return;
    }
    let mut server = Server::start();
    let gate = nix::unistd::Pid::from_raw(i32::try_from(server.gate()).unwrap());
    ptrace::seize(gate, ptrace::Options::empty()).unwrap();
    signal(server.gate(), "KILL");
    let ended = server.event("gate_ended", |_| true);
    assert_eq!(ended["how"], "it was killed, and does not end");
    server.event("listening", |_| true);
    assert_eq!(text(&server.run("echo in").stdout), "in\n");
    wait::waitpid(gate, Some(wait::WaitPidFlag::__WALL)).unwrap();
}

#[test]
fn who_has_no_home_is_told() {
    let home = nix::unistd::User::from_name(ORDINARY).unwrap();
    if !can_run() || home.is_none_or(|user| user.dir.exists()) {
        return;
    }
    let server = Server::start_as_ordinary(ORDINARY);
    let run = server.run("pwd");
    let said = text(&run.stderr);
    assert!(
        said.starts_with("Could not chdir to home directory "),
        "{said}"
    );
    assert!(said.ends_with(": No such file or directory\n"), "{said}");
    assert_eq!(text(&run.stdout), "/\n");
}

/// Has the listening sockets of the process that is named wait for connections.
const BLOCK: &str = r#"
import ctypes, fcntl, os, socket, sys
process, system = os.pidfd_open(int(sys.argv[1])), ctypes.CDLL(None).syscall
PIDFD_GETFD = 438
for number in range(3, 64):
    fd = system(PIDFD_GETFD, process, number, 0)
    try: listens = fd >= 0 and socket.socket(fileno=fd).getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError: continue
    if listens: fcntl.fcntl(system(PIDFD_GETFD, process, number, 0), fcntl.F_SETFL, os.O_RDWR)
"#;

/// Whether a socket blocks belongs to all who share it.
#[test]
fn a_gate_leaves_no_blocking_socket_to_the_next() {
    if !as_root() {
        eprintln!("SKIPPED: only root can do so in the gate's place");
        return;
    }
    let mut server = Server::start();
    let gate = server.gate();
    let mut python = Command::new("python3");
    let run = output(python.args(["-c", BLOCK, &gate.to_string()]));
    assert!(run.status.success(), "{}", text(&run.stderr));
    signal(gate, "KILL");
    server.event("gate_ended", |_| true);
    server.event("listening", |_| true);
    for _ in 0..3 {
        assert_eq!(text(&server.run("echo in").stdout), "in\n");
    }
}

/// Has bytes come into its standard output, and takes them out again to where there is no room.
const HOLD: &str = r#"
import os, signal, socket, threading
signal.signal(signal.SIGHUP, signal.SIG_IGN)
full, _peer = socket.socketpair()
full.setblocking(False)
try:
    while True: full.send(bytes(65536))
except BlockingIOError: full.setblocking(True)
pipe = os.open("/proc/self/fd/1", os.O_RDONLY)
def write():
    while True: os.write(1, b"x")
threading.Thread(target=write).start()
while True: os.splice(pipe, full.fileno(), 65536)
"#;

/// splice(2) keeps the lock of a pipe while it waits for its other side, and whoever else has to do with
/// the pipe then waits past all signals.
#[test]
fn a_program_that_holds_its_pipes_holds_up_nobody_else() {
    let mut server = Server::start();
    let master = Master::start(&server);
    server.event("program_started", |_| true);
    let hold = format!("exec python3 -c '{HOLD}'");
    let mut ssh = master.ssh(&[]).arg(hold).spawn().unwrap();
    let started = server.event("program_started", |_| true);
    let program = u32::try_from(started["pid"].as_u64().unwrap()).unwrap();
    wait_for("the program to wait for its own pipe", || {
        let threads = fs::read_dir(format!("/proc/{program}/task")).ok()?;
        let states = threads.map(|thread| fs::read_to_string(thread.unwrap().path().join("stat")));
        states.flatten().find(|stat| stat.contains(") D "))
    });
    // Its channel is closed, and with it the pipe.
    ssh.kill().unwrap();
    ssh.wait().unwrap();
    server.event("channel_closed", |event| {
        event["channel"] == started["channel"]
    });
    assert_eq!(text(&master.run("echo in").stdout), "in\n");
    signal(program, "KILL");
}

/// The soft and the hard one, by the name that /proc/PID/limits has for it.
fn limits(pid: u32, name: &str) -> [String; 2] {
    let all = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let start = format!("Max {name} ");
    let line = all.lines().find_map(|line| line.strip_prefix(&start));
    let mut words = line.unwrap().split_whitespace().map(str::to_owned);
    [words.next().unwrap(), words.next().unwrap()]
}

#[test]
fn no_part_leaves_a_core_dump() {
    let mut server = Server::start();
    let user = server.user();
    let mut ssh = server.ssh(&user, &[]).arg("sleep 1000").spawn().unwrap();
    server.event("program_started", |_| true);
    let parts = children(server.pid());
    // The gate, the starter and a session.
    assert_eq!(parts.len(), 3);
    for pid in parts.into_iter().chain([server.pid()]) {
        // What it may be raised to is for programs to use.
        assert_eq!(limits(pid, "core file size")[0], "0", "{pid}");
    }
    ssh.kill().unwrap();
    ssh.wait().unwrap();
}

#[test]
fn a_gate_that_runs_into_its_fence_is_logged_with_the_reason() {
    let mut server = Server::start();
    // What the filter's verdict is to its process.
    signal(server.gate(), "SYS");
    let ended = server.event("gate_ended", |_| true);
    let how = ended["how"].as_str().unwrap();
    assert!(
        how.contains("a system call that its fence forbids"),
        "{how}"
    );
    server.event("listening", |_| true);
}

/// Makes the kernel one without Landlock for this thread and what it starts.
fn without_landlock() {
    let rules = [(libc::SYS_landlock_create_ruleset, Vec::new())].into();
    let (permit, lacks) = (
        SeccompAction::Allow,
        SeccompAction::Errno(libc::ENOSYS.unsigned_abs()),
    );
    let architecture = std::env::consts::ARCH.try_into().unwrap();
    let filter = SeccompFilter::new(rules, permit, lacks, architecture).unwrap();
    let program: BpfProgram = filter.try_into().unwrap();
    seccompiler::apply_filter(&program).unwrap();
}

#[test]
fn where_the_kernel_lacks_a_piece_of_the_fence_it_is_said() {
    without_landlock();
    let mut server = Server::start();
    let listening = server.events_so_far().iter();
    let mut listening = listening.filter(|event| event["event"] == "listening");
    let fence = &listening.next().unwrap()["fence"];
    assert_eq!(fence["landlock"], "None");
    assert_eq!(text(&server.run("echo in").stdout), "in\n");
}

#[test]
fn where_the_whole_fence_is_required_nothing_less_is_served() {
    let server = Server::start();
    let file = server.folder.path().join("bastion.toml");
    fs::write(&file, "permit_root_login = true\nsandbox = \"required\"").unwrap();
    without_landlock();
    let mut bastion = Command::new(env!("CARGO_BIN_EXE_bastion"));
    bastion
        .arg("--config")
        .arg(&file)
        .args(["--listen", "127.0.0.1:0", "--state-dir"])
        .arg(server.folder.path().join("state"))
        .args(["--login", &format!("claw={}", account())]);
    let run = output(&mut bastion);
    assert_eq!(run.status.code(), Some(1));
    let said = text(&run.stderr);
    assert!(
        said.contains(
            "sandbox = \"required\", but its fence lacks Landlock: run Linux 6.12 or later"
        ),
        "{said}"
    );
}

#[test]
fn each_part_has_the_identity_it_should() {
    if !can_run() {
        return;
    }
    let mut server = Server::start_as_ordinary(ORDINARY);
    let user = server.user();
    let mut ssh = server.ssh(&user, &[]).arg("sleep 1000").spawn().unwrap();
    let program = u32::try_from(
        server.event("program_started", |_| true)["pid"]
            .as_u64()
            .unwrap(),
    )
    .unwrap();
    let session = wait_for("a session", || server.sessions().first().copied());
    let id = |flag: &str| {
        let run = output(Command::new("id").args([flag, ORDINARY]));
        text(&run.stdout).trim().to_owned()
    };
    for pid in [session, program] {
        let (uids, gids, groups) = ids(pid);
        assert_eq!(
            uids.split_whitespace().collect::<Vec<_>>(),
            vec![id("-u"); 4]
        );
        assert_eq!(
            gids.split_whitespace().collect::<Vec<_>>(),
            vec![id("-g"); 4]
        );
        let mut groups: Vec<_> = groups.split_whitespace().map(str::to_owned).collect();
        let mut wanted: Vec<_> = id("-G").split_whitespace().map(str::to_owned).collect();
        groups.sort();
        wanted.sort();
        assert_eq!(groups, wanted);
        assert_eq!(capabilities(pid), [0; 3]);
    }
    // SETGID, SETUID, KILL and SYS_CHROOT: bits 6, 7, 5 and 18.
    assert_eq!(capabilities(server.pid())[..2], [1 << 18 | 0b1110_0000; 2]);
    ssh.kill().unwrap();
    ssh.wait().unwrap();
}

#[test]
fn the_account_can_neither_read_nor_stop_what_guards_it() {
    if !can_run() {
        return;
    }
    let server = Server::start_as_ordinary(ORDINARY);
    let user = server.user();
    let (monitor, gate) = (server.pid(), server.gate());
    let state = server.folder.path().join("state").display().to_string();
    let ca = server.folder.path().join("ca.pub").display().to_string();
    let forbidden = [
        format!("cat {state}/ssh_host_ed25519_key"),
        format!("ls {state}"),
        format!("echo x >> {ca}"),
        format!("rm -f {ca}"),
        format!("kill -9 {monitor}"),
        format!("kill -9 {gate}"),
        format!("cat /proc/{gate}/mem"),
        format!("cat /proc/{gate}/environ"),
        format!("ls /proc/{gate}/fd"),
        format!("cat /proc/{monitor}/maps"),
        "cat /proc/$PPID/mem".to_owned(),
        "ls /proc/$PPID/fd".to_owned(),
    ];
    for command in forbidden {
        let run = output(server.ssh(&user, &[]).arg(&command));
        assert!(
            !run.status.success(),
            "{command} worked: {}",
            text(&run.stdout)
        );
    }
    assert_eq!((server.pid(), server.gate()), (monitor, gate));
}

#[test]
fn a_program_inherits_no_descriptor() {
    let server = Server::start();
    let run = server.run("ls /proc/self/fd");
    // 3 is the folder that ls reads.
    assert_eq!(text(&run.stdout), "0\n1\n2\n3\n");
}

#[test]
fn no_secret_is_in_an_argument_or_a_log() {
    let mut server = Server::start();
    assert!(server.run("true").status.success());
    server.event("session_closed", |_| true);
    let log = format!("{:?}", server.events_so_far());
    let keys = [
        "ssh_host_ed25519_key",
        "ssh_host_rsa_key",
        "ssh_host_ecdsa_key",
    ];
    for key in keys {
        let text = fs::read_to_string(server.folder.path().join("state").join(key)).unwrap();
        let body = text.lines().nth(3).unwrap();
        assert!(!log.contains(body));
        for pid in children(server.pid()) {
            assert!(!command_line(pid).contains(body));
        }
    }
}
