//! What users read and get without asking: banner, message of the day, /etc/environment.

use crate::support::{Server, fed, output, text};
use std::fs;

const MOTD: (&str, &str) = ("/etc/motd", "Mind the fox.\nIt bites.\n");

/// What a shell shows at a terminal.
fn shell(server: &Server) -> String {
    let user = server.user();
    text(&fed(&mut server.ssh(&user, &["-tt"]), b"exit\n").stdout)
}

#[test]
fn a_shell_at_a_terminal_shows_the_message_of_the_day() {
    let Some(server) = Server::start_where(&[MOTD], "") else {
        return;
    };
    let said = shell(&server);
    assert!(said.starts_with("Mind the fox.\r\nIt bites.\r\n"), "{said}");
    // Not a command, with or without a terminal, and not a shell without one.
    let user = server.user();
    for (arguments, command) in [(&["-tt"][..], "true"), (&[], "true"), (&["-T"], "")] {
        let mut ssh = server.ssh(&user, arguments);
        if !command.is_empty() {
            ssh.arg(command);
        }
        let said = text(&output(&mut ssh).stdout);
        assert!(!said.contains("fox"), "{arguments:?} {command}: {said}");
    }
}

#[test]
fn the_message_of_the_day_can_be_switched_off() {
    let Some(server) = Server::start_where(&[MOTD], "print_motd = false") else {
        return;
    };
    let said = shell(&server);
    assert!(!said.contains("fox"), "{said}");
}

#[test]
fn a_long_message_of_the_day_holds_nothing_up() {
    let long = "Mind the fox.\n".repeat(10_000);
    let Some(server) = Server::start_where(&[("/etc/motd", &long)], "") else {
        return;
    };
    let said = shell(&server);
    assert!(said.matches("fox").count() > 200, "{}", said.len());
}

#[test]
fn the_systems_environment_is_every_programs() {
    let file = "# of the system\nFOX=brown\nexport DOG=\"lazy one\"\nPATH=/opt/bin:/usr/bin:/bin\nLC_ALL=C\n";
    let config = "set_env = { DOG = \"quick\" }";
    let Some(server) = Server::start_where(&[("/etc/environment", file)], config) else {
        return;
    };
    let user = server.user();
    let mut ssh = server.ssh(&user, &["-o", "SendEnv=LC_ALL"]);
    let run = output(
        ssh.arg("echo $FOX $DOG $LC_ALL $PATH")
            .env("LC_ALL", "C.UTF-8"),
    );
    // bastion.toml wins over it, and it over the client, as with sshd and pam_env. The shell may
    // put something before PATH.
    let said = text(&run.stdout);
    assert!(said.starts_with("brown quick C /"), "{said}");
    assert!(said.ends_with("/opt/bin:/usr/bin:/bin\n"), "{said}");
}

#[test]
fn everybody_reads_the_banner_before_the_login() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("issue.net");
    fs::write(&file, "For foxes only. — Füchse\n").unwrap();
    let config = format!("banner = {:?}", file.display().to_string());
    let server = Server::start_with(&config, &[]);
    let run = output(
        server
            .ssh(&server.user(), &["-o", "LogLevel=INFO"])
            .arg("true"),
    );
    assert!(run.status.success());
    assert!(
        text(&run.stderr).contains("For foxes only. — Füchse\n"),
        "{}",
        text(&run.stderr)
    );
    let stranger = server.user_with(|spec| spec.principals = vec!["hen".into()]);
    let run = output(server.ssh(&stranger, &["-o", "LogLevel=INFO"]).arg("true"));
    assert!(
        text(&run.stderr).contains("For foxes only."),
        "{}",
        text(&run.stderr)
    );
}

#[test]
fn a_banner_that_cannot_be_read_keeps_nobody_out() {
    let mut server = Server::start_with("banner = \"/nonexistent\"", &[]);
    assert!(server.run("true").status.success());
    let said = server.events_so_far().iter();
    let mut said = said.filter(|event| event["event"] == "banner_unusable");
    assert_eq!(said.next().unwrap()["file"], "/nonexistent");
}

#[test]
fn what_cannot_be_started_is_written_down() {
    let mut server = Server::start();
    let run = output(server.ssh(&server.user(), &["-s"]).arg("netconf"));
    assert!(!run.status.success());
    let event = server.event("program_not_started", |_| true);
    assert_eq!(event["kind"], "subsystem");
    assert_eq!(event["reason"], "there is no subsystem 'netconf'");
}
