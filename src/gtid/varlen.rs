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

/// The unsigned number at the front of `bytes`, and what is behind it; `None` where it is cut.
pub(crate) fn unsigned(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (first, rest) = bytes.split_first()?;
    let more = first.trailing_ones();
    let (number, rest) = rest.split_at_checked(more as usize)?;
    let mut high = 0u64;
    for (index, byte) in number.iter().enumerate() {
        high |= u64::from(*byte) << (8 * index);
    }
    if more == 8 {
        return Some((high, rest));
    }
    let bits_in_first = 7 - more;
    Some((
        u64::from(*first) >> (more + 1) | high << bits_in_first,
        rest,
    ))
}

/// Bytes that [`put_unsigned`] writes.
pub(crate) fn unsigned_length(value: u64) -> usize {
    let bits = 64 - value.leading_zeros() as usize;
    match bits {
        0 => 1,
        57.. => 9,
        _ => bits.div_ceil(7),
    }
}

/// Appends an unsigned number in its shortest form.
pub(crate) fn put_unsigned(value: u64, out: &mut Vec<u8>) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_the_server_writes_them() {
        let mut out = Vec::new();
        put_unsigned(65535, &mut out);
        assert_eq!(out, [0xfb, 0xff, 0x07]);
    }

    #[test]
    fn every_length_round_trips() {
        for shift in 0..64 {
            for value in [1u64 << shift, (1 << shift) - 1, u64::MAX >> shift] {
                let mut out = Vec::new();
                put_unsigned(value, &mut out);
                assert_eq!(out.len(), unsigned_length(value));
                assert_eq!(unsigned(&out), Some((value, &[][..])));
                assert_eq!(unsigned(&out[..out.len() - 1]), None);
            }
        }
    }
}
