//! `bastion-keygen issue`.

use crate::reference::Folder;
use keys::pomerium::EXTENSIONS;

const CA: &str = "pomerium_user_ca_key";

/// A certificate of `key` for the account.
const FOR_CLAW: [&str; 5] = ["issue", "--public-key", "key.pub", "--principal", "claw"];

/// The same with more said.
fn and<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&FOR_CLAW, more].concat()
}

/// A folder with a User CA and a key of ssh-keygen's.
fn with_ca() -> Folder {
    let folder = Folder::new();
    folder.ssh_key(CA, &["ed25519"]);
    folder.ssh_key("key", &["ed25519"]);
    folder
}

/// What ssh-keygen says about a certificate.
fn listed(folder: &Folder, name: &str) -> String {
    folder.ssh_keygen(&["-L", "-f", name])
}

/// The lines under a title, which may be none.
fn list(listing: &str, title: &str) -> Vec<String> {
    let mut lines = listing
        .lines()
        .skip_while(|line| line.trim() != format!("{title}:"));
    lines.next();
    let entries = lines.take_while(|line| line.starts_with("                "));
    entries.map(|line| line.trim().to_owned()).collect()
}

#[test]
fn for_a_key_that_is_there() {
    let folder = with_ca();
    let printed = folder.run(&["issue", "--public-key", "key.pub", "--principal", "claw"]);
    let listing = listed(&folder, "key-cert.pub");
    assert!(
        listing.contains("ssh-ed25519-cert-v01@openssh.com user certificate"),
        "{listing}"
    );
    assert!(listing.contains("Key ID: \"bastion-keygen\""), "{listing}");
    assert!(listing.contains("Serial: 0\n"), "{listing}");
    assert_eq!(list(&listing, "Principals"), ["claw"]);
    assert!(list(&listing, "Critical Options").is_empty());
    assert_eq!(list(&listing, "Extensions"), EXTENSIONS);
    assert_eq!(folder.mode("key-cert.pub"), 0o644);
    assert!(folder.read("key-cert.pub").ends_with(" a comment\n"));
    let block = listing.strip_prefix("key-cert.pub:\n").unwrap();
    let without_zone = printed.replace("Z to ", " to ").replace("Z\n", "\n");
    assert_eq!(without_zone, format!("made key-cert.pub:\n{block}"));
}

#[test]
fn with_everything_said() {
    let folder = with_ca();
    folder.ssh_key("other_ca", &["rsa", "-b", "2048"]);
    let mut arguments = and(&["--ca", "other_ca", "--principal", "bob,eve"]);
    arguments.extend(["--validity", "20260101Z:202701021530Z"]);
    arguments.extend([
        "--serial",
        "18446744073709551615",
        "--key-id",
        "break glass",
    ]);
    for option in [
        "verify-required",
        "source-address=10.0.0.0/8,fe80::/10,192.0.2.1",
        "force-command=echo a=b",
        "x@example.com=y",
    ] {
        arguments.extend(["--option", option]);
    }
    for extension in ["permit-pty", "no-touch-required", "e@example.com"] {
        arguments.extend(["--extension", extension]);
    }
    folder.run(&arguments);
    let listing = listed(&folder, "key-cert.pub");
    assert!(listing.contains("(using rsa-sha2-512)\n"), "{listing}");
    assert!(listing.contains("Key ID: \"break glass\""), "{listing}");
    assert!(
        listing.contains("Serial: 18446744073709551615\n"),
        "{listing}"
    );
    let valid = "Valid: from 2026-01-01T00:00:00 to 2027-01-02T15:30:00\n";
    assert!(listing.contains(valid), "{listing}");
    assert_eq!(list(&listing, "Principals"), ["claw", "bob", "eve"]);
    assert_eq!(
        list(&listing, "Critical Options"),
        [
            "force-command echo a=b",
            "source-address 10.0.0.0/8,fe80::/10,192.0.2.1",
            "verify-required",
            "x@example.com UNKNOWN OPTION: 0000000179 (len 5)",
        ]
    );
    assert_eq!(
        list(&listing, "Extensions"),
        [
            "e@example.com UNKNOWN FLAG OPTION",
            "no-touch-required",
            "permit-pty",
        ]
    );
}

