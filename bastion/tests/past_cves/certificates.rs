//! Certificates that others took for what they are not.

use keys::certificate::{CertificateOption, CertificateSpec, sign};
use keys::generate::{KeyKind, generate};
use keys::pomerium::pomerium_spec;
use pomerium_stand_in::authentication::{publickey_request, request, signed_data};
use pomerium_stand_in::client::{Authentication, Client};
use pomerium_stand_in::wire::Writer;
use signature::Signer;
use ssh_key::public::{Ed25519PublicKey, KeyData, SkEd25519};
use ssh_key::{HashAlg, PrivateKey, PublicKey, Signature};

use crate::by_hand::ByHand;
use crate::support::{Server, User, authenticate, now, processor_time, run};
use crate::{IMPATIENT, connect, is_there, still_serves};

/// Whether a certificate lets its holder in; the reason otherwise, by its code in the log.
fn verdict(server: &mut Server, user: &User) -> String {
    let outcome = run(async {
        let mut client = connect(server).await;
        authenticate(&mut client, user).await.is_ok()
    });
    let login = server.event("login", |_| true);
    assert_eq!(login["verdict"] != "refused", outcome);
    login["reason"]["code"]
        .as_str()
        .unwrap_or("let in")
        .to_owned()
}

fn with_principals(server: &Server, principals: &[&str]) -> User {
    let principals = principals.iter().map(|&name| name.to_owned()).collect();
    server.user_with(|spec| spec.principals = principals)
}

/// OpenSSH's CVE-2026-35414: a comma in a principal separated nothing when it was signed.
#[test]
fn a_comma_in_a_principal_is_part_of_the_name() {
    let mut server = Server::start();
    for principal in ["claw,root", "root,claw", "claw,", ",claw", "claw,claw"] {
        let user = with_principals(&server, &[principal]);
        assert_eq!(
            verdict(&mut server, &user),
            "principal_not_listed",
            "{principal}"
        );
    }
    let user = with_principals(&server, &["claw,root", "claw"]);
    assert_eq!(verdict(&mut server, &user), "let in");
}

/// OpenSSH's 5166b6cbf and Vault's CVE-2024-7594: no principal is not every principal.
#[test]
fn no_principals_and_wildcards_match_nobody() {
    let mut server = Server::start();
    let user = with_principals(&server, &[]);
    assert_eq!(verdict(&mut server, &user), "no_principals");
    for principal in ["*", "?law", "cl*", "", "claw ", "CLAW", "claw\0", "!root"] {
        let user = with_principals(&server, &[principal]);
        assert_eq!(
            verdict(&mut server, &user),
            "principal_not_listed",
            "{principal:?}"
        );
    }
}

/// Go's b9229ec: a list of no addresses is not a list of all.
#[test]
fn an_empty_source_address_permits_no_address() {
    let mut server = Server::start();
    for (list, code) in [
        ("", "malformed_option"),
        (",", "malformed_option"),
        ("127.0.0.1,", "malformed_option"),
        ("10.0.0.0/8", "source_not_permitted"),
        ("127.0.0.0/8", "let in"),
    ] {
        let user = server.user_with(|spec| {
            let option = CertificateOption::with_value("source-address", list).unwrap();
            spec.critical_options.push(option);
        });
        assert_eq!(verdict(&mut server, &user), code, "{list:?}");
    }
    // Not even the string within the string.
    let user = server.user_with(|spec| {
        spec.critical_options
            .push(CertificateOption::flag("source-address"));
    });
    assert_eq!(verdict(&mut server, &user), "malformed_option");
}

