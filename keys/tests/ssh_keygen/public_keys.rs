//! Files of public keys, such as `trusted_user_ca_keys`.

use crate::reference::Folder;
use keys::file::{self, FileError};
use keys::openssh::{self, KeyError};

#[test]
fn one_or_more_lines() {
    let folder = Folder::new();
    folder.ssh_key("a", &["ed25519"]);
    folder.ssh_key("b", &["rsa", "-b", "2048"]);
    folder.ssh_key("c", &["ecdsa", "-b", "521"]);
    let lines = ["a.pub", "b.pub", "c.pub"].map(|name| folder.read(name));
    let [a, b, c] = &lines;
    let c = c.replace(" a comment", "").replace(' ', " \t ");
    let text = format!(
        "# CAs\n\n{a}  \n\t# more\n  {}\r\n{}",
        b.trim_end(),
        c.trim_end()
    );
    let path = folder.write("trusted", text);
    let keys = file::read_public_keys(&path).unwrap();
    let each =
        ["a.pub", "b.pub", "c.pub"].map(|name| file::read_public_key(&folder.join(name)).unwrap());
    assert_eq!(keys.len(), 3);
    for (key, expected) in keys.iter().zip(&each) {
        assert_eq!(key.key_data(), expected.key_data());
    }
    let comments: Vec<_> = keys
        .iter()
        .map(|key| key.comment().as_str().unwrap())
        .collect();
    assert_eq!(comments, ["a comment", "a comment", ""]);
}

#[test]
fn none() {
    let folder = Folder::new();
    let path = folder.write("trusted", "# nothing\n\n");
    assert!(file::read_public_keys(&path).unwrap().is_empty());
    let error = file::read_public_key(&path).unwrap_err().to_string();
    assert_eq!(
        error,
        format!("{} holds 0 public keys; expected is one", path.display())
    );
}

#[test]
fn comment_that_is_not_utf8() {
    let folder = Folder::new();
    folder.ssh_key("a", &["ed25519"]);
    let mut line = folder.read("a.pub").trim_end().as_bytes().to_vec();
    line.extend(b" Andr\xe9\n");
    let key = file::read_public_key(&folder.write("latin1.pub", line)).unwrap();
    assert_eq!(key.comment().as_str().unwrap(), "a comment Andr\u{fffd}");
}

#[test]
fn comment_that_would_be_another_key() {
    let folder = Folder::new();
    folder.ssh_key("a", &["ed25519"]);
    let mut key = file::read_public_key(&folder.join("a.pub")).unwrap();
    key.set_comment(format!("me\n{}", folder.read("a.pub")));
    let line = openssh::public_key_line(&key).unwrap();
    assert_eq!(openssh::public_keys(&line).unwrap().len(), 1);
}

#[test]
fn something_else_in_its_place() {
    let folder = Folder::new();
    folder.ssh_key("a", &["ed25519"]);
    folder.ssh_key("b", &["ecdsa"]);
    folder.ssh_keygen(&["-q", "-s", "a", "-I", "id", "a.pub"]);
    let (a, b) = (folder.read("a.pub"), folder.read("b.pub"));
    let certificate = folder.read("a-cert.pub");
    let blob = |line: &str| line.split(' ').nth(1).unwrap().to_owned();
    let damaged = |error: &KeyError| matches!(error, KeyError::Damaged(_));

    let table = [
        (certificate.clone(), KeyError::IsCertificate),
        // What counts is what the blob says.
        (
            format!("ssh-ed25519 {}", blob(&certificate)),
            KeyError::IsCertificate,
        ),
        (format!("ssh-ed25519 {}", blob(&b)), KeyError::NotAKey),
        (
            format!("ssh-ed25519-cert-v01@openssh.com {}", blob(&a)),
            KeyError::NotAKey,
        ),
        (folder.read("a"), KeyError::IsPrivate),
        ("garbage\n".to_owned(), KeyError::NotAKey),
        ("ssh-ed25519\n".to_owned(), KeyError::NotAKey),
        ("ssh-ed25519 @@@@\n".to_owned(), KeyError::NotAKey),
        (
            "x@y AAAAA3hAeQ==\n".to_owned(),
            KeyError::Unsupported("x@y".to_owned()),
        ),
        // Options, as in authorized_keys, are no part of this format.
        (format!("no-pty {a}"), KeyError::NotAKey),
    ];
    for (line, expected) in table {
        let text = format!("# first\n{b}\n{line}");
        let path = folder.write("trusted", text);
        match file::read_public_keys(&path) {
            Err(FileError::Key(_, Some(4), error)) => assert_eq!(error, expected, "{line}"),
            other => panic!("{line}: {other:?}"),
        }
    }
    let short = &blob(&a)[..blob(&a).len() - 4];
    assert!(damaged(
        &openssh::public_key(&format!("ssh-ed25519 {short}")).unwrap_err()
    ));
    let long = format!("{}AAAA", blob(&a));
    assert!(damaged(
        &openssh::public_key(&format!("ssh-ed25519 {long}")).unwrap_err()
    ));
}

#[test]
fn more_than_the_one_that_is_expected() {
    let folder = Folder::new();
    folder.ssh_key("a", &["ed25519"]);
    let twice = folder.read("a.pub").repeat(2);
    let path = folder.write("twice.pub", twice);
    let error = file::read_public_key(&path).unwrap_err().to_string();
    assert_eq!(
        error,
        format!("{} holds 2 public keys; expected is one", path.display())
    );
}
