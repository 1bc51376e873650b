//! From a server's start to its first accepted connection, and to the first login.

use std::time::Instant;

use crate::client::{Job, Work};
use crate::numbers::milliseconds;
use crate::report::{Report, Target};
use crate::server::Kind;
use crate::subject::{Bench, Rounds};

const ROUNDS: usize = 15;

pub(super) fn measure(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    let kinds = if bench.with_sshd() {
        vec![Kind::Bastion, Kind::Sshd]
    } else {
        vec![Kind::Bastion]
    };
    let (mut listening, mut first_login) = (Rounds::default(), Rounds::default());
    for _ in 0..bench.count(ROUNDS, 1) {
        for &kind in &kinds {
            let server = bench.start(kind)?;
            listening.of(kind).push(milliseconds(server.took_to_listen));
            let logged_in = Instant::now();
            Job::new(
                bench,
                &server,
                Work::Logins {
                    count: 1,
                    at_once: 1,
                },
            )
            .run()?;
            first_login
                .of(kind)
                .push(milliseconds(server.took_to_listen + logged_in.elapsed()));
        }
    }
    report.add("start to listening", "ms", listening, Target::AtMost(1.0));
    report.add(
        "start to first login (the client's own start included)",
        "ms",
        first_login,
        Target::AtMost(1.0),
    );
    Ok(())
}
