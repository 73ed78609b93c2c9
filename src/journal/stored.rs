//! A transaction that is too large to be held in memory: whole, in a relay log, and read in pieces.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use super::compose::CHECKSUM;
use super::disk::io_error;
use super::segment::{Next, SegmentReader};
use crate::binlog::{EventHeader, FormatDescription, open};
use crate::gtid::Gtid;
use crate::transaction::{Assembler, Batch, OwnedKind, Part, TransactionKind};
use crate::{Error, ErrorKind, Limits, Result};

/// One whole transaction in a file of a relay log. Its events are read one by one, as often as wanted,
/// and never all of them are in memory.
///
/// The file stays readable as long as this lives, also when it has been purged.
///
/// ```
/// use rejoin::Error;
/// use rejoin::journal::StoredTransaction;
///
/// /// Bytes of all row events: what a target would do with each event stands here.
/// fn row_bytes(transaction: &mut StoredTransaction) -> Result<u64, Error> {
///     let mut bytes = 0;
///     let mut events = transaction.events()?;
///     while let Some((header, event)) = events.next_event()? {
///         if header.event_type.is_rows() {
///             bytes += event.len() as u64;
///         }
///     }
///     Ok(bytes)
/// }
/// ```
#[derive(Debug)]
pub struct StoredTransaction {
    file: File,
    path: PathBuf,
    limits: Limits,
    gtid: Gtid,
    format: Arc<FormatDescription>,
    kind: OwnedKind,
    start: u64,
    end: u64,
}

impl StoredTransaction {
    /// The transaction between two offsets of a segment, of which `last` is the last part.
    pub(super) fn open(
        path: PathBuf,
        limits: Limits,
        last: Part,
        start: u64,
        end: u64,
    ) -> Result<Self> {
        let file = File::open(&path).map_err(|error| io_error("read the log", &path, error))?;
        Ok(Self {
            file,
            path,
            limits,
            gtid: last.gtid,
            format: last.format,
            kind: last.end.unwrap_or(OwnedKind::Dml),
            start,
            end,
        })
    }

    /// Its GTID.
    pub fn gtid(&self) -> &Gtid {
        &self.gtid
    }

    /// What it is.
    pub fn kind(&self) -> TransactionKind<'_> {
        self.kind.as_kind()
    }

    /// How its events are read.
    pub fn format(&self) -> &Arc<FormatDescription> {
        &self.format
    }

    /// Bytes of its events in the file, checksums included.
    pub fn byte_size(&self) -> u64 {
        self.end - self.start
    }

    /// Its events from the first one on, which is the GTID event.
    ///
    /// # Errors
    /// [`ErrorKind::TargetIo`], [`ErrorKind::TargetCorrupt`].
    pub fn events(&mut self) -> Result<StoredEvents<'_>> {
        let mut events = self.reader()?;
        events.seek(self.start)?;
        Ok(StoredEvents {
            transaction: self,
            events,
            event: Vec::new(),
        })
    }

    /// The whole transaction in memory, alone in a batch: for those who cannot do otherwise.
    ///
    /// # Errors
    /// [`ErrorKind::Limit`] where it has more than [`Limits::transaction_bytes`],
    /// [`ErrorKind::TargetIo`], [`ErrorKind::TargetCorrupt`].
    pub fn load(&mut self) -> Result<Batch> {
        self.assemble().map_err(|error| {
            error
                .at_gtid(self.gtid)
                .in_file(self.path.display().to_string())
        })
    }

    fn assemble(&self) -> Result<Batch> {
        let mut events = self.reader()?;
        let mut assembler = Assembler::new(self.limits.clone(), CHECKSUM);
        if let Next::Event(format_description) = events.next()? {
            assembler.push(format_description)?;
        }
        events.seek(self.start)?;
        while events.offset() < self.end {
            match events.next()? {
                Next::Event(event) => assembler.push(event)?,
                Next::End => return Err(damaged("it is shorter than what was written")),
                Next::Torn(reason) => return Err(damaged(reason)),
            };
        }
        let batch = assembler.take(Batch::new());
        let is_it = batch.len() == 1
            && batch
                .first()
                .is_some_and(|transaction| *transaction.gtid() == self.gtid);
        if is_it {
            Ok(batch)
        } else {
            Err(damaged("it holds another transaction than was found there"))
        }
    }

    fn reader(&self) -> Result<SegmentReader> {
        let file = self
            .file
            .try_clone()
            .map_err(|error| io_error("read the log", &self.path, error))?;
        SegmentReader::of(file, &self.path, &self.limits)
    }
}

/// The events of a [`StoredTransaction`].
#[derive(Debug)]
pub struct StoredEvents<'a> {
    transaction: &'a StoredTransaction,
    events: SegmentReader,
    event: Vec<u8>,
}

impl StoredEvents<'_> {
    /// The next event, verified and without its checksum, in the form in which
    /// [`Transaction::events`](crate::transaction::Transaction::events) gives it; `None` behind the
    /// last one.
    ///
    /// # Errors
    /// [`ErrorKind::TargetIo`]; [`ErrorKind::TargetCorrupt`] where the file no longer holds what was
    /// written to it.
    pub fn next_event(&mut self) -> Result<Option<(EventHeader, &[u8])>> {
        let offset = self.events.offset();
        if offset >= self.transaction.end {
            return Ok(None);
        }
        self.event.clear();
        let read = match self.events.next()? {
            Next::Event(event) => {
                open(CHECKSUM, event).and_then(|event| Ok((EventHeader::decode(event)?, event)))
            }
            Next::End => Err(damaged("it is shorter than what was written")),
            Next::Torn(reason) => Err(damaged(reason)),
        };
        let (mut header, event) = read.map_err(|error| {
            Error::new(ErrorKind::TargetCorrupt, error.message().to_owned())
                .in_file(self.transaction.path.display().to_string())
                .at_gtid(self.transaction.gtid)
                .at_offset(offset)
        })?;
        header.length = event.len() as u32;
        self.event.extend_from_slice(event);
        let place = EventHeader::LENGTH_OFFSET..EventHeader::LENGTH_OFFSET + 4;
        if let Some(length) = self.event.get_mut(place) {
            length.copy_from_slice(&header.length.to_le_bytes());
        }
        Ok(Some((header, &self.event)))
    }
}

#[cold]
fn damaged(reason: &str) -> Error {
    Error::new(
        ErrorKind::TargetCorrupt,
        format!("a segment of the log is damaged: {reason}"),
    )
}
