//! The one signed request that Pomerium makes, and what it hears when it is refused.

use keys::certificate::{CertificateKind, CertificateOption, CertificateSpec, sign};
use keys::generate::{KeyKind, generate};
use pomerium_stand_in::authentication::publickey_request;
use pomerium_stand_in::client::{Authentication, Client, Error, Options};

use pomerium_stand_in::wire::Writer;

use crate::support::{Server, User, authenticate, authenticate_with, now, run};

#[test]
fn pomeriums_certificate_of_every_authority_and_key() {
    let kinds = [KeyKind::Ed25519, KeyKind::EcdsaP256, KeyKind::Rsa3072];
    let authorities = kinds.map(|kind| generate(kind, "").unwrap());
    let folder = tempfile::tempdir().unwrap();
    let lines: String = authorities
        .iter()
        .map(|ca| ca.public_key().to_openssh().unwrap() + "\n")
        .collect();
    std::fs::write(folder.path().join("ca.pub"), lines).unwrap();
    let server = Server::start_in(folder, authorities[0].clone(), "", &[]);
    run(async {
        for ca in &authorities {
            for kind in kinds {
                let user = User::new(kind, ca, |_| {});
                let mut client = Client::connect(server.address, Options::pomerium())
                    .await
                    .unwrap();
                authenticate(&mut client, &user).await.unwrap();
                assert_eq!(client.exec("exit 5").await.unwrap().exit_status, Some(5));
            }
        }
    });
}

/// One who is refused is given a moment to close the connection, not for ever.
#[test]
fn who_does_not_leave_after_the_last_word_is_left() {
    let mut server = Server::start_with("login_grace_time = \"1h\"", &[]);
    let user = server.user_with(|spec| spec.valid_before = now() - 1);
    run(async {
        let mut client = Client::connect(server.address, Options::pomerium())
            .await
            .unwrap();
        let refused = authenticate(&mut client, &user).await.unwrap_err();
        assert!(refused.disconnect().is_some(), "{refused}");
        server.event("connection_closed", |_| true);
        drop(client);
    });
}

/// Pomerium shows its user the description of a DISCONNECT, and nothing of a FAILURE.
#[test]
fn a_refused_user_reads_the_reason() {
    type Edit = fn(&mut CertificateSpec);
    let cases: [(&str, Edit); 7] = [
        ("expired", |spec| spec.valid_before = now() - 1),
        ("not valid before", |spec| spec.valid_after = now() + 1000),
        ("\"other\"", |spec| spec.principals = vec!["other".into()]),
        ("no principal", |spec| spec.principals.clear()),
        ("type is host", |spec| spec.kind = CertificateKind::Host),
        ("no-coffee", |spec| {
            spec.critical_options
                .push(CertificateOption::flag("no-coffee"))
        }),
        ("10.0.0.0/8", |spec| {
            spec.critical_options
                .push(CertificateOption::with_value("source-address", "10.0.0.0/8").unwrap());
        }),
    ];
    let mut server = Server::start();
    for (told, edit) in cases {
        let user = server.user_with(edit);
        let error = run(async {
            let mut client = Client::connect(server.address, Options::pomerium())
                .await
                .unwrap();
            authenticate(&mut client, &user).await.unwrap_err()
        });
        let disconnect = error
            .disconnect()
            .unwrap_or_else(|| panic!("{told}: {error}"));
        assert!(
            disconnect.description.starts_with("bastion: "),
            "{}",
            disconnect.description
        );
        assert!(
            disconnect.description.contains(told),
            "{told}: {}",
            disconnect.description
        );
        assert_eq!(server.event("login", |_| true)["verdict"], "refused");
    }
}

