//! Properties of the decision over random certificates, requests and clocks.

use std::collections::BTreeMap;
use std::net::IpAddr;

use bastion::policy::{
    AuthRequest, KeyType, Permissions, PublicKey, Refusal, Rules, SecurityKeyFlags,
    TrustedUserCaKeys, UserCertificate,
};
use proptest::prelude::*;
use proptest::sample::{Index, select, subsequence};
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use crate::key_pair::{ca, user};
use crate::mint::{Fields, string};
use crate::trial::{self, decide, other_ca};

/// Who signs, and whom the certificate says that it is signed by.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Authority {
    Trusted,
    Other,
    OtherInTheNameOfTrusted,
}

/// An option by its name, data, and what is wrong with it in the naive oracle's eyes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Critical {
    ForceCommand(&'static str),
    Sources(&'static str, Sources),
    VerifyRequired,
    Unknown(&'static str),
}

/// What a list of source addresses means.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Sources {
    In192_0_2,
    LoopbackOr10_0_0_1,
    Nonsense,
}

impl Sources {
    fn contain(self, source: IpAddr) -> bool {
        match (self, source.to_canonical()) {
            (Sources::In192_0_2, IpAddr::V4(source)) => source.octets()[..3] == [192, 0, 2],
            (Sources::LoopbackOr10_0_0_1, source) => {
                ["::1", "10.0.0.1"].contains(&source.to_string().as_str())
            }
            _ => false,
        }
    }
}

#[derive(Clone, Debug)]
struct Login {
    authority: Authority,
    security_key_user: bool,
    certificate_type: u32,
    principals: Vec<&'static str>,
    valid_after: u64,
    valid_before: u64,
    critical: Vec<Critical>,
    extensions: Vec<&'static str>,
    login_name: &'static str,
    source: IpAddr,
    now: u64,
    flags: Option<(bool, bool)>,
    permit: [bool; 3],
}

const EXTENSIONS: [&str; 8] = [
    "permit-pty",
    "permit-port-forwarding",
    "permit-agent-forwarding",
    "permit-X11-forwarding",
    "permit-user-rc",
    "no-touch-required",
    "permit-PTY",
    "permit-everything@example.com",
];

/// Mostly what is right, so that the rest of a login gets its turn.
fn login() -> impl Strategy<Value = Login> {
    let mostly = |right: f64| prop::bool::weighted(right);
    let authority = prop_oneof![
        8 => Just(Authority::Trusted),
        1 => Just(Authority::Other),
        1 => Just(Authority::OtherInTheNameOfTrusted),
    ];
    let certificate_type = prop_oneof![9 => Just(1), 1 => select(vec![0, 2, 3, u32::MAX])];
    let names = vec![
        "claw",
        "operator",
        "root",
        "",
        "*",
        "claw,root",
        "Claw",
        "claw\0",
    ];
    let principals = prop_oneof![
        3 => Just(vec!["root", "claw", "operator"]),
        2 => subsequence(names.clone(), 0..=8).prop_shuffle(),
    ];
    let times = || {
        prop_oneof![
            select(vec![0, 1, 99, 100, 101, 200, u64::MAX - 1, u64::MAX]),
            0..250_u64
        ]
    };
    let validity = prop_oneof![3 => Just((0, u64::MAX)), 3 => (times(), times())];
    let sources = || {
        prop_oneof![
            Just(Critical::Sources("192.0.2.0/24", Sources::In192_0_2)),
            Just(Critical::Sources(
                "::1,10.0.0.1/32",
                Sources::LoopbackOr10_0_0_1
            )),
            Just(Critical::Sources("192.0.2.0/24,", Sources::Nonsense)),
            Just(Critical::Sources("", Sources::Nonsense)),
        ]
    };
    let command = || {
        select(vec![
            Critical::ForceCommand("ls -l"),
            Critical::ForceCommand(""),
        ])
    };
    let verify = || Just(Critical::VerifyRequired);
    let unknown = || {
        select(vec![
            Critical::Unknown("a@example.com"),
            Critical::Unknown("permit-pty"),
        ])
    };
    let critical = (
        prop::option::weighted(0.3, sources()),
        prop::option::weighted(0.2, command()),
        prop::option::weighted(0.2, verify()),
        prop::option::weighted(0.05, unknown()),
    );
    let critical = critical
        .prop_map(|(a, b, c, d)| [a, b, c, d].into_iter().flatten().collect::<Vec<_>>())
        .prop_shuffle();
    let who = (authority, mostly(0.4), certificate_type, principals);
    let what = (
        validity,
        critical,
        subsequence(EXTENSIONS.to_vec(), 0..=8).prop_shuffle(),
    );
    let addresses = [
        "192.0.2.7",
        "::ffff:192.0.2.7",
        "192.0.3.7",
        "10.0.0.1",
        "::1",
        "2001:db8::1",
    ];
    let addresses = addresses.map(|text| text.parse().unwrap()).to_vec();
    let login_name = prop_oneof![3 => Just("claw"), 2 => select(names)];
    let request = (login_name, select(addresses), times());
    let flags = prop::option::weighted(0.9, (mostly(0.8), any::<bool>()));
    let configuration = (flags, any::<[bool; 3]>());
    (who, what, request, configuration).prop_map(|(who, what, request, configuration)| Login {
        authority: who.0,
        security_key_user: who.1,
        certificate_type: who.2,
        principals: who.3,
        valid_after: what.0.0,
        valid_before: what.0.1,
        critical: what.1,
        extensions: what.2,
        login_name: request.0,
        source: request.1,
        now: request.2,
        flags: configuration.0,
        permit: configuration.1,
    })
}

impl Login {
    fn certificate(&self) -> Vec<u8> {
        let trusted = ca(KeyType::Ed25519);
        let (named, signer) = match self.authority {
            Authority::Trusted => (trusted, trusted),
            Authority::Other => (other_ca(), other_ca()),
            Authority::OtherInTheNameOfTrusted => (trusted, other_ca()),
        };
        let mut fields = Fields {
            certificate_type: self.certificate_type,
            principals: self.principals.iter().map(|&name| name.into()).collect(),
            valid_after: self.valid_after,
            valid_before: self.valid_before,
            extensions: Vec::new(),
            ..Fields::of(user(self.key_type()), named)
        };
        for option in &self.critical {
            match option {
                Critical::ForceCommand(command) => {
                    fields.critical_option("force-command", string(command))
                }
                Critical::Sources(list, _) => {
                    fields.critical_option("source-address", string(list))
                }
                Critical::VerifyRequired => fields.critical_option("verify-required", ""),
                Critical::Unknown(name) => fields.critical_option(name, ""),
            }
        }
        for name in &self.extensions {
            fields.extension(name, "");
        }
        fields.sign(signer)
    }

    fn key_type(&self) -> KeyType {
        match self.security_key_user {
            true => KeyType::SkEd25519,
            false => KeyType::Ed25519,
        }
    }

    fn decide(&self) -> Result<Permissions, Refusal> {
        let request = AuthRequest {
            login_name: self.login_name,
            source: self.source,
            now: self.now,
            security_key: self
                .flags
                .map(|(user_present, user_verified)| SecurityKeyFlags {
                    user_present,
                    user_verified,
                    counter: 0,
                }),
        };
        let [permit_pty, permit_port_forwarding, permit_agent_forwarding] = self.permit;
        let rules = Rules {
            permit_pty,
            permit_port_forwarding,
            permit_agent_forwarding,
            ..trial::rules(KeyType::Ed25519)
        };
        decide(&self.certificate(), &request, &rules)
    }

    /// The refusal's code, or what is granted.
    fn verdict(&self) -> Result<String, &'static str> {
        match self.decide() {
            Ok(permissions) => Ok(trial::describe(&permissions)),
            Err(refusal) => Err(refusal.code()),
        }
    }

    /// Every reason against this login, in the order of the rules, from what it is and not from its bytes.
    fn reasons_against(&self) -> Vec<&'static str> {
        let mut reasons = Vec::new();
        let mut reason = |applies: bool, code| {
            if applies {
                reasons.push(code)
            }
        };
        let excludes = |option: &Critical| match option {
            Critical::Sources(_, sources) => !sources.contain(self.source),
            _ => false,
        };
        let malformed = |option: &Critical| {
            matches!(
                option,
                Critical::ForceCommand("") | Critical::Sources(_, Sources::Nonsense)
            )
        };
        let (present, verified) = self.flags.unwrap_or((false, false));
        let waived = self.extensions.contains(&"no-touch-required");
        reason(self.authority == Authority::Other, "untrusted_authority");
        reason(
            self.authority == Authority::OtherInTheNameOfTrusted,
            "bad_authority_signature",
        );
        reason(self.certificate_type != 1, "not_user_certificate");
        reason(self.now < self.valid_after, "not_yet_valid");
        reason(self.now >= self.valid_before, "expired");
        reason(self.principals.is_empty(), "no_principals");
        let listed = self.principals.contains(&self.login_name) && !self.login_name.is_empty();
        reason(!listed, "principal_not_listed");
        reason(
            !["claw", "operator"].contains(&self.login_name),
            "unknown_login",
        );
        // The first option that is wrong, in the certificate's order.
        for option in &self.critical {
            reason(
                matches!(option, Critical::Unknown(_)),
                "unknown_critical_option",
            );
            reason(malformed(option), "malformed_option");
        }
        reason(self.critical.iter().any(excludes), "source_not_permitted");
        let must_verify = self.critical.contains(&Critical::VerifyRequired);
        reason(
            must_verify && !(self.security_key_user && verified),
            "verification_required",
        );
        reason(
            self.security_key_user && !waived && !present,
            "touch_required",
        );
        reasons
    }

    /// What is granted if nothing is against it.
    fn naive_grant(&self) -> String {
        let name = match self.login_name {
            "claw" => "claw:".to_owned(),
            other => format!("claw as {other}:"),
        };
        let mut words = vec![name];
        for (permitted, name) in
            self.permit
                .iter()
                .zip(["pty", "port-forwarding", "agent-forwarding"])
        {
            let extension = format!("permit-{name}");
            if *permitted && self.extensions.contains(&extension.as_str()) {
                words.push(name.to_owned());
            }
        }
        for option in &self.critical {
            if let Critical::ForceCommand(command) = option {
                words.push(format!("force-command={command}"));
            }
        }
        words.join(" ")
    }
}

