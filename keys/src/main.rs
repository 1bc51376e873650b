//! `bastion-keygen`: makes the SSH keys that Pomerium and bastion need, shows them for Pomerium
//! Zero, issues certificates and inspects them.
//!
//! Exit status 0 on success, 1 for anything that went wrong, 2 for a wrong command line.

#![forbid(unsafe_code)]

mod command;

use clap::{Parser, Subcommand};
use command::{inspect, issue, make, sandbox, show};
use std::io::{self, Write};
use std::process::ExitCode;

#[derive(Parser)]
#[command(
    version,
    args_conflicts_with_subcommands = true,
    about = "Makes the SSH keys that Pomerium and bastion need",
    long_about = "Makes the SSH keys that Pomerium and bastion need: the Pomerium User CA, which \
        signs users' certificates, and Pomerium's host keys. Installs the CA's public key where \
        bastion reads it. Existing keys are kept, never overwritten; a second run completes what \
        is missing. What root makes belongs to the owner of the folder it is in.",
    after_help = make::ROTATION
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    make: make::Arguments,
}

#[derive(Subcommand)]
enum Command {
    /// Print Pomerium's private keys, as Pomerium Zero's SSH settings ask for them
    Show(show::Arguments),
    /// Sign a certificate: for a login without Pomerium, or for a test
    Issue(issue::Arguments),
    /// Make the keys between OpenClaw and the sandbox of its subagents
    Sandbox(sandbox::Arguments),
    /// Print what a key or a certificate says
    Inspect(inspect::Arguments),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let mut out = io::stdout().lock();
    let done = match cli.command {
        None => make::run(&cli.make, &mut out),
        Some(Command::Show(arguments)) => show::run(&arguments, &mut out),
        Some(Command::Issue(arguments)) => issue::run(&arguments, &mut out),
        Some(Command::Sandbox(arguments)) => sandbox::run(&arguments, &mut out),
        Some(Command::Inspect(arguments)) => inspect::run(&arguments, &mut out),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read our output has read enough.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            // Not eprintln, which panics where nobody reads: the exit status still tells.
            writeln!(io::stderr(), "bastion-keygen: {error}").unwrap_or_default();
            ExitCode::FAILURE
        }
    }
}

/// Only output fails with a bare `io::Error`; files have errors of their own.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<io::Error>();
    error.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
