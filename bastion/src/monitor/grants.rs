//! Who was let in: the monitor's own decision on each request, made once for each login.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::ipc::{CertificateRecord, ConnectionId, GrantRequest};
use crate::policy::lifetime::Now;
use crate::policy::{self, Decision, LoginRequest, Permissions, Refusal, Rules, UserCertificate};

/// The most logins' proofs that are remembered, each for as long as its certificate is valid. Each
/// takes a valid signature of a certificate's holder to make; those that end soonest go first.
const REMEMBERED_PROOFS: usize = 250_000;
/// The most connections that are let in and have no session yet.
const MAX_WAITING: usize = 10_000;

/// Connections that were let in, and what for.
#[derive(Default)]
pub(super) struct Grants {
    by_connection: HashMap<ConnectionId, Grant>,
    used: UsedProofs,
}

/// What a connection was let in for.
pub(super) struct Grant {
    pub(super) permissions: Permissions,
    pub(super) at: Instant,
    /// Looked at again when the session is opened.
    pub(super) certificate: UserCertificate,
    pub(super) peer: SocketAddr,
    pub(super) local: SocketAddr,
}

/// A decision, with what the audit log says about it.
pub(super) struct Outcome {
    pub(super) verdict: Result<String, NotGranted>,
    pub(super) certificate: Option<CertificateRecord>,
}

/// Why a request was not granted.
#[derive(Debug, Error)]
pub(super) enum NotGranted {
    /// The policy refuses.
    #[error(transparent)]
    Refused(Refusal),
    /// The proof let somebody in before: only a gate that was taken over shows one twice.
    #[error("this login was granted before; each session identifier is good for one")]
    Replayed,
    /// The connection was let in already.
    #[error("this connection was let in already")]
    Repeated,
    /// There are too many connections that were let in and wait for a session.
    #[error("too many connections were let in and have opened nothing")]
    TooMany,
}

impl NotGranted {
    pub(super) fn code(&self) -> &'static str {
        match self {
            Self::Refused(refusal) => refusal.code(),
            Self::Replayed => "replayed",
            Self::Repeated => "repeated",
            Self::TooMany => "too_many",
        }
    }

    /// The sentence that the user may read.
    pub(super) fn disclosed(&self) -> Option<String> {
        match self {
            Self::Refused(refusal) => refusal.disclosed(),
            Self::Replayed | Self::Repeated | Self::TooMany => None,
        }
    }
}

impl Grants {
    /// Decides on a request at the time `now`, and remembers what it grants.
    pub(super) fn decide(&mut self, request: &GrantRequest, rules: &Rules, now: Now) -> Outcome {
        let login = LoginRequest {
            login_name: &request.login_name,
            source: request.peer.ip(),
            certificate: &request.certificate,
            proof: &request.proof,
        };
        let Decision {
            certificate,
            verdict,
        } = policy::decide(&login, now.epoch, rules);
        let record = certificate.as_ref().map(CertificateRecord::from);
        let verdict = match (verdict, certificate) {
            (Ok(permissions), Some(certificate)) => {
                self.grant(request, permissions, certificate, now)
            }
            (Err(refusal), _) => Err(NotGranted::Refused(refusal)),
            // Not reached: nobody is let in without a certificate.
            (Ok(_), None) => Err(NotGranted::Repeated),
        };
        Outcome {
            verdict,
            certificate: record,
        }
    }

    /// Once for a connection, once for a session identifier. Returns the account's name.
    fn grant(
        &mut self,
        request: &GrantRequest,
        permissions: Permissions,
        certificate: UserCertificate,
        now: Now,
    ) -> Result<String, NotGranted> {
        if self.by_connection.contains_key(&request.connection) {
            return Err(NotGranted::Repeated);
        }
        if self.by_connection.len() >= MAX_WAITING {
            return Err(NotGranted::TooMany);
        }
        let until = permissions.valid_before();
        let session_id = &request.proof.session_id;
        if !self.used.first_use(session_id, until, now) {
            return Err(NotGranted::Replayed);
        }
        let account = permissions.account().to_owned();
        let grant = Grant {
            permissions,
            at: now.instant,
            certificate,
            peer: request.peer,
            local: request.local,
        };
        self.by_connection.insert(request.connection, grant);
        Ok(account)
    }

