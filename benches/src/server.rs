//! A server under test: started on a free port of the loopback address, counted, stopped.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::accounting::{self, Group};
use crate::fixture::Fixture;

/// How long a server may take to listen, and to stop.
const PATIENCE: Duration = Duration::from_secs(20);
/// bash reads the account's .bashrc for a command that comes over SSH, unless it is told that it is
/// not the first shell: what the account has in there is not what is measured.
const NO_BASHRC: &str = "SHLVL";
const SSHD: &str = "/usr/sbin/sshd";
const SFTP_SERVERS: [&str; 3] = [
    "/usr/lib/openssh/sftp-server",
    "/usr/libexec/openssh/sftp-server",
    "/usr/libexec/sftp-server",
];

/// Whose server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Bastion,
    Sshd,
}

/// A server that runs. Dropping it stops it.
pub(crate) struct Server {
    pub(crate) kind: Kind,
    pub(crate) address: SocketAddr,
    /// From its start to its first accepted connection.
    pub(crate) took_to_listen: Duration,
    file: PathBuf,
    child: Child,
    own: Option<Group>,
    programs: Option<Group>,
}

impl Server {
    pub(crate) fn start(kind: Kind, bastion: &Path, fixture: &Fixture) -> anyhow::Result<Self> {
        // A port that was free a moment ago: sshd cannot be asked to choose one.
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let (file, arguments) = match kind {
            Kind::Bastion => (bastion.to_owned(), bastion_arguments(fixture, address)?),
            Kind::Sshd => (PathBuf::from(SSHD), sshd_arguments(fixture, address)?),
        };
        let name = format!("{kind:?}-{}", address.port());
        let (own, programs) = (Group::new(&name), Group::new(&format!("{name}-programs")));
        let mut command = Command::new("/bin/sh");
        // The shell counts itself into the group and becomes the server.
        let enter = own
            .as_ref()
            .map(|own| format!("echo $$ > {} && ", own.members().display()));
        command.args([
            "-c",
            &format!("{}exec \"$0\" \"$@\"", enter.unwrap_or_default()),
        ]);
        command.arg(&file).args(arguments);
        let log = fs::File::create(fixture.folder().join(format!("{kind:?}.log")))?;
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let started = Instant::now();
        let child = command
            .spawn()
            .with_context(|| format!("start {}", file.display()))?;
        let took_to_listen = Duration::ZERO;
        let mut server = Self {
            kind,
            address,
            took_to_listen,
            file,
            child,
            own,
            programs,
        };
        server.wait_until_it_listens(fixture, started)?;
        Ok(server)
    }

    fn wait_until_it_listens(&mut self, fixture: &Fixture, started: Instant) -> anyhow::Result<()> {
        loop {
            if TcpStream::connect(self.address).is_ok() {
                self.took_to_listen = started.elapsed();
                return Ok(());
            }
            if started.elapsed() > PATIENCE || self.child.try_wait()?.is_some() {
                let log = fs::read_to_string(fixture.folder().join(format!("{:?}.log", self.kind)));
                bail!(
                    "{:?} does not listen: {}",
                    self.kind,
                    log.unwrap_or_default()
                );
            }
            std::thread::sleep(Duration::from_micros(100));
        }
    }

    /// User and system time of all its processes so far.
    pub(crate) fn cpu(&self) -> anyhow::Result<Duration> {
        match &self.own {
            Some(group) => group.cpu(),
            None => accounting::cpu_of_tree(self.child.id()),
        }
    }

    /// Memory of its processes, without the programs that users run.
    pub(crate) fn memory(&self) -> anyhow::Result<u64> {
        accounting::memory_of_tree(self.child.id(), &self.file)
    }

    /// A command for the server to run that is not counted as the server's, where that can be.
    pub(crate) fn uncounted(&self, command: &str) -> String {
        match &self.programs {
            Some(group) => format!("echo $$ > {} && {command}", group.members().display()),
            None => command.to_owned(),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap_or(i32::MAX));
        let asked = Instant::now();
        // It may have ended by itself: then there is nothing to stop.
        let _gone = kill(pid, Signal::SIGTERM);
        while matches!(self.child.try_wait(), Ok(None)) {
            if asked.elapsed() > PATIENCE {
                let _gone = self.child.kill();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn bastion_arguments(fixture: &Fixture, address: SocketAddr) -> anyhow::Result<Vec<String>> {
    let file = fixture.folder().join("bastion.toml");
    fs::write(
        &file,
        format!(
            "listen = [\"{address}\"]\n\
             trusted_user_ca_keys = \"{ca}\"\n\
             state_dir = \"{state}\"\n\
             permit_root_login = true\n\
             max_startups = 1000\n\
             max_connections = 10000\n\
             shutdown_grace_time = \"0s\"\n\
             set_env = {{ {NO_BASHRC} = \"1\" }}\n\
             [logins]\n{login} = \"{login}\"\n",
            ca = fixture.trusted_ca().display(),
            state = fixture.host_keys().display(),
            login = fixture.login,
        ),
    )?;
    Ok(vec!["--config".into(), file.display().to_string()])
}

fn sshd_arguments(fixture: &Fixture, address: SocketAddr) -> anyhow::Result<Vec<String>> {
    let file = fixture.folder().join("sshd_config");
    let mut text = format!(
        "ListenAddress {address}\nTrustedUserCAKeys {}\nAuthorizedKeysFile none\nPasswordAuthentication no\n\
         KbdInteractiveAuthentication no\nPermitRootLogin yes\nStrictModes no\nUseDNS no\nPrintMotd no\n\
         PrintLastLog no\nPidFile none\nMaxStartups 1000\nMaxSessions 100\nAllowTcpForwarding local\nLoginGraceTime 30\n\
         SetEnv {NO_BASHRC}=1\n",
        fixture.trusted_ca().display(),
    );
    for (name, _) in keys::host_keys::HOST_KEYS {
        text.push_str(&format!(
            "HostKey {}\n",
            fixture.host_keys().join(name).display()
        ));
    }
    if let Some(server) = SFTP_SERVERS.iter().find(|file| Path::new(file).exists()) {
        text.push_str(&format!("Subsystem sftp {server}\n"));
    }
    fs::write(&file, text)?;
    if nix::unistd::Uid::effective().is_root() {
        // Where its network process is shut in; made by its service's start script elsewhere.
        fs::create_dir_all("/run/sshd")?;
    }
    Ok(vec![
        "-D".into(),
        "-e".into(),
        "-f".into(),
        file.display().to_string(),
    ])
}

pub(crate) fn has_sshd() -> bool {
    Path::new(SSHD).exists()
}

pub(crate) fn is_release_build() -> bool {
    !cfg!(debug_assertions)
}

/// Builds bastion as this program was built, and says where it is.
pub(crate) fn build_bastion() -> anyhow::Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args([
        "build",
        "--quiet",
        "--package",
        "bastion",
        "--bin",
        "bastion",
    ]);
    command.args(is_release_build().then_some("--release"));
    command.current_dir(env!("CARGO_MANIFEST_DIR"));
    ensure!(
        command.status().context("run cargo")?.success(),
        "bastion could not be built"
    );
    let folder = std::env::current_exe()?
        .parent()
        .context("this program has no folder")?
        .to_owned();
    Ok(folder.join("bastion"))
}
