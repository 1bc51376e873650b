//! Folders: making, removing, listing.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::ffi::OsStrExt;

use crate::client::*;

fn list(server: &mut Server, path: &str) -> Vec<Name> {
    let handle = server.ask(&request::opendir(path)).handle();
    let mut names = Vec::new();
    loop {
        match server.ask(&request::readdir(&handle)) {
            Answer::Names(more) => names.extend(more),
            end => {
                assert_eq!(end, EOF);
                assert_eq!(server.ask(&request::readdir(&handle)), EOF);
                assert_eq!(server.ask(&request::close(&handle)), OK);
                return names;
            }
        }
    }
}

#[test]
fn a_folder_is_listed_with_all_its_entries() {
    let mut server = Server::start();
    let not_utf8 = std::ffi::OsStr::from_bytes(b"\xff\xfe");
    let mut expected =
        BTreeSet::from([b".".to_vec(), b"..".to_vec(), not_utf8.as_bytes().to_vec()]);
    fs::write(server.folder().join(not_utf8), "").unwrap();
    for number in 0..250 {
        let name = format!("file {number}");
        fs::write(server.path(&name), "").unwrap();
        expected.insert(name.into_bytes());
    }
    let names = list(&mut server, ".");
    assert_eq!(names.len(), expected.len());
    assert_eq!(
        names
            .into_iter()
            .map(|name| name.name)
            .collect::<BTreeSet<_>>(),
        expected
    );
}

#[test]
fn long_names_are_those_of_ls() {
    let mut server = Server::start();
    fs::write(server.path("file"), "12345").unwrap();
    std::os::unix::fs::symlink("nowhere", server.path("link")).unwrap();
    let names = list(&mut server, ".");
    let find = |name: &str| {
        names
            .iter()
            .find(|entry| entry.name == name.as_bytes())
            .unwrap()
    };
    let (file, link) = (find("file"), find("link"));
    assert_eq!(file.attributes.0.size, Some(5));
    let long_name = String::from_utf8(file.long_name.clone()).unwrap();
    assert!(
        long_name.starts_with("-rw-") && long_name.ends_with(" file"),
        "{long_name}"
    );
    assert_eq!(
        link.attributes.0.permissions.unwrap() & 0o170_000,
        0o120_000
    );
    assert!(link.long_name.starts_with(b"lrwxrwxrwx"));
}

#[test]
fn folders_are_made_and_removed() {
    let mut server = Server::start();
    assert_eq!(
        server.ask(&request::mkdir("folder", Attributes::none())),
        OK
    );
    assert_eq!(
        server.ask(&request::mkdir("folder", Attributes::none())),
        FAILURE
    );
    assert_eq!(
        server.ask(&request::mkdir("missing/folder", Attributes::none())),
        NO_SUCH_FILE
    );
    fs::write(server.path("file"), "").unwrap();
    assert_eq!(
        server.ask(&request::rmdir("file")),
        NO_SUCH_FILE,
        "ENOTDIR, as sftp-server says it"
    );
    assert_eq!(server.ask(&request::opendir("file")), NO_SUCH_FILE);
    server
        .ask(&request::open("folder/file", WRITE | CREAT))
        .handle();
    assert_eq!(server.ask(&request::rmdir("folder")), FAILURE);
    assert_eq!(server.message, "Directory not empty");
    assert_eq!(server.ask(&request::remove("folder")), FAILURE);
    assert_eq!(server.ask(&request::remove("folder/file")), OK);
    assert_eq!(server.ask(&request::rmdir("folder")), OK);
    assert_eq!(server.ask(&request::rmdir("folder")), NO_SUCH_FILE);
}

#[test]
fn a_folder_is_no_file_and_a_file_no_folder() {
    let mut server = Server::start();
    let folder = server.ask(&request::opendir(".")).handle();
    assert_eq!(server.ask(&request::read(&folder, 0, 1)), FAILURE);
    assert_eq!(server.ask(&request::fstat(&folder)), FAILURE);
    let file = server.open("file", WRITE | CREAT);
    assert_eq!(server.ask(&request::readdir(&file)), FAILURE);
}
