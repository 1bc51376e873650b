//! What russh asks of a server: who may come in, and what becomes of a channel's requests.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use russh::server::{
    Auth, CertificateRequest, ChannelOpenHandle, Handle, Handler, Msg, PublicKeyOffer,
    Session as Transport,
};
use russh::{Channel as RusshChannel, ChannelId, ChannelOpenFailure, Disconnect, Pty, Sig};
use thiserror::Error;
use tokio::sync::watch;

use super::channels::{Channel, Channels, RunTerms};
use super::forwards::Forwards;
use super::session::Session;
use super::stream::Activity;
use super::{Gate, Terms, transport};
use crate::ipc::{
    ConnectionId, Destination, FromGate, GrantRequest, ListenAddress, Program, PtyRequest,
    RefusalRecord, ToSession, Verdict, bounded,
};
use crate::policy::lifetime::LoggedIn;
use crate::policy::{
    self, AuthRequest, Decision, LoginRequest, Permissions, Proof, UserCertificate,
};
use crate::sys::pty::WindowSize;

/// The most variables that a client may ask to be set on a channel before its program starts.
const MAX_ENVIRONMENT: usize = 128;
/// The longest command, in bytes: what a message to the session holds, with room for the rest.
const MAX_COMMAND: usize = 128 * 1024;
/// The status of a program that could not be started: as a shell says of one it cannot execute.
const NOT_STARTED: u32 = 126;
/// The longest name of a terminal, a subsystem or a variable, and value of a variable.
const MAX_WORD: usize = 4096;

/// Why a connection ended otherwise than by the client's wish.
#[derive(Debug, Error)]
pub(super) enum ConnectionError {
    /// The transport.
    #[error(transparent)]
    Transport(#[from] russh::Error),
}

/// A connection, as russh's handler.
pub(super) struct ConnectionHandler {
    pub(super) gate: Arc<Gate>,
    pub(super) terms: Arc<Terms>,
    pub(super) id: ConnectionId,
    pub(super) peer: SocketAddr,
    pub(super) local: SocketAddr,
    /// What the client calls itself; known once the transport has begun.
    pub(super) client: watch::Receiver<Vec<u8>>,
    /// Told when somebody is let in.
    pub(super) logged_in: watch::Sender<Option<LoggedIn>>,
    pub(super) state: State,
    pub(super) tries: u32,
    /// The certificate that was last asked about, to be signed for next.
    pub(super) offered: Option<UserCertificate>,
    pub(super) activity: Arc<Activity>,
    pub(super) channels: Channels,
    pub(super) forwards: Forwards,
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
    /// Whether there have been too many tries with this one.
    fn one_more_try(&mut self) -> bool {
        self.tries += 1;
        self.tries > self.terms.limits.max_auth_tries
    }

    /// A query whether a certificate would do. Those whose authority is trusted may sign, so that
    /// their holders can be told what else is wrong.
    fn would_do(&mut self, login_name: &str, certificate: &[u8]) -> bool {
        let Ok(certificate) = UserCertificate::parse(certificate) else {
            return false;
        };
        let request = AuthRequest {
            login_name,
            source: self.peer.ip(),
            now: now(),
            security_key: None,
        };
        let would_do = match policy::authorize(&certificate, &request, &self.gate.rules()) {
            Ok(_) => true,
            Err(refusal) => refusal.disclosed().is_some(),
        };
        self.offered = would_do.then_some(certificate);
        would_do
    }

