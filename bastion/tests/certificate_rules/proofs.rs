//! Proof of possession: RFC 4252, Section 7.

use bastion::policy::{KeyType, LoginRequest, Proof, SecurityKeyFlags, UserCertificate, decide};
use ssh_key::HashAlg;

use crate::key_pair::{KeyPair, ca, user};
use crate::mint::{Fields, VALID_AFTER, string};
use crate::trial::{self, other_ca};

/// What a client sends, field by field, and who signs what.
struct Login {
    session_id: Vec<u8>,
    signed_session_id: Vec<u8>,
    message_number: u8,
    user_name: Vec<u8>,
    service: &'static str,
    method: &'static str,
    signature_flag: u8,
    algorithm: &'static str,
    certificate: Vec<u8>,
    junk: &'static [u8],
    signer: KeyPair,
    flags: u8,
    hash: HashAlg,
}

impl Login {
    fn of(user: &KeyPair) -> Self {
        Self {
            session_id: vec![7; 32],
            signed_session_id: vec![7; 32],
            message_number: 50,
            user_name: b"claw".to_vec(),
            service: "ssh-connection",
            method: "publickey",
            signature_flag: 1,
            algorithm: match user.key_type {
                KeyType::Rsa => "rsa-sha2-512-cert-v01@openssh.com",
                other => other.certificate_name(),
            },
            certificate: certificate(user).as_bytes().to_vec(),
            junk: b"",
            signer: user.clone(),
            flags: 1,
            hash: HashAlg::Sha512,
        }
    }

    fn proof(&self) -> Proof {
        let request = [
            vec![self.message_number],
            string(&self.user_name),
            string(self.service),
            string(self.method),
            vec![self.signature_flag],
            string(self.algorithm),
            string(&self.certificate),
            self.junk.to_vec(),
        ]
        .concat();
        let signed = [string(&self.signed_session_id), request.clone()].concat();
        let signature = match self.signer.key_type {
            KeyType::Rsa => self.signer.sign_rsa(&signed, self.hash),
            _ => self.signer.sign_with_flags(&signed, self.flags),
        };
        Proof {
            session_id: self.session_id.clone(),
            request,
            signature,
        }
    }
}

fn certificate(user: &KeyPair) -> UserCertificate {
    let ca = ca(KeyType::Ed25519);
    UserCertificate::parse(&Fields::of(user, ca).sign(ca)).unwrap()
}

#[test]
fn the_holder_of_each_kind_of_key_proves_it() {
    for key_type in KeyType::ALL {
        let user = user(key_type);
        let expected = key_type.is_security_key().then_some(SecurityKeyFlags {
            user_present: true,
            user_verified: false,
        });
        let verified = Login::of(user).proof().verify(&certificate(user), "claw");
        assert_eq!(verified, Ok(expected), "{key_type}");
    }
}

#[test]
fn security_keys_say_how_they_were_used() {
    for (flags, user_present, user_verified) in [
        (0x00, false, false),
        (0x01, true, false),
        (0x04, false, true),
        (0x05, true, true),
        (0xfa, false, false),
    ] {
        for key_type in [KeyType::SkEd25519, KeyType::SkEcdsaP256] {
            let user = user(key_type);
            let login = Login {
                flags,
                ..Login::of(user)
            };
            let said = login
                .proof()
                .verify(&certificate(user), "claw")
                .unwrap()
                .unwrap();
            assert_eq!(
                (said.user_present, said.user_verified),
                (user_present, user_verified)
            );
        }
    }
}

struct Rule(&'static str, fn(&mut Login), &'static str);

