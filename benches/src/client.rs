//! The load client: logins, commands, open sessions and keystrokes by russh's client, in a
//! process of its own.

use std::borrow::Cow;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use russh::client::{self, Handle, Msg};
use russh::keys::{
    Algorithm, Certificate, EcdsaCurve, HashAlg, PrivateKey, PublicKeyOrCertificate,
};
use russh::{Channel, ChannelMsg, Disconnect, Preferred, kex};
use serde::{Deserialize, Serialize};

use crate::numbers::percentile;
use crate::scheduling;
use crate::server::Server;
use crate::subject::Bench;

/// No single answer takes this long.
const PATIENCE: Duration = Duration::from_secs(60);
/// As many as a server of two processors opens at once without anybody waiting long.
const HELD_AT_ONCE: usize = 8;

/// What the client is to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Job {
    server: SocketAddr,
    login: String,
    key: PathBuf,
    certificate: PathBuf,
    pub(crate) kex: Kex,
    pub(crate) host_key: HostKey,
    pub(crate) work: Work,
}

/// The key exchange to insist on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Kex {
    MlKem,
    Curve25519,
}

/// The kind of host key to insist on.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) enum HostKey {
    Ed25519,
    Ecdsa,
    Rsa,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Work {
    /// Log in and leave, so many times, so many at once.
    Logins { count: usize, at_once: usize },
    /// Log in, run this, leave.
    Commands { count: usize, command: String },
    /// Open so many sessions that run this, at a terminal or not, and keep them until told to end.
    Hold {
        count: usize,
        command: String,
        terminal: bool,
    },
    /// Send single bytes to this command's terminal and wait for each to come back, and then so
    /// long until the next.
    Keystrokes {
        count: usize,
        pause: Duration,
        command: String,
    },
}

/// What came of it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Outcome {
    /// All of it together, in seconds.
    pub(crate) seconds: f64,
    /// Each by itself, in seconds.
    pub(crate) each: Vec<f64>,
}

impl Outcome {
    /// What this share of `each` does not exceed, in milliseconds.
    pub(crate) fn percentile(&self, share: f64) -> f64 {
        percentile(&self.each, share) * 1e3
    }
}

impl Job {
    pub(crate) fn new(bench: &Bench, server: &Server, work: Work) -> Self {
        let fixture = &bench.fixture;
        Self {
            server: server.address,
            login: fixture.login.clone(),
            key: fixture.user_key(),
            certificate: fixture.certificate(),
            kex: Kex::Curve25519,
            host_key: HostKey::Ed25519,
            work,
        }
    }

    pub(crate) fn with_kex(self, kex: Kex) -> Self {
        Self { kex, ..self }
    }

    pub(crate) fn with_host_key(self, host_key: HostKey) -> Self {
        Self { host_key, ..self }
    }

    /// Does it in another process, to the end.
    pub(crate) fn run(&self) -> anyhow::Result<Outcome> {
        Running::start(self)?.finish()
    }

    /// Does it in another process until that is dropped; returns when all sessions are open.
    pub(crate) fn hold(&self) -> anyhow::Result<Running> {
        let mut running = Running::start(self)?;
        running.wait_for_line()?;
        Ok(running)
    }
}

/// A load client that runs. It ends when its standard input does.
pub(crate) struct Running {
    child: Child,
    output: BufReader<std::process::ChildStdout>,
}

impl Running {
    fn start(job: &Job) -> anyhow::Result<Self> {
        let program = std::env::current_exe()?;
        let mut command = match job.work {
            Work::Keystrokes { .. } => scheduling::ahead_of_all(&program),
            _ => Command::new(&program),
        };
        command.arg("load").arg(serde_json::to_string(job)?);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let output = BufReader::new(child.stdout.take().context("no output")?);
        Ok(Self { child, output })
    }

    fn wait_for_line(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        ensure!(!line.is_empty(), "the load client failed");
        Ok(line)
    }

    fn finish(mut self) -> anyhow::Result<Outcome> {
        Ok(serde_json::from_str(&self.wait_for_line()?)?)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        // Whether it ended well was seen in what it said.
        let _ended = self.child.wait();
    }
}

