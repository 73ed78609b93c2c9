//! Events about the log itself: rotation, heartbeats, GTIDs of the files before, incidents.
//!
//! ```text
//! Rotate          u64 position | name of the next file to the end
//! Heartbeat       name of the file to the end; the position is the header's end_log_pos
//! Heartbeat (v2)  (packed kind, packed length, value)*: 1 file name, 2 packed position; 0 ends
//! Previous_gtids  a GTID set to the end
//! Incident        u16 number | u8 length, message
//! Ignorable       anything
//! ```

use super::reader::{Reader, put_packed};
use super::{EventHeader, EventType, FormatDescription};
use crate::gtid::GtidSet;
use crate::{Error, ErrorKind, Limits, Result};

/// Longest file name, in bytes (`FN_REFLEN` of the server, less the NUL).
const FILE_NAME_LENGTH: usize = 511;

/// The log goes on in another file: at the end of a file, and, made up by the donor, in front of
/// every file that it sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RotateEvent<'a> {
    /// Where in that file, mostly 4.
    pub position: u64,
    /// Name of the file, without directory.
    pub file: &'a [u8],
}

impl<'a> RotateEvent<'a> {
    /// Reads `event` (without its checksum).
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`] where it is too short, or the name is empty or too long.
    pub fn decode(event: &'a [u8]) -> Result<Self> {
        let mut reader = Reader::at(event, EventHeader::SIZE)?;
        let position = reader.u64("position")?;
        let file = reader.take_rest();
        if file.is_empty() || file.len() > FILE_NAME_LENGTH {
            return Err(reader.malformed(format_args!("file name of {} bytes", file.len())));
        }
        Ok(Self { position, file })
    }

    pub(super) fn encode_body(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.position.to_le_bytes());
        out.extend_from_slice(self.file);
    }
}

/// The donor is alive, and has sent everything up to a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeartbeatEvent<'a> {
    /// File that it reads.
    pub file: &'a [u8],
    /// Position in that file; of the first version only the low 32 bits.
    pub position: u64,
    /// Whether it is of the second version.
    pub is_v2: bool,
    body: &'a [u8],
}

impl<'a> HeartbeatEvent<'a> {
    /// Reads `event` (without its checksum), of either version.
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`].
    pub fn decode(format: &FormatDescription, event: &'a [u8]) -> Result<Self> {
        Self::read(event, format.body_offset(EventType::HEARTBEAT))
    }

    /// A heartbeat to be sent; its body is put into `body`. Of the first version the position stands
    /// in the header, which is the caller's.
    pub fn compose(file: &'a [u8], position: u64, is_v2: bool, body: &'a mut Vec<u8>) -> Self {
        body.clear();
        if is_v2 {
            let mut value = Vec::new();
            put_packed(position, &mut value);
            for (kind, field) in [(1, file), (2, value.as_slice())] {
                body.push(kind);
                put_packed(field.len() as u64, body);
                body.extend_from_slice(field);
            }
            body.push(0);
        } else {
            body.extend_from_slice(file);
        }
        Self {
            file,
            position,
            is_v2,
            body,
        }
    }

    pub(crate) fn read(event: &'a [u8], body_offset: usize) -> Result<Self> {
        const END: u64 = 0;
        const FILE: u64 = 1;
        const POSITION: u64 = 2;
        let header = EventHeader::decode(event)?;
        let mut reader = Reader::at(event, body_offset)?;
        let body = reader.rest();
        let is_v2 = header.event_type == EventType::HEARTBEAT_V2;
        let mut heartbeat = Self {
            file: body,
            position: u64::from(header.end_log_pos),
            is_v2,
            body,
        };
        if is_v2 {
            heartbeat.file = &[];
            while !reader.is_empty() {
                let kind = reader.packed("kind of heartbeat field")?;
                if kind == END {
                    break;
                }
                let length = reader.packed("length of heartbeat field")?;
                let value = reader.take_u64(length, "heartbeat field")?;
                match kind {
                    FILE => heartbeat.file = value,
                    POSITION => heartbeat.position = Reader::new(value).packed("position")?,
                    _ => {}
                }
            }
        }
        if heartbeat.file.is_empty() || heartbeat.file.len() > FILE_NAME_LENGTH {
            let length = heartbeat.file.len();
            return Err(reader.malformed(format_args!("file name of {length} bytes")));
        }
        Ok(heartbeat)
    }

    pub(super) fn encode_body(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.body);
    }
}

/// The GTIDs of all files before this one: second event of every file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PreviousGtidsEvent<'a> {
    body: &'a [u8],
}

impl<'a> PreviousGtidsEvent<'a> {
    /// Takes the body of `event` (without its checksum).
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`] where it is too short for any set.
    pub fn decode(format: &FormatDescription, event: &'a [u8]) -> Result<Self> {
        let reader = Reader::at(event, format.body_offset(EventType::PREVIOUS_GTIDS))?;
        if reader.rest().len() < 8 {
            return Err(reader.malformed("GTID set of fewer than 8 bytes"));
        }
        Ok(Self {
            body: reader.rest(),
        })
    }

    /// The set.
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`], [`ErrorKind::Limit`].
    pub fn gtids(&self, limits: &Limits) -> Result<GtidSet> {
        GtidSet::decode(self.body, limits)
    }

    /// The set in its binary form.
    pub fn encoded(&self) -> &'a [u8] {
        self.body
    }

    pub(super) fn encode_body(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.body);
    }
}

/// Something was lost on the source: its log is not complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IncidentEvent<'a> {
    /// 1: events were lost. There is no other.
    pub number: u16,
    /// What the source says about it.
    pub message: &'a [u8],
}

impl<'a> IncidentEvent<'a> {
    /// Reads `event` (without its checksum).
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`], also for a number other than 1.
    pub fn decode(format: &FormatDescription, event: &'a [u8]) -> Result<Self> {
        let mut reader = Reader::at(event, format.body_offset(EventType::INCIDENT))?;
        let number = reader.u16("incident number")?;
        if number != 1 {
            return Err(Error::new(
                ErrorKind::Malformed,
                format!("incident number {number}, only 1 (LOST_EVENTS) exists"),
            ));
        }
        let length = reader.u8("length of the message")?;
        let message = reader.take(usize::from(length), "message")?;
        Ok(Self { number, message })
    }

    pub(super) fn encode_body(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.number.to_le_bytes());
        out.push(self.message.len() as u8);
        out.extend_from_slice(self.message);
    }
}
