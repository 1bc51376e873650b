//! Where the configuration comes from: a file, and the command line, which wins over it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::Args;

use super::{Config, ConfigError, LogFormat};
use crate::sys::files;

/// Read when `--config` is not given, if it is there.
pub const DEFAULT_FILE: &str = "/etc/bastion/bastion.toml";

/// The largest file that is read, in bytes.
pub const MAX_LENGTH: u64 = 32 * 1024;

/// What to serve; each wins over the configuration.
#[derive(Args, Clone, Debug, Default)]
pub struct Source {
    /// The configuration; by default /etc/bastion/bastion.toml, if it is there
    // Must be there if it is named.
    #[arg(long = "config", value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// What wins over it.
    #[command(flatten)]
    pub overrides: Overrides,
}

impl Source {
    /// The file, whether it is there or not.
    pub fn path(&self) -> &Path {
        self.file.as_deref().unwrap_or(Path::new(DEFAULT_FILE))
    }

    /// The configuration as it is now.
    pub fn load(&self) -> Result<Config, ConfigError> {
        let config = match &self.file {
            Some(file) => Config::read(file)?,
            None if may_be_there(self.path()) => Config::read(self.path())?,
            None => Config::default(),
        };
        config.overridden_by(self.overrides.clone())
    }

    /// The configuration that the file asks for, by its content.
    pub fn load_from(&self, content: &[u8]) -> Result<Config, ConfigError> {
        let config = Config::from_content(self.path(), content)?;
        config.overridden_by(self.overrides.clone())
    }
}

/// What the command line says of the configuration.
#[derive(Args, Clone, Debug, Default)]
pub struct Overrides {
    /// An address and port to listen on (may be given several times)
    #[arg(long, value_name = "IP:PORT")]
    pub listen: Vec<SocketAddr>,
    /// A file of public keys: who may sign certificates
    #[arg(long, value_name = "FILE")]
    pub trusted_user_ca_keys: Option<PathBuf>,
    /// The folder of the host keys; they are made where missing
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// A login name, and the account that it stands for if that has another name (may be given several times)
    #[arg(long = "login", value_name = "NAME[=ACCOUNT]", value_parser = login)]
    pub logins: Vec<(String, String)>,
    /// How events are written to standard output
    #[arg(long, value_enum)]
    pub log_format: Option<LogFormat>,
}

fn login(text: &str) -> Result<(String, String), String> {
    let (name, account) = text.split_once('=').unwrap_or((text, text));
    match name.is_empty() || account.is_empty() {
        true => Err("neither the login name nor the account can be empty".into()),
        false => Ok((name.into(), account.into())),
    }
}

impl Config {
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
        // What is left where somebody wrote to a full disk: its rules are gone, too.
        if text.trim().is_empty() {
            return Err(ConfigError::Empty(file.into()));
        }
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
}

/// One that cannot be looked for is not one that is not there: its rules must hold.
pub(super) fn may_be_there(file: &Path) -> bool {
    file.try_exists().unwrap_or(true)
}
