//! What breaks, and what goes on for long: bastion goes on, and holds no more than at the start.
//! README.md beside this has the command and the figures of a long run.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that fails by panic has failed; clippy.toml exempts test functions only"
)]

#[path = "../support/mod.rs"]
mod support;

mod accept;
mod clock;
mod faults;
mod flood;
mod load;
mod preload;

use pomerium_stand_in::client::{Client, Options};
use support::{Server, User, authenticate};

/// Whether to go on for long; the test command takes a share.
fn is_full() -> bool {
    std::env::var_os("BASTION_ENDURANCE").is_some()
}

/// With these lines in its bastion.toml. Where we are root, with an account that has no shell files:
/// those of a developer may take longer than all of bastion.
fn start_plain(config: &str) -> Server {
    match support::as_root() {
        true => Server::start_as_ordinary_with("bastion-test", config),
        false => Server::start_with(config, &[]),
    }
}

/// Runs a test on a runtime.
fn run<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(test)
}

/// Logs in as Pomerium would; every step within the support's limit.
async fn log_in(server: &Server, user: &User) -> Client {
    let logging_in = async {
        let mut client = Client::connect(server.address, Options::pomerium())
            .await
            .unwrap();
        authenticate(&mut client, user).await.unwrap();
        client
    };
    tokio::time::timeout(support::LIMIT, logging_in)
        .await
        .expect("a login")
}
