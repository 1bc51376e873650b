//! The rules by which a certificate lets somebody in, one line a rule.
//!
//! The certificates are made by the real `ssh-keygen -s` where it can make them, and by an encoder where it
//! cannot. Beside the table: damaged certificates, proofs of possession, keys, and properties against a
//! naive oracle.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that fails by panic has failed; clippy.toml exempts test functions only"
)]

#[path = "certificate_rules/corpus.rs"]
mod corpus;
#[path = "certificate_rules/damage.rs"]
mod damage;
#[path = "certificate_rules/key_pair.rs"]
mod key_pair;
#[path = "certificate_rules/keys.rs"]
mod keys;
#[path = "certificate_rules/krl_by_hand.rs"]
mod krl_by_hand;
#[path = "certificate_rules/mint.rs"]
mod mint;
#[path = "certificate_rules/proofs.rs"]
mod proofs;
#[path = "certificate_rules/properties.rs"]
mod properties;
#[path = "certificate_rules/random_login.rs"]
mod random_login;
#[path = "certificate_rules/reference.rs"]
mod reference;
#[path = "certificate_rules/refusals.rs"]
mod refusals;
#[path = "certificate_rules/revocation.rs"]
mod revocation;
#[path = "certificate_rules/ssh_keygen.rs"]
mod ssh_keygen;
#[path = "certificate_rules/trial.rs"]
mod trial;

use bastion::policy::{AuthRequest, KeyType};

use mint::{VALID_AFTER, VALID_BEFORE, string};
use trial::{ALL, ByHand, TOUCHED_AND_VERIFIED, Trial, VERIFIED};

/// Name, how it differs from a good certificate and request, verdict.
struct Rule<T>(&'static str, fn(&mut T), &'static str);

