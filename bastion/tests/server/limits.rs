//! What a client, or a crowd of them, can use up.

use std::io::Read;
use std::net::TcpStream;
use std::process::Command;

use crate::support::{LIMIT, Server, as_root, output, text, wait_for};

/// A connection of somebody who says nothing.
fn silent(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(server.address).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream
}

/// Waits until the server has closed a connection.
fn is_closed(mut stream: TcpStream) {
    let mut greeting = Vec::new();
    // A reset is an end, too.
    let _end = stream.read_to_end(&mut greeting);
    assert!(greeting.len() < 256, "{}", text(&greeting));
}

/// Those who only sit there make room for those who log in.
#[test]
fn a_crowd_of_silent_connections_locks_nobody_out() {
    let mut server = Server::start_with("max_startups = 10\nlogin_grace_time = \"1h\"", &[]);
    let mut crowd: Vec<_> = (0..30).map(|_| silent(&server)).collect();
    for _ in 0..3 {
        assert_eq!(server.run("echo in").stdout, b"in\n");
        crowd.extend((0..10).map(|_| silent(&server)));
    }
    let made_room = |event: &serde_json::Value| {
        event["reason"] == "made room for others that are not logged in"
    };
    server.event("connection_closed", made_room);
    let still_there = crowd.split_off(crowd.len() - 10);
    crowd.into_iter().for_each(is_closed);
    drop(still_there);
    assert_eq!(server.run("echo in").stdout, b"in\n");
}

#[test]
fn one_source_may_have_less_than_all() {
    let server = Server::start_with(
        "per_source_max_startups = 2\nlogin_grace_time = \"1h\"",
        &[],
    );
    let two = [silent(&server), silent(&server)];
    for mut stream in &two {
        assert_eq!(stream.read(&mut [0; 4]).unwrap(), 4);
    }
    is_closed(silent(&server));
    drop(two);
    wait_for("a place", || {
        let output = server.run("echo in");
        (output.stdout == b"in\n").then_some(())
    });
}

/// The monitor and the gate may hold many descriptors; programs get what bastion was started with.
#[test]
fn programs_may_hold_as_many_descriptors_as_whoever_started_bastion() {
    let ask = "ulimit -Sc; ulimit -Hc; ulimit -Sn; ulimit -Hn";
    let limits = Command::new("sh").args(["-c", ask]).output().unwrap();
    let server = Server::start();
    let [theirs, ours] = [server.run(ask), limits].map(|run| text(&run.stdout));
    let words = |of: &str| of.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let (theirs, ours) = (words(&theirs), words(&ours));
    assert_eq!(theirs[..2], ours[..2], "core dumps");
    // Half is left to the session processes: without any they could hand over none.
    let number = |word: &String| word.parse::<u64>().unwrap();
    let most = number(&ours[3]) / 2;
    assert_eq!(number(&theirs[3]), most);
    assert_eq!(number(&theirs[2]), number(&ours[2]).min(most));
}

/// A shell can always be started, whose own `kill` ends the others; but it cannot start more than there may be.
#[test]
fn an_account_has_no_more_processes_than_it_may() {
    if !as_root() {
        eprintln!("skipped: not root");
        return;
    }
    // The superuser's processes are not counted.
    let server = Server::start_as_ordinary_with("bastion-test", "max_processes = 25");
    let user = server.user();
    let bomb = "for i in $(seq 100); do sleep 31415 > /dev/null 2>&1 & done; echo never";
    let bombed = output(server.ssh(&user, &[]).arg(bomb));
    assert!(!text(&bombed.stdout).contains("never"), "{bombed:?}");
    let rescue = output(
        server
            .ssh(&user, &[])
            .arg("echo alive; kill -l > /dev/null"),
    );
    assert_eq!(text(&rescue.stdout), "alive\n", "{rescue:?}");
    let ended = Command::new("pkill")
        .args(["-KILL", "-f", "sleep 31415"])
        .status();
    assert!(ended.unwrap().success());
}

/// EMFILE at accept: who is there is served, who comes waits, and the log says why.
#[test]
fn a_gate_without_descriptors_says_so_and_goes_on() {
    let config = "login_grace_time = \"1h\"\nmax_startups = 1000";
    let mut server = Server::start_with_descriptors(100, config);
    let gate = server.gate();
    let crowd: Vec<_> = (0..150).map(|_| silent(&server)).collect();
    let says = server.event("gate_says", |_| true);
    let says = says["line"].as_str().unwrap();
    assert!(
        says.contains("no connection can be accepted for now"),
        "{says}"
    );
    drop(crowd);
    assert_eq!(server.run("echo in").stdout, b"in\n");
    assert_eq!(server.gate(), gate, "the gate has been restarted");
}
