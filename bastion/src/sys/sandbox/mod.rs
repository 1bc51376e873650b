//! The fence around the gate: no privilege, no file, no program, no new connection.
//!
//! Several layers, each of which would do alone for most of it: an unprivileged account, an empty
//! root, no new privileges, Landlock rules that permit nothing, and a list of the system calls
//! that moving bytes between open descriptors needs. What is not on the list kills the process.

mod system_calls;

use std::io;

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetStatus,
    Scope,
};
use nix::sys::resource::Resource;
use seccompiler::BpfProgram;
use thiserror::Error;

use super::account::{Account, AccountError};
use super::process;

/// Why the fence could not be put up.
#[derive(Debug, Error)]
pub enum SandboxError {
    /// The unprivileged account.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// A system call failed.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The system-call filter.
    #[error("the system-call filter was not accepted: {0}")]
    Filter(#[from] seccompiler::Error),
    /// Landlock.
    #[error("the Landlock rules were not accepted: {0}")]
    Landlock(String),
}

/// What of the fence stands beside the system-call filter, without which nothing is served: for the log and for `sandbox = "required"`.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Fence {
    /// The process's root is an empty folder (only when started as root with CAP_SYS_CHROOT).
    pub empty_root: bool,
    /// Landlock: all that was asked for, a part of it (an older kernel), or nothing.
    pub landlock: Landlock,
}

/// How much of the Landlock rules the kernel knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Landlock {
    /// All: files, TCP ports, signals and abstract sockets.
    Full,
    /// Some of them.
    Partial,
    /// None: the kernel lacks Landlock, or it is off.
    None,
}

/// Puts this process behind the fence for good. It must have one thread.
///
/// `account`: whom to become (when started as root); `root`: an empty folder to shut it into.
pub fn enter(account: Option<&Account>, root: &std::path::Path) -> Result<Fence, SandboxError> {
    let system = |what| move |source: io::Error| SandboxError::System { what, source };
    // Before the identity goes: only root may do this, and only where CAP_SYS_CHROOT is left.
    let empty_root = account.is_some() && shut_into(root).is_ok();
    if let Some(account) = account {
        account.assume()?;
    }
    // After that, which undoes it. One that was taken over must not keep the port, and the host keys,
    // when the monitor has gone.
    process::die_with_parent().map_err(system("die with the monitor"))?;
    process::forbid_dump().map_err(system("forbid dumps"))?;
    process::limit(Resource::RLIMIT_CORE, 0).map_err(system("forbid dumps"))?;
    process::forbid_new_privileges().map_err(system("forbid new privileges"))?;
    process::limit(Resource::RLIMIT_FSIZE, 0).map_err(system("forbid files"))?;
    // russh locks the pages of each connection's secrets in memory, at the price of a mapping of
    // its own for each, until the limit of usually 8 MiB is reached. The host keys never were.
    process::limit(Resource::RLIMIT_MEMLOCK, 0).map_err(system("forbid locked memory"))?;
    let landlock = forbid_by_landlock()?;
    system_calls::refused()?
        .iter()
        .chain([&system_calls::permitted()?])
        .try_for_each(apply)?;
    Ok(Fence {
        empty_root,
        landlock,
    })
}

/// Forbids this process any thread beyond those that it has, and its account any process by it. The
/// filter forbids processes before; who took the gate over could still use up what there is of
/// threads, which a container counts with its processes.
pub fn forbid_more_threads() -> Result<(), SandboxError> {
    process::limit(Resource::RLIMIT_NPROC, 0).map_err(|source| SandboxError::System {
        what: "forbid more threads",
        source,
    })
}

fn shut_into(root: &std::path::Path) -> io::Result<()> {
    nix::unistd::chroot(root)?;
    Ok(nix::unistd::chdir("/")?)
}

fn apply(filter: &BpfProgram) -> Result<(), SandboxError> {
    Ok(seccompiler::apply_filter(filter)?)
}

/// Handles every right that Landlock knows and grants none.
fn forbid_by_landlock() -> Result<Landlock, SandboxError> {
    let refused = |error: landlock::RulesetError| SandboxError::Landlock(error.to_string());
    let abi = ABI::V6;
    let status = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(abi))
        .and_then(|rules| rules.handle_access(AccessNet::from_all(abi)))
        .and_then(|rules| rules.scope(Scope::from_all(abi)))
        .and_then(|rules| rules.create())
        .and_then(|rules| rules.restrict_self())
        .map_err(refused)?;
    Ok(match status.ruleset {
        RulesetStatus::FullyEnforced => Landlock::Full,
        RulesetStatus::PartiallyEnforced => Landlock::Partial,
        RulesetStatus::NotEnforced => Landlock::None,
    })
}

/// Forbids this process and all it starts any socket but Unix ones, for good. What a network of
/// containers does not fence off (the gateway beside it, the host's end of the bridge), this does.
pub fn forbid_network() -> Result<(), SandboxError> {
    process::forbid_new_privileges().map_err(|source| SandboxError::System {
        what: "forbid new privileges",
        source,
    })?;
    apply(&system_calls::no_network()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::ErrorKind;
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::os::unix::net::UnixStream;

    /// A filter is a thread's, and of the threads that it starts.
    #[test]
    fn without_a_network_there_are_unix_sockets_only() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let fenced = std::thread::spawn(move || {
            forbid_network().unwrap();
            assert_eq!(
                TcpStream::connect(address).unwrap_err().kind(),
                ErrorKind::PermissionDenied
            );
            assert_eq!(
                TcpListener::bind("[::1]:0").unwrap_err().kind(),
                ErrorKind::PermissionDenied
            );
            assert_eq!(
                UdpSocket::bind("127.0.0.1:0").unwrap_err().kind(),
                ErrorKind::PermissionDenied
            );
            for family in [libc::AF_NETLINK, libc::AF_VSOCK, libc::AF_PACKET, -1] {
                // SAFETY: socket takes integers and returns one.
                let made = unsafe { libc::socket(family, libc::SOCK_RAW, 0) };
                assert_eq!(
                    (made, io::Error::last_os_error().kind()),
                    (-1, ErrorKind::PermissionDenied)
                );
            }
            // SAFETY: a null pointer is refused as such, if the call is let through at all.
            let ring = unsafe { libc::syscall(libc::SYS_io_uring_setup, 1, 0) };
            assert_eq!(
                (ring, io::Error::last_os_error().kind()),
                (-1, ErrorKind::PermissionDenied)
            );
            UnixStream::pair().unwrap();
        });
        fenced.join().unwrap();
        TcpStream::connect(address).unwrap();
    }
}
