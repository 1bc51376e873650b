//! Our client against sshd.

use crate::fixture::{Sshd, generate, noise};
use bytes::Bytes;
use pomerium_stand_in::client::{Authentication, ChannelEvent, Client, Error, Options};
use pomerium_stand_in::transport::{self, Cipher, Forgery, KexMethod, Mac};
use pomerium_stand_in::wire::Writer;
use ssh_key::{Algorithm, EcdsaCurve};

/// sshd before OpenSSH 9.9 has no ML-KEM.
fn kex() -> [KexMethod; 2] {
    [
        KexMethod::Curve25519Sha256,
        KexMethod::Curve25519Sha256Libssh,
    ]
}

async fn logged_in(sshd: &Sshd, options: Options) -> Client {
    let (key, certificate) = sshd.certificate(Algorithm::Ed25519);
    let mut client = Client::connect(&sshd.address, options).await.unwrap();
    let outcome = client
        .authenticate(&sshd.user, &key, &certificate)
        .await
        .unwrap();
    outcome.success().unwrap();
    client
}

#[tokio::test]
async fn commands_and_their_ends() {
    let Some(sshd) = Sshd::start() else { return };
    let mut client = logged_in(&sshd, Options::pomerium()).await;
    assert_eq!(client.banners(), ["welcome to the tests\n"]);
    let output = client.exec("echo out; echo err >&2; exit 7").await.unwrap();
    assert_eq!(
        (&output.stdout[..], &output.stderr[..]),
        (&b"out\n"[..], &b"err\n"[..])
    );
    assert_eq!((output.exit_status, output.exit_signal), (Some(7), None));
    let output = client.exec("kill -TERM $$").await.unwrap();
    assert_eq!(
        (output.exit_status, output.exit_signal.as_deref()),
        (None, Some("TERM"))
    );
    let output = client
        .exec_with_input("tr a-z A-Z", b"hello")
        .await
        .unwrap();
    assert_eq!(output.stdout, b"HELLO");
    // Pomerium's own tests use a shell without a terminal.
    let shell = client.open_session().await.unwrap();
    client
        .send_request(shell, "shell", &[], false)
        .await
        .unwrap();
    client.send_data(shell, b"exit 3\n").await.unwrap();
    loop {
        match client.event(shell).await.unwrap() {
            ChannelEvent::ExitStatus(status) => assert_eq!(status, 3),
            ChannelEvent::Close => break,
            _ => {}
        }
    }
}

#[tokio::test]
async fn bulk_both_ways_in_every_cipher_with_rekeys() {
    let Some(sshd) = Sshd::start() else { return };
    let input = noise(4_000_037);
    for cipher in Cipher::ALL {
        for mac in Mac::ALL {
            let options = Options::pomerium()
                .cipher(*cipher)
                .mac(*mac)
                .rekey_after(1 << 20);
            let mut client = logged_in(&sshd, options).await;
            let output = client.exec_with_input("cat", &input).await.unwrap();
            assert!(output.stdout == input, "{cipher:?} {mac:?}");
            assert!(client.transport().exchanges() > 3);
            client.rekey().await.unwrap();
            assert_eq!(client.exec("true").await.unwrap().exit_status, Some(0));
        }
    }
}

#[tokio::test]
async fn every_method_host_key_and_user_key() {
    let Some(sshd) = Sshd::start() else { return };
    for method in kex() {
        for host_key in [
            "ssh-ed25519",
            "rsa-sha2-256",
            "rsa-sha2-512",
            "ecdsa-sha2-nistp256",
        ] {
            let options = Options::pomerium().kex(method).host_key(host_key);
            let mut client = logged_in(&sshd, options).await;
            assert_eq!(client.transport().agreed().unwrap().host_key, host_key);
            client.rekey().await.unwrap();
        }
    }
    let ecdsa = |curve| Algorithm::Ecdsa { curve };
    let kinds = [
        ecdsa(EcdsaCurve::NistP256),
        ecdsa(EcdsaCurve::NistP384),
        ecdsa(EcdsaCurve::NistP521),
        Algorithm::Rsa { hash: None },
    ];
    for kind in kinds {
        let (key, certificate) = sshd.certificate(kind.clone());
        let mut client = Client::connect(&sshd.address, Options::pomerium())
            .await
            .unwrap();
        let outcome = client
            .authenticate(&sshd.user, &key, &certificate)
            .await
            .unwrap();
        assert_eq!(outcome, Authentication::Success, "{kind:?}");
    }
}

