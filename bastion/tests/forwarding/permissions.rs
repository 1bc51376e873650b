//! What certificate and configuration do not permit is refused, and the user is told.

use keys::certificate::CertificateOption;

use crate::services::{answer_backwards, leads_there, tcp_service, unix_service};
use crate::shown;
use crate::support::{Master, Server, User, output, text};

/// That nothing can be forwarded, in any way.
fn refuses_everything(server: &Server, user: &User) {
    let service = tcp_service(answer_backwards);
    let run = output(&mut server.ssh(user, &["-v", "-W", &service.to_string()]));
    let expected = "administratively prohibited: bastion: neither certificate nor configuration permit forwarding";
    assert!(
        text(&run.stderr).contains(expected),
        "{}",
        text(&run.stderr)
    );
    let master = Master::start_as(server, user, &[]);
    let path = master.path("service");
    unix_service(&path, answer_backwards);
    assert!(!leads_there(&master.forward_local("socket", &shown(&path))));
    for listen in ["0".to_owned(), shown(&master.path("listener"))] {
        let done = master.order("forward", ["-R", &format!("{listen}:{service}")]);
        assert!(!done.status.success(), "{listen}");
    }
    assert!(!master.path("listener").exists());
    assert_eq!(master.run("echo here").stdout, b"here\n");
}

#[test]
fn a_certificate_without_permit_port_forwarding_forwards_nothing() {
    let server = Server::start();
    let user = server.user_with(|spec| {
        spec.extensions
            .retain(|e| e.name != "permit-port-forwarding")
    });
    refuses_everything(&server, &user);
}

#[test]
fn neither_does_a_configuration_that_does_not_allow_it() {
    let server = Server::start_with("allow_tcp_forwarding = false", &[]);
    refuses_everything(&server, &server.user());
}

#[test]
fn only_what_is_listed_is_forwarded() {
    let (listed, other) = (tcp_service(answer_backwards), tcp_service(answer_backwards));
    let config = format!(
        "permit_open = [\"localhost:{}\", \"*/listed.sock\"]\npermit_listen = [\"*/listed.sock\"]",
        listed.port()
    );
    let server = Server::start_with(&config, &[]);
    let master = Master::start(&server);
    for name in ["listed.sock", "other.sock"] {
        unix_service(&master.path(name), answer_backwards);
    }
    for (name, destination, permitted) in [
        ("a", listed.to_string(), true),
        ("b", format!("localhost:{}", listed.port()), true),
        ("c", format!("0.0.0.0:{}", listed.port()), true),
        ("d", other.to_string(), false),
        ("e", shown(&master.path("listed.sock")), true),
        ("f", shown(&master.path("other.sock")), false),
    ] {
        let socket = master.forward_local(name, &destination);
        assert_eq!(leads_there(&socket), permitted, "{destination}");
    }
    let folder = tempfile::tempdir().unwrap();
    for (name, permitted) in [("listed.sock", true), ("other.sock", false)] {
        let path = folder.path().join(name);
        let done = master.order("forward", ["-R", &format!("{}:{listed}", shown(&path))]);
        assert_eq!(done.status.success(), permitted, "{name}");
    }
    assert!(
        !master
            .order("forward", ["-R", &format!("0:{listed}")])
            .status
            .success()
    );
}

#[test]
fn a_forced_command_does_not_stand_in_the_way_of_forwarding() {
    let (server, service) = (Server::start(), tcp_service(answer_backwards));
    let user = server.user_with(|spec| {
        let forced = CertificateOption::with_value("force-command", "echo forced").unwrap();
        spec.critical_options.push(forced);
    });
    let mut ssh = server.ssh(&user, &["-W", &service.to_string()]);
    assert!(output(&mut ssh).status.success());
    let run = output(server.ssh(&user, &[]).arg("echo mine"));
    assert_eq!(text(&run.stdout), "forced\n");
}

/// There is no X11 here. `ssh -X` says so, and goes on.
#[test]
fn x11_is_refused() {
    let server = Server::start();
    let user = server.user();
    let mut ssh = server.ssh(&user, &["-X", "-o", "LogLevel=INFO"]);
    let run = output(
        ssh.arg("echo \"<$DISPLAY>\"")
            .env("DISPLAY", "127.0.0.1:99"),
    );
    assert_eq!(text(&run.stdout), "<>\n");
    let said = text(&run.stderr);
    assert!(
        said.contains("X11 forwarding request failed") || said.contains("No xauth data"),
        "{said}"
    );
}
