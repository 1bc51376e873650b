//! A configuration that changes while bastion serves.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::key_files::{assert_goes_on, assert_refused, open_session, refusal, replace};
use crate::support::{Server, output, text, wait_for};

/// A bastion, and its bastion.toml to be changed.
fn with_configuration(config: &str) -> (Server, PathBuf) {
    let server = Server::start_with(config, &[]);
    let file = server.folder.path().join("bastion.toml");
    (server, file)
}

fn configure(file: &Path, config: &str) {
    replace(file, format!("permit_root_login = true\n{config}\n"));
}

#[test]
fn a_changed_configuration_is_for_new_connections() {
    let (mut server, file) = with_configuration("set_env = { GREETING = \"old\" }");
    let user = server.user();
    let session = open_session(&mut server, &user);
    assert_eq!(text(&server.run("echo $GREETING").stdout), "old\n");
    let new = "set_env = { GREETING = \"new\" }\nallow_tcp_forwarding = false\nmax_connections = 1";
    configure(&file, &new.replace("= 1", "= 100"));
    let read = server.event("configuration_read", |_| true);
    assert_eq!(read["needs_restart"], json!([]));
    assert_eq!(text(&server.run("echo $GREETING").stdout), "new\n");
    let address = format!("127.0.0.1:{}", server.address.port());
    let run = output(&mut server.ssh(&user, &["-W", &address]));
    assert!(!run.status.success() && run.stdout.is_empty());
    // One at a time from now on, which is the open one.
    configure(&file, new);
    wait_for("the new limit", || refusal(&server, &user));
    configure(&file, "");
    wait_for("the old limit", || {
        refusal(&server, &user).is_none().then_some(())
    });
    assert_goes_on(session);
    let listening = |event: &&Value| event["event"] == "listening";
    assert_eq!(server.events_so_far().iter().filter(listening).count(), 1);
}

#[test]
fn a_bad_configuration_changes_nothing_and_is_told() {
    let (mut server, file) = with_configuration("set_env = { GREETING = \"old\" }");
    let user = server.user();
    let session = open_session(&mut server, &user);
    let refused = |server: &mut Server, why: &[&str]| {
        let event = server.event("configuration_unusable", |_| true);
        let error = event["error"].as_str().unwrap();
        assert!(why.iter().all(|why| error.contains(why)), "{error}");
        assert!(
            error.ends_with("what was in force before stays in force"),
            "{error}"
        );
        assert_eq!(text(&server.run("echo $GREETING").stdout), "old\n");
    };
    let greeting = "set_env = { GREETING = \"new\" }";
    configure(&file, &format!("{greeting}\nmax_auth_tries = 0"));
    refused(&mut server, &["max_auth_tries = 0", "give at least 1"]);
    configure(&file, &format!("{greeting}\nport = 22"));
    refused(&mut server, &["bastion.toml", "unknown field `port`"]);
    configure(&file, "set_env = {");
    refused(&mut server, &["bastion.toml"]);
    fs::remove_file(&file).unwrap();
    refused(&mut server, &["bastion.toml", "No such file"]);
    // Asked for once more, it is told once more.
    server.signal("HUP");
    refused(&mut server, &["bastion.toml", "No such file"]);
    configure(&file, greeting);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
    server.event("configuration_unusable", |event| {
        event["error"].as_str().unwrap().contains("chmod go-w")
    });
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    server.event("configuration_read", |_| true);
    assert_eq!(text(&server.run("echo $GREETING").stdout), "new\n");
    assert_goes_on(session);
}

#[test]
fn sighup_reads_the_configuration_and_names_what_takes_a_restart() {
    let (mut server, file) = with_configuration("");
    configure(
        &file,
        "sandbox = \"required\"\ngate_user = \"nobody\"\naccept_env = [\"EDITOR\"]",
    );
    server.signal("HUP");
    let read = server.event("configuration_read", |_| true);
    assert_eq!(read["needs_restart"], json!(["gate_user", "sandbox"]));
    assert_eq!(read["file"], file.to_str().unwrap());
    let user = server.user();
    let run = output(
        server
            .ssh(&user, &["-o", "SendEnv=EDITOR"])
            .arg("echo $EDITOR")
            .env("EDITOR", "ed"),
    );
    assert_eq!(text(&run.stdout), "ed\n");
    // Nothing has changed, and that is said.
    server.signal("HUP");
    server.event("configuration_read", |_| true);
}

/// Other files may be named, too.
#[test]
fn other_files_of_keys_can_be_named() {
    let (mut server, file) = with_configuration("");
    let user = server.user();
    let revoked = server.folder.path().join("revoked");
    fs::write(&revoked, user.private.public_key().to_openssh().unwrap()).unwrap();
    configure(&file, &format!("revoked_keys = {revoked:?}"));
    server.event("revoked_keys_read", |event| event["entries"] == 1);
    assert_refused(&server, &user, "has been revoked here");
    configure(&file, "");
    server.event("configuration_read", |_| true);
    assert_eq!(refusal(&server, &user), None);
}
