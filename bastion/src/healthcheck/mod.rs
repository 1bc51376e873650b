//! `bastion healthcheck`: whether the server of this machine completes the first exchange of SSH,
//! and whether another service answers beside it. For a container's health, so that it does not
//! count a process that is there and does nothing.
//!
//! It goes as far as the server's list of algorithms (RFC 4253 §4.2, §7.1), which is what the gate
//! sends once it works, and needs no key. Every wait has the same limit, the whole has it too.

pub mod listening;

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use thiserror::Error;

/// The longest line of an identification, CR and LF included (RFC 4253 §4.2).
const MAX_IDENTIFICATION: usize = 255;
/// Lines that a server may send before its identification.
const MAX_LINES_BEFORE: usize = 16;
/// No server's list of algorithms is longer than this.
const MAX_PACKET: u32 = 35_000;
/// SSH_MSG_KEXINIT.
const KEXINIT: u8 = 20;
/// The longest status line of HTTP that is read.
const MAX_STATUS_LINE: usize = 1024;

/// Why a service does not count as well.
#[derive(Debug, Error)]
#[error("{what} at {address}: {why}")]
pub struct Unwell {
    what: &'static str,
    address: String,
    why: Why,
}

#[derive(Debug, Error)]
enum Why {
    #[error("{0}")]
    System(#[from] io::Error),
    #[error("it has not answered in time")]
    TooSlow,
    #[error("it says \"{}\", which is not SSH", .0.escape_debug())]
    NotSsh(String),
    #[error("it sends no list of algorithms")]
    NoAlgorithms,
    #[error("it answers \"{}\"", .0.escape_debug())]
    Status(String),
    #[error("that is no address such as http://127.0.0.1:18789/healthz")]
    Url,
}

/// Asks the SSH server that listens on `listen` for its algorithms.
pub fn ssh(listen: SocketAddr, limit: Duration) -> Result<(), Unwell> {
    let address = reachable(listen);
    let unwell = |why| Unwell {
        what: "SSH",
        address: address.to_string(),
        why,
    };
    ask_ssh(address, Deadline::after(limit)).map_err(unwell)
}

/// Asks a web server for a page; it is well if the answer is 200.
pub fn http(url: &str, limit: Duration) -> Result<(), Unwell> {
    let unwell = |why| Unwell {
        what: "HTTP",
        address: url.to_owned(),
        why,
    };
    ask_http(url, Deadline::after(limit)).map_err(unwell)
}

/// An address that is listened on may be "any"; the loopback address is one of those.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

fn ask_ssh(address: SocketAddr, deadline: Deadline) -> Result<(), Why> {
    let mut server = Peer::connect(address, deadline)?;
    server.write(b"SSH-2.0-healthcheck\r\n")?;
    let mut line = server.line(MAX_IDENTIFICATION)?;
    for _ in 0..MAX_LINES_BEFORE {
        if line.starts_with("SSH-") {
            break;
        }
        line = server.line(MAX_IDENTIFICATION)?;
    }
    if !line.starts_with("SSH-2.0-") {
        return Err(Why::NotSsh(line));
    }
    match server.packet()?.as_slice() {
        // Its padding's length, its number, a cookie of 16 bytes, the length of the first list.
        [_, KEXINIT, rest @ ..] if rest.get(16..20).is_some_and(|length| length != [0; 4]) => {
            Ok(())
        }
        _ => Err(Why::NoAlgorithms),
    }
}

fn ask_http(url: &str, deadline: Deadline) -> Result<(), Why> {
    let rest = url.strip_prefix("http://").ok_or(Why::Url)?;
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let path = if path.is_empty() { "/" } else { path };
    if path.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(Why::Url);
    }
    let with_port = if host.contains(':') {
        host.to_owned()
    } else {
        format!("{host}:80")
    };
    let mut server = Err(Why::Url);
    for address in with_port.to_socket_addrs().map_err(|_| Why::Url)? {
        server = Peer::connect(address, deadline);
        if server.is_ok() {
            break;
        }
    }
    let mut server = server?;
    server.write(
        format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").as_bytes(),
    )?;
    let status = server.line(MAX_STATUS_LINE)?;
    let mut words = status.split(' ');
    match (words.next(), words.next()) {
        (Some(version), Some("200")) if version.starts_with("HTTP/1.") => Ok(()),
        _ => Err(Why::Status(status)),
    }
}

/// When all has to be done.
#[derive(Clone, Copy)]
struct Deadline(Instant);

impl Deadline {
    fn after(limit: Duration) -> Self {
        Self(Instant::now() + limit)
    }

    fn left(self) -> Result<Duration, Why> {
        let left = self.0.saturating_duration_since(Instant::now());
        if left.is_zero() {
            Err(Why::TooSlow)
        } else {
            Ok(left)
        }
    }
}

/// The far end, with the deadline on every wait for it.
struct Peer {
    stream: TcpStream,
    deadline: Deadline,
}

