//! What a transport does in key exchanges (RFC 4253 section 7, OpenSSH PROTOCOL section 1.9).

use super::cipher::{self, Opener, Sealer};
use super::exchange::{Exchange, Keys, Method};
use super::{Agreed, Cipher, Error, Event, Forgery, KexInit, Role, STRICT_KEX, Transport};
use crate::message::{
    Disconnect, SSH_MSG_DEBUG, SSH_MSG_DISCONNECT, SSH_MSG_IGNORE, SSH_MSG_KEXINIT,
    SSH_MSG_NEWKEYS, SSH_MSG_UNIMPLEMENTED,
};
use crate::strict::Violation;
use tokio::time::Instant;

impl Transport {
    /// Sends KEXINIT, unless a key exchange runs already.
    pub fn start_exchange(&mut self) -> Result<(), Error> {
        if self.in_exchange() {
            return Ok(());
        }
        let mut ours = self.config.offer.clone();
        aws_lc_rs::rand::fill(&mut ours.cookie).map_err(|_| cipher::Inauthentic)?;
        if self.session_id.is_none() {
            // OpenSSH PROTOCOL section 1.9: markers count in the first KEXINIT only.
            ours.kex_algorithms
                .extend(self.config.markers.iter().cloned());
        }
        self.outbound.push(&[&ours.encode()], Forgery::default())?;
        self.exchange = Exchange::InitSent(Box::new(ours));
        self.exchange_deadline = Some(Instant::now() + self.config.exchange_limit);
        Ok(())
    }

    /// RFC 4344 section 3; Pomerium counts bytes and packets in each direction.
    pub(super) fn rekey_when_due(&mut self) -> Result<(), Error> {
        const PACKETS: u32 = 1 << 31;
        let limit = |cipher: &str| {
            let of_cipher = Cipher::from_name(cipher).map_or(u64::MAX, Cipher::rekey_after_bytes);
            self.config.rekey_after.unwrap_or(of_cipher)
        };
        let Some(agreed) = self.agreed.as_ref().filter(|_| !self.in_exchange()) else {
            return Ok(());
        };
        let sent = self.outbound.bytes_sealed >= limit(&agreed.direction(self.role, true).cipher);
        let received =
            self.inbound.bytes_opened >= limit(&agreed.direction(self.role, false).cipher);
        let packets = self.outbound.sequence > PACKETS || self.inbound.sequence > PACKETS;
        if sent || received || packets {
            self.start_exchange()
        } else {
            Ok(())
        }
    }

    /// A message that has no place in a key exchange. The RFC lets IGNORE and DEBUG pass; Pomerium
    /// and strict key exchange do not.
    pub(super) fn stray(
        &self,
        violation: Violation,
        payload: &[u8],
    ) -> Result<Option<Event>, Error> {
        match payload.first() {
            Some(&SSH_MSG_DISCONNECT) => {
                let malformed = |source| Violation::Malformed {
                    number: SSH_MSG_DISCONNECT,
                    source,
                };
                Err(Error::Disconnected(
                    Disconnect::parse(payload).map_err(malformed)?,
                ))
            }
            Some(&(SSH_MSG_IGNORE | SSH_MSG_DEBUG | SSH_MSG_UNIMPLEMENTED))
                if !self.config.pomerium_rules && !self.strict_kex =>
            {
                Ok(None)
            }
            _ => Err(violation.into()),
        }
    }

    pub(super) fn take_kexinit(&mut self, payload: &[u8]) -> Result<Option<Event>, Error> {
        let malformed = |source| Violation::Malformed {
            number: SSH_MSG_KEXINIT,
            source,
        };
        let theirs = KexInit::parse(payload).map_err(malformed)?;
        self.start_exchange()?;
        if self.session_id.is_none() {
            self.peer_markers.clone_from(&theirs.kex_algorithms);
            let [client, server] = STRICT_KEX;
            let (marker, our_marker) = match self.role {
                Role::Client => (server, client),
                Role::Server => (client, server),
            };
            let ours = self.config.markers.iter().any(|ours| ours == our_marker);
            self.strict_kex = ours && theirs.has_marker(marker);
            if self.config.pomerium_rules && !self.strict_kex {
                return Err(Violation::StrictKexRequired.into());
            }
        }
        let Exchange::InitSent(ours) = std::mem::replace(&mut self.exchange, Exchange::Idle) else {
            return Err(Error::Role);
        };
        // Pomerium hashes what it makes of the message when it encodes it again (pomerium/
        // envoy-custom kex.cc), which differs for a boolean that is neither 0 nor 1.
        let counted = if self.config.pomerium_rules {
            theirs.encode()
        } else {
            payload.to_vec()
        };
        let method = Method::start(self.role, &ours, &theirs, counted)?;
        if let Some(init) = method.init() {
            self.outbound.push(&[&init], Forgery::default())?;
        }
        self.exchange = Exchange::Method(Box::new(method));
        Ok(None)
    }

    pub(super) fn take_share(&mut self, payload: &[u8]) -> Result<Option<Event>, Error> {
        let Exchange::Method(method) = std::mem::replace(&mut self.exchange, Exchange::Idle) else {
            return Err(Error::Role);
        };
        let (ours, theirs) = (self.config.version.as_str(), self.peer_version.as_str());
        let keys = match self.role {
            Role::Client => method.take_reply([ours, theirs], payload)?,
            Role::Server => {
                let versions = [theirs, ours];
                let (reply, keys) = method.respond(versions, &self.config.host_keys, payload)?;
                self.outbound.push(&[&reply], Forgery::default())?;
                keys
            }
        };
        self.send_newkeys(method.agreed, keys)
    }

    /// What we send from here on is under the new keys.
    fn send_newkeys(&mut self, agreed: Agreed, keys: Keys) -> Result<Option<Event>, Error> {
        let session_id = self.session_id.as_deref().unwrap_or(&keys.hash);
        let sending = keys.direction(&agreed, session_id, self.role, true)?;
        let receiving = keys.direction(&agreed, session_id, self.role, false)?;
        self.outbound
            .push(&[&[SSH_MSG_NEWKEYS]], Forgery::default())?;
        self.outbound.sealer = Sealer::new(&sending)?;
        self.outbound.bytes_sealed = 0;
        if self.strict_kex {
            self.outbound.sequence = 0;
        }
        self.host_key = keys.host_key;
        self.agreed = Some(agreed);
        self.exchange = Exchange::NewKeys(Box::new(receiving));
        if self.session_id.is_none() {
            self.session_id = Some(keys.hash);
        }
        Ok(None)
    }

    /// What we receive from here on is under the new keys, and held messages may go. Pomerium waits
    /// with them until here too (pomerium/envoy-custom transport_base.h, `onKexCompleted`).
    pub(super) fn take_newkeys(&mut self) -> Result<Option<Event>, Error> {
        let Exchange::NewKeys(keys) = std::mem::replace(&mut self.exchange, Exchange::Idle) else {
            return Err(Error::Role);
        };
        self.inbound.opener = Opener::new(&keys)?;
        self.inbound.bytes_opened = 0;
        if self.strict_kex {
            self.inbound.sequence = 0;
        }
        self.exchange_deadline = None;
        self.exchanges += 1;
        while !self.in_exchange()
            && let Some(message) = self.held.pop_front()
        {
            self.held_bytes -= message.len();
            self.outbound.push(&[&message], Forgery::default())?;
            self.rekey_when_due()?;
        }
        Ok(Some(Event::Keyed {
            initial: self.exchanges == 1,
        }))
    }
}