/// The other process.
pub(crate) fn run(job: &str) -> anyhow::Result<()> {
    let job: Job = serde_json::from_str(job)?;
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .build()?;
    runtime.block_on(work(&Arc::new(Client::new(job)?)))
}

async fn work(client: &Arc<Client>) -> anyhow::Result<()> {
    let outcome = match client.job.work.clone() {
        Work::Logins { count, at_once } => logins(client, count, at_once).await?,
        Work::Commands { count, command } => {
            let mut outcome = Outcome::default();
            for _ in 0..count {
                outcome.each.push(run_command(client, &command).await?);
            }
            outcome.seconds = outcome.each.iter().sum();
            outcome
        }
        Work::Hold {
            count,
            command,
            terminal,
        } => return hold(client, count, &command, terminal).await,
        Work::Keystrokes {
            count,
            pause,
            command,
        } => keystrokes(client, count, pause, &command).await?,
    };
    println!("{}", serde_json::to_string(&outcome)?);
    Ok(())
}

struct Client {
    job: Job,
    config: Arc<client::Config>,
    key: Arc<PrivateKey>,
    certificate: Certificate,
}

struct TrustsAnyServer;

impl client::Handler for TrustsAnyServer {
    type Error = russh::Error;

    async fn check_server_key(&mut self, _: &PublicKeyOrCertificate) -> Result<bool, russh::Error> {
        Ok(true)
    }
}

impl Client {
    fn new(job: Job) -> anyhow::Result<Self> {
        let key = Arc::new(russh::keys::load_secret_key(&job.key, None)?);
        let certificate = russh::keys::load_openssh_certificate(&job.certificate)?;
        let exchange = match job.kex {
            Kex::MlKem => kex::MLKEM768X25519_SHA256,
            Kex::Curve25519 => kex::CURVE25519,
        };
        let host_key = match job.host_key {
            HostKey::Ed25519 => Algorithm::Ed25519,
            HostKey::Ecdsa => Algorithm::Ecdsa {
                curve: EcdsaCurve::NistP256,
            },
            HostKey::Rsa => Algorithm::Rsa {
                hash: Some(HashAlg::Sha512),
            },
        };
        let preferred = Preferred {
            kex: Cow::Owned(vec![exchange, kex::EXTENSION_OPENSSH_STRICT_KEX_AS_CLIENT]),
            key: Cow::Owned(vec![host_key]),
            ..Preferred::DEFAULT
        };
        let config = client::Config {
            preferred,
            nodelay: true,
            ..client::Config::default()
        };
        Ok(Self {
            job,
            config: Arc::new(config),
            key,
            certificate,
        })
    }

    async fn log_in(&self) -> anyhow::Result<Handle<TrustsAnyServer>> {
        let mut session =
            client::connect(self.config.clone(), self.job.server, TrustsAnyServer).await?;
        let (login, key) = (self.job.login.clone(), self.key.clone());
        let answer = session
            .authenticate_openssh_cert(login, key, self.certificate.clone())
            .await?;
        ensure!(answer.success(), "the login was refused");
        Ok(session)
    }
}

async fn leave(session: Handle<TrustsAnyServer>) -> anyhow::Result<()> {
    session
        .disconnect(Disconnect::ByApplication, "", "")
        .await?;
    // The server closes the connection: its work on it is done.
    tokio::time::timeout(PATIENCE, session)
        .await?
        .or_else(|error| match error {
            russh::Error::IO(_) | russh::Error::Disconnect | russh::Error::HUP => Ok(()),
            other => bail!(other),
        })
}

