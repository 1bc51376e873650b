//! What everybody reads before the login (RFC 4252 §5.4), from the file that `banner` names.

use std::fs::File;
use std::io::Read;
use std::path::Path;

/// What a message to the gate holds, with room for the rest.
const MAX_BANNER: u64 = 120 * 1024;

/// The file's text, as it is. The error is for the log.
pub(super) fn read(file: &Path) -> Result<String, String> {
    let mut bytes = Vec::new();
    File::open(file)
        .and_then(|file| file.take(MAX_BANNER + 1).read_to_end(&mut bytes))
        .map_err(|error| error.to_string())?;
    if bytes.len() as u64 > MAX_BANNER {
        return Err(format!("it has more than {MAX_BANNER} bytes"));
    }
    String::from_utf8(bytes).map_err(|_| "it is not UTF-8 text".into())
}
