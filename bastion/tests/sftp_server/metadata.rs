//! Attributes: asked for and changed.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};

use crate::client::*;

#[test]
fn attributes_are_those_of_the_file() {
    let mut server = Server::start();
    let handle = server.open("file", WRITE | CREAT);
    server.ask(&request::write(&handle, 0, "12345"));
    symlink("file", server.path("link")).unwrap();
    let real = fs::metadata(server.path("file")).unwrap();
    let followed = server.ask(&request::stat("link"));
    assert_eq!(followed, server.ask(&request::stat("file")));
    assert_eq!(followed, server.ask(&request::fstat(&handle)));
    let attributes = followed.metadata();
    assert_eq!(attributes.size, Some(5));
    assert_eq!(attributes.owner, Some((real.uid(), real.gid())));
    assert_eq!(attributes.permissions, Some(real.mode()));
    assert_eq!(
        attributes.times,
        Some((real.atime() as u32, real.mtime() as u32))
    );
    let link = server.ask(&request::lstat("link")).metadata();
    assert_eq!(link.permissions, Some(0o120_777));
}

#[test]
fn what_is_set_is_set() {
    let mut server = Server::start();
    let handle = server.open("file", WRITE | CREAT);
    let wanted = Attributes::none()
        .size(3)
        .mode(0o100_640)
        .times(1_000_000_000, 1_100_000_000);
    for request in [
        request::setstat("file", wanted),
        request::fsetstat(&handle, wanted),
    ] {
        fs::write(server.path("file"), "").ok();
        assert_eq!(server.ask(&request), OK);
        let set = fs::metadata(server.path("file")).unwrap();
        assert_eq!((set.len(), set.mode() & 0o7777), (3, 0o640));
        assert_eq!((set.atime(), set.mtime()), (1_000_000_000, 1_100_000_000));
    }
    assert_eq!(
        server.ask(&request::setstat("missing", wanted)),
        NO_SUCH_FILE
    );
    assert_eq!(
        server.ask(&request::setstat("file", Attributes::none())),
        OK
    );
}

#[test]
fn a_change_that_fails_does_not_stop_the_others_and_is_told() {
    let mut server = Server::start();
    server.open("file", WRITE | CREAT);
    // A file cannot be so large; its mode can be set.
    let wanted = Attributes::none().size(u64::MAX).mode(0o600);
    assert_eq!(
        server.ask(&request::setstat("file", wanted)),
        BAD_MESSAGE,
        "EINVAL"
    );
    assert_eq!(
        fs::metadata(server.path("file")).unwrap().mode() & 0o7777,
        0o600
    );
    // An ordinary user cannot give files away.
    let wanted = Attributes::none().owner(0, 0).times(1, 2);
    assert_eq!(
        server.ask(&request::setstat("file", wanted)),
        PERMISSION_DENIED
    );
    assert_eq!(fs::metadata(server.path("file")).unwrap().mtime(), 2);
}

#[test]
fn lsetstat_changes_the_link_itself() {
    let mut server = Server::start();
    server.open("file", WRITE | CREAT);
    assert_eq!(
        server.ask(&request::setstat("file", Attributes::none().times(5, 5))),
        OK
    );
    assert_eq!(server.ask(&request::symlink("file", "link")), OK);
    let lsetstat = |attributes| {
        Request::extended("lsetstat@openssh.com")
            .string("link")
            .attributes(attributes)
    };
    assert_eq!(server.ask(&lsetstat(Attributes::none().times(1, 2))), OK);
    assert_eq!(
        fs::symlink_metadata(server.path("link")).unwrap().mtime(),
        2
    );
    assert_eq!(fs::metadata(server.path("file")).unwrap().mtime(), 5);
    assert_eq!(
        server.ask(&lsetstat(Attributes::none().size(0))),
        BAD_MESSAGE
    );
}
