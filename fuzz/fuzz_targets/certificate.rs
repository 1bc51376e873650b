//! Bytes that may be a certificate, and the decision on them. What is let in must hold by the
//! naive rules, and grant no more than they say.
//!
//! The first 16 bytes say who asks: how (1), clock (8), login name (1), address (4), flags (2).
#![no_main]

use std::net::{IpAddr, Ipv4Addr};
use std::sync::LazyLock;

use bastion::policy::{
    AuthRequest, PublicKey, Rules, SecurityKeyFlags, UserCertificate, authorize,
};
use bastion_fuzz::naive::{self, Grant};
use bastion_fuzz::rules;
use libfuzzer_sys::fuzz_target;
use ssh_key::private::Ed25519Keypair;
use ssh_key::{PrivateKey, Signature};

static CA: LazyLock<PrivateKey> =
    LazyLock::new(|| PrivateKey::from(Ed25519Keypair::from_seed(&[7; 32])));
static RULES: LazyLock<Rules> = LazyLock::new(|| {
    let line = CA.public_key().to_openssh().expect("a public key");
    rules(&line, &LOGINS)
});
const LOGINS: [&str; 2] = ["claw", "operator"];

fuzz_target!(|input: &[u8]| {
    let Some((head, bytes)) = input.split_first_chunk::<16>() else {
        return;
    };
    let certificate = match head[0] & 1 {
        0 => bytes.to_vec(),
        _ => signed(bytes),
    };
    let now = u64::from_be_bytes(std::array::from_fn(|index| head[1 + index]));
    let login_name = ["claw", "operator", "root", ""][usize::from(head[9] & 3)];
    let source = IpAddr::V4(Ipv4Addr::new(head[10], head[11], head[12], head[13]));
    let flags = (head[14] & 1 == 1).then_some((head[15] & 1 == 1, head[15] & 4 == 4));
    let security_key = flags.map(|(user_present, user_verified)| SecurityKeyFlags {
        user_present,
        user_verified,
    });
    let _any_bytes_do = PublicKey::from_bytes(bytes);
    let Ok(parsed) = UserCertificate::parse(&certificate) else {
        return;
    };
    assert_eq!(parsed.as_bytes(), certificate);
    let request = AuthRequest {
        login_name,
        source,
        now,
        security_key,
    };
    match authorize(&parsed, &request, &RULES) {
        Ok(permissions) => {
            let request = naive::Request {
                login_name,
                source,
                now,
                flags,
            };
            let granted = Grant {
                pty: permissions.pty(),
                port_forwarding: permissions.port_forwarding(),
                agent_forwarding: permissions.agent_forwarding(),
                force_command: permissions
                    .force_command()
                    .map(|text| text.as_bytes().to_vec()),
            };
            let naive = naive::decide(&certificate, &request, CA.public_key(), &LOGINS);
            assert_eq!(Some(granted), naive);
        }
        Err(refusal) => {
            // What a refusal says is for people and their terminals, and a stranger hears nothing.
            let text = refusal.to_string();
            assert!(!text.contains(char::is_control), "{text:?}");
            if !parsed.signature_is_valid() {
                assert_eq!(refusal.disclosed(), None);
            }
        }
    }
});

/// The bytes as all that comes before the authority's key, then key and signature.
fn signed(bytes: &[u8]) -> Vec<u8> {
    use ssh_key::encoding::Encode;
    let mut certificate = bytes.to_vec();
    let key = CA.public_key().to_bytes().expect("a public key");
    key.encode(&mut certificate).expect("bytes");
    let signature: Signature = signature::Signer::try_sign(&*CA, &certificate).expect("a key");
    signature.encode_prefixed(&mut certificate).expect("bytes");
    certificate
}
