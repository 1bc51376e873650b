//! The advisories of russh, which bastion speaks SSH with: each replayed once.

use std::io::Write as _;
use std::net::TcpStream;

use pomerium_stand_in::client::{Client, Error, Options};
use pomerium_stand_in::message::SSH_MSG_KEXINIT;
use pomerium_stand_in::transport::{Forgery, KexMethod};
use pomerium_stand_in::wire::Writer;

use crate::support::{LIMIT, Server, run, wait_for};
use crate::{
    FLAT, IMPATIENT, connect, dial, is_cut, is_ended, is_there, kexinit, log_in, memory, share,
    still_serves,
};

/// CVE-2024-43410 and CVE-2026-46673: memory by the length that a packet claims.
#[test]
fn a_claimed_length_takes_no_memory() {
    let server = Server::start();
    let gate = server.gate();
    run(async {
        let before = memory(gate);
        let mut waiting = Vec::new();
        for length in [
            u32::MAX,
            u32::MAX - 3,
            0x8000_0000,
            0x4000_0000,
            1 << 20,
            0,
            1,
            5,
        ] {
            let forgery = Forgery {
                packet_length: Some(length),
                ..Forgery::default()
            };
            for _ in 0..4 {
                let mut client = dial(&server).await;
                client.forge(&kexinit(), forgery).await.unwrap();
                waiting.push(client);
                let mut client = connect(&server).await;
                client.forge(&[5], forgery).await.unwrap();
                waiting.push(client);
            }
        }
        assert!(memory(gate) < before + FLAT);
        drop(waiting);
    });
    still_serves(&server, gate);
}

/// CVE-2026-48108: what comes before the version, and how long it may be.
#[test]
fn a_version_is_short_and_first() {
    let server = Server::start();
    let gate = server.gate();
    let before = memory(gate);
    let endless = [b'x'; 64 * 1024];
    for start in [
        &b"SSH-2.0-"[..],
        b"GET / HTTP/1.1\r\n",
        b"",
        b"SSH-1.5-x\r\n",
        b"\r\n",
    ] {
        let mut stream = TcpStream::connect(server.address).unwrap();
        stream.set_write_timeout(Some(LIMIT)).unwrap();
        stream.write_all(start).unwrap();
        // 64 MiB without a version: the server must not wait for its end.
        let sent = (0..1024)
            .take_while(|_| stream.write_all(&endless).is_ok())
            .count();
        assert!(sent < 1024, "{start:?}");
    }
    assert!(memory(gate) < before + FLAT);
    still_serves(&server, gate);
}

/// CVE-2026-48110: strings and name-lists by the length that they claim.
#[test]
fn a_claimed_string_takes_no_memory() {
    let server = Server::start_with(IMPATIENT, &[]);
    let gate = server.gate();
    let before = memory(gate);
    let huge = [0xff_u8, 0xff, 0xff, 0xff];
    let lists = Writer::message(SSH_MSG_KEXINIT)
        .bytes([0; 16])
        .bytes(huge)
        .into_vec();
    run(async {
        for message in [lists, [&[30][..], &huge].concat()] {
            let mut client = dial(&server).await;
            if message[0] == 30 {
                client.send_raw(&kexinit()).await.unwrap();
            }
            client.send_raw(&message).await.unwrap();
            assert!(is_cut(&mut client).await);
        }
        for start in [
            &b"\x05"[..],
            b"\x32",
            b"\x32\0\0\0\x04claw",
            b"\x32\0\0\0\x04claw\0\0\0\x0essh-connection\0\0\0\x09publickey\x01",
        ] {
            let mut client = connect(&server).await;
            client.request_service("ssh-userauth").await.unwrap();
            client.send_raw(&[start, &huge].concat()).await.unwrap();
            assert!(client.open_session().await.is_err());
        }
        for (number, field) in [(80, false), (90, false), (98, true), (94, true), (95, true)] {
            let mut client = log_in(&server).await;
            let id = client.open_session().await.unwrap();
            let channel = client.remote_number(id).unwrap();
            let message = match field {
                true => Writer::message(number).u32(channel),
                false => Writer::message(number),
            };
            client
                .send_raw(&message.bytes(huge).into_vec())
                .await
                .unwrap();
            assert!(is_ended(&mut client).await, "{number}");
        }
    });
    assert!(memory(gate) < before + FLAT);
    still_serves(&server, gate);
}

