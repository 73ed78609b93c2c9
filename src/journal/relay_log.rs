//! A relay log: transactions that were received and are not applied yet, on disk in their order.
//!
//! ```text
//!             purged        waits to be applied      waits to be read
//!          |- - - - - - - |------------------------|------------------|  end
//! segments  executed       read, given to the       written only
//!                          applier, or skipped
//!                          (somebody has them in
//!                          memory)
//! ```
//!
//! It is filled at its end, read at one place, and purged by whole segments once everything in them is
//! executed. The Previous_gtids of its first segment say what has to be executed before its first
//! transaction. If that is not so when it is opened again (the process ended before a donor had sent
//! what came before), the transactions in it cannot be applied: they are dropped, and come again from
//! the group.
//!
//! There are no files before something is written.

mod directory;

use std::collections::VecDeque;
use std::fs;
use std::io::ErrorKind::NotFound;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::disk::{Disk, io_error};
use super::index::Index;
use super::reading::{Load, LogReader};
use super::recover::Recovered;
use super::{Journal, JournalOptions, Position};
use crate::gtid::{Gtid, GtidSet};
use crate::transaction::{Batch, Part, PartSlice};
use crate::{Error, ErrorKind, Limits, Result};

pub use directory::RelayLogSurvey;
pub(crate) use directory::{RelayLogDirectory, RelayLogOptions};

/// The channel of what the group delivers.
pub(crate) const APPLIER_CHANNEL: &str = "group_replication_applier";
/// The channel of what donors send.
pub(crate) const RECOVERY_CHANNEL: &str = "group_replication_recovery";
/// What waits for [`RelayLog::write`] is written when it has this many bytes.
const WRITE_BYTES: usize = 4 << 20;

/// When a relay log waits for the disk (`sync_relay_log`).
///
/// What a crash of the machine takes away from a relay log comes again from the group: from the feed
/// of a group that delivers again, and else from a donor when the member joins again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum SyncRelayLog {
    /// Never; and only what does not fit in memory is written at all.
    #[default]
    Never,
    /// Every transaction is written, and synced when so many (0 counts as 1) have been written since
    /// the last sync.
    Transactions(u32),
    /// Every transaction is written, and synced after this time.
    Interval(Duration),
    /// Every transaction is written and synced as it comes; those that come together share a sync.
    Each,
}

/// The relay log of one channel.
#[derive(Debug)]
pub(crate) struct RelayLog {
    disk: Disk,
    directory: PathBuf,
    journal_options: JournalOptions,
    limits: Limits,
    large_bytes: usize,
    sync: SyncRelayLog,
    /// `None` as long as there are no files.
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    journal: Journal,
    reader: LogReader,
    /// Oldest first: the number of a segment, and the GTIDs in it and in those behind it up to the next
    /// one that is named here. What an opening finds is under the first segment.
    held: VecDeque<(u64, GtidSet)>,
    /// Transactions that wait to be read.
    unread: u64,
    /// What was appended last is not to be read: the reader goes behind it with the next write.
    skips: bool,
    unsynced: u64,
    synced_at: Duration,
}

impl RelayLog {
    /// Throws everything away and begins anew; `previous` is what has to be executed before what
    /// will be appended.
    ///
    /// # Errors
    /// [`ErrorKind::TargetIo`].
    pub(crate) fn begin(&mut self, previous: GtidSet, now: Duration) -> Result<()> {
        let next = self
            .open
            .as_ref()
            .map_or(1, |open| open.journal.end().segment + 1);
        self.clear()?;
        let journal = Journal::create(
            self.disk.clone(),
            self.read_index()?,
            self.journal_options.clone(),
            next,
            previous,
        )?;
        let mut reader = LogReader::at_segment(next, self.limits.clone(), self.large_bytes);
        reader.skip_to(journal.end());
        self.open = Some(Open {
            reader,
            held: VecDeque::new(),
            unread: 0,
            skips: false,
            unsynced: 0,
            synced_at: now,
            journal,
        });
        Ok(())
    }

    /// Throws everything away.
    ///
    /// # Errors
    /// [`ErrorKind::TargetIo`].
    pub(crate) fn clear(&mut self) -> Result<()> {
        if self.open.take().is_some() {
            self.remove_files(&[])?;
        }
        Ok(())
    }

    fn resume(
        &mut self,
        index: Index,
        recovered: Recovered,
        held: GtidSet,
        count: u64,
    ) -> Result<()> {
        let first = index.segments().first().copied().unwrap_or(1);
        let options = self.journal_options.clone();
        let journal = Journal::resume(self.disk.clone(), index, options, recovered)?;
        self.open = Some(Open {
            reader: LogReader::at_segment(first, self.limits.clone(), self.large_bytes),
            held: VecDeque::from([(first, held)]),
            unread: count,
            skips: false,
            unsynced: 0,
            synced_at: Duration::ZERO,
            journal,
        });
        Ok(())
    }

