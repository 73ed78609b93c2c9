//! The store's side of a clone: rows are written as they come, under numbers that no table has, and one
//! batch makes them the store's data.
//!
//! A crash before that batch leaves the old data and rows that belong to no table, which are removed when
//! the store is opened.

use std::sync::Arc;

use super::{State, Store};
use crate::target::tables::clone::Copy;
use crate::target::{CloneDonor, CloneFailure, CloneRecipient};

impl CloneRecipient for Store {
    fn receive(&mut self, donor: &dyn CloneDonor) -> Result<(), CloneFailure> {
        self.check_usable()?;
        let fresh = || Copy::new(Arc::clone(&self.space));
        let mut copy = self.unfinished.take().unwrap_or_else(fresh);
        if let Err(error) = copy.complete(donor) {
            if copy.is_sound() {
                self.unfinished = Some(copy);
            }
            return Err(error.into());
        }
        self.install(copy.into_state())
    }
}

impl Store {
    /// Puts the copy in place of everything.
    fn install(&mut self, mut state: State) -> Result<(), CloneFailure> {
        let before = self.published.get();
        state.commit_number = before.state.commit_number + 1;
        self.applier.forget();
        self.state = state;
        self.commit(&before.state).map_err(|error| CloneFailure {
            error,
            // Which of the two a restart will find, nobody can say.
            data_dropped: self.failed,
        })?;
        let rows: u64 = self.state.tables().map(|table| table.rows.len()).sum();
        log::info!("the clone is complete and in place: {rows} rows");
        Ok(())
    }
}