/// CVE-2026-73430 and its post-quantum sibling: the all-zero point, and those of small order and
/// wrong length, make a shared secret that everybody knows, or a panic.
#[test]
fn points_that_agree_on_nothing_are_refused() {
    let server = Server::start();
    let gate = server.gate();
    let one = [&[1][..], &[0; 31]].concat();
    let small_order = [
        0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f, 0xc4,
        0x6a, 0xda, 0x09, 0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49,
        0xb8, 0x00,
    ];
    let points: [&[u8]; 6] = [&[0; 32], &one, &small_order, &[9; 31], &[9; 33], &[]];
    run(async {
        for point in points {
            let mut client = dial(&server).await;
            client.send_raw(&kexinit()).await.unwrap();
            client.send_raw(&share(point)).await.unwrap();
            assert!(is_cut(&mut client).await, "{point:?}");

            let mut options = Options::lenient().kex(KexMethod::MlKem768X25519Sha256);
            options
                .config
                .offer
                .kex_algorithms
                .push("kex-strict-c-v00@openssh.com".into());
            let offer = options.config.offer.encode();
            for encapsulation in [vec![0; 1184], vec![0xff; 1184], vec![0; 1183], vec![]] {
                let mut client = Client::dial(server.address, options.clone()).await.unwrap();
                client.send_raw(&offer).await.unwrap();
                let both = [&encapsulation, point].concat();
                client.send_raw(&share(&both)).await.unwrap();
                assert!(
                    is_cut(&mut client).await,
                    "{} and {point:?}",
                    encapsulation.len()
                );
            }
        }
    });
    still_serves(&server, gate);
}

/// CVE-2025-54804: a window that grows beyond 2^32 - 1, and one that was never granted.
#[test]
fn windows_do_not_overflow() {
    let server = Server::start();
    let gate = server.gate();
    run(async {
        let mut client = log_in(&server).await;
        let id = client.open_session().await.unwrap();
        let command = Writer::new().string("cat").into_vec();
        assert!(client.request(id, "exec", &command).await.unwrap());
        let channel = client.remote_number(id).unwrap();
        for _ in 0..4 {
            let adjust = Writer::message(93).u32(channel).u32(u32::MAX);
            client.send_raw(&adjust.into_vec()).await.unwrap();
        }
        client.send_data(id, b"still here").await.unwrap();
        assert!(is_there(&mut client).await);
        // More than the window: the connection ends, or the data is passed over; nothing is kept.
        let before = memory(gate);
        let mut client = log_in(&server).await;
        let id = client.open_session().await.unwrap();
        let command = Writer::new().string("sleep 1000").into_vec();
        assert!(client.request(id, "exec", &command).await.unwrap());
        let channel = client.remote_number(id).unwrap();
        let data = Writer::message(94)
            .u32(channel)
            .string(vec![7; 32_000])
            .into_vec();
        for _ in 0..8000 {
            if client.send_raw(&data).await.is_err() {
                break;
            }
        }
        assert!(memory(gate) < before + FLAT);
    });
    still_serves(&server, gate);
}

/// CVE-2026-73489: more terminal modes than there are; and half of one, and one after the last.
#[test]
fn terminal_modes_are_counted() {
    let server = Server::start();
    let gate = server.gate();
    let pty = |modes: &[u8]| {
        let request = Writer::new().string("xterm").u32(80).u32(24).u32(0).u32(0);
        request.string(modes).into_vec()
    };
    let mode = |code: u8| [code, 0, 0, 0, 1];
    let many: Vec<u8> = (0..100_000_u32 / 5)
        .flat_map(|number| mode(1 + (number % 159) as u8))
        .collect();
    let just_enough: Vec<u8> = (0..130_u8).flat_map(|number| mode(1 + number)).collect();
    run(async {
        for modes in [
            &many[..30_000],
            &many[..131 * 5],
            &many[..3],
            &[0, 0],
            &mode(255)[..4],
        ] {
            let mut client = log_in(&server).await;
            let id = client.open_session().await.unwrap();
            // Refused, or the end of the connection; a panic would be in the log of the gate.
            let accepted = client.request(id, "pty-req", &pty(modes)).await;
            assert!(!accepted.unwrap_or(false), "{} bytes", modes.len());
        }
        let mut client = log_in(&server).await;
        let id = client.open_session().await.unwrap();
        assert!(
            client
                .request(id, "pty-req", &pty(&just_enough))
                .await
                .unwrap()
        );
        let command = Writer::new().string("tty").into_vec();
        assert!(client.request(id, "exec", &command).await.unwrap());
    });
    still_serves(&server, gate);
}

