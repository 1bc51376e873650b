//! The monitor against a gate that was taken over.
//!
//! This program is a bastion whose gate is the enemy: the monitor re-executes what it is itself
//! as `gate`, so that here the gate is the code below, which sends grant requests of its own
//! making and reports the monitor's answers as exit status and complaints.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test, which has failed when it panics"
)]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bastion::config::{Overrides, Source};
use bastion::ipc::{
    ConnectionId, FromGate, FromSession, GrantRequest, Link, LinkError, Program, PtyRequest,
    ToGate, ToSession, Verdict,
};
use bastion::policy::Proof;
use bastion::sys::pty::WindowSize;
use bastion::sys::{account, sandbox, spawn};
use keys::certificate::{CertificateOption, CertificateSpec, sign};
use keys::generate::{KeyKind, generate};
use keys::pomerium::pomerium_spec;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use signature::Signer;
use ssh_key::encoding::Encode;
use ssh_key::{LineEnding, PrivateKey, Signature};

type Monitor = Link<FromGate, ToGate>;
type Session = Link<ToSession, FromSession>;

/// Where the driver leaves the authority's private key for the hostile gate's own users: the gate
/// does not have it, but the holders of its certificates log in through the gate.
const CA: &str = "/ca";

/// What the hostile gate says when nothing that it tried did any good.
const HELD: &str = "the monitor held";

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("gate") => gate(),
        Some("session") => bastion::session::run().unwrap(),
        Some("monitor") => monitor(&arguments[1]),
        _ => driver(),
    }
}

/// Starts the monitor and reads what its gate found.
fn driver() {
    let folder = tempfile::tempdir().unwrap();
    let ca = generate(KeyKind::Ed25519, "").unwrap();
    std::fs::write(
        folder.path().join("ca.pub"),
        ca.public_key().to_openssh().unwrap(),
    )
    .unwrap();
    let private = ca.to_openssh(LineEnding::LF).unwrap();
    std::fs::write(
        format!("{}{CA}", folder.path().display()),
        private.as_bytes(),
    )
    .unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .arg("monitor")
        .arg(folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap())
        .lines()
        .map_while(Result::ok);
    let mut held = false;
    for line in lines {
        let event: serde_json::Value = serde_json::from_str(&line).unwrap();
        println!("{line}");
        let word = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
        match word("event").as_str() {
            "gate_says" if word("line") == HELD => held = true,
            // How a panic begins.
            "gate_says" if word("line").is_empty() => {}
            "gate_says" => {
                finish(&mut child);
                panic!("{}", word("line"));
            }
            // For the number that it made up last.
            "gate_ended" if held => {
                finish(&mut child);
                assert!(word("how").contains("killed"), "{line}");
                return println!("test hostile_gate ... ok");
            }
            "connection_opened" => assert_ne!(event["connection"], u64::MAX, "{line}"),
            _ => {}
        }
    }
    panic!("the monitor ended");
}

fn finish(child: &mut Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

fn monitor(folder: &str) {
    let own = account::Account::current().unwrap().name;
    let overrides = Overrides {
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        trusted_user_ca_keys: Some(format!("{folder}/ca.pub").into()),
        // The hostile gate finds its test's keys by this.
        state_dir: Some(folder.into()),
        ..Overrides::default()
    };
    let file = format!("{folder}/bastion.toml");
    std::fs::write(
        &file,
        format!("permit_root_login = true\nlogins = {{ claw = \"{own}\" }}"),
    )
    .unwrap();
    let source = Source {
        file: Some(file.into()),
        overrides,
    };
    bastion::monitor::run(source).unwrap();
}

/// The hostile gate. What it finds out it says at its standard error, which the monitor logs.
fn gate() {
    let link = Monitor::new(spawn::inherited().unwrap());
    let outcome = std::panic::catch_unwind(|| attack(&link));
    if outcome.is_ok() {
        eprintln!("{HELD}");
        let leap = FromGate::Opened {
            connection: ConnectionId(u64::MAX),
            peer: "127.0.0.1:1".parse().unwrap(),
        };
        link.send(&leap, &[]).unwrap();
    }
    // The driver ends us.
    std::thread::sleep(Duration::from_secs(60));
}

fn attack(link: &Monitor) {
    let (ToGate::Setup(setup), _listeners) = receive(link) else {
        panic!("no setup")
    };
    let fence = sandbox::Fence {
        empty_root: true,
        landlock: sandbox::Landlock::Full,
    };
    link.send(&FromGate::Ready(fence), &[]).unwrap();
    let folder = setup.root.parent().unwrap().to_owned();
    let ca = PrivateKey::from_openssh(std::fs::read(format!("{}{CA}", folder.display())).unwrap())
        .unwrap();
    let mut attacker = Attacker {
        link,
        ca,
        next: setup.first_connection.0,
    };
    attacker.nothing_without_a_grant();
    attacker.nothing_by_a_request_that_is_not_good();
    attacker.nothing_twice();
    attacker.no_more_than_the_certificate_permits();
}

struct Attacker<'a> {
    link: &'a Monitor,
    ca: PrivateKey,
    next: u64,
}

