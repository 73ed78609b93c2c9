//! The transaction that is being put together, and the batch of those that are whole.
//!
//! Each event is copied once, into the batch. Most of them are changes in an open transaction, and
//! are done with `take_change`; all others go step by step.

use std::sync::Arc;

use super::batch::{Batch, Entry, StoredKind};
use super::boundary::{Part, State, Step, event_part, statement_part};
use super::part::{self, OwnedKind};
use crate::binlog::{
    EventHeader, EventType, FormatDescription, GtidEvent, IncidentEvent, PayloadDecoder,
    QueryEvent, TransactionPayload, ViewChangeEvent, XaPrepareEvent, not_understood, split_nested,
};
use crate::gtid::Gtid;
use crate::{Error, ErrorKind, Limits, Result};

/// The transaction that is being put together: from its entry's start to the end of the batch's bytes.
#[derive(Debug)]
struct Open {
    /// What the batch will say about it; end and kind are set when it is whole.
    entry: Entry,
    has_changes: bool,
    /// Range of the view id in the batch's bytes.
    view_id: Option<(usize, usize)>,
    /// Bytes that went out in parts, and the view id where it was in them.
    taken: usize,
    taken_view_id: Option<Vec<u8>>,
}

/// Groups the events of one stream.
#[derive(Debug, Default)]
pub(super) struct Grouping {
    batch: Batch,
    state: State,
    open: Option<Open>,
    /// The end of a transaction that went out in parts: its last part is the batch's bytes.
    last: Option<Last>,
    decoder: PayloadDecoder,
}

#[derive(Debug)]
struct Last {
    gtid: Gtid,
    format: Arc<FormatDescription>,
    kind: OwnedKind,
}

impl Grouping {
    /// The whole transactions so far.
    pub(super) fn ready(&self) -> &Batch {
        &self.batch
    }

    /// Bytes held, those of the transaction that is not whole included.
    pub(super) fn byte_size(&self) -> usize {
        self.batch.bytes.len()
    }

    /// The GTID of the transaction that is being put together.
    pub(super) fn open_gtid(&self) -> Option<&Gtid> {
        self.open.as_ref().map(|open| &open.entry.gtid)
    }

    /// Bytes of the transaction that is not whole.
    #[inline]
    pub(super) fn open_bytes(&self) -> usize {
        let open = self.open.as_ref();
        open.map_or(0, |open| self.batch.bytes.len() - open.entry.start)
    }

    /// Whether parts of the transaction that came last went out, and more is to follow.
    #[inline]
    pub(super) fn is_in_parts(&self) -> bool {
        self.last.is_some() || self.open.as_ref().is_some_and(|open| open.taken > 0)
    }

    /// Whether the last part of a transaction waits to be taken.
    #[inline]
    pub(super) fn has_last_part(&self) -> bool {
        self.last.is_some()
    }

    /// Takes out what is there of the transaction that is not whole, or the last part of one. To be
    /// called when no whole transactions are left. `recycled` lends its memory.
    pub(super) fn take_part(
        &mut self,
        format: Option<&Arc<FormatDescription>>,
        mut recycled: Vec<u8>,
    ) -> Option<part::Part> {
        debug_assert!(self.batch.is_empty(), "whole transactions come before it");
        recycled.clear();
        if let Some(Last { gtid, format, kind }) = self.last.take() {
            return Some(part::Part {
                gtid,
                format,
                bytes: std::mem::replace(&mut self.batch.bytes, recycled),
                is_first: false,
                end: Some(kind),
            });
        }
        let (Some(open), Some(format)) = (&mut self.open, format) else {
            return None;
        };
        if let Some((start, end)) = open.view_id.take() {
            let view_id = self.batch.bytes.get(start..end).unwrap_or_default();
            open.taken_view_id = Some(view_id.to_vec());
        }
        let bytes = std::mem::replace(&mut self.batch.bytes, recycled);
        let is_first = open.taken == 0;
        open.taken += bytes.len();
        open.entry.start = 0;
        Some(part::Part {
            gtid: open.entry.gtid,
            format: Arc::clone(format),
            bytes,
            is_first,
            end: None,
        })
    }

