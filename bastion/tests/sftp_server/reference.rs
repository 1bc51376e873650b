//! The same requests to our server and to OpenSSH's: the same answers, but for what we do
//! otherwise on purpose.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use crate::client::*;

const PLACES: [&str; 4] = [
    "/usr/lib/openssh/sftp-server",
    "/usr/libexec/openssh/sftp-server",
    "/usr/lib/ssh/sftp-server",
    "/usr/libexec/sftp-server",
];

/// Ours and OpenSSH's, each in a folder with the same content; `None` where that is not installed.
fn both() -> Option<[Server; 2]> {
    let Some(reference) = PLACES.into_iter().find(|place| Path::new(place).exists()) else {
        eprintln!("SKIPPED: OpenSSH's sftp-server is not installed (Debian: openssh-sftp-server)");
        return None;
    };
    let servers = [
        Server::start(),
        Server::run(as_ordinary_user(Command::new(reference))),
    ];
    for server in &servers {
        fs::write(server.path("file"), "0123456789").unwrap();
        fs::set_permissions(server.path("file"), fs::Permissions::from_mode(0o666)).unwrap();
        fs::create_dir(server.path("folder")).unwrap();
        fs::write(server.path("folder/inside"), "").unwrap();
        for (target, link) in [
            ("file", "to file"),
            ("folder", "to folder"),
            ("gone", "dangling"),
            ("loop", "loop"),
        ] {
            symlink(target, server.path(link)).unwrap();
        }
    }
    Some(servers)
}

/// An answer without what differs from folder to folder.
fn normal(server: &Server, answer: Answer) -> Answer {
    let folder = fs::canonicalize(server.folder()).unwrap_or_else(|_| server.folder().to_owned());
    let folder = folder.to_str().unwrap().to_owned();
    let relative = |bytes: &[u8]| {
        String::from_utf8_lossy(bytes)
            .replace(&folder, "FOLDER")
            .into_bytes()
    };
    match answer {
        Answer::Names(names) => {
            let names = names.into_iter().map(|name| Name {
                name: relative(&name.name),
                long_name: relative(&name.long_name),
                ..name
            });
            Answer::Names(names.collect())
        }
        other => other,
    }
}

fn same(servers: &mut [Server; 2], what: &str, request: &Request) {
    let [ours, reference] = servers.each_mut().map(|server| {
        let answer = server.ask(request);
        normal(server, answer)
    });
    assert_eq!(ours, reference, "{what}");
}

#[test]
fn paths_are_answered_alike() {
    let Some(mut servers) = both() else { return };
    let paths = [
        "",
        ".",
        "..",
        "/",
        "//",
        "/..",
        "file",
        "./file",
        "folder",
        "folder/",
        "folder/.",
        "folder/..",
        "folder/inside",
        "folder//inside",
        "missing",
        "missing/x",
        "missing/",
        "missing/..",
        "to file",
        "to folder",
        "to folder/",
        "to folder/inside",
        "to folder/new",
        "to folder/..",
        "dangling",
        "dangling/x",
        "loop",
        "loop/x",
        "file/x",
        "file/",
        "file/.",
        "file/..",
        "file/../missing",
        "file/../folder/inside",
        "folder/inside/../..",
        "to file/",
        "to folder/../folder",
        "/dev/null",
        "/missing",
        "/missing/x",
        "~",
        "~//",
        "~//folder",
        "~root",
        "~root//etc",
        "folder/../missing",
        "./folder/../to folder/./inside",
    ];
    for path in paths {
        for (what, request) in [
            ("realpath", request::realpath(path)),
            (
                "expand-path",
                Request::extended("expand-path@openssh.com").string(path),
            ),
            ("readlink", request::readlink(path)),
            ("open to read", request::open(path, 0)),
        ] {
            // A handle's number is the server's own business.
            if what == "open to read" {
                let [ours, reference] =
                    servers.each_mut().map(|server| match server.ask(&request) {
                        Answer::Handle(handle) => server.ask(&request::close(&handle)),
                        refused => refused,
                    });
                assert_eq!(ours, reference, "{what} {path:?}");
            } else {
                same(&mut servers, &format!("{what} {path:?}"), &request);
            }
        }
        for kind in [7, 17] {
            // Times and owners are the files' own.
            let [ours, reference] = servers.each_mut().map(|server| {
                match server.ask(&Request::new(kind).string(path)) {
                    Answer::Attributes(attributes) => {
                        Ok((attributes.0.size, attributes.0.permissions))
                    }
                    status => Err(status),
                }
            });
            assert_eq!(ours.is_ok(), reference.is_ok(), "stat {path:?}");
            if !path.contains("..") {
                assert_eq!(ours, reference, "stat {path:?}");
            }
        }
    }
}

