//! What an administrator changes while bastion serves: the configuration and the files of keys.
//!
//! Open connections and sessions stay as they are. Who asks for anything new gets the new rules.

use std::time::Instant;

use super::accounts::Accounts;
use super::audit::Event;
use super::watched_file::{Format, WatchedFile, When};
use super::{Monitor, MonitorError};
use crate::config::{self, Config};
use crate::ipc::ToGate;

/// The configuration's file, by the content that is in force or was refused last.
pub(super) struct ConfigurationFile {
    source: config::Source,
    file: WatchedFile<Vec<u8>>,
}

/// What is made of it is the configuration's own business.
const CONTENT: Format<Vec<u8>> = Format {
    limit: config::MAX_LENGTH,
    parse: |bytes, _| Ok(bytes.to_vec()),
};

impl ConfigurationFile {
    /// The configuration to begin with, and the file to watch from then on.
    pub(super) fn open(source: config::Source) -> Result<(Self, Config), config::ConfigError> {
        let file = WatchedFile::new(source.path(), CONTENT);
        let mut configuration = Self { source, file };
        // Before it is loaded: a change in between is one that the next look tells.
        configuration.file.read_if_changed(When::Now);
        configuration.note_that_it_is_there();
        let config = configuration.load()?;
        Ok((configuration, config))
    }

    /// What to serve by from now on; none if nothing has changed.
    fn load_if_changed(&mut self, when: When) -> Option<Result<Config, config::ConfigError>> {
        let changed = self.file.read_if_changed(when).is_some();
        self.note_that_it_is_there();
        changed.then(|| self.load())
    }

    fn note_that_it_is_there(&mut self) {
        if self.file.content().is_some() {
            // From now on it must be there: when the rules are gone, to serve by the defaults would be
            // to let more happen.
            self.source.file = Some(self.file.path().into());
        }
    }

    /// By the content that was read; without any, by what there is instead, or why there is nothing.
    fn load(&self) -> Result<Config, config::ConfigError> {
        match self.file.content() {
            Some(content) => self.source.load_from(content),
            None => self.source.load(),
        }
    }

    fn name(&self) -> String {
        self.file.path().display().to_string()
    }
}

impl Monitor {
    /// Looks for changes; nobody has said that there are any.
    pub(super) fn look_again(&mut self) -> Result<(), MonitorError> {
        self.looked = Instant::now();
        match self.configuration.load_if_changed(When::Settled) {
            Some(outcome) => self.reconfigure(outcome, When::Settled),
            None => self.read_keys(When::Settled),
        }
    }

    /// Reads everything again (SIGHUP), and says so even if nothing has changed.
    pub(super) fn reload(&mut self) -> Result<(), MonitorError> {
        self.looked = Instant::now();
        let changed = self.configuration.load_if_changed(When::Now);
        let outcome = changed.unwrap_or_else(|| self.configuration.load());
        self.reconfigure(outcome, When::Now)
    }

    /// Serves by a new configuration, or goes on with the old if that is no good.
    fn reconfigure(
        &mut self,
        outcome: Result<Config, config::ConfigError>,
        when: When,
    ) -> Result<(), MonitorError> {
        let file = self.configuration.name();
        let outcome = outcome.map_err(|error| error.to_string());
        let applied = outcome.and_then(|mut config| {
            let needs_restart = config.keep_what_needs_restart(&self.config);
            let accounts = Accounts::check(&config).map_err(|error| error.to_string())?;
            Ok((config, accounts, needs_restart))
        });
        match applied {
            Ok((config, accounts, needs_restart)) => {
                self.accounts = accounts;
                self.audit.set_format(config.log_format);
                self.sessions.configure(&config);
                self.keys.reconfigure(&config);
                self.config = config;
                self.audit.record(&Event::ConfigurationRead {
                    file,
                    needs_restart,
                })?;
                self.read_keys(when)?;
                let banner = self.banner()?;
                self.gate
                    .send(&ToGate::Limits(Box::new(self.config.limits(banner))), &[]);
                self.send_rules();
                Ok(())
            }
            Err(error) => {
                let error = format!("{error}; what was in force before stays in force");
                self.audit
                    .record(&Event::ConfigurationUnusable { file, error })?;
                self.read_keys(when)
            }
        }
    }

    /// Reads the files of keys that have changed.
    pub(super) fn read_keys(&mut self, when: When) -> Result<(), MonitorError> {
        let events = self.keys.read_if_changed(when);
        for event in &events {
            self.audit.record(event)?;
        }
        if !events.is_empty() {
            self.send_rules();
        }
        Ok(())
    }

    fn send_rules(&mut self) {
        self.gate.send(&ToGate::Rules(Box::new(self.rules())), &[]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_default_file_that_was_there_must_stay_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bastion.toml");
        let mut configuration = ConfigurationFile {
            source: config::Source::default(),
            file: WatchedFile::new(&path, CONTENT),
        };
        assert!(configuration.load_if_changed(When::Now).unwrap().is_ok());
        std::fs::write(&path, "max_sessions = 7").unwrap();
        let config = configuration.load_if_changed(When::Now).unwrap().unwrap();
        assert_eq!(config.max_sessions, 7);
        std::fs::write(&path, "\n").unwrap();
        let error = configuration
            .load_if_changed(When::Now)
            .unwrap()
            .unwrap_err();
        assert!(error.to_string().contains("is empty"), "{error}");
        std::fs::remove_file(&path).unwrap();
        let error = configuration
            .load_if_changed(When::Now)
            .unwrap()
            .unwrap_err();
        assert!(error.to_string().contains("No such file"), "{error}");
        assert!(configuration.load().is_err());
    }
}