#[rustfmt::skip]
const RULES: &[Rule<Trial>] = &[
    Rule("a good certificate", |_| (), ALL),

    Rule("signed by another CA of the same kind", |t| t.ca = trial::other_ca(), "untrusted_authority"),
    Rule("signed by the user's own key", |t| t.ca = key_pair::user(KeyType::Ed25519), "untrusted_authority"),
    Rule("an RSA CA", |t| t.ca_of(KeyType::Rsa), ALL),
    Rule("an RSA CA, SHA-256", |t| { t.ca_of(KeyType::Rsa); t.arguments(["-t", "rsa-sha2-256"]) }, ALL),
    Rule("an RSA CA, SHA-512", |t| { t.ca_of(KeyType::Rsa); t.arguments(["-t", "rsa-sha2-512"]) }, ALL),
    Rule("an RSA CA, SHA-1", |t| { t.ca_of(KeyType::Rsa); t.arguments(["-t", "ssh-rsa"]) }, "weak_authority_signature"),
    Rule("SHA-1 and another CA: trust first", |t| { t.ca_of(KeyType::Rsa); t.arguments(["-t", "ssh-rsa"]); t.trust(KeyType::Ed25519) }, "untrusted_authority"),

    Rule("a host certificate", |t| t.arguments(["-h"]), "not_user_certificate"),

    Rule("the first second", |t| t.now = VALID_AFTER, ALL),
    Rule("a second too early", |t| t.now = VALID_AFTER - 1, "not_yet_valid"),
    Rule("the last second", |t| t.now = VALID_BEFORE - 1, ALL),
    Rule("a second too late", |t| t.now = VALID_BEFORE, "expired"),
    Rule("long ago", |t| t.now = 0, "not_yet_valid"),
    Rule("in ages", |t| t.now = u64::MAX, "expired"),
    Rule("always, forever: the first second", |t| { t.valid = "always:forever".into(); t.now = 0 }, ALL),
    Rule("always, forever: the last second", |t| { t.valid = "always:forever".into(); t.now = u64::MAX - 1 }, ALL),
    Rule("always until then", |t| { t.valid = format!("always:{VALID_BEFORE:#x}"); t.now = 0 }, ALL),
    Rule("always until then, too late", |t| { t.valid = format!("always:{VALID_BEFORE:#x}"); t.now = VALID_BEFORE }, "expired"),
    Rule("from then forever", |t| { t.valid = format!("{VALID_AFTER:#x}:forever"); t.now = u64::MAX - 1 }, ALL),
    Rule("from then forever, too early", |t| { t.valid = format!("{VALID_AFTER:#x}:forever"); t.now = VALID_AFTER - 1 }, "not_yet_valid"),

    Rule("no principal", |t| t.principals = None, "no_principals"),
    Rule("the second of two principals", |t| t.principals = Some("root,claw"), ALL),
    Rule("another principal", |t| t.principals = Some("root"), "principal_not_listed"),
    Rule("a longer principal", |t| t.principals = Some("claws"), "principal_not_listed"),
    Rule("a shorter principal", |t| t.principals = Some("cla"), "principal_not_listed"),
    Rule("a principal in capitals", |t| t.principals = Some("Claw"), "principal_not_listed"),
    Rule("a principal with a space behind", |t| t.principals = Some("claw "), "principal_not_listed"),
    Rule("a principal with a line feed behind", |t| t.principals = Some("claw\n"), "principal_not_listed"),
    Rule("the principal *", |t| t.principals = Some("*"), "principal_not_listed"),
    Rule("the principal cl*", |t| t.principals = Some("cl*"), "principal_not_listed"),
    Rule("the principal cl?w", |t| t.principals = Some("cl?w"), "principal_not_listed"),
    Rule("the principal !root", |t| t.principals = Some("!root"), "principal_not_listed"),
    Rule("the principal claw@host", |t| t.principals = Some("claw@host"), "principal_not_listed"),

    Rule("a login name in capitals", |t| t.login_name = "CLAW", "principal_not_listed"),
    Rule("an empty login name", |t| t.login_name = "", "principal_not_listed"),
    Rule("a login name that is the wildcard", |t| { t.principals = Some("*"); t.login_name = "*" }, "unknown_login"),
    Rule("a listed login name without an account", |t| { t.principals = Some("root"); t.login_name = "root" }, "unknown_login"),
    Rule("a login name of another account", |t| { t.principals = Some("operator"); t.login_name = "operator" }, "claw as operator: pty port-forwarding agent-forwarding"),

    Rule("a forced command", |t| t.arguments(["-O", "force-command=ls -l; id"]), "claw: pty port-forwarding agent-forwarding force-command=ls -l; id"),
    Rule("a forced empty command", |t| t.arguments(["-O", "critical:force-command="]), "malformed_option"),
    Rule("the source address listed", |t| t.arguments(["-O", "source-address=192.0.2.7"]), ALL),
    Rule("the source address not listed", |t| t.arguments(["-O", "source-address=192.0.2.8"]), "source_not_permitted"),
    Rule("the source network listed", |t| t.arguments(["-O", "source-address=10.0.0.0/8,192.0.2.0/24"]), ALL),
    Rule("the source network not listed", |t| t.arguments(["-O", "source-address=10.0.0.0/8,192.0.3.0/24"]), "source_not_permitted"),
    Rule("an IPv6 source network listed", |t| { t.source = "2001:db8::7"; t.arguments(["-O", "source-address=2001:db8::/32"]) }, ALL),
    Rule("an IPv6 source network not listed", |t| { t.source = "2001:db9::7"; t.arguments(["-O", "source-address=2001:db8::/32"]) }, "source_not_permitted"),
    Rule("an IPv4-mapped source listed", |t| { t.source = "::ffff:192.0.2.7"; t.arguments(["-O", "source-address=192.0.2.0/24"]) }, ALL),
    Rule("an IPv4-mapped source not listed", |t| { t.source = "::ffff:192.0.3.7"; t.arguments(["-O", "source-address=192.0.2.0/24"]) }, "source_not_permitted"),
    Rule("every IPv4 source, from IPv6", |t| { t.source = "::1"; t.arguments(["-O", "source-address=0.0.0.0/0"]) }, "source_not_permitted"),
    Rule("an empty list of sources", |t| t.arguments(["-O", "critical:source-address="]), "malformed_option"),
    Rule("a list of sources with a bad entry behind a good one", |t| t.arguments(["-O", "critical:source-address=192.0.2.7,bogus"]), "malformed_option"),
    Rule("a source network with host bits", |t| t.arguments(["-O", "critical:source-address=192.0.2.7/24"]), "malformed_option"),
    Rule("an abbreviated source address, which OpenSSH accepts", |t| t.arguments(["-O", "source-address=192.0.519"]), "malformed_option"),
    Rule("an unknown critical option", |t| t.arguments(["-O", "critical:permit-everything@example.com"]), "unknown_critical_option"),
    Rule("an unknown critical option with data", |t| t.arguments(["-O", "critical:a@example.com=b"]), "unknown_critical_option"),
    Rule("an extension as a critical option", |t| t.arguments(["-O", "critical:permit-pty"]), "unknown_critical_option"),
    Rule("the wrong capitals in a critical option", |t| t.arguments(["-O", "critical:Force-Command=ls"]), "unknown_critical_option"),

    Rule("verify-required of a key in a file", |t| t.arguments(["-O", "verify-required"]), "verification_required"),
    Rule("… whatever is claimed", |t| { t.security_key = VERIFIED; t.arguments(["-O", "verify-required"]) }, "verification_required"),
    Rule("a security key, touched", |t| t.user_of(KeyType::SkEd25519), ALL),
    Rule("a security key, not touched", |t| { t.user_of(KeyType::SkEd25519); t.security_key = trial::UNTOUCHED }, "touch_required"),
    Rule("a security key that says nothing", |t| { t.user_of(KeyType::SkEd25519); t.security_key = None }, "touch_required"),
    Rule("a security key, verified and not touched", |t| { t.user_of(KeyType::SkEd25519); t.security_key = VERIFIED }, "touch_required"),
    Rule("no-touch-required, not touched", |t| { t.user_of(KeyType::SkEcdsaP256); t.security_key = trial::UNTOUCHED; t.arguments(["-O", "no-touch-required"]) }, ALL),
    Rule("no-touch-required, saying nothing", |t| { t.user_of(KeyType::SkEcdsaP256); t.security_key = None; t.arguments(["-O", "no-touch-required"]) }, ALL),
    Rule("verify-required, touched only", |t| { t.user_of(KeyType::SkEd25519); t.arguments(["-O", "verify-required"]) }, "verification_required"),
    Rule("verify-required, verified", |t| { t.user_of(KeyType::SkEd25519); t.security_key = TOUCHED_AND_VERIFIED; t.arguments(["-O", "verify-required"]) }, ALL),
    Rule("verify-required and no-touch-required", |t| { t.user_of(KeyType::SkEd25519); t.security_key = VERIFIED; t.arguments(["-O", "verify-required", "-O", "no-touch-required"]) }, ALL),

    Rule("no extension", |t| t.arguments(["-O", "clear"]), "claw:"),
    Rule("permit-pty only", |t| t.arguments(["-O", "clear", "-O", "permit-pty"]), "claw: pty"),
    Rule("permit-port-forwarding only", |t| t.arguments(["-O", "clear", "-O", "permit-port-forwarding"]), "claw: port-forwarding"),
    Rule("permit-agent-forwarding only", |t| t.arguments(["-O", "clear", "-O", "permit-agent-forwarding"]), "claw: agent-forwarding"),
    Rule("what is never granted", |t| t.arguments(["-O", "clear", "-O", "permit-x11-forwarding", "-O", "permit-user-rc"]), "claw:"),
    Rule("an unknown extension", |t| t.arguments(["-O", "extension:permit-root@example.com=yes"]), ALL),
    Rule("the wrong capitals in an extension", |t| t.arguments(["-O", "clear", "-O", "extension:Permit-Pty"]), "claw:"),
    Rule("a critical option as an extension limits nothing", |t| t.arguments(["-O", "extension:force-command=ls"]), ALL),
    Rule("no pty by configuration", |t| t.rules.permits.pty = false, "claw: port-forwarding agent-forwarding"),
    Rule("no port forwarding by configuration", |t| t.rules.permits.port_forwarding = false, "claw: pty agent-forwarding"),
    Rule("no agent forwarding by configuration", |t| t.rules.permits.agent_forwarding = false, "claw: pty port-forwarding"),
];

