//! `internal-sftp` and its options, as sshd_config(5) and sftp-server(8) have them.

use std::path::PathBuf;

use clap::Parser;
use nix::unistd::User;

use super::permitted::NAMES;

/// Options of `internal-sftp`. One that is not known is an error: it may be there to forbid
/// something.
#[derive(Clone, Debug, Default, PartialEq, Eq, Parser)]
#[command(
    name = "internal-sftp",
    no_binary_name = true,
    disable_help_flag = true
)]
pub struct Options {
    /// Change nothing
    #[arg(short = 'R')]
    pub(super) read_only: bool,
    /// Requests that are refused
    #[arg(short = 'P', value_name = "REQUESTS", value_delimiter = ',', value_parser = NAMES)]
    pub(super) denied: Vec<String>,
    /// The only requests that are not
    #[arg(short = 'p', value_name = "REQUESTS", value_delimiter = ',', value_parser = NAMES)]
    pub(super) allowed: Vec<String>,
    /// The umask of files and folders that are made, in octal
    #[arg(short = 'u', value_name = "UMASK", value_parser = umask)]
    pub(super) umask: Option<u32>,
    /// The folder to start in, in place of the home folder: `~`, `%d` (the home folder), `%u` (the
    /// account), `%U` (its number) and `%%` stand for what they do in sftp-server
    #[arg(short = 'd', value_name = "DIR", value_parser = StartFolder::parse)]
    pub(super) start_folder: Option<StartFolder>,
    /// sftp-server's options for its own log, which this server does not have: taken, without
    /// effect, because they are in most configurations
    #[arg(short = 'f', value_name = "FACILITY")]
    log_facility: Option<String>,
    #[arg(short = 'l', value_name = "LEVEL")]
    log_level: Option<String>,
    #[arg(short = 'e')]
    log_to_stderr: bool,
}

/// A folder that is named for all accounts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StartFolder(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Itself(char),
    Home,
    Name,
    Number,
}

impl StartFolder {
    fn parse(text: &str) -> Result<Self, String> {
        let (mut pieces, mut rest) = (Vec::new(), text.chars());
        if text == "~" || text.starts_with("~/") {
            rest.next();
            pieces.push(Piece::Home);
        }
        while let Some(character) = rest.next() {
            pieces.push(match (character, (character == '%').then(|| rest.next())) {
                (other, None) => Piece::Itself(other),
                (_, Some(Some('%'))) => Piece::Itself('%'),
                (_, Some(Some('d'))) => Piece::Home,
                (_, Some(Some('u'))) => Piece::Name,
                (_, Some(Some('U'))) => Piece::Number,
                _ => return Err("only %d, %u, %U and %% stand for something".into()),
            });
        }
        Ok(Self(pieces))
    }

    /// What it is for an account.
    pub(super) fn of(&self, account: &User) -> PathBuf {
        let home = account.dir.to_string_lossy();
        self.expand(&home, &account.name, account.uid.as_raw())
            .into()
    }

    fn expand(&self, home: &str, name: &str, number: u32) -> String {
        let mut expanded = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Itself(character) => expanded.push(*character),
                Piece::Home => expanded.push_str(home),
                Piece::Name => expanded.push_str(name),
                Piece::Number => expanded.push_str(&number.to_string()),
            }
        }
        expanded
    }
}

/// The words after `internal-sftp`, if a command is that: it is split at blanks, and no shell sees
/// it. There are no quotes.
pub fn internal_sftp(command: &str) -> Option<Vec<&str>> {
    let mut words = command.split_ascii_whitespace();
    (words.next() == Some("internal-sftp")).then(|| words.collect())
}

fn umask(text: &str) -> Result<u32, String> {
    match u32::from_str_radix(text, 8) {
        Ok(umask @ 0..=0o777) => Ok(umask),
        _ => Err("give three octal digits, such as 027".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_word_itself_is_internal_sftp() {
        assert_eq!(internal_sftp("internal-sftp"), Some(vec![]));
        assert_eq!(
            internal_sftp("internal-sftp -R  -u 027"),
            Some(vec!["-R", "-u", "027"])
        );
        assert_eq!(internal_sftp("internal-sftp2"), None);
        assert_eq!(internal_sftp("/usr/lib/openssh/sftp-server"), None);
        assert_eq!(internal_sftp(""), None);
    }

    #[test]
    fn options_are_those_of_sftp_server() {
        let parse = |words: &[&str]| Options::try_parse_from(words.iter().copied()).unwrap();
        let options = parse(&["-l", "INFO", "-f", "AUTH", "-e", "-R", "-u", "027"]);
        assert!(options.read_only);
        assert_eq!(options.umask, Some(0o027));
        assert_eq!(parse(&[]), Options::default());
    }

    #[test]
    fn the_folder_to_start_in_is_each_accounts() {
        for (text, expanded) in [
            ("/srv", "/srv"),
            ("~", "/home/a"),
            ("~/up", "/home/a/up"),
            ("%d/up/%u/%U/100%%", "/home/a/up/a/7/100%"),
            ("~b", "~b"),
            ("a/~", "a/~"),
        ] {
            let folder = StartFolder::parse(text).unwrap();
            assert_eq!(folder.expand("/home/a", "a", 7), expanded);
        }
        assert!(StartFolder::parse("%h").is_err());
        assert!(StartFolder::parse("100%").is_err());
    }

    #[test]
    fn an_option_that_is_not_known_is_refused() {
        for words in [
            &["-P", "vanish"][..],
            &["-Q", "requests"],
            &["-u", "8"],
            &["-u", "1777"],
            &["-u"],
            &["stray"],
        ] {
            assert!(
                Options::try_parse_from(words.iter().copied()).is_err(),
                "{words:?}"
            );
        }
    }
}
