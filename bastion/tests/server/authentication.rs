//! Who is let in, and what the others are told.

use std::fs;

use keys::certificate::{CertificateOption, CertificateSpec, sign};
use keys::generate::{KeyKind, generate};
use keys::validity::{ALWAYS, FOREVER};

use crate::support::{Server, User, now, output, text};

#[test]
fn every_kind_of_user_key_is_let_in() {
    let server = Server::start();
    for kind in [KeyKind::Ed25519, KeyKind::EcdsaP256, KeyKind::Rsa3072] {
        let user = User::new(kind, &server.ca, |_| {});
        assert_eq!(
            text(&output(server.ssh(&user, &[]).arg("echo in")).stdout),
            "in\n",
            "{kind:?}"
        );
    }
    // Those that keygen does not make, ssh-keygen does.
    for (kind, bits) in [("ecdsa", "384"), ("ecdsa", "521"), ("rsa", "2048")] {
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("key");
        let made = std::process::Command::new("ssh-keygen")
            .args(["-q", "-N", "", "-t", kind, "-b", bits, "-f"])
            .arg(&key)
            .status();
        assert!(made.unwrap().success());
        let private = ssh_key::PrivateKey::read_openssh_file(&key).unwrap();
        let spec = keys::pomerium::pomerium_spec("claw", now());
        let certificate = sign(&spec, private.public_key(), &server.ca).unwrap();
        let user = User::with_certificate(private, certificate);
        assert_eq!(
            text(&output(server.ssh(&user, &[]).arg("echo in")).stdout),
            "in\n",
            "{kind} {bits}"
        );
    }
}

#[test]
fn every_kind_of_authority_is_accepted_several_in_one_file() {
    let kinds = [KeyKind::Ed25519, KeyKind::EcdsaP256, KeyKind::Rsa3072];
    let authorities = kinds.map(|kind| generate(kind, "").unwrap());
    let folder = tempfile::tempdir().unwrap();
    let lines = authorities
        .iter()
        .map(|ca| ca.public_key().to_openssh().unwrap() + "\n");
    fs::write(
        folder.path().join("ca.pub"),
        format!("# both old and new\n\n{}", lines.collect::<String>()),
    )
    .unwrap();
    let server = Server::start_in(folder, authorities[0].clone(), "", &[]);
    for ca in &authorities {
        let user = User::new(KeyKind::Ed25519, ca, |_| {});
        assert_eq!(
            text(&output(server.ssh(&user, &[]).arg("echo in")).stdout),
            "in\n"
        );
    }
}

/// A refused user is told why; the sentence is on standard error, the reason's word in the log.
#[test]
fn a_certificate_holder_is_told_what_is_wrong() {
    type Edit = fn(&mut CertificateSpec);
    let cases: [(&str, Edit, &str); 10] = [
        ("expired", |spec| spec.valid_before = now() - 1, "expired"),
        (
            "not_yet_valid",
            |spec| spec.valid_after = now() + 1000,
            "not valid before",
        ),
        ("no_principals", |spec| spec.principals.clear(), "principal"),
        (
            "principal_not_listed",
            |spec| spec.principals = vec!["other".into()],
            "claw",
        ),
        (
            "principal_not_listed",
            |spec| spec.principals = vec!["*".into()],
            "claw",
        ),
        (
            "principal_not_listed",
            |spec| spec.principals = vec!["claw,root".into()],
            "claw",
        ),
        (
            "principal_not_listed",
            |spec| spec.principals = vec!["Claw".into()],
            "claw",
        ),
        (
            "unknown_critical_option",
            |spec| {
                spec.critical_options
                    .push(CertificateOption::flag("no-coffee"))
            },
            "no-coffee",
        ),
        (
            "source_not_permitted",
            |spec| {
                spec.critical_options
                    .push(CertificateOption::with_value("source-address", "10.0.0.0/8").unwrap())
            },
            "10.0.0.0/8",
        ),
        (
            "verification_required",
            |spec| {
                spec.critical_options
                    .push(CertificateOption::flag("verify-required"))
            },
            "verif",
        ),
    ];
    let mut server = Server::start();
    for (code, edit, told) in cases {
        let user = server.user_with(edit);
        let run = output(server.ssh(&user, &["-o", "LogLevel=INFO"]).arg("echo in"));
        let stderr = text(&run.stderr);
        assert_eq!(
            (run.status.code(), run.stdout.len()),
            (Some(255), 0),
            "{code}: {stderr}"
        );
        assert!(
            stderr.contains("bastion: ") && stderr.contains(told),
            "{code}: {stderr}"
        );
        let login = server.event("login", |_| true);
        assert_eq!(
            (login["verdict"].as_str(), login["reason"]["code"].as_str()),
            (Some("refused"), Some(code))
        );
    }
}

#[test]
fn a_stranger_is_told_nothing() {
    let mut server = Server::start();
    let other = generate(KeyKind::Ed25519, "another CA").unwrap();
    let strangers = [
        (
            "untrusted_authority",
            User::new(KeyKind::Ed25519, &other, |_| {}),
        ),
        (
            "untrusted_authority",
            User::new(KeyKind::Ed25519, &other, |spec| spec.valid_before = 1),
        ),
        ("bad_authority_signature", {
            let mut user = server.user();
            let last = user.certificate.len() - 1;
            user.certificate[last] ^= 1;
            User::with_certificate(user.private, user.certificate)
        }),
    ];
    for (code, user) in strangers {
        let run = output(server.ssh(&user, &["-o", "LogLevel=INFO"]).arg("echo in"));
        let stderr = text(&run.stderr);
        assert_eq!(
            (run.status.code(), run.stdout.len()),
            (Some(255), 0),
            "{code}: {stderr}"
        );
        assert!(
            !stderr.contains("bastion") && stderr.contains("Permission denied"),
            "{code}: {stderr}"
        );
    }
    // ssh asks first whether it may sign; that it may not is no decision on a login.
    let events = server.events_so_far().iter();
    assert_eq!(events.filter(|event| event["event"] == "login").count(), 0);
}

