//! Each part killed at each stage of a connection, a part that hangs, a log that nobody reads.

use std::fs;
use std::io::Read;
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use pomerium_stand_in::client::{Client, Options};

use crate::support::{
    LIMIT, Server, User, as_root, children, is_alive, signal, status_field, text, wait_for,
};
use crate::{log_in, run};

/// How far a connection has come.
#[derive(Clone, Copy, Debug)]
enum Stage {
    Accepted,
    KeysExchanged,
    LoggedIn,
    ChannelOpen,
    ProgramRuns,
    BulkOutput,
}

const STAGES: [Stage; 6] = [
    Stage::Accepted,
    Stage::KeysExchanged,
    Stage::LoggedIn,
    Stage::ChannelOpen,
    Stage::ProgramRuns,
    Stage::BulkOutput,
];

/// A client that has come so far, held open.
#[expect(dead_code, reason = "held open")]
enum Held {
    Stream(TcpStream),
    Client(Box<Client>),
    Ssh(Child),
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Self::Ssh(child) = self {
            let _gone = child.kill();
            let _reaped = child.wait();
        }
    }
}

fn come_to(stage: Stage, server: &mut Server, user: &User) -> Held {
    match stage {
        Stage::Accepted => {
            let mut stream = TcpStream::connect(server.address).unwrap();
            stream.set_read_timeout(Some(LIMIT)).unwrap();
            stream.read_exact(&mut [0; 8]).unwrap();
            Held::Stream(stream)
        }
        Stage::KeysExchanged => Held::Client(Box::new(run(async {
            Client::connect(server.address, Options::pomerium())
                .await
                .unwrap()
        }))),
        Stage::LoggedIn => Held::Client(Box::new(run(log_in(server, user)))),
        Stage::ChannelOpen => Held::Client(Box::new(run(async {
            let mut client = log_in(server, user).await;
            client.open_session().await.unwrap();
            client
        }))),
        Stage::ProgramRuns | Stage::BulkOutput => {
            let command = match stage {
                Stage::BulkOutput => "cat /dev/zero",
                _ => "sleep 1000",
            };
            let mut ssh = server.ssh(user, &[]);
            ssh.arg(command);
            ssh.stdout(Stdio::null()).stderr(Stdio::null());
            let ssh = Held::Ssh(ssh.spawn().unwrap());
            server.event("program_started", |_| true);
            ssh
        }
    }
}

fn sessions_and_programs(server: &Server) -> Vec<u32> {
    let sessions = server.sessions();
    let programs = sessions.iter().flat_map(|&session| descendants(session));
    programs
        .collect::<Vec<_>>()
        .into_iter()
        .chain(sessions)
        .collect()
}

/// All that descend from a process.
fn descendants(pid: u32) -> Vec<u32> {
    let mut all = children(pid);
    let mut next = 0;
    while next < all.len() {
        all.extend(children(all[next]));
        next += 1;
    }
    all
}

#[test]
fn a_gate_killed_at_any_stage_is_back() {
    let mut server = Server::start();
    let user = server.user();
    for stage in STAGES {
        let held = come_to(stage, &mut server, &user);
        signal(server.gate(), "KILL");
        server.event("gate_ended", |_| true);
        server.event("listening", |_| true);
        drop(held);
        assert_eq!(
            text(&server.run("echo again").stdout),
            "again\n",
            "{stage:?}"
        );
        // Sessions and their programs have followed.
        wait_for("the sessions' end", || {
            sessions_and_programs(&server).is_empty().then_some(())
        });
    }
}

#[test]
fn a_session_killed_at_any_stage_takes_nothing_else_along() {
    let mut server = Server::start();
    let user = server.user();
    let gate = server.gate();
    for stage in [Stage::ChannelOpen, Stage::ProgramRuns, Stage::BulkOutput] {
        let held = come_to(stage, &mut server, &user);
        let session = wait_for("a session", || server.sessions().first().copied());
        signal(session, "KILL");
        server.event("session_closed", |_| true);
        server.event("connection_closed", |_| true);
        drop(held);
        assert_eq!(
            text(&server.run("echo again").stdout),
            "again\n",
            "{stage:?}"
        );
        wait_for("the sessions' end", || {
            sessions_and_programs(&server).is_empty().then_some(())
        });
    }
    assert_eq!(server.gate(), gate, "the gate has been restarted");
}

#[test]
fn a_monitor_killed_at_any_stage_leaves_nothing() {
    for stage in STAGES {
        let mut server = Server::start();
        let user = server.user();
        let held = come_to(stage, &mut server, &user);
        let parts = descendants(server.pid());
        assert!(!parts.is_empty());
        server.signal("KILL");
        for pid in parts {
            let gone = || {
                // Whoever is to reap it may not be there.
                let zombie = status_field(pid, "State").is_none_or(|state| state.starts_with('Z'));
                (zombie || !is_alive(pid)).then_some(())
            };
            wait_for(&format!("the end of every part, at {stage:?}"), gone);
        }
        drop(held);
    }
}

