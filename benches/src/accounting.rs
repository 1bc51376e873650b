//! What a server has cost: processor time of all its processes, those that have ended included,
//! and the memory that is theirs.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use nix::unistd::{SysconfVar, sysconf};

/// Where control groups (version 2) are found: alone, or beside version 1.
const GROUPS: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];
/// The file of the processes of a group.
pub(crate) const MEMBERS: &str = "cgroup.procs";

/// The file of a group's share of real time (sched(7)), in microseconds of each second.
const REAL_TIME: &str = "cpu.rt_runtime_us";
const NAME: &str = "bastion-benches-";

/// A control group: for a server, and another for the programs that its users run.
pub(crate) struct Group {
    folder: PathBuf,
}

impl Group {
    /// None where this account may not make one.
    pub(crate) fn new(name: &str) -> Option<Self> {
        let root = GROUPS
            .iter()
            .map(Path::new)
            .find(|root| root.join("cgroup.controllers").exists())?;
        Self::under(root, name)
    }

    /// In this hierarchy.
    pub(crate) fn under(root: &Path, name: &str) -> Option<Self> {
        let folder = root.join(format!("{NAME}{}-{name}", std::process::id()));
        fs::create_dir(&folder).ok()?;
        Some(Self { folder })
    }

    /// Removes what runs that were killed have left here: what has members stays.
    pub(crate) fn remove_left_behind(root: &Path) {
        for entry in fs::read_dir(root).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with(NAME) {
                let _in_use = fs::remove_dir(entry.path());
            }
        }
    }

    /// The file that a process's number is written to for the process to be counted here.
    pub(crate) fn members(&self) -> PathBuf {
        self.folder.join(MEMBERS)
    }

    /// Has a group without real time of its own get 0.4 s of each second, where that is shared out.
    pub(crate) fn permit_real_time(&self) {
        let _not_shared_out = fs::write(self.folder.join(REAL_TIME), "400000");
    }

    /// Gives it back: the kernel counts it for a while after the group is gone.
    pub(crate) fn give_up_real_time(&self) {
        let _had_none = fs::write(self.folder.join(REAL_TIME), "0");
    }

    /// User and system time of all that were ever in the group.
    pub(crate) fn cpu(&self) -> anyhow::Result<Duration> {
        let text = fs::read_to_string(self.folder.join("cpu.stat"))?;
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("usage_usec "));
        Ok(Duration::from_micros(
            line.context("no usage_usec in cpu.stat")?.parse()?,
        ))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Its members may take a moment to be gone; an empty group that stays does no harm.
        for _ in 0..50 {
            if fs::remove_dir(&self.folder).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// As [`Group::cpu`], without control groups: every process's own time and that of the children
/// that it has waited for, to a hundredth of a second each.
pub(crate) fn cpu_of_tree(root: u32) -> anyhow::Result<Duration> {
    let ticks: u64 = tree(root).into_iter().filter_map(cpu_ticks).sum();
    let per_second = sysconf(SysconfVar::CLK_TCK)?.unwrap_or(100);
    Ok(Duration::from_secs_f64(ticks as f64 / per_second as f64))
}

/// Fields 14 to 17 of proc_pid_stat(5): utime, stime, cutime, cstime.
fn cpu_ticks(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = text.rsplit_once(')')?;
    fields
        .split_whitespace()
        .skip(11)
        .take(4)
        .map(|field| field.parse::<u64>().ok())
        .sum()
}

/// Proportional set size, in bytes, of those processes of a tree that run this file. Root's eyes
/// are needed for processes that forbid dumps, as bastion's do.
pub(crate) fn memory_of_tree(root: u32, file: &Path) -> anyhow::Result<u64> {
    let file = file.canonicalize()?;
    let runs_it =
        |pid: &u32| fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe == file);
    tree(root)
        .into_iter()
        .filter(runs_it)
        .map(proportional_set_size)
        .sum()
}

fn proportional_set_size(pid: u32) -> anyhow::Result<u64> {
    let text = match fs::read_to_string(format!("/proc/{pid}/smaps_rollup")) {
        Ok(text) => text,
        // It ended just now.
        Err(error) if error.raw_os_error() == Some(nix::libc::ESRCH) => return Ok(0),
        Err(error) => return Err(error.into()),
    };
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
    let kilobytes = line
        .and_then(|line| line.trim().strip_suffix(" kB"))
        .context("no Pss")?;
    Ok(kilobytes.parse::<u64>()? * 1024)
}

/// A process and all its descendants.
fn tree(root: u32) -> Vec<u32> {
    let mut parents = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<u32>().ok())
        else {
            continue;
        };
        let Ok(text) = fs::read_to_string(entry.path().join("stat")) else {
            continue;
        };
        let parent = text
            .rsplit_once(')')
            .and_then(|(_, fields)| fields.split_whitespace().nth(1)?.parse().ok());
        parents.extend(parent.map(|parent: u32| (pid, parent)));
    }
    let mut found = vec![root];
    let mut at = 0;
    while let Some(&parent) = found.get(at) {
        found.extend(
            parents
                .iter()
                .filter(|&&(_, of)| of == parent)
                .map(|&(pid, _)| pid),
        );
        at += 1;
    }
    found
}