async fn logins(client: &Arc<Client>, count: usize, at_once: usize) -> anyhow::Result<Outcome> {
    let left = Arc::new(AtomicUsize::new(count));
    let started = Instant::now();
    let mut tasks = Vec::new();
    for _ in 0..at_once {
        let (client, left) = (client.clone(), left.clone());
        tasks.push(tokio::spawn(async move {
            let mut each = Vec::new();
            while left
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                    left.checked_sub(1)
                })
                .is_ok()
            {
                let begun = Instant::now();
                let session = tokio::time::timeout(PATIENCE, client.log_in()).await??;
                each.push(begun.elapsed().as_secs_f64());
                leave(session).await?;
            }
            anyhow::Ok(each)
        }));
    }
    let mut outcome = Outcome::default();
    for task in tasks {
        outcome.each.extend(task.await??);
    }
    outcome.seconds = started.elapsed().as_secs_f64();
    Ok(outcome)
}

async fn run_command(client: &Client, command: &str) -> anyhow::Result<f64> {
    let started = Instant::now();
    let session = client.log_in().await?;
    let mut channel = session.channel_open_session().await?;
    channel.exec(true, command).await?;
    let mut status = None;
    while let Some(message) = tokio::time::timeout(PATIENCE, channel.wait()).await? {
        if let ChannelMsg::ExitStatus { exit_status } = message {
            status = Some(exit_status);
        }
    }
    ensure!(status == Some(0), "{command} ended with {status:?}");
    let took = started.elapsed();
    leave(session).await?;
    Ok(took.as_secs_f64())
}

/// Opened several at a time: with sshd one after another takes minutes.
async fn hold(
    client: &Arc<Client>,
    count: usize,
    command: &str,
    terminal: bool,
) -> anyhow::Result<()> {
    let mut held = Vec::new();
    while held.len() < count {
        let opening = (held.len()..count).take(HELD_AT_ONCE).map(|_| {
            let (client, command) = (client.clone(), command.to_owned());
            tokio::spawn(async move { open(&client, &command, terminal).await })
        });
        for opened in opening.collect::<Vec<_>>() {
            held.push(opened.await??);
        }
    }
    println!("ready");
    tokio::task::spawn_blocking(|| std::io::stdin().lines().for_each(drop)).await?;
    // The sockets are closed with this process.
    std::process::exit(0)
}

/// A session that runs this.
async fn open(
    client: &Client,
    command: &str,
    terminal: bool,
) -> anyhow::Result<(Handle<TrustsAnyServer>, Channel<Msg>)> {
    let session = client.log_in().await?;
    let mut channel = session.channel_open_session().await?;
    if terminal {
        channel
            .request_pty(false, "xterm", 80, 24, 0, 0, &[])
            .await?;
    }
    channel.exec(true, command).await?;
    loop {
        match tokio::time::timeout(PATIENCE, channel.wait()).await? {
            Some(ChannelMsg::Success) => return Ok((session, channel)),
            Some(ChannelMsg::WindowAdjusted { .. }) => {}
            other => bail!("{command} was not started: {other:?}"),
        }
    }
}

async fn keystrokes(
    client: &Client,
    count: usize,
    pause: Duration,
    command: &str,
) -> anyhow::Result<Outcome> {
    let (session, mut channel) = open(client, command, true).await?;
    // The command says when it is there, and a first key is not counted: what echoes it is loaded
    // meanwhile.
    wait_for_data(&mut channel).await?;
    echo(&mut channel).await?;
    let mut outcome = Outcome::default();
    for _ in 0..count {
        outcome.each.push(echo(&mut channel).await?.as_secs_f64());
        // tokio's clock goes by milliseconds: without a pause it would wait for one.
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
    }
    outcome.seconds = outcome.each.iter().sum();
    leave(session).await?;
    Ok(outcome)
}

/// From a key to its echo.
async fn echo(channel: &mut Channel<Msg>) -> anyhow::Result<Duration> {
    let begun = Instant::now();
    channel.data(&b"x"[..]).await?;
    wait_for_data(channel).await?;
    Ok(begun.elapsed())
}

async fn wait_for_data(channel: &mut Channel<Msg>) -> anyhow::Result<()> {
    loop {
        match tokio::time::timeout(PATIENCE, channel.wait()).await? {
            Some(ChannelMsg::Data { .. }) => return Ok(()),
            Some(_) => {}
            None => bail!("the channel was closed"),
        }
    }
}
