//! The integers of MySQL's serialization library, as [`gtid`](crate::gtid) has them, out of an event.
//!
//! A signed number is folded: `x << 1` where it is not negative, else `(-(x + 1)) << 1 | 1`.

use super::reader::Reader;
use crate::Result;
use crate::gtid::varlen;

pub(super) use varlen::{put_unsigned, unsigned_length};

/// Reads an unsigned number.
pub(super) fn unsigned(reader: &mut Reader<'_>, what: &str) -> Result<u64> {
    let Some((number, behind)) = varlen::unsigned(reader.rest()) else {
        return Err(reader.malformed(format_args!("{what} is cut")));
    };
    reader.take(reader.rest().len() - behind.len(), what)?;
    Ok(number)
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
    fn signed_numbers_round_trip() {
        let mut out = Vec::new();
        put_signed(2, &mut out);
        assert_eq!(out, [0x08]);
        for shift in 0..64 {
            for value in [
                1i64 << shift,
                (1i64 << shift).wrapping_neg(),
                i64::MIN >> shift,
            ] {
                out.clear();
                put_signed(value, &mut out);
                assert_eq!(signed(&mut Reader::new(&out), "value").unwrap(), value);
            }
        }
    }
}
