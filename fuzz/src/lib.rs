//! What the targets share: bytes cut into fields, the rules they decide by, and the oracle of certificates.

pub mod naive;

use bastion::ipc::decode;
use bastion::policy::{Permits, Revocations, Rules, TrustedUserCaKeys};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Rules that permit everything to whom the authority of this line certifies for one of these names.
pub fn rules(ca: &str, logins: &[&str]) -> Rules {
    Rules {
        trusted_user_ca_keys: TrustedUserCaKeys::parse(ca, "fuzz").expect("a CA key"),
        revocations: Revocations::default(),
        logins: logins
            .iter()
            .map(|&name| (name.into(), "claw".into()))
            .collect(),
        permits: Permits::ALL,
    }
}

/// A message that is encoded and decoded again is the same one.
pub fn same_again<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let message: T = decode(bytes).ok()?;
    let encoded = postcard::to_stdvec(&message).expect("a message that was decoded");
    let again: T = decode(&encoded).expect("a message that was encoded");
    assert_eq!(postcard::to_stdvec(&again).expect("a message"), encoded);
    Some(message)
}

/// Cuts an input into pieces, each as long as its first two bytes say.
pub struct Pieces<'a>(pub &'a [u8]);

impl<'a> Iterator for Pieces<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (length, rest) = self.0.split_first_chunk::<2>()?;
        let length = usize::from(u16::from_be_bytes(*length)).min(rest.len());
        let (piece, rest) = rest.split_at(length);
        self.0 = rest;
        Some(piece)
    }
}
