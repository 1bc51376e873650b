//! An sshd of our own, with fresh keys, on a free port, for the user who runs the tests.

use ssh_key::{Algorithm, EcdsaCurve, LineEnding, PrivateKey};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tempfile::TempDir;

pub(crate) struct Sshd {
    pub(crate) folder: TempDir,
    pub(crate) address: String,
    pub(crate) user: String,
    pub(crate) ca: Arc<PrivateKey>,
    process: Child,
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.process.kill().unwrap_or_default();
        self.process.wait().map(drop).unwrap_or_default();
    }
}

pub(crate) fn generate(algorithm: Algorithm) -> PrivateKey {
    PrivateKey::random(&mut rand::rng(), algorithm).unwrap()
}

/// One set for all tests: making RSA keys takes its time.
pub(crate) fn host_keys() -> Vec<PrivateKey> {
    static KEYS: LazyLock<Vec<PrivateKey>> = LazyLock::new(|| {
        let ecdsa = Algorithm::Ecdsa {
            curve: EcdsaCurve::NistP256,
        };
        [Algorithm::Ed25519, Algorithm::Rsa { hash: None }, ecdsa]
            .map(generate)
            .to_vec()
    });
    KEYS.clone()
}

/// Bytes that do not compress or repeat.
pub(crate) fn noise(len: u32) -> Vec<u8> {
    (0..len).map(|n| (n.wrapping_mul(n) >> 7) as u8).collect()
}

/// Where sshd is, or `None` after saying loudly that the test does nothing.
fn sshd_path() -> Option<PathBuf> {
    let paths = ["/usr/sbin/sshd", "/usr/local/sbin/sshd", "/usr/bin/sshd"];
    let found = paths
        .map(PathBuf::from)
        .into_iter()
        .find(|path| path.exists());
    if found.is_none() {
        eprintln!("SKIPPED: no sshd on this machine; apt-get install openssh-server");
    }
    found
}

fn write(folder: &Path, name: &str, key: &PrivateKey) -> PathBuf {
    let path = folder.join(name);
    key.write_openssh_file(&path, LineEnding::LF).unwrap();
    path
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

impl Sshd {
    pub(crate) fn start() -> Option<Self> {
        let sshd = sshd_path()?;
        let folder = tempfile::tempdir().unwrap();
        let ca = generate(Algorithm::Ed25519);
        std::fs::write(
            folder.path().join("ca.pub"),
            ca.public_key().to_openssh().unwrap(),
        )
        .unwrap();
        let mut config = format!(
            "ListenAddress 127.0.0.1\nPidFile none\nUsePAM no\nStrictModes no\n\
             PermitRootLogin prohibit-password\nTrustedUserCAKeys {}\nMaxSessions 64\n\
             Subsystem sftp internal-sftp\nBanner {}\n",
            folder.path().join("ca.pub").display(),
            folder.path().join("banner").display(),
        );
        std::fs::write(folder.path().join("banner"), "welcome to the tests\n").unwrap();
        for (n, key) in host_keys().iter().enumerate() {
            let path = write(folder.path(), &format!("host{n}"), key);
            config.push_str(&format!("HostKey {}\n", path.display()));
        }
        std::fs::write(folder.path().join("sshd_config"), config).unwrap();
        // Root's sshd wants its empty folder; others cannot make it and do not need it.
        std::fs::create_dir_all("/run/sshd").unwrap_or_default();
        let port = free_port();
        let process = Command::new(sshd)
            .args(["-D", "-e", "-p", &port.to_string(), "-f"])
            .arg(folder.path().join("sshd_config"))
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let address = format!("127.0.0.1:{port}");
        let deadline = Instant::now() + Duration::from_secs(20);
        while std::net::TcpStream::connect(&address).is_err() {
            assert!(Instant::now() < deadline, "sshd does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        let user = Command::new("id").arg("-un").output().unwrap().stdout;
        let user = String::from_utf8(user).unwrap().trim().to_owned();
        Some(Self {
            folder,
            address,
            user,
            ca: Arc::new(ca),
            process,
        })
    }

    /// A key and the certificate that Pomerium would make for it.
    pub(crate) fn certificate(&self, algorithm: Algorithm) -> (PrivateKey, Vec<u8>) {
        let key = generate(algorithm);
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_secs();
        let certificate =
            keys::pomerium::pomerium_certificate(&self.user, key.public_key(), &self.ca, now);
        (key, certificate.unwrap())
    }
}
