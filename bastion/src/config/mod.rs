//! `bastion.toml`: what an administrator may decide. Every key has a default that fits the
//! OpenClaw container, so that no file is needed; a key that is not known is an error.
//!
//! Where sshd_config(5) has a word for a thing, the key is that word in snake_case.

mod check;
mod defaults;
mod source;
#[cfg(test)]
mod tests;
mod written;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use thiserror::Error;

use crate::ipc::Limits;
use crate::policy::Permits;
use crate::policy::forwarding::{EndpointPattern, ForwardingRules, GatewayPorts};
use crate::policy::lifetime;
use crate::policy::startups::MaxStartups;
use crate::sys::files::FileError;
pub use source::{DEFAULT_FILE, MAX_LENGTH, Overrides, Source};

/// The configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Addresses to listen on.
    #[serde(deserialize_with = "written::addresses")]
    pub listen: Vec<SocketAddr>,
    /// A file of public keys, one a line: who may sign certificates.
    pub trusted_user_ca_keys: PathBuf,
    /// A key revocation list (`ssh-keygen -k`) or a file of public keys, one a line: what no longer
    /// counts. None: nothing is revoked.
    pub revoked_keys: Option<PathBuf>,
    /// The folder of the host keys.
    pub state_dir: PathBuf,
    /// Login names and the accounts that they stand for.
    pub logins: BTreeMap<String, String>,
    /// Whether a login name may stand for the superuser's account.
    pub permit_root_login: bool,
    /// How events are written.
    pub log_format: LogFormat,
    /// The account of the network process, when started as root.
    pub gate_user: String,
    /// Whether to serve where the kernel cannot put up the whole fence around the gate.
    pub sandbox: Sandbox,
    /// Subsystems by name, and the command of each; `internal-sftp` is bastion's own SFTP server.
    pub subsystem: BTreeMap<String, String>,
    /// Variables that a client may set; `*` and `?` are wildcards.
    pub accept_env: Vec<String>,
    /// Variables of bastion's own environment that every program gets; wildcards as above.
    pub pass_env: Vec<String>,
    /// Variables that every program gets, with their values.
    pub set_env: BTreeMap<String, String>,
    /// The value of PATH; without it that of /etc/environment, or a usual one.
    pub path: Option<String>,
    /// Whether programs may gain privileges (set-uid programs such as sudo).
    pub no_new_privileges: bool,
    /// Whether programs may open network sockets; if not, Unix sockets are all they have.
    pub permit_network: bool,
    /// Whether terminals may be asked for.
    pub permit_tty: bool,
    /// Whether TCP and Unix sockets may be forwarded.
    pub allow_tcp_forwarding: bool,
    /// What may be connected to for a client (`ssh -L`, `-D`, `-W`, `-J`). Everything that the
    /// account can reach, by default: whoever may forward has a shell here, which reaches as far.
    /// For this machine alone write `["localhost:*"]`.
    pub permit_open: Vec<EndpointPattern>,
    /// What may not, whatever `permit_open` says. By default what hands out a machine's identity
    /// or the whole machine: link-local and metadata addresses, sockets of container engines. It
    /// is for accidents and for certificates without a shell; a firewall is what stops a shell.
    pub deny_open: Vec<EndpointPattern>,
    /// What may be listened at for a client (`ssh -R`). A port below 1024 must be named.
    pub permit_listen: Vec<EndpointPattern>,
    /// Whether others than this machine may connect to what is listened at.
    pub gateway_ports: GatewayPorts,
    /// The umask, in octal, of Unix sockets that are listened at.
    #[serde(deserialize_with = "written::octal")]
    pub stream_local_bind_mask: u16,
    /// Whether a socket that is in the way of such a one is removed first.
    pub stream_local_bind_unlink: bool,
    /// Whether the user's agent may be forwarded.
    pub allow_agent_forwarding: bool,
    /// From accept to a successful login.
    #[serde(deserialize_with = "written::duration")]
    pub login_grace_time: Duration,
    /// Refused requests and queries on one connection.
    pub max_auth_tries: u32,
    /// Connections that are not logged in yet.
    #[serde(deserialize_with = "written::max_startups")]
    pub max_startups: MaxStartups,
    /// Connections of one source network (an IPv4 address, an IPv6 /64) that are not logged in
    /// yet. For those who are reached directly: through a proxy, all come from one address.
    pub per_source_max_startups: Option<usize>,
    /// Connections.
    pub max_connections: usize,
    /// Channels of one connection.
    pub max_sessions: usize,
    /// Processes of an account altogether, for its programs to start another; by default nobody
    /// counts. The kernel counts those of other containers that have the same uid.
    pub max_processes: Option<u64>,
    /// Bytes in one direction after which bastion asks for new keys. Clients ask before that; this
    /// comes before a cipher's packet counter can wrap.
    pub rekey_limit: u64,
    /// After this time bastion asks for new keys; "0s": never. More sessions have been broken by
    /// new keys than saved.
    #[serde(deserialize_with = "written::duration")]
    pub rekey_interval: Duration,
    /// After this time without a sign of the client it is asked for one; "0s": never.
    #[serde(deserialize_with = "written::duration")]
    pub client_alive_interval: Duration,
    /// So many questions without an answer end the connection.
    pub client_alive_count_max: u32,
    /// How long a connection may go on without a byte on any channel; "0s": for ever.
    #[serde(deserialize_with = "written::duration")]
    pub idle_timeout: Duration,
    /// How long without an open channel.
    #[serde(deserialize_with = "written::duration")]
    pub unused_connection_timeout: Duration,
    /// How long a channel of a kind may be idle before it is closed; the kinds are those of
    /// sshd_config(5), such as `"session:*"` and `direct-tcpip`.
    #[serde(deserialize_with = "written::durations")]
    pub channel_timeout: BTreeMap<String, Duration>,
    /// How long a connection may go on after the login, whatever it does.
    #[serde(deserialize_with = "written::duration")]
    pub max_session_time: Duration,
    /// Whether it ends when the certificate does.
    pub end_at_certificate_expiry: bool,
    /// A file that everybody reads before the login.
    pub banner: Option<PathBuf>,
    /// Whether a shell with a terminal shows /etc/motd first.
    pub print_motd: bool,
    /// How long open sessions may go on after SIGTERM.
    #[serde(deserialize_with = "written::duration")]
    pub shutdown_grace_time: Duration,
}

