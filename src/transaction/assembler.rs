//! The assembler: from verified events to whole transactions.

use std::sync::Arc;

use super::grouping::Grouping;
use super::{Batch, Part};
use crate::binlog::{
    ChecksumAlgorithm, EventHeader, EventType, FormatDescription, HeartbeatEvent, RotateEvent, open,
};
use crate::gtid::Gtid;
use crate::{Error, ErrorKind, Limits, Result};

/// What an event brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Progress<'a> {
    /// Part of a transaction, or nothing that matters here.
    Nothing,
    /// A transaction is whole; it is in [`Assembler::ready`] now.
    Transaction,
    /// The donor is alive and has sent everything up to here.
    Heartbeat {
        /// The donor's file.
        file: &'a [u8],
        /// Position in that file.
        position: u64,
    },
    /// The stream goes on in another file.
    Rotate {
        /// The donor's file.
        file: &'a [u8],
        /// Position in that file.
        position: u64,
    },
    /// A file begins.
    Format,
    /// The server that wrote the file shut down there.
    Stop,
}

/// Puts the events of one stream together to transactions.
///
/// Events go in one by one, as they stand in a file or come from a donor; every one is verified.
/// Whole transactions gather in [`ready`](Self::ready) until they are [taken](Self::take).
///
/// ```
/// use rejoin::Limits;
/// use rejoin::binlog::{ChecksumAlgorithm, FormatDescription};
/// use rejoin::transaction::{Assembler, Batch, Progress};
///
/// let mut assembler = Assembler::new(Limits::default(), ChecksumAlgorithm::Crc32);
/// let mut event = Vec::new();
/// FormatDescription::new("9.7.4", ChecksumAlgorithm::Crc32)?.encode(0, 1, false, &mut event);
/// assert_eq!(assembler.push(&event)?, Progress::Format);
/// assert!(assembler.take(Batch::new()).is_empty());
/// # Ok::<(), rejoin::Error>(())
/// ```
#[derive(Debug)]
pub struct Assembler {
    limits: Limits,
    format: Option<Arc<FormatDescription>>,
    /// Of the events up to the next format description, the rotate in front of it included.
    checksum: ChecksumAlgorithm,
    grouping: Grouping,
    file: Vec<u8>,
    /// Where in `file` the next event starts, as far as is known.
    position: u64,
}

impl Assembler {
    /// An assembler at the start of a stream, whose first event is a format description or a rotate
    /// that the donor makes up; `checksum_of_first_rotate` is what stands behind that one (on a
    /// connection: what `@source_binlog_checksum` was set to).
    pub fn new(limits: Limits, checksum_of_first_rotate: ChecksumAlgorithm) -> Self {
        Self {
            limits,
            format: None,
            checksum: checksum_of_first_rotate,
            grouping: Grouping::default(),
            file: Vec::new(),
            position: 0,
        }
    }

    /// Forgets the stream and the transaction that was not whole, for a new connection. Whole
    /// transactions stay ready.
    pub fn reset(&mut self, checksum_of_first_rotate: ChecksumAlgorithm) {
        self.grouping.abandon();
        self.format = None;
        self.checksum = checksum_of_first_rotate;
        self.file.clear();
        self.position = 0;
    }

    /// The whole transactions so far.
    pub fn ready(&self) -> &Batch {
        self.grouping.ready()
    }

    /// Bytes held: of whole transactions, and of the one that is being put together.
    pub fn byte_size(&self) -> usize {
        self.grouping.byte_size()
    }

    /// Bytes of the transaction that is being put together.
    #[inline]
    pub(crate) fn open_bytes(&self) -> usize {
        self.grouping.open_bytes()
    }

    /// Whether the transaction that came last goes out in [parts](Self::take_part), not all of which
    /// are taken.
    #[inline]
    pub(crate) fn is_in_parts(&self) -> bool {
        self.grouping.is_in_parts()
    }

    /// Whether the last part of a transaction is there; it has to be taken before the next event.
    #[inline]
    pub(crate) fn has_last_part(&self) -> bool {
        self.grouping.has_last_part()
    }

    /// Takes out what is there of a transaction that is too large to be held until it is whole. Its
    /// other events go the same way, and it never is in [`ready`](Self::ready), which has to be empty
    /// now. [`Limits::transaction_bytes`] counts what is held.
    pub(crate) fn take_part(&mut self, recycled: Vec<u8>) -> Option<Part> {
        self.grouping.take_part(self.format.as_ref(), recycled)
    }

    /// The donor's file and the position behind the last event, as far as they are known.
    pub fn position(&self) -> (&[u8], u64) {
        (&self.file, self.position)
    }

    /// The GTID of the transaction that is being put together.
    pub fn open_gtid(&self) -> Option<&Gtid> {
        self.grouping.open_gtid()
    }

    /// Takes the whole transactions out. A transaction that is not whole yet stays; `recycled` is a
    /// batch that has been used, whose memory serves for what comes next.
    pub fn take(&mut self, recycled: Batch) -> Batch {
        self.grouping.take_ready(recycled)
    }

