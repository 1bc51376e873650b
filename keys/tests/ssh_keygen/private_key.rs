//! Private keys: ours and ssh-keygen's, and what is none.

use crate::reference::Folder;
use keys::file::{self, FileError};
use keys::generate::{self, KeyKind};
use keys::host_keys::{self, HOST_KEYS};
use keys::openssh::{self, KeyError};
use keys::pair;
use rand::{TryCryptoRng, TryRng};
use ssh_key::{Algorithm, EcdsaCurve, PrivateKey};
use std::convert::Infallible;
use std::fs;

const TYPES: [&[&str]; 6] = [
    &["ed25519"],
    &["rsa", "-b", "2048"],
    &["rsa", "-b", "3072"],
    &["ecdsa", "-b", "256"],
    &["ecdsa", "-b", "384"],
    &["ecdsa", "-b", "521"],
];

/// What is wrong with the private key in a text.
fn wrong(text: &str) -> KeyError {
    openssh::private_key(text)
        .map(|key| key.algorithm())
        .unwrap_err()
}

fn read(folder: &Folder, name: &str) -> Result<PrivateKey, FileError> {
    file::read_private_key(&folder.join(name))
}

#[test]
fn of_ssh_keygen_read_by_us() {
    for type_and_bits in TYPES {
        let folder = Folder::new();
        folder.ssh_key("key", type_and_bits);
        let key = read(&folder, "key").unwrap();
        assert_eq!(key.comment().as_str().unwrap(), "a comment");
        let public = file::read_public_key(&folder.join("key.pub")).unwrap();
        assert_eq!(key.public_key(), &public);
        // Written again it is the same to the byte, because this is ssh-keygen's format; but
        // for ECDSA, where ssh-key can write zeros that no mpint begins with.
        let again = openssh::private_key_text(&key).unwrap();
        assert!(*again == folder.read("key") || key.algorithm().is_ecdsa());
        assert_eq!(
            openssh::public_key_line(&public).unwrap(),
            folder.read("key.pub")
        );
    }
}

#[test]
fn of_ours_read_and_used_by_ssh_keygen() {
    let kinds = [
        (KeyKind::Ed25519, "256 ", "(ED25519)\n"),
        (KeyKind::Rsa3072, "3072 ", "(RSA)\n"),
        (KeyKind::EcdsaP256, "256 ", "(ECDSA)\n"),
    ];
    for (kind, bits, type_name) in kinds {
        let folder = Folder::new();
        pair::make_pair(&folder.join("key"), kind, "who, and where").unwrap();
        let listed = folder.ssh_keygen(&["-l", "-f", "key"]);
        assert!(
            listed.starts_with(bits) && listed.ends_with(type_name),
            "{listed}"
        );
        assert_eq!(
            folder.ssh_keygen(&["-y", "-f", "key"]),
            folder.read("key.pub")
        );
        // A signature needs every private part.
        folder.ssh_key("subject", &["ed25519"]);
        folder.ssh_keygen(&["-q", "-s", "key", "-I", "id", "-n", "claw", "subject.pub"]);
        folder.ssh_keygen(&["-L", "-f", "subject-cert.pub"]);
        // Setting and removing a passphrase rewrites the file, which stays what it is.
        folder.ssh_keygen(&["-q", "-p", "-N", "secret", "-f", "key"]);
        assert_eq!(wrong(&folder.read("key")), KeyError::Encrypted);
        folder.ssh_keygen(&["-q", "-p", "-P", "secret", "-N", "", "-f", "key"]);
        let again = read(&folder, "key").unwrap();
        assert_eq!(
            openssh::public_key_line(again.public_key()).unwrap(),
            folder.read("key.pub")
        );
    }
}

/// Draws scalars that begin with so many zeros: they are drawn in words from the last to the
/// first, or as bytes, so that they get the same at their end.
struct Rigged(usize);

impl TryRng for Rigged {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(1)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(1)
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        bytes.fill(1);
        let length = bytes.len();
        bytes[..self.0].fill(0);
        bytes[length - self.0..].fill(0);
        Ok(())
    }
}

impl TryCryptoRng for Rigged {}

#[test]
fn of_ssh_keygen_with_a_short_scalar() {
    let curves = [
        EcdsaCurve::NistP256,
        EcdsaCurve::NistP384,
        EcdsaCurve::NistP521,
    ];
    for (curve, zeros) in curves
        .iter()
        .flat_map(|curve| [1, 2, 5, 9].map(|zeros| (*curve, zeros)))
    {
        let mut random = Rigged(zeros);
        let key = PrivateKey::random(&mut random, Algorithm::Ecdsa { curve }).unwrap();
        let scalar = key.key_data().ecdsa().unwrap().private_key_bytes();
        assert!(
            scalar[..zeros].iter().all(|byte| *byte == 0),
            "{curve} {scalar:?}"
        );
        let folder = Folder::new();
        folder.write_private("key", &*openssh::private_key_text(&key).unwrap());
        let public = folder.ssh_keygen(&["-y", "-f", "key"]);
        // ssh-keygen writes it its own way.
        folder.ssh_keygen(&["-q", "-p", "-N", "", "-C", "a comment", "-f", "key"]);
        let again = read(&folder, "key").unwrap();
        assert_eq!(again.key_data(), key.key_data(), "{curve} {zeros}");
        assert_eq!(
            openssh::public_key_line(again.public_key()).unwrap(),
            public
        );
    }
}

#[test]
fn no_two_are_alike() {
    for kind in [KeyKind::Ed25519, KeyKind::Rsa3072, KeyKind::EcdsaP256] {
        let [one, other] = [(); 2].map(|()| generate::generate(kind, "").unwrap());
        assert_ne!(one.public_key().key_data(), other.public_key().key_data());
    }
}

