//! The message of the day, as sshd's PrintMotd: what a shell at a terminal shows first.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

const FILE: &str = "/etc/motd";
/// In a user's home: be quiet, as login(1) and sshd have it.
const HUSH: &str = ".hushlogin";
/// What a terminal holds that nobody reads from yet.
const MAX_MOTD: u64 = 4096;

/// Shows it at a terminal whose program is not started yet. It never waits: this process has other
/// channels to serve. What is missing or cannot be shown is not missed.
pub(super) fn show(terminal: &Path, home: &Path) {
    if home.join(HUSH).exists() {
        return;
    }
    let mut text = Vec::new();
    let read = File::open(FILE).and_then(|file| file.take(MAX_MOTD).read_to_end(&mut text));
    // The terminal's other descriptors are to be waited for as ever: this is one of its own.
    let flags = libc::O_NOCTTY | libc::O_NONBLOCK;
    let opened = OpenOptions::new()
        .write(true)
        .custom_flags(flags)
        .open(terminal);
    if let (Ok(_), Ok(mut terminal)) = (read, opened) {
        let _shown = terminal.write_all(&text);
    }
}
