//! What a server computes for a key exchange: by aws-lc where it is compiled
//! in, which takes a third of the time, else by the Rust crates that clients
//! use here.

use crate::Error;

pub(super) const X25519_LEN: usize = 32;

/// A fresh X25519 key pair: its public key, and the secret shared with `peer`.
/// A peer's point of low order, with which there is no secret, is an error.
#[cfg(feature = "aws-lc-rs")]
pub(super) fn x25519(
    peer: &[u8; X25519_LEN],
) -> Result<([u8; X25519_LEN], [u8; X25519_LEN]), Error> {
    use aws_lc_rs::agreement::{PrivateKey, UnparsedPublicKey, X25519, agree};
    let key = PrivateKey::generate(&X25519).map_err(|_| Error::Kex)?;
    let public = key.compute_public_key().map_err(|_| Error::Kex)?;
    let public = public.as_ref().try_into().map_err(|_| Error::Kex)?;
    let peer = UnparsedPublicKey::new(&X25519, peer);
    let shared: [u8; X25519_LEN] = agree(&key, peer, Error::Kex, |shared| {
        shared.try_into().map_err(|_| Error::Kex)
    })?;
    // As RFC 8731 demands; aws-lc has refused it already.
    if shared == [0; X25519_LEN] {
        return Err(Error::Kex);
    }
    Ok((public, shared))
}

#[cfg(not(feature = "aws-lc-rs"))]
pub(super) fn x25519(
    peer: &[u8; X25519_LEN],
) -> Result<([u8; X25519_LEN], [u8; X25519_LEN]), Error> {
    use curve25519_dalek::montgomery::MontgomeryPoint;
    let secret = rand::random::<[u8; 32]>();
    let public = MontgomeryPoint::mul_base_clamped(secret);
    let shared = MontgomeryPoint(*peer).mul_clamped(secret);
    if shared.0 == [0; X25519_LEN] {
        return Err(Error::Kex);
    }
    Ok((public.0, shared.0))
}

/// A fresh secret for the holder of this ML-KEM-768 encapsulation key: its
/// ciphertext, and the secret itself.
#[cfg(feature = "aws-lc-rs")]
pub(super) fn mlkem768(encapsulation_key: &[u8]) -> Result<(Vec<u8>, ml_kem::SharedKey), Error> {
    use aws_lc_rs::kem::{EncapsulationKey, ML_KEM_768};
    let key = EncapsulationKey::new(&ML_KEM_768, encapsulation_key).map_err(|_| Error::Kex)?;
    let (ciphertext, secret) = key.encapsulate().map_err(|_| Error::Kex)?;
    let secret = ml_kem::SharedKey::try_from(secret.as_ref()).map_err(|_| Error::Kex)?;
    Ok((ciphertext.as_ref().to_vec(), secret))
}

#[cfg(not(feature = "aws-lc-rs"))]
pub(super) fn mlkem768(encapsulation_key: &[u8]) -> Result<(Vec<u8>, ml_kem::SharedKey), Error> {
    use ml_kem::{MlKem768, TryKeyInit, kem::{Encapsulate, EncapsulationKey}};
    let key = EncapsulationKey::<MlKem768>::new_from_slice(encapsulation_key)
        .map_err(|_| Error::Kex)?;
    let (ciphertext, secret) = key.encapsulate_with_rng(&mut rand::rng());
    Ok((ciphertext.as_slice().to_vec(), secret))
}
