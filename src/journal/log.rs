//! The journal: a log that is open for writing.

mod ahead;
mod parts;
mod purge;
mod spare;

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use super::compose::{CHECKSUM, Clock, Composer, FORMAT_FLAGS_OFFSET, InParts};
use super::disk::{Disk, io_error};
use super::index::Index;
use super::recover::{Recovered, recover};
use super::{JournalOptions, LogTail, Position};
use crate::binlog::{EventHeader, EventType, FormatDescription};
use crate::gtid::{Gtid, GtidSet};
use crate::transaction::{Batch, Transaction};
use crate::{Error, ErrorKind, Limits, Result};
use spare::Spare;

/// The version in the format description of a segment into which nothing was written yet.
const SERVER_VERSION: &str = "9.7.4-rejoin";
/// Memory for a group that is kept from one commit to the next.
const KEPT_CAPACITY: usize = 8 << 20;

/// A log of whole transactions that is open for writing. See the [module](super) for its files.
///
/// Transactions are [appended](Journal::append) in memory, and written and synced together by
/// [`Journal::commit`].
#[derive(Debug)]
pub struct Journal {
    options: JournalOptions,
    disk: Disk,
    index: Index,
    /// The last segment, standing at `end`.
    file: File,
    format: Arc<FormatDescription>,
    /// The end of what was committed.
    end: Position,
    /// Where the zeros end that stand behind all that was written; no more than that where there are none.
    ahead: u64,
    /// The next segment's space, once this one is full enough.
    spare: Option<Spare>,
    executed: GtidSet,
    /// What was appended since.
    pending: Composer,
    pending_gtids: Vec<Gtid>,
    /// A transaction that is being written behind `end`, where nobody reads. Nothing is pending then.
    in_parts: Option<InParts>,
    clock: Clock,
    /// Tells readers of the files how far they may read.
    tail: LogTail,
    /// A write or sync failed: what the disk holds is not known.
    failed: bool,
}

/// The last segment, its file standing at `end`.
#[derive(Debug)]
struct OpenSegment {
    end: Position,
    file: File,
    ahead: u64,
}

impl Journal {
    /// Opens the log in `directory`, or makes an empty one, and hands its transactions behind `from`
    /// (all, where that is `None`) to `replay` in batches. `from` is a position with everything that
    /// was executed before it.
    ///
    /// What a crash left behind the last whole transaction is cut off.
    ///
    /// # Errors
    /// [`ErrorKind::TargetIo`], [`ErrorKind::TargetCorrupt`], and what `replay` returns.
    pub fn open(
        directory: &Path,
        options: JournalOptions,
        limits: &Limits,
        from: Option<(Position, GtidSet)>,
        replay: &mut dyn FnMut(&Batch) -> Result<()>,
    ) -> Result<Self> {
        Self::open_on(Disk::default(), directory, options, limits, from, replay)
    }

    pub(crate) fn open_on(
        disk: Disk,
        directory: &Path,
        options: JournalOptions,
        limits: &Limits,
        from: Option<(Position, GtidSet)>,
        replay: &mut dyn FnMut(&Batch) -> Result<()>,
    ) -> Result<Self> {
        let index = Index::read(directory, &options.base_name)?;
        match recover(&index, limits, from, replay)? {
            Some(recovered) => Self::resume(disk, index, options, recovered),
            None => Self::create(disk, index, options, 1, GtidSet::new()),
        }
    }

    /// Throws away every segment and begins anew, with `executed` as what came before.
    ///
    /// # Errors
    /// [`ErrorKind::TargetIo`]; the journal is then unusable.
    pub fn reset(&mut self, executed: GtidSet) -> Result<()> {
        self.check_usable()?;
        self.failed = true;
        let old = self.index.segments().to_vec();
        let next = old.last().map_or(1, |number| number + 1);
        let made = make_segment(
            &self.disk,
            &self.index,
            &self.options,
            next,
            &self.format,
            &executed,
            None,
        )?;
        self.index.store(&self.disk, vec![next])?;
        self.remove(&old);
        self.executed = executed;
        self.enter(made);
        self.failed = false;
        Ok(())
    }