impl Peer {
    fn connect(address: SocketAddr, deadline: Deadline) -> Result<Self, Why> {
        let stream = TcpStream::connect_timeout(&address, deadline.left()?).map_err(in_time)?;
        Ok(Self { stream, deadline })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Why> {
        self.stream.set_write_timeout(Some(self.deadline.left()?))?;
        self.stream.write_all(bytes).map_err(in_time)
    }

    /// Fills `bytes`. Any read may keep us waiting, so that each has no more than what is left.
    fn read(&mut self, bytes: &mut [u8]) -> Result<(), Why> {
        let mut filled = 0;
        while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            self.stream.set_read_timeout(Some(self.deadline.left()?))?;
            match self.stream.read(rest).map_err(in_time)? {
                0 => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
                read => filled += read,
            }
        }
        Ok(())
    }

    /// A packet (RFC 4253 §6), whole, so that nothing unread is left when we go.
    fn packet(&mut self) -> Result<Vec<u8>, Why> {
        let mut length = [0; 4];
        self.read(&mut length)?;
        let length = u32::from_be_bytes(length);
        let length = usize::try_from(length.min(MAX_PACKET)).unwrap_or(0);
        let mut packet = vec![0; length];
        self.read(&mut packet)?;
        Ok(packet)
    }

    /// A line of at most `limit` bytes, without its end; what comes before the limit if it is longer.
    fn line(&mut self, limit: usize) -> Result<String, Why> {
        let mut line = Vec::new();
        while line.len() < limit {
            let mut byte = [0];
            self.read(&mut byte)?;
            match byte {
                [b'\n'] => break,
                [byte] => line.push(byte),
            }
        }
        Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
    }
}

fn in_time(error: io::Error) -> Why {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Why::TooSlow,
        _ => Why::System(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::thread;

    const LIMIT: Duration = Duration::from_secs(5);

    /// A server that says `answer` to whoever comes first, and then waits for them to go.
    fn server(answer: impl AsRef<[u8]>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let answer = answer.as_ref().to_vec();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(&answer).unwrap();
            io::copy(&mut stream, &mut io::sink()).unwrap_or_default();
        });
        address
    }

    fn kexinit() -> Vec<u8> {
        let lists: Vec<u8> = [b"\x00\x00\x00\x04kex1".as_slice(), &[0; 53]].concat();
        let length = u32::try_from(1 + 1 + 16 + lists.len() + 4).unwrap();
        [
            length.to_be_bytes().as_slice(),
            &[4, KEXINIT],
            &[7; 16],
            &lists,
            &[0; 4],
        ]
        .concat()
    }

    #[test]
    fn a_server_that_sends_its_algorithms_is_well() {
        let answer = [b"SSH-2.0-bastion_1\r\n".as_slice(), &kexinit()].concat();
        ssh(server(answer), LIMIT).unwrap();
        let after_lines = [b"hello\r\nSSH-2.0-x\r\n".as_slice(), &kexinit()].concat();
        ssh(server(after_lines), LIMIT).unwrap();
    }

    #[test]
    fn anything_else_is_not_and_says_why() {
        for (answer, why) in [
            (b"HTTP/1.1 400 Bad Request\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n".to_vec(), "is not SSH"),
            (b"SSH-1.5-old\r\n".to_vec(), "which is not SSH"),
            ([b"SSH-2.0-x\r\n".as_slice(), &[0; 64]].concat(), "no list of algorithms"),
            ([b"SSH-2.0-x\r\n".as_slice(), &[0, 0, 0, 30], &[7; 64]].concat(), "no list of algorithms"),
        ] {
            let error = ssh(server(answer), LIMIT).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn waiting_has_a_limit() {
        let before = Instant::now();
        for answer in [
            b"".as_slice(),
            b"SSH-2.0-x\r\n",
            b"SSH-2.0-x\r\n\0\0",
            b"SSH-2.0-x\r\n\xff\xff\xff\xff\x01",
        ] {
            let error = ssh(server(answer), Duration::from_millis(200))
                .unwrap_err()
                .to_string();
            assert!(error.contains("not answered in time"), "{error}");
        }
        assert!(before.elapsed() < LIMIT);
    }

    #[test]
    fn nobody_there_is_said_so() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let error = ssh(address, LIMIT).unwrap_err().to_string();
        assert!(error.starts_with(&format!("SSH at {address}: ")), "{error}");
        assert!(error.contains("refused"), "{error}");
    }

    #[test]
    fn a_page_is_well_with_200_alone() {
        let url = |answer: &str| format!("http://{}/healthz", server(answer));
        http(&url("HTTP/1.1 200 OK\r\n\r\n"), LIMIT).unwrap();
        for (answer, why) in [
            ("HTTP/1.1 503 Service Unavailable\r\n\r\n", "503"),
            ("HTTP/1.1 2000 OK\r\n\r\n", "2000"),
            ("SSH-2.0-x\r\n", "SSH-2.0-x"),
        ] {
            let error = http(&url(answer), LIMIT).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
        for url in [
            "https://127.0.0.1/",
            "127.0.0.1",
            "http://",
            "http://127.0.0.1:1/a b",
        ] {
            assert!(
                http(url, LIMIT)
                    .unwrap_err()
                    .to_string()
                    .contains("no address"),
                "{url}"
            );
        }
    }

    #[test]
    fn any_address_is_asked_at_loopback() {
        for (listen, asked) in [
            ("0.0.0.0:22", "127.0.0.1:22"),
            ("[::]:22", "[::1]:22"),
            ("192.0.2.1:22", "192.0.2.1:22"),
        ] {
            assert_eq!(reachable(listen.parse().unwrap()).to_string(), asked);
        }
    }
}
