//! What everybody reads before the login (RFC 4252 §5.4), from the file that `banner` names.

use std::path::Path;

use crate::sys::files;

/// What a message to the gate holds, with room for the rest.
const MAX_BANNER: u64 = 100 * 1024;

/// The file's text, as it is. The error is for the log.
pub(super) fn read(file: &Path) -> Result<String, String> {
    let bytes = files::read_public(file, MAX_BANNER).map_err(|error| error.to_string())?;
    String::from_utf8(bytes).map_err(|_| "it is not UTF-8 text".into())
}
