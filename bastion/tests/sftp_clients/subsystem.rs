//! Which server a client gets, and what becomes of it.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use crate::host::Host;
use crate::support::{output, text, wait_for};
use crate::{assert_success, content, folder_to_transfer, sftp};

/// That all of a folder can be had.
fn get_all(host: &Host, remote: &Path, back: &Path) {
    let back = back.join("back");
    let get = format!("get -r \"{}\" \"{}\"\n", remote.display(), back.display());
    assert_success(&sftp(host, &get));
    assert_eq!(content(remote).len(), content(&back).len());
}

#[test]
fn a_subsystem_that_is_not_there_is_refused() {
    let Some(host) = Host::start("") else {
        return;
    };
    let mut ssh = host.client("ssh");
    let run = output(ssh.args(["-s", "bastion", "netconf"]));
    // OpenSSH's client does not show the sentence that comes with a failure; others do.
    assert_eq!(run.status.code(), Some(255));
}

#[test]
fn another_server_can_be_configured() {
    const REFERENCE: &str = "/usr/lib/openssh/sftp-server";
    if !Path::new(REFERENCE).exists() {
        eprintln!("skipped: {REFERENCE} is not installed");
        return;
    }
    let Some(host) = Host::start(&format!("subsystem = {{ sftp = \"{REFERENCE} -R\" }}")) else {
        return;
    };
    let (local, remote, back) = host.three_folders();
    folder_to_transfer(&remote);
    get_all(&host, &remote, &back);
    fs::write(local.join("file"), "").unwrap();
    let put = format!(
        "put \"{}/file\" \"{}/new\"\n",
        local.display(),
        remote.display()
    );
    assert!(!sftp(&host, &put).status.success());
    assert!(!remote.join("new").exists());
}

#[test]
fn internal_sftp_as_the_forced_command_is_all_there_is() {
    let Some(host) = Host::start_forced("internal-sftp -R") else {
        return;
    };
    let (_, remote, back) = host.three_folders();
    folder_to_transfer(&remote);
    get_all(&host, &remote, &back);
    let remove = sftp(&host, &format!("rm \"{}/large\"\n", remote.display()));
    assert!(!remove.status.success());
    assert!(remote.join("large").exists());
    // A command is not run, nor does its user wait for what the server waits for.
    let touched = remote.join("touched");
    let mut command = host.client("ssh");
    command.args(["bastion", "touch"]).arg(&touched);
    let mut ssh = command
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let input = ssh.stdin.take();
    let run = ssh.wait_with_output().unwrap();
    drop(input);
    assert_eq!(run.status.code(), Some(126));
    assert_eq!(
        text(&run.stderr),
        "bastion: this login permits SFTP only\r\n"
    );
    assert!(!touched.exists());
}

#[test]
fn a_forced_command_with_options_that_are_not_known_is_refused() {
    let Some(host) = Host::start_forced("internal-sftp -P vanish") else {
        return;
    };
    let run = sftp(&host, "pwd\n");
    assert!(!run.status.success());
    let complaints = text(&run.stderr);
    assert!(
        complaints.contains("invalid value 'vanish' for '-P"),
        "{complaints}"
    );
}

#[test]
fn strange_bytes_end_the_server_with_a_reason() {
    let Some(mut host) = Host::start("") else {
        return;
    };
    let strange = host.folder().join("strange");
    fs::write(&strange, b"\xff\xff\xff\xff hello").unwrap();
    let mut ssh = host.client("ssh");
    ssh.args(["-s", "bastion", "sftp"])
        .stdin(fs::File::open(strange).unwrap());
    let run = output(&mut ssh);
    assert_eq!(run.status.code(), Some(1));
    let complaints = text(&run.stderr);
    assert!(
        complaints.contains("a packet of 4294967295 bytes"),
        "{complaints}"
    );
    host.server
        .event("program_ended", |event| event["status"] == 1);
}

#[test]
fn a_client_that_goes_away_ends_the_server() {
    let Some(mut host) = Host::start("") else {
        return;
    };
    let mut ssh = host.client("ssh");
    ssh.args(["-s", "bastion", "sftp"])
        .stdin(std::process::Stdio::piped());
    let mut client = ssh.spawn().unwrap();
    let started = host.server.event("program_started", |_| true);
    assert_eq!(started["kind"], "subsystem");
    client.kill().unwrap();
    client.wait().unwrap();
    let process = format!("/proc/{}", started["pid"]);
    wait_for("the server's end", || {
        (!Path::new(&process).exists()).then_some(())
    });
}
