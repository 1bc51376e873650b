//! What OpenSSH reads in a certificate, we read.

use std::fmt::Write;

use bastion::policy::{CertificateType, KeyType, NamedData, UserCertificate, rfc3339};

use crate::key_pair::{ca, user};
use crate::mint::{Fields, VALID_AFTER, string};
use crate::ssh_keygen;
use crate::trial::KINDS_OF_CA;

/// A certificate in the words of `ssh-keygen -L` (sshkey.c's short names, ssh-keygen.c's layout).
pub(crate) fn as_ssh_keygen_lists(certificate: &UserCertificate) -> String {
    let user = certificate.public_key();
    let ca = certificate.signature_key();
    let kind = match certificate.certificate_type() {
        CertificateType::Host => "host",
        _ => "user",
    };
    let principals = certificate.valid_principals();
    let algorithm = certificate.verify_signature().unwrap().signature_algorithm;
    let mut out = String::from("cert.pub:\n");
    writeln!(
        out,
        "        Type: {} {kind} certificate",
        user.algorithm().certificate_name()
    )
    .unwrap();
    writeln!(
        out,
        "        Public key: {}-CERT {}",
        short(user.algorithm()),
        user.fingerprint()
    )
    .unwrap();
    writeln!(
        out,
        "        Signing CA: {} {} (using {algorithm})",
        short(ca.algorithm()),
        ca.fingerprint()
    )
    .unwrap();
    writeln!(out, "        Key ID: \"{}\"", certificate.key_id()).unwrap();
    writeln!(out, "        Serial: {}", certificate.serial()).unwrap();
    writeln!(out, "        Valid: {}", validity(certificate)).unwrap();
    list(&mut out, "Principals", principals.to_vec());
    list(
        &mut out,
        "Critical Options",
        certificate
            .critical_options()
            .iter()
            .map(critical)
            .collect(),
    );
    list(
        &mut out,
        "Extensions",
        certificate.extensions().iter().map(extension).collect(),
    );
    out
}

fn short(key_type: KeyType) -> &'static str {
    match key_type {
        KeyType::Ed25519 => "ED25519",
        KeyType::EcdsaP256 | KeyType::EcdsaP384 | KeyType::EcdsaP521 => "ECDSA",
        KeyType::Rsa => "RSA",
        KeyType::SkEd25519 => "ED25519-SK",
        KeyType::SkEcdsaP256 => "ECDSA-SK",
    }
}

fn validity(certificate: &UserCertificate) -> String {
    let time = |seconds| rfc3339(seconds).trim_end_matches('Z').to_owned();
    match (certificate.valid_after(), certificate.valid_before()) {
        (0, u64::MAX) => "forever".to_owned(),
        (0, before) => format!("before {}", time(before)),
        (after, u64::MAX) => format!("after {}", time(after)),
        (after, before) => format!("from {} to {}", time(after), time(before)),
    }
}

fn list(out: &mut String, title: &str, entries: Vec<String>) {
    if entries.is_empty() {
        writeln!(out, "        {title}: (none)").unwrap();
        return;
    }
    writeln!(out, "        {title}: ").unwrap();
    for entry in entries {
        writeln!(out, "                {entry}").unwrap();
    }
}

fn critical(option: &NamedData) -> String {
    let NamedData { name, data } = option;
    match name.as_str() {
        "force-command" | "source-address" => {
            format!("{name} {}", String::from_utf8(data[4..].to_vec()).unwrap())
        }
        "verify-required" => name.clone(),
        _ if data.is_empty() => format!("{name} UNKNOWN FLAG OPTION"),
        _ => format!("{name} UNKNOWN OPTION: {} (len {})", hex(data), data.len()),
    }
}

fn extension(extension: &NamedData) -> String {
    let NamedData { name, data } = extension;
    let known = [
        "permit-X11-forwarding",
        "permit-agent-forwarding",
        "permit-port-forwarding",
        "permit-pty",
        "permit-user-rc",
        "no-touch-required",
    ];
    if known.contains(&name.as_str()) {
        return name.clone();
    }
    match data.len() {
        0 => format!("{name} UNKNOWN FLAG OPTION"),
        len => format!("{name} UNKNOWN OPTION: {} (len {len})", hex(data)),
    }
}

fn hex(data: &[u8]) -> String {
    data.iter().fold(String::new(), |mut out, byte| {
        write!(out, "{byte:02x}").unwrap();
        out
    })
}

#[track_caller]
fn same_reading(certificate: &[u8]) {
    let ours = UserCertificate::parse(certificate).unwrap();
    let name = ours.public_key().algorithm().certificate_name();
    assert_eq!(
        as_ssh_keygen_lists(&ours),
        ssh_keygen::list(name, certificate)
    );
    assert_eq!(ours.as_bytes(), certificate);
}

