//! The CAs whose word counts: the file that sshd_config calls TrustedUserCAKeys.

use serde::{Deserialize, Serialize};
use ssh_key::encoding::base64::{Base64, Encoding};

use keys::openssh::content_lines;

use super::public_key::{KeyType, MalformedKey, PublicKey, names_a_certificate};
use super::refusal::printable;

/// The keys of the CAs whose certificates are accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<PublicKey>", into = "Vec<PublicKey>")]
pub struct TrustedUserCaKeys {
    keys: Vec<PublicKey>,
}

/// Why a text is not a list of CA keys. The sentences name what to do; none quotes the text, which may
/// be a private key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrustedUserCaKeysError {
    /// There is no key.
    #[error(
        "{origin} holds no CA key, so nobody could log in; \
         put the Pomerium User CA's public key in it, one line as in pomerium_user_ca_key.pub"
    )]
    Empty {
        /// Where the text is from.
        origin: String,
    },
    /// A line is not a CA key.
    #[error("{origin}, line {line}: {problem}")]
    Line {
        /// Where the text is from.
        origin: String,
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        problem: NotACaKey,
    },
}

/// Why a line of a text, or a key, is not a CA key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotACaKey {
    /// A private key, which must never come here.
    #[error(
        "this is a private key; put the CA's public key here (the file ending in .pub, or what \
         ssh-keygen -y prints), and keep the private key where only Pomerium reads it"
    )]
    PrivateKey,
    /// A certificate, which cannot be an authority.
    #[error("this is a certificate, which cannot be a CA; put the CA's plain public key here")]
    Certificate,
    /// Options before the key, which have no meaning here.
    #[error(
        "the line does not start with a key type (ssh-ed25519, ecdsa-sha2-nistp256, ssh-rsa …); \
         remove options such as cert-authority before it"
    )]
    NoKeyType,
    /// The key is missing, is cut off or has been edited.
    #[error(
        "the key after \"{}\" is not complete base64; copy the line again, whole",
        printable(.name, 64)
    )]
    Base64 {
        /// The type that the line starts with.
        name: String,
    },
    /// The line says one type and the key is of another.
    #[error(
        "the line says \"{}\" and its key is of type {actual}; copy the line again, whole",
        printable(.name, 64)
    )]
    TypeMismatch {
        /// The type that the line starts with.
        name: String,
        /// The type of the key.
        actual: KeyType,
    },
    /// The key is not acceptable.
    #[error("the key is not accepted: {0}")]
    Malformed(#[source] MalformedKey),
    /// A security key, which would have to be touched for each certificate.
    #[error("{key_type} keys are not accepted as a CA; use Ed25519, ECDSA or RSA")]
    SecurityKey {
        /// The key's type.
        key_type: KeyType,
    },
}

impl TrustedUserCaKeys {
    /// Parses lines of `type base64 [comment]`, as in a `.pub` file; empty lines and lines that start
    /// with `#` are skipped. `origin` names the text in errors.
    ///
    /// One bad line spoils the file: an administrator who meant to trust two CAs should hear about it.
    pub fn parse(text: &str, origin: &str) -> Result<Self, TrustedUserCaKeysError> {
        let mut keys: Vec<PublicKey> = Vec::new();
        for (number, line) in content_lines(text) {
            let key = parse_line(line).map_err(|problem| TrustedUserCaKeysError::Line {
                origin: origin.to_owned(),
                line: number,
                problem,
            })?;
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        if keys.is_empty() {
            let origin = origin.to_owned();
            return Err(TrustedUserCaKeysError::Empty { origin });
        }
        Ok(Self { keys })
    }

    /// No CA at all: what is left to trust while the file is missing or broken.
    #[must_use]
    pub fn nobody() -> Self {
        Self { keys: Vec::new() }
    }

    /// Whether this very key, byte by byte, is one of them.
    #[must_use]
    pub fn contains(&self, key: &PublicKey) -> bool {
        self.keys.contains(key)
    }

    /// The keys, in the order of the file, each once.
    pub fn iter(&self) -> impl Iterator<Item = &PublicKey> {
        self.keys.iter()
    }

    /// Their fingerprints, as `ssh-keygen -l` prints them.
    pub fn fingerprints(&self) -> impl Iterator<Item = String> {
        self.iter().map(PublicKey::fingerprint)
    }
}

impl TryFrom<Vec<PublicKey>> for TrustedUserCaKeys {
    type Error = NotACaKey;

    fn try_from(keys: Vec<PublicKey>) -> Result<Self, NotACaKey> {
        keys.iter().try_for_each(check_kind)?;
        Ok(Self { keys })
    }
}

impl From<TrustedUserCaKeys> for Vec<PublicKey> {
    fn from(keys: TrustedUserCaKeys) -> Self {
        keys.keys
    }
}

fn parse_line(line: &str) -> Result<PublicKey, NotACaKey> {
    let is_pem = line.starts_with("-----BEGIN ") && line.contains("PRIVATE KEY-----");
    if is_pem || line.starts_with("PuTTY-User-Key-File") {
        return Err(NotACaKey::PrivateKey);
    }
    let mut words = line.split_ascii_whitespace();
    let name = words.next().unwrap_or_default();
    if names_a_certificate(name) {
        return Err(NotACaKey::Certificate);
    }
    if !looks_like_a_key_type(name) {
        return Err(NotACaKey::NoKeyType);
    }
    let name = name.to_owned();
    let Some(Ok(bytes)) = words.next().map(Base64::decode_vec) else {
        return Err(NotACaKey::Base64 { name });
    };
    let key = PublicKey::from_bytes(&bytes).map_err(|problem| match problem {
        MalformedKey::Certificate { .. } => NotACaKey::Certificate,
        problem => NotACaKey::Malformed(problem),
    })?;
    let actual = key.algorithm();
    if actual.name() != name {
        return Err(NotACaKey::TypeMismatch { name, actual });
    }
    check_kind(&key)?;
    Ok(key)
}

fn check_kind(key: &PublicKey) -> Result<(), NotACaKey> {
    let key_type = key.algorithm();
    if key_type.is_security_key() {
        return Err(NotACaKey::SecurityKey { key_type });
    }
    Ok(())
}

/// Tells a key that is not supported (`ssh-dss`) from a line that starts with something else.
fn looks_like_a_key_type(word: &str) -> bool {
    ["ssh-", "ecdsa-", "sk-"]
        .iter()
        .any(|prefix| word.starts_with(prefix))
}
