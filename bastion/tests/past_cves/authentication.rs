//! State that outlives the request it belongs to.

use keys::certificate::CertificateOption;
use pomerium_stand_in::authentication::{publickey_query, publickey_request};
use pomerium_stand_in::client::Authentication;

use crate::connect;
use crate::support::{Server, User, authenticate, run};

const ED25519: &str = "ssh-ed25519-cert-v01@openssh.com";

fn with_forced_command(server: &Server) -> User {
    server.user_with(|spec| {
        let forced = CertificateOption::with_value("force-command", "echo forced").unwrap();
        spec.critical_options.push(forced);
        spec.extensions
            .retain(|extension| extension.name != "permit-pty");
    })
}

/// Go's CVE-2024-45337: what was asked about is not what was signed for.
#[test]
fn permissions_are_those_of_the_certificate_that_was_signed_for() {
    let server = Server::start();
    let (free, forced) = (server.user(), with_forced_command(&server));
    run(async {
        for (asked, signed, output) in [(&free, &forced, "forced\n"), (&forced, &free, "free\n")] {
            let mut client = connect(&server).await;
            client.request_service("ssh-userauth").await.unwrap();
            let query = publickey_query("claw", ED25519, &asked.certificate);
            let answer = client.request_authentication(&query).await.unwrap();
            assert!(matches!(answer, Authentication::Continue(_)), "{answer:?}");
            let session_id = client.transport().session_id().to_owned();
            let (certificate, key) = (&signed.certificate, &signed.private);
            let request = publickey_request(&session_id, "claw", ED25519, certificate, key);
            let answer = client
                .request_authentication(&request.unwrap())
                .await
                .unwrap();
            assert_eq!(answer, Authentication::Success);
            let ran = client.exec("echo free").await.unwrap();
            assert_eq!(ran.stdout, output.as_bytes());
        }
    });
}

/// The certificate that was asked about, signed for with another's key.
#[test]
fn an_offered_certificate_is_worth_nothing_without_its_key() {
    let server = Server::start();
    let (owner, thief) = (server.user(), server.user());
    run(async {
        let mut client = connect(&server).await;
        client.request_service("ssh-userauth").await.unwrap();
        let query = publickey_query("claw", ED25519, &owner.certificate);
        let answer = client.request_authentication(&query).await.unwrap();
        assert!(matches!(answer, Authentication::Continue(_)), "{answer:?}");
        let session_id = client.transport().session_id().to_owned();
        let (certificate, key) = (&owner.certificate, &thief.private);
        let request = publickey_request(&session_id, "claw", ED25519, certificate, key);
        let answer = client
            .request_authentication(&request.unwrap())
            .await
            .unwrap();
        assert!(
            matches!(answer, Authentication::Failure { .. }),
            "{answer:?}"
        );
        assert!(client.open_session().await.is_err());
    });
}

/// russh's CVE-2026-46705 and commit bca12c7: the user's name may change between requests, and what
/// was found about one name says nothing about the other.
#[test]
fn a_change_of_the_users_name_takes_nothing_along() {
    let server = Server::start();
    let user = server.user();
    run(async {
        for (asked, signed, succeeds) in [
            ("claw", "root", false),
            ("claw", "", false),
            ("claw", "claw\0", false),
            ("root", "claw", true),
        ] {
            let mut client = connect(&server).await;
            client.request_service("ssh-userauth").await.unwrap();
            let query = publickey_query(asked, ED25519, &user.certificate);
            client.request_authentication(&query).await.unwrap();
            let session_id = client.transport().session_id().to_owned();
            let (certificate, key) = (&user.certificate, &user.private);
            let request = publickey_request(&session_id, signed, ED25519, certificate, key);
            // A refusal with its reason is a DISCONNECT.
            let answer = client.request_authentication(&request.unwrap()).await;
            let succeeded = matches!(answer, Ok(Authentication::Success));
            assert_eq!(
                succeeded, succeeds,
                "{asked:?}, then {signed:?}: {answer:?}"
            );
        }
    });
}

/// A signature is for one session: what was signed for another is worth nothing here.
#[test]
fn a_signature_of_another_connection_is_refused() {
    let server = Server::start();
    let user = server.user();
    run(async {
        let mut first = connect(&server).await;
        let session_id = first.transport().session_id().to_owned();
        let (certificate, key) = (&user.certificate, &user.private);
        let request = publickey_request(&session_id, "claw", ED25519, certificate, key).unwrap();
        let mut second = connect(&server).await;
        second.request_service("ssh-userauth").await.unwrap();
        let answer = second.request_authentication(&request).await.unwrap();
        assert!(
            matches!(answer, Authentication::Failure { .. }),
            "{answer:?}"
        );
        authenticate(&mut first, &user).await.unwrap();
    });
}

/// Once somebody is in, further requests change nothing (RFC 4252 section 5.1).
#[test]
fn nobody_becomes_somebody_else_after_login() {
    let server = Server::start();
    let (free, forced) = (server.user(), with_forced_command(&server));
    run(async {
        let mut client = connect(&server).await;
        authenticate(&mut client, &forced).await.unwrap();
        let session_id = client.transport().session_id().to_owned();
        let (certificate, key) = (&free.certificate, &free.private);
        let request = publickey_request(&session_id, "claw", ED25519, certificate, key);
        client.send_raw(&request.unwrap()).await.unwrap();
        let ran = client.exec("echo free").await.unwrap();
        assert_eq!(ran.stdout, b"forced\n");
    });
}
