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
mod login;
mod transport;

use pomerium_stand_in::client::{Client, Options};
use ssh_key::PrivateKey;
use support::{Server, User};

/// Runs a test on a runtime, within the limit.
fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        tokio::time::timeout(support::LIMIT * 3, test)
            .await
            .expect("it took too long")
    })
}

/// As Pomerium connects: strict, one signed request, no probe.
async fn log_in(server: &Server, options: Options) -> Client {
    let mut client = Client::connect(server.address, options).await.unwrap();
    let user = server.user();
    authenticate(&mut client, &user).await.unwrap();
    client
}

async fn authenticate(
    client: &mut Client,
    user: &User,
) -> Result<(), pomerium_stand_in::client::Error> {
    authenticate_with(client, "claw", &user.private, &user.certificate).await
}

async fn authenticate_with(
    client: &mut Client,
    login_name: &str,
    key: &PrivateKey,
    certificate: &[u8],
) -> Result<(), pomerium_stand_in::client::Error> {
    client
        .authenticate(login_name, key, certificate)
        .await?
        .success()
}
