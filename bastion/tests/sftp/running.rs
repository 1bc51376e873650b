//! A bastion that runs for one test, with keys of its own, and clients of it.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

/// No client and no event takes longer, however busy the machine is.
const LIMIT: Duration = Duration::from_secs(120);

/// Runs for one test.
pub(crate) struct Bastion {
    child: Child,
    folder: tempfile::TempDir,
    events: Arc<(Mutex<Vec<Value>>, Condvar)>,
}

impl Bastion {
    /// Starts one that takes `claw` for whoever runs the test. `None` where OpenSSH's clients are
    /// not installed.
    pub(crate) fn start(configuration: &str) -> Option<Self> {
        if ["ssh", "sftp", "scp", "ssh-keygen"]
            .into_iter()
            .any(skipped)
        {
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for key in ["ca", "user"] {
            let mut keygen = Command::new("ssh-keygen");
            let output = keygen
                .args(["-q", "-t", "ed25519", "-N", "", "-f"])
                .arg(path(key))
                .run();
            assert!(output.status.success());
        }
        fs::write(
            path("bastion.toml"),
            format!("permit_root_login = true\n{configuration}\n"),
        )
        .unwrap();
        let user = nix::unistd::User::from_uid(nix::unistd::Uid::effective())
            .unwrap()
            .unwrap()
            .name;
        let mut command = Command::new(env!("CARGO_BIN_EXE_bastion"));
        command.args([
            "--listen",
            "127.0.0.1:0",
            "--login",
            &format!("claw={user}"),
        ]);
        command.arg("--config").arg(path("bastion.toml"));
        command
            .arg("--trusted-user-ca-keys")
            .arg(path("ca.pub"))
            .arg("--state-dir")
            .arg(path("state"));
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let events = Arc::<(Mutex<Vec<Value>>, Condvar)>::default();
        collect(child.stdout.take().unwrap(), events.clone());
        let bastion = Self {
            child,
            folder,
            events,
        };
        let listening = bastion.wait_for(|event| event["event"] == "listening");
        let address = listening["listening"][0].as_str().unwrap();
        bastion.configure_clients(address.rsplit_once(':').unwrap().1);
        bastion.certify(&[]);
        Some(bastion)
    }

    fn configure_clients(&self, port: &str) {
        let folder = self.folder().display();
        let config = format!(
            "Host bastion\nHostName 127.0.0.1\nPort {port}\nUser claw\nBatchMode yes\nIdentitiesOnly yes\n\
             IdentityFile {folder}/user\nCertificateFile {folder}/user-cert.pub\nIdentityAgent none\n\
             UserKnownHostsFile /dev/null\nStrictHostKeyChecking no\nLogLevel ERROR\n"
        );
        fs::write(self.folder().join("ssh_config"), config).unwrap();
    }

    /// Gives the user a certificate, with these options of ssh-keygen(1).
    pub(crate) fn certify(&self, options: &[&str]) {
        let mut keygen = Command::new("ssh-keygen");
        keygen.args(["-q", "-s"]).arg(self.folder().join("ca"));
        keygen
            .args(["-I", "test", "-n", "claw", "-V", "-1h:+1h"])
            .args(options);
        let output = keygen.arg(self.folder().join("user.pub")).run();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    /// A client of OpenSSH's, that knows this bastion as `bastion`.
    pub(crate) fn client(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .arg("-F")
            .arg(self.folder().join("ssh_config"))
            .stdin(Stdio::null());
        command
    }

    /// The same as a line, for programs that start ssh by themselves.
    pub(crate) fn ssh(&self) -> String {
        format!("ssh -F {}", self.folder().join("ssh_config").display())
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Three new folders: here, there, and where what was there comes back to.
    pub(crate) fn three_folders(&self) -> (PathBuf, PathBuf, PathBuf) {
        let folder = tempfile::tempdir_in(self.folder()).unwrap().keep();
        let make = |name: &str| {
            let path = folder.join(name);
            fs::create_dir(&path).unwrap();
            path
        };
        (make("local"), make("remote"), make("back"))
    }

    /// The first event of the log that is wanted, as soon as it is there.
    pub(crate) fn wait_for(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let (events, news) = &*self.events;
        let mut events = events.lock().unwrap();
        let until = Instant::now() + LIMIT;
        loop {
            if let Some(event) = events.iter().find(|event| wanted(event)) {
                return event.clone();
            }
            let left = until.saturating_duration_since(Instant::now());
            assert!(
                !left.is_zero(),
                "no such event within {LIMIT:?}: {events:#?}"
            );
            events = news.wait_timeout(events, left).unwrap().0;
        }
    }

    /// Returns when this is so.
    pub(crate) fn wait_until(&self, so: impl Fn() -> bool) {
        let until = Instant::now() + LIMIT;
        while !so() {
            assert!(Instant::now() < until, "not within {LIMIT:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Bastion {
    fn drop(&mut self) {
        // SIGTERM, so that it ends what it has started.
        let pid = nix::unistd::Pid::from_raw(self.child.id() as i32);
        let _gone = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        let until = Instant::now() + LIMIT;
        while self.child.try_wait().is_ok_and(|ended| ended.is_none()) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

fn collect(log: impl Read + Send + 'static, events: Arc<(Mutex<Vec<Value>>, Condvar)>) {
    std::thread::spawn(move || {
        for line in BufReader::new(log).lines().map_while(Result::ok) {
            let event = serde_json::from_str(&line).unwrap_or(Value::String(line));
            events.0.lock().unwrap().push(event);
            events.1.notify_all();
        }
    });
}

/// Whether a program is not installed, which is said.
pub(crate) fn skipped(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let there = std::env::split_paths(&path).any(|folder| folder.join(program).is_file());
    if !there {
        eprintln!("SKIPPED: {program} is not installed");
    }
    !there
}

/// A command that is killed when it takes too long.
pub(crate) trait Limited {
    /// Runs it to its end.
    fn run(&mut self) -> Output;
}

impl Limited for Command {
    fn run(&mut self) -> Output {
        let mut child = self
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let pid = nix::unistd::Pid::from_raw(child.id() as i32);
        let (ended, end) = std::sync::mpsc::channel();
        // Its outputs are read meanwhile, so that it never waits for us.
        let errors = child.stderr.take().unwrap();
        let errors = std::thread::spawn(move || read(errors));
        let output = child.stdout.take().unwrap();
        let output = std::thread::spawn(move || read(output));
        std::thread::spawn(move || ended.send(child.wait()));
        let status = end.recv_timeout(LIMIT).unwrap_or_else(|_| {
            let _gone = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
            panic!("{:?} did not end within {LIMIT:?}", self.get_program());
        });
        Output {
            status: status.unwrap(),
            stdout: output.join().unwrap(),
            stderr: errors.join().unwrap(),
        }
    }
}

fn read(mut from: impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    let _partly = from.read_to_end(&mut bytes);
    bytes
}
