//! Session processes: one for each connection that was let in and has opened a channel.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::signal::Signal;
use nix::unistd::Pid;

use super::accounts::Accounts;
use super::audit::{self, Event};
use super::clocks;
use super::grants::Grant;
use super::starter::Starter;
use crate::config::Config;
use crate::ipc::{ConnectionId, Link, LinkError, SessionConfig, SessionEvent, SessionSetup};
use crate::policy::lifetime::{self, LoggedIn};
use crate::policy::wildcard;
use crate::sys::account::{Account, terminal_group};
use crate::sys::process::{self, Ended};
use crate::sys::socket;
use crate::sys::spawn::ProgramLimits;

/// How long a session may take to follow its connection.
const TO_FOLLOW: Duration = Duration::from_secs(5);
/// The most events of one session that are read at a time.
const EVENTS_A_TURN: usize = 32;
/// And of one that has ended: all that its link can hold, of the shortest messages that there are,
/// whoever still writes to the other end.
const EVENTS_LEFT: usize = 1024;

/// The sessions that run, and what each of them gets.
pub(super) struct Sessions {
    running: HashMap<Pid, Running>,
    starter: Starter,
    /// All links, by their process: however many there are, only those that say something cost.
    links: Epoll,
    config: SessionConfig,
    lifetime: Arc<lifetime::Limits>,
    /// What programs may use up unless the configuration says otherwise.
    inherited: ProgramLimits,
}

/// What sessions get that are opened from now on. `inherited`: what programs may use up unless the
/// configuration says otherwise.
fn session_config(config: &Config, inherited: ProgramLimits) -> SessionConfig {
    SessionConfig {
        forwarding: config.forwarding_rules(),
        subsystem: config.subsystem.clone(),
        accept_env: config.accept_env.clone(),
        environment: container_environment(config, own_environment()),
        terminal_group: terminal_group(),
        no_new_privileges: config.no_new_privileges,
        permit_network: config.permit_network,
        print_motd: config.print_motd,
        program_limits: ProgramLimits {
            processes: config.max_processes.or(inherited.processes),
            ..inherited
        },
    }
}

struct Running {
    connection: ConnectionId,
    account: String,
    login: LoggedIn,
    /// As it was when it was opened: a new configuration is for new connections.
    lifetime: Arc<lifetime::Limits>,
    /// When its connection ended; it is to follow soon.
    over_since: Option<Instant>,
    /// When its time was found to be over.
    overdue_since: Option<Instant>,
    /// None when the session has closed it, or has sent what is no message.
    link: Option<Link<SessionSetup, SessionEvent>>,
}

impl Sessions {
    /// With what programs may use up unless the configuration says otherwise.
    pub(super) fn new(config: &Config, inherited: ProgramLimits) -> io::Result<Self> {
        Ok(Self {
            running: HashMap::new(),
            starter: Starter::default(),
            links: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            config: session_config(config, inherited),
            lifetime: config.lifetime().into(),
            inherited,
        })
    }

    /// What sessions get that are opened from now on.
    pub(super) fn configure(&mut self, config: &Config) {
        self.config = session_config(config, self.inherited);
        self.lifetime = config.lifetime().into();
    }

