//! The CAs whose word counts: the file that sshd_config calls TrustedUserCAKeys.

use serde::{Deserialize, Serialize};
use ssh_key::encoding::base64::{Base64, Encoding};

use super::public_key::{MalformedKey, PublicKey, names_a_certificate};
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
    /// A private key, which must never come here.
    #[error(
        "{origin}, line {line}: this is a private key; put the CA's public key here (the file ending \
         in .pub, or what ssh-keygen -y prints), and keep the private key where only Pomerium reads it"
    )]
    PrivateKey {
        /// Where the text is from.
        origin: String,
        /// Counted from 1.
        line: usize,
    },
    /// A certificate, which cannot be an authority.
    #[error(
        "{origin}, line {line}: this is a certificate, which cannot be a CA; put the CA's plain public \
         key here"
    )]
    Certificate {
        /// Where the text is from.
        origin: String,
        /// Counted from 1.
        line: usize,
    },
    /// Options before the key, which have no meaning here.
    #[error(
        "{origin}, line {line}: the line does not start with a key type (ssh-ed25519, \
         ecdsa-sha2-nistp256, ssh-rsa …); remove options such as cert-authority before it"
    )]
    NotAKeyLine {
        /// Where the text is from.
        origin: String,
        /// Counted from 1.
        line: usize,
    },
    /// A security key, which would have to be touched for each certificate.
    #[error(
        "{origin}, line {line}: {name} keys are not accepted as a CA; use Ed25519, ECDSA or RSA"
    )]
    SecurityKey {
        /// Where the text is from.
        origin: String,
        /// Counted from 1.
        line: usize,
        /// The key's type.
        name: &'static str,
    },
    /// The key is missing, is cut off or has been edited.
    #[error(
        "{origin}, line {line}: the key after \"{}\" is not complete base64; copy the line again, \
         whole",
        printable(.name, 64)
    )]
    Base64 {
        /// Where the text is from.
        origin: String,
        /// Counted from 1.
        line: usize,
        /// The type that the line starts with.
        name: String,
    },
    /// The line says one type and the key is of another.
    #[error(
        "{origin}, line {line}: the line says \"{}\" and its key is of type {actual}; copy the line \
         again, whole",
        printable(.name, 64)
    )]
    TypeMismatch {
        /// Where the text is from.
        origin: String,
        /// Counted from 1.
        line: usize,
        /// The type that the line starts with.
        name: String,
        /// The type of the key.
        actual: &'static str,
    },
    /// The key is not acceptable.
    #[error("{origin}, line {line}: the key is not accepted: {problem}")]
    Key {
        /// Where the text is from.
        origin: String,
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        problem: MalformedKey,
    },
}

impl TrustedUserCaKeys {
    /// Parses lines of `type base64 [comment]`, as in a `.pub` file; empty lines and lines that start
    /// with `#` are skipped. `origin` names the text in errors.
    ///
    /// One bad line spoils the file: an administrator who meant to trust two CAs should hear about it.
    pub fn parse(text: &str, origin: &str) -> Result<Self, TrustedUserCaKeysError> {
        let mut keys: Vec<PublicKey> = Vec::new();
        // Some editors start a file with a byte order mark.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let key = parse_line(line, origin, index + 1)?;
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
    type Error = TrustedUserCaKeysError;

    fn try_from(keys: Vec<PublicKey>) -> Result<Self, TrustedUserCaKeysError> {
        let origin = "the list of CA keys".to_owned();
        for (index, key) in keys.iter().enumerate() {
            if key.algorithm().is_security_key() {
                return Err(TrustedUserCaKeysError::SecurityKey {
                    origin,
                    line: index + 1,
                    name: key.algorithm().name(),
                });
            }
        }
        Ok(Self { keys })
    }
}

impl From<TrustedUserCaKeys> for Vec<PublicKey> {
    fn from(keys: TrustedUserCaKeys) -> Self {
        keys.keys
    }
}

fn parse_line(
    text: &str,
    origin: &str,
    line: usize,
) -> Result<PublicKey, TrustedUserCaKeysError> {
    let origin = origin.to_owned();
    if text.contains("PRIVATE KEY") || text.starts_with("PuTTY-User-Key-File") {
        return Err(TrustedUserCaKeysError::PrivateKey { origin, line });
    }
    let mut words = text.split_ascii_whitespace();
    let name = words.next().unwrap_or_default().to_owned();
    if names_a_certificate(&name) {
        return Err(TrustedUserCaKeysError::Certificate { origin, line });
    }
    if !looks_like_a_key_type(&name) {
        return Err(TrustedUserCaKeysError::NotAKeyLine { origin, line });
    }
    let bytes = words.next().map(Base64::decode_vec);
    let Some(Ok(bytes)) = bytes else {
        return Err(TrustedUserCaKeysError::Base64 { origin, line, name });
    };
    let key = match PublicKey::from_bytes(&bytes) {
        Ok(key) => key,
        Err(MalformedKey::Certificate { .. }) => {
            return Err(TrustedUserCaKeysError::Certificate { origin, line });
        }
        Err(problem) => {
            return Err(TrustedUserCaKeysError::Key {
                origin,
                line,
                problem,
            });
        }
    };
    let actual = key.algorithm().name();
    if actual != name {
        return Err(TrustedUserCaKeysError::TypeMismatch {
            origin,
            line,
            name,
            actual,
        });
    }
    if key.algorithm().is_security_key() {
        let name = actual;
        return Err(TrustedUserCaKeysError::SecurityKey { origin, line, name });
    }
    Ok(key)
}

/// Tells a key that is not supported (`ssh-dss`) from a line that starts with something else.
fn looks_like_a_key_type(word: &str) -> bool {
    ["ssh-", "ecdsa-", "sk-"]
        .iter()
        .any(|prefix| word.starts_with(prefix))
}