    /// Whether it has been begun.
    pub(crate) fn is_begun(&self) -> bool {
        self.open.is_some()
    }

    /// Whether every transaction is to be written, and not only what does not fit in memory.
    pub(crate) fn takes_all(&self) -> bool {
        self.sync != SyncRelayLog::Never
    }

    /// Appends transactions behind all others: to be read back, or only as a copy of what is still in
    /// memory, where nothing waits to be read. They are in the file behind the next
    /// [`write`](Self::write).
    ///
    /// # Errors
    /// [`ErrorKind::TargetIo`], [`ErrorKind::Internal`] before [`begin`](Self::begin).
    pub(crate) fn append(&mut self, batch: &Batch, is_copy: bool) -> Result<()> {
        let open = self.open.as_mut().ok_or_else(not_begun)?;
        debug_assert!(!is_copy || open.unread == 0, "the copies would be read");
        if !is_copy && open.skips {
            open.write()?;
        }
        for transaction in batch.iter() {
            if transaction.bytes().len() > WRITE_BYTES {
                for part in PartSlice::of(&transaction, WRITE_BYTES) {
                    open.journal.append_part(part)?;
                }
            } else {
                open.journal.append(&transaction)?;
            }
            open.hold(transaction.gtid());
            if is_copy {
                open.skips = true;
            } else {
                open.unread += 1;
            }
            if open.journal.pending_bytes() >= WRITE_BYTES {
                open.write()?;
            }
        }
        Ok(())
    }

