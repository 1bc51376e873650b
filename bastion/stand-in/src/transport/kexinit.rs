//! SSH_MSG_KEXINIT and the choice of algorithms (RFC 4253 section 7.1).

use super::Role;
use super::algorithm::{Cipher, KexMethod, Mac};
use crate::message::SSH_MSG_KEXINIT;
use crate::strict::Violation;
use crate::wire::{Malformed, Reader, Writer};

/// `ext-info-c` and `ext-info-s` (RFC 8308 section 2.1).
pub const EXT_INFO: [&str; 2] = ["ext-info-c", "ext-info-s"];
/// OpenSSH PROTOCOL section 1.9.
pub const STRICT_KEX: [&str; 2] = ["kex-strict-c-v00@openssh.com", "kex-strict-s-v00@openssh.com"];

/// The lists of one side.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KexInit {
    /// `cookie`; random when it is sent.
    pub cookie: [u8; 16],
    /// `kex_algorithms`, markers included.
    pub kex_algorithms: Vec<String>,
    /// `server_host_key_algorithms`.
    pub server_host_key_algorithms: Vec<String>,
    /// `encryption_algorithms_client_to_server`, then the one `_server_to_client`.
    pub encryption_algorithms: [Vec<String>; 2],
    /// `mac_algorithms_client_to_server`, then `_server_to_client`.
    pub mac_algorithms: [Vec<String>; 2],
    /// `compression_algorithms_client_to_server`, then `_server_to_client`.
    pub compression_algorithms: [Vec<String>; 2],
    /// `languages_client_to_server`, then `_server_to_client`.
    pub languages: [Vec<String>; 2],
    /// `first_kex_packet_follows`.
    pub first_kex_packet_follows: bool,
    /// `0 (reserved for future extension)`.
    pub reserved: u32,
}

impl KexInit {
    /// What Pomerium offers, in its order, without markers (pomerium/envoy-custom kex.cc). Its
    /// host-key algorithms come from its own host keys, therefore from the caller.
    pub fn pomerium(host_key_algorithms: Vec<String>) -> Self {
        let kex_algorithms = KexMethod::ALL.iter().map(|method| method.name().to_owned());
        let ciphers: Vec<String> = Cipher::ALL.iter().map(|c| c.name().to_owned()).collect();
        let mut macs: Vec<String> = Mac::ALL.iter().map(|mac| mac.name().to_owned()).collect();
        macs.push("umac-128-etm@openssh.com".to_owned());
        let none = vec!["none".to_owned()];
        Self {
            kex_algorithms: kex_algorithms.collect(),
            server_host_key_algorithms: host_key_algorithms,
            encryption_algorithms: [ciphers.clone(), ciphers],
            mac_algorithms: [macs.clone(), macs],
            compression_algorithms: [none.clone(), none],
            ..Self::default()
        }
    }

    /// Offers these ciphers only.
    pub fn restrict_ciphers(&mut self, ciphers: &[Cipher]) {
        let names: Vec<String> = ciphers.iter().map(|cipher| cipher.name().to_owned()).collect();
        self.encryption_algorithms = [names.clone(), names];
    }

    /// Offers these key exchange methods only.
    pub fn restrict_kex(&mut self, methods: &[KexMethod]) {
        self.kex_algorithms = methods.iter().map(|method| method.name().to_owned()).collect();
    }

    /// Offers these MACs only.
    pub fn restrict_macs(&mut self, macs: &[Mac]) {
        let names: Vec<String> = macs.iter().map(|mac| mac.name().to_owned()).collect();
        self.mac_algorithms = [names.clone(), names];
    }

