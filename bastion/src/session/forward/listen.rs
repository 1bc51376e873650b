//! Listening for a client: TCP ports, Unix sockets, and the agent's socket.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::words;
use crate::ipc::{ForwardAnswer, ForwardFailure, ListenAddress, ListenerNumber};
use crate::policy::forwarding::ForwardingRules;
use crate::policy::printable;
use crate::sys::network::{Listener, SocketFile};

/// After an error that will not go by itself (EMFILE, ENOMEM), before accepting again.
const PAUSE: Duration = Duration::from_millis(100);
/// The umask of the agent's socket, as sshd's.
const AGENT_MASK: u16 = 0o177;

/// Something that is listened at. Dropping it closes its sockets and removes what it made.
pub(super) struct Listening {
    pub(super) number: ListenerNumber,
    /// What for people.
    pub(super) description: String,
    /// The port; 0 for Unix sockets.
    pub(super) port: u16,
    /// The path of the agent's socket, if it is one.
    pub(super) agent: Option<PathBuf>,
    /// One for each address family.
    sockets: Vec<Listener>,
    paused_until: Option<Instant>,
    // In this order: the folder must be empty to be removed.
    _file: Option<SocketFile>,
    _folder: Option<Folder>,
}

impl Listening {
    pub(super) fn new(
        number: ListenerNumber,
        at: ListenAddress,
        rules: &ForwardingRules,
        superuser: bool,
    ) -> Result<Self, ForwardFailure> {
        match at {
            ListenAddress::Tcp { host, port } => Self::tcp(number, &host, port, rules, superuser),
            ListenAddress::Unix { path } => Self::unix(number, Path::new(&path), rules),
            ListenAddress::Agent => {
                Self::agent(number).map_err(|error| cannot_listen("for the agent", &error))
            }
        }
    }

    fn tcp(
        number: ListenerNumber,
        host: &str,
        port: u32,
        rules: &ForwardingRules,
        superuser: bool,
    ) -> Result<Self, ForwardFailure> {
        let asked = format!("at {} port {port}", printable(host, 64));
        let port = u16::try_from(port)
            .map_err(|_| ForwardFailure::ConnectFailed(format!("there is no port {port}")))?;
        let addresses = rules.may_listen(host, port, superuser)?;
        let sockets =
            listen_at_all(&addresses, port).map_err(|error| cannot_listen(&asked, &error))?;
        let port = sockets
            .first()
            .map_or(Ok(0), Listener::port)
            .map_err(|error| cannot_listen(&asked, &error))?;
        let shown: Vec<_> = addresses.iter().map(ToString::to_string).collect();
        let description = format!("{} port {port}", shown.join(" and "));
        Ok(Self {
            port,
            sockets,
            ..Self::of(number, description)
        })
    }

    /// As sshd's `unix_listener`; but the socket's file goes with its listener, so that the next
    /// connection may make it anew.
    fn unix(
        number: ListenerNumber,
        path: &Path,
        rules: &ForwardingRules,
    ) -> Result<Self, ForwardFailure> {
        let shown = printable(&path.to_string_lossy(), 128);
        let failed = |error: io::Error| cannot_listen(&format!("at {shown}"), &error);
        if !path.is_absolute() {
            return Err(failed(io::Error::other(
                "name the socket by its absolute path",
            )));
        }
        let path = without_links(path).map_err(failed)?;
        rules.may_listen_unix(&path)?;
        if rules.stream_local_bind_unlink && is_socket(&path) {
            std::fs::remove_file(&path).map_err(failed)?;
        }
        let listener = Listener::unix(&path, rules.stream_local_bind_mask).map_err(failed)?;
        let file = SocketFile::just_made(path).map_err(failed)?;
        Ok(Self {
            sockets: vec![listener],
            _file: Some(file),
            ..Self::of(number, shown.clone())
        })
    }

    /// As sshd's `auth_input_request_forwarding`: in a new folder that only the account can enter.
    fn agent(number: ListenerNumber) -> io::Result<Self> {
        let folder = Folder(nix::unistd::mkdtemp("/tmp/ssh-XXXXXX")?);
        let path = folder.0.join(format!("agent.{}", std::process::id()));
        let listener = Listener::unix(&path, AGENT_MASK)?;
        let file = SocketFile::just_made(path.clone())?;
        Ok(Self {
            agent: Some(path.clone()),
            sockets: vec![listener],
            _file: Some(file),
            _folder: Some(folder),
            ..Self::of(number, format!("{} for the agent", path.display()))
        })
    }

    fn of(number: ListenerNumber, description: String) -> Self {
        let (port, agent, sockets, paused_until) = (0, None, Vec::new(), None);
        Self {
            number,
            description,
            port,
            agent,
            sockets,
            paused_until,
            _file: None,
            _folder: None,
        }
    }

    pub(super) fn watched(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let awake = self.paused_until.is_none();
        self.sockets.iter().filter(move |_| awake).map(AsFd::as_fd)
    }

    pub(super) fn paused_until(&self) -> Option<Instant> {
        self.paused_until
    }

    /// Accepts who is there, as many as there is room for.
    pub(super) fn accept(
        &mut self,
        now: Instant,
        mut room: usize,
        mut take: impl FnMut(ForwardAnswer, OwnedFd),
    ) {
        if self.paused_until.is_some_and(|until| now < until) {
            return;
        }
        self.paused_until = None;
        for listener in &self.sockets {
            while room > 0 {
                match listener.accept() {
                    Ok((socket, originator)) => {
                        let (listener, port) = (self.number, self.port);
                        take(
                            ForwardAnswer::Accepted {
                                listener,
                                port,
                                originator,
                            },
                            socket,
                        );
                        room -= 1;
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    // One who went away while waiting is not our trouble.
                    Err(error) if is_of_one_connection(&error) => {}
                    Err(_) => {
                        self.paused_until = Some(now + PAUSE);
                        break;
                    }
                }
            }
        }
    }
}

/// Listens at all addresses, with one port for all. The first must do; another may be of a family
/// that this machine lacks.
fn listen_at_all(addresses: &[IpAddr], mut port: u16) -> io::Result<Vec<Listener>> {
    let mut listeners = Vec::new();
    for &address in addresses {
        match Listener::tcp(SocketAddr::new(address, port)) {
            Ok(listener) => {
                port = listener.port()?;
                listeners.push(listener);
            }
            Err(error) if listeners.is_empty() => return Err(error),
            Err(_) => {}
        }
    }
    Ok(listeners)
}

/// The path of a file that need not be there, in a folder that must be; `..` would lead out of
/// where the rules permit to listen.
fn without_links(path: &Path) -> io::Result<PathBuf> {
    match (path.parent(), path.file_name()) {
        (Some(folder), Some(name)) => Ok(folder.canonicalize()?.join(name)),
        _ => Err(io::ErrorKind::InvalidInput.into()),
    }
}

/// Nothing but a socket is ever removed to make room for one, other than under sshd.
fn is_socket(path: &Path) -> bool {
    path.symlink_metadata()
        .is_ok_and(|file| file.file_type().is_socket())
}

/// A folder that is removed, once it is empty, when it is dropped.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        // What somebody else has put into it keeps it there.
        let _not_empty = std::fs::remove_dir(&self.0);
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionReset | Interrupted
    )
}

fn cannot_listen(at: &str, error: &io::Error) -> ForwardFailure {
    ForwardFailure::ConnectFailed(format!("cannot listen {at}: {}", words(error)))
}
