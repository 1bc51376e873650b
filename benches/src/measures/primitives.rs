//! What a login has to compute whoever serves it: the floor under its cost.

use std::hint::black_box;
use std::time::{Duration, Instant};

use curve25519_dalek::MontgomeryPoint;
use keys::generate::{KeyKind, generate};
use ml_kem::{Encapsulate, Kem, MlKem768};
use signature::{Signer, Verifier};

use crate::numbers::{Summary, milliseconds};

/// Milliseconds for one ML-KEM-768 encapsulation, two X25519 (own key, shared secret), one
/// Ed25519 signature and two Ed25519 verifications, by the libraries that the server uses.
pub(super) fn of_a_login() -> anyhow::Result<f64> {
    let host_key = generate(KeyKind::Ed25519, "")?;
    let message = [7; 64];
    let signature = host_key.try_sign(&message)?;
    let point = MontgomeryPoint::mul_base_clamped([9; 32]);
    let mut random = rand::rng();
    let (_, encapsulation_key) = MlKem768::generate_keypair_from_rng(&mut random);
    let kem = time(|| encapsulation_key.encapsulate_with_rng(&mut random));
    let base = time(|| MontgomeryPoint::mul_base_clamped(black_box([5; 32])));
    let shared = time(|| point.mul_clamped(black_box([5; 32])));
    let sign = time(|| host_key.try_sign(black_box(&message)));
    let key = host_key.public_key().key_data();
    let verify = time(|| key.verify(black_box(&message), &signature));
    eprintln!(
        "  primitives, µs: ML-KEM {kem:?}, X25519 {base:?} and {shared:?}, sign {sign:?}, verify {verify:?}"
    );
    Ok(milliseconds(kem + base + shared + sign + verify * 2))
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
