//! What is queued for whoever does not take it, and what is kept of what was refused.

use std::time::Duration;

use pomerium_stand_in::client::{Client, Options};
use pomerium_stand_in::message::{
    SSH_MSG_CHANNEL_CLOSE, SSH_MSG_CHANNEL_OPEN, SSH_MSG_CHANNEL_OPEN_FAILURE,
    SSH_MSG_CHANNEL_REQUEST, SSH_MSG_GLOBAL_REQUEST, SSH_MSG_IGNORE, SSH2_MSG_PING,
};
use pomerium_stand_in::wire::Writer;

use crate::support::{Server, authenticate, run};
use crate::{FLAT, connect, is_ended, is_there, kexinit, log_in, memory, still_serves, watch};

/// How much is sent where nothing may be kept.
const FLOOD: usize = 256 * 1024 * 1024;
/// As large as packets get.
const LARGE: usize = 30_000;
/// What a client permits to be sent to it, where it permits anything.
const WINDOW: u32 = 1 << 20;

fn open(kind: &str, window: u32) -> Vec<u8> {
    let open = Writer::message(SSH_MSG_CHANNEL_OPEN).string(kind);
    open.u32(7).u32(window).u32(1 << 15).into_vec()
}

/// For a program that there cannot be; no answer is wanted.
fn exec_nothing(channel: u32) -> Vec<u8> {
    let exec = Writer::message(SSH_MSG_CHANNEL_REQUEST).u32(channel);
    exec.string("exec").bool(false).string(b"a\0b").into_vec()
}

fn ping() -> Vec<u8> {
    Writer::message(SSH2_MSG_PING)
        .string(vec![7; LARGE])
        .into_vec()
}

fn ignore() -> Vec<u8> {
    Writer::message(SSH_MSG_IGNORE)
        .string(vec![7; LARGE])
        .into_vec()
}

/// Sends a message until `bytes` are sent, or the server has had enough. Says whether it had.
async fn flood(client: &mut Client, message: &[u8], bytes: usize) -> bool {
    for _ in 0..bytes / message.len() {
        if client.send_raw(message).await.is_err() {
            return true;
        }
    }
    false
}

/// A client to whom a program begins to say more than it will ever read.
async fn told_for_ever(server: &Server, options: Options, command: &str) -> Client {
    let mut client = Client::connect(server.address, options).await.unwrap();
    authenticate(&mut client, &server.user()).await.unwrap();
    let id = client.open_session().await.unwrap();
    let command = Writer::new().string(command).into_vec();
    assert!(client.request(id, "exec", &command).await.unwrap());
    client.event(id).await.unwrap();
    client
}

/// CVE-2025-26466 and russh's GHSA-35g8-35p8-c8fw: what is answered later is kept until then, and
/// a key exchange that never ends makes that forever.
#[test]
fn a_flood_during_a_stalled_key_exchange_is_cut_off() {
    let server = Server::start();
    let gate = server.gate();
    let request = Writer::message(SSH_MSG_GLOBAL_REQUEST).string(vec![b'x'; LARGE]);
    let request = request.bool(true).into_vec();
    run(async {
        for message in [
            open("session", WINDOW),
            open(&"x".repeat(LARGE), WINDOW),
            request,
            ping(),
        ] {
            let mut client = log_in(&server).await;
            let before = memory(gate);
            client.send_raw(&kexinit()).await.unwrap();
            // NEWKEYS, and all before it, never come.
            flood(&mut client, &message, FLOOD / 8).await;
            assert!(memory(gate) < before + FLAT);
            assert!(is_ended(&mut client).await, "{}", message[0]);
        }
    });
    still_serves(&server, gate);
}

