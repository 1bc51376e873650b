//! What runs on a channel of type session (RFC 4254 §6): started, and reported when it is over.

use russh::server::{Handle, Session as Transport};
use russh::{ChannelId, Sig};

use super::channels::RunTerms;
use super::handler::ConnectionHandler;
use super::session::NotStarted;
use super::transport;
use crate::ipc::{FromGate, Program};
use crate::sys::pty::WindowSize;

/// The status of a program that could not be started: as a shell says of one it cannot execute.
const NOT_STARTED: u32 = 126;
/// The longest command, in bytes: what a message to the session holds, with room for the rest.
const MAX_COMMAND: usize = 128 * 1024;

impl ConnectionHandler {
    /// Starts a channel's program and answers the request for it.
    pub(super) async fn start(
        &mut self,
        id: ChannelId,
        program: Program,
        transport: &mut Transport,
    ) -> Result<(), russh::Error> {
        if self
            .open
            .channels
            .lock()
            .get_mut(&id)
            .and_then(|channel| channel.waiting.as_ref())
            .is_none()
        {
            // One program a channel (RFC 4254 §6.5); the one that runs goes on.
            return answer(transport, id, false);
        }
        if let Program::Exec(command) = &program
            && command.len() > MAX_COMMAND
        {
            let sentence = format!("the command is longer than {} KiB", MAX_COMMAND / 1024);
            return self.refuse_program(id, &sentence, transport);
        }
        let is_subsystem = matches!(program, Program::Subsystem(_));
        match self.try_start(id, program, transport.handle()).await {
            Ok(()) => transport.channel_success(id)?,
            Err(_) if is_subsystem => transport.channel_failure(id)?,
            Err(sentence) => self.refuse_program(id, &sentence, transport)?,
        }
        Ok(())
    }

    /// Answers a request for a program with the reason why there is none, and closes the channel.
    fn refuse_program(
        &self,
        id: ChannelId,
        sentence: &str,
        transport: &mut Transport,
    ) -> Result<(), russh::Error> {
        let words = format!("bastion: {sentence}\r\n").into_bytes();
        // Words that nobody has room for would be kept, and the channel with them.
        if transport.room(id) < words.len() {
            return answer(transport, id, false);
        }
        // A client shows a failure without its reason, and a program's last words.
        transport.channel_success(id)?;
        transport.extended_data(id, 1, words)?;
        transport.eof(id)?;
        transport.exit_status_request(id, NOT_STARTED)?;
        transport.close(id)?;
        self.open.channels.lock().remove(&id);
        Ok(())
    }

    async fn try_start(
        &mut self,
        id: ChannelId,
        program: Program,
        handle: Handle,
    ) -> Result<(), String> {
        let waiting = self
            .open
            .channels
            .lock()
            .get_mut(&id)
            .and_then(|channel| channel.waiting.take());
        let waiting = waiting.ok_or("a program runs on this channel already")?;
        let session = self.session().ok_or("there is no session")?;
        let (pty, environment) = (waiting.pty.clone(), waiting.environment.clone());
        let idle_limit = self.terms.limits.lifetime.channel_timeout(&kind(&program));
        let hang_up = session.hang_up(id.into());
        let started = match session.start(id.into(), program, pty, environment).await {
            Ok(started) => started,
            Err(NotStarted::Refused(reason)) => {
                // It may be asked for something else, as by clients that go without a subsystem.
                if let Some(channel) = self.open.channels.lock().get_mut(&id) {
                    channel.waiting = Some(waiting);
                }
                return Err(reason);
            }
            Err(NotStarted::Lost(reason)) => {
                hang_up.send().await;
                return Err(reason);
            }
        };
        let closed = self.report_closed(id);
        let terms = RunTerms {
            idle_limit,
            ..self.run_terms(handle)
        };
        let run = self.open.channels.run(id, waiting, started, &terms, closed);
        if run.is_err() {
            hang_up.send().await;
        }
        run
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
    pub(super) fn report_closed(&self, id: ChannelId) -> impl Future<Output = ()> + Send + 'static {
        let traffic = self
            .open
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

pub(super) fn answer(
    transport: &mut Transport,
    id: ChannelId,
    success: bool,
) -> Result<(), russh::Error> {
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

pub(super) fn window_size(columns: u32, rows: u32, width: u32, height: u32) -> WindowSize {
    let fit = |value: u32| u16::try_from(value).unwrap_or(u16::MAX);
    WindowSize {
        columns: fit(columns),
        rows: fit(rows),
        width: fit(width),
        height: fit(height),
    }
}

/// RFC 4254 §6.10.
pub(super) fn signal_name(signal: &Sig) -> Option<&str> {
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
