//! Many connections, slow ones, dead ones: nobody waits for another, and nothing is left behind.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crate::services::{Stream, answer_backwards, ask_unix, leads_there, tcp_service, try_ask};
use crate::support::{LIMIT, Master, Server, descriptors, free_port, status_field, wait_for};

/// So many short connections, by so many clients at a time.
const CONNECTIONS: usize = 2000;
const CLIENTS: usize = 20;

/// The descriptors of the gate and of a session.
fn held(server: &Server, master: &Master) -> (usize, usize) {
    (descriptors(server.gate()), descriptors(master.session()))
}

/// Fewer are as good: those of a connection that ended just before they were counted are gone since.
fn no_more_than(before: (usize, usize), server: &Server, master: &Master) {
    wait_for("no descriptor left", || {
        let (gate, session) = held(server, master);
        (gate <= before.0 && session <= before.1).then_some(())
    });
}

fn resident_kilobytes(pid: u32) -> usize {
    let value = status_field(pid, "VmRSS").unwrap();
    value.trim_end_matches("kB").trim().parse().unwrap()
}

/// Many clients, each with many connections.
fn crowd(connect: impl Fn(usize) + Sync) {
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            let connect = &connect;
            scope.spawn(move || (0..CONNECTIONS / CLIENTS).for_each(|i| connect(client + i)));
        }
    });
}

#[test]
fn thousands_of_short_connections_leave_no_descriptor() {
    let (server, service) = (Server::start(), tcp_service(answer_backwards));
    let master = Master::start(&server);
    let socket = master.forward_local("socket", &service.to_string());
    let port = master.forward_remote("0", &service.to_string());
    assert!(leads_there(&socket));
    let before = held(&server, &master);
    crowd(|i| assert_eq!(ask_unix(&socket, &vec![b'a'; i]).len(), i));
    crowd(|i| {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        assert_eq!(try_ask(stream, &vec![b'a'; i]).unwrap().len(), i);
    });
    no_more_than(before, &server, &master);
}

#[test]
fn connections_that_fail_leave_nothing() {
    let server = Server::start();
    let master = Master::start(&server);
    let nobody = format!("127.0.0.1:{}", free_port());
    let refused = master.forward_local("refused", &nobody);
    let prohibited = master.forward_local("prohibited", "169.254.169.254:80");
    // Accepted here, opened to the client, and refused by it: nobody listens at its end.
    let port = master.forward_remote("0", &nobody);
    let before = held(&server, &master);
    let kilobytes = resident_kilobytes(server.gate());
    crowd(|_| {
        for path in [&refused, &prohibited] {
            assert_eq!(
                try_ask(UnixStream::connect(path).unwrap(), b"").unwrap_or_default(),
                b""
            );
        }
        if let Ok(stream) = TcpStream::connect(("127.0.0.1", port)) {
            assert_eq!(try_ask(stream, b"").unwrap_or_default(), b"");
        }
    });
    no_more_than(before, &server, &master);
    let grown = resident_kilobytes(server.gate()).saturating_sub(kilobytes);
    assert!(grown < 16 * 1024, "the gate grew by {grown} kB");
    assert_eq!(master.run("echo still here").stdout, b"still here\n");
}

/// A service that never stops talking, until it is no longer listened to; and how much it has said.
fn flood() -> (
    impl Fn(TcpStream) + Clone + Send + 'static,
    Arc<AtomicUsize>,
) {
    let said = Arc::<AtomicUsize>::default();
    let count = said.clone();
    let serve = move |mut stream: TcpStream| {
        let chunk = vec![b'x'; 64 * 1024];
        while let Ok(written) = stream.write(&chunk) {
            count.fetch_add(written, Ordering::Relaxed);
        }
    };
    (serve, said)
}

/// A service that never reads.
fn ignore(stream: TcpStream) {
    thread::park_timeout(LIMIT);
    drop(stream);
}

/// Waits until a count stands still.
fn settled(count: &AtomicUsize) {
    let mut last = 0;
    wait_for("everything to stand still", || {
        thread::sleep(Duration::from_millis(200));
        let now = count.load(Ordering::Relaxed);
        (now > 0 && std::mem::replace(&mut last, now) == now).then_some(())
    });
}

/// Ten channels whose client does not read, and ten whose service does not: another still flows,
/// the gate's memory is bounded, and all of it goes when the clients go.
#[test]
fn slow_readers_hold_up_nobody_else() {
    let server = Server::start();
    let master = Master::start(&server);
    let other = master.forward_local("other", &tcp_service(answer_backwards).to_string());
    let (flood, said) = flood();
    let flooded = master.forward_local("flooded", &tcp_service(flood).to_string());
    let ignored = master.forward_local("ignored", &tcp_service(ignore).to_string());
    assert!(leads_there(&other));
    let before = held(&server, &master);
    let kilobytes = resident_kilobytes(server.gate());
    let silent: Vec<_> = (0..10)
        .map(|_| UnixStream::connect(&flooded).unwrap())
        .collect();
    let unheard: Vec<_> = (0..10).map(|_| fill(&ignored)).collect();
    settled(&said);
    for _ in 0..10 {
        assert!(leads_there(&other));
    }
    assert_eq!(master.run("echo here").stdout, b"here\n");
    // A window of 2 MiB for each channel that sends to a service that does not read.
    let grown = resident_kilobytes(server.gate()).saturating_sub(kilobytes);
    assert!(grown < (10 * 2 + 16) * 1024, "the gate grew by {grown} kB");
    drop((silent, unheard));
    // The ignored services are what keeps sockets open: what was sent to them is still theirs to
    // read, for a while.
    wait_for("few descriptors left", || {
        (held(&server, &master).0 <= before.0 + 10).then_some(())
    });
}

/// Writes until nobody takes any more.
fn fill(path: &Path) -> UnixStream {
    let mut stream = UnixStream::connect(path).unwrap();
    stream.set_nonblocking(true).unwrap();
    let chunk = vec![b'x'; 64 * 1024];
    let mut quiet = 0;
    // Until it has been full for some time: what is on its way makes room.
    while quiet < 20 {
        match stream.write(&chunk) {
            Ok(written) => quiet = usize::from(written == 0),
            Err(_) => {
                quiet += 1;
                thread::sleep(Duration::from_millis(10));
            }
        }
    }
    stream
}

/// A far end that stays silent is not the session's, and does not go with it.
#[test]
fn a_connection_that_is_cut_takes_its_forwards_with_it() {
    let server = Server::start();
    let before = descriptors(server.gate());
    let master = Master::start(&server);
    let (tell, told) = std::sync::mpsc::channel();
    let service = tcp_service(move |mut stream| {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        tell.send("open").unwrap();
        let _end = stream.read(&mut byte);
        tell.send("closed").unwrap();
    });
    let socket = master.forward_local("socket", &service.to_string());
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.write_all(b"x").unwrap();
    assert_eq!(told.recv_timeout(LIMIT), Ok("open"));
    stream.limit().unwrap();
    master.cut(&server);
    assert_eq!(told.recv_timeout(LIMIT), Ok("closed"));
    wait_for("no descriptor left", || {
        (descriptors(server.gate()) <= before).then_some(())
    });
}
