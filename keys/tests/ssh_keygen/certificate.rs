//! Certificates: ours and ssh-keygen's, and what is none.

use crate::reference::Folder;
use keys::certificate::{
    self, Certificate, CertificateError, CertificateKind, CertificateOption, CertificateSpec,
    SignatureError,
};
use keys::file;
use keys::generate::{self, KeyKind};
use keys::openssh::{self, KeyError};
use keys::pomerium;
use keys::validity::{ALWAYS, FOREVER};
use proptest::prelude::*;
use ssh_key::encoding::{Encode, base64::Base64, base64::Encoding};
use ssh_key::{Algorithm, HashAlg, PrivateKey, PublicKey, Signature};

const TYPES: [&[&str]; 5] = [
    &["ed25519"],
    &["rsa", "-b", "2048"],
    &["ecdsa", "-b", "256"],
    &["ecdsa", "-b", "384"],
    &["ecdsa", "-b", "521"],
];

/// 2026-11-22T15:00:00Z
const NOW: u64 = 1_795_359_600;

/// A CA and a subject of the given types, in `ca` and `subject`.
fn keys(folder: &Folder, ca: &[&str], subject: &[&str]) -> (PrivateKey, PublicKey) {
    let ca = folder.ssh_key("ca", ca);
    folder.ssh_key("subject", subject);
    let subject = folder.join("subject.pub");
    (
        file::read_private_key(&ca).unwrap(),
        file::read_public_key(&subject).unwrap(),
    )
}

fn ed25519() -> PrivateKey {
    generate::generate(KeyKind::Ed25519, "").unwrap()
}

/// The certificate that ssh-keygen wrote for `subject.pub`.
fn signed_by_ssh_keygen(folder: &Folder, arguments: &[&str]) -> Certificate {
    let mut all = vec!["-q", "-s", "ca"];
    all.extend(arguments);
    all.push("subject.pub");
    folder.ssh_keygen(&all);
    let line = folder.read("subject-cert.pub");
    let blob = Base64::decode_vec(line.split(' ').nth(1).unwrap()).unwrap();
    Certificate::decode(&blob).unwrap()
}

/// What ssh-keygen -L says about a certificate, without its first line.
fn listed_by_ssh_keygen(folder: &Folder, blob: &[u8]) -> String {
    let line = certificate::to_openssh(blob, "a comment").unwrap();
    folder.write("x-cert.pub", line + "\n");
    let listing = folder.ssh_keygen(&["-L", "-f", "x-cert.pub"]);
    listing.strip_prefix("x-cert.pub:\n").unwrap().to_owned()
}

/// What we say about it, in ssh-keygen's words: it does not show the time zone.
fn listed_by_us(blob: &[u8]) -> String {
    let listing = Certificate::decode(blob).unwrap().to_string();
    let without_zone = |line: &str| match line.trim_start().starts_with("Valid: ") {
        true => line.replace("Z ", " ").trim_end_matches('Z').to_owned() + "\n",
        false => format!("{line}\n"),
    };
    listing.lines().map(without_zone).collect()
}

fn option(name: &str, value: &str) -> CertificateOption {
    CertificateOption::with_value(name, value).unwrap()
}

fn flag(name: &str) -> CertificateOption {
    CertificateOption::flag(name)
}

/// A certificate that uses every field.
fn full() -> CertificateSpec {
    CertificateSpec {
        kind: CertificateKind::User,
        serial: u64::MAX,
        key_id: "Zoë's \"id\" \\".to_owned(),
        principals: vec!["claw".to_owned(), "bob".to_owned()],
        valid_after: NOW,
        valid_before: NOW + 3600,
        critical_options: vec![
            option("force-command", "echo \"hi\" | cat"),
            option("from@example.com", "x"),
            option("source-address", "10.0.0.0/8,::1"),
            flag("verify-required"),
        ],
        extensions: vec![
            flag("no-touch-required"),
            flag("permit-X11-forwarding"),
            flag("permit-pty"),
            flag("with@example.com"),
            option("z@example.com", "1"),
        ],
    }
}

