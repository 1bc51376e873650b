//! The session judges for itself: here it is asked by a gate that has been taken over.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};

use nix::poll::{PollFd, PollTimeout, poll};

use super::*;
use crate::policy::forwarding::EndpointPattern;

const LIMIT: Duration = Duration::from_secs(60);

fn forwarding(permits: Permits) -> Forwarding {
    Forwarding {
        permits,
        rules: ForwardingRules::default(),
        superuser: false,
        connecting: Vec::new(),
        listening: Vec::new(),
        untaken: 0,
    }
}

fn tcp(host: &str, port: u16) -> Destination {
    Destination::Tcp {
        host: host.into(),
        port: port.into(),
    }
}

/// What becomes of an order, in the end.
fn carry_out(forwarding: &mut Forwarding, order: ForwardOrder) -> (ForwardAnswer, Option<OwnedFd>) {
    let begun = forwarding.obey(order);
    begun
        .unwrap_or_else(|| wait_for(forwarding))
        .answer
        .unwrap()
}

fn wait_for(forwarding: &mut Forwarding) -> Outcome {
    let until = Instant::now() + LIMIT;
    loop {
        assert!(Instant::now() < until, "nothing comes of it");
        let mut watched: Vec<_> = forwarding
            .watched()
            .map(|(fd, flags)| PollFd::new(fd, flags))
            .collect();
        let limit = forwarding
            .patience(Instant::now())
            .unwrap_or(LIMIT)
            .min(LIMIT);
        poll(&mut watched, PollTimeout::try_from(limit).unwrap()).unwrap();
        let ready: Vec<_> = watched.iter().map(|fd| fd.any().unwrap()).collect();
        if let Some(outcome) = forwarding.step(&ready, Instant::now()).pop() {
            return outcome;
        }
    }
}

fn is_prohibited(answer: &ForwardAnswer) -> bool {
    matches!(
        answer,
        ForwardAnswer::NotConnected {
            failure: ForwardFailure::Prohibited(_),
            ..
        } | ForwardAnswer::NotListening {
            failure: ForwardFailure::Prohibited(_),
            ..
        }
    )
}

#[test]
fn what_the_certificate_does_not_permit_is_not_done() {
    let service = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = service.local_addr().unwrap().port();
    let mut none = forwarding(Permits {
        port_forwarding: false,
        agent_forwarding: false,
        ..Permits::ALL
    });
    for order in [
        ForwardOrder::Connect {
            channel: 1,
            to: tcp("127.0.0.1", port),
        },
        ForwardOrder::Connect {
            channel: 1,
            to: Destination::Unix {
                path: "/nowhere".into(),
            },
        },
        ForwardOrder::Listen {
            listener: 1,
            at: ListenAddress::Tcp {
                host: "localhost".into(),
                port: 0,
            },
        },
        ForwardOrder::Listen {
            listener: 1,
            at: ListenAddress::Unix {
                path: "/tmp/nothing".into(),
            },
        },
        ForwardOrder::Listen {
            listener: 1,
            at: ListenAddress::Agent,
        },
    ] {
        let shown = format!("{order:?}");
        let (answer, socket) = carry_out(&mut none, order);
        assert!(
            is_prohibited(&answer) && socket.is_none(),
            "{shown}: {answer:?}"
        );
    }
    service.set_nonblocking(true).unwrap();
    assert!(service.accept().is_err(), "somebody has connected");
}

#[test]
fn what_is_denied_is_not_connected_to() {
    let mut forwarding = forwarding(Permits::ALL);
    for host in [
        "169.254.169.254",
        "::ffff:169.254.169.254",
        "metadata.google.internal",
    ] {
        let order = ForwardOrder::Connect {
            channel: 1,
            to: tcp(host, 80),
        };
        let (answer, _) = carry_out(&mut forwarding, order);
        assert!(is_prohibited(&answer), "{host}: {answer:?}");
    }
}

/// The first address may be connected to, and nobody is there; the next one is denied.
#[test]
fn addresses_are_tried_in_turn_and_each_is_judged() {
    let service = TcpListener::bind("[::1]:0")
        .or_else(|_| TcpListener::bind("127.0.0.1:0"))
        .unwrap();
    let port = service.local_addr().unwrap().port();
    let mut forwarding = forwarding(Permits::ALL);
    let order = || ForwardOrder::Connect {
        channel: 7,
        to: tcp("localhost", port),
    };
    let (answer, socket) = carry_out(&mut forwarding, order());
    assert_eq!(answer, ForwardAnswer::Connected { channel: 7 });
    let mut stream = TcpStream::from(socket.unwrap());
    stream.write_all(b"x").unwrap();
    let mut byte = [0];
    service.accept().unwrap().0.read_exact(&mut byte).unwrap();
    forwarding
        .rules
        .deny_open
        .push(EndpointPattern::try_from(format!("[::1]:{port}")).unwrap());
    forwarding
        .rules
        .deny_open
        .push(EndpointPattern::try_from(format!("127.0.0.1:{port}")).unwrap());
    let (answer, _) = carry_out(&mut forwarding, order());
    assert!(is_prohibited(&answer), "{answer:?}");
}

