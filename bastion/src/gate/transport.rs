//! The transport's configuration: algorithms, limits, and what differs by the client.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use russh::keys::{Algorithm, EcdsaCurve, HashAlg, PrivateKey};
use russh::server::Config;
use russh::{MethodKind, MethodSet, Preferred, SshId, cipher, compression, kex, mac};

use crate::ipc::{HostKey, Limits};

/// RFC 4253 §4.2. Pomerium takes no minus sign in it.
const VERSION: &str = concat!("SSH-2.0-bastion_", env!("CARGO_PKG_VERSION"));
/// What Pomerium's proxy calls itself.
const ENVOY: &[u8] = b"SSH-2.0-Envoy";

/// What is read from a program at a time, which is also the most that one packet carries.
const CHUNK: usize = 32 * 1024;
/// Towards Pomerium: it can stall for good on a packet of more than half of its buffer of 32 KiB
/// (versions before 0.33). The rest of 16 KiB is for the packet's own fields.
const CHUNK_FOR_ENVOY: usize = 15 * 1024;

/// The configurations, by client.
pub(super) struct Transports {
    for_others: Arc<Config>,
    for_envoy: Arc<Config>,
}

impl Transports {
    pub(super) fn new(host_keys: &[HostKey], limits: &Limits) -> Result<Self, ssh_key::Error> {
        let keys = host_keys
            .iter()
            .map(|key| PrivateKey::from_openssh(key.0.as_str()));
        let keys = keys.collect::<Result<Vec<_>, _>>()?;
        Ok(Self::of(&keys, limits))
    }

    /// With the same keys, and other limits.
    pub(super) fn with_limits(&self, limits: &Limits) -> Self {
        Self::of(&self.for_others.keys, limits)
    }

    fn of(keys: &[PrivateKey], limits: &Limits) -> Self {
        let config = |for_envoy| Arc::new(config(keys.to_vec(), limits, for_envoy));
        Self {
            for_others: config(false),
            for_envoy: config(true),
        }
    }

    /// The configuration before the client has said what it is.
    pub(super) fn initial(&self) -> Arc<Config> {
        self.for_others.clone()
    }

    /// The configuration for a client by its identification string.
    pub(super) fn choose(&self, client: &[u8]) -> Arc<Config> {
        if is_envoy(client) {
            self.for_envoy.clone()
        } else {
            self.for_others.clone()
        }
    }
}

/// Whether a client is Pomerium's proxy, by its identification string.
pub(super) fn is_envoy(client: &[u8]) -> bool {
    client == ENVOY
}

/// The most bytes of one data packet towards a client.
pub(super) fn chunk_for(client: &[u8]) -> usize {
    if is_envoy(client) {
        CHUNK_FOR_ENVOY
    } else {
        CHUNK
    }
}

/// What of a banner is shown to a client, in one packet. Nothing in it may move a cursor.
pub(super) fn banner_for(text: &str, client: &[u8]) -> String {
    let most = if is_envoy(client) {
        CHUNK_FOR_ENVOY
    } else {
        text.len()
    };
    let end = (0..=most.min(text.len())).rev();
    let end = end.into_iter().find(|&end| text.is_char_boundary(end));
    text.get(..end.unwrap_or(0)).unwrap_or_default().to_owned()
}