#[test]
fn of_ssh_keygen_read_by_us() {
    for ca in TYPES {
        for subject in TYPES {
            let folder = Folder::new();
            let (ca, subject) = keys(&folder, ca, subject);
            let expected = CertificateSpec {
                // As far as the command line of ssh-keygen goes.
                key_id: "an \"id\"".to_owned(),
                ..full()
            };
            let certificate = signed_by_ssh_keygen(
                &folder,
                &[
                    "-I",
                    "an \"id\"",
                    "-z",
                    "18446744073709551615",
                    "-n",
                    "claw,bob",
                    "-V",
                    "20261122150000Z:20261122160000Z",
                    "-O",
                    "clear",
                    "-O",
                    "force-command=echo \"hi\" | cat",
                    "-O",
                    "verify-required",
                    "-O",
                    "source-address=10.0.0.0/8,::1",
                    "-O",
                    "critical:from@example.com=x",
                    "-O",
                    "extension:no-touch-required",
                    "-O",
                    "permit-pty",
                    "-O",
                    "permit-x11-forwarding",
                    "-O",
                    "extension:with@example.com",
                    "-O",
                    "extension:z@example.com=1",
                ],
            );
            assert_eq!(certificate.spec, expected);
            assert_eq!(&certificate.subject, subject.key_data());
            assert_eq!(&certificate.signature_key, ca.public_key().key_data());
            assert_eq!(
                (certificate.nonce.len(), certificate.reserved.len()),
                (32, 0)
            );
            certificate.verify().unwrap();
        }
    }
}

#[test]
fn of_ours_read_by_ssh_keygen() {
    for ca in TYPES {
        for subject in TYPES {
            let folder = Folder::new();
            let (ca, subject) = keys(&folder, ca, subject);
            let blob = certificate::sign(&full(), &subject, &ca).unwrap();
            // ssh-keygen lists no certificate whose signature is wrong.
            assert_eq!(listed_by_us(&blob), listed_by_ssh_keygen(&folder, &blob));
            let ours = Certificate::decode(&blob).unwrap();
            assert_eq!(ours.spec, full());
            assert_eq!(&ours.subject, subject.key_data());
            ours.verify().unwrap();
        }
    }
}

#[test]
fn by_ssh_keygen_and_by_us_are_the_same_but_for_nonce_and_signature() {
    let folder = Folder::new();
    let (ca, subject) = keys(&folder, &["ed25519"], &["ed25519"]);
    let theirs = signed_by_ssh_keygen(
        &folder,
        &[
            "-I",
            "",
            "-n",
            "claw",
            "-z",
            "1",
            "-V",
            "20261122145900Z:20261122160000Z",
        ],
    );
    let ours = pomerium::pomerium_certificate("claw", &subject, &ca, NOW).unwrap();
    let ours = Certificate::decode(&ours).unwrap();
    assert_eq!(ours.spec, theirs.spec);
    assert_eq!(ours.subject, theirs.subject);
    assert_eq!(ours.reserved, theirs.reserved);
    assert_eq!(ours.signature_key, theirs.signature_key);
    assert_eq!(ours.signature.algorithm(), theirs.signature.algorithm());
    assert_eq!(ours.nonce.len(), theirs.nonce.len());
    assert_ne!(ours.nonce, theirs.nonce);
}

#[test]
fn of_pomerium() {
    let folder = Folder::new();
    let (ca, subject) = keys(&folder, &["rsa", "-b", "2048"], &["ed25519"]);
    let blob = pomerium::pomerium_certificate("claw", &subject, &ca, NOW).unwrap();
    let fingerprint = |key: &PublicKey| key.fingerprint(HashAlg::Sha256);
    let expected = format!(
        "        Type: ssh-ed25519-cert-v01@openssh.com user certificate
        Public key: ED25519-CERT {}
        Signing CA: RSA {} (using rsa-sha2-512)
        Key ID: \"\"
        Serial: 1
        Valid: from 2026-11-22T14:59:00 to 2026-11-22T16:00:00
        Principals: 
                claw
        Critical Options: (none)
        Extensions: 
                permit-X11-forwarding
                permit-agent-forwarding
                permit-port-forwarding
                permit-pty
                permit-user-rc
",
        fingerprint(&subject),
        fingerprint(ca.public_key()),
    );
    assert_eq!(listed_by_ssh_keygen(&folder, &blob), expected);

    let [one, other] = [(); 2].map(|()| {
        let blob = pomerium::pomerium_certificate("claw", &subject, &ca, NOW).unwrap();
        Certificate::decode(&blob).unwrap()
    });
    assert_eq!((one.nonce.len(), one.reserved.len()), (32, 0));
    assert_ne!(one.nonce, other.nonce);
}

