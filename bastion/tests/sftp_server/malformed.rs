//! Bytes that are no requests: they end the server with a reason, and with nothing done.

use crate::client::*;

/// Bytes on a server that has been greeted.
fn after_greeting(bytes: &[u8], reason: &str) {
    let mut server = Server::start();
    server.send(bytes);
    let (status, complaints) = server.end();
    assert_eq!(status.code(), Some(1), "{bytes:?}");
    assert!(complaints.contains(reason), "{bytes:?}: {complaints}");
}

#[test]
fn a_length_out_of_bounds_is_refused_at_once() {
    after_greeting(&[0, 0, 0, 0], "a packet of 0 bytes");
    after_greeting(&[0, 4, 0, 1], "a packet of 262145 bytes");
    after_greeting(&[0xff; 4], "a packet of 4294967295 bytes");
    after_greeting(b"SSH-2.0-", "a packet of 1397966893 bytes");
}

#[test]
fn what_was_done_before_is_answered() {
    let mut server = Server::start();
    let made = request::mkdir("made", Attributes::none()).packet(7);
    server.send(&[made, vec![0; 4]].concat());
    assert_eq!(server.answer(), (7, OK));
    assert!(server.path("made").is_dir());
    assert_eq!(server.end().0.code(), Some(1));
}

#[test]
fn a_packet_that_ends_within_a_field_is_refused() {
    after_greeting(&[0, 0, 0, 1, 3], "type 3 that ends within its id");
    after_greeting(&[0, 0, 0, 3, 3, 0, 0], "type 3 that ends within its id");
    after_greeting(
        &[0, 0, 0, 5, 17, 0, 0, 0, 1],
        "type 17 that ends within its path",
    );
    let lying = [0, 0, 0, 10, 17, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, b'a'];
    after_greeting(&lying, "type 17 that ends within its path");
    let ids = Request::extended("users-groups-by-id@openssh.com")
        .string("abc")
        .string("");
    after_greeting(&ids.packet(1), "ends within its uids");
    let open = Request::new(3)
        .string("file")
        .u32(READ)
        .u32(0x8000_0000)
        .u32(0xffff_ffff);
    after_greeting(&open.packet(1), "4294967295 extended attributes");
    let open = Request::new(3)
        .string("file")
        .u32(READ)
        .u32(0x8000_0000)
        .u32(1000);
    after_greeting(&open.packet(1), "ends within its attributes");
}

#[test]
fn input_that_ends_within_a_packet_is_an_error() {
    after_greeting(&[0], "the connection ended within a packet");
    after_greeting(
        &[0, 0, 0, 9, 17, 0, 0],
        "the connection ended within a packet",
    );
    let write = request::write(b"abcd", 0, vec![0; 1000]).packet(1);
    after_greeting(&write[..500], "the connection ended within a packet");
}

#[test]
fn nothing_is_done_before_the_greeting() {
    let mut server = Server::run_silent(ours());
    server.send(&request::mkdir("folder", Attributes::none()).packet(1));
    let (status, complaints) = server.end();
    assert_eq!(status.code(), Some(1));
    assert!(
        complaints.contains("before it said which version"),
        "{complaints}"
    );
    assert!(!server.path("folder").exists());
}

#[test]
fn an_older_version_is_refused_and_a_newer_one_is_answered_with_ours() {
    let mut server = Server::run_silent(ours());
    server.send(&[0, 0, 0, 5, 1, 0, 0, 0, 2]);
    let (status, complaints) = server.end();
    assert_eq!(status.code(), Some(1));
    assert!(
        complaints.contains("the client speaks version 2"),
        "{complaints}"
    );
    let mut server = Server::run_silent(ours());
    // Version 6 with an extension of the client's.
    server.send(&[
        0, 0, 0, 15, 1, 0, 0, 0, 6, 0, 0, 0, 1, b'x', 0, 0, 0, 1, b'1',
    ]);
    assert!(server.end().0.success());
}

#[test]
fn no_input_at_all_is_no_error() {
    let mut server = Server::run_silent(ours());
    let (status, complaints) = server.end();
    assert!(status.success());
    assert_eq!(complaints, "");
}

#[test]
fn bytes_after_the_last_field_are_ignored() {
    let mut server = Server::start();
    assert!(matches!(
        server.ask(&request::stat(".").string("more")),
        Answer::Attributes(_)
    ));
}

#[test]
fn extended_attributes_are_read_over() {
    let mut server = Server::start();
    let open = Request::new(3)
        .string("file")
        .u32(WRITE | CREAT)
        .u32(0x8000_0004)
        .u32(0o600);
    let open = open.u32(1).string("name").string("value");
    server.ask(&open).handle();
}
