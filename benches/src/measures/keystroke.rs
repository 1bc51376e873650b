//! From a key pressed to its echo, with nothing else to do and beside bulk transfers.

use std::process::Child;
use std::time::Duration;

use anyhow::ensure;

use crate::client::{Job, Work};
use crate::openssh;
use crate::report::{Report, Target};
use crate::server::Server;
use crate::subject::Bench;

const ROUNDS: usize = 15;
const TRANSFERS: usize = 8;

/// How somebody types.
struct Typing {
    what: &'static str,
    beside: usize,
    keys: usize,
    /// After each echo.
    pause: Duration,
}

pub(super) fn measure(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    let servers = bench.servers()?;
    let beside = bench.count(TRANSFERS, 2);
    for typing in [
        Typing {
            what: "idle",
            beside: 0,
            keys: bench.count(1500, 5),
            pause: Duration::ZERO,
        },
        Typing {
            what: "beside bulk transfers",
            beside,
            keys: bench.count(500, 5),
            pause: Duration::ZERO,
        },
        // Nobody presses the next key at the echo.
        Typing {
            what: "beside bulk transfers, a key every 10 ms",
            beside,
            keys: bench.count(300, 5),
            pause: Duration::from_millis(10),
        },
    ] {
        let [median, slowest] =
            bench.in_turns(&servers, ROUNDS, |server| typing.run(bench, server))?;
        for (share, rounds) in [("p50", median), ("p99", slowest)] {
            let row = format!("keystroke and echo, {}: {share}", typing.what);
            report.add(row, "ms", rounds, Target::AtMost(1.0));
        }
    }
    Ok(())
}

impl Typing {
    /// p50 and p99, in milliseconds.
    fn run(&self, bench: &Bench, server: &Server) -> anyhow::Result<[f64; 2]> {
        let mut transfers = Transfers::start(bench, server, self.beside)?;
        let work = Work::Keystrokes {
            count: self.keys,
            pause: self.pause,
            // The terminal passes bytes on as they are, and cat sends each back.
            command: "stty raw -echo; echo ready; exec cat".to_owned(),
        };
        let outcome = Job::new(bench, server, work).run()?;
        ensure!(transfers.go_on()?, "a transfer ended before the keys did");
        Ok([0.5, 0.99].map(|share| outcome.percentile(share)))
    }
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
        std::thread::sleep(Duration::from_millis(bench.count(1000, 300) as u64));
        Ok(all)
    }

    /// Whether all do.
    fn go_on(&mut self) -> std::io::Result<bool> {
        for ssh in &mut self.0 {
            if ssh.try_wait()?.is_some() {
                return Ok(false);
            }
        }
        Ok(true)
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
