//! Bytes through a command, by OpenSSH's client.

use std::process::{Command, Stdio};

use anyhow::Context;

use crate::numbers::short;
use crate::openssh;
use crate::report::{Report, Target};
use crate::server::Server;
use crate::subject::Bench;

const ROUNDS: usize = 5;
const MIB: f64 = (1 << 20) as f64;
const CIPHERS: [(&str, &str); 2] = [
    ("aes256-gcm", "aes256-gcm@openssh.com"),
    ("chacha20", "chacha20-poly1305@openssh.com"),
];

pub(super) fn measure(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    let servers = bench.servers()?;
    let bytes = bench.count(1 << 30, 8 << 20);
    for (name, cipher) in CIPHERS {
        for up in [false, true] {
            let [speed, cpu] = bench.in_turns(&servers, ROUNDS, |server| {
                let before = server.cpu()?;
                let took = transfer(bench, server, cipher, bytes, up)?;
                let cpu = (server.cpu()? - before).as_secs_f64();
                Ok([
                    bytes as f64 / MIB / took,
                    cpu / (bytes as f64 / MIB / 1024.0),
                ])
            })?;
            let what = format!(
                "{} MiB {}, {name}",
                short(bytes as f64 / MIB),
                if up { "up" } else { "down" }
            );
            report.add(
                format!("{what}: speed"),
                "MiB/s",
                speed,
                Target::AtLeast(1.0),
            );
            report.add(
                format!("{what}: server CPU"),
                "s/GiB",
                cpu,
                Target::AtMost(1.0),
            );
        }
    }
    Ok(())
}

/// Seconds.
fn transfer(
    bench: &Bench,
    server: &Server,
    cipher: &str,
    bytes: usize,
    up: bool,
) -> anyhow::Result<f64> {
    let mut ssh = openssh::client("ssh", bench, server);
    ssh.args(["-c", cipher, "127.0.0.1"]);
    if !up {
        ssh.arg(server.uncounted(&format!("exec head -c {bytes} /dev/zero")));
        return Ok(openssh::time(&mut ssh)?.as_secs_f64());
    }
    ssh.arg(server.uncounted("exec cat > /dev/null"));
    let mut zeros = Command::new("head");
    zeros
        .arg("-c")
        .arg(bytes.to_string())
        .arg("/dev/zero")
        .stdout(Stdio::piped());
    let mut zeros = zeros.spawn()?;
    ssh.stdin(zeros.stdout.take().context("no output")?);
    let took = openssh::time(&mut ssh);
    zeros.wait()?;
    Ok(took?.as_secs_f64())
}
