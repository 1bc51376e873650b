//! The same login with each kind of host key.

use super::handshake::settle;
use crate::client::{HostKey, Job, Work};
use crate::numbers::milliseconds;
use crate::report::{Report, Target};
use crate::server::Kind;
use crate::subject::Bench;

const ROUNDS: usize = 5;

pub(super) fn measure(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    let servers = bench.servers()?;
    for kind in [HostKey::Ed25519, HostKey::Ecdsa, HostKey::Rsa] {
        let [cpu] = bench.in_turns(&servers, ROUNDS, |server| {
            let count = bench.count(
                if server.kind == Kind::Bastion {
                    200
                } else {
                    40
                },
                2,
            );
            let job =
                Job::new(bench, server, Work::Logins { count, at_once: 1 }).with_host_key(kind);
            let before = server.cpu()?;
            job.run()?;
            settle();
            Ok([milliseconds(server.cpu()? - before) / count as f64])
        })?;
        report.add(
            format!("login, X25519, host key {kind:?}: server CPU"),
            "ms",
            cpu,
            Target::None,
        );
    }
    Ok(())
}
