//! `bastion-keygen` without a command.

use crate::reference::Folder;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

const KEYS: [(&str, &str); 4] = [
    ("pomerium_user_ca_key", "256 Pomerium User CA (ED25519)"),
    ("ssh_host_ed25519_key", "256 Pomerium SSH host (ED25519)"),
    ("ssh_host_rsa_key", "3072 Pomerium SSH host (RSA)"),
    ("ssh_host_ecdsa_key", "256 Pomerium SSH host (ECDSA)"),
];
const CA: &str = "pomerium_user_ca_key";
const INSTALLED: &str = "openclaw-data/pomerium-ssh/pomerium_user_ca_key.pub";

/// `256 SHA256:… comment (ED25519)` without the fingerprint.
fn without_fingerprint(line: &str) -> String {
    let mut words: Vec<_> = line.trim().split(' ').collect();
    assert!(words.remove(1).starts_with("SHA256:"), "{line}");
    words.join(" ")
}

#[test]
fn makes_the_set() {
    let folder = Folder::new();
    let report = folder.run(&[]);
    for (name, line) in KEYS {
        let public = format!("{name}.pub");
        // ssh-keygen -l prefers NAME.pub; -y can only read the private key.
        assert_eq!(folder.ssh_keygen(&["-y", "-f", name]), folder.read(&public));
        let listed = folder.ssh_keygen(&["-l", "-f", name]);
        assert_eq!(without_fingerprint(&listed), line);
        assert!(
            report.contains(&format!("made ./{name}: {listed}")),
            "{report}"
        );
        assert!(report.contains(&format!("made ./{public}\n")), "{report}");
    }
    assert_eq!(
        folder.read(INSTALLED),
        folder.read("pomerium_user_ca_key.pub")
    );
    assert!(
        report.contains(&format!("made ./{INSTALLED}\n")),
        "{report}"
    );
    assert_eq!(folder.names().len(), 9, "{:?}", folder.names());
}

#[test]
fn prints_no_private_key() {
    let folder = Folder::new();
    for _ in ["made", "kept"] {
        let output = folder.bastion_keygen(&[]).output().unwrap();
        let printed = [output.stdout, output.stderr].concat();
        let printed = String::from_utf8(printed).unwrap();
        for (name, _) in KEYS {
            for line in folder.read(name).lines() {
                assert!(!printed.contains(line), "{printed}");
            }
        }
    }
}

