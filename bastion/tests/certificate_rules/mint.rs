//! An encoder of certificates by hand, for what `ssh-keygen -s` refuses to make.

use bastion::policy::KeyType;

use crate::key_pair::{KeyPair, ca, user};

/// Every field of a certificate, free to be wrong.
#[derive(Clone, Debug)]
pub(crate) struct Fields {
    pub(crate) type_name: Vec<u8>,
    pub(crate) nonce: Vec<u8>,
    /// The certified key, without its type name.
    pub(crate) key_fields: Vec<u8>,
    pub(crate) serial: u64,
    pub(crate) certificate_type: u32,
    pub(crate) key_id: Vec<u8>,
    pub(crate) principals: Vec<Vec<u8>>,
    pub(crate) valid_after: u64,
    pub(crate) valid_before: u64,
    pub(crate) critical_options: Vec<(Vec<u8>, Vec<u8>)>,
    pub(crate) extensions: Vec<(Vec<u8>, Vec<u8>)>,
    pub(crate) reserved: Vec<u8>,
    pub(crate) signature_key: Vec<u8>,
    /// Appended to the packed principals, options and extensions, and to the certificate.
    pub(crate) junk_after: [&'static [u8]; 4],
}

pub(crate) const VALID_AFTER: u64 = 1_700_000_000;
pub(crate) const VALID_BEFORE: u64 = 1_700_003_600;

impl Default for Fields {
    /// As Pomerium makes them: for `claw`, with OpenSSH's five extensions and an empty key id.
    fn default() -> Self {
        Self::of(user(KeyType::Ed25519), ca(KeyType::Ed25519))
    }
}

impl Fields {
    pub(crate) fn of(user: &KeyPair, ca: &KeyPair) -> Self {
        let name_len = 4 + user.key_type.name().len();
        Self {
            type_name: user.key_type.certificate_name().into(),
            nonce: vec![0x5a; 32],
            key_fields: user.blob[name_len..].to_vec(),
            serial: 1,
            certificate_type: 1,
            key_id: Vec::new(),
            principals: vec![b"claw".to_vec()],
            valid_after: VALID_AFTER,
            valid_before: VALID_BEFORE,
            critical_options: Vec::new(),
            extensions: [
                "permit-X11-forwarding",
                "permit-agent-forwarding",
                "permit-port-forwarding",
                "permit-pty",
                "permit-user-rc",
            ]
            .map(|name| (name.into(), Vec::new()))
            .to_vec(),
            reserved: Vec::new(),
            signature_key: ca.blob.clone(),
            junk_after: [b""; 4],
        }
    }

    pub(crate) fn critical_option(&mut self, name: &str, data: impl AsRef<[u8]>) {
        self.critical_options
            .push((name.into(), data.as_ref().to_vec()));
    }

    pub(crate) fn extension(&mut self, name: &str, data: impl AsRef<[u8]>) {
        self.extensions.push((name.into(), data.as_ref().to_vec()));
    }

    /// Everything that a CA signs.
    pub(crate) fn unsigned(&self) -> Vec<u8> {
        let principals = self.principals.iter().flat_map(string).collect::<Vec<_>>();
        let packed = |options: &[(Vec<u8>, Vec<u8>)]| {
            let pairs = options.iter();
            pairs
                .flat_map(|(name, data)| [string(name), string(data)].concat())
                .collect::<Vec<_>>()
        };
        let [principals_junk, critical_junk, extensions_junk, _] = self.junk_after;
        [
            string(&self.type_name),
            string(&self.nonce),
            self.key_fields.clone(),
            self.serial.to_be_bytes().to_vec(),
            self.certificate_type.to_be_bytes().to_vec(),
            string(&self.key_id),
            string([&principals[..], principals_junk].concat()),
            self.valid_after.to_be_bytes().to_vec(),
            self.valid_before.to_be_bytes().to_vec(),
            string([&packed(&self.critical_options), critical_junk].concat()),
            string([&packed(&self.extensions), extensions_junk].concat()),
            string(&self.reserved),
            string(&self.signature_key),
        ]
        .concat()
    }

    /// With a CA's real signature, whatever the fields say.
    pub(crate) fn sign(&self, ca: &KeyPair) -> Vec<u8> {
        self.with_signature(&ca.sign(&self.unsigned()))
    }

    pub(crate) fn with_signature(&self, signature: &[u8]) -> Vec<u8> {
        [
            self.unsigned(),
            string(signature),
            self.junk_after[3].into(),
        ]
        .concat()
    }
}

/// RFC 4251, Section 5: `string`.
pub(crate) fn string(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let bytes = bytes.as_ref();
    let len = u32::try_from(bytes.len()).unwrap();
    [&len.to_be_bytes()[..], bytes].concat()
}
