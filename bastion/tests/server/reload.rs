//! What changes while bastion serves: revoked keys, CAs, the configuration.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use keys::generate::{KeyKind, generate};
use serde_json::{Value, json};

use crate::support::{Server, User, account, as_root, finish, output, text, wait_for};

fn ssh_keygen(arguments: &[&str]) {
    let run = output(Command::new("ssh-keygen").args(arguments));
    assert!(run.status.success(), "{}", text(&run.stderr));
}

/// A list that revokes nothing. An empty file is what a full disk leaves.
const NOTHING: &str = "# nothing yet\n";

/// A bastion with a list of revoked keys, without any to begin with.
fn with_revoked_keys() -> (Server, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let ca = generate(KeyKind::Ed25519, "test CA").unwrap();
    let line = ca.public_key().to_openssh().unwrap() + "\n";
    fs::write(folder.path().join("ca.pub"), line).unwrap();
    let file = folder.path().join("revoked");
    fs::write(&file, NOTHING).unwrap();
    let config = format!("revoked_keys = {file:?}");
    let mut server = Server::start_in(folder, ca, &config, &[]);
    let read = |event: &Value| event["event"] == "revoked_keys_read" && event["entries"] == 0;
    assert!(server.events_so_far().iter().any(read));
    (server, file)
}

/// As an administrator does it: the new file takes the old one's place at once.
fn replace(file: &Path, content: impl AsRef<[u8]>) {
    let new = file.with_extension("new");
    fs::write(&new, content).unwrap();
    fs::set_permissions(&new, fs::Permissions::from_mode(0o644)).unwrap();
    fs::rename(&new, file).unwrap();
}

/// What the user reads when not let in; nothing if let in.
fn refusal(server: &Server, user: &User) -> Option<String> {
    let run = output(server.ssh(user, &["-o", "LogLevel=INFO"]).arg("true"));
    (!run.status.success()).then(|| text(&run.stderr))
}

#[track_caller]
fn assert_refused(server: &Server, user: &User, why: &str) {
    let said = refusal(server, user).expect("let in");
    assert!(said.contains(why), "{said}");
}

/// A session that goes on until its input ends.
fn open_session(server: &mut Server, user: &User) -> Child {
    let cat = server
        .ssh(user, &[])
        .arg("cat")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    server.event("program_started", |_| true);
    cat
}

#[track_caller]
fn assert_goes_on(mut session: Child) {
    use std::io::Write;
    let mut input = session.stdin.take().unwrap();
    input.write_all(b"still here\n").unwrap();
    drop(input);
    let run = finish(session);
    assert_eq!(text(&run.stdout), "still here\n", "{}", text(&run.stderr));
}

#[test]
fn a_revoked_key_lets_nobody_in_from_then_on_and_sessions_stay() {
    let (mut server, file) = with_revoked_keys();
    let (user, other) = (server.user(), server.user());
    assert_eq!(refusal(&server, &user), None);
    let session = open_session(&mut server, &user);
    let list = server.folder.path().join("krl");
    let list = list.to_str().unwrap();
    let public = user.private.public_key().to_openssh().unwrap();
    let spec = server.folder.path().join("spec");
    fs::write(&spec, format!("sha256: {public}\n")).unwrap();
    ssh_keygen(&["-q", "-k", "-f", list, spec.to_str().unwrap()]);
    fs::rename(list, &file).unwrap();
    server.event("revoked_keys_read", |event| event["entries"] == 1);
    assert_refused(&server, &user, "has been revoked here; make a new one");
    let login = server.event("login", |event| event["verdict"] == "refused");
    assert_eq!(login["reason"]["code"], "revoked_key");
    assert_eq!(refusal(&server, &other), None);
    assert_goes_on(session);
    // As a plain list; of the CA this time, whose users are strangers from now on.
    let ca = server.ca.public_key().to_openssh().unwrap();
    replace(&file, format!("# gone\n{ca}\n"));
    server.event("revoked_keys_read", |event| event["entries"] == 1);
    let said = refusal(&server, &other).expect("let in");
    assert!(!said.contains("bastion:"), "{said}");
    let login = server.event("login", |event| event["verdict"] == "refused");
    assert_eq!(login["reason"]["code"], "revoked_authority");
}

