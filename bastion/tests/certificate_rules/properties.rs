//! Properties of the decision over random certificates, requests and clocks.

use std::collections::BTreeMap;

use bastion::policy::{
    AuthRequest, KeyType, Permissions, Permits, PublicKey, Refusal, Rules, SecurityKeyFlags,
    TrustedUserCaKeys, UserCertificate,
};
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use crate::key_pair::{ca, user};
use crate::mint::{Fields, string};
use crate::random_login::{Authority, Critical, Login, Sources, login};
use crate::trial::{self, decide, other_ca};

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
        self.decide_by(trial::rules(KeyType::Ed25519).trusted_user_ca_keys)
    }

    fn decide_by(&self, trusted_user_ca_keys: TrustedUserCaKeys) -> Result<Permissions, Refusal> {
        let request = AuthRequest {
            login_name: self.login_name,
            source: self.source,
            now: self.now,
            security_key: self
                .flags
                .map(|(user_present, user_verified)| SecurityKeyFlags {
                    user_present,
                    user_verified,
                }),
        };
        let [pty, port_forwarding, agent_forwarding] = self.permit;
        let rules = Rules {
            permits: Permits {
                pty,
                port_forwarding,
                agent_forwarding,
            },
            trusted_user_ca_keys,
            ..trial::rules(KeyType::Ed25519)
        };
        decide(&self.certificate(), &request, &rules)
    }

    /// The refusal's code, or what is granted.
    fn verdict(&self) -> Result<String, &'static str> {
        match self.decide() {
            Ok(permissions) => Ok(trial::describe(self.login_name, &permissions)),
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

    /// Of all clocks, those that let a login in lie between its dates, without a gap.
    #[test]
    fn one_span_of_time_is_good(login in login(), times in prop::collection::vec(0..300_u64, 2..8)) {
        let granted = |now: u64| Login { now, ..login.clone() }.decide().is_ok();
        let good: Vec<u64> = times.into_iter().filter(|&now| granted(now)).collect();
        if let (Some(&first), Some(&last)) = (good.iter().min(), good.iter().max()) {
            prop_assert!(granted(first + (last - first) / 2));
            prop_assert!(login.valid_after <= first && last < login.valid_before);
        }
    }

    /// Trusting one authority more changes nothing for the certificates of the others, and one
    /// fewer lets nobody in.
    #[test]
    fn another_authority_is_nothing_to_the_holders_of_others(login in login()) {
        let (ours, other) = (ca(KeyType::Ed25519), other_ca());
        let both = format!("{}{}", ours.line(), other.line());
        let reversed = format!("{}{}", other.line(), ours.line());
        let by = |text: &str| login.decide_by(TrustedUserCaKeys::parse(text, "x").unwrap());
        prop_assert_eq!(by(&both), by(&reversed));
        if login.authority != Authority::Other {
            prop_assert_eq!(by(&both), login.decide());
        }
        prop_assert!(is_within(grants(&login.decide()), grants(&by(&both))));
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
