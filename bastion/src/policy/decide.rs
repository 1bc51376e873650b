//! From a user's request, as it came, to the verdict: what the gate does first and the monitor again.

use std::net::IpAddr;

use super::authorize::{AuthRequest, Permissions, Rules, authorize};
use super::certificate::UserCertificate;
use super::proof::Proof;
use super::refusal::Refusal;

/// A user's request to log in, nothing of it believed.
#[derive(Clone, Copy, Debug)]
pub struct LoginRequest<'a> {
    /// The login name asked for.
    pub login_name: &'a str,
    /// Where the connection comes from.
    pub source: IpAddr,
    /// The certificate's bytes.
    pub certificate: &'a [u8],
    /// That the client holds its key.
    pub proof: &'a Proof,
}

/// The verdict, and the certificate that it is about, if one could be read.
#[derive(Debug)]
pub struct Decision {
    /// The certificate.
    pub certificate: Option<UserCertificate>,
    /// Let in, or why not.
    pub verdict: Result<Permissions, Refusal>,
}

/// Decides on a request at the time `now`, in seconds since the epoch.
pub fn decide(request: &LoginRequest<'_>, now: u64, rules: &Rules) -> Decision {
    decide_on_offered(None, request, now, rules)
}

/// As [`decide`], for one who has seen a certificate before: if it is this one, byte for byte, it
/// is not parsed again, nor its CA's signature verified again. All else is decided anew.
pub fn decide_on_offered(
    offered: Option<UserCertificate>,
    request: &LoginRequest<'_>,
    now: u64,
    rules: &Rules,
) -> Decision {
    let offered = offered.filter(|offered| offered.as_bytes() == request.certificate);
    match offered.map_or_else(|| UserCertificate::parse(request.certificate), Ok) {
        Ok(certificate) => Decision {
            verdict: judge(&certificate, request, now, rules),
            certificate: Some(certificate),
        },
        Err(problem) => Decision {
            certificate: None,
            verdict: Err(problem.into()),
        },
    }
}

fn judge(
    certificate: &UserCertificate,
    request: &LoginRequest<'_>,
    now: u64,
    rules: &Rules,
) -> Result<Permissions, Refusal> {
    let security_key = request.proof.verify(certificate, request.login_name)?;
    let LoginRequest {
        login_name, source, ..
    } = *request;
    authorize(
        certificate,
        &AuthRequest {
            login_name,
            source,
            now,
            security_key,
        },
        rules,
    )
}
