//! What a client says about its programs, without a program, for `fuzz/`: compiled with
//! `--cfg fuzzing` alone.

use std::ffi::OsString;
use std::path::Path;

use nix::sys::termios::Termios;

use super::{environment, terminal};
use crate::ipc::SessionSetup;

/// A program's environment.
#[must_use]
pub fn environment(
    setup: &SessionSetup,
    client: &[(String, String)],
    term: Option<&str>,
) -> Vec<(OsString, OsString)> {
    let terminal = term.map(|term| (term, Path::new("/dev/pts/0")));
    environment::for_program(setup, &[], client, None, terminal)
}

/// Sets a terminal's modes.
pub fn modes(modes: &mut Termios, requested: &[(u8, u32)]) {
    terminal::apply(modes, requested);
}
