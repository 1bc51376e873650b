//! The data types of RFC 4251 section 5: reading and writing them.

/// A payload that ends too early, goes on too long, or holds what its type does not allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Fewer bytes than the field needs.
    #[error("short read")]
    Short,
    /// Bytes after the last field.
    #[error("{0} bytes after the last field")]
    Trailing(usize),
    /// A name-list with an empty name or a zero byte (RFC 4251 section 5).
    #[error("invalid empty string in comma-separated list")]
    NameList,
    /// A text that is not UTF-8.
    #[error("text is not UTF-8")]
    Text,
}

/// Reads fields off the front of a payload.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// A reader at the first byte of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// `byte[n]`.
    pub fn bytes(&mut self, n: usize) -> Result<&'a [u8], Malformed> {
        let (head, rest) = self.rest.split_at_checked(n).ok_or(Malformed::Short)?;
        self.rest = rest;
        Ok(head)
    }

    /// `byte`.
    pub fn u8(&mut self) -> Result<u8, Malformed> {
        let (&first, rest) = self.rest.split_first().ok_or(Malformed::Short)?;
        self.rest = rest;
        Ok(first)
    }

    /// `boolean`: all that is not zero is true.
    pub fn bool(&mut self) -> Result<bool, Malformed> {
        Ok(self.u8()? != 0)
    }

    /// `uint32`.
    pub fn u32(&mut self) -> Result<u32, Malformed> {
        let (head, rest) = self.rest.split_first_chunk().ok_or(Malformed::Short)?;
        self.rest = rest;
        Ok(u32::from_be_bytes(*head))
    }

    /// `string`.
    pub fn string(&mut self) -> Result<&'a [u8], Malformed> {
        let length = self.u32()?;
        self.bytes(length as usize)
    }

    /// `string` that is text.
    pub fn text(&mut self) -> Result<&'a str, Malformed> {
        std::str::from_utf8(self.string()?).map_err(|_| Malformed::Text)
    }

    /// `name-list`; empty names are refused, as RFC 4251 and pomerium/envoy-custom do.
    pub fn name_list(&mut self) -> Result<Vec<String>, Malformed> {
        let list = self.text()?;
        if list.is_empty() {
            return Ok(Vec::new());
        }
        if list
            .split(',')
            .any(|name| name.is_empty() || name.contains('\0'))
        {
            return Err(Malformed::NameList);
        }
        Ok(list.split(',').map(str::to_owned).collect())
    }

    /// All that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    /// Nothing may be left.
    pub fn finish(self) -> Result<(), Malformed> {
        match self.rest.len() {
            0 => Ok(()),
            left => Err(Malformed::Trailing(left)),
        }
    }
}

/// Writes fields one after the other: `Writer::message(90).string("session").u32(0).into_vec()`.
#[derive(Debug, Default, Clone)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// An empty writer.
    pub fn new() -> Self {
        Self::default()
    }

    /// A payload that starts with its message number.
    pub fn message(number: u8) -> Self {
        Self::new().u8(number)
    }

    /// `byte[n]`, without a length.
    #[must_use]
    pub fn bytes(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.bytes.extend_from_slice(bytes.as_ref());
        self
    }

    /// `byte`.
    #[must_use]
    pub fn u8(self, value: u8) -> Self {
        self.bytes([value])
    }

    /// `boolean`.
    #[must_use]
    pub fn bool(self, value: bool) -> Self {
        self.u8(value.into())
    }

    /// `uint32`.
    #[must_use]
    pub fn u32(self, value: u32) -> Self {
        self.bytes(value.to_be_bytes())
    }

    /// `uint64`.
    #[must_use]
    pub fn u64(self, value: u64) -> Self {
        self.bytes(value.to_be_bytes())
    }

    /// `string`.
    #[must_use]
    pub fn string(self, value: impl AsRef<[u8]>) -> Self {
        let value = value.as_ref();
        self.u32(length(value)).bytes(value)
    }

    /// `mpint` of a positive integer given big-endian.
    #[must_use]
    pub fn mpint(self, magnitude: &[u8]) -> Self {
        let zeros = magnitude.iter().take_while(|byte| **byte == 0).count();
        let magnitude = magnitude.get(zeros..).unwrap_or_default();
        // A set top bit would make the number negative.
        match magnitude.first() {
            Some(top) if top & 0x80 != 0 => self.u32(length(magnitude) + 1).u8(0).bytes(magnitude),
            _ => self.string(magnitude),
        }
    }

    /// `name-list`.
    #[must_use]
    pub fn name_list(self, names: &[impl AsRef<str>]) -> Self {
        let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
        self.string(names.join(","))
    }

    /// The bytes written.
    pub fn into_vec(self) -> Vec<u8> {
        self.bytes
    }
}

/// The `uint32` length of a string; SSH packets are far below 4 GiB.
fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mpints_are_those_of_rfc_4251_section_5() {
        let rows: [(&[u8], &[u8]); 4] = [
            (&[], &[0, 0, 0, 0]),
            (&[0, 0], &[0, 0, 0, 0]),
            (
                &[0x09, 0xa3, 0x78, 0xf9, 0xb2, 0xe3, 0x32, 0xa7],
                &[0, 0, 0, 8, 0x09, 0xa3, 0x78, 0xf9, 0xb2, 0xe3, 0x32, 0xa7],
            ),
            (&[0x80], &[0, 0, 0, 2, 0, 0x80]),
        ];
        for (magnitude, encoded) in rows {
            assert_eq!(Writer::new().mpint(magnitude).into_vec(), encoded);
        }
    }

    #[test]
    fn name_lists_without_empty_names() {
        let read = |list: &str| Reader::new(&Writer::new().string(list).into_vec()).name_list();
        assert_eq!(read(""), Ok(vec![]));
        assert_eq!(read("zlib,none"), Ok(vec!["zlib".into(), "none".into()]));
        for list in [",", "a,", ",a", "a,,b", "a\0"] {
            assert_eq!(read(list), Err(Malformed::NameList), "{list:?}");
        }
    }

    #[test]
    fn fields_do_not_reach_past_the_end() {
        let mut reader = Reader::new(&[0, 0, 0, 5, 1, 2]);
        assert_eq!(reader.string(), Err(Malformed::Short));
        assert_eq!(Reader::new(&[1]).finish(), Err(Malformed::Trailing(1)));
    }
}
