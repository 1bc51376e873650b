//! Our two roles against each other, in process.

use super::*;
use crate::message::SSH_MSG_IGNORE;
use crate::wire::Writer;
use ssh_key::{Algorithm, EcdsaCurve, PrivateKey};
use std::sync::LazyLock;

static HOST_KEYS: LazyLock<Arc<HostKeys>> = LazyLock::new(|| {
    let algorithms = [
        Algorithm::Ed25519,
        Algorithm::Rsa { hash: None },
        Algorithm::Ecdsa {
            curve: EcdsaCurve::NistP256,
        },
    ];
    let keys = algorithms.map(|algorithm| PrivateKey::random(&mut rand::rng(), algorithm).unwrap());
    Arc::new(HostKeys::new(keys.to_vec()))
});

fn configs() -> (Config, Config) {
    let mut configs = (
        Config::client(HOST_KEYS.algorithms()),
        Config::server(HOST_KEYS.clone()),
    );
    for config in [&mut configs.0, &mut configs.1] {
        config.exchange_limit = Duration::from_secs(20);
    }
    configs
}

async fn open(client: Config, server: Config) -> (Transport, Transport) {
    let (a, b) = tokio::io::duplex(1 << 16);
    let (client, server) = tokio::join!(
        Transport::open(a, Role::Client, client),
        Transport::open(b, Role::Server, server)
    );
    (client.unwrap(), server.unwrap())
}

async fn keyed(client: Config, server: Config) -> (Transport, Transport) {
    let (mut client, mut server) = open(client, server).await;
    let (a, b) = tokio::join!(client.exchange_keys(), server.exchange_keys());
    a.unwrap();
    b.unwrap();
    (client, server)
}

/// Drives both until each has a message.
async fn messages(client: &mut Transport, server: &mut Transport) -> (Bytes, Bytes) {
    let (mut at_client, mut at_server) = (None, None);
    loop {
        tokio::select! {
            event = client.next(true) => if let Event::Message(message) = event.unwrap() {
                at_client = Some(message);
            },
            event = server.next(true) => if let Event::Message(message) = event.unwrap() {
                at_server = Some(message);
            },
        }
        if let (Some(at_client), Some(at_server)) = (&at_client, &at_server) {
            return (at_client.clone(), at_server.clone());
        }
    }
}

fn ignore(len: usize) -> Vec<u8> {
    Writer::message(SSH_MSG_IGNORE)
        .string(vec![7; len])
        .into_vec()
}

/// What the client makes of a first key exchange that cannot succeed.
async fn refused(client: &mut Transport, server: &mut Transport) -> Result<(), Error> {
    let (client, ()) = tokio::join!(client.exchange_keys(), async {
        server.start_exchange().unwrap();
        server.flush().await.unwrap();
    });
    client
}

/// Sends messages of many lengths both ways.
async fn converse(client: &mut Transport, server: &mut Transport) {
    for len in (0..70).chain([32_768, 200_000]) {
        client.send(&ignore(len)).unwrap();
        server.send(&ignore(len + 1)).unwrap();
        let (at_client, at_server) = messages(client, server).await;
        assert_eq!(at_server, ignore(len));
        assert_eq!(at_client, ignore(len + 1));
    }
}

#[tokio::test]
async fn every_cipher_and_mac_with_rekeys() {
    for cipher in Cipher::ALL {
        for mac in Mac::ALL {
            let (mut client, mut server) = configs();
            client.offer.restrict_ciphers(&[*cipher]);
            client.offer.restrict_macs(&[*mac]);
            server.rekey_after = Some(10_000);
            let (mut client, mut server) = keyed(client, server).await;
            let agreed = client.agreed().unwrap();
            assert_eq!(agreed.client_to_server.cipher, cipher.name());
            assert_eq!(agreed.server_to_client.cipher, cipher.name());
            converse(&mut client, &mut server).await;
            assert!(client.exchanges() > 1, "{cipher:?} {mac:?}");
        }
    }
}

