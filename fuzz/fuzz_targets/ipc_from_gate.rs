//! What a gate that was taken over can send: to the monitor, and to a session. The monitor's
//! decision on a request for a grant is part of it.
#![no_main]

use std::sync::LazyLock;

use bastion::ipc::{FromGate, ToSession, decode};
use bastion::policy::{LoginRequest, Revocations, Rules, TrustedUserCaKeys, decide};
use libfuzzer_sys::fuzz_target;
use serde::Serialize;
use serde::de::DeserializeOwned;

static RULES: LazyLock<Rules> = LazyLock::new(|| Rules {
    trusted_user_ca_keys: TrustedUserCaKeys::parse(CA, "fuzz").expect("a CA key"),
    revocations: Revocations::default(),
    logins: [("claw".into(), "claw".into())].into(),
    permit_pty: true,
    permit_port_forwarding: true,
    permit_agent_forwarding: true,
});
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

/// A message that is encoded and decoded again is the same one.
fn same_again<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let message: T = decode(bytes).ok()?;
    let encoded = postcard::to_stdvec(&message).expect("a message that was decoded");
    let again: T = decode(&encoded).expect("a message that was encoded");
    assert_eq!(postcard::to_stdvec(&again).expect("a message"), encoded);
    Some(message)
}
