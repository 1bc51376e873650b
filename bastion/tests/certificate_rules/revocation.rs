//! What is revoked by `ssh-keygen -k` is what we find revoked, beside what `ssh-keygen -Q` says.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use bastion::policy::{
    AuthRequest, KeyType, Refusal, Revocations, RevokedKeys, Rules, TrustedUserCaKeys,
    UserCertificate, authorize,
};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::key_pair::{KeyPair, ca, public_line, user};
use crate::mint::{Fields, VALID_AFTER, string};
use crate::ssh_keygen::{must, run};
use crate::trial::{self, TOUCHED, other_ca};

/// A file for `ssh-keygen -Q`, and what we are to ask about.
pub(crate) struct Subject {
    file: String,
    line: String,
    certificate: Option<Vec<u8>>,
    key: &'static KeyPair,
}

impl Subject {
    fn key(file: &str, key: &'static KeyPair) -> Self {
        Self {
            file: format!("{file}.pub"),
            line: key.line(),
            certificate: None,
            key,
        }
    }

    fn certificate(
        file: &str,
        key: &'static KeyPair,
        ca: &'static KeyPair,
        serial: u64,
        key_id: &str,
    ) -> Self {
        let fields = Fields {
            serial,
            key_id: key_id.into(),
            ..Fields::of(key, ca)
        };
        let certificate = fields.sign(ca);
        Self {
            file: format!("{file}-cert.pub"),
            line: public_line(key.key_type.certificate_name(), &certificate),
            certificate: Some(certificate),
            key,
        }
    }

    /// Whether it is revoked, as a login finds it.
    fn is_revoked(&self, list: &Arc<RevokedKeys>) -> bool {
        let Some(certificate) = &self.certificate else {
            return list.contains_key(&self.key.public_key());
        };
        match verdict(certificate, Revocations::Listed(list.clone())) {
            Ok(()) => false,
            Err(refusal) => {
                assert!(refusal.code().starts_with("revoked_"), "{refusal}");
                true
            }
        }
    }
}

fn verdict(certificate: &[u8], revocations: Revocations) -> Result<(), Refusal> {
    let cas = [ca(KeyType::Ed25519), ca(KeyType::Rsa), other_ca()];
    let lines = cas.map(KeyPair::line).concat();
    let rules = Rules {
        trusted_user_ca_keys: TrustedUserCaKeys::parse(&lines, "test").unwrap(),
        revocations,
        ..trial::rules(KeyType::Ed25519)
    };
    let request = AuthRequest {
        login_name: "claw",
        source: "192.0.2.7".parse().unwrap(),
        now: VALID_AFTER,
        security_key: TOUCHED,
    };
    let certificate = UserCertificate::parse(certificate).unwrap();
    authorize(&certificate, &request, &rules).map(drop)
}

const SERIALS: [u64; 24] = [
    0,
    1,
    4,
    5,
    9,
    10,
    14,
    15,
    16,
    30,
    49,
    50,
    499,
    500,
    510,
    799,
    800,
    999,
    1000,
    20_000,
    20_001,
    1 << 40,
    u64::MAX - 1,
    u64::MAX,
];

/// All plain keys, and certificates of three CAs.
pub(crate) fn subjects(folder: &Path) -> Vec<Subject> {
    let mut subjects: Vec<_> = KeyType::ALL
        .into_iter()
        .map(|kind| Subject::key(&format!("user-{kind}"), user(kind)))
        .collect();
    for (index, kind) in KeyType::ALL.into_iter().enumerate() {
        let (serial, key_id) = (index as u64, format!("id {index}"));
        let file = format!("certified-{kind}");
        let ca = ca(KeyType::Ed25519);
        subjects.push(Subject::certificate(&file, user(kind), ca, serial, &key_id));
    }
    let cas = [ca(KeyType::Ed25519), ca(KeyType::Rsa), other_ca()];
    for (number, ca) in cas.into_iter().enumerate() {
        for serial in SERIALS {
            let key = user(KeyType::EcdsaP256);
            let (file, key_id) = (format!("ca{number}-{serial}"), format!("id {serial}"));
            subjects.push(Subject::certificate(&file, key, ca, serial, &key_id));
        }
        for (name, key_id) in [("empty", ""), ("spaced", "a b"), ("odd", "ü\t#")] {
            let (file, key) = (format!("ca{number}-{name}"), user(KeyType::Ed25519));
            subjects.push(Subject::certificate(&file, key, ca, 77, key_id));
        }
        fs::write(folder.join(format!("ca{number}.pub")), ca.line()).unwrap();
    }
    for subject in &subjects {
        fs::write(folder.join(&subject.file), &subject.line).unwrap();
    }
    subjects
}

