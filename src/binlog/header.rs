//! The header that every event begins with.
//!
//! ```text
//! offset size
//!      0    4  timestamp in seconds; 0 in artificial rotates and heartbeats
//!      4    1  type
//!      5    4  server_id of the server that wrote the event first
//!      9    4  length of the event, header and checksum included
//!     13    4  position of the next event in the source's file, modulo 2^32; may be 0
//!     17    2  flags
//! ```
//!
//! All numbers are little-endian. Formats with longer headers are conceivable
//! ([`FormatDescription::header_length`](super::FormatDescription)); the bytes behind these 19 are
//! then passed over.

use super::EventType;
use crate::{Error, ErrorKind, Result};

/// The first 19 bytes of an event.
///
/// ```
/// use rejoin::binlog::{EventHeader, EventType};
///
/// let header = EventHeader {
///     timestamp: 0,
///     event_type: EventType::STOP,
///     server_id: 1,
///     length: 23,
///     end_log_pos: 220,
///     flags: 0,
/// };
/// assert_eq!(EventHeader::decode(&header.encode())?, header);
/// # Ok::<(), rejoin::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventHeader {
    /// Seconds since 1970 at the start of the statement.
    pub timestamp: u32,
    /// What the event is.
    pub event_type: EventType,
    /// The server that wrote the event first.
    pub server_id: u32,
    /// Length in bytes, with this header and, where there is one, the checksum.
    pub length: u32,
    /// Where the next event starts in the source's file, modulo 2^32.
    pub end_log_pos: u32,
    /// [`EventHeader::BINLOG_IN_USE`] and the others; unknown bits are kept.
    pub flags: u16,
}

impl EventHeader {
    /// Length in bytes.
    pub const SIZE: usize = 19;
    /// Where the type stands.
    pub const TYPE_OFFSET: usize = 4;
    /// Where the length stands.
    pub const LENGTH_OFFSET: usize = 9;
    /// Where `end_log_pos` stands.
    pub const END_LOG_POS_OFFSET: usize = 13;
    /// Where the flags stand.
    pub const FLAGS_OFFSET: usize = 17;

    /// The file was not closed (format description only).
    pub const BINLOG_IN_USE: u16 = 0x1;
    /// The statement depends on the session that made it (temporary tables).
    pub const THREAD_SPECIFIC: u16 = 0x4;
    /// The statement needs no USE of its database.
    pub const SUPPRESS_USE: u16 = 0x8;
    /// Made up by the sender; it is in no file.
    pub const ARTIFICIAL: u16 = 0x20;
    /// Written by a receiver into its relay log.
    pub const RELAY_LOG: u16 = 0x40;
    /// A reader that does not know the type may pass the event over.
    pub const IGNORABLE: u16 = 0x80;
    /// Never filtered.
    pub const NO_FILTER: u16 = 0x100;
    /// Not to be executed together with others.
    pub const MTS_ISOLATE: u16 = 0x200;

    /// A header without flags; length and position are set where the event is written.
    pub fn new(event_type: EventType, timestamp: u32, server_id: u32) -> Self {
        Self {
            timestamp,
            event_type,
            server_id,
            length: 0,
            end_log_pos: 0,
            flags: 0,
        }
    }

    /// Reads the header at the front of `bytes`.
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`] where fewer than 19 bytes are left or the length is below 19.
    #[inline]
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let Some(head) = bytes.first_chunk() else {
            return Err(too_short(bytes.len()));
        };
        let header = Self::unchecked(head);
        if (header.length as usize) < Self::SIZE {
            return Err(too_small(head));
        }
        Ok(header)
    }

    /// What the bytes say, be the length too small or not.
    #[inline]
    pub(crate) fn unchecked(head: &[u8; Self::SIZE]) -> Self {
        let [
            t0,
            t1,
            t2,
            t3,
            event_type,
            s0,
            s1,
            s2,
            s3,
            l0,
            l1,
            l2,
            l3,
            e0,
            e1,
            e2,
            e3,
            f0,
            f1,
        ] = *head;
        Self {
            timestamp: u32::from_le_bytes([t0, t1, t2, t3]),
            event_type: EventType(event_type),
            server_id: u32::from_le_bytes([s0, s1, s2, s3]),
            length: u32::from_le_bytes([l0, l1, l2, l3]),
            end_log_pos: u32::from_le_bytes([e0, e1, e2, e3]),
            flags: u16::from_le_bytes([f0, f1]),
        }
    }

    /// The 19 bytes.
    pub fn encode(&self) -> [u8; Self::SIZE] {
        let [t0, t1, t2, t3] = self.timestamp.to_le_bytes();
        let [s0, s1, s2, s3] = self.server_id.to_le_bytes();
        let [l0, l1, l2, l3] = self.length.to_le_bytes();
        let [e0, e1, e2, e3] = self.end_log_pos.to_le_bytes();
        let [f0, f1] = self.flags.to_le_bytes();
        [
            t0,
            t1,
            t2,
            t3,
            self.event_type.0,
            s0,
            s1,
            s2,
            s3,
            l0,
            l1,
            l2,
            l3,
            e0,
            e1,
            e2,
            e3,
            f0,
            f1,
        ]
    }

    /// Whether `flag` is set.
    pub fn has(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }
}

#[cold]
fn too_short(length: usize) -> Error {
    Error::new(
        ErrorKind::Malformed,
        format!("event header needs 19 bytes, {length} are left"),
    )
}

// Takes the bytes: a reference to the header would keep it in memory everywhere.
#[cold]
fn too_small(head: &[u8; EventHeader::SIZE]) -> Error {
    let header = EventHeader::unchecked(head);
    Error::new(
        ErrorKind::Malformed,
        format!(
            "{} event claims a length of {} bytes, less than its header",
            header.event_type, header.length
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_below_the_header_is_refused() {
        let mut bytes = [0; 19];
        bytes[9] = 18;
        assert!(EventHeader::decode(&bytes).is_err());
        bytes[9] = 19;
        assert!(EventHeader::decode(&bytes).is_ok());
        assert!(EventHeader::decode(&bytes[..18]).is_err());
    }
}
