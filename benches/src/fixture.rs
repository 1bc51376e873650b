//! Keys and a certificate that both servers and all clients use.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use keys::generate::{KeyKind, generate};
use keys::{certificate, host_keys, openssh, pomerium};

/// A folder with host keys, a CA, a user's key and its certificate.
pub(crate) struct Fixture {
    folder: tempfile::TempDir,
    /// The login name: the account that runs this, which is the certificate's one principal.
    pub(crate) login: String,
    /// The account's shell.
    pub(crate) shell: PathBuf,
}

impl Fixture {
    pub(crate) fn new() -> anyhow::Result<Self> {
        // Beside this machine's memory where it has such a place: a disk is not what is measured.
        let shared = Path::new("/dev/shm");
        let folder = match shared.is_dir() {
            true => tempfile::tempdir_in(shared)?,
            false => tempfile::tempdir()?,
        };
        let uid = nix::unistd::Uid::effective();
        let user = nix::unistd::User::from_uid(uid)?
            .with_context(|| format!("there is no account of uid {uid}"))?;
        let fixture = Self {
            folder,
            login: user.name,
            shell: user.shell,
        };
        fixture.make_keys()?;
        Ok(fixture)
    }

    fn make_keys(&self) -> anyhow::Result<()> {
        fs::create_dir(self.host_keys())?;
        fs::set_permissions(self.host_keys(), fs::Permissions::from_mode(0o700))?;
        host_keys::ensure_host_keys(&self.host_keys(), "benches")?;
        let ca = generate(KeyKind::Ed25519, "ca")?;
        let user = generate(KeyKind::Ed25519, "user")?;
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)?
            .as_secs();
        let mut spec = pomerium::pomerium_spec(&self.login, now);
        spec.valid_before = now + 24 * 60 * 60;
        let signed = certificate::sign(&spec, user.public_key(), &ca)?;
        fs::write(
            self.trusted_ca(),
            openssh::public_key_line(ca.public_key())?,
        )?;
        fs::write(
            self.user_key(),
            openssh::private_key_text(&user)?.as_bytes(),
        )?;
        fs::set_permissions(self.user_key(), fs::Permissions::from_mode(0o600))?;
        fs::write(
            self.certificate(),
            certificate::to_openssh(&signed, "user")? + "\n",
        )?;
        Ok(())
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn host_keys(&self) -> PathBuf {
        self.folder().join("state")
    }

    pub(crate) fn trusted_ca(&self) -> PathBuf {
        self.folder().join("trusted_ca.pub")
    }

    pub(crate) fn user_key(&self) -> PathBuf {
        self.folder().join("user")
    }

    pub(crate) fn certificate(&self) -> PathBuf {
        self.folder().join("user-cert.pub")
    }
}
