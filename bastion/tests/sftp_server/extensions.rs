//! Extended requests.

use std::fs;

use crate::client::*;

#[test]
fn every_extension_of_opensshs_clients_is_announced() {
    let mut server = Server::run_silent(ours());
    let version = String::from_utf8_lossy(&server.greet()).into_owned();
    for name in [
        "posix-rename@openssh.com",
        "statvfs@openssh.com",
        "fstatvfs@openssh.com",
        "hardlink@openssh.com",
        "fsync@openssh.com",
        "lsetstat@openssh.com",
        "limits@openssh.com",
        "expand-path@openssh.com",
        "copy-data",
        "home-directory",
        "users-groups-by-id@openssh.com",
    ] {
        assert!(version.contains(name), "{name}");
    }
}

#[test]
fn the_limits_are_those_that_are_kept() {
    let mut server = Server::start();
    let limits = server
        .ask(&Request::extended("limits@openssh.com"))
        .numbers();
    assert_eq!(limits[..3], [262_144, 261_120, 261_120]);
    let mut opened = 0;
    let refused = loop {
        match server.ask(&request::open("file", READ | WRITE | CREAT)) {
            Answer::Handle(_) => opened += 1,
            refused => break refused,
        }
        assert!(
            opened <= limits[3],
            "more handles than the limit of {}",
            limits[3]
        );
    };
    assert_eq!(refused, FAILURE);
    assert_eq!(server.message, "Too many open files");
    assert_eq!(opened, limits[3]);
    assert_eq!(server.ask(&request::opendir(".")), FAILURE);
    assert!(matches!(
        server.ask(&request::stat("file")),
        Answer::Attributes(_)
    ));
}

#[test]
fn the_file_system_is_described() {
    let mut server = Server::start();
    let handle = server.open("file", WRITE | CREAT);
    let by_path = server
        .ask(&Request::extended("statvfs@openssh.com").string("."))
        .numbers();
    let by_handle = server
        .ask(&Request::extended("fstatvfs@openssh.com").string(&handle))
        .numbers();
    let real = nix::sys::statvfs::statvfs(server.folder()).unwrap();
    assert_eq!(by_path.len(), 11);
    assert_eq!(
        (by_path[0], by_path[2], by_path[10]),
        (real.block_size(), real.blocks(), real.name_max())
    );
    assert_eq!(by_path[..3], by_handle[..3]);
    assert_eq!(
        server.ask(&Request::extended("statvfs@openssh.com").string("missing")),
        NO_SUCH_FILE
    );
    assert_eq!(
        server.ask(&Request::extended("fstatvfs@openssh.com").string("abcd")),
        FAILURE
    );
}

#[test]
fn what_is_synced_must_be_a_file() {
    let mut server = Server::start();
    let file = server.open("file", WRITE | CREAT);
    let folder = server.ask(&request::opendir(".")).handle();
    let fsync = |handle: &[u8]| Request::extended("fsync@openssh.com").string(handle);
    assert_eq!(server.ask(&fsync(&file)), OK);
    assert_eq!(server.ask(&fsync(&folder)), NO_SUCH_FILE);
    // A device that cannot be synced says so.
    let null = server.open("/dev/null", WRITE);
    assert_eq!(server.ask(&fsync(&null)), BAD_MESSAGE, "EINVAL");
}

#[test]
fn a_tilde_is_expanded() {
    let mut server = Server::start();
    let folder = fs::canonicalize(server.folder()).unwrap();
    let expand = |path: &str| Request::extended("expand-path@openssh.com").string(path);
    for (path, expected) in [
        ("~", ""),
        ("~/", ""),
        ("~/new", "new"),
        ("new", "new"),
        ("", ""),
    ] {
        let expected = folder.join(expected);
        assert_eq!(server.ask(&expand(path)).path(), expected, "{path:?}");
    }
    assert_eq!(server.ask(&expand("~root/..")).path().to_str(), Some("/"));
    assert_eq!(server.ask(&expand("/~")).path().to_str(), Some("/~"));
    assert_eq!(server.ask(&expand("~nobody-of-that-name/x")), NO_SUCH_FILE);
    assert_eq!(server.message, "No such user");
}

#[test]
fn home_folders_are_those_of_the_accounts() {
    let mut server = Server::start();
    let home = |user: &str| Request::extended("home-directory").string(user);
    assert_eq!(server.ask(&home("root")).path().to_str(), Some("/root"));
    assert!(server.ask(&home("")).path().is_absolute());
    assert_eq!(server.ask(&home("nobody-of-that-name")), FAILURE);
}

