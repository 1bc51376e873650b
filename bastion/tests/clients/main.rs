//! Programs that people use over ssh, each as it uses ssh: editors, automation, terminals that
//! outlive their connection, another library than OpenSSH. git, rsync, sshfs and lftp are in
//! `sftp_clients`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that fails by panic has failed; clippy.toml exempts test functions only"
)]

#[path = "../support/mod.rs"]
mod support;

mod ansible;
mod mosh;
mod paramiko;
mod tmux;
mod vscode;
