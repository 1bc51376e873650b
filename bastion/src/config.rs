//! `bastion.toml`: what an administrator may decide. Every key has a default that fits the
//! OpenClaw container, so that no file is needed; a key that is not known is an error.
//!
//! Where sshd_config(5) has a word for a thing, the key is that word in snake_case.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Parser;
use serde::Deserialize;
use thiserror::Error;

use crate::ipc::{Limits, SessionTerms};
use crate::policy::forwarding::{EndpointPattern, ForwardingRules, GatewayPorts};
use crate::policy::lifetime;
use crate::policy::startups::MaxStartups;
use crate::sftp;
use crate::sys::files::{self, FileError};

/// Read when `--config` is not given, if it is there.
pub const DEFAULT_FILE: &str = "/etc/bastion/bastion.toml";

/// The largest file that is read, in bytes.
pub const MAX_LENGTH: u64 = 32 * 1024;

/// The configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Addresses to listen on.
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
    #[serde(deserialize_with = "octal")]
    pub stream_local_bind_mask: u16,
    /// Whether a socket that is in the way of such a one is removed first.
    pub stream_local_bind_unlink: bool,
    /// Whether the user's agent may be forwarded.
    pub allow_agent_forwarding: bool,
    /// From accept to a successful login.
    #[serde(deserialize_with = "duration")]
    pub login_grace_time: Duration,
    /// Refused requests and queries on one connection.
    pub max_auth_tries: u32,
    /// Connections that are not logged in yet.
    #[serde(deserialize_with = "max_startups")]
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
    #[serde(deserialize_with = "duration")]
    pub rekey_interval: Duration,
    /// After this time without a sign of the client it is asked for one; "0s": never.
    #[serde(deserialize_with = "duration")]
    pub client_alive_interval: Duration,
    /// So many questions without an answer end the connection.
    pub client_alive_count_max: u32,
    /// How long a connection may go on without a byte on any channel; "0s": for ever.
    #[serde(deserialize_with = "duration")]
    pub idle_timeout: Duration,
    /// How long without an open channel.
    #[serde(deserialize_with = "duration")]
    pub unused_connection_timeout: Duration,
    /// How long a channel of a kind may be idle before it is closed; the kinds are those of
    /// sshd_config(5), such as `"session:*"` and `direct-tcpip`.
    #[serde(deserialize_with = "durations")]
    pub channel_timeout: BTreeMap<String, Duration>,
    /// How long a connection may go on after the login, whatever it does.
    #[serde(deserialize_with = "duration")]
    pub max_session_time: Duration,
    /// Whether it ends when the certificate does.
    pub end_at_certificate_expiry: bool,
    /// A file that everybody reads before the login.
    pub banner: Option<PathBuf>,
    /// Whether a shell with a terminal shows /etc/motd first.
    pub print_motd: bool,
    /// How long open sessions may go on after SIGTERM.
    #[serde(deserialize_with = "duration")]
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

/// Where the configuration comes from, each time that it is read.
#[derive(Clone, Debug, Default)]
pub struct Source {
    /// Must be there if it is named; if not, the default one is read if it is there.
    pub file: Option<PathBuf>,
    /// What wins over it.
    pub overrides: Overrides,
}

impl Source {
    /// The file, whether it is there or not.
    pub fn path(&self) -> &Path {
        self.file.as_deref().unwrap_or(Path::new(DEFAULT_FILE))
    }

    /// The configuration as it is now.
    pub fn load(&self) -> Result<Config, ConfigError> {
        Config::load(self.file.as_deref(), self.overrides.clone())
    }

    /// The configuration that the file asks for, by its content.
    pub fn load_from(&self, content: &[u8]) -> Result<Config, ConfigError> {
        let config = Config::from_content(self.path(), content)?;
        config.overridden_by(self.overrides.clone())
    }
}

/// What the command line says; it wins over the file.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// `--listen`
    pub listen: Vec<SocketAddr>,
    /// `--trusted-user-ca-keys`
    pub trusted_user_ca_keys: Option<PathBuf>,
    /// `--state-dir`
    pub state_dir: Option<PathBuf>,
    /// `--login`
    pub logins: Vec<(String, String)>,
    /// `--log-format`
    pub log_format: Option<LogFormat>,
}