#[tokio::test]
async fn every_method_and_host_key_with_rekeys() {
    for method in KexMethod::ALL {
        for host_key in HOST_KEYS.algorithms() {
            let (mut client, server) = configs();
            client.offer.restrict_kex(&[*method]);
            client.offer.server_host_key_algorithms = vec![host_key.clone()];
            client.rekey_after = Some(1_000);
            let (mut client, mut server) = keyed(client, server).await;
            assert_eq!(client.agreed().unwrap().kex, method.name());
            assert_eq!(client.agreed().unwrap().host_key, host_key);
            assert_eq!(client.session_id(), server.session_id());
            converse(&mut client, &mut server).await;
            assert!(server.exchanges() > 1, "{method:?} {host_key}");
        }
    }
}

#[tokio::test]
async fn both_sides_may_start_at_once_and_strict_kex_counts_from_zero() {
    let (client, server) = configs();
    let (mut client, mut server) = keyed(client, server).await;
    assert_eq!(client.sequence_numbers(), (0, 0));
    client.start_exchange().unwrap();
    server.start_exchange().unwrap();
    client.send(&ignore(1)).unwrap();
    server.send(&ignore(2)).unwrap();
    let (at_client, at_server) = messages(&mut client, &mut server).await;
    assert_eq!((at_client, at_server), (ignore(2).into(), ignore(1).into()));
    assert_eq!((client.exchanges(), server.exchanges()), (2, 2));
    assert_eq!(client.sequence_numbers(), (1, 1));
}

#[tokio::test]
async fn without_the_servers_marker_pomerium_refuses() {
    let (client, mut server) = configs();
    server.markers.clear();
    server.pomerium_rules = false;
    let (mut client, mut server) = open(client, server).await;
    let client = refused(&mut client, &mut server).await;
    assert!(
        matches!(client, Err(Error::Violation(Violation::StrictKexRequired))),
        "{client:?}"
    );
}

#[tokio::test]
async fn a_lenient_client_goes_without_strict_kex() {
    let (mut client, mut server) = configs();
    for config in [&mut client, &mut server] {
        config.markers.clear();
        config.pomerium_rules = false;
    }
    let (mut client, mut server) = keyed(client, server).await;
    assert!(!client.is_strict());
    assert_eq!(client.sequence_numbers(), (3, 3)); // KEXINIT, ECDH, NEWKEYS
    client.start_exchange().unwrap();
    converse(&mut client, &mut server).await;
}

#[tokio::test]
async fn a_wrong_mac_and_a_skipped_sequence_number_are_noticed() {
    for cipher in Cipher::ALL {
        let (mut client, server) = configs();
        client.offer.restrict_ciphers(&[*cipher]);
        let (mut client, mut server) = keyed(client, server).await;
        client
            .forge(
                &ignore(9),
                Forgery {
                    wrong_mac: true,
                    ..Forgery::default()
                },
            )
            .unwrap();
        let (received, _) = tokio::join!(server.next(true), client.flush());
        assert!(
            matches!(received, Err(Error::Inauthentic(_))),
            "{cipher:?}: {received:?}"
        );
    }
    let (client, server) = configs();
    let (mut client, mut server) = keyed(client, server).await;
    client.skip_sequence_numbers(1);
    client.send(&ignore(9)).unwrap();
    let (received, _) = tokio::join!(server.next(true), client.flush());
    assert!(received.is_err());
}

