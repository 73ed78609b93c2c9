//! The integers of MySQL's serialization library (`mysql::serialization`).
//!
//! An unsigned number takes 1 to 9 bytes; the count of low bits that are set in the first byte says
//! how many follow, the bits above the first zero are the lowest of the number:
//!
//! ```text
//! vvvvvvv0                     7 bits
//! vvvvvv01 vvvvvvvv           14 bits, little-endian from here on
//! ...
//! 01111111 and 7 bytes        56 bits
//! 11111111 and 8 bytes        64 bits
//! ```
//!
//! A signed number is folded: `x << 1` where it is not negative, else `(-(x + 1)) << 1 | 1`.

use super::reader::Reader;
use crate::Result;

/// Reads an unsigned number.
pub(super) fn unsigned(reader: &mut Reader<'_>, what: &str) -> Result<u64> {
    let first = reader.u8(what)?;
    let more = first.trailing_ones();
    let rest = reader.take(more as usize, what)?;
    let mut high = 0u64;
    for (index, byte) in rest.iter().enumerate() {
        high |= u64::from(*byte) << (8 * index);
    }
    if more == 8 {
        return Ok(high);
    }
    let bits_in_first = 7 - more;
    Ok(u64::from(first) >> (more + 1) | high << bits_in_first)
}

/// Reads a signed number.
pub(super) fn signed(reader: &mut Reader<'_>, what: &str) -> Result<i64> {
    let folded = unsigned(reader, what)?;
    let magnitude = (folded >> 1) as i64;
    Ok(if folded & 1 == 0 {
        magnitude
    } else {
        !magnitude
    })
}

/// Bytes that [`put_unsigned`] writes.
pub(super) fn unsigned_length(value: u64) -> usize {
    let bits = 64 - value.leading_zeros() as usize;
    match bits {
        0 => 1,
        57.. => 9,
        _ => bits.div_ceil(7),
    }
}

/// Appends an unsigned number in its shortest form.
pub(super) fn put_unsigned(value: u64, out: &mut Vec<u8>) {
    let length = unsigned_length(value);
    if length == 9 {
        out.push(0xff);
        out.extend_from_slice(&value.to_le_bytes());
        return;
    }
    let ones = (1u64 << (length - 1)) - 1;
    // At most 56 bits of value and 8 of length.
    let word = value << length | ones;
    out.extend_from_slice(word.to_le_bytes().get(..length).unwrap_or_default());
}

/// Appends a signed number in its shortest form.
pub(super) fn put_signed(value: i64, out: &mut Vec<u8>) {
    put_unsigned(fold(value), out);
}

fn fold(value: i64) -> u64 {
    if value >= 0 {
        (value as u64) << 1
    } else {
        (!value as u64) << 1 | 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_the_server_writes_them() {
        let mut out = Vec::new();
        put_unsigned(65535, &mut out);
        assert_eq!(out, [0xfb, 0xff, 0x07]);
        out.clear();
        put_signed(2, &mut out);
        assert_eq!(out, [0x08]);
    }

    #[test]
    fn every_length_round_trips() {
        for shift in 0..64 {
            for value in [1u64 << shift, (1 << shift) - 1, u64::MAX >> shift] {
                let mut out = Vec::new();
                put_unsigned(value, &mut out);
                assert_eq!(out.len(), unsigned_length(value));
                assert_eq!(unsigned(&mut Reader::new(&out), "value").unwrap(), value);
                for signed_value in [value as i64, (value as i64).wrapping_neg()] {
                    out.clear();
                    put_signed(signed_value, &mut out);
                    assert_eq!(
                        signed(&mut Reader::new(&out), "value").unwrap(),
                        signed_value
                    );
                }
            }
        }
    }
}
