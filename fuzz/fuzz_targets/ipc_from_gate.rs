//! What a gate that was taken over can send: to the monitor, and to a session. The monitor's
//! decision on a request for a grant is part of it.
#![no_main]

use std::sync::LazyLock;

use bastion::ipc::{FromGate, ToSession};
use bastion::policy::{LoginRequest, Rules, decide};
use bastion_fuzz::{rules, same_again};
use libfuzzer_sys::fuzz_target;

static RULES: LazyLock<Rules> = LazyLock::new(|| rules(CA, &["claw"]));
const CA: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOpKbGPinFIK/XkSgDLxZZbwx2z8wGDBDXSQ9LaS/PUv fuzz";

fuzz_target!(|input: &[u8]| {
    let Some((to, bytes)) = input.split_first() else {
        return;
    };
    match to & 1 {
        0 => {
            let message = same_again::<FromGate>(bytes);
            let Some(FromGate::Grant(request)) = message else {
                return;
            };
            let request = LoginRequest {
                login_name: &request.login_name,
                source: request.peer.ip(),
                certificate: &request.certificate,
                proof: &request.proof,
            };
            // Nobody has the key of that authority here.
            assert!(decide(&request, 1_800_000_000, &RULES).verdict.is_err());
        }
        _ => drop(same_again::<ToSession>(bytes)),
    }
});
