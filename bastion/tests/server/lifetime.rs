//! How long a connection may go on: idle, unused, too long, or past its certificate's end.

use std::net::TcpListener;
use std::process::Stdio;

use crate::support::{Server, is_alive, now, output, signal, text, wait_for};

/// What `ssh` says of a connection that bastion ended, and what the log does.
fn ended(server: &mut Server, arguments: &[&str], command: &str) -> (String, String) {
    let user = server.user();
    let mut ssh = server.ssh(&user, arguments);
    if !command.is_empty() {
        ssh.arg(command);
    }
    let run = output(&mut ssh);
    assert_eq!(run.status.code(), Some(255), "{}", text(&run.stdout));
    let closed = server.event("connection_closed", |_| true);
    let reason = closed["reason"].as_str().unwrap().to_owned();
    (text(&run.stdout) + &text(&run.stderr), reason)
}

#[test]
fn a_connection_on_which_nothing_moves_ends() {
    let mut server = Server::start_with("idle_timeout = \"1s\"", &[]);
    let (said, reason) = ended(&mut server, &[], "sleep 1000");
    assert_eq!(reason, "nothing has moved for 1s");
    assert!(said.contains(&reason), "{said}");
    let program = server.events_so_far().iter();
    let mut program = program.filter(|event| event["event"] == "program_started");
    let pid = program.next().unwrap()["pid"].as_u64().unwrap();
    let pid = u32::try_from(pid).unwrap();
    wait_for("the program's end", || (!is_alive(pid)).then_some(()));
}

#[test]
fn one_byte_each_way_keeps_a_connection() {
    let server = Server::start_with("idle_timeout = \"2s\"", &[]);
    let talks = "for i in 1 2 3 4 5 6 7 8; do echo; sleep 0.5; done; exit 3";
    assert_eq!(server.run(talks).status.code(), Some(3));
}

#[test]
fn a_connection_without_a_channel_ends() {
    let mut server = Server::start_with("unused_connection_timeout = \"1s\"", &[]);
    let (said, reason) = ended(&mut server, &["-N"], "");
    assert_eq!(reason, "nothing was open for 1s");
    assert!(said.contains(&reason), "{said}");
    // One that is merely quiet does not.
    assert_eq!(server.run("sleep 3; exit 3").status.code(), Some(3));
}

#[test]
fn an_idle_channel_is_closed_and_its_connection_goes_on() {
    let server = Server::start_with("channel_timeout = { direct-tcpip = \"1s\" }", &[]);
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = silent.local_addr().unwrap().to_string();
    // Its input stays open.
    let user = server.user();
    let mut ssh = server.ssh(&user, &["-W", &to]);
    let run = output(ssh.stdin(Stdio::piped()));
    assert!(run.status.success(), "{}", text(&run.stderr));
    assert_eq!(server.run("sleep 2; exit 3").status.code(), Some(3));
}

#[test]
fn an_idle_program_that_has_closed_its_output_is_hung_up() {
    let mut server = Server::start_with("channel_timeout = { session = \"1s\" }", &[]);
    let user = server.user();
    let mut ssh = server.ssh(&user, &[]);
    ssh.arg("exec >&-; exec sleep 1000").stdin(Stdio::piped());
    let mut ssh = ssh.spawn().unwrap();
    let program = server.event("program_ended", |_| true);
    assert_eq!(program["signal"], "HUP");
    assert!(!ssh.wait().unwrap().success());
    let mut said = server.events_so_far().iter();
    assert!(said.all(|event| event["event"] != "gate_says"));
}

#[test]
fn a_terminal_is_warned_before_its_time_is_over() {
    let mut server = Server::start_with("max_session_time = \"4s\"", &[]);
    let (said, reason) = ended(&mut server, &["-tt"], "sleep 1000");
    assert_eq!(reason, "a session may last 4s");
    assert!(
        said.contains("bastion: a session may last 4s; this session ends in 2 s"),
        "{said}"
    );
}

#[test]
fn a_connection_may_end_with_its_certificate() {
    let mut server = Server::start_with("end_at_certificate_expiry = true", &[]);
    let user = server.user_with(|spec| spec.valid_before = now() + 5);
    let run = output(server.ssh(&user, &[]).arg("sleep 1000"));
    assert_eq!(run.status.code(), Some(255));
    let closed = server.event("connection_closed", |_| true);
    let reason = closed["reason"].as_str().unwrap();
    assert!(reason.starts_with("the certificate ends at 2"), "{reason}");
    assert!(text(&run.stderr).contains(reason), "{}", text(&run.stderr));
}

#[test]
fn without_being_told_no_connection_ends_with_its_certificate() {
    let server = Server::start();
    let user = server.user_with(|spec| spec.valid_before = now() + 3);
    let run = output(server.ssh(&user, &[]).arg("sleep 5; exit 3"));
    assert_eq!(run.status.code(), Some(3));
}

#[test]
fn the_monitor_ends_a_session_whose_gate_does_not() {
    let mut server = Server::start_with("max_session_time = \"2s\"", &[]);
    let user = server.user();
    let mut ssh = server
        .ssh(&user, &[])
        .arg("exec sleep 1000")
        .spawn()
        .unwrap();
    let started = server.event("program_started", |_| true);
    let pid = u32::try_from(started["pid"].as_u64().unwrap()).unwrap();
    let gate = server.gate();
    signal(gate, "STOP");
    let overdue = server.event("session_overdue", |_| true);
    assert_eq!(overdue["why"], "a session may last 2s");
    wait_for("the program's end", || (!is_alive(pid)).then_some(()));
    server.event("session_closed", |_| true);
    signal(gate, "CONT");
    assert!(!ssh.wait().unwrap().success());
}

#[test]
fn a_client_that_does_not_answer_is_given_up() {
    let config = "client_alive_interval = \"1s\"\nclient_alive_count_max = 2";
    let mut server = Server::start_with(config, &[]);
    let user = server.user();
    let mut ssh = server.ssh(&user, &[]).arg("sleep 1000").spawn().unwrap();
    let started = server.event("program_started", |_| true);
    let pid = u32::try_from(started["pid"].as_u64().unwrap()).unwrap();
    signal(ssh.id(), "STOP");
    server.event("connection_closed", |_| true);
    wait_for("the program's end", || (!is_alive(pid)).then_some(()));
    signal(ssh.id(), "CONT");
    assert!(!ssh.wait().unwrap().success());
    // One that answers stays.
    assert_eq!(server.run("sleep 5; exit 3").status.code(), Some(3));
}