    /// A signed request: decided here, and again by the monitor.
    async fn log_in(&mut self, login_name: &str, certificate: &[u8], proof: Proof) -> Auth {
        let request = LoginRequest {
            login_name,
            source: self.peer.ip(),
            certificate,
            proof: &proof,
        };
        let Decision {
            certificate: parsed,
            verdict,
        } = policy::decide_on_offered(self.offered.take(), &request, now(), &self.gate.rules());
        let permissions = match verdict {
            Ok(permissions) => permissions,
            Err(refusal) => {
                let record = RefusalRecord::new(&refusal, parsed.as_ref());
                let (connection, login_name) = (self.id, bounded(login_name));
                let refused = FromGate::Refused {
                    connection,
                    login_name,
                    refusal: record,
                };
                self.gate.monitor.tell(refused).await;
                return self.refuse(refusal.disclosed());
            }
        };
        let request = GrantRequest {
            connection: self.id,
            peer: self.peer,
            local: self.local,
            client_version: bounded(String::from_utf8_lossy(&self.client.borrow())),
            login_name: login_name.to_owned(),
            certificate: certificate.to_owned(),
            proof,
        };
        match self.gate.monitor.grant(request).await {
            Verdict::Granted => {
                let logged_in = LoggedIn {
                    at: Instant::now(),
                    valid_before: permissions.valid_before(),
                };
                self.state = State::LoggedIn {
                    permissions: Box::new(permissions),
                    session: None,
                };
                self.logged_in.send_replace(Some(logged_in));
                Auth::Accept
            }
            Verdict::Refused(sentence) => self.refuse(sentence),
        }
    }

    /// Tells a certificate's holder why. Pomerium passes on the text of a DISCONNECT, and shows
    /// "Permission Denied" alone after a FAILURE; others may have another certificate to try.
    fn refuse(&self, sentence: Option<String>) -> Auth {
        match sentence {
            None => Auth::reject(),
            Some(sentence) if transport::is_envoy(&self.client.borrow()) => {
                Auth::Disconnect(format!("bastion: {sentence}"))
            }
            Some(sentence) => Auth::RejectWithBanner(format!("bastion: {sentence}\r\n")),
        }
    }

    /// The session process, started now if this is the first that needs it.
    pub(super) async fn open_session(&mut self, handle: Handle) -> Result<(), String> {
        match &self.state {
            State::Stranger => return Err("nobody was let in".into()),
            State::LoggedIn {
                session: Some(_), ..
            } => return Ok(()),
            State::LoggedIn { session: None, .. } => {}
        }
        let socket = self.gate.monitor.open_session(self.id).await?;
        let tell = handle.clone();
        let gone = async move {
            let text = "bastion: the session process has ended".to_owned();
            // The connection may be gone just as well.
            let _gone = tell
                .disconnect(Disconnect::ByApplication, text, String::new())
                .await;
        };
        let (new, accepted) = Session::new(socket, gone).map_err(|error| error.to_string())?;
        self.forwards
            .serve_accepted(accepted, self.carry_terms(handle, new.connector()));
        if let State::LoggedIn { session, .. } = &mut self.state {
            *session = Some(new);
        }
        Ok(())
    }

    pub(super) fn session(&self) -> Option<&Session> {
        match &self.state {
            State::LoggedIn { session, .. } => session.as_ref(),
            State::Stranger => None,
        }
    }

    /// Starts a channel's program and answers the request for it.
    async fn start(
        &mut self,
        id: ChannelId,
        program: Program,
        transport: &mut Transport,
    ) -> Result<(), ConnectionError> {
        if self
            .channels
            .lock()
            .get_mut(&id)
            .and_then(Channel::waiting)
            .is_none()
        {
            // One program a channel (RFC 4254 §6.5); the one that runs goes on.
            return answer(transport, id, false);
        }
        let is_subsystem = matches!(program, Program::Subsystem(_));
        match self.try_start(id, program, transport.handle()).await {
            Ok(()) => transport.channel_success(id)?,
            Err(_) if is_subsystem => transport.channel_failure(id)?,
            Err(sentence) => {
                // A client shows a failure without its reason, and a program's last words.
                transport.channel_success(id)?;
                transport.extended_data(id, 1, format!("bastion: {sentence}\r\n").into_bytes())?;
                transport.eof(id)?;
                transport.exit_status_request(id, NOT_STARTED)?;
                transport.close(id)?;
                self.channels.lock().remove(&id);
            }
        }
        Ok(())
    }

    async fn try_start(
        &mut self,
        id: ChannelId,
        program: Program,
        handle: Handle,
    ) -> Result<(), String> {
        let waiting = self
            .channels
            .lock()
            .get_mut(&id)
            .and_then(Channel::take_waiting);
        let mut waiting = waiting.ok_or("a program runs on this channel already")?;
        let session = self.session().ok_or("there is no session")?;
        let (pty, environment) = (waiting.pty.take(), std::mem::take(&mut waiting.environment));
        let idle_limit = self.terms.limits.lifetime.channel_timeout(&kind(&program));
        let started = session.start(id.into(), program, pty, environment).await?;
        let closed = self.report_closed(id);
        let terms = RunTerms {
            idle_limit,
            ..self.run_terms(handle)
        };
        self.channels.run(id, waiting, started, &terms, closed)
    }

