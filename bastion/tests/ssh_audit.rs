//! `ssh-audit` against a running bastion: no failure, and no warning but those that SECURITY.md
//! argues for. `./test` installs it; elsewhere `pip install ssh-audit`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that fails by panic has failed; clippy.toml exempts test functions only"
)]

mod support;

use std::process::Command;

use serde_json::Value;
use support::{Server, output, text};

/// What is warned of and offered all the same, with the reason.
const ARGUED: [(&str, &str, &str); 4] = [
    // Pomerium's key exchange has none better without a post-quantum one, and it is second.
    (
        "curve25519-sha256",
        "warn",
        "does not provide protection against post-quantum attacks",
    ),
    (
        "curve25519-sha256@libssh.org",
        "warn",
        "does not provide protection against post-quantum attacks",
    ),
    // For clients that know no other; Ed25519 is first, and clients choose.
    (
        "ecdsa-sha2-nistp256",
        "fail",
        "using elliptic curves that are suspected as being backdoored by the U.S. National Security Agency",
    ),
    // The counter-measure against Terrapin is strict key exchange, which bastion has.
    (
        "chacha20-poly1305@openssh.com",
        "warn",
        "vulnerable to the Terrapin attack",
    ),
];

#[test]
fn ssh_audit_finds_nothing_that_is_not_argued_for() {
    let there = Command::new("python3")
        .args(["-m", "ssh_audit", "--help"])
        .output();
    if !there.is_ok_and(|help| help.status.success()) {
        return eprintln!("SKIPPED: there is no ssh-audit (pip install ssh-audit)");
    }
    let server = Server::start();
    let port = server.address.port().to_string();
    let report = output(Command::new("python3").args([
        "-m",
        "ssh_audit",
        "--json",
        "--skip-rate-test",
        "-p",
        &port,
        "127.0.0.1",
    ]));
    let report: Value = serde_json::from_slice(&report.stdout)
        .unwrap_or_else(|_| panic!("{}{}", text(&report.stdout), text(&report.stderr)));
    println!("{report:#}");
    let mut seen = 0;
    for kind in ["kex", "key", "enc", "mac"] {
        for algorithm in report[kind].as_array().unwrap() {
            seen += 1;
            let name = algorithm["algorithm"].as_str().unwrap();
            for level in ["fail", "warn"] {
                let notes = algorithm["notes"][level].as_array();
                for note in notes
                    .into_iter()
                    .flatten()
                    .map(|note| note.as_str().unwrap())
                {
                    let argued = ARGUED.iter().any(|(which, at, what)| {
                        (*which, *at) == (name, level) && note.contains(what)
                    });
                    assert!(argued, "{name}: {level}: {note}");
                }
            }
        }
    }
    assert!(seen > 10, "{report:#}");
    assert_eq!(report["kex"][0]["algorithm"], "mlkem768x25519-sha256");
    assert_eq!(
        report["cves"].as_array().map_or(0, Vec::len),
        0,
        "{}",
        report["cves"]
    );
}
