//! bastion beside OpenSSH's sshd: on the same machine, with the same client, keys and
//! certificate, in turns. A figure alone means nothing on a noisy machine; a ratio does.
#![forbid(unsafe_code)]

mod accounting;
mod chart;
mod client;
mod fixture;
mod machine;
mod measures;
mod numbers;
mod openssh;
mod report;
mod scheduling;
mod server;
mod subject;

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Parser, Subcommand};
use measures::Measure;
use report::Report;
use subject::Bench;

/// Where the charts are that the README shows.
const CHARTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/charts");

/// Measures bastion beside sshd, prints a table and draws charts.
#[derive(Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct CommandLine {
    #[command(subcommand)]
    command: Option<Command>,
    /// What to measure; everything if nothing is named
    #[arg(value_enum)]
    measures: Vec<Measure>,
    /// Small numbers: whether every measure works, not what it says
    #[arg(long)]
    quick: bool,
    /// Leave sshd out
    #[arg(long)]
    without_sshd: bool,
    /// The server to measure; by default it is built like this program was
    #[arg(long, value_name = "FILE")]
    bastion: Option<PathBuf>,
    /// Where the charts go; by default beside this program's source, and nowhere if it is quick
    #[arg(long, value_name = "DIR")]
    charts: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Command {
    /// The load client, in a process of its own so that its work is not taken for the server's.
    #[command(hide = true)]
    Load { job: String },
}

fn main() -> anyhow::Result<()> {
    let CommandLine {
        command,
        measures,
        quick,
        without_sshd,
        bastion,
        charts,
    } = CommandLine::parse();
    if let Some(Command::Load { job }) = command {
        return client::run(&job);
    }
    machine::raise_descriptor_limit();
    let _group = scheduling::OneGroup::enter();
    let bastion = match bastion {
        Some(file) => file,
        None => server::build_bastion()?,
    };
    let bench = Bench::new(bastion, quick, without_sshd)?;
    let all = if measures.is_empty() {
        Measure::ALL.to_vec()
    } else {
        measures
    };
    let mut report = Report::new(!quick);
    // What was measured before is not lost with one that fails.
    let mut outcome = Ok(());
    for measure in all {
        eprintln!("measuring {measure:?} …");
        let measured = measure.run(&bench, &mut report);
        outcome = outcome.and(measured.with_context(|| format!("{measure:?}")));
    }
    println!("{}", machine::describe(&bench));
    println!("{report}");
    match charts {
        Some(folder) => report.draw(&folder)?,
        None if quick => {}
        None => report.draw(Path::new(CHARTS))?,
    }
    outcome
}
