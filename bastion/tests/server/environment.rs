//! What a program finds in its environment.

use std::collections::BTreeMap;

use crate::support::{Server, account, output, text};

fn environment(
    server: &Server,
    arguments: &[&str],
    variables: &[(&str, &str)],
) -> BTreeMap<String, String> {
    let user = server.user();
    let mut ssh = server.ssh(&user, arguments);
    let run = output(ssh.arg("env -0").envs(variables.iter().copied()));
    let text = text(&run.stdout);
    let pairs = text.split('\0').filter_map(|pair| pair.split_once('='));
    pairs
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

#[test]
fn a_login_environment() {
    let server = Server::start();
    let found = environment(&server, &[], &[]);
    let account = account();
    assert_eq!(found["USER"], account);
    assert_eq!(found["LOGNAME"], account);
    assert!(found["HOME"].starts_with('/'));
    assert!(found["SHELL"].starts_with('/'));
    assert!(
        found["PATH"]
            .split(':')
            .any(|folder| folder == "/usr/local/bin")
    );
    let connection: Vec<_> = found["SSH_CONNECTION"].split(' ').collect();
    assert_eq!((connection[0], connection[2]), ("127.0.0.1", "127.0.0.1"));
    assert_eq!(connection[3], server.address.port().to_string());
    assert!(!found.contains_key("SSH_TTY"));
}

#[test]
fn a_terminal_adds_its_name() {
    let server = Server::start();
    let run = output(
        server
            .ssh(&server.user(), &["-tt"])
            .arg("echo $SSH_TTY $TERM; tty")
            .env("TERM", "xterm-256color"),
    );
    let out = text(&run.stdout);
    let lines: Vec<_> = out.lines().map(str::trim).collect();
    assert_eq!(lines[0], format!("{} xterm-256color", lines[1]));
}

#[test]
fn the_client_may_set_what_is_listed_and_nothing_else() {
    let server = Server::start_with("accept_env = [\"LC_*\", \"*\"]", &[]);
    let sent = ["-o", "SendEnv=LC_ALL MINE LD_PRELOAD PATH BASH_ENV"];
    let values = [
        ("LC_ALL", "C.UTF-8"),
        ("MINE", "1"),
        ("LD_PRELOAD", ""),
        ("BASH_ENV", "/x"),
    ];
    let found = environment(&server, &sent, &values);
    assert_eq!(
        (found["LC_ALL"].as_str(), found["MINE"].as_str()),
        ("C.UTF-8", "1")
    );
    assert!(!found.contains_key("LD_PRELOAD") && !found.contains_key("BASH_ENV"));
    let strict = Server::start();
    let found = environment(&strict, &sent, &values);
    assert_eq!(found["LC_ALL"], "C.UTF-8");
    assert!(!found.contains_key("MINE"));
}

/// RFC 4254 §6.4 says of neither name nor value what it is encoded in.
#[test]
fn a_variable_that_is_no_utf8_ends_nothing() {
    use std::os::unix::ffi::OsStrExt;
    let server = Server::start();
    let user = server.user();
    let mut ssh = server.ssh(&user, &["-o", "SendEnv=LC_ODD"]);
    let odd = std::ffi::OsStr::from_bytes(b"caf\xe9");
    let run = output(ssh.env("LC_ODD", odd).arg("echo in"));
    assert_eq!(text(&run.stdout), "in\n", "{}", text(&run.stderr));
}

#[test]
fn listed_variables_of_the_container_are_passed_on() {
    let container = [
        ("OPENCLAW_GATEWAY_PASSWORD", "swordfish"),
        ("POMERIUM_CLUSTER_DOMAIN", "fox.example"),
        ("AWS_SECRET_ACCESS_KEY", "not for programs"),
    ];
    let server = Server::start_with("set_env = { EDITOR = \"vi\" }", &container);
    let found = environment(&server, &[], &[]);
    assert_eq!(found["OPENCLAW_GATEWAY_PASSWORD"], "swordfish");
    assert_eq!(found["POMERIUM_CLUSTER_DOMAIN"], "fox.example");
    assert_eq!(found["EDITOR"], "vi");
    assert!(!found.contains_key("AWS_SECRET_ACCESS_KEY"));
}

#[test]
fn no_umask_lets_others_write() {
    for (given, expected) in [("0", "0022"), ("002", "0022"), ("077", "0077")] {
        let script = format!("umask {given}; exec \"$0\" \"$@\"");
        let server = Server::start_under(&["sh", "-c", &script], "");
        assert_eq!(text(&server.run("umask").stdout), format!("{expected}\n"));
    }
}
