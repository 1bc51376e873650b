//! Go's CVE-2026-39828 and CVE-2026-46595: what a certificate restricts, it restricts to the end.

use keys::certificate::CertificateOption;
use pomerium_stand_in::client::{ChannelEvent, Client};
use pomerium_stand_in::wire::Writer;

use crate::log_in_as;
use crate::support::{Server, run};

/// What a channel says and how it ends, after a request.
async fn output(client: &mut Client, request: &str, fields: &[u8]) -> String {
    let id = client.open_session().await.unwrap();
    assert!(
        client.request(id, request, fields).await.unwrap(),
        "{request}"
    );
    client.eof(id).await.unwrap();
    let mut output = Vec::new();
    loop {
        match client.event(id).await.unwrap() {
            ChannelEvent::Data(data) => output.extend_from_slice(&data),
            ChannelEvent::Close => return String::from_utf8(output).unwrap(),
            _ => {}
        }
    }
}

#[test]
fn a_forced_command_holds_for_every_channel_and_after_new_keys() {
    let server = Server::start();
    let user = server.user_with(|spec| {
        let forced = CertificateOption::with_value("force-command", "echo forced").unwrap();
        spec.critical_options.push(forced);
    });
    run(async {
        let mut client = log_in_as(&server, &user).await;
        let exec = Writer::new().string("echo free").into_vec();
        let subsystem = Writer::new().string("sftp").into_vec();
        for _ in 0..3 {
            assert_eq!(output(&mut client, "exec", &exec).await, "forced\n");
            assert_eq!(output(&mut client, "shell", &[]).await, "forced\n");
            assert_eq!(
                output(&mut client, "subsystem", &subsystem).await,
                "forced\n"
            );
            client.rekey().await.unwrap();
        }
        // A second program on a channel is none at all.
        let id = client.open_session().await.unwrap();
        assert!(client.request(id, "exec", &exec).await.unwrap());
        for (request, fields) in [
            ("exec", &exec[..]),
            ("shell", &[]),
            ("subsystem", &subsystem),
        ] {
            // The channel may have been closed by then.
            assert!(!client.request(id, request, fields).await.unwrap_or(false));
        }
    });
}

#[test]
fn what_is_not_permitted_is_not_permitted_on_any_channel() {
    let server = Server::start();
    let user = server.user_with(|spec| spec.extensions.clear());
    run(async {
        let mut client = log_in_as(&server, &user).await;
        let tcp = Writer::new()
            .string("127.0.0.1")
            .u32(server.address.port().into())
            .string("127.0.0.1")
            .u32(1);
        let tcp = tcp.into_vec();
        let unix = Writer::new().string("/tmp/x").string("").u32(0).into_vec();
        let listen = Writer::new().string("127.0.0.1").u32(0).into_vec();
        let listen_unix = Writer::new().string("/tmp/past-cves-x").into_vec();
        let pty = Writer::new()
            .string("xterm")
            .u32(80)
            .u32(24)
            .u32(0)
            .u32(0)
            .string([0]);
        let pty = pty.into_vec();
        for _ in 0..3 {
            assert!(client.open("direct-tcpip", &tcp).await.is_err());
            assert!(
                client
                    .open("direct-streamlocal@openssh.com", &unix)
                    .await
                    .is_err()
            );
            for (name, fields) in [
                ("tcpip-forward", &listen),
                ("streamlocal-forward@openssh.com", &listen_unix),
            ] {
                assert_eq!(
                    client.global_request(name, fields).await.unwrap(),
                    None,
                    "{name}"
                );
            }
            let id = client.open_session().await.unwrap();
            assert!(!client.request(id, "pty-req", &pty).await.unwrap());
            let agent = "auth-agent-req@openssh.com";
            assert!(!client.request(id, agent, &[]).await.unwrap());
            assert!(!client.request(id, "x11-req", &x11()).await.unwrap());
            client.close(id).await.unwrap();
            assert_eq!(client.exec("echo in").await.unwrap().stdout, b"in\n");
            client.rekey().await.unwrap();
        }
    });
}

fn x11() -> Vec<u8> {
    let request = Writer::new().bool(false).string("MIT-MAGIC-COOKIE-1");
    request.string("00").u32(0).into_vec()
}