/// Teleport's CVE-2025-49825: whoever is certified by an authority is none.
#[test]
fn a_certified_key_certifies_nobody() {
    let mut server = Server::start();
    let holder = server.user();
    let other = generate(KeyKind::Ed25519, "").unwrap();
    let spec = pomerium_spec("claw", now());
    // By the holder's key, which is a stranger's to us.
    let by_holder = sign(&spec, other.public_key(), &holder.private).unwrap();
    let user = User::with_certificate(other.clone(), by_holder);
    assert_eq!(verdict(&mut server, &user), "untrusted_authority");
    // By the holder's certificate, in the place of the authority's key, many times over.
    let mut signature_key = holder.certificate.clone();
    for _ in 0..8 {
        let certificate = ByHand {
            signature_key,
            ..ByHand::new(&other, &holder.private)
        };
        signature_key = certificate.sign(&spec, &holder.private);
        let mut user = User::with_certificate(other.clone(), holder.certificate.clone());
        user.certificate.clone_from(&signature_key);
        assert_eq!(verdict(&mut server, &user), "malformed_certificate");
    }
    // In the authority's name, by the holder.
    let forged = ByHand::new(&other, &server.ca).sign(&spec, &holder.private);
    let user = User::with_certificate(other, forged);
    assert_eq!(verdict(&mut server, &user), "bad_authority_signature");
}

/// Likewise: a certificate as the plain key that it certifies, and the authority's key as a user's.
#[test]
fn a_certificate_is_no_key_and_an_authority_no_user() {
    let server = Server::start_with(IMPATIENT, &[]);
    let user = server.user();
    run(async {
        let plain = user.private.public_key().to_bytes().unwrap();
        let ca = server.ca.public_key().to_bytes().unwrap();
        for (algorithm, blob, key) in [
            ("ssh-ed25519", &user.certificate, &user.private),
            ("ssh-ed25519", &plain, &user.private),
            ("ssh-ed25519", &ca, &server.ca),
            ("ssh-ed25519-cert-v01@openssh.com", &plain, &user.private),
            ("ssh-ed25519-cert-v01@openssh.com", &ca, &server.ca),
        ] {
            let mut client = connect(&server).await;
            client.request_service("ssh-userauth").await.unwrap();
            let session_id = client.transport().session_id().to_owned();
            let request = publickey_request(&session_id, "claw", algorithm, blob, key).unwrap();
            let answer = client.request_authentication(&request).await;
            assert!(
                !matches!(answer, Ok(Authentication::Success)),
                "{algorithm}"
            );
            assert!(client.open_session().await.is_err());
        }
    });
}

/// Go's CVE-2026-39829: the size of a key is the attacker's, the time to verify with it ours.
#[test]
fn huge_rsa_keys_cost_the_gate_nothing() {
    const TRIES: u64 = 40;
    let server = Server::start_with("max_auth_tries = 100", &[]);
    let gate = server.gate();
    let user = server.user();
    let mut modulus = vec![0xff; 16_384 / 8 + 1];
    modulus[0] = 0;
    let fields = Writer::new().string([1, 0, 1]).string(&modulus).into_vec();
    let huge = Writer::new().string("ssh-rsa").bytes(&fields).into_vec();
    let spec = pomerium_spec("claw", now());
    let signature = Writer::new().string("rsa-sha2-512").string(vec![1; 2048]);
    let signature = signature.into_vec();
    let certified = ByHand {
        type_name: "ssh-rsa-cert-v01@openssh.com",
        key_fields: fields,
        ..ByHand::new(&user.private, &server.ca)
    };
    let authority = ByHand {
        signature_key: huge.clone(),
        ..ByHand::new(&user.private, &server.ca)
    };
    let tries = [
        (
            "rsa-sha2-512-cert-v01@openssh.com",
            certified.sign(&spec, &server.ca),
        ),
        (
            "ssh-ed25519-cert-v01@openssh.com",
            authority.sign_with(&spec, &signature),
        ),
        ("rsa-sha2-512", huge),
    ];
    run(async {
        let mut client = connect(&server).await;
        client.request_service("ssh-userauth").await.unwrap();
        let before = processor_time(gate);
        for number in 0..TRIES as usize {
            let (algorithm, blob) = &tries[number % tries.len()];
            let request = request("claw", "publickey")
                .bool(true)
                .string(algorithm)
                .string(blob)
                .string(&signature);
            let answer = client.request_authentication(&request.into_vec()).await;
            assert!(
                matches!(answer, Ok(Authentication::Failure { .. })),
                "{answer:?}"
            );
        }
        let spent = processor_time(gate) - before;
        assert!(spent < TRIES * 50, "{spent} ms for {TRIES} tries");
    });
    still_serves(&server, gate);
}

