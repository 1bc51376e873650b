//! Every measure works, in numbers too small to mean anything.

use std::path::Path;
use std::process::Command;

#[test]
fn every_measure_runs_and_has_its_line() {
    let benches = Path::new(env!("CARGO_BIN_EXE_benches"));
    let bastion = benches.with_file_name("bastion");
    assert!(
        bastion.exists(),
        "{} is not there: `cargo test --workspace` or `cargo build -p bastion` makes it",
        bastion.display()
    );
    let charts = tempfile::tempdir().unwrap();
    let output = Command::new(benches)
        .args(["--quick", "--bastion"])
        .arg(&bastion)
        .arg("--charts")
        .arg(charts.path())
        .output()
        .unwrap();
    let (table, said) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{table}\n{said}");
    for measure in [
        "login, ML-KEM + X25519",
        "the sum of its primitives",
        "logins/s, 4 clients",
        "login, `true`, exit: p99",
        "idle sessions",
        "down, aes256-gcm",
        "up, chacha20",
        "SFTP, a large file up",
        "files of 4 KiB down",
        "forwarded TCP, there and back",
        "keystroke and echo, idle",
        "beside bulk transfers: p99",
        "a key every 10 ms: p99",
        "start to first login",
        "host key Rsa",
        "open sessions: a login, p50",
    ] {
        assert!(table.contains(measure), "{measure} is missing:\n{table}");
    }
    // With sshd beside it where that is installed.
    assert_eq!(
        table.contains("| – | – |"),
        !Path::new("/usr/sbin/sshd").exists(),
        "{table}"
    );
    for chart in ["logins.svg", "growth-rate.svg", "growth-latency.svg"] {
        let drawn = std::fs::read_to_string(charts.path().join(chart)).unwrap();
        assert!(
            drawn.starts_with("<svg") && drawn.contains("bastion"),
            "{chart}"
        );
    }
}
