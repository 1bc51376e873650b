//! The command line of bastion. It serves unless told otherwise.
#![forbid(unsafe_code)]

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use bastion::config::{Config, Overrides, Source};
use bastion::healthcheck::listening;
use clap::{Args, Parser, Subcommand};

/// An SSH server for holders of certificates signed by the Pomerium User CA.
#[derive(Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
struct CommandLine {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: Source,
}

#[derive(Subcommand)]
enum Command {
    /// Check the configuration and say what is wrong with it.
    CheckConfig(Source),
    /// Ask the running server, and another service if given, whether they are well.
    Healthcheck(Healthcheck),
    #[command(hide = true)]
    SftpServer(bastion::sftp::Options),
}

/// Whom to ask.
#[derive(Args)]
struct Healthcheck {
    /// The configuration of the server; by default /etc/bastion/bastion.toml, if it is there
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The address that the server listens on [default: the first that it has written down in its state folder, or the configuration's]
    #[arg(long, value_name = "IP:PORT")]
    listen: Option<SocketAddr>,
    /// A page that has to answer too, such as http://127.0.0.1:18789/healthz (may be given several times)
    #[arg(long, value_name = "URL")]
    http: Vec<String>,
    /// How long each may take
    #[arg(long, value_name = "TIME", default_value = "4s", value_parser = humantime::parse_duration)]
    timeout: Duration,
}

fn main() -> ExitCode {
    // The parts that the monitor starts have no options: there is nothing to parse, and a session
    // keeps the memory that its start took for as long as it lives.
    let outcome = match std::env::args_os()
        .nth(1)
        .as_deref()
        .map(OsStr::as_encoded_bytes)
    {
        Some(b"gate") => bastion::gate::run().map_err(Into::into),
        Some(b"session") => bastion::session::run().map_err(Into::into),
        _ => run(CommandLine::parse()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bastion: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(CommandLine { command, serve }: CommandLine) -> anyhow::Result<()> {
    match command {
        None => Ok(bastion::monitor::run(serve)?),
        Some(Command::CheckConfig(source)) => check_config(source),
        Some(Command::Healthcheck(whom)) => healthcheck(whom),
        Some(Command::SftpServer(options)) => Ok(bastion::sftp::run(&options)?),
    }
}

fn check_config(source: Source) -> anyhow::Result<()> {
    let config = source.load()?;
    for line in bastion::monitor::check(&config)? {
        println!("bastion: {line}");
    }
    println!("bastion: the configuration is good");
    Ok(())
}

fn healthcheck(whom: Healthcheck) -> anyhow::Result<()> {
    let Healthcheck {
        config: file,
        listen,
        http,
        timeout,
    } = whom;
    let candidates = match listen {
        Some(address) => vec![address],
        None => where_it_may_listen(file)?,
    };
    ssh_is_well(&candidates, timeout)?;
    for url in http {
        bastion::healthcheck::http(&url, timeout)?;
        println!("{url} is well");
    }
    Ok(())
}

/// As the server has written it down, and as the configuration has it: either can be another's, one
/// that was started with the same folder or one that has not been started again.
fn where_it_may_listen(file: Option<PathBuf>) -> anyhow::Result<Vec<SocketAddr>> {
    let overrides = Overrides::default();
    let configured = Source { file, overrides }.load();
    let state_dir = match &configured {
        Ok(config) => config.state_dir.clone(),
        Err(_) => Config::default().state_dir,
    };
    let written = listening::first(&state_dir);
    let configured = match (configured, written) {
        (Ok(config), _) => config.listen.first().copied(),
        (Err(_), Some(_)) => None,
        (Err(error), None) => return Err(error.into()),
    };
    let more = configured.filter(|&address| written != Some(address));
    Ok(written.into_iter().chain(more).collect())
}

/// Whether the server is well at one of these addresses; if not, what is wrong at the first.
fn ssh_is_well(candidates: &[SocketAddr], timeout: Duration) -> anyhow::Result<()> {
    let mut wrong = None;
    for &address in candidates {
        match bastion::healthcheck::ssh(address, timeout) {
            Ok(()) => {
                println!("SSH at port {} is well", address.port());
                return Ok(());
            }
            Err(why) => wrong = wrong.or(Some(why)),
        }
    }
    wrong.map_or(Ok(()), |why| Err(why.into()))
}
