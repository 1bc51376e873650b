//! A server that breaks a rule, behind the proxy: the user is told as Pomerium tells, and the rule
//! is reported. The server and the user are our own transport, which can send anything.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    missing_docs
)]

use bytes::Bytes;
use pomerium_stand_in::authentication::request;
use pomerium_stand_in::client::{Client, Options};
use pomerium_stand_in::message::{
    Disconnect, SSH_DISCONNECT_CONNECTION_LOST, SSH_MSG_IGNORE, SSH_MSG_UNIMPLEMENTED,
    SSH_MSG_USERAUTH_BANNER, SSH_MSG_USERAUTH_REQUEST, SSH_MSG_USERAUTH_SUCCESS, describe,
};
use pomerium_stand_in::proxy::{self, Report, Route, Settings};
use pomerium_stand_in::strict::Violation;
use pomerium_stand_in::transport::{Config, Event, Forgery, HostKeys, Role, Transport};
use pomerium_stand_in::wire::{Reader, Writer};
use ssh_key::{Algorithm, PrivateKey};
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::timeout;

static HOST_KEYS: LazyLock<Arc<HostKeys>> = LazyLock::new(|| {
    let key = PrivateKey::random(&mut rand::rng(), Algorithm::Ed25519).unwrap();
    Arc::new(HostKeys::new(vec![key]))
});

/// The server of a test, after keys, and the user in front of the proxy.
struct Scene {
    server: Transport,
    user: Client,
    reports: UnboundedReceiver<Report>,
}

/// Runs the scene up to the moment when the server holds the proxy's signed request.
async fn scene() -> Scene {
    scene_with(Config::server(HOST_KEYS.clone())).await
}

async fn scene_with(config: Config) -> Scene {
    let (user, stream, reports) = connected().await;
    let mut server = Transport::open(stream, Role::Server, config).await.unwrap();
    server.exchange_keys().await.unwrap();
    assert_eq!(
        message(&mut server).await,
        Writer::message(7)
            .u32(1)
            .string("ping@openssh.com")
            .string("0")
            .into_vec()
    );
    assert_eq!(
        message(&mut server).await,
        Writer::message(5).string("ssh-userauth").into_vec()
    );
    server
        .send(&Writer::message(6).string("ssh-userauth").into_vec())
        .unwrap();
    let request = message(&mut server).await;
    let mut reader = Reader::new(&request);
    assert_eq!(reader.u8(), Ok(SSH_MSG_USERAUTH_REQUEST));
    assert_eq!(reader.text(), Ok("claw@home"), "up to the last @");
    assert_eq!(reader.text(), Ok("ssh-connection"));
    assert_eq!((reader.text(), reader.bool()), (Ok("publickey"), Ok(true)));
    assert_eq!(reader.text(), Ok("ssh-ed25519-cert-v01@openssh.com"));
    let certificate = keys::certificate::Certificate::decode(reader.string().unwrap()).unwrap();
    assert_eq!(
        (certificate.spec.serial, certificate.spec.key_id.as_str()),
        (1, "")
    );
    assert_eq!(certificate.spec.principals, ["claw@home"]);
    Scene {
        server,
        user,
        reports,
    }
}

