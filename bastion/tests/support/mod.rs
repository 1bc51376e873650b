//! A real bastion on loopback, and the real `ssh` to reach it.
//!
//! Tests run as whoever runs them, root or not: that account is the login account, and `claw` is
//! the login name.
#![allow(dead_code, unused_imports, reason = "each test binary uses its part")]

mod commands;
mod credentials;
mod master;
mod processes;
mod stand_in;

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use keys::certificate::CertificateSpec;
use keys::generate::KeyKind;
use serde_json::Value;
use ssh_key::PrivateKey;
use tempfile::TempDir;

pub(crate) use commands::{fed, finish, missing, output, text};
pub(crate) use credentials::{User, write_private};
use credentials::{lay_down_host_keys, new_ca};
pub(crate) use master::Master;
pub(crate) use processes::{
    account, as_root, children, command_line, descriptors, is_alive, processes, processor_time,
    signal, status_field,
};
pub(crate) use stand_in::{authenticate, authenticate_with, run};

/// The limit of every wait: long enough for a busy machine, short enough to fail.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// A bastion that serves, with its own authority.
pub(crate) struct Server {
    child: Child,
    pub(crate) folder: TempDir,
    pub(crate) address: SocketAddr,
    pub(crate) ca: PrivateKey,
    events: Receiver<Value>,
    seen: Vec<Value>,
}

pub(crate) fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

/// Waits for a condition, looking often; panics with `what` when it does not come true.
pub(crate) fn wait_for<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + LIMIT;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < deadline, "waited too long for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

impl Server {
    pub(crate) fn start() -> Self {
        Self::start_with("", &[])
    }

    /// With these lines in its bastion.toml, and these variables in its environment.
    pub(crate) fn start_with(config: &str, environment: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ca = new_ca(&folder);
        Self::start_in(folder, ca, config, environment)
    }

    /// With another login account than our own, which takes root.
    pub(crate) fn start_as_ordinary(account: &str) -> Self {
        Self::start_as_ordinary_with(account, "")
    }

    /// As above, with these lines in its bastion.toml.
    pub(crate) fn start_as_ordinary_with(account: &str, config: &str) -> Self {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        // The account has to reach what it must not be able to change.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let ca = new_ca(&folder);
        Self::start_for(account, folder, ca, config, &[], &[])
    }

    /// With these lines in its bastion.toml, and no more than so many descriptors for each part.
    pub(crate) fn start_with_descriptors(descriptors: u32, config: &str) -> Self {
        let limit = format!("--nofile={descriptors}:{descriptors}");
        Self::start_under(&["prlimit", &limit], config)
    }

    /// By another program, which becomes it.
    pub(crate) fn start_under(words: &[&str], config: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ca = new_ca(&folder);
        let words: Vec<_> = words.iter().map(|&word| word.to_owned()).collect();
        Self::start_for(&account(), folder, ca, config, &[], &words)
    }

    /// In a folder where `ca.pub` is, and host keys may be.
    pub(crate) fn start_in(
        folder: TempDir,
        ca: PrivateKey,
        config: &str,
        environment: &[(&str, &str)],
    ) -> Self {
        Self::start_for(&account(), folder, ca, config, environment, &[])
    }

