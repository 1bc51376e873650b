//! What the server listens at for the client: `-R`, ports and Unix sockets.

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};

use crate::services::{answer_backwards, ask, pattern, tcp_service, try_ask, unix_service};
use crate::shown;
use crate::support::{Master, Server, as_root, free_port, output, text, wait_for};

fn leads_there(port: u16) -> bool {
    let asked =
        TcpStream::connect(("127.0.0.1", port)).and_then(|stream| try_ask(stream, b"there"));
    asked.is_ok_and(|answer| answer == b"ereht")
}

#[test]
fn ports_are_listened_at_and_cancelled_one_by_one() {
    let server = Server::start();
    let master = Master::start(&server);
    // One for each: what it has been asked for already, ssh does not ask for again.
    let services = [0, 1, 2].map(|_| tcp_service(answer_backwards).to_string());
    let fixed = free_port();
    let asked = ["0".to_owned(), "0".to_owned(), fixed.to_string()];
    let ports = [0, 1, 2].map(|number| master.forward_remote(&asked[number], &services[number]));
    assert!(
        ports[0] != ports[1] && ports[2] == fixed && !ports.contains(&0),
        "{ports:?}"
    );
    assert!(ports.iter().all(|&port| leads_there(port)), "{ports:?}");
    for gone in 0..ports.len() {
        let what = format!("{}:{}", asked[gone], services[gone]);
        let done = master.order("cancel", ["-R", &what]);
        assert!(done.status.success(), "{what}: {}", text(&done.stderr));
        // ssh does not wait for an answer.
        wait_for("the port to be closed", || {
            TcpStream::connect(("127.0.0.1", ports[gone])).err()
        });
        for (number, &port) in ports.iter().enumerate() {
            assert_eq!(
                leads_there(port),
                number > gone,
                "{port} after {gone} were cancelled"
            );
        }
    }
}

#[test]
fn a_megabyte_arrives_whole_both_ways() {
    let (server, service) = (Server::start(), tcp_service(answer_backwards));
    let master = Master::start(&server);
    let port = master.forward_remote("0", &service.to_string());
    let question = pattern(5_000_000);
    let mut answer = ask(TcpStream::connect(("127.0.0.1", port)).unwrap(), &question);
    answer.reverse();
    assert!(answer == question, "{} bytes came back", answer.len());
}

/// The local addresses of a listening port, as the kernel writes them.
fn addresses(port: u16) -> Vec<String> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"]
        .map(|table| fs::read_to_string(table).unwrap_or_default());
    let lines = tables.iter().flat_map(|table| table.lines().skip(1));
    let fields = lines.map(|line| line.split_whitespace().collect::<Vec<_>>());
    fields
        .filter(|fields| fields[3] == "0A" && fields[1].ends_with(&format!(":{port:04X}")))
        .map(|fields| fields[1].to_owned())
        .collect()
}

#[test]
fn nobody_else_can_connect_unless_the_configuration_says_so() {
    let service = tcp_service(answer_backwards).to_string();
    let loopback = ["0100007F", "00000000000000000000000001000000"];
    for (config, expected) in [
        ("", loopback),
        (
            "gateway_ports = \"yes\"",
            ["00000000", "00000000000000000000000000000000"],
        ),
    ] {
        let server = Server::start_with(config, &[]);
        let master = Master::start(&server);
        let port = master.forward_remote("0.0.0.0:0", &service);
        let found = addresses(port);
        assert!(!found.is_empty());
        for address in found {
            let (address, _) = address.split_once(':').unwrap();
            assert!(expected.contains(&address), "{config}: {address}");
        }
        assert!(leads_there(port));
    }
}

#[test]
fn a_port_that_is_taken_is_refused() {
    let (server, service) = (Server::start(), tcp_service(answer_backwards));
    let master = Master::start(&server);
    let done = master.order("forward", ["-R", &format!("{}:{service}", service.port())]);
    assert!(!done.status.success());
    assert_eq!(master.run("echo here").stdout, b"here\n");
}