#[test]
fn for_ever() {
    let folder = with_ca();
    let table = [
        ("always:forever", "Valid: forever\n"),
        ("always:20270101Z", "Valid: before 2027-01-01T00:00:00\n"),
        ("20270101Z:forever", "Valid: after 2027-01-01T00:00:00\n"),
    ];
    for (validity, shown) in table {
        folder.run(&and(&["--validity", validity]));
        let listing = listed(&folder, "key-cert.pub");
        assert!(listing.contains(shown), "{listing}");
    }
}

#[test]
fn relative_to_now() {
    let folder = with_ca();
    for (validity, seconds) in [
        ("-5m:+1h", 3900),
        ("1h", 3660),
        ("-1h:-1", 3599),
        ("+1d:+1w", 6 * 86400),
    ] {
        folder.run(&and(&["--validity", validity]));
        let line = folder.read("key-cert.pub");
        let certificate = ssh_key::Certificate::from_openssh(&line).unwrap();
        let length = certificate.valid_before() - certificate.valid_after();
        assert_eq!(length, seconds, "{validity}");
    }
}

#[test]
fn with_a_fresh_key() {
    let folder = with_ca();
    folder.run(&[
        "issue",
        "--out",
        "new",
        "--principal",
        "claw",
        "--key-id",
        "me",
    ]);
    assert_eq!(folder.mode("new"), 0o600);
    assert_eq!(
        folder.ssh_keygen(&["-y", "-f", "new"]),
        folder.read("new.pub")
    );
    assert!(folder.read("new.pub").ends_with(" me\n"));
    let fingerprint = |name: &str| {
        let line = folder.ssh_keygen(&["-l", "-f", name]);
        line.split(' ').nth(1).unwrap().to_owned()
    };
    assert_eq!(fingerprint("new-cert.pub"), fingerprint("new.pub"));
}

#[test]
fn fresh_key_where_something_is() {
    let arguments = ["issue", "--out", "new", "--principal", "claw"];
    for name in ["new", "new.pub", "new-cert.pub"] {
        let folder = with_ca();
        folder.write(name, "mine");
        let names = folder.names();
        let sentence = folder.fail(&arguments);
        let expected = "exists and is never overwritten: move it away, or name another file";
        assert_eq!(sentence, format!("{name} {expected}"));
        assert_eq!(folder.read(name), "mine");
        assert_eq!(folder.names(), names);
    }
}

#[test]
fn replaces_a_certificate_and_nothing_else() {
    let folder = with_ca();
    folder.run(&FOR_CLAW);
    folder.run(&["issue", "--public-key", "key.pub", "--principal", "bob"]);
    assert_eq!(
        list(&listed(&folder, "key-cert.pub"), "Principals"),
        ["bob"]
    );
    folder.write("key-cert.pub", folder.read("key.pub"));
    let sentence = folder.fail(&FOR_CLAW);
    assert!(
        sentence.starts_with("key-cert.pub exists and is never overwritten"),
        "{sentence}"
    );
}

#[test]
fn for_a_host() {
    let folder = with_ca();
    let arguments = [
        "issue",
        "--host",
        "--public-key",
        "key.pub",
        "--principal",
        "bastion.example.com",
    ];
    folder.run(&arguments);
    let listing = listed(&folder, "key-cert.pub");
    assert!(listing.contains(" host certificate\n"), "{listing}");
    assert!(listing.contains("Extensions: (none)\n"), "{listing}");
    assert_eq!(list(&listing, "Principals"), ["bastion.example.com"]);
    folder.misuse(&[&arguments[..], &["--option", "verify-required"]].concat());
}

#[test]
fn without_extensions() {
    let folder = with_ca();
    folder.run(&and(&["--no-extensions"]));
    let listing = listed(&folder, "key-cert.pub");
    assert!(listing.contains("Extensions: (none)\n"), "{listing}");
    folder.misuse(&and(&["--no-extensions", "--extension", "permit-pty"]));
}

#[test]
fn key_file_without_pub_in_its_name() {
    let folder = with_ca();
    folder.write("id.v1", folder.read("key.pub"));
    folder.run(&["issue", "--public-key", "id.v1", "--principal", "claw"]);
    listed(&folder, "id.v1-cert.pub");
}

