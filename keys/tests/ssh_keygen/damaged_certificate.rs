//! Certificates that are forged, altered, cut off, nested or none.

use crate::certificate::full;
use crate::reference::Folder;
use keys::certificate::{
    self, Certificate, CertificateError, CertificateKind, CertificateOption, CertificateSpec,
    SignatureError,
};
use keys::generate::{self, KeyKind};
use keys::openssh::{self, KeyError};
use proptest::prelude::*;
use ssh_key::encoding::{Encode, base64::Base64, base64::Encoding};
use ssh_key::{PrivateKey, PublicKey};

fn ed25519() -> PrivateKey {
    generate::generate(KeyKind::Ed25519, "").unwrap()
}

/// Whether ssh-keygen takes this for a certificate.
fn ssh_keygen_reads(blob: &[u8]) -> bool {
    let folder = Folder::new();
    let line = certificate::to_openssh(blob, "").unwrap();
    folder.write("x-cert.pub", line + "\n");
    let listing = folder.try_ssh_keygen(&["-L", "-f", "x-cert.pub"]);
    listing.status.success()
}

#[test]
fn of_no_known_kind() {
    let kind = CertificateKind::Unknown(3);
    let spec = CertificateSpec { kind, ..full() };
    let (ca, subject) = (ed25519(), ed25519());
    let blob = certificate::sign(&spec, subject.public_key(), &ca).unwrap();
    assert_eq!(Certificate::decode(&blob).unwrap().spec, spec);
    assert!(!ssh_keygen_reads(&blob));
}

#[test]
fn forged() {
    let (ca, subject, other) = (ed25519(), ed25519(), ed25519());
    let forge = |signed: &[u8]| {
        let theirs = certificate::sign(&full(), other.public_key(), &other)?;
        let theirs = Certificate::decode(&theirs)?;
        assert!(!signed.is_empty());
        Ok(theirs.signature)
    };
    let blob =
        certificate::sign_with(&full(), subject.public_key(), ca.public_key(), forge).unwrap();
    assert_eq!(
        Certificate::decode(&blob).unwrap().verify(),
        Err(SignatureError::Invalid)
    );
    assert!(!ssh_keygen_reads(&blob));
}

#[test]
fn altered_anywhere() {
    let (ca, subject) = (ed25519(), ed25519());
    let blob = certificate::sign(&full(), subject.public_key(), &ca).unwrap();
    for position in 0..blob.len() {
        let mut altered = blob.clone();
        altered[position] ^= 1;
        if let Ok(certificate) = Certificate::decode(&altered) {
            assert_eq!(
                certificate.verify(),
                Err(SignatureError::Invalid),
                "byte {position}"
            );
        }
    }
}

#[test]
fn cut_off_or_continued() {
    let (ca, subject) = (ed25519(), ed25519());
    let mut blob = certificate::sign(&full(), subject.public_key(), &ca).unwrap();
    for length in 0..blob.len() {
        Certificate::decode(&blob[..length]).unwrap_err();
    }
    blob.push(0);
    Certificate::decode(&blob).unwrap_err();
}

#[test]
fn that_is_none() {
    let key = ed25519();
    let error = Certificate::decode(&key.public_key().to_bytes().unwrap()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "\"ssh-ed25519\" is not the name of a kind of certificate"
    );
    let unknown = "x-cert-v01@example.com".encode_vec().unwrap();
    let error = Certificate::decode(&unknown).unwrap_err();
    assert!(
        matches!(error, CertificateError::NotACertificate(_)),
        "{error}"
    );
}

/// A certificate whose signature key is a certificate, and so on; by hand, because nobody else
/// makes such a thing.
fn nested(levels: usize) -> Vec<u8> {
    let (ca, subject) = (ed25519(), ed25519());
    let blob = certificate::sign(&full(), subject.public_key(), &ca).unwrap();
    let signature_key = ca.public_key().to_bytes().unwrap().encode_vec().unwrap();
    let at = blob
        .windows(signature_key.len())
        .position(|window| window == signature_key);
    let (before, after) = (
        &blob[..at.unwrap()],
        &blob[at.unwrap() + signature_key.len()..],
    );
    let mut nested = blob.clone();
    for _ in 0..levels {
        nested = [before, &nested.encode_vec().unwrap(), after].concat();
    }
    nested
}

