//! What makes no sense, though it can be read.

use clap::Parser;

use super::{Config, ConfigError};
use crate::sftp;

/// Those of sshd_config(5), without those of subsystems; what is idle as a whole has a key of its own.
/// `tun-connection` and `x11-connection` are accepted, though there are none here.
const CHANNEL_KINDS: [&str; 10] = [
    "agent-connection",
    "direct-tcpip",
    "direct-streamlocal@openssh.com",
    "forwarded-tcpip",
    "forwarded-streamlocal@openssh.com",
    "session",
    "session:command",
    "session:shell",
    "tun-connection",
    "x11-connection",
];

impl Config {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if self.listen.is_empty() {
            let why = "name at least one address, such as \"0.0.0.0:22\"";
            return unusable("listen", "[]", why);
        }
        self.check_logins()?;
        self.check_set_env()?;
        self.check_subsystems()?;
        self.check_channel_timeout()?;
        self.check_limits()
    }

    fn check_logins(&self) -> Result<(), ConfigError> {
        let nameless = |name: &&String| name.is_empty() || name.contains('\0');
        if let Some(name) = self.logins.keys().find(nameless) {
            let why = "a login name cannot be empty";
            return unusable("logins", format!("{name:?}"), why);
        }
        if self.logins.is_empty() {
            let why = "nobody could log in; name one, such as claw = \"claw\"";
            return unusable("logins", "{}", why);
        }
        Ok(())
    }

    fn check_set_env(&self) -> Result<(), ConfigError> {
        let nameless = |name: &&String| name.is_empty() || name.contains(['=', '\0']);
        match self.set_env.keys().find(nameless) {
            Some(name) => unusable("set_env", format!("{name:?}"), "that is no variable's name"),
            None => Ok(()),
        }
    }

    fn check_subsystems(&self) -> Result<(), ConfigError> {
        for (name, command) in &self.subsystem {
            let value = || format!("{{ {name} = {command:?} }}");
            if name.is_empty() || command.trim().is_empty() || command.contains('\0') {
                return unusable("subsystem", value(), "a subsystem has a name and a command");
            }
            if let Some(words) = sftp::internal_sftp(command)
                && sftp::Options::try_parse_from(words).is_err()
            {
                let why =
                    "the options of internal-sftp are -R, -p and -P REQUESTS, -u UMASK and -d DIR";
                return unusable("subsystem", value(), why);
            }
        }
        Ok(())
    }

    fn check_channel_timeout(&self) -> Result<(), ConfigError> {
        let of_none = |kind: &&String| {
            !kind.contains(['*', '?'])
                && !kind.starts_with("session:subsystem:")
                && !CHANNEL_KINDS.contains(&kind.as_str())
        };
        match self.channel_timeout.keys().find(of_none) {
            Some(kind) => {
                let why = "there is no such kind of channel; say \"session:*\", \"direct-tcpip\" or another that sshd_config(5) has under ChannelTimeout";
                unusable("channel_timeout", format!("{{ {kind:?} = … }}"), why)
            }
            None => Ok(()),
        }
    }

    fn check_limits(&self) -> Result<(), ConfigError> {
        if !(16..=16 << 30).contains(&self.rekey_limit) {
            let why = "give 16 to 17179869184 (16 GiB), in bytes";
            return unusable("rekey_limit", self.rekey_limit.to_string(), why);
        }
        for (key, is_zero) in [
            ("max_auth_tries", self.max_auth_tries == 0),
            (
                "per_source_max_startups",
                self.per_source_max_startups == Some(0),
            ),
            ("max_processes", self.max_processes == Some(0)),
            ("max_connections", self.max_connections == 0),
            ("max_sessions", self.max_sessions == 0),
            ("login_grace_time", self.login_grace_time.as_secs() == 0),
        ] {
            if is_zero {
                return unusable(key, "0", "nobody could log in; give at least 1");
            }
        }
        Ok(())
    }
}

fn unusable(
    key: &'static str,
    value: impl Into<String>,
    why: &'static str,
) -> Result<(), ConfigError> {
    let value = value.into();
    Err(ConfigError::Unusable { key, value, why })
}
