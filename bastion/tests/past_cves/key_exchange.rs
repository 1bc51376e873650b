//! Terrapin (CVE-2023-48795, arXiv 2509.10895): what strict key exchange must not let pass.

use pomerium_stand_in::client::{Client, Options};
use pomerium_stand_in::message::{
    SSH_MSG_DISCONNECT, SSH_MSG_KEXINIT, SSH_MSG_NEWKEYS, SSH_MSG_REQUEST_FAILURE,
};
use pomerium_stand_in::transport::{Cipher, Mac};

use crate::support::{Server, run};
use crate::{dial, is_cut, is_ended, kexinit, log_in, share, still_serves};

/// The states of a first key exchange, by what has been sent, and what must come next.
fn states() -> [(Vec<Vec<u8>>, u8); 3] {
    [
        (vec![], SSH_MSG_KEXINIT),
        (vec![kexinit()], 30),
        (vec![kexinit(), share(&[9; 32])], SSH_MSG_NEWKEYS),
    ]
}

/// A message that is no part of the key exchange, in each of its states, alone and followed by what
/// should have been there: the prefix that Terrapin cuts off must never have been accepted.
#[test]
fn no_stray_message_survives_a_strict_key_exchange() {
    let server = Server::start();
    let gate = server.gate();
    run(async {
        for (sent, next) in states() {
            let strays =
                (0..=u8::MAX).filter(|number| ![next, SSH_MSG_DISCONNECT].contains(number));
            for stray in strays {
                let mut client = dial(&server).await;
                for message in &sent {
                    client.send_raw(message).await.unwrap();
                }
                // The body of an SSH_MSG_IGNORE or DEBUG, and of most others' beginning.
                client.send_raw(&[stray, 0, 0, 0, 0]).await.unwrap();
                let expected = match next {
                    SSH_MSG_KEXINIT => kexinit(),
                    30 => share(&[9; 32]),
                    _ => vec![SSH_MSG_NEWKEYS],
                };
                // The connection may be gone by now.
                let _gone = client.send_raw(&expected).await;
                if next == SSH_MSG_KEXINIT {
                    let _gone = client.send_raw(&share(&[9; 32])).await;
                }
                assert!(is_cut(&mut client).await, "{stray} where {next} must come");
            }
        }
    });
    still_serves(&server, gate);
}

/// A message that says nothing ends the connection, whatever came before.
#[test]
fn no_empty_message_is_passed_over() {
    let server = Server::start();
    run(async {
        for (sent, next) in states() {
            let mut client = dial(&server).await;
            for message in &sent {
                client.send_raw(message).await.unwrap();
            }
            client.send_raw(&[]).await.unwrap();
            if next == SSH_MSG_KEXINIT {
                let _gone = client.send_raw(&kexinit()).await;
            }
            if next != SSH_MSG_NEWKEYS {
                let _gone = client.send_raw(&share(&[9; 32])).await;
            }
            let _gone = client.send_raw(&[SSH_MSG_NEWKEYS]).await;
            assert!(is_cut(&mut client).await, "nothing where {next} must come");
        }
    });
}

/// Both counters start again at zero with the keys: whoever deletes or adds packets is found out.
#[test]
fn sequence_numbers_start_again_with_the_keys() {
    let server = Server::start();
    // Those whose integrity depends on the counter; GCM has its own.
    let with = |cipher, mac| {
        let mut options = Options::lenient().cipher(cipher).mac(mac);
        options.config.version = "SSH-2.0-Other".to_owned();
        options
    };
    run(async {
        for options in [
            with(Cipher::ChaCha20Poly1305, Mac::HmacSha256Etm),
            with(Cipher::Aes256Ctr, Mac::HmacSha256Etm),
        ] {
            let mut client = Client::connect(server.address, options.clone())
                .await
                .unwrap();
            assert!(client.transport().is_strict());
            client.transport().skip_sequence_numbers(1);
            let request = client.request_service("ssh-userauth").await;
            assert!(request.is_err(), "a packet was missing and nobody noticed");
            // The same with nothing missing.
            let mut client = Client::connect(server.address, options).await.unwrap();
            client.request_service("ssh-userauth").await.unwrap();
        }
    });
}

/// Later exchanges begin again, too, and let nothing but themselves through.
#[test]
fn a_later_key_exchange_is_as_strict() {
    let server = Server::start();
    let gate = server.gate();
    run(async {
        for stray in [50_u8, 61, 80, 90, 94, 98, 100, 192] {
            let mut client = log_in(&server).await;
            client.send_raw(&kexinit()).await.unwrap();
            client.send_raw(&[stray, 0, 0, 0, 0]).await.unwrap();
            assert!(is_ended(&mut client).await, "{stray}");
        }
        for stray in [SSH_MSG_KEXINIT, SSH_MSG_NEWKEYS, 31, 32, 33, 34] {
            let mut client = log_in(&server).await;
            client.send_raw(&kexinit()).await.unwrap();
            client.send_raw(&[stray, 0, 0, 0, 0]).await.unwrap();
            assert!(is_ended(&mut client).await, "{stray}");
        }
    });
    still_serves(&server, gate);
}

/// Each costs a signature by the host key, and nobody needs one before the login.
#[test]
fn a_stranger_gets_no_second_key_exchange() {
    let server = Server::start();
    let gate = server.gate();
    run(async {
        let mut client = crate::connect(&server).await;
        client.send_raw(&kexinit()).await.unwrap();
        assert!(is_ended(&mut client).await);
    });
    still_serves(&server, gate);
}

/// paramiko answers what it reads until our KEXINIT comes.
#[test]
fn an_answer_after_the_clients_kexinit_is_taken() {
    let server = Server::start();
    let gate = server.gate();
    run(async {
        let mut client = log_in(&server).await;
        client.send_raw(&kexinit()).await.unwrap();
        client.send_raw(&[SSH_MSG_REQUEST_FAILURE]).await.unwrap();
        let transport = client.transport();
        while transport.next_packet().await.unwrap().first() != Some(&SSH_MSG_KEXINIT) {}
        // Nor does the connection end by it.
        client.send_raw(&share(&[9; 32])).await.unwrap();
        while client.transport().next_packet().await.unwrap().first() != Some(&31) {}
    });
    still_serves(&server, gate);
}
