//! Key pairs that sign: OpenSSH's own, and security keys made by hand.

use std::sync::OnceLock;

use bastion::policy::{KeyType, PublicKey, TrustedUserCaKeys};
use signature::Signer;
use ssh_key::encoding::Encode;
use ssh_key::encoding::base64::{Base64, Encoding};
use ssh_key::private::KeypairData;
use ssh_key::{HashAlg, PrivateKey, Signature};

use crate::mint::string;
use crate::ssh_keygen;

/// What a security key says in each signature, unless a test has it say something else.
pub(crate) const TOUCHED: u8 = 0x01;
const COUNTER: u32 = 7;

/// A private key and, for a security key, the application that it signs for.
#[derive(Clone, Debug)]
pub(crate) struct KeyPair {
    pub(crate) key_type: KeyType,
    pub(crate) private: PrivateKey,
    pub(crate) blob: Vec<u8>,
    application: Option<&'static str>,
}

impl KeyPair {
    pub(crate) fn of_openssh(private: PrivateKey) -> Self {
        let blob = private.public_key().to_bytes().unwrap();
        let key_type = PublicKey::from_bytes(&blob).unwrap().algorithm();
        Self {
            key_type,
            private,
            blob,
            application: None,
        }
    }

    /// PROTOCOL.u2f: the key inside a security key is an ordinary one.
    pub(crate) fn into_security_key(self, key_type: KeyType, application: &'static str) -> Self {
        let name_len = 4 + self.key_type.name().len();
        let mut blob = string(key_type.name());
        blob.extend_from_slice(&self.blob[name_len..]);
        blob.extend(string(application));
        Self {
            key_type,
            blob,
            application: Some(application),
            ..self
        }
    }

    pub(crate) fn public_key(&self) -> PublicKey {
        PublicKey::from_bytes(&self.blob).unwrap()
    }

    /// The line of a `.pub` file.
    pub(crate) fn line(&self) -> String {
        public_line(self.key_type.name(), &self.blob)
    }

    pub(crate) fn trusted(&self) -> TrustedUserCaKeys {
        TrustedUserCaKeys::parse(&self.line(), "test").unwrap()
    }

    /// `string` algorithm, `string` value, and a security key's fields.
    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.sign_with_flags(message, TOUCHED)
    }

    pub(crate) fn sign_with_flags(&self, message: &[u8], flags: u8) -> Vec<u8> {
        let Some(application) = self.application else {
            return self
                .private
                .try_sign(message)
                .unwrap()
                .encode_vec()
                .unwrap();
        };
        let used = [&[flags][..], &COUNTER.to_be_bytes()].concat();
        let hash = |bytes: &[u8]| HashAlg::Sha256.digest(bytes);
        let signed = [hash(application.as_bytes()), used.clone(), hash(message)].concat();
        let inner: Signature = self.private.try_sign(&signed).unwrap();
        [string(self.key_type.name()), string(inner.as_bytes()), used].concat()
    }

    /// With the hash that RSA is to use; the other kinds have no choice.
    pub(crate) fn sign_rsa(&self, message: &[u8], hash: HashAlg) -> Vec<u8> {
        let KeypairData::Rsa(pair) = self.private.key_data() else {
            panic!("{} is not RSA", self.key_type);
        };
        let signature: Signature = (pair, Some(hash)).try_sign(message).unwrap();
        signature.encode_vec().unwrap()
    }
}

pub(crate) fn public_line(name: &str, blob: &[u8]) -> String {
    format!("{name} {} test\n", Base64::encode_string(blob))
}

/// A key pair of each kind to certify: the same ones throughout a test run.
pub(crate) fn user(key_type: KeyType) -> &'static KeyPair {
    static USERS: OnceLock<Vec<KeyPair>> = OnceLock::new();
    of_kind(USERS.get_or_init(one_of_each), key_type)
}

/// A key pair of each kind to certify with.
pub(crate) fn ca(key_type: KeyType) -> &'static KeyPair {
    static CAS: OnceLock<Vec<KeyPair>> = OnceLock::new();
    of_kind(CAS.get_or_init(one_of_each), key_type)
}

fn of_kind(pairs: &'static [KeyPair], key_type: KeyType) -> &'static KeyPair {
    pairs.iter().find(|pair| pair.key_type == key_type).unwrap()
}

fn one_of_each() -> Vec<KeyPair> {
    KeyType::ALL
        .map(|key_type| match key_type {
            KeyType::Ed25519 => ssh_keygen::generate("ed25519", 256),
            KeyType::EcdsaP256 => ssh_keygen::generate("ecdsa", 256),
            KeyType::EcdsaP384 => ssh_keygen::generate("ecdsa", 384),
            KeyType::EcdsaP521 => ssh_keygen::generate("ecdsa", 521),
            KeyType::Rsa => ssh_keygen::generate("rsa", 2048),
            KeyType::SkEd25519 => {
                ssh_keygen::generate("ed25519", 256).into_security_key(key_type, "ssh:")
            }
            KeyType::SkEcdsaP256 => {
                ssh_keygen::generate("ecdsa", 256).into_security_key(key_type, "ssh:elsewhere")
            }
        })
        .to_vec()
}
