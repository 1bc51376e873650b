//! A whole visit: login, `true`, exit.

use std::path::Path;

use nix::sys::resource::{Usage, UsageWho, getrusage};
use nix::sys::time::TimeValLike;

use super::handshake::settle;
use crate::client::{Job, Work};
use crate::numbers::milliseconds;
use crate::report::{Report, Target};
use crate::subject::Bench;

const ROUNDS: usize = 7;

pub(super) fn measure(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    let servers = bench.servers()?;
    let count = bench.count(60, 2);
    let [cpu, own, median, slowest] = bench.in_turns(&servers, ROUNDS, |server| {
        let before = server.cpu()?;
        let outcome = Job::new(
            bench,
            server,
            Work::Commands {
                count,
                command: "true".into(),
            },
        )
        .run()?;
        settle();
        let cpu = milliseconds(server.cpu()? - before) / count as f64;
        let own = cpu - shell(&bench.fixture.shell, count)?;
        Ok([cpu, own, outcome.percentile(0.5), outcome.percentile(0.99)])
    })?;
    report.add(
        "login, `true`, exit: CPU, the account's shell included",
        "ms",
        cpu,
        Target::AtMost(1.0 / 6.0),
    );
    report.add(
        "login, `true`, exit: CPU without the shell's own",
        "ms",
        own,
        Target::AtMost(1.0 / 6.0),
    );
    report.add("login, `true`, exit: p50", "ms", median, Target::None);
    report.add("login, `true`, exit: p99", "ms", slowest, Target::None);
    Ok(())
}

/// Milliseconds of processor time that the account's shell takes for the command by itself: what
/// is the same under every server.
fn shell(shell: &Path, count: usize) -> anyhow::Result<f64> {
    let before = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    for _ in 0..count {
        let mut command = std::process::Command::new(shell);
        command
            .args(["-c", "true"])
            .env_clear()
            .stdin(std::process::Stdio::null());
        command.status()?;
    }
    let after = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let of = |usage: Usage| {
        [usage.user_time(), usage.system_time()]
            .map(|time| time.num_microseconds())
            .iter()
            .sum::<i64>()
    };
    Ok((of(after) - of(before)) as f64 / 1e3 / count as f64)
}