    /// Takes nothing more: what the store's files say is not known.
    pub(crate) fn refuse(&mut self) {
        self.failed = true;
    }

    /// Makes an empty log whose first segment has this number, with `executed` as what came before.
    pub(super) fn create(
        disk: Disk,
        mut index: Index,
        options: JournalOptions,
        number: u64,
        executed: GtidSet,
    ) -> Result<Self> {
        let format = Arc::new(FormatDescription::new(SERVER_VERSION, CHECKSUM)?);
        let made = make_segment(&disk, &index, &options, number, &format, &executed, None)?;
        index.store(&disk, vec![number])?;
        Ok(Self::at(disk, index, options, format, executed, made))
    }

    /// Goes on with the log that was recovered.
    pub(super) fn resume(
        disk: Disk,
        index: Index,
        options: JournalOptions,
        recovered: Recovered,
    ) -> Result<Self> {
        let end = recovered.end;
        let path = index.file_path(end.segment);
        if let Some((bytes, reason)) = recovered.torn {
            log::warn!(
                "{}: {bytes} bytes behind offset {} are cut off: {reason}",
                path.display(),
                end.offset
            );
        }
        let keeps_zeros = options.writes_ahead() && recovered.torn.is_none() && !recovered.rotated;
        let length = if keeps_zeros {
            recovered.length
        } else {
            end.offset
        };
        let file = disk
            .open_at(&path, end.offset, length)
            .map_err(|error| io_error("open the log", &path, error))?;
        if options.sync {
            // What the last process has written, and not waited for, counts from now on.
            disk.sync(&file)
                .map_err(|error| io_error("sync the log", &path, error))?;
        }
        let Recovered {
            executed, format, ..
        } = recovered;
        let made = OpenSegment {
            end,
            file,
            ahead: length,
        };
        let mut journal = Self::at(disk, index, options, format, executed, made);
        if recovered.rotated {
            journal.next_segment()?;
        } else {
            journal.mark_in_use(true)?;
        }
        Ok(journal)
    }

    fn at(
        disk: Disk,
        index: Index,
        options: JournalOptions,
        format: Arc<FormatDescription>,
        executed: GtidSet,
        segment: OpenSegment,
    ) -> Self {
        let OpenSegment { end, file, ahead } = segment;
        Spare::remove_old(&disk, &index);
        let mut pending = Composer::default();
        pending.restart(end.offset);
        Self {
            tail: LogTail::new(&index, end, options.sync),
            options,
            disk,
            index,
            file,
            format,
            end,
            ahead,
            spare: None,
            executed,
            pending,
            pending_gtids: Vec::new(),
            in_parts: None,
            clock: Clock::at(end.sequence_number),
            failed: false,
        }
    }

    /// Everything that the log holds or once held, up to the last commit.
    pub fn gtid_executed(&self) -> &GtidSet {
        &self.executed
    }

    /// The end of the last commit.
    pub fn end(&self) -> Position {
        self.end
    }

    pub(super) fn index(&self) -> &Index {
        &self.index
    }

    /// Bytes that wait for [`Journal::commit`].
    pub fn pending_bytes(&self) -> usize {
        self.pending.bytes().len()
    }

    /// Appends a transaction. Nothing is written but,
    /// where the segment is full or the format is another one, the head of the next segment.
    ///
    /// # Errors
    /// [`ErrorKind::TargetIo`], [`ErrorKind::Limit`]; the transaction is not appended then.
    pub fn append(&mut self, transaction: &Transaction<'_>) -> Result<()> {
        self.check_usable()?;
        if self.in_parts.is_some() {
            return Err(parts::misplaced());
        }
        let format = transaction.format();
        self.prepare(format)?;
        self.clock.follow(format);
        self.pending.transaction(transaction, &mut self.clock)?;
        self.pending_gtids.push(*transaction.gtid());
        Ok(())
    }

