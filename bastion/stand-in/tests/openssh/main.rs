//! Against the real OpenSSH: its sshd as the server behind us, its ssh as the user before us.
//!
//! Without sshd these tests do nothing but say so.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    missing_docs
)]

mod client;
mod fixture;
mod proxy;
