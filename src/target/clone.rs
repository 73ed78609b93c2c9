//! Replacing all of a target's data with a donor's: what a donor offers, and what a target does with it.
//!
//! ```text
//! CloneDonor::snapshot     -> CloneSnapshot: schemas and rows at one GTID set, read by several readers
//! CloneDonor::transactions -> what was committed between two GTID sets, to bring older rows forward
//! CloneRecipient::receive  takes both, and puts them in place of what it had, or leaves that alone
//! ```
//!
//! A connection that breaks ends a snapshot, and the next one shows another GTID set. A recipient keeps
//! what it has of the first, fetches the rest from the second, and applies to each part the transactions
//! that the part does not hold yet.

use crate::gtid::GtidSet;
use crate::transaction::Batch;
use crate::{Error, Result};

use super::schema::{Catalog, TableDefinition, TableName};

/// How far a clone is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CloneProgress {
    /// Tables of the donor.
    pub tables: u64,
    /// Tables that are copied.
    pub tables_copied: u64,
    /// Rows that were copied.
    pub rows: u64,
    /// Bytes of these rows.
    pub bytes: u64,
    /// Snapshots that were opened: more than one where connections broke.
    pub snapshots: u64,
}

/// A server whose data is to be copied.
pub trait CloneDonor: Sync {
    /// Opens a snapshot of everything, at a GTID set that holds all of `at_least`.
    ///
    /// # Errors
    /// A donor's fault; a [retryable](Error::is_retryable) one may go away by itself.
    fn snapshot(&self, at_least: &GtidSet) -> Result<Box<dyn CloneSnapshot + '_>>;

    /// Hands over all transactions that are not in `from`, in order, until all of `until` were there;
    /// some behind that may come as well.
    ///
    /// # Errors
    /// A donor's fault, or what `each` returns.
    fn transactions(
        &self,
        from: &GtidSet,
        until: &GtidSet,
        each: &mut dyn FnMut(&Batch) -> Result<()>,
    ) -> Result<()>;

    /// Is told how far it is, often.
    fn progress(&self, progress: CloneProgress);

    /// Waits before a connection that broke is made anew; `false` where the clone is to end instead.
    /// `failures` counts those since the last row came.
    fn pause(&self, failures: u32) -> bool;

    /// Whether the clone is to end.
    fn is_stopped(&self) -> bool;
}

/// A donor's data at one instant.
pub trait CloneSnapshot {
    /// Exactly the transactions whose changes are in it.
    fn gtid_executed(&self) -> &GtidSet;

    /// All databases, tables and views of users.
    fn catalog(&self) -> &Catalog;

    /// Sessions that read it at the same time; at least one.
    fn readers(&mut self) -> Vec<&mut (dyn CloneReader + '_)>;
}

/// One session that reads a snapshot.
pub trait CloneReader: Send {
    /// Hands the rows of `table` to `each`, as full row images of `definition`: in the order of its
    /// key, those behind the row `after`; in a table that [cannot](CloneReader::can_resume) be resumed,
    /// and where `after` is `None`, all.
    ///
    /// # Errors
    /// A donor's fault, or what `each` returns.
    fn rows(
        &mut self,
        table: &TableName,
        definition: &TableDefinition,
        after: Option<&[u8]>,
        each: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<()>;

    /// Whether reading a table can go on behind a row.
    fn can_resume(&self, definition: &TableDefinition) -> bool;
}

/// A target whose data can be replaced.
pub trait CloneRecipient {
    /// Replaces everything with what `donor` holds.
    ///
    /// # Errors
    /// What was copied so far may be kept for the next try.
    fn receive(&mut self, donor: &dyn CloneDonor) -> Result<(), CloneFailure>;
}

/// Why a clone has failed.
#[derive(Debug)]
pub struct CloneFailure {
    /// The cause.
    pub error: Error,
    /// Whether the target's own data from before is gone, so that there is no way back.
    pub data_dropped: bool,
}

impl From<Error> for CloneFailure {
    /// A failure that has left the target's own data as it was.
    fn from(error: Error) -> Self {
        Self {
            error,
            data_dropped: false,
        }
    }
}
