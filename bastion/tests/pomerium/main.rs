//! bastion towards Pomerium's SSH client, by a double that is as strict and ends the connection as
//! Pomerium would.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that fails by panic has failed; clippy.toml exempts test functions only"
)]

#[path = "../support/mod.rs"]
mod support;

mod bulk;
mod channels;
mod endings;
mod login;
mod transport;

use pomerium_stand_in::client::{Client, Options};
use support::{Server, authenticate};

/// As Pomerium connects: strict, one signed request, no probe.
async fn log_in(server: &Server, options: Options) -> Client {
    let mut client = Client::connect(server.address, options).await.unwrap();
    let user = server.user();
    authenticate(&mut client, &user).await.unwrap();
    client
}