#[test]
fn fields_are_those_of_ssh_keygen() {
    for ca_type in KINDS_OF_CA {
        for user_type in KeyType::ALL {
            let arguments = [
                "-I",
                "a key id",
                "-n",
                "claw,root",
                "-z",
                "42",
                "-V",
                "0x64:0xc8",
            ];
            same_reading(&ssh_keygen::certify(
                ca(ca_type),
                user(user_type),
                &arguments,
            ));
            same_reading(&Fields::of(user(user_type), ca(ca_type)).sign(ca(ca_type)));
        }
    }
}

#[test]
fn options_are_those_of_ssh_keygen() {
    for arguments in [
        &["-O", "clear"][..],
        &["-h", "-n", "host.example.com"],
        &["-V", "always:forever", "-z", "18446744073709551615"],
        &["-V", "0x64:forever"],
        &["-V", "always:0xc8"],
        &[
            "-O",
            "force-command=ls -l",
            "-O",
            "source-address=10.0.0.0/8,2001:db8::/32",
        ],
        &["-O", "verify-required", "-O", "no-touch-required"],
        &[
            "-O",
            "critical:a@example.com",
            "-O",
            "critical:b@example.com=data",
        ],
        &[
            "-O",
            "extension:a@example.com",
            "-O",
            "extension:b@example.com=data",
        ],
    ] {
        let arguments = [&["-I", ""], arguments].concat();
        same_reading(&ssh_keygen::certify(
            ca(KeyType::Ed25519),
            user(KeyType::EcdsaP256),
            &arguments,
        ));
    }
}

/// The encoder's bytes are ssh-keygen's, but for the nonce.
#[test]
fn the_encoder_is_ssh_keygen_s() {
    let (ca, user) = (ca(KeyType::Ed25519), user(KeyType::SkEcdsaP256));
    let valid = format!("{VALID_AFTER:#x}:{:#x}", VALID_AFTER + 3600);
    let arguments = [
        "-I",
        "",
        "-n",
        "claw",
        "-z",
        "1",
        "-V",
        &valid,
        "-O",
        "force-command=ls",
    ];
    let by_ssh_keygen = ssh_keygen::certify(ca, user, &arguments);
    let mut fields = Fields::of(user, ca);
    fields.critical_option("force-command", string("ls"));
    let name_len = 4 + user.key_type.certificate_name().len();
    fields.nonce = by_ssh_keygen[name_len + 4..name_len + 36].to_vec();
    assert_eq!(fields.sign(ca), by_ssh_keygen);
}

/// A list that OpenSSH refuses to sign is refused here; the other way, the differences are known.
#[test]
fn source_addresses_are_those_of_openssh() {
    // Abbreviations and other bases, which the C library's resolver reads.
    let stricter_here = ["10.1", "167772161", "010.0.0.1", "0xa.0.0.1"];
    for list in [
        "10.0.0.1",
        "10.0.0.1/32",
        "10.0.0.0/8",
        "0.0.0.0/0",
        "::/0",
        "::1",
        "2001:db8::/32",
        "2001:DB8::1",
        "::ffff:10.0.0.1",
        "::ffff:10.0.0.0/104",
        "10.0.0.1,::1",
        "10.0.0.1,",
        ",10.0.0.1",
        "10.0.0.1,,::1",
        "10.0.0.1, ::1",
        " 10.0.0.1",
        "10.0.0.1/8",
        "10.0.0.0/33",
        "10.0.0.0/",
        "10.0.0.0/+8",
        "10.0.0.0/-8",
        "10.0.0.0/8/8",
        "10.0.0.0/99999999999",
        "10.0.0.0/255.0.0.0",
        "256.0.0.1",
        "10.*",
        "*",
        "!10.0.0.1",
        "localhost",
        "2001:db8::1/32",
        "2001:db8::/129",
        "fe80::1%lo",
        "[::1]",
        "10.0.0.1,nonsense",
        "10.1",
        "167772161",
        "010.0.0.1",
        "0xa.0.0.1",
        "10.0.0.0/08",
        "/8",
        "10.0.0.1/",
        "::/128",
        "0.0.0.0/32",
        "255.255.255.255/0",
        "1::2::3",
        "::1/0",
        "10.0.0.1\n",
        "",
    ] {
        let mut fields = Fields::default();
        fields.critical_option("source-address", string(list));
        let certificate = UserCertificate::parse(&fields.sign(ca(KeyType::Ed25519))).unwrap();
        let request = bastion::policy::AuthRequest {
            login_name: "claw",
            source: "192.0.2.7".parse().unwrap(),
            now: VALID_AFTER,
            security_key: None,
        };
        let rules = crate::trial::rules(KeyType::Ed25519);
        let verdict = bastion::policy::authorize(&certificate, &request, &rules);
        let accepted_here =
            !matches!(&verdict, Err(refusal) if refusal.code() == "malformed_option");
        let (ca, user) = (ca(KeyType::Ed25519), user(KeyType::Ed25519));
        let accepted_there = ssh_keygen::accepts_source_addresses(ca, user, list);
        let expected = accepted_there && !stricter_here.contains(&list);
        assert_eq!(accepted_here, expected, "{list:?}: {verdict:?}");
    }
}