    /// Starts the session process of a connection. Returns what happened and the gate's end of
    /// the socket between the two.
    pub(super) fn open(
        &mut self,
        connection: ConnectionId,
        grant: Grant,
        accounts: &Accounts,
    ) -> Result<(Event, OwnedFd), String> {
        let login = LoggedIn {
            at: grant.at,
            valid_before: grant.permissions.valid_before(),
        };
        if let Some((Duration::ZERO, why)) = self.lifetime.last_moment(login, clocks()) {
            return Err(why.to_string());
        }
        let name = grant.permissions.account();
        let account = accounts
            .by_name(name)
            .ok_or_else(|| format!("there is no account '{name}'"))?;
        let failed = |what: &str, error: &dyn std::fmt::Display| format!("{what}: {error}");
        let pair = || socket::packet_pair().map_err(|error| failed("a socket", &error));
        let ((here, there), (gate_end, session_end)) = (pair()?, pair()?);
        let pid = self
            .starter
            .start(&[there.as_fd(), session_end.as_fd()])
            .map_err(|error| failed("the session process", &error))?;
        // A session has none to send us.
        let _older_kernel = socket::take_no_descriptors(here.as_fd());
        let link = Link::new(here);
        link.send(&self.setup(connection, account, &grant, accounts), &[])
            .map_err(|error| {
                process::kill(pid, Signal::SIGKILL);
                failed("the session process", &error)
            })?;
        let said = EpollEvent::new(EpollFlags::EPOLLIN, u64::from(pid.as_raw().unsigned_abs()));
        self.links.add(&link, said).map_err(|error| {
            process::kill(pid, Signal::SIGKILL);
            failed("the session process", &error)
        })?;
        let running = Running {
            connection,
            account: name.to_owned(),
            login,
            lifetime: self.lifetime.clone(),
            over_since: None,
            overdue_since: None,
            link: Some(link),
        };
        let event = Event::SessionOpened {
            connection,
            account: name.to_owned(),
            pid: pid.as_raw().unsigned_abs(),
        };
        self.running.insert(pid, running);
        Ok((event, gate_end))
    }

    fn setup(
        &self,
        connection: ConnectionId,
        account: &Account,
        grant: &Grant,
        accounts: &Accounts,
    ) -> SessionSetup {
        let permissions = &grant.permissions;
        SessionSetup {
            account: account.clone(),
            become_account: accounts.as_root(),
            connection,
            peer: grant.peer,
            local: grant.local,
            permits: permissions.permits(),
            force_command: permissions.force_command().map(str::to_owned),
            config: self.config.clone(),
        }
    }

    /// A connection has ended: its session is to end, too.
    pub(super) fn connection_closed(&mut self, connection: ConnectionId) {
        let its = self.running.values_mut();
        its.filter(|session| session.connection == connection)
            .for_each(Running::note_over);
    }

    /// The gate has ended, and all connections with it.
    pub(super) fn all_connections_closed(&mut self) {
        self.running.values_mut().for_each(Running::note_over);
    }

    /// Ends the sessions that have outlived their connections, for the account can stop them, and
    /// those whose time is over, for a gate that was taken over need not end their connections.
    /// What they started gets SIGHUP from them, as when a connection ends.
    pub(super) fn end_overdue(&mut self) -> Vec<Event> {
        let (mut events, now) = (Vec::new(), clocks());
        for (&pid, session) in &mut self.running {
            let last_moment = session.lifetime.last_moment(session.login, now);
            if last_moment.is_none_or(|(left, _)| !left.is_zero()) {
                // Nor is it any more, when the clock was set forward and back.
                session.overdue_since = None;
            }
            if let Some((Duration::ZERO, why)) = last_moment
                && session.over_since.is_none()
            {
                // The gate is to end the connection, and tells its user why.
                let overdue = session.overdue_since.get_or_insert_with(Instant::now);
                if overdue.elapsed() > TO_FOLLOW {
                    process::kill(pid, Signal::SIGTERM);
                    session.over_since = Some(Instant::now());
                    events.push(Event::SessionOverdue {
                        connection: session.connection,
                        why: why.to_string(),
                    });
                }
            }
            if session
                .over_since
                .is_some_and(|since| since.elapsed() > TO_FOLLOW)
            {
                process::kill(pid, Signal::SIGKILL);
            }
        }
        events
    }

    /// What the sessions have told since the last time: of some of them, if they are many.
    pub(super) fn events(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        let mut ready = [EpollEvent::empty(); 64];
        let count = self.links.wait(&mut ready, EpollTimeout::ZERO).unwrap_or(0);
        for said in ready.iter().take(count) {
            let pid = i32::try_from(said.data()).map(Pid::from_raw);
            if let Some(session) = pid.ok().and_then(|pid| self.running.get_mut(&pid)) {
                session.read(EVENTS_A_TURN, &self.links, &mut events);
            }
        }
        events
    }

