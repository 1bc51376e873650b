//! The command line of bastion. It serves unless told otherwise.
#![forbid(unsafe_code)]

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use bastion::config::{self, Config, LogFormat, Overrides};
use clap::{Args, Parser, Subcommand};

/// An SSH server for holders of certificates signed by the Pomerium User CA.
#[derive(Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
struct CommandLine {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: Serve,
}

#[derive(Subcommand)]
enum Command {
    /// Check the configuration and say what is wrong with it.
    CheckConfig(Serve),
    /// Ask the running server, and another service if given, whether they are well.
    Healthcheck(Healthcheck),
    #[command(hide = true)]
    SftpServer(bastion::sftp::Options),
}

/// What to serve; each wins over the configuration.
#[derive(Args, Clone)]
struct Serve {
    /// The configuration; by default /etc/bastion/bastion.toml, if it is there
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// An address and port to listen on (may be given several times)
    #[arg(long, value_name = "IP:PORT")]
    listen: Vec<SocketAddr>,
    /// A file of public keys: who may sign certificates
    #[arg(long, value_name = "FILE")]
    trusted_user_ca_keys: Option<PathBuf>,
    /// The folder of the host keys; they are made where missing
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// A login name, and the account that it stands for if that has another name (may be given several times)
    #[arg(long, value_name = "NAME[=ACCOUNT]", value_parser = login)]
    login: Vec<(String, String)>,
    /// How events are written to standard output
    #[arg(long, value_enum)]
    log_format: Option<LogFormat>,
}

/// Whom to ask.
#[derive(Args)]
struct Healthcheck {
    /// The configuration of the server; by default /etc/bastion/bastion.toml, if it is there
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The address that the server listens on [default: the first of the configuration]
    #[arg(long, value_name = "IP:PORT")]
    listen: Option<SocketAddr>,
    /// A page that has to answer too, such as http://127.0.0.1:18789/healthz (may be given several times)
    #[arg(long, value_name = "URL")]
    http: Vec<String>,
    /// How long each may take
    #[arg(long, value_name = "TIME", default_value = "4s", value_parser = humantime::parse_duration)]
    timeout: std::time::Duration,
}

fn login(text: &str) -> Result<(String, String), String> {
    let (name, account) = text.split_once('=').unwrap_or((text, text));
    match name.is_empty() || account.is_empty() {
        true => Err("neither the login name nor the account can be empty".into()),
        false => Ok((name.into(), account.into())),
    }
}

impl Serve {
    fn source(self) -> config::Source {
        let Self {
            config,
            listen,
            trusted_user_ca_keys,
            state_dir,
            login,
            log_format,
        } = self;
        let overrides = Overrides {
            listen,
            trusted_user_ca_keys,
            state_dir,
            logins: login,
            log_format,
        };
        config::Source {
            file: config,
            overrides,
        }
    }
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
        None => Ok(bastion::monitor::run(serve.source())?),
        Some(Command::CheckConfig(serve)) => check_config(serve),
        Some(Command::Healthcheck(whom)) => healthcheck(whom),
        Some(Command::SftpServer(options)) => Ok(bastion::sftp::run(&options)?),
    }
}

fn check_config(serve: Serve) -> anyhow::Result<()> {
    let config = serve.source().load()?;
    for line in bastion::monitor::check(&config)? {
        println!("bastion: {line}");
    }
    println!("bastion: the configuration is good");
    Ok(())
}

fn healthcheck(whom: Healthcheck) -> anyhow::Result<()> {
    let Healthcheck {
        config,
        listen,
        http,
        timeout,
    } = whom;
    let listen = match listen {
        Some(address) => vec![address],
        None => Config::load(config.as_deref(), Overrides::default())?.listen,
    };
    for &address in listen.iter().take(1) {
        bastion::healthcheck::ssh(address, timeout)?;
        println!("SSH at port {} is well", address.port());
    }
    for url in http {
        bastion::healthcheck::http(&url, timeout)?;
        println!("{url} is well");
    }
    Ok(())
}