/// CVE-2026-68930: requests, data and the rest on channels that were never opened, were refused,
/// or are closed.
#[test]
fn channels_that_are_not_open_do_nothing() {
    let server = Server::start();
    let gate = server.gate();
    let marker = server.folder.path().join("marker");
    let touch = format!("touch {}", marker.display());
    run(async {
        let mut client = log_in(&server).await;
        let refused = client.open("nonsense", &[]).await;
        assert!(matches!(refused, Err(Error::OpenFailure(_))));
        let closed = client.open_session().await.unwrap();
        let was = client.remote_number(closed).unwrap();
        client.close(closed).await.unwrap();
        for channel in [was, 0, 1, 2, 3, 7, u32::MAX] {
            let to = |number: u8| Writer::message(number).u32(channel);
            for message in [
                to(98).string("exec").bool(true).string(&touch),
                to(98).string("shell").bool(true),
                to(98).string("subsystem").bool(true).string("sftp"),
                to(98)
                    .string("window-change")
                    .bool(false)
                    .u32(1)
                    .u32(1)
                    .u32(0)
                    .u32(0),
                to(98).string("signal").bool(false).string("KILL"),
                to(94).string(&touch),
                to(95).u32(1).string(&touch),
                to(93).u32(u32::MAX),
                to(96),
                to(97),
            ] {
                client.send_raw(&message.into_vec()).await.unwrap();
            }
        }
        assert!(is_there(&mut client).await);
        assert_eq!(client.exec("echo in").await.unwrap().stdout, b"in\n");
    });
    assert!(!marker.exists());
    still_serves(&server, gate);
}

/// GHSA-fw5c-8223-6h42: a channel whose packets may hold nothing, or nothing yet.
#[test]
fn a_packet_size_of_zero_stalls_nobody_else() {
    let server = Server::start();
    let gate = server.gate();
    run(async {
        for (window, max_packet) in [(1 << 20, 0), (0, 1 << 15), (u32::MAX, 1), (1, u32::MAX)] {
            let mut options = Options::lenient();
            (options.window, options.max_packet) = (window, max_packet);
            options.automatic_window = false;
            let mut client = Client::connect(server.address, options).await.unwrap();
            crate::authenticate(&mut client, &server.user())
                .await
                .unwrap();
            let opened = client.open_session().await;
            if max_packet == 0 {
                assert!(opened.is_err() && is_there(&mut client).await);
                continue;
            }
            let id = opened.unwrap();
            let command = Writer::new().string("echo much; echo more").into_vec();
            client
                .send_request(id, "exec", &command, false)
                .await
                .unwrap();
            assert!(
                is_there(&mut client).await,
                "window {window}, packets of {max_packet}"
            );
        }
    });
    still_serves(&server, gate);
}

/// A panic in the gate is reported at its standard error and ends one connection; that none of
/// these tests provokes one is seen by the gate's last words in the log.
#[test]
fn a_connection_that_breaks_off_anywhere_is_forgotten() {
    let server = Server::start();
    let gate = server.gate();
    let before = crate::support::descriptors(gate);
    let version = b"SSH-2.0-x\r\n";
    let padded = |payload: &[u8]| {
        let padding = 16 - (5 + payload.len()) % 8;
        let length = u32::try_from(1 + payload.len() + padding).unwrap();
        [
            &length.to_be_bytes()[..],
            &[padding as u8],
            payload,
            &vec![0; padding],
        ]
        .concat()
    };
    let all = [
        &version[..],
        &padded(&kexinit()),
        &padded(&share(&[9; 32])),
        &padded(&[21]),
    ]
    .concat();
    for end in (0..all.len()).step_by(3) {
        let mut stream = TcpStream::connect(server.address).unwrap();
        stream.write_all(&all[..end]).unwrap();
    }
    wait_for("as many descriptors as before", || {
        (crate::support::descriptors(gate) == before).then_some(())
    });
    still_serves(&server, gate);
}
