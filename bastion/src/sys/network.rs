//! Sockets that are forwarded: connected and listening, TCP and Unix, none of which ever blocks.

use std::fs::File;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrStorage, UnixAddr, bind, connect,
    getpeername, getsockopt, listen, setsockopt, socket, sockopt,
};
use nix::sys::stat::{Mode, umask};

use super::relay;

/// As many connections wait to be accepted, as under sshd.
const BACKLOG: i32 = 128;

/// A TCP connection that is being made.
pub enum Connecting {
    /// It stands already.
    Done(OwnedFd),
    /// It stands, or has failed, when the socket can be written: ask [`outcome`].
    Soon(OwnedFd),
}

/// Begins to connect.
pub fn connect_tcp(address: SocketAddr) -> io::Result<Connecting> {
    let socket = new_socket(family(address))?;
    // What is typed into a forwarded connection is not to wait for more.
    setsockopt(&socket, sockopt::TcpNoDelay, &true)?;
    match connect(socket.as_raw_fd(), &SockaddrStorage::from(address)) {
        Ok(()) => Ok(Connecting::Done(socket)),
        Err(Errno::EINPROGRESS) => {
            // On this machine it stands by now, or never will.
            let mut waiting = [PollFd::new(socket.as_fd(), PollFlags::POLLOUT)];
            match poll(&mut waiting, PollTimeout::ZERO) {
                Ok(1..) => outcome(socket.as_fd()).map(|()| Connecting::Done(socket)),
                _ => Ok(Connecting::Soon(socket)),
            }
        }
        Err(error) => Err(error.into()),
    }
}

/// How a connection that was being made turned out.
pub fn outcome(socket: BorrowedFd<'_>) -> io::Result<()> {
    match getsockopt(&socket, sockopt::SocketError)? {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

/// A Unix socket in the file system, held so that it cannot be exchanged for another.
pub struct FoundSocket {
    file: File,
    /// Its path, free of symbolic links.
    pub path: PathBuf,
}

/// Looks for a Unix socket.
pub fn find_unix(path: &Path) -> io::Result<FoundSocket> {
    let file = File::from(open(path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())?);
    if !file.metadata()?.file_type().is_socket() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "it is no socket",
        ));
    }
    let path = std::fs::read_link(in_proc(&file))?;
    Ok(FoundSocket { file, path })
}

/// Connects to a Unix socket. Where its queue is full this fails, as it does under sshd.
pub fn connect_unix(found: &FoundSocket) -> io::Result<OwnedFd> {
    let socket = new_socket(AddressFamily::Unix)?;
    // Before the peer can send any. `relay` sees to it where the kernel does not.
    let _older_kernel = super::socket::take_no_descriptors(socket.as_fd());
    // By way of the descriptor: the path may have become another's since it was judged.
    connect(socket.as_raw_fd(), &UnixAddr::new(&in_proc(&found.file))?)?;
    Ok(socket)
}

/// The path that the far end of a Unix socket was bound to, as its owner wrote it. It betrays a
/// socket that goes by another name here (a hard link, a bind mount).
pub fn peer_path(socket: BorrowedFd<'_>) -> Option<PathBuf> {
    getpeername::<UnixAddr>(socket.as_raw_fd())
        .ok()?
        .path()
        .map(Path::to_path_buf)
}

/// The descriptor's name in the file system.
fn in_proc(file: &File) -> PathBuf {
    format!("/proc/self/fd/{}", file.as_raw_fd()).into()
}

/// Listens at a TCP address, where as many wait to be accepted as the system permits.
pub fn listen_to_all(address: SocketAddr) -> io::Result<TcpListener> {
    listen_tcp(address, Backlog::MAXCONN)
}

fn listen_tcp(address: SocketAddr, backlog: Backlog) -> io::Result<TcpListener> {
    let socket = new_socket(family(address))?;
    setsockopt(&socket, sockopt::ReuseAddr, &true)?;
    if address.is_ipv6() {
        // IPv4 has a socket of its own.
        setsockopt(&socket, sockopt::Ipv6V6Only, &true)?;
    }
    bind(socket.as_raw_fd(), &SockaddrStorage::from(address))?;
    listen(&socket, backlog)?;
    Ok(socket.into())
}

