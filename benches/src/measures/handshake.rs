//! Processor time that a server spends on one login by certificate, in all its processes.

use super::{bare_exchange, primitives};
use crate::client::{Job, Kex, Work};
use crate::numbers::milliseconds;
use crate::openssh;
use crate::report::{Report, Target};
use crate::server::{Kind, Server};
use crate::subject::{Bench, Rounds};

const ROUNDS: usize = 7;

pub(super) fn measure(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    let servers = bench.servers()?;
    let logins = |server: &Server| {
        bench.count(
            if server.kind == Kind::Bastion {
                600
            } else {
                60
            },
            5,
        )
    };
    for server in &servers {
        cpu_of_logins(bench, server, Kex::Curve25519, 20)?;
    }
    let [plain] = bench.in_turns(&servers, ROUNDS, |server| {
        Ok([cpu_of_logins(
            bench,
            server,
            Kex::Curve25519,
            logins(server),
        )?])
    })?;
    report.add(
        "login, X25519 on both: server CPU",
        "ms",
        plain,
        Target::AtMost(1.0 / 25.0),
    );
    // The primitives alone are in sshd's column.
    let mut least = Rounds::default();
    let [hybrid] = bench.in_turns(&servers, ROUNDS, |server| {
        Ok([match server.kind {
            Kind::Bastion => {
                let computed = primitives::of_a_login()?;
                let exchanged = bare_exchange::cpu_of_each(logins(server))?;
                least.sshd.push(computed);
                least.bastion.push(computed + exchanged);
                cpu_of_logins(bench, server, Kex::MlKem, logins(server))?
            }
            Kind::Sshd => cpu_of_its_own_choice(bench, server, bench.count(30, 2))?,
        }])
    })?;
    let beside_floor = Rounds {
        bastion: hybrid.bastion.clone(),
        sshd: least.sshd.clone(),
    };
    report.add(
        "login, ML-KEM + X25519 (sshd: what `ssh` chooses): server CPU",
        "ms",
        hybrid,
        Target::AtMost(1.0 / 25.0),
    );
    report.add(
        "the same beside the sum of its primitives (in sshd's column)",
        "ms",
        beside_floor,
        Target::AtMost(1.6),
    );
    report.add(
        "its primitives and a bare exchange of as many packets, beside the primitives alone (in sshd's column)",
        "ms",
        least,
        Target::None,
    );
    Ok(())
}

/// Milliseconds for each of so many logins that leave at once.
pub(super) fn cpu_of_logins(
    bench: &Bench,
    server: &Server,
    kex: Kex,
    count: usize,
) -> anyhow::Result<f64> {
    let job = Job::new(bench, server, Work::Logins { count, at_once: 1 }).with_kex(kex);
    let before = server.cpu()?;
    job.run()?;
    settle();
    Ok(milliseconds(server.cpu()? - before) / count as f64)
}

/// The same with OpenSSH's client, which has a hybrid exchange in common with any sshd. It leaves
/// as soon as it is logged in, because the server refuses to listen for it.
fn cpu_of_its_own_choice(bench: &Bench, server: &Server, count: usize) -> anyhow::Result<f64> {
    let before = server.cpu()?;
    for _ in 0..count {
        let mut ssh = openssh::client("ssh", bench, server);
        ssh.args([
            "-N",
            "-o",
            "ExitOnForwardFailure=yes",
            "-R",
            "203.0.113.1:1:127.0.0.1:1",
            "127.0.0.1",
        ]);
        // That it fails is how it ends.
        let _refused = openssh::time(&mut ssh);
    }
    settle();
    Ok(milliseconds(server.cpu()? - before) / count as f64)
}

/// Until what a server does after the client has gone is done.
pub(super) fn settle() {
    std::thread::sleep(std::time::Duration::from_millis(50));
}
