//! Where transactions are applied.
//!
//! A [`Target`] takes whole transactions in batches and makes each durable together with its GTID.
//!
//! - [`store`] is the embedded default: tables in memory, the member's own binary log as redo log;
//! - `disk` (with the feature of that name) is the same for data larger than memory;
//! - [`CallbackTarget`] calls a function of the host's with the changes of each transaction;
//! - a host with a storage of its own implements [`Target`]; [`Filter::changes`] reads the transactions.

mod callback;
mod changes;
mod clone;
#[cfg(feature = "disk")]
pub mod disk;
pub mod key;
mod key_source;
pub mod schema;
pub mod store;
pub(crate) mod tables;

pub use callback::CallbackTarget;
pub use changes::{Change, Filter, RowChange};
use std::path::PathBuf;

pub use clone::{
    CloneDonor, CloneFailure, CloneProgress, CloneReader, CloneRecipient, CloneSnapshot,
};
pub use key_source::{GroupTable, KeySource};

use crate::Error;
use crate::gtid::GtidSet;
use crate::journal::StoredTransaction;
use crate::transaction::Batch;

/// Something that transactions are applied to, exactly once and in order.
///
/// One thread at a time calls it. The engine gives a target only transactions that are not in
/// [`gtid_executed`](Target::gtid_executed).
///
/// A host's own target, with the rows of all tables in a map by their first column:
///
/// ```
/// use std::collections::BTreeMap;
///
/// use rejoin::gtid::GtidSet;
/// use rejoin::target::{Change, Filter, Target};
/// use rejoin::transaction::Batch;
/// use rejoin::{Error, ErrorKind};
///
/// #[derive(Default)]
/// struct Map {
///     rows: BTreeMap<(Vec<u8>, String), String>,
///     executed: GtidSet,
/// }
///
/// impl Target for Map {
///     fn gtid_executed(&self) -> GtidSet {
///         self.executed.clone()
///     }
///
///     fn apply(&mut self, batch: &Batch) -> Result<(), Error> {
///         for transaction in batch.iter() {
///             // Nothing is changed before the whole transaction is known to fit.
///             let mut after = self.rows.clone();
///             for change in Filter::default().changes(&transaction)? {
///                 let Change::Row(row) = change else { continue };
///                 if let Some(before) = row.before {
///                     let key = (row.table.to_vec(), format!("{:?}", before[0].1));
///                     after.remove(&key).ok_or_else(|| {
///                         Error::new(ErrorKind::Conflict, "a row is not there")
///                             .at_gtid(*transaction.gtid())
///                     })?;
///                 }
///                 if let Some(values) = row.after {
///                     let key = (row.table.to_vec(), format!("{:?}", values[0].1));
///                     after.insert(key, format!("{values:?}"));
///                 }
///             }
///             // The changes and the GTID in one step: here is what a storage would make durable.
///             self.rows = after;
///             self.executed.insert(transaction.gtid());
///         }
///         Ok(())
///     }
/// }
///
/// let mut target: Box<dyn Target> = Box::new(Map::default());
/// target.apply(&Batch::new())?;
/// assert!(target.gtid_executed().is_empty());
/// # Ok::<(), Error>(())
/// ```
pub trait Target: Send {
    /// What the target has durably executed.
    fn gtid_executed(&self) -> GtidSet;

    /// Where a member keeps its relay logs beside this target, unless it is told another place; `None`
    /// (the default) for none: what waits to be applied is held in memory only.
    fn relay_log_directory(&self) -> Option<PathBuf> {
        None
    }

    /// Applies the transactions of `batch` in order and makes them durable, each whole and together
    /// with its GTID: one group commit.
    ///
    /// # Errors
    /// After an error the target holds a prefix of the batch, durably, and
    /// [`gtid_executed`](Target::gtid_executed) says which; the error names the first transaction
    /// that was not applied. What the engine does then depends on its kind:
    ///
    /// | kind | reaction |
    /// |---|---|
    /// | [`Transient`](crate::ErrorKind::Transient) | the rest of the batch is tried again after a pause, up to `replica_transaction_retries` (10) times |
    /// | [`Conflict`](crate::ErrorKind::Conflict), [`Schema`](crate::ErrorKind::Schema), [`Unsupported`](crate::ErrorKind::Unsupported) | another donor is asked, whose data may agree with ours |
    /// | [`TargetIo`](crate::ErrorKind::TargetIo), [`TargetCorrupt`](crate::ErrorKind::TargetCorrupt) | recovery ends: nothing but a restart helps |
    fn apply(&mut self, batch: &Batch) -> Result<(), Error>;

    /// Applies a transaction that is too large to be handed over in memory: it waits in a relay log,
    /// whole, and its events are [read](StoredTransaction::events) from there one by one. Otherwise as
    /// [`apply`](Self::apply).
    ///
    /// The default [loads](StoredTransaction::load) all of it into memory.
    ///
    /// # Errors
    /// As [`apply`](Self::apply).
    fn apply_stored(&mut self, transaction: &mut StoredTransaction) -> Result<(), Error> {
        let batch = transaction.load()?;
        self.apply(&batch)
    }

    /// How many transactions are best given to [`apply`](Self::apply) at once. A hint: where more came
    /// together already they are given together, and where fewer wait nobody waits for more.
    fn group_commit(&self) -> GroupCommit {
        GroupCommit::default()
    }

    /// The way in which all data of this target can be replaced with a donor's. Default: there is
    /// none, and recovery never plans a clone.
    fn clone_recipient(&mut self) -> Option<&mut dyn CloneRecipient> {
        None
    }
}

/// A group commit of a size that a target likes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupCommit {
    /// Transactions; default 1024.
    pub transactions: usize,
    /// Bytes of their events; default 4 MiB.
    pub bytes: usize,
}

impl Default for GroupCommit {
    fn default() -> Self {
        Self {
            transactions: 1024,
            bytes: 4 << 20,
        }
    }
}
