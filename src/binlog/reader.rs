//! A cursor over one event that cannot read past its end.

use crate::{Error, ErrorKind, Result};

/// Reads from the front of a byte slice; every read names what it reads, for the error message.
#[derive(Debug, Clone)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    /// Length of the whole, so that an error can say where it happened.
    total: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self {
            rest: bytes,
            total: bytes.len(),
        }
    }

    /// A reader of `event` that starts behind its first `start` bytes.
    #[inline]
    pub(crate) fn at(event: &'a [u8], start: usize) -> Result<Self> {
        let mut reader = Self::new(event);
        match reader.take(start, "event header") {
            Ok(_) => Ok(reader),
            Err(error) => Err(error),
        }
    }

    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// How many bytes were read.
    pub(crate) fn position(&self) -> usize {
        self.total - self.rest.len()
    }

    // Whatever is not put into its caller gets parts of a reader and never the reader itself: one that
    // is seen from elsewhere lives in memory, and every read of a field would go there and back.

    #[inline]
    fn short(&self, wanted: usize, what: &str) -> Error {
        short(what, wanted, self.position(), self.rest.len())
    }

    #[inline]
    pub(crate) fn malformed(&self, message: impl std::fmt::Display) -> Error {
        malformed(message, self.position())
    }

    #[inline]
    pub(crate) fn take(&mut self, length: usize, what: &str) -> Result<&'a [u8]> {
        match self.rest.split_at_checked(length) {
            Some((head, tail)) => {
                self.rest = tail;
                Ok(head)
            }
            None => Err(self.short(length, what)),
        }
    }

    /// Takes a part of fixed length, within which nothing needs to be checked any more: the compiler
    /// sees that every read fits.
    #[inline]
    pub(crate) fn part(&mut self, length: usize, what: &str) -> Result<Self> {
        match self.take(length, what) {
            Ok(part) => Ok(Self::new(part)),
            Err(error) => Err(error),
        }
    }

    /// Takes a length that came as a 64-bit number.
    #[inline]
    pub(crate) fn take_u64(&mut self, length: u64, what: &str) -> Result<&'a [u8]> {
        self.take(usize::try_from(length).unwrap_or(usize::MAX), what)
    }

    pub(crate) fn take_rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    #[inline]
    fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N]> {
        match self.rest.split_first_chunk::<N>() {
            Some((head, tail)) => {
                self.rest = tail;
                Ok(*head)
            }
            None => Err(self.short(N, what)),
        }
    }

    /// Exactly `N` bytes, as an array.
    #[inline]
    pub(crate) fn bytes<const N: usize>(&mut self, what: &str) -> Result<[u8; N]> {
        self.array(what)
    }

    #[inline]
    pub(crate) fn u8(&mut self, what: &str) -> Result<u8> {
        Ok(u8::from_le_bytes(self.array(what)?))
    }

    #[inline]
    pub(crate) fn u16(&mut self, what: &str) -> Result<u16> {
        Ok(u16::from_le_bytes(self.array(what)?))
    }

    #[inline]
    pub(crate) fn u24(&mut self, what: &str) -> Result<u32> {
        let [a, b, c] = self.array(what)?;
        Ok(u32::from_le_bytes([a, b, c, 0]))
    }

    #[inline]
    pub(crate) fn u32(&mut self, what: &str) -> Result<u32> {
        Ok(u32::from_le_bytes(self.array(what)?))
    }

    #[inline]
    pub(crate) fn u48(&mut self, what: &str) -> Result<u64> {
        let [a, b, c, d, e, f] = self.array(what)?;
        Ok(u64::from_le_bytes([a, b, c, d, e, f, 0, 0]))
    }

    #[inline]
    pub(crate) fn u56(&mut self, what: &str) -> Result<u64> {
        let [a, b, c, d, e, f, g] = self.array(what)?;
        Ok(u64::from_le_bytes([a, b, c, d, e, f, g, 0]))
    }

    #[inline]
    pub(crate) fn u64(&mut self, what: &str) -> Result<u64> {
        Ok(u64::from_le_bytes(self.array(what)?))
    }

    /// The packed integer of `net_store_length`: one byte below 251, else a mark and 2, 3 or 8
    /// bytes. Longer forms than needed are accepted, as the server does.
    #[inline]
    pub(crate) fn packed(&mut self, what: &str) -> Result<u64> {
        let mark = self.u8(what)?;
        if mark <= 250 {
            return Ok(u64::from(mark));
        }
        let (value, rest) = packed_behind(mark, self.rest, what, self.position())?;
        self.rest = rest;
        Ok(value)
    }

    /// Fails if anything is left.
    pub(crate) fn finish(self, what: &str) -> Result<()> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(Error::new(
                ErrorKind::Malformed,
                format!(
                    "{} bytes too many behind {what} at byte {}",
                    self.rest.len(),
                    self.position()
                ),
            ))
        }
    }
}