#[test]
fn command_lines_that_mean_nothing() {
    let folder = with_ca();
    let table: [(&[&str], &str); 15] = [
        (&["--validity", "tomorrow"], "\"tomorrow\" is not a time"),
        (
            &["--validity", "20270101"],
            "write it in UTC, with a Z at the end",
        ),
        (&["--serial", "one"], "--serial"),
        (
            &["--option", "forced-command=x"],
            "it is none of force-command=COMMAND",
        ),
        (
            &["--option", "force-command"],
            "it is none of force-command=COMMAND",
        ),
        (&["--option", "force-command="], "it names no command"),
        (&["--option", "verify-required=yes"], "it is none of"),
        (
            &["--option", "source-address=here"],
            "neither an address nor a range",
        ),
        (
            &["--option", "source-address=10.0.0.0/8,"],
            "neither an address nor a range",
        ),
        (
            &["--option", "source-address=10.0.0.0/33"],
            "no length from 0 to 32",
        ),
        (
            &["--option", "source-address=::/129"],
            "no length from 0 to 128",
        ),
        (
            &["--option", "source-address=10.1.0.0/8"],
            "bits set behind its first 8",
        ),
        (
            &["--extension", "permit-everything"],
            "it is none of permit-X11-forwarding",
        ),
        (&["--principal", ""], "--principal"),
        (&["--out", "new"], "--out"),
    ];
    for (more, complaint) in table {
        let said = folder.misuse(&and(more));
        assert!(said.contains(complaint), "{more:?}: {said}");
    }
    folder.misuse(&["issue", "--principal", "claw"]);
    folder.misuse(&["issue", "--public-key", "key.pub"]);
    assert!(!folder.join("key-cert.pub").exists());
}

#[test]
fn edges_of_address_ranges() {
    let folder = with_ca();
    for list in [
        "0.0.0.0/0",
        "::/0",
        "255.255.255.255/32",
        "::1/128",
        "128.0.0.0/1",
        "8000::/1",
    ] {
        let option = format!("source-address={list}");
        folder.run(&and(&["--option", &option]));
        // ssh-keygen takes the same.
        folder.ssh_keygen(&["-q", "-s", CA, "-I", "id", "-O", &option, "key.pub"]);
    }
}

#[test]
fn certificates_that_contradict_themselves() {
    let folder = with_ca();
    let table: [(&[&str], &str); 3] = [
        (
            &["--validity", "+2h:+1h"],
            "is no time at all: it ends before it begins",
        ),
        (
            &["--option", "force-command=a", "--option", "force-command=b"],
            "force-command is given more than once, and a certificate can say it only once",
        ),
        (
            &["--extension", "permit-pty", "--extension", "permit-pty"],
            "permit-pty is given more than once, and a certificate can say it only once",
        ),
    ];
    for (more, complaint) in table {
        let sentence = folder.fail(&and(more));
        assert!(sentence.ends_with(complaint), "{sentence}");
    }
}

#[test]
fn wrong_files() {
    let folder = with_ca();
    folder.ssh_keygen(&["-q", "-t", "ed25519", "-N", "secret", "-f", "locked"]);
    folder.ssh_key("open", &["ed25519"]);
    folder.chmod("open", 0o644);
    folder.ssh_keygen(&["-q", "-s", CA, "-I", "id", "open.pub"]);
    let ca: [(&str, &str); 5] = [
        ("nothing", "nothing does not exist"),
        ("locked", "locked is protected by a passphrase"),
        (
            "open",
            "open is a private key that others may read or change (mode 0644)",
        ),
        ("key.pub", "key.pub is a private key that others may"),
        (
            "open-cert.pub",
            "open-cert.pub is a private key that others may",
        ),
    ];
    for (name, complaint) in ca {
        let sentence = folder.fail(&["issue", "--ca", name, "--out", "new", "--principal", "claw"]);
        assert!(sentence.starts_with(complaint), "{sentence}");
        assert!(!folder.join("new").exists());
    }
    let subject: [(&str, &str); 3] = [
        ("nothing.pub", "nothing.pub does not exist"),
        (
            "key",
            "key, line 1, holds a private key, and not a public one: name the file with `.pub`",
        ),
        (
            "open-cert.pub",
            "open-cert.pub, line 1, holds a certificate, and not a key",
        ),
    ];
    for (name, complaint) in subject {
        let sentence = folder.fail(&["issue", "--public-key", name, "--principal", "claw"]);
        assert_eq!(sentence, complaint);
    }
    folder.chmod("key.pub", 0o600);
    let sentence = folder.fail(&[
        "issue",
        "--ca",
        "key.pub",
        "--out",
        "new",
        "--principal",
        "claw",
    ]);
    assert_eq!(
        sentence,
        "key.pub holds a public key, and not a private one: name the file without `.pub`"
    );
}
