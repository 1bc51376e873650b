//! The SFTP server at its own pipes, request by request: `bastion sftp-server`, and OpenSSH's
//! sftp-server beside it where that is installed.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that fails by panic has failed; clippy.toml exempts test functions only"
)]

mod client;
mod extensions;
mod faults;
mod files;
mod folders;
mod links;
mod malformed;
mod metadata;
mod options;
mod reference;
