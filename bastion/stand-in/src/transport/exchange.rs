//! Where a key exchange stands (RFC 4253 section 7), without any input or output.

use super::Role;
use super::algorithm::{Cipher, KexMethod, Mac};
use super::cipher::DirectionKeys;
use super::kex::{ClientSecret, SharedSecret, Transcript};
use super::kexinit::{Agreed, Direction, KexInit};
use super::{Error, HostKeys};
use crate::message::{SSH_MSG_KEX_ECDH_INIT, SSH_MSG_KEX_ECDH_REPLY};
use crate::signing::{self, SignatureError};
use crate::strict::Violation;
use crate::wire::{Malformed, Reader, Writer};

/// The states, in their order.
pub(super) enum Exchange {
    /// None runs.
    Idle,
    /// Our KEXINIT is out; until the peer's arrives, it may still send anything.
    InitSent(Box<KexInit>),
    /// Both KEXINITs are out: only the method's next message may come.
    Method(Box<Method>),
    /// We sent NEWKEYS: only the peer's may come, and these keys open what follows.
    NewKeys(Box<DirectionKeys>),
}

/// A key exchange whose algorithms are agreed.
pub(super) struct Method {
    pub(super) agreed: Agreed,
    kex: KexMethod,
    /// Both KEXINIT payloads, the client's first.
    kexinits: [Vec<u8>; 2],
    /// The client's half.
    secret: Option<(ClientSecret, Vec<u8>)>,
    /// The peer guessed wrong: its next packet is not for us (RFC 4253 section 7).
    pub(super) skip_guess: bool,
}

/// What a finished method yields.
pub(super) struct Keys {
    pub(super) hash: Vec<u8>,
    pub(super) host_key: Vec<u8>,
    secret: SharedSecret,
}

impl Method {
    /// From both KEXINITs, ours and the peer's as it counts for the exchange hash.
    pub(super) fn start(
        role: Role,
        ours: &KexInit,
        theirs: &KexInit,
        their_payload: Vec<u8>,
    ) -> Result<Self, Error> {
        let (agreed, kexinits) = match role {
            Role::Client => (
                Agreed::negotiate(ours, theirs)?,
                [ours.encode(), their_payload],
            ),
            Role::Server => (
                Agreed::negotiate(theirs, ours)?,
                [their_payload, ours.encode()],
            ),
        };
        let unimplemented = || Error::NotImplemented(agreed.kex.clone());
        let kex = KexMethod::from_name(&agreed.kex).ok_or_else(unimplemented)?;
        let secret = match role {
            Role::Client => Some(ClientSecret::generate(kex)?),
            Role::Server => None,
        };
        let skip_guess = theirs.guessed_wrong(ours);
        Ok(Self {
            agreed,
            kex,
            kexinits,
            secret,
            skip_guess,
        })
    }

    /// The message that the peer must send next.
    pub(super) fn expected(&self) -> u8 {
        match self.secret {
            Some(_) => SSH_MSG_KEX_ECDH_REPLY,
            None => SSH_MSG_KEX_ECDH_INIT,
        }
    }

    /// SSH_MSG_KEX_ECDH_INIT, if we are the client.
    pub(super) fn init(&self) -> Option<Vec<u8>> {
        let (_, share) = self.secret.as_ref()?;
        Some(
            Writer::message(SSH_MSG_KEX_ECDH_INIT)
                .string(share)
                .into_vec(),
        )
    }

    /// The client takes the server's SSH_MSG_KEX_ECDH_REPLY. The host key is believed whoever it
    /// belongs to: Pomerium checks the signature, and nothing more (pomerium/envoy-custom kex_alg.h).
    pub(super) fn take_reply(&self, versions: [&str; 2], payload: &[u8]) -> Result<Keys, Error> {
        let (secret, client_share) = self.secret.as_ref().ok_or(Error::Role)?;
        let [host_key, server_share, signature] =
            parse_reply(payload).map_err(|source| Violation::Malformed {
                number: SSH_MSG_KEX_ECDH_REPLY,
                source,
            })?;
        let secret = secret.agree(server_share)?;
        let hash = self.hash(&secret, versions, host_key, client_share, server_share);
        signing::verify(host_key, &self.agreed.host_key, signature, &hash)?;
        Ok(Keys {
            hash,
            host_key: host_key.to_vec(),
            secret,
        })
    }

    /// The server takes the client's SSH_MSG_KEX_ECDH_INIT and answers.
    pub(super) fn respond(
        &self,
        versions: [&str; 2],
        host_keys: &HostKeys,
        payload: &[u8],
    ) -> Result<(Vec<u8>, Keys), Error> {
        let client_share = parse_init(payload).map_err(|source| Violation::Malformed {
            number: SSH_MSG_KEX_ECDH_INIT,
            source,
        })?;
        let algorithm = &self.agreed.host_key;
        let unimplemented = || Error::NotImplemented(algorithm.clone());
        let key = host_keys
            .for_algorithm(algorithm)
            .ok_or_else(unimplemented)?;
        let host_key = key.public_key().to_bytes().map_err(SignatureError::from)?;
        let (server_share, secret) = SharedSecret::respond(self.kex, client_share)?;
        let hash = self.hash(&secret, versions, &host_key, client_share, &server_share);
        let signature = signing::sign(key, algorithm, &hash)?;
        let reply = Writer::message(SSH_MSG_KEX_ECDH_REPLY)
            .string(&host_key)
            .string(&server_share)
            .string(&signature)
            .into_vec();
        Ok((
            reply,
            Keys {
                hash,
                host_key,
                secret,
            },
        ))
    }

    fn hash(
        &self,
        secret: &SharedSecret,
        [client_version, server_version]: [&str; 2],
        host_key: &[u8],
        client_share: &[u8],
        server_share: &[u8],
    ) -> Vec<u8> {
        let [client_kexinit, server_kexinit] = &self.kexinits;
        secret.exchange_hash(&Transcript {
            client_version,
            server_version,
            client_kexinit,
            server_kexinit,
            host_key,
            client_share,
            server_share,
        })
    }
}

impl Keys {
    /// The keys of one direction, as `role` uses them.
    pub(super) fn direction(
        &self,
        agreed: &Agreed,
        session_id: &[u8],
        role: Role,
        sending: bool,
    ) -> Result<DirectionKeys, Error> {
        let Direction { cipher, mac } = agreed.direction(role, sending);
        let unimplemented = |name: &str| Error::NotImplemented(name.to_owned());
        let cipher = Cipher::from_name(cipher).ok_or_else(|| unimplemented(cipher))?;
        let mac = match mac {
            Some(name) => Some(Mac::from_name(name).ok_or_else(|| unimplemented(name))?),
            None => None,
        };
        let to_server = (role == Role::Client) == sending;
        Ok(self
            .secret
            .direction_keys(&self.hash, session_id, to_server, cipher, mac))
    }
}

fn parse_init(payload: &[u8]) -> Result<&[u8], Malformed> {
    let mut reader = Reader::new(payload);
    reader.u8()?;
    let share = reader.string()?;
    reader.finish()?;
    Ok(share)
}

/// Host key, share and signature.
fn parse_reply(payload: &[u8]) -> Result<[&[u8]; 3], Malformed> {
    let mut reader = Reader::new(payload);
    reader.u8()?;
    let fields = [reader.string()?, reader.string()?, reader.string()?];
    reader.finish()?;
    Ok(fields)
}
