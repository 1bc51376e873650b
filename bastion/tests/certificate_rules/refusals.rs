//! What a refusal says, and to whom.

use std::net::IpAddr;

use bastion::policy::{
    AuthRequest, CertificateType, KeyType, MalformedCertificate, ProofError, Refusal,
    SignatureError, printable,
};

use crate::key_pair::ca;
use crate::mint::{Fields, VALID_AFTER, VALID_BEFORE, string};
use crate::trial::{TOUCHED, decide, other_ca, rules};

const ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7));
const TRUSTED_CA: &str = "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU";

/// A word, whether a certificate's holder is told, and the sentence.
struct Said(Refusal, &'static str, bool, &'static str);

fn all() -> Vec<Said> {
    let fingerprint = || TRUSTED_CA.to_owned();
    vec![
        Said(
            MalformedCertificate::TooLong { len: 70_000 }.into(),
            "malformed_certificate",
            false,
            "the certificate has 70000 bytes; at most 65536 are accepted",
        ),
        Said(
            ProofError::OtherCertificate.into(),
            "no_proof_of_possession",
            false,
            "the signed request is for another certificate",
        ),
        Said(
            Refusal::UntrustedAuthority {
                fingerprint: fingerprint(),
            },
            "untrusted_authority",
            false,
            "the certificate is signed by the CA \
             SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU, which is not trusted here; if it \
             should be, add its public key to trusted_user_ca_keys",
        ),
        Said(
            Refusal::WeakAuthoritySignature {
                fingerprint: fingerprint(),
                algorithm: "ssh-rsa".to_owned(),
            },
            "weak_authority_signature",
            false,
            "the CA SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU signed the certificate with \
             ssh-rsa, which is SHA-1 and no longer safe; have it sign with rsa-sha2-512",
        ),
        Said(
            Refusal::BadAuthoritySignature {
                fingerprint: fingerprint(),
                problem: SignatureError::Wrong {
                    algorithm: "ssh-ed25519",
                },
            },
            "bad_authority_signature",
            false,
            "the certificate claims to be signed by the CA \
             SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU, which did not sign it as it is: \
             the ssh-ed25519 signature does not verify",
        ),
        Said(
            Refusal::NotUserCertificate {
                certificate_type: CertificateType::Host,
            },
            "not_user_certificate",
            true,
            "the certificate's type is host; to log in takes a user certificate (ssh-keygen -s \
             without -h)",
        ),
        Said(
            Refusal::RevokedAuthority {
                fingerprint: fingerprint(),
            },
            "revoked_authority",
            false,
            "the certificate is signed by the CA \
             SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU, whose key is in revoked_keys; have it \
             issued by the CA that took its place",
        ),
        Said(
            Refusal::RevokedKey {
                fingerprint: fingerprint(),
            },
            "revoked_key",
            true,
            "the key SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU has been revoked here; make a \
             new one, or ask the administrator why",
        ),
        Said(
            Refusal::RevokedSerial { serial: 7 },
            "revoked_serial",
            true,
            "the certificate with the serial number 7 has been revoked here; log in again for a new \
             one, or ask the administrator why",
        ),
        Said(
            Refusal::RevokedKeyId {
                key_id: "a\u{1b}".to_owned(),
            },
            "revoked_key_id",
            true,
            "certificates with the key id \"a\\u{1b}\" have been revoked here; ask the administrator why",
        ),
        Said(
            Refusal::RevocationsUnknown,
            "revocations_unknown",
            true,
            "the list of revoked keys cannot be read here, and nobody is let in until it can; the \
             administrator finds the reason in the log of bastion",
        ),
        Said(
            Refusal::NotYetValid {
                valid_after: 1_763_821_740,
                now: 1_763_821_698,
            },
            "not_yet_valid",
            true,
            "the certificate is not valid before 2025-11-22T14:29:00Z, and the clock here says \
             2025-11-22T14:28:18Z, 42 s earlier; if it was issued just now, set the clocks of the CA \
             (Pomerium) and of this host right",
        ),
        Said(
            Refusal::Expired {
                valid_before: 0,
                now: u64::MAX,
            },
            "expired",
            true,
            "the certificate expired at 1970-01-01T00:00:00Z, and the clock here says forever, \
             18446744073709551615 s later; log in again for a new one, and if it was issued just now, \
             set the clocks of the CA (Pomerium) and of this host right",
        ),
        Said(
            Refusal::NoPrincipals,
            "no_principals",
            true,
            "the certificate names no principal, so it is nobody's; have it issued for the login name",
        ),
        Said(
            Refusal::PrincipalNotListed {
                login_name: "claw".to_owned(),
                principals: ["a", "b,c", "\n", "d", "e", "f"].map(str::to_owned).into(),
            },
            "principal_not_listed",
            true,
            "the certificate is for \"a\", \"b,c\", \"\\n\", \"d\" and 2 more, not for the login name \
             \"claw\"; log in under the name that it is for, or have it issued for this one",
        ),
        Said(
            Refusal::UnknownLogin {
                login_name: "root".to_owned(),
            },
            "unknown_login",
            true,
            "there is no account for the login name \"root\" here; log in under one that has, or add \
             it to the configuration",
        ),
        Said(
            Refusal::UnknownCriticalOption {
                name: "a@example.com".to_owned(),
            },
            "unknown_critical_option",
            true,
            "the certificate has the critical option \"a@example.com\", which is not known here and \
             may not be ignored; have it issued without",
        ),
        Said(
            Refusal::MalformedOption {
                name: "force-command".to_owned(),
                problem: "its command is empty".to_owned(),
            },
            "malformed_option",
            true,
            "the certificate's option \"force-command\" is malformed: its command is empty; have the \
             certificate issued anew",
        ),
        Said(
            Refusal::SourceNotPermitted {
                address: ADDRESS,
                permitted: "10.0.0.0/8".to_owned(),
            },
            "source_not_permitted",
            true,
            "the certificate may be used from 10.0.0.0/8 only, and this connection comes from \
             192.0.2.7",
        ),
        Said(
            Refusal::VerificationRequired {
                key_type: KeyType::SkEd25519,
            },
            "verification_required",
            true,
            "the certificate requires that a security key verifies its user, by PIN or fingerprint, \
             and this signature was made without; use the key with -O verify-required",
        ),
        Said(
            Refusal::VerificationRequired {
                key_type: KeyType::Ed25519,
            },
            "verification_required",
            true,
            "the certificate requires that a security key verifies its user, by PIN or fingerprint, \
             and its key is not held by one; certify a key of type sk-ssh-ed25519@openssh.com",
        ),
        Said(
            Refusal::TouchRequired,
            "touch_required",
            true,
            "the security key was not touched; touch it, or have the certificate issued with the \
             extension no-touch-required",
        ),
    ]
}

