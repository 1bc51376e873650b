//! Programs of one connection, by channel: shells, commands, subsystems.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use nix::sys::signal::Signal;
use nix::unistd::Pid;

use super::order::Order;
use super::{environment, environment_file, motd, terminal};
use crate::ipc::{ChannelNumber, Program, ProgramKind, PtyRequest, SessionSetup, Started};
use crate::sys::pty::{self, WindowSize};
use crate::sys::relay::{self, Pipes};
use crate::sys::{process, spawn};

/// The programs that run, and what may be started.
pub(super) struct Programs {
    setup: SessionSetup,
    running: HashMap<ChannelNumber, Running>,
    /// What /etc/environment sets.
    of_system: Vec<(String, String)>,
}

/// A program that runs: also the leader of its session and of its process group.
struct Running {
    pid: Pid,
    kind: ProgramKind,
    terminal: Option<OwnedFd>,
}

/// A program that was just started.
pub(super) struct JustStarted {
    pub(super) pty: bool,
    pub(super) pid: u32,
    pub(super) started: Started,
    pub(super) descriptors: Vec<OwnedFd>,
}

impl Programs {
    pub(super) fn new(setup: SessionSetup) -> Self {
        Self {
            setup,
            running: HashMap::new(),
            of_system: environment_file::read(),
        }
    }

    /// Starts a program on a channel. The error is a sentence for the user.
    pub(super) fn start(
        &mut self,
        channel: ChannelNumber,
        program: Program,
        pty: Option<PtyRequest>,
        client_environment: Vec<(String, String)>,
    ) -> Result<JustStarted, String> {
        if self.running.contains_key(&channel) {
            return Err("a program runs on this channel already".into());
        }
        if pty.is_some() && !self.setup.permits.pty {
            return Err("this certificate does not permit a terminal".into());
        }
        let failed = |what: &str, error: io::Error| format!("cannot {what}: {error}");
        let kind = self.kind(&program);
        let order = Order::new(&self.setup, program)?;
        let wired = match &pty {
            Some(request) => Wired::to_terminal(request, self.setup.config.terminal_group)
                .map_err(|error| failed("open a terminal (ssh -T goes without)", error)),
            None if order.is_ours() => Wired::by(relay::sockets),
            None => Wired::by(relay::pipes),
        }?;
        let environment = environment::for_program(
            &self.setup,
            &self.of_system,
            &client_environment,
            order.original_command.as_deref(),
            pty.as_ref()
                .zip(wired.path.as_deref())
                .map(|(pty, path)| (pty.term.as_str(), path)),
        );
        let account = &self.setup.account;
        if let Some(terminal) = wired.path.as_deref()
            && kind == ProgramKind::Shell
            && self.setup.config.print_motd
        {
            motd::show(terminal, &account.home);
        }
        let name = order.file.display().to_string();
        let pid = spawn::Program {
            file: order.file,
            arguments: order.arguments,
            environment,
            folder: account.home.clone(),
            stdio: wired.stdio,
            terminal: pty.is_some(),
            limits: self.setup.config.program_limits,
        }
        .spawn()
        .map_err(|error| failed(&format!("start {name}"), error))?;
        self.running.insert(
            channel,
            Running {
                pid,
                kind,
                terminal: wired.terminal,
            },
        );
        Ok(JustStarted {
            pty: pty.is_some(),
            pid: pid.as_raw().unsigned_abs(),
            started: if pty.is_some() {
                Started::Terminal
            } else {
                Started::Pipes
            },
            descriptors: wired.ours,
        })
    }

    /// What becomes of a request.
    pub(super) fn kind(&self, program: &Program) -> ProgramKind {
        match program {
            _ if self.setup.force_command.is_some() => ProgramKind::ForcedCommand,
            Program::Shell => ProgramKind::Shell,
            Program::Exec(_) => ProgramKind::Exec,
            Program::Subsystem(_) => ProgramKind::Subsystem,
        }
    }

