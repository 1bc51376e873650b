//! bastion as its users meet it: the real binary, the real `ssh`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that fails by panic has failed; clippy.toml exempts test functions only"
)]

#[path = "../support/mod.rs"]
mod support;

mod accounting;
mod administration;
mod authentication;
mod check_config;
mod environment;
mod greeting;
mod hangup;
mod isolation;
mod key_files;
mod lifetime;
mod limits;
mod programs;
mod reload;
mod terminal;
