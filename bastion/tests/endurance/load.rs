//! Many logins, many who never log in, many at a time: as many descriptors, processes and zombies
//! at the end as at the start, and no memory that grows with what is over.

use std::net::TcpStream;
use std::time::Instant;

use crate::support::{Server, children, descriptors, status_field, text, wait_for};
use crate::{is_full, log_in, run, start_plain};

/// How much of it: the test command's share, or all.
struct Extent {
    grace_expiries: usize,
    sessions: usize,
    idle: usize,
}

fn extent() -> Extent {
    if is_full() {
        Extent {
            grace_expiries: 10_000,
            sessions: 100_000,
            idle: 2_000,
        }
    } else {
        Extent {
            grace_expiries: 500,
            sessions: 100,
            idle: 100,
        }
    }
}

/// What bastion holds: descriptors of monitor and gate, and the children of the monitor.
fn held(server: &Server) -> [usize; 3] {
    let (monitor, gate) = (server.pid(), server.gate());
    [
        descriptors(monitor),
        descriptors(gate),
        children(monitor).len(),
    ]
}

/// Has it do everything once, and waits until that is over: its books begin here.
fn warm_up(server: &mut Server) {
    assert_eq!(server.run("echo x").stdout, b"x\n");
    server.event("connection_closed", |_| true);
    wait_for("the session's end", || {
        server.sessions().is_empty().then_some(())
    });
}

/// Resident memory of monitor and gate, in KiB.
fn memory(server: &Server) -> [usize; 2] {
    [server.pid(), server.gate()].map(|pid| {
        let field = status_field(pid, "VmRSS").unwrap();
        field.split_whitespace().next().unwrap().parse().unwrap()
    })
}

/// Waits until bastion holds what it held before, and shows the figures of the run.
fn nothing_is_left(
    what: &str,
    server: &Server,
    before: [usize; 3],
    memory_before: [usize; 2],
    began: Instant,
) {
    wait_for("as little held as before", || {
        (held(server) == before).then_some(())
    });
    let (seconds, after) = (began.elapsed().as_secs(), memory(server));
    println!(
        "{what}: {seconds} s; monitor and gate {memory_before:?} KiB before, {after:?} KiB after"
    );
    // What allocators keep and proofs take; a leak of a page each would be many times that.
    for (before, after) in memory_before.into_iter().zip(after) {
        assert!(after < before + 64 * 1024, "{memory_before:?} {after:?}");
    }
    assert_eq!(text(&server.run("echo still here").stdout), "still here\n");
}

/// regreSSHion (CVE-2024-6387) was a grace time that ran out.
#[test]
fn load_of_those_who_never_log_in() {
    let config = "login_grace_time = \"1s\"\nmax_startups = 4000";
    let mut server = start_plain(config);
    warm_up(&mut server);
    let (before, memory_before, began) = (held(&server), memory(&server), Instant::now());
    let mut left = extent().grace_expiries;
    while left > 0 {
        let batch = left.min(500);
        let crowd: Vec<_> = (0..batch)
            .map(|_| TcpStream::connect(server.address).unwrap())
            .collect();
        for mut stream in crowd {
            let limit = Some(crate::support::LIMIT);
            stream.set_read_timeout(limit).unwrap();
            // Its greeting, and then its end: nobody is kept.
            let _reset = std::io::copy(&mut stream, &mut std::io::sink());
        }
        left -= batch;
    }
    nothing_is_left("grace expiries", &server, before, memory_before, began);
}

#[test]
fn load_of_sessions_one_after_another() {
    let mut server = start_plain("");
    let user = server.user();
    warm_up(&mut server);
    let one = async || {
        let mut client = log_in(&server, &user).await;
        let output = client.exec("echo x").await.unwrap();
        assert_eq!(
            (output.stdout.as_slice(), output.exit_status),
            (&b"x\n"[..], Some(0))
        );
    };
    let (before, memory_before, began) = (held(&server), memory(&server), Instant::now());
    run(async {
        for _ in 0..extent().sessions {
            one().await;
        }
    });
    nothing_is_left("sessions", &server, before, memory_before, began);
}

#[test]
fn load_of_idle_sessions() {
    let config = "max_startups = 4000";
    let mut server = start_plain(config);
    let user = server.user();
    warm_up(&mut server);
    let (before, memory_before, began) = (held(&server), memory(&server), Instant::now());
    let idle = extent().idle;
    run(async {
        let mut clients = Vec::new();
        for _ in 0..idle {
            let mut client = log_in(&server, &user).await;
            let channel = client.open_session().await.unwrap();
            let accepted = client.request(channel, "shell", &[]).await.unwrap();
            assert!(accepted);
            clients.push(client);
        }
        assert_eq!(server.sessions().len(), idle);
        println!(
            "{idle} idle sessions: monitor and gate {:?} KiB, {:?} before",
            memory(&server),
            memory_before
        );
        drop(clients);
    });
    nothing_is_left("idle sessions", &server, before, memory_before, began);
}