#[test]
fn validity_from_always_to_forever() {
    let folder = Folder::new();
    let (ca, subject) = keys(&folder, &["ed25519"], &["ed25519"]);
    let table = [
        (ALWAYS, FOREVER, "always:forever", "forever"),
        (
            ALWAYS,
            NOW,
            "always:20261122150000Z",
            "before 2026-11-22T15:00:00",
        ),
        (
            NOW,
            FOREVER,
            "20261122150000Z:forever",
            "after 2026-11-22T15:00:00",
        ),
        (
            1,
            4_107_542_399,
            "0x1:21000228235959Z",
            "from 1970-01-01T00:00:01 to 2100-02-28T23:59:59",
        ),
    ];
    for (valid_after, valid_before, text, shown) in table {
        let spec = CertificateSpec {
            valid_after,
            valid_before,
            ..full()
        };
        let blob = certificate::sign(&spec, &subject, &ca).unwrap();
        let listing = listed_by_ssh_keygen(&folder, &blob);
        assert!(
            listing.contains(&format!("        Valid: {shown}\n")),
            "{listing}"
        );
        assert_eq!(listed_by_us(&blob), listing);
        let theirs = signed_by_ssh_keygen(&folder, &["-I", "id", "-V", text]).spec;
        assert_eq!(
            (theirs.valid_after, theirs.valid_before),
            (valid_after, valid_before)
        );
    }
}

#[test]
fn that_no_ca_should_sign() {
    let folder = Folder::new();
    let (ca, subject) = keys(&folder, &["ed25519"], &["ed25519"]);
    let odd = [
        CertificateSpec {
            kind: CertificateKind::Host,
            ..full()
        },
        CertificateSpec {
            principals: Vec::new(),
            ..full()
        },
        CertificateSpec {
            principals: vec![String::new()],
            ..full()
        },
        CertificateSpec {
            critical_options: vec![flag("unknown")],
            ..full()
        },
        CertificateSpec {
            critical_options: vec![flag("b"), flag("a"), flag("a")],
            ..full()
        },
        CertificateSpec {
            extensions: vec![option("permit-pty", "no"), flag("nonsense")],
            ..full()
        },
        CertificateSpec {
            critical_options: Vec::new(),
            extensions: Vec::new(),
            ..full()
        },
        CertificateSpec {
            valid_after: NOW + 1,
            valid_before: NOW,
            ..full()
        },
    ];
    for spec in odd {
        let blob = certificate::sign(&spec, &subject, &ca).unwrap();
        let decoded = Certificate::decode(&blob).unwrap();
        assert_eq!(decoded.spec, spec);
        decoded.verify().unwrap();
        // What ssh-keygen reads, it lists as we do, but for data of options that have none.
        let line = certificate::to_openssh(&blob, "").unwrap();
        folder.write("odd-cert.pub", line + "\n");
        let listing = folder.try_ssh_keygen(&["-L", "-f", "odd-cert.pub"]);
        if listing.status.success()
            && spec
                .extensions
                .iter()
                .all(|e| e.name != "permit-pty" || e.data.is_empty())
        {
            assert_eq!(
                listed_by_us(&blob),
                listed_by_ssh_keygen(&folder, &blob),
                "{spec:?}"
            );
        }
    }
}

#[test]
fn of_no_known_kind() {
    let spec = CertificateSpec {
        kind: CertificateKind::Unknown(3),
        ..full()
    };
    let (ca, subject) = (ed25519(), ed25519());
    let blob = certificate::sign(&spec, subject.public_key(), &ca).unwrap();
    assert_eq!(Certificate::decode(&blob).unwrap().spec, spec);
    let folder = Folder::new();
    folder.write(
        "x-cert.pub",
        certificate::to_openssh(&blob, "").unwrap() + "\n",
    );
    assert!(
        !folder
            .try_ssh_keygen(&["-L", "-f", "x-cert.pub"])
            .status
            .success()
    );
}

#[test]
fn rsa_with_another_hash() {
    let folder = Folder::new();
    let (ca, subject) = keys(&folder, &["rsa", "-b", "2048"], &["ed25519"]);
    let sha256 = Algorithm::Rsa {
        hash: Some(HashAlg::Sha256),
    };
    let blob = certificate::sign_as(&full(), &subject, &ca, &sha256).unwrap();
    let listing = listed_by_ssh_keygen(&folder, &blob);
    assert!(listing.contains("(using rsa-sha2-256)\n"), "{listing}");
    Certificate::decode(&blob).unwrap().verify().unwrap();

    let theirs = signed_by_ssh_keygen(&folder, &["-t", "rsa-sha2-256", "-I", "id"]);
    theirs.verify().unwrap();
    let theirs = signed_by_ssh_keygen(&folder, &["-t", "ssh-rsa", "-I", "id"]);
    assert_eq!(theirs.verify(), Err(SignatureError::Sha1));

    let error = certificate::sign_as(&full(), &subject, &ca, &Algorithm::Ed25519).unwrap_err();
    assert_eq!(
        error.to_string(),
        "a key of type ssh-rsa does not sign with ssh-ed25519"
    );
    let sha1 = Algorithm::Rsa { hash: None };
    certificate::sign_as(&full(), &subject, &ca, &sha1).unwrap_err();
}