fn config(keys: Vec<PrivateKey>, limits: &Limits, for_envoy: bool) -> Config {
    let mut methods = MethodSet::empty();
    methods.push(MethodKind::PublicKey);
    let alive = limits.client_alive_interval;
    let rekey_limit = usize::try_from(limits.rekey_limit).unwrap_or(usize::MAX);
    Config {
        server_id: SshId::Standard(Cow::Borrowed(VERSION)),
        methods,
        // There is nothing to guess here that a delay would make harder.
        auth_rejection_time: Duration::ZERO,
        auth_rejection_time_initial: Some(Duration::ZERO),
        keys,
        limits: russh::Limits {
            // Clients ask long before: OpenSSH after 1 GiB with ChaCha20 and 64 GiB with AES, and
            // so does Pomerium. This is for one that never does: it comes before the packet
            // counter, a cipher's nonce, can wrap (RFC 4253 §9, RFC 4344 §3.1).
            rekey_write_limit: rekey_limit,
            rekey_read_limit: rekey_limit,
            // Hourly new keys have broken more sessions than they have saved: never, unless told.
            rekey_time_limit: match limits.rekey_interval {
                Duration::ZERO => Duration::from_secs(100 * 365 * 24 * 3600),
                interval => interval,
            },
        },
        window_size: limits.window,
        // As OpenSSH's server. What a client sends in one packet is held in memory until written.
        maximum_packet_size: 32 * 1024,
        // Nothing goes by way of these queues but what `handler` puts there.
        channel_buffer_size: 1,
        event_buffer_size: 16,
        preferred: preferred(for_envoy),
        // The gate counts what it refuses itself; this is for all the rest, the request `none` by
        // which clients ask what there is included.
        max_auth_attempts: usize::try_from(limits.max_auth_tries)
            .map_or(usize::MAX, |tries| tries.saturating_add(1)),
        // Idle sessions are what people have.
        inactivity_timeout: None,
        keepalive_interval: (!alive.is_zero()).then_some(alive),
        keepalive_max: usize::try_from(limits.client_alive_count_max).unwrap_or(usize::MAX),
        handler_adjusts_windows: true,
        ..Config::default()
    }
}

/// What is offered, best first. No finite-field group (DHEat), no SHA-1, no CBC, no compression,
/// no MAC before encryption.
fn preferred(for_envoy: bool) -> Preferred {
    const CHACHA20: cipher::Name = cipher::CHACHA20_POLY1305;
    let ciphers = match (has_fast_aes(), for_envoy) {
        // It prefers ChaCha20, at half the speed; so it is not offered that.
        (true, true) => vec![cipher::AES_256_GCM, cipher::AES_128_GCM],
        (true, false) => vec![cipher::AES_256_GCM, cipher::AES_128_GCM, CHACHA20],
        (false, _) => vec![CHACHA20, cipher::AES_256_GCM, cipher::AES_128_GCM],
    };
    let counter_mode = [
        cipher::AES_256_CTR,
        cipher::AES_192_CTR,
        cipher::AES_128_CTR,
    ];
    Preferred {
        kex: Cow::Borrowed(&[
            kex::MLKEM768X25519_SHA256,
            kex::CURVE25519,
            kex::CURVE25519_PRE_RFC_8731,
            kex::EXTENSION_SUPPORT_AS_SERVER,
            kex::EXTENSION_OPENSSH_STRICT_KEX_AS_SERVER,
        ]),
        // RSA last: its private operation is the one with a known timing leak (RUSTSEC-2023-0071).
        key: Cow::Borrowed(&[
            Algorithm::Ed25519,
            Algorithm::Ecdsa {
                curve: EcdsaCurve::NistP256,
            },
            Algorithm::Rsa {
                hash: Some(HashAlg::Sha512),
            },
            Algorithm::Rsa {
                hash: Some(HashAlg::Sha256),
            },
        ]),
        cipher: Cow::Owned(ciphers.into_iter().chain(counter_mode).collect()),
        mac: Cow::Borrowed(&[mac::HMAC_SHA256_ETM, mac::HMAC_SHA512_ETM]),
        compression: Cow::Borrowed(&[compression::NONE]),
        ..Preferred::default()
    }
}

/// Whether this processor computes AES and its GCM in hardware.
fn has_fast_aes() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("aes")
        && std::arch::is_x86_feature_detected!("pclmulqdq");
    #[cfg(target_arch = "aarch64")]
    return std::arch::is_aarch64_feature_detected!("aes")
        && std::arch::is_aarch64_feature_detected!("pmull");
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pomerium_takes_our_version() {
        let software = VERSION.strip_prefix("SSH-2.0-").unwrap();
        assert!(
            software
                .bytes()
                .all(|byte| byte.is_ascii_graphic() && byte != b'-'),
            "{software}"
        );
        assert!(VERSION.len() <= 253);
    }

    #[test]
    fn a_chunk_and_its_packet_fit_into_16_kib() {
        // packet_length, padding_length, type, channel, data type, length; padding; tag
        const { assert!(CHUNK_FOR_ENVOY + 4 + 1 + 1 + 4 + 4 + 4 + 255 + 64 <= 16 * 1024) };
    }
}