#[test]
fn a_stranger_hears_nothing_but_a_failure() {
    let mut server = Server::start();
    let other = generate(KeyKind::Ed25519, "").unwrap();
    let good = server.user();
    let mut forged = good.certificate.clone();
    *forged.last_mut().unwrap() ^= 1;
    let cases = [
        (
            "untrusted_authority",
            User::new(KeyKind::Ed25519, &other, |_| {}),
        ),
        (
            "bad_authority_signature",
            User::with_certificate(good.private.clone(), forged),
        ),
        // Somebody else's certificate: it is worth nothing without its key.
        (
            "no_proof_of_possession",
            User::with_certificate(other.clone(), good.certificate.clone()),
        ),
    ];
    for (code, user) in cases {
        let outcome = run(async {
            let mut client = Client::connect(server.address, Options::pomerium())
                .await
                .unwrap();
            authenticate(&mut client, &user).await.unwrap_err()
        });
        let Error::Unauthenticated(Authentication::Failure { methods, partial }) = &outcome else {
            panic!("{code}: {outcome}")
        };
        assert_eq!(
            (methods.as_slice(), *partial),
            (&["publickey".to_owned()][..], false)
        );
        assert_eq!(server.event("login", |_| true)["reason"]["code"], code);
    }
}

#[test]
fn a_plain_key_and_a_mismatch_are_failures() {
    let server = Server::start();
    let user = server.user();
    run(async {
        let plain = user.private.public_key().to_bytes().unwrap();
        let mut client = Client::connect(server.address, Options::pomerium())
            .await
            .unwrap();
        let outcome = authenticate_with(&mut client, "claw", &user.private, &plain).await;
        assert!(
            matches!(
                outcome,
                Err(Error::Unauthenticated(Authentication::Failure { .. }))
            ),
            "{outcome:?}"
        );
        // The algorithm's name says one thing and the certificate another.
        let mut client = Client::connect(server.address, Options::pomerium())
            .await
            .unwrap();
        let name = "ecdsa-sha2-nistp256-cert-v01@openssh.com";
        let outcome = client
            .authenticate_as("claw", name, &user.certificate, &user.private)
            .await;
        assert!(
            !matches!(outcome, Ok(Authentication::Success)),
            "{outcome:?}"
        );
        // A certificate without end.
        let mut client = Client::connect(server.address, Options::pomerium())
            .await
            .unwrap();
        let cut = &user.certificate[..user.certificate.len() / 2];
        let outcome = authenticate_with(&mut client, "claw", &user.private, cut).await;
        assert!(outcome.is_err());
    });
}

/// A refusal leaves nothing to be opened, by whatever is sent after it.
#[test]
fn nothing_can_be_opened_after_a_refusal() {
    let mut server = Server::start();
    let expired = server.user_with(|spec| spec.valid_before = now() - 1);
    let foreign = generate(KeyKind::Ed25519, "").unwrap();
    let stranger = User::new(KeyKind::Ed25519, &foreign, |_| {});
    for user in [expired, stranger] {
        run(async {
            let mut client = Client::connect(server.address, Options::lenient())
                .await
                .unwrap();
            assert!(authenticate(&mut client, &user).await.is_err());
            // CHANNEL_OPEN "session", and again, whether anybody listens or not.
            let mut open = vec![90];
            open.extend([0, 0, 0, 7]);
            open.extend(b"session");
            open.extend([0, 0, 0, 0, 0, 16, 0, 0, 0, 0, 128, 0]);
            for _ in 0..3 {
                if client.send_raw(&open).await.is_err() {
                    break;
                }
            }
            assert!(client.open_session().await.is_err());
        });
        server.event("connection_closed", |_| true);
    }
    let opened = server
        .events_so_far()
        .iter()
        .filter(|event| event["event"] == "session_opened")
        .count();
    assert_eq!(opened, 0);
}

#[test]
fn tries_are_counted_queries_included() {
    let server = Server::start_with("max_auth_tries = 3", &[]);
    let foreign = generate(KeyKind::Ed25519, "").unwrap();
    let spec = keys::pomerium::pomerium_spec("claw", now());
    let certificate = sign(&spec, foreign.public_key(), &foreign).unwrap();
    run(async {
        let mut client = Client::connect(server.address, Options::lenient())
            .await
            .unwrap();
        client.request_service("ssh-userauth").await.unwrap();
        let session_id = client.transport().session_id().to_owned();
        let name = "ssh-ed25519-cert-v01@openssh.com";
        let request = publickey_request(&session_id, "claw", name, &certificate, &foreign).unwrap();
        let mut tries = 0;
        let error = loop {
            match client.request_authentication(&request).await {
                Ok(Authentication::Failure { .. }) => tries += 1,
                Ok(other) => panic!("{other:?}"),
                Err(error) => break error,
            }
            assert!(tries <= 3);
        };
        assert_eq!(tries, 3);
        assert!(
            error.disconnect().unwrap().description.contains("Too many"),
            "{error}"
        );
    });
}