/// Nor is what is said to a client that reads nothing: it is read no more when there is enough.
#[test]
fn a_flood_of_requests_whose_answers_nobody_reads_is_not_kept() {
    let server = Server::start();
    let gate = server.gate();
    let request = Writer::message(SSH_MSG_GLOBAL_REQUEST)
        .string("x")
        .bool(true);
    run(async {
        for message in [open("", WINDOW), request.into_vec(), vec![192]] {
            let mut options = Options::lenient();
            options.limit = Duration::from_secs(2);
            // More than what the system keeps for it: nothing else can be said for now.
            options.window = 1 << 30;
            let mut client = told_for_ever(&server, options, "cat /dev/zero").await;
            let before = memory(gate);
            flood(&mut client, &message, message.len() * 200_000).await;
            let kept = memory(gate).saturating_sub(before);
            assert!(kept < FLAT, "{kept} bytes for messages {}", message[0]);
        }
    });
    still_serves(&server, gate);
}

/// Likewise, where the server has asked for new keys and the client says nothing to that.
#[test]
fn a_flood_instead_of_an_answer_to_a_rekey_is_cut_off() {
    let server = Server::start_with("rekey_limit = 1048576", &[]);
    let gate = server.gate();
    run(async {
        for message in [open(&"x".repeat(LARGE), WINDOW), open("", WINDOW), ping()] {
            let mut client = log_in(&server).await;
            flood(&mut client, &ignore(), 2 * 1024 * 1024).await;
            let before = memory(gate);
            flood(&mut client, &message, FLOOD / 8).await;
            assert!(memory(gate) < before + FLAT);
            assert!(is_ended(&mut client).await, "{}", message[0]);
        }
    });
    still_serves(&server, gate);
}

/// Likewise before anybody is in. What the transport itself throws away may come without end, for
/// as long as there is time to log in, but nothing of it is kept.
#[test]
fn a_large_packet_before_login_ends_the_connection() {
    let server = Server::start();
    let ignore = |length| {
        let text = vec![7; length];
        Writer::message(SSH_MSG_IGNORE)
            .string(text.as_slice())
            .into_vec()
    };
    run(async {
        let mut stranger = Client::connect(server.address, Options::lenient())
            .await
            .unwrap();
        stranger.send(&ignore(40_000)).await.unwrap();
        // At once, and not because the time to log in is over.
        let ended = stranger.ended().await;
        assert!(ended.disconnect().is_none(), "{ended}");
        let mut client = log_in(&server).await;
        client.send(&ignore(200_000)).await.unwrap();
        assert_eq!(client.exec("exit 0").await.unwrap().exit_status, Some(0));
    });
}

#[test]
fn a_flood_before_login_is_not_kept() {
    let server = Server::start();
    let gate = server.gate();
    run(async {
        for message in [ignore(), ping(), open(&"x".repeat(LARGE), WINDOW)] {
            let mut client = connect(&server).await;
            let before = memory(gate);
            flood(&mut client, &message, FLOOD / 4).await;
            assert!(memory(gate) < before + FLAT, "{}", message[0]);
        }
    });
    still_serves(&server, gate);
}

/// Go's CVE-2025-22869: output that waits for the end of a key exchange.
#[test]
fn the_output_of_a_program_waits_where_it_is_while_a_rekey_stalls() {
    let server = Server::start();
    let gate = server.gate();
    run(async {
        let mut options = Options::lenient();
        options.window = u32::MAX;
        let mut client = told_for_ever(&server, options, "yes").await;
        let before = memory(gate);
        client.send_raw(&kexinit()).await.unwrap();
        // Everything that is sent to us is taken, and nothing but the key exchange left undone.
        let reading =
            tokio::spawn(async move { while client.transport().next_packet().await.is_ok() {} });
        watch(|| assert!(memory(gate) < before + FLAT)).await;
        reading.abort();
    });
    still_serves(&server, gate);
}