#[cold]
fn short(what: &str, wanted: usize, position: usize, left: usize) -> Error {
    Error::new(
        ErrorKind::Malformed,
        format!("{what} needs {wanted} bytes at byte {position}, {left} are left"),
    )
}

#[cold]
fn malformed(message: impl std::fmt::Display, position: usize) -> Error {
    Error::new(
        ErrorKind::Malformed,
        format!("{message}, before byte {position}"),
    )
}

/// The packed integer behind its mark, which ends at `position`, and what is behind it.
#[inline(never)]
fn packed_behind<'a>(
    mark: u8,
    rest: &'a [u8],
    what: &str,
    position: usize,
) -> Result<(u64, &'a [u8])> {
    let mut reader = Reader {
        rest,
        total: position + rest.len(),
    };
    let value = match mark {
        0xfc => u64::from(reader.u16(what)?),
        0xfd => u64::from(reader.u24(what)?),
        0xfe => reader.u64(what)?,
        _ => return Err(reader.malformed(format_args!("{what} begins with {mark:#04x}"))),
    };
    Ok((value, reader.rest))
}

/// Writes the shortest form of the packed integer.
pub(crate) fn put_packed(value: u64, out: &mut Vec<u8>) {
    let bytes = value.to_le_bytes();
    let [a, b, c, ..] = bytes;
    match value {
        0..=250 => out.push(a),
        251..=0xffff => out.extend_from_slice(&[0xfc, a, b]),
        0x1_0000..=0xff_ffff => out.extend_from_slice(&[0xfd, a, b, c]),
        _ => {
            out.push(0xfe);
            out.extend_from_slice(&bytes);
        }
    }
}

/// Bytes that [`put_packed`] writes.
pub(crate) fn packed_length(value: u64) -> usize {
    match value {
        0..=250 => 1,
        251..=0xffff => 3,
        0x1_0000..=0xff_ffff => 4,
        _ => 9,
    }
}

/// Bit `index` of a bitmap whose lowest bit comes first; a bit beyond the bitmap is 0.
#[inline]
pub(crate) fn bit(bitmap: &[u8], index: usize) -> bool {
    bitmap
        .get(index / 8)
        .is_some_and(|byte| byte >> (index % 8) & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_integers_round_trip_in_their_shortest_form() {
        for value in [
            0,
            250,
            251,
            0xffff,
            0x1_0000,
            0xff_ffff,
            0x100_0000,
            u64::MAX,
        ] {
            let mut out = Vec::new();
            put_packed(value, &mut out);
            assert_eq!(out.len(), packed_length(value));
            let mut reader = Reader::new(&out);
            assert_eq!(reader.packed("value").unwrap(), value);
            assert!(reader.is_empty());
        }
    }

    #[test]
    fn the_marks_of_null_and_error_are_no_integers() {
        assert!(Reader::new(&[0xfb]).packed("value").is_err());
        assert!(Reader::new(&[0xff, 1, 2]).packed("value").is_err());
    }

    #[test]
    fn a_short_read_says_where_and_what() {
        let mut reader = Reader::new(&[1, 2, 3]);
        reader.u8("first").unwrap();
        let error = reader.u32("table id").unwrap_err();
        assert_eq!(
            error.to_string(),
            "table id needs 4 bytes at byte 1, 2 are left"
        );
    }
}
