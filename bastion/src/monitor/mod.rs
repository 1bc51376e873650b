//! The trust's half: holds what nobody else may touch, starts the other parts, decides, and
//! writes down what was decided.
//!
//! It is a single loop without threads. It reads nothing that came from the network but the
//! certificate and the fields of a grant request, and believes neither.

mod accounts;
pub mod audit;
mod banner;
mod gate;
mod grants;
mod host_keys;
mod keys;
mod liveness;
mod reload;
mod requests;
mod sessions;
mod starter;
mod watched_file;

use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::sys::stat::{Mode, umask};
use thiserror::Error;

use crate::config::{self, Config};
use crate::healthcheck::listening;
use crate::ipc::{ConnectionId, GateSetup, ToGate};
use crate::policy::Rules;
use crate::policy::lifetime::Now;
use crate::sys::signals::Signals;
use crate::sys::spawn::ProgramLimits;
use crate::sys::{clock, network, process};
use accounts::Accounts;
use audit::{AuditLog, Event};
use gate::Gate;
use grants::Grants;
use keys::KeyFiles;
use reload::ConfigurationFile;
use sessions::Sessions;
use watched_file::When;

/// The most messages, and the most children, of one turn of the loop.
const MESSAGES_A_TURN: usize = 256;
/// How often the configuration and the files of keys are looked at.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// What the gate and the sessions may take beyond the grace time to end.
const LAST_CALL: Duration = Duration::from_secs(2);

