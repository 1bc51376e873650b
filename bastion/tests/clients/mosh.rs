//! mosh: ssh starts its server, which says where it listens, and stays when ssh has gone.

use crate::support::{Server, is_alive, missing, output, signal, text};

#[test]
fn the_server_says_where_it_listens_and_stays() {
    if missing("mosh-server") {
        return;
    }
    let server = Server::start();
    let user = server.user();
    // As mosh(1) calls it.
    let mut ssh = server.ssh(&user, &["-n", "-tt"]);
    let run = output(ssh.arg("mosh-server new -c 256 -s -l LANG=C.UTF-8 -- sleep 1000"));
    let said = text(&run.stdout) + &text(&run.stderr);
    assert!(run.status.success(), "{said}");
    assert!(said.contains("MOSH CONNECT "), "{said}");
    let pid = said.split("detached, pid = ").nth(1).unwrap();
    let pid = pid.split(']').next().unwrap().parse().unwrap();
    assert!(is_alive(pid));
    signal(pid, "TERM");
}
