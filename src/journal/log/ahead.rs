//! Space that is written before it is needed, so that a commit does not change the file's length.
//!
//! ```text
//! ... the last commit | 0 0 0 0 0 0 0 0 0 |              zeros are an end to everybody who reads the log
//!                     ^ end               ^ ahead
//! ... | a group commit that fits | 0 0 0 0 |             one write
//! ... | a group commit that does not fit ... | 0 0 0 0 | two writes, and still one sync
//! ```
//!
//! Only a segment that is open for writing ends so: it is cut when it is rotated or closed. A crash leaves
//! the zeros there. Opening has read them then, up to the end of the file, and keeps them; where it has
//! found anything else, it cuts all of it off: what is left of a commit that was not finished must not be
//! there when a later one ends just before it.

use std::io;

use super::spare::Spare;
use super::{Journal, JournalOptions};
use crate::Result;

/// The most that a spare file has: a disk that is nearly full misses it, and opening after a crash reads
/// all zeros.
const SPARE_BYTES: u64 = 64 << 20;

impl JournalOptions {
    /// Where nobody waits for the disk there is nothing to win.
    pub(super) fn writes_ahead(&self) -> bool {
        self.write_ahead_bytes > 0 && self.sync
    }
}

impl Journal {
    /// Writes zeros behind what is pending, where it reaches behind those that are there. A disk that is
    /// too full for them says so before it has anything of the group.
    pub(super) fn write_ahead(&mut self) -> Result<()> {
        let behind = self.pending.offset();
        if !self.options.writes_ahead() || behind <= self.ahead {
            return Ok(());
        }
        let step = self.options.write_ahead_bytes;
        let next = behind.checked_next_multiple_of(step).unwrap_or(behind);
        // No group commit begins behind the length of a segment.
        let ahead = next.min(self.options.segment_bytes).max(behind);
        if ahead > behind
            && let Err(error) = self.disk.write_zeros(&self.file, behind, ahead)
        {
            // Best effort, as for a write that fails.
            let _ = self.file.set_len(self.end.offset);
            return Err(self.io_error("write ahead in the log", error));
        }
        self.ahead = ahead;
        Ok(())
    }

    /// Cuts off the zeros behind `end`.
    pub(super) fn cut_ahead(&self, end: u64) -> io::Result<()> {
        if self.ahead > end {
            self.disk.cut(&self.file, end)?;
        }
        Ok(())
    }

    /// Waits until the thread that makes the next segment's space is done; whether there is one.
    #[cfg(test)]
    pub(in crate::journal) fn wait_for_spare(&self) -> bool {
        while self.spare.as_ref().is_some_and(|spare| !spare.is_done()) {
            std::thread::yield_now();
        }
        self.spare.is_some()
    }

    /// Has the next segment's space written, once half of this one is full: so long it has for that, and
    /// a log that is opened for a moment does without.
    pub(super) fn begin_spare(&mut self) {
        let segment_bytes = self.options.segment_bytes;
        let is_time = self.options.writes_ahead() && self.end.offset >= segment_bytes / 2;
        if is_time && self.spare.is_none() {
            let length = segment_bytes.min(SPARE_BYTES);
            self.spare = Some(Spare::begin(&self.disk, &self.index, length));
        }
    }
}
