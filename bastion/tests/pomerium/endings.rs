//! How a channel ends when its two sides do not end together, and what must not end then.

use std::path::Path;
use std::time::Duration;

use pomerium_stand_in::client::{ChannelEvent, Client, Options};

use crate::channels::{comes_to_data, ends_with_status, events, exec, pty_request, started};
use crate::log_in;
use crate::support::{Server, is_alive, run, wait_for};

/// Of what the server lets us send, all.
fn fill_window(client: &mut Client, id: u32) -> u64 {
    let window = client.send_window(id).unwrap();
    while client.try_send_data(id, &[7; 32_000]).unwrap() > 0 {}
    window
}

/// Starts a program that reads nothing until it is told to, closes its channel after `send`, and
/// then has it read: all that was sent.
async fn reads_what_was_sent_before_the_close(
    client: &mut Client,
    send: impl AsyncFnOnce(&mut Client, u32) -> u64,
) -> u64 {
    let folder = tempfile::tempdir().unwrap();
    let [go, out] = ["go", "out"].map(|name| folder.path().join(name));
    let command = format!(
        "until [ -e {} ]; do sleep 0.05; done; cat > {}",
        go.display(),
        out.display()
    );
    let id = started(client, &command).await;
    let sent = send(client, id).await;
    client.eof(id).await.unwrap();
    client.close(id).await.unwrap();
    events(client, id).await;
    std::fs::write(&go, "").unwrap();
    comes_to_hold(&out, sent);
    sent
}

/// Waits until a file is of this length.
fn comes_to_hold(file: &Path, length: u64) {
    let now = || std::fs::metadata(file).map_or(0, |file| file.len());
    wait_for("all of it", || (now() == length).then_some(()));
}

/// The number of a program that begins by saying it.
async fn number_of_program(client: &mut Client, id: u32) -> u32 {
    let ChannelEvent::Data(said) = client.event(id).await.unwrap() else {
        panic!("no number of the program");
    };
    let said = String::from_utf8_lossy(&said);
    said.lines().next().unwrap().parse().unwrap()
}

/// With a window of more than what the system keeps, so that there is always more to write.
fn with_room_for_ever() -> Options {
    let mut options = Options::pomerium();
    options.window = 1 << 30;
    options
}

/// What a program reads that was sent by `send` before its channel was closed.
fn read_after_the_close(send: impl AsyncFnOnce(&mut Client, u32) -> u64) -> u64 {
    let server = Server::start();
    run(async {
        let mut client = log_in(&server, Options::pomerium()).await;
        reads_what_was_sent_before_the_close(&mut client, send).await
    })
}

#[test]
fn what_was_sent_before_the_close_is_read() {
    let all = read_after_the_close(async |client, id| fill_window(client, id));
    assert!(all > 1 << 20, "{all}");
}

#[test]
fn what_a_pipe_holds_at_the_close_is_read() {
    read_after_the_close(async |client, id| {
        client.send_data(id, &[7; 10_000]).await.unwrap();
        10_000
    });
}

#[test]
fn a_status_does_not_wait_for_those_who_hold_the_output_open() {
    let server = Server::start();
    run(async {
        let mut client = log_in(&server, Options::pomerium()).await;
        let id = started(&mut client, "sleep 1000 & echo $!; exit 3").await;
        let mut sleeper = String::new();
        loop {
            match client.event(id).await.unwrap() {
                ChannelEvent::Data(data) => sleeper.push_str(&String::from_utf8_lossy(&data)),
                ChannelEvent::ExitStatus(status) => break assert_eq!(status, 3),
                ChannelEvent::Eof | ChannelEvent::Close => panic!("its output is open"),
                _ => {}
            }
        }
        let killed = client.exec(&format!("kill {sleeper}")).await.unwrap();
        assert_eq!(killed.exit_status, Some(0));
        assert_eq!(events(&mut client, id).await, [ChannelEvent::Eof]);
    });
}

#[test]
fn the_end_of_the_output_does_not_wait_for_the_program() {
    let server = Server::start();
    run(async {
        let mut client = log_in(&server, Options::pomerium()).await;
        let id = started(&mut client, "exec >&- 2>&-; cat; exit 4").await;
        while client.event(id).await.unwrap() != ChannelEvent::Eof {}
        client.eof(id).await.unwrap();
        let events = events(&mut client, id).await;
        let status = |event: &ChannelEvent| matches!(event, ChannelEvent::ExitStatus(_));
        assert_eq!(events.iter().filter(|event| status(event)).count(), 1);
    });
}

#[test]
fn new_keys_may_be_wanted_while_every_window_is_full() {
    // We ask for them long before the client has sent all that it may, and it answers only then.
    let server = Server::start_with("rekey_limit = 1048576", &[]);
    run(async {
        let mut client = log_in(&server, Options::pomerium()).await;
        let mut channels = Vec::new();
        for _ in 0..4 {
            channels.push(started(&mut client, "cat > /dev/null; exit 5").await);
        }
        let sent: u64 = channels
            .iter()
            .map(|&id| fill_window(&mut client, id))
            .sum();
        assert!(sent >= 8 << 20, "{sent}");
        for &id in &channels {
            client.eof(id).await.unwrap();
        }
        for &id in &channels {
            ends_with_status(&mut client, id, 5).await;
        }
    });
}

