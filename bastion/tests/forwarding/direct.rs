//! Connections that the client asks for: `-L`, `-D`, `-W`, to TCP and Unix sockets.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixStream;

use crate::services::{
    answer_backwards, ask, ask_unix, greet_and_count, leads_there, pattern, tcp_service,
    unix_service,
};
use crate::shown;
use crate::support::{
    LIMIT, Master, Server, as_root, fed, free_port, output, status_field, text, wait_for,
};

#[test]
fn a_port_is_forwarded_by_address_and_by_name() {
    let (server, service) = (Server::start(), tcp_service(answer_backwards));
    let master = Master::start(&server);
    for (name, host) in [
        ("address", "127.0.0.1"),
        ("name", "localhost"),
        ("absolute-name", "LOCALHOST."),
    ] {
        let socket = master.forward_local(name, &format!("{host}:{}", service.port()));
        assert_eq!(ask_unix(&socket, b"abc"), b"cba", "{host}");
    }
}

/// A name that takes the name service, looked up in a child of the session.
#[test]
fn a_name_is_looked_up() {
    let (server, service) = (Server::start(), tcp_service(answer_backwards));
    let master = Master::start(&server);
    // Forms of 127.0.0.1 that getaddrinfo(3) knows and an address parser does not.
    for host in ["127.1", "2130706433"] {
        let socket = master.forward_local(host, &format!("{host}:{}", service.port()));
        assert_eq!(ask_unix(&socket, b"abc"), b"cba", "{host}");
    }
    let refused = refusal(&server, "no-such-host.invalid:80");
    assert!(
        refused
            .contains("connect failed: bastion: cannot connect to no-such-host.invalid port 80: "),
        "{refused}"
    );
}

#[test]
fn a_megabyte_arrives_whole_both_ways() {
    let (server, service) = (Server::start(), tcp_service(answer_backwards));
    let master = Master::start(&server);
    let socket = master.forward_local("socket", &service.to_string());
    let question = pattern(5_000_000);
    let mut answer = ask_unix(&socket, &question);
    answer.reverse();
    assert!(answer == question, "{} bytes came back", answer.len());
}

/// Either direction may end first, and the other goes on.
#[test]
fn a_connection_may_be_half_closed_from_either_end() {
    let server = Server::start();
    let master = Master::start(&server);
    // The client's end first: the service answers only after that.
    let socket = master.forward_local("backwards", &tcp_service(answer_backwards).to_string());
    assert_eq!(ask_unix(&socket, b"abc"), b"cba");
    // The service's end first: it goes on reading.
    let (serve, told) = greet_and_count();
    let socket = master.forward_local("greeting", &tcp_service(serve).to_string());
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    let mut greeting = Vec::new();
    stream.read_to_end(&mut greeting).unwrap();
    assert_eq!(greeting, b"hello");
    stream.write_all(&pattern(300_000)).unwrap();
    drop(stream);
    assert_eq!(told.recv_timeout(LIMIT), Ok(300_000));
}

/// What was sent before a client went away is delivered.
#[test]
fn a_client_that_does_not_wait_is_heard_out() {
    let server = Server::start();
    let (serve, told) = greet_and_count();
    let master = Master::start(&server);
    let socket = master.forward_local("socket", &tcp_service(serve).to_string());
    for _ in 0..20 {
        let mut stream = UnixStream::connect(&socket).unwrap();
        stream.write_all(&pattern(100_000)).unwrap();
        drop(stream);
        assert_eq!(told.recv_timeout(LIMIT), Ok(100_000));
    }
}

#[test]
fn standard_input_and_output_are_forwarded() {
    let (server, service) = (Server::start(), tcp_service(answer_backwards));
    let user = server.user();
    let mut ssh = server.ssh(&user, &["-W", &service.to_string()]);
    let run = fed(&mut ssh, b"abc");
    assert_eq!(
        (text(&run.stdout).as_str(), run.status.code()),
        ("cba", Some(0))
    );
}

#[test]
fn a_socks_client_names_its_destinations() {
    let (server, service) = (Server::start(), tcp_service(answer_backwards));
    let port = free_port();
    let user = server.user();
    let arguments = [
        "-N",
        "-D",
        &port.to_string(),
        "-o",
        "ExitOnForwardFailure=yes",
    ];
    let mut ssh = server.ssh(&user, &arguments).spawn().unwrap();
    let proxy = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    wait_for("the proxy", || TcpStream::connect(proxy).ok());
    for host in ["localhost", "127.0.0.1"] {
        let stream = socks5(proxy, host, service.port()).expect(host);
        assert_eq!(ask(stream, b"abc"), b"cba", "{host}");
    }
    for host in ["169.254.169.254", "metadata.google.internal"] {
        assert!(socks5(proxy, host, 80).is_none(), "{host}");
    }
    ssh.kill().unwrap();
    ssh.wait().unwrap();
}

