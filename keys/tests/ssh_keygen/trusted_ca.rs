//! The CA's public key where bastion reads it, from one CA to the next.

use crate::reference::Folder;

const CA: &str = "pomerium_user_ca_key";
const INSTALLED: &str = "openclaw-data/pomerium-ssh/pomerium_user_ca_key.pub";

/// What ssh-keygen says about a file's fingerprint.
fn fingerprint(folder: &Folder, name: &str) -> String {
    let line = folder.ssh_keygen(&["-l", "-f", name]);
    line.split(' ').nth(1).unwrap().to_owned()
}

/// Two sets, and the first one's CA installed for the second.
fn with_another_ca_installed() -> (Folder, String, String) {
    let folder = Folder::new();
    folder.run(&[]);
    let old = folder.read("pomerium_user_ca_key.pub");
    folder.remove(CA);
    folder.remove("pomerium_user_ca_key.pub");
    folder.fail(&[]);
    // A key that nothing can be done with is not made.
    assert!(!folder.path().join(CA).exists());
    folder.ssh_key(CA, &["ed25519"]);
    folder.fail(&[]);
    let new = folder.read("pomerium_user_ca_key.pub");
    assert_ne!(old, new);
    assert_eq!(folder.read(INSTALLED), old);
    (folder, old, new)
}

#[test]
fn another_ca_is_installed() {
    let (folder, _, _) = with_another_ca_installed();
    let other = fingerprint(&folder, INSTALLED);
    assert_eq!(
        folder.fail(&[]),
        format!(
            "./{INSTALLED} trusts another CA, {other}: whoever holds its key may log in. If that is \
             the one that Pomerium uses, put its private key where this command makes keys, or make \
             none. To trust both until Pomerium uses the new one, run again with --add-installed-ca; to trust \
             the new one alone, with --replace-installed-ca"
        )
    );
}

#[test]
fn rotation() {
    let (folder, old, new) = with_another_ca_installed();
    let other = fingerprint(&folder, INSTALLED);
    let note = format!("trusts {other}; --replace-installed-ca ends that\n");

    let report = folder.run(&["--add-installed-ca"]);
    assert_eq!(folder.read(INSTALLED), format!("{old}{new}"));
    assert!(
        report.contains(&format!("made ./{INSTALLED}, which still {note}")),
        "{report}"
    );
    for again in [&["--add-installed-ca"][..], &[]] {
        let report = folder.run(again);
        assert_eq!(folder.read(INSTALLED), format!("{old}{new}"));
        assert!(
            report.contains(&format!("kept ./{INSTALLED}, which also {note}")),
            "{report}"
        );
    }

    let report = folder.run(&["--replace-installed-ca"]);
    assert_eq!(folder.read(INSTALLED), new);
    let line = format!("made ./{INSTALLED}, which no longer trusts {other}\n");
    assert!(report.contains(&line), "{report}");
    let report = folder.run(&["--replace-installed-ca"]);
    assert!(
        report.contains(&format!("kept ./{INSTALLED}\n")),
        "{report}"
    );
}

#[test]
fn rotation_at_once() {
    let (folder, _, new) = with_another_ca_installed();
    folder.run(&["--replace-installed-ca"]);
    assert_eq!(folder.read(INSTALLED), new);
    assert_eq!(folder.mode(INSTALLED), 0o644);
}

#[test]
fn rotation_keeps_comments_and_a_missing_last_line_end() {
    let (folder, old, new) = with_another_ca_installed();
    folder.write(INSTALLED, format!("# ours\n\n{}", old.trim_end()));
    folder.run(&["--add-installed-ca"]);
    assert_eq!(folder.read(INSTALLED), format!("# ours\n\n{old}{new}"));
}

#[test]
fn adding_and_replacing_exclude_each_other() {
    let folder = Folder::new();
    folder.misuse(&["--add-installed-ca", "--replace-installed-ca"]);
    assert!(folder.names().is_empty());
}

#[test]
fn installed_file_is_garbage() {
    let (folder, _, new) = with_another_ca_installed();
    for (garbage, complaint) in [
        (
            "# CA\ngarbage\n",
            "line 2, holds nothing that looks like an OpenSSH key",
        ),
        (
            "ssh-ed25519 AAAA\n",
            "line 1, holds nothing that looks like an OpenSSH key",
        ),
        (
            &folder.read(CA),
            "line 1, holds a private key, and not a public one: name the file with `.pub`",
        ),
    ] {
        folder.write(INSTALLED, garbage);
        assert_eq!(folder.fail(&[]), format!("./{INSTALLED}, {complaint}"));
        assert_eq!(folder.read(INSTALLED), garbage);
    }
    folder.run(&["--replace-installed-ca"]);
    assert_eq!(folder.read(INSTALLED), new);
}

#[test]
fn installed_file_is_empty() {
    let (folder, _, new) = with_another_ca_installed();
    folder.write(INSTALLED, "# none yet\n");
    folder.run(&[]);
    assert_eq!(folder.read(INSTALLED), new);
}
