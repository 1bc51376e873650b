//! The wall clock is set, forward and back, while bastion runs: certificates go by it, and nothing
//! else does. The machine's own is left alone: clock.c stands between.

use std::io::Read;
use std::net::TcpStream;

use pomerium_stand_in::client::{Client, Options};

use crate::preload::{self, Shared};
use crate::support::{LIMIT, Server, User, authenticate, now, text};
use crate::{log_in, run};

const DAY: i64 = 24 * 60 * 60;

/// The clock of one server.
struct Clock {
    offset: Shared,
    ahead: i64,
}

impl Clock {
    fn set(&mut self, ahead: i64) {
        self.offset.write(0, &ahead.to_ne_bytes());
        self.ahead = ahead;
    }

    fn now(&self) -> u64 {
        now().checked_add_signed(self.ahead).unwrap()
    }

    /// A user with a certificate that was issued now.
    fn user(&self, server: &Server) -> User {
        let now = self.now();
        server.user_with(|spec| {
            *spec = keys::pomerium::pomerium_spec("claw", now);
        })
    }
}

/// A server whose clock can be set; none without root or a C compiler.
fn start(config: &str) -> Option<(Server, Clock)> {
    let (server, offset) = preload::start("clock.c", config)?;
    Some((server, Clock { offset, ahead: 0 }))
}

/// What the clock says in a session that is open.
async fn clock_of(client: &mut Client) -> u64 {
    let output = client.exec("date +%s").await.unwrap();
    text(&output.stdout).trim().parse().unwrap()
}

async fn is_refused(server: &mut Server, user: &User, code: &str) {
    let mut client = Client::connect(server.address, Options::pomerium())
        .await
        .unwrap();
    assert!(authenticate(&mut client, user).await.is_err());
    let refused = server.event("login", |event| event["verdict"] == "refused");
    assert_eq!(refused["reason"]["code"], code);
}

#[test]
fn a_clock_that_jumps_is_the_certificates_alone() {
    let config = "login_grace_time = \"15s\"\nidle_timeout = \"1h\"\nmax_session_time = \"1h\"\n\
        unused_connection_timeout = \"1h\"\nclient_alive_interval = \"1h\"\nrekey_interval = \"1h\"";
    let Some((mut server, mut clock)) = start(config) else {
        return;
    };
    let gate = server.gate();
    let first = clock.user(&server);
    let mut strangers = Vec::new();
    run(async {
        let mut session = log_in(&server, &first).await;
        // Opened now: a session that begins later is judged by the clock of then.
        clock_of(&mut session).await;
        for ahead in [400 * DAY, -400 * DAY, 10 * DAY, 0] {
            let stranger = TcpStream::connect(server.address).unwrap();
            stranger.set_read_timeout(Some(LIMIT)).unwrap();
            strangers.push(stranger);
            let connecting = Client::connect(server.address, Options::pomerium());
            let mut on_his_way = connecting.await.unwrap();
            clock.set(ahead);
            // Every part has noticed, and the session is still there.
            let says = clock_of(&mut session).await;
            assert!(says.abs_diff(clock.now()) < LIMIT.as_secs(), "{says}");
            // Who was about to log in may, with a certificate of this time.
            let user = clock.user(&server);
            let outcome = on_his_way.authenticate("claw", &user.private, &user.certificate);
            outcome.await.unwrap().success().unwrap();
            drop(log_in(&server, &user).await);
            match ahead {
                1.. => is_refused(&mut server, &first, "expired").await,
                0 => drop(log_in(&server, &first).await),
                _ => is_refused(&mut server, &first, "not_yet_valid").await,
            }
        }
        assert_eq!(
            clock_of(&mut session).await.abs_diff(now()) / LIMIT.as_secs(),
            0
        );
    });
    // Nobody has more time to log in than there is.
    for mut stranger in strangers {
        let _reset = stranger.read_to_end(&mut Vec::new());
    }
    server.event("connection_closed", |event| {
        event["reason"] == "login grace time is over"
    });
    assert_eq!(server.gate(), gate, "the gate has been restarted");
}

#[test]
fn a_session_ends_when_the_clock_passes_its_certificate_if_it_is_to() {
    let Some((mut server, mut clock)) = start("end_at_certificate_expiry = true") else {
        return;
    };
    let user = clock.user(&server);
    run(async {
        let mut client = log_in(&server, &user).await;
        clock_of(&mut client).await;
        clock.set(-DAY);
        assert!(clock_of(&mut client).await < now());
        clock.set(DAY);
        let closed = server.event("connection_closed", |_| true);
        let reason = closed["reason"].as_str().unwrap();
        assert!(reason.starts_with("the certificate ends at "), "{reason}");
        // The monitor did not have to see to it.
        let overdue = |event: &serde_json::Value| event["event"] == "session_overdue";
        assert!(!server.events_so_far().iter().any(overdue));
    });
}
