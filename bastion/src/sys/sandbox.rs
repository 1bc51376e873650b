//! The fence around the gate: no privilege, no file, no program, no new connection.
//!
//! Several layers, each of which would do alone for most of it: an unprivileged account, an empty
//! root, no new privileges, Landlock rules that permit nothing, and a list of the system calls
//! that moving bytes between open descriptors needs. What is not on the list kills the process.

use std::collections::BTreeMap;
use std::io;

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetStatus,
    Scope,
};
use nix::sys::resource::Resource;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};
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
    Filter(String),
    /// Landlock.
    #[error("the Landlock rules were not accepted: {0}")]
    Landlock(String),
}

/// What of the fence stands, for the log and for `sandbox = "required"`.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Fence {
    /// The process's root is an empty folder (only when started as root with CAP_SYS_CHROOT).
    pub empty_root: bool,
    /// Landlock: all that was asked for, a part of it (an older kernel), or nothing.
    pub landlock: Landlock,
    /// The system-call filter is in force.
    pub system_calls: bool,
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
    process::forbid_dump().map_err(system("forbid dumps"))?;
    process::forbid_new_privileges().map_err(system("forbid new privileges"))?;
    process::limit(Resource::RLIMIT_FSIZE, 0).map_err(system("forbid files"))?;
    // russh locks the pages of each connection's secrets in memory, at the price of a mapping of
    // its own for each, until the limit of usually 8 MiB is reached. The host keys never were.
    process::limit(Resource::RLIMIT_MEMLOCK, 0).map_err(system("forbid locked memory"))?;
    let landlock = forbid_by_landlock()?;
    forbid_by_filter().map_err(|error| SandboxError::Filter(error.to_string()))?;
    Ok(Fence {
        empty_root,
        landlock,
        system_calls: true,
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

fn forbid_by_filter() -> Result<(), Box<dyn std::error::Error>> {
    for program in refusals()?.iter().chain([&filter()?]) {
        seccompiler::apply_filter(program)?;
    }
    Ok(())
}

/// Forbids this process and all it starts any socket but Unix ones, for good. What a network of
/// containers does not fence off (the gateway beside it, the host's end of the bridge), this does.
pub fn forbid_network() -> Result<(), SandboxError> {
    process::forbid_new_privileges().map_err(|source| SandboxError::System {
        what: "forbid new privileges",
        source,
    })?;
    no_network_filter()
        .and_then(|program| Ok(seccompiler::apply_filter(&program)?))
        .map_err(|error| SandboxError::Filter(error.to_string()))
}

/// Everything is permitted but sockets of other families than AF_UNIX, however they are asked for:
/// by socket(2), or by a ring, whose requests no filter sees.
fn no_network_filter() -> Result<BpfProgram, Box<dyn std::error::Error>> {
    let not_unix = SeccompRule::new(vec![SeccompCondition::new(
        0,
        SeccompCmpArgLen::Dword,
        SeccompCmpOp::Ne,
        u64::from(libc::AF_UNIX.unsigned_abs()),
    )?])?;
    let mut rules = BTreeMap::new();
    for abi in SYSTEM_CALL_ABIS {
        rules.insert(libc::SYS_socket | abi, vec![not_unix.clone()]);
        rules.insert(libc::SYS_io_uring_setup | abi, Vec::new());
    }
    compile(
        rules,
        SeccompAction::Allow,
        SeccompAction::Errno(libc::EACCES.unsigned_abs()),
    )
}

/// Bits that are set in the numbers of system calls: none, and on x86-64 that of the x32 ABI, which
/// a filter cannot tell by the architecture. Any other architecture's calls kill the process.
const SYSTEM_CALL_ABIS: &[libc::c_long] = match cfg!(target_arch = "x86_64") {
    true => &[0, 0x4000_0000],
    false => &[0],
};

/// System calls that need no look at their arguments.
const PERMITTED: &[libc::c_long] = &[
    // Bytes between open descriptors.
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_close,
    // Connections that come in on the listening socket.
    libc::SYS_accept4,
    libc::SYS_getsockopt,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    // Waiting.
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_eventfd2,
    libc::SYS_ppoll,
    libc::SYS_futex,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_sched_yield,
    libc::SYS_restart_syscall,
    // Memory and threads.
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_mlock,
    libc::SYS_munlock,
    libc::SYS_brk,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_sched_getaffinity,
    libc::SYS_membarrier,
    libc::SYS_getrandom,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

/// The list; what is not on it kills the process.
fn filter() -> Result<BpfProgram, Box<dyn std::error::Error>> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        PERMITTED.iter().map(|call| (*call, Vec::new())).collect();
    #[cfg(target_arch = "x86_64")]
    for call in [libc::SYS_epoll_wait, libc::SYS_poll] {
        rules.insert(call, Vec::new());
    }
    // Answered by `refusals`, which is in force beside this filter.
    for call in [libc::SYS_clone3, libc::SYS_openat] {
        rules.insert(call, Vec::new());
    }
    rules.extend(permitted_with_arguments()?);
    compile(rules, SeccompAction::KillProcess, SeccompAction::Allow)
}

/// Calls that are refused with an error, because the C library makes them and can do without.
fn refusals() -> Result<Vec<BpfProgram>, Box<dyn std::error::Error>> {
    let refuse = |call, error: i32| {
        let rules = BTreeMap::from([(call, Vec::new())]);
        compile(
            rules,
            SeccompAction::Allow,
            SeccompAction::Errno(error.unsigned_abs()),
        )
    };
    Ok(vec![
        // It takes its flags from memory, which a filter cannot read. Told that it does not
        // exist, the C library uses clone, whose flags a filter sees.
        refuse(libc::SYS_clone3, libc::ENOSYS)?,
        // The allocator looks at /proc/sys/vm/overcommit_memory when it gives memory back.
        refuse(libc::SYS_openat, libc::EACCES)?,
    ])
}

fn compile(
    rules: BTreeMap<i64, Vec<SeccompRule>>,
    otherwise: SeccompAction,
    on_match: SeccompAction,
) -> Result<BpfProgram, Box<dyn std::error::Error>> {
    let architecture = TargetArch::try_from(std::env::consts::ARCH)?;
    Ok(SeccompFilter::new(rules, otherwise, on_match, architecture)?.try_into()?)
}

fn condition(
    argument: u8,
    operator: SeccompCmpOp,
    value: i32,
) -> Result<SeccompCondition, seccompiler::BackendError> {
    let value = u64::from(value.unsigned_abs());
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value)
}

fn stream_pair() -> Result<SeccompRule, seccompiler::BackendError> {
    // The type's low bits; the others are flags.
    let kind = SeccompCmpOp::MaskedEq(0xf);
    SeccompRule::new(vec![
        condition(0, SeccompCmpOp::Eq, libc::AF_UNIX)?,
        condition(1, kind, libc::SOCK_STREAM)?,
    ])
}

fn send_to_nowhere() -> Result<SeccompRule, seccompiler::BackendError> {
    let fast_open = SeccompCmpOp::MaskedEq(u64::from(libc::MSG_FASTOPEN.unsigned_abs()));
    SeccompRule::new(vec![
        condition(3, fast_open, 0)?,
        SeccompCondition::new(4, SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, 0)?,
    ])
}

fn socket_option(level: i32, name: i32) -> Result<SeccompRule, seccompiler::BackendError> {
    SeccompRule::new(vec![
        condition(1, SeccompCmpOp::Eq, level)?,
        condition(2, SeccompCmpOp::Eq, name)?,
    ])
}

/// System calls that are permitted with certain arguments only.
fn permitted_with_arguments() -> Result<BTreeMap<i64, Vec<SeccompRule>>, Box<dyn std::error::Error>>
{
    let rule = |argument, operator, value: u64| {
        SeccompRule::new(vec![SeccompCondition::new(
            argument,
            SeccompCmpArgLen::Dword,
            operator,
            value,
        )?])
    };
    let equal = |argument, values: &[i32]| {
        values
            .iter()
            .map(|value| rule(argument, SeccompCmpOp::Eq, u64::from(value.unsigned_abs())))
            .collect::<Result<Vec<_>, _>>()
    };
    let masked = |argument, mask: i32, value: i32| {
        let (mask, value) = (
            u64::from(mask.unsigned_abs()),
            u64::from(value.unsigned_abs()),
        );
        rule(argument, SeccompCmpOp::MaskedEq(mask), value)
    };
    let thread = libc::CLONE_VM | libc::CLONE_THREAD | libc::CLONE_SIGHAND;
    let own = i32::try_from(std::process::id()).unwrap_or(i32::MAX);
    Ok(BTreeMap::from([
        // Memory that is never executable.
        (libc::SYS_mmap, vec![masked(2, libc::PROT_EXEC, 0)?]),
        (libc::SYS_mprotect, vec![masked(2, libc::PROT_EXEC, 0)?]),
        // Threads, never processes.
        (libc::SYS_clone, vec![masked(0, thread, thread)?]),
        // Signals to itself (abort), to nobody else.
        (libc::SYS_tgkill, equal(0, &[own])?),
        (
            libc::SYS_fcntl,
            equal(
                1,
                &[
                    libc::F_GETFL,
                    libc::F_SETFL,
                    libc::F_GETFD,
                    libc::F_SETFD,
                    libc::F_DUPFD_CLOEXEC,
                    libc::F_SETPIPE_SZ,
                ],
            )?,
        ),
        // A pair that is connected to nothing but itself: the runtime's, where it watches signals.
        // Of streams only: a datagram socket could send to any other by its name.
        (libc::SYS_socketpair, vec![stream_pair()?]),
        // On what is connected: to no address, and without MSG_FASTOPEN, which connects.
        (libc::SYS_sendto, vec![send_to_nowhere()?]),
        // Never of reading: that would end the listening socket for good.
        (libc::SYS_shutdown, equal(1, &[libc::SHUT_WR])?),
        (
            libc::SYS_setsockopt,
            vec![
                socket_option(libc::SOL_SOCKET, libc::SO_KEEPALIVE)?,
                socket_option(libc::IPPROTO_TCP, libc::TCP_NODELAY)?,
            ],
        ),
        (
            libc::SYS_ioctl,
            equal(1, &[i32::try_from(libc::FIONBIO).unwrap_or(0)])?,
        ),
        (
            libc::SYS_prctl,
            equal(0, &[libc::PR_SET_NAME, libc::PR_SET_VMA])?,
        ),
        // Reading its own limits, as the C library does for a thread's stack. Setting that of
        // threads alone, once there are enough; it cannot be raised again.
        (
            libc::SYS_prlimit64,
            vec![
                SeccompRule::new(vec![
                    SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, 0)?,
                    SeccompCondition::new(2, SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, 0)?,
                ])?,
                SeccompRule::new(vec![
                    SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, 0)?,
                    SeccompCondition::new(
                        1,
                        SeccompCmpArgLen::Dword,
                        SeccompCmpOp::Eq,
                        u64::from(libc::RLIMIT_NPROC),
                    )?,
                ])?,
            ],
        ),
    ]))
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
