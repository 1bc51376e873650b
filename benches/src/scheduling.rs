//! Who waits for a processor: what a measure of waiting must not leave to the machine.

use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use crate::accounting::{Group, MEMBERS};

/// Where version 1's control groups share out the processors.
const SHARES: &str = "/sys/fs/cgroup/cpu";

static MAY_GO_AHEAD: OnceLock<bool> = OnceLock::new();

/// One group for this program and all that it starts, as a container is one. Outside of any, each
/// login at sshd would have a share of the processors of its own, as large as that of bastion
/// altogether (sched(7), autogroup).
pub(crate) struct OneGroup(Option<Group>);

impl OneGroup {
    /// Where this account may. With version 2 of control groups it is so already, unless the root
    /// group shares out processors: then each server has a share, and the clients have one.
    pub(crate) fn enter() -> Self {
        // They would keep their share of real time.
        Group::remove_left_behind(Path::new(SHARES));
        let group = Group::under(Path::new(SHARES), "all");
        Self(group.filter(|group| {
            group.permit_real_time();
            join(&group.members()).is_ok()
        }))
    }
}

impl Drop for OneGroup {
    fn drop(&mut self) {
        if let Some(group) = &self.0 {
            // The next run removes one that stays.
            let _stays = join(&Path::new(SHARES).join(MEMBERS));
            group.give_up_real_time();
        }
    }
}

fn join(members: &Path) -> io::Result<()> {
    fs::write(members, std::process::id().to_string())
}

/// A command of this program, in front of all that wait for a processor where this account may say
/// so: what is left of the time is the server's.
pub(crate) fn ahead_of_all(program: &Path) -> Command {
    match may_go_ahead() {
        true => ahead(program),
        false => Command::new(program),
    }
}

/// Whether it may: the same answer for all of a run.
fn may_go_ahead() -> bool {
    *MAY_GO_AHEAD.get_or_init(|| {
        let tried = ahead("true".as_ref()).stderr(Stdio::null()).status();
        let may = tried.is_ok_and(|status| status.success());
        if !may {
            eprintln!("  the client waits for a processor like everybody: chrt --fifo failed");
        }
        may
    })
}

/// For the table: how keys were pressed, if any were.
pub(crate) fn describe() -> &'static str {
    match MAY_GO_AHEAD.get() {
        None => "",
        Some(true) => "; keys are pressed ahead of all that wait for a processor",
        Some(false) => "; who presses keys waits for a processor like the servers",
    }
}

fn ahead(program: &Path) -> Command {
    let mut command = Command::new("chrt");
    command.args(["--fifo", "1"]).arg(program);
    command
}