#[test]
fn sentences_words_and_who_is_told() {
    for Said(refusal, code, told, sentence) in all() {
        assert_eq!(refusal.to_string(), sentence);
        assert_eq!(refusal.code(), code);
        assert_eq!(refusal.disclosed(), told.then(|| sentence.to_owned()));
    }
}

/// What a stranger can come to without a trusted CA's signature, whatever else is wrong.
#[test]
fn a_stranger_is_told_nothing() {
    let mut nonsense = Fields {
        certificate_type: 2,
        principals: Vec::new(),
        valid_before: 0,
        ..Fields::default()
    };
    nonsense.critical_option("a@example.com", "");
    let (trusted, other) = (ca(KeyType::Ed25519), other_ca());
    let claims_the_trusted_ca = nonsense.sign(other);
    let sha1 = [string("ssh-rsa"), string([0; 256])].concat();
    let claims_sha1 = nonsense.with_signature(&sha1);
    let own_ca = Fields {
        signature_key: other.blob.clone(),
        ..nonsense.clone()
    };
    for stranger in [
        &claims_the_trusted_ca,
        &claims_sha1,
        &own_ca.sign(other),
        &vec![],
    ] {
        let refusal = decide(stranger, &request("claw"), &rules(KeyType::Ed25519)).unwrap_err();
        assert_eq!(refusal.disclosed(), None, "{refusal}");
    }
    // The same with the trusted CA's signature, for comparison.
    let holder = nonsense.sign(trusted);
    let refusal = decide(&holder, &request("claw"), &rules(KeyType::Ed25519)).unwrap_err();
    assert_eq!(refusal.code(), "not_user_certificate");
    assert!(refusal.disclosed().is_some());
}

/// Names from outside cannot steer a terminal, forge a line of a log or flood either.
#[test]
fn sentences_are_harmless_and_short() {
    let hostile = "\x1b[2J\r\n\u{202e}\u{9b}31m\0\"".repeat(5000);
    let hostile_name = &hostile[..40_000 / 14 * 14];
    let in_principals = Fields {
        principals: vec![hostile_name.into(); 1],
        ..Fields::default()
    };
    let mut in_option_name = Fields::default();
    in_option_name.critical_option(hostile_name, "");
    let mut in_sources = Fields::default();
    in_sources.critical_option("source-address", string(hostile_name));
    for fields in [in_principals, in_option_name, in_sources] {
        let certificate = fields.sign(ca(KeyType::Ed25519));
        for login_name in ["claw", &hostile] {
            let request = request(login_name);
            let refusal = decide(&certificate, &request, &rules(KeyType::Ed25519)).unwrap_err();
            let sentence = refusal.disclosed().unwrap();
            assert!(sentence.len() < 1000, "{} bytes", sentence.len());
            let unsafe_character = |c: char| c.is_control() || c == '\u{202e}';
            assert!(!sentence.contains(unsafe_character), "{sentence:?}");
        }
    }
}

#[test]
fn printable_cuts_between_characters() {
    assert_eq!(printable("o'neil é", 64), "o'neil é");
    assert_eq!(printable("ééé", 5), "éé…");
    assert_eq!(printable("ab\x1b", 4), "ab…");
    assert_eq!(printable("a\\b\"c", 64), "a\\\\b\\\"c");
    assert_eq!(printable("", 0), "");
}

fn request(login_name: &str) -> AuthRequest<'_> {
    AuthRequest {
        login_name,
        source: ADDRESS,
        now: VALID_AFTER.midpoint(VALID_BEFORE),
        security_key: TOUCHED,
    }
}
