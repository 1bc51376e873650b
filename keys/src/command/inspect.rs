//! `bastion-keygen inspect`: what a key or a certificate says.

use anyhow::bail;
use keys::file;
use keys::inspect::{self, Inspected};
use std::io::Write;
use std::path::PathBuf;

#[derive(clap::Args)]
#[command(
    about = "Print what a key or a certificate says, as `ssh-keygen -l` and `-L` do",
    long_about = "Print what a key or a certificate says, as `ssh-keygen -l` and `-L` do, with \
        times in UTC. Of a private key it prints its public half only. A certificate whose \
        signature is wrong is printed, and then reported as an error."
)]
pub(crate) struct Arguments {
    /// A private key, or lines of public keys and certificates
    file: PathBuf,
}

pub(crate) fn run(arguments: &Arguments, out: &mut impl Write) -> anyhow::Result<()> {
    let path = arguments.file.display();
    let entries = match inspect::inspect(&file::read_text(&arguments.file)?) {
        Ok(entries) if entries.is_empty() => bail!("{path} holds no key"),
        Ok(entries) => entries,
        Err((1, error)) => bail!("{path} {error}"),
        Err((line, error)) => bail!("{path}, line {line}, {error}"),
    };
    for (line, entry) in &entries {
        match (entry, line) {
            (Inspected::Key(_), _) => writeln!(out, "{entry}")?,
            (Inspected::Certificate(_), 1) => write!(out, "{path}:\n{entry}")?,
            (Inspected::Certificate(_), line) => write!(out, "{path}:{line}:\n{entry}")?,
        }
    }
    for (line, entry) in &entries {
        if let Err(error) = entry.verify() {
            bail!("{path}, line {line}, holds a certificate that is of no use: {error}");
        }
    }
    Ok(())
}
