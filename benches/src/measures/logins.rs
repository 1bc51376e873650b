//! Logins a second, with more and more clients at once.

use crate::chart::Chart;
use crate::client::{Job, Work};
use crate::report::{Report, Target};
use crate::server::Kind;
use crate::subject::Bench;

const ROUNDS: usize = 3;

pub(super) fn measure(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    let servers = bench.servers()?;
    let mut chart = Chart::lines("Logins a second by clients at once", "clients", "logins/s");
    let steps = if bench.quick {
        vec![1, 4]
    } else {
        vec![1, 2, 4, 8, 16, 32, 64]
    };
    let (mut first, mut last) = (None, None);
    for at_once in steps {
        let [rounds] = bench.in_turns(&servers, ROUNDS, |server| {
            let count = bench
                .count(
                    if server.kind == Kind::Bastion {
                        2000
                    } else {
                        200
                    },
                    8,
                )
                .max(at_once * 2);
            let outcome = Job::new(bench, server, Work::Logins { count, at_once }).run()?;
            Ok([count as f64 / outcome.seconds])
        })?;
        chart.add(at_once as f64, &rounds);
        last = Some(rounds.clone());
        first.get_or_insert(rounds.clone());
        report.add(
            format!("logins/s, {at_once} clients, X25519"),
            "1/s",
            rounds,
            Target::AtLeast(10.0),
        );
    }
    if let (Some(first), Some(last)) = (first, last) {
        let flat = crate::subject::Rounds {
            bastion: last.bastion,
            sshd: first.bastion,
        };
        report.add(
            "bastion with most clients beside itself with 1 (in sshd's column)",
            "1/s",
            flat,
            Target::AtLeast(1.0),
        );
    }
    report.chart("logins.svg", chart);
    Ok(())
}