const SK: &str = "sk-ssh-ed25519@openssh.com";
const SK_CERTIFICATE: &str = "sk-ssh-ed25519-cert-v01@openssh.com";

/// A security key in software: it signs whatever flags it is told to.
struct SecurityKey {
    inner: PrivateKey,
    certificate: Vec<u8>,
}

impl SecurityKey {
    fn new(server: &Server, edit: impl FnOnce(&mut CertificateSpec)) -> Self {
        let inner = generate(KeyKind::Ed25519, "").unwrap();
        let KeyData::Ed25519(Ed25519PublicKey(bytes)) = inner.public_key().key_data() else {
            panic!("not Ed25519")
        };
        let public = SkEd25519::new(Ed25519PublicKey(*bytes), "ssh:");
        let public = PublicKey::from(KeyData::SkEd25519(public));
        let mut spec = pomerium_spec("claw", now());
        edit(&mut spec);
        let certificate = sign(&spec, &public, &server.ca).unwrap();
        Self { inner, certificate }
    }

    /// Whether that lets one in; a refusal with its reason is a DISCONNECT.
    async fn log_in(&self, client: &mut Client, flags: u8) -> bool {
        client.request_service("ssh-userauth").await.unwrap();
        let request = request("claw", "publickey")
            .bool(true)
            .string(SK_CERTIFICATE)
            .string(&self.certificate);
        let message = signed_data(client.transport().session_id(), request.clone());
        // PROTOCOL.u2f: flags and counter are signed with the two hashes.
        let used = [flags, 0, 0, 0, 7];
        let hash = |bytes: &[u8]| HashAlg::Sha256.digest(bytes);
        let signed = [hash(b"ssh:"), used.to_vec(), hash(&message)].concat();
        let signature: Signature = self.inner.try_sign(&signed).unwrap();
        let signature = Writer::new()
            .string(SK)
            .string(signature.as_bytes())
            .bytes(used);
        let request = request.string(signature.into_vec()).into_vec();
        let answer = client.request_authentication(&request).await;
        matches!(answer, Ok(Authentication::Success))
    }
}

/// Go's CVE-2026-39831: a signature by a security key that nobody touched.
#[test]
fn a_security_key_must_have_been_touched_and_its_user_verified_where_asked_for() {
    const TOUCHED: u8 = 1;
    const VERIFIED: u8 = 4;
    let server = Server::start();
    let plain = SecurityKey::new(&server, |_| {});
    let verified = SecurityKey::new(&server, |spec| {
        spec.critical_options
            .push(CertificateOption::flag("verify-required"));
    });
    let untouched = SecurityKey::new(&server, |spec| {
        spec.extensions
            .push(CertificateOption::flag("no-touch-required"));
        spec.extensions.sort_by(|a, b| a.name.cmp(&b.name));
    });
    run(async {
        for (key, flags, succeeds) in [
            (&plain, 0, false),
            (&plain, VERIFIED, false),
            (&plain, TOUCHED, true),
            (&verified, TOUCHED, false),
            (&verified, VERIFIED, false),
            (&verified, TOUCHED | VERIFIED, true),
            (&untouched, 0, true),
        ] {
            let mut client = connect(&server).await;
            let succeeded = key.log_in(&mut client, flags).await;
            assert_eq!(succeeded, succeeds, "flags {flags}");
            if succeeds {
                assert!(is_there(&mut client).await);
            }
        }
    });
}
