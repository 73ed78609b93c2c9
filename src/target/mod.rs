//! Where transactions are applied.
//!
//! A [`Target`] takes whole transactions in batches and makes each durable together with its GTID.
//! [`store`] is the embedded default: tables in memory, the member's own binary log as redo log.

pub mod key;
pub mod schema;
pub mod store;

use std::path::PathBuf;

use crate::Error;
use crate::gtid::GtidSet;
use crate::transaction::Batch;

/// Something that transactions are applied to, exactly once and in order.
///
/// One thread at a time calls it. The engine gives a target only transactions that are not in
/// [`gtid_executed`](Target::gtid_executed).
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
    /// that was not applied. Kinds: [`Conflict`](crate::ErrorKind::Conflict) and
    /// [`Schema`](crate::ErrorKind::Schema) (another donor may agree with our data),
    /// [`Unsupported`](crate::ErrorKind::Unsupported),
    /// [`TargetIo`](crate::ErrorKind::TargetIo) and
    /// [`TargetCorrupt`](crate::ErrorKind::TargetCorrupt) (nothing but a restart helps).
    fn apply(&mut self, batch: &Batch) -> Result<(), Error>;
}
