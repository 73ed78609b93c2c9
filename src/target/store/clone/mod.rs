//! The store's side of a clone: a copy is made in memory, and takes the place of everything when it is
//! complete and checked.
//!
//! It is written as a checkpoint that begins a new log, read back and compared with its checksums, and
//! renamed: that is the moment at which it is the store's data. What follows (the new log, the removal of
//! the old files) is made up for when the store is opened, should it be missing.
//!
//! ```text
//! 1  the copy is written as a checkpoint that begins log segment n + 1, under another name
//! 2  it is read back: every block against its checksum, and the number of rows
//! 3  it is renamed to checkpoint.(c + 1), the newest: from here on the copy is the data
//! 4  the older checkpoints go
//! 5  segment n + 1 is made, with the copy's GTIDs in its Previous_gtids; the index names it alone
//! 6  the older segments go
//! ```
//!
//! A crash before step 3 leaves the old data, a crash behind it the new: [`finish`] does what is left
//! when the store is opened.

#[cfg(test)]
mod tests;

use std::fs;
use std::path::Path;
use std::sync::Arc;

use super::{State, Store, StoreOptions, checkpoint};
use crate::journal::disk::{Disk, io_error};
use crate::journal::index::Index;
use crate::journal::{JournalOptions, Position, begin_log};
use crate::target::tables::clone::Copy;
use crate::target::{CloneDonor, CloneFailure, CloneRecipient};
use crate::{Error, Result};

impl CloneRecipient for Store {
    fn receive(&mut self, donor: &dyn CloneDonor) -> Result<(), CloneFailure> {
        let mut copy = self.unfinished.take().unwrap_or_else(|| Copy::new(()));
        if let Err(error) = copy.complete(donor) {
            if copy.is_sound() {
                self.unfinished = Some(copy);
            }
            return Err(error.into());
        }
        self.install(copy.into_state(), donor)
    }
}

impl Store {
    /// Puts the copy in place of everything.
    fn install(&mut self, mut state: State, donor: &dyn CloneDonor) -> Result<(), CloneFailure> {
        if let Some(error) = self.too_large(state.bytes()) {
            return Err(error.into());
        }
        state.commit_number = self.state.commit_number + 1;
        state.position = Position {
            segment: self.journal.end().segment + 1,
            offset: 0,
            sequence_number: 0,
        };
        self.checkpointer
            .replace(Arc::new(state.clone()), &|| donor.is_stopped())
            .inspect_err(|failure| {
                if failure.data_dropped {
                    self.journal.refuse();
                }
            })?;
        let executed = state.gtid_executed.clone();
        let rows: u64 = state.tables().map(|table| table.rows.len()).sum();
        self.journal.reset(executed).map_err(taken_over)?;
        state.position = self.journal.end();
        self.state = state;
        self.applier.forget();
        self.log_bytes = 0;
        self.purged_at = (0, 0);
        self.publish();
        log::info!("the clone is complete and in place: {rows} rows");
        Ok(())
    }
}

/// The new data is on the disk, but the store cannot go on with it.
fn taken_over(error: Error) -> CloneFailure {
    let message = format!(
        "the clone is complete and has replaced the data, but its log cannot be begun: {}",
        error.message()
    );
    CloneFailure {
        error: Error::new(error.kind(), message)
            .remedy("mend the cause, then start again: the clone is there")
            .caused_by(error),
        data_dropped: true,
    }
}

/// Whether a state was read from a checkpoint that begins a log.
pub(super) fn begins_log(state: &State) -> bool {
    state.position.segment > 0 && state.position.offset == 0
}

/// Does what is left of installing a copy, whose checkpoint `state` was read from.
///
/// # Errors
/// [`ErrorKind::TargetIo`](crate::ErrorKind::TargetIo).
pub(super) fn finish(
    disk: &Disk,
    directory: &Path,
    options: &StoreOptions,
    state: &State,
) -> Result<()> {
    let JournalOptions { base_name, .. } = &options.journal;
    let first = state.position.segment;
    let index = Index::read(directory, base_name)?;
    if index.segments().last().is_none_or(|last| *last < first) {
        log::info!("a clone is complete, its installation goes on");
        checkpoint::remove_older(disk, directory, state.commit_number)?;
        begin_log(disk, index, &options.journal, first, &state.gtid_executed)?;
    }
    remove_older_segments(disk, directory, base_name, first)
}

/// Removes segments that the index does not name any more.
fn remove_older_segments(disk: &Disk, directory: &Path, base_name: &str, first: u64) -> Result<()> {
    let failed = |error| io_error("list the store's files", directory, error);
    for entry in fs::read_dir(directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        let digits = name
            .to_str()
            .and_then(|name| name.strip_prefix(base_name)?.strip_prefix('.'));
        let number: Option<u64> = digits.and_then(|digits| digits.parse().ok());
        if number.is_some_and(|number| number < first) {
            let path = entry.path();
            disk.remove(&path)
                .map_err(|error| io_error("remove an old segment", &path, error))?;
        }
    }
    Ok(())
}
