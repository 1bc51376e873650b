//! Opening, reading, writing and closing.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::client::*;

#[test]
fn what_is_written_is_read() {
    let mut server = Server::start();
    let handle = server.open("file", READ | WRITE | CREAT);
    assert_eq!(server.ask(&request::write(&handle, 0, "hello ")), OK);
    assert_eq!(server.ask(&request::write(&handle, 6, "world")), OK);
    assert_eq!(
        server.ask(&request::read(&handle, 6, 100)),
        Answer::Data(b"world".into())
    );
    assert_eq!(server.ask(&request::read(&handle, 11, 1)), EOF);
    assert_eq!(
        server.ask(&request::read(&handle, 0, 0)),
        Answer::Data(vec![])
    );
    assert_eq!(server.ask(&request::close(&handle)), OK);
    assert_eq!(fs::read(server.path("file")).unwrap(), b"hello world");
    assert!(server.end().0.success());
}

#[test]
fn the_largest_reads_and_writes_are_whole() {
    const MOST: usize = 256 * 1024 - 1024;
    let mut server = Server::start();
    let data: Vec<u8> = (0..MOST).map(|i| (i % 251) as u8).collect();
    let handle = server.open("file", READ | WRITE | CREAT);
    assert_eq!(server.ask(&request::write(&handle, 0, &data)), OK);
    assert_eq!(
        server.ask(&request::read(&handle, 0, MOST as u32)),
        Answer::Data(data.clone())
    );
    // More than the server answers at once: it answers less, as it may.
    assert_eq!(
        server.ask(&request::read(&handle, 0, u32::MAX)),
        Answer::Data(data)
    );
}

#[test]
fn requests_that_are_sent_ahead_are_answered_in_their_order() {
    let mut server = Server::start();
    fs::write(server.path("file"), vec![7; 100_000]).unwrap();
    let handle = server.open("file", READ);
    let reads: Vec<u8> = (0..200)
        .flat_map(|id| request::read(&handle, id * 500, 500).packet(id as u32))
        .collect();
    server.send(&reads);
    for id in 0..200 {
        assert_eq!(server.answer(), (id, Answer::Data(vec![7; 500])));
    }
}

#[test]
fn requests_in_any_pieces_are_understood() {
    let mut server = Server::start();
    fs::write(server.path("file"), "x").unwrap();
    for byte in request::stat("file").packet(1) {
        server.send(&[byte]);
    }
    assert!(matches!(server.answer(), (1, Answer::Attributes(_))));
}

#[test]
fn all_that_came_before_the_end_is_done_and_answered() {
    let mut server = Server::start();
    let handle = server.open("file", WRITE | CREAT);
    let writes: Vec<u8> = (0..50)
        .flat_map(|id| request::write(&handle, id * 4096, [1; 4096]).packet(id as u32))
        .collect();
    server.send(&writes);
    assert!(server.end().0.success());
    for id in 0..50 {
        assert_eq!(server.answer(), (id, OK));
    }
    assert_eq!(fs::read(server.path("file")).unwrap(), vec![1; 50 * 4096]);
}

#[test]
fn flags_are_kept_to() {
    let mut server = Server::start();
    fs::write(server.path("file"), "old").unwrap();
    fs::set_permissions(server.path("file"), fs::Permissions::from_mode(0o666)).unwrap();
    assert_eq!(
        server.ask(&request::open("file", WRITE | CREAT | EXCL)),
        FAILURE
    );
    assert_eq!(server.message, "File exists");
    assert_eq!(server.ask(&request::open("missing", READ)), NO_SUCH_FILE);
    let append = server.open("file", WRITE | APPEND);
    // Wherever it is to go, it goes to the end.
    assert_eq!(server.ask(&request::write(&append, u64::MAX, "")), OK);
    assert_eq!(server.ask(&request::write(&append, 0, "er")), OK);
    assert_eq!(fs::read(server.path("file")).unwrap(), b"older");
    let read = server.open("file", READ);
    assert_eq!(
        server.ask(&request::write(&read, 0, "x")),
        NO_SUCH_FILE,
        "EBADF, as sftp-server says it"
    );
    server.open("file", WRITE | TRUNC);
    assert_eq!(fs::read(server.path("file")).unwrap(), b"");
}

#[test]
fn a_new_file_has_the_mode_that_is_asked_for_less_the_umask() {
    let mut server = Server::start_with(&["-u", "027"]);
    server
        .ask(&request::open("default", WRITE | CREAT))
        .handle();
    server
        .ask(&request::open_with(
            "asked",
            WRITE | CREAT,
            Attributes::none().mode(0o100_777),
        ))
        .handle();
    assert_eq!(
        server.ask(&request::mkdir("folder", Attributes::none())),
        OK
    );
    let mode = |name| {
        fs::metadata(server.path(name))
            .unwrap()
            .permissions()
            .mode()
            & 0o7777
    };
    assert_eq!(
        (mode("default"), mode("asked"), mode("folder")),
        (0o640, 0o750, 0o750)
    );
}

#[test]
fn a_handle_is_good_until_it_is_closed() {
    let mut server = Server::start();
    let handle = server.open("file", READ | WRITE | CREAT);
    assert_eq!(server.ask(&request::close(&handle)), OK);
    let other = server.open("other", READ | WRITE | CREAT);
    assert_ne!(handle, other);
    assert_eq!(server.ask(&request::close(&handle)), NO_SUCH_FILE);
    assert_eq!(server.ask(&request::read(&handle, 0, 1)), FAILURE);
    assert_eq!(server.ask(&request::write(&handle, 0, "x")), FAILURE);
    assert_eq!(server.ask(&request::fstat(&handle)), FAILURE);
    assert_eq!(
        server.ask(&request::fsetstat(&handle, Attributes::none())),
        FAILURE
    );
    for strange in [&b""[..], b"abc", b"abcde", &[0xff; 4], &[0; 300]] {
        assert_eq!(
            server.ask(&request::read(strange, 0, 1)),
            FAILURE,
            "{strange:?}"
        );
    }
}

#[test]
fn a_fifo_holds_nobody_up() {
    let mut server = Server::start();
    nix::unistd::mkfifo(
        &server.path("fifo"),
        nix::sys::stat::Mode::from_bits_truncate(0o666),
    )
    .unwrap();
    let handle = server.open("fifo", READ);
    assert_eq!(server.ask(&request::read(&handle, 0, 1)), FAILURE);
    assert!(matches!(
        server.ask(&request::stat("fifo")),
        Answer::Attributes(_)
    ));
}

#[test]
fn a_vanished_file_can_be_read_to_its_end() {
    let mut server = Server::start();
    fs::write(server.path("file"), "still here").unwrap();
    let handle = server.open("file", READ);
    fs::remove_file(server.path("file")).unwrap();
    assert_eq!(
        server.ask(&request::read(&handle, 6, 10)),
        Answer::Data(b"here".into())
    );
    assert_eq!(server.ask(&request::stat("file")), NO_SUCH_FILE);
}
