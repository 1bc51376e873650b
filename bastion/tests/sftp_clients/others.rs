//! Programs that transfer files over ssh, by SFTP or by protocols of their own.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::host::Host;
use crate::support::{missing, output, text};
use crate::{assert_same, assert_success, folder_to_transfer};

#[test]
fn rsync_copies_both_ways() {
    let Some(host) = Host::start("") else {
        return;
    };
    if missing("rsync") {
        return;
    }
    let (local, remote, back) = host.three_folders();
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
            &host.ssh(),
            from,
            to,
        ]);
        output(&mut command)
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
    let Some(host) = Host::start("") else {
        return;
    };
    if missing("git") {
        return;
    }
    let (local, remote, back) = host.three_folders();
    folder_to_transfer(&local);
    let git = |folder: &Path, arguments: &[&str]| {
        let mut command = Command::new("git");
        command
            .current_dir(folder)
            .args(["-c", "user.name=a", "-c", "user.email=a@example.org"])
            .args(arguments);
        command
            .env("GIT_SSH_COMMAND", host.ssh())
            .env("GIT_CONFIG_GLOBAL", "/dev/null");
        assert_success(&output(&mut command));
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
    let Some(host) = Host::start("") else {
        return;
    };
    if missing("lftp") {
        return;
    }
    let (local, remote, back) = host.three_folders();
    folder_to_transfer(&local);
    let script = format!(
        "set cmd:fail-exit yes; set net:max-retries 1; set net:timeout 30; \
         set sftp:auto-confirm yes; set sftp:connect-program \"{} -a -x\"; open -u claw, sftp://bastion; \
         mirror -R --parallel=3 \"{}\" \"{remote}\"; mirror \"{remote}\" \"{}\"; exit",
        host.ssh(),
        local.display(),
        back.display(),
        remote = remote.display(),
    );
    let mut lftp = Command::new("lftp");
    lftp.env("HOME", host.folder())
        .args(["--norc", "-c", &script]);
    assert_success(&output(&mut lftp));
    assert_same(&local, &remote);
    assert_same(&local, &back);
}

#[test]
fn sshfs_mounts() {
    let Some(host) = Host::start("") else {
        return;
    };
    if missing("sshfs") || missing("fusermount3") {
        return;
    }
    let (local, remote, mounted) = host.three_folders();
    folder_to_transfer(&local);
    let mut sshfs = host.client("sshfs");
    sshfs
        .arg(format!("bastion:{}", remote.display()))
        .arg(&mounted);
    let run = output(&mut sshfs);
    let complaints = text(&run.stderr);
    if !run.status.success() && complaints.contains("fuse") {
        eprintln!("skipped: sshfs cannot mount here: {}", complaints.trim());
        return;
    }
    assert_success(&run);
    let mut copy = Command::new("cp");
    copy.arg("-r").arg(&local).arg(mounted.join("copy"));
    let copied = output(&mut copy);
    fs::rename(mounted.join("copy/large"), mounted.join("moved")).ok();
    let seen = fs::read(mounted.join("moved"));
    let mut unmount = Command::new("fusermount3");
    assert_success(&output(unmount.arg("-u").arg(&mounted)));
    assert_success(&copied);
    assert!(seen.unwrap() == fs::read(local.join("large")).unwrap());
    fs::rename(remote.join("moved"), remote.join("copy/large")).unwrap();
    assert_same(&local, &remote.join("copy"));
}
