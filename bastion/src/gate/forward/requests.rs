//! What becomes of a client's requests to forward (RFC 4254 §7, OpenSSH's PROTOCOL §2.4).
//!
//! Refused here early, by the same permissions that the session has from the monitor and goes by
//! itself. None of this waits for a connection to be made: russh calls it in the connection's own
//! loop, where all channels would wait with it.

use russh::Channel as RusshChannel;
use russh::server::{ChannelOpenHandle, Handle, Msg};

use super::channels::{CarryTerms, refusal};
use super::connector::Connector;
use crate::gate::handler::ConnectionHandler;
use crate::ipc::{Destination, ForwardFailure, ListenAddress};
use crate::policy::Permissions;

/// The longest host or path that is passed on, in bytes: that of a path (PATH_MAX).
const MAX_ADDRESS: usize = 4096;

impl ConnectionHandler {
    pub(in crate::gate) fn carry_terms(&self, handle: Handle, connector: Connector) -> CarryTerms {
        let (run, gate) = (self.run_terms(handle), self.gate.clone());
        CarryTerms {
            run,
            connector,
            gate,
            of_connection: self.terms.clone(),
            connection: self.id,
        }
    }

    /// direct-tcpip and direct-streamlocal@openssh.com: connects, and then answers.
    pub(in crate::gate) async fn open_direct(
        &mut self,
        channel: RusshChannel<Msg>,
        to: Destination,
        reply: ChannelOpenHandle,
        handle: Handle,
    ) {
        let connector = match self.connector_for(length(&to), handle.clone()).await {
            Ok(connector) => connector,
            Err(failure) => return reply.reject(refusal(&failure)).await,
        };
        let terms = self.carry_terms(handle, connector);
        let (_, writer) = channel.split();
        if let Err(reply) = self.open.forwarded.open_direct(to, writer, reply, terms) {
            let failure = ForwardFailure::Shortage("too many connections are forwarded".into());
            reply.reject(refusal(&failure)).await;
        }
    }

    /// tcpip-forward and streamlocal-forward@openssh.com. Returns the port.
    pub(in crate::gate) async fn listen(
        &mut self,
        at: ListenAddress,
        handle: Handle,
    ) -> Option<u16> {
        let length = match &at {
            ListenAddress::Tcp { host: text, .. } | ListenAddress::Unix { path: text } => {
                text.len()
            }
            ListenAddress::Agent => 0,
        };
        let connector = self.connector_for(length, handle).await.ok()?;
        self.listen_by(&connector, at).await
    }

    /// auth-agent-req@openssh.com: one socket for the connection, whichever channel asks.
    pub(in crate::gate) async fn listen_for_agent(&mut self, handle: Handle) -> bool {
        let permitted = self.permits(Permissions::agent_forwarding);
        if !permitted || self.open.forwarded.has_agent() {
            return permitted;
        }
        if self.open_session(handle).await.is_err() {
            return false;
        }
        let Some(connector) = self.session().map(|session| session.connector()) else {
            return false;
        };
        self.listen_by(&connector, ListenAddress::Agent)
            .await
            .is_some()
    }

    async fn listen_by(&self, connector: &Connector, at: ListenAddress) -> Option<u16> {
        let number = self.open.forwarded.add_listener(at.clone())?;
        match connector.listen(number, at.clone()).await {
            Ok(port) => {
                self.open.forwarded.set_port(number, port);
                Some(port)
            }
            Err(_) => {
                self.open.forwarded.remove_listener(&at);
                None
            }
        }
    }

    /// cancel-tcpip-forward and cancel-streamlocal-forward@openssh.com. Connections that were
    /// accepted before go on.
    pub(in crate::gate) async fn cancel_listen(&mut self, at: &ListenAddress) -> bool {
        let (Some(session), Some(number)) =
            (self.session(), self.open.forwarded.remove_listener(at))
        else {
            return false;
        };
        session.connector().cancel(number).await.is_ok()
    }

    /// The session's connector, if the user may forward at all.
    async fn connector_for(
        &mut self,
        length: usize,
        handle: Handle,
    ) -> Result<Connector, ForwardFailure> {
        if !self.permits(Permissions::port_forwarding) {
            let why = "neither certificate nor configuration permit forwarding";
            return Err(ForwardFailure::Prohibited(why.into()));
        }
        if length > MAX_ADDRESS {
            return Err(ForwardFailure::ConnectFailed(
                "the address is too long".into(),
            ));
        }
        self.open_session(handle)
            .await
            .map_err(ForwardFailure::ConnectFailed)?;
        let none = || ForwardFailure::ConnectFailed("there is no session".into());
        self.session()
            .map(|session| session.connector())
            .ok_or_else(none)
    }
}

fn length(to: &Destination) -> usize {
    match to {
        Destination::Tcp { host: text, .. } | Destination::Unix { path: text } => text.len(),
    }
}
