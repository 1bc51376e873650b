//! Connections without a network, for `fuzz/`: compiled with `--cfg fuzzing` alone.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use russh::server::run_stream_for_peer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;

use super::connection::Open;
use super::handler::{ConnectionHandler, State};
use super::link::AsyncLink;
use super::monitor::Monitor;
use super::startups::Progress;
use super::transport::Transports;
use super::{Gate, GateError, Terms};
use crate::config::Config;
use crate::ipc::{ConnectionId, FromGate, HostKey, Link, ToGate};
use crate::policy::Rules;
use crate::sys::socket;

/// A gate before a monitor that answers nobody.
pub struct LoneGate {
    gate: Arc<Gate>,
    asked: Arc<AtomicBool>,
    _drain: watch::Sender<Option<Duration>>,
}

impl LoneGate {
    /// With these keys and rules, and the default limits. To be called on a runtime.
    pub fn new(host_keys: &[HostKey], rules: Rules) -> Result<Self, GateError> {
        let pair = socket::packet_pair().map_err(|source| GateError::System {
            what: "the link",
            source,
        })?;
        let (here, there) = (Link::new(pair.0), Link::<ToGate, FromGate>::new(pair.1));
        let (monitor, _orders) = Monitor::start(here)?;
        let asked = Arc::<AtomicBool>::default();
        let (there, told) = (AsyncLink::new(there)?, asked.clone());
        tokio::spawn(async move {
            while let Ok((message, _)) = there.receive().await {
                if matches!(message, FromGate::Grant(_) | FromGate::OpenSession { .. }) {
                    told.store(true, Ordering::Relaxed);
                }
            }
        });
        let limits = Config::default().limits(None);
        let (drain, draining) = watch::channel(None);
        let transports = Transports::new(host_keys, &limits)?;
        let terms = Terms { limits, transports };
        let gate = Gate::new(terms, rules, monitor, draining);
        Ok(Self {
            gate: Arc::new(gate),
            asked,
            _drain: drain,
        })
    }

    /// Serves a connection to its end.
    pub async fn serve<S>(&self, stream: S)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (tell_client, client) = watch::channel(Vec::new());
        let (logged_in, _let_in) = watch::channel(None);
        let terms = self.gate.terms();
        let handler = ConnectionHandler {
            gate: self.gate.clone(),
            terms: terms.clone(),
            id: ConnectionId(1),
            peer: SocketAddr::from((Ipv4Addr::LOCALHOST, 1)),
            local: SocketAddr::from((Ipv4Addr::LOCALHOST, 22)),
            client,
            progress: Progress::default(),
            logged_in,
            state: State::Stranger,
            failures: 0,
            no_more_sessions: false,
            offered: None,
            open: Open::default(),
        };
        let choose = |_, version: &[u8]| {
            tell_client.send_replace(version.to_owned());
            terms.transports.choose(version)
        };
        let starting = run_stream_for_peer(terms.transports.initial(), choose, stream, handler);
        if let Ok(running) = starting.await {
            // How it ends is the client's affair.
            let _ended = running.await;
        }
    }

    /// Whether the monitor has ever been asked to let somebody in, or for a session.
    #[must_use]
    pub fn has_asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }
}
