//! Reading a log on, in order, while it is written.

use super::index::Index;
use super::segment::{Next, SegmentReader};
use super::{Journal, Position, StoredTransaction};
use crate::binlog::{ChecksumAlgorithm, EventType};
use crate::transaction::{Assembler, Batch, Part, Progress};
use crate::{Error, ErrorKind, Limits, Result};

/// A batch that is read has at most about this many bytes; one transaction may be larger.
const BATCH_BYTES: usize = 4 << 20;
/// And at most this many transactions.
const BATCH_TRANSACTIONS: usize = 1024;

/// Of a transaction that is too large to be put together about this many bytes are looked at in one go:
/// the thread has others to look after. In tests few, so that all of them go on in the middle.
const LOOK_BYTES: u64 = if cfg!(test) { 1 << 10 } else { 16 << 20 };

/// What was read and goes to the applier at once.
#[derive(Debug)]
pub(crate) enum Load {
    Batch(Batch),
    /// The next transaction is too large for a batch.
    Stored(StoredTransaction),
}

/// A place in a log from which its transactions are read in batches. Belongs to the thread that writes
/// the log: it trusts that nothing is appended while it reads.
#[derive(Debug)]
pub(crate) struct LogReader {
    limits: Limits,
    /// A transaction of so many bytes is not put together.
    large: usize,
    /// Behind the last transaction that was given out. Offset 0 is the beginning of the segment.
    position: Position,
    segment: Option<OpenSegment>,
}

/// The segment of the position, opened, its head read.
#[derive(Debug)]
struct OpenSegment {
    events: SegmentReader,
    assembler: Assembler,
    /// Its Rotate event was read.
    is_over: bool,
    /// Memory of a part.
    scratch: Vec<u8>,
}

impl LogReader {
    /// Forgets what it has read ahead: what lies behind the journal's end is about to be taken back.
    pub(crate) fn forget_ahead(&mut self) {
        self.segment = None;
    }

    /// Reads from the first transaction of a segment on.
    pub(crate) fn at_segment(number: u64, limits: Limits, large: usize) -> Self {
        Self {
            limits,
            large,
            position: Position {
                segment: number,
                offset: 0,
                sequence_number: 0,
            },
            segment: None,
        }
    }

    /// The segment that is read from now.
    pub(crate) fn segment(&self) -> u64 {
        self.position.segment
    }

    /// Passes over everything up to `position`.
    pub(crate) fn skip_to(&mut self, position: Position) {
        self.position = position;
        self.segment = None;
    }

    /// The next transactions up to the end of the journal, or `None` where there are none, and where
    /// it is [in the middle](Self::is_in_the_middle) of a large one; `recycled` lends its memory.
    ///
    /// # Errors
    /// [`ErrorKind::TargetIo`]; [`ErrorKind::TargetCorrupt`] where the files no longer hold what was
    /// written to them.
    pub(crate) fn read(&mut self, journal: &Journal, recycled: Batch) -> Result<Option<Load>> {
        let end = journal.end();
        loop {
            let path = journal.index().file_path(self.position.segment);
            let in_file = |error: Error| error.in_file(path.display().to_string());
            let mut open = match self.segment.take() {
                Some(open) => open,
                None => self.open(journal.index()).map_err(in_file)?,
            };
            let is_last = self.position.segment >= end.segment;
            open.events.extend()?;
            let limit = if is_last {
                end.offset
            } else {
                open.events.length()
            };
            match self.gather(&mut open, limit).map_err(in_file)? {
                Gathered::Ready => {}
                Gathered::Unfinished => {
                    self.segment = Some(open);
                    return Ok(None);
                }
                Gathered::Large(last, start) => {
                    let (limits, end) = (self.limits.clone(), open.events.offset());
                    self.segment = Some(open);
                    let stored = StoredTransaction::open(path, limits, last, start, end)?;
                    return Ok(Some(Load::Stored(stored)));
                }
            }
            if !open.assembler.ready().is_empty() {
                let batch = open.assembler.take(recycled);
                self.segment = Some(open);
                return Ok(Some(Load::Batch(batch)));
            }
            if is_last {
                self.segment = Some(open);
                return Ok(None);
            }
            if !open.is_over {
                return Err(in_file(damaged("it has no Rotate event at its end")));
            }
            self.position = Position {
                segment: self.position.segment + 1,
                offset: 0,
                sequence_number: 0,
            };
        }
    }

