//! File transfer by the programs that people use, through a bastion that really runs.
//!
//! What is not installed here is said to be skipped.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that fails by panic has failed; clippy.toml exempts test functions only"
)]

mod running;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use running::{Bastion, Limited, skipped};

/// A folder with what is hard to transfer: an empty file, one of an odd size larger than any
/// window, many small ones, names with blanks, a folder in a folder, a script.
fn folder_to_transfer(at: &Path) {
    fs::create_dir_all(at.join("in a folder/deeper")).unwrap();
    fs::write(at.join("empty"), "").unwrap();
    let large: Vec<u8> = (0..5_000_017_u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    fs::write(at.join("large"), large).unwrap();
    for number in 0..100 {
        fs::write(
            at.join(format!("in a folder/small {number}")),
            format!("content {number}"),
        )
        .unwrap();
    }
    fs::write(at.join("in a folder/deeper/script"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(
        at.join("in a folder/deeper/script"),
        fs::Permissions::from_mode(0o755),
    )
    .unwrap();
}

/// Every file of a folder: by its path, its content and whether it can be executed.
fn content(of: &Path) -> BTreeMap<PathBuf, (Vec<u8>, bool)> {
    let mut all = BTreeMap::new();
    let mut folders = vec![of.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let metadata = path.symlink_metadata().unwrap();
            if metadata.is_dir() {
                folders.push(path);
            } else {
                let executable = metadata.permissions().mode() & 0o100 != 0;
                let relative = path.strip_prefix(of).unwrap().to_owned();
                all.insert(relative, (fs::read(&path).unwrap(), executable));
            }
        }
    }
    all
}

/// Not by assert_eq: nobody wants to read five megabytes.
fn assert_same(one: &Path, other: &Path) {
    let (one, other) = (content(one), content(other));
    assert_eq!(
        one.keys().collect::<Vec<_>>(),
        other.keys().collect::<Vec<_>>()
    );
    for (path, file) in &one {
        assert!(file == &other[path], "{} differs", path.display());
    }
}

fn assert_success(output: &Output) {
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {complaints}", output.status);
}

/// Runs commands of sftp(1); stops at the first that fails.
fn sftp(bastion: &Bastion, commands: &str) -> Output {
    let batch = bastion.folder().join("batch");
    fs::write(&batch, commands).unwrap();
    bastion
        .client("sftp")
        .arg("-b")
        .arg(batch)
        .arg("bastion")
        .run()
}

#[test]
fn sftp_puts_gets_and_lists() {
    let Some(bastion) = Bastion::start("") else {
        return;
    };
    let (local, remote, back) = bastion.three_folders();
    folder_to_transfer(&local);
    let commands = format!(
        "put -r -p \"{0}\" \"{1}/there\"\nget -r -p \"{1}/there\" \"{2}/back\"\ncd \"{1}\"\n\
         mkdir folder\nrename there/large moved\nsymlink moved link\nln moved hard\ncp moved copy\n\
         chmod 600 hard\ndf .\nls -la\nrm there/empty\n-rmdir there\nrmdir folder\npwd\n",
        local.display(),
        remote.display(),
        back.display()
    );
    let output = sftp(&bastion, &commands);
    assert_success(&output);
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
    let Some(bastion) = Bastion::start("") else {
        return;
    };
    let (local, remote, _) = bastion.three_folders();
    folder_to_transfer(&local);
    let whole = fs::read(local.join("large")).unwrap();
    fs::write(remote.join("large"), &whole[..1_234_567]).unwrap();
    let command = format!(
        "put -a \"{}/large\" \"{}/large\"\n",
        local.display(),
        remote.display()
    );
    assert_success(&sftp(&bastion, &command));
    assert!(fs::read(remote.join("large")).unwrap() == whole);
}

#[test]
fn a_full_disk_fails_the_transfer() {
    let Some(bastion) = Bastion::start("") else {
        return;
    };
    let (local, _, _) = bastion.three_folders();
    folder_to_transfer(&local);
    let output = sftp(
        &bastion,
        &format!("put \"{}/large\" /dev/full\n", local.display()),
    );
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("/dev/full"));
}

#[test]
fn scp_copies_in_both_modes() {
    let Some(bastion) = Bastion::start("") else {
        return;
    };
    for (mode, name) in [("-s", "by SFTP"), ("-O", "by its old protocol")] {
        let (local, remote, back) = bastion.three_folders();
        folder_to_transfer(&local);
        let there = format!("bastion:{}/there", remote.display());
        assert_success(
            &bastion
                .client("scp")
                .args([mode, "-r", "-p"])
                .arg(&local)
                .arg(&there)
                .run(),
        );
        assert_success(
            &bastion
                .client("scp")
                .args([mode, "-r", "-p", &there])
                .arg(back.join("back"))
                .run(),
        );
        assert_same(&local, &back.join("back"));
        let missing = bastion
            .client("scp")
            .args([mode, "bastion:/missing/file"])
            .arg(&back)
            .run();
        assert!(!missing.status.success(), "{name}");
        assert!(
            String::from_utf8_lossy(&missing.stderr).contains("No such file"),
            "{name}"
        );
    }
}

#[test]
fn rsync_copies_both_ways() {
    let Some(bastion) = Bastion::start("") else {
        return;
    };
    if skipped("rsync") {
        return;
    }
    let (local, remote, back) = bastion.three_folders();
    folder_to_transfer(&local);
    let there = format!("bastion:{}/", remote.display());
    let rsync = |from: &str, to: &str| {
        let mut command = Command::new("rsync");
        command.args([
            "-a",
            "-z",
            "--delete",
            "--timeout=60",
            "-e",
            &bastion.ssh(),
            from,
            to,
        ]);
        command.run()
    };
    let (local_slash, back_slash) = (
        format!("{}/", local.display()),
        format!("{}/", back.display()),
    );
    assert_success(&rsync(&local_slash, &there));
    assert_same(&local, &remote);
    fs::remove_file(local.join("empty")).unwrap();
    fs::write(local.join("in a folder/small 7"), "changed").unwrap();
    assert_success(&rsync(&local_slash, &there));
    assert_same(&local, &remote);
    assert_success(&rsync(&there, &back_slash));
    assert_same(&local, &back);
}

#[test]
fn git_pushes_and_clones() {
    let Some(bastion) = Bastion::start("") else {
        return;
    };
    if skipped("git") {
        return;
    }
    let (local, remote, back) = bastion.three_folders();
    folder_to_transfer(&local);
    let git = |folder: &Path, arguments: &[&str]| {
        let mut command = Command::new("git");
        command
            .current_dir(folder)
            .args(["-c", "user.name=a", "-c", "user.email=a@example.org"])
            .args(arguments);
        command
            .env("GIT_SSH_COMMAND", bastion.ssh())
            .env("GIT_CONFIG_GLOBAL", "/dev/null");
        assert_success(&command.run());
    };
    let there = format!("bastion:{}", remote.display());
    git(&remote, &["init", "-q", "--bare", "-b", "main"]);
    git(&local, &["init", "-q", "-b", "main"]);
    git(&local, &["add", "."]);
    git(&local, &["commit", "-q", "-m", "all"]);
    git(&local, &["push", "-q", &there, "main"]);
    git(&back, &["clone", "-q", &there, "."]);
    for folder in [&local, &back] {
        fs::remove_dir_all(folder.join(".git")).unwrap();
    }
    assert_same(&local, &back);
}

#[test]
fn lftp_mirrors_both_ways() {
    let Some(bastion) = Bastion::start("") else {
        return;
    };
    if skipped("lftp") {
        return;
    }
    let (local, remote, back) = bastion.three_folders();
    folder_to_transfer(&local);
    let script = format!(
        "set cmd:fail-exit yes; set net:max-retries 1; set net:timeout 30; \
         set sftp:auto-confirm yes; set sftp:connect-program \"{} -a -x\"; open -u claw, sftp://bastion; \
         mirror -R --parallel=3 \"{}\" \"{remote}\"; mirror \"{remote}\" \"{}\"; exit",
        bastion.ssh(),
        local.display(),
        back.display(),
        remote = remote.display(),
    );
    let mut lftp = Command::new("lftp");
    lftp.env("HOME", bastion.folder())
        .args(["--norc", "-c", &script]);
    assert_success(&lftp.run());
    assert_same(&local, &remote);
    assert_same(&local, &back);
}

#[test]
fn sshfs_mounts() {
    let Some(bastion) = Bastion::start("") else {
        return;
    };
    if skipped("sshfs") || skipped("fusermount3") {
        return;
    }
    let (local, remote, mounted) = bastion.three_folders();
    folder_to_transfer(&local);
    let mut sshfs = bastion.client("sshfs");
    sshfs
        .arg(format!("bastion:{}", remote.display()))
        .arg(&mounted);
    let output = sshfs.run();
    let complaints = String::from_utf8_lossy(&output.stderr).into_owned();
    if !output.status.success() && complaints.contains("fuse") {
        eprintln!("SKIPPED: sshfs cannot mount here: {}", complaints.trim());
        return;
    }
    assert_success(&output);
    let mut copy = Command::new("cp");
    copy.arg("-r").arg(&local).arg(mounted.join("copy"));
    let copied = copy.run();
    fs::rename(mounted.join("copy/large"), mounted.join("moved")).ok();
    let seen = fs::read(mounted.join("moved"));
    let mut unmount = Command::new("fusermount3");
    assert_success(&unmount.arg("-u").arg(&mounted).run());
    assert_success(&copied);
    assert!(seen.unwrap() == fs::read(local.join("large")).unwrap());
    fs::rename(remote.join("moved"), remote.join("copy/large")).unwrap();
    assert_same(&local, &remote.join("copy"));
}

#[test]
fn a_subsystem_that_is_not_there_is_refused() {
    let Some(bastion) = Bastion::start("") else {
        return;
    };
    let output = bastion
        .client("ssh")
        .args(["-s", "bastion", "netconf"])
        .run();
    assert!(!output.status.success());
    // OpenSSH's client does not show the sentence that comes with a failure; others do.
    assert_eq!(output.status.code(), Some(255));
}

#[test]
fn another_server_can_be_configured() {
    const REFERENCE: &str = "/usr/lib/openssh/sftp-server";
    if !Path::new(REFERENCE).exists() {
        eprintln!("SKIPPED: {REFERENCE} is not installed");
        return;
    }
    let Some(bastion) = Bastion::start(&format!("subsystem = {{ sftp = \"{REFERENCE} -R\" }}"))
    else {
        return;
    };
    let (local, remote, back) = bastion.three_folders();
    folder_to_transfer(&remote);
    assert_success(&sftp(
        &bastion,
        &format!(
            "get -r \"{}\" \"{}/back\"\n",
            remote.display(),
            back.display()
        ),
    ));
    assert_eq!(content(&remote).len(), content(&back.join("back")).len());
    fs::write(local.join("file"), "").unwrap();
    let put = format!(
        "put \"{}/file\" \"{}/new\"\n",
        local.display(),
        remote.display()
    );
    assert!(!sftp(&bastion, &put).status.success());
    assert!(!remote.join("new").exists());
}

#[test]
fn internal_sftp_as_the_forced_command_is_all_there_is() {
    let Some(bastion) = Bastion::start("") else {
        return;
    };
    bastion.certify(&["-O", "force-command=internal-sftp -R"]);
    let (_, remote, back) = bastion.three_folders();
    folder_to_transfer(&remote);
    assert_success(&sftp(
        &bastion,
        &format!(
            "get -r \"{}\" \"{}/back\"\n",
            remote.display(),
            back.display()
        ),
    ));
    assert!(content(&remote).len() == content(&back.join("back")).len());
    let remove = sftp(&bastion, &format!("rm \"{}/large\"\n", remote.display()));
    assert!(!remove.status.success());
    assert!(remote.join("large").exists());
    // A command is not run: the SFTP server is, and its input ends at once.
    let touched = remote.join("touched");
    let mut command = bastion.client("ssh");
    command.args(["-n", "bastion", "touch"]).arg(&touched);
    assert_success(&command.run());
    assert!(!touched.exists());
}

#[test]
fn a_forced_command_with_options_that_are_not_known_is_refused() {
    let Some(bastion) = Bastion::start("") else {
        return;
    };
    bastion.certify(&["-O", "force-command=internal-sftp -P vanish"]);
    let output = sftp(&bastion, "pwd\n");
    assert!(!output.status.success());
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(
        complaints.contains("invalid value 'vanish' for '-P"),
        "{complaints}"
    );
}

#[test]
fn strange_bytes_end_the_server_with_a_reason() {
    let Some(bastion) = Bastion::start("") else {
        return;
    };
    let strange = bastion.folder().join("strange");
    fs::write(&strange, b"\xff\xff\xff\xff hello").unwrap();
    let mut ssh = bastion.client("ssh");
    ssh.args(["-s", "bastion", "sftp"])
        .stdin(fs::File::open(strange).unwrap());
    let output = ssh.run();
    assert_eq!(output.status.code(), Some(1));
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(
        complaints.contains("a packet of 4294967295 bytes"),
        "{complaints}"
    );
    bastion.wait_for(|event| event["event"] == "program_ended" && event["status"] == 1);
}

#[test]
fn a_client_that_goes_away_ends_the_server() {
    let Some(bastion) = Bastion::start("") else {
        return;
    };
    let mut ssh = bastion.client("ssh");
    ssh.args(["-s", "bastion", "sftp"])
        .stdin(std::process::Stdio::piped());
    let mut client = ssh.spawn().unwrap();
    let started = bastion.wait_for(|event| event["event"] == "program_started");
    assert_eq!(started["kind"], "subsystem");
    client.kill().unwrap();
    client.wait().unwrap();
    let pid = started["pid"].as_u64().unwrap();
    bastion.wait_until(|| !Path::new(&format!("/proc/{pid}")).exists());
}