#[test]
fn signed_by_a_certificate() {
    let folder = Folder::new();
    let key = ed25519();
    for levels in [1, 2, 1200] {
        let blob = nested(levels);
        let error = Certificate::decode(&blob).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the signature key holds a certificate, and not a key",
            "{levels} levels"
        );
        // Wherever a decoder could meet one.
        let line = certificate::to_openssh(&blob, "").unwrap();
        assert_eq!(
            openssh::public_key(&line).unwrap_err(),
            KeyError::IsCertificate
        );
        let line = format!("ssh-ed25519 {}", Base64::encode_string(&blob));
        assert_eq!(
            openssh::public_key(&line).unwrap_err(),
            KeyError::IsCertificate
        );
        let private = private_key_around(&blob);
        assert_eq!(
            openssh::private_key(&private).unwrap_err(),
            KeyError::IsCertificate
        );
        folder.write_private("key", private);
        let sentence = folder.fail(&["inspect", "key"]);
        assert_eq!(sentence, "key holds a certificate, and not a key");
        folder.write("key", certificate::to_openssh(&blob, "").unwrap());
        let sentence = folder.fail(&["inspect", "key"]);
        assert_eq!(
            sentence,
            "key holds a certificate that is of no use: the signature key holds a certificate, \
             and not a key"
        );
    }
    // And we sign none.
    let certified = ssh_key::Certificate::from_bytes(&nested(0)).unwrap();
    let subject = PublicKey::from(ssh_key::public::KeyData::from(certified));
    let error = certificate::sign(&full(), &subject, &key).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the subject holds a certificate, and not a key"
    );
}

/// A private key's file, up to its public key, which is this.
fn private_key_around(public_key: &[u8]) -> String {
    let mut bytes = b"openssh-key-v1\0".to_vec();
    for field in ["none", "none", ""] {
        field.encode(&mut bytes).unwrap();
    }
    1u32.encode(&mut bytes).unwrap();
    public_key.encode(&mut bytes).unwrap();
    let base64 = Base64::encode_string(&bytes);
    format!("-----BEGIN OPENSSH PRIVATE KEY-----\n{base64}\n-----END OPENSSH PRIVATE KEY-----\n")
}

fn any_option() -> impl Strategy<Value = CertificateOption> {
    let data = proptest::collection::vec(any::<u8>(), 0..20);
    (any::<String>(), data).prop_map(|(name, data)| CertificateOption { name, data })
}

prop_compose! {
    fn any_spec()(
        (kind, serial, key_id) in (any::<u32>(), any::<u64>(), any::<String>()),
        principals in proptest::collection::vec(any::<String>(), 0..4),
        (valid_after, valid_before) in any::<(u64, u64)>(),
        critical_options in proptest::collection::vec(any_option(), 0..4),
        extensions in proptest::collection::vec(any_option(), 0..4),
    ) -> CertificateSpec {
        let kind = match kind % 4 {
            1 => CertificateKind::User,
            2 => CertificateKind::Host,
            _ => CertificateKind::Unknown(kind | 4),
        };
        CertificateSpec {
            kind, serial, key_id, principals, valid_after, valid_before, critical_options, extensions,
        }
    }
}

proptest! {
    #[test]
    fn any_spec_survives(spec in any_spec()) {
        let (ca, subject) = (ed25519(), ed25519());
        let blob = certificate::sign(&spec, subject.public_key(), &ca).unwrap();
        let certificate = Certificate::decode(&blob).unwrap();
        prop_assert_eq!(&certificate.spec, &spec);
        certificate.verify().unwrap();
        // And no control character of it reaches a terminal.
        let printed = certificate.to_string();
        prop_assert!(!printed.chars().any(|c| c.is_control() && c != '\n'), "{:?}", printed);
        let lines = 10 + spec.principals.len() + spec.critical_options.len() + spec.extensions.len();
        prop_assert!(printed.lines().count() <= lines);
    }

    #[test]
    fn no_bytes_make_it_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
        position in 0usize..400,
    ) {
        Certificate::decode(&bytes).unwrap_err();
        let (ca, subject) = (ed25519(), ed25519());
        let mut blob = certificate::sign(&full(), subject.public_key(), &ca).unwrap();
        let position = position.min(blob.len());
        blob.splice(position..(position + bytes.len()).min(blob.len()), bytes.clone());
        if let Ok(certificate) = Certificate::decode(&blob) {
            prop_assert!(bytes.is_empty() || certificate.verify().is_err());
        }
        let text = String::from_utf8_lossy(&bytes);
        prop_assert!(openssh::private_key(&text).is_err());
        prop_assert!(openssh::private_key(&private_key_around(&bytes)).is_err());
    }
}
