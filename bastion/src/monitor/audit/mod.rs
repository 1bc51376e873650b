//! The audit log: every decision and every event of a session, one line each on standard output.
//!
//! What is written holds no secret: no private key, no signature, no command line, no value of a
//! variable. Texts that came from elsewhere are bounded and, as JSON, escaped.

mod event;

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, SystemTime};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde_json::Value;

use super::MonitorError;
use crate::config::LogFormat;
pub(super) use event::describe;
pub use event::{End, Event, Login};

/// How much of texts and lists is written down.
struct Room {
    /// The longest text in a field, in characters.
    text: usize,
    /// The longest list, and the longest text in it.
    items: usize,
    item: usize,
}

/// The first with which a line is no longer than [`libc::PIPE_BUF`]. The last is enough for any, with each
/// character written as six.
const ROOMS: [Room; 3] = [
    Room {
        text: 1024,
        items: 1024,
        item: 1024,
    },
    Room {
        text: 512,
        items: 24,
        item: 64,
    },
    Room {
        text: 80,
        items: 6,
        item: 51,
    },
];
/// How long whoever reads the log may leave it unread.
const PATIENCE: Duration = Duration::from_secs(30);

/// The log at standard output.
pub(super) struct AuditLog {
    format: LogFormat,
}

impl AuditLog {
    pub(super) fn new(format: LogFormat) -> Self {
        Self { format }
    }

    pub(super) fn set_format(&mut self, format: LogFormat) {
        self.format = format;
    }

    /// Writes an event down. What cannot be written down must not happen: an error ends bastion.
    pub(super) fn record(&mut self, event: &Event) -> Result<(), MonitorError> {
        let line = self.line(event, SystemTime::now());
        write_all(io::stdout().as_fd(), line.as_bytes()).map_err(MonitorError::Audit)
    }

    /// A line goes out in one piece: in the container others write to the same pipe, and what they write
    /// between two pieces would begin a line that is not marked as theirs.
    fn line(&self, event: &Event, time: SystemTime) -> String {
        let mut line = String::new();
        for room in &ROOMS {
            line = self.line_within(room, event, time);
            if line.len() <= libc::PIPE_BUF {
                break;
            }
        }
        line
    }

    fn line_within(&self, room: &Room, event: &Event, time: SystemTime) -> String {
        let time = humantime::format_rfc3339_millis(time).to_string();
        let mut fields = match serde_json::to_value(event) {
            Ok(Value::Object(fields)) => fields,
            // Not reached: every event is an object of plain fields.
            _ => serde_json::Map::new(),
        };
        let shorten = |value| shorten(value, room, room.text);
        fields.values_mut().for_each(shorten);
        match self.format {
            LogFormat::Json => {
                let mut line =
                    serde_json::Map::from_iter([("time".to_owned(), Value::String(time))]);
                line.append(&mut fields);
                format!("{}\n", Value::Object(line))
            }
            LogFormat::Text => {
                let event = fields.remove("event").unwrap_or_default();
                let name = event.as_str().unwrap_or_default().replace('_', " ");
                let rest: String = fields
                    .iter()
                    .map(|(name, value)| format!(" {name}={}", for_people(value)))
                    .collect();
                format!("{time} {name}{rest}\n")
            }
        }
    }
}