/// `ssh-keygen -Q`: of each subject, whether it is revoked; none if the list is refused.
pub(crate) fn by_openssh(folder: &Path, krl: &str, subjects: &[Subject]) -> Option<Vec<bool>> {
    let files = subjects.iter().map(|subject| subject.file.as_str());
    let arguments: Vec<_> = ["-Q", "-f", krl].into_iter().chain(files).collect();
    let output = run(folder, &arguments);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let verdicts: Vec<_> = text
        .lines()
        .map(|line| line.ends_with(": REVOKED"))
        .collect();
    (verdicts.len() == subjects.len()).then_some(verdicts)
}

#[track_caller]
fn same_verdicts(folder: &Path, krl: &str, subjects: &[Subject]) -> usize {
    let bytes = fs::read(folder.join(krl)).unwrap();
    let ours = Arc::new(RevokedKeys::parse(&bytes, krl).unwrap());
    let theirs = by_openssh(folder, krl, subjects).unwrap();
    for (subject, theirs) in subjects.iter().zip(&theirs) {
        let spec = fs::read_to_string(folder.join("spec")).unwrap_or_default();
        assert_eq!(
            subject.is_revoked(&ours),
            *theirs,
            "{}: {spec}",
            subject.file
        );
    }
    theirs.iter().filter(|revoked| **revoked).count()
}

/// From a specification (KEY REVOCATION LISTS of ssh-keygen(1)), into a new list or one more into it.
fn make(folder: &Path, arguments: &[&str], spec: &str) {
    fs::write(folder.join("spec"), spec).unwrap();
    must(run(
        folder,
        &[&["-q", "-k", "-f", "krl"], arguments, &["spec"]].concat(),
    ));
}

#[test]
fn lists_of_ssh_keygen_revoke_what_they_revoke_there() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let subjects = subjects(folder);
    let serials = "serial: 1-4\nserial: 10\nserial: 15\nserial: 30\nserial: 50\nserial: 999\nserial: 500-799\nserial: 10000-20000\nserial: 18446744073709551615\n";
    let hash = user(KeyType::Rsa).public_key().fingerprint();
    let key = |kind| user(kind).line();
    let cases: &[(&[&str], String, usize)] = &[
        (&[], String::new(), 0),
        (&["-s", "ca0.pub"], serials.into(), 16),
        (&["-s", "NONE"], serials.into(), 40),
        (
            &["-s", "ca1.pub"],
            "id: id 5\nid: a b\nid: ü\t\nid: \n".into(),
            3,
        ),
        (&["-s", "NONE"], "id: id 5\n".into(), 4),
        (&[], format!("key: {}", key(KeyType::EcdsaP256)), 74),
        (&[], format!("sha1: {}", key(KeyType::SkEd25519)), 2),
        (&[], format!("sha256: {}", key(KeyType::Rsa)), 2),
        (&[], format!("hash: {hash}"), 2),
        // The CA: every certificate of it, but no plain key.
        (&[], ca(KeyType::Ed25519).line(), 34),
        (&[], format!("sha256: {}", ca(KeyType::Rsa).line()), 27),
        // Bitmaps: every second number, from far up.
        (
            &["-s", "ca0.pub"],
            (0..900)
                .step_by(2)
                .skip(1)
                .map(|n| format!("serial: {n}\n"))
                .collect(),
            12,
        ),
        (
            &["-s", "ca2.pub"],
            (0..8)
                .map(|n| format!("serial: {}\n", u64::MAX - n * 3))
                .collect(),
            1,
        ),
        // A certificate by itself: by its serial, or its key id if that is 0.
        (
            &[],
            subjects
                .iter()
                .find(|s| s.file == "ca1-510-cert.pub")
                .unwrap()
                .line
                .clone(),
            1,
        ),
        (
            &[],
            subjects
                .iter()
                .find(|s| s.file == "ca1-0-cert.pub")
                .unwrap()
                .line
                .clone(),
            1,
        ),
    ];
    for (arguments, spec, count) in cases {
        make(folder, arguments, spec);
        let revoked = same_verdicts(folder, "krl", &subjects);
        assert_eq!(revoked, *count, "{arguments:?} {spec}");
    }
    // One list of several CAs.
    make(folder, &["-s", "ca0.pub"], "serial: 5\n");
    make(folder, &["-u", "-s", "ca1.pub"], "serial: 9\nid: id 14\n");
    make(folder, &["-u", "-s", "NONE", "-z", "7"], "serial: 50\n");
    assert_eq!(same_verdicts(folder, "krl", &subjects), 7);
}

