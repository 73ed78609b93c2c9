//! A backlog: transactions that wait for the applier, in their order; the head in memory, the tail on
//! disk.
//!
//! ```text
//!            head, at most `budget` bytes          tail: unread part of a relay log
//! next() <- | batch | batch | ... | batch | <- - - | ............................ | <- push()
//! ```
//!
//! As long as nothing is on disk and memory has room, what comes goes to the head; after that it goes
//! to the disk until all of that has been read back. Without a relay log everything stays in memory,
//! and whoever fills the backlog has to look whether it [has room](Backlog::has_room).

use std::collections::VecDeque;
use std::time::Duration;

use crate::Result;
use crate::gtid::GtidSet;
use crate::journal::relay_log::RelayLog;
use crate::transaction::Batch;

#[derive(Debug)]
pub(super) struct Backlog {
    head: VecDeque<Batch>,
    head_bytes: usize,
    budget: usize,
    log: Option<RelayLog>,
    /// Everything that was ever pushed and all that comes before it: what has to be executed before
    /// the next transaction. Nothing can be written before it is known.
    pushed: Option<GtidSet>,
    /// Bytes ever pushed that went to the disk alone.
    spilled_bytes: u64,
}

impl Backlog {
    /// An empty backlog, or with what `log` holds; `budget` is in bytes, of which one batch may use
    /// more.
    pub(super) fn new(budget: usize, log: Option<RelayLog>) -> Self {
        Self {
            head: VecDeque::new(),
            head_bytes: 0,
            budget,
            log,
            pushed: None,
            spilled_bytes: 0,
        }
    }

    /// What is pushed from now on, and what was pushed and has not been written, comes behind
    /// `previous`: the relay log can be written. What was in it is thrown away.
    pub(super) fn begin(&mut self, previous: GtidSet, now: Duration) -> Result<()> {
        if let Some(log) = &mut self.log {
            log.clear()?;
        }
        self.pushed = Some(previous);
        self.head_bytes = 0;
        for batch in std::mem::take(&mut self.head) {
            self.push(batch, now)?;
        }
        Ok(())
    }

    /// Whether [`begin`](Self::begin) was called.
    pub(super) fn has_begun(&self) -> bool {
        self.pushed.is_some()
    }

    /// Forgets everything that waits.
    pub(super) fn clear(&mut self) -> Result<()> {
        self.head.clear();
        self.head_bytes = 0;
        match &mut self.log {
            Some(log) => log.clear(),
            None => Ok(()),
        }
    }

    /// Adds transactions at the end.
    pub(super) fn push(&mut self, batch: Batch, now: Duration) -> Result<()> {
        let bytes = batch.byte_size();
        let has_room = self.has_room();
        if let (Some(log), Some(pushed)) = (&mut self.log, &mut self.pushed) {
            if log.takes_all() || !has_room {
                // A log that does not hold everything must not go on behind a gap: the next
                // transactions to be written are the first ones of a new log.
                if !log.is_begun() || (!log.takes_all() && log.unread() == 0) {
                    log.begin(pushed.clone(), now)?;
                }
                log.append(&batch, has_room)?;
            }
            pushed.extend(&batch.gtids());
            if !has_room {
                self.spilled_bytes += bytes as u64;
                return Ok(());
            }
        }
        self.head_bytes += bytes;
        self.head.push_back(batch);
        Ok(())
    }

    /// The oldest transactions.
    pub(super) fn next(&mut self) -> Result<Option<Batch>> {
        if let Some(batch) = self.head.pop_front() {
            self.head_bytes -= batch.byte_size();
            return Ok(Some(batch));
        }
        match &mut self.log {
            Some(log) => log.read(Batch::new()),
            None => Ok(None),
        }
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.head.is_empty() && self.unread() == 0
    }

    /// Whether what comes next stays in memory.
    pub(super) fn has_room(&self) -> bool {
        self.head_bytes < self.budget && self.unread() == 0
    }

    /// Whether what does not fit in memory can go to the disk.
    pub(super) fn can_spill(&self) -> bool {
        self.log.is_some() && self.pushed.is_some()
    }

    /// Transactions that are on the disk alone.
    pub(super) fn unread(&self) -> u64 {
        self.log.as_ref().map_or(0, RelayLog::unread)
    }

    /// Writes what was pushed, and waits for the disk when the relay log's setting says so.
    pub(super) fn write(&mut self, now: Duration) -> Result<()> {
        match &mut self.log {
            Some(log) => log.write(now),
            None => Ok(()),
        }
    }

    /// When [`write`](Self::write) has to be called again though nothing is pushed.
    pub(super) fn sync_due(&self) -> Option<Duration> {
        self.log.as_ref().and_then(RelayLog::sync_due)
    }

    /// Waits for the disk, for the last time, where the setting asks for syncs at all.
    pub(super) fn close(&mut self, now: Duration) -> Result<()> {
        match &mut self.log {
            Some(log) if log.takes_all() => log.sync(now),
            _ => Ok(()),
        }
    }

    /// Whether there are files that may have something to purge.
    pub(super) fn has_files(&self) -> bool {
        self.log.as_ref().is_some_and(RelayLog::is_begun)
    }

    /// Removes files whose content is executed.
    pub(super) fn purge(&mut self, executed: &GtidSet) -> Result<()> {
        let Some(log) = &mut self.log else {
            return Ok(());
        };
        if log.unread() == 0 && !log.takes_all() && log.is_executed(executed) {
            return log.clear();
        }
        log.purge(executed)
    }

    /// Bytes of the files.
    pub(super) fn disk_bytes(&self) -> u64 {
        self.log.as_ref().map_or(0, RelayLog::byte_size)
    }

    /// Bytes that were ever pushed and went to the disk alone.
    pub(super) fn spilled_bytes(&self) -> u64 {
        self.spilled_bytes
    }

    /// Bytes held in memory.
    #[cfg(test)]
    pub(super) fn head_bytes(&self) -> usize {
        self.head_bytes
    }
}
