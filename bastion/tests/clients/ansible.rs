//! Ansible: a connection that persists, modules through a pipe into python (pipelining), and become
//! with a terminal and a prompt.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::support::{Server, User, fed, missing, output, text, wait_for};

/// A user's connections, all by one that persists.
struct Control {
    server: Server,
    user: User,
    socket: PathBuf,
}

impl Control {
    fn new() -> Self {
        let server = Server::start();
        let user = server.user();
        let socket = user.folder().join("control");
        Self {
            server,
            user,
            socket,
        }
    }

    fn ssh(&self, arguments: &[&str]) -> Command {
        let path = format!("ControlPath={}", self.socket.display());
        let persists = [
            "-C",
            "-o",
            "ControlMaster=auto",
            "-o",
            "ControlPersist=60s",
            "-o",
            &path,
        ];
        self.server
            .ssh(&self.user, &[&persists, arguments].concat())
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        let _ = output(&mut self.ssh(&["-O", "exit"]));
    }
}

#[test]
fn modules_go_through_a_pipe_into_python() {
    if missing("python3") {
        return;
    }
    let mut control = Control::new();
    let module = format!(
        "data = {:?}\nprint('{{\"changed\":', len(data), '}}')\n",
        "x".repeat(300_000)
    );
    for _ in 0..3 {
        let command = "/bin/sh -c 'echo BECOME-SUCCESS-fox ; python3 && sleep 0'";
        let mut ssh = control.ssh(&[]);
        let run = fed(ssh.arg(command), module.as_bytes());
        let said = text(&run.stdout);
        assert_eq!(
            said,
            "BECOME-SUCCESS-fox\n{\"changed\": 300000 }\n",
            "{}",
            text(&run.stderr)
        );
    }
    // All of it over one connection.
    let opened = control.server.events_so_far().iter();
    let opened = opened.filter(|event| event["event"] == "connection_opened");
    assert_eq!(opened.count(), 1);
}

#[test]
fn a_prompt_at_a_terminal_is_answered() {
    let control = Control::new();
    let command = "stty -echo; printf '[sudo via ansible, key=fox] password:'; read -r word; stty echo; \
                   test \"$word\" = secret && echo BECOME-SUCCESS-fox; exit 4";
    let mut ssh = control.ssh(&["-tt"]);
    let mut child = ssh
        .arg(command)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let mut said = Vec::new();
    wait_for("the prompt", || {
        let mut chunk = [0; 512];
        let read = stdout.read(&mut chunk).unwrap();
        said.extend_from_slice(&chunk[..read]);
        text(&said).contains("password:").then_some(())
    });
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"secret\n").unwrap();
    stdout.read_to_end(&mut said).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(4));
    assert!(
        text(&said).contains("BECOME-SUCCESS-fox"),
        "{}",
        text(&said)
    );
    assert!(!text(&said).contains("secret"), "{}", text(&said));
}
