//! The rules, in their order.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::certificate::{CertificateType, UserCertificate};
use super::options::{CriticalOptions, Extensions, Permits};
use super::refusal::Refusal;
use super::revoked_keys::Revocations;
use super::signature::{SecurityKeyFlags, SignatureError};
use super::trusted_ca::TrustedUserCaKeys;

/// Who asks, from where and when.
#[derive(Clone, Copy, Debug)]
pub struct AuthRequest<'a> {
    /// RFC 4252's user name.
    pub login_name: &'a str,
    /// Where the connection comes from.
    pub source: IpAddr,
    /// The clock's reading, in seconds since the epoch.
    pub now: u64,
    /// What the user's own signature says, if a security key made it: the result of
    /// [`Proof::verify`](super::Proof::verify).
    pub security_key: Option<SecurityKeyFlags>,
}

/// What the configuration says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rules {
    /// The CAs whose certificates are accepted.
    pub trusted_user_ca_keys: TrustedUserCaKeys,
    /// What is revoked. It stays with the monitor, whose word counts: a list can be longer than a
    /// message, and the gate, which may have been taken over, need not know who is on it.
    #[serde(skip)]
    pub revocations: Revocations,
    /// Which account each login name is. A name that is not in here is nobody's; there is no default.
    pub logins: BTreeMap<String, String>,
    /// Which of a certificate's extensions count.
    pub permits: Permits,
}

/// Whether this certificate lets this request in, and to what.
///
/// It does not ask whether the peer holds the certificate's private key: that is
/// [`Proof::verify`](super::Proof::verify), whose result is part of the request.
///
/// The order matters for what may be disclosed: up to and including the CA's signature the certificate could
/// be a stranger's invention, and [`Refusal::disclosed`] says nothing. After it, the first
/// reason is the one that the user can do something about.
pub fn authorize(
    certificate: &UserCertificate,
    request: &AuthRequest<'_>,
    rules: &Rules,
) -> Result<Permissions, Refusal> {
    check_standing(certificate, request.now, rules)?;
    check_principals(certificate, request.login_name)?;
    let account = find_account(&rules.logins, request.login_name)?;
    let options = CriticalOptions::read(certificate.critical_options())?;
    let extensions = Extensions::read(certificate.extensions())?;
    check_source_address(&options, request.source)?;
    check_user_verification(&options, certificate, request)?;
    check_touch(extensions, certificate, request)?;
    Ok(Permissions {
        account,
        force_command: options.force_command,
        permits: extensions.permits.and(rules.permits),
        valid_before: certificate.valid_before(),
    })
}

/// What can change about a certificate while somebody is logged in with it: whether its CA is trusted, it
/// is not revoked and its time is not over.
pub fn check_standing(
    certificate: &UserCertificate,
    now: u64,
    rules: &Rules,
) -> Result<(), Refusal> {
    check_authority(certificate, rules)?;
    check_certificate_type(certificate)?;
    rules.revocations.check_certificate(certificate)?;
    check_validity(certificate, now)
}

/// Trust first: the signature of a CA that is not trusted is not worth computing. A CA that is revoked is
/// not trusted, so that its certificates' holders, who may have its key, learn as little.
fn check_authority(certificate: &UserCertificate, rules: &Rules) -> Result<(), Refusal> {
    let Rules {
        trusted_user_ca_keys: trusted,
        revocations,
        ..
    } = rules;
    let fingerprint = || certificate.signature_key().fingerprint();
    if !trusted.contains(certificate.signature_key()) {
        let fingerprint = fingerprint();
        return Err(Refusal::UntrustedAuthority { fingerprint });
    }
    revocations.check_authority(certificate.signature_key())?;
    match certificate.verify_signature() {
        Ok(_) => Ok(()),
        Err(SignatureError::Sha1) => Err(Refusal::WeakAuthoritySignature {
            fingerprint: fingerprint(),
            algorithm: "ssh-rsa".to_owned(),
        }),
        Err(problem) => Err(Refusal::BadAuthoritySignature {
            fingerprint: fingerprint(),
            problem,
        }),
    }
}

fn check_certificate_type(certificate: &UserCertificate) -> Result<(), Refusal> {
    match certificate.certificate_type() {
        CertificateType::User => Ok(()),
        certificate_type => Err(Refusal::NotUserCertificate { certificate_type }),
    }
}

