//! Shells and commands: status, signals, the three streams, several at once.

use std::io::Write;
use std::process::Stdio;

use crate::support::{Master, Server, fed, finish, output, text};

#[test]
fn a_command_runs_and_its_status_comes_back() {
    let server = Server::start();
    for status in [0, 1, 7, 255] {
        assert_eq!(
            server.run(&format!("exit {status}")).status.code(),
            Some(status)
        );
    }
}

#[test]
fn standard_error_stays_apart() {
    let server = Server::start();
    let run = server.run("echo out; echo err >&2");
    assert_eq!(text(&run.stdout), "out\n");
    // What the account's own start-up files complain about comes before.
    assert!(
        text(&run.stderr).ends_with("err\n"),
        "{}",
        text(&run.stderr)
    );
}

#[test]
fn a_signal_that_ends_a_program_is_reported() {
    let mut server = Server::start();
    // ssh shows an exit-signal as status 255.
    assert_eq!(server.run("kill -TERM $$").status.code(), Some(255));
    let ended = server.event("program_ended", |_| true);
    assert_eq!(
        (ended["signal"].as_str(), ended["core_dumped"].as_bool()),
        (Some("TERM"), Some(false))
    );
}

#[test]
fn a_signal_without_a_name_is_reported_too() {
    let mut server = Server::start();
    assert_eq!(server.run("kill -34 $$").status.code(), Some(255));
    let ended = server.event("program_ended", |_| true);
    assert_eq!(ended["signal"].as_str(), Some("34"));
}

#[test]
fn input_ends_where_the_client_ends_it() {
    let server = Server::start();
    let user = server.user();
    let mut ssh = server.ssh(&user, &[]);
    let run = fed(ssh.arg("wc -c; echo done"), &[b'x'; 100_000]);
    assert_eq!(text(&run.stdout), "100000\ndone\n");
}

#[test]
fn output_is_complete_to_the_last_byte() {
    let server = Server::start();
    for length in [1, 4095, 65_536, 65_537, 3_000_001] {
        let run = server.run(&format!(
            "head -c {length} /dev/zero; echo -n end >&2; exit 5"
        ));
        assert_eq!((run.stdout.len(), run.status.code()), (length, Some(5)));
        assert!(text(&run.stderr).ends_with("end"), "{}", text(&run.stderr));
    }
}

#[test]
fn a_program_that_does_not_read_holds_up_nobody() {
    let server = Server::start();
    let user = server.user();
    let mut ssh = server.ssh(&user, &[]);
    let mut child = ssh
        .arg("exec <&-; echo early")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || while stdin.write_all(&[b'x'; 65_536]).is_ok() {});
    assert_eq!(text(&finish(child).stdout), "early\n");
    writer.join().unwrap();
}

#[test]
fn a_shell_without_a_terminal_reads_commands_from_its_input() {
    let server = Server::start();
    let user = server.user();
    let commands = b"echo shell-$((6 * 7))\nexit 4\n";
    let run = fed(&mut server.ssh(&user, &["-T"]), commands);
    assert!(
        text(&run.stdout).contains("shell-42"),
        "{}",
        text(&run.stdout)
    );
    assert_eq!(run.status.code(), Some(4));
}

#[test]
fn a_login_shell_knows_that_it_is_one() {
    let server = Server::start();
    let user = server.user();
    let run = fed(&mut server.ssh(&user, &["-T"]), b"echo \"zeroth $0\"\n");
    assert!(text(&run.stdout).contains("zeroth -"));
}

#[test]
fn a_command_with_bytes_that_are_no_utf8_arrives_as_it_is() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let server = Server::start();
    let user = server.user();
    let mut ssh = server.ssh(&user, &[]);
    let run = output(ssh.arg(OsStr::from_bytes(b"printf 'a\xffb'")));
    assert_eq!(run.stdout, b"a\xffb");
}

#[test]
fn many_programs_share_one_connection() {
    let mut server = Server::start();
    let master = Master::start(&server);
    let runs: Vec<_> = (0..20)
        .map(|number| {
            let mut ssh = master.ssh(&[]);
            ssh.arg(format!("head -c 200000 /dev/zero | wc -c; exit {number}"));
            ssh.stdout(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    for (number, run) in runs.into_iter().enumerate() {
        let run = finish(run);
        assert_eq!(
            (text(&run.stdout).as_str(), run.status.code()),
            ("200000\n", i32::try_from(number).ok())
        );
    }
    master.end();
    server.event("session_closed", |_| true);
    let sessions = server
        .events_so_far()
        .iter()
        .filter(|event| event["event"] == "session_opened")
        .count();
    assert_eq!(sessions, 1);
}

#[test]
fn one_stalled_channel_does_not_stall_another() {
    let server = Server::start();
    let master = Master::start(&server);
    // One program never reads what its client sends without end; the output of another is never
    // read by its client.
    let endless = || std::fs::File::open("/dev/zero").unwrap();
    let mut not_reading = master
        .ssh(&[])
        .arg("sleep 1000")
        .stdin(endless())
        .spawn()
        .unwrap();
    let mut not_read = master
        .ssh(&[])
        .arg("cat /dev/zero")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    for _ in 0..50 {
        let run = output(master.ssh(&[]).arg("head -c 100000 /dev/zero"));
        assert_eq!((run.stdout.len(), run.status.code()), (100_000, Some(0)));
    }
    for child in [&mut not_reading, &mut not_read] {
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

#[test]
fn many_connections_are_served_at_once() {
    let server = Server::start();
    let user = server.user();
    let runs: Vec<_> = (0..30)
        .map(|number| {
            let mut ssh = server.ssh(&user, &[]);
            ssh.arg(format!("echo {number}"))
                .stdout(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    for (number, run) in runs.into_iter().enumerate() {
        assert_eq!(text(&finish(run).stdout), format!("{number}\n"));
    }
}

#[test]
fn an_unknown_subsystem_is_refused() {
    let server = Server::start();
    let run = output(server.ssh(&server.user(), &["-s"]).arg("nonsense"));
    assert!(!run.status.success());
    assert!(
        text(&run.stderr).contains("subsystem request failed"),
        "{}",
        text(&run.stderr)
    );
}

#[test]
fn a_program_that_cannot_be_started_is_explained() {
    let mut server = Server::start();
    // What a client may send in one packet is more than a message between the parts may hold.
    let run = server.run(&format!(": {}", "x".repeat(31_000)));
    assert_eq!(run.status.code(), Some(0));
    let user = server.user_with(|spec| {
        let forced =
            keys::certificate::CertificateOption::with_value("force-command", "a\0b").unwrap();
        spec.critical_options.push(forced);
    });
    assert!(!output(server.ssh(&user, &[]).arg("id")).status.success());
    assert_eq!(
        server.event("login", |login| login["verdict"] == "refused")["reason"]["code"],
        "malformed_option"
    );
}

#[test]
fn a_command_that_is_too_long_is_explained() {
    let server = Server::start();
    let user = server.user();
    let mut ssh = server.ssh(&user, &[]);
    let run = output(ssh.arg(":").args(["x".repeat(70_000), "y".repeat(70_000)]));
    assert_eq!(run.status.code(), Some(126));
    assert_eq!(
        text(&run.stderr),
        "bastion: the command is longer than 128 KiB\r\n"
    );
}
