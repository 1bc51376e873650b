//! Much data, with new keys all the time.

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use keys::generate::{KeyKind, generate};
use pomerium_stand_in::client::{ChannelEvent, Options};
use pomerium_stand_in::proxy::{self, Settings};
use pomerium_stand_in::transport::{Config, HostKeys};
use pomerium_stand_in::wire::Writer;
use sha2::{Digest, Sha256};

use crate::log_in;
use crate::support::{Server, run, text};

/// In bytes; the whole gigabyte of a large file takes an optimized build.
const MUCH: usize = if cfg!(debug_assertions) {
    64 << 20
} else {
    1 << 30
};

#[test]
fn much_data_each_way_with_new_keys_by_the_client() {
    let server = Server::start();
    run(async {
        let mut client = log_in(&server, Options::pomerium().rekey_after(16 << 20)).await;
        let id = client.open_session().await.unwrap();
        let command = Writer::new()
            .string(format!("head -c {MUCH} /dev/zero").as_str())
            .into_vec();
        assert!(client.request(id, "exec", &command).await.unwrap());
        let (mut received, mut longest) = (0, 0);
        client
            .transact(id, std::iter::empty(), |event| {
                if let ChannelEvent::Data(data) = event {
                    received += data.len();
                    longest = longest.max(data.len());
                }
            })
            .await
            .unwrap();
        assert_eq!(received, MUCH);
        // Pomerium can stall on a packet of more than 16 KiB.
        assert!(longest <= 15 * 1024, "{longest}");
        let id = client.open_session().await.unwrap();
        assert!(
            client
                .request(id, "exec", &Writer::new().string("wc -c").into_vec())
                .await
                .unwrap()
        );
        let chunk = bytes::Bytes::from(vec![1; 1 << 20]);
        let mut counted = Vec::new();
        let input = std::iter::repeat_n(chunk, MUCH >> 20);
        client
            .transact(id, input, |event| {
                if let ChannelEvent::Data(data) = event {
                    counted.extend_from_slice(data);
                }
            })
            .await
            .unwrap();
        assert_eq!(counted, format!("{MUCH}\n").into_bytes());
    });
}

#[test]
fn new_keys_after_every_few_bytes() {
    let server = Server::start();
    run(async {
        // The least that Pomerium can be set to.
        let mut client = log_in(&server, Options::pomerium().rekey_after(256)).await;
        let output = client.exec_with_input("cat", &[5; 20_000]).await.unwrap();
        assert_eq!((output.stdout.len(), output.exit_status), (20_000, Some(0)));
    });
}

/// The digest of all that can be read, in hexadecimal.
fn digest(mut from: impl Read) -> String {
    let (mut hasher, mut chunk) = (Sha256::new(), vec![0; 1 << 20]);
    loop {
        match from.read(&mut chunk).unwrap() {
            0 => break,
            read => hasher.update(&chunk[..read]),
        }
    }
    let digest = hasher.finalize();
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// As a user has it: `ssh`, the proxy, bastion, with new keys after every 16 MiB on both sides of
/// the proxy and keepalives both ways. BULK_MIB says how much; `./test` takes less than a large file.
#[test]
fn a_large_file_both_ways_through_the_proxy() {
    let mib = std::env::var("BULK_MIB").map_or(256, |text| text.parse().unwrap());
    let server = Server::start_with("client_alive_interval = \"1s\"", &[]);
    let host_keys = [KeyKind::Ed25519, KeyKind::EcdsaP256].map(|kind| generate(kind, "").unwrap());
    let host_keys = Arc::new(HostKeys::new(host_keys.into()));
    let mut upstream = Config::client(host_keys.algorithms());
    upstream.rekey_after = Some(16 << 20);
    let broken = Arc::<Mutex<Vec<String>>>::default();
    let rules = broken.clone();
    let settings = Settings {
        routes: vec![format!("openclaw={}", server.address).parse().unwrap()],
        host_keys,
        user_ca_key: Arc::new(server.ca.clone()),
        upstream,
        accept_none: true,
        report: Box::new(move |report| {
            if report.violation.is_some() {
                rules.lock().unwrap().push(report.text.clone());
            }
        }),
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    listener.set_nonblocking(true).unwrap();
    runtime.spawn(async move {
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        proxy::serve(listener, Arc::new(settings)).await;
    });
    let file = server.folder.path().join("large");
    let mut large = File::create(&file).unwrap();
    let noise: Vec<u8> = (0..1_u32 << 20)
        .map(|n| (n.wrapping_mul(n) >> 7) as u8)
        .collect();
    for number in 0..mib {
        large.write_all(format!("{number:8}").as_bytes()).unwrap();
        large.write_all(&noise[8..]).unwrap();
    }
    let expected = digest(File::open(&file).unwrap());
    let ssh = |command: &str| {
        let mut ssh = Command::new("ssh");
        ssh.args(["-F", "none", "-o", "BatchMode=yes", "-o", "RekeyLimit=16M"]);
        ssh.args([
            "-o",
            "StrictHostKeyChecking=no",
            "-o",
            "UserKnownHostsFile=/dev/null",
        ]);
        ssh.args(["-o", "LogLevel=ERROR", "-o", "ServerAliveInterval=1"]);
        ssh.args(["-p", &port, "-l", "claw@openclaw", "127.0.0.1", command]);
        ssh
    };
    let get = format!("cat {}", file.display());
    let mut down = ssh(&get)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    assert_eq!(digest(down.stdout.take().unwrap()), expected);
    assert!(down.wait().unwrap().success());
    let up = ssh("sha256sum")
        .stdin(File::open(&file).unwrap())
        .output()
        .unwrap();
    assert!(
        text(&up.stdout).starts_with(&expected),
        "{}{}",
        text(&up.stdout),
        text(&up.stderr)
    );
    assert_eq!(*broken.lock().unwrap(), Vec::<String>::new());
}
