//! VS Code Remote: a shell without a terminal is fed a script that starts a server, whose port it
//! says; everything else goes by way of `-D` to that port, and to Unix sockets.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use crate::support::{LIMIT, Server, free_port, is_alive, missing, output, signal, text, wait_for};

/// Echoes at a TCP port and at a Unix socket, whose path is its argument.
const ECHO: &str = r#"
import socket, sys, threading
def echo(peer):
    while data := peer.recv(65536):
        peer.sendall(data)
    peer.close()
def serve(listener):
    while True:
        threading.Thread(target=echo, args=[listener.accept()[0]]).start()
tcp = socket.create_server(("127.0.0.1", 0))
unix = socket.socket(socket.AF_UNIX)
unix.bind(sys.argv[1])
unix.listen()
threading.Thread(target=serve, args=[unix]).start()
print("listeningOn==%d==" % tcp.getsockname()[1], flush=True)
serve(tcp)
"#;

/// Connects to a port by way of a SOCKS5 proxy (RFC 1928).
fn by_proxy(proxy: u16, port: u16) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", proxy)).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream.write_all(&[5, 1, 0]).unwrap();
    let mut answer = [0; 2];
    stream.read_exact(&mut answer).unwrap();
    let [high, low] = port.to_be_bytes();
    stream
        .write_all(&[5, 1, 0, 1, 127, 0, 0, 1, high, low])
        .unwrap();
    let mut answer = [0; 10];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(answer[1], 0, "{answer:?}");
    stream
}

fn echoes(mut stream: impl Read + Write, text: &str) {
    stream.write_all(text.as_bytes()).unwrap();
    let mut answer = vec![0; text.len()];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(answer, text.as_bytes());
}

#[test]
fn an_editor_with_its_server() {
    if missing("python3") {
        return;
    }
    let server = Server::start();
    let user = server.user();
    let path = |name: &str| user.folder().join(name).display().to_string();
    let (control, far, near) = (path("control"), path("far"), path("near"));
    std::fs::write(path("echo.py"), ECHO).unwrap();
    let proxy = free_port();
    let (socks, forward) = (proxy.to_string(), format!("{near}:{far}"));
    let arguments = ["-T", "-M", "-S", &control, "-D", &socks, "-L", &forward];
    let mut ssh = server.ssh(&user, &arguments);
    let mut ssh = ssh
        .arg("bash")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = ssh.stdin.take().unwrap();
    let script = format!(
        "nohup setsid python3 {} {far} > {} 2>&1 < /dev/null & echo pid=$!\n\
         until grep -q listeningOn {log}; do sleep 0.1; done; cat {log}\n",
        path("echo.py"),
        path("log"),
        log = path("log"),
    );
    stdin.write_all(script.as_bytes()).unwrap();
    let mut lines = BufReader::new(ssh.stdout.take().unwrap())
        .lines()
        .map_while(Result::ok);
    let mut said = |start: &str, end: &str| -> String {
        let line = lines.find(|line| line.starts_with(start)).unwrap();
        line.trim_start_matches(start)
            .trim_end_matches(end)
            .to_owned()
    };
    let pid = said("pid=", "").parse().unwrap();
    let port = said("listeningOn==", "==").parse().unwrap();
    // Many at once, and all of them open.
    let mut connections: Vec<_> = (0..20).map(|_| by_proxy(proxy, port)).collect();
    for round in 0..3 {
        for (number, connection) in connections.iter_mut().enumerate() {
            echoes(connection, &format!("{round} {number}\n").repeat(1000));
        }
        echoes(UnixStream::connect(&near).unwrap(), "by a socket\n");
        // Execs beside them, by the same connection.
        let mut beside = Command::new("ssh");
        let run = output(beside.args(["-F", "none", "-S", &control, "claw@beside", "uname"]));
        assert_eq!(text(&run.stdout), "Linux\n", "{}", text(&run.stderr));
    }
    // The window is closed; the server waits for it to come back.
    drop((connections, stdin));
    assert!(ssh.wait().unwrap().success());
    assert!(is_alive(pid));
    signal(pid, "TERM");
    wait_for("the server's end", || (!is_alive(pid)).then_some(()));
}
