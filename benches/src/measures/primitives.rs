//! What a login has to compute whoever serves it: the floor under its cost.

use std::hint::black_box;
use std::time::{Duration, Instant};

use anyhow::Context;
use aws_lc_rs::agreement::{self, UnparsedPublicKey, X25519};
use aws_lc_rs::kem::{self, ML_KEM_768};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use signature::Verifier;
use ssh_key::public::{Ed25519PublicKey, KeyData};
use ssh_key::{Algorithm, Signature};

use crate::numbers::{Summary, milliseconds};

/// Milliseconds for one ML-KEM-768 encapsulation, two X25519 (own key, shared secret), one
/// Ed25519 signature and two Ed25519 verifications, by the libraries that the server uses.
pub(super) fn of_a_login() -> anyhow::Result<f64> {
    let message = [7; 64];
    let (kem, ephemeral, shared) = key_exchange()?;
    let pair = Ed25519KeyPair::generate()?;
    let sign = time(|| pair.sign(black_box(&message)));
    let key = KeyData::Ed25519(Ed25519PublicKey(pair.public_key().as_ref().try_into()?));
    let signature = Signature::new(Algorithm::Ed25519, pair.sign(&message).as_ref())?;
    key.verify(&message, &signature)
        .ok()
        .context("the signature does not verify")?;
    let verify = time(|| key.verify(black_box(&message), &signature));
    eprintln!(
        "  primitives: ML-KEM {kem:?}, X25519 {ephemeral:?} and {shared:?}, sign {sign:?}, verify {verify:?}"
    );
    Ok(milliseconds(kem + ephemeral + shared + sign + verify * 2))
}

fn key_exchange() -> anyhow::Result<(Duration, Duration, Duration)> {
    let decapsulation_key = kem::DecapsulationKey::generate(&ML_KEM_768)?;
    let encapsulation_key = decapsulation_key.encapsulation_key()?;
    let kem = time(|| encapsulation_key.encapsulate().map(|_| ()));
    let ephemeral = || agreement::PrivateKey::generate(&X25519);
    let (ours, theirs) = (ephemeral()?, ephemeral()?.compute_public_key()?);
    let own = time(|| ephemeral().and_then(|key| key.compute_public_key()));
    let peer = || UnparsedPublicKey::new(&X25519, black_box(theirs.as_ref()));
    let shared = time(|| agreement::agree(&ours, peer(), (), |secret| Ok(secret.len())));
    Ok((kem, own, shared))
}

/// The median time of one call.
fn time<T>(mut call: impl FnMut() -> T) -> Duration {
    const CALLS: u32 = 20;
    let mut samples = Vec::new();
    for _ in 0..100 {
        let started = Instant::now();
        (0..CALLS).for_each(|_| drop(black_box(call())));
        samples.push((started.elapsed() / CALLS).as_secs_f64());
    }
    Duration::from_secs_f64(Summary::of(&samples).map_or(0.0, |all| all.median))
}
