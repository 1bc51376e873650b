//! Sealing and opening one binary packet, in place, in each of the ciphers.
//!
//! A packet is `packet_length || ciphertext || tag`. All that Pomerium offers leave the length
//! outside the encrypted blocks (encrypt-then-MAC, or AEAD with the length as associated data).

use super::algorithm::{Cipher, Mac};
use aws_lc_rs::aead::chacha20_poly1305_openssh as chacha;
use aws_lc_rs::aead::{self, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::cipher::{
    AES_128, AES_192, AES_256, DecryptionContext, EncryptionContext, StreamingDecryptingKey,
    StreamingEncryptingKey, UnboundCipherKey,
};
use aws_lc_rs::{error::Unspecified, hmac};

/// `packet_length`.
pub(super) const LENGTH_LEN: usize = 4;

/// The packet's tag or MAC is wrong, or the primitive refused; there is nothing more to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("message authentication code incorrect")]
pub struct Inauthentic;

impl From<Unspecified> for Inauthentic {
    fn from(_: Unspecified) -> Self {
        Self
    }
}

/// What key exchange yields for one direction (RFC 4253 section 7.2).
pub(super) struct DirectionKeys {
    pub(super) cipher: Cipher,
    /// `None` with an AEAD cipher.
    pub(super) mac: Option<Mac>,
    pub(super) key: Vec<u8>,
    pub(super) iv: Vec<u8>,
    pub(super) mac_key: Vec<u8>,
}

impl DirectionKeys {
    fn gcm(&self) -> Result<Gcm, Inauthentic> {
        let algorithm = match self.cipher {
            Cipher::Aes128Gcm => &aead::AES_128_GCM,
            _ => &aead::AES_256_GCM,
        };
        Ok(Gcm {
            key: LessSafeKey::new(UnboundKey::new(algorithm, &self.key)?),
            nonce: self.iv.as_slice().try_into().map_err(|_| Inauthentic)?,
        })
    }

    fn chacha(&self) -> Result<[u8; chacha::KEY_LEN], Inauthentic> {
        self.key.as_slice().try_into().map_err(|_| Inauthentic)
    }

    fn ctr(&self) -> Result<(UnboundCipherKey, [u8; 16]), Inauthentic> {
        let algorithm = match self.cipher {
            Cipher::Aes128Ctr => &AES_128,
            Cipher::Aes192Ctr => &AES_192,
            _ => &AES_256,
        };
        let iv = self.iv.as_slice().try_into().map_err(|_| Inauthentic)?;
        Ok((UnboundCipherKey::new(algorithm, &self.key)?, iv))
    }

    fn hmac(&self) -> Result<hmac::Key, Inauthentic> {
        let algorithm = match self.mac.ok_or(Inauthentic)? {
            Mac::HmacSha256Etm => hmac::HMAC_SHA256,
            Mac::HmacSha512Etm => hmac::HMAC_SHA512,
        };
        Ok(hmac::Key::new(algorithm, &self.mac_key))
    }
}

/// RFC 5647 section 7.1: four fixed bytes and a counter of invocations, which no rekey in between
/// and no sequence number touches.
pub(super) struct Gcm {
    key: LessSafeKey,
    nonce: [u8; NONCE_LEN],
}

impl Gcm {
    fn next_nonce(&mut self) -> Nonce {
        let nonce = Nonce::assume_unique_for_key(self.nonce);
        if let Some(counter) = self.nonce.last_chunk_mut::<8>() {
            *counter = u64::from_be_bytes(*counter).wrapping_add(1).to_be_bytes();
        }
        nonce
    }
}

/// The sending half.
#[allow(clippy::large_enum_variant)] // two of them in a connection
pub(super) enum Sealer {
    Clear,
    ChaCha(chacha::SealingKey),
    Gcm(Gcm),
    Ctr {
        cipher: StreamingEncryptingKey,
        mac: hmac::Key,
        scratch: Vec<u8>,
    },
}

impl Sealer {
    pub(super) fn new(keys: &DirectionKeys) -> Result<Self, Inauthentic> {
        Ok(match keys.cipher {
            Cipher::ChaCha20Poly1305 => Self::ChaCha(chacha::SealingKey::new(&keys.chacha()?)),
            Cipher::Aes128Gcm | Cipher::Aes256Gcm => Self::Gcm(keys.gcm()?),
            _ => {
                let (key, iv) = keys.ctr()?;
                let context = EncryptionContext::Iv128(iv.into());
                let cipher = StreamingEncryptingKey::less_safe_ctr(key, context)?;
                Self::Ctr {
                    cipher,
                    mac: keys.hmac()?,
                    scratch: Vec::new(),
                }
            }
        })
    }

    /// What `padding_length || payload || padding` is a multiple of. Before keys, RFC 4253 section
    /// 6 counts the length field in.
    pub(super) fn block_len(&self) -> usize {
        match self {
            Self::Clear | Self::ChaCha(_) => 8,
            Self::Gcm(_) | Self::Ctr { .. } => 16,
        }
    }

    /// Whether `packet_length` is part of what is padded to the block.
    pub(super) fn pads_length(&self) -> bool {
        matches!(self, Self::Clear)
    }

    /// Seals the packet that starts at `start` and appends its tag.
    pub(super) fn seal(
        &mut self,
        sequence: u32,
        buffer: &mut Vec<u8>,
        start: usize,
    ) -> Result<(), Inauthentic> {
        let packet = buffer.get_mut(start..).ok_or(Inauthentic)?;
        match self {
            Self::Clear => {}
            Self::ChaCha(key) => {
                let mut tag = [0; chacha::TAG_LEN];
                key.seal_in_place(sequence, packet, &mut tag);
                buffer.extend_from_slice(&tag);
            }
            Self::Gcm(gcm) => {
                let nonce = gcm.next_nonce();
                let (length, body) = packet
                    .split_first_chunk_mut::<LENGTH_LEN>()
                    .ok_or(Inauthentic)?;
                let tag = gcm
                    .key
                    .seal_in_place_separate_tag(nonce, Aad::from(*length), body)?;
                buffer.extend_from_slice(tag.as_ref());
            }
            Self::Ctr {
                cipher,
                mac,
                scratch,
            } => {
                let body = packet.get_mut(LENGTH_LEN..).ok_or(Inauthentic)?;
                scratch.resize(body.len() + 16, 0);
                let written = cipher.update(body, scratch)?.written().len();
                body.copy_from_slice(scratch.get(..written).ok_or(Inauthentic)?);
                let tag = etm(mac, sequence, packet).sign();
                buffer.extend_from_slice(tag.as_ref());
            }
        }
        Ok(())
    }
}

/// The receiving half.
#[allow(clippy::large_enum_variant)] // two of them in a connection
pub(super) enum Opener {
    Clear,
    ChaCha(chacha::OpeningKey),
    Gcm(Gcm),
    Ctr {
        cipher: StreamingDecryptingKey,
        mac: hmac::Key,
        tag_len: usize,
        scratch: Vec<u8>,
    },
}

impl Opener {
    pub(super) fn new(keys: &DirectionKeys) -> Result<Self, Inauthentic> {
        Ok(match keys.cipher {
            Cipher::ChaCha20Poly1305 => Self::ChaCha(chacha::OpeningKey::new(&keys.chacha()?)),
            Cipher::Aes128Gcm | Cipher::Aes256Gcm => Self::Gcm(keys.gcm()?),
            _ => {
                let (key, iv) = keys.ctr()?;
                let context = DecryptionContext::Iv128(iv.into());
                let cipher = StreamingDecryptingKey::ctr(key, context)?;
                let mac = keys.hmac()?;
                let tag_len = mac.algorithm().tag_len();
                Self::Ctr {
                    cipher,
                    mac,
                    tag_len,
                    scratch: Vec::new(),
                }
            }
        })
    }

    /// What `packet_length` must be a multiple of; nothing before keys, as pomerium/envoy-custom
    /// packet_cipher.cc has it.
    pub(super) fn block_len(&self) -> usize {
        match self {
            Self::Clear => 1,
            Self::ChaCha(_) => 8,
            Self::Gcm(_) | Self::Ctr { .. } => 16,
        }
    }

    pub(super) fn tag_len(&self) -> usize {
        match self {
            Self::Clear => 0,
            Self::ChaCha(_) | Self::Gcm(_) => 16,
            Self::Ctr { tag_len, .. } => *tag_len,
        }
    }

    /// The length field of the next packet, in the clear.
    pub(super) fn packet_length(&self, sequence: u32, field: [u8; LENGTH_LEN]) -> u32 {
        u32::from_be_bytes(match self {
            Self::ChaCha(key) => key.decrypt_packet_length(sequence, field),
            _ => field,
        })
    }

    /// Opens `packet_length || ciphertext || tag` in place.
    pub(super) fn open(&mut self, sequence: u32, packet: &mut [u8]) -> Result<(), Inauthentic> {
        let sealed_len = packet
            .len()
            .checked_sub(self.tag_len())
            .ok_or(Inauthentic)?;
        let (sealed, tag) = packet.split_at_mut_checked(sealed_len).ok_or(Inauthentic)?;
        match self {
            Self::Clear => {}
            Self::ChaCha(key) => {
                let tag = tag.first_chunk().ok_or(Inauthentic)?;
                key.open_in_place(sequence, sealed, tag)?;
            }
            Self::Gcm(gcm) => {
                let nonce = gcm.next_nonce();
                let (length, body) = sealed
                    .split_first_chunk_mut::<LENGTH_LEN>()
                    .ok_or(Inauthentic)?;
                gcm.key
                    .open_in_place_separate_tag(nonce, Aad::from(*length), tag, body)?;
            }
            Self::Ctr {
                cipher,
                mac,
                scratch,
                ..
            } => {
                if !constant_time_eq(etm(mac, sequence, sealed).sign().as_ref(), tag) {
                    return Err(Inauthentic);
                }
                let body = sealed.get_mut(LENGTH_LEN..).ok_or(Inauthentic)?;
                scratch.resize(body.len() + 16, 0);
                let written = cipher.update(body, scratch)?.written().len();
                body.copy_from_slice(scratch.get(..written).ok_or(Inauthentic)?);
            }
        }
        Ok(())
    }
}

/// RFC 4253 section 6.4 over the ciphertext: `MAC(key, sequence_number || packet)`.
fn etm(key: &hmac::Key, sequence: u32, packet: &[u8]) -> hmac::Context {
    let mut context = hmac::Context::with_key(key);
    context.update(&sequence.to_be_bytes());
    context.update(packet);
    context
}

fn constant_time_eq(a: &[u8], b: &[u8]) -> bool {
    aws_lc_rs::constant_time::verify_slices_are_equal(a, b).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 3686 section 6, test vector #2: its nonce, IV and counter are the sixteen bytes that SSH
    /// counts from (RFC 4344 section 4).
    #[test]
    fn aes_128_ctr_is_rfc_3686s() {
        let key = hex("7e24067817fae0d743d6ce1f32539163");
        let iv = hex("006cb6dbc0543b59da48d90b00000001");
        let plaintext: Vec<u8> = (0..32).collect();
        let ciphertext = hex("5104a106168a72d9790d41ee8edad388eb2e1efc46da57c8fce630df9141be28");
        let keys = DirectionKeys {
            cipher: Cipher::Aes128Ctr,
            mac: Some(Mac::HmacSha256Etm),
            key,
            iv,
            mac_key: vec![1; 32],
        };
        let mut packet = [&32_u32.to_be_bytes()[..], &plaintext].concat();
        Sealer::new(&keys).unwrap().seal(3, &mut packet, 0).unwrap();
        assert_eq!(packet[4..36], ciphertext);
        let mut opener = Opener::new(&keys).unwrap();
        assert_eq!(opener.open(4, &mut packet.clone()), Err(Inauthentic));
        let mut opener_again = Opener::new(&keys).unwrap();
        opener_again.open(3, &mut packet).unwrap();
        assert_eq!(packet[4..36], plaintext);
    }

    /// K_2 is the first half of the key material, K_1 the second (OpenSSH PROTOCOL.chacha20poly1305).
    #[test]
    fn chacha20_poly1305_uses_the_first_half_for_the_payload() {
        let key: Vec<u8> = (0..64).collect();
        let keys = |key: Vec<u8>| DirectionKeys {
            cipher: Cipher::ChaCha20Poly1305,
            mac: None,
            key,
            iv: Vec::new(),
            mac_key: Vec::new(),
        };
        let seal = |key: &[u8]| {
            let mut packet = [&16_u32.to_be_bytes()[..], &[0; 16]].concat();
            Sealer::new(&keys(key.to_vec()))
                .unwrap()
                .seal(7, &mut packet, 0)
                .unwrap();
            packet
        };
        let sealed = seal(&key);
        let mut other_length_key = key.clone();
        other_length_key[63] ^= 1;
        let changed = seal(&other_length_key);
        assert_ne!(
            sealed[..4],
            changed[..4],
            "the second half encrypts the length"
        );
        assert_eq!(sealed[4..20], changed[4..20], "and nothing else");
        let opener = Opener::new(&keys(key)).unwrap();
        assert_eq!(opener.packet_length(7, *sealed.first_chunk().unwrap()), 16);
    }

    /// RFC 5647 section 7.1: the invocation counter counts in its last eight bytes only.
    #[test]
    fn the_gcm_counter_wraps_within_eight_bytes() {
        let keys = DirectionKeys {
            cipher: Cipher::Aes256Gcm,
            mac: None,
            key: vec![5; 32],
            iv: vec![0xff; 12],
            mac_key: Vec::new(),
        };
        let mut gcm = keys.gcm().unwrap();
        gcm.next_nonce();
        assert_eq!(gcm.nonce, *b"\xff\xff\xff\xff\0\0\0\0\0\0\0\0");
    }

    fn hex(digits: &str) -> Vec<u8> {
        let byte = |at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
        (0..digits.len()).step_by(2).map(byte).collect()
    }
}
