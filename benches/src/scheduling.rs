//! Who waits for a processor: what a measure of waiting must not leave to the machine.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where version 1's control groups share out the processors.
const SHARES: &str = "/sys/fs/cgroup/cpu";

/// One group for this program and all that it starts, as a container is one. Outside of any, each
/// login at sshd would have a share of the processors of its own, as large as that of bastion
/// altogether (sched(7), autogroup).
pub(crate) struct OneGroup(Option<PathBuf>);

impl OneGroup {
    /// Where this account may; with version 2 of control groups it is so already.
    pub(crate) fn enter() -> Self {
        let folder = PathBuf::from(SHARES).join(format!("bastion-benches-{}", std::process::id()));
        let entered = fs::create_dir(&folder).and_then(|()| {
            // Where real time is shared out, too, a group has none until it is given some.
            let _not_shared_out = fs::write(folder.join("cpu.rt_runtime_us"), "500000");
            join(&folder)
        });
        Self(entered.ok().map(|()| folder))
    }
}

impl Drop for OneGroup {
    fn drop(&mut self) {
        if let Some(folder) = &self.0 {
            // An empty group that stays does no harm.
            let _stays = join(SHARES.as_ref()).and_then(|()| fs::remove_dir(folder));
        }
    }
}

fn join(folder: &Path) -> io::Result<()> {
    fs::write(folder.join("cgroup.procs"), std::process::id().to_string())
}

/// A command of this program, in front of all that wait for a processor where this account may say
/// so: what is left of the time is the server's.
pub(crate) fn ahead_of_all(program: &Path) -> Command {
    let ahead = |program: &Path| {
        let mut command = Command::new("chrt");
        command.args(["--fifo", "1"]).arg(program);
        command
    };
    let tried = ahead("true".as_ref()).stderr(Stdio::null()).status();
    match tried.is_ok_and(|status| status.success()) {
        true => ahead(program),
        false => {
            eprintln!("  the client waits for a processor like everybody: chrt --fifo is refused");
            Command::new(program)
        }
    }
}