#[test]
fn a_warning_that_has_no_room_holds_up_nobody() {
    let server = Server::start_with("max_session_time = \"12s\"", &[]);
    run(async {
        let mut options = Options::pomerium();
        (options.window, options.automatic_window) = (8192, false);
        let mut client = log_in(&server, options).await;
        let full = client.open_session().await.unwrap();
        assert!(
            client
                .request(full, "pty-req", &pty_request())
                .await
                .unwrap()
        );
        assert!(client.request(full, "exec", &exec("yes")).await.unwrap());
        let mut had = 0;
        while had < 8192 {
            if let ChannelEvent::Data(data) = client.event(full).await.unwrap() {
                had += data.len();
            }
        }
        let other = started(&mut client, "cat").await;
        // Half of its time is over: the terminal is warned, in vain.
        tokio::time::sleep(Duration::from_secs(7)).await;
        client.send_data(other, b"hello").await.unwrap();
        comes_to_data(&mut client, other).await;
        // The client is told why it ends, too.
        let ended = client.ended().await;
        let why = ended.disconnect().map(|said| said.description.clone());
        assert_eq!(why.as_deref(), Some("a session may last 12s"));
    });
}

#[test]
fn a_signal_that_wants_an_answer_gets_one() {
    let server = Server::start();
    run(async {
        let mut client = log_in(&server, Options::pomerium()).await;
        let id = started(&mut client, "exec sleep 1000").await;
        assert!(client.request(id, "signal", &exec("TERM")).await.unwrap());
        let events = events(&mut client, id).await;
        assert!(!events.contains(&ChannelEvent::ExitStatus(0)), "{events:?}");
    });
}

#[test]
fn a_channel_whose_subsystem_was_refused_runs_a_command() {
    let server = Server::start();
    run(async {
        let mut client = log_in(&server, Options::pomerium()).await;
        let id = client.open_session().await.unwrap();
        assert!(
            !client
                .request(id, "subsystem", &exec("nope"))
                .await
                .unwrap()
        );
        assert!(client.request(id, "exec", &exec("exit 6")).await.unwrap());
        ends_with_status(&mut client, id, 6).await;
    });
}

#[test]
fn who_wants_no_more_sessions_gets_none() {
    let server = Server::start();
    run(async {
        let mut client = log_in(&server, Options::pomerium()).await;
        let id = started(&mut client, "cat").await;
        let answer = client.global_request("no-more-sessions@openssh.com", &[]);
        assert!(answer.await.unwrap().is_some());
        assert!(client.open_session().await.is_err());
        client.send_data(id, b"still here").await.unwrap();
        comes_to_data(&mut client, id).await;
    });
}

#[test]
fn who_is_not_logged_in_is_asked_for_no_sign_of_life() {
    let server = Server::start_with(
        "client_alive_interval = \"1s\"\nlogin_grace_time = \"30s\"",
        &[],
    );
    run(async {
        let mut client = Client::connect(server.address, Options::pomerium())
            .await
            .unwrap();
        // Three times it would have been asked, in a message that ends OpenSSH's client.
        tokio::time::sleep(Duration::from_millis(3500)).await;
        crate::support::authenticate(&mut client, &server.user())
            .await
            .unwrap();
        assert!(client.global_requests().is_empty());
        assert_eq!(client.exec("exit 0").await.unwrap().exit_status, Some(0));
    });
}

#[test]
fn a_client_that_takes_nothing_any_more_is_given_up() {
    let config = "client_alive_interval = \"1s\"\nclient_alive_count_max = 2";
    let mut server = Server::start_with(config, &[]);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _client = runtime.block_on(async {
        let mut client = log_in(&server, with_room_for_ever()).await;
        let id = started(&mut client, "cat /dev/zero").await;
        comes_to_data(&mut client, id).await;
        client
    });
    let closed = server.event("connection_closed", |_| true);
    assert_eq!(closed["reason"], "Keepalive timeout");
}

/// Waits until a program writes no more because nobody takes it.
fn stands_still(program: u32) {
    let written = || {
        let io = std::fs::read_to_string(format!("/proc/{program}/io")).unwrap();
        let line = io.lines().find(|line| line.starts_with("wchar")).unwrap();
        line.to_owned()
    };
    let (mut last, mut same) = (String::new(), 0);
    wait_for("a program that stands still", || {
        let now = written();
        same = if now == last { same + 1 } else { 0 };
        last = now;
        (same == 20).then_some(())
    });
}

#[test]
fn a_client_that_writes_before_it_reads_is_read() {
    let server = Server::start();
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    run(async {
        let mut client = log_in(&server, with_room_for_ever()).await;
        let input = started(&mut client, &format!("cat > {}", out.display())).await;
        let output = started(&mut client, "echo $$; exec cat /dev/zero").await;
        stands_still(number_of_program(&mut client, output).await);
        let sent = fill_window(&mut client, input);
        client.transport().flush().await.unwrap();
        comes_to_hold(&out, sent);
    });
}

#[test]
fn a_program_that_reads_nothing_is_hung_up_with_its_channel() {
    let server = Server::start();
    run(async {
        let mut client = log_in(&server, Options::pomerium()).await;
        let id = started(&mut client, "echo $$; exec sleep 1000").await;
        let program = number_of_program(&mut client, id).await;
        client.close(id).await.unwrap();
        wait_for("its end", || (!is_alive(program)).then_some(()));
        assert_eq!(client.exec("exit 4").await.unwrap().exit_status, Some(4));
    });
}

#[test]
fn many_that_have_read_all_keep_no_other_from_it() {
    let server = Server::start();
    run(async {
        let mut client = log_in(&server, Options::pomerium()).await;
        for _ in 0..10 {
            let id = started(&mut client, "read a; echo $a; exec sleep 1000").await;
            client.send_data(id, b"line\n").await.unwrap();
            comes_to_data(&mut client, id).await;
            client.eof(id).await.unwrap();
            client.close(id).await.unwrap();
        }
        let fill = async |client: &mut Client, id| fill_window(client, id);
        reads_what_was_sent_before_the_close(&mut client, fill).await;
    });
}
