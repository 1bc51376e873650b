//! Forwarding as its users meet it: the real binary, the real `ssh`, services and clients of ours.
#![allow(unreachable_pub, reason = "a test binary exports nothing")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that fails by panic has failed; clippy.toml exempts test functions only"
)]

#[path = "../support/mod.rs"]
mod support;

mod agent;
mod direct;
mod flow;
mod multiplexing;
mod permissions;
mod remote;
mod services;

use std::path::Path;

/// What a path is to ssh.
fn shown(path: &Path) -> String {
    path.display().to_string()
}