/// RFC 1928: asks a proxy for a destination by name; `None` when it is refused.
fn socks5(proxy: SocketAddr, host: &str, port: u16) -> Option<TcpStream> {
    let mut stream = TcpStream::connect(proxy).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    let mut request = vec![5, 1, 0, 5, 1, 0, 3, u8::try_from(host.len()).unwrap()];
    request.extend(host.as_bytes());
    request.extend(port.to_be_bytes());
    stream.write_all(&request).unwrap();
    let mut reply = [0; 2 + 10];
    // OpenSSH closes the connection of a destination that is refused.
    stream.read_exact(&mut reply).ok()?;
    (reply[3] == 0).then_some(stream)
}

#[test]
fn a_unix_socket_is_forwarded() {
    let server = Server::start();
    let master = Master::start(&server);
    let path = master.path("service");
    unix_service(&path, answer_backwards);
    let socket = master.forward_local("socket", &shown(&path));
    let question = pattern(300_000);
    let mut answer = ask_unix(&socket, &question);
    answer.reverse();
    assert!(answer == question, "{} bytes came back", answer.len());
}

/// CVE-2025-14282: dropbear connected as root, and the service believed it.
#[test]
fn a_forwarded_connection_has_the_credentials_of_the_account() {
    const ORDINARY: &str = "bastion-test";
    if !as_root() {
        eprintln!("SKIPPED: only root can start processes as others");
        return;
    }
    let server = Server::start_as_ordinary(ORDINARY);
    let master = Master::start(&server);
    let path = master.path("service");
    unix_service(&path, |stream| {
        let peer =
            nix::sys::socket::getsockopt(&stream, nix::sys::socket::sockopt::PeerCredentials);
        let peer = peer.unwrap();
        writeln!(&stream, "{} {} {}", peer.uid(), peer.gid(), peer.pid()).unwrap();
    });
    let everybody = std::os::unix::fs::PermissionsExt::from_mode;
    fs::set_permissions(&path, everybody(0o666)).unwrap();
    fs::set_permissions(path.parent().unwrap(), everybody(0o755)).unwrap();
    let socket = master.forward_local("socket", &shown(&path));
    let id = |flag| text(&output(std::process::Command::new("id").args([flag, ORDINARY])).stdout);
    let expected = format!(
        "{} {} {}\n",
        id("-u").trim(),
        id("-g").trim(),
        master.session()
    );
    assert_eq!(text(&ask_unix(&socket, b"")), expected);
    // The rights of the account are those that count: it may not connect here.
    fs::set_permissions(&path, everybody(0o600)).unwrap();
    assert_eq!(text(&ask_unix(&socket, b"")), "");
    assert_ne!(
        status_field(master.session(), "Uid")
            .unwrap()
            .split_whitespace()
            .next(),
        Some("0")
    );
}

#[test]
fn the_socket_of_a_container_engine_is_not_to_be_had_under_any_name() {
    let mut server = Server::start();
    let master = Master::start(&server);
    let engine = master.path("docker.sock");
    unix_service(&engine, answer_backwards);
    symlink(&engine, master.path("by-link")).unwrap();
    fs::hard_link(&engine, master.path("by-hard-link")).unwrap();
    symlink(engine.parent().unwrap(), master.path("folder")).unwrap();
    for (number, name) in [
        "docker.sock",
        "by-link",
        "by-hard-link",
        "folder/docker.sock",
        "folder/./by-link",
    ]
    .into_iter()
    .enumerate()
    {
        let socket = master.forward_local(&number.to_string(), &shown(&master.path(name)));
        assert!(!leads_there(&socket), "{name}");
        let reason = server.event("forward_prohibited", |_| true)["reason"].to_string();
        assert!(reason.contains("*/docker.sock"), "{reason}");
    }
    let path = master.path("other.sock");
    unix_service(&path, answer_backwards);
    assert!(leads_there(&master.forward_local("other", &shown(&path))));
}

#[test]
fn metadata_addresses_are_refused_and_the_user_is_told() {
    let server = Server::start();
    for destination in [
        "169.254.169.254:80",
        "[::ffff:169.254.169.254]:80",
        "[fe80::1]:80",
        "[fd00:ec2::254]:80",
        "metadata.google.internal:80",
    ] {
        let refused = refusal(&server, destination);
        let expected = "administratively prohibited: bastion: ";
        assert!(
            refused.contains(expected) && refused.contains("deny_open lists"),
            "{refused}"
        );
    }
}

/// What ssh says when a destination is refused.
fn refusal(server: &Server, destination: &str) -> String {
    // Only by way of -v does ssh tell why `-W` failed.
    let user = server.user();
    let run = output(&mut server.ssh(&user, &["-v", "-W", destination]));
    assert!(!run.status.success(), "{destination}");
    let said = text(&run.stderr);
    let line = said.lines().find(|line| line.contains("open failed"));
    line.unwrap_or_else(|| panic!("{said}")).to_owned()
}
