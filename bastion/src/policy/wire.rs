//! A bounded reader of RFC 4251's data types (Section 5).
//!
//! It never reads past what it was given, never allocates, and every error names what was being read.

/// Why bytes are not what they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The bytes end before the value does; a length field that promises too much ends here as well.
    #[error("it ends in the middle of the {what}")]
    Truncated {
        /// What was being read.
        what: &'static str,
    },
    /// A text that is not UTF-8.
    #[error("the {what} is not UTF-8")]
    NotUtf8 {
        /// What was being read.
        what: &'static str,
    },
    /// Bytes are left after the last value.
    #[error("{count} bytes follow the {what}")]
    Trailing {
        /// What should have been the end.
        what: &'static str,
        /// How many bytes follow it.
        count: usize,
    },
}

/// A position in a byte slice that only moves forward.
#[derive(Clone, Debug)]
pub(super) struct Reader<'a> {
    whole: &'a [u8],
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self {
            whole: bytes,
            rest: bytes,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// How many bytes have been read.
    pub(super) fn position(&self) -> usize {
        self.whole.len() - self.rest.len()
    }

    /// The bytes read since an earlier [`position`](Self::position).
    pub(super) fn read_since(&self, start: usize) -> &'a [u8] {
        self.whole.get(start..self.position()).unwrap_or_default()
    }

    pub(super) fn u8(&mut self, what: &'static str) -> Result<u8, WireError> {
        let [byte] = self.array(what)?;
        Ok(byte)
    }

    pub(super) fn u32(&mut self, what: &'static str) -> Result<u32, WireError> {
        self.array(what).map(u32::from_be_bytes)
    }

    pub(super) fn u64(&mut self, what: &'static str) -> Result<u64, WireError> {
        self.array(what).map(u64::from_be_bytes)
    }

    /// A `string`: a four-byte length and that many arbitrary bytes.
    pub(super) fn string(&mut self, what: &'static str) -> Result<&'a [u8], WireError> {
        let len = self.u32(what)?;
        let len = usize::try_from(len).map_err(|_| WireError::Truncated { what })?;
        self.take(len, what)
    }

    /// A `string` that holds text. Names are compared as text, so what is not UTF-8 is refused.
    pub(super) fn text(&mut self, what: &'static str) -> Result<&'a str, WireError> {
        std::str::from_utf8(self.string(what)?).map_err(|_| WireError::NotUtf8 { what })
    }

    /// Nothing may follow.
    pub(super) fn finish(self, what: &'static str) -> Result<(), WireError> {
        match self.rest.len() {
            0 => Ok(()),
            count => Err(WireError::Trailing { what, count }),
        }
    }

    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], WireError> {
        let (value, rest) = self
            .rest
            .split_first_chunk::<N>()
            .ok_or(WireError::Truncated { what })?;
        self.rest = rest;
        Ok(*value)
    }

    fn take(&mut self, len: usize, what: &'static str) -> Result<&'a [u8], WireError> {
        let (value, rest) = self
            .rest
            .split_at_checked(len)
            .ok_or(WireError::Truncated { what })?;
        self.rest = rest;
        Ok(value)
    }
}

/// Appends a `string` to `out`.
pub(super) fn put_string(out: &mut Vec<u8>, bytes: &[u8]) {
    // Everything written here has been read from a `string` or is a short name, so it fits 32 bits;
    // were it not so, the saturated length would make the result unreadable, not misread.
    let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_examples_of_rfc_4251() {
        let mut reader = Reader::new(b"\x29\xb7\xf4\xaa\x00\x00\x00\x07testing");
        assert_eq!(reader.u32("number"), Ok(699_921_578));
        assert_eq!(reader.text("word"), Ok("testing"));
        assert_eq!(reader.finish("word"), Ok(()));
    }

    #[test]
    fn says_what_was_being_read() {
        let what = "serial";
        assert_eq!(
            Reader::new(&[0; 7]).u64(what),
            Err(WireError::Truncated { what })
        );
        assert_eq!(
            Reader::new(&[]).u8(what),
            Err(WireError::Truncated { what })
        );
        assert_eq!(
            Reader::new(b"\xff\xff\xff\xffabc").string(what),
            Err(WireError::Truncated { what })
        );
        assert_eq!(
            Reader::new(b"\0\0\0\x01\xff").text(what),
            Err(WireError::NotUtf8 { what })
        );
        assert_eq!(
            Reader::new(b"ab").finish(what),
            Err(WireError::Trailing { what, count: 2 })
        );
    }

    #[test]
    fn a_failed_read_moves_nothing() {
        let mut reader = Reader::new(b"\0\0\0\x02a");
        let before = reader.clone();
        assert!(reader.u64("number").is_err());
        assert_eq!(reader.position(), before.position());
    }

    #[test]
    fn read_since_is_exactly_what_was_read() {
        let mut reader = Reader::new(b"xx\0\0\0\x01ayy");
        reader.u8("x").unwrap();
        reader.u8("x").unwrap();
        let start = reader.position();
        reader.string("a").unwrap();
        assert_eq!(reader.read_since(start), b"\0\0\0\x01a");
        assert_eq!(reader.read_since(99), b"");
    }
}