/// A socket that listens.
pub enum Listener {
    /// TCP.
    Tcp(TcpListener),
    /// Unix.
    Unix(UnixListener),
}

impl Listener {
    /// Listens at a TCP address; port 0 is any that is free.
    pub fn tcp(address: SocketAddr) -> io::Result<Self> {
        Ok(Self::Tcp(listen_tcp(address, Backlog::new(BACKLOG)?)?))
    }

    /// Listens at a path, with a umask. To be called in a process of one thread.
    pub fn unix(path: &Path, mask: u16) -> io::Result<Self> {
        let socket = new_socket(AddressFamily::Unix)?;
        // Now: who connects may send some before the connection is accepted.
        let _older_kernel = super::socket::take_no_descriptors(socket.as_fd());
        let address = UnixAddr::new(path)?;
        let before = umask(Mode::from_bits_truncate(mask.into()));
        let bound = bind(socket.as_raw_fd(), &address);
        umask(before);
        bound?;
        listen(&socket, Backlog::new(BACKLOG)?)?;
        Ok(Self::Unix(socket.into()))
    }

    /// Its port; 0 for a Unix socket.
    pub fn port(&self) -> io::Result<u16> {
        match self {
            Self::Tcp(listener) => Ok(listener.local_addr()?.port()),
            Self::Unix(_) => Ok(0),
        }
    }

    /// The next connection, and for TCP who made it. `WouldBlock` when there is none. To be called in
    /// a process of one thread.
    pub fn accept(&self) -> io::Result<(OwnedFd, Option<SocketAddr>)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept()?;
                stream.set_nodelay(true)?;
                Ok((stream.into(), Some(peer)))
            }
            Self::Unix(listener) => {
                let socket = relay::without_descriptors(listener.accept()?.0.into())?;
                Ok((socket, None))
            }
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(listener) => listener.as_fd(),
            Self::Unix(listener) => listener.as_fd(),
        }
    }
}

/// A Unix socket's file that this process made, to be removed when it is dropped, unless another
/// has taken its place.
pub struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl SocketFile {
    /// The file at this path, which was just made.
    pub fn just_made(path: PathBuf) -> io::Result<Self> {
        let identity = identity(&path)?;
        Ok(Self { path, identity })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|now| now == self.identity) {
            // Whoever has removed it in the meantime has done what was to be done.
            let _gone = std::fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let file = std::fs::symlink_metadata(path)?;
    Ok((file.dev(), file.ino()))
}

fn family(address: SocketAddr) -> AddressFamily {
    match address {
        SocketAddr::V4(_) => AddressFamily::Inet,
        SocketAddr::V6(_) => AddressFamily::Inet6,
    }
}

fn new_socket(family: AddressFamily) -> io::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    Ok(socket(family, SockType::Stream, flags, None)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_is_too_long_leaves_the_umask_alone() {
        let own = || {
            let mask = umask(Mode::empty());
            umask(mask);
            mask
        };
        let before = own();
        let long = PathBuf::from(format!("/tmp/{}", "x".repeat(200)));
        assert!(Listener::unix(&long, 0o777).is_err());
        assert_eq!(own(), before);
    }

    #[test]
    fn ipv4_and_ipv6_may_be_listened_at_with_one_port() {
        let ipv4 = listen_to_all(SocketAddr::from(([0, 0, 0, 0], 0))).unwrap();
        let port = ipv4.local_addr().unwrap().port();
        match listen_to_all(format!("[::]:{port}").parse().unwrap()) {
            Ok(ipv6) => assert_eq!(ipv6.local_addr().unwrap().port(), port),
            Err(error) => assert_eq!(error.raw_os_error(), Some(Errno::EAFNOSUPPORT as i32)),
        }
    }
}
