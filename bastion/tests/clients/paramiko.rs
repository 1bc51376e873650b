//! paramiko, which is no OpenSSH: exec, SFTP with its read-ahead, forwarding both ways.

use std::path::Path;
use std::process::Command;

use crate::support::{Server, output, text};

/// Debian's, which has Debian's packages.
const PYTHON: &str = "/usr/bin/python3";

#[test]
fn another_library_does_all_that_it_can() {
    let found = Command::new(PYTHON)
        .args(["-c", "import paramiko"])
        .output();
    if !found.is_ok_and(|found| found.status.success()) {
        eprintln!("skipped: python3-paramiko is not installed");
        return;
    }
    let server = Server::start();
    let user = server.user();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/paramiko_client.py");
    let mut python = Command::new(PYTHON);
    let port = server.address.port().to_string();
    let run = output(python.arg(script).arg(port).arg(user.key()));
    assert!(
        run.status.success(),
        "{}{}",
        text(&run.stdout),
        text(&run.stderr)
    );
    let done: Vec<_> = text(&run.stdout).lines().map(str::to_owned).collect();
    assert_eq!(
        done,
        [
            "exec",
            "prefetch",
            "put",
            "forward",
            "reverse forward",
            "terminal"
        ]
    );
}
