//! Memory of the server's processes for each idle session, without what the user runs.

use crate::client::{Job, Work};
use crate::report::{Report, Target};
use crate::subject::{Bench, Rounds};

pub(super) fn measure(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    let steps = if bench.quick { vec![3] } else { vec![50, 1000] };
    for count in steps {
        let mut each = Rounds::default();
        let servers = bench.servers()?;
        for server in &servers {
            let idle = server.memory()?;
            let work = Work::Hold {
                count,
                // Ends with its connection, whoever serves it: sshd leaves a `sleep` behind.
                command: "exec cat".into(),
                terminal: false,
            };
            let _held = Job::new(bench, server, work).hold()?;
            let all = server.memory()?;
            each.of(server.kind)
                .push((all - idle.min(all)) as f64 / count as f64 / 1024.0);
        }
        report.add(
            format!("memory (PSS) for each of {count} idle sessions"),
            "KiB",
            each,
            Target::AtMost(0.2),
        );
    }
    Ok(())
}
