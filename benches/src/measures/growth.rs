//! How a login's cost grows with the sessions that are open.

use super::handshake::settle;
use crate::chart::Chart;
use crate::client::{Job, Work};
use crate::machine;
use crate::numbers::milliseconds;
use crate::report::{Report, Target};
use crate::server::Kind;
use crate::subject::{Bench, Rounds};

const ROUNDS: usize = 3;

pub(super) fn measure(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    let mut rates = Chart::lines(
        "Logins a second beside open idle sessions, 4 clients",
        "open sessions",
        "logins/s",
    );
    let mut times = Chart::lines(
        "Time of a login beside open idle sessions, p50",
        "open sessions",
        "ms",
    );
    let steps = if bench.quick {
        vec![1, 3]
    } else {
        vec![10, 100, 1000, 4000]
    };
    // The last step is as large as descriptors permit.
    let possible = machine::terminals_possible().max(1000) / 1000 * 1000;
    for open in steps.into_iter().map(|open| open.min(possible)) {
        let (mut rate, mut time, mut cpu) =
            (Rounds::default(), Rounds::default(), Rounds::default());
        // One after the other: both at once would measure this machine's memory.
        for kind in [Kind::Bastion, Kind::Sshd] {
            if kind == Kind::Sshd && !bench.with_sshd() {
                continue;
            }
            let server = bench.start(kind)?;
            let idle = Work::Hold {
                count: open,
                // Ends with its connection, whoever serves it: sshd leaves a `sleep` behind.
                command: "exec cat".into(),
                terminal: true,
            };
            let _held = Job::new(bench, &server, idle).hold()?;
            let count = bench.count(if kind == Kind::Bastion { 1000 } else { 100 }, 4);
            for _ in 0..bench.count(ROUNDS, 1) {
                let outcome = Job::new(bench, &server, Work::Logins { count, at_once: 4 }).run()?;
                rate.of(kind).push(count as f64 / outcome.seconds);
                let before = server.cpu()?;
                let outcome = Job::new(
                    bench,
                    &server,
                    Work::Logins {
                        count: count / 4,
                        at_once: 1,
                    },
                )
                .run()?;
                settle();
                time.of(kind).push(outcome.percentile(0.5));
                cpu.of(kind)
                    .push(milliseconds(server.cpu()? - before) / (count / 4) as f64);
            }
        }
        rates.add(open as f64, &rate);
        times.add(open as f64, &time);
        report.add(
            format!("beside {open} open sessions: logins/s, 4 clients"),
            "1/s",
            rate,
            Target::None,
        );
        report.add(
            format!("beside {open} open sessions: a login, p50"),
            "ms",
            time,
            Target::None,
        );
        report.add(
            format!("beside {open} open sessions: a login, server CPU"),
            "ms",
            cpu,
            Target::None,
        );
    }
    report.chart("growth-rate.svg", rates);
    report.chart("growth-latency.svg", times);
    Ok(())
}