    pub(super) fn run_terms(&self, handle: Handle) -> RunTerms {
        let chunk = transport::chunk_for(&self.client.borrow());
        RunTerms {
            handle,
            window: self.terms.limits.window,
            chunk,
            idle_limit: None,
        }
    }

    /// Tells the monitor that a channel is closed.
    fn report_closed(&self, id: ChannelId) -> impl Future<Output = ()> + Send + 'static {
        let traffic = self
            .channels
            .lock()
            .get(&id)
            .map(|channel| channel.traffic().clone());
        let (gate, connection) = (self.gate.clone(), self.id);
        async move {
            let Some(traffic) = traffic else { return };
            let closed = FromGate::channel_closed(connection, id.into(), &traffic);
            gate.monitor.tell(closed).await;
        }
    }
}

impl Handler for ConnectionHandler {
    type Error = ConnectionError;

    /// As sshd, before anything is known of the user; not after a successful login, where Pomerium
    /// does not pass it on.
    async fn authentication_banner(&mut self) -> Result<Option<String>, ConnectionError> {
        let banner = self.terms.limits.banner.as_deref();
        Ok(banner.map(|text| transport::banner_for(text, &self.client.borrow())))
    }

    /// Nobody comes in by a plain key: not even the offer is worth a signature.
    async fn auth_publickey_offered(
        &mut self,
        _: &str,
        _: PublicKeyOffer<'_>,
    ) -> Result<Auth, ConnectionError> {
        Ok(match self.one_more_try() {
            true => too_many_tries(),
            false => Auth::reject(),
        })
    }

    async fn auth_certificate(
        &mut self,
        request: CertificateRequest<'_>,
    ) -> Result<Auth, ConnectionError> {
        if self.one_more_try() {
            return Ok(too_many_tries());
        }
        let CertificateRequest {
            user, certificate, ..
        } = request;
        Ok(match request.signature {
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
        })
    }

