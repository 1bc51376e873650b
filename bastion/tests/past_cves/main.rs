//! How servers like this one were broken, tried on this one: a row of `README.md` each. The client
//! is `pomerium-stand-in`'s, which shares no code with russh and sends whatever it is told to.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that fails by panic has failed; clippy.toml exempts test functions only"
)]

#[path = "../support/mod.rs"]
mod support;

mod account;
mod authentication;
mod before_login;
mod by_hand;
mod certificates;
mod floods;
mod key_exchange;
mod offers;
mod restrictions;
mod russh;

use std::time::Duration;

use pomerium_stand_in::client::{Client, Error, Options};
use pomerium_stand_in::message::SSH_MSG_DISCONNECT;
use pomerium_stand_in::transport::{self, KexMethod};
use pomerium_stand_in::wire::Writer;
use support::{LIMIT, Server, User, authenticate, status_field, text};

/// For tests that wait until the server does not wait any longer.
const IMPATIENT: &str = "login_grace_time = \"2s\"";

/// What a flood may add to the gate's memory: less than a tenth of what is sent.
const FLAT: u64 = 24 * 1024 * 1024;

/// A client that takes everything from the server, and sends no EXT_INFO.
async fn connect(server: &Server) -> Client {
    Client::connect(server.address, Options::lenient())
        .await
        .unwrap()
}

async fn log_in(server: &Server) -> Client {
    log_in_as(server, &server.user()).await
}

async fn log_in_as(server: &Server, user: &User) -> Client {
    let mut client = connect(server).await;
    authenticate(&mut client, user).await.unwrap();
    client
}

/// Versions are exchanged, and nothing else: what follows is sent in the clear.
async fn dial(server: &Server) -> Client {
    let options = Options::lenient().kex(KexMethod::Curve25519Sha256);
    Client::dial(server.address, options).await.unwrap()
}

/// Our KEXINIT with strict key exchange, as the stand-in sends it.
fn kexinit() -> Vec<u8> {
    let mut offer = Options::lenient()
        .kex(KexMethod::Curve25519Sha256)
        .config
        .offer;
    let markers = ["ext-info-c", "kex-strict-c-v00@openssh.com"];
    offer.kex_algorithms.extend(markers.map(str::to_owned));
    offer.encode()
}

/// SSH_MSG_KEX_ECDH_INIT with any 32 bytes: every string of that length is a point of X25519.
fn share(bytes: &[u8]) -> Vec<u8> {
    Writer::message(30).string(bytes).into_vec()
}

/// Waits until the server has closed the connection, or said that it does; whatever comes before
/// is read in the clear and not acted upon.
async fn is_cut(client: &mut Client) -> bool {
    loop {
        let next = tokio::time::timeout(LIMIT, client.transport().next_packet());
        match next.await {
            Ok(Ok(packet)) if packet.first() == Some(&SSH_MSG_DISCONNECT) => return true,
            Ok(Ok(_)) => {}
            Ok(Err(transport::Error::Closed | transport::Error::Io(_))) => return true,
            Ok(Err(_)) | Err(_) => return false,
        }
    }
}

/// Whether the server has ended an encrypted connection, now or after what it still sends.
async fn is_ended(client: &mut Client) -> bool {
    let error = client.ended().await;
    let by_server = matches!(
        error,
        Error::Transport(
            transport::Error::Closed | transport::Error::Io(_) | transport::Error::Disconnected(_)
        )
    );
    assert!(
        by_server || matches!(error, Error::Transport(transport::Error::TimedOut(_))),
        "{error}"
    );
    by_server
}

/// Whether the server has stayed at the connection: it answers a request that it does not know.
async fn is_there(client: &mut Client) -> bool {
    let answer = client.global_request("are-you-there@example.com", &[]);
    matches!(answer.await, Ok(None))
}

/// Resident memory in bytes.
fn memory(pid: u32) -> u64 {
    let field = status_field(pid, "VmRSS").expect("the gate is gone");
    let kilobytes: u64 = field.trim_end_matches(" kB").parse().unwrap();
    kilobytes * 1024
}

/// That somebody else can still log in and work, in the same gate as before.
fn still_serves(server: &Server, gate: u32) {
    assert_eq!(server.gate(), gate, "the gate has been restarted");
    assert_eq!(text(&server.run("echo still here").stdout), "still here\n");
}

/// How often, and for how long at most, something that must not happen is looked for.
async fn watch(mut look: impl FnMut()) {
    for _ in 0..40 {
        look();
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
}
