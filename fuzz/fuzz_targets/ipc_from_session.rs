//! What an account that took its session process over can send: to the gate, and to the monitor.
#![no_main]

use bastion::ipc::{FromSession, SessionEvent};
use bastion_fuzz::same_again;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((to, bytes)) = input.split_first() else {
        return;
    };
    match to & 1 {
        0 => drop(same_again::<FromSession>(bytes)),
        _ => drop(same_again::<SessionEvent>(bytes)),
    }
});
