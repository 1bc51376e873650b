//! Who waits for a processor: what a measure of waiting must not leave to the machine.

use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::accounting::{Group, MEMBERS};

/// Where version 1's control groups share out the processors.
const SHARES: &str = "/sys/fs/cgroup/cpu";

/// One group for this program and all that it starts, as a container is one. Outside of any, each
/// login at sshd would have a share of the processors of its own, as large as that of bastion
/// altogether (sched(7), autogroup).
pub(crate) struct OneGroup(Option<Group>);

impl OneGroup {
    /// Where this account may; with version 2 of control groups it is so already.
    pub(crate) fn enter() -> Self {
        let group = Group::under(Path::new(SHARES), "all");
        Self(group.filter(|group| {
            group.permit_real_time();
            join(&group.members()).is_ok()
        }))
    }
}

impl Drop for OneGroup {
    fn drop(&mut self) {
        if self.0.is_some() {
            // A group that stays does no harm.
            let _stays = join(&Path::new(SHARES).join(MEMBERS));
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

/// Whether it may.
pub(crate) fn may_go_ahead() -> bool {
    let tried = ahead("true".as_ref()).stderr(Stdio::null()).status();
    tried.is_ok_and(|status| status.success())
}

fn ahead(program: &Path) -> Command {
    let mut command = Command::new("chrt");
    command.args(["--fifo", "1"]).arg(program);
    command
}
