//! What a client offers, and how it behaves.

use crate::transport::{Cipher, Config, KexMethod, Mac};
use std::time::Duration;

/// How a client is.
#[derive(Debug, Clone)]
pub struct Options {
    /// Versions, offers and rekeying.
    pub config: Config,
    /// Hold the server to [`ServerRules`] once keys are in use.
    pub strict: bool,
    /// Send EXT_INFO with `ping@openssh.com`, as Pomerium does, if the server takes it.
    pub ext_info: bool,
    /// How long any single wait may take.
    pub limit: Duration,
    /// The window of channels that we open.
    pub window: u32,
    /// The maximum packet size of channels that we open.
    pub max_packet: u32,
    /// Widen windows as data arrives; else see [`Client::adjust_window`].
    pub automatic_window: bool,
}

impl Options {
    /// As Pomerium's client, with all three types of host keys.
    pub fn pomerium() -> Self {
        let host_keys = [
            "ssh-ed25519",
            "rsa-sha2-256",
            "rsa-sha2-512",
            "ecdsa-sha2-nistp256",
        ];
        Self {
            config: Config::client(host_keys.map(str::to_owned).to_vec()),
            strict: true,
            ext_info: true,
            limit: Duration::from_secs(30),
            window: 64 * 32_768,
            max_packet: 32_768,
            automatic_window: true,
        }
    }

    /// As forgiving as the RFCs allow, and without Pomerium's manners.
    pub fn lenient() -> Self {
        let mut options = Self::pomerium();
        options.strict = false;
        options.ext_info = false;
        options.config.pomerium_rules = false;
        options
    }

    /// Offer this key exchange method only.
    #[must_use]
    pub fn kex(mut self, method: KexMethod) -> Self {
        self.config.offer.restrict_kex(&[method]);
        self
    }

    /// Offer this cipher only.
    #[must_use]
    pub fn cipher(mut self, cipher: Cipher) -> Self {
        self.config.offer.restrict_ciphers(&[cipher]);
        self
    }

    /// Offer this MAC only.
    #[must_use]
    pub fn mac(mut self, mac: Mac) -> Self {
        self.config.offer.restrict_macs(&[mac]);
        self
    }

    /// Offer this host key algorithm only.
    #[must_use]
    pub fn host_key(mut self, algorithm: &str) -> Self {
        self.config.offer.server_host_key_algorithms = vec![algorithm.to_owned()];
        self
    }

    /// Start a key exchange after so many bytes in a direction.
    #[must_use]
    pub fn rekey_after(mut self, bytes: u64) -> Self {
        self.config.rekey_after = Some(bytes);
        self
    }
}