    /// Appends part of a transaction that is too large to be held, behind all others and to be read
    /// back. With its last part it is there; until then nothing else can be appended. Parts behind one
    /// that was thrown away are passed over.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    pub(crate) fn append_part(&mut self, part: &Part) -> Result<()> {
        let begun = self.open.as_mut();
        let is_wanted = part.is_first || begun.as_ref().is_some_and(|o| o.journal.is_in_parts());
        if !is_wanted {
            return Ok(());
        }
        let open = begun.ok_or_else(not_begun)?;
        if part.is_first {
            // Of one whose last part has not come.
            open.abandon_parts()?;
        }
        if open.skips {
            open.write()?;
        }
        open.journal.append_part(part.as_slice())?;
        if part.end.is_some() {
            open.hold(&part.gtid);
            open.unread += 1;
        }
        Ok(())
    }

    /// Takes back a transaction of which not all parts were appended, if there is one.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    pub(crate) fn abandon_parts(&mut self) -> Result<()> {
        match &mut self.open {
            Some(open) => open.abandon_parts(),
            None => Ok(()),
        }
    }

    /// Writes what was appended, and waits for the disk when the setting says so.
    ///
    /// # Errors
    /// [`ErrorKind::TargetIo`]: nothing more can be appended then, and what was written before is
    /// found when the log is opened again.
    pub(crate) fn write(&mut self, now: Duration) -> Result<()> {
        let Some(open) = &mut self.open else {
            return Ok(());
        };
        open.write()?;
        let is_due = open.unsynced > 0
            && match self.sync {
                SyncRelayLog::Never => false,
                SyncRelayLog::Transactions(count) => open.unsynced >= u64::from(count),
                SyncRelayLog::Interval(time) => now >= open.synced_at + time,
                SyncRelayLog::Each => true,
            };
        if is_due { self.sync(now) } else { Ok(()) }
    }

    /// Waits until everything written is on the disk.
    ///
    /// # Errors
    /// [`ErrorKind::TargetIo`], after which nothing more can be appended.
    pub(crate) fn sync(&mut self, now: Duration) -> Result<()> {
        if let Some(open) = &mut self.open {
            open.write()?;
            if open.unsynced > 0 {
                open.journal.sync()?;
                open.unsynced = 0;
            }
            open.synced_at = now;
        }
        Ok(())
    }

    /// When [`write`](Self::write) has to be called for the sake of the disk, though nothing comes.
    pub(crate) fn sync_due(&self) -> Option<Duration> {
        let open = self.open.as_ref().filter(|open| open.unsynced > 0)?;
        match self.sync {
            SyncRelayLog::Interval(time) => Some(open.synced_at + time),
            _ => None,
        }
    }

    /// Transactions that wait to be read.
    pub(crate) fn unread(&self) -> u64 {
        self.open.as_ref().map_or(0, |open| open.unread)
    }

    /// The next transactions in the order in which they were appended, or a large one alone; `recycled`
    /// lends its memory. `None` where nothing is unread, and where a large one was looked at in part: it
    /// goes on with the next call.
    ///
    /// # Errors
    /// [`ErrorKind::TargetIo`], [`ErrorKind::TargetCorrupt`].
    pub(crate) fn read(&mut self, recycled: Batch) -> Result<Option<Load>> {
        let Some(open) = self.open.as_mut().filter(|open| open.unread > 0) else {
            return Ok(None);
        };
        open.write()?;
        let found = open.reader.read(&open.journal, recycled)?;
        let count = match &found {
            Some(Load::Batch(batch)) => batch.len() as u64,
            Some(Load::Stored(_)) => 1,
            None if open.reader.is_in_the_middle() => return Ok(None),
            None => 0,
        };
        if count == 0 || count > open.unread {
            return Err(Error::new(
                ErrorKind::TargetCorrupt,
                "the relay log does not give back what was written to it",
            ));
        }
        open.unread -= count;
        Ok(found)
    }

    /// Removes the segments of which everything is in `executed`, but never the last one.
    ///
    /// # Errors
    /// [`ErrorKind::TargetIo`].
    pub(crate) fn purge(&mut self, executed: &GtidSet) -> Result<()> {
        let Some(open) = &mut self.open else {
            return Ok(());
        };
        let last = open.journal.end().segment;
        let mut needed = last;
        while let Some((number, held)) = open.held.front() {
            if !held.is_subset(executed) {
                needed = *number;
                break;
            }
            if open.held.len() == 1 {
                break;
            }
            open.held.pop_front();
        }
        let needed = needed.min(open.reader.segment());
        if open.journal.index().segments().first() < Some(&needed) {
            open.journal.purge(needed)?;
        }
        Ok(())
    }

    /// Whether everything in it is in `executed`.
    pub(crate) fn is_executed(&self, executed: &GtidSet) -> bool {
        let open = self.open.as_ref();
        open.is_none_or(|open| {
            !open.journal.is_in_parts()
                && open.held.iter().all(|(_, held)| held.is_subset(executed))
        })
    }

    /// Bytes of its files.
    pub(crate) fn byte_size(&self) -> u64 {
        self.open.as_ref().map_or(0, |open| {
            let index = open.journal.index();
            let older = index.segments().iter().rev().skip(1);
            let older = older.filter_map(|number| fs::metadata(index.file_path(*number)).ok());
            older.map(|file| file.len()).sum::<u64>() + open.journal.end().offset
        })
    }

    fn read_index(&self) -> Result<Index> {
        Index::read(&self.directory, &self.journal_options.base_name)
    }

    /// Removes all files of the log but these segments and, where there are any, the index. The index
    /// goes first: what it does not name is nothing.
    fn remove_files(&self, kept: &[u64]) -> Result<()> {
        let failed = |path: &Path, error| io_error("empty the relay log", path, error);
        let base_name = &self.journal_options.base_name;
        let index = self.directory.join(format!("{base_name}.index"));
        if kept.is_empty() {
            match self.disk.remove(&index) {
                Ok(()) => self
                    .disk
                    .sync_directory(&self.directory)
                    .map_err(|error| failed(&index, error))?,
                Err(error) if error.kind() == NotFound => {}
                Err(error) => return Err(failed(&index, error)),
            }
        }
        let entries = fs::read_dir(&self.directory).map_err(|e| failed(&self.directory, e))?;
        for entry in entries {
            let path = entry
                .map_err(|error| failed(&self.directory, error))?
                .path();
            let number = path
                .file_name()
                .and_then(|name| name.to_str()?.strip_prefix(base_name)?.strip_prefix('.'))
                .and_then(|digits| digits.parse::<u64>().ok());
            if number.is_some_and(|number| !kept.contains(&number)) {
                self.disk
                    .remove(&path)
                    .map_err(|error| failed(&path, error))?;
            }
        }
        Ok(())
    }
}

impl Open {
    fn abandon_parts(&mut self) -> Result<()> {
        if self.journal.is_in_parts() {
            self.reader.forget_ahead();
        }
        self.journal.abandon_parts()
    }

    /// The transaction was appended last.
    fn hold(&mut self, gtid: &Gtid) {
        let segment = self.journal.end().segment;
        match self.held.back_mut() {
            Some((number, held)) if *number == segment => {
                held.insert(gtid);
            }
            _ => self
                .held
                .push_back((segment, [*gtid].into_iter().collect())),
        }
        self.unsynced += 1;
    }

    fn write(&mut self) -> Result<()> {
        let end: Position = self.journal.commit()?;
        if std::mem::take(&mut self.skips) {
            self.reader.skip_to(end);
        }
        Ok(())
    }
}

#[cold]
fn not_begun() -> Error {
    Error::new(ErrorKind::Internal, "the relay log was not begun")
}

#[cfg(test)]
mod crash;
#[cfg(test)]
mod tests;