    /// Where these files of the system have these contents, which takes root and a mount namespace.
    pub(crate) fn start_where(files: &[(&str, &str)], config: &str) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mut mounts = Vec::new();
        for (number, (file, text)) in files.iter().enumerate() {
            let copy = folder.path().join(format!("file-{number}"));
            fs::write(&copy, text).unwrap();
            mounts.push(format!("mount --bind '{}' '{file}'", copy.display()));
        }
        Self::start_after(folder, &mounts.join(" && "), config)
    }

    /// In this folder, after a script that mounts what it likes, which takes root and a mount
    /// namespace.
    pub(crate) fn start_after(folder: TempDir, script: &str, config: &str) -> Option<Self> {
        let under = |script: &str| ["unshare", "--mount", "sh", "-c", script].map(str::to_owned);
        let [program, arguments @ ..] = under("mount -t tmpfs none /tmp");
        if !output(Command::new(program).args(arguments))
            .status
            .success()
        {
            eprintln!("skipped: nothing can be mounted");
            return None;
        }
        let ca = new_ca(&folder);
        let under = under(&format!("{script} && exec \"$0\" \"$@\""));
        Some(Self::start_for(&account(), folder, ca, config, &[], &under))
    }

    fn start_for(
        account: &str,
        folder: TempDir,
        ca: PrivateKey,
        config: &str,
        environment: &[(&str, &str)],
        under: &[String],
    ) -> Self {
        let state = folder.path().join("state");
        if !state.exists() {
            lay_down_host_keys(&state);
        }
        let file = folder.path().join("bastion.toml");
        fs::write(&file, format!("permit_root_login = true\n{config}\n")).unwrap();
        // Whatever the umask is: files that others can write are not relied on.
        for file in [&file, &folder.path().join("ca.pub")] {
            fs::set_permissions(file, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
        }
        let words = under.iter().map(String::as_str);
        let mut words = words.chain([env!("CARGO_BIN_EXE_bastion")]);
        let mut child = Command::new(words.next().unwrap())
            .args(words)
            .arg("--config")
            .arg(&file)
            .args([
                "--listen",
                "127.0.0.1:0",
                "--login",
                &format!("claw={account}"),
            ])
            .arg("--trusted-user-ca-keys")
            .arg(folder.path().join("ca.pub"))
            .arg("--state-dir")
            .arg(&state)
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (send, events) = channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let event =
                    serde_json::from_str(&line).unwrap_or_else(|_| panic!("not JSON: {line}"));
                if send.send(event).is_err() {
                    return;
                }
            }
        });
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut server = Self {
            child,
            folder,
            address,
            ca,
            events,
            seen: Vec::new(),
        };
        let listening = server.event("listening", |_| true);
        server.address = listening["listening"][0].as_str().unwrap().parse().unwrap();
        server
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The next event of this name that fits; those before it are passed over.
    pub(crate) fn event(&mut self, name: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + LIMIT;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let event = self
                .events
                .recv_timeout(left)
                .unwrap_or_else(|_| panic!("waited for the event {name}; saw {:#?}", self.seen));
            self.seen.push(event.clone());
            if event["event"] == name && fits(&event) {
                return event;
            }
        }
    }

    /// All events until now, from the beginning.
    pub(crate) fn events_so_far(&mut self) -> &[Value] {
        self.seen.extend(self.events.try_iter());
        &self.seen
    }

    /// Asks it to end and waits until it has; its exit status.
    pub(crate) fn stop(&mut self) -> std::process::ExitStatus {
        self.signal("TERM");
        wait_for("bastion's end", || self.child.try_wait().unwrap())
    }

    pub(crate) fn signal(&self, name: &str) {
        signal(self.pid(), name);
    }

    /// The process of the gate.
    pub(crate) fn gate(&self) -> u32 {
        wait_for("a gate", || {
            children(self.pid())
                .into_iter()
                .find(|&pid| command_line(pid).contains("gate"))
        })
    }

    /// The session processes.
    pub(crate) fn sessions(&self) -> Vec<u32> {
        let mut all = children(self.pid());
        // The process that they are copied from is called by another name.
        all.retain(|&pid| status_field(pid, "Name").is_some_and(|name| name == "bastion-session"));
        all
    }

    /// A user with a key and the certificate that Pomerium would mint for `claw`.
    pub(crate) fn user(&self) -> User {
        self.user_with(|_| {})
    }

    /// As [`Server::user`], with another certificate.
    pub(crate) fn user_with(&self, edit: impl FnOnce(&mut CertificateSpec)) -> User {
        User::new(KeyKind::Ed25519, &self.ca, edit)
    }

    /// `ssh` as a user, with these arguments before the command.
    pub(crate) fn ssh(&self, user: &User, arguments: &[&str]) -> Command {
        let mut command = Command::new("ssh");
        command
            // ssh takes the first value that it is given: the test's come first.
            .args(arguments)
            .args([
                "-F",
                "none",
                "-o",
                "BatchMode=yes",
                "-o",
                "IdentitiesOnly=yes",
            ])
            .args([
                "-o",
                "StrictHostKeyChecking=no",
                "-o",
                "UserKnownHostsFile=/dev/null",
            ])
            .args(["-o", "LogLevel=ERROR", "-o", "ConnectTimeout=30"])
            .arg("-i")
            .arg(user.key())
            .args(["-p", &self.address.port().to_string()])
            .arg("claw@127.0.0.1")
            .env_remove("SSH_AUTH_SOCK")
            .stdin(Stdio::null());
        command
    }

    /// Runs a command over ssh to its end.
    pub(crate) fn run(&self, command: &str) -> Output {
        output(self.ssh(&self.user(), &[]).arg(command))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            signal(self.pid(), "TERM");
            let deadline = Instant::now() + LIMIT;
            while Instant::now() < deadline && matches!(self.child.try_wait(), Ok(None)) {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
