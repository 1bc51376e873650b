//! `bastion check-config`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use keys::generate::{KeyKind, generate};

use crate::support::{account, as_root, output, text};

#[test]
fn check_config_looks_into_the_files() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let ca = generate(KeyKind::Ed25519, "").unwrap().public_key().clone();
    fs::write(path("ca.pub"), ca.to_openssh().unwrap()).unwrap();
    fs::write(path("revoked"), ca.to_openssh().unwrap()).unwrap();
    let config = format!(
        "permit_root_login = true\nlogins = {{ claw = \"{}\" }}\ntrusted_user_ca_keys = {:?}\nrevoked_keys = {:?}\nstate_dir = {:?}\n",
        account(),
        path("ca.pub"),
        path("revoked"),
        path("state"),
    );
    fs::write(path("bastion.toml"), config).unwrap();
    let check = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bastion"));
        let run = output(
            command
                .args(["check-config", "--config"])
                .arg(path("bastion.toml")),
        );
        (run.status.success(), text(&run.stdout) + &text(&run.stderr))
    };
    let (good, said) = check();
    assert!(good, "{said}");
    let fingerprint = ca.fingerprint(ssh_key::HashAlg::Sha256).to_string();
    assert!(
        said.contains(&format!("the CA {fingerprint} is trusted")),
        "{said}"
    );
    assert!(said.contains("1 entries are revoked"), "{said}");
    assert!(
        said.ends_with("bastion: the configuration is good\n"),
        "{said}"
    );
    let set_mode = |name, mode| {
        fs::set_permissions(path(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    fs::create_dir(path("state")).unwrap();
    for (name, good_mode) in [
        ("ca.pub", 0o644),
        ("revoked", 0o644),
        ("bastion.toml", 0o644),
        ("state", 0o700),
    ] {
        set_mode(name, 0o777);
        let (good, said) = check();
        assert!(!good && said.contains("run `chmod go-w"), "{said}");
        set_mode(name, good_mode);
    }
    fs::write(path("state/ssh_host_rsa_key"), "nonsense").unwrap();
    set_mode("state/ssh_host_rsa_key", 0o600);
    let (good, said) = check();
    assert!(!good && said.contains("ssh_host_rsa_key"), "{said}");
    fs::remove_file(path("state/ssh_host_rsa_key")).unwrap();
    fs::write(path("revoked"), "nonsense").unwrap();
    let (good, said) = check();
    assert!(
        !good && said.contains("revoked, line 1: this is no public key"),
        "{said}"
    );
    fs::remove_file(path("ca.pub")).unwrap();
    let (good, said) = check();
    assert!(!good && said.contains("ca.pub: No such file"), "{said}");
}

/// Somebody else's file, on a file system that is mounted read-only: nobody can change it here.
#[test]
fn whose_a_file_is_makes_no_difference_where_nobody_can_write() {
    if !as_root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::create_dir(path("keys")).unwrap();
    let ca = generate(KeyKind::Ed25519, "").unwrap();
    let file = path("keys").join("ca.pub");
    fs::write(&file, ca.public_key().to_openssh().unwrap()).unwrap();
    std::os::unix::fs::chown(&file, Some(65534), None).unwrap();
    let config = format!(
        "permit_root_login = true\nlogins = {{ claw = \"root\" }}\ntrusted_user_ca_keys = {file:?}\nstate_dir = {:?}\n",
        path("state"),
    );
    fs::write(path("bastion.toml"), config).unwrap();
    fs::set_permissions(path("bastion.toml"), fs::Permissions::from_mode(0o644)).unwrap();
    let check = |before: &str| {
        let script = format!("{before} exec \"$BASTION\" check-config --config bastion.toml");
        let mut command = Command::new("unshare");
        command.args(["-m", "sh", "-ec", &script]);
        command.current_dir(folder.path());
        output(command.env("BASTION", env!("CARGO_BIN_EXE_bastion")))
    };
    let mount = "mount --bind keys keys; mount -o remount,ro,bind keys;";
    let can_mount = output(Command::new("unshare").args(["-m", "true"]));
    if !can_mount.status.success() {
        return eprintln!("no mounts here: {}", text(&can_mount.stderr));
    }
    let run = check("");
    assert!(text(&run.stderr).contains("run `chown 0 "), "{run:?}");
    let run = check(mount);
    assert!(run.status.success(), "{run:?}");
}
