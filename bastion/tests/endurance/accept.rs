//! accept(2) fails with whatever it may fail with, and then no more: whoever waited is served, and
//! whoever comes. accept.c stands between bastion and the real one.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use pomerium_stand_in::client::{Client, Options};
use serde_json::Value;

use crate::preload::{self, Shared};
use crate::support::{LIMIT, Master, Server, User, authenticate, processor_time, wait_for};
use crate::{log_in, run};

/// Errors that do not go by themselves, or are not known to: one has to wait.
const SHORTAGES: [Errno; 6] = [
    Errno::ENOMEM,
    Errno::ENOBUFS,
    Errno::EMFILE,
    Errno::ENFILE,
    Errno::EPROTO,
    Errno::EPERM,
];

/// How many calls fail with each.
const TIMES: u8 = 5;

/// For so long does bastion wait each time (`PAUSE` of its listeners).
const PAUSE: Duration = Duration::from_millis(100);

/// Who takes longer for a login may have to go (`SITS_AFTER` of policy/startups.rs).
const SITS_AFTER: Duration = Duration::from_secs(2);

/// The next calls fail with this error.
fn strike(fault: &Shared, error: Errno) {
    fault.write(0, &(error as i32).to_ne_bytes());
    fault.write(4, &i32::from(TIMES).to_ne_bytes());
}

/// Waits until as many calls have failed as should.
fn has_struck(fault: &Shared) {
    wait_for("calls of accept4 that fail", || {
        (fault.read(4) == [0; 4]).then_some(())
    });
}

fn come(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream
}

/// Somebody who came while this error struck, and waits.
fn comes_in_a_shortage(fault: &Shared, error: Errno, to: SocketAddr) -> TcpStream {
    let began = Instant::now();
    strike(fault, error);
    let waits = come(to);
    has_struck(fault);
    // Without a pause each time it would be over at once, and a longer shortage take a processor.
    let least = PAUSE * u32::from(TIMES - 1);
    assert!(began.elapsed() >= least, "{error}: {:?}", began.elapsed());
    waits
}

/// Those whose connections are aborted are gone, and hear nothing.
fn come_and_are_aborted(fault: &Shared, to: SocketAddr) {
    strike(fault, Errno::ECONNABORTED);
    for mut gone in [(); TIMES as usize].map(|()| come(to)) {
        let mut heard = Vec::new();
        let _reset = gone.read_to_end(&mut heard);
        assert!(heard.is_empty(), "{heard:?}");
    }
    has_struck(fault);
}

/// A call that was interrupted is made again.
fn comes_in_between(fault: &Shared, to: SocketAddr) -> TcpStream {
    strike(fault, Errno::EINTR);
    let waits = come(to);
    has_struck(fault);
    waits
}

/// Who waited is greeted; who has a certificate is let in.
fn serves(server: &Server, user: &User, mut waits: TcpStream) {
    let mut greeting = [0; 8];
    waits.read_exact(&mut greeting).unwrap();
    assert_eq!(&greeting, b"SSH-2.0-");
    drop(waits);
    drop(run(log_in(server, user)));
}

/// Who was about to log in while accept failed has not had to go.
#[test]
fn a_login_goes_on_while_accept_fails() {
    let Some((server, fault)) = preload::start("accept.c", "") else {
        return;
    };
    let user = server.user();
    run(async {
        for error in SHORTAGES {
            let began = Instant::now();
            let connecting = Client::connect(server.address, Options::pomerium());
            let mut on_his_way = connecting.await.unwrap();
            let waits = comes_in_a_shortage(&fault, error, server.address);
            let outcome = authenticate(&mut on_his_way, &user).await;
            // Unless the machine is so busy that he only sat there.
            assert!(outcome.is_ok() || began.elapsed() >= SITS_AFTER, "{error}");
            drop(waits);
        }
    });
}

/// Whether the gate says in the log that it cannot accept.
fn says_so(event: &Value) -> bool {
    let line = event["line"].as_str().unwrap_or_default();
    event["event"] == "gate_says" && line.contains("no connection can be accepted for now")
}

#[test]
fn a_gate_whose_accept_fails_goes_on() {
    let Some((mut server, fault)) = preload::start("accept.c", "") else {
        return;
    };
    let (gate, user, address) = (server.gate(), server.user(), server.address);
    for error in SHORTAGES {
        let waits = comes_in_a_shortage(&fault, error, address);
        let number = format!("(os error {})", error as i32);
        server.event("gate_says", |event| {
            says_so(event) && event["line"].as_str().unwrap().contains(&number)
        });
        serves(&server, &user, waits);
    }
    come_and_are_aborted(&fault, address);
    serves(&server, &user, come(address));
    let waits = comes_in_between(&fault, address);
    serves(&server, &user, waits);

    assert_eq!(server.gate(), gate, "the gate has been restarted");
    let spent = processor_time(gate);
    assert!(spent < 1000, "the gate was busy for {spent} ms");
    let events = server.events_so_far();
    assert!(!events.iter().any(|event| event["event"] == "gate_ended"));
    // Once for each shortage; not for what is one client's alone.
    let said = events.iter().filter(|event| says_so(event)).count();
    assert_eq!(said, SHORTAGES.len());
}

/// A session accepts too, for a client that has asked for a port (`ssh -R`).
#[test]
fn a_session_whose_accept_fails_goes_on() {
    let Some((server, fault)) = preload::start("accept.c", "") else {
        return;
    };
    let master = Master::start(&server);
    let service = TcpListener::bind("127.0.0.1:0").unwrap();
    service.set_nonblocking(true).unwrap();
    let leads_to = service.local_addr().unwrap().to_string();
    // Of one family: two sockets would fail by turns.
    let port = master.forward_remote("127.0.0.1:0", &leads_to);
    let port = SocketAddr::from(([127, 0, 0, 1], port));
    let serves = |mut waits: TcpStream| {
        let mut asked = wait_for("a connection to the service", || service.accept().ok()).0;
        asked.write_all(b"here").unwrap();
        drop(asked);
        let mut heard = String::new();
        waits.read_to_string(&mut heard).unwrap();
        assert_eq!(heard, "here");
    };
    for error in SHORTAGES {
        serves(comes_in_a_shortage(&fault, error, port));
    }
    come_and_are_aborted(&fault, port);
    serves(come(port));
    serves(comes_in_between(&fault, port));

    let spent = processor_time(master.session());
    assert!(spent < 1000, "the session was busy for {spent} ms");
}
