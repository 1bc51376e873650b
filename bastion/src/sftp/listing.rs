//! Folders as they are listed: entries, and the long names that `ls -l` shows.

use std::collections::HashMap;
use std::fs::{Metadata, ReadDir, read_dir, symlink_metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::sys::stat::SFlag;
use nix::unistd::{Gid, Group, Uid, User};

use super::Attributes;
use super::reply::Name;
use crate::sys::clock;

/// The most entries in one reply, as in sftp-server: some clients take no packet of much more than
/// 32 KiB.
const ENTRIES: usize = 100;
/// Half a year: after that `ls` shows the year in place of the time of day.
const RECENT: i64 = 365 * 24 * 60 * 60 / 2;

/// An open folder, and how far it has been read.
pub(super) struct Folder {
    path: PathBuf,
    /// `.` and `..`, which the standard library leaves out.
    dots: std::array::IntoIter<&'static str, 2>,
    entries: ReadDir,
    /// What went wrong after the entries that were handed out last.
    failed: Option<io::Error>,
}

impl Folder {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let entries = read_dir(path)?;
        Ok(Self {
            path: path.to_owned(),
            dots: [".", ".."].into_iter(),
            entries,
            failed: None,
        })
    }

    /// The next entries; none when there are no more.
    pub(super) fn next(&mut self, accounts: &mut AccountNames) -> io::Result<Vec<Name>> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        let now = i64::try_from(clock::epoch()).unwrap_or(i64::MAX);
        let mut names = Vec::new();
        while names.len() < ENTRIES {
            match self.next_entry() {
                None => break,
                Some(Ok((name, metadata))) => names.extend(listed(name, metadata, accounts, now)),
                Some(Err(error)) if names.is_empty() => return Err(error),
                Some(Err(error)) => {
                    self.failed = Some(error);
                    break;
                }
            }
        }
        Ok(names)
    }

    fn next_entry(&mut self) -> Option<io::Result<(Vec<u8>, io::Result<Metadata>)>> {
        if let Some(dots) = self.dots.next() {
            return Some(Ok((dots.into(), symlink_metadata(self.path.join(dots)))));
        }
        let entry = self.entries.next()?;
        Some(entry.map(|entry| (entry.file_name().as_bytes().to_owned(), entry.metadata())))
    }
}

