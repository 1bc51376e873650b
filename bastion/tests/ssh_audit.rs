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

/// What is found fault with and offered all the same; SECURITY.md says why.
const ARGUED: [(&str, &str, &str); 4] = [
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
    (
        "ecdsa-sha2-nistp256",
        "fail",
        "using elliptic curves that are suspected as being backdoored by the U.S. National Security Agency",
    ),
    (
        "ecdsa-sha2-nistp256",
        "warn",
        "using weak random number generator could reveal the key",
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
    let (mut seen, mut found) = (0, Vec::new());
    for kind in ["kex", "key", "enc", "mac"] {
        for algorithm in report[kind].as_array().unwrap() {
            seen += 1;
            let name = algorithm["algorithm"].as_str().unwrap();
            for level in ["fail", "warn"] {
                let notes = algorithm["notes"][level].as_array();
                let notes = notes.into_iter().flatten();
                found.extend(notes.map(|note| (name, level, note.as_str().unwrap())));
            }
        }
    }
    // In both directions: what is not found any more needs no argument.
    let argued: Vec<_> = ARGUED.to_vec();
    found.sort_unstable();
    assert_eq!(found, argued, "{report:#}");
    assert!(seen > 10, "{report:#}");
    assert_eq!(report["kex"][0]["algorithm"], "mlkem768x25519-sha256");
    assert_eq!(
        report["cves"].as_array().map_or(0, Vec::len),
        0,
        "{}",
        report["cves"]
    );
}
