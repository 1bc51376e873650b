//! Processes, and who we are among them.

use std::fs;
use std::process::{Command, Stdio};

use super::text;

/// The account that the tests run as.
pub(crate) fn account() -> String {
    let output = Command::new("id").arg("-un").output().expect("id");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Whether the tests run as the superuser.
pub(crate) fn as_root() -> bool {
    let output = Command::new("id").arg("-u").output().expect("id");
    output.stdout.starts_with(b"0")
}

pub(crate) fn signal(pid: u32, name: &str) {
    let _ = Command::new("kill")
        .args(["-s", name, &pid.to_string()])
        .stderr(Stdio::null())
        .status();
}

/// The children of a process.
pub(crate) fn children(pid: u32) -> Vec<u32> {
    processes()
        .into_iter()
        .filter(|&(_, parent)| parent == pid)
        .map(|(pid, _)| pid)
        .collect()
}

/// All processes with their parents.
pub(crate) fn processes() -> Vec<(u32, u32)> {
    let folders = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let pids = folders.filter_map(|folder| folder.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid| Some((pid, status_field(pid, "PPid")?.parse().ok()?)))
        .collect()
}

/// A field of /proc/PID/status.
pub(crate) fn status_field(pid: u32, name: &str) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let value = status
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    Some(value.trim().to_owned())
}

pub(crate) fn command_line(pid: u32) -> String {
    text(&fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default()).replace('\0', " ")
}

/// How many descriptors a process holds.
pub(crate) fn descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}

/// What a process has had of the processors, in milliseconds.
pub(crate) fn processor_time(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split(' ').collect();
    // Fields 14 and 15 of proc(5), in hundredths of a second.
    (fields[12].parse::<u64>().unwrap() + fields[13].parse::<u64>().unwrap()) * 10
}

/// Whether a process is there and no zombie.
pub(crate) fn is_alive(pid: u32) -> bool {
    status_field(pid, "State").is_some_and(|state| !state.starts_with('Z'))
}
