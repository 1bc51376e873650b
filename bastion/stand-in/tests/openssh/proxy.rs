//! The real ssh through our proxy to the real sshd.

use crate::fixture::{Sshd, generate, host_keys, noise};
use pomerium_stand_in::proxy::{self, Report, Route, Settings};
use pomerium_stand_in::transport::{Config, HostKeys};
use ssh_key::{Algorithm, LineEnding, PrivateKey};
use std::process::{Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::time::timeout;

struct Proxy {
    sshd: Sshd,
    port: u16,
    reports: Arc<Mutex<Vec<Report>>>,
}

impl Proxy {
    async fn start(change: impl FnOnce(&mut Settings)) -> Option<Self> {
        let sshd = Sshd::start()?;
        let host_keys = Arc::new(HostKeys::new(host_keys()));
        let reports: Arc<Mutex<Vec<Report>>> = Arc::default();
        let sink = reports.clone();
        let mut settings = Settings {
            routes: vec![Route {
                name: "openclaw".to_owned(),
                address: sshd.address.clone(),
            }],
            upstream: Config::client(host_keys.algorithms()),
            host_keys,
            user_ca_key: sshd.ca.clone(),
            accept_none: false,
            report: Box::new(move |report| sink.lock().unwrap().push(report.clone())),
        };
        change(&mut settings);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(proxy::serve(listener, Arc::new(settings)));
        let path = sshd.folder.path().join("user");
        let key: PrivateKey = generate(Algorithm::Ed25519);
        key.write_openssh_file(&path, LineEnding::LF).unwrap();
        Some(Self {
            sshd,
            port,
            reports,
        })
    }

    /// ssh, sftp or scp with what they have in common.
    fn command(&self, program: &str) -> Command {
        self.command_as(&format!("{}@openclaw", self.sshd.user), program)
    }

    fn command_as(&self, user: &str, program: &str) -> Command {
        let mut command = Command::new(program);
        let options = [
            format!("Port={}", self.port),
            "StrictHostKeyChecking=no".to_owned(),
            "UserKnownHostsFile=/dev/null".to_owned(),
            "LogLevel=INFO".to_owned(),
            "IdentitiesOnly=yes".to_owned(),
            format!("User={user}"),
            format!(
                "IdentityFile={}",
                self.sshd.folder.path().join("user").display()
            ),
        ];
        command.args(["-F", "none"]);
        for option in options {
            command.args(["-o", &option]);
        }
        command.stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    async fn ssh(&self, arguments: &[&str]) -> Output {
        run(self.command("ssh").arg("127.0.0.1").args(arguments)).await
    }

    fn assert_no_violations(&self) {
        let reports = self.reports.lock().unwrap();
        assert!(
            reports.iter().all(|report| report.violation.is_none()),
            "{reports:?}"
        );
    }
}

async fn run(command: &mut Command) -> Output {
    timeout(Duration::from_secs(120), command.output())
        .await
        .expect("it hangs")
        .unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[tokio::test]
async fn commands_and_banner() {
    let Some(proxy) = Proxy::start(|_| {}).await else {
        return;
    };
    let output = proxy.ssh(&["echo out; echo err >&2; exit 42"]).await;
    assert_eq!(output.status.code(), Some(42));
    assert_eq!(text(&output.stdout), "out\n");
    assert!(
        text(&output.stderr).ends_with("welcome to the tests\nerr\n"),
        "{output:?}"
    );
    let output = proxy.ssh(&["-tt", "tty"]).await;
    assert!(text(&output.stdout).starts_with("/dev/pts/"), "{output:?}");
    proxy.assert_no_violations();
}

#[tokio::test]
async fn who_has_no_key_gets_in_too() {
    let Some(proxy) = Proxy::start(|_| {}).await else {
        return;
    };
    std::fs::remove_file(proxy.sshd.folder.path().join("user")).unwrap();
    let output = proxy.ssh(&["-o", "IdentityAgent=none", "echo in"]).await;
    assert_eq!(text(&output.stdout), "in\n", "{output:?}");
}

#[tokio::test]
async fn refusals_read_as_pomeriums() {
    let other_ca = Arc::new(generate(Algorithm::Ed25519));
    let Some(proxy) = Proxy::start(|settings| settings.user_ca_key = other_ca).await else {
        return;
    };
    let output = proxy.ssh(&["true"]).await;
    assert_eq!(output.status.code(), Some(255));
    assert!(
        text(&output.stderr).contains(":2: Permission Denied"),
        "{output:?}"
    );
    let mut elsewhere = proxy.command_as("claw@elsewhere", "ssh");
    let output = run(elsewhere.args(["127.0.0.1", "true"])).await;
    assert!(
        text(&output.stderr).contains("no route named \"elsewhere\""),
        "{output:?}"
    );
}

#[tokio::test]
async fn files_both_ways_while_all_rekey() {
    let started = Proxy::start(|settings| settings.upstream.rekey_after = Some(3 << 20)).await;
    let Some(proxy) = started else { return };
    let folder = proxy.sshd.folder.path();
    let data = noise(20_000_003);
    std::fs::write(folder.join("data"), &data).unwrap();
    let path = |name: &str| folder.join(name).display().to_string();
    let mut scp = proxy.command("scp");
    scp.args(["-q", "-o", "RekeyLimit=1M", &path("data")]);
    let output = run(scp.arg(format!("127.0.0.1:{}", path("copy")))).await;
    assert!(output.status.success(), "{output:?}");
    assert!(std::fs::read(folder.join("copy")).unwrap() == data);
    std::fs::write(
        folder.join("batch"),
        format!("get {} {}\n", path("copy"), path("back")),
    )
    .unwrap();
    let mut sftp = proxy.command("sftp");
    // Batch mode alone would refuse keyboard-interactive; the key does.
    let output = run(sftp.args(["-b", &path("batch"), "127.0.0.1"])).await;
    assert!(output.status.success(), "{output:?}");
    assert!(std::fs::read(folder.join("back")).unwrap() == data);
    proxy.assert_no_violations();
}

#[tokio::test]
async fn twenty_sessions_over_one_connection_and_a_forwarded_port() {
    let Some(proxy) = Proxy::start(|_| {}).await else {
        return;
    };
    let control = proxy
        .sshd
        .folder
        .path()
        .join("control")
        .display()
        .to_string();
    let forwarded = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let forward = format!("127.0.0.1:{forwarded}:{}", proxy.sshd.address);
    let mut master = proxy.command("ssh");
    master.args(["-N", "-M", "-S", &control, "-L", &forward, "127.0.0.1"]);
    let mut master = master.stderr(Stdio::null()).spawn().unwrap();
    let waiting = async {
        while !std::path::Path::new(&control).exists() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(60), waiting).await.unwrap();
    let sessions: Vec<_> = (0..20)
        .map(|n| {
            let mut command = proxy.command("ssh");
            command.args(["-S", &control, "127.0.0.1", &format!("cat; echo {n}")]);
            tokio::spawn(async move { run(&mut command).await })
        })
        .collect();
    for (n, session) in sessions.into_iter().enumerate() {
        assert_eq!(text(&session.await.unwrap().stdout), format!("{n}\n"));
    }
    // What answers at the forwarded port is sshd itself.
    let mut stream = TcpStream::connect(("127.0.0.1", forwarded)).await.unwrap();
    let mut version = [0; 8];
    let read = tokio::io::AsyncReadExt::read_exact(&mut stream, &mut version);
    timeout(Duration::from_secs(60), read)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(&version, b"SSH-2.0-");
    master.kill().await.unwrap();
    proxy.assert_no_violations();
}
