//! The machine and the versions that figures are of.

use std::fs;
use std::process::Command;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::scheduling;
use crate::server;
use crate::subject::Bench;

/// What thousands of sessions in one process take.
const DESCRIPTORS: u64 = 64 * 1024;

/// Lets servers and clients have more descriptors: all that this account may.
pub(crate) fn raise_descriptor_limit() {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or_default();
    let _as_it_is = setrlimit(Resource::RLIMIT_NOFILE, DESCRIPTORS, DESCRIPTORS)
        .or_else(|_refused| setrlimit(Resource::RLIMIT_NOFILE, most, most));
}

/// How many terminals a server can hold open with the descriptors that it may have: four each, in
/// bastion's process for the network, and some more.
pub(crate) fn terminals_possible() -> usize {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or_default();
    usize::try_from(most.saturating_sub(1000) / 4).unwrap_or(usize::MAX)
}

pub(crate) fn describe(bench: &Bench) -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let processor =
        field("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown processor".into());
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or_default();
    let memory = field("/proc/meminfo", "MemTotal").unwrap_or_default();
    let sshd = match bench.with_sshd() {
        true => first_line(Command::new("ssh").arg("-V")),
        false => "no sshd".into(),
    };
    let bastion = first_line(Command::new(&bench.bastion).arg("--version"));
    let build = if server::is_release_build() {
        "release build"
    } else {
        "debug build, figures mean nothing"
    };
    format!(
        "{processor}, {cores} cores, {memory}; Linux {}; load {load} at the end; {bastion} ({build}); {sshd}; as {}; CPU time by {}{}.\n",
        kernel.trim(),
        bench.fixture.login,
        if bench.has_groups() {
            "control group"
        } else {
            "/proc, in hundredths of a second"
        },
        scheduling::describe(),
    )
}

fn field(file: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn first_line(command: &mut Command) -> String {
    let Ok(output) = command.output() else {
        return "unknown version".into();
    };
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&text)
        .lines()
        .next()
        .unwrap_or_default()
        .to_owned()
}