    /// The payload on the wire.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::message(SSH_MSG_KEXINIT)
            .bytes(self.cookie)
            .name_list(&self.kex_algorithms)
            .name_list(&self.server_host_key_algorithms);
        for pair in [
            &self.encryption_algorithms,
            &self.mac_algorithms,
            &self.compression_algorithms,
            &self.languages,
        ] {
            for list in pair {
                writer = writer.name_list(list);
            }
        }
        writer.bool(self.first_kex_packet_follows).u32(self.reserved).into_vec()
    }

    /// Reads a payload; its message number is already known.
    pub fn parse(payload: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(payload);
        reader.u8()?;
        let cookie = reader.bytes(16)?.try_into().map_err(|_| Malformed::Short)?;
        let kexinit = Self {
            cookie,
            kex_algorithms: reader.name_list()?,
            server_host_key_algorithms: reader.name_list()?,
            encryption_algorithms: [reader.name_list()?, reader.name_list()?],
            mac_algorithms: [reader.name_list()?, reader.name_list()?],
            compression_algorithms: [reader.name_list()?, reader.name_list()?],
            languages: [reader.name_list()?, reader.name_list()?],
            first_kex_packet_follows: reader.bool()?,
            reserved: reader.u32()?,
        };
        reader.finish()?;
        Ok(kexinit)
    }

    /// Whether `name` is among the key exchange names.
    pub fn has_marker(&self, name: &str) -> bool {
        self.kex_algorithms.iter().any(|known| known == name)
    }

    /// Whether the side that sent this guessed the other's first choices wrong (RFC 4253 section 7).
    pub(super) fn guessed_wrong(&self, other: &Self) -> bool {
        self.first_kex_packet_follows
            && (self.kex_algorithms.first() != other.kex_algorithms.first()
                || self.server_host_key_algorithms.first()
                    != other.server_host_key_algorithms.first())
    }
}

/// What both sides settled on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agreed {
    /// The key exchange method.
    pub kex: String,
    /// The algorithm of the server's signature.
    pub host_key: String,
    /// Encryption, client to server and server to client.
    pub ciphers: [String; 2],
    /// MACs likewise; empty with an AEAD cipher.
    pub macs: [String; 2],
}

impl Agreed {
    /// The first name of the client's that the server has too, list by list.
    pub(super) fn negotiate(client: &KexInit, server: &KexInit) -> Result<Self, Violation> {
        let [c2s, s2c] = [0, 1].map(|direction| {
            let what = ["client to server", "server to client"][direction];
            let cipher = common(
                &format!("{what} cipher"),
                &client.encryption_algorithms[direction],
                &server.encryption_algorithms[direction],
            )?;
            let mac = if Cipher::from_name(&cipher).is_some_and(Cipher::is_aead) {
                String::new()
            } else {
                let (client, server) = (&client.mac_algorithms, &server.mac_algorithms);
                common(&format!("{what} MAC"), &client[direction], &server[direction])?
            };
            let (client, server) = (&client.compression_algorithms, &server.compression_algorithms);
            common(&format!("{what} compression"), &client[direction], &server[direction])?;
            Ok((cipher, mac))
        });
        let kex = common("key exchange", &client.kex_algorithms, &server.kex_algorithms)?;
        if EXT_INFO.contains(&kex.as_str()) || STRICT_KEX.contains(&kex.as_str()) {
            return Err(Violation::MarkerNegotiated { method: kex });
        }
        let host_key = common(
            "host key",
            &client.server_host_key_algorithms,
            &server.server_host_key_algorithms,
        )?;
        let ((c2s_cipher, c2s_mac), (s2c_cipher, s2c_mac)) = (c2s?, s2c?);
        Ok(Self {
            kex,
            host_key,
            ciphers: [c2s_cipher, s2c_cipher],
            macs: [c2s_mac, s2c_mac],
        })
    }

    /// The names of the direction that `role` sends in, or receives in.
    pub(super) fn direction(&self, role: Role, sending: bool) -> (&str, &str) {
        let ([c2s, s2c], [c2s_mac, s2c_mac]) = (&self.ciphers, &self.macs);
        match (role, sending) {
            (Role::Client, true) | (Role::Server, false) => (c2s, c2s_mac),
            (Role::Client, false) | (Role::Server, true) => (s2c, s2c_mac),
        }
    }
}

/// The message is the one of pomerium/envoy-custom kex.cc, which its users see.
fn common(what: &str, client: &[String], server: &[String]) -> Result<String, Violation> {
    let found = client.iter().find(|name| server.contains(name));
    found.cloned().ok_or_else(|| Violation::NoCommonAlgorithm {
        what: what.to_owned(),
        client: client.to_vec(),
        server: server.to_vec(),
    })
}
