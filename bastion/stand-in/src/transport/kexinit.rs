//! SSH_MSG_KEXINIT and the choice of algorithms (RFC 4253 section 7.1).

use super::Role;
use super::algorithm::{Cipher, KexMethod, Mac};
use crate::message::SSH_MSG_KEXINIT;
use crate::strict::Violation;
use crate::wire::{Malformed, Reader, Writer};

/// `ext-info-c` and `ext-info-s` (RFC 8308 section 2.1).
pub const EXT_INFO: [&str; 2] = ["ext-info-c", "ext-info-s"];
/// OpenSSH PROTOCOL section 1.9.
pub const STRICT_KEX: [&str; 2] = [
    "kex-strict-c-v00@openssh.com",
    "kex-strict-s-v00@openssh.com",
];

/// The lists of one direction.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Lists {
    /// `encryption_algorithms`.
    pub encryption: Vec<String>,
    /// `mac_algorithms`.
    pub mac: Vec<String>,
    /// `compression_algorithms`.
    pub compression: Vec<String>,
    /// `languages`.
    pub languages: Vec<String>,
}

/// What one side offers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KexInit {
    /// `cookie`; random when it is sent.
    pub cookie: [u8; 16],
    /// `kex_algorithms`, markers included.
    pub kex_algorithms: Vec<String>,
    /// `server_host_key_algorithms`.
    pub server_host_key_algorithms: Vec<String>,
    /// The lists that end in `_client_to_server`.
    pub client_to_server: Lists,
    /// The lists that end in `_server_to_client`.
    pub server_to_client: Lists,
    /// `first_kex_packet_follows`.
    pub first_kex_packet_follows: bool,
    /// `0 (reserved for future extension)`.
    pub reserved: u32,
}

impl KexInit {
    /// What Pomerium offers, in its order, without markers (pomerium/envoy-custom kex.cc). Its
    /// host-key algorithms come from its own host keys, therefore from the caller.
    pub fn pomerium(host_key_algorithms: Vec<String>) -> Self {
        let mut macs = names(Mac::ALL.iter().map(|mac| mac.name()));
        macs.push("umac-128-etm@openssh.com".to_owned());
        let lists = Lists {
            encryption: names(Cipher::ALL.iter().map(|cipher| cipher.name())),
            mac: macs,
            compression: vec!["none".to_owned()],
            languages: Vec::new(),
        };
        Self {
            kex_algorithms: names(KexMethod::ALL.iter().map(|method| method.name())),
            server_host_key_algorithms: host_key_algorithms,
            client_to_server: lists.clone(),
            server_to_client: lists,
            ..Self::default()
        }
    }

    /// Offers these ciphers only.
    pub fn restrict_ciphers(&mut self, ciphers: &[Cipher]) {
        for lists in [&mut self.client_to_server, &mut self.server_to_client] {
            lists.encryption = names(ciphers.iter().map(|cipher| cipher.name()));
        }
    }

    /// Offers these key exchange methods only.
    pub fn restrict_kex(&mut self, methods: &[KexMethod]) {
        self.kex_algorithms = names(methods.iter().map(|method| method.name()));
    }

    /// Offers these MACs only.
    pub fn restrict_macs(&mut self, macs: &[Mac]) {
        for lists in [&mut self.client_to_server, &mut self.server_to_client] {
            lists.mac = names(macs.iter().map(|mac| mac.name()));
        }
    }

    /// The payload on the wire.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::message(SSH_MSG_KEXINIT)
            .bytes(self.cookie)
            .name_list(&self.kex_algorithms)
            .name_list(&self.server_host_key_algorithms);
        let (c2s, s2c) = (&self.client_to_server, &self.server_to_client);
        for list in [
            &c2s.encryption,
            &s2c.encryption,
            &c2s.mac,
            &s2c.mac,
            &c2s.compression,
            &s2c.compression,
            &c2s.languages,
            &s2c.languages,
        ] {
            writer = writer.name_list(list);
        }
        writer
            .bool(self.first_kex_packet_follows)
            .u32(self.reserved)
            .into_vec()
    }

    /// Reads a payload; its message number is already known.
    pub fn parse(payload: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(payload);
        reader.u8()?;
        let cookie = reader.bytes(16)?.try_into().map_err(|_| Malformed::Short)?;
        let mut kexinit = Self {
            cookie,
            kex_algorithms: reader.name_list()?,
            server_host_key_algorithms: reader.name_list()?,
            ..Self::default()
        };
        let (c2s, s2c) = (&mut kexinit.client_to_server, &mut kexinit.server_to_client);
        for list in [
            &mut c2s.encryption,
            &mut s2c.encryption,
            &mut c2s.mac,
            &mut s2c.mac,
            &mut c2s.compression,
            &mut s2c.compression,
            &mut c2s.languages,
            &mut s2c.languages,
        ] {
            *list = reader.name_list()?;
        }
        kexinit.first_kex_packet_follows = reader.bool()?;
        kexinit.reserved = reader.u32()?;
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
    /// What the client sends with.
    pub client_to_server: Direction,
    /// What the server sends with.
    pub server_to_client: Direction,
}

/// The algorithms of one direction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Direction {
    /// Encryption.
    pub cipher: String,
    /// `None` with an AEAD cipher.
    pub mac: Option<String>,
}

impl Agreed {
    /// The first name of the client's that the server has too, list by list.
    pub(super) fn negotiate(client: &KexInit, server: &KexInit) -> Result<Self, Violation> {
        let kex = common(
            "key exchange",
            &client.kex_algorithms,
            &server.kex_algorithms,
        )?;
        if EXT_INFO.contains(&kex.as_str()) || STRICT_KEX.contains(&kex.as_str()) {
            return Err(Violation::MarkerNegotiated { method: kex });
        }
        let (ours, theirs) = (
            &client.server_host_key_algorithms,
            &server.server_host_key_algorithms,
        );
        let host_key = common("host key", ours, theirs)?;
        let (ours, theirs) = (&client.client_to_server, &server.client_to_server);
        let client_to_server = Direction::negotiate("client to server", ours, theirs)?;
        let (ours, theirs) = (&client.server_to_client, &server.server_to_client);
        let server_to_client = Direction::negotiate("server to client", ours, theirs)?;
        Ok(Self {
            kex,
            host_key,
            client_to_server,
            server_to_client,
        })
    }

    /// The direction that `role` sends in, or receives in.
    pub(super) fn direction(&self, role: Role, sending: bool) -> &Direction {
        if (role == Role::Client) == sending {
            &self.client_to_server
        } else {
            &self.server_to_client
        }
    }
}

impl Direction {
    fn negotiate(what: &str, client: &Lists, server: &Lists) -> Result<Self, Violation> {
        let cipher = common(
            &format!("{what} cipher"),
            &client.encryption,
            &server.encryption,
        )?;
        let mac = if Cipher::from_name(&cipher).is_some_and(Cipher::is_aead) {
            None
        } else {
            Some(common(&format!("{what} MAC"), &client.mac, &server.mac)?)
        };
        common(
            &format!("{what} compression"),
            &client.compression,
            &server.compression,
        )?;
        Ok(Self { cipher, mac })
    }
}

fn names(names: impl Iterator<Item = &'static str>) -> Vec<String> {
    names.map(str::to_owned).collect()
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
