//! Every reason for which somebody is not let in, with its evidence.
//!
//! There are three readers. The audit log gets [`Refusal::code`] and the sentence. Whoever holds a
//! certificate of a trusted CA gets the sentence. A stranger gets nothing: [`Refusal::disclosed`] tells
//! them apart.

use std::net::IpAddr;

use super::certificate::{CertificateType, MalformedCertificate};
use super::proof::ProofError;
use super::public_key::KeyType;
use super::signature::SignatureError;
use super::utc::rfc3339;

/// Why somebody is not let in. `Display` is a sentence that names the values and, where there is one,
/// the remedy; it is bounded, and what came from outside is escaped in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The bytes are not a certificate that is understood.
    #[error("{problem}")]
    MalformedCertificate {
        /// What is wrong with them.
        problem: MalformedCertificate,
    },
    /// The peer did not prove that it holds the certified private key.
    #[error("{problem}")]
    NoProofOfPossession {
        /// What is wrong with the proof.
        problem: ProofError,
    },
    /// The certificate names a CA that is not trusted.
    #[error(
        "the certificate is signed by the CA {fingerprint}, which is not trusted here; \
         if it should be, add its public key to trusted_user_ca_keys"
    )]
    UntrustedAuthority {
        /// Of the CA's key.
        fingerprint: String,
    },
    /// The certificate is signed by a CA that is revoked.
    #[error(
        "the certificate is signed by the CA {fingerprint}, whose key is in revoked_keys; have it \
         issued by the CA that took its place"
    )]
    RevokedAuthority {
        /// Of the CA's key.
        fingerprint: String,
    },
    /// The CA's signature is made with SHA-1.
    #[error(
        "the CA {fingerprint} signed the certificate with {algorithm}, which is SHA-1 and no longer \
         safe; have it sign with rsa-sha2-512"
    )]
    WeakAuthoritySignature {
        /// Of the CA's key.
        fingerprint: String,
        /// The signature's algorithm.
        algorithm: String,
    },
    /// The certificate names a trusted CA, which did not sign it.
    #[error(
        "the certificate claims to be signed by the CA {fingerprint}, which did not sign it as it is: \
         {problem}"
    )]
    BadAuthoritySignature {
        /// Of the CA's key.
        fingerprint: String,
        /// What is wrong with the signature.
        problem: SignatureError,
    },
    /// A host's certificate, or nobody's.
    #[error(
        "the certificate's type is {certificate_type}; to log in takes a user certificate \
         (ssh-keygen -s without -h)"
    )]
    NotUserCertificate {
        /// What it is.
        certificate_type: CertificateType,
    },
    /// The certified key is revoked.
    #[error(
        "the key {fingerprint} has been revoked here; make a new one, or ask the administrator why"
    )]
    RevokedKey {
        /// Of the certified key.
        fingerprint: String,
    },
    /// The certificate is revoked by its serial number.
    #[error(
        "the certificate with the serial number {serial} has been revoked here; log in again for a new \
         one, or ask the administrator why"
    )]
    RevokedSerial {
        /// The serial number.
        serial: u64,
    },
    /// The certificate is revoked by its key id.
    #[error(
        "certificates with the key id \"{}\" have been revoked here; ask the administrator why",
        printable(.key_id, 64)
    )]
    RevokedKeyId {
        /// The key id.
        key_id: String,
    },
    /// The list of revoked keys cannot be read.
    #[error(
        "the list of revoked keys cannot be read here, and nobody is let in until it can; the \
         administrator finds the reason in the log of bastion"
    )]
    RevocationsUnknown,
    /// Its time is still to come.
    #[error(
        "the certificate is not valid before {}, and the clock here says {}, {} s earlier; \
         if it was issued just now, set the clocks of the CA (Pomerium) and of this host right",
        rfc3339(*.valid_after), rfc3339(*.now), .valid_after - .now
    )]
    NotYetValid {
        /// The first second at which it is valid.
        valid_after: u64,
        /// The clock's reading.
        now: u64,
    },
    /// Its time is over.
    #[error(
        "the certificate expired at {}, and the clock here says {}, {} s later; log in again for a \
         new one, and if it was issued just now, set the clocks of the CA (Pomerium) and of this host \
         right",
        rfc3339(*.valid_before), rfc3339(*.now), .now - .valid_before
    )]
    Expired {
        /// The first second at which it is no longer valid.
        valid_before: u64,
        /// The clock's reading.
        now: u64,
    },
    /// It names no principal. By OpenSSH's format that is a certificate for everybody; not here.
    #[error(
        "the certificate names no principal, so it is nobody's; have it issued for the login name"
    )]
    NoPrincipals,
    /// It names others than the login name.
    #[error(
        "the certificate is for {}, not for the login name \"{}\"; log in under the name that it is \
         for, or have it issued for this one",
        listed(.principals), printable(.login_name, 64)
    )]
    PrincipalNotListed {
        /// The login name that was asked for.
        login_name: String,
        /// Whom the certificate is for.
        principals: Vec<String>,
    },
    /// The certificate is for that login name, which has no account here.
    #[error(
        "there is no account for the login name \"{}\" here; log in under one that has, or add it to \
         the configuration",
        printable(.login_name, 64)
    )]
    UnknownLogin {
        /// The login name that was asked for.
        login_name: String,
    },
    /// A critical option that is not understood must be refused (draft-ietf-sshm-cert).
    #[error(
        "the certificate has the critical option \"{}\", which is not known here and may not be \
         ignored; have it issued without",
        printable(.name, 64)
    )]
    UnknownCriticalOption {
        /// Its name.
        name: String,
    },
    /// A critical option or extension that is known, with data that it cannot have.
    #[error(
        "the certificate's option \"{}\" is malformed: {problem}; have the certificate issued anew",
        printable(.name, 64)
    )]
    MalformedOption {
        /// Its name.
        name: String,
        /// What is wrong with its data.
        problem: String,
    },
    /// The option source-address does not list the peer's address.
    #[error(
        "the certificate may be used from {} only, and this connection comes from {address}",
        printable(.permitted, 256)
    )]
    SourceNotPermitted {
        /// Where the connection comes from.
        address: IpAddr,
        /// The option's list.
        permitted: String,
    },
    /// The option verify-required is not met.
    #[error(
        "the certificate requires that a security key verifies its user, by PIN or fingerprint, and {}",
        if .key_type.is_security_key() {
            "this signature was made without; use the key with -O verify-required"
        } else {
            "its key is not held by one; certify a key of type sk-ssh-ed25519@openssh.com"
        }
    )]
    VerificationRequired {
        /// What kind of key the certificate is for.
        key_type: KeyType,
    },
    /// The security key was not touched.
    #[error(
        "the security key was not touched; touch it, or have the certificate issued with the \
         extension no-touch-required"
    )]
    TouchRequired,
}