#[rustfmt::skip]
const RULES_BY_HAND: &[Rule<ByHand>] = &[
    Rule("a good certificate", |_| (), ALL),
    Rule("any reserved bytes", |t| t.fields.reserved = vec![0xff; 9], ALL),
    Rule("an empty nonce", |t| t.fields.nonce.clear(), ALL),
    Rule("a key id of any bytes", |t| t.fields.key_id = b"\xff\0\n\x1b[31m".to_vec(), ALL),
    Rule("options in any order", |t| { t.fields.critical_option("source-address", string("192.0.2.7")); t.fields.critical_option("force-command", string("ls")); t.fields.extensions.reverse() }, "claw: pty port-forwarding agent-forwarding force-command=ls"),

    Rule("a type number 0", |t| t.fields.certificate_type = 0, "not_user_certificate"),
    Rule("a type number 3", |t| t.fields.certificate_type = 3, "not_user_certificate"),
    Rule("a type number 2^32-1", |t| t.fields.certificate_type = u32::MAX, "not_user_certificate"),
    Rule("valid before valid after", |t| { t.fields.valid_after = VALID_BEFORE; t.fields.valid_before = VALID_AFTER }, "not_yet_valid"),
    Rule("never valid", |t| t.fields.valid_before = 0, "expired"),
    Rule("valid for no second", |t| { t.fields.valid_before = VALID_AFTER; t.now = VALID_AFTER }, "expired"),

    Rule("a principal with a comma", |t| t.fields.principals = vec![b"claw,root".into()], "principal_not_listed"),
    Rule("… for root", |t| { t.fields.principals = vec![b"claw,root".into()]; t.login_name = "root" }, "principal_not_listed"),
    Rule("… compared whole", |t| { t.fields.principals = vec![b"claw,root".into()]; t.login_name = "claw,root" }, "unknown_login"),
    Rule("an empty principal and login name", |t| { t.fields.principals = vec![b"".into()]; t.login_name = "" }, "principal_not_listed"),
    Rule("an empty principal", |t| t.fields.principals = vec![b"".into()], "principal_not_listed"),
    Rule("a principal with a NUL behind", |t| t.fields.principals = vec![b"claw\0".into()], "principal_not_listed"),
    Rule("a principal with a NUL and more behind", |t| t.fields.principals = vec![b"claw\0root".into()], "principal_not_listed"),
    Rule("a principal that is not UTF-8", |t| t.fields.principals = vec![b"claw".into(), b"\xff".into()], "malformed_certificate"),
    Rule("a principal that looks the same", |t| t.fields.principals = vec!["cl\u{430}w".into()], "principal_not_listed"),
    Rule("256 principals", |t| { t.fields.principals = vec![b"x".into(); 255]; t.fields.principals.push(b"claw".into()) }, ALL),
    Rule("257 principals", |t| { t.fields.principals = vec![b"x".into(); 256]; t.fields.principals.push(b"claw".into()) }, "malformed_certificate"),
    Rule("half a principal behind", |t| t.fields.junk_after[0] = b"\0\0\0\x05claw", "malformed_certificate"),

    Rule("a forced command that is not packed", |t| t.fields.critical_option("force-command", "ls"), "malformed_option"),
    Rule("a forced command with bytes behind", |t| t.fields.critical_option("force-command", [string("ls"), string("-l")].concat()), "malformed_option"),
    Rule("a forced command with a NUL", |t| t.fields.critical_option("force-command", string("ls\0-l")), "malformed_option"),
    Rule("a forced command that is not UTF-8", |t| t.fields.critical_option("force-command", string(b"ls \xff")), "malformed_option"),
    Rule("a forced command of no bytes at all", |t| t.fields.critical_option("force-command", ""), "malformed_option"),
    Rule("a source list that is not packed", |t| t.fields.critical_option("source-address", "192.0.2.7"), "malformed_option"),
    Rule("a source list of no bytes at all", |t| t.fields.critical_option("source-address", ""), "malformed_option"),
    Rule("a source list with bytes behind", |t| t.fields.critical_option("source-address", [string("192.0.2.7"), vec![0]].concat()), "malformed_option"),
    Rule("a source list with a NUL", |t| t.fields.critical_option("source-address", string("192.0.2.7\0")), "malformed_option"),
    Rule("verify-required with data", |t| t.fields.critical_option("verify-required", string("no")), "malformed_option"),
    Rule("a critical option without a name", |t| t.fields.critical_option("", ""), "unknown_critical_option"),
    Rule("a critical option twice", |t| { t.fields.critical_option("force-command", string("ls")); t.fields.critical_option("force-command", string("id")) }, "malformed_certificate"),
    Rule("a critical option that is not UTF-8", |t| t.fields.critical_options.push((b"\xff".to_vec(), vec![])), "malformed_certificate"),
    Rule("half a critical option behind", |t| t.fields.junk_after[1] = b"\0\0\0\x01x", "malformed_certificate"),
    Rule("an extension twice", |t| t.fields.extension("permit-pty", ""), "malformed_certificate"),
    Rule("an unknown extension twice", |t| { t.fields.extension("a@b", ""); t.fields.extension("a@b", "") }, "malformed_certificate"),
    Rule("a known extension with data", |t| { t.fields.extensions.clear(); t.fields.extension("permit-pty", string("no")) }, "malformed_option"),
    Rule("a known extension with data, never granted", |t| { t.fields.extensions.clear(); t.fields.extension("permit-user-rc", "x") }, "malformed_option"),
    Rule("half an extension behind", |t| t.fields.junk_after[2] = b"\0\0\0\x01x", "malformed_certificate"),
    Rule("129 extensions", |t| for n in 0..124 { t.fields.extension(&format!("{n}@example.com"), "") }, "malformed_certificate"),

    Rule("bytes behind the signature", |t| t.fields.junk_after[3] = b"\0", "malformed_certificate"),
    Rule("more than 64 KiB", |t| t.fields.reserved = vec![0; 64 * 1024], "malformed_certificate"),
    Rule("a plain key", |t| { t.fields.type_name = KeyType::Ed25519.name().into() }, "malformed_certificate"),
    Rule("a certificate of a kind unknown", |t| { t.fields.type_name = b"ssh-dss-cert-v01@openssh.com".to_vec() }, "malformed_certificate"),
    Rule("the name of a signature algorithm", |t| { t.user_of(KeyType::Rsa); t.fields.type_name = b"rsa-sha2-512-cert-v01@openssh.com".to_vec() }, "malformed_certificate"),
    Rule("the name of another kind of key", |t| { t.user_of(KeyType::EcdsaP384); t.fields.type_name = KeyType::EcdsaP256.certificate_name().into() }, "malformed_certificate"),

    Rule("a signature key with bytes behind", |t| t.fields.signature_key.push(0), "malformed_certificate"),
    Rule("the signature of another CA", |t| t.signer = trial::other_ca(), "bad_authority_signature"),
    Rule("the signature of another kind of CA", |t| t.signer = key_pair::ca(KeyType::Rsa), "bad_authority_signature"),
    Rule("a security key as CA", |t| { t.ca_of(KeyType::SkEd25519) }, "untrusted_authority"),
];

