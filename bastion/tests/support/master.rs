//! An `ssh` that stays connected, and takes further orders at a socket (ControlMaster).

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use tempfile::TempDir;

use super::{Server, User, output, signal, text, wait_for};

/// A connection without a program, to forward by. Sockets of its own are in its folder.
pub(crate) struct Master {
    child: Child,
    control: PathBuf,
    folder: TempDir,
    session: u32,
}

impl Master {
    pub(crate) fn start(server: &Server) -> Self {
        Self::start_as(server, &server.user(), &[])
    }

    pub(crate) fn start_as(server: &Server, user: &User, arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let control = folder.path().join("control");
        let before = server.sessions();
        let mut command = server.ssh(user, arguments);
        command.args(["-N", "-M", "-S"]).arg(&control);
        let child = command
            .stdout(Stdio::null())
            // Not a pipe that nobody reads: a full one would hold ssh up.
            .stderr(File::create(folder.path().join("stderr")).unwrap())
            .spawn()
            .unwrap();
        wait_for("the control socket", || control.exists().then_some(()));
        let mut master = Self {
            child,
            control,
            folder,
            session: 0,
        };
        // A session process comes with the first channel, or the first request to forward.
        assert_eq!(text(&master.run("echo here").stdout), "here\n");
        master.session = wait_for("a session", || {
            server
                .sessions()
                .into_iter()
                .find(|pid| !before.contains(pid))
        });
        master
    }

    /// The process that does what this connection asks for.
    pub(crate) fn session(&self) -> u32 {
        self.session
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `ssh` by way of this connection.
    pub(crate) fn ssh(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("ssh");
        command.args(["-F", "none", "-S"]).arg(&self.control);
        command.args(arguments).arg("there").stdin(Stdio::null());
        command
    }

    /// Runs a command in a session of its own.
    pub(crate) fn run(&self, command: &str) -> Output {
        output(self.ssh(&[]).arg(command))
    }

    /// As `ssh -O`: "forward" or "cancel", and what.
    pub(crate) fn order(&self, order: &str, what: [&str; 2]) -> Output {
        output(&mut self.ssh(&["-O", order, what[0], what[1]]))
    }

    /// Forwards a Unix socket of the client's to `destination`, host:port or a path.
    pub(crate) fn forward_local(&self, name: &str, destination: &str) -> PathBuf {
        let socket = self.path(name);
        let what = format!("{}:{destination}", socket.display());
        let done = self.order("forward", ["-L", &what]);
        assert!(done.status.success(), "{}", text(&done.stderr));
        socket
    }

    /// Lets the server listen, for a service of the client's; returns the port.
    pub(crate) fn forward_remote(&self, listen: &str, destination: &str) -> u16 {
        let done = self.order("forward", ["-R", &format!("{listen}:{destination}")]);
        assert!(done.status.success(), "{}", text(&done.stderr));
        // ssh says the port if it was for the server to choose.
        let said = text(&done.stdout);
        said.trim()
            .parse()
            .unwrap_or_else(|_| listen.rsplit(':').next().unwrap().parse().unwrap())
    }

    /// Ends the connection without a word, and waits until it is over.
    pub(crate) fn cut(mut self, server: &Server) {
        signal(self.child.id(), "KILL");
        self.child.wait().unwrap();
        wait_for("the session's end", || {
            (!server.sessions().contains(&self.session)).then_some(())
        });
    }

    /// Ends the connection; what ssh wrote at its standard error.
    pub(crate) fn end(mut self) -> String {
        signal(self.child.id(), "TERM");
        wait_for("the end of ssh", || self.child.try_wait().unwrap());
        fs::read_to_string(self.path("stderr")).unwrap()
    }
}

impl Drop for Master {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
