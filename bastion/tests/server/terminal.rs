//! Terminals: size, modes, control characters. `ssh` gets a terminal of its own from script(1).

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::process::{Child, Command};
use std::time::Instant;

use bastion::sys::pty::{self, WindowSize};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::support::{LIMIT, Server, User, output, text};

/// An `ssh -tt` whose own terminal is in the test's hands.
struct Terminal {
    child: Child,
    leader: File,
    seen: Vec<u8>,
}

impl Terminal {
    fn open(server: &Server, user: &User, size: WindowSize, command: &[&str]) -> Self {
        let pty = pty::open(None).unwrap();
        pty::set_size(pty.leader.as_fd(), size).unwrap();
        let follower = || -> OwnedFd { pty.follower.try_clone().unwrap() };
        let mut ssh = server.ssh(user, &["-tt"]);
        ssh.args(command);
        // The terminal has to be ssh's controlling one, for SIGWINCH to reach it.
        let program = ssh.get_program().to_owned();
        let arguments: Vec<_> = ssh.get_args().map(ToOwned::to_owned).collect();
        let mut setsid = Command::new("setsid");
        setsid.arg("--ctty").arg(program).args(arguments);
        setsid
            .stdin(follower())
            .stdout(follower())
            .stderr(follower())
            .env("TERM", "xterm");
        let child = setsid.spawn().unwrap();
        Self {
            child,
            leader: File::from(pty.leader),
            seen: Vec::new(),
        }
    }

    fn type_in(&mut self, text: &str) {
        self.leader.write_all(text.as_bytes()).unwrap();
    }

    /// Reads until this text has come.
    fn expect(&mut self, wanted: &str) -> String {
        let deadline = Instant::now() + LIMIT;
        let mut chunk = [0; 4096];
        while !text(&self.seen).contains(wanted) {
            assert!(
                Instant::now() < deadline,
                "waited for {wanted:?}; saw {:?}",
                text(&self.seen)
            );
            let mut readable = [PollFd::new(self.leader.as_fd(), PollFlags::POLLIN)];
            if poll(&mut readable, PollTimeout::from(100_u8)).unwrap() == 0 {
                continue;
            }
            let read = self.leader.read(&mut chunk).unwrap_or(0);
            assert!(
                read > 0,
                "the terminal ended before {wanted:?}; saw {:?}",
                text(&self.seen)
            );
            self.seen.extend(&chunk[..read]);
        }
        let seen = text(&self.seen);
        self.seen.clear();
        seen
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_size_is_that_of_the_clients_terminal_and_follows_it() {
    let server = Server::start();
    let user = server.user();
    let size = WindowSize {
        columns: 91,
        rows: 33,
        ..WindowSize::default()
    };
    let follow = "trap 'echo now $(stty size)' WINCH; echo at first $(stty size); while :; do sleep 0.05; done";
    let mut terminal = Terminal::open(&server, &user, size, &[follow]);
    terminal.expect("at first 33 91");
    let size = WindowSize {
        columns: 120,
        rows: 40,
        ..WindowSize::default()
    };
    pty::set_size(terminal.leader.as_fd(), size).unwrap();
    terminal.expect("now 40 120");
}

#[test]
fn an_interactive_shell_echoes_and_takes_control_c() {
    let server = Server::start();
    let user = server.user();
    let mut terminal = Terminal::open(
        &server,
        &user,
        WindowSize {
            columns: 80,
            rows: 24,
            ..WindowSize::default()
        },
        &[],
    );
    terminal.type_in("PS1='rea''dy> '\n");
    terminal.expect("ready> ");
    terminal.type_in("echo r''eading; cat\n");
    terminal.expect("reading\r\n");
    terminal.type_in("some words\n");
    terminal.expect("some words\r\nsome words");
    terminal.type_in("\u{3}");
    terminal.expect("ready> ");
    terminal.type_in("echo after-$?\n");
    terminal.expect("after-130");
    terminal.type_in("exit 6\n");
    assert_eq!(terminal.child.wait().unwrap().code(), Some(6));
}

#[test]
fn the_modes_are_those_that_the_client_sends() {
    let server = Server::start();
    // Without a terminal of its own, `ssh -tt` sends no modes: the defaults are sane.
    let run = output(server.ssh(&server.user(), &["-tt"]).arg("stty -a"));
    let out = text(&run.stdout)
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    for mode in [
        "intr = ^C",
        " echo ",
        " icanon ",
        " isig ",
        " opost ",
        "cs8",
    ] {
        assert!(out.contains(mode), "{mode} not in {out}");
    }
}

#[test]
fn what_a_terminal_shows_last_is_not_lost() {
    let server = Server::start();
    for _ in 0..20 {
        let run = output(
            server
                .ssh(&server.user(), &["-tt"])
                .arg("seq 1 2000; echo the-end; exit 3"),
        );
        let out = text(&run.stdout);
        assert!(
            out.trim_end().ends_with("the-end"),
            "…{}",
            &out[out.len().saturating_sub(40)..]
        );
        assert_eq!(run.status.code(), Some(3));
    }
}

#[test]
fn a_certificate_without_permit_pty_gets_no_terminal() {
    let server = Server::start();
    let user = server.user_with(|spec| {
        spec.extensions
            .retain(|extension| extension.name != "permit-pty")
    });
    let run = output(server.ssh(&user, &["-tt"]).arg("true"));
    assert!(
        text(&run.stderr).contains("PTY allocation request failed"),
        "{}",
        text(&run.stderr)
    );
    assert_eq!(
        text(&output(server.ssh(&user, &[]).arg("tty; echo went-on")).stdout),
        "not a tty\nwent-on\n"
    );
}

/// It may be anything, and is no reason to end the connection.
#[test]
fn a_terminals_name_that_is_no_utf8_is_taken_as_it_can_be() {
    let server = Server::start();
    let user = server.user();
    let mut ssh = server.ssh(&user, &["-tt"]);
    let run = output(ssh.arg("echo in").env("TERM", OsStr::from_bytes(b"a\xe9b")));
    assert_eq!(text(&run.stdout), "in\r\n");
}