    /// Hands out a connection's grant, for its one session process.
    pub(super) fn take_for_session(&mut self, connection: ConnectionId) -> Option<Grant> {
        self.by_connection.remove(&connection)
    }

    /// The connection has ended.
    pub(super) fn forget(&mut self, connection: ConnectionId) {
        self.by_connection.remove(&connection);
    }

    /// The gate has ended, and all connections with it.
    pub(super) fn clear(&mut self) {
        self.by_connection.clear();
    }
}

/// Session identifiers that somebody was let in on, as SHA-256.
#[derive(Default)]
struct UsedProofs {
    seen: HashSet<[u8; 32]>,
    by_end: BinaryHeap<Reverse<UsedProof>>,
    count: u64,
}

/// In the order in which their certificates end.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct UsedProof {
    /// In seconds since the epoch: from then on no such proof is accepted anyhow.
    end: u64,
    /// Of certificates that end together, or never, the oldest use goes first.
    number: u64,
    digest: [u8; 32],
    /// The same moment by the clock that nobody sets, where it can tell: the other one may be set
    /// forward for a while.
    over: Option<Instant>,
}

impl UsedProof {
    fn is_over(&self, now: Now) -> bool {
        self.end <= now.epoch && self.over.is_some_and(|over| over <= now.instant)
    }
}

impl UsedProofs {
    /// Whether it is the first use, `now`, of an identifier that is good `until` then.
    fn first_use(&mut self, session_id: &[u8], until: u64, now: Now) -> bool {
        let digest: [u8; 32] = Sha256::digest(session_id).into();
        if !self.seen.insert(digest) {
            return false;
        }
        self.count += 1;
        let left = Duration::from_secs(until.saturating_sub(now.epoch));
        self.by_end.push(Reverse(UsedProof {
            end: until,
            number: self.count,
            digest,
            over: now.instant.checked_add(left),
        }));
        while let Some(Reverse(soonest)) = self.by_end.peek()
            && (soonest.is_over(now) || self.by_end.len() > REMEMBERED_PROOFS)
        {
            self.seen.remove(&soonest.digest);
            self.by_end.pop();
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many seconds after a beginning, by both clocks; the wall clock is `ahead` of the other.
    fn at(begin: Instant, seconds: u64, ahead: u64) -> Now {
        Now {
            instant: begin + Duration::from_secs(seconds),
            epoch: seconds + ahead,
        }
    }

    #[test]
    fn a_proof_is_remembered_until_its_certificate_ends() {
        let begin = Instant::now();
        let at = |seconds| at(begin, seconds, 0);
        let mut used = UsedProofs::default();
        assert!(used.first_use(b"long", 1000, at(10)));
        assert!(used.first_use(b"short", 20, at(10)));
        assert!(!used.first_use(b"short", 20, at(19)));
        assert!(used.first_use(b"other", 1000, at(20)));
        assert!(!used.first_use(b"long", 1000, at(20)));
        assert_eq!((used.seen.len(), used.by_end.len()), (2, 2));
    }

    #[test]
    fn a_clock_that_is_set_forward_and_back_makes_no_proof_good_again() {
        let begin = Instant::now();
        let mut used = UsedProofs::default();
        assert!(used.first_use(b"login", 100, at(begin, 10, 0)));
        assert!(used.first_use(b"meanwhile", 2000, at(begin, 11, 1000)));
        assert!(!used.first_use(b"login", 100, at(begin, 12, 0)));
        assert!(used.first_use(b"later", 200, at(begin, 100, 0)));
        assert_eq!(used.seen.len(), 2);
    }

    #[test]
    fn what_ends_soonest_is_forgotten_first() {
        let now = at(Instant::now(), 0, 0);
        let mut used = UsedProofs::default();
        assert!(used.first_use(b"soon", 100, now));
        for number in 0..REMEMBERED_PROOFS as u64 {
            assert!(used.first_use(&number.to_le_bytes(), 200 + number, now));
        }
        assert_eq!(used.seen.len(), REMEMBERED_PROOFS);
        assert!(!used.first_use(&7_u64.to_le_bytes(), 207, now));
        assert!(used.first_use(b"soon", 100, now));
    }
}
