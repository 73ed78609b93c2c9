//! The assembler: from verified events to whole transactions.

use std::sync::Arc;

use super::batch::{Batch, Entry, StoredKind};
use super::boundary::{Part, State, Step, event_part, statement_part};
use crate::binlog::{
    ChecksumAlgorithm, EventHeader, EventType, FormatDescription, GtidEvent, HeartbeatEvent,
    IncidentEvent, PayloadDecoder, QueryEvent, RotateEvent, TransactionPayload, ViewChangeEvent,
    XaPrepareEvent, not_understood, verify,
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

/// The transaction that is being put together: from `start` to the end of the batch's bytes.
#[derive(Debug)]
struct Open {
    start: usize,
    gtid: Gtid,
    last_committed: i64,
    sequence_number: i64,
    immediate_commit_timestamp: u64,
    original_commit_timestamp: u64,
    has_changes: bool,
    /// Range of the view id in the batch's bytes.
    view_id: Option<(usize, usize)>,
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
    batch: Batch,
    state: State,
    open: Option<Open>,
    decoder: PayloadDecoder,
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
            batch: Batch::new(),
            state: State::Outside,
            open: None,
            decoder: PayloadDecoder::new(),
            file: Vec::new(),
            position: 0,
        }
    }

    /// Forgets the stream and the transaction that was not whole, for a new connection. Whole
    /// transactions stay ready.
    pub fn reset(&mut self, checksum_of_first_rotate: ChecksumAlgorithm) {
        if let Some(open) = self.open.take() {
            self.batch.bytes.truncate(open.start);
        }
        self.state = State::Outside;
        self.format = None;
        self.checksum = checksum_of_first_rotate;
        self.file.clear();
        self.position = 0;
    }

    /// The whole transactions so far.
    pub fn ready(&self) -> &Batch {
        &self.batch
    }

    /// Bytes held: of whole transactions, and of the one that is being put together.
    pub fn byte_size(&self) -> usize {
        self.batch.bytes.len()
    }

    /// The donor's file and the position behind the last event, as far as they are known.
    pub fn position(&self) -> (&[u8], u64) {
        (&self.file, self.position)
    }

    /// The GTID of the transaction that is being put together.
    pub fn open_gtid(&self) -> Option<&Gtid> {
        self.open.as_ref().map(|open| &open.gtid)
    }

    /// Takes the whole transactions out. A transaction that is not whole yet stays; `recycled` is a
    /// batch that has been used, whose memory serves for what comes next.
    pub fn take(&mut self, mut recycled: Batch) -> Batch {
        recycled.clear();
        if let Some(open) = &mut self.open {
            let tail = self.batch.bytes.get(open.start..).unwrap_or_default();
            recycled.bytes.extend_from_slice(tail);
            self.batch.bytes.truncate(open.start);
            if let Some((start, end)) = &mut open.view_id {
                *start -= open.start;
                *end -= open.start;
            }
            open.start = 0;
        }
        std::mem::replace(&mut self.batch, recycled)
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
        let event = verify(self.checksum, sent)?;
        let header = EventHeader::decode(event)?;
        let progress = match header.event_type {
            EventType::FORMAT_DESCRIPTION => self.format_description(sent)?,
            EventType::ROTATE => self.rotate(&header, event)?,
            EventType::HEARTBEAT | EventType::HEARTBEAT_V2 => return self.heartbeat(event),
            EventType::STOP => Progress::Stop,
            EventType::PREVIOUS_GTIDS | EventType::TRANSACTION_CONTEXT => Progress::Nothing,
            _ => {
                // Taken out for the while, which spares the counting of references.
                let Some(format) = self.format.take() else {
                    return Err(self.no_format(&header));
                };
                let result = self.transaction_event(&format, &header, event);
                self.format = Some(format);
                result?
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
        if header.event_type == EventType::ROTATE {
            return;
        }
        let low = u64::from(header.end_log_pos);
        let mut position = self.position & !0xffff_ffff | low;
        if position + (1 << 31) < self.position {
            position += 1 << 32;
        }
        self.position = self.position.max(position);
    }

    fn format_description(&mut self, sent: &[u8]) -> Result<Progress<'static>> {
        let format = FormatDescription::decode(sent)?;
        self.refuse_inside(EventType::FORMAT_DESCRIPTION)?;
        self.checksum = format.checksum();
        self.format = Some(Arc::new(format));
        Ok(Progress::Format)
    }

    fn rotate<'a>(&mut self, header: &EventHeader, event: &'a [u8]) -> Result<Progress<'a>> {
        let rotate = RotateEvent::decode(event)?;
        self.refuse_inside(header.event_type)?;
        self.file.clear();
        self.file.extend_from_slice(rotate.file);
        self.position = rotate.position;
        Ok(Progress::Rotate {
            file: rotate.file,
            position: rotate.position,
        })
    }

    /// No transaction spans files.
    fn refuse_inside(&self, event_type: EventType) -> Result<()> {
        if self.state == State::Outside {
            Ok(())
        } else {
            Err(self.misplaced(event_type))
        }
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

    fn transaction_event(
        &mut self,
        format: &Arc<FormatDescription>,
        header: &EventHeader,
        event: &[u8],
    ) -> Result<Progress<'static>> {
        match header.event_type {
            EventType::GTID | EventType::GTID_TAGGED | EventType::ANONYMOUS_GTID => {
                self.begin(format, event)?;
                Ok(Progress::Nothing)
            }
            EventType::TRANSACTION_PAYLOAD => self.payload(format, event),
            EventType::INCIDENT => Err(incident(&IncidentEvent::decode(format, event)?)),
            _ => {
                let Some(part) = part_of(format, header, event)? else {
                    return Ok(Progress::Nothing);
                };
                self.append(event)?;
                self.take_part(format, header.event_type, part, event)
            }
        }
    }

    fn begin(&mut self, format: &FormatDescription, event: &[u8]) -> Result<()> {
        let gtid = GtidEvent::decode(format, event)?;
        if self.state.step(Part::Gtid).is_none() {
            return Err(self.misplaced(gtid.event_type()));
        }
        if gtid.is_anonymous() {
            return Err(
                Error::new(ErrorKind::Unsupported, "transaction without a GTID")
                    .remedy("the donor needs gtid_mode=ON since before this transaction"),
            );
        }
        self.open = Some(Open {
            start: self.batch.bytes.len(),
            gtid: gtid.gtid,
            last_committed: gtid.last_committed,
            sequence_number: gtid.sequence_number,
            immediate_commit_timestamp: gtid.immediate_commit_timestamp,
            original_commit_timestamp: gtid.original_commit_timestamp,
            has_changes: false,
            view_id: None,
        });
        self.append(event)
    }

    /// Copies an event into the batch, with the length that it has without its checksum.
    #[inline]
    fn append(&mut self, event: &[u8]) -> Result<()> {
        let Some(open) = &self.open else {
            return Ok(());
        };
        let bytes = &mut self.batch.bytes;
        if bytes.len() - open.start + event.len() > self.limits.transaction_bytes {
            return Err(too_large_transaction(&self.limits));
        }
        let start = bytes.len();
        bytes.extend_from_slice(event);
        let at = start + EventHeader::LENGTH_OFFSET;
        if let Some(length) = bytes.get_mut(at..at + 4) {
            length.copy_from_slice(&(event.len() as u32).to_le_bytes());
        }
        Ok(())
    }

    /// Moves the boundary state on; the event is in the batch already.
    #[inline]
    fn take_part(
        &mut self,
        format: &Arc<FormatDescription>,
        event_type: EventType,
        part: Part,
        event: &[u8],
    ) -> Result<Progress<'static>> {
        let before = self.state;
        let Some(step) = self.state.step(part) else {
            return Err(self.misplaced(event_type));
        };
        let Some(open) = &mut self.open else {
            return Err(self.misplaced(event_type));
        };
        match part {
            Part::Change | Part::Statement => open.has_changes = true,
            Part::ViewChange => {
                let view = ViewChangeEvent::decode(format, event)?;
                let end = self.batch.bytes.len();
                let start = end - event.len() + format.header_length();
                open.view_id = Some((start, start + view.view_id.len()));
            }
            _ => {}
        }
        if step == Step::Inside {
            return Ok(Progress::Nothing);
        }
        let kind = match (before, part) {
            (_, _) if open.view_id.is_some() => match open.view_id {
                Some((start, end)) => StoredKind::ViewChange { start, end },
                None => StoredKind::Dml,
            },
            (State::Open, Part::XaPrepare) => {
                if XaPrepareEvent::decode(format, event)?.one_phase {
                    StoredKind::Dml
                } else {
                    StoredKind::XaPrepare
                }
            }
            (State::Open, _) if open.has_changes => StoredKind::Dml,
            (State::Open, _) => StoredKind::Empty,
            _ => StoredKind::Statement,
        };
        self.complete(format, kind);
        Ok(Progress::Transaction)
    }

    fn complete(&mut self, format: &Arc<FormatDescription>, kind: StoredKind) {
        if let Some(open) = self.open.take() {
            let format = self.batch.intern(format);
            self.batch.entries.push(Entry {
                start: open.start,
                end: self.batch.bytes.len(),
                gtid: open.gtid,
                kind,
                last_committed: open.last_committed,
                sequence_number: open.sequence_number,
                immediate_commit_timestamp: open.immediate_commit_timestamp,
                original_commit_timestamp: open.original_commit_timestamp,
                format,
            });
        }
    }

    /// Expands a compressed transaction into the batch and checks the events in it.
    fn payload(
        &mut self,
        format: &Arc<FormatDescription>,
        event: &[u8],
    ) -> Result<Progress<'static>> {
        if self.state != State::AfterGtid {
            return Err(self.misplaced(EventType::TRANSACTION_PAYLOAD));
        }
        let payload = TransactionPayload::decode(format, event)?;
        let start = self.batch.bytes.len();
        self.decoder
            .expand(&payload, &self.limits, &mut self.batch.bytes)?;
        // The boundary checks need the batch; its bytes come back below, also after an error.
        let bytes = std::mem::take(&mut self.batch.bytes);
        let result = self.nested(format, bytes.get(start..).unwrap_or_default(), start);
        self.batch.bytes = bytes;
        let kind = result?;
        self.complete(format, kind);
        Ok(Progress::Transaction)
    }

    /// Checks the events of a payload, which begin at `offset` of the batch.
    fn nested(
        &mut self,
        format: &Arc<FormatDescription>,
        mut rest: &[u8],
        offset: usize,
    ) -> Result<StoredKind> {
        let total = rest.len();
        let mut has_changes = false;
        let mut xa_prepare = false;
        let mut whole = false;
        while !rest.is_empty() {
            let at = || format!("{} of the transaction payload", total - rest.len());
            let header = EventHeader::decode(rest)?;
            let Some((event, behind)) = rest.split_at_checked(header.length as usize) else {
                return Err(Error::new(
                    ErrorKind::Malformed,
                    format!("{} event at byte {} is cut", header.event_type, at()),
                ));
            };
            let part = match header.event_type {
                EventType::TRANSACTION_PAYLOAD
                | EventType::GTID
                | EventType::GTID_TAGGED
                | EventType::ANONYMOUS_GTID
                | EventType::FORMAT_DESCRIPTION => None,
                _ => Some(part_of(format, &header, event)?),
            };
            let step = match part {
                Some(Some(part)) if !whole => self.state.step(part),
                Some(None) => Some(Step::Inside),
                _ => None,
            };
            let Some(step) = step else {
                return Err(Error::new(
                    ErrorKind::Malformed,
                    format!(
                        "{} event at byte {} may not stand there",
                        header.event_type,
                        at()
                    ),
                ));
            };
            match part.flatten() {
                Some(Part::Change | Part::Statement) => has_changes = true,
                Some(Part::XaPrepare) => {
                    xa_prepare = !XaPrepareEvent::decode(format, event)?.one_phase;
                }
                Some(Part::ViewChange) => {
                    let view = ViewChangeEvent::decode(format, event)?;
                    let begin = offset + (total - rest.len()) + format.header_length();
                    if let Some(open) = &mut self.open {
                        open.view_id = Some((begin, begin + view.view_id.len()));
                    }
                }
                _ => {}
            }
            whole = step == Step::Complete;
            rest = behind;
        }
        if !whole {
            return Err(Error::new(
                ErrorKind::Malformed,
                "transaction payload ends before its transaction",
            ));
        }
        Ok(match self.open.as_ref().and_then(|open| open.view_id) {
            Some((start, end)) => StoredKind::ViewChange { start, end },
            None if xa_prepare => StoredKind::XaPrepare,
            None if has_changes => StoredKind::Dml,
            None => StoredKind::Empty,
        })
    }

    #[cold]
    fn misplaced(&self, event_type: EventType) -> Error {
        Error::new(
            ErrorKind::Malformed,
            format!("{event_type} event {}", self.state.describe()),
        )
    }

    #[cold]
    fn no_format(&self, header: &EventHeader) -> Error {
        Error::new(
            ErrorKind::Malformed,
            format!("{} event before any format description", header.event_type),
        )
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
        if let Some(open) = &self.open {
            error = error.at_gtid(open.gtid);
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

/// What an event that belongs to a transaction means for its boundaries; `None` for an unknown one
/// that may be passed over.
#[inline]
fn part_of(format: &FormatDescription, header: &EventHeader, event: &[u8]) -> Result<Option<Part>> {
    if header.event_type == EventType::QUERY {
        return Ok(Some(statement_part(
            QueryEvent::decode(format, event)?.statement,
        )));
    }
    match event_part(header.event_type) {
        Some(part) => Ok(Some(part)),
        None if header.event_type == EventType::IGNORABLE || header.has(EventHeader::IGNORABLE) => {
            Ok(None)
        }
        None => Err(not_understood(header.event_type)),
    }
}

#[cold]
fn incident(event: &IncidentEvent<'_>) -> Error {
    Error::new(
        ErrorKind::Unsupported,
        format!(
            "incident {} (LOST_EVENTS) in the donor's log: {}",
            event.number,
            String::from_utf8_lossy(event.message)
        ),
    )
    .remedy("changes are missing from the donor's binary log; use another donor, or clone")
}

#[cold]
fn too_large_transaction(limits: &Limits) -> Error {
    Error::new(
        ErrorKind::Limit,
        format!(
            "transaction of more than {} bytes (limit transaction_bytes)",
            limits.transaction_bytes
        ),
    )
}
