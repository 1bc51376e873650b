//! The user's agent, forwarded: `-A`.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::support::{Master, Server, children, command_line, output, signal, text, wait_for};

/// An agent that holds one key.
struct Agent {
    child: Child,
    folder: TempDir,
}

impl Agent {
    fn start(key: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("agent");
        let mut command = Command::new("ssh-agent");
        command
            .arg("-D")
            .arg("-a")
            .arg(&socket)
            .stdout(Stdio::null());
        let agent = Self {
            child: command.spawn().unwrap(),
            folder,
        };
        wait_for("the agent", || socket.exists().then_some(()));
        let added = output(
            Command::new("ssh-add")
                .arg("-q")
                .arg(key)
                .env("SSH_AUTH_SOCK", &socket),
        );
        assert!(added.status.success(), "{}", text(&added.stderr));
        agent
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("agent")
    }

    /// A session that it is forwarded to, which says where it is there, and waits.
    fn forwarded(&self, mut ssh: Command) -> Child {
        ssh.arg("echo $SSH_AUTH_SOCK; cat")
            .env("SSH_AUTH_SOCK", self.socket())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_agent_answers_from_there() {
    let server = Server::start();
    let user = server.user();
    let agent = Agent::start(&user.key());
    let fingerprint = user
        .private
        .fingerprint(ssh_key::HashAlg::Sha256)
        .to_string();
    let mut ssh = server.ssh(&user, &["-A"]);
    let run = output(ssh.arg("ssh-add -l").env("SSH_AUTH_SOCK", agent.socket()));
    assert!(text(&run.stdout).contains(&fingerprint), "{run:?}");
}

/// Several programs of a connection, one after the other and at the same time.
#[test]
fn many_programs_use_it_through_one_socket_for_the_account_alone() {
    let server = Server::start();
    let user = server.user();
    let agent = Agent::start(&user.key());
    let folder = tempfile::tempdir().unwrap();
    let control = folder.path().join("control");
    let arguments = ["-A", "-M", "-S", control.to_str().unwrap()];
    let mut first = agent.forwarded(server.ssh(&user, &arguments));
    wait_for("the control socket", || control.exists().then_some(()));
    let by_master = |command: &str| {
        let mut ssh = server.ssh(&user, &["-A", "-S", control.to_str().unwrap()]);
        output(ssh.arg(command).env("SSH_AUTH_SOCK", agent.socket()))
    };
    let run = by_master("echo $SSH_AUTH_SOCK; for i in 1 2 3 4 5; do ssh-add -l & done; wait");
    let said = text(&run.stdout);
    assert_eq!(said.matches("(ED25519)").count(), 5, "{run:?}");
    let socket = PathBuf::from(said.lines().next().unwrap());
    let socket_folder = socket.parent().unwrap();
    assert!(
        socket_folder.starts_with("/tmp")
            && text(socket_folder.as_os_str().as_encoded_bytes()).contains("/ssh-")
    );
    let modes = [&socket, socket_folder]
        .map(|path| fs::metadata(path).unwrap().permissions().mode() & 0o777);
    assert_eq!(modes, [0o600, 0o700]);
    assert_eq!(
        fs::metadata(&socket).unwrap().uid(),
        nix::unistd::Uid::effective().as_raw()
    );
    drop(first.stdin.take());
    let said = text(&first.wait_with_output().unwrap().stdout);
    assert_eq!(Path::new(said.trim()), socket);
    wait_for("the socket to be removed", || {
        (!socket_folder.exists()).then_some(())
    });
}

#[test]
fn without_leave_there_is_no_agent() {
    let server = Server::start();
    let granted = server.user();
    let agent = Agent::start(&granted.key());
    let plain = server.user_with(|spec| {
        spec.extensions
            .retain(|e| e.name != "permit-agent-forwarding")
    });
    let refusing = Server::start_with("allow_agent_forwarding = false", &[]);
    let refused = refusing.user();
    for (server, user, arguments) in [
        (&server, &plain, &["-A"][..]),
        (&refusing, &refused, &["-A"]),
        (&server, &granted, &[]),
    ] {
        let mut ssh = server.ssh(user, arguments);
        let run = output(
            ssh.arg("echo \"<$SSH_AUTH_SOCK>\"")
                .env("SSH_AUTH_SOCK", agent.socket()),
        );
        assert_eq!(text(&run.stdout), "<>\n", "{run:?}");
    }
}

/// A connection that is cut leaves no socket behind.
#[test]
fn the_socket_goes_with_the_connection() {
    let server = Server::start();
    let user = server.user();
    let agent = Agent::start(&user.key());
    let forward = format!("ForwardAgent={}", agent.socket().display());
    let master = Master::start_as(&server, &user, &["-o", &forward]);
    let mut ssh = master.ssh(&["-o", &forward]);
    let socket = PathBuf::from(text(&output(ssh.arg("echo $SSH_AUTH_SOCK")).stdout).trim());
    assert!(socket.exists(), "{}", socket.display());
    master.cut(&server);
    wait_for("the folder to be removed", || {
        (!socket.parent().unwrap().exists()).then_some(())
    });
}

/// Whoever has to close them may have to wait for that, and the gate's threads serve many. Those that
/// are sent before the connection is accepted count, too.
#[test]
fn the_agents_socket_takes_no_descriptors() {
    use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
    use std::io::IoSlice;
    use std::os::fd::{AsFd, AsRawFd};
    use std::os::unix::net::UnixStream;

    let (probe, _other) = UnixStream::pair().unwrap();
    if !bastion::sys::socket::take_no_descriptors(probe.as_fd()) {
        return eprintln!("skipped: before Linux 6.16 another process closes them");
    }
    let server = Server::start();
    let user = server.user();
    let agent = Agent::start(&user.key());
    let mut ssh = agent.forwarded(server.ssh(&user, &["-A"]));
    let mut path = String::new();
    let mut said = BufReader::new(ssh.stdout.take().unwrap());
    said.read_line(&mut path).unwrap();
    // Nobody accepts.
    let mut sessions = children(server.pid());
    sessions.retain(|&pid| command_line(pid).contains("session"));
    sessions.iter().for_each(|&pid| signal(pid, "STOP"));
    let ours = UnixStream::connect(path.trim()).unwrap();
    let rights = [ours.as_raw_fd()];
    let control = [ControlMessage::ScmRights(&rights)];
    let bytes = [IoSlice::new(b"x")];
    let sent = sendmsg::<()>(ours.as_raw_fd(), &bytes, &control, MsgFlags::empty(), None);
    // Before the verdict: what is stopped would outlive it.
    sessions.iter().for_each(|&pid| signal(pid, "CONT"));
    ssh.kill().unwrap();
    ssh.wait().unwrap();
    assert_eq!(sent, Err(nix::errno::Errno::EPERM));
}
