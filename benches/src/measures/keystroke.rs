//! From a key pressed to its echo, with nothing else to do and beside bulk transfers.

use std::process::Child;

use crate::client::{Job, Work};
use crate::numbers::percentile;
use crate::openssh;
use crate::report::{Report, Target};
use crate::server::Server;
use crate::subject::Bench;

const ROUNDS: usize = 15;
const TRANSFERS: usize = 8;

pub(super) fn measure(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    let servers = bench.servers()?;
    for (transfers, beside) in [
        (0, "idle"),
        (bench.count(TRANSFERS, 2), "beside bulk transfers"),
    ] {
        let count = bench.count(500, 5);
        let [median, slowest] = bench.in_turns(&servers, ROUNDS, |server| {
            let _transfers = Transfers::start(bench, server, transfers)?;
            // The terminal passes bytes on as they are, and cat sends each back.
            let command = "stty raw -echo; echo ready; exec cat".to_owned();
            let outcome = Job::new(bench, server, Work::Keystrokes { count, command }).run()?;
            Ok([
                percentile(&outcome.each, 0.5) * 1e3,
                percentile(&outcome.each, 0.99) * 1e3,
            ])
        })?;
        report.add(
            format!("keystroke and echo, {beside}: p50"),
            "ms",
            median,
            Target::AtMost(1.0),
        );
        report.add(
            format!("keystroke and echo, {beside}: p99"),
            "ms",
            slowest,
            Target::AtMost(1.0),
        );
    }
    Ok(())
}

struct Transfers(Vec<Child>);

impl Transfers {
    fn start(bench: &Bench, server: &Server, count: usize) -> anyhow::Result<Self> {
        let mut all = Self(Vec::new());
        for _ in 0..count {
            let mut ssh = openssh::client("ssh", bench, server);
            ssh.args(["127.0.0.1", "exec cat /dev/zero"])
                .stderr(std::process::Stdio::null());
            all.0.push(ssh.spawn()?);
        }
        // Until all have begun.
        std::thread::sleep(std::time::Duration::from_millis(
            bench.count(1000, 300) as u64
        ));
        Ok(all)
    }
}

impl Drop for Transfers {
    fn drop(&mut self) {
        for ssh in &mut self.0 {
            // It may be gone by itself.
            let _gone = ssh.kill();
            let _gone = ssh.wait();
        }
    }
}