#[test]
fn reserved_ports_are_not_for_ordinary_users() {
    if !as_root() {
        eprintln!("SKIPPED: only root can start processes as others");
        return;
    }
    let mut server = Server::start_as_ordinary("bastion-test");
    let master = Master::start(&server);
    let done = master.order("forward", ["-R", "1023:127.0.0.1:1"]);
    assert!(!done.status.success());
    let reason = server.event("forward_prohibited", |_| true)["reason"].to_string();
    assert!(reason.contains("port 1023 is reserved"), "{reason}");
}

#[test]
fn a_listener_goes_with_its_connection() {
    let (server, service) = (Server::start(), tcp_service(answer_backwards));
    let master = Master::start(&server);
    let port = master.forward_remote("0", &service.to_string());
    // Beyond the master's folder, which goes with it.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("listener");
    let done = master.order("forward", ["-R", &format!("{}:{service}", shown(&path))]);
    assert!(
        done.status.success() && path.exists(),
        "{}",
        text(&done.stderr)
    );
    assert!(leads_there(port));
    master.cut(&server);
    wait_for("the port to be closed", || {
        TcpStream::connect(("127.0.0.1", port)).err()
    });
    wait_for("the socket to be removed", || {
        (!path.exists()).then_some(())
    });
}

#[test]
fn a_unix_socket_is_listened_at_for_the_account_alone() {
    let server = Server::start();
    let master = Master::start(&server);
    let (path, service) = (master.path("listener"), master.path("service"));
    unix_service(&service, answer_backwards);
    let what = format!("{}:{}", shown(&path), shown(&service));
    let done = master.order("forward", ["-R", &what]);
    assert!(done.status.success(), "{}", text(&done.stderr));
    let file = fs::metadata(&path).unwrap();
    assert_eq!(file.permissions().mode() & 0o777, 0o600);
    assert_eq!(ask(UnixStream::connect(&path).unwrap(), b"abc"), b"cba");
    assert!(master.order("cancel", ["-R", &what]).status.success());
    // ssh does not wait for an answer.
    wait_for("the socket to be removed", || {
        (!path.exists()).then_some(())
    });
}

/// sshd_config(5): StreamLocalBindMask, StreamLocalBindUnlink.
#[test]
fn what_is_in_the_way_stays_unless_the_configuration_says_otherwise() {
    for (config, replaced) in [
        ("", false),
        (
            "stream_local_bind_unlink = true\nstream_local_bind_mask = \"0111\"",
            true,
        ),
    ] {
        let (server, service) = (
            Server::start_with(config, &[]),
            tcp_service(answer_backwards),
        );
        let master = Master::start(&server);
        let (socket, file) = (master.path("socket"), master.path("file"));
        drop(UnixListener::bind(&socket).unwrap());
        fs::write(&file, "precious").unwrap();
        let done = master.order("forward", ["-R", &format!("{}:{service}", shown(&socket))]);
        assert_eq!(done.status.success(), replaced, "{config}");
        assert_eq!(UnixStream::connect(&socket).is_ok(), replaced, "{config}");
        if replaced {
            assert_eq!(
                fs::metadata(&socket).unwrap().permissions().mode() & 0o777,
                0o666
            );
            assert_eq!(ask(UnixStream::connect(&socket).unwrap(), b"abc"), b"cba");
        }
        let done = master.order("forward", ["-R", &format!("{}:{service}", shown(&file))]);
        assert!(!done.status.success(), "{config}");
        assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
    }
}

/// The session's order of things: `ssh -R` with a command, no master, several at once.
#[test]
fn a_command_can_use_what_is_forwarded_for_it() {
    let (server, service) = (Server::start(), tcp_service(answer_backwards));
    let port = free_port();
    let forward = format!("{port}:{service}");
    let user = server.user();
    let mut ssh = server.ssh(&user, &["-R", &forward, "-o", "ExitOnForwardFailure=yes"]);
    let run = output(ssh.arg(format!("cat < /proc/self/cmdline > /dev/null; bash -c '</dev/tcp/127.0.0.1/{port}' && echo connected")));
    assert_eq!(text(&run.stdout), "connected\n", "{}", text(&run.stderr));
}
