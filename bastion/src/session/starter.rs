//! The starter: a process that is started once and copies itself for each connection.
//!
//! A copy takes a fifth of the time and a third of the memory that starting the program anew does:
//! what the loader and the libraries prepare is there once for all sessions. The starter knows
//! nothing, and has nothing but its link to the monitor, which a copy closes first of all.

use caps::Capability;
use nix::poll::PollFlags;

use super::{SessionError, link, send, serve, system};
use crate::ipc::{FromStarter, Link, LinkError, ToStarter};
use crate::sys::{process, spawn};

type MonitorLink = Link<FromStarter, ToStarter>;

/// Starts sessions until the monitor goes; in a copy, serves one connection until it ends. Run
/// with the link to the monitor inherited, in a process of one thread.
pub fn run() -> Result<(), SessionError> {
    process::set_name(c"bastion-starter");
    process::forbid_dump().map_err(system("forbid dumps"))?;
    // By execve root got all of them back; these it takes to become the account.
    process::keep_capabilities(&[Capability::CAP_SETUID, Capability::CAP_SETGID])
        .map_err(system("give up capabilities"))?;
    let monitor = spawn::inherited().map(MonitorLink::new).map_err(system(
        "bastion starts this part by itself, with a link that is missing",
    ))?;
    loop {
        let (ToStarter::Start, descriptors) = match monitor.receive() {
            Ok(order) => order,
            Err(LinkError::NotNow) => {
                monitor
                    .wait(PollFlags::POLLIN, None)
                    .map_err(link("monitor"))?;
                continue;
            }
            Err(LinkError::Closed) => return Ok(()),
            Err(source) => return Err(link("monitor")(source)),
        };
        let Ok([to_monitor, to_gate]) = <[_; 2]>::try_from(descriptors) else {
            return Err(system("the links")(std::io::ErrorKind::NotFound.into()));
        };
        let answer = match spawn::sibling() {
            Ok(spawn::Sibling::Copy) => {
                drop(monitor);
                return serve(Link::new(to_monitor), Link::new(to_gate));
            }
            Ok(spawn::Sibling::Original(pid)) => FromStarter::Started(pid.as_raw().unsigned_abs()),
            Err(error) => FromStarter::Failed(error.to_string()),
        };
        send(&monitor, &answer, &[], "monitor")?;
    }
}
