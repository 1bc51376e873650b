//! Certificates: ours and ssh-keygen's, and what is none.

use crate::reference::Folder;
use keys::certificate::{
    self, Certificate, CertificateError, CertificateKind, CertificateOption, CertificateSpec,
    SignatureError,
};
use keys::file;
use keys::generate::{self, KeyKind};
use keys::pomerium;
use keys::validity::{ALWAYS, FOREVER};
use ssh_key::encoding::base64::{Base64, Encoding};
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

/// Calls `check` with a CA and a subject of all types that there are, in `ca` and `subject`.
fn for_all_types(check: impl Fn(&Folder, &PrivateKey, &PublicKey)) {
    let folder = Folder::new();
    let names = TYPES.map(|type_and_bits| {
        let name = type_and_bits.concat();
        folder.ssh_key(&name, type_and_bits);
        name
    });
    for (ca, subject) in names
        .iter()
        .flat_map(|ca| names.iter().map(move |subject| (ca, subject)))
    {
        let ca = folder.write_private("ca", folder.read(ca));
        let subject = folder.write("subject.pub", folder.read(&format!("{subject}.pub")));
        let ca = file::read_private_key(&ca).unwrap();
        check(&folder, &ca, &file::read_public_key(&subject).unwrap());
    }
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
pub(crate) fn full() -> CertificateSpec {
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
    let mut arguments = vec!["-I", "Zoë's \"id\" \\", "-n", "claw,bob"];
    arguments.extend([
        "-z",
        "18446744073709551615",
        "-V",
        "20261122150000Z:20261122160000Z",
    ]);
    // Not in the order in which they have to be.
    for option in [
        "clear",
        "verify-required",
        "force-command=echo \"hi\" | cat",
        "source-address=10.0.0.0/8,::1",
        "critical:from@example.com=x",
        "permit-pty",
        "permit-x11-forwarding",
        "extension:z@example.com=1",
        "extension:no-touch-required",
        "extension:with@example.com",
    ] {
        arguments.extend(["-O", option]);
    }
    for_all_types(|folder, ca, subject| {
        let certificate = signed_by_ssh_keygen(folder, &arguments);
        assert_eq!(certificate.spec, full());
        assert_eq!(&certificate.subject, subject.key_data());
        assert_eq!(&certificate.signature_key, ca.public_key().key_data());
        assert_eq!(certificate.nonce.len(), 32);
        assert!(certificate.reserved.is_empty());
        certificate.verify().unwrap();
    });
}

#[test]
fn of_ours_read_by_ssh_keygen() {
    for_all_types(|folder, ca, subject| {
        let blob = certificate::sign(&full(), subject, ca).unwrap();
        // ssh-keygen lists no certificate whose signature is wrong.
        assert_eq!(listed_by_us(&blob), listed_by_ssh_keygen(folder, &blob));
        let ours = Certificate::decode(&blob).unwrap();
        assert_eq!(ours.spec, full());
        assert_eq!(&ours.subject, subject.key_data());
        ours.verify().unwrap();
    });
}

#[test]
fn by_ssh_keygen_and_by_us_are_the_same_but_for_nonce_and_signature() {
    let folder = Folder::new();
    let (ca, subject) = keys(&folder, &["ed25519"], &["ed25519"]);
    let validity = "20261122145900Z:20261122160000Z";
    let arguments = ["-I", "", "-n", "claw", "-z", "1", "-V", validity];
    let theirs = signed_by_ssh_keygen(&folder, &arguments);
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
