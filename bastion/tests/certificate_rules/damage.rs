//! Damaged, oversized and nested certificates: refused, quickly, and never a panic.

use std::time::{Duration, Instant};

use bastion::policy::{
    AuthRequest, KeyType, MalformedCertificate, MalformedKey, PublicKey, TrustedUserCaKeys,
    UserCertificate,
};

use crate::key_pair::{KeyPair, ca, public_line, user};
use crate::mint::{Fields, VALID_AFTER, string};
use crate::ssh_keygen;
use crate::trial::{TOUCHED, decide, rules};

/// A CA, a user's key and a certificate with a bit of everything.
fn good(ca_type: KeyType, user_type: KeyType) -> Vec<u8> {
    let mut fields = Fields::of(user(user_type), ca(ca_type));
    fields.critical_option("source-address", string("192.0.2.0/24,2001:db8::/32"));
    fields.sign(ca(ca_type))
}

fn authorizes(certificate: &[u8], ca_type: KeyType) -> bool {
    let request = AuthRequest {
        login_name: "claw",
        source: "192.0.2.7".parse().unwrap(),
        now: VALID_AFTER,
        security_key: TOUCHED,
    };
    decide(certificate, &request, &rules(ca_type)).is_ok()
}

const PAIRS: [(KeyType, KeyType); 3] = [
    (KeyType::Ed25519, KeyType::Ed25519),
    (KeyType::EcdsaP256, KeyType::SkEcdsaP256),
    (KeyType::Rsa, KeyType::EcdsaP521),
];

#[test]
fn every_truncation_is_malformed() {
    for (ca_type, user_type) in PAIRS {
        let certificate = good(ca_type, user_type);
        assert!(authorizes(&certificate, ca_type));
        for len in 0..certificate.len() {
            let truncated = UserCertificate::parse(&certificate[..len]);
            assert!(truncated.is_err(), "{len} bytes of {}", certificate.len());
        }
    }
}

#[test]
fn no_flipped_bit_is_authorized() {
    for (ca_type, user_type) in PAIRS {
        let certificate = good(ca_type, user_type);
        for bit in 0..certificate.len() * 8 {
            let mut flipped = certificate.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(
                !authorizes(&flipped, ca_type),
                "bit {bit}, {user_type} by {ca_type}"
            );
        }
    }
}

/// Every length field, promising anything.
#[test]
fn no_length_is_believed() {
    let certificate = good(KeyType::Ed25519, KeyType::Ed25519);
    for start in 0..certificate.len() - 4 {
        for len in [0, 1, 0x7fff_ffff, 0x8000_0000, u32::MAX - 3, u32::MAX] {
            let mut edited = certificate.clone();
            let field = &mut edited[start..start + 4];
            let unchanged = field == len.to_be_bytes();
            field.copy_from_slice(&len.to_be_bytes());
            assert!(
                unchanged || !authorizes(&edited, KeyType::Ed25519),
                "{len} at {start}"
            );
        }
    }
}

/// A certificate whose CA is a certificate whose CA is … (Teleport CVE-2025-49825).
///
/// On a stack that a recursive decoder would overflow.
#[test]
fn nested_certificates_are_not_looked_into() {
    let nested = |depth: usize| {
        let mut fields = Fields {
            nonce: Vec::new(),
            extensions: Vec::new(),
            ..Fields::default()
        };
        for _ in 0..depth {
            fields.signature_key = fields.sign(ca(KeyType::Ed25519));
        }
        fields.sign(ca(KeyType::Ed25519))
    };
    let (once, ten, thousand) = (nested(1), nested(10), nested(1000));
    let check = move || {
        let name = "ssh-ed25519-cert-v01@openssh.com".to_owned();
        let certificate = MalformedKey::Certificate { name };
        let as_ca = Err(MalformedCertificate::SignatureKey(certificate.clone()));
        assert_eq!(UserCertificate::parse(&once), as_ca);
        assert_eq!(UserCertificate::parse(&ten), as_ca);
        let len = thousand.len();
        let too_long = MalformedCertificate::TooLong { len };
        assert_eq!(UserCertificate::parse(&thousand), Err(too_long));
        for deep in [&once, &ten, &thousand] {
            assert_eq!(PublicKey::from_bytes(deep), Err(certificate.clone()));
            for name in ["ssh-ed25519", "ssh-ed25519-cert-v01@openssh.com"] {
                let error = TrustedUserCaKeys::parse(&public_line(name, deep), "ca.pub");
                let error = error.unwrap_err().to_string();
                assert!(error.contains("this is a certificate"), "{error}");
            }
        }
    };
    let small_stack = std::thread::Builder::new().stack_size(128 * 1024);
    small_stack.spawn(check).unwrap().join().unwrap();
}

