//! What russh asks of a server: who may come in, and what becomes of a channel's requests.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use russh::server::{
    Auth, CertificateRequest, ChannelOpenHandle, Handler, Msg, PublicKeyOffer, Session as Transport,
};
use russh::{Channel as RusshChannel, ChannelId, ChannelOpenFailure, Disconnect, Pty, Sig};
use tokio::sync::watch;

use super::authentication::too_many_failures;
use super::channels::Channel;
use super::connection::Open;
use super::programs::{answer, signal_name, window_size};
use super::session::Session;
use super::startups::Progress;
use super::{Gate, Terms, transport};
use crate::ipc::{ConnectionId, Destination, ListenAddress, Program, PtyRequest, ToSession};
use crate::policy::lifetime::LoggedIn;
use crate::policy::startups::Stage;
use crate::policy::{Permissions, Proof, UserCertificate};

/// The most variables that a client may ask to be set on a channel before its program starts.
const MAX_ENVIRONMENT: usize = 128;
/// The longest name of a terminal, a subsystem or a variable, and value of a variable.
const MAX_WORD: usize = 4096;

/// A connection, as russh's handler.
pub(super) struct ConnectionHandler {
    pub(super) gate: Arc<Gate>,
    pub(super) terms: Arc<Terms>,
    pub(super) id: ConnectionId,
    pub(super) peer: SocketAddr,
    pub(super) local: SocketAddr,
    /// What the client calls itself; known once the transport has begun.
    pub(super) client: watch::Receiver<Vec<u8>>,
    pub(super) progress: Progress,
    /// Told when somebody is let in.
    pub(super) logged_in: watch::Sender<Option<LoggedIn>>,
    pub(super) state: State,
    pub(super) failures: u32,
    /// The client has said that it opens none any more.
    pub(super) no_more_sessions: bool,
    /// The certificate that was last asked about, to be signed for next.
    pub(super) offered: Option<UserCertificate>,
    pub(super) open: Open,
}

/// Whether anybody was let in. Without [`Permissions`], which only the policy makes, no channel
/// is ever opened.
pub(super) enum State {
    /// Not yet.
    Stranger,
    /// Yes; and the session process, once there was a channel to need it.
    LoggedIn {
        permissions: Box<Permissions>,
        session: Option<Session>,
    },
}

impl ConnectionHandler {
    /// Whether somebody was let in, and may do this.
    pub(super) fn permits(&self, this: impl FnOnce(&Permissions) -> bool) -> bool {
        match &self.state {
            State::LoggedIn { permissions, .. } => this(permissions),
            State::Stranger => false,
        }
    }
}

impl Handler for ConnectionHandler {
    type Error = russh::Error;

    /// As sshd, before anything is known of the user; not after a successful login, where Pomerium
    /// does not pass it on.
    async fn authentication_banner(&mut self) -> Result<Option<String>, russh::Error> {
        // Asked for with the first request, which comes encrypted.
        self.progress.come_to(Stage::Encrypted);
        let banner = self.terms.limits.banner.as_deref();
        Ok(banner.map(|text| transport::banner_for(text, &self.client.borrow())))
    }

    /// Nobody comes in by a plain key: not even the offer is worth a signature.
    async fn auth_publickey_offered(
        &mut self,
        _: &str,
        _: PublicKeyOffer<'_>,
    ) -> Result<Auth, russh::Error> {
        if self.has_failed_too_often() {
            return Ok(too_many_failures());
        }
        self.count_failure();
        Ok(Auth::reject())
    }

    async fn auth_certificate(
        &mut self,
        request: CertificateRequest<'_>,
    ) -> Result<Auth, russh::Error> {
        if self.has_failed_too_often() {
            return Ok(too_many_failures());
        }
        let CertificateRequest {
            user, certificate, ..
        } = request;
        let answer = match request.signature {
            None if self.would_do(user, certificate) => Auth::Accept,
            None => Auth::reject(),
            Some(signature) => {
                let proof = Proof {
                    session_id: request.session_id.to_owned(),
                    request: request.request.to_owned(),
                    signature: signature.to_owned(),
                };
                self.log_in(user, certificate, proof).await
            }
        };
        if answer != Auth::Accept {
            self.count_failure();
        }
        Ok(answer)
    }

    fn no_more_sessions(&mut self) {
        self.no_more_sessions = true;
    }