#[test]
fn certificates_are_revoked_by_serial_and_key_id() {
    let (mut server, file) = with_revoked_keys();
    let seventh = server.user_with(|spec| spec.serial = 7);
    let eighth = server.user_with(|spec| spec.serial = 8);
    let named = server.user_with(|spec| spec.key_id = "alice@example.com".into());
    let folder = server.folder.path().to_owned();
    let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    fs::write(path("spec"), "serial: 7\nid: alice@example.com\n").unwrap();
    ssh_keygen(&[
        "-q",
        "-k",
        "-f",
        &path("krl"),
        "-s",
        &path("ca.pub"),
        &path("spec"),
    ]);
    fs::rename(path("krl"), &file).unwrap();
    server.event("revoked_keys_read", |event| event["entries"] == 2);
    assert_refused(&server, &seventh, "the serial number 7 has been revoked");
    assert_refused(
        &server,
        &named,
        "the key id \"alice@example.com\" have been revoked",
    );
    assert_eq!(refusal(&server, &eighth), None);
}

#[test]
fn a_list_that_cannot_be_relied_on_lets_nobody_in_and_is_told_once() {
    let (mut server, file) = with_revoked_keys();
    let user = server.user();
    let unusable = |server: &mut Server, why: &str| {
        let event = server.event("revoked_keys_unusable", |_| true);
        let error = event["error"].as_str().unwrap();
        assert!(error.contains(why), "{error}");
        assert!(
            error.ends_with("nobody can log in until that is mended"),
            "{error}"
        );
    };
    let usable = |server: &mut Server| {
        replace(&file, NOTHING);
        server.event("revoked_keys_read", |_| true);
        assert_eq!(refusal(server, &user), None);
    };
    replace(&file, "");
    unusable(&mut server, "is empty");
    usable(&mut server);
    replace(&file, b"SSHKRL\n\0 and no more");
    unusable(&mut server, "is a key revocation list that cannot be used");
    assert_refused(
        &server,
        &user,
        "the list of revoked keys cannot be read here",
    );
    usable(&mut server);
    fs::remove_file(&file).unwrap();
    unusable(&mut server, "No such file");
    assert_refused(
        &server,
        &user,
        "the list of revoked keys cannot be read here",
    );
    usable(&mut server);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
    unusable(&mut server, "run `chmod go-w");
    assert_refused(
        &server,
        &user,
        "the list of revoked keys cannot be read here",
    );
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    server.event("revoked_keys_read", |_| true);
    // A pipe that nobody writes to keeps nobody waiting.
    fs::remove_file(&file).unwrap();
    let made = Command::new("mkfifo").arg(&file).status().unwrap();
    assert!(made.success());
    unusable(&mut server, "is no regular file");
    assert_refused(
        &server,
        &user,
        "the list of revoked keys cannot be read here",
    );
    usable(&mut server);
    let told = server.events_so_far().iter();
    let told = told.filter(|event| event["event"] == "revoked_keys_unusable");
    assert_eq!(told.count(), 5);
}

#[test]
fn a_file_of_cas_that_others_can_write_trusts_nobody() {
    let mut server = Server::start();
    let user = server.user();
    let file = server.folder.path().join("ca.pub");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o646)).unwrap();
    server.event("trusted_keys_unusable", |event| {
        event["error"].as_str().unwrap().contains("chmod go-w")
    });
    assert!(refusal(&server, &user).is_some());
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    server.event("trusted_keys_read", |_| true);
    assert_eq!(refusal(&server, &user), None);
}

/// The old CA and the new side by side, then the new one alone. Who is in stays in.
#[test]
fn cas_are_rotated_without_ending_a_session() {
    let mut server = Server::start();
    let file = server.folder.path().join("ca.pub");
    let old = fs::read_to_string(&file).unwrap();
    let new_ca = generate(KeyKind::EcdsaP256, "").unwrap();
    let new = new_ca.public_key().to_openssh().unwrap() + "\n";
    let (old_user, new_user) = (server.user(), User::new(KeyKind::Ed25519, &new_ca, |_| {}));
    let of_old = open_session(&mut server, &old_user);
    replace(&file, format!("{old}{new}"));
    server.event("trusted_keys_read", |event| {
        event["fingerprints"].as_array().unwrap().len() == 2
    });
    let of_new = open_session(&mut server, &new_user);
    assert_eq!(refusal(&server, &old_user), None);
    replace(&file, &new);
    server.event("trusted_keys_read", |event| {
        event["fingerprints"].as_array().unwrap().len() == 1
    });
    assert!(refusal(&server, &old_user).is_some());
    assert_eq!(refusal(&server, &new_user), None);
    assert_goes_on(of_old);
    assert_goes_on(of_new);
}