/// Why bastion cannot serve (any more).
#[derive(Debug, Error)]
pub enum MonitorError {
    /// The configuration.
    #[error(transparent)]
    Configuration(#[from] config::ConfigError),
    /// A file of keys.
    #[error("{0}")]
    Keys(String),
    /// An account of the configuration.
    #[error(transparent)]
    Accounts(#[from] accounts::AccountsError),
    /// The host keys.
    #[error("the host keys in {}: {source}; --state-dir names another folder", folder.display())]
    HostKeys {
        /// The state folder.
        folder: PathBuf,
        /// What is wrong with them.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// An address to listen on.
    #[error("cannot listen on {address}: {source}; name another by --listen")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The gate ends as soon as it is started.
    #[error("the network process cannot run: {0}")]
    GateUnusable(String),
    /// The audit log.
    #[error("the log at standard output cannot be written, and nobody may be let in unseen: {0}")]
    Audit(std::io::Error),
    /// The system refused.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Serves until SIGTERM or SIGINT.
pub fn run(source: config::Source) -> Result<(), MonitorError> {
    let (configuration, config) = ConfigurationFile::open(source)?;
    let system = |what| move |source| MonitorError::System { what, source };
    // As sshd: whatever we were started with, what users make is not for others to write to.
    let given = umask(Mode::from_bits_truncate(0o077));
    umask(given | Mode::from_bits_truncate(0o022));
    process::close_what_was_left_open().map_err(system("close descriptors"))?;
    let dump = process::forbid_dump().map_err(system("forbid dumps"))?;
    // What a container's limits leave to programs is less than what they leave to us.
    let inherited = ProgramLimits {
        descriptors: process::raise_descriptor_limit()
            .map_err(system("raise the limit of descriptors"))?,
        processes: process::raise_process_limit()
            .map_err(system("raise the limit of processes"))?,
        dump,
    };
    let taken = [
        Signal::SIGCHLD,
        Signal::SIGTERM,
        Signal::SIGINT,
        Signal::SIGHUP,
    ];
    let signals = Signals::take(&taken).map_err(system("take signals"))?;
    let accounts = Accounts::check(&config)?;
    let mut audit = AuditLog::new(config.log_format);
    for key in host_keys::ensure_host_keys(&config.state_dir)? {
        audit.record(&key)?;
    }
    let gate = Gate::new(listen(&config.listen)?);
    // For the health check, which goes by the configuration where it cannot be written.
    let _read_only = listening::write_down(&config.state_dir, &gate.addresses());
    accounts
        .keep_few_capabilities()
        .map_err(system("give up capabilities"))?;
    let sessions = Sessions::new(&config, inherited).map_err(system("watch sessions"))?;
    let mut monitor = Monitor {
        gate,
        grants: Grants::default(),
        stopping: None,
        looked: Instant::now(),
        next_connection: ConnectionId(1),
        audit,
        sessions,
        keys: KeyFiles::new(&config),
        accounts,
        configuration,
        config,
    };
    monitor.read_keys(When::Now)?;
    monitor.serve(&signals)
}

/// Checks what can be checked of a configuration without serving it. Says what its files hold.
pub fn check(config: &Config) -> Result<Vec<String>, MonitorError> {
    Accounts::check(config)?;
    host_keys::check_host_keys(&config.state_dir)?;
    KeyFiles::new(config).check().map_err(MonitorError::Keys)
}

fn listen(addresses: &[SocketAddr]) -> Result<Vec<TcpListener>, MonitorError> {
    let one = |&address| {
        network::listen_to_all(address).map_err(|source| MonitorError::Listen { address, source })
    };
    addresses.iter().map(one).collect()
}

struct Monitor {
    configuration: ConfigurationFile,
    config: Config,
    accounts: Accounts,
    audit: AuditLog,
    gate: Gate,
    grants: Grants,
    sessions: Sessions,
    keys: KeyFiles,
    looked: Instant,
    /// Numbers of connections go on where the last gate's ended.
    next_connection: ConnectionId,
    /// When what is left is killed; set by SIGTERM.
    stopping: Option<Instant>,
}

impl Monitor {
    fn serve(&mut self, signals: &Signals) -> Result<(), MonitorError> {
        loop {
            self.keep_gate_running()?;
            self.wait(signals)?;
            while let Some(signal) = signals.next() {
                match signal {
                    Signal::SIGTERM | Signal::SIGINT => self.stop()?,
                    Signal::SIGHUP => self.reload()?,
                    _ => {}
                }
            }
            self.hear_gate()?;
            self.hear_sessions()?;
            self.reap()?;
            if self.looked.elapsed() >= LOOK_AGAIN {
                // Not at every message: that would cost the more, the more sessions there are.
                for event in self.sessions.end_overdue() {
                    self.audit.record(&event)?;
                }
                self.look_again()?;
            }
            if self.finish_stopping()? {
                return Ok(());
            }
        }
    }

    /// Waits until something is to be done: a message, a signal, or the time to look again.
    fn wait(&self, signals: &Signals) -> Result<(), MonitorError> {
        let mut watched = vec![PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
        watched.extend(
            self.gate
                .watched()
                .map(|fd| PollFd::new(fd, PollFlags::POLLIN)),
        );
        watched.push(PollFd::new(self.sessions.watched(), PollFlags::POLLIN));
        let limit = match (&self.stopping, self.gate.restart_due()) {
            (None, None) => LOOK_AGAIN,
            _ => Duration::from_millis(50),
        };
        let limit = PollTimeout::try_from(limit).unwrap_or(PollTimeout::ZERO);
        match poll(&mut watched, limit) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
            Err(error) => Err(MonitorError::System {
                what: "poll",
                source: error.into(),
            }),
        }
    }

    fn keep_gate_running(&mut self) -> Result<(), MonitorError> {
        self.gate.watch();
        if self.gate.is_stuck() {
            // It holds on to its connections until the kernel lets go of it; others are served.
            self.gate_ended("it was killed, and does not end".into())?;
            // Their links to it are open still: they would not hear.
            self.sessions.end_all(Signal::SIGTERM);
        }
        if self.stopping.is_none() && self.gate.should_start() {
            let setup = self.gate_setup()?;
            if let Err(error) = self.gate.start(setup) {
                self.audit.record(&Event::GateEnded {
                    how: error.to_string(),
                })?;
                self.gate.forget().map_err(MonitorError::GateUnusable)?;
            }
        }
        Ok(())
    }

    /// What everybody is to read before the login. As with sshd a file that cannot be read is no
    /// reason to let nobody in.
    fn banner(&mut self) -> Result<Option<String>, MonitorError> {
        let Some(file) = &self.config.banner else {
            return Ok(None);
        };
        match banner::read(file) {
            Ok(text) => Ok(Some(text)),
            Err(error) => {
                let file = file.display().to_string();
                self.audit.record(&Event::BannerUnusable { file, error })?;
                Ok(None)
            }
        }
    }

    fn gate_setup(&mut self) -> Result<GateSetup, MonitorError> {
        let banner = self.banner()?;
        let (host_keys, made) = host_keys::read_host_keys(&self.config.state_dir)?;
        for key in made {
            self.audit.record(&key)?;
        }
        Ok(GateSetup {
            host_keys,
            rules: self.rules(),
            first_connection: self.next_connection,
            limits: self.config.limits(banner),
            account: self.accounts.gate().cloned(),
            root: self.config.state_dir.join(host_keys::EMPTY_ROOT),
        })
    }

    /// Who may log in, as of now.
    fn rules(&self) -> Rules {
        Rules {
            trusted_user_ca_keys: self.keys.trusted(),
            revocations: self.keys.revocations(),
            logins: self.config.logins.clone(),
            permits: self.config.permits(),
        }
    }

    fn reap(&mut self) -> Result<(), MonitorError> {
        for _ in 0..MESSAGES_A_TURN {
            let Some((pid, ended)) = process::reap() else {
                break;
            };
            if self.gate.note_ended(pid) {
                // What it said last is still to be read.
                self.hear_gate()?;
                self.gate_ended(audit::describe(ended))?;
                continue;
            }
            for event in self.sessions.note_ended(pid, ended) {
                self.audit.record(&event)?;
            }
        }
        Ok(())
    }

    fn gate_ended(&mut self, how: String) -> Result<(), MonitorError> {
        self.grants.clear();
        self.sessions.all_connections_closed();
        self.audit.record(&Event::GateEnded { how })?;
        self.gate.forget().map_err(MonitorError::GateUnusable)
    }

    /// Writes down what the sessions have told.
    fn hear_sessions(&mut self) -> Result<(), MonitorError> {
        for event in self.sessions.events() {
            self.audit.record(&event)?;
        }
        Ok(())
    }

    fn stop(&mut self) -> Result<(), MonitorError> {
        if self.stopping.is_none() {
            let grace = self.config.shutdown_grace_time;
            self.stopping = Some(Instant::now() + grace + LAST_CALL);
            self.audit.record(&Event::Stopping {
                grace_seconds: grace.as_secs(),
            })?;
            self.gate.send(&ToGate::Drain(grace), &[]);
        }
        Ok(())
    }

    /// Whether all has ended after SIGTERM; kills what has not by the deadline, and then waits for it no
    /// longer than [`LAST_CALL`].
    fn finish_stopping(&mut self) -> Result<bool, MonitorError> {
        let Some(deadline) = self.stopping else {
            return Ok(false);
        };
        let all_gone = self.gate.is_gone() && self.sessions.is_empty();
        if !all_gone && Instant::now() >= deadline {
            self.gate.kill();
            self.sessions.end_all(Signal::SIGKILL);
        }
        let over = all_gone || Instant::now() >= deadline + LAST_CALL;
        if over {
            self.audit.record(&Event::Stopped)?;
        }
        Ok(over)
    }
}

/// What both clocks say.
fn clocks() -> Now {
    Now {
        instant: Instant::now(),
        epoch: clock::epoch(),
    }
}
