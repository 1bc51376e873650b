//! `bastion-keygen show`.

use crate::reference::Folder;
use std::process::Stdio;

const HOST_KEYS: [&str; 3] = [
    "ssh_host_ed25519_key",
    "ssh_host_rsa_key",
    "ssh_host_ecdsa_key",
];
const CA: &str = "pomerium_user_ca_key";

fn made() -> Folder {
    let folder = Folder::new();
    folder.run(&[]);
    folder
}

#[test]
fn as_the_settings_page_asks() {
    let folder = made();
    let [ed25519, rsa, ecdsa] = HOST_KEYS.map(|name| folder.read(name));
    let expected = format!(
        "SSH Address:\n\n0.0.0.0:2200\n\n\
         SSH Host Keys, 1 of 3 (ssh_host_ed25519_key):\n\n{ed25519}\n\
         SSH Host Keys, 2 of 3 (ssh_host_rsa_key):\n\n{rsa}\n\
         SSH Host Keys, 3 of 3 (ssh_host_ecdsa_key):\n\n{ecdsa}\n\
         SSH User CA Key (pomerium_user_ca_key):\n\n{ca}",
        ca = folder.read(CA),
    );
    assert_eq!(folder.run(&["show"]), expected);
}

#[test]
fn as_the_api_asks() {
    let folder = made();
    let printed = folder.run(&["show", "--json", "--ssh-address", ":22"]);
    let settings: serde_json::Value = serde_json::from_str(&printed).unwrap();
    let expected = serde_json::json!({
        "sshAddress": ":22",
        "sshHostKeys": HOST_KEYS.map(|name| folder.read(name)),
        "sshUserCaKey": folder.read(CA),
    });
    assert_eq!(settings, expected);
}

#[test]
fn of_another_folder() {
    let folder = made();
    let elsewhere = Folder::new();
    let path = folder.path().to_str().unwrap();
    assert_eq!(
        elsewhere.run(&["show", "--dir", path]),
        folder.run(&["show"])
    );
}

#[test]
fn keys_of_ssh_keygen() {
    let folder = Folder::new();
    folder.ssh_key("ssh_host_ed25519_key", &["ed25519"]);
    folder.ssh_key("ssh_host_rsa_key", &["rsa", "-b", "2048"]);
    folder.ssh_key("ssh_host_ecdsa_key", &["ecdsa", "-b", "384"]);
    folder.ssh_key(CA, &["ecdsa", "-b", "521"]);
    let printed = folder.run(&["show"]);
    for name in HOST_KEYS.into_iter().chain([CA]) {
        assert!(printed.contains(&folder.read(name)), "{name}");
    }
}

#[test]
fn needs_every_key_and_prints_none_otherwise() {
    for name in HOST_KEYS.into_iter().chain([CA]) {
        let folder = made();
        folder.remove(name);
        for arguments in [&["show"][..], &["show", "--json"]] {
            let output = folder.bastion_keygen(arguments).output().unwrap();
            assert_eq!(output.status.code(), Some(1));
            assert!(output.stdout.is_empty());
            let stderr = String::from_utf8(output.stderr).unwrap();
            let expected = format!("bastion-keygen: ./{name} does not exist\n");
            assert_eq!(stderr, expected);
        }
    }
}

#[test]
fn refuses_a_key_that_others_may_read() {
    let folder = made();
    folder.chmod("ssh_host_rsa_key", 0o644);
    assert!(
        folder
            .fail(&["show"])
            .contains("run `chmod 600 ./ssh_host_rsa_key`")
    );
}

#[test]
fn refuses_a_key_of_another_type() {
    let folder = made();
    folder.write_private("ssh_host_rsa_key", folder.read("ssh_host_ed25519_key"));
    assert!(
        folder
            .fail(&["show"])
            .starts_with("./ssh_host_rsa_key holds a key of type ssh-ed25519")
    );
}

#[test]
fn nobody_reads_it() {
    let folder = made();
    for arguments in [&["show"][..], &["show", "--json"]] {
        let mut command = folder.bastion_keygen(arguments);
        let mut run = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(run.stdout.take());
        let output = run.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
        assert!(output.stderr.is_empty(), "{output:?}");
    }
}