/// What a permission lets do, so that two can be compared.
fn grants(verdict: &Result<Permissions, Refusal>) -> Option<[bool; 3]> {
    let granted = verdict.as_ref().ok()?;
    Some([
        granted.pty(),
        granted.port_forwarding(),
        granted.agent_forwarding(),
    ])
}

/// Nothing, if refused; what is granted is within what was granted before.
fn is_within(after: Option<[bool; 3]>, before: Option<[bool; 3]>) -> bool {
    match (after, before) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(after), Some(before)) => after
            .iter()
            .zip(before)
            .all(|(after, before)| *after <= before),
    }
}

/// The random logins are worth deciding on: one in ten is let in, and every reason comes up.
#[test]
fn every_verdict_occurs() {
    let mut runner = TestRunner::deterministic();
    let mut verdicts = BTreeMap::<&str, u32>::new();
    for _ in 0..4000 {
        let login = login().new_tree(&mut runner).unwrap().current();
        let reasons = login.reasons_against();
        *verdicts
            .entry(reasons.first().unwrap_or(&"granted"))
            .or_default() += 1;
    }
    assert!(verdicts["granted"] > 400, "{verdicts:?}");
    assert!(
        verdicts.len() == 14 && verdicts.values().all(|count| *count > 10),
        "{verdicts:?}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    #[test]
    fn the_verdict_is_the_naive_one(login in login()) {
        let expected = match login.reasons_against().first() {
            None => Ok(login.naive_grant()),
            Some(first) => Err(*first),
        };
        prop_assert_eq!(login.verdict(), expected);
    }

    #[test]
    fn one_extension_less_never_grants_more(login in login(), which in any::<Index>()) {
        prop_assume!(!login.extensions.is_empty());
        let mut less = login.clone();
        less.extensions.remove(which.index(login.extensions.len()));
        prop_assert!(is_within(grants(&less.decide()), grants(&login.decide())));
    }

    #[test]
    fn one_critical_option_more_never_grants_more(login in login()) {
        for option in &login.critical {
            let mut less = login.clone();
            less.critical.retain(|other| other != option);
            prop_assert!(is_within(grants(&login.decide()), grants(&less.decide())));
        }
    }

    #[test]
    fn less_configuration_never_grants_more(login in login(), which in 0..3_usize) {
        let mut less = login.clone();
        less.permit[which] = false;
        prop_assert!(is_within(grants(&less.decide()), grants(&login.decide())));
    }

    #[test]
    fn order_is_irrelevant(login in login(), rotation in 0..8_usize) {
        let mut other = login.clone();
        other.principals.reverse();
        other.extensions.reverse();
        other.extensions.rotate_left(rotation.min(login.extensions.len()));
        prop_assert_eq!(other.verdict(), login.verdict());
        // Which of two bad options is named first is the one difference that order may make.
        other.critical.reverse();
        prop_assert_eq!(other.verdict().ok(), login.verdict().ok());
    }

    #[test]
    fn what_is_told_is_told_to_holders_only(login in login()) {
        let vouched_for = login.authority == Authority::Trusted;
        if let Err(refusal) = login.decide() {
            prop_assert_eq!(refusal.disclosed().is_some(), vouched_for);
        }
    }

    #[test]
    fn no_bytes_make_a_parser_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        prop_assert!(UserCertificate::parse(&bytes).is_err());
        prop_assert!(PublicKey::from_bytes(&bytes).is_err());
        let text = String::from_utf8_lossy(&bytes);
        prop_assert!(TrustedUserCaKeys::parse(&text, "x").is_err());
    }

    /// What parses after being damaged says so of its bytes: nothing is normalised, nothing is lost.
    #[test]
    fn damage_is_never_authorized(
        login in login(),
        at in any::<Index>(),
        removed in 0..9_usize,
        inserted in prop::collection::vec(any::<u8>(), 0..9),
    ) {
        let good = Login { authority: Authority::Trusted, ..login.clone() }.certificate();
        let start = at.index(good.len());
        let end = (start + removed).min(good.len());
        let damaged = [&good[..start], &inserted, &good[end..]].concat();
        prop_assume!(damaged != good);
        let Ok(certificate) = UserCertificate::parse(&damaged) else { return Ok(()) };
        prop_assert_eq!(certificate.as_bytes(), &damaged);
        prop_assert!(!certificate.signature_is_valid());
    }
}
