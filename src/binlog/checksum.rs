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
                let computed = crc32fast::hash(body);
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
            let checksum = crc32fast::hash(out.get(start..).unwrap_or_default());
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