#[test]
fn modes_whatever_the_umask() {
    for umask in ["000", "077", "777"] {
        let folder = Folder::new();
        let program = env!("CARGO_BIN_EXE_bastion-keygen");
        let mut shell = Command::new("sh");
        shell
            .arg("-c")
            .arg(format!("umask {umask}; exec '{program}'"));
        let output = shell.current_dir(folder.path()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        for (name, _) in KEYS {
            assert_eq!(folder.mode(name), 0o600, "{name} with umask {umask}");
            let public = format!("{name}.pub");
            assert_eq!(folder.mode(&public), 0o644, "{public} with umask {umask}");
        }
        assert_eq!(folder.mode(INSTALLED), 0o644, "umask {umask}");
        for made in ["openclaw-data", "openclaw-data/pomerium-ssh"] {
            assert_eq!(folder.mode(made), 0o755, "{made} with umask {umask}");
        }
    }
}

#[test]
fn keeps_what_is_there() {
    let folder = Folder::new();
    folder.run(&[]);
    let files: Vec<_> = folder
        .names()
        .into_iter()
        .filter(|name| name.contains("key"))
        .collect();
    let state = || {
        let inode = |name: &String| {
            (
                folder.read(name),
                fs::metadata(folder.join(name)).unwrap().ino(),
            )
        };
        let states: Vec<_> = files.iter().map(inode).collect();
        // The folder's own time shows that nothing was even tried in it.
        (
            states,
            folder.read(INSTALLED),
            fs::metadata(folder.path()).unwrap().mtime_nsec(),
        )
    };
    let before = state();
    let report = folder.run(&[]);
    assert_eq!(state(), before);
    assert!(!report.contains("made"), "{report}");
    for (name, _) in KEYS {
        let listed = folder.ssh_keygen(&["-l", "-f", name]);
        assert!(
            report.contains(&format!("kept ./{name}: {listed}")),
            "{report}"
        );
    }
}

#[test]
fn keeps_keys_of_ssh_keygen_and_other_sizes() {
    let folder = Folder::new();
    folder.ssh_key(CA, &["rsa", "-b", "2048"]);
    folder.ssh_key("ssh_host_ecdsa_key", &["ecdsa", "-b", "521"]);
    let (ca, host_key) = (folder.read(CA), folder.read("ssh_host_ecdsa_key"));
    let report = folder.run(&[]);
    assert!(
        report.contains("kept ./pomerium_user_ca_key: 2048 "),
        "{report}"
    );
    assert!(
        report.contains("kept ./ssh_host_ecdsa_key: 521 "),
        "{report}"
    );
    assert!(
        report.contains("made ./ssh_host_rsa_key: 3072 "),
        "{report}"
    );
    assert_eq!(
        (ca, host_key),
        (folder.read(CA), folder.read("ssh_host_ecdsa_key"))
    );
    assert_eq!(
        folder.read(INSTALLED),
        folder.read("pomerium_user_ca_key.pub")
    );
}

#[test]
fn completes_what_is_missing() {
    let folder = Folder::new();
    folder.run(&[]);
    let (rsa, ca) = (folder.read("ssh_host_rsa_key.pub"), folder.read(CA));
    folder.remove("ssh_host_rsa_key.pub");
    folder.remove("ssh_host_ecdsa_key");
    folder.remove("ssh_host_ecdsa_key.pub");
    fs::remove_dir_all(folder.join("openclaw-data")).unwrap();
    let report = folder.run(&[]);
    assert!(report.contains("kept ./ssh_host_rsa_key: "), "{report}");
    assert!(
        report.contains("made ./ssh_host_rsa_key.pub, from the private key\n"),
        "{report}"
    );
    assert_eq!(folder.read("ssh_host_rsa_key.pub"), rsa);
    assert!(report.contains("made ./ssh_host_ecdsa_key: "), "{report}");
    assert!(
        report.contains("made ./ssh_host_ecdsa_key.pub\n"),
        "{report}"
    );
    assert_eq!(folder.read(CA), ca);
    assert!(report.contains(&format!("made ./{INSTALLED}")), "{report}");
}

#[test]
fn public_key_without_its_private_key() {
    let folder = Folder::new();
    folder.run(&[]);
    folder.remove("ssh_host_rsa_key");
    let sentence = folder.fail(&[]);
    assert_eq!(
        sentence,
        "./ssh_host_rsa_key.pub is there, and its private key ./ssh_host_rsa_key is not: put the \
         private key back, or move the public one away to have a new pair made"
    );
    assert!(!folder.join("ssh_host_rsa_key").exists());
}

#[test]
fn says_what_was_done_before_it_failed() {
    let folder = Folder::new();
    folder.write("ssh_host_rsa_key.pub", "");
    let output = folder.bastion_keygen(&[]).output().unwrap();
    let report = String::from_utf8(output.stdout).unwrap();
    assert!(report.contains("made ./pomerium_user_ca_key: "), "{report}");
    assert!(!report.contains("Next"), "{report}");
}

#[test]
fn halves_of_two_pairs() {
    let folder = Folder::new();
    folder.run(&[]);
    folder.write(
        "ssh_host_rsa_key.pub",
        folder.read("ssh_host_ecdsa_key.pub"),
    );
    let sentence = folder.fail(&[]);
    assert!(
        sentence
            .starts_with("./ssh_host_rsa_key.pub is not the public key of ./ssh_host_rsa_key: "),
        "{sentence}"
    );
}

#[test]
fn key_of_another_type_than_its_name_says() {
    let folder = Folder::new();
    folder.ssh_key("ssh_host_rsa_key", &["ed25519"]);
    let sentence = folder.fail(&[]);
    assert_eq!(
        sentence,
        "./ssh_host_rsa_key holds a key of type ssh-ed25519, and not what its name says: move it \
         away"
    );
}

#[test]
fn two_runs_at_once_make_one_set() {
    let folder = Folder::new();
    let spawn = |_| {
        let mut command = folder.bastion_keygen(&[]);
        command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let runs: Vec<_> = (0..8).map(spawn).collect();
    let outputs: Vec<_> = runs
        .into_iter()
        .map(|run| run.wait_with_output().unwrap())
        .collect();
    let mut report = String::new();
    for output in outputs {
        assert!(output.status.success(), "{output:?}");
        report += &String::from_utf8(output.stdout).unwrap();
    }
    for (name, _) in KEYS {
        let listed = folder.ssh_keygen(&["-l", "-f", name]);
        let line = |word| format!("{word} ./{name}: {listed}");
        assert_eq!(report.matches(&line("made")).count(), 1, "{report}");
        assert_eq!(report.matches(&line("kept")).count(), 7, "{report}");
        let public = format!("{name}.pub");
        assert_eq!(folder.ssh_keygen(&["-y", "-f", name]), folder.read(&public));
    }
    assert_eq!(
        folder.read(INSTALLED),
        folder.read("pomerium_user_ca_key.pub")
    );
    assert_eq!(folder.names().len(), 9, "{:?}", folder.names());
}

#[test]
fn folder_that_is_none() {
    let folder = Folder::new();
    folder.write("file", "");
    for (name, path) in [
        ("file", "file"),
        ("nowhere", "nowhere"),
        ("file/under", "file/under"),
    ] {
        let sentence = folder.fail(&["--dir", name]);
        let expected = format!("there is no folder {path}: create it first, or name another");
        assert_eq!(sentence, expected);
    }
}

#[test]
fn data_folder_that_is_none() {
    let folder = Folder::new();
    folder.write("file", "");
    let sentence = folder.fail(&["--data-dir", "file"]);
    assert!(
        sentence.starts_with("cannot create the folder file/pomerium-ssh: "),
        "{sentence}"
    );
}

#[test]
fn other_folders() {
    let folder = Folder::new();
    fs::create_dir(folder.join("keys")).unwrap();
    let report = folder.run(&["--dir", "keys"]);
    assert!(
        report.ends_with("  bastion-keygen show --dir keys\n"),
        "{report}"
    );
    assert!(folder.join("keys").join(INSTALLED).exists());
    folder.run(&["--dir", "keys", "--data-dir", "a/b"]);
    assert!(
        folder
            .join("a/b/pomerium-ssh/pomerium_user_ca_key.pub")
            .exists()
    );
}

#[test]
fn private_key_that_others_may_read() {
    let folder = Folder::new();
    folder.run(&[]);
    for mode in [0o640, 0o604, 0o620, 0o602, 0o610, 0o601] {
        folder.chmod(CA, mode);
        let sentence = folder.fail(&[]);
        let expected = format!(
            "./pomerium_user_ca_key is a private key that others may read or change (mode \
             0{mode:o}): run `chmod 600 ./pomerium_user_ca_key`"
        );
        assert_eq!(sentence, expected);
    }
    for mode in [0o600, 0o400] {
        folder.chmod(CA, mode);
        folder.run(&[]);
    }
}

#[test]
fn private_key_with_a_passphrase() {
    let folder = Folder::new();
    folder.ssh_keygen(&["-q", "-N", "secret", "-f", CA]);
    let sentence = folder.fail(&[]);
    assert_eq!(
        sentence,
        "./pomerium_user_ca_key is protected by a passphrase, which neither Pomerium nor bastion \
         can enter: run `ssh-keygen -p -N '' -f ./pomerium_user_ca_key` to take it off"
    );
}

#[test]
fn symbolic_links() {
    let folder = Folder::new();
    symlink("elsewhere", folder.join(CA)).unwrap();
    let sentence = folder.fail(&[]);
    assert_eq!(
        sentence,
        "./pomerium_user_ca_key is a symbolic link to nothing: mend or remove the link"
    );
    assert!(!folder.join("elsewhere").exists());

    folder.ssh_key("elsewhere", &["ed25519"]);
    let key = folder.read("elsewhere");
    folder.run(&[]);
    assert_eq!(folder.read(CA), key);
    assert!(folder.join(CA).is_symlink());
}

#[test]
fn folder_in_a_keys_place() {
    let folder = Folder::new();
    fs::create_dir(folder.join(CA)).unwrap();
    assert_eq!(
        folder.fail(&[]),
        "./pomerium_user_ca_key is a folder, and not a file"
    );
}

#[test]
fn garbage_in_a_keys_place() {
    let folder = Folder::new();
    for garbage in [
        &b"garbage"[..],
        b"",
        b"\xff\xfe\x00",
        b"-----BEGIN OPENSSH PRIVATE KEY-----\n",
    ] {
        folder.write_private(CA, garbage);
        assert_eq!(
            folder.fail(&[]),
            "./pomerium_user_ca_key holds nothing that looks like an OpenSSH key"
        );
        assert_eq!(fs::read(folder.join(CA)).unwrap(), garbage);
    }
}

#[test]
fn nobody_reads_the_report() {
    let folder = Folder::new();
    let mut command = folder.bastion_keygen(&[]);
    let mut run = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(run.stdout.take());
    let output = run.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
    assert_eq!(folder.names().len(), 9, "{:?}", folder.names());

    // And a failure stays one.
    folder.remove("ssh_host_rsa_key");
    let mut run = command.spawn().unwrap();
    drop(run.stdout.take());
    assert_eq!(run.wait_with_output().unwrap().status.code(), Some(1));
}

#[test]
fn report_that_cannot_be_written() {
    let folder = Folder::new();
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let output = folder.bastion_keygen(&[]).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.starts_with("bastion-keygen: "), "{stderr}");
}

#[test]
fn folder_that_may_not_be_written() {
    let folder = Folder::new();
    fs::create_dir(folder.join("keys")).unwrap();
    // Where root runs the tests, somebody else has to try: who can enter here, and run this.
    fs::copy(env!("CARGO_BIN_EXE_bastion-keygen"), folder.join("program")).unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    folder.chmod("keys", 0o555);
    let mut command = Command::new(folder.join("program"));
    if fs::metadata(folder.path()).unwrap().uid() == 0 {
        command.uid(65534).gid(65534);
    }
    let output = command.current_dir(folder.join("keys")).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        "bastion-keygen: cannot write ./pomerium_user_ca_key: permission denied\n"
    );
}
