//! `bastion-keygen inspect`.

use crate::reference::Folder;

#[test]
fn keys_as_ssh_keygen_lists_them() {
    let types: [&[&str]; 6] = [
        &["ed25519"],
        &["rsa", "-b", "1024"],
        &["rsa", "-b", "2056"],
        &["ecdsa", "-b", "256"],
        &["ecdsa", "-b", "384"],
        &["ecdsa", "-b", "521"],
    ];
    for type_and_bits in types {
        let folder = Folder::new();
        folder.ssh_key("key", type_and_bits);
        let listed = folder.ssh_keygen(&["-l", "-f", "key.pub"]);
        assert_eq!(folder.run(&["inspect", "key.pub"]), listed);
        assert_eq!(folder.run(&["inspect", "key"]), listed);
    }
}

#[test]
fn key_without_a_comment() {
    let folder = Folder::new();
    folder.ssh_keygen(&["-q", "-t", "ed25519", "-N", "", "-C", "", "-f", "key"]);
    let listed = folder.ssh_keygen(&["-l", "-f", "key.pub"]);
    assert_eq!(folder.run(&["inspect", "key.pub"]), listed);
    assert_eq!(folder.run(&["inspect", "key"]), listed);
}

#[test]
fn private_key_with_a_passphrase() {
    let folder = Folder::new();
    folder.ssh_keygen(&["-q", "-t", "ed25519", "-N", "secret", "-C", "", "-f", "key"]);
    let listed = folder.ssh_keygen(&["-l", "-f", "key.pub"]);
    assert_eq!(folder.run(&["inspect", "key"]), listed);
}

#[test]
fn file_of_keys_and_certificates() {
    let folder = Folder::new();
    folder.ssh_key("ca", &["ed25519"]);
    folder.ssh_key("key", &["ecdsa"]);
    folder.ssh_keygen(&[
        "-q",
        "-s",
        "ca",
        "-I",
        "id",
        "-n",
        "claw",
        "-V",
        "20260101Z:20270101Z",
        "key.pub",
    ]);
    let certificate = folder.read("key-cert.pub");
    folder.write(
        "file",
        format!(
            "{certificate}# a key\n{}{certificate}",
            folder.read("ca.pub")
        ),
    );
    let listed = folder.ssh_keygen(&["-L", "-f", "key-cert.pub"]);
    let listed = listed.replace("T00:00:00", "T00:00:00Z");
    let block = listed.strip_prefix("key-cert.pub:\n").unwrap();
    let key = folder.ssh_keygen(&["-l", "-f", "ca.pub"]);
    assert_eq!(folder.run(&["inspect", "key-cert.pub"]), listed);
    assert_eq!(
        folder.run(&["inspect", "file"]),
        format!("file:\n{block}{key}file:4:\n{block}")
    );
}

#[test]
fn certificate_whose_signature_is_wrong() {
    let folder = Folder::new();
    folder.ssh_key("ca", &["ed25519"]);
    folder.ssh_key("key", &["ed25519"]);
    folder.ssh_keygen(&["-q", "-s", "ca", "-I", "id", "-n", "claw", "key.pub"]);
    // The principal's characters stand in the base64 text somewhere; the last of the signature
    // is easier to find.
    let line = folder.read("key-cert.pub");
    let mut words: Vec<_> = line.split(' ').map(str::to_owned).collect();
    let end = words[1].trim_end_matches('=').len() - 2;
    let other = if words[1].as_bytes()[end] == b'A' {
        "B"
    } else {
        "A"
    };
    words[1].replace_range(end..=end, other);
    folder.write("key-cert.pub", words.join(" "));
    let output = folder
        .bastion_keygen(&["inspect", "key-cert.pub"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let (stdout, stderr) = (
        String::from_utf8(output.stdout),
        String::from_utf8(output.stderr),
    );
    assert!(stdout.unwrap().contains("                claw\n"));
    assert_eq!(
        stderr.unwrap(),
        "bastion-keygen: key-cert.pub, line 1, holds a certificate that is of no use: its \
         signature is wrong: it was altered, or not signed by the CA that it names\n"
    );
}

#[test]
fn control_characters_stay_in_the_file() {
    let folder = Folder::new();
    folder.ssh_key("ca", &["ed25519"]);
    folder.ssh_key("key", &["ed25519"]);
    let evil = "\u{1b}]0;evil\u{7}";
    folder.ssh_keygen(&["-q", "-s", "ca", "-I", evil, "-n", evil, "key.pub"]);
    let printed = folder.run(&["inspect", "key-cert.pub"]);
    assert!(
        !printed.contains('\u{1b}') && !printed.contains('\u{7}'),
        "{printed:?}"
    );
    assert!(
        printed.contains("Key ID: \"\\u{1b}]0;evil\\u{7}\""),
        "{printed:?}"
    );
    folder.write("key.pub", folder.read("key.pub").replace("a comment", evil));
    let printed = folder.run(&["inspect", "key.pub"]);
    assert!(
        printed.contains(" \\u{1b}]0;evil\\u{7} (ED25519)\n"),
        "{printed:?}"
    );
}

#[test]
fn files_that_are_none_or_hold_none() {
    let folder = Folder::new();
    folder.write("empty", "\n");
    folder.write("garbage", "# a comment\ngarbage\n");
    std::fs::create_dir(folder.join("folder")).unwrap();
    let table = [
        ("nothing", "nothing does not exist"),
        ("folder", "folder is a folder, and not a file"),
        ("empty", "empty holds no key"),
        (
            "garbage",
            "garbage, line 2, holds nothing that looks like an OpenSSH key",
        ),
    ];
    for (name, sentence) in table {
        assert_eq!(folder.fail(&["inspect", name]), sentence);
    }
}

#[test]
fn from_standard_input() {
    let folder = Folder::new();
    folder.ssh_key("key", &["ed25519"]);
    let input = std::fs::File::open(folder.join("key.pub")).unwrap();
    let output = folder
        .bastion_keygen(&["inspect", "/dev/stdin"])
        .stdin(input)
        .output()
        .unwrap();
    let listed = folder.ssh_keygen(&["-l", "-f", "key.pub"]);
    assert_eq!(String::from_utf8(output.stdout).unwrap(), listed);
}
