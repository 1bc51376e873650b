//! Random logins: mostly right, each wrong in a way or two.

use std::net::IpAddr;

use proptest::prelude::*;
use proptest::sample::{select, subsequence};

/// Who signs, and whom the certificate says that it is signed by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Authority {
    Trusted,
    Other,
    OtherInTheNameOfTrusted,
}

/// An option by its name, data, and what is wrong with it in the naive oracle's eyes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Critical {
    ForceCommand(&'static str),
    Sources(&'static str, Sources),
    VerifyRequired,
    Unknown(&'static str),
}

/// What a list of source addresses means.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Sources {
    In192_0_2,
    LoopbackOr10_0_0_1,
    Nonsense,
}

impl Sources {
    pub(crate) fn contain(self, source: IpAddr) -> bool {
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
pub(crate) struct Login {
    pub(crate) authority: Authority,
    pub(crate) security_key_user: bool,
    pub(crate) certificate_type: u32,
    pub(crate) principals: Vec<&'static str>,
    pub(crate) valid_after: u64,
    pub(crate) valid_before: u64,
    pub(crate) critical: Vec<Critical>,
    pub(crate) extensions: Vec<&'static str>,
    pub(crate) login_name: &'static str,
    pub(crate) source: IpAddr,
    pub(crate) now: u64,
    pub(crate) flags: Option<(bool, bool)>,
    pub(crate) permit: [bool; 3],
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
pub(crate) fn login() -> impl Strategy<Value = Login> {
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
