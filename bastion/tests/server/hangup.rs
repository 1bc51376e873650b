//! What becomes of programs when their channel or connection goes.

use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};

use crate::support::{Server, fed, is_alive, signal, text, wait_for};

/// Starts `command` over ssh, which is to write a process number into `file`; that number.
fn start(server: &Server, arguments: &[&str], command: &str, file: &Path) -> (Child, u32) {
    let user = server.user();
    let mut ssh = server.ssh(&user, arguments);
    let child = ssh
        .arg(command)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let pid = wait_for("the program's number", || {
        fs::read_to_string(file).ok()?.trim().parse().ok()
    });
    (child, pid)
}

fn file(server: &Server, name: &str) -> std::path::PathBuf {
    server.folder.path().join(name)
}

/// It may say what it does about that: nobody hears, but nothing breaks.
#[test]
fn a_program_gets_sighup_when_its_connection_is_cut() {
    for (number, arguments) in [&["-T"][..], &["-tt"]].into_iter().enumerate() {
        let server = Server::start();
        let (pids, hup) = (file(&server, "pid"), file(&server, "hup"));
        let command = format!(
            "trap 'for i in 1 2 3; do echo bye; echo bye >&2; sleep 0.1; done; echo hup > {}; exit' HUP
             echo $$ > {}; while :; do sleep 0.05; done",
            hup.display(),
            pids.display()
        );
        let (mut ssh, pid) = start(&server, arguments, &command, &pids);
        // Not with a goodbye: as when a network goes away.
        signal(ssh.id(), "KILL");
        ssh.wait().unwrap();
        wait_for("SIGHUP", || {
            fs::read_to_string(&hup).ok().filter(|text| text == "hup\n")
        });
        wait_for("the program's end", || (!is_alive(pid)).then_some(()));
        assert!(number < 2);
    }
}

#[test]
fn a_program_without_a_terminal_dies_with_its_connection() {
    let mut server = Server::start();
    let pids = file(&server, "pid");
    let (mut ssh, pid) = start(
        &server,
        &["-T"],
        &format!("echo $$ > {}; exec sleep 1000", pids.display()),
        &pids,
    );
    signal(ssh.id(), "KILL");
    ssh.wait().unwrap();
    wait_for("the program's end", || (!is_alive(pid)).then_some(()));
    let ended = server.event("program_ended", |_| true);
    assert_eq!(ended["signal"], "HUP");
}

#[test]
fn what_was_detached_on_purpose_stays() {
    for detach in [
        "nohup sleep 1000",
        "setsid sleep 1000",
        "setsid nohup sleep 1000",
    ] {
        let server = Server::start();
        let pids = file(&server, "pid");
        let pid_of = if detach.starts_with("setsid") {
            format!(
                "setsid sh -c 'echo $$ > {}; exec sleep 1000' < /dev/null > /dev/null 2>&1 &",
                pids.display()
            )
        } else {
            format!(
                "{detach} < /dev/null > /dev/null 2>&1 & echo $! > {}",
                pids.display()
            )
        };
        let command = format!("{pid_of}\nsleep 1000");
        let (mut ssh, pid) = start(&server, &["-T"], &command, &pids);
        signal(ssh.id(), "KILL");
        ssh.wait().unwrap();
        let session_is_gone = || server.sessions().is_empty().then_some(());
        wait_for("the session's end", session_is_gone);
        assert!(is_alive(pid), "{detach}");
        signal(pid, "KILL");
        wait_for("the reaper", || {
            (!Path::new(&format!("/proc/{pid}")).exists()).then_some(())
        });
    }
}

#[test]
fn a_background_program_does_not_hold_a_finished_terminal() {
    let server = Server::start();
    let pids = file(&server, "pid");
    let command = format!("sleep 1000 & echo $! > {}; exit 3", pids.display());
    let (mut ssh, pid) = start(&server, &["-tt"], &command, &pids);
    let status = wait_for("ssh's end", || ssh.try_wait().unwrap());
    assert_eq!(status.code(), Some(3));
    signal(pid, "KILL");
}

/// A shell with job control puts each job into a process group of its own, which the kernel leaves alone
/// when the shell ends.
#[test]
fn a_job_that_is_left_behind_does_not_hold_a_finished_terminal() {
    let server = Server::start();
    let user = server.user();
    let pids = file(&server, "pid");
    let typed = format!(
        "sleep 1000 &\necho $! > {}; seq 100000; exit 3\n",
        pids.display()
    );
    let mut ssh = server.ssh(&user, &["-tt"]);
    let run = fed(ssh.arg("exec bash --norc -i"), typed.as_bytes());
    assert_eq!(run.status.code(), Some(3));
    // All that was said before is there.
    assert!(text(&run.stdout).contains("\n99999\r\n100000\r\n"));
    let pid = fs::read_to_string(pids).unwrap().trim().parse().unwrap();
    assert!(is_alive(pid));
    signal(pid, "KILL");
}

#[test]
fn a_program_that_ignores_sighup_does_not_hold_its_connection() {
    let mut server = Server::start();
    let pids = file(&server, "pid");
    let command = format!(
        "trap '' HUP; echo $$ > {}; while :; do sleep 0.1; done",
        pids.display()
    );
    let (mut ssh, pid) = start(&server, &["-T"], &command, &pids);
    signal(ssh.id(), "KILL");
    ssh.wait().unwrap();
    server.event("session_closed", |_| true);
    signal(pid, "KILL");
}