/// What a stranger says goes into messages between the parts, which have a limit.
#[test]
fn no_text_of_a_stranger_comes_between_the_parts() {
    let mut server = Server::start();
    let foreign = generate(KeyKind::Ed25519, "").unwrap();
    let long_key_id = User::new(KeyKind::Ed25519, &foreign, |spec| {
        spec.key_id = "ÿ".repeat(30_000)
    });
    let stranger = User::new(KeyKind::Ed25519, &foreign, |_| {});
    run(async {
        let mut client = Client::connect(server.address, Options::lenient())
            .await
            .unwrap();
        assert!(authenticate(&mut client, &long_key_id).await.is_err());
        let mut client = Client::connect(server.address, Options::lenient())
            .await
            .unwrap();
        let name = "x".repeat(200_000);
        let outcome =
            authenticate_with(&mut client, &name, &stranger.private, &stranger.certificate).await;
        assert!(outcome.is_err());
        let mut options = Options::lenient();
        options.config.offer.kex_algorithms = vec!["k".repeat(200_000)];
        assert!(Client::connect(server.address, options).await.is_err());
    });
    for _ in 0..3 {
        server.event("connection_closed", |_| true);
    }
    assert_eq!(
        crate::support::text(&server.run("echo still here").stdout),
        "still here\n"
    );
    server.event("session_closed", |_| true);
}

#[test]
fn whoever_does_not_log_in_is_told_that_the_time_is_over() {
    let mut server = Server::start_with("login_grace_time = \"1s\"", &[]);
    run(async {
        let mut client = Client::connect(server.address, Options::pomerium())
            .await
            .unwrap();
        client.request_service("ssh-userauth").await.unwrap();
        let error = client.ended().await;
        let disconnect = error.disconnect().unwrap_or_else(|| panic!("{error}"));
        assert_eq!(disconnect.description, "login grace time is over");
        // Whoever says nothing at all is just closed to.
        let mut silent = tokio::net::TcpStream::connect(server.address)
            .await
            .unwrap();
        tokio::io::copy(&mut silent, &mut tokio::io::sink())
            .await
            .unwrap();
    });
    for _ in 0..2 {
        let closed = server.event("connection_closed", |_| true);
        assert_eq!(closed["reason"], "login grace time is over");
    }
}

/// An agent may hold keys of kinds that nobody here knows, and they come first.
#[test]
fn a_key_of_an_unknown_kind_is_a_failure_and_the_next_may_do() {
    let server = Server::start();
    let user = server.user();
    run(async {
        let mut client = Client::connect(server.address, Options::lenient())
            .await
            .unwrap();
        let long = "x".repeat(100);
        for kind in ["ssh-ed448", "x509v3-ecdsa-sha2-nistp256", &long] {
            let blob = Writer::new().string(kind).string([7; 57]).into_vec();
            let tried = client.authenticate("claw", &user.private, &blob).await;
            assert!(
                matches!(tried, Ok(Authentication::Failure { .. })),
                "{kind}: {tried:?}"
            );
        }
        // The service has been asked for each time, too.
        authenticate(&mut client, &user).await.unwrap();
    });
}

/// RFC 4253 section 10.
#[test]
fn a_service_that_there_is_not_ends_the_connection() {
    let server = Server::start();
    run(async {
        let mut client = Client::connect(server.address, Options::lenient())
            .await
            .unwrap();
        let error = client.request_service("ssh-nothing").await.unwrap_err();
        let said = &error.disconnect().unwrap().description;
        assert_eq!(said, "there is no service \"ssh-nothing\"");
    });
}