#[test]
fn forged() {
    let folder = Folder::new();
    let (ca, subject) = keys(&folder, &["ed25519"], &["ed25519"]);
    let other = ed25519();
    let forge = |signed: &[u8]| {
        let theirs = certificate::sign(&full(), other.public_key(), &other)?;
        let theirs = Certificate::decode(&theirs)?;
        assert!(!signed.is_empty());
        Ok(theirs.signature)
    };
    let blob = certificate::sign_with(&full(), &subject, ca.public_key(), forge).unwrap();
    assert_eq!(
        Certificate::decode(&blob).unwrap().verify(),
        Err(SignatureError::Invalid)
    );
    folder.write(
        "x-cert.pub",
        certificate::to_openssh(&blob, "").unwrap() + "\n",
    );
    assert!(
        !folder
            .try_ssh_keygen(&["-L", "-f", "x-cert.pub"])
            .status
            .success()
    );
}

#[test]
fn altered_anywhere() {
    let (ca, subject) = (ed25519(), ed25519());
    let blob = certificate::sign(&full(), subject.public_key(), &ca).unwrap();
    for position in 0..blob.len() {
        let mut altered = blob.clone();
        altered[position] ^= 1;
        if let Ok(certificate) = Certificate::decode(&altered) {
            assert_eq!(
                certificate.verify(),
                Err(SignatureError::Invalid),
                "byte {position}"
            );
        }
    }
}

#[test]
fn cut_off_or_continued() {
    let (ca, subject) = (ed25519(), ed25519());
    let mut blob = certificate::sign(&full(), subject.public_key(), &ca).unwrap();
    for length in 0..blob.len() {
        Certificate::decode(&blob[..length]).unwrap_err();
    }
    blob.push(0);
    Certificate::decode(&blob).unwrap_err();
}

#[test]
fn that_is_none() {
    let key = ed25519();
    let error = Certificate::decode(&key.public_key().to_bytes().unwrap()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "\"ssh-ed25519\" is not the name of a kind of certificate"
    );
    let unknown = "x-cert-v01@example.com".encode_vec().unwrap();
    let error = Certificate::decode(&unknown).unwrap_err();
    assert!(
        matches!(error, CertificateError::NotACertificate(_)),
        "{error}"
    );
}

/// A certificate whose signature key is a certificate, and so on; by hand, because nobody else
/// makes such a thing.
fn nested(levels: usize) -> Vec<u8> {
    let (ca, subject) = (ed25519(), ed25519());
    let blob = certificate::sign(&full(), subject.public_key(), &ca).unwrap();
    let signature_key = ca.public_key().to_bytes().unwrap().encode_vec().unwrap();
    let at = blob
        .windows(signature_key.len())
        .position(|window| window == signature_key);
    let (before, after) = (
        &blob[..at.unwrap()],
        &blob[at.unwrap() + signature_key.len()..],
    );
    let mut nested = blob.clone();
    for _ in 0..levels {
        nested = [before, &nested.encode_vec().unwrap(), after].concat();
    }
    nested
}

