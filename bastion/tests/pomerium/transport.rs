//! Version, key exchange, ciphers: each that Pomerium may use, one at a time.

use pomerium_stand_in::client::{Client, Options};
use pomerium_stand_in::transport::{Cipher, KexMethod, Mac};

use crate::log_in;
use crate::support::{Server, run};

async fn works(server: &Server, options: Options) {
    let mut client = log_in(server, options).await;
    let output = client
        .exec_with_input("cat; echo err >&2; exit 3", b"some input")
        .await
        .unwrap();
    assert_eq!(
        (output.stdout.as_slice(), output.stderr.as_slice()),
        (&b"some input"[..], &b"err\n"[..])
    );
    assert_eq!(output.exit_status, Some(3));
    client.rekey().await.unwrap();
    assert_eq!(client.exec("exit 4").await.unwrap().exit_status, Some(4));
}

#[test]
fn every_key_exchange_and_host_key() {
    let server = Server::start();
    run(async {
        for &kex in KexMethod::ALL {
            works(&server, Options::pomerium().kex(kex)).await;
        }
        for host_key in [
            "ssh-ed25519",
            "rsa-sha2-256",
            "rsa-sha2-512",
            "ecdsa-sha2-nistp256",
        ] {
            works(&server, Options::pomerium().host_key(host_key)).await;
        }
    });
}

#[test]
fn every_cipher_and_mac() {
    let server = Server::start();
    run(async {
        for &cipher in Cipher::ALL {
            // Not offered to Pomerium where AES is fast; see below.
            if cipher != Cipher::ChaCha20Poly1305 {
                works(&server, Options::pomerium().cipher(cipher)).await;
            }
        }
        for &mac in Mac::ALL {
            works(
                &server,
                Options::pomerium().cipher(Cipher::Aes256Ctr).mac(mac),
            )
            .await;
        }
        let mut not_pomerium = Options::pomerium().cipher(Cipher::ChaCha20Poly1305);
        not_pomerium.config.version = "SSH-2.0-Other".into();
        works(&server, not_pomerium).await;
    });
}

#[cfg(target_arch = "x86_64")]
#[test]
fn pomerium_is_not_offered_chacha20_where_aes_is_fast() {
    if !std::arch::is_x86_feature_detected!("aes") {
        return eprintln!("SKIPPED: this processor has no AES instructions");
    }
    let server = Server::start();
    run(async {
        let options = Options::pomerium().cipher(Cipher::ChaCha20Poly1305);
        assert!(Client::connect(server.address, options).await.is_err());
    });
}

#[test]
fn the_server_asks_for_new_keys_without_a_stray_packet() {
    // Pomerium ends the connection on anything but the key exchange between the two KEXINITs.
    let server = Server::start_with("rekey_limit = 1048576\nclient_alive_interval = \"1s\"", &[]);
    run(async {
        let mut client = log_in(&server, Options::pomerium()).await;
        let output = client.exec("head -c 20000000 /dev/zero").await.unwrap();
        assert_eq!(
            (output.stdout.len(), output.exit_status),
            (20_000_000, Some(0))
        );
        let input = vec![7; 20_000_000];
        let output = client.exec_with_input("wc -c", &input).await.unwrap();
        assert_eq!(output.stdout, b"20000000\n");
        let output = client
            .exec_with_input("cat", &input[..5_000_000])
            .await
            .unwrap();
        assert_eq!(output.stdout.len(), 5_000_000);
    });
}

#[test]
fn each_direction_may_have_a_cipher_of_its_own() {
    let server = Server::start();
    let ciphers = [
        Cipher::Aes256Gcm,
        Cipher::Aes128Ctr,
        Cipher::ChaCha20Poly1305,
    ];
    run(async {
        for there in ciphers {
            for back in ciphers {
                let mut options = Options::lenient();
                options.config.version = "SSH-2.0-Other".into();
                let offer = &mut options.config.offer;
                offer.client_to_server.encryption = vec![there.name().to_owned()];
                offer.server_to_client.encryption = vec![back.name().to_owned()];
                works(&server, options).await;
            }
        }
    });
}

/// RFC 4253 section 11.4.
#[test]
fn a_message_that_nobody_knows_is_answered() {
    let server = Server::start();
    run(async {
        let mut client = log_in(&server, Options::lenient()).await;
        // After SERVICE_REQUEST and USERAUTH_REQUEST, counted from the new keys (strict kex).
        for sequence_number in [2, 3] {
            client.send_raw(&[192, 0]).await.unwrap();
            let answer = client.recv().await.unwrap();
            assert_eq!(answer.as_ref(), [3, 0, 0, 0, sequence_number]);
        }
        assert_eq!(client.exec("exit 4").await.unwrap().exit_status, Some(4));
    });
}