#[test]
fn rules() {
    check(RULES);
}

#[test]
fn rules_of_what_ssh_keygen_cannot_make() {
    check(RULES_BY_HAND);
}

fn check<T: Default + trial::Verdict>(rules: &[Rule<T>]) {
    let mut wrong = Vec::new();
    for Rule(name, differ, expected) in rules {
        let mut trial = T::default();
        differ(&mut trial);
        let actual = trial.verdict();
        if actual != *expected {
            wrong.push(format!("{name}: {actual:?}, not {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// Every kind of CA certifies every kind of key, by `ssh-keygen -s` and by hand.
#[test]
fn every_ca_certifies_every_key() {
    for ca in trial::KINDS_OF_CA {
        for user in KeyType::ALL {
            let mut trial = Trial::default();
            trial.ca_of(ca);
            trial.user_of(user);
            assert_eq!(trial::Verdict::verdict(&trial), ALL, "{user} by {ca}");
            let mut trial = ByHand::default();
            trial.user_of(user);
            trial.ca_of(ca);
            assert_eq!(
                trial::Verdict::verdict(&trial),
                ALL,
                "{user} by {ca}, by hand"
            );
        }
    }
}

#[test]
fn permissions_say_what_was_checked() {
    let (user, ca) = (
        key_pair::user(KeyType::EcdsaP384),
        key_pair::ca(KeyType::Rsa),
    );
    let mut fields = mint::Fields::of(user, ca);
    fields.critical_option("force-command", string("ls"));
    let request = AuthRequest {
        login_name: "claw",
        source: "::ffff:192.0.2.7".parse().unwrap(),
        now: VALID_AFTER,
        security_key: None,
    };
    let rules = trial::rules(KeyType::Rsa);
    let permissions = trial::decide(&fields.sign(ca), &request, &rules).unwrap();
    assert_eq!(permissions.account(), "claw");
    assert_eq!(permissions.force_command(), Some("ls"));
    assert!(permissions.pty() && permissions.port_forwarding() && permissions.agent_forwarding());
    assert_eq!(permissions.valid_before(), VALID_BEFORE);
}