    /// Sees to it that a transaction of this format can be appended: to the next segment, where this
    /// one is full or has another format.
    fn prepare(&mut self, format: &Arc<FormatDescription>) -> Result<()> {
        if format.header_length() != EventHeader::SIZE {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!("event headers of {} bytes", format.header_length()),
            ));
        }
        let is_full = self.end.offset >= self.options.segment_bytes && self.end.sequence_number > 0;
        let is_other = !format.reads_like(&self.format);
        if self.pending.bytes().is_empty() && is_full || is_other {
            // Nothing of a group may be split, but a group that changes its format is two.
            self.commit()?;
            if is_other {
                let ours = FormatDescription::clone(format).with_checksum(CHECKSUM);
                self.format = Arc::new(ours.with_created(0));
            }
            self.rotate()?;
        }
        Ok(())
    }

    /// Takes back everything since the last commit.
    pub fn roll_back(&mut self) {
        self.pending.restart(self.end.offset);
        self.pending_gtids.clear();
        self.clock = Clock::at(self.end.sequence_number);
    }

    /// Writes what was appended and waits until it is on the disk.
    ///
    /// # Errors
    /// [`ErrorKind::TargetIo`]: nothing of it counts as executed, and the journal takes nothing
    /// more.
    pub fn commit(&mut self) -> Result<Position> {
        self.check_usable()?;
        if self.pending.bytes().is_empty() {
            return Ok(self.end);
        }
        self.failed = true;
        self.write_pending()?;
        if self.options.sync {
            self.sync_file()?;
        }
        self.failed = false;
        self.end.offset += self.pending.bytes().len() as u64;
        self.committed();
        Ok(self.end)
    }

    /// Writes what was composed, where the file stands.
    fn write_pending(&mut self) -> Result<()> {
        self.write_ahead()?;
        let bytes = self.pending.bytes();
        self.reserve(
            self.pending.offset() - bytes.len() as u64,
            bytes.len() as u64,
        )?;
        if let Err(error) = self.disk.write(&self.file, bytes) {
            // Best effort: without the torn part the log reads as it stood.
            let _ = self.file.set_len(self.end.offset);
            return Err(self.io_error("write to the log", error));
        }
        Ok(())
    }

    /// Takes the space for this many bytes, where the options say so.
    fn reserve(&self, offset: u64, length: u64) -> Result<()> {
        if !self.options.reserve || length == 0 {
            return Ok(());
        }
        self.disk
            .reserve(&self.file, offset, length)
            .map_err(|error| self.io_error("reserve space for the log", error))
    }

    /// What was pending is written, up to the end.
    fn committed(&mut self) {
        self.end.sequence_number = self.clock.sequence_number();
        for gtid in self.pending_gtids.drain(..) {
            self.executed.insert(&gtid);
        }
        self.pending.restart(self.end.offset);
        self.pending.shrink_to(KEPT_CAPACITY);
        self.tail.publish(self.end);
        self.begin_spare();
    }

    /// Waits until everything that was committed is on the disk: for logs whose commits do not.
    ///
    /// # Errors
    /// [`ErrorKind::TargetIo`]; the journal takes nothing more, because a second sync of the same
    /// file may succeed without having written what the first one lost.
    pub(super) fn sync(&mut self) -> Result<()> {
        self.check_usable()?;
        self.failed = true;
        self.sync_file()?;
        self.failed = false;
        Ok(())
    }

    fn sync_file(&self) -> Result<()> {
        self.disk
            .sync(&self.file)
            .map_err(|error| self.io_error("sync the log", error))
    }

    /// Ends the segment and begins the next one. Nothing may be pending.
    fn rotate(&mut self) -> Result<()> {
        self.failed = true;
        let next = self.end.segment + 1;
        let own = own_header(&self.options);
        self.pending.rotate(&self.index.file_name(next), &own);
        self.disk
            .write(&self.file, self.pending.bytes())
            .map_err(|error| self.io_error("write to the log", error))?;
        self.cut_ahead(self.pending.offset())
            .map_err(|error| self.io_error("cut the log", error))?;
        self.mark_in_use(false)?;
        self.sync_file()?;
        self.next_segment()?;
        self.failed = false;
        Ok(())
    }

    /// Begins the segment behind one that ends with Rotate.
    fn next_segment(&mut self) -> Result<()> {
        let next = self.end.segment + 1;
        let spare = self.spare.take_if(|spare| spare.is_done());
        let made = make_segment(
            &self.disk,
            &self.index,
            &self.options,
            next,
            &self.format,
            &self.executed,
            spare,
        )?;
        let mut segments = self.index.segments().to_vec();
        segments.push(next);
        self.index.store(&self.disk, segments)?;
        self.enter(made);
        Ok(())
    }

    fn enter(&mut self, segment: OpenSegment) {
        let OpenSegment { end, file, ahead } = segment;
        self.end = end;
        self.file = file;
        self.ahead = ahead;
        self.pending.restart(end.offset);
        self.pending_gtids.clear();
        self.clock = Clock::at(0);
        self.tail.publish(end);
    }

    /// A handle for those who read the files while they are written.
    pub fn tail(&self) -> LogTail {
        self.tail.clone()
    }

    fn mark_in_use(&self, in_use: bool) -> Result<()> {
        let flags = if in_use {
            EventHeader::BINLOG_IN_USE as u8
        } else {
            0
        };
        self.disk
            .patch(&self.file, FORMAT_FLAGS_OFFSET, &[flags])
            .map_err(|error| self.io_error("mark the log as in use", error))
    }

    fn check_usable(&self) -> Result<()> {
        if self.failed {
            return Err(self.unusable());
        }
        Ok(())
    }

    #[cold]
    fn unusable(&self) -> Error {
        Error::new(
            ErrorKind::TargetIo,
            "the log takes nothing more, because an earlier write or sync of it failed",
        )
        .in_file(self.path().display().to_string())
        .remedy("check the disk, then start again: opening the log finds out what is on the disk")
    }

    fn path(&self) -> std::path::PathBuf {
        self.index.file_path(self.end.segment)
    }

    #[cold]
    fn io_error(&self, doing: &str, error: std::io::Error) -> Error {
        io_error(doing, &self.path(), error).at_offset(self.end.offset)
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        if !self.failed {
            // Zeros or a mark that stay do no harm: opening reads the log either way.
            let _ = self.cut_ahead(self.end.offset);
            let _ = self.mark_in_use(false);
        }
    }
}

