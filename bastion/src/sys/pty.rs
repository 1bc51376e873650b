//! Pseudo-terminals: making one, its size, its modes, its owner.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use nix::fcntl::OFlag;
use nix::pty::{PtyMaster, Winsize, grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::sys::stat::{Mode, fchmod};
use nix::sys::termios::{SetArg, Termios, tcgetattr, tcsetattr};
use nix::unistd::{Gid, fchown};

/// The terminal's size, in characters and (where known, else 0) pixels; RFC 4254 §6.2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct WindowSize {
    /// Columns.
    pub columns: u16,
    /// Rows.
    pub rows: u16,
    /// Width in pixels.
    pub width: u16,
    /// Height in pixels.
    pub height: u16,
}

/// A new pseudo-terminal.
pub struct Pty {
    /// The side that the connection reads and writes.
    pub leader: OwnedFd,
    /// The side that the program has as its terminal.
    pub follower: OwnedFd,
    /// The follower's path, for `SSH_TTY`.
    pub path: PathBuf,
}

/// Opens a pseudo-terminal that belongs to this process's account.
///
/// `terminal_group` gets it where this process may give it, with mode 0620, as under sshd; else the
/// mode is 0600.
pub fn open(terminal_group: Option<u32>) -> io::Result<Pty> {
    let leader = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC)?;
    grantpt(&leader)?;
    unlockpt(&leader)?;
    let path = PathBuf::from(ptsname_r(&leader)?);
    let follower = nix::fcntl::open(
        &path,
        OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC,
        Mode::empty(),
    )?;
    let given = terminal_group
        .is_some_and(|group| fchown(&follower, None, Some(Gid::from_raw(group))).is_ok());
    let mode = if given { 0o620 } else { 0o600 };
    // devpts already gives the account's own terminals such a mode; where it will not be changed
    // (a mount with fixed options) that of the mount stands.
    let _mount_decides = fchmod(&follower, Mode::from_bits_truncate(mode));
    Ok(Pty {
        leader: into_owned(leader)?,
        follower,
        path,
    })
}

fn into_owned(leader: PtyMaster) -> io::Result<OwnedFd> {
    leader.as_fd().try_clone_to_owned()
}

/// Tells the terminal its size; the foreground program gets SIGWINCH.
pub fn set_size(terminal: BorrowedFd<'_>, size: WindowSize) -> io::Result<()> {
    let size = Winsize {
        ws_col: size.columns,
        ws_row: size.rows,
        ws_xpixel: size.width,
        ws_ypixel: size.height,
    };
    // SAFETY: TIOCSWINSZ reads one `winsize`, which lives through the call.
    match unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Changes the terminal's modes by `edit`.
pub fn edit_modes(terminal: BorrowedFd<'_>, edit: impl FnOnce(&mut Termios)) -> io::Result<()> {
    let mut modes = tcgetattr(terminal)?;
    edit(&mut modes);
    Ok(tcsetattr(terminal, SetArg::TCSANOW, &modes)?)
}

/// Sets both line speeds, given in bits per second; one that the system does not know is left.
pub fn set_speed(modes: &mut Termios, bits_per_second: u32) {
    let mut raw: libc::termios = modes.clone().into();
    let Some(speed) = speed_constant(bits_per_second) else {
        return;
    };
    // SAFETY: both change fields of a plain structure that we own.
    let set =
        unsafe { libc::cfsetispeed(&raw mut raw, speed) | libc::cfsetospeed(&raw mut raw, speed) };
    if set == 0 {
        *modes = raw.into();
    }
}

fn speed_constant(bits_per_second: u32) -> Option<libc::speed_t> {
    Some(match bits_per_second {
        300 => libc::B300,
        1200 => libc::B1200,
        2400 => libc::B2400,
        4800 => libc::B4800,
        9600 => libc::B9600,
        19200 => libc::B19200,
        38400 => libc::B38400,
        57600 => libc::B57600,
        115_200 => libc::B115200,
        230_400 => libc::B230400,
        _ => return None,
    })
}

/// Makes this process the leader of a new session with `terminal` as its controlling terminal.
/// To be called between fork and execve.
pub(super) fn become_controlling(terminal: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: TIOCSCTTY takes an integer; 0 does not steal a terminal from another session.
    match unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSCTTY, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