    /// Tells programs that are started from now on where the user's agent is.
    pub(super) fn set_agent(&mut self, socket: &Path) {
        let socket = socket.to_string_lossy().into_owned();
        self.setup
            .config
            .environment
            .push(("SSH_AUTH_SOCK".into(), socket));
    }

    /// Tells a channel's terminal its new size. Without one, nothing is to be done.
    pub(super) fn resize(&self, channel: ChannelNumber, size: WindowSize) {
        if let Some(terminal) = self.running.get(&channel).and_then(|p| p.terminal.as_ref()) {
            // Fails only on a terminal that is hung up.
            let _hung_up = pty::set_size(terminal.as_fd(), size);
        }
    }

    /// Sends a signal that RFC 4254 §6.10 names to a channel's process group, if it runs what the
    /// client has asked for: a forced command, or a subsystem, is not the client's to stop.
    pub(super) fn signal(&self, channel: ChannelNumber, name: &str) {
        const NAMES: [&str; 12] = [
            "ABRT", "ALRM", "FPE", "HUP", "INT", "KILL", "PIPE", "QUIT", "SEGV", "TERM", "USR1",
            "USR2",
        ];
        let signal = NAMES
            .contains(&name)
            .then(|| Signal::from_str(&format!("SIG{name}")));
        let its_own =
            |running: &&Running| matches!(running.kind, ProgramKind::Shell | ProgramKind::Exec);
        let running = self.running.get(&channel).filter(its_own);
        if let (Some(running), Some(Ok(signal))) = (running, signal) {
            process::kill_group(running.pid, signal);
        }
    }

    /// The channel is gone: its process group gets SIGHUP (and SIGCONT, if it is stopped), as it
    /// would if a terminal's line went dead. It is waited for as before.
    pub(super) fn hang_up(&mut self, channel: ChannelNumber) {
        if let Some(running) = self.running.get_mut(&channel) {
            running.terminal = None;
            process::kill_group(running.pid, Signal::SIGHUP);
            process::kill_group(running.pid, Signal::SIGCONT);
        }
    }

    /// The connection is gone.
    pub(super) fn hang_up_all(&mut self) {
        let channels: Vec<_> = self.running.keys().copied().collect();
        channels
            .into_iter()
            .for_each(|channel| self.hang_up(channel));
    }

    pub(super) fn are_over(&self) -> bool {
        self.running.is_empty()
    }

    /// Forgets a program that has ended; returns its channel.
    pub(super) fn ended(&mut self, pid: Pid) -> Option<ChannelNumber> {
        let channel = self
            .running
            .iter()
            .find(|(_, p)| p.pid == pid)
            .map(|(&channel, _)| channel)?;
        self.running.remove(&channel);
        Some(channel)
    }
}

/// A program's standard descriptors and the gate's ends of them.
struct Wired {
    stdio: [OwnedFd; 3],
    ours: Vec<OwnedFd>,
    terminal: Option<OwnedFd>,
    path: Option<PathBuf>,
}

impl Wired {
    fn to_terminal(request: &PtyRequest, terminal_group: Option<u32>) -> io::Result<Self> {
        let pty = pty::open(terminal_group)?;
        pty::edit_modes(pty.follower.as_fd(), |modes| {
            terminal::apply(modes, &request.modes)
        })?;
        pty::set_size(pty.leader.as_fd(), request.size)?;
        Ok(Self {
            stdio: [
                pty.follower.try_clone()?,
                pty.follower.try_clone()?,
                pty.follower,
            ],
            ours: vec![pty.leader.try_clone()?],
            terminal: Some(pty.leader),
            path: Some(pty.path),
        })
    }

    /// By pipes, or what serves as such.
    fn by(pipes: impl FnOnce() -> io::Result<Pipes>) -> Result<Self, String> {
        let Pipes { program, gate } =
            pipes().map_err(|error| format!("cannot connect the program: {error}"))?;
        Ok(Self {
            stdio: program,
            ours: gate.into(),
            terminal: None,
            path: None,
        })
    }
}
