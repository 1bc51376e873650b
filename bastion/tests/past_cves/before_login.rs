//! What a stranger may send: nothing of it does anything.

use std::io::{Read, Write};
use std::net::TcpStream;

use pomerium_stand_in::message::SSH_MSG_CHANNEL_OPEN;
use pomerium_stand_in::wire::Writer;

use crate::support::{LIMIT, Server, children, descriptors, run, status_field, wait_for};
use crate::{IMPATIENT, connect, kexinit, share, still_serves};

/// A session, a program on it, a forwarding and a listener, as if somebody were logged in.
fn as_if_logged_in(marker: &str) -> Vec<Vec<u8>> {
    let open = Writer::message(SSH_MSG_CHANNEL_OPEN)
        .string("session")
        .u32(0)
        .u32(1 << 20)
        .u32(1 << 15);
    let exec = Writer::message(98).u32(0).string("exec").bool(true);
    let forward = Writer::message(80)
        .string("tcpip-forward")
        .bool(true)
        .string("127.0.0.1")
        .u32(0);
    let every_other = (80..=100).map(|number| vec![number, 0, 0, 0, 0, 0, 0, 0, 0]);
    let mut messages = vec![
        open.into_vec(),
        exec.string(format!("touch {marker}")).into_vec(),
        forward.into_vec(),
    ];
    messages.extend(every_other);
    messages
}

/// What a libssh that was a server took for its own success (CVE-2018-10933), and PK_OK and
/// INFO_RESPONSE beside it.
fn as_if_from_the_server() -> [Vec<u8>; 4] {
    [
        vec![52],
        vec![60, 0, 0, 0, 0, 0, 0, 0, 0],
        vec![61, 0, 0, 0, 0],
        // CVE-2026-42189: as many responses as there are numbers.
        vec![61, 0xff, 0xff, 0xff, 0xff],
    ]
}

#[test]
fn channel_messages_before_authentication_do_nothing() {
    let mut server = Server::start_with(IMPATIENT, &[]);
    let gate = server.gate();
    let marker = server.folder.path().join("marker");
    let messages = as_if_logged_in(marker.to_str().unwrap());
    run(async {
        for with_service in [false, true] {
            let mut client = connect(&server).await;
            if with_service {
                client.request_service("ssh-userauth").await.unwrap();
            }
            for message in &messages {
                if client.send_raw(message).await.is_err() {
                    break;
                }
            }
            assert!(client.open_session().await.is_err());
        }
    });
    nothing_was_granted(&mut server, gate, 2);
    assert!(!marker.exists());
}

#[test]
fn what_only_a_server_says_grants_nothing() {
    let mut server = Server::start_with(IMPATIENT, &[]);
    let gate = server.gate();
    let messages = as_if_from_the_server();
    run(async {
        for message in &messages {
            let mut client = connect(&server).await;
            client.request_service("ssh-userauth").await.unwrap();
            client.send_raw(message).await.unwrap();
            assert!(client.open_session().await.is_err(), "{message:?}");
        }
    });
    nothing_was_granted(&mut server, gate, messages.len());
}

/// After all of these connections' ends.
fn nothing_was_granted(server: &mut Server, gate: u32, connections: usize) {
    for _ in 0..connections {
        server.event("connection_closed", |_| true);
    }
    let events = server.events_so_far().iter();
    let granted =
        events.filter(|event| event["event"] == "session_opened" || event["verdict"] == "accepted");
    assert_eq!(granted.count(), 0);
    still_serves(server, gate);
}

/// regreSSHion (CVE-2024-6387): what happens when the time to log in is over must be harmless at
/// any point of a login, and leave nothing.
#[test]
fn ten_thousand_times_the_login_grace_time_ends() {
    const AT_A_TIME: usize = 2500;
    let server = Server::start_with("login_grace_time = \"1s\"\nmax_startups = 3000", &[]);
    let gate = server.gate();
    let before = (descriptors(gate), descriptors(server.pid()));
    let packet = |payload: &[u8]| {
        let padding = 8 - (5 + payload.len()) % 8 + 8;
        let length = u32::try_from(1 + payload.len() + padding).unwrap();
        [
            &length.to_be_bytes()[..],
            &[padding as u8],
            payload,
            &vec![0; padding],
        ]
        .concat()
    };
    let version = b"SSH-2.0-Test\r\n".to_vec();
    let with_kexinit = [version.clone(), packet(&kexinit())].concat();
    // As far as one gets without keys; the keys themselves for one in fifty, for they take time.
    let with_share = [with_kexinit.clone(), packet(&share(&[9; 32]))].concat();
    for _ in 0..10_000 / AT_A_TIME {
        let open: Vec<TcpStream> = (0..AT_A_TIME)
            .map(|number| {
                let mut stream = TcpStream::connect(server.address).unwrap();
                let words: &[u8] = match number % 50 {
                    0 => &with_share,
                    1..10 => &with_kexinit,
                    10..20 => &with_kexinit[..with_kexinit.len() / 2],
                    20..30 => &version,
                    30..40 => b"SSH-2.",
                    _ => b"",
                };
                stream.write_all(words).unwrap();
                stream
            })
            .collect();
        for mut stream in open {
            stream.set_read_timeout(Some(LIMIT)).unwrap();
            let mut sink = Vec::new();
            match stream.read_to_end(&mut sink) {
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
                Err(error) => panic!("a connection outlived its time: {error}"),
            }
        }
    }
    wait_for("as many descriptors as before", || {
        ((descriptors(gate), descriptors(server.pid())) == before).then_some(())
    });
    let zombie = |pid| status_field(pid, "State").is_some_and(|state| state.starts_with('Z'));
    assert!(!children(server.pid()).into_iter().any(zombie));
    still_serves(&server, gate);
}