#[test]
fn signed_by_a_certificate() {
    let folder = Folder::new();
    let key = ed25519();
    for levels in [1, 2, 1200] {
        let blob = nested(levels);
        let error = Certificate::decode(&blob).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the signature key holds a certificate, and not a key",
            "{levels} levels"
        );
        // Wherever a decoder could meet one.
        let line = certificate::to_openssh(&blob, "").unwrap();
        assert_eq!(
            openssh::public_key(&line).unwrap_err(),
            KeyError::IsCertificate
        );
        let line = format!("ssh-ed25519 {}", Base64::encode_string(&blob));
        assert_eq!(
            openssh::public_key(&line).unwrap_err(),
            KeyError::IsCertificate
        );
        let private = private_key_around(&blob);
        assert_eq!(
            openssh::private_key(&private).unwrap_err(),
            KeyError::IsCertificate
        );
        folder.write_private("key", private);
        let sentence = folder.fail(&["inspect", "key"]);
        assert_eq!(sentence, "key holds a certificate, and not a key");
        folder.write("key", certificate::to_openssh(&blob, "").unwrap());
        let sentence = folder.fail(&["inspect", "key"]);
        assert_eq!(
            sentence,
            "key holds a certificate that is of no use: the signature key holds a certificate, \
             and not a key"
        );
    }
    // And we sign none.
    let certified = ssh_key::Certificate::from_bytes(&nested(0)).unwrap();
    let subject = PublicKey::from(ssh_key::public::KeyData::from(certified));
    let error = certificate::sign(&full(), &subject, &key).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the subject holds a certificate, and not a key"
    );
}

/// A private key's file, up to its public key, which is this.
fn private_key_around(public_key: &[u8]) -> String {
    let mut bytes = b"openssh-key-v1\0".to_vec();
    for field in ["none", "none", ""] {
        field.encode(&mut bytes).unwrap();
    }
    1u32.encode(&mut bytes).unwrap();
    public_key.encode(&mut bytes).unwrap();
    let base64 = Base64::encode_string(&bytes);
    format!("-----BEGIN OPENSSH PRIVATE KEY-----\n{base64}\n-----END OPENSSH PRIVATE KEY-----\n")
}

fn any_option() -> impl Strategy<Value = CertificateOption> {
    let data = proptest::collection::vec(any::<u8>(), 0..20);
    (any::<String>(), data).prop_map(|(name, data)| CertificateOption { name, data })
}

prop_compose! {
    fn any_spec()(
        (kind, serial, key_id) in (any::<u32>(), any::<u64>(), any::<String>()),
        principals in proptest::collection::vec(any::<String>(), 0..4),
        (valid_after, valid_before) in any::<(u64, u64)>(),
        critical_options in proptest::collection::vec(any_option(), 0..4),
        extensions in proptest::collection::vec(any_option(), 0..4),
    ) -> CertificateSpec {
        let kind = match kind % 4 {
            1 => CertificateKind::User,
            2 => CertificateKind::Host,
            _ => CertificateKind::Unknown(kind | 4),
        };
        CertificateSpec {
            kind, serial, key_id, principals, valid_after, valid_before, critical_options, extensions,
        }
    }
}

proptest! {
    #[test]
    fn any_spec_survives(spec in any_spec()) {
        let (ca, subject) = (ed25519(), ed25519());
        let blob = certificate::sign(&spec, subject.public_key(), &ca).unwrap();
        let certificate = Certificate::decode(&blob).unwrap();
        prop_assert_eq!(&certificate.spec, &spec);
        certificate.verify().unwrap();
        // And no control character of it reaches a terminal.
        let printed = certificate.to_string();
        prop_assert!(!printed.chars().any(|c| c.is_control() && c != '\n'), "{:?}", printed);
        let lines = 10 + spec.principals.len() + spec.critical_options.len() + spec.extensions.len();
        prop_assert!(printed.lines().count() <= lines);
    }

    #[test]
    fn no_bytes_make_it_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
        position in 0usize..400,
    ) {
        Certificate::decode(&bytes).unwrap_err();
        let (ca, subject) = (ed25519(), ed25519());
        let mut blob = certificate::sign(&full(), subject.public_key(), &ca).unwrap();
        let position = position.min(blob.len());
        blob.splice(position..(position + bytes.len()).min(blob.len()), bytes.clone());
        if let Ok(certificate) = Certificate::decode(&blob) {
            prop_assert!(bytes.is_empty() || certificate.verify().is_err());
        }
        let text = String::from_utf8_lossy(&bytes);
        prop_assert!(openssh::private_key(&text).is_err());
        prop_assert!(openssh::private_key(&private_key_around(&bytes)).is_err());
    }
}

#[test]
fn signature_by_other_means() {
    // An agent's, for instance: only bytes are handed out.
    let (ca, subject) = (ed25519(), ed25519());
    let agent = |signed: &[u8]| -> Result<Signature, CertificateError> {
        use signature::Signer;
        Ok(ca.try_sign(signed).map_err(ssh_key::Error::from)?)
    };
    let blob = certificate::sign_with(&full(), subject.public_key(), ca.public_key(), agent);
    Certificate::decode(&blob.unwrap())
        .unwrap()
        .verify()
        .unwrap();
}