    async fn channel_open_session(
        &mut self,
        channel: RusshChannel<Msg>,
        reply: ChannelOpenHandle,
        transport: &mut Transport,
    ) -> Result<(), russh::Error> {
        if self.no_more_sessions {
            reply
                .reject(ChannelOpenFailure::AdministrativelyProhibited)
                .await;
            return Ok(());
        }
        if self.open.channels.lock().len() >= self.terms.limits.max_sessions {
            reply.reject(ChannelOpenFailure::ResourceShortage).await;
            return Ok(());
        }
        if let Err(error) = self.open_session(transport.handle()).await {
            reply.reject(ChannelOpenFailure::ConnectFailed).await;
            let text = format!("bastion: no session could be started: {error}");
            transport.disconnect(Disconnect::ByApplication, &text, "")?;
            return Ok(());
        }
        let id = channel.id();
        let (_, writer) = channel.split();
        self.open
            .channels
            .lock()
            .insert(id, Channel::new(writer, &self.open.activity));
        reply.accept().await;
        Ok(())
    }

    async fn pty_request(
        &mut self,
        id: ChannelId,
        term: &str,
        columns: u32,
        rows: u32,
        width: u32,
        height: u32,
        modes: &[(Pty, u32)],
        transport: &mut Transport,
    ) -> Result<(), russh::Error> {
        let permitted = self.permits(Permissions::pty);
        let request = PtyRequest {
            term: term.to_owned(),
            size: window_size(columns, rows, width, height),
            modes: modes
                .iter()
                .map(|&(opcode, argument)| (opcode as u8, argument))
                .collect(),
        };
        let noted = permitted && term.len() <= MAX_WORD && {
            let mut channels = self.open.channels.lock();
            let waiting = channels
                .get_mut(&id)
                .and_then(|channel| channel.waiting.as_mut());
            waiting.map(|waiting| waiting.pty = Some(request)).is_some()
        };
        answer(transport, id, noted)
    }

    async fn env_request(
        &mut self,
        id: ChannelId,
        name: &str,
        value: &str,
        transport: &mut Transport,
    ) -> Result<(), russh::Error> {
        let noted = name.len() + value.len() <= MAX_WORD && {
            let mut channels = self.open.channels.lock();
            match channels
                .get_mut(&id)
                .and_then(|channel| channel.waiting.as_mut())
            {
                Some(waiting) if waiting.environment.len() < MAX_ENVIRONMENT => {
                    waiting
                        .environment
                        .push((name.to_owned(), value.to_owned()));
                    true
                }
                _ => false,
            }
        };
        answer(transport, id, noted)
    }

    async fn shell_request(
        &mut self,
        id: ChannelId,
        transport: &mut Transport,
    ) -> Result<(), russh::Error> {
        self.start(id, Program::Shell, transport).await
    }

    async fn exec_request(
        &mut self,
        id: ChannelId,
        command: &[u8],
        transport: &mut Transport,
    ) -> Result<(), russh::Error> {
        self.start(id, Program::Exec(command.to_owned()), transport)
            .await
    }

    async fn subsystem_request(
        &mut self,
        id: ChannelId,
        name: &str,
        transport: &mut Transport,
    ) -> Result<(), russh::Error> {
        if name.len() > MAX_WORD {
            return answer(transport, id, false);
        }
        self.start(id, Program::Subsystem(name.to_owned()), transport)
            .await
    }

    async fn agent_request(
        &mut self,
        _: ChannelId,
        transport: &mut Transport,
    ) -> Result<bool, russh::Error> {
        Ok(self.listen_for_agent(transport.handle()).await)
    }

    async fn channel_open_direct_tcpip(
        &mut self,
        channel: RusshChannel<Msg>,
        host: &str,
        port: u32,
        _originator: &str,
        _originator_port: u32,
        reply: ChannelOpenHandle,
        transport: &mut Transport,
    ) -> Result<(), russh::Error> {
        let to = Destination::Tcp {
            host: host.to_owned(),
            port,
        };
        self.open_direct(channel, to, reply, transport.handle())
            .await;
        Ok(())
    }

    async fn channel_open_direct_streamlocal(
        &mut self,
        channel: RusshChannel<Msg>,
        path: &str,
        reply: ChannelOpenHandle,
        transport: &mut Transport,
    ) -> Result<(), russh::Error> {
        let to = Destination::Unix {
            path: path.to_owned(),
        };
        self.open_direct(channel, to, reply, transport.handle())
            .await;
        Ok(())
    }

