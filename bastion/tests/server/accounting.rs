//! After many sessions nothing is left: no zombie, no terminal, no descriptor.

use std::fs;
use std::process::Stdio;

use crate::support::{Server, children, descriptors, finish, status_field, wait_for};

const SESSIONS: usize = 1000;
/// At a time.
const PARALLEL: usize = 10;

#[test]
fn a_thousand_sessions_leave_nothing_behind() {
    let server = Server::start();
    let user = server.user();
    let run = |number: usize| {
        // A third with a terminal, a third without, a third that is cut off.
        let (arguments, command): (&[&str], _) = match number % 3 {
            0 => (&["-tt"], "tty"),
            1 => (&["-T"], "true"),
            _ => (&["-T"], "kill -9 $PPID"),
        };
        let mut ssh = server.ssh(&user, arguments);
        ssh.arg(command)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    };
    (0..PARALLEL)
        .map(run)
        .collect::<Vec<_>>()
        .into_iter()
        .for_each(|child| drop(finish(child)));
    let settled = || server.sessions().is_empty().then_some(());
    wait_for("the first sessions' end", settled);
    let (gate, monitor) = (server.gate(), server.pid());
    let ptys = || fs::read_dir("/dev/pts").unwrap().count();
    let before = (descriptors(monitor), descriptors(gate), ptys());
    for _ in 0..SESSIONS / PARALLEL {
        (0..PARALLEL)
            .map(run)
            .collect::<Vec<_>>()
            .into_iter()
            .for_each(|child| drop(finish(child)));
    }
    wait_for("all sessions' end", settled);
    assert_eq!(server.gate(), gate, "the gate has been restarted");
    let zombies = children(monitor)
        .into_iter()
        .filter(|&pid| status_field(pid, "State").unwrap().starts_with('Z'));
    assert_eq!(zombies.count(), 0);
    let same = || {
        let after = (descriptors(monitor), descriptors(gate));
        (after == (before.0, before.1)).then_some(())
    };
    wait_for("as many descriptors as before", same);
    // Other tests of this run open terminals, too.
    wait_for("as many terminals as before", || {
        (ptys() <= before.2 + 20).then_some(())
    });
}