/// Begins a log anew without opening it: segment `number` is made and takes the place of all others in
/// the index. `executed` is what came before.
///
/// # Errors
/// [`ErrorKind::TargetIo`]; the index names what it named before, then.
pub(crate) fn begin_log(
    disk: &Disk,
    mut index: Index,
    options: &JournalOptions,
    number: u64,
    executed: &GtidSet,
) -> Result<()> {
    let format = FormatDescription::new(SERVER_VERSION, CHECKSUM)?;
    make_segment(disk, &index, options, number, &format, executed, None)?;
    index.store(disk, vec![number])
}

/// Makes a segment with nothing but its head, on the disk before anything names it: out of `spare`,
/// where there is one.
fn make_segment(
    disk: &Disk,
    index: &Index,
    options: &JournalOptions,
    number: u64,
    format: &FormatDescription,
    executed: &GtidSet,
    spare: Option<Spare>,
) -> Result<OpenSegment> {
    let path = index.file_path(number);
    let failed = |error| io_error("begin a segment of the log", &path, error);
    let mut head = Composer::default();
    head.segment_head(format, executed, &own_header(options));
    let (file, ahead) = match spare.and_then(|spare| spare.rename(&path)) {
        Some(renamed) => renamed,
        None => (disk.create(&path).map_err(failed)?, 0),
    };
    disk.write(&file, head.bytes()).map_err(failed)?;
    disk.sync(&file).map_err(failed)?;
    disk.sync_directory(index.directory()).map_err(failed)?;
    let end = Position {
        segment: number,
        offset: head.bytes().len() as u64,
        sequence_number: 0,
    };
    Ok(OpenSegment { end, file, ahead })
}

/// The header of events that are our own; type, length and position are set where they are written.
fn own_header(options: &JournalOptions) -> EventHeader {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    EventHeader {
        timestamp: now.map_or(0, |now| now.as_secs() as u32),
        event_type: EventType::STOP,
        server_id: options.server_id,
        length: 0,
        end_log_pos: 0,
        flags: 0,
    }
}
