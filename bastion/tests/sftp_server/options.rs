//! Options of `internal-sftp`.

use std::fs;

use crate::client::*;

#[test]
fn a_read_only_server_changes_nothing() {
    let mut server = Server::start_with(&["-R"]);
    fs::write(server.path("file"), "as it was").unwrap();
    fs::create_dir(server.path("folder")).unwrap();
    let none = Attributes::none();
    let extended = |name: &str| Request::extended(name);
    let handle = server.open("file", READ);
    for request in [
        request::open("file", WRITE),
        request::open("new", READ | CREAT),
        request::open("file", READ | TRUNC),
        request::write(&handle, 0, "x"),
        request::setstat("file", none.mode(0)),
        request::fsetstat(&handle, none.mode(0)),
        request::remove("file"),
        request::mkdir("new", none),
        request::rmdir("folder"),
        request::rename("file", "new"),
        request::symlink("file", "new"),
        extended("posix-rename@openssh.com")
            .string("file")
            .string("new"),
        extended("hardlink@openssh.com")
            .string("file")
            .string("new"),
        extended("fsync@openssh.com").string(&handle),
        extended("lsetstat@openssh.com")
            .string("file")
            .attributes(none.times(1, 1)),
        request::copy_data(&handle, 0, 0, &handle, 0),
    ] {
        assert_eq!(server.ask(&request), PERMISSION_DENIED);
        assert_eq!(server.message, "This server is read-only");
    }
    assert_eq!(
        server.ask(&request::read(&handle, 0, 100)),
        Answer::Data(b"as it was".into())
    );
    let left: Vec<_> = fs::read_dir(server.folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left.len(), 2, "{left:?}");
}

#[test]
fn the_folder_to_start_in_can_be_named() {
    let mut server = Server::start_with(&["-d", "/usr"]);
    assert_eq!(
        server.ask(&request::realpath(".")).path().to_str(),
        Some("/usr")
    );
    // Who can remove a folder must not thereby shut others out.
    let mut server = Server::start_with(&["-d", "/missing/%u"]);
    let folder = server.folder().canonicalize().unwrap();
    assert_eq!(server.ask(&request::realpath(".")).path(), folder);
}

#[test]
fn an_option_that_is_not_known_serves_nothing() {
    let mut command = ours();
    command.args(["-P", "vanish"]);
    let (status, complaints) = Server::run_silent(command).end();
    assert!(!status.success());
    assert!(complaints.contains("-P"), "{complaints}");
}
