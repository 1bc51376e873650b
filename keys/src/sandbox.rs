//! The keys between OpenClaw and the sandbox that its subagents' tools run in: a CA of its own,
//! never the Pomerium User CA, so that neither opens the other's door.
//!
//! In the data folder, each part for one container:
//! - `sandbox/ca/sandbox_ca_key.pub`: whom the sandbox's bastion trusts
//! - `sandbox/server/`: its host keys
//! - `sandbox/client/`: OpenClaw's key and certificate, and the host keys to expect

use crate::certificate::{
    self, CertificateError, CertificateKind, CertificateOption, CertificateSpec,
};
use crate::file::{self, FileError, Mode, Owner};
use crate::generate::KeyKind;
use crate::host_keys::{self, HOST_KEYS};
use crate::inspect::{self, Inspected};
use crate::pair::{self, PairError};
use crate::trusted_ca::{self, InstallError, Others};
use crate::validity::{ALWAYS, FOREVER};
use ssh_key::{PrivateKey, PublicKey};
use std::path::{Path, PathBuf};

/// The CA's private key, beside the Pomerium User CA's.
pub const CA_KEY: &str = "sandbox_ca_key";

/// The account of the sandbox, which is the certificate's only principal.
pub const ACCOUNT: &str = "sandbox";

/// What OpenClaw calls the sandbox, as in its `known_hosts`.
pub const HOST: &str = "[sandbox]:2222";

const CA_PUBLIC: &str = "sandbox/ca/sandbox_ca_key.pub";
const SERVER: &str = "sandbox/server";
const CLIENT: &str = "sandbox/client";
const CLIENT_KEY: &str = "id_ed25519";

/// Why the sandbox has not all its keys.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// A pair of keys.
    #[error(transparent)]
    Pair(#[from] PairError),
    /// A file.
    #[error(transparent)]
    File(#[from] FileError),
    /// The CA's public key.
    #[error(transparent)]
    Install(#[from] InstallError),
    /// The certificate could not be made.
    #[error("the certificate of the sandbox: {0}")]
    Certificate(#[from] CertificateError),
}

/// Makes what is missing of the sandbox's keys: the CA in `folder`, the rest under `data`. Says
/// of each file whether it was made. It is safe to run twice, and has nothing to do then.
pub fn ensure(folder: &Path, data: &Path) -> Result<Vec<(PathBuf, bool)>, SandboxError> {
    let ca = pair::ensure_pair(
        &folder.join(CA_KEY),
        KeyKind::Ed25519,
        "OpenClaw sandbox CA",
    )?;
    let installed = data.join(CA_PUBLIC);
    let install = |others| trusted_ca::install(&installed, ca.key.public_key(), others);
    let trusted = match install(Others::Keep) {
        // Nobody but us is certified by it: a CA that is gone is replaced, with all that it certified.
        Err(InstallError::OtherCa { .. }) => install(Others::Replace),
        done => done,
    }?;
    let mut report = vec![
        (ca.path, ca.made),
        (
            installed.clone(),
            !matches!(trusted, trusted_ca::Installed::Kept(_)),
        ),
    ];

    let server = data.join(SERVER);
    file::create_folder(&server)?;
    let host_keys = HOST_KEYS
        .into_iter()
        .map(|kind| host_keys::ensure_host_key_pair(&server, kind, "OpenClaw sandbox"))
        .collect::<Result<Vec<_>, _>>()?;
    let known_hosts = known_hosts(host_keys.iter().map(|file| &file.key))?;
    report.extend(host_keys.into_iter().map(|file| (file.path, file.made)));

    let client = data.join(CLIENT);
    file::create_folder(&client)?;
    let path = client.join(CLIENT_KEY);
    let key = pair::ensure_pair(&path, KeyKind::Ed25519, "openclaw-gateway")?;
    report.push((key.path, key.made));
    report.push(ensure_certificate(&path, key.key.public_key(), &ca.key)?);
    report.push(ensure_text(client.join("known_hosts"), &known_hosts)?);
    Ok(report)
}

/// A certificate of this CA's for this key, unless it is there.
fn ensure_certificate(
    key: &Path,
    subject: &PublicKey,
    ca: &PrivateKey,
) -> Result<(PathBuf, bool), SandboxError> {
    let path = file::with_suffix(key, "-cert.pub");
    if is_certificate(&path, subject, ca.public_key())? {
        return Ok((path, false));
    }
    let blob = certificate::sign(&spec(), subject, ca)?;
    let line = certificate::to_openssh(&blob, "openclaw-gateway")? + "\n";
    file::replace(&path, &line, Mode::Public, Owner::Folder)?;
    Ok((path, true))
}

/// The right to run programs as the sandbox's account, with or without a terminal, and no other:
/// nothing can be forwarded, in no direction. It does not expire: whoever could renew it would
/// hold the CA's key all the time. To end it, make the keys of the sandbox anew.
fn spec() -> CertificateSpec {
    CertificateSpec {
        kind: CertificateKind::User,
        serial: 1,
        key_id: "openclaw-gateway".to_owned(),
        principals: vec![ACCOUNT.to_owned()],
        valid_after: ALWAYS,
        valid_before: FOREVER,
        critical_options: Vec::new(),
        extensions: vec![CertificateOption::flag("permit-pty")],
    }
}

fn is_certificate(path: &Path, subject: &PublicKey, ca: &PublicKey) -> Result<bool, FileError> {
    let text = match file::read_text(path) {
        Ok(text) => text,
        Err(FileError::NotFound(_)) => return Ok(false),
        Err(error) => return Err(error),
    };
    let entries = inspect::inspect(&text).unwrap_or_default();
    Ok(match entries.as_slice() {
        [(_, entry @ Inspected::Certificate(certificate))] => {
            certificate.subject == *subject.key_data()
                && certificate.signature_key == *ca.key_data()
                && certificate.spec == spec()
                && entry.verify().is_ok()
        }
        _ => false,
    })
}

fn ensure_text(path: PathBuf, text: &str) -> Result<(PathBuf, bool), FileError> {
    if file::read_text(&path).is_ok_and(|there| there == text) {
        return Ok((path, false));
    }
    file::replace(&path, text, Mode::Public, Owner::Folder)?;
    Ok((path, true))
}

/// One line for each host key, comments left out.
fn known_hosts<'a>(keys: impl Iterator<Item = &'a PrivateKey>) -> Result<String, SandboxError> {
    let mut text = String::new();
    for key in keys {
        let mut public = key.public_key().clone();
        public.set_comment("");
        let line = public.to_openssh().map_err(CertificateError::from)?;
        text += &format!("{HOST} {}\n", line.trim_end());
    }
    Ok(text)
}
