//! Which system calls are answered, and how: filters for the kernel (seccomp(2)).

use std::collections::BTreeMap;

use seccompiler::{
    BackendError, BpfProgram, Error, SeccompAction, SeccompCmpArgLen, SeccompCmpOp,
    SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
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
pub(super) fn permitted() -> Result<BpfProgram, Error> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        PERMITTED.iter().map(|call| (*call, Vec::new())).collect();
    #[cfg(target_arch = "x86_64")]
    for call in [libc::SYS_epoll_wait, libc::SYS_poll] {
        rules.insert(call, Vec::new());
    }
    // Answered by `refused`, which is in force beside this filter.
    for call in [libc::SYS_clone3, libc::SYS_openat] {
        rules.insert(call, Vec::new());
    }
    rules.extend(memory_and_threads()?);
    rules.extend(on_descriptors()?);
    compile(rules, SeccompAction::KillProcess, SeccompAction::Allow)
}

/// Calls that are refused with an error, because the C library makes them and can do without.
pub(super) fn refused() -> Result<Vec<BpfProgram>, Error> {
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

/// Permitted with certain arguments only.
fn memory_and_threads() -> Result<BTreeMap<i64, Vec<SeccompRule>>, BackendError> {
    // Memory that is never executable.
    let never_executable = || all_of(vec![argument(2, masked(libc::PROT_EXEC), 0)?]);
    let thread = libc::CLONE_VM | libc::CLONE_THREAD | libc::CLONE_SIGHAND;
    let own = i32::try_from(std::process::id()).unwrap_or(i32::MAX);
    Ok(BTreeMap::from([
        (libc::SYS_mmap, never_executable()?),
        (libc::SYS_mprotect, never_executable()?),
        // Threads, never processes.
        (
            libc::SYS_clone,
            all_of(vec![argument(0, masked(thread), thread)?])?,
        ),
        // Its own end (abort), and no other signal, to nobody else.
        (
            libc::SYS_tgkill,
            all_of(vec![
                argument(0, SeccompCmpOp::Eq, own)?,
                argument(2, SeccompCmpOp::Eq, libc::SIGABRT)?,
            ])?,
        ),
        (
            libc::SYS_prctl,
            one_of(0, &[libc::PR_SET_NAME, libc::PR_SET_VMA])?,
        ),
        // Reading its own limits, as the C library does for a thread's stack. Setting that of
        // threads alone, once there are enough; it cannot be raised again.
        (
            libc::SYS_prlimit64,
            vec![
                SeccompRule::new(vec![argument(0, SeccompCmpOp::Eq, 0)?, no_pointer(2)?])?,
                SeccompRule::new(vec![
                    argument(0, SeccompCmpOp::Eq, 0)?,
                    argument(1, SeccompCmpOp::Eq, libc::RLIMIT_NPROC as i32)?,
                ])?,
            ],
        ),
    ]))
}

/// As above.
fn on_descriptors() -> Result<BTreeMap<i64, Vec<SeccompRule>>, BackendError> {
    let stream_pair = vec![
        argument(0, SeccompCmpOp::Eq, libc::AF_UNIX)?,
        // The type's low bits; the others are flags.
        argument(1, masked(0xf), libc::SOCK_STREAM)?,
    ];
    let to_nowhere = vec![argument(3, masked(libc::MSG_FASTOPEN), 0)?, no_pointer(4)?];
    let option = |level, name| {
        SeccompRule::new(vec![
            argument(1, SeccompCmpOp::Eq, level)?,
            argument(2, SeccompCmpOp::Eq, name)?,
        ])
    };
    let descriptor_flags = [
        libc::F_GETFL,
        libc::F_SETFL,
        libc::F_GETFD,
        libc::F_SETFD,
        libc::F_DUPFD_CLOEXEC,
    ];
    let nonblocking = i32::try_from(libc::FIONBIO).unwrap_or(0);
    Ok(BTreeMap::from([
        (libc::SYS_fcntl, one_of(1, &descriptor_flags)?),
        // A pair that is connected to nothing but itself: the runtime's, where it watches signals.
        // Of streams only: a datagram socket could send to any other by its name.
        (libc::SYS_socketpair, all_of(stream_pair)?),
        // On what is connected: to no address, and without MSG_FASTOPEN, which connects.
        (libc::SYS_sendto, all_of(to_nowhere)?),
        // Never of reading: that would end the listening socket for good.
        (libc::SYS_shutdown, one_of(1, &[libc::SHUT_WR])?),
        (
            libc::SYS_setsockopt,
            vec![
                option(libc::SOL_SOCKET, libc::SO_KEEPALIVE)?,
                option(libc::IPPROTO_TCP, libc::TCP_NODELAY)?,
            ],
        ),
        (libc::SYS_ioctl, one_of(1, &[nonblocking])?),
    ]))
}

/// The low 32 bits of an argument, compared.
fn argument(
    number: u8,
    operator: SeccompCmpOp,
    value: i32,
) -> Result<SeccompCondition, BackendError> {
    let value = u64::from(value.unsigned_abs());
    SeccompCondition::new(number, SeccompCmpArgLen::Dword, operator, value)
}

/// An argument that is a null pointer.
fn no_pointer(number: u8) -> Result<SeccompCondition, BackendError> {
    SeccompCondition::new(number, SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, 0)
}

fn masked(bits: i32) -> SeccompCmpOp {
    SeccompCmpOp::MaskedEq(u64::from(bits.unsigned_abs()))
}

fn all_of(conditions: Vec<SeccompCondition>) -> Result<Vec<SeccompRule>, BackendError> {
    Ok(vec![SeccompRule::new(conditions)?])
}

fn one_of(number: u8, values: &[i32]) -> Result<Vec<SeccompRule>, BackendError> {
    let rule = |&value| SeccompRule::new(vec![argument(number, SeccompCmpOp::Eq, value)?]);
    values.iter().map(rule).collect()
}

/// Everything is permitted but sockets of other families than AF_UNIX, however they are asked for:
/// by socket(2), or by a ring, whose requests no filter sees.
pub(super) fn no_network() -> Result<BpfProgram, Error> {
    let not_unix = SeccompRule::new(vec![argument(0, SeccompCmpOp::Ne, libc::AF_UNIX)?])?;
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

fn compile(
    rules: BTreeMap<i64, Vec<SeccompRule>>,
    otherwise: SeccompAction,
    on_match: SeccompAction,
) -> Result<BpfProgram, Error> {
    let architecture = TargetArch::try_from(std::env::consts::ARCH)?;
    Ok(SeccompFilter::new(rules, otherwise, on_match, architecture)?.try_into()?)
}