/// A certificate by a real CA, put where a CA's key should be.
#[test]
fn a_certified_key_is_no_ca() {
    let (root, intermediate) = (ca(KeyType::Ed25519), user(KeyType::Ed25519));
    let certificate = ssh_keygen::certify(root, intermediate, &["-I", "ca", "-n", "claw"]);
    let forged = Fields {
        signature_key: certificate,
        ..Fields::of(user(KeyType::EcdsaP256), root)
    };
    assert!(!authorizes(&forged.sign(intermediate), KeyType::Ed25519));
}

/// CVE-2026-39829: the cost of a key is the verifier's, its size the attacker's.
#[test]
fn huge_rsa_keys_cost_nothing() {
    let huge = |bits: usize, exponent: &[u8]| {
        let mut modulus = vec![0xff; bits / 8 + 1];
        modulus[0] = 0;
        [string("ssh-rsa"), string(exponent), string(modulus)].concat()
    };
    let signature = [string("rsa-sha2-512"), string(vec![1; 2048])].concat();
    let key = huge(16_384, &[1, 0, 1]);
    let as_ca = Fields {
        signature_key: key.clone(),
        ..Fields::default()
    };
    let as_user = Fields {
        type_name: KeyType::Rsa.certificate_name().into(),
        key_fields: key[4 + "ssh-rsa".len()..].to_vec(),
        ..Fields::default()
    };
    let start = Instant::now();
    let too_big = MalformedKey::RsaModulusBits { bits: 16_384 };
    assert_eq!(
        UserCertificate::parse(&as_ca.with_signature(&signature)),
        Err(MalformedCertificate::SignatureKey(too_big.clone()))
    );
    assert_eq!(
        UserCertificate::parse(&as_user.with_signature(&signature)),
        Err(MalformedCertificate::PublicKey(too_big.clone()))
    );
    assert_eq!(PublicKey::from_bytes(&key), Err(too_big));
    assert!(
        start.elapsed() < Duration::from_millis(50),
        "{:?}",
        start.elapsed()
    );
    let big_exponent = PublicKey::from_bytes(&huge(8192, &[0x7f; 1024]));
    let what = "exponent";
    assert_eq!(big_exponent, Err(MalformedKey::RsaNumber { what }));
}

/// The largest that is accepted, with a signature that is not one.
#[test]
fn the_largest_rsa_key_is_still_cheap() {
    let mut modulus = vec![0xff; 1025];
    modulus[0] = 0;
    let exponent = [0, 0xff, 0xff, 0xff, 0xff];
    let key = [string("ssh-rsa"), string(exponent), string(modulus)].concat();
    let key = PublicKey::from_bytes(&key).unwrap();
    let start = Instant::now();
    for len in [1024, 1023, 60_000] {
        let signature = [string("rsa-sha2-512"), string(vec![1; len])].concat();
        assert!(key.verify(b"message", &signature).is_err());
    }
    assert!(
        start.elapsed() < Duration::from_secs(1),
        "{:?}",
        start.elapsed()
    );
}

/// A signature by one kind of key never passes for another's.
#[test]
fn signatures_do_not_change_kind() {
    let fields = Fields::default();
    for other in KeyType::ALL {
        let signer: &KeyPair = ca(other);
        let certificate = fields.sign(signer);
        assert_eq!(
            authorizes(&certificate, KeyType::Ed25519),
            other == KeyType::Ed25519
        );
    }
}
