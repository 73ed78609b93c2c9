//! A cursor over a packet that cannot read past its end.

use byteorder::{ByteOrder, LittleEndian};

use crate::{Error, ErrorKind, Result};

/// What is left of a packet; every read takes from the front or is an error.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    length: usize,
    /// What the bytes are, for messages.
    what: &'static str,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8], what: &'static str) -> Self {
        Self {
            rest: bytes,
            length: bytes.len(),
            what,
        }
    }

    #[cold]
    pub(crate) fn malformed(&self, expected: &str) -> Error {
        Error::new(
            ErrorKind::Malformed,
            format!(
                "malformed {}: expected {expected} at byte {} of {}",
                self.what,
                self.length - self.rest.len(),
                self.length
            ),
        )
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let Some((taken, rest)) = self.rest.split_at_checked(length) else {
            return Err(self.malformed(&format!("{length} more bytes")));
        };
        self.rest = rest;
        Ok(taken)
    }

    pub(crate) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    pub(crate) fn u8(&mut self) -> Result<u8> {
        let Some((&first, rest)) = self.rest.split_first() else {
            return Err(self.malformed("one more byte"));
        };
        self.rest = rest;
        Ok(first)
    }

    pub(crate) fn u16(&mut self) -> Result<u16> {
        Ok(LittleEndian::read_u16(self.take(2)?))
    }

    pub(crate) fn u32(&mut self) -> Result<u32> {
        Ok(LittleEndian::read_u32(self.take(4)?))
    }

    pub(crate) fn u64(&mut self) -> Result<u64> {
        Ok(LittleEndian::read_u64(self.take(8)?))
    }

    /// An integer of 1, 3, 4 or 9 bytes; `fb` (NULL) and `ff` (ERR) are not integers.
    pub(crate) fn length_encoded(&mut self) -> Result<u64> {
        match self.u8()? {
            small @ 0..=0xfa => Ok(u64::from(small)),
            0xfc => Ok(LittleEndian::read_uint(self.take(2)?, 2)),
            0xfd => Ok(LittleEndian::read_uint(self.take(3)?, 3)),
            0xfe => Ok(LittleEndian::read_u64(self.take(8)?)),
            _ => Err(self.malformed("a length")),
        }
    }

    pub(crate) fn length_encoded_bytes(&mut self) -> Result<&'a [u8]> {
        let length = self.length_encoded()?;
        match usize::try_from(length) {
            Ok(length) => self.take(length),
            Err(_) => Err(self.malformed("a length within the packet")),
        }
    }

    /// A value of a text row: NULL or bytes.
    pub(crate) fn nullable_bytes(&mut self) -> Result<Option<&'a [u8]>> {
        if let Some((&0xfb, rest)) = self.rest.split_first() {
            self.rest = rest;
            return Ok(None);
        }
        self.length_encoded_bytes().map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_every_width() {
        let mut reader = Reader::new(
            &[
                0xfa, 0xfc, 1, 2, 0xfd, 1, 2, 3, 0xfe, 1, 0, 0, 0, 0, 0, 0, 1,
            ],
            "test",
        );
        assert_eq!(reader.length_encoded().unwrap(), 0xfa);
        assert_eq!(reader.length_encoded().unwrap(), 0x0201);
        assert_eq!(reader.length_encoded().unwrap(), 0x03_0201);
        assert_eq!(reader.length_encoded().unwrap(), 0x0100_0000_0000_0001);
        assert!(reader.is_empty());
    }

    #[test]
    fn a_length_beyond_the_packet_is_an_error_and_not_an_allocation() {
        let bytes = [0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 7];
        let error = Reader::new(&bytes, "row").length_encoded_bytes();
        assert!(
            error
                .unwrap_err()
                .to_string()
                .starts_with("malformed row: ")
        );
    }
}