#[test]
fn nonsense_is_refused() {
    let mut forwarding = forwarding(Permits::ALL);
    for to in [
        Destination::Tcp {
            host: "localhost".into(),
            port: 0,
        },
        Destination::Tcp {
            host: "localhost".into(),
            port: 65536,
        },
        Destination::Tcp {
            host: String::new(),
            port: 80,
        },
        Destination::Tcp {
            host: "a\0b".into(),
            port: 80,
        },
        Destination::Tcp {
            host: "a".repeat(256),
            port: 80,
        },
        Destination::Unix {
            path: "relative".into(),
        },
        Destination::Unix {
            path: "/tmp/a\0b".into(),
        },
        Destination::Unix {
            path: "/tmp".into(),
        },
        Destination::Unix {
            path: String::new(),
        },
    ] {
        let shown = format!("{to:?}");
        let (answer, _) = carry_out(&mut forwarding, ForwardOrder::Connect { channel: 1, to });
        assert!(
            matches!(answer, ForwardAnswer::NotConnected { .. }),
            "{shown}"
        );
    }
    for at in [
        ListenAddress::Tcp {
            host: "localhost".into(),
            port: 65536,
        },
        ListenAddress::Unix {
            path: "relative".into(),
        },
        ListenAddress::Unix { path: "/".into() },
        ListenAddress::Unix {
            path: "/tmp/..".into(),
        },
        ListenAddress::Unix {
            path: format!("/tmp/{}", "a".repeat(200)),
        },
        ListenAddress::Unix {
            path: "/no/such/folder/socket".into(),
        },
    ] {
        let shown = format!("{at:?}");
        let (answer, _) = carry_out(&mut forwarding, ForwardOrder::Listen { listener: 1, at });
        assert!(
            matches!(answer, ForwardAnswer::NotListening { .. }),
            "{shown}"
        );
    }
}

/// Nothing more is accepted than the gate takes, and nobody is lost.
#[test]
fn no_more_is_accepted_than_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let mut forwarding = forwarding(Permits::ALL);
    let at = ListenAddress::Unix {
        path: path.display().to_string(),
    };
    let (answer, _) = carry_out(&mut forwarding, ForwardOrder::Listen { listener: 3, at });
    assert_eq!(
        answer,
        ForwardAnswer::Listening {
            listener: 3,
            port: 0
        }
    );
    let clients: Vec<_> = (0..MAX_UNTAKEN + 4)
        .map(|_| UnixStream::connect(&path).unwrap())
        .collect();
    assert_eq!(forwarding.step(&[], Instant::now()).len(), MAX_UNTAKEN);
    assert_eq!(forwarding.watched().count(), 0);
    assert_eq!(forwarding.step(&[], Instant::now()).len(), 0);
    assert!(forwarding.obey(ForwardOrder::Taken).is_none());
    assert_eq!(forwarding.step(&[], Instant::now()).len(), 1);
    for _ in 0..clients.len() {
        forwarding.obey(ForwardOrder::Taken);
    }
    assert_eq!(forwarding.step(&[], Instant::now()).len(), 3);
    forwarding.obey(ForwardOrder::CancelListen { listener: 3 });
    assert!(!path.exists());
}

#[test]
fn there_is_an_end_to_listeners() {
    let mut forwarding = forwarding(Permits::ALL);
    let listen = |listener| ForwardOrder::Listen {
        listener,
        at: ListenAddress::Tcp {
            host: "127.0.0.1".into(),
            port: 0,
        },
    };
    for listener in 0..MAX_LISTENERS {
        let (answer, _) = carry_out(&mut forwarding, listen(u32::try_from(listener).unwrap()));
        assert!(matches!(answer, ForwardAnswer::Listening { .. }));
    }
    let (answer, _) = carry_out(&mut forwarding, listen(1000));
    assert!(matches!(
        answer,
        ForwardAnswer::NotListening {
            failure: ForwardFailure::Shortage(_),
            ..
        }
    ));
}

/// A socket's file that is not the one that was made is not ours to remove.
#[test]
fn another_socket_at_the_same_path_stays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let mut forwarding = forwarding(Permits::ALL);
    let at = ListenAddress::Unix {
        path: path.display().to_string(),
    };
    carry_out(&mut forwarding, ForwardOrder::Listen { listener: 1, at });
    let other = folder.path().join("other");
    let _other = UnixListener::bind(&other).unwrap();
    std::fs::rename(&other, &path).unwrap();
    drop(forwarding);
    assert!(path.exists());
}
