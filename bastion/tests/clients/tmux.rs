//! tmux: what runs in it outlives the connection, and another one finds it again.

use std::process::Stdio;

use crate::support::{Server, missing, output, signal, text, wait_for};

#[test]
fn a_session_survives_a_connection_that_is_cut() {
    if missing("tmux") {
        return;
    }
    let mut server = Server::start();
    let user = server.user();
    let socket = user.folder().join("tmux").display().to_string();
    let tmux = format!("tmux -f /dev/null -S {socket}");
    let mut ssh = server.ssh(&user, &["-tt"]);
    let new = format!("{tmux} new-session -s fox 'echo brown fox; exec sleep 1000'");
    let mut ssh = ssh
        .arg(new)
        .env("TERM", "xterm")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let shown = |server: &Server| {
        let run = output(
            server
                .ssh(&user, &[])
                .arg(format!("{tmux} capture-pane -p -t fox")),
        );
        text(&run.stdout)
    };
    wait_for("the session", || {
        shown(&server).contains("brown fox").then_some(())
    });
    signal(ssh.id(), "KILL");
    ssh.wait().unwrap();
    server.event("connection_closed", |event| event["connection"] == 1);
    assert!(shown(&server).contains("brown fox"));
    let attached = output(
        server
            .ssh(&user, &[])
            .arg(format!("{tmux} list-clients | wc -l; {tmux} kill-server")),
    );
    assert_eq!(text(&attached.stdout), "0\n");
}
