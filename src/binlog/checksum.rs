//! The checksum behind every event.

use super::EventHeader;
use crate::{Error, ErrorKind, Result};

/// What stands behind the events of a file or stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ChecksumAlgorithm {
    /// Nothing (`binlog_checksum=NONE`, and every server before 5.6.1).
    #[default]
    None,
    /// Four bytes, little-endian: the CRC-32 of zlib over all bytes of the event before them.
    Crc32,
}

impl ChecksumAlgorithm {
    /// Bytes behind each event.
    #[inline]
    pub const fn size(self) -> usize {
        match self {
            Self::None => 0,
            Self::Crc32 => 4,
        }
    }

    /// From the number in a format description.
    pub(crate) fn from_number(number: u8) -> Option<Self> {
        match number {
            0 | 255 => Some(Self::None),
            1 => Some(Self::Crc32),
            _ => None,
        }
    }

    /// The number in a format description.
    pub(crate) const fn number(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Crc32 => 1,
        }
    }

    /// From the name in `@@binlog_checksum` (`CRC32`, `NONE`, in any case).
    pub fn from_name(name: &str) -> Option<Self> {
        if name.eq_ignore_ascii_case("CRC32") {
            Some(Self::Crc32)
        } else if name.eq_ignore_ascii_case("NONE") {
            Some(Self::None)
        } else {
            None
        }
    }

    /// Checks the checksum at the end of `event` and returns the event without it.
    ///
    /// # Errors
    /// [`ErrorKind::Checksum`] where it differs, [`ErrorKind::Malformed`] where there is no room
    /// for it.
    #[inline]
    pub fn verify(self, event: &[u8]) -> Result<&[u8]> {
        match self {
            Self::None => Ok(event),
            Self::Crc32 => {
                let Some((body, sent)) = event.split_last_chunk::<4>() else {
                    return Err(no_room(event));
                };
                if body.len() < EventHeader::SIZE {
                    return Err(no_room(event));
                }
                let sent = u32::from_le_bytes(*sent);
                let computed = libdeflater::crc32(body);
                if sent == computed {
                    Ok(body)
                } else {
                    Err(differs(event, sent, computed))
                }
            }
        }
    }

    /// Appends the checksum of `out[start..]`.
    pub fn append(self, start: usize, out: &mut Vec<u8>) {
        if self == Self::Crc32 {
            let checksum = libdeflater::crc32(out.get(start..).unwrap_or_default());
            out.extend_from_slice(&checksum.to_le_bytes());
        }
    }
}

#[cold]
pub(super) fn no_room(event: &[u8]) -> Error {
    Error::new(
        ErrorKind::Malformed,
        format!(
            "event of {} bytes has no room for its checksum",
            event.len()
        ),
    )
}

#[cold]
pub(super) fn differs(event: &[u8], sent: u32, computed: u32) -> Error {
    let what = match EventHeader::decode(event) {
        Ok(header) => format!("{} event of {} bytes", header.event_type, event.len()),
        Err(_) => format!("event of {} bytes", event.len()),
    };
    Error::new(
        ErrorKind::Checksum,
        format!("{what} has checksum {computed:08x} where {sent:08x} was sent with it"),
    )
    .remedy("the binary log or the connection is damaged; use another donor and check this one's disk and memory")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Bit by bit, as the standard defines it.
    fn reference(bytes: &[u8]) -> u32 {
        let remainder = bytes.iter().fold(u32::MAX, |remainder, byte| {
            (0..8).fold(remainder ^ u32::from(*byte), |remainder, _| {
                remainder >> 1 ^ if remainder & 1 == 1 { 0xedb8_8320 } else { 0 }
            })
        });
        !remainder
    }

    fn checksum(bytes: &[u8]) -> u32 {
        let mut out = bytes.to_vec();
        ChecksumAlgorithm::Crc32.append(0, &mut out);
        u32::from_le_bytes(*out.last_chunk().unwrap())
    }

    #[test]
    fn checksums_of_every_length_and_alignment_are_those_of_the_definition() {
        // Above and below every step at which an implementation may change its ways.
        let bytes: Vec<u8> = (0..1400u32)
            .map(|i| ((i * i) >> 3) as u8 ^ i as u8)
            .collect();
        for start in 0..8 {
            for length in 0..600 {
                let bytes = &bytes[start..start + length];
                assert_eq!(checksum(bytes), reference(bytes), "{length} at {start}");
            }
        }
    }

    proptest! {
        #[test]
        fn checksums_are_those_of_the_definition(
            bytes in prop::collection::vec(any::<u8>(), 0..20_000),
            cut in 0usize..20_000,
        ) {
            prop_assert_eq!(checksum(&bytes), reference(&bytes));
            prop_assert_eq!(checksum(&bytes), crc32fast::hash(&bytes));
            let (front, rest) = bytes.split_at(cut.min(bytes.len()));
            let mut pieces = libdeflater::Crc::new();
            pieces.update(front);
            pieces.update(rest);
            prop_assert_eq!(pieces.sum(), reference(&bytes));
        }

        #[test]
        fn any_change_of_an_event_is_noticed(
            mut event in prop::collection::vec(any::<u8>(), 19..700),
            at in any::<prop::sample::Index>(),
            change in 1u8..,
        ) {
            ChecksumAlgorithm::Crc32.append(0, &mut event);
            prop_assert!(ChecksumAlgorithm::Crc32.verify(&event).is_ok());
            *at.get_mut(&mut event) ^= change;
            let error = ChecksumAlgorithm::Crc32.verify(&event).unwrap_err();
            prop_assert_eq!(error.kind(), ErrorKind::Checksum);
        }
    }
}
