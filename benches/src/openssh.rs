//! OpenSSH's own clients, for what they are the yardstick of: bytes.

use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::ensure;

use crate::server::Server;
use crate::subject::Bench;

/// `ssh` or `sftp`, logging in to this server.
pub(crate) fn client(program: &str, bench: &Bench, server: &Server) -> Command {
    let fixture = &bench.fixture;
    let mut command = Command::new(program);
    command.args([
        "-F",
        "none",
        "-q",
        "-o",
        "BatchMode=yes",
        "-o",
        "IdentitiesOnly=yes",
    ]);
    command.args([
        "-o",
        "StrictHostKeyChecking=no",
        "-o",
        "UserKnownHostsFile=/dev/null",
    ]);
    command
        .arg("-o")
        .arg(format!("IdentityFile={}", fixture.user_key().display()));
    command.arg("-o").arg(format!(
        "CertificateFile={}",
        fixture.certificate().display()
    ));
    command
        .arg("-o")
        .arg(format!("Port={}", server.address.port()));
    command.arg("-o").arg(format!("User={}", fixture.login));
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    command
}

/// Runs a client to its end; how long that took.
pub(crate) fn time(command: &mut Command) -> anyhow::Result<Duration> {
    let started = Instant::now();
    let Output { status, stderr, .. } = command.output()?;
    let took = started.elapsed();
    ensure!(
        status.success(),
        "{command:?}: {status}: {}",
        String::from_utf8_lossy(&stderr)
    );
    Ok(took)
}
