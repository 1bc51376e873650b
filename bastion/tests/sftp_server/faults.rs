//! What goes wrong, and what the client hears of it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::client::*;

#[test]
fn a_full_disk_is_a_failure_with_its_reason() {
    let mut server = Server::start();
    let handle = server.open("/dev/full", WRITE);
    assert_eq!(server.ask(&request::write(&handle, 0, "x")), FAILURE);
    assert_eq!(server.message, "No space left on device");
}

#[test]
fn a_file_that_may_not_grow_is_a_failure_and_not_the_end() {
    let mut shell = Command::new("sh");
    let script = "ulimit -f 8; exec \"$0\" sftp-server";
    shell.args(["-c", script, env!("CARGO_BIN_EXE_bastion")]);
    let mut server = Server::run(as_ordinary_user(shell));
    let handle = server.open("file", READ | WRITE | CREAT);
    // A write that fits in part is an error all the same.
    assert_eq!(
        server.ask(&request::write(&handle, 0, vec![1; 100_000])),
        FAILURE
    );
    assert_eq!(server.message, "File too large");
    assert_eq!(server.ask(&request::write(&handle, 0, "x")), OK);
}

#[test]
fn what_is_forbidden_is_denied() {
    let mut server = Server::start();
    for (name, mode) in [("file", 0o000), ("folder", 0o755)] {
        match name {
            "file" => fs::write(server.path(name), "secret").unwrap(),
            _ => fs::create_dir(server.path(name)).unwrap(),
        }
        fs::set_permissions(server.path(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    assert_eq!(server.ask(&request::open("file", READ)), PERMISSION_DENIED);
    assert_eq!(
        server.ask(&request::open("/etc/shadow", READ)),
        PERMISSION_DENIED
    );
    assert_eq!(
        server.ask(&request::opendir("/proc/1/fd")),
        PERMISSION_DENIED
    );
    assert_eq!(
        server.ask(&request::mkdir("/proc/x", Attributes::none())),
        NO_SUCH_FILE
    );
    assert_eq!(
        server.ask(&request::remove("/etc/passwd")),
        PERMISSION_DENIED
    );
    assert_eq!(server.message, "Permission denied");
}

#[test]
fn entries_that_may_not_be_looked_at_are_listed_by_name() {
    let mut server = Server::start();
    fs::create_dir(server.path("folder")).unwrap();
    fs::write(server.path("folder/file"), "").unwrap();
    fs::set_permissions(server.path("folder"), fs::Permissions::from_mode(0o444)).unwrap();
    let handle = server.ask(&request::opendir("folder")).handle();
    let names = server.ask(&request::readdir(&handle)).names();
    let file = names.iter().find(|name| name.name == b"file").unwrap();
    assert_eq!(file.attributes, Attributes::none());
}

#[test]
fn a_folder_that_has_vanished_is_no_such_file() {
    let mut server = Server::start();
    fs::create_dir(server.path("folder")).unwrap();
    let handle = server.ask(&request::opendir("folder")).handle();
    fs::remove_dir(server.path("folder")).unwrap();
    assert_eq!(server.ask(&request::readdir(&handle)), EOF);
    assert_eq!(server.ask(&request::opendir("folder")), NO_SUCH_FILE);
    fs::remove_dir(server.folder()).unwrap();
    assert_eq!(server.ask(&request::realpath(".")), NO_SUCH_FILE);
    let absolute = server.ask(&request::realpath("/usr/.."));
    assert_eq!(absolute.path().to_str(), Some("/"));
}

#[test]
fn links_that_go_round_are_no_such_file() {
    let mut server = Server::start();
    assert_eq!(server.ask(&request::symlink("b", "a")), OK);
    assert_eq!(server.ask(&request::symlink("a", "b")), OK);
    assert_eq!(
        server.ask(&request::stat("a")),
        NO_SUCH_FILE,
        "ELOOP, as sftp-server says it"
    );
    assert_eq!(server.ask(&request::open("a", READ)), NO_SUCH_FILE);
}

#[test]
fn names_that_cannot_be_are_bad_messages() {
    let mut server = Server::start();
    for path in [vec![b'a'; 5000], b"a\0b".to_vec(), vec![b'a'; 256]] {
        assert_eq!(
            server.ask(&request::stat(&path)),
            BAD_MESSAGE,
            "{}",
            path.len()
        );
        assert_eq!(server.ask(&request::rename(&path, "b")), BAD_MESSAGE);
    }
    assert_eq!(server.ask(&request::stat("")), NO_SUCH_FILE);
}

#[test]
fn a_hang_up_ends_the_server() {
    use std::os::unix::process::ExitStatusExt;
    let mut server = Server::start();
    let pid = nix::unistd::Pid::from_raw(server.pid() as i32);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGHUP).unwrap();
    assert_eq!(server.wait().signal(), Some(1));
}
