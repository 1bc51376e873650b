//! Keys and certificates, in files as ssh and bastion want them.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use keys::certificate::{CertificateSpec, sign, to_openssh};
use keys::generate::{KeyKind, generate};
use keys::pomerium::pomerium_spec;
use ssh_key::{LineEnding, PrivateKey};
use tempfile::TempDir;

use super::now;

/// A CA that the server of this folder trusts.
pub(super) fn new_ca(folder: &TempDir) -> PrivateKey {
    let ca = generate(KeyKind::Ed25519, "test CA").unwrap();
    let public = ca.public_key().to_openssh().unwrap();
    fs::write(folder.path().join("ca.pub"), format!("{public}\n")).unwrap();
    ca
}

/// Host keys for a test server: made once for all of a run, since RSA takes its time.
pub(super) fn lay_down_host_keys(state: &Path) {
    static ONCE: std::sync::OnceLock<Vec<(String, String)>> = std::sync::OnceLock::new();
    let keys = ONCE.get_or_init(|| {
        let kinds = [
            ("ed25519", KeyKind::Ed25519),
            ("ecdsa", KeyKind::EcdsaP256),
            ("rsa", KeyKind::Rsa3072),
        ];
        kinds
            .map(|(name, kind)| {
                let key = generate(kind, "test").unwrap();
                (
                    format!("ssh_host_{name}_key"),
                    key.to_openssh(LineEnding::LF).unwrap().to_string(),
                )
            })
            .to_vec()
    });
    fs::create_dir(state).unwrap();
    fs::set_permissions(state, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    for (name, text) in keys {
        write_private(&state.join(name), text);
        let public = PrivateKey::from_openssh(text)
            .unwrap()
            .public_key()
            .to_openssh()
            .unwrap();
        fs::write(state.join(format!("{name}.pub")), format!("{public}\n")).unwrap();
    }
}

pub(crate) fn write_private(path: &Path, text: &str) {
    use std::os::unix::fs::OpenOptionsExt;
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

/// A user's key and certificate, in files as ssh wants them.
pub(crate) struct User {
    folder: TempDir,
    pub(crate) private: PrivateKey,
    pub(crate) certificate: Vec<u8>,
}

impl User {
    pub(crate) fn new(
        kind: KeyKind,
        ca: &PrivateKey,
        edit: impl FnOnce(&mut CertificateSpec),
    ) -> Self {
        let private = generate(kind, "test user").unwrap();
        let mut spec = pomerium_spec("claw", now());
        edit(&mut spec);
        let certificate = sign(&spec, private.public_key(), ca).unwrap();
        Self::with_certificate(private, certificate)
    }

    pub(crate) fn with_certificate(private: PrivateKey, certificate: Vec<u8>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        write_private(
            &folder.path().join("key"),
            &private.to_openssh(LineEnding::LF).unwrap(),
        );
        fs::write(
            folder.path().join("key-cert.pub"),
            to_openssh(&certificate, "test").unwrap(),
        )
        .unwrap();
        Self {
            folder,
            private,
            certificate,
        }
    }

    pub(crate) fn key(&self) -> PathBuf {
        self.folder.path().join("key")
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }
}