/// A user who has asked to be let in, and the proxy's connection to the server.
async fn connected() -> (Client, TcpStream, UnboundedReceiver<Report>) {
    let upstream = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = upstream.local_addr().unwrap().to_string();
    let (sink, reports) = unbounded_channel();
    let settings = Settings {
        routes: vec![Route {
            name: "openclaw".to_owned(),
            address,
        }],
        host_keys: HOST_KEYS.clone(),
        user_ca_key: Arc::new(PrivateKey::random(&mut rand::rng(), Algorithm::Ed25519).unwrap()),
        upstream: Config::client(HOST_KEYS.algorithms()),
        accept_none: true,
        report: Box::new(move |report| sink.send(report.clone()).unwrap_or_default()),
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = listener.local_addr().unwrap();
    tokio::spawn(proxy::serve(listener, Arc::new(settings)));
    let mut user = Client::connect(proxy, Options::lenient()).await.unwrap();
    user.request_service("ssh-userauth").await.unwrap();
    user.send(&request("claw@home@openclaw", "none").into_vec())
        .await
        .unwrap();
    let accepted = timeout(Duration::from_secs(20), upstream.accept())
        .await
        .unwrap();
    (user, accepted.unwrap().0, reports)
}

async fn message(transport: &mut Transport) -> Bytes {
    loop {
        let next = timeout(Duration::from_secs(20), transport.next(true)).await;
        if let Event::Message(message) = next.expect("nothing comes").unwrap() {
            return message;
        }
    }
}

impl Scene {
    async fn server_sends(&mut self, payload: impl AsRef<[u8]>) {
        self.server
            .forge(payload.as_ref(), Forgery::default())
            .unwrap();
        self.server.flush().await.unwrap();
    }

    /// SUCCESS, and a session that the user opens under the server's number 4.
    async fn open_session(&mut self) -> u32 {
        self.server_sends([SSH_MSG_USERAUTH_SUCCESS]).await;
        assert_eq!(self.user.recv().await.unwrap()[0], SSH_MSG_USERAUTH_SUCCESS);
        let open = async {
            let id = self.user.open_session().await;
            id.unwrap()
        };
        let confirm = async {
            let open = message(&mut self.server).await;
            let mut reader = Reader::new(&open[1..]);
            assert_eq!(reader.text(), Ok("session"));
            let number = reader.u32().unwrap();
            let confirm = Writer::message(91).u32(number).u32(4).u32(1000).u32(100);
            self.server.send(&confirm.into_vec()).unwrap();
            self.server.flush().await.unwrap();
            number
        };
        let (_, number) = tokio::join!(open, confirm);
        number
    }

    /// How it ends for the user, and what is reported.
    async fn ended(mut self) -> (Disconnect, Option<Violation>) {
        let end = self.user.ended().await;
        let Some(disconnect) = end.disconnect() else {
            panic!("{end:?}")
        };
        let report = timeout(Duration::from_secs(20), self.reports.recv()).await;
        (disconnect.clone(), report.unwrap().unwrap().violation)
    }
}

/// The user reads `text` with reason 2, and the violation is reported.
async fn assert_violation(scene: Scene, text: &str) {
    let (disconnect, violation) = scene.ended().await;
    assert_eq!(
        disconnect,
        Disconnect {
            reason: 2,
            description: text.to_owned()
        }
    );
    assert!(violation.is_some());
}

#[tokio::test]
async fn answers_to_the_certificate() {
    let ext_info = Writer::message(7).u32(0).into_vec();
    let rows = [
        (
            vec![vec![60, 0, 0, 0, 0, 0, 0, 0, 0]],
            "Invalid Argument: unexpected message received: SSH_MSG_USERAUTH_INFO_REQUEST (60)",
        ),
        (
            vec![ext_info.clone(), ext_info.clone()],
            "Failed Precondition: unexpected ExtInfoMsg received",
        ),
        (
            vec![vec![52], ext_info],
            "Invalid Argument: unexpected message received: SSH_MSG_EXT_INFO (7)",
        ),
        (
            vec![vec![94, 0, 0, 0, 0, 0, 0, 0, 0]],
            "Invalid Argument: unexpected message received: SSH_MSG_CHANNEL_DATA (94)",
        ),
        (
            vec![vec![52], vec![94, 0, 0, 0, 9, 0, 0, 0, 0]],
            "Invalid Argument: received message for unknown channel 9: SSH_MSG_CHANNEL_DATA (94)",
        ),
        (
            vec![vec![52, 0]],
            "Invalid Argument: failed to decode packet: SSH_MSG_USERAUTH_SUCCESS (52): 1 bytes after the last field",
        ),
    ];
    for (payloads, text) in rows {
        let mut scene = scene().await;
        for payload in payloads {
            scene.server_sends(payload).await;
        }
        let mut scene = scene;
        // SUCCESS may come first, and is no end.
        if text.contains("(7)") || text.contains(" 9:") {
            assert_eq!(
                scene.user.recv().await.unwrap()[0],
                SSH_MSG_USERAUTH_SUCCESS
            );
        }
        assert_violation(scene, text).await;
    }
}

#[tokio::test]
async fn failure_banner_and_disconnect() {
    let mut refused = scene().await;
    refused
        .server_sends(Writer::message(53).string("why\n").string("").into_vec())
        .await;
    refused
        .server_sends(
            Writer::message(51)
                .string("publickey")
                .bool(true)
                .into_vec(),
        )
        .await;
    assert_eq!(
        refused.user.recv().await.unwrap()[0],
        SSH_MSG_USERAUTH_BANNER
    );
    let (disconnect, violation) = refused.ended().await;
    let description = "Permission Denied".to_owned();
    assert_eq!(
        (disconnect, violation),
        (
            Disconnect {
                reason: 2,
                description
            },
            None
        )
    );

    let mut told = scene().await;
    let words = Disconnect {
        reason: 14,
        description: "no certificate of ours".to_owned(),
    };
    told.server_sends(words.to_payload()).await;
    assert_eq!(told.ended().await, (words, None));
}

#[tokio::test]
async fn silence_after_close() {
    for number in [93, 94, 96, 97, 98, 99] {
        let mut scene = scene().await;
        let channel = scene.open_session().await;
        let on = |number| Writer::message(number).u32(channel);
        scene.server_sends(on(97).into_vec()).await;
        let late = match number {
            93 => on(93).u32(1),
            94 => on(94).string("late"),
            98 => on(98).string("exit-status").bool(false).u32(0),
            other => on(other),
        };
        scene.server_sends(late.into_vec()).await;
        let name = describe(number);
        let text =
            format!("Invalid Argument: received message for unknown channel {channel}: {name}");
        assert_violation(scene, &text).await;
    }
}

#[tokio::test]
async fn strays_in_a_rekey() {
    let strays = [
        Writer::message(2).string(""),
        Writer::message(93).u32(0).u32(1),
        Writer::message(82),
    ];
    for stray in strays.map(Writer::into_vec) {
        let mut scene = scene().await;
        scene.open_session().await;
        scene.server.start_exchange().unwrap();
        scene.server_sends(&stray).await;
        let text = format!(
            "Invalid Argument: unexpected message received: {}",
            describe(stray[0])
        );
        assert_violation(scene, &text).await;
    }
}

#[tokio::test]
async fn what_pomerium_keeps_to_itself() {
    let mut scene = scene().await;
    let channel = scene.open_session().await;
    let quiet = [
        Writer::message(2).string("ignore"),
        Writer::message(4).bool(true).string("debug").string(""),
        Writer::message(3).u32(0),
        Writer::message(80)
            .string("hostkeys-00@openssh.com")
            .bool(true)
            .string("k"),
        Writer::message(193).string("pong"),
    ];
    for message in quiet {
        scene.server_sends(message.into_vec()).await;
    }
    scene
        .server_sends(Writer::message(192).string("ping").into_vec())
        .await;
    assert_eq!(
        message(&mut scene.server).await,
        Writer::message(193).string("ping").into_vec()
    );
    scene.server_sends([250]).await;
    assert_eq!(message(&mut scene.server).await[0], SSH_MSG_UNIMPLEMENTED);
    let data = Writer::message(94).u32(channel).string("data").into_vec();
    scene.server_sends(data).await;
    assert_eq!(
        scene.user.recv().await.unwrap(),
        Writer::message(94).u32(0).string("data").into_vec()
    );
    // The user's ping stops here likewise; a key that is not the proxy's cannot be proven.
    scene
        .user
        .send(&Writer::message(192).string("me").into_vec())
        .await
        .unwrap();
    assert_eq!(
        scene.user.recv().await.unwrap(),
        Writer::message(193).string("me").into_vec()
    );
    let prove = Writer::message(80)
        .string("hostkeys-prove-00@openssh.com")
        .bool(true)
        .string("k");
    scene.user.send(&prove.into_vec()).await.unwrap();
    let (disconnect, _) = scene.ended().await;
    assert!(
        disconnect.description.contains("requested key is invalid"),
        "{disconnect}"
    );
}

#[tokio::test]
async fn global_requests_pass_both_ways() {
    let mut scene = scene().await;
    scene.open_session().await;
    let keepalive = Writer::message(80)
        .string("keepalive@openssh.com")
        .bool(true)
        .into_vec();
    scene.server_sends(&keepalive).await;
    assert_eq!(scene.user.recv().await.unwrap(), keepalive);
    scene.user.send(&[82]).await.unwrap();
    assert_eq!(message(&mut scene.server).await, [82][..]);
    let forward = Writer::message(80)
        .string("tcpip-forward")
        .bool(true)
        .string("")
        .u32(0)
        .into_vec();
    scene.user.send(&forward).await.unwrap();
    assert_eq!(message(&mut scene.server).await, forward);
    scene
        .server_sends(Writer::message(81).u32(4711).into_vec())
        .await;
    assert_eq!(
        scene.user.recv().await.unwrap(),
        Writer::message(81).u32(4711).into_vec()
    );
}

#[tokio::test]
async fn a_connection_that_breaks_off() {
    let mut scene = scene().await;
    scene.open_session().await;
    let Scene {
        server, mut user, ..
    } = scene;
    drop(server);
    let end = user.ended().await;
    assert_eq!(
        end.disconnect().map(|told| told.reason),
        Some(SSH_DISCONNECT_CONNECTION_LOST)
    );
}

#[tokio::test]
async fn when_the_user_leaves_the_server_sees_the_end_without_a_word() {
    let mut scene = scene().await;
    scene.open_session().await;
    let bye = Disconnect {
        reason: 11,
        description: "bye".to_owned(),
    };
    scene.user.send(&bye.to_payload()).await.unwrap();
    let end = timeout(Duration::from_secs(20), scene.server.next(true))
        .await
        .unwrap();
    assert!(end.is_err(), "{end:?}");
}

#[tokio::test]
async fn the_servers_greeting_is_held_to_the_rules() {
    let (mut user, stream, mut reports) = connected().await;
    let mut config = Config::server(HOST_KEYS.clone());
    config.version = "SSH-2.0-openclaw-bastion".to_owned();
    let server = tokio::spawn(Transport::open(stream, Role::Server, config));
    let end = user.ended().await;
    let text = "Invalid Argument: version string contains invalid characters";
    assert_eq!(
        end.disconnect().map(|told| told.description.as_str()),
        Some(text)
    );
    let report = timeout(Duration::from_secs(20), reports.recv())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(report.violation, Some(Violation::VersionCharacters));
    drop(server);
}

#[tokio::test]
async fn who_is_not_let_in_hears_it_from_the_client_too() {
    let mut refused = scene().await;
    refused
        .server_sends(
            Writer::message(51)
                .string("publickey")
                .bool(false)
                .into_vec(),
        )
        .await;
    // The user still waits for the answer to "none": it is a DISCONNECT, never a FAILURE.
    let answer = refused
        .user
        .request_authentication(&[SSH_MSG_IGNORE, 0, 0, 0, 0])
        .await;
    assert!(
        matches!(&answer, Err(error) if error.disconnect().is_some()),
        "{answer:?}"
    );
}