impl Attacker<'_> {
    fn nothing_without_a_grant(&mut self) {
        let connection = self.connection();
        assert!(
            self.open_session(connection).is_err(),
            "a session without a login"
        );
    }

    fn nothing_by_a_request_that_is_not_good(&mut self) {
        let foreign = generate(KeyKind::Ed25519, "").unwrap();
        type Edit = fn(&mut CertificateSpec);
        let same: Edit = |_| {};
        let bad: BTreeMap<&str, (Edit, &PrivateKey)> = BTreeMap::from([
            ("foreign authority", (same, &foreign)),
            (
                "expired",
                ((|spec| spec.valid_before = now() - 1) as Edit, &self.ca),
            ),
            (
                "not yet valid",
                ((|spec| spec.valid_after = now() + 100) as Edit, &self.ca),
            ),
            (
                "other principal",
                (
                    (|spec| spec.principals = vec!["root".into()]) as Edit,
                    &self.ca,
                ),
            ),
            (
                "no principal",
                ((|spec| spec.principals.clear()) as Edit, &self.ca),
            ),
            (
                "unknown option",
                (
                    (|spec| spec.critical_options.push(CertificateOption::flag("x"))) as Edit,
                    &self.ca,
                ),
            ),
        ]);
        let requests: Vec<_> = bad
            .into_iter()
            .map(|(name, (edit, ca))| (name, Login::new(ca, edit).request("claw", session_id())))
            .collect();
        for (name, request) in requests {
            self.refused(name, request);
        }
        let good = || Login::new(&self.ca, |_| {}).request("claw", session_id());
        let mut forged = Vec::new();
        let mut forge = |name, edit: fn(&mut GrantRequest)| {
            let mut request = good();
            edit(&mut request);
            forged.push((name, request));
        };
        forge("forged certificate", |request| {
            *request.certificate.last_mut().unwrap() ^= 1
        });
        forge("forged signature", |request| {
            *request.proof.signature.last_mut().unwrap() ^= 1
        });
        forge("no signature", |request| request.proof.signature.clear());
        forge("another session's signature", |request| {
            request.proof.session_id[0] ^= 1
        });
        forge("another login name", |request| {
            request.login_name = "root".into()
        });
        forge("no certificate", |request| request.certificate.clear());
        forge("a certificate of rubbish", |request| {
            request.certificate = vec![0xff; 1000]
        });
        for (name, request) in forged {
            self.refused(name, request);
        }
        // Somebody else's certificate, seen in passing, with a signature of one's own.
        let victim = Login::new(&self.ca, |_| {}).request("claw", session_id());
        let mut stolen = Login::new(&foreign, |_| {}).request("claw", session_id());
        stolen.certificate = victim.certificate;
        self.refused("a stolen certificate", stolen);
    }

    fn nothing_twice(&mut self) {
        let login = Login::new(&self.ca, |_| {});
        let request = login.request("claw", session_id());
        let replayed = GrantRequest {
            proof: request.proof.clone(),
            certificate: request.certificate.clone(),
            ..login.request("claw", session_id())
        };
        let first = self.connection();
        assert!(self.grant(first, request), "a good request was refused");
        // The same proof for another connection; another proof for the same connection.
        self.refused("a replay", replayed);
        let again = login.request("claw", session_id());
        assert!(!self.grant(first, again), "a connection was let in twice");
        assert!(
            self.open_session(first).is_ok(),
            "no session for a good login"
        );
        assert!(
            self.open_session(first).is_err(),
            "two sessions for one login"
        );
        // A connection that has ended is worth nothing.
        let ended = self.connection();
        assert!(self.grant(ended, login.request("claw", session_id())));
        self.tell(FromGate::Closed {
            connection: ended,
            reason: String::new(),
            received: 0,
            sent: 0,
        });
        assert!(
            self.open_session(ended).is_err(),
            "a session for a connection that has ended"
        );
    }

    /// The session process obeys the gate, but not beyond what the monitor told it.
    fn no_more_than_the_certificate_permits(&mut self) {
        let forced = |spec: &mut CertificateSpec| {
            spec.critical_options
                .push(CertificateOption::with_value("force-command", "echo forced").unwrap());
            spec.extensions.clear();
        };
        let connection = self.connection();
        assert!(self.grant(
            connection,
            Login::new(&self.ca, forced).request("claw", session_id())
        ));
        let session = Session::new(self.open_session(connection).unwrap());
        let start = |channel, pty| ToSession::Start {
            channel,
            program: Program::Exec(b"echo free".to_vec()),
            pty,
            environment: Vec::new(),
        };
        let pty = PtyRequest {
            term: "x".into(),
            size: WindowSize::default(),
            modes: Vec::new(),
        };
        session.send(&start(1, Some(pty)), &[]).unwrap();
        assert!(
            matches!(receive(&session).0, FromSession::Failed { channel: 1, .. }),
            "a terminal without leave"
        );
        session.send(&start(2, None), &[]).unwrap();
        let (FromSession::Started { channel: 2, .. }, descriptors) = receive(&session) else {
            panic!("the forced command was not started")
        };
        let stdout = descriptors.into_iter().nth(1).unwrap();
        let stdout = UnixStream::from(stdout);
        stdout.set_nonblocking(false).unwrap();
        let output = std::io::read_to_string(stdout).unwrap();
        assert_eq!(output, "forced\n");
    }

    fn refused(&mut self, name: &str, request: GrantRequest) {
        let connection = self.connection();
        assert!(!self.grant(connection, request), "{name} was let in");
        assert!(
            self.open_session(connection).is_err(),
            "{name} got a session"
        );
    }

    fn connection(&mut self) -> ConnectionId {
        self.next += 1;
        ConnectionId(self.next)
    }

    fn tell(&self, message: FromGate) {
        self.link.send(&message, &[]).unwrap();
    }

    fn grant(&self, connection: ConnectionId, request: GrantRequest) -> bool {
        self.tell(FromGate::Grant(Box::new(GrantRequest {
            connection,
            ..request
        })));
        match receive(self.link).0 {
            ToGate::Verdict {
                connection: answered,
                verdict,
            } if answered == connection => {
                matches!(verdict, Verdict::Granted)
            }
            _ => panic!("no verdict"),
        }
    }

    fn open_session(&self, connection: ConnectionId) -> Result<OwnedFd, String> {
        self.tell(FromGate::OpenSession { connection });
        match receive(self.link) {
            (ToGate::Session { error: None, .. }, descriptors) => {
                Ok(descriptors.into_iter().next().unwrap())
            }
            (ToGate::Session { error, .. }, _) => Err(error.unwrap()),
            _ => panic!("no answer"),
        }
    }
}