    /// The client has accepted a channel that was opened to it: only forwarded ones are.
    async fn channel_open_confirmation(
        &mut self,
        id: ChannelId,
        _max_packet_size: u32,
        _window: u32,
        _: &mut Transport,
    ) -> Result<(), russh::Error> {
        self.open.forwarded.opened(id);
        Ok(())
    }

    async fn tcpip_forward(
        &mut self,
        address: &str,
        port: &mut u32,
        transport: &mut Transport,
    ) -> Result<bool, russh::Error> {
        let at = ListenAddress::Tcp {
            host: address.to_owned(),
            port: *port,
        };
        let listening = self.listen(at, transport.handle()).await;
        *port = listening.map_or(*port, u32::from);
        Ok(listening.is_some())
    }

    async fn cancel_tcpip_forward(
        &mut self,
        address: &str,
        port: u32,
        _: &mut Transport,
    ) -> Result<bool, russh::Error> {
        Ok(self
            .cancel_listen(&ListenAddress::Tcp {
                host: address.to_owned(),
                port,
            })
            .await)
    }

    async fn streamlocal_forward(
        &mut self,
        path: &str,
        transport: &mut Transport,
    ) -> Result<bool, russh::Error> {
        let at = ListenAddress::Unix {
            path: path.to_owned(),
        };
        Ok(self.listen(at, transport.handle()).await.is_some())
    }

    async fn cancel_streamlocal_forward(
        &mut self,
        path: &str,
        _: &mut Transport,
    ) -> Result<bool, russh::Error> {
        Ok(self
            .cancel_listen(&ListenAddress::Unix {
                path: path.to_owned(),
            })
            .await)
    }

    async fn x11_request(
        &mut self,
        id: ChannelId,
        _single: bool,
        _protocol: &str,
        _cookie: &str,
        _screen: u32,
        transport: &mut Transport,
    ) -> Result<(), russh::Error> {
        answer(transport, id, false)
    }

    async fn window_change_request(
        &mut self,
        id: ChannelId,
        columns: u32,
        rows: u32,
        width: u32,
        height: u32,
        transport: &mut Transport,
    ) -> Result<(), russh::Error> {
        if let Some(session) = self.session() {
            let size = window_size(columns, rows, width, height);
            session
                .order(ToSession::WindowChange {
                    channel: id.into(),
                    size,
                })
                .await;
        }
        answer(transport, id, true)
    }

    async fn signal(
        &mut self,
        id: ChannelId,
        signal: Sig,
        transport: &mut Transport,
    ) -> Result<(), russh::Error> {
        let passed_on = match (self.session(), signal_name(&signal)) {
            (Some(session), Some(signal)) => {
                let (channel, signal) = (id.into(), signal.to_owned());
                session.order(ToSession::Signal { channel, signal }).await;
                true
            }
            _ => false,
        };
        // Few ask; who does would take the next answer for this one.
        answer(transport, id, passed_on)
    }

    async fn data_bytes(
        &mut self,
        id: ChannelId,
        data: Bytes,
        _: &mut Transport,
    ) -> Result<(), russh::Error> {
        match self.open.channels.lock().get(&id) {
            Some(channel) => channel.input(data),
            None => self.open.forwarded.input(id, data),
        }
        Ok(())
    }

    async fn channel_eof(&mut self, id: ChannelId, _: &mut Transport) -> Result<(), russh::Error> {
        match self.open.channels.lock().get_mut(&id) {
            Some(channel) => channel.input_ends(),
            None => self.open.forwarded.input_ends(id),
        }
        Ok(())
    }

    /// The client has closed a channel; russh has answered already. What runs on it may
    /// read what was sent before, and then gets SIGHUP.
    async fn channel_close(
        &mut self,
        id: ChannelId,
        _: &mut Transport,
    ) -> Result<(), russh::Error> {
        self.open.forwarded.closed(id);
        let closed = self.report_closed(id);
        let channel = self.open.channels.lock().remove(&id);
        if let (Some(channel), Some(session)) = (channel, self.session()) {
            let (ended, hang_up) = (session.end_of(id.into()), session.hang_up(id.into()));
            self.open
                .channels
                .close(channel, ended, hang_up.send())
                .await;
            closed.await;
        }
        Ok(())
    }
}