#[rustfmt::skip]
const RULES: &[Rule] = &[
    Rule("another session", |l| l.session_id = vec![8; 32], "the user's signature is not accepted: the ssh-ed25519 signature does not verify"),
    Rule("SHA-1's session identifier", |l| { l.session_id = vec![7; 20]; l.signed_session_id = vec![7; 20] }, "ok"),
    Rule("SHA-512's session identifier", |l| { l.session_id = vec![7; 64]; l.signed_session_id = vec![7; 64] }, "ok"),
    Rule("a session identifier too short", |l| { l.session_id = vec![7; 19]; l.signed_session_id = vec![7; 19] }, "a session identifier of 19 bytes is not the hash of a key exchange"),
    Rule("a session identifier too long", |l| { l.session_id = vec![7; 65]; l.signed_session_id = vec![7; 65] }, "a session identifier of 65 bytes is not the hash of a key exchange"),
    Rule("no session identifier", |l| { l.session_id.clear(); l.signed_session_id.clear() }, "a session identifier of 0 bytes is not the hash of a key exchange"),
    Rule("another message", |l| l.message_number = 51, "the signed request's message number is 51, not 50"),
    Rule("another user", |l| l.user_name = b"root".into(), "the signed request's user name is \"root\", not \"claw\""),
    Rule("a user with a NUL behind", |l| l.user_name = b"claw\0".into(), "the signed request's user name is \"claw\\0\", not \"claw\""),
    Rule("a user that is not UTF-8", |l| l.user_name = b"\xff".into(), "the authentication request is malformed: the user name is not UTF-8"),
    Rule("another service", |l| l.service = "ssh-userauth", "the signed request's service is \"ssh-userauth\", not \"ssh-connection\""),
    Rule("another method", |l| l.method = "hostbased", "the signed request's method is \"hostbased\", not \"publickey\""),
    Rule("a probe", |l| l.signature_flag = 0, "the signed request's signature flag is 0, not 1"),
    Rule("another way to say true", |l| l.signature_flag = 0xff, "the signed request's signature flag is 255, not 1"),
    Rule("the plain key's algorithm", |l| l.algorithm = "ssh-ed25519", "the signed request's public key algorithm is \"ssh-ed25519\", not ssh-ed25519-cert-v01@openssh.com"),
    Rule("another kind's algorithm", |l| l.algorithm = "rsa-sha2-512-cert-v01@openssh.com", "the signed request's public key algorithm is \"rsa-sha2-512-cert-v01@openssh.com\", not ssh-ed25519-cert-v01@openssh.com"),
    Rule("another certificate for the key", |l| l.certificate[50] ^= 1, "the signed request is for another certificate"),
    Rule("the key without the certificate", |l| l.certificate = l.signer.blob.clone(), "the signed request is for another certificate"),
    Rule("no certificate", |l| l.certificate.clear(), "the signed request is for another certificate"),
    Rule("bytes behind the request", |l| l.junk = b"\0", "the authentication request is malformed: 1 bytes follow the public key"),
    Rule("signed by another key", |l| l.signer = other_ca().clone(), "the user's signature is not accepted: the ssh-ed25519 signature does not verify"),
    Rule("signed by another kind of key", |l| l.signer = user(KeyType::EcdsaP256).clone(), "the user's signature is not accepted: a signature of type \"ecdsa-sha2-nistp256\" cannot be one of an ssh-ed25519 key"),
];

#[rustfmt::skip]
const RSA_RULES: &[Rule] = &[
    Rule("SHA-512", |_| (), "ok"),
    Rule("SHA-256", |l| { l.algorithm = "rsa-sha2-256-cert-v01@openssh.com"; l.hash = HashAlg::Sha256 }, "ok"),
    Rule("SHA-1 by name", |l| l.algorithm = "ssh-rsa-cert-v01@openssh.com", "the request names the algorithm ssh-rsa-cert-v01@openssh.com, which is SHA-1 and no longer safe"),
    Rule("SHA-256 named, SHA-512 used", |l| l.algorithm = "rsa-sha2-256-cert-v01@openssh.com", "the request names the algorithm rsa-sha2-256-cert-v01@openssh.com, and the signature is of type rsa-sha2-512"),
    Rule("SHA-512 named, SHA-256 used", |l| l.hash = HashAlg::Sha256, "the request names the algorithm rsa-sha2-512-cert-v01@openssh.com, and the signature is of type rsa-sha2-256"),
    Rule("the plain key's algorithm", |l| l.algorithm = "rsa-sha2-512", "the signed request's public key algorithm is \"rsa-sha2-512\", not that of an RSA certificate with SHA-2"),
];

#[test]
fn rules() {
    check(RULES, user(KeyType::Ed25519));
    check(RSA_RULES, user(KeyType::Rsa));
}