#[test]
fn random_lists_revoke_the_same_as_in_openssh() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let subjects = subjects(folder);
    let mut random = StdRng::seed_from_u64(5);
    for _ in 0..25 {
        fs::remove_file(folder.join("krl")).unwrap_or_default();
        for round in 0..random.random_range(1..4) {
            let scope = ["ca0.pub", "ca1.pub", "ca2.pub", "NONE"][random.random_range(0..4)];
            let count = random.random_range(0..60);
            let spec: String = (0..count).map(|_| random_line(&mut random)).collect();
            let update: &[&str] = if round == 0 { &[] } else { &["-u"] };
            make(folder, &[update, &["-s", scope]].concat(), &spec);
        }
        same_verdicts(folder, "krl", &subjects);
    }
}

fn random_line(random: &mut StdRng) -> String {
    let around = SERIALS[random.random_range(0..SERIALS.len())];
    let serial = around.saturating_add(random.random_range(0..4)).max(1);
    let kind = KeyType::ALL[random.random_range(0..KeyType::ALL.len())];
    match random.random_range(0..40) {
        0 => format!("key: {}", user(kind).line()),
        1 => format!("sha1: {}", user(kind).line()),
        2 => format!("hash: {}\n", user(kind).public_key().fingerprint()),
        3 => format!("id: id {serial}\n"),
        4..10 => {
            let last = serial.saturating_add(random.random_range(1..500));
            match last > serial {
                true => format!("serial: {serial}-{last}\n"),
                false => format!("serial: {serial}\n"),
            }
        }
        _ => format!("serial: {}\n", random.random_range(1..1100)),
    }
}

/// What OpenSSH refuses, we refuse; and what we accept revokes the same.
#[test]
fn a_damaged_list_is_refused_or_revokes_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let subjects = subjects(folder);
    let bitmap: String = (1..20)
        .map(|n| format!("serial: {}\n", n * 2 + 500))
        .collect();
    make(
        folder,
        &["-s", "ca0.pub"],
        &format!("serial: 4-10\n{bitmap}serial: 9999\nid: id 30\n"),
    );
    let keys = format!(
        "key: {0}sha1: {0}sha256: {0}",
        user(KeyType::Ed25519).line()
    );
    make(folder, &["-u"], &keys);
    let whole = fs::read(folder.join("krl")).unwrap();
    let mut random = StdRng::seed_from_u64(6);
    let (mut refused, mut accepted) = (0, 0);
    let damaged = (0..whole.len()).map(|at| {
        let mut bytes = whole.clone();
        match random.random_range(0..4) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, 0),
            _ => bytes[at] ^= 1 << random.random_range(0..8),
        }
        bytes
    });
    for bytes in damaged.filter(|bytes| bytes.starts_with(b"SSHKRL\n\0")) {
        fs::write(folder.join("damaged"), &bytes).unwrap();
        let theirs = by_openssh(folder, "damaged", &subjects);
        let Ok(ours) = RevokedKeys::parse(&bytes, "krl") else {
            refused += 1;
            continue;
        };
        accepted += 1;
        let ours = Arc::new(ours);
        let theirs = theirs.expect("OpenSSH refuses a list that we accept");
        for (subject, theirs) in subjects.iter().zip(theirs) {
            assert_eq!(subject.is_revoked(&ours), theirs, "{}", subject.file);
        }
    }
    assert!(refused > 50 && accepted > 50, "{refused} {accepted}");
}

