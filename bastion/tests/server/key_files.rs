//! Files of keys that change while bastion serves: those of CAs, and what is revoked.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use keys::generate::{KeyKind, generate};
use serde_json::Value;

use crate::support::{Server, User, finish, output, text, wait_for};

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
pub(crate) fn replace(file: &Path, content: impl AsRef<[u8]>) {
    let new = file.with_extension("new");
    fs::write(&new, content).unwrap();
    fs::set_permissions(&new, fs::Permissions::from_mode(0o644)).unwrap();
    fs::rename(&new, file).unwrap();
}

/// What the user reads when not let in; nothing if let in.
pub(crate) fn refusal(server: &Server, user: &User) -> Option<String> {
    let run = output(server.ssh(user, &["-o", "LogLevel=INFO"]).arg("true"));
    (!run.status.success()).then(|| text(&run.stderr))
}

#[track_caller]
pub(crate) fn assert_refused(server: &Server, user: &User, why: &str) {
    let said = refusal(server, user).expect("let in");
    assert!(said.contains(why), "{said}");
}

/// A session that goes on until its input ends.
pub(crate) fn open_session(server: &mut Server, user: &User) -> Child {
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
pub(crate) fn assert_goes_on(mut session: Child) {
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