/// How events are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One JSON object a line.
    #[default]
    Json,
    /// For people.
    Text,
}

/// What to do where the kernel lacks a piece of the fence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sandbox {
    /// Say so and serve.
    #[default]
    Preferred,
    /// Refuse to serve.
    Required,
}
/// Why the configuration cannot be used.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration: {0}")]
    Unreadable(#[from] FileError),
    /// The file is not text.
    #[error("the configuration {} is not UTF-8; write it anew", .0.display())]
    NotUtf8(PathBuf),
    /// There is nothing in the file.
    #[error("{} is empty; write a comment into it if the defaults are wanted", .0.display())]
    Empty(PathBuf),
    /// The file is not what it should be.
    #[error("{}: {source}", file.display())]
    Malformed {
        /// The file.
        file: PathBuf,
        /// Where and why.
        source: Box<toml::de::Error>,
    },
    /// A value makes no sense.
    #[error("{key} = {value}: {why}")]
    Unusable {
        /// The key.
        key: &'static str,
        /// Its value.
        value: String,
        /// What is wrong with it and what would not be.
        why: &'static str,
    },
}

impl Config {
    /// Takes from the configuration in force what was settled when bastion started: the sockets, the
    /// host keys, the gate's account and its fence. Names what would have been otherwise.
    pub fn keep_what_needs_restart(&mut self, in_force: &Self) -> Vec<&'static str> {
        let Self {
            listen,
            state_dir,
            gate_user,
            sandbox,
            ..
        } = in_force;
        let changed = [
            ("listen", self.listen != *listen),
            ("state_dir", self.state_dir != *state_dir),
            ("gate_user", self.gate_user != *gate_user),
            ("sandbox", self.sandbox != *sandbox),
        ];
        self.listen.clone_from(listen);
        self.state_dir.clone_from(state_dir);
        self.gate_user.clone_from(gate_user);
        self.sandbox = *sandbox;
        let changed = changed.into_iter().filter(|(_, changed)| *changed);
        changed.map(|(key, _)| key).collect()
    }

    /// What sessions may have at most.
    pub fn permits(&self) -> Permits {
        Permits {
            pty: self.permit_tty,
            port_forwarding: self.allow_tcp_forwarding,
            agent_forwarding: self.allow_agent_forwarding,
        }
    }

    /// What may be forwarded at most.
    pub fn forwarding_rules(&self) -> ForwardingRules {
        ForwardingRules {
            permit_open: self.permit_open.clone(),
            deny_open: self.deny_open.clone(),
            permit_listen: self.permit_listen.clone(),
            gateway_ports: self.gateway_ports,
            stream_local_bind_mask: self.stream_local_bind_mask,
            stream_local_bind_unlink: self.stream_local_bind_unlink,
        }
    }

    /// The limits that the gate keeps, and what it says to everybody.
    pub fn limits(&self, banner: Option<String>) -> Limits {
        Limits {
            login_grace_time: self.login_grace_time,
            max_auth_tries: self.max_auth_tries,
            max_startups: self.max_startups,
            per_source_max_startups: self.per_source_max_startups,
            max_connections: self.max_connections,
            max_sessions: self.max_sessions,
            rekey_limit: self.rekey_limit,
            rekey_interval: self.rekey_interval,
            client_alive_interval: self.client_alive_interval,
            client_alive_count_max: self.client_alive_count_max,
            window: 2 * 1024 * 1024,
            lifetime: self.lifetime(),
            banner,
        }
    }

    /// How long a connection may go on.
    pub fn lifetime(&self) -> lifetime::Limits {
        lifetime::Limits {
            idle_timeout: self.idle_timeout,
            unused_connection_timeout: self.unused_connection_timeout,
            max_session_time: self.max_session_time,
            end_at_certificate_expiry: self.end_at_certificate_expiry,
            channel_timeout: self.channel_timeout.clone(),
        }
    }
}
