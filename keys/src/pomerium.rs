//! What Pomerium needs and makes: its set of keys, its SSH settings, and the certificate that
//! it signs for each connection to bastion.

use crate::certificate::{
    self, CertificateError, CertificateKind, CertificateOption, CertificateSpec,
};
use crate::file;
use crate::generate::KeyKind;
use crate::host_keys::{self, HOST_KEYS};
use crate::pair::{self, KeyPair, PairError};
use ssh_key::{Algorithm, PrivateKey, PublicKey};
use std::path::Path;
use zeroize::Zeroizing;

/// The file of the key that signs the users' certificates.
pub const USER_CA_KEY: &str = "pomerium_user_ca_key";

/// Where Pomerium listens for SSH in the guide.
pub const SSH_ADDRESS: &str = "0.0.0.0:2200";

/// The comments of new keys.
const USER_CA_COMMENT: &str = "Pomerium User CA";
const HOST_COMMENT: &str = "Pomerium SSH host";

/// The extensions of every certificate of Pomerium, in the order of their names as the format
/// demands. They are also all that OpenSSH's ssh-keygen puts into a user certificate.
pub const EXTENSIONS: [&str; 5] = [
    "permit-X11-forwarding",
    "permit-agent-forwarding",
    "permit-port-forwarding",
    "permit-pty",
    "permit-user-rc",
];

/// The keys that are pasted into Pomerium, as they are in their files.
pub struct PomeriumKeys {
    /// In the order of [`HOST_KEYS`].
    pub host_keys: Vec<Zeroizing<String>>,
    /// The User CA's private key.
    pub user_ca_key: Zeroizing<String>,
}

/// Makes, completes or keeps Pomerium's pairs of keys in `folder`, and hands each to `done` as
/// soon as it is there: the User CA first, then the host keys.
pub fn ensure_pomerium_keys(folder: &Path, mut done: impl FnMut(KeyPair)) -> Result<(), PairError> {
    let path = folder.join(USER_CA_KEY);
    let ca = pair::ensure_pair(&path, KeyKind::Ed25519, USER_CA_COMMENT)?;
    check_ca_kind(&path, &ca.key)?;
    done(ca);
    for host_key in HOST_KEYS {
        done(host_keys::ensure_host_key_pair(
            folder,
            host_key,
            HOST_COMMENT,
        )?);
    }
    Ok(())
}

/// Reads what [`ensure_pomerium_keys`] made.
pub fn read_pomerium_keys(folder: &Path) -> Result<PomeriumKeys, PairError> {
    let read_host_key = |(name, kind): (&str, KeyKind)| {
        let path = folder.join(name);
        let (key, text) = file::read_private_key_and_text(&path)?;
        host_keys::check_kind(&path, kind, &key)?;
        Ok(text)
    };
    let host_keys = HOST_KEYS.into_iter().map(read_host_key);
    let host_keys = host_keys.collect::<Result<_, PairError>>()?;
    let path = folder.join(USER_CA_KEY);
    let (key, user_ca_key) = file::read_private_key_and_text(&path)?;
    check_ca_kind(&path, &key)?;
    Ok(PomeriumKeys {
        host_keys,
        user_ca_key,
    })
}

/// The certificate that Pomerium mints for a connection to an upstream SSH server, signed with
/// the User CA's key. The subject is a fresh key of Pomerium's; `now` is in seconds since 1970.
///
/// Nothing in it identifies the human: no key id, and a constant serial.
pub fn pomerium_certificate(
    login_name: &str,
    subject: &PublicKey,
    ca: &PrivateKey,
    now: u64,
) -> Result<Vec<u8>, CertificateError> {
    certificate::sign(&pomerium_spec(login_name, now), subject, ca)
}

/// What [`pomerium_certificate`] says, to be changed by those who need it otherwise.
#[must_use]
pub fn pomerium_spec(login_name: &str, now: u64) -> CertificateSpec {
    CertificateSpec {
        kind: CertificateKind::User,
        serial: 1,
        key_id: String::new(),
        principals: vec![login_name.to_owned()],
        valid_after: now.saturating_sub(60),
        valid_before: now.saturating_add(60 * 60),
        critical_options: Vec::new(),
        extensions: EXTENSIONS.map(CertificateOption::flag).into(),
    }
}

/// The types that Pomerium signs with and bastion accepts.
fn check_ca_kind(path: &Path, key: &PrivateKey) -> Result<(), PairError> {
    match key.algorithm() {
        Algorithm::Ed25519 | Algorithm::Ecdsa { .. } | Algorithm::Rsa { .. } => Ok(()),
        found => Err(PairError::WrongKind {
            path: path.to_owned(),
            found,
        }),
    }
}