#[test]
fn changes_are_answered_alike() {
    let Some(mut servers) = both() else { return };
    let none = Attributes::none();
    let posix_rename = |old, new| {
        Request::extended("posix-rename@openssh.com")
            .string(old)
            .string(new)
    };
    let hardlink = |old, new| {
        Request::extended("hardlink@openssh.com")
            .string(old)
            .string(new)
    };
    let lsetstat = |path, attributes| {
        Request::extended("lsetstat@openssh.com")
            .string(path)
            .attributes(attributes)
    };
    for (step, request) in [
        request::mkdir("folder", none),
        request::mkdir("new", none.mode(0o40_700)),
        request::mkdir("file/x", none),
        request::rmdir("folder"),
        request::rmdir("file"),
        request::rmdir("to folder"),
        request::remove("folder"),
        request::remove("missing"),
        request::remove("file/x"),
        request::rename("file", "folder"),
        request::rename("file", "file"),
        request::rename("missing", "x"),
        request::rename("file", "missing/x"),
        request::rename("new", "folder"),
        request::rename("new", "newer"),
        request::rename("to file", "link"),
        request::rename("loop", "loop2"),
        posix_rename("newer", "folder"),
        posix_rename("file", "folder"),
        posix_rename("folder", "file"),
        posix_rename("link", "to file"),
        hardlink("file", "hard"),
        hardlink("file", "hard"),
        hardlink("folder", "hard2"),
        hardlink("dangling", "hard3"),
        request::symlink("x", "file"),
        request::symlink("x", "sym"),
        request::symlink("", "sym2"),
        request::setstat("file", none.mode(0o4755)),
        request::setstat("missing", none),
        request::setstat("missing", none.mode(0)),
        request::setstat("folder", none.size(0)),
        request::setstat("file", none.size(u64::MAX)),
        request::setstat("file", none.owner(0, 0)),
        request::setstat("file", none.owner(u32::MAX, u32::MAX)),
        request::setstat("loop2", none.times(1, 1)),
        lsetstat("dangling", none.times(1, 1)),
        lsetstat("dangling", none.size(1)),
        lsetstat("dangling", none.mode(0o600)),
        lsetstat("missing", none.times(1, 1)),
        request::open("folder", WRITE),
        request::open("file", WRITE | CREAT | EXCL),
        request::open("dangling", WRITE | CREAT | EXCL),
        request::open("missing/x", WRITE | CREAT),
        request::opendir("file"),
        request::opendir("missing"),
        request::close(b"abcd"),
        request::close(b""),
        request::read(b"abcd", 0, 1),
        request::write(b"abcd", 0, "x"),
        request::fstat(b"abcd"),
        request::fsetstat(b"abcd", none),
        request::readdir(b"abcd"),
        Request::extended("fsync@openssh.com").string("abcd"),
        Request::extended("fstatvfs@openssh.com").string("abcd"),
        Request::extended("statvfs@openssh.com").string("missing"),
        Request::extended("no such thing"),
    ]
    .into_iter()
    .enumerate()
    {
        same(&mut servers, &format!("step {step}"), &request);
    }
}

#[test]
fn handles_are_answered_alike() {
    let Some(mut servers) = both() else { return };
    let [ours, reference] = servers.each_mut().map(|server| {
        let none = Attributes::none();
        let mut answers = Vec::new();
        let (read, write) = (server.open("file", READ), server.open("to file", WRITE));
        let (append, folder) = (
            server.open("file", READ | WRITE | APPEND),
            server.ask(&request::opendir("folder")).handle(),
        );
        for request in [
            request::read(&read, 3, 4),
            request::read(&read, 8, 100),
            request::read(&read, 10, 1),
            request::read(&read, 1 << 40, 1),
            request::read(&read, 0, 0),
            request::read(&read, u64::MAX, 1),
            request::read(&write, 0, 1),
            request::read(&folder, 0, 1),
            request::write(&read, 0, "x"),
            request::write(&write, 2, "XY"),
            request::write(&write, 15, ""),
            request::write(&write, 12, "Z"),
            request::write(&append, 0, "!"),
            request::write(&folder, 0, "x"),
            request::read(&read, 0, 100),
            request::fsetstat(&write, none.size(4)),
            request::fsetstat(&read, none.size(4)),
            request::fsetstat(&folder, none),
            request::read(&append, 0, 100),
            request::readdir(&read),
            request::fstat(&folder),
            Request::extended("fsync@openssh.com").string(&write),
            Request::extended("fsync@openssh.com").string(&folder),
            request::copy_data(&read, 0, 0, &read, 0),
            request::close(&read),
            request::close(&read),
            request::close(&folder),
        ] {
            answers.push(server.ask(&request));
        }
        answers
    });
    for (step, (ours, reference)) in ours.into_iter().zip(reference).enumerate() {
        assert_eq!(ours, reference, "step {step}");
    }
}

#[test]
fn folders_are_listed_alike() {
    let Some(mut servers) = both() else { return };
    for server in &servers {
        let set = |name: &str, seconds: i64| {
            let time = nix::sys::time::TimeVal::new(seconds, 0);
            nix::sys::stat::utimes(&server.path(name), &time, &time).unwrap();
        };
        set("file", 1_000_000_000);
        set("folder", 4_000_000_000);
    }
    let [ours, reference] = servers.each_mut().map(|server| {
        let handle = server.ask(&request::opendir(".")).handle();
        let mut names = server.ask(&request::readdir(&handle)).names();
        names.sort_by(|one, other| one.name.cmp(&other.name));
        // The folders above and the links were made a moment apart.
        names.retain(|name| matches!(&name.name[..], b"file" | b"folder"));
        names
    });
    assert_eq!(ours.len(), 2);
    assert_eq!(ours, reference);
}