/// A user who logs in through the hostile gate.
struct Login {
    key: PrivateKey,
    certificate: Vec<u8>,
}

impl Login {
    fn new(ca: &PrivateKey, edit: impl FnOnce(&mut CertificateSpec)) -> Self {
        let key = generate(KeyKind::Ed25519, "").unwrap();
        let mut spec = pomerium_spec("claw", now());
        edit(&mut spec);
        let certificate = sign(&spec, key.public_key(), ca).unwrap();
        Self { key, certificate }
    }

    /// What the user signs: RFC 4252 §7.
    fn request(&self, login_name: &str, session_id: Vec<u8>) -> GrantRequest {
        let mut request = vec![50];
        login_name.encode(&mut request).unwrap();
        "ssh-connection".encode(&mut request).unwrap();
        "publickey".encode(&mut request).unwrap();
        request.push(1);
        "ssh-ed25519-cert-v01@openssh.com"
            .encode(&mut request)
            .unwrap();
        self.certificate.as_slice().encode(&mut request).unwrap();
        let mut signed = Vec::new();
        session_id.as_slice().encode(&mut signed).unwrap();
        signed.extend(&request);
        let signature: Signature = Signer::try_sign(&self.key, &signed).unwrap();
        let mut encoded = Vec::new();
        signature.encode(&mut encoded).unwrap();
        let peer: SocketAddr = "127.0.0.1:1".parse().unwrap();
        GrantRequest {
            connection: ConnectionId(0),
            peer,
            local: peer,
            client_version: String::new(),
            login_name: login_name.into(),
            certificate: self.certificate.clone(),
            proof: Proof {
                session_id,
                request,
                signature: encoded,
            },
        }
    }
}

/// A fresh one, as a key exchange makes.
fn session_id() -> Vec<u8> {
    rand::random::<[u8; 32]>().to_vec()
}

fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.unwrap().as_secs()
}

fn receive<S: serde::Serialize, R: serde::de::DeserializeOwned>(
    link: &Link<S, R>,
) -> (R, Vec<OwnedFd>) {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        match link.receive() {
            Ok(message) => return message,
            Err(LinkError::NotNow) if Instant::now() < deadline => {
                poll(
                    &mut [PollFd::new(link.as_fd(), PollFlags::POLLIN)],
                    PollTimeout::from(1000_u16),
                )
                .unwrap();
            }
            Err(error) => panic!("the monitor: {error}"),
        }
    }
}
