//! What an account that took its session process over can send: to the gate, and to the monitor.
#![no_main]

use bastion::ipc::{FromSession, SessionEvent, decode};
use libfuzzer_sys::fuzz_target;
use serde::Serialize;
use serde::de::DeserializeOwned;

fuzz_target!(|input: &[u8]| {
    let Some((to, bytes)) = input.split_first() else {
        return;
    };
    match to & 1 {
        0 => same_again::<FromSession>(bytes),
        _ => same_again::<SessionEvent>(bytes),
    }
});

/// A message that is encoded and decoded again is the same one.
fn same_again<T: Serialize + DeserializeOwned>(bytes: &[u8]) {
    let Ok(message) = decode::<T>(bytes) else {
        return;
    };
    let encoded = postcard::to_stdvec(&message).expect("a message that was decoded");
    let again: T = decode(&encoded).expect("a message that was encoded");
    assert_eq!(postcard::to_stdvec(&again).expect("a message"), encoded);
}