    /// Takes one event, its checksum included where the stream has checksums.
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`] and [`ErrorKind::Checksum`] for damage,
    /// [`ErrorKind::Unsupported`] for events that are not understood and may not be passed over,
    /// for transactions without a GTID and for incidents, [`ErrorKind::Limit`]. They name file and
    /// offset, and the transaction where one was open. The stream is of no use then:
    /// [`reset`](Self::reset) and connect anew.
    #[inline]
    pub fn push<'a>(&mut self, event: &'a [u8]) -> Result<Progress<'a>> {
        match self.accept(event) {
            Ok(progress) => Ok(progress),
            Err(error) => Err(self.locate(error, event)),
        }
    }

    #[inline]
    fn accept<'a>(&mut self, sent: &'a [u8]) -> Result<Progress<'a>> {
        if sent.len() > self.limits.event_bytes {
            return Err(self.too_large_event(sent.len()));
        }
        let event = open(self.checksum, sent)?;
        let Some(head) = event.first_chunk() else {
            return Err(no_header(event));
        };
        let header = EventHeader::unchecked(head);
        if self.grouping.take_change(&self.limits, &header, event)? {
            self.advance(&header);
            return Ok(Progress::Nothing);
        }
        let progress = match header.event_type {
            EventType::FORMAT_DESCRIPTION => self.format_description(sent)?,
            // The position is that in the next file already.
            EventType::ROTATE => return self.rotate(&header, event),
            EventType::HEARTBEAT | EventType::HEARTBEAT_V2 => return self.heartbeat(event),
            EventType::STOP => Progress::Stop,
            EventType::PREVIOUS_GTIDS | EventType::TRANSACTION_CONTEXT => Progress::Nothing,
            _ => {
                let Some(format) = &self.format else {
                    return Err(no_format(&header));
                };
                match self.grouping.take(&self.limits, format, &header, event)? {
                    true => Progress::Transaction,
                    false => Progress::Nothing,
                }
            }
        };
        self.advance(&header);
        Ok(progress)
    }

    /// Follows the position, which the header has modulo 2^32 only.
    #[inline]
    fn advance(&mut self, header: &EventHeader) {
        if header.end_log_pos == 0 || header.has(EventHeader::ARTIFICIAL) {
            return;
        }
        let mut position = self.position & !0xffff_ffff | u64::from(header.end_log_pos);
        if position < self.position {
            if self.position - position <= 1 << 31 {
                return;
            }
            position = position.saturating_add(1 << 32);
        }
        self.position = position;
    }

    fn format_description(&mut self, sent: &[u8]) -> Result<Progress<'static>> {
        let format = FormatDescription::decode(sent)?;
        self.grouping.refuse_inside(EventType::FORMAT_DESCRIPTION)?;
        if self.checksum == ChecksumAlgorithm::Crc32 && !format.has_own_checksum() {
            // No server that writes checksums has files of one that knew none: the version in it,
            // which decides whether there is one, is damaged.
            return Err(Error::new(
                ErrorKind::Checksum,
                "a format description without a checksum, behind events that have them",
            ));
        }
        self.checksum = format.checksum();
        self.format = Some(Arc::new(format));
        Ok(Progress::Format)
    }

    fn rotate<'a>(&mut self, header: &EventHeader, event: &'a [u8]) -> Result<Progress<'a>> {
        let rotate = RotateEvent::decode(event)?;
        self.grouping.refuse_inside(header.event_type)?;
        self.file.clear();
        self.file.extend_from_slice(rotate.file);
        self.position = rotate.position;
        Ok(Progress::Rotate {
            file: rotate.file,
            position: rotate.position,
        })
    }

    fn heartbeat<'a>(&mut self, event: &'a [u8]) -> Result<Progress<'a>> {
        let offset = self
            .format
            .as_ref()
            .map_or(EventHeader::SIZE, |format| format.header_length());
        let heartbeat = HeartbeatEvent::read(event, offset)?;
        if !self.file.is_empty() && heartbeat.file != self.file {
            return Err(Error::new(
                ErrorKind::Malformed,
                format!(
                    "heartbeat for file {}",
                    String::from_utf8_lossy(heartbeat.file)
                ),
            ));
        }
        if heartbeat.is_v2 {
            if heartbeat.position < self.position {
                return Err(Error::new(
                    ErrorKind::Malformed,
                    format!("heartbeat goes back to position {}", heartbeat.position),
                ));
            }
            self.position = heartbeat.position;
        }
        Ok(Progress::Heartbeat {
            file: heartbeat.file,
            position: heartbeat.position,
        })
    }

    #[cold]
    fn too_large_event(&self, length: usize) -> Error {
        Error::new(
            ErrorKind::Limit,
            format!(
                "event of {length} bytes, {} are allowed (limit event_bytes)",
                self.limits.event_bytes
            ),
        )
    }

    /// Adds to an error where it was met.
    #[cold]
    fn locate(&self, mut error: Error, event: &[u8]) -> Error {
        if let Some(gtid) = self.open_gtid() {
            error = error.at_gtid(*gtid);
        }
        if !self.file.is_empty() {
            error = error.in_file(String::from_utf8_lossy(&self.file));
        }
        let mut offset = self.position;
        if let Ok(header) = EventHeader::decode(event)
            && let Some(low) = u64::from(header.end_log_pos).checked_sub(event.len() as u64)
        {
            // Where the donor says that the event is: after skipped transactions the position that
            // was followed may lie before it.
            offset = offset.max((self.position & !0xffff_ffff) + low);
        }
        error.at_offset(offset)
    }
}

#[cold]
fn no_header(event: &[u8]) -> Error {
    Error::new(
        ErrorKind::Malformed,
        format!("event of {} bytes has no header", event.len()),
    )
}

#[cold]
fn no_format(header: &EventHeader) -> Error {
    Error::new(
        ErrorKind::Malformed,
        format!("{} event before any format description", header.event_type),
    )
}
