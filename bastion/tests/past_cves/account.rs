//! Who does what: nothing that a user asks for is done by anybody but the account.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;

use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::PeerCredentials;
use pomerium_stand_in::wire::Writer;

use crate::log_in;
use crate::support::{
    Server, account, as_root, children, command_line, processes, run, text, wait_for,
};

/// An account that is not ours, where there is one.
const OTHER: &str = "bastion-test";

fn server_with_another_account() -> Option<Server> {
    let exists = std::process::Command::new("id").arg(OTHER).output();
    if !as_root() || !exists.is_ok_and(|id| id.status.success()) {
        eprintln!("SKIPPED: this takes root and an account {OTHER} (./test makes one)");
        return None;
    }
    Some(Server::start_as_ordinary(OTHER))
}

fn user_id(name: &str) -> u32 {
    let output = std::process::Command::new("id").args(["-u", name]).output();
    text(&output.unwrap().stdout).trim().parse().unwrap()
}

/// dropbear's CVE-2025-14282: a Unix socket was connected to as root.
#[test]
fn sockets_are_connected_to_and_made_by_the_account() {
    let Some(server) = server_with_another_account() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    let path = folder.path().join("socket");
    let listener = UnixListener::bind(&path).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o777)).unwrap();
    let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let expected = user_id(OTHER);
    run(async {
        let mut client = log_in(&server).await;
        let fields = Writer::new()
            .string(path.to_str().unwrap())
            .string("")
            .u32(0);
        let kind = "direct-streamlocal@openssh.com";
        client.open(kind, &fields.into_vec()).await.unwrap();
        let (accepted, _) = listener.accept().unwrap();
        assert_eq!(
            getsockopt(&accepted, PeerCredentials).unwrap().uid(),
            expected
        );

        let port = tcp.local_addr().unwrap().port();
        let fields = Writer::new().string("127.0.0.1").u32(port.into());
        let fields = fields.string("127.0.0.1").u32(1).into_vec();
        client.open("direct-tcpip", &fields).await.unwrap();
        let (_accepted, peer) = tcp.accept().unwrap();
        assert_eq!(owner_of_socket(peer.port(), port), expected);

        let made = folder.path().join("made");
        let fields = Writer::new().string(made.to_str().unwrap()).into_vec();
        let name = "streamlocal-forward@openssh.com";
        assert!(
            client
                .global_request(name, &fields)
                .await
                .unwrap()
                .is_some()
        );
        assert_eq!(std::fs::metadata(&made).unwrap().uid(), expected);
    });
    // A socket that the account must not reach is not reached.
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
    run(async {
        let mut client = log_in(&server).await;
        let fields = Writer::new()
            .string(path.to_str().unwrap())
            .string("")
            .u32(0);
        let kind = "direct-streamlocal@openssh.com";
        assert!(client.open(kind, &fields.into_vec()).await.is_err());
    });
}

/// The user of the TCP socket that is connected from one port of 127.0.0.1 to another, by
/// /proc/net/tcp. The port that it comes from may be that of older connections, too.
fn owner_of_socket(from: u16, to: u16) -> u32 {
    let [local, remote] = [from, to].map(|port| format!("0100007F:{port:04X}"));
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let rows = table
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>());
    let row = rows
        .into_iter()
        .find(|row| row.get(1..3) == Some(&[local.as_str(), remote.as_str()]));
    row.unwrap()[7].parse().unwrap()
}

/// Tailscale's 651049ec1, and CVE-2023-4911 beside it: variables that steer the dynamic linker,
/// the C library, a shell or an interpreter, whatever the configuration permits.
#[test]
fn no_variable_of_the_client_steers_a_program() {
    let server = Server::start_with("accept_env = [\"*\"]", &[]);
    let steering = [
        "LD_PRELOAD",
        "LD_LIBRARY_PATH",
        "LD_AUDIT",
        "GLIBC_TUNABLES",
        "BASH_ENV",
        "ENV",
        "BASH_FUNC_ls%%",
        "SHELLOPTS",
        "PS4",
        "PROMPT_COMMAND",
        "IFS",
        "PATH",
        "HOME",
        "NODE_OPTIONS",
        "PYTHONPATH",
        "PERL5OPT",
        "RUBYOPT",
        "GIT_SSH_COMMAND",
        "SSH_ORIGINAL_COMMAND",
        "GCONV_PATH",
        "JAVA_TOOL_OPTIONS=x\nLD_PRELOAD",
        "A\0LD_PRELOAD",
    ];
    run(async {
        let mut client = log_in(&server).await;
        let id = client.open_session().await.unwrap();
        for name in steering {
            let fields = Writer::new().string(name).string("evil").into_vec();
            // Whether it is refused or passed over is seen by its effect only.
            client
                .send_request(id, "env", &fields, false)
                .await
                .unwrap();
        }
        let fields = Writer::new().string("LANG").string("harmless").into_vec();
        client
            .send_request(id, "env", &fields, false)
            .await
            .unwrap();
        let command = Writer::new().string("env").into_vec();
        assert!(client.request(id, "exec", &command).await.unwrap());
        let mut output = Vec::new();
        let collect = |event: &pomerium_stand_in::client::ChannelEvent| {
            if let pomerium_stand_in::client::ChannelEvent::Data(data) = event {
                output.extend_from_slice(data);
            }
        };
        client
            .transact(id, std::iter::empty(), collect)
            .await
            .unwrap();
        let output = text(&output);
        assert!(output.contains("LANG=harmless"), "{output}");
        assert!(!output.contains("evil"), "{output}");
    });
}

/// Tailscale's 9d48dbd56: what is secret was an argument, which everybody on the host can read.
#[test]
fn no_argument_of_a_process_says_anything() {
    let server = Server::start();
    let user = server.user_with(|spec| spec.key_id = "key-id-in-no-argument".into());
    run(async {
        let mut client = crate::log_in_as(&server, &user).await;
        let id = client.open_session().await.unwrap();
        let command = Writer::new().string("sleep 1000").into_vec();
        assert!(client.request(id, "exec", &command).await.unwrap());
        // Sessions are copies of a process that the monitor started once.
        let parts = wait_for("the program", || {
            let parts = descendants(server.pid());
            let runs = parts
                .iter()
                .any(|&part| command_line(part).starts_with("sleep"));
            runs.then(|| parts.into_iter().filter(|&part| is_bastion(part)))
        });
        let mut seen = 0;
        for part in parts {
            let line = command_line(part);
            let mut words = line.split_whitespace();
            assert!(words.next().unwrap().ends_with("bastion"), "{line}");
            assert!(
                ["gate", "session"].contains(&words.next().unwrap()),
                "{line}"
            );
            assert_eq!(words.next(), None, "{line}");
            seen += 1;
            let environment = std::fs::read(format!("/proc/{part}/environ")).unwrap_or_default();
            assert!(!text(&environment).contains("PRIVATE"));
        }
        assert!(seen >= 2);
        let mine = account();
        for (pid, _) in processes() {
            let line = command_line(pid);
            assert!(!line.contains("key-id-in-no-argument"), "{mine}: {line}");
            assert!(!line.contains("BEGIN OPENSSH"), "{mine}: {line}");
        }
    });
}

fn is_bastion(pid: u32) -> bool {
    let line = command_line(pid);
    let program = line.split_whitespace().next();
    program.is_some_and(|program| program.ends_with("bastion"))
}

/// The processes that a process has started, and those that they have.
fn descendants(pid: u32) -> Vec<u32> {
    let children = children(pid);
    let theirs = children.iter().flat_map(|&child| descendants(child));
    theirs.chain(children.iter().copied()).collect()
}