    async fn channel_open_session(
        &mut self,
        channel: RusshChannel<Msg>,
        reply: ChannelOpenHandle,
        transport: &mut Transport,
    ) -> Result<(), ConnectionError> {
        if self.channels.lock().len() >= self.terms.limits.max_sessions {
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
        self.channels
            .lock()
            .insert(id, Channel::new(writer, &self.activity));
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
    ) -> Result<(), ConnectionError> {
        let permitted =
            matches!(&self.state, State::LoggedIn { permissions, .. } if permissions.pty());
        let request = PtyRequest {
            term: term.to_owned(),
            size: window_size(columns, rows, width, height),
            modes: modes
                .iter()
                .map(|&(opcode, argument)| (opcode as u8, argument))
                .collect(),
        };
        let noted = permitted && term.len() <= MAX_WORD && {
            let mut channels = self.channels.lock();
            let waiting = channels.get_mut(&id).and_then(Channel::waiting);
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
    ) -> Result<(), ConnectionError> {
        let noted = name.len() + value.len() <= MAX_WORD && {
            let mut channels = self.channels.lock();
            match channels.get_mut(&id).and_then(Channel::waiting) {
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
    ) -> Result<(), ConnectionError> {
        self.start(id, Program::Shell, transport).await
    }

    async fn exec_request(
        &mut self,
        id: ChannelId,
        command: &[u8],
        transport: &mut Transport,
    ) -> Result<(), ConnectionError> {
        if command.len() > MAX_COMMAND {
            return answer(transport, id, false);
        }
        self.start(id, Program::Exec(command.to_owned()), transport)
            .await
    }

    async fn subsystem_request(
        &mut self,
        id: ChannelId,
        name: &str,
        transport: &mut Transport,
    ) -> Result<(), ConnectionError> {
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
    ) -> Result<bool, ConnectionError> {
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
    ) -> Result<(), ConnectionError> {
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
    ) -> Result<(), ConnectionError> {
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
    ) -> Result<(), ConnectionError> {
        self.forwards.opened(id);
        Ok(())
    }

    async fn tcpip_forward(
        &mut self,
        address: &str,
        port: &mut u32,
        transport: &mut Transport,
    ) -> Result<bool, ConnectionError> {
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
    ) -> Result<bool, ConnectionError> {
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
    ) -> Result<bool, ConnectionError> {
        let at = ListenAddress::Unix {
            path: path.to_owned(),
        };
        Ok(self.listen(at, transport.handle()).await.is_some())
    }

    async fn cancel_streamlocal_forward(
        &mut self,
        path: &str,
        _: &mut Transport,
    ) -> Result<bool, ConnectionError> {
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
    ) -> Result<(), ConnectionError> {
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
    ) -> Result<(), ConnectionError> {
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
        _: &mut Transport,
    ) -> Result<(), ConnectionError> {
        if let (Some(session), Some(signal)) = (self.session(), signal_name(&signal)) {
            session
                .order(ToSession::Signal {
                    channel: id.into(),
                    signal: signal.to_owned(),
                })
                .await;
        }
        Ok(())
    }

    async fn data_bytes(
        &mut self,
        id: ChannelId,
        data: Bytes,
        _: &mut Transport,
    ) -> Result<(), ConnectionError> {
        match self.channels.lock().get(&id) {
            Some(channel) => channel.input(data),
            None => self.forwards.input(id, data),
        }
        Ok(())
    }

    async fn channel_eof(
        &mut self,
        id: ChannelId,
        _: &mut Transport,
    ) -> Result<(), ConnectionError> {
        match self.channels.lock().get_mut(&id) {
            Some(channel) => channel.input_ends(),
            None => self.forwards.input_ends(id),
        }
        Ok(())
    }

    /// The client has closed a channel; russh has answered already. What runs on it gets SIGHUP.
    async fn channel_close(
        &mut self,
        id: ChannelId,
        _: &mut Transport,
    ) -> Result<(), ConnectionError> {
        self.forwards.closed(id);
        let closed = self.report_closed(id);
        let channel = self.channels.lock().remove(&id);
        if let (Some(channel), Some(session)) = (channel, self.session()) {
            channel.let_go();
            session.forget(id.into());
            session
                .order(ToSession::HangUp { channel: id.into() })
                .await;
            closed.await;
        }
        Ok(())
    }
}

fn answer(transport: &mut Transport, id: ChannelId, success: bool) -> Result<(), ConnectionError> {
    match success {
        true => transport.channel_success(id)?,
        false => transport.channel_failure(id)?,
    }
    Ok(())
}

/// The kind of a program's channel, as sshd_config(5) names it under ChannelTimeout.
fn kind(program: &Program) -> String {
    match program {
        Program::Shell => "session:shell".into(),
        Program::Exec(_) => "session:command".into(),
        Program::Subsystem(name) => format!("session:subsystem:{name}"),
    }
}

fn too_many_tries() -> Auth {
    Auth::Disconnect("Too many authentication failures".into())
}

fn window_size(columns: u32, rows: u32, width: u32, height: u32) -> WindowSize {
    let fit = |value: u32| u16::try_from(value).unwrap_or(u16::MAX);
    WindowSize {
        columns: fit(columns),
        rows: fit(rows),
        width: fit(width),
        height: fit(height),
    }
}

/// RFC 4254 §6.10.
fn signal_name(signal: &Sig) -> Option<&str> {
    Some(match signal {
        Sig::ABRT => "ABRT",
        Sig::ALRM => "ALRM",
        Sig::FPE => "FPE",
        Sig::HUP => "HUP",
        Sig::ILL => "ILL",
        Sig::INT => "INT",
        Sig::KILL => "KILL",
        Sig::PIPE => "PIPE",
        Sig::QUIT => "QUIT",
        Sig::SEGV => "SEGV",
        Sig::TERM => "TERM",
        Sig::USR1 => "USR1",
        Sig::Custom(name) if name.len() <= 16 => name,
        Sig::Custom(_) => return None,
    })
}

/// The clock, in seconds since the epoch.
pub(super) fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}