/// Writes what a pipe takes without waiting, piece by piece (pipe(7), PIPE_BUF): a reader who has
/// stopped must not stop us.
fn write_all(out: BorrowedFd<'_>, mut bytes: &[u8]) -> io::Result<()> {
    let limit = PollTimeout::try_from(PATIENCE).unwrap_or(PollTimeout::MAX);
    while !bytes.is_empty() {
        match poll(&mut [PollFd::new(out, PollFlags::POLLOUT)], limit) {
            Ok(0) => {
                let why = format!("nobody has read it for {} s", PATIENCE.as_secs());
                return Err(io::Error::new(io::ErrorKind::TimedOut, why));
            }
            Ok(_) => {}
            Err(Errno::EINTR) => continue,
            Err(error) => return Err(error.into()),
        }
        let (piece, _) = bytes.split_at(bytes.len().min(libc::PIPE_BUF));
        match nix::unistd::write(out, piece) {
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
            Err(Errno::EINTR | Errno::EAGAIN) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn for_people(value: &Value) -> String {
    match value.as_str() {
        Some(text)
            if !text.is_empty()
                && !text.contains(|c: char| c.is_whitespace() || c.is_control() || c == '"') =>
        {
            text.to_owned()
        }
        _ => value.to_string(),
    }
}

/// Cuts texts that are too long, at any depth.
fn shorten(value: &mut Value, room: &Room, longest: usize) {
    match value {
        Value::String(text) => {
            if let Some((at, _)) = text.char_indices().nth(longest) {
                text.truncate(at);
                text.push('…');
            }
            if text.contains(steers_a_terminal) {
                *text = text
                    .chars()
                    .map(|c| if steers_a_terminal(c) { '\u{fffd}' } else { c })
                    .collect();
            }
        }
        Value::Array(items) => {
            let cut = items.len() > room.items;
            items.truncate(room.items);
            items
                .iter_mut()
                .for_each(|item| shorten(item, room, room.item));
            if cut {
                items.push("…".into());
            }
        }
        Value::Object(fields) => fields
            .values_mut()
            .for_each(|field| shorten(field, room, longest)),
        _ => {}
    }
}

/// What a terminal would obey, or show in another order, if somebody looks at the log. JSON escapes
/// none of these.
fn steers_a_terminal(character: char) -> bool {
    matches!(
        character,
        '\u{7f}'..='\u{9f}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    )
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;
    use crate::ipc::{ConnectionId, RefusalRecord};

    fn line(format: LogFormat, event: &Event) -> String {
        AuditLog::new(format).line(event, UNIX_EPOCH)
    }

    #[test]
    fn a_line_is_one_json_object_whatever_a_stranger_says() {
        let login_name = "a\nb\"\u{1b}[31m".to_owned();
        let refusal = RefusalRecord {
            code: "x".into(),
            detail: "y".repeat(5000),
            certificate: None,
        };
        let event = Event::refused_by_gate(ConnectionId(7), login_name, refusal);
        let line = line(LogFormat::Json, &event);
        assert_eq!(line.matches('\n').count(), 1);
        let value: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["event"], "login");
        assert_eq!(value["verdict"], "refused");
        assert_eq!(value["connection"], 7);
        assert!(value["reason"]["detail"].as_str().unwrap().chars().count() <= 1025);
    }

    /// What a stranger's certificate says is written down, too, and each of its characters may be six.
    #[test]
    fn a_line_is_one_piece_whatever_a_stranger_says() {
        let worst = "\u{1}".repeat(1024);
        let certificate = crate::ipc::CertificateRecord {
            ca: format!("SHA256:{}", "x".repeat(43)),
            key: format!("SHA256:{}", "y".repeat(43)),
            key_id: worst.clone(),
            serial: u64::MAX,
            principals: vec![worst.clone(); 16],
        };
        let refusal = RefusalRecord {
            code: "unknown_critical_option".into(),
            detail: worst.clone(),
            certificate: Some(certificate),
        };
        let event = Event::refused_by_gate(ConnectionId(u64::MAX), worst, refusal);
        for format in [LogFormat::Json, LogFormat::Text] {
            let line = line(format, &event);
            assert!(line.len() <= libc::PIPE_BUF, "{}", line.len());
            assert!(line.contains(&"x".repeat(43)) && line.contains(&"y".repeat(43)));
        }
    }

    #[test]
    fn text_is_for_people_and_still_one_line() {
        let how = "it was killed\nby SIGKILL".to_owned();
        let line = line(LogFormat::Text, &Event::GateEnded { how });
        assert_eq!(
            line,
            "1970-01-01T00:00:00.000Z gate ended how=\"it was killed\\nby SIGKILL\"\n"
        );
    }

    /// The events with their fields, as they are declared.
    fn declared() -> Vec<(String, Vec<String>)> {
        let source = include_str!("event.rs");
        let (_, declared) = source.split_once("pub enum Event {\n").unwrap();
        let (declared, _) = declared.split_once("\n}\n").unwrap();
        let mut events: Vec<(String, Vec<String>)> = Vec::new();
        for line in declared.lines() {
            let word: String = line
                .trim_start()
                .chars()
                .take_while(|&c| c.is_alphanumeric() || c == '_')
                .collect();
            match (line.strip_prefix("        "), word.is_empty()) {
                (_, true) => {}
                (Some(_), false) => events.last_mut().unwrap().1.push(word),
                (None, false) => events.push((snake_case(&word), Vec::new())),
            }
        }
        events
    }

    fn snake_case(variant: &str) -> String {
        let snake = |c: char| match c.is_uppercase() {
            true => format!("_{}", c.to_lowercase()),
            false => c.to_string(),
        };
        let name: String = variant.chars().map(snake).collect();
        name.trim_start_matches('_').to_owned()
    }

    #[test]
    fn every_event_is_in_the_readme_with_its_fields() {
        let readme = include_str!("../../../README.md");
        let (_, table) = readme.split_once("## Events").unwrap();
        let (table, _) = table.split_once("## Reasons").unwrap();
        let mut rows: Vec<_> = table
            .lines()
            .filter_map(|line| line.strip_prefix("| `")?.split_once('`'))
            .collect();
        for (event, fields) in declared() {
            let at = rows.iter().position(|(name, _)| *name == event);
            let (_, row) = rows.swap_remove(at.unwrap_or_else(|| panic!("{event} is missing")));
            // How a program ended is one of two.
            let end = ["status", "signal", "core_dumped"].map(str::to_owned);
            let of_program = fields.iter().any(|field| field == "end");
            let more = end.iter().filter(|_| of_program);
            for field in fields.iter().filter(|field| *field != "end").chain(more) {
                assert!(row.contains(&format!("`{field}`")), "{event}: {field}");
            }
        }
        assert!(rows.is_empty(), "there is no such event: {rows:?}");
    }

    #[test]
    fn every_reason_is_in_the_readme() {
        let readme = include_str!("../../../README.md");
        let (_, table) = readme.split_once("## Reasons").unwrap();
        let codes = [
            include_str!("../../policy/refusal.rs"),
            include_str!("../grants.rs"),
        ];
        let codes = codes.iter().flat_map(|source| {
            let (_, function) = source.split_once("fn code(&self)").unwrap();
            let (function, _) = function.split_once("\n    }\n").unwrap();
            function.split('"').skip(1).step_by(2)
        });
        let codes: Vec<_> = codes.collect();
        assert!(codes.len() > 20, "{codes:?}");
        for code in codes {
            assert!(table.contains(&format!("`{code}`")), "{code}");
        }
    }

    #[test]
    fn all_that_a_login_says_is_in_the_readme() {
        let certificate = crate::ipc::CertificateRecord {
            ca: String::new(),
            key: String::new(),
            key_id: String::new(),
            serial: 1,
            principals: Vec::new(),
        };
        let refusal = RefusalRecord {
            code: String::new(),
            detail: String::new(),
            certificate: Some(certificate),
        };
        let event = Event::refused_by_gate(ConnectionId(7), String::new(), refusal);
        let Value::Object(said) = serde_json::to_value(event).unwrap() else {
            panic!("no object");
        };
        let readme = include_str!("../../../README.md");
        let row = readme.lines().find(|line| line.starts_with("| `login`"));
        for field in said.keys().filter(|field| *field != "event") {
            assert!(row.unwrap().contains(&format!("`{field}`")), "{field}");
        }
    }
}