#[test]
fn in_other_formats_and_the_remedy() {
    let formats = [
        ("PEM", "rsa", "RSA PRIVATE KEY"),
        ("PEM", "ecdsa", "EC PRIVATE KEY"),
        ("PKCS8", "rsa", "PRIVATE KEY"),
        ("PKCS8", "ecdsa", "PRIVATE KEY"),
    ];
    for (format, key_type, label) in formats {
        let folder = Folder::new();
        folder.ssh_keygen(&["-q", "-m", format, "-t", key_type, "-N", "", "-f", "key"]);
        let path = folder.join("key");
        let sentence = read(&folder, "key").unwrap_err().to_string();
        let path = path.display();
        assert_eq!(
            sentence,
            format!(
                "{path} holds \"{label}\" in PEM, and not an \"OPENSSH PRIVATE KEY\": run \
                 `ssh-keygen -p -N '' -f {path}` to convert it"
            )
        );
        folder.ssh_keygen(&["-q", "-p", "-N", "", "-f", "key"]);
        let key = read(&folder, "key").unwrap();
        let public = file::read_public_key(&folder.join("key.pub")).unwrap();
        assert_eq!(key.public_key().key_data(), public.key_data());
    }
}

#[test]
fn in_other_formats_with_a_passphrase() {
    for (format, label) in [
        ("PEM", "RSA PRIVATE KEY"),
        ("PKCS8", "ENCRYPTED PRIVATE KEY"),
    ] {
        let folder = Folder::new();
        folder.ssh_keygen(&["-q", "-m", format, "-t", "rsa", "-N", "secret", "-f", "key"]);
        assert_eq!(
            wrong(&folder.read("key")),
            KeyError::OtherPem(label.to_owned())
        );
    }
}

#[test]
fn something_else_in_its_place() {
    let folder = Folder::new();
    folder.ssh_key("key", &["ed25519"]);
    folder.ssh_keygen(&["-q", "-s", "key", "-I", "id", "key.pub"]);
    assert_eq!(wrong(&folder.read("key.pub")), KeyError::IsPublic);
    assert_eq!(wrong(&folder.read("key-cert.pub")), KeyError::IsCertificate);
    assert_eq!(wrong(""), KeyError::NotAKey);
    assert_eq!(wrong("garbage"), KeyError::NotAKey);
    let certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert_eq!(
        wrong(certificate),
        KeyError::OtherPem("CERTIFICATE".to_owned())
    );
}

#[test]
fn cut_off_anywhere() {
    let folder = Folder::new();
    folder.ssh_key("key", &["ed25519"]);
    let text = folder.read("key");
    let end = text.rfind("-----END").unwrap();
    for length in 0..end {
        wrong(&text[..length]);
    }
    // With its last line, too.
    let body = text.find('\n').unwrap() + 1;
    for length in body..end - 1 {
        wrong(&format!("{}\n{}", &text[..length], &text[end..]));
    }
}

#[test]
fn with_windows_line_ends() {
    let folder = Folder::new();
    folder.ssh_key("key", &["ed25519"]);
    let key = openssh::private_key(&folder.read("key").replace('\n', "\r\n")).unwrap();
    assert_eq!(key, read(&folder, "key").unwrap());
}

#[test]
fn too_large() {
    let folder = Folder::new();
    folder.write_private("key", vec![b'x'; 1024 * 1024 + 1]);
    let error = read(&folder, "key").unwrap_err();
    assert!(matches!(error, FileError::TooLarge(_)), "{error}");
    folder.write_private("key", vec![b'x'; 1024 * 1024]);
    let error = read(&folder, "key").unwrap_err();
    assert!(matches!(error, FileError::Key(..)), "{error}");
}

#[test]
fn host_keys_of_a_server() {
    let folder = Folder::new();
    let names = HOST_KEYS.map(|(name, _)| name);
    let made = host_keys::ensure_host_keys(folder.path(), "bastion").unwrap();
    assert_eq!(made.len(), 3);
    for (host_key, name) in made.iter().zip(names) {
        assert!(host_key.made);
        assert_eq!(host_key.path, folder.join(name));
        assert_eq!(folder.mode(name), 0o600);
        assert_eq!(
            folder.ssh_keygen(&["-y", "-f", name]),
            folder.read(&format!("{name}.pub"))
        );
    }
    folder.remove("ssh_host_rsa_key");
    folder.remove("ssh_host_rsa_key.pub");
    let again = host_keys::ensure_host_keys(folder.path(), "bastion").unwrap();
    let same = |index: usize| !again[index].made && again[index].key == made[index].key;
    assert!(same(0) && !same(1) && again[1].made && same(2));
}

#[test]
fn host_keys_in_a_folder_that_is_only_read() {
    let folder = Folder::new();
    for host_key in host_keys::ensure_host_keys(folder.path(), "bastion").unwrap() {
        fs::remove_file(pair::public_path(&host_key.path)).unwrap();
    }
    let names = folder.names();
    let modified = || fs::metadata(folder.path()).unwrap().modified().unwrap();
    let before = modified();
    let kept = host_keys::ensure_host_keys(folder.path(), "bastion").unwrap();
    assert!(kept.iter().all(|host_key| !host_key.made));
    assert_eq!((folder.names(), modified()), (names, before));
}

#[test]
fn new_file_over_an_old_one() {
    let folder = Folder::new();
    let path = folder.write("key", "old");
    let error = file::write_new(&path, "new", file::Mode::Private, file::Owner::Us).unwrap_err();
    assert!(matches!(error, FileError::Exists(_)), "{error}");
    assert_eq!(folder.read("key"), "old");
    assert_eq!(folder.names(), ["key"]);
}
