//! What an administrator does: start, stop, change the trusted keys, read the log, kill a part.

use std::fs;
use std::process::{Command, Stdio};

use keys::generate::{KeyKind, generate};
use serde_json::Value;

use crate::support::{Server, User, account, output, signal, text, wait_for};

fn bastion(arguments: &[&str]) -> (Option<i32>, String) {
    let run = output(Command::new(env!("CARGO_BIN_EXE_bastion")).args(arguments));
    (run.status.code(), text(&run.stdout) + &text(&run.stderr))
}

#[test]
fn host_keys_are_made_once_for_their_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    fs::create_dir(&state).unwrap();
    let ca = generate(KeyKind::Ed25519, "").unwrap();
    fs::write(
        folder.path().join("ca.pub"),
        ca.public_key().to_openssh().unwrap(),
    )
    .unwrap();
    let mut server = Server::start_in(folder, ca, "", &[]);
    let state = server.folder.path().join("state");
    let read = |name: &str| fs::read_to_string(state.join(name)).unwrap();
    let names = [
        "ssh_host_ed25519_key",
        "ssh_host_ecdsa_key",
        "ssh_host_rsa_key",
    ];
    for name in names {
        assert_eq!(
            fs::metadata(state.join(name)).unwrap().permissions().mode() & 0o777,
            0o600
        );
        let run = output(Command::new("ssh-keygen").arg("-lf").arg(state.join(name)));
        assert!(run.status.success(), "{}", text(&run.stderr));
    }
    let before = names.map(read);
    let made = server
        .events_so_far()
        .iter()
        .filter(|event| event["event"] == "host_key" && event["made"] == true);
    assert_eq!(made.count(), 3);
    assert!(server.stop().success());
    let folder = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(server.folder.path()).unwrap() {
        let entry = entry.unwrap();
        assert!(
            Command::new("cp")
                .arg("-a")
                .arg(entry.path())
                .arg(folder.path())
                .status()
                .unwrap()
                .success()
        );
    }
    let mut again = Server::start_in(folder, server.ca.clone(), "", &[]);
    let state = again.folder.path().join("state");
    assert_eq!(
        names.map(|name| fs::read_to_string(state.join(name)).unwrap()),
        before
    );
    let made = again
        .events_so_far()
        .iter()
        .filter(|event| event["event"] == "host_key" && event["made"] == true);
    assert_eq!(made.count(), 0);
}

#[test]
fn the_trusted_keys_are_read_again_when_they_change() {
    let mut server = Server::start();
    let file = server.folder.path().join("ca.pub");
    let old = fs::read_to_string(&file).unwrap();
    let new_ca = generate(KeyKind::EcdsaP256, "").unwrap();
    let new = new_ca.public_key().to_openssh().unwrap() + "\n";
    let (old_user, new_user) = (server.user(), User::new(KeyKind::Ed25519, &new_ca, |_| {}));
    let lets_in =
        |server: &Server, user: &User| output(server.ssh(user, &[]).arg("true")).status.success();
    assert!(lets_in(&server, &old_user) && !lets_in(&server, &new_user));
    // A rotation: both, then the new one only.
    fs::write(&file, format!("{old}{new}")).unwrap();
    server.event("trusted_keys_read", |event| {
        event["fingerprints"].as_array().unwrap().len() == 2
    });
    assert!(lets_in(&server, &old_user) && lets_in(&server, &new_user));
    fs::write(&file, &new).unwrap();
    server.event("trusted_keys_read", |event| {
        event["fingerprints"].as_array().unwrap().len() == 1
    });
    assert!(!lets_in(&server, &old_user) && lets_in(&server, &new_user));
    // A broken file trusts nobody, and says so.
    fs::write(&file, "ssh-ed25519 nonsense\n").unwrap();
    let unusable = server.event("trusted_keys_unusable", |_| true);
    assert!(
        unusable["error"].as_str().unwrap().contains("line 1"),
        "{unusable}"
    );
    assert!(!lets_in(&server, &old_user) && !lets_in(&server, &new_user));
    fs::remove_file(&file).unwrap();
    server.event("trusted_keys_unusable", |_| true);
    fs::write(&file, &old).unwrap();
    server.event("trusted_keys_read", |_| true);
    assert!(lets_in(&server, &old_user));
}

#[test]
fn a_killed_gate_is_back_and_sessions_have_ended() {
    let mut server = Server::start();
    let user = server.user();
    let mut ssh = server
        .ssh(&user, &[])
        .arg("sleep 1000")
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let program = server.event("program_started", |_| true)["pid"]
        .as_u64()
        .unwrap();
    let gate = server.gate();
    signal(gate, "KILL");
    server.event("gate_ended", |_| true);
    server.event("listening", |_| true);
    assert_ne!(server.gate(), gate);
    assert!(!ssh.wait().unwrap().success());
    let program = u32::try_from(program).unwrap();
    wait_for("the program's end", || {
        (!crate::support::is_alive(program)).then_some(())
    });
    assert_eq!(text(&server.run("echo again").stdout), "again\n");
}

