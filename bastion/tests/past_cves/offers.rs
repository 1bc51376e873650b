//! What is offered, and what is not: read off the server's own KEXINIT.

use pomerium_stand_in::client::{Client, Options};
use pomerium_stand_in::transport::KexInit;

use crate::support::{Server, run};

async fn offer(server: &Server, version: &str) -> KexInit {
    let mut options = Options::lenient();
    options.config.version = version.to_owned();
    let mut client = Client::dial(server.address, options).await.unwrap();
    let payload = client.transport().next_packet().await.unwrap();
    KexInit::parse(&payload).unwrap()
}

/// DHEat (CVE-2002-20001), Logjam and russh's CVE-2023-28113 need a finite-field group; SLOTH and
/// SHAttered SHA-1; the plaintext recovery of 2008 CBC; CVE-2026-46702 compression.
#[test]
fn nothing_of_the_past_is_offered_to_anybody() {
    let server = Server::start();
    run(async {
        for version in ["SSH-2.0-Envoy", "SSH-2.0-OpenSSH_9.9", "SSH-2.0-x"] {
            let KexInit {
                kex_algorithms,
                server_host_key_algorithms,
                client_to_server,
                server_to_client,
                ..
            } = offer(&server, version).await;
            assert_eq!(
                kex_algorithms,
                [
                    "mlkem768x25519-sha256",
                    "curve25519-sha256",
                    "curve25519-sha256@libssh.org",
                    "ext-info-s",
                    "kex-strict-s-v00@openssh.com",
                ]
            );
            // RUSTSEC-2023-0071 (Marvin): RSA, whose private operation leaks time, comes last.
            assert_eq!(
                server_host_key_algorithms,
                [
                    "ssh-ed25519",
                    "ecdsa-sha2-nistp256",
                    "rsa-sha2-512",
                    "rsa-sha2-256"
                ]
            );
            for lists in [client_to_server, server_to_client] {
                assert_eq!(lists.compression, ["none"]);
                let macs = [
                    "hmac-sha2-256-etm@openssh.com",
                    "hmac-sha2-512-etm@openssh.com",
                ];
                assert!(
                    lists.mac.iter().all(|mac| macs.contains(&mac.as_str())),
                    "{:?}",
                    lists.mac
                );
                for cipher in &lists.encryption {
                    let modern = cipher == "chacha20-poly1305@openssh.com"
                        || cipher.ends_with("-gcm@openssh.com")
                        || cipher.ends_with("-ctr");
                    assert!(modern, "{cipher}");
                }
            }
        }
    });
}

/// Nor is it taken when a client insists.
#[test]
fn nothing_of_the_past_is_accepted() {
    let server = Server::start();
    let with = |edit: fn(&mut KexInit)| {
        let mut options = Options::lenient();
        edit(&mut options.config.offer);
        options
    };
    let both = |options: &mut KexInit, edit: fn(&mut pomerium_stand_in::transport::Lists)| {
        edit(&mut options.client_to_server);
        edit(&mut options.server_to_client);
    };
    let mut none_cipher = with(|_| {});
    both(&mut none_cipher.config.offer, |lists| {
        lists.encryption = vec!["none".into()]
    });
    let mut no_mac = with(|_| {});
    both(&mut no_mac.config.offer, |lists| {
        lists.encryption = vec!["aes256-ctr".into()];
        lists.mac = vec!["none".into()];
    });
    let mut sha1 = no_mac.clone();
    both(&mut sha1.config.offer, |lists| {
        lists.mac = vec!["hmac-sha1".into()]
    });
    let mut cbc = no_mac.clone();
    both(&mut cbc.config.offer, |lists| {
        lists.encryption = vec!["aes256-cbc".into()]
    });
    let mut zlib = with(|_| {});
    both(&mut zlib.config.offer, |lists| {
        lists.compression = vec!["zlib".into()]
    });
    let mut zlib_later = with(|_| {});
    both(&mut zlib_later.config.offer, |lists| {
        lists.compression = vec!["zlib@openssh.com".into()];
    });
    let cases = [
        ("no cipher", none_cipher),
        ("no MAC", no_mac),
        ("SHA-1", sha1),
        ("CBC", cbc),
        ("compression", zlib),
        ("compression after login", zlib_later),
        (
            "DH",
            with(|offer| offer.kex_algorithms = vec!["diffie-hellman-group14-sha256".into()]),
        ),
        (
            "GEX",
            with(|offer| {
                offer.kex_algorithms = vec!["diffie-hellman-group-exchange-sha256".into()];
            }),
        ),
        (
            "no key exchange",
            with(|offer| offer.kex_algorithms = vec!["none".into()]),
        ),
        (
            "markers alone",
            with(|offer| offer.kex_algorithms = vec!["ext-info-s".into()]),
        ),
        (
            "ssh-rsa",
            with(|offer| offer.server_host_key_algorithms = vec!["ssh-rsa".into()]),
        ),
        (
            "ssh-dss",
            with(|offer| offer.server_host_key_algorithms = vec!["ssh-dss".into()]),
        ),
    ];
    run(async {
        for (what, options) in cases {
            assert!(
                Client::connect(server.address, options).await.is_err(),
                "{what}"
            );
        }
        Client::connect(server.address, Options::lenient())
            .await
            .unwrap();
    });
}