/// An entry as it is sent. One that has gone meanwhile is left out. One that may not be looked at
/// is sent by its name alone, where sftp-server leaves it out and the folder seems empty.
fn listed(
    name: Vec<u8>,
    metadata: io::Result<Metadata>,
    accounts: &mut AccountNames,
    now: i64,
) -> Option<Name> {
    match metadata {
        Ok(metadata) => Some(Name {
            long_name: long_name(&name, &metadata, accounts, now),
            name,
            attributes: Attributes::from(&metadata),
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(_) => Some(Name::path(name)),
    }
}

/// As `ls -l` shows it, in the columns of sftp-server's `ls_file`.
fn long_name(name: &[u8], metadata: &Metadata, accounts: &mut AccountNames, now: i64) -> Vec<u8> {
    let mut line = format!(
        "{}  {:>3} {:<8} {:<8} {:>8} {} ",
        mode(metadata.mode()),
        metadata.nlink(),
        accounts.user_or_id(metadata.uid()),
        accounts.group_or_id(metadata.gid()),
        metadata.size(),
        time(metadata.mtime(), now),
    )
    .into_bytes();
    line.extend(name);
    line
}

/// Kind and permissions, as strmode(3) writes them.
fn mode(mode: u32) -> String {
    let kind = match SFlag::from_bits_truncate(mode) & SFlag::S_IFMT {
        SFlag::S_IFREG => '-',
        SFlag::S_IFDIR => 'd',
        SFlag::S_IFLNK => 'l',
        SFlag::S_IFCHR => 'c',
        SFlag::S_IFBLK => 'b',
        SFlag::S_IFSOCK => 's',
        SFlag::S_IFIFO => 'p',
        _ => '?',
    };
    let mut text = String::from(kind);
    for (shift, special, executable, not) in [
        (6, 0o4000, 's', 'S'),
        (3, 0o2000, 's', 'S'),
        (0, 0o1000, 't', 'T'),
    ] {
        let bits = mode >> shift;
        text.push(if bits & 4 != 0 { 'r' } else { '-' });
        text.push(if bits & 2 != 0 { 'w' } else { '-' });
        text.push(match (mode & special != 0, bits & 1 != 0) {
            (false, false) => '-',
            (false, true) => 'x',
            (true, false) => not,
            (true, true) => executable,
        });
    }
    text
}

fn time(seconds: i64, now: i64) -> String {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let Some(local) = clock::local_time(seconds) else {
        return String::new();
    };
    let month = MONTHS.get(local.month).unwrap_or(&"???");
    match now - RECENT < seconds && seconds <= now {
        true => format!(
            "{month} {:>2} {:02}:{:02}",
            local.day, local.hour, local.minute
        ),
        false => format!("{month} {:>2}  {}", local.day, local.year),
    }
}

/// So many names are remembered: a client may ask for one number after another.
const REMEMBERED: usize = 10_000;

/// Names of users and groups, each looked up once.
#[derive(Default)]
pub(super) struct AccountNames {
    users: HashMap<u32, Option<String>>,
    groups: HashMap<u32, Option<String>>,
}

impl AccountNames {
    /// The name of a user; `None` where there is none or the name service fails.
    pub(super) fn user(&mut self, uid: u32) -> Option<&str> {
        let look_up = || {
            User::from_uid(Uid::from_raw(uid))
                .ok()
                .flatten()
                .map(|user| user.name)
        };
        room(&mut self.users)
            .entry(uid)
            .or_insert_with(look_up)
            .as_deref()
    }

    /// The name of a group, likewise.
    pub(super) fn group(&mut self, gid: u32) -> Option<&str> {
        let look_up = || {
            Group::from_gid(Gid::from_raw(gid))
                .ok()
                .flatten()
                .map(|group| group.name)
        };
        room(&mut self.groups)
            .entry(gid)
            .or_insert_with(look_up)
            .as_deref()
    }

    fn user_or_id(&mut self, uid: u32) -> String {
        self.user(uid)
            .map_or_else(|| uid.to_string(), str::to_owned)
    }

    fn group_or_id(&mut self, gid: u32) -> String {
        self.group(gid)
            .map_or_else(|| gid.to_string(), str::to_owned)
    }
}

/// With room for one more.
fn room(names: &mut HashMap<u32, Option<String>>) -> &mut HashMap<u32, Option<String>> {
    if names.len() >= REMEMBERED {
        names.clear();
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_remembered_up_to_a_limit() {
        let mut names = HashMap::new();
        for number in 0..25_000 {
            room(&mut names).insert(number, None);
            assert!(names.len() <= REMEMBERED);
        }
    }

    #[test]
    fn modes_are_written_as_ls_writes_them() {
        for (bits, text) in [
            (0o100_644, "-rw-r--r--"),
            (0o040_755, "drwxr-xr-x"),
            (0o120_777, "lrwxrwxrwx"),
            (0o041_777, "drwxrwxrwt"),
            (0o104_755, "-rwsr-xr-x"),
            (0o106_644, "-rwSr-Sr--"),
            (0o041_776, "drwxrwxrwT"),
            (0o010_600, "prw-------"),
            (0o140_000, "s---------"),
            (0, "?---------"),
        ] {
            assert_eq!(mode(bits), text);
        }
    }

    #[test]
    fn old_times_show_the_year_and_recent_ones_the_hour() {
        let june = 1_718_452_800;
        assert!(
            time(june, june + 60).ends_with(":00"),
            "{}",
            time(june, june + 60)
        );
        for now in [june + RECENT, june - 1] {
            assert_eq!(time(june, now).get(6..), Some("  2024"), "{now}");
        }
    }
}
