//! What a client says about its programs: variables and terminal modes. Nothing of it may stand in
//! place of ours, or steer what runs.
#![no_main]

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::ffi::OsStrExt;
use std::sync::LazyLock;

use bastion::config::Config;
use bastion::ipc::{ConnectionId, SessionConfig, SessionSetup};
use bastion::session::fuzzing::{environment, modes};
use bastion::sys::account::Account;
use bastion::sys::spawn::ProgramLimits;
use bastion_fuzz::Pieces;
use libfuzzer_sys::fuzz_target;
use nix::sys::termios::Termios;

static SETUP: LazyLock<SessionSetup> = LazyLock::new(|| {
    let config = Config::default();
    SessionSetup {
        account: Account::current().expect("an account"),
        become_account: false,
        connection: ConnectionId(1),
        peer: SocketAddr::from((Ipv4Addr::LOCALHOST, 1)),
        local: SocketAddr::from((Ipv4Addr::LOCALHOST, 22)),
        permits: config.permits(),
        force_command: None,
        config: SessionConfig {
            forwarding: config.forwarding_rules(),
            subsystem: BTreeMap::new(),
            // The worst that can be configured.
            accept_env: vec!["*".to_owned()],
            environment: vec![("PATH".to_owned(), "/bin".to_owned())],
            terminal_group: None,
            no_new_privileges: false,
            permit_network: true,
            print_motd: false,
            program_limits: ProgramLimits {
                descriptors: 1024,
                processes: None,
                dump: 0,
            },
        },
    }
});
const OURS: [&[u8]; 8] = [
    b"HOME",
    b"USER",
    b"LOGNAME",
    b"SHELL",
    b"PATH",
    b"SSH_CONNECTION",
    b"SSH_CLIENT",
    b"SSH_TTY",
];

fuzz_target!(|input: &[u8]| {
    let mut pieces = Pieces(input);
    let Some(encoded) = pieces.next() else { return };
    check_modes(encoded);
    let texts: Vec<String> = pieces
        .map(|piece| String::from_utf8_lossy(piece).into_owned())
        .collect();
    let client: Vec<(String, String)> = texts
        .chunks_exact(2)
        .map(|pair| (pair[0].clone(), pair[1].clone()))
        .collect();
    let term = texts.first().map(String::as_str);
    let without = environment(&SETUP, &[], term);
    let with = environment(&SETUP, &client, term);
    for (name, value) in &with {
        let name = name.as_bytes();
        assert!(!name.is_empty() && !name.contains(&b'=') && !name.contains(&0));
        assert!(!value.as_bytes().contains(&0));
        let steers = [&b"LD_"[..], b"GLIBC_", b"BASH_FUNC", b"PYTHON", b"NODE_"];
        assert!(
            !steers.iter().any(|prefix| name.starts_with(prefix)),
            "{name:?}"
        );
        assert!(![&b"BASH_ENV"[..], b"ENV", b"IFS"].contains(&name));
    }
    for (name, value) in without {
        let is_ours = OURS.contains(&name.as_bytes());
        assert!(!is_ours || with.contains(&(name, value)));
    }
});

/// Modes as RFC 4254 section 8 encodes them: a code and its argument.
fn check_modes(encoded: &[u8]) {
    let requested: Vec<(u8, u32)> = encoded
        .chunks_exact(5)
        .map(|mode| {
            (
                mode[0],
                u32::from_be_bytes([mode[1], mode[2], mode[3], mode[4]]),
            )
        })
        .collect();
    let mut once = blank();
    modes(&mut once, &requested);
    let mut twice = once.clone();
    modes(&mut twice, &requested);
    assert!(once == twice, "{requested:?}");
}

/// A terminal's modes before anybody has changed them.
fn blank() -> Termios {
    thread_local! {
        static MODES: Termios = {
            let pty = nix::pty::openpty(None, None).expect("a terminal");
            nix::sys::termios::tcgetattr(&pty.slave).expect("its modes")
        };
    }
    MODES.with(Termios::clone)
}