/// A supervisor may ignore them, and what it starts then ignores them, too.
#[test]
fn signals_that_were_ignored_at_the_start_are_taken_all_the_same() {
    let script = "trap '' CHLD TERM HUP; exec \"$0\" \"$@\"";
    let mut server = Server::start_under(&["sh", "-c", script], "");
    signal(server.gate(), "KILL");
    server.event("gate_ended", |_| true);
    server.event("listening", |_| true);
    assert_eq!(text(&server.run("echo in").stdout), "in\n");
    signal(server.pid(), "TERM");
    server.event("stopped", |_| true);
}

#[test]
fn a_part_that_a_nameless_signal_has_killed_is_missed() {
    let mut server = Server::start();
    let user = server.user();
    let mut ssh = server.ssh(&user, &[]).arg("sleep 1000").spawn().unwrap();
    let session = server.event("session_opened", |_| true)["pid"].as_u64();
    signal(u32::try_from(session.unwrap()).unwrap(), "34");
    let how = server.event("session_closed", |_| true)["how"].clone();
    assert_eq!(how, "it was killed by SIG34");
    assert!(!ssh.wait().unwrap().success());
    let gate = server.gate();
    signal(gate, "34");
    server.event("gate_ended", |_| true);
    server.event("listening", |_| true);
    assert_eq!(text(&server.run("echo again").stdout), "again\n");
}

#[test]
fn a_killed_session_ends_its_connection_and_no_other() {
    let mut server = Server::start();
    let user = server.user();
    let start = || {
        server
            .ssh(&user, &["-o", "LogLevel=INFO"])
            .arg("sleep 1000")
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let first = start();
    let other = start();
    let session = u32::try_from(
        server.event("session_opened", |_| true)["pid"]
            .as_u64()
            .unwrap(),
    )
    .unwrap();
    server.event("session_opened", |_| true);
    server.event("program_started", |_| true);
    signal(session, "KILL");
    server.event("session_closed", |event| {
        event["how"].as_str().unwrap().contains("SIGKILL")
    });
    let mut both = [first, other];
    let ended = wait_for("the end of one", || {
        both.iter_mut()
            .position(|ssh| ssh.try_wait().unwrap().is_some())
    });
    let [first, other] = both;
    let (gone, mut stays) = if ended == 0 {
        (first, other)
    } else {
        (other, first)
    };
    let run = gone.wait_with_output().unwrap();
    assert!(
        text(&run.stderr).contains("the session process has ended"),
        "{}",
        text(&run.stderr)
    );
    assert!(stays.try_wait().unwrap().is_none());
    stays.kill().unwrap();
    stays.wait().unwrap();
}

#[test]
fn sigterm_ends_it_in_order() {
    let mut server = Server::start_with("shutdown_grace_time = \"1s\"", &[]);
    let user = server.user();
    let ssh = server
        .ssh(&user, &["-o", "LogLevel=INFO"])
        .arg("sleep 1000")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let program = server.event("program_started", |_| true)["pid"]
        .as_u64()
        .unwrap();
    let status = server.stop();
    assert!(status.success(), "{status}");
    let run = ssh.wait_with_output().unwrap();
    assert!(
        text(&run.stderr).contains("bastion is shutting down"),
        "{}",
        text(&run.stderr)
    );
    let events: Vec<_> = server
        .events_so_far()
        .iter()
        .map(|event| event["event"].clone())
        .collect();
    assert!(events.ends_with(&[Value::from("stopped")]), "{events:?}");
    assert!(
        events.contains(&Value::from("session_closed")),
        "{events:?}"
    );
    let program = u32::try_from(program).unwrap();
    wait_for("the program's end", || {
        (!crate::support::is_alive(program)).then_some(())
    });
}

#[test]
fn an_idle_bastion_stops_at_once() {
    let mut server = Server::start_with("shutdown_grace_time = \"1h\"", &[]);
    assert!(server.stop().success());
    let ended = server.event("gate_ended", |_| true);
    assert_eq!(ended["how"], "it exited with status 0");
}

#[test]
fn the_log_tells_a_login_from_beginning_to_end() {
    let mut server = Server::start();
    assert!(server.run("echo 12345").status.success());
    server.event("session_closed", |_| true);
    // Either of the two may come last.
    let closed = |event: &Value| event["event"] == "connection_closed";
    if !server.events_so_far().iter().any(closed) {
        server.event("connection_closed", |_| true);
    }
    let wanted = [
        "connection_opened",
        "login",
        "session_opened",
        "program_started",
        "program_ended",
        "channel_closed",
        "connection_closed",
        "session_closed",
    ];
    for name in wanted {
        let found = server
            .events_so_far()
            .iter()
            .filter(|event| event["event"] == name)
            .count();
        assert_eq!(found, 1, "{name}");
    }
    let events = server.events_so_far();
    let login = events
        .iter()
        .find(|event| event["event"] == "login")
        .unwrap();
    assert_eq!(login["verdict"], "accepted");
    assert_eq!(login["login"], "claw");
    assert_eq!(login["account"], account());
    assert_eq!(login["serial"], 1);
    assert_eq!(login["key_id"], "");
    assert_eq!(login["principals"], serde_json::json!(["claw"]));
    assert!(login["ca"].as_str().unwrap().starts_with("SHA256:"));
    assert!(login["key"].as_str().unwrap().starts_with("SHA256:"));
    let closed = events
        .iter()
        .find(|event| event["event"] == "channel_closed")
        .unwrap();
    assert_eq!(closed["sent"], 6);
    assert!(
        events
            .iter()
            .all(|event| event["time"].as_str().unwrap().ends_with('Z'))
    );
}

#[test]
fn the_configuration_is_checked_with_a_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bastion.toml");
    let check = |text: &str| {
        fs::write(&file, text).unwrap();
        bastion(&["check-config", "--config", file.to_str().unwrap()])
    };
    let ca = folder.path().join("ca.pub");
    let key = generate(KeyKind::Ed25519, "").unwrap();
    fs::write(&ca, key.public_key().to_openssh().unwrap()).unwrap();
    let own = format!(
        "permit_root_login = true\nlogins = {{ claw = \"{}\" }}\ntrusted_user_ca_keys = {ca:?}\n",
        account()
    );
    let (status, said) = check(&own);
    assert_eq!(status, Some(0), "{said}");
    assert!(
        said.ends_with("bastion: the configuration is good\n"),
        "{said}"
    );
    for (text, part) in [
        ("port = 22", "unknown field `port`"),
        ("listen = \"nowhere\"", "listen"),
        (
            "logins = { claw = \"no-such-account\" }",
            "there is no account 'no-such-account' on this machine",
        ),
        ("max_sessions = 0", "max_sessions = 0"),
    ] {
        let (status, said) = check(text);
        assert_eq!(status, Some(1));
        assert!(said.contains(part), "{said}");
    }
    let (status, said) = bastion(&["check-config", "--config", "/no/such/file"]);
    assert_eq!(status, Some(1));
    assert!(
        said.contains("cannot read the configuration: /no/such/file"),
        "{said}"
    );
}