/// Logged in, and without a session yet: it gets none once the certificate is revoked.
#[test]
fn a_session_is_opened_for_nobody_who_would_not_be_let_in_any_more() {
    let (mut server, file) = with_revoked_keys();
    let user = server.user();
    let socket = user.folder().join("control");
    let socket = socket.to_str().unwrap();
    let mut master = server
        .ssh(&user, &["-M", "-S", socket, "-N"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    server.event("login", |event| event["verdict"] == "accepted");
    wait_for("the control socket", || {
        Path::new(socket).exists().then_some(())
    });
    replace(&file, user.private.public_key().to_openssh().unwrap());
    server.event("revoked_keys_read", |event| event["entries"] == 1);
    let run = output(server.ssh(&user, &["-S", socket]).arg("echo in"));
    assert!(!run.status.success() && run.stdout.is_empty());
    let failed = server.event("session_failed", |_| true);
    let error = failed["error"].as_str().unwrap();
    assert!(error.contains("has been revoked here"), "{error}");
    wait_for("the connection's end", || master.try_wait().unwrap());
    let opened = |event: &&Value| event["event"] == "session_opened";
    assert_eq!(server.events_so_far().iter().filter(opened).count(), 0);
}

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

#[test]
fn check_config_looks_into_the_files() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let ca = generate(KeyKind::Ed25519, "").unwrap().public_key().clone();
    fs::write(path("ca.pub"), ca.to_openssh().unwrap()).unwrap();
    fs::write(path("revoked"), ca.to_openssh().unwrap()).unwrap();
    let config = format!(
        "permit_root_login = true\nlogins = {{ claw = \"{}\" }}\ntrusted_user_ca_keys = {:?}\nrevoked_keys = {:?}\nstate_dir = {:?}\n",
        account(),
        path("ca.pub"),
        path("revoked"),
        path("state"),
    );
    fs::write(path("bastion.toml"), config).unwrap();
    let check = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bastion"));
        let run = output(
            command
                .args(["check-config", "--config"])
                .arg(path("bastion.toml")),
        );
        (run.status.success(), text(&run.stdout) + &text(&run.stderr))
    };
    let (good, said) = check();
    assert!(good, "{said}");
    let fingerprint = ca.fingerprint(ssh_key::HashAlg::Sha256).to_string();
    assert!(
        said.contains(&format!("the CA {fingerprint} is trusted")),
        "{said}"
    );
    assert!(said.contains("1 entries are revoked"), "{said}");
    assert!(
        said.ends_with("bastion: the configuration is good\n"),
        "{said}"
    );
    let set_mode = |name, mode| {
        fs::set_permissions(path(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    fs::create_dir(path("state")).unwrap();
    for (name, good_mode) in [
        ("ca.pub", 0o644),
        ("revoked", 0o644),
        ("bastion.toml", 0o644),
        ("state", 0o700),
    ] {
        set_mode(name, 0o777);
        let (good, said) = check();
        assert!(!good && said.contains("run `chmod go-w"), "{said}");
        set_mode(name, good_mode);
    }
    fs::write(path("revoked"), "nonsense").unwrap();
    let (good, said) = check();
    assert!(
        !good && said.contains("revoked, line 1: this is no public key"),
        "{said}"
    );
    fs::remove_file(path("ca.pub")).unwrap();
    let (good, said) = check();
    assert!(!good && said.contains("ca.pub: No such file"), "{said}");
}

/// Somebody else's file, on a file system that is mounted read-only: nobody can change it here.
#[test]
fn whose_a_file_is_makes_no_difference_where_nobody_can_write() {
    if !as_root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::create_dir(path("keys")).unwrap();
    let ca = generate(KeyKind::Ed25519, "").unwrap();
    let file = path("keys").join("ca.pub");
    fs::write(&file, ca.public_key().to_openssh().unwrap()).unwrap();
    std::os::unix::fs::chown(&file, Some(65534), None).unwrap();
    let config = format!(
        "permit_root_login = true\nlogins = {{ claw = \"root\" }}\ntrusted_user_ca_keys = {file:?}\nstate_dir = {:?}\n",
        path("state"),
    );
    fs::write(path("bastion.toml"), config).unwrap();
    fs::set_permissions(path("bastion.toml"), fs::Permissions::from_mode(0o644)).unwrap();
    let check = |before: &str| {
        let script = format!("{before} exec \"$BASTION\" check-config --config bastion.toml");
        let mut command = Command::new("unshare");
        command.args(["-m", "sh", "-ec", &script]);
        command.current_dir(folder.path());
        output(command.env("BASTION", env!("CARGO_BIN_EXE_bastion")))
    };
    let mount = "mount --bind keys keys; mount -o remount,ro,bind keys;";
    let can_mount = output(Command::new("unshare").args(["-m", "true"]));
    if !can_mount.status.success() {
        return eprintln!("no mounts here: {}", text(&can_mount.stderr));
    }
    let run = check("");
    assert!(text(&run.stderr).contains("run `chown 0 "), "{run:?}");
    let run = check(mount);
    assert!(run.status.success(), "{run:?}");
}