/// Why the configuration cannot be used.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {0}")]
    Unreadable(#[from] FileError),
    /// The file is not text.
    #[error("the configuration {} is not UTF-8; write it anew", .0.display())]
    NotUtf8(PathBuf),
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

impl Default for Config {
    fn default() -> Self {
        let forwarding = ForwardingRules::default();
        let words = |words: &[&str]| words.iter().map(|&word| word.into()).collect();
        Self {
            listen: vec![SocketAddr::from(([0, 0, 0, 0], 22))],
            trusted_user_ca_keys: "/var/lib/pomerium/pomerium_user_ca_key.pub".into(),
            revoked_keys: None,
            state_dir: "/var/lib/bastion".into(),
            logins: BTreeMap::from([("claw".into(), "claw".into())]),
            permit_root_login: false,
            log_format: LogFormat::default(),
            gate_user: "bastion".into(),
            sandbox: Sandbox::default(),
            subsystem: BTreeMap::from([("sftp".into(), "internal-sftp".into())]),
            accept_env: words(&[
                "LANG",
                "LC_*",
                "COLORTERM",
                "TERM_PROGRAM",
                "TERM_PROGRAM_VERSION",
                "NO_COLOR",
            ]),
            pass_env: words(&[
                "TZ",
                "OPENCLAW_*",
                "POMERIUM_CLUSTER_DOMAIN",
                "NODE_EXTRA_CA_CERTS",
                "NODE_OPTIONS",
            ]),
            set_env: BTreeMap::new(),
            path: None,
            no_new_privileges: false,
            permit_network: true,
            permit_tty: true,
            allow_tcp_forwarding: true,
            permit_open: forwarding.permit_open,
            deny_open: forwarding.deny_open,
            permit_listen: forwarding.permit_listen,
            gateway_ports: forwarding.gateway_ports,
            stream_local_bind_mask: forwarding.stream_local_bind_mask,
            stream_local_bind_unlink: forwarding.stream_local_bind_unlink,
            allow_agent_forwarding: true,
            login_grace_time: Duration::from_secs(30),
            max_auth_tries: 6,
            max_startups: MaxStartups::all_at(1000),
            per_source_max_startups: None,
            max_connections: 4000,
            max_sessions: 100,
            max_processes: None,
            rekey_limit: 16 << 30,
            rekey_interval: Duration::ZERO,
            client_alive_interval: Duration::ZERO,
            client_alive_count_max: 3,
            idle_timeout: Duration::ZERO,
            unused_connection_timeout: Duration::ZERO,
            channel_timeout: BTreeMap::new(),
            max_session_time: Duration::ZERO,
            end_at_certificate_expiry: false,
            banner: None,
            print_motd: true,
            shutdown_grace_time: Duration::from_secs(5),
        }
    }
}

impl Config {
    /// The configuration of a file and a command line: `file` must be there if it is named; if
    /// not, the default one is read if it is there.
    pub fn load(file: Option<&Path>, overrides: Overrides) -> Result<Self, ConfigError> {
        let config = match (file, Path::new(DEFAULT_FILE)) {
            (Some(file), _) => Self::read(file)?,
            (None, file) if file.exists() => Self::read(file)?,
            (None, _) => Self::default(),
        };
        config.overridden_by(overrides)
    }

    fn overridden_by(mut self, overrides: Overrides) -> Result<Self, ConfigError> {
        self.apply(overrides);
        self.check()?;
        Ok(self)
    }

    fn read(file: &Path) -> Result<Self, ConfigError> {
        Self::from_content(file, &files::read_relied_on(file, MAX_LENGTH)?)
    }

    fn from_content(file: &Path, content: &[u8]) -> Result<Self, ConfigError> {
        let text = std::str::from_utf8(content).map_err(|_| ConfigError::NotUtf8(file.into()))?;
        Self::parse(text).map_err(|source| ConfigError::Malformed {
            file: file.into(),
            source: Box::new(source),
        })
    }

    /// The configuration that a file's text asks for.
    pub fn parse(text: &str) -> Result<Self, toml::de::Error> {
        toml::from_str(text)
    }

    fn apply(&mut self, overrides: Overrides) {
        let Overrides {
            listen,
            trusted_user_ca_keys,
            state_dir,
            logins,
            log_format,
        } = overrides;
        if !listen.is_empty() {
            self.listen = listen;
        }
        if !logins.is_empty() {
            self.logins = logins.into_iter().collect();
        }
        if let Some(file) = trusted_user_ca_keys {
            self.trusted_user_ca_keys = file;
        }
        if let Some(folder) = state_dir {
            self.state_dir = folder;
        }
        if let Some(format) = log_format {
            self.log_format = format;
        }
    }

    fn check(&self) -> Result<(), ConfigError> {
        let unusable = |key, value: String, why| Err(ConfigError::Unusable { key, value, why });
        if self.listen.is_empty() {
            return unusable(
                "listen",
                "[]".into(),
                "name at least one address, such as \"0.0.0.0:22\"",
            );
        }
        if let Some(name) = self
            .logins
            .keys()
            .find(|name| name.is_empty() || name.contains('\0'))
        {
            return unusable(
                "logins",
                format!("{name:?}"),
                "a login name cannot be empty",
            );
        }
        if self.logins.is_empty() {
            return unusable(
                "logins",
                "{}".into(),
                "nobody could log in; name one, such as claw = \"claw\"",
            );
        }
        if let Some(name) = self
            .set_env
            .keys()
            .find(|name| name.is_empty() || name.contains(['=', '\0']))
        {
            return unusable("set_env", format!("{name:?}"), "that is no variable's name");
        }
        if !(16..=16 << 30).contains(&self.rekey_limit) {
            return unusable(
                "rekey_limit",
                self.rekey_limit.to_string(),
                "give 16 to 17179869184 (16 GiB), in bytes",
            );
        }
        for (name, command) in &self.subsystem {
            let value = || format!("{{ {name} = {command:?} }}");
            if name.is_empty() || command.trim().is_empty() || command.contains('\0') {
                return unusable("subsystem", value(), "a subsystem has a name and a command");
            }
            if let Some(words) = sftp::internal_sftp(command)
                && sftp::Options::try_parse_from(words).is_err()
            {
                return unusable(
                    "subsystem",
                    value(),
                    "the options of internal-sftp are -R, -p and -P REQUESTS, -u UMASK and -d DIR",
                );
            }
        }
        for (key, value) in [
            ("max_auth_tries", u64::from(self.max_auth_tries)),
            (
                "per_source_max_startups",
                self.per_source_max_startups.map_or(1, |most| most as u64),
            ),
            ("max_connections", self.max_connections as u64),
            ("max_sessions", self.max_sessions as u64),
            ("login_grace_time", self.login_grace_time.as_secs()),
        ] {
            if value == 0 {
                return unusable(key, "0".into(), "nobody could log in; give at least 1");
            }
        }
        Ok(())
    }

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
    pub fn terms(&self) -> SessionTerms {
        SessionTerms {
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

/// A umask as sshd_config(5) has it: "0177".
fn octal<'de, D: serde::Deserializer<'de>>(input: D) -> Result<u16, D::Error> {
    let text = String::deserialize(input)?;
    match u16::from_str_radix(&text, 8) {
        Ok(mask) if mask <= 0o777 => Ok(mask),
        _ => Err(serde::de::Error::custom(format!(
            "\"{text}\" is not a umask; write \"0177\""
        ))),
    }
}

/// A number, or "start:rate:full".
fn max_startups<'de, D: serde::Deserializer<'de>>(input: D) -> Result<MaxStartups, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Number(usize),
        Text(String),
    }
    let text = match Written::deserialize(input)? {
        Written::Number(number) => number.to_string(),
        Written::Text(text) => text,
    };
    text.parse()
        .map_err(|error| serde::de::Error::custom(format!("max_startups = {text}: {error}")))
}

/// A time as people write it: "30s", "2m", "1h 30m".
fn duration<'de, D: serde::Deserializer<'de>>(input: D) -> Result<Duration, D::Error> {
    parse_duration(&String::deserialize(input)?)
}

/// Times by name.
fn durations<'de, D: serde::Deserializer<'de>>(
    input: D,
) -> Result<BTreeMap<String, Duration>, D::Error> {
    let texts = BTreeMap::<String, String>::deserialize(input)?;
    let times = texts.into_iter();
    times
        .map(|(name, text)| Ok((name, parse_duration(&text)?)))
        .collect()
}

fn parse_duration<E: serde::de::Error>(text: &str) -> Result<Duration, E> {
    humantime::parse_duration(text).map_err(|error| {
        E::custom(format!(
            "\"{text}\" is not a time ({error}); write \"30s\", \"2m\" or \"1h\""
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_file_is_the_default() {
        assert_eq!(
            format!("{:?}", Config::parse("").unwrap()),
            format!("{:?}", Config::default())
        );
    }

    #[test]
    fn an_unknown_key_is_named() {
        let error = Config::parse("listen_address = \"0.0.0.0:22\"")
            .unwrap_err()
            .to_string();
        assert!(error.contains("unknown field `listen_address`"), "{error}");
    }

    /// The README has a row of every key, and the fuzzer begins with all of them.
    #[test]
    fn every_key_is_documented_and_a_seed_of_the_fuzzer() {
        let readme = include_str!("../../README.md");
        let seed = include_str!("../../fuzz/seeds/configuration/all");
        let seed: toml::Table = seed.parse().unwrap();
        let error = Config::parse("x = 1").unwrap_err().to_string();
        let (_, known) = error.split_once("expected one of ").unwrap();
        let keys: Vec<_> = known.lines().next().unwrap().split(", ").collect();
        assert!(keys.len() > 40, "{keys:?}");
        for key in keys {
            assert!(readme.contains(key), "README.md says nothing of {key}");
            assert!(seed.contains_key(key.trim_matches('`')), "no seed of {key}");
        }
    }

    #[test]
    fn max_startups_is_a_number_or_three() {
        let parse = |value: &str| Config::parse(&format!("max_startups = {value}"));
        assert_eq!(parse("7").unwrap().max_startups, MaxStartups::all_at(7));
        assert_eq!(
            parse("\"10:30:60\"").unwrap().max_startups,
            "10:30:60".parse().unwrap()
        );
        for wrong in ["0", "\"10:30\"", "true"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn times_are_written_as_people_write_them() {
        assert_eq!(
            Config::parse("login_grace_time = \"2m\"")
                .unwrap()
                .login_grace_time
                .as_secs(),
            120
        );
        let error = Config::parse("login_grace_time = \"soon\"")
            .unwrap_err()
            .to_string();
        assert!(error.contains("\"soon\" is not a time"), "{error}");
    }

    #[test]
    fn a_subsystem_is_a_name_and_a_command() {
        let config =
            Config::parse("subsystem = { sftp = \"/usr/lib/openssh/sftp-server -R\" }").unwrap();
        assert_eq!(config.subsystem["sftp"], "/usr/lib/openssh/sftp-server -R");
        assert!(config.check().is_ok());
        assert_eq!(Config::default().subsystem["sftp"], "internal-sftp");
    }

    #[test]
    fn forwarding_is_configured_in_the_words_of_sshd_config() {
        let text = "permit_open = [\"localhost:18789\"]\ngateway_ports = \"clientspecified\"\nstream_local_bind_mask = \"0111\"";
        let config = Config::parse(text).unwrap();
        assert_eq!(config.stream_local_bind_mask, 0o111);
        assert_eq!(config.gateway_ports, GatewayPorts::ClientSpecified);
        let error = Config::parse("deny_open = [\"169.254.169.254\"]")
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("deny_open") && error.contains("write host:port"),
            "{error}"
        );
        let error = Config::parse("stream_local_bind_mask = \"0999\"")
            .unwrap_err()
            .to_string();
        assert!(error.contains("\"0999\" is not a umask"), "{error}");
    }

    #[test]
    fn the_command_line_wins() {
        let overrides = Overrides {
            logins: vec![("a".into(), "b".into())],
            ..Overrides::default()
        };
        let config = Config::load(None, overrides).unwrap();
        assert_eq!(config.logins, BTreeMap::from([("a".into(), "b".into())]));
    }

    #[test]
    fn nonsense_is_refused_with_a_remedy() {
        let mut config = Config {
            logins: BTreeMap::new(),
            ..Config::default()
        };
        assert!(config.check().unwrap_err().to_string().contains("name one"));
        for command in ["", " ", "internal-sftp -P vanish", "a\0b"] {
            let subsystem = BTreeMap::from([("sftp".into(), command.into())]);
            config = Config {
                subsystem,
                ..Config::default()
            };
            assert!(
                config
                    .check()
                    .unwrap_err()
                    .to_string()
                    .starts_with("subsystem = "),
                "{command}"
            );
        }
        config = Config {
            max_sessions: 0,
            ..Config::default()
        };
        assert!(
            config
                .check()
                .unwrap_err()
                .to_string()
                .contains("max_sessions = 0")
        );
    }
}
