//! The binary packet protocol (RFC 4253 section 6): payloads into sealed packets and back.

use super::cipher::{Inauthentic, LENGTH_LEN, Opener, Sealer};
use crate::strict::Violation;
use aws_lc_rs::rand;
use bytes::{Buf, Bytes, BytesMut};

/// The largest `packet_length` that Pomerium takes or sends (pomerium/envoy-custom wire/common.h).
pub const MAX_PACKET_LENGTH: u32 = 256 * 1024;
/// The smallest one: `padding_length` and four bytes of padding.
pub const MIN_PACKET_LENGTH: u32 = 5;

/// Why no payload came out of the bytes received.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum PacketError {
    #[error(transparent)]
    Violation(#[from] Violation),
    #[error(transparent)]
    Inauthentic(#[from] Inauthentic),
}

/// Bytes received, until they are whole packets.
pub(super) struct Inbound {
    pub(super) buffer: BytesMut,
    pub(super) opener: Opener,
    pub(super) sequence: u32,
    /// Bytes opened under these keys.
    pub(super) bytes_opened: u64,
    /// The largest `packet_length` taken.
    max_packet_length: u32,
}

impl Inbound {
    pub(super) fn new(max_packet_length: u32) -> Self {
        Self {
            buffer: BytesMut::new(),
            opener: Opener::Clear,
            sequence: 0,
            bytes_opened: 0,
            max_packet_length,
        }
    }

    /// The payload of the next packet, if it has arrived whole.
    pub(super) fn next_payload(&mut self) -> Result<Option<Bytes>, PacketError> {
        let Some(field) = self.buffer.first_chunk::<LENGTH_LEN>() else {
            return Ok(None);
        };
        let packet_length = self.opener.packet_length(self.sequence, *field);
        if !(MIN_PACKET_LENGTH..=self.max_packet_length).contains(&packet_length) {
            return Err(Violation::PacketLength {
                packet_length,
                sequence: self.sequence,
            }
            .into());
        }
        let body_len = packet_length as usize;
        if !body_len.is_multiple_of(self.opener.block_len()) {
            let block_len = self.opener.block_len();
            return Err(Violation::PacketBlocks {
                packet_length,
                block_len,
            }
            .into());
        }
        let whole = LENGTH_LEN + body_len + self.opener.tag_len();
        if self.buffer.len() < whole {
            self.buffer.reserve(whole - self.buffer.len());
            return Ok(None);
        }
        let mut packet = self.buffer.split_to(whole);
        self.opener.open(self.sequence, &mut packet)?;
        self.sequence = self.sequence.wrapping_add(1);
        self.bytes_opened += whole as u64;
        packet.truncate(LENGTH_LEN + body_len);
        packet.advance(LENGTH_LEN);
        let padding_length = packet.get_u8();
        // The payload may be empty here: what to make of that is the reader's business.
        match packet.len().checked_sub(padding_length.into()) {
            Some(payload_len) if padding_length >= 4 => packet.truncate(payload_len),
            _ => return Err(Violation::PaddingLength { padding_length }.into()),
        }
        Ok(Some(packet.freeze()))
    }
}

/// Written bytes that may lie at the front of the outbound buffer before it is compacted.
const COMPACT_AFTER: usize = 256 * 1024;

/// What a forged packet does differently.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Forgery {
    /// Flip a bit of the tag (of the last byte, when there is no tag).
    pub wrong_mac: bool,
    /// Seal under this sequence number instead of the next one.
    pub sequence: Option<u32>,
    /// Claim this `packet_length`.
    pub packet_length: Option<u32>,
    /// Claim this `padding_length`.
    pub padding_length: Option<u8>,
    /// Bytes of padding; the least that fits otherwise.
    pub padding: Option<usize>,
}

/// Sealed packets, until the socket takes them.
pub(super) struct Outbound {
    pub(super) buffer: Vec<u8>,
    /// How much of `buffer` the socket has taken.
    pub(super) written: usize,
    pub(super) sealer: Sealer,
    pub(super) sequence: u32,
    /// Bytes sealed under these keys.
    pub(super) bytes_sealed: u64,
    /// The socket takes nothing any more, and nothing is kept for it.
    broken: bool,
}

impl Outbound {
    pub(super) fn new() -> Self {
        Self {
            buffer: Vec::new(),
            written: 0,
            sealer: Sealer::Clear,
            sequence: 0,
            bytes_sealed: 0,
            broken: false,
        }
    }

    /// Seals a payload, given in parts, onto the bytes to write.
    pub(super) fn push(&mut self, parts: &[&[u8]], forgery: Forgery) -> Result<(), Inauthentic> {
        let payload_len: usize = parts.iter().map(|part| part.len()).sum();
        let padding = forgery.padding.unwrap_or_else(|| self.padding(payload_len));
        let packet_length = u32::try_from(1 + payload_len + padding).map_err(|_| Inauthentic)?;
        let start = self.buffer.len();
        self.buffer
            .reserve(LENGTH_LEN + packet_length as usize + 64);
        let claimed = forgery.packet_length.unwrap_or(packet_length);
        self.buffer.extend_from_slice(&claimed.to_be_bytes());
        let claimed = forgery
            .padding_length
            .unwrap_or(u8::try_from(padding).unwrap_or(u8::MAX));
        self.buffer.push(claimed);
        for part in parts {
            self.buffer.extend_from_slice(part);
        }
        let payload_end = self.buffer.len();
        self.buffer.resize(payload_end + padding, 0);
        if let Some(padding) = self.buffer.get_mut(payload_end..) {
            rand::fill(padding)?;
        }
        let sequence = forgery.sequence.unwrap_or(self.sequence);
        self.sealer.seal(sequence, &mut self.buffer, start)?;
        if forgery.wrong_mac
            && let Some(last) = self.buffer.last_mut()
        {
            *last ^= 1;
        }
        self.sequence = self.sequence.wrapping_add(1);
        self.bytes_sealed += (self.buffer.len() - start) as u64;
        if self.broken {
            self.give_up();
        }
        Ok(())
    }

    /// The socket takes nothing any more.
    pub(super) fn give_up(&mut self) {
        self.broken = true;
        self.buffer.clear();
        self.written = 0;
    }

    /// The least padding that RFC 4253 section 6 allows.
    fn padding(&self, payload_len: usize) -> usize {
        let block = self.sealer.block_len();
        let length = if self.sealer.pads_length() {
            LENGTH_LEN
        } else {
            0
        };
        let padding = block - (length + 1 + payload_len) % block;
        if padding < 4 {
            padding + block
        } else {
            padding
        }
    }

    /// Bytes that the socket has not taken yet.
    pub(super) fn pending(&self) -> &[u8] {
        self.buffer.get(self.written..).unwrap_or_default()
    }

    /// The socket took `n` more bytes.
    pub(super) fn advance(&mut self, n: usize) {
        self.written += n;
        // Under steady load the buffer never runs dry: give the space back now and then.
        if self.written >= self.buffer.len() || self.written > COMPACT_AFTER {
            self.buffer.drain(..self.written.min(self.buffer.len()));
            self.written = 0;
        }
    }
}
