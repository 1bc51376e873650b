//! Channels as Pomerium passes them on.

use pomerium_stand_in::client::{ChannelEvent, Client, Options};
use pomerium_stand_in::wire::Writer;

use crate::log_in;
use crate::support::{Server, is_alive, run, wait_for};

/// The request "pty-req" of Pomerium's portal, 80 by 24.
pub(crate) fn pty_request() -> Vec<u8> {
    Writer::new()
        .string("xterm")
        .u32(80)
        .u32(24)
        .u32(0)
        .u32(0)
        .string([0_u8].as_slice())
        .into_vec()
}

pub(crate) fn exec(command: &str) -> Vec<u8> {
    Writer::new().string(command).into_vec()
}

/// A channel that runs a command.
pub(crate) async fn started(client: &mut Client, command: &str) -> u32 {
    let id = client.open_session().await.unwrap();
    assert!(client.request(id, "exec", &exec(command)).await.unwrap());
    id
}

/// Waits for the first data of a channel, or the next.
pub(crate) async fn comes_to_data(client: &mut Client, id: u32) {
    while !matches!(client.event(id).await.unwrap(), ChannelEvent::Data(_)) {}
}

/// Waits for a channel's CLOSE; its program ended with this status.
pub(crate) async fn ends_with_status(client: &mut Client, id: u32, status: u32) {
    let events = events(client, id).await;
    assert!(
        events.contains(&ChannelEvent::ExitStatus(status)),
        "{events:?}"
    );
}

/// All events of a channel until its CLOSE.
pub(crate) async fn events(client: &mut Client, id: u32) -> Vec<ChannelEvent> {
    let mut events = Vec::new();
    loop {
        match client.event(id).await.unwrap() {
            ChannelEvent::Close => return events,
            event => events.push(event),
        }
    }
}

#[test]
fn a_shell_without_a_terminal_as_pomeriums_own_test_has_it() {
    let server = Server::start();
    run(async {
        let mut client = log_in(&server, Options::pomerium()).await;
        let id = client.open_session().await.unwrap();
        assert!(client.request(id, "shell", &[]).await.unwrap());
        client.send_data(id, b"echo hello world\n").await.unwrap();
        client.eof(id).await.unwrap();
        let events = events(&mut client, id).await;
        let data: Vec<u8> = events
            .iter()
            .filter_map(|event| match event {
                ChannelEvent::Data(data) => Some(data.to_vec()),
                _ => None,
            })
            .flatten()
            .collect();
        assert_eq!(data, b"hello world\n");
        assert!(events.contains(&ChannelEvent::ExitStatus(0)));
    });
}

#[test]
fn data_then_eof_then_status_then_close_then_silence() {
    let server = Server::start();
    run(async {
        let mut client = log_in(&server, Options::pomerium()).await;
        let id = client.open_session().await.unwrap();
        assert!(
            client
                .request(id, "exec", &exec("echo out; echo err >&2; exit 7"))
                .await
                .unwrap()
        );
        let events: Vec<_> = events(&mut client, id)
            .await
            .into_iter()
            .filter(|event| !matches!(event, ChannelEvent::WindowAdjust(_)))
            .collect();
        assert!(
            events.ends_with(&[ChannelEvent::Eof, ChannelEvent::ExitStatus(7)]),
            "{events:?}"
        );
        assert_eq!(events.len(), 4, "{events:?}");
        // What came after CLOSE would be a violation here.
        client.close(id).await.unwrap();
        assert_eq!(client.exec("exit 0").await.unwrap().exit_status, Some(0));
    });
}

#[test]
fn the_portals_handoff_a_terminal_with_a_reply_and_a_shell_without() {
    let server = Server::start();
    run(async {
        let mut client = log_in(&server, Options::pomerium()).await;
        let id = client.open_session().await.unwrap();
        client
            .send_request(id, "pty-req", &pty_request(), true)
            .await
            .unwrap();
        client.send_request(id, "shell", &[], false).await.unwrap();
        // Anything but CHANNEL_SUCCESS before this is fatal to Pomerium.
        assert!(client.reply(id).await.unwrap());
        client.send_data(id, b"stty size; exit 5\n").await.unwrap();
        ends_with_status(&mut client, id, 5).await;
    });
}

#[test]
fn an_exit_by_signal_is_said() {
    let server = Server::start();
    run(async {
        let mut client = log_in(&server, Options::pomerium()).await;
        let output = client.exec("kill -HUP $$").await.unwrap();
        assert_eq!(
            (output.exit_status, output.exit_signal.as_deref()),
            (None, Some("HUP"))
        );
    });
}

#[test]
fn a_signal_of_the_client_reaches_the_program() {
    let server = Server::start();
    run(async {
        let mut client = log_in(&server, Options::pomerium()).await;
        let command = "trap 'echo got it; exit 9' USR1; echo ready; while :; do sleep 0.05; done";
        let id = started(&mut client, command).await;
        while !matches!(client.event(id).await.unwrap(), ChannelEvent::Data(data) if data.starts_with(b"ready"))
        {
        }
        client
            .send_request(
                id,
                "signal",
                &Writer::new().string("USR1").into_vec(),
                false,
            )
            .await
            .unwrap();
        ends_with_status(&mut client, id, 9).await;
    });
}

