//! sftp(1) and scp(1).

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::host::Host;
use crate::support::{output, text};
use crate::{assert_same, assert_success, folder_to_transfer, sftp};

#[test]
fn sftp_puts_gets_and_lists() {
    let Some(host) = Host::start("") else {
        return;
    };
    let (local, remote, back) = host.three_folders();
    folder_to_transfer(&local);
    let commands = format!(
        "put -r -p \"{0}\" \"{1}/there\"\nget -r -p \"{1}/there\" \"{2}/back\"\ncd \"{1}\"\n\
         mkdir folder\nrename there/large moved\nsymlink moved link\nln moved hard\ncp moved copy\n\
         chmod 600 hard\ndf .\nls -la\nrm there/empty\n-rmdir there\nrmdir folder\npwd\n",
        local.display(),
        remote.display(),
        back.display()
    );
    let run = sftp(&host, &commands);
    assert_success(&run);
    assert_same(&local, &back.join("back"));
    for name in ["moved", "link", "hard", "copy"] {
        assert!(
            fs::read(remote.join(name)).unwrap() == fs::read(local.join("large")).unwrap(),
            "{name}"
        );
    }
    assert_eq!(
        fs::metadata(remote.join("moved"))
            .unwrap()
            .permissions()
            .mode()
            & 0o777,
        0o600
    );
    assert!(!remote.join("there/empty").exists());
    assert!(!remote.join("folder").exists());
}

#[test]
fn sftp_resumes_what_was_cut_short() {
    let Some(host) = Host::start("") else {
        return;
    };
    let (local, remote, _) = host.three_folders();
    folder_to_transfer(&local);
    let whole = fs::read(local.join("large")).unwrap();
    fs::write(remote.join("large"), &whole[..1_234_567]).unwrap();
    let command = format!(
        "put -a \"{}/large\" \"{}/large\"\n",
        local.display(),
        remote.display()
    );
    assert_success(&sftp(&host, &command));
    assert!(fs::read(remote.join("large")).unwrap() == whole);
}

#[test]
fn a_full_disk_fails_the_transfer() {
    let Some(host) = Host::start("") else {
        return;
    };
    let (local, _, _) = host.three_folders();
    folder_to_transfer(&local);
    let run = sftp(
        &host,
        &format!("put \"{}/large\" /dev/full\n", local.display()),
    );
    assert!(!run.status.success());
    assert!(text(&run.stderr).contains("/dev/full"));
}

#[test]
fn scp_copies_in_both_modes() {
    let Some(host) = Host::start("") else {
        return;
    };
    for (mode, name) in [("-s", "by SFTP"), ("-O", "by its old protocol")] {
        let (local, remote, back) = host.three_folders();
        folder_to_transfer(&local);
        let there = format!("bastion:{}/there", remote.display());
        let scp = |from: &Path, to: &Path| {
            let mut scp = host.client("scp");
            output(scp.args([mode, "-r", "-p"]).arg(from).arg(to))
        };
        assert_success(&scp(&local, Path::new(&there)));
        assert_success(&scp(Path::new(&there), &back.join("back")));
        assert_same(&local, &back.join("back"));
        let missing = scp(Path::new("bastion:/missing/file"), &back);
        assert!(!missing.status.success(), "{name}");
        assert!(text(&missing.stderr).contains("No such file"), "{name}");
    }
}