/// "valid after <= current time < valid before". Both sentinels, 0 and 2^64-1, need no exception.
fn check_validity(certificate: &UserCertificate, now: u64) -> Result<(), Refusal> {
    let (valid_after, valid_before) = (certificate.valid_after(), certificate.valid_before());
    if now < valid_after {
        return Err(Refusal::NotYetValid { valid_after, now });
    }
    if now >= valid_before {
        return Err(Refusal::Expired { valid_before, now });
    }
    Ok(())
}

/// A principal is a name, not a pattern or a list: it is the login name, byte by byte, or it is not
/// (CVE-2026-35414 split at commas). No principals and an empty login name never match (CVE-2024-7594).
fn check_principals(certificate: &UserCertificate, login_name: &str) -> Result<(), Refusal> {
    let principals = certificate.valid_principals();
    if principals.is_empty() {
        return Err(Refusal::NoPrincipals);
    }
    if login_name.is_empty() || !principals.iter().any(|name| name == login_name) {
        return Err(Refusal::PrincipalNotListed {
            login_name: login_name.to_owned(),
            principals: principals.to_vec(),
        });
    }
    Ok(())
}

fn find_account(logins: &BTreeMap<String, String>, login_name: &str) -> Result<String, Refusal> {
    match logins.get(login_name) {
        Some(account) => Ok(account.to_owned()),
        None => Err(Refusal::UnknownLogin {
            login_name: login_name.to_owned(),
        }),
    }
}

fn check_source_address(options: &CriticalOptions, source: IpAddr) -> Result<(), Refusal> {
    match &options.source_address {
        Some(list) if !list.contains(source) => Err(Refusal::SourceNotPermitted {
            address: source,
            permitted: list.as_str().to_owned(),
        }),
        _ => Ok(()),
    }
}

/// With a key that no security key holds, verify-required cannot be met, whatever the request claims.
fn check_user_verification(
    options: &CriticalOptions,
    certificate: &UserCertificate,
    request: &AuthRequest<'_>,
) -> Result<(), Refusal> {
    let key_type = certificate.public_key().algorithm();
    let verified = key_type.is_security_key()
        && request
            .security_key
            .is_some_and(|flags| flags.user_verified);
    if options.verify_required && !verified {
        return Err(Refusal::VerificationRequired { key_type });
    }
    Ok(())
}

/// A security key that signs without a touch signs for whoever controls the user's machine
/// (CVE-2026-39831). The CA may waive it.
fn check_touch(
    extensions: Extensions,
    certificate: &UserCertificate,
    request: &AuthRequest<'_>,
) -> Result<(), Refusal> {
    let needs_touch =
        certificate.public_key().algorithm().is_security_key() && !extensions.no_touch_required;
    let touched = request.security_key.is_some_and(|flags| flags.user_present);
    if needs_touch && !touched {
        return Err(Refusal::TouchRequired);
    }
    Ok(())
}

/// Leave to act as an account. Only [`authorize`] makes one, so to hold one is to have been let in.
///
/// It says what the certificate grants *and* the configuration permits. It cannot be deserialized:
/// whoever needs one in another process authorizes there.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Permissions {
    account: String,
    force_command: Option<String>,
    permits: Permits,
    valid_before: u64,
}

impl Permissions {
    /// The account to act as.
    #[must_use]
    pub fn account(&self) -> &str {
        &self.account
    }

    /// The command to run instead of any that the user asks for: shell, exec and subsystem alike.
    #[must_use]
    pub fn force_command(&self) -> Option<&str> {
        self.force_command.as_deref()
    }

    /// What the user may have.
    #[must_use]
    pub fn permits(&self) -> Permits {
        self.permits
    }

    /// Whether the user may have terminals.
    #[must_use]
    pub fn pty(&self) -> bool {
        self.permits.pty
    }

    /// Whether the user may forward ports and sockets, either way.
    #[must_use]
    pub fn port_forwarding(&self) -> bool {
        self.permits.port_forwarding
    }

    /// Whether the user may forward an agent.
    #[must_use]
    pub fn agent_forwarding(&self) -> bool {
        self.permits.agent_forwarding
    }

    /// The first second at which the certificate is no longer valid; 2^64-1 is "forever".
    #[must_use]
    pub fn valid_before(&self) -> u64 {
        self.valid_before
    }
}
