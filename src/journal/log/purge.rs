//! Letting go of the oldest segments.

use std::fs;

use super::super::disk::io_error;
use super::Journal;
use crate::Result;

impl Journal {
    /// Removes the oldest segments of which the options say that they need not be kept: never one
    /// from number `needed` on, nor one that a reader [holds](crate::journal::LogTail::hold), nor the
    /// last. Gives how many.
    ///
    /// # Errors
    /// [`ErrorKind::TargetIo`](crate::ErrorKind::TargetIo) where the index cannot be written: nothing is
    /// removed then.
    pub fn purge(&mut self, needed: u64) -> Result<usize> {
        let needed = needed
            .min(self.tail.oldest_held().unwrap_or(u64::MAX))
            .min(self.end.segment);
        let segments = self.index.segments().to_vec();
        let may_go = segments.iter().filter(|number| **number < needed).count();
        let count = self.count_expired(&segments)?.min(may_go);
        let Some((gone, kept)) = segments.split_at_checked(count).filter(|_| count > 0) else {
            return Ok(0);
        };
        self.index.store(&self.disk, kept.to_vec())?;
        self.remove(gone);
        Ok(count)
    }

    /// How many of the oldest segments are too old, or too much.
    fn count_expired(&self, segments: &[u64]) -> Result<usize> {
        let mut files = Vec::with_capacity(segments.len());
        for number in segments {
            let path = self.index.file_path(*number);
            let metadata =
                fs::metadata(&path).map_err(|error| io_error("look at the log", &path, error))?;
            // A clock that was set back makes a file young.
            let age = metadata
                .modified()
                .ok()
                .and_then(|time| time.elapsed().ok());
            let is_last = *number == self.end.segment;
            let length = if is_last {
                self.end.offset
            } else {
                metadata.len()
            };
            files.push((length, age.unwrap_or_default()));
        }
        let mut bytes: u64 = files.iter().map(|(size, _)| size).sum();
        let mut count = 0;
        for (size, age) in files {
            let is_old = self.options.expire_after.is_some_and(|limit| age > limit);
            let is_too_much = self.options.keep_bytes.is_some_and(|limit| bytes > limit);
            if !is_old && !is_too_much {
                break;
            }
            bytes -= size;
            count += 1;
        }
        Ok(count)
    }

    /// Removes files that the index no longer names.
    pub(super) fn remove(&self, segments: &[u64]) {
        for number in segments {
            self.disk.discard(&self.index.file_path(*number));
        }
    }
}
