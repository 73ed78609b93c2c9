//! Reading a log from a position to its end: what it holds, where it is whole.

use std::path::Path;
use std::sync::Arc;

use super::Position;
use super::index::Index;
use super::segment::{Next, SegmentReader};
use crate::binlog::{ChecksumAlgorithm, EventType, FormatDescription};
use crate::gtid::{Gtid, GtidSet};
use crate::transaction::{Assembler, Batch, Progress};
use crate::{Error, ErrorKind, Limits, Result};

/// Transactions are handed over when they have this many bytes.
const BATCH_BYTES: usize = 4 << 20;

/// Where a log is whole, and what it holds up to there.
#[derive(Debug)]
pub(crate) struct Recovered {
    /// The end of the last whole transaction, or of the head of the last segment.
    pub(crate) end: Position,
    /// All GTIDs up to there.
    pub(crate) executed: GtidSet,
    /// What stood before the first segment that was read.
    pub(crate) previous: GtidSet,
    /// The format description of the last segment.
    pub(crate) format: Arc<FormatDescription>,
    /// Whether the last segment ends with Rotate: its successor was never made.
    pub(crate) rotated: bool,
    /// How long the last segment's file is. Where nothing is torn, all behind the end are zeros.
    pub(crate) length: u64,
    /// Bytes behind the end that are no whole transaction, and why.
    pub(crate) torn: Option<(u64, &'static str)>,
}

/// Reads all transactions behind `from` (a position, and everything executed before it) or from the
/// first segment on, in batches. Changes nothing. `None` where there is no segment.
///
/// # Errors
/// [`ErrorKind::TargetCorrupt`] where the log is damaged, [`ErrorKind::TargetIo`], and what `visit`
/// returns.
pub(crate) fn recover(
    index: &Index,
    limits: &Limits,
    from: Option<(Position, GtidSet)>,
    visit: &mut dyn FnMut(&Batch) -> Result<()>,
) -> Result<Option<Recovered>> {
    read(index, limits, from, Visit::Batches(visit))
}

/// As [`recover`] from the first segment on, for those who want no more than to know which transactions
/// there are: however large they are, little is in memory.
///
/// # Errors
/// As [`recover`].
pub(crate) fn recover_gtids(
    index: &Index,
    limits: &Limits,
    visit: &mut dyn FnMut(&Gtid),
) -> Result<Option<Recovered>> {
    read(index, limits, None, Visit::Gtids(visit))
}

/// Who is told what a log holds.
enum Visit<'a> {
    Batches(&'a mut dyn FnMut(&Batch) -> Result<()>),
    Gtids(&'a mut dyn FnMut(&Gtid)),
}

fn read(
    index: &Index,
    limits: &Limits,
    from: Option<(Position, GtidSet)>,
    visit: Visit<'_>,
) -> Result<Option<Recovered>> {
    let Some(&last) = index.segments().last() else {
        return match from {
            Some((position, _)) => Err(missing(index, position.segment)),
            None => Ok(None),
        };
    };
    let mut reading = Reading {
        limits,
        executed: None,
        previous: GtidSet::new(),
        recycled: Batch::default(),
        scratch: Vec::new(),
        visit,
    };
    let mut start = None;
    if let Some((position, executed)) = from {
        if !index.segments().contains(&position.segment) {
            return Err(missing(index, position.segment));
        }
        reading.executed = Some(executed);
        start = Some(position);
    }
    let first = start.map_or(0, |position| position.segment);
    let mut recovered = None;
    for &number in index.segments().iter().filter(|number| **number >= first) {
        let path = index.file_path(number);
        let from = start.take();
        let whole = reading
            .segment(&path, number, from)
            .map_err(|error| error.in_file(path.display().to_string()))?;
        if number != last && (whole.torn.is_some() || !whole.rotated) {
            let (_, reason) = whole
                .torn
                .unwrap_or((0, "it has no Rotate event at its end"));
            return Err(Error::new(
                ErrorKind::TargetCorrupt,
                format!("a segment of the log is damaged: {reason}"),
            )
            .in_file(path.display().to_string())
            .at_offset(whole.end.offset)
            .remedy("remove the store and recover the member anew"));
        }
        recovered = Some(whole);
    }
    Ok(recovered)
}

#[cold]
fn missing(index: &Index, segment: u64) -> Error {
    Error::new(
        ErrorKind::TargetCorrupt,
        format!("the log has no segment {}", index.file_name(segment)),
    )
    .in_file(index.directory().display().to_string())
    .remedy("put the file back, or remove the store and recover the member anew")
}

struct Reading<'a, 'v> {
    limits: &'a Limits,
    /// Unknown until the first segment's Previous_gtids are read.
    executed: Option<GtidSet>,
    previous: GtidSet,
    recycled: Batch,
    scratch: Vec<u8>,
    visit: Visit<'v>,
}

/// What one segment was found to be.
struct Scan {
    number: u64,
    assembler: Assembler,
    format: Option<Arc<FormatDescription>>,
    has_previous: bool,
    end: Position,
    rotated: bool,
}

impl Reading<'_, '_> {
    fn segment(&mut self, path: &Path, number: u64, from: Option<Position>) -> Result<Recovered> {
        let mut reader = SegmentReader::open(path, self.limits)?;
        let mut scan = Scan {
            number,
            assembler: Assembler::new(self.limits.clone(), ChecksumAlgorithm::Crc32),
            format: None,
            has_previous: false,
            end: Position {
                segment: number,
                offset: reader.offset(),
                sequence_number: 0,
            },
            rotated: false,
        };
        let mut from = from;
        let torn = loop {
            // The head of the segment is always read; then it goes on where the caller wants.
            if scan.has_previous
                && let Some(position) = from.take()
            {
                if position.offset < scan.end.offset || !reader.reaches(position.offset)? {
                    return Err(Error::new(
                        ErrorKind::TargetCorrupt,
                        format!(
                            "a segment of the log ends before {}, which it was known to reach",
                            position.offset
                        ),
                    )
                    .remedy("remove the store and recover the member anew"));
                }
                reader.seek(position.offset)?;
                scan.end = position;
            }
            let offset = reader.offset();
            match reader.next()? {
                Next::End => break None,
                Next::Torn(reason) => break Some(reason),
                Next::Event(event) => {
                    let length = event.len() as u64;
                    match self.event(&mut scan, event, offset + length, from.is_some()) {
                        Ok(()) => {}
                        Err(error) if error.kind() == ErrorKind::Checksum => {
                            break Some("an event differs from its checksum");
                        }
                        Err(error) => return Err(error.at_offset(offset)),
                    }
                }
            }
        };
        self.flush(&mut scan.assembler)?;
        let head_is_whole = scan.has_previous && from.is_none();
        let (Some(format), true) = (scan.format, head_is_whole) else {
            return Err(Error::new(
                ErrorKind::TargetCorrupt,
                "a segment of the log has no whole head",
            ));
        };
        let behind = reader.length().saturating_sub(scan.end.offset);
        let reason = torn.unwrap_or("the last transaction has no end");
        // What follows a Rotate event was never written by us; zeros are space, not loss.
        let cut = behind > 0 && (torn.is_some() || reader.offset() > scan.end.offset);
        Ok(Recovered {
            end: scan.end,
            executed: self.executed.clone().unwrap_or_default(),
            previous: self.previous.clone(),
            format,
            rotated: scan.rotated,
            length: reader.length(),
            torn: cut.then_some((behind, reason)),
        })
    }

    fn event(&mut self, scan: &mut Scan, event: &[u8], end: u64, skipping: bool) -> Result<()> {
        let event_type = event.get(4).map(|number| EventType(*number));
        let progress = scan.assembler.push(event)?;
        match event_type {
            Some(EventType::FORMAT_DESCRIPTION) if scan.format.is_none() => {
                scan.format = Some(Arc::new(FormatDescription::decode(event)?));
                scan.end.offset = end;
            }
            Some(EventType::PREVIOUS_GTIDS) if !scan.has_previous => {
                let body = event.get(19..event.len() - 4).unwrap_or_default();
                let previous = GtidSet::decode(body, self.limits)
                    .map_err(|error| damaged(error, "Previous_gtids"))?;
                self.check_previous(previous, skipping)?;
                scan.has_previous = true;
                scan.end.offset = end;
            }
            Some(EventType::ROTATE) => {
                scan.rotated = true;
                scan.end.offset = end;
            }
            _ => {}
        }
        if matches!(progress, Progress::Transaction) {
            scan.end.offset = end;
            scan.end.sequence_number += 1;
            if scan.assembler.ready().byte_size() >= BATCH_BYTES {
                self.flush(&mut scan.assembler)?;
            }
        }
        if matches!(self.visit, Visit::Gtids(_))
            && (scan.assembler.open_bytes() >= BATCH_BYTES || scan.assembler.has_last_part())
        {
            self.flush(&mut scan.assembler)?;
            self.pass_over(&mut scan.assembler);
        }
        debug_assert_eq!(scan.end.segment, scan.number);
        Ok(())
    }

    /// What a segment says of those before it has to agree with what they were found to hold.
    fn check_previous(&mut self, previous: GtidSet, skipping: bool) -> Result<()> {
        match &self.executed {
            None => {
                self.previous.clone_from(&previous);
                self.executed = Some(previous);
            }
            Some(executed) if skipping && previous.is_subset(executed) => {}
            Some(executed) if *executed == previous => {}
            Some(executed) => {
                return Err(Error::new(
                    ErrorKind::TargetCorrupt,
                    format!(
                        "the segments before this one hold {executed}, its Previous_gtids say {previous}"
                    ),
                )
                .remedy("remove the store and recover the member anew"));
            }
        }
        Ok(())
    }

    /// Forgets what there is of a transaction that is too large to be held.
    fn pass_over(&mut self, assembler: &mut Assembler) {
        let Some(part) = assembler.take_part(std::mem::take(&mut self.scratch)) else {
            return;
        };
        if part.end.is_some() {
            if let Some(executed) = &mut self.executed {
                executed.insert(&part.gtid);
            }
            if let Visit::Gtids(visit) = &mut self.visit {
                visit(&part.gtid);
            }
        }
        self.scratch = part.bytes;
    }

    /// Hands over what is whole.
    fn flush(&mut self, assembler: &mut Assembler) -> Result<()> {
        if assembler.ready().is_empty() {
            return Ok(());
        }
        let batch = assembler.take(std::mem::take(&mut self.recycled));
        if let Some(executed) = &mut self.executed {
            for transaction in batch.iter() {
                executed.insert(transaction.gtid());
            }
        }
        match &mut self.visit {
            Visit::Batches(visit) => visit(&batch)?,
            Visit::Gtids(visit) => {
                for transaction in batch.iter() {
                    visit(transaction.gtid());
                }
            }
        }
        self.recycled = batch;
        self.recycled.clear();
        Ok(())
    }
}

#[cold]
fn damaged(error: Error, what: &str) -> Error {
    Error::new(
        ErrorKind::TargetCorrupt,
        format!("the log's {what} cannot be read: {error}"),
    )
}
