//! `bastion-keygen sandbox`.

use crate::reference::Folder;

const CERTIFICATE: &str = "openclaw-data/sandbox/client/id_ed25519-cert.pub";
const KNOWN_HOSTS: &str = "openclaw-data/sandbox/client/known_hosts";

#[test]
fn the_certificate_opens_the_sandbox_and_nothing_else() {
    let folder = Folder::new();
    folder.run(&["sandbox"]);
    let listing = folder.ssh_keygen(&["-L", "-f", CERTIFICATE]);
    let ca = folder.ssh_keygen(&["-l", "-f", "sandbox_ca_key.pub"]);
    let fingerprint = ca.split(' ').nth(1).unwrap();
    for line in [
        "Type: ssh-ed25519-cert-v01@openssh.com user certificate",
        &format!("Signing CA: ED25519 {fingerprint} "),
        "Key ID: \"openclaw-gateway\"",
        "Valid: forever",
        "Principals: \n                sandbox\n        Critical Options: (none)\n",
        "Extensions: \n                permit-pty\n",
    ] {
        assert!(listing.contains(line), "{line:?} in {listing}");
    }
    assert_eq!(
        folder.mode("openclaw-data/sandbox/client/id_ed25519"),
        0o600
    );
    let trusted = folder.read("openclaw-data/sandbox/ca/sandbox_ca_key.pub");
    assert_eq!(trusted, folder.read("sandbox_ca_key.pub"));
}

#[test]
fn openclaw_knows_the_host_keys() {
    let folder = Folder::new();
    folder.run(&["sandbox"]);
    let found = folder.ssh_keygen(&["-F", "[sandbox]:2222", "-f", KNOWN_HOSTS]);
    for name in ["ed25519", "rsa", "ecdsa"] {
        let public = folder.read(&format!(
            "openclaw-data/sandbox/server/ssh_host_{name}_key.pub"
        ));
        let key = public.split(' ').take(2).collect::<Vec<_>>().join(" ");
        assert!(
            found.contains(&format!("[sandbox]:2222 {key}\n")),
            "{key} in {found}"
        );
    }
}

#[test]
fn a_second_run_keeps_and_completes() {
    let folder = Folder::new();
    folder.run(&["sandbox"]);
    let (certificate, hosts) = (folder.read(CERTIFICATE), folder.read(KNOWN_HOSTS));
    let printed = folder.run(&["sandbox"]);
    assert!(
        printed.lines().all(|line| line.starts_with("kept ")),
        "{printed}"
    );
    assert_eq!(
        (folder.read(CERTIFICATE), folder.read(KNOWN_HOSTS)),
        (certificate, hosts)
    );

    folder.remove(CERTIFICATE);
    let printed = folder.run(&["sandbox"]);
    assert!(
        printed.contains(&format!("made ./{CERTIFICATE}\n")),
        "{printed}"
    );
    assert_eq!(printed.matches("made ").count(), 1, "{printed}");
}

#[test]
fn a_certificate_of_another_ca_is_replaced() {
    let folder = Folder::new();
    folder.run(&["sandbox"]);
    folder.ssh_key("other", &["ed25519"]);
    let key = "openclaw-data/sandbox/client/id_ed25519.pub";
    folder.ssh_keygen(&["-q", "-s", "other", "-I", "x", "-n", "sandbox", key]);
    let printed = folder.run(&["sandbox"]);
    assert!(
        printed.contains(&format!("made ./{CERTIFICATE}\n")),
        "{printed}"
    );
    assert!(
        folder
            .ssh_keygen(&["-L", "-f", CERTIFICATE])
            .contains("\"openclaw-gateway\"")
    );
}

#[test]
fn it_is_not_the_pomerium_user_ca() {
    let folder = Folder::new();
    folder.run(&[]);
    folder.run(&["sandbox"]);
    assert_ne!(
        folder.read("sandbox_ca_key.pub"),
        folder.read("pomerium_user_ca_key.pub")
    );
    let trusted = folder.read("openclaw-data/pomerium-ssh/pomerium_user_ca_key.pub");
    assert!(!trusted.contains(folder.read("sandbox_ca_key.pub").split(' ').nth(1).unwrap()));
}

/// Nobody but us is certified by it.
#[test]
fn a_ca_that_is_lost_is_replaced_with_all_that_it_certified() {
    let folder = Folder::new();
    folder.run(&["sandbox"]);
    let before = folder.read(CERTIFICATE);
    for lost in ["sandbox_ca_key", "sandbox_ca_key.pub"] {
        folder.remove(lost);
    }
    folder.run(&["sandbox"]);
    let trusted = folder.read("openclaw-data/sandbox/ca/sandbox_ca_key.pub");
    assert_eq!(trusted, folder.read("sandbox_ca_key.pub"));
    assert_ne!(folder.read(CERTIFICATE), before);
}
