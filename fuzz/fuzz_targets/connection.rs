//! A connection to the gate until somebody is let in, which nobody ever is: nobody here has a
//! certificate and its key for the same session.
//!
//! An even first byte: the rest is what a stranger sends, from the version on. An odd one: keys are
//! exchanged, and each piece of the rest is a message. A piece that starts with 0xff is a request
//! for authentication by a good certificate, signed for another session.
#![no_main]

use std::cell::RefCell;
use std::sync::LazyLock;
use std::time::Duration;

use bastion::gate::fuzzing::LoneGate;
use bastion::ipc::HostKey;
use bastion_fuzz::{Pieces, rules};
use keys::certificate::sign;
use keys::pomerium::pomerium_spec;
use libfuzzer_sys::fuzz_target;
use pomerium_stand_in::authentication::{publickey_query, publickey_request};
use pomerium_stand_in::client::{Client, Options};
use pomerium_stand_in::message::{SSH_MSG_CHANNEL_OPEN_CONFIRMATION, SSH_MSG_USERAUTH_SUCCESS};
use pomerium_stand_in::transport::KexMethod;
use ssh_key::private::Ed25519Keypair;
use ssh_key::{LineEnding, PrivateKey};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::runtime::{Builder, Runtime};

const ALGORITHM: &str = "ssh-ed25519-cert-v01@openssh.com";

fn key(seed: u8) -> PrivateKey {
    PrivateKey::from(Ed25519Keypair::from_seed(&[seed; 32]))
}

/// A certificate that is good for ever, and its key.
static USER: LazyLock<(PrivateKey, Vec<u8>)> = LazyLock::new(|| {
    let mut spec = pomerium_spec("claw", 1);
    spec.valid_before = u64::MAX;
    let certificate = sign(&spec, key(8).public_key(), &key(7)).expect("a certificate");
    (key(8), certificate)
});

thread_local! {
    static GATE: RefCell<Option<(Runtime, LoneGate)>> = const { RefCell::new(None) };
}

fn start() -> (Runtime, LoneGate) {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let line = key(7).public_key().to_openssh().expect("a public key");
    let rules = rules(&line, &["claw"]);
    let host_key = HostKey(key(9).to_openssh(LineEnding::LF).expect("a key"));
    let gate = runtime.block_on(async { LoneGate::new(&[host_key], rules) });
    (runtime, gate.expect("a gate"))
}

fuzz_target!(|input: &[u8]| {
    let Some((how, bytes)) = input.split_first() else {
        return;
    };
    GATE.with_borrow_mut(|started| {
        let (runtime, gate) = started.get_or_insert_with(start);
        runtime.block_on(async {
            let (client, server) = duplex(64 * 1024);
            let both = async {
                tokio::join!(gate.serve(server), async {
                    match how & 1 {
                        0 => stranger(client, bytes).await,
                        _ => with_keys(client, bytes).await,
                    }
                })
            };
            let in_time = tokio::time::timeout(Duration::from_secs(20), both).await;
            assert!(in_time.is_ok(), "the connection does not end");
        });
        assert!(!gate.has_asked(), "somebody was to be let in");
    });
});

async fn stranger(client: DuplexStream, bytes: &[u8]) {
    let (mut reader, mut writer) = tokio::io::split(client);
    let mut answer = Vec::new();
    let writing = async {
        // The gate may have had enough.
        let _gone = writer.write_all(bytes).await;
        let _gone = writer.shutdown().await;
    };
    let _ended = tokio::join!(writing, reader.read_to_end(&mut answer));
}

async fn with_keys(client: DuplexStream, bytes: &[u8]) {
    let options = Options::lenient().kex(KexMethod::Curve25519Sha256);
    let mut client = Client::over(client, options).await.expect("a version");
    client.exchange_keys().await.expect("keys");
    for piece in Pieces(bytes).take(64) {
        let message = match piece.split_first() {
            Some((0xff, rest)) => request(rest),
            _ => piece.to_vec(),
        };
        if client.send_raw(&message).await.is_err() {
            break;
        }
    }
    // SSH_MSG_DISCONNECT: by now everything has been answered that will be.
    let _gone = client
        .send_raw(&[1, 0, 0, 0, 11, 0, 0, 0, 0, 0, 0, 0, 0])
        .await;
    while let Ok(message) = client.recv().await {
        let number = message.first().copied().unwrap_or_default();
        assert_ne!(number, SSH_MSG_USERAUTH_SUCCESS);
        assert_ne!(number, SSH_MSG_CHANNEL_OPEN_CONFIRMATION);
    }
}

/// As the piece wants it: a query or a signature, for a name, over a damaged certificate or a whole
/// one.
fn request(wanted: &[u8]) -> Vec<u8> {
    let (user, good) = &*USER;
    let [how, at, flip, ..] = *wanted else {
        return publickey_query("claw", ALGORITHM, good);
    };
    let mut certificate = good.clone();
    if how & 1 == 1
        && let Some(byte) = certificate.get_mut(usize::from(at) * 2)
    {
        *byte ^= flip;
    }
    let name = if how & 2 == 2 { "root" } else { "claw" };
    match how & 4 {
        0 => publickey_query(name, ALGORITHM, &certificate),
        _ => {
            let another_session = [at; 32];
            publickey_request(&another_session, name, ALGORITHM, &certificate, user)
                .expect("a signature")
        }
    }
}
