//! Pomerium's SSH client, as `pomerium-stand-in` plays it.

use pomerium_stand_in::client::{Client, Error};
use ssh_key::PrivateKey;

use super::{LIMIT, User};

/// Runs a test on a runtime, within the limit.
pub(crate) fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        tokio::time::timeout(LIMIT * 3, test)
            .await
            .expect("it took too long")
    })
}

/// Logs a connected client in as `claw`.
pub(crate) async fn authenticate(client: &mut Client, user: &User) -> Result<(), Error> {
    authenticate_with(client, "claw", &user.private, &user.certificate).await
}

pub(crate) async fn authenticate_with(
    client: &mut Client,
    login_name: &str,
    key: &PrivateKey,
    certificate: &[u8],
) -> Result<(), Error> {
    client
        .authenticate(login_name, key, certificate)
        .await?
        .success()
}
