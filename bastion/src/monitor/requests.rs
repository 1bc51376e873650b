//! What the gate asks for, message by message. It may have been taken over: no word of it counts
//! beyond its own connections, and a login is decided again.

use std::net::SocketAddr;
use std::os::fd::AsFd;

use super::audit::Event;
use super::{MESSAGES_A_TURN, Monitor, MonitorError, clocks};
use crate::config::Sandbox;
use crate::ipc::{ConnectionId, FromGate, GrantRequest, ToGate, Verdict};
use crate::policy;
use crate::sys::clock;
use crate::sys::sandbox::{Fence, Landlock};

/// Connections that are accepted before one that was accepted earlier is told of: more than there
/// can be at a time.
const LEAP: u64 = 1 << 20;

impl Monitor {
    /// Does what the gate asks for, message by message; a gate that does not keep to the messages
    /// is ended.
    pub(super) fn hear_gate(&mut self) -> Result<(), MonitorError> {
        while let Some(line) = self.gate.read_line() {
            self.audit.record(&Event::GateSays { line })?;
        }
        // One that never stops talking must not keep everything else waiting.
        for _ in 0..MESSAGES_A_TURN {
            match self.gate.receive() {
                Some(message) => self.take(message)?,
                None => return Ok(()),
            }
        }
        Ok(())
    }

    fn take(&mut self, message: FromGate) -> Result<(), MonitorError> {
        match message {
            FromGate::Ready(fence) if self.gate.is_starting() => self.gate_is_ready(fence),
            FromGate::Ready(_) => {
                self.gate.condemn();
                Ok(())
            }
            FromGate::Alive => {
                self.gate.note_alive();
                Ok(())
            }
            FromGate::Opened { connection, peer } => self.connection_opened(connection, peer),
            FromGate::Grant(request) => self.grant(&request),
            FromGate::OpenSession { connection } => self.open_session(connection),
            FromGate::Refused {
                connection,
                login_name,
                refusal,
            } => self
                .audit
                .record(&Event::refused_by_gate(connection, login_name, refusal)),
            FromGate::ChannelClosed {
                connection,
                channel,
                received,
                sent,
            } => self.audit.record(&Event::ChannelClosed {
                connection,
                channel,
                received,
                sent,
            }),
            FromGate::Closed {
                connection,
                reason,
                received,
                sent,
            } => {
                self.grants.forget(connection);
                self.sessions.connection_closed(connection);
                self.audit.record(&Event::ConnectionClosed {
                    connection,
                    reason,
                    received,
                    sent,
                })
            }
        }
    }

    /// The gate counts its connections; one that leaps would have the numbers begin anew.
    fn connection_opened(
        &mut self,
        connection: ConnectionId,
        peer: SocketAddr,
    ) -> Result<(), MonitorError> {
        if connection.0.saturating_sub(self.next_connection.0) > LEAP {
            self.gate.condemn();
            return Ok(());
        }
        let next = ConnectionId(connection.0.saturating_add(1));
        self.next_connection = self.next_connection.max(next);
        self.audit
            .record(&Event::ConnectionOpened { connection, peer })
    }

    fn gate_is_ready(&mut self, fence: Fence) -> Result<(), MonitorError> {
        let lacks = match fence.landlock {
            Landlock::Full => None,
            Landlock::Partial => Some("a part of Landlock"),
            Landlock::None => Some("Landlock"),
        };
        if let Some(lacks) = lacks.filter(|_| self.config.sandbox == Sandbox::Required) {
            return Err(MonitorError::GateUnusable(format!(
                "sandbox = \"required\", but its fence lacks {lacks}: run Linux 6.12 or later with Landlock on, or \
                 say sandbox = \"preferred\""
            )));
        }
        self.gate.note_ready();
        let listening = self.gate.addresses();
        self.audit.record(&Event::Listening { listening, fence })
    }

    /// Decides on a user's request, again and from nothing but its own knowledge.
    fn grant(&mut self, request: &GrantRequest) -> Result<(), MonitorError> {
        let outcome = self.grants.decide(request, &self.rules(), clocks());
        self.audit.record(&Event::login(request, &outcome))?;
        let verdict = match &outcome.verdict {
            Ok(_) => Verdict::Granted,
            Err(not_granted) => Verdict::Refused(not_granted.disclosed()),
        };
        self.gate.send(
            &ToGate::Verdict {
                connection: request.connection,
                verdict,
            },
            &[],
        );
        Ok(())
    }

    /// Starts the session process of a connection that was let in: once, and only if it would be let
    /// in now as well. A session that is open stays, whatever becomes of its certificate.
    fn open_session(&mut self, connection: ConnectionId) -> Result<(), MonitorError> {
        let opened = match self.grants.take_for_session(connection) {
            Some(grant) => {
                policy::check_standing(&grant.certificate, clock::epoch(), &self.rules())
                    .map_err(|refusal| refusal.to_string())
                    .and_then(|()| self.sessions.open(connection, grant, &self.accounts))
            }
            None => Err("this connection was not let in, or has its session already".into()),
        };
        let (event, socket, error) = match opened {
            Ok((event, socket)) => (event, Some(socket), None),
            Err(error) => {
                let event = Event::SessionFailed {
                    connection,
                    error: error.clone(),
                };
                (event, None, Some(error))
            }
        };
        self.audit.record(&event)?;
        let descriptors: Vec<_> = socket.iter().map(AsFd::as_fd).collect();
        self.gate
            .send(&ToGate::Session { connection, error }, &descriptors);
        Ok(())
    }
}