/// The process that sessions are copied from is not one that any of them needs.
#[test]
fn a_killed_starter_takes_no_session_along() {
    let mut server = Server::start();
    let user = server.user();
    let held = come_to(Stage::ProgramRuns, &mut server, &user);
    let session = server.sessions();
    let is_starter =
        |&pid: &u32| status_field(pid, "Name").is_some_and(|name| name == "bastion-starter");
    let starter = children(server.pid()).into_iter().find(is_starter).unwrap();
    signal(starter, "KILL");
    for _ in 0..2 {
        assert_eq!(text(&server.run("echo again").stdout), "again\n");
    }
    assert_eq!(server.sessions()[..1], session);
    drop(held);
}

/// A gate that neither ends nor answers is no gate.
#[test]
fn a_gate_that_hangs_is_replaced() {
    let mut server = Server::start();
    let gate = server.gate();
    signal(gate, "STOP");
    server.event("gate_ended", |_| true);
    server.event("listening", |_| true);
    assert_ne!(server.gate(), gate);
    assert_eq!(text(&server.run("echo again").stdout), "again\n");
}

/// Nor is one of whose threads one hangs, with the connections that it serves.
#[test]
fn a_gate_with_a_thread_that_hangs_is_replaced() {
    use nix::sys::{ptrace, wait};
    use nix::unistd::Pid;
    if !as_root() {
        eprintln!("skipped: not root");
        return;
    }
    let mut server = Server::start();
    let gate = server.gate();
    let threads = fs::read_dir(format!("/proc/{gate}/task")).unwrap();
    let shard = threads
        .map(|thread| thread.unwrap().path())
        .find(|thread| fs::read_to_string(thread.join("comm")).unwrap() == "bastion-shard\n")
        .unwrap();
    let shard = shard.file_name().unwrap().to_str().unwrap().parse();
    let shard = Pid::from_raw(shard.unwrap());
    ptrace::attach(shard).unwrap();
    wait::waitpid(shard, Some(wait::WaitPidFlag::__WALL)).unwrap();
    // Its end is ours to take note of, as long as we hold it up.
    let look = wait::WaitPidFlag::__WALL | wait::WaitPidFlag::WNOHANG;
    wait_for("the gate's end", || {
        match wait::waitpid(shard, Some(look)) {
            Ok(wait::WaitStatus::Signaled(..)) => Some(()),
            _ => None,
        }
    });
    server.event("gate_ended", |_| true);
    server.event("listening", |_| true);
    assert_eq!(text(&server.run("echo again").stdout), "again\n");
}

fn bastion(server: &Server) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bastion"));
    let folder = server.folder.path();
    command
        .arg("--config")
        .arg(folder.join("bastion.toml"))
        .args(["--listen", "127.0.0.1:0", "--state-dir"])
        .arg(folder.join("state"))
        .arg("--trusted-user-ca-keys")
        .arg(folder.join("ca.pub"))
        .args(["--login", &format!("claw={}", crate::support::account())])
        .stderr(Stdio::piped());
    command
}

/// Nobody is let in unseen.
#[test]
fn without_a_log_nobody_is_served() {
    let server = Server::start();
    let full = fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let output = bastion(&server).stdout(full).output().unwrap();
    assert!(!output.status.success());
    let said = text(&output.stderr);
    assert!(
        said.contains("log at standard output cannot be written") && said.contains("No space left"),
        "{said}"
    );
}

/// A reader who goes, or stops, must not leave a bastion behind that waits for him.
#[test]
fn a_log_that_nobody_reads_any_more_ends_it() {
    let server = Server::start();
    let mut child = bastion(&server).stdout(Stdio::piped()).spawn().unwrap();
    let mut log = child.stdout.take().unwrap();
    let mut begin = Vec::new();
    while !text(&begin).contains("\"listening\":[\"") || begin.last() != Some(&b'\n') {
        let mut byte = [0];
        log.read_exact(&mut byte).unwrap();
        begin.push(byte[0]);
    }
    let begin = text(&begin);
    let address = begin.rsplit("\"listening\":[\"").next().unwrap();
    let address = address.split('"').next().unwrap().to_owned();
    // Its pipe fills up, line by line.
    let knock = || drop(TcpStream::connect(&address));
    let ended = wait_for_slowly("bastion's end", || {
        knock();
        child.try_wait().unwrap()
    });
    assert!(!ended.success());
    let mut said = String::new();
    let mut stderr = child.stderr.take().unwrap();
    stderr.read_to_string(&mut said).unwrap();
    assert!(said.contains("nobody has read it for 30 s"), "{said}");
    drop(log);
}

/// As `wait_for`, for what takes half a minute by design.
fn wait_for_slowly<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    for _ in 0..2 {
        let waited = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            wait_for(what, &mut condition)
        }));
        if let Ok(value) = waited {
            return value;
        }
    }
    wait_for(what, condition)
}