    /// Forgets the transaction that is not whole.
    pub(super) fn abandon(&mut self) {
        if self.last.take().is_some() {
            self.batch.bytes.clear();
        }
        if let Some(open) = self.open.take() {
            self.batch.bytes.truncate(open.entry.start);
        }
        self.state = State::Outside;
    }

    /// Takes the whole transactions out, and leaves the one that is not whole in `recycled`.
    pub(super) fn take_ready(&mut self, mut recycled: Batch) -> Batch {
        recycled.clear();
        if let Some(open) = &mut self.open {
            let start = open.entry.start;
            let tail = self.batch.bytes.get(start..).unwrap_or_default();
            recycled.bytes.extend_from_slice(tail);
            self.batch.bytes.truncate(start);
            if let Some((from, to)) = &mut open.view_id {
                *from -= start;
                *to -= start;
            }
            open.entry.start = 0;
        }
        std::mem::replace(&mut self.batch, recycled)
    }

    /// No transaction spans files.
    pub(super) fn refuse_inside(&self, event_type: EventType) -> Result<()> {
        if self.state == State::Outside {
            Ok(())
        } else {
            Err(self.misplaced(event_type))
        }
    }

    /// Takes an event that is a change in an open transaction, as two of three events of most logs
    /// are: nothing moves on then. `false` where the event is another one, for [`take`](Self::take).
    #[inline]
    pub(super) fn take_change(
        &mut self,
        limits: &Limits,
        header: &EventHeader,
        event: &[u8],
    ) -> Result<bool> {
        match &mut self.open {
            Some(open)
                if self.state == State::Open
                    && event_part(header.event_type) == Some(Part::Change) =>
            {
                open.has_changes = true;
                append(&mut self.batch.bytes, open.entry.start, limits, event)?;
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// Takes an event (without its checksum) that belongs to a transaction; whether that is whole now.
    #[inline]
    pub(super) fn take(
        &mut self,
        limits: &Limits,
        format: &Arc<FormatDescription>,
        header: &EventHeader,
        event: &[u8],
    ) -> Result<bool> {
        match header.event_type {
            EventType::GTID | EventType::GTID_TAGGED | EventType::ANONYMOUS_GTID => {
                self.begin(limits, format, header.event_type, event)?;
                Ok(false)
            }
            EventType::TRANSACTION_PAYLOAD => self.payload(limits, format, event),
            EventType::INCIDENT => Err(incident(&IncidentEvent::decode(format, event)?)),
            _ => match part_of(format, header, event)? {
                Some(part) => self.part(limits, format, header, part, event),
                None => Ok(false),
            },
        }
    }

    #[inline]
    fn begin(
        &mut self,
        limits: &Limits,
        format: &Arc<FormatDescription>,
        event_type: EventType,
        event: &[u8],
    ) -> Result<()> {
        if event_type == EventType::GTID {
            self.begin_with(GtidEvent::decode_plain(format, event)?)?;
        } else {
            self.begin_with(GtidEvent::decode(format, event)?)?;
        }
        let start = self.batch.bytes.len();
        append(&mut self.batch.bytes, start, limits, event)
    }

    #[inline(always)]
    fn begin_with(&mut self, gtid: GtidEvent) -> Result<()> {
        if self.state.step(Part::Gtid).is_none() {
            return Err(self.misplaced(gtid.event_type()));
        }
        if gtid.is_anonymous() {
            return Err(
                Error::new(ErrorKind::Unsupported, "transaction without a GTID")
                    .remedy("the donor needs gtid_mode=ON since before this transaction"),
            );
        }
        let start = self.batch.bytes.len();
        self.open = Some(Open {
            entry: Entry {
                start,
                end: start,
                gtid: gtid.gtid,
                kind: StoredKind::Empty,
                last_committed: gtid.last_committed,
                sequence_number: gtid.sequence_number,
                immediate_commit_timestamp: gtid.immediate_commit_timestamp,
                original_commit_timestamp: gtid.original_commit_timestamp,
                format: 0,
            },
            has_changes: false,
            view_id: None,
            taken: 0,
            taken_view_id: None,
        });
        Ok(())
    }

    /// Moves the boundary state on and copies the event into the batch.
    #[inline]
    fn part(
        &mut self,
        limits: &Limits,
        format: &Arc<FormatDescription>,
        header: &EventHeader,
        part: Part,
        event: &[u8],
    ) -> Result<bool> {
        let before = self.state;
        let (Some(step), Some(open)) = (self.state.step(part), &mut self.open) else {
            return Err(self.misplaced(header.event_type));
        };
        append(&mut self.batch.bytes, open.entry.start, limits, event)?;
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
            return Ok(false);
        }
        let kind = match (before, part) {
            _ if let Some((start, end)) = open.view_id => StoredKind::ViewChange { start, end },
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
        Ok(true)
    }

    #[inline]
    fn complete(&mut self, format: &Arc<FormatDescription>, kind: StoredKind) {
        let Some(open) = &mut self.open else {
            return;
        };
        if open.taken == 0 {
            // What changes is written where it stays: a copy of what has just been written would wait
            // until that is in the cache.
            let format = self.batch.intern(format);
            let end = self.batch.bytes.len();
            self.batch.entries.push(open.entry.clone());
            if let Some(entry) = self.batch.entries.last_mut() {
                entry.end = end;
                entry.kind = kind;
                entry.format = format;
            }
        } else {
            let kind = own_kind(kind, &self.batch.bytes, open.taken_view_id.take());
            self.last = Some(Last {
                gtid: open.entry.gtid,
                format: Arc::clone(format),
                kind,
            });
        }
        self.open = None;
    }

    /// Expands a compressed transaction into the batch and checks the events in it.
    fn payload(
        &mut self,
        limits: &Limits,
        format: &Arc<FormatDescription>,
        event: &[u8],
    ) -> Result<bool> {
        if self.state != State::AfterGtid {
            return Err(self.misplaced(EventType::TRANSACTION_PAYLOAD));
        }
        let payload = TransactionPayload::decode(format, event)?;
        let start = self.batch.bytes.len();
        self.decoder
            .expand(&payload, limits, &mut self.batch.bytes)?;
        // The boundary checks need the batch; its bytes come back below, also after an error.
        let bytes = std::mem::take(&mut self.batch.bytes);
        let result = self.nested(format, bytes.get(start..).unwrap_or_default(), start);
        self.batch.bytes = bytes;
        let kind = result?;
        self.complete(format, kind);
        Ok(true)
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
            let (header, event) = split_nested(rest)?;
            let part = part_of(format, &header, event)?;
            let step = match part {
                Some(part) if !whole => self.state.step(part),
                Some(_) => None,
                None => Some(Step::Inside),
            };
            let Some(step) = step else {
                let at = total - rest.len();
                return Err(Error::new(
                    ErrorKind::Malformed,
                    format!(
                        "{} event at byte {at} of the transaction payload may not stand there",
                        header.event_type
                    ),
                ));
            };
            match part {
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
            rest = rest.get(event.len()..).unwrap_or_default();
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
}

#[cold]
fn own_kind(kind: StoredKind, bytes: &[u8], taken_view_id: Option<Vec<u8>>) -> OwnedKind {
    match (kind, taken_view_id) {
        (StoredKind::ViewChange { start, end }, _) => {
            OwnedKind::ViewChange(bytes.get(start..end).unwrap_or_default().to_vec())
        }
        (_, Some(view_id)) => OwnedKind::ViewChange(view_id),
        (StoredKind::Dml, None) => OwnedKind::Dml,
        (StoredKind::Statement, None) => OwnedKind::Statement,
        (StoredKind::XaPrepare, None) => OwnedKind::XaPrepare,
        (StoredKind::Empty, None) => OwnedKind::Empty,
    }
}

/// Copies an event behind a transaction that begins at `start`, with the length that it has without
/// its checksum.
#[inline]
fn append(bytes: &mut Vec<u8>, start: usize, limits: &Limits, event: &[u8]) -> Result<()> {
    let end = bytes.len();
    if end - start + event.len() > limits.transaction_bytes {
        return Err(too_large_transaction(limits));
    }
    bytes.extend_from_slice(event);
    let at = end + EventHeader::LENGTH_OFFSET;
    if let Some(length) = bytes.get_mut(at..at + 4) {
        length.copy_from_slice(&(event.len() as u32).to_le_bytes());
    }
    Ok(())
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
