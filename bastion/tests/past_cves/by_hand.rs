//! Certificates, byte by byte, for what no encoder would write.

use keys::certificate::CertificateSpec;
use pomerium_stand_in::signing;
use pomerium_stand_in::wire::Writer;
use ssh_key::PrivateKey;

/// The fields of a certificate that are keys, as they are on the wire.
pub(crate) struct ByHand {
    /// `ssh-ed25519-cert-v01@openssh.com`
    pub(crate) type_name: &'static str,
    /// Of the certified key, without its name.
    pub(crate) key_fields: Vec<u8>,
    pub(crate) principals: Vec<u8>,
    pub(crate) critical_options: Vec<u8>,
    /// The authority's public key.
    pub(crate) signature_key: Vec<u8>,
}

impl ByHand {
    /// What an Ed25519 authority certifies about an Ed25519 key.
    pub(crate) fn new(user: &PrivateKey, ca: &PrivateKey) -> Self {
        let blob = user.public_key().to_bytes().unwrap();
        Self {
            type_name: "ssh-ed25519-cert-v01@openssh.com",
            key_fields: blob[4 + "ssh-ed25519".len()..].to_vec(),
            principals: Writer::new().string("claw").into_vec(),
            critical_options: Vec::new(),
            signature_key: ca.public_key().to_bytes().unwrap(),
        }
    }

    fn to_be_signed(&self, spec: &CertificateSpec) -> Vec<u8> {
        Writer::new()
            .string(self.type_name)
            .string([7; 32])
            .bytes(&self.key_fields)
            .u64(spec.serial)
            .u32(1)
            .string(&spec.key_id)
            .string(&self.principals)
            .u64(spec.valid_after)
            .u64(spec.valid_before)
            .string(&self.critical_options)
            .string("")
            .string("")
            .string(&self.signature_key)
            .into_vec()
    }

    /// With the dates of `spec`, signed by a key that need not be the one that is named in it.
    pub(crate) fn sign(&self, spec: &CertificateSpec, signer: &PrivateKey) -> Vec<u8> {
        let signed = self.to_be_signed(spec);
        let signature = signing::sign(signer, "ssh-ed25519", &signed).unwrap();
        Writer::new().bytes(signed).string(signature).into_vec()
    }

    /// With a signature that is none.
    pub(crate) fn sign_with(&self, spec: &CertificateSpec, signature: &[u8]) -> Vec<u8> {
        let signed = self.to_be_signed(spec);
        Writer::new().bytes(signed).string(signature).into_vec()
    }
}