#[test]
fn ids_have_names_or_none() {
    let mut server = Server::start();
    let ids = |ids: &[u32]| {
        ids.iter()
            .flat_map(|id| id.to_be_bytes())
            .collect::<Vec<_>>()
    };
    let ask = Request::extended("users-groups-by-id@openssh.com");
    let answer = server.ask(
        &ask.clone()
            .string(ids(&[0, 4_000_000_000]))
            .string(ids(&[0])),
    );
    let expected = b"\0\0\0\x0c\0\0\0\x04root\0\0\0\0\0\0\0\x08\0\0\0\x04root";
    assert_eq!(answer, Answer::Extended(expected.to_vec()));
    assert_eq!(
        server.ask(&ask.string("").string("")),
        Answer::Extended(vec![0; 8])
    );
}

#[test]
fn an_answer_that_would_be_too_long_is_a_failure() {
    let mut server = Server::start();
    let ids = vec![0; 4 * 60_000];
    let ask = Request::extended("users-groups-by-id@openssh.com")
        .string(ids)
        .string("");
    assert_eq!(server.ask(&ask), FAILURE);
}

#[test]
fn data_is_copied_from_handle_to_handle() {
    let mut server = Server::start();
    let data: Vec<u8> = (0..1_000_000_u32).map(|i| (i % 251) as u8).collect();
    fs::write(server.path("from"), &data).unwrap();
    let from = server.open("from", READ);
    let to = server.open("to", READ | WRITE | CREAT);
    assert_eq!(server.ask(&request::copy_data(&from, 0, 0, &to, 0)), OK);
    assert_eq!(fs::read(server.path("to")).unwrap(), data);
    assert_eq!(server.ask(&request::copy_data(&from, 10, 5, &to, 1)), OK);
    assert_eq!(
        fs::read(server.path("to")).unwrap()[..7],
        [0, 10, 11, 12, 13, 14, 6]
    );
    let append = server.open("to", WRITE | APPEND);
    assert_eq!(server.ask(&request::copy_data(&from, 0, 3, &append, 0)), OK);
    assert_eq!(fs::read(server.path("to")).unwrap()[1_000_000..], [0, 1, 2]);
    // A file whose size the system does not know beforehand.
    let proc = server.open("/proc/self/status", READ);
    let to = server.open("status", WRITE | CREAT);
    assert_eq!(server.ask(&request::copy_data(&proc, 0, 0, &to, 0)), OK);
    assert!(
        fs::read(server.path("status"))
            .unwrap()
            .starts_with(b"Name:")
    );
}

#[test]
fn a_copy_that_is_not_whole_is_an_error() {
    let mut server = Server::start();
    fs::write(server.path("from"), "12345").unwrap();
    let from = server.open("from", READ);
    let to = server.open("to", READ | WRITE | CREAT);
    assert_eq!(server.ask(&request::copy_data(&from, 0, 6, &to, 0)), EOF);
    assert_eq!(server.ask(&request::copy_data(&to, 0, 0, &to, 0)), FAILURE);
    let full = server.open("/dev/full", WRITE);
    assert_eq!(
        server.ask(&request::copy_data(&from, 0, 0, &full, 0)),
        FAILURE
    );
    assert_eq!(server.message, "No space left on device");
    assert_eq!(
        server.ask(&request::copy_data(&from, 0, 0, b"abcd", 0)),
        NO_SUCH_FILE
    );
    assert_eq!(
        server.ask(&request::copy_data(&from, u64::MAX, 0, &to, 0)),
        BAD_MESSAGE,
        "EINVAL"
    );
    assert_eq!(
        server.ask(&request::copy_data(&from, 0, u64::MAX, &to, u64::MAX - 5)),
        BAD_MESSAGE,
        "EINVAL"
    );
}

#[test]
fn what_was_not_announced_is_not_supported() {
    let mut server = Server::start();
    assert_eq!(
        server.ask(&Request::extended("check-file").string("x")),
        OP_UNSUPPORTED
    );
    for kind in [0, 2, 21, 22, 100, 101, 105, 199, 201, 255] {
        assert_eq!(server.ask(&Request::new(kind)), OP_UNSUPPORTED, "{kind}");
    }
}
