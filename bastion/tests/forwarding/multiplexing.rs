//! Many sessions in one connection, and connections through connections.

use std::fs;
use std::process::{Command, Stdio};
use std::thread;

use crate::services::{answer_backwards, leads_there, tcp_service};
use crate::support::{Master, Server, finish, output, text};

#[test]
fn many_sessions_share_a_connection() {
    let server = Server::start();
    let master = Master::start(&server);
    thread::scope(|scope| {
        let run =
            |number: usize| output(master.ssh(&[]).arg(format!("echo {number}; exit {number}")));
        // ssh's own limit of what it multiplexes at a time is far beyond this.
        let runs: Vec<_> = (0..50)
            .map(|number| scope.spawn(move || (number, run(number))))
            .collect();
        for handle in runs {
            let (number, run) = handle.join().unwrap();
            let said = text(&run.stdout);
            assert_eq!(
                (said.trim(), run.status.code()),
                (number.to_string().as_str(), i32::try_from(number).ok())
            );
        }
    });
}

#[test]
fn sessions_and_forwards_do_not_end_each_other() {
    let (server, service) = (Server::start(), tcp_service(answer_backwards));
    let master = Master::start(&server);
    let socket = master.forward_local("socket", &service.to_string());
    let mut cat = master.ssh(&[]);
    let cat = cat
        .arg("cat")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    for _ in 0..20 {
        assert!(leads_there(&socket));
        assert_eq!(master.run("echo here").stdout, b"here\n");
    }
    let mut cat = cat;
    std::io::Write::write_all(&mut cat.stdin.take().unwrap(), b"still here").unwrap();
    assert_eq!(text(&finish(cat).stdout), "still here");
    assert!(leads_there(&socket));
    assert_eq!(master.end(), "");
}

/// `-J`: through bastion to itself, twice.
#[test]
fn bastion_is_its_own_jump_host() {
    let server = Server::start();
    let user = server.user();
    let config = user.folder().join("config");
    // What -J starts takes a configuration, and nothing of the command line.
    let text_of_config = format!(
        "Host *\n User claw\n Port {}\n IdentityFile {}\n IdentitiesOnly yes\n BatchMode yes\n \
         StrictHostKeyChecking no\n UserKnownHostsFile /dev/null\n LogLevel ERROR\n",
        server.address.port(),
        user.key().display()
    );
    fs::write(&config, text_of_config).unwrap();
    let hops = "claw@127.0.0.1,claw@localhost";
    let run = output(
        Command::new("ssh")
            .arg("-F")
            .arg(&config)
            .args(["-J", hops, "127.0.0.1", "echo far"])
            .env_remove("SSH_AUTH_SOCK")
            .stdin(Stdio::null()),
    );
    assert_eq!(
        (text(&run.stdout).as_str(), run.status.code()),
        ("far\n", Some(0)),
        "{}",
        text(&run.stderr)
    );
}
