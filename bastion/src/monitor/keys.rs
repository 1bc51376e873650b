//! Whose certificates count and whose do not: trusted_user_ca_keys and revoked_keys.

use std::sync::Arc;

use super::audit::Event;
use super::watched_file::{Format, WatchedFile, When};
use crate::config::Config;
use crate::policy::{Revocations, RevokedKeys, TrustedUserCaKeys};

/// The largest list of CAs: a hundred keys. With the configuration and the banner it has to fit into
/// one message to the gate.
const MAX_TRUSTED_KEYS: u64 = 16 * 1024;
/// The largest list of revoked keys: some hundred thousand of them.
const MAX_REVOKED_KEYS: u64 = 16 * 1024 * 1024;

/// Both files. One that cannot be read, or understood, lets nobody in.
pub(super) struct KeyFiles {
    trusted: WatchedFile<TrustedUserCaKeys>,
    /// None if none is configured: then nothing is revoked.
    revoked: Option<WatchedFile<Arc<RevokedKeys>>>,
}

impl KeyFiles {
    pub(super) fn new(config: &Config) -> Self {
        let revoked = config.revoked_keys.as_deref();
        Self {
            trusted: WatchedFile::new(&config.trusted_user_ca_keys, TRUSTED_KEYS),
            revoked: revoked.map(|path| WatchedFile::new(path, REVOKED_KEYS)),
        }
    }

    /// The same where the configuration still names the same files.
    pub(super) fn reconfigure(&mut self, config: &Config) {
        let same_trusted = self.trusted.path() == config.trusted_user_ca_keys;
        let revoked = self.revoked.as_ref().map(WatchedFile::path);
        let same_revoked = revoked == config.revoked_keys.as_deref();
        let new = Self::new(config);
        if !same_trusted {
            self.trusted = new.trusted;
        }
        if !same_revoked {
            self.revoked = new.revoked;
        }
    }

    /// The CAs whose certificates count.
    pub(super) fn trusted(&self) -> TrustedUserCaKeys {
        let keys = self.trusted.content();
        keys.cloned().unwrap_or_else(TrustedUserCaKeys::nobody)
    }

    /// What does not count any more.
    pub(super) fn revocations(&self) -> Revocations {
        match self.revoked.as_ref().map(WatchedFile::content) {
            None => Revocations::None,
            Some(Some(list)) => Revocations::Listed(list.clone()),
            Some(None) => Revocations::Unknown,
        }
    }

    /// Reads what has changed; tells what it found.
    pub(super) fn read_if_changed(&mut self, when: When) -> Vec<Event> {
        let mut events = Vec::new();
        let file = self.trusted.path().display().to_string();
        events.extend(self.trusted.read_if_changed(when).map(|keys| match keys {
            Ok(keys) => {
                let fingerprints = keys.fingerprints().collect();
                Event::TrustedKeysRead { file, fingerprints }
            }
            Err(error) => {
                let error = nobody_until_mended(error);
                Event::TrustedKeysUnusable { file, error }
            }
        }));
        if let Some(revoked) = &mut self.revoked {
            let file = revoked.path().display().to_string();
            events.extend(revoked.read_if_changed(when).map(|list| match list {
                Ok(list) => Event::RevokedKeysRead {
                    file,
                    entries: list.len(),
                },
                Err(error) => {
                    let error = nobody_until_mended(error);
                    Event::RevokedKeysUnusable { file, error }
                }
            }));
        }
        events
    }

    /// What is wrong with them now, if anything is, and what they say.
    pub(super) fn check(&self) -> Result<Vec<String>, String> {
        let mut good = Vec::new();
        let path = self.trusted.path().display();
        let trusted = self
            .trusted
            .read()
            .map_err(|error| nobody_until_mended(&error))?;
        good.extend(
            trusted
                .fingerprints()
                .map(|fingerprint| format!("{path}: the CA {fingerprint} is trusted")),
        );
        if let Some(revoked) = &self.revoked {
            let path = revoked.path().display();
            let list = revoked
                .read()
                .map_err(|error| nobody_until_mended(&error))?;
            good.push(format!("{path}: {} entries are revoked", list.len()));
        }
        Ok(good)
    }
}

const TRUSTED_KEYS: Format<TrustedUserCaKeys> = Format {
    limit: MAX_TRUSTED_KEYS,
    parse: |bytes, name| {
        // A comment may be in any encoding; a key is ASCII.
        let text = String::from_utf8_lossy(bytes);
        TrustedUserCaKeys::parse(&text, name).map_err(|error| error.to_string())
    },
};

const REVOKED_KEYS: Format<Arc<RevokedKeys>> = Format {
    limit: MAX_REVOKED_KEYS,
    parse: |bytes, name| match RevokedKeys::parse(bytes, name) {
        // What is left where somebody wrote to a full disk.
        _ if bytes.is_empty() => Err(format!(
            "{name} is empty; write a comment into it if nothing is revoked"
        )),
        Ok(list) => Ok(Arc::new(list)),
        Err(error) => Err(error.to_string()),
    },
};

fn nobody_until_mended(error: &str) -> String {
    format!("{error}; nobody can log in until that is mended")
}