#[test]
fn nothing_but_a_certificate_lets_anybody_in() {
    let server = Server::start();
    let user = server.user();
    fs::remove_file(user.folder().join("key-cert.pub")).unwrap();
    let run = output(server.ssh(&user, &[]).arg("echo in"));
    assert!(!run.status.success());
    // The only method that is offered.
    let run = output(server.ssh(&user, &["-v"]).arg("echo in"));
    let methods = "Authentications that can continue: publickey";
    assert!(
        text(&run.stderr)
            .lines()
            .any(|line| line.ends_with(methods)),
        "{}",
        text(&run.stderr)
    );
}

#[test]
fn a_login_name_that_is_not_configured_is_refused() {
    let server = Server::start();
    let user = server.user_with(|spec| spec.principals = vec!["root".into(), "admin".into()]);
    for name in ["root@127.0.0.1", "admin@127.0.0.1"] {
        let mut ssh = server.ssh(&user, &["-o", "LogLevel=INFO"]);
        let arguments: Vec<_> = ssh
            .get_args()
            .map(ToOwned::to_owned)
            .filter(|argument| argument != "claw@127.0.0.1")
            .collect();
        ssh = std::process::Command::new("ssh");
        let run = output(ssh.args(arguments).arg(name).arg("echo in"));
        assert!(!run.status.success());
        assert!(
            text(&run.stderr).contains("bastion: "),
            "{}",
            text(&run.stderr)
        );
    }
}

#[test]
fn a_forced_command_is_the_only_one() {
    let server = Server::start();
    let user = server.user_with(|spec| {
        let forced = CertificateOption::with_value(
            "force-command",
            "echo \"forced: $SSH_ORIGINAL_COMMAND\"",
        )
        .unwrap();
        spec.critical_options.push(forced);
    });
    assert_eq!(
        text(&output(server.ssh(&user, &[]).arg("id")).stdout),
        "forced: id\n"
    );
    assert_eq!(
        text(&output(&mut server.ssh(&user, &["-T"])).stdout),
        "forced: \n"
    );
    assert_eq!(
        text(&output(server.ssh(&user, &["-s"]).arg("sftp")).stdout),
        "forced: internal-sftp\n"
    );
}

#[test]
fn both_sentinels_of_validity_mean_no_limit() {
    let server = Server::start();
    let user = server.user_with(|spec| (spec.valid_after, spec.valid_before) = (ALWAYS, FOREVER));
    assert_eq!(
        text(&output(server.ssh(&user, &[]).arg("echo in")).stdout),
        "in\n"
    );
}

#[test]
fn every_host_key_is_offered_and_good() {
    let server = Server::start();
    let user = server.user();
    for algorithm in [
        "ssh-ed25519",
        "ecdsa-sha2-nistp256",
        "rsa-sha2-512",
        "rsa-sha2-256",
    ] {
        let only = format!("HostKeyAlgorithms={algorithm}");
        assert_eq!(
            text(&output(server.ssh(&user, &["-o", &only]).arg("echo in")).stdout),
            "in\n",
            "{algorithm}"
        );
    }
}

#[test]
fn algorithms_of_the_past_are_not_offered() {
    let server = Server::start();
    let user = server.user();
    for option in [
        "KexAlgorithms=diffie-hellman-group14-sha256",
        "KexAlgorithms=diffie-hellman-group-exchange-sha256",
        "Ciphers=aes128-cbc",
        "HostKeyAlgorithms=ssh-rsa",
        "MACs=hmac-sha1",
    ] {
        let mut arguments = vec!["-o", option];
        if option.starts_with("MACs") {
            arguments.extend(["-o", "Ciphers=aes128-ctr"]);
        }
        assert!(
            !output(server.ssh(&user, &arguments).arg("echo in"))
                .status
                .success(),
            "{option}"
        );
    }
    for option in [
        "Ciphers=aes256-ctr",
        "Ciphers=aes128-gcm@openssh.com",
        "Ciphers=chacha20-poly1305@openssh.com",
    ] {
        assert!(
            output(server.ssh(&user, &["-o", option]).arg("echo in"))
                .status
                .success(),
            "{option}"
        );
    }
}

/// As sshd counts: neither the question what there is, nor a query that was answered well.
#[test]
fn only_failures_are_counted() {
    let server = Server::start_with("max_auth_tries = 3", &[]);
    let user = server.user();
    let others: Vec<_> = (0..2)
        .map(|number| {
            let file = server.folder.path().join(format!("stranger{number}"));
            let key = generate(KeyKind::Ed25519, "").unwrap();
            key.write_openssh_file(&file, ssh_key::LineEnding::LF)
                .unwrap();
            file.display().to_string()
        })
        .collect();
    let with = |others: &[String]| {
        let mut arguments: Vec<_> = others.iter().flat_map(|file| ["-i", file]).collect();
        arguments.extend(["-o", "PreferredAuthentications=publickey"]);
        // Then comes the user's key without its certificate, and then with it.
        text(&output(server.ssh(&user, &arguments).arg("echo in")).stdout)
    };
    assert_eq!(with(&others[..1]), "in\n");
    assert_eq!(with(&others), "");
}