/// Go's CVE-2026-39827: of a channel that was refused nothing is left.
#[test]
fn a_hundred_thousand_refused_channels_leave_nothing() {
    const AT_A_TIME: usize = 1000;
    let server = Server::start();
    let gate = server.gate();
    run(async {
        let mut client = log_in(&server).await;
        let nowhere = Writer::message(SSH_MSG_CHANNEL_OPEN)
            .string("direct-tcpip")
            .u32(7)
            .u32(1 << 20)
            .u32(1 << 15)
            .string("169.254.169.254")
            .u32(80)
            .string("127.0.0.1")
            .u32(1);
        let nowhere = nowhere.into_vec();
        let mut before = None;
        for _ in 0..100_000 / AT_A_TIME {
            for number in 0..AT_A_TIME {
                let message = if number % 10 == 0 {
                    &nowhere
                } else {
                    &open("nonsense", WINDOW)
                };
                client.send_raw(message).await.unwrap();
            }
            for _ in 0..AT_A_TIME {
                let answer = client.recv().await.unwrap();
                assert_eq!(answer.first(), Some(&SSH_MSG_CHANNEL_OPEN_FAILURE));
            }
            before.get_or_insert(memory(gate));
        }
        let (before, after) = (before.unwrap(), memory(gate));
        assert!(after < before + FLAT / 3, "{before}, then {after}");
        assert!(is_there(&mut client).await);
    });
    still_serves(&server, gate);
}

/// A program that is refused with a reason that its client has no room for, and a client that closes
/// what it never had room for.
#[test]
fn twenty_thousand_programs_that_nobody_has_room_to_hear_leave_nothing() {
    const AT_A_TIME: u32 = 1000;
    let server = Server::start();
    let gate = server.gate();
    run(async {
        let mut client = log_in(&server).await;
        let mut before = None;
        // 0 and 1 are for others: a login, and whether it is still there.
        let mut number = 1;
        for _ in 0..20 {
            for _ in 0..AT_A_TIME {
                number += 1;
                let close = Writer::message(SSH_MSG_CHANNEL_CLOSE).u32(number);
                for message in [open("session", 0), exec_nothing(number), close.into_vec()] {
                    client.send_raw(&message).await.unwrap();
                }
            }
            let mut closed = 0;
            while closed < AT_A_TIME {
                let answer = client.recv().await.unwrap();
                closed += u32::from(answer.first() == Some(&SSH_MSG_CHANNEL_CLOSE));
            }
            before.get_or_insert(memory(gate));
        }
        let (before, after) = (before.unwrap(), memory(gate));
        assert!(after < before + FLAT / 3, "{before}, then {after}");
        assert!(is_there(&mut client).await);
    });
    still_serves(&server, gate);
}

/// Nor does such a channel that stays open make room for another.
#[test]
fn a_channel_whose_program_was_refused_unheard_counts_as_open() {
    let server = Server::start();
    let gate = server.gate();
    run(async {
        let mut client = log_in(&server).await;
        for number in 2..152_u32 {
            client.send_raw(&open("session", 0)).await.unwrap();
            let answer = client.recv().await.unwrap();
            if answer.first() == Some(&SSH_MSG_CHANNEL_OPEN_FAILURE) {
                // As many as max_sessions, and the one that the login opened.
                assert!((100..=103).contains(&number), "{number}");
                return;
            }
            client.send_raw(&exec_nothing(number)).await.unwrap();
        }
        panic!("there is no end of channels");
    });
    still_serves(&server, gate);
}

/// Go's CVE-2026-39830: answers to what nobody asked.
#[test]
fn a_hundred_thousand_answers_to_nothing_leave_nothing() {
    let server = Server::start();
    let gate = server.gate();
    let channel = |number: u8| Writer::message(number).u32(0).into_vec();
    let confirmation = Writer::message(91).u32(0).u32(0).u32(1 << 20).u32(1 << 15);
    let failure = Writer::message(92).u32(0).u32(1).string("no").string("");
    let messages = [
        vec![81],
        vec![82],
        confirmation.into_vec(),
        failure.into_vec(),
        channel(99),
        channel(100),
        vec![3, 0, 0, 0, 0],
        vec![53, 0, 0, 0, 0, 0, 0, 0, 0],
    ];
    run(async {
        for message in messages {
            let mut client = log_in(&server).await;
            let before = memory(gate);
            let cut = flood(&mut client, &message, 100_000 * message.len()).await;
            assert!(memory(gate) < before + FLAT / 3, "{message:?}");
            // Either is right: such a message may be passed over, or end the connection.
            assert!(cut || is_there(&mut client).await || is_ended(&mut client).await);
        }
    });
    still_serves(&server, gate);
}
