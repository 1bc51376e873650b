//! Where the running server listens: in a file of its own, for the configuration may have changed since
//! it began, or be unusable by now.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::sys::files;

/// In the state folder.
const FILE: &str = "listening";
/// The longest file that is read, in bytes.
const MAX_LENGTH: u64 = 4096;

/// Writes down where the server listens, an address a line.
///
/// # Errors
/// What the system says. A folder that cannot be written to is no harm: then the configuration is asked.
pub fn write_down(state_dir: &Path, addresses: &[SocketAddr]) -> io::Result<()> {
    let (file, new) = (state_dir.join(FILE), state_dir.join("listening.new"));
    // What an earlier server wrote is not true of this one.
    let _none = std::fs::remove_file(&file);
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o644);
    let mut writer = options.open(&new)?;
    for address in addresses {
        writeln!(writer, "{address}")?;
    }
    std::fs::rename(new, file)
}

/// The first address that was written down, if that can be read.
pub fn first(state_dir: &Path) -> Option<SocketAddr> {
    let bytes = files::read_relied_on(&state_dir.join(FILE), MAX_LENGTH).ok()?;
    String::from_utf8(bytes).ok()?.lines().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_down_is_read() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(first(folder.path()), None);
        let addresses = ["127.0.0.1:22", "[::1]:2222"].map(|address| address.parse().unwrap());
        write_down(folder.path(), &addresses).unwrap();
        write_down(folder.path(), &addresses).unwrap();
        assert_eq!(first(folder.path()), Some(addresses[0]));
    }
}