#[tokio::test]
async fn a_stranger_is_refused() {
    let Some(sshd) = Sshd::start() else { return };
    let key = generate(Algorithm::Ed25519);
    let mut client = Client::connect(&sshd.address, Options::pomerium())
        .await
        .unwrap();
    let blob = key.public_key().to_bytes().unwrap();
    let outcome = client.authenticate(&sshd.user, &key, &blob).await.unwrap();
    assert!(
        matches!(outcome, Authentication::Failure { .. }),
        "{outcome:?}"
    );
    // A certificate signed by somebody else's CA; the service is granted already.
    let other = generate(Algorithm::Ed25519);
    let forged =
        keys::pomerium::pomerium_certificate(&sshd.user, key.public_key(), &other, 1 << 31);
    let algorithm = "ssh-ed25519-cert-v01@openssh.com";
    let request = pomerium_stand_in::authentication::publickey_request(
        client.transport().session_id(),
        &sshd.user,
        algorithm,
        &forged.unwrap(),
        &key,
    );
    let outcome = client
        .request_authentication(&request.unwrap())
        .await
        .unwrap();
    assert!(
        matches!(outcome, Authentication::Failure { .. }),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn windows_by_hand_are_respected() {
    let Some(sshd) = Sshd::start() else { return };
    let mut options = Options::pomerium();
    options.automatic_window = false;
    options.window = 1000;
    options.max_packet = 300;
    let mut client = logged_in(&sshd, options).await;
    let id = client.open_session().await.unwrap();
    let command = Writer::new().string("head -c 5000 /dev/zero").into_vec();
    assert!(client.request(id, "exec", &command).await.unwrap());
    let mut received = 0;
    while received < 5000 {
        match client.event(id).await.unwrap() {
            ChannelEvent::Data(data) => {
                received += data.len();
                if received % 1000 == 0 && received < 5000 {
                    client.adjust_window(id, 1000).await.unwrap();
                }
            }
            ChannelEvent::WindowAdjust(_) | ChannelEvent::ExitStatus(0) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn sixty_channels_at_once() {
    let Some(sshd) = Sshd::start() else { return };
    let mut client = logged_in(&sshd, Options::pomerium()).await;
    let mut ids = Vec::new();
    for _ in 0..60 {
        let id = client.open_session().await.unwrap();
        let command = Writer::new().string("cat").into_vec();
        assert!(client.request(id, "exec", &command).await.unwrap());
        ids.push(id);
    }
    for id in &ids {
        client.send_data(*id, &id.to_be_bytes()).await.unwrap();
        client.eof(*id).await.unwrap();
    }
    for id in ids {
        let mut received = Vec::new();
        client
            .transact(id, std::iter::empty::<Bytes>(), |event| {
                if let ChannelEvent::Data(data) = event {
                    received.extend_from_slice(data);
                }
            })
            .await
            .unwrap();
        assert_eq!(received, id.to_be_bytes());
    }
}

#[tokio::test]
async fn forged_packets_end_the_connection() {
    let Some(sshd) = Sshd::start() else { return };
    let forgeries = [
        Forgery {
            wrong_mac: true,
            ..Forgery::default()
        },
        Forgery {
            sequence: Some(77),
            ..Forgery::default()
        },
    ];
    for forgery in forgeries {
        let options = Options::pomerium().cipher(Cipher::ChaCha20Poly1305);
        let mut client = logged_in(&sshd, options).await;
        client.forge(&[2, 0, 0, 0, 0], forgery).await.unwrap();
        let end = client.ended().await;
        assert!(
            matches!(
                end,
                Error::Transport(transport::Error::Closed | transport::Error::Io(_))
            ) || end.disconnect().is_some(),
            "{forgery:?}: {end:?}"
        );
    }
    // Terrapin: a packet before KEXINIT, which strict key exchange forbids.
    let mut client = Client::dial(&sshd.address, Options::pomerium())
        .await
        .unwrap();
    client.send_raw(&[2, 0, 0, 0, 0]).await.unwrap();
    let end = client.exchange_keys().await.unwrap_err();
    assert!(end.violation().is_none(), "{end:?}");
}