#[test]
fn what_cannot_be_served_is_said_in_a_sentence() {
    let server = Server::start();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bastion.toml");
    fs::write(&file, "permit_root_login = true").unwrap();
    let login = format!("claw={}", account());
    let state = server.folder.path().join("state");
    let address = server.address.to_string();
    let common = [
        "--config",
        file.to_str().unwrap(),
        "--login",
        &login,
        "--state-dir",
    ];
    let taken = [
        &common[..],
        &[state.to_str().unwrap(), "--listen", &address],
    ]
    .concat();
    let (status, said) = bastion(&taken);
    assert_eq!(status, Some(1));
    assert!(
        said.contains(&format!("cannot listen on {address}")),
        "{said}"
    );
    let no_folder = [&common[..], &["/dev/null/state", "--listen", "127.0.0.1:0"]].concat();
    let (status, said) = bastion(&no_folder);
    assert_eq!(status, Some(1));
    assert!(said.contains("/dev/null/state"), "{said}");
}

/// What the configuration says by now may be in force after the next start only.
#[test]
fn the_health_check_asks_where_the_server_listens() {
    let folder = tempfile::tempdir().unwrap();
    let ca = generate(KeyKind::Ed25519, "").unwrap();
    let line = ca.public_key().to_openssh().unwrap();
    fs::write(folder.path().join("ca.pub"), line).unwrap();
    let config = format!("state_dir = {:?}", folder.path().join("state"));
    let server = Server::start_in(folder, ca, &config, &[]);
    let file = server.folder.path().join("bastion.toml");
    let check = || bastion(&["healthcheck", "--config", file.to_str().unwrap()]);
    let port = server.address.port();
    let well = (Some(0), format!("SSH at port {port} is well\n"));
    assert_eq!(check(), well);
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("listen = [\"127.0.0.1:1\"]\n{text}")).unwrap();
    assert_eq!(check(), well);
    signal(server.pid(), "TERM");
    wait_for("nobody to be there", || {
        (check().0 == Some(1)).then_some(())
    });
}