#[test]
fn fifty_channels_at_once() {
    let server = Server::start();
    run(async {
        let mut client = log_in(&server, Options::pomerium()).await;
        let mut open = Vec::new();
        for number in 0..50 {
            let command = format!("cat; head -c 100000 /dev/zero; exit {number}");
            let id = started(&mut client, &command).await;
            open.push((id, number));
        }
        for &(id, _) in &open {
            client.send_data(id, b"x").await.unwrap();
            client.eof(id).await.unwrap();
        }
        for (id, number) in open {
            let events = events(&mut client, id).await;
            let length: usize = events
                .iter()
                .map(|event| {
                    if let ChannelEvent::Data(data) = event {
                        data.len()
                    } else {
                        0
                    }
                })
                .sum();
            assert_eq!(length, 100_001);
            assert!(events.contains(&ChannelEvent::ExitStatus(number)));
        }
    });
}

#[test]
fn close_is_answered_at_once_whatever_the_program_does() {
    let mut server = Server::start();
    let (mut client, runtime) = {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        (
            runtime.block_on(log_in(&server, Options::pomerium())),
            runtime,
        )
    };
    // It ignores SIGHUP, and writes against a full window.
    runtime.block_on(async {
        let command = "trap '' HUP; echo $$; exec cat /dev/zero";
        let id = started(&mut client, command).await;
        comes_to_data(&mut client, id).await;
        client.close(id).await.unwrap();
        events(&mut client, id).await;
        assert_eq!(client.exec("exit 0").await.unwrap().exit_status, Some(0));
    });
    let program = u32::try_from(
        server.event("program_started", |_| true)["pid"]
            .as_u64()
            .unwrap(),
    )
    .unwrap();
    // Its output has nowhere to go any more.
    wait_for("the program's end", || (!is_alive(program)).then_some(()));
}

#[test]
fn requests_that_are_not_known_are_refused_and_those_without_a_reply_get_none() {
    let server = Server::start();
    run(async {
        let mut client = log_in(&server, Options::pomerium()).await;
        assert_eq!(
            client
                .global_request("no-such-request@example.com", &[])
                .await
                .unwrap(),
            None
        );
        client
            .global_request("keepalive@openssh.com", &[])
            .await
            .unwrap();
        // GLOBAL_REQUEST without want_reply: a stray answer would be taken for the next one's.
        let no_more = Writer::message(80)
            .string("no-such-request@example.com")
            .bool(false)
            .into_vec();
        client.send(&no_more).await.unwrap();
        let id = client.open_session().await.unwrap();
        assert!(
            !client
                .request(id, "no-such-request@example.com", &[])
                .await
                .unwrap()
        );
        client
            .send_request(id, "no-such-request@example.com", &[], false)
            .await
            .unwrap();
        assert!(
            !client
                .request(
                    id,
                    "x11-req",
                    &Writer::new()
                        .bool(false)
                        .string("a")
                        .string("b")
                        .u32(0)
                        .into_vec()
                )
                .await
                .unwrap()
        );
        assert!(client.request(id, "exec", &exec("true")).await.unwrap());
        assert!(
            client
                .open("no-such-channel@example.com", &[])
                .await
                .is_err()
        );
        assert_eq!(client.exec("exit 0").await.unwrap().exit_status, Some(0));
    });
}

#[test]
fn more_channels_than_permitted_are_refused_and_the_rest_goes_on() {
    let server = Server::start_with("max_sessions = 3", &[]);
    run(async {
        let mut client = log_in(&server, Options::pomerium()).await;
        for _ in 0..3 {
            client.open_session().await.unwrap();
        }
        assert!(client.open_session().await.is_err());
        client.close(0).await.unwrap();
        events(&mut client, 0).await;
        client.open_session().await.unwrap();
    });
}

/// Whoever uses `ssh -D` passes on what other programs say, and they may say anything.
#[test]
fn a_name_that_is_not_utf8_is_refused_alone() {
    let server = Server::start();
    let name: &[u8] = b"caf\xe9.example";
    run(async {
        let mut client = log_in(&server, Options::pomerium()).await;
        let address = Writer::new().string(name).u32(80);
        let both = address.string("127.0.0.1").u32(1).into_vec();
        assert!(client.open("direct-tcpip", &both).await.is_err());
        let path = Writer::new().string(name).string("").u32(0).into_vec();
        let kind = "direct-streamlocal@openssh.com";
        assert!(client.open(kind, &path).await.is_err());
        let address = Writer::new().string(name).u32(0).into_vec();
        let asked = client.global_request("tcpip-forward", &address).await;
        assert!(matches!(asked, Ok(None)), "{asked:?}");
        let id = client.open_session().await.unwrap();
        let subsystem = Writer::new().string(name).into_vec();
        assert!(!client.request(id, "subsystem", &subsystem).await.unwrap());
        assert_eq!(client.exec("exit 4").await.unwrap().exit_status, Some(4));
    });
}