fn check(rules: &[Rule], user: &KeyPair) {
    let certificate = certificate(user);
    for Rule(name, differ, expected) in rules {
        let mut login = Login::of(user);
        differ(&mut login);
        let actual = match login.proof().verify(&certificate, "claw") {
            Ok(_) => "ok".to_owned(),
            Err(error) => error.to_string(),
        };
        assert_eq!(actual, *expected, "{name}");
    }
}

/// A request signed for one login name does not do for another (Go CVE-2024-45337's kin).
#[test]
fn a_proof_is_for_one_login_name() {
    let user = user(KeyType::Ed25519);
    let proof = Login::of(user).proof();
    assert!(proof.verify(&certificate(user), "claw").is_ok());
    for other in ["", "cla", "claws", "Claw", "root"] {
        assert!(
            proof.verify(&certificate(user), other).is_err(),
            "{other:?}"
        );
    }
}

#[test]
fn no_damage_passes() {
    for key_type in [
        KeyType::Ed25519,
        KeyType::EcdsaP256,
        KeyType::SkEd25519,
        KeyType::Rsa,
    ] {
        let user = user(key_type);
        let (certificate, proof) = (certificate(user), Login::of(user).proof());
        let fails = |proof: &Proof| proof.verify(&certificate, "claw").is_err();
        for len in 0..proof.request.len() {
            let request = proof.request[..len].to_vec();
            assert!(
                fails(&Proof {
                    request,
                    ..proof.clone()
                }),
                "{key_type}: request of {len}"
            );
        }
        for len in 0..proof.signature.len() {
            let signature = proof.signature[..len].to_vec();
            assert!(
                fails(&Proof {
                    signature,
                    ..proof.clone()
                }),
                "{key_type}: signature of {len}"
            );
        }
        for bit in 0..proof.request.len() * 8 {
            let mut flipped = proof.clone();
            flipped.request[bit / 8] ^= 1 << (bit % 8);
            assert!(fails(&flipped), "{key_type}: request bit {bit}");
        }
        for bit in 0..proof.signature.len() * 8 {
            let mut flipped = proof.clone();
            flipped.signature[bit / 8] ^= 1 << (bit % 8);
            assert!(fails(&flipped), "{key_type}: signature bit {bit}");
        }
        let mut longer = proof.clone();
        longer.signature.push(0);
        assert!(fails(&longer), "{key_type}: longer signature");
    }
}

/// From bytes to verdict in one step. What a security key says is taken from its signature.
#[test]
fn a_login_is_decided_from_its_bytes() {
    let verdict = |login: &Login| {
        let request = LoginRequest {
            login_name: "claw",
            source: "192.0.2.7".parse().unwrap(),
            certificate: &login.certificate,
            proof: &login.proof(),
        };
        let decision = decide(&request, VALID_AFTER, &trial::rules(KeyType::Ed25519));
        let verdict = match decision.verdict {
            Ok(permissions) => trial::describe("claw", &permissions),
            Err(refusal) => refusal.code().to_owned(),
        };
        (decision.certificate.is_some(), verdict)
    };
    let (plain, security_key) = (user(KeyType::Ed25519), user(KeyType::SkEd25519));
    let granted = (true, trial::ALL.to_owned());
    let refused = |read, code: &str| (read, code.to_owned());
    assert_eq!(verdict(&Login::of(plain)), granted);
    assert_eq!(verdict(&Login::of(security_key)), granted);
    let untouched = Login {
        flags: 0,
        ..Login::of(security_key)
    };
    assert_eq!(verdict(&untouched), refused(true, "touch_required"));
    let by_another = Login {
        signer: other_ca().clone(),
        ..Login::of(plain)
    };
    assert_eq!(
        verdict(&by_another),
        refused(true, "no_proof_of_possession")
    );
    let of_another_ca = Fields::of(plain, other_ca()).sign(other_ca());
    let of_another_ca = Login {
        certificate: of_another_ca,
        ..Login::of(plain)
    };
    assert_eq!(
        verdict(&of_another_ca),
        refused(true, "untrusted_authority")
    );
    let without_certificate = Login {
        certificate: plain.blob.clone(),
        ..Login::of(plain)
    };
    assert_eq!(
        verdict(&without_certificate),
        refused(false, "malformed_certificate")
    );
}