#[test]
fn plain_lists_revoke_keys_cas_and_certificates_keys() {
    let certificate =
        |key: &KeyPair| Fields::of(key, ca(KeyType::Ed25519)).sign(ca(KeyType::Ed25519));
    let one = user(KeyType::Ed25519);
    let (mine, other) = (certificate(one), certificate(user(KeyType::Rsa)));
    let code = |text: &str, certificate: &[u8]| {
        let list = RevokedKeys::parse(text.as_bytes(), "revoked").unwrap();
        match verdict(certificate, Revocations::Listed(Arc::new(list))) {
            Ok(()) => "let in",
            Err(refusal) => refusal.code(),
        }
    };
    let of_certificate = public_line(one.key_type.certificate_name(), &mine);
    for (text, about_mine, about_other) in [
        (String::new(), "let in", "let in"),
        ("# nothing\n\n \t\n".into(), "let in", "let in"),
        (one.line(), "revoked_key", "let in"),
        (format!("  {}", one.line()), "revoked_key", "let in"),
        (
            format!("# first\n{}{}", user(KeyType::SkEd25519).line(), one.line()),
            "revoked_key",
            "let in",
        ),
        (of_certificate, "revoked_key", "let in"),
        (format!("\u{feff}{}", one.line()), "revoked_key", "let in"),
        (
            ca(KeyType::Ed25519).line(),
            "revoked_authority",
            "revoked_authority",
        ),
        (ca(KeyType::Rsa).line(), "let in", "let in"),
        (
            public_line("ssh-dss", &string("ssh-dss")),
            "let in",
            "let in",
        ),
    ] {
        assert_eq!(code(&text, &mine), about_mine, "{text}");
        assert_eq!(code(&text, &other), about_other, "{text}");
    }
    let private = one.private.to_openssh(ssh_key::LineEnding::LF).unwrap();
    let no_key = "this is no public key; write one a line, as in a .pub file, or make a key revocation list of serial numbers, key ids and hashes with ssh-keygen -k";
    for (text, line, expected) in [
        (private.to_string(), 1, no_key),
        ("serial: 5".into(), 1, no_key),
        (format!("{}nonsense", one.line()), 2, no_key),
        (format!("cert-authority {}", one.line()), 1, no_key),
        (
            one.line().replace("ssh-ed25519", "ssh-rsa"),
            1,
            "the key is not of the type that the line says; copy the line again, whole",
        ),
        (
            public_line("ssh-new", &string("ssh-new")),
            1,
            "the key is not as it should be: keys of type \"ssh-new\" are not supported; use Ed25519, ECDSA or RSA",
        ),
        (
            public_line("ssh-ed25519", &one.blob[..30]),
            1,
            "the key is not as it should be: it ends in the middle of the Ed25519 key",
        ),
    ] {
        let error = RevokedKeys::parse(text.as_bytes(), "revoked").unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("revoked, line {line}: {expected}")
        );
    }
}

/// The order of the reasons, and what a list that cannot be read means.
#[test]
fn nobody_is_let_in_while_the_list_cannot_be_read() {
    let certificate = Fields::default().sign(ca(KeyType::Ed25519));
    let code = |certificate: &[u8]| verdict(certificate, Revocations::Unknown).unwrap_err();
    assert_eq!(code(&certificate), Refusal::RevocationsUnknown);
    assert!(code(&certificate).disclosed().is_some());
    // A stranger does not learn of it.
    let mut stranger = Fields::default();
    stranger
        .signature_key
        .clone_from(&user(KeyType::Ed25519).blob);
    let refusal = code(&stranger.sign(user(KeyType::Ed25519)));
    assert_eq!(refusal.code(), "untrusted_authority");
    let forged = Fields::default().sign(user(KeyType::Ed25519));
    assert_eq!(code(&forged).code(), "bad_authority_signature");
}
