//! `/etc/environment`, which sshd's users have from pam_env(8): variables of every login.

use std::fs::File;
use std::io::Read;

const FILE: &str = "/etc/environment";
/// More than this is not read.
const MAX_FILE: u64 = 64 * 1024;

/// What the file sets; nothing where it cannot be read.
pub(super) fn read() -> Vec<(String, String)> {
    let mut bytes = Vec::new();
    match File::open(FILE).and_then(|file| file.take(MAX_FILE).read_to_end(&mut bytes)) {
        Ok(_) => parse(&String::from_utf8_lossy(&bytes)),
        Err(_) => Vec::new(),
    }
}

/// As pam_env reads it: `KEY=VALUE` lines, `export` before them or not, comments from `#` to the
/// line's end, quotes around a value removed. There is no expansion and no escaping.
fn parse(text: &str) -> Vec<(String, String)> {
    text.lines().filter_map(variable).collect()
}

fn variable(line: &str) -> Option<(String, String)> {
    let line = line.split('#').next()?.trim();
    let line = line.strip_prefix("export ").unwrap_or(line);
    let (name, value) = line.split_once('=')?;
    let ordinary = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    if name.is_empty() || !name.bytes().all(ordinary) || value.contains('\0') {
        return None;
    }
    let quotes = ['"', '\''];
    let value = match value.strip_prefix(quotes) {
        Some(rest) => rest.strip_suffix(quotes).unwrap_or(rest),
        None => value,
    };
    Some((name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_pam_env_reads_it() {
        let text = "# comment\n\n  A=1\nexport B=\"two words\"\nC='x' # why\nD=a=b\nE=\n\
                    F=\"half\nG='it's'\nnot-a-name=1\n=2\nno value\nH = 3\n";
        let read = parse(text);
        let read: Vec<_> = read
            .iter()
            .map(|(name, value)| (&name[..], &value[..]))
            .collect();
        let expected = [
            ("A", "1"),
            ("B", "two words"),
            ("C", "x"),
            ("D", "a=b"),
            ("E", ""),
            ("F", "half"),
            ("G", "it's"),
        ];
        assert_eq!(read, expected);
    }
}
