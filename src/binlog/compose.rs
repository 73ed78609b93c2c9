//! Events as they stand in a file: lengths, positions and checksums are set here, and nowhere else.

use super::file::MAGIC;
use super::{ChecksumAlgorithm, EventHeader, EventType, FormatDescription, GtidEvent};
use crate::gtid::{Encoding, GtidSet};
use crate::{Error, ErrorKind, Result};

/// Where the flags of the format description stand in a file: the one byte that changes later.
pub(crate) const FORMAT_FLAGS_OFFSET: u64 = (MAGIC.len() + EventHeader::FLAGS_OFFSET) as u64;

/// Bytes of a binary log, composed in memory from some position of the file on. What is composed is
/// written by the caller, in one piece.
///
/// Events are taken without their checksum; of their headers everything is kept but `length` and
/// `end_log_pos`, and the marks of the way on which an event came (relay log, artificial).
///
/// ```
/// use rejoin::binlog::{ChecksumAlgorithm, EventHeader, EventType, FormatDescription, LogBytes, LogComposer};
/// use rejoin::gtid::GtidSet;
/// use rejoin::Limits;
///
/// let format = FormatDescription::new("9.7.4", ChecksumAlgorithm::Crc32)?;
/// let own = EventHeader::new(EventType::STOP, 1_700_000_000, 1);
/// let mut log = LogComposer::new(ChecksumAlgorithm::Crc32);
/// log.head(&format, &GtidSet::new(), &own, false);
/// log.event(&own, &[])?;
///
/// let mut events = LogBytes::new(log.bytes(), &Limits::default())?;
/// let mut types = Vec::new();
/// while let Some(event) = events.next_event()? {
///     event.verify()?;
///     types.push(event.header.event_type);
/// }
/// assert_eq!(types, [EventType::FORMAT_DESCRIPTION, EventType::PREVIOUS_GTIDS, EventType::STOP]);
/// # Ok::<(), rejoin::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct LogComposer {
    bytes: Vec<u8>,
    /// Offset in the file of the first byte.
    start: u64,
    checksum: ChecksumAlgorithm,
    /// A GTID event's body, before its length is known.
    body: Vec<u8>,
}

impl LogComposer {
    /// Composes events with this checksum, from the beginning of a file on.
    pub fn new(checksum: ChecksumAlgorithm) -> Self {
        Self {
            checksum,
            ..Self::default()
        }
    }

    /// Forgets all bytes, keeps the memory, and goes on at offset `start` of the file.
    pub fn restart(&mut self, start: u64) {
        self.bytes.clear();
        self.start = start;
    }

    /// What was composed.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Offset in the file behind what was composed.
    pub fn offset(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }

    /// Gives memory back that an unusually large part took.
    pub fn shrink_to(&mut self, capacity: usize) {
        self.bytes.shrink_to(capacity);
    }

    /// The beginning of a file: magic, format description (with the mark of a file that is not closed
    /// where `in_use`), and the GTIDs of all files before it. Time and server of both events are
    /// those of `own`.
    pub fn head(
        &mut self,
        format: &FormatDescription,
        previous: &GtidSet,
        own: &EventHeader,
        in_use: bool,
    ) {
        self.restart(0);
        self.bytes.extend_from_slice(&MAGIC);
        format.encode(own.timestamp, own.server_id, in_use, &mut self.bytes);
        let header = EventHeader {
            event_type: EventType::PREVIOUS_GTIDS,
            flags: EventHeader::IGNORABLE,
            ..*own
        };
        self.put(&header, |out| previous.encode(Encoding::Shortest, out));
    }

    /// The last event of a file that another one follows.
    pub fn rotate(&mut self, next_file: &str, own: &EventHeader) {
        let header = EventHeader {
            event_type: EventType::ROTATE,
            ..*own
        };
        self.put(&header, |out| {
            out.extend_from_slice(&(MAGIC.len() as u64).to_le_bytes());
            out.extend_from_slice(next_file.as_bytes());
        });
    }

    /// An event of this body.
    ///
    /// # Errors
    /// [`ErrorKind::Limit`] where it is longer than its header can say; nothing is appended then.
    pub fn event(&mut self, header: &EventHeader, body: &[u8]) -> Result<()> {
        check_length(EventHeader::SIZE + body.len() + self.checksum.size())?;
        self.put(header, |out| out.extend_from_slice(body));
        Ok(())
    }

    /// All events of a transaction: its GTID event, whose
    /// [`transaction_length`](GtidEvent::transaction_length) is set here (unless it is 0: then the
    /// source did not say), and the whole events behind it.
    ///
    /// # Errors
    /// [`ErrorKind::Limit`] where an event is longer than its header can say; nothing is appended then.
    pub fn transaction<'e>(
        &mut self,
        gtid_header: &EventHeader,
        mut gtid: GtidEvent,
        events: impl Iterator<Item = (EventHeader, &'e [u8])> + Clone,
    ) -> Result<()> {
        let mut rest = 0;
        for (_, event) in events.clone() {
            let length = event.len() + self.checksum.size();
            check_length(length)?;
            rest += length;
        }
        if gtid.transaction_length != 0 {
            gtid.set_transaction_length(rest as u64, self.checksum.size());
        }
        let mut body = std::mem::take(&mut self.body);
        body.clear();
        gtid.encode_body(&mut body);
        self.put(gtid_header, |out| out.extend_from_slice(&body));
        self.body = body;
        self.bytes.reserve(rest);
        for (header, event) in events {
            let body = event.get(EventHeader::SIZE..).unwrap_or_default();
            self.put(&header, |out| out.extend_from_slice(body));
        }
        Ok(())
    }

    /// An event whose length is known to fit.
    fn put(&mut self, header: &EventHeader, body: impl FnOnce(&mut Vec<u8>)) {
        let from = self.bytes.len();
        self.bytes.extend_from_slice(&[0; EventHeader::SIZE]);
        body(&mut self.bytes);
        let length = self.bytes.len() - from + self.checksum.size();
        let header = EventHeader {
            length: length as u32,
            // The field is modulo 2^32 in files of any size.
            end_log_pos: (self.start + (from + length) as u64) as u32,
            flags: header.flags & !(EventHeader::RELAY_LOG | EventHeader::ARTIFICIAL),
            ..*header
        };
        if let Some(place) = self.bytes.get_mut(from..from + EventHeader::SIZE) {
            place.copy_from_slice(&header.encode());
        }
        self.checksum.append(from, &mut self.bytes);
    }
}

fn check_length(length: usize) -> Result<()> {
    if u32::try_from(length).is_err() {
        return Err(Error::new(
            ErrorKind::Limit,
            format!("event of {length} bytes does not fit a binary log"),
        ));
    }
    Ok(())
}
