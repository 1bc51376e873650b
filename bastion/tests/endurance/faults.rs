//! Each part killed at each stage of a connection, a part that hangs, a log that nobody reads.

use std::fs;
use std::io::Read;
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use pomerium_stand_in::client::{Client, Options};

use crate::support::{
    LIMIT, Server, User, children, command_line, is_alive, signal, status_field, text, wait_for,
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
        wait_for("the gate alone", || {
            (descendants(server.pid()).len() == 1).then_some(())
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
        let session = wait_for("a session", || {
            let is_session = |pid: &u32| command_line(*pid).contains("session");
            children(server.pid()).into_iter().find(is_session)
        });
        signal(session, "KILL");
        server.event("session_closed", |_| true);
        server.event("connection_closed", |_| true);
        drop(held);
        assert_eq!(
            text(&server.run("echo again").stdout),
            "again\n",
            "{stage:?}"
        );
        wait_for("the gate alone", || {
            (descendants(server.pid()).len() == 1).then_some(())
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
