//! The real `ssh-keygen`, in a folder of its own that is gone afterwards.

use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Command, Output};

use ssh_key::encoding::base64::{Base64, Encoding};
use ssh_key::{LineEnding, PrivateKey};

use crate::key_pair::{KeyPair, public_line};

pub(crate) fn generate(kind: &str, bits: u16) -> KeyPair {
    let folder = tempfile::tempdir().unwrap();
    let bits = bits.to_string();
    must(run(
        folder.path(),
        &["-q", "-t", kind, "-b", &bits, "-N", "", "-f", "key"],
    ));
    let text = fs::read_to_string(folder.path().join("key")).unwrap();
    // ssh-key alone refuses one P-256 key in 512: its scalar is shorter than most.
    KeyPair::of_openssh(keys::openssh::private_key(&text).unwrap())
}

/// `ssh-keygen -s`, with further arguments; the certificate's bytes.
pub(crate) fn certify(ca: &KeyPair, user: &KeyPair, arguments: &[&str]) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    write_private(&folder.path().join("ca"), &ca.private);
    fs::write(folder.path().join("user.pub"), user.line()).unwrap();
    must(run(
        folder.path(),
        &[&["-q", "-s", "ca"], arguments, &["user.pub"]].concat(),
    ));
    let line = fs::read_to_string(folder.path().join("user-cert.pub")).unwrap();
    Base64::decode_vec(line.split(' ').nth(1).unwrap()).unwrap()
}

/// What `ssh-keygen -L` says of a certificate, times in UTC.
pub(crate) fn list(certificate_name: &str, certificate: &[u8]) -> String {
    must(try_list(certificate_name, certificate))
}

/// Likewise, of what may not be one.
pub(crate) fn lists(certificate_name: &str, certificate: &[u8]) -> Option<String> {
    let output = try_list(certificate_name, certificate);
    let listed = output.status.success();
    // It says so of a line that it cannot read, and goes on to the next, successfully or not.
    listed.then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

fn try_list(certificate_name: &str, certificate: &[u8]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let line = public_line(certificate_name, certificate);
    fs::write(folder.path().join("cert.pub"), line).unwrap();
    run(folder.path(), &["-L", "-f", "cert.pub"])
}

/// The fingerprint by `ssh-keygen -l`.
pub(crate) fn fingerprint(public_line: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("key.pub"), public_line).unwrap();
    let output = must(run(folder.path(), &["-l", "-f", "key.pub"]));
    output.split(' ').nth(1).unwrap().to_owned()
}

/// Whether OpenSSH takes this as a list of source addresses.
pub(crate) fn accepts_source_addresses(ca: &KeyPair, user: &KeyPair, list: &str) -> bool {
    let folder = tempfile::tempdir().unwrap();
    write_private(&folder.path().join("ca"), &ca.private);
    fs::write(folder.path().join("user.pub"), user.line()).unwrap();
    let option = format!("source-address={list}");
    let arguments = ["-q", "-s", "ca", "-I", "x", "-O", &option, "user.pub"];
    run(folder.path(), &arguments).status.success()
}

pub(crate) fn run(folder: &Path, arguments: &[&str]) -> Output {
    Command::new("ssh-keygen")
        .args(arguments)
        .current_dir(folder)
        .env("TZ", "UTC")
        .output()
        .expect("ssh-keygen is part of openssh-client")
}

pub(crate) fn must(output: Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ssh-keygen: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

fn write_private(path: &Path, key: &PrivateKey) {
    let mut options = fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .unwrap();
    let text = key.to_openssh(LineEnding::LF).unwrap();
    std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
}
