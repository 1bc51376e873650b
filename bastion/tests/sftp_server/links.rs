//! Names: renaming, links, paths made absolute.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};

use crate::client::*;

#[test]
fn rename_never_replaces_and_posix_rename_does() {
    let mut server = Server::start();
    fs::write(server.path("a"), "a").unwrap();
    fs::write(server.path("b"), "b").unwrap();
    assert_eq!(server.ask(&request::rename("a", "b")), FAILURE);
    assert_eq!(fs::read(server.path("b")).unwrap(), b"b");
    assert_eq!(server.ask(&request::rename("a", "c")), OK);
    assert_eq!(server.ask(&request::rename("a", "d")), NO_SUCH_FILE);
    let posix_rename = Request::extended("posix-rename@openssh.com")
        .string("c")
        .string("b");
    assert_eq!(server.ask(&posix_rename), OK);
    assert_eq!(fs::read(server.path("b")).unwrap(), b"a");
    assert_eq!(server.ask(&posix_rename), NO_SUCH_FILE);
}

#[test]
fn folders_are_renamed_likewise() {
    let mut server = Server::start();
    server.ask(&request::mkdir("one", Attributes::none()));
    server.ask(&request::mkdir("two", Attributes::none()));
    assert_eq!(server.ask(&request::rename("one", "two")), FAILURE);
    assert_eq!(server.ask(&request::rename("one", "three")), OK);
    assert_eq!(
        server.ask(&request::rename("three", "three/inside")),
        BAD_MESSAGE,
        "EINVAL"
    );
}

#[test]
fn a_symbolic_link_is_made_in_the_order_of_openssh() {
    let mut server = Server::start();
    assert_eq!(server.ask(&request::symlink("target", "link")), OK);
    assert_eq!(
        fs::read_link(server.path("link")).unwrap().to_str(),
        Some("target")
    );
    assert_eq!(
        server.ask(&request::readlink("link")).path().to_str(),
        Some("target")
    );
    assert_eq!(server.ask(&request::symlink("target", "link")), FAILURE);
    assert_eq!(server.ask(&request::readlink("missing")), NO_SUCH_FILE);
    server.open("file", WRITE | CREAT);
    assert_eq!(
        server.ask(&request::readlink("file")),
        BAD_MESSAGE,
        "EINVAL"
    );
    assert_eq!(server.ask(&request::stat("link")), NO_SUCH_FILE);
    assert!(matches!(
        server.ask(&request::lstat("link")),
        Answer::Attributes(_)
    ));
    assert_eq!(server.ask(&request::remove("link")), OK);
}

#[test]
fn a_hard_link_is_the_same_file() {
    let mut server = Server::start();
    server.open("file", WRITE | CREAT);
    let hardlink = Request::extended("hardlink@openssh.com")
        .string("file")
        .string("link");
    assert_eq!(server.ask(&hardlink), OK);
    let inode = |name| fs::metadata(server.path(name)).unwrap().ino();
    assert_eq!(inode("file"), inode("link"));
    assert_eq!(server.ask(&hardlink), FAILURE);
}

#[test]
fn a_path_is_made_absolute_whether_its_end_is_there_or_not() {
    let mut server = Server::start();
    let folder = fs::canonicalize(server.folder()).unwrap();
    fs::create_dir(server.path("real")).unwrap();
    symlink("real", server.path("link")).unwrap();
    symlink("real/new", server.path("dangling")).unwrap();
    symlink("round", server.path("round")).unwrap();
    for (path, expected) in [
        ("", ""),
        (".", ""),
        ("..", ".."),
        ("real/.", "real"),
        ("link", "real"),
        ("link/..", ""),
        ("new", "new"),
        ("link/new", "real/new"),
        ("./real/../link/./new", "real/new"),
        ("dangling", "real/new"),
    ] {
        let expected = if expected == ".." {
            folder.parent().unwrap().to_owned()
        } else {
            folder.join(expected)
        };
        let answer = server.ask(&request::realpath(path)).path();
        // As text: paths that differ by a slash at the end are equal as paths.
        assert_eq!(
            answer.to_str(),
            Some(expected.to_str().unwrap().trim_end_matches('/')),
            "{path:?}"
        );
    }
    assert_eq!(
        server.ask(&request::realpath("/")).path().to_str(),
        Some("/")
    );
    assert_eq!(
        server.ask(&request::realpath("/missing")).path().to_str(),
        Some("/missing")
    );
    for path in [
        "missing/new",
        "missing/..",
        "missing/",
        "round",
        "missing/.",
    ] {
        assert_eq!(
            server.ask(&request::realpath(path)),
            NO_SUCH_FILE,
            "{path:?}"
        );
    }
}