    /// Takes note of a child's end, with all it told before; nothing if it was no session.
    pub(super) fn note_ended(&mut self, pid: Pid, ended: Ended) -> Vec<Event> {
        let mut events = Vec::new();
        if self.starter.note_ended(pid) {
            return events;
        }
        let Some(mut session) = self.running.remove(&pid) else {
            return events;
        };
        session.read(EVENTS_LEFT, &self.links, &mut events);
        events.push(Event::SessionClosed {
            connection: session.connection,
            account: session.account,
            how: audit::describe(ended),
        });
        events
    }

    /// Readable when a session has told something.
    pub(super) fn watched(&self) -> BorrowedFd<'_> {
        self.links.0.as_fd()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    /// Ends all sessions: by SIGTERM, at which they hang up what they started, or SIGKILL.
    pub(super) fn end_all(&self, by: Signal) {
        self.running.keys().for_each(|&pid| process::kill(pid, by));
    }
}

impl Running {
    fn note_over(&mut self) {
        self.over_since.get_or_insert_with(Instant::now);
    }

    fn read(&mut self, most: usize, links: &Epoll, events: &mut Vec<Event>) {
        for _ in 0..most {
            let Some(link) = &self.link else { return };
            match link.receive() {
                Ok((event, _)) => events.push(self.describe(event)),
                Err(LinkError::NotNow) => return,
                // It goes, or it talks nonsense: either way it has nothing more to say.
                Err(_) => {
                    let _closed_anyhow = links.delete(link);
                    self.link = None;
                }
            }
        }
    }

    fn describe(&self, event: SessionEvent) -> Event {
        let connection = self.connection;
        match event {
            SessionEvent::Started {
                channel,
                kind,
                pty,
                pid,
            } => Event::ProgramStarted {
                connection,
                channel,
                kind,
                pty,
                pid,
            },
            SessionEvent::NotStarted {
                channel,
                kind,
                reason,
            } => Event::ProgramNotStarted {
                connection,
                channel,
                kind,
                reason,
            },
            SessionEvent::Ended { channel, end } => Event::ProgramEnded {
                connection,
                channel,
                end: end.into(),
            },
            SessionEvent::Forward(event) => Event::forward(connection, event),
            SessionEvent::Failed { why } => Event::SessionFailed {
                connection,
                error: why,
            },
        }
    }
}

/// Our own variables; those that are not UTF-8 cannot be named in the configuration either.
fn own_environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

/// The variables that every program gets, whoever logs in: those of the container that the
/// configuration passes on, PATH, and those that it sets.
fn container_environment(
    config: &Config,
    ours: impl Iterator<Item = (String, String)>,
) -> Vec<(String, String)> {
    let passed = |name: &str| {
        config
            .pass_env
            .iter()
            .any(|pattern| wildcard::matches(pattern, name))
    };
    let mut all: BTreeMap<String, String> = ours.filter(|(name, _)| passed(name)).collect();
    all.extend(config.path.clone().map(|path| ("PATH".to_owned(), path)));
    all.extend(config.set_env.clone());
    all.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_listed_variables_of_the_container_are_passed_on() {
        let ours = [
            ("OPENCLAW_GATEWAY_PASSWORD", "x"),
            ("SECRET", "y"),
            ("PATH", "/evil"),
            ("TZ", "UTC"),
        ];
        let ours = ours
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        let config = Config {
            set_env: BTreeMap::from([("EDITOR".into(), "vi".into())]),
            path: Some("/bin".into()),
            ..Config::default()
        };
        let names: Vec<_> = container_environment(&config, ours)
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        assert_eq!(names, ["EDITOR", "OPENCLAW_GATEWAY_PASSWORD", "PATH", "TZ"]);
    }
}