    /// Opens the segment of the position, reads its head, and goes on where the position is.
    fn open(&mut self, index: &Index) -> Result<OpenSegment> {
        let path = index.file_path(self.position.segment);
        let mut events = SegmentReader::open(&path, &self.limits)?;
        let mut assembler = Assembler::new(self.limits.clone(), ChecksumAlgorithm::Crc32);
        loop {
            match events.next()? {
                Next::Event(event) => {
                    let is_last = event.get(4) == Some(&EventType::PREVIOUS_GTIDS.0);
                    assembler.push(event).map_err(changed)?;
                    if is_last {
                        break;
                    }
                }
                Next::End | Next::Torn(_) => return Err(damaged("it has no whole head")),
            }
        }
        if self.position.offset == 0 {
            self.position.offset = events.offset();
        } else {
            events.seek(self.position.offset)?;
        }
        Ok(OpenSegment {
            events,
            assembler,
            is_over: false,
            scratch: Vec::new(),
        })
    }

    /// Whether it has looked at the beginning of a large transaction: the next [`read`](Self::read) goes
    /// on there.
    pub(crate) fn is_in_the_middle(&self) -> bool {
        let open = self.segment.as_ref();
        open.is_some_and(|open| open.events.offset() > self.position.offset)
    }

    /// Puts transactions together until there are enough, or the segment or what was written of it ends.
    fn gather(&mut self, open: &mut OpenSegment, limit: u64) -> Result<Gathered> {
        let OpenSegment {
            events,
            assembler,
            scratch,
            ..
        } = open;
        let from = events.offset();
        while events.offset() < limit {
            if assembler.open_bytes() >= self.large {
                if !assembler.ready().is_empty() {
                    break;
                }
                if let Some(part) = assembler.take_part(std::mem::take(scratch)) {
                    *scratch = part.bytes;
                }
                if events.offset() - from >= LOOK_BYTES {
                    return Ok(Gathered::Unfinished);
                }
            }
            let event = match events.next()? {
                Next::Event(event) => event,
                Next::End => return Err(damaged("it is shorter than what was written")),
                Next::Torn(reason) => return Err(damaged(reason)),
            };
            match assembler.push(event).map_err(changed)? {
                Progress::Transaction => {}
                Progress::Rotate { .. } => {
                    open.is_over = true;
                    break;
                }
                _ => continue,
            }
            let start = std::mem::replace(&mut self.position.offset, events.offset());
            if assembler.has_last_part()
                && let Some(last) = assembler.take_part(std::mem::take(scratch))
            {
                return Ok(Gathered::Large(last, start));
            }
            let ready = assembler.ready();
            if ready.len() >= BATCH_TRANSACTIONS || assembler.byte_size() >= BATCH_BYTES {
                break;
            }
        }
        Ok(Gathered::Ready)
    }
}

/// How putting transactions together has ended.
enum Gathered {
    /// What was put together is with the assembler.
    Ready,
    /// In the middle of a transaction that is too large.
    Unfinished,
    /// Behind one that was only looked at: its last part, and where it starts.
    Large(Part, u64),
}

#[cold]
fn damaged(reason: &str) -> Error {
    Error::new(
        ErrorKind::TargetCorrupt,
        format!("a segment of the log is damaged: {reason}"),
    )
}

/// What was written here was whole: an event that cannot be read now was changed on the disk.
#[cold]
fn changed(error: Error) -> Error {
    Error::new(
        ErrorKind::TargetCorrupt,
        format!("the log cannot be read back: {}", error.message()),
    )
    .caused_by(error)
}