impl Refusal {
    /// A stable word for the audit log.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Refusal::MalformedCertificate { .. } => "malformed_certificate",
            Refusal::NoProofOfPossession { .. } => "no_proof_of_possession",
            Refusal::UntrustedAuthority { .. } => "untrusted_authority",
            Refusal::RevokedAuthority { .. } => "revoked_authority",
            Refusal::WeakAuthoritySignature { .. } => "weak_authority_signature",
            Refusal::BadAuthoritySignature { .. } => "bad_authority_signature",
            Refusal::NotUserCertificate { .. } => "not_user_certificate",
            Refusal::RevokedKey { .. } => "revoked_key",
            Refusal::RevokedSerial { .. } => "revoked_serial",
            Refusal::RevokedKeyId { .. } => "revoked_key_id",
            Refusal::RevocationsUnknown => "revocations_unknown",
            Refusal::NotYetValid { .. } => "not_yet_valid",
            Refusal::Expired { .. } => "expired",
            Refusal::NoPrincipals => "no_principals",
            Refusal::PrincipalNotListed { .. } => "principal_not_listed",
            Refusal::UnknownLogin { .. } => "unknown_login",
            Refusal::UnknownCriticalOption { .. } => "unknown_critical_option",
            Refusal::MalformedOption { .. } => "malformed_option",
            Refusal::SourceNotPermitted { .. } => "source_not_permitted",
            Refusal::VerificationRequired { .. } => "verification_required",
            Refusal::TouchRequired => "touch_required",
        }
    }

    /// What the peer may be told: the sentence if a trusted CA's signature vouches for the certificate,
    /// nothing if a stranger could have come this far.
    ///
    /// A certificate is no secret. Tell it only to a peer that has proven to hold the private key
    /// ([`Proof::verify`](super::Proof::verify)).
    #[must_use]
    pub fn disclosed(&self) -> Option<String> {
        match self {
            Refusal::MalformedCertificate { .. }
            | Refusal::NoProofOfPossession { .. }
            | Refusal::UntrustedAuthority { .. }
            | Refusal::RevokedAuthority { .. }
            | Refusal::WeakAuthoritySignature { .. }
            | Refusal::BadAuthoritySignature { .. } => None,
            Refusal::NotUserCertificate { .. }
            | Refusal::RevokedKey { .. }
            | Refusal::RevokedSerial { .. }
            | Refusal::RevokedKeyId { .. }
            | Refusal::RevocationsUnknown
            | Refusal::NotYetValid { .. }
            | Refusal::Expired { .. }
            | Refusal::NoPrincipals
            | Refusal::PrincipalNotListed { .. }
            | Refusal::UnknownLogin { .. }
            | Refusal::UnknownCriticalOption { .. }
            | Refusal::MalformedOption { .. }
            | Refusal::SourceNotPermitted { .. }
            | Refusal::VerificationRequired { .. }
            | Refusal::TouchRequired => Some(self.to_string()),
        }
    }
}

impl From<MalformedCertificate> for Refusal {
    fn from(problem: MalformedCertificate) -> Self {
        Refusal::MalformedCertificate { problem }
    }
}

impl From<ProofError> for Refusal {
    fn from(problem: ProofError) -> Self {
        Refusal::NoProofOfPossession { problem }
    }
}

/// `text` with everything escaped that a terminal or a log reader could take for an instruction
/// (control characters, bidirectional marks, quotes' backslashes), cut to at most `max_len` bytes and
/// an ellipsis.
#[must_use]
pub fn printable(text: &str, max_len: usize) -> String {
    let mut out = String::new();
    for character in text.chars() {
        let start = out.len();
        match character {
            // Escaping these as well would only make names like o'neil harder to read.
            '\'' => out.push('\''),
            _ => out.extend(character.escape_debug()),
        }
        if out.len() > max_len {
            out.truncate(start);
            out.push('…');
            break;
        }
    }
    out
}

fn listed(principals: &[String]) -> String {
    const SHOWN: usize = 4;
    let shown: Vec<String> = principals
        .iter()
        .take(SHOWN)
        .map(|name| format!("\"{}\"", printable(name, 64)))
        .collect();
    match principals.len().saturating_sub(SHOWN) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}