/// What a client meets after its KEXINIT: each row is sent by the server in place of its reply.
#[tokio::test]
async fn stray_messages_in_a_rekey_are_fatal() {
    let strays = [
        vec![2, 0, 0, 0, 0],
        vec![4, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        vec![93, 0, 0, 0, 0, 0, 0, 0, 1],
        vec![99, 0, 0, 0, 0],
    ];
    for stray in strays {
        let (client, server) = configs();
        let (mut client, mut server) = keyed(client, server).await;
        server.start_exchange().unwrap();
        server.forge(&stray, Forgery::default()).unwrap();
        let (received, _) = tokio::join!(client.next(true), server.flush());
        let number = stray[0];
        assert!(
            matches!(&received, Err(Error::Violation(Violation::DuringKeyExchange { number: n })) if *n == number),
            "{received:?}"
        );
    }
}

/// RFC 4253 section 7.1: what is on its way when KEXINIT crosses it is no violation.
#[tokio::test]
async fn messages_on_their_way_before_the_peers_kexinit_are_delivered() {
    let (client, server) = configs();
    let (mut client, mut server) = keyed(client, server).await;
    client.start_exchange().unwrap();
    server.forge(&ignore(3), Forgery::default()).unwrap();
    server.flush().await.unwrap();
    assert_eq!(
        client.next(true).await.unwrap(),
        Event::Message(ignore(3).into())
    );
    converse(&mut client, &mut server).await;
}

#[tokio::test]
async fn newkeys_and_nothing_else_after_the_reply() {
    let (client, server) = configs();
    let (mut client, mut server) = keyed(client, server).await;
    client.start_exchange().unwrap();
    client.flush().await.unwrap();
    server.start_exchange().unwrap();
    assert_eq!(server.next_packet().await.unwrap()[0], SSH_MSG_KEXINIT);
    server.flush().await.unwrap();
    // The server sends NEWKEYS and data under the old keys, without a reply.
    server
        .forge(&[SSH_MSG_NEWKEYS], Forgery::default())
        .unwrap();
    let (received, _) = tokio::join!(client.next(true), server.flush());
    assert!(matches!(
        received,
        Err(Error::Violation(Violation::DuringKeyExchange {
            number: SSH_MSG_NEWKEYS
        }))
    ));
}

#[tokio::test]
async fn packet_lengths_are_pomeriums() {
    let rows = [
        (Some(262_145), None, None),
        (Some(4), None, None),
        (Some(0xffff_fff0), None, None),
        (None, Some(3), None),
        (None, Some(255), None),
        (None, None, Some(5)),
    ];
    for (packet_length, padding_length, padding) in rows {
        let (client, server) = configs();
        let (mut client, mut server) = keyed(client, server).await;
        let forgery = Forgery {
            packet_length,
            padding_length,
            padding,
            ..Forgery::default()
        };
        server.forge(&ignore(9), forgery).unwrap();
        let (received, _) = tokio::join!(client.next(true), server.flush());
        assert!(
            matches!(received, Err(Error::Violation(_))),
            "{forgery:?}: {received:?}"
        );
    }
}

#[tokio::test]
async fn a_wrong_guess_is_ignored() {
    let (mut client, server) = configs();
    client.offer.first_kex_packet_follows = true;
    client.offer.kex_algorithms.reverse();
    let (mut client, mut server) = open(client, server).await;
    client.start_exchange().unwrap();
    client
        .forge(
            &Writer::message(30).string([9; 32]).into_vec(),
            Forgery::default(),
        )
        .unwrap();
    let (a, b) = tokio::join!(client.exchange_keys(), server.exchange_keys());
    a.unwrap();
    b.unwrap();
}

#[tokio::test]
async fn no_common_algorithm_reads_as_in_pomerium() {
    let (mut client, server) = configs();
    client.offer.server_host_key_algorithms = vec!["ssh-rsa".to_owned()];
    let (mut client, mut server) = open(client, server).await;
    let client = refused(&mut client, &mut server).await;
    let Err(Error::Violation(violation)) = client else {
        panic!("{client:?}")
    };
    assert_eq!(
        violation.to_disconnect().description,
        "Invalid Argument: no common algorithm for host key; client offered: [\"ssh-rsa\"]; \
         server offered: [\"ssh-ed25519\", \"rsa-sha2-256\", \"rsa-sha2-512\", \"ecdsa-sha2-nistp256\"]"
    );
}
