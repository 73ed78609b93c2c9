//! The embedded target for data larger than memory: everything in one keyspace of an LSM tree on the disk.
//!
//! ```text
//! Batch -> Applier changes a state whose tables hold what the group has changed (copy-on-write trees)
//!                                        |
//!          one batch: rows, tables, catalog, prepared transactions, GTID set; one sync
//!                                        |
//!          readers <- Published <- state + snapshot of the keyspace
//! ```
//!
//! Rows and the GTID set are in one keyspace and change in one batch of its journal: after a crash there
//! is what a whole number of group commits has left, and the set says which. Every change is checked, as
//! in the [store](super::store): a row to insert must not be there, a row to change must be.
//!
//! It needs little memory and opens at once, whatever it holds; it takes about ten times the processor's
//! time for a transaction, and its reads are slower. It has no binary log, so that it can be no donor.
//!
//! ```text
//! DIR/rejoin.lock                        held while it is open
//! DIR/keyspace/                          the LSM tree, see `space`; keyspace.new while it is made
//! DIR/relay/                             relay logs of the member that it belongs to
//! ```
//!
//! - `space`: the keyspace, and what is where in it;
//! - `rows`: the rows of one table, with what a group commit has changed;
//! - `records`: all that is not rows;
//! - `reader`: what others read;
//! - `clone`: all of it replaced with a donor's.

mod clone;
mod reader;
mod records;
mod rows;
mod space;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::gtid::GtidSet;
use crate::journal::lock::Lock;
use crate::target::store::{RELAY_LOGS, parallel_workers};
use crate::target::tables;
use crate::target::tables::apply::Applier;
use crate::target::tables::clone::Copy;
use crate::target::{CloneRecipient, KeySource, Target};
use crate::transaction::Batch;
use crate::{Error, ErrorKind, Result};

use rows::DiskRows;
use space::{Garbage, Space};

pub use reader::{OwnedRow, Range, Reader, Scan, Snapshot};

type State = tables::state::State<DiskRows>;
type Table = tables::state::Table<DiskRows>;
type Published = tables::state::Published<View>;

/// The directory of the keyspace in the store's.
const KEYSPACE: &str = "keyspace";

/// A state, and the keyspace as it was when the state was committed.
#[derive(Debug)]
struct View {
    state: State,
    snapshot: space::Snapshot,
}

/// How a store works.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreOptions {
    /// Bytes of blocks that are kept in memory; about a fifth of the memory that there is does well.
    /// Default 64 MiB.
    pub cache_bytes: u64,
    /// Whether each group commit waits for the disk (`sync_binlog=1`); where it does not, a crash of the
    /// machine may take the last ones, rows and GTIDs together. Default: it does.
    pub sync: bool,
    /// As [of a store in memory](super::store::StoreOptions::replica_parallel_workers).
    pub replica_parallel_workers: usize,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            cache_bytes: 64 << 20,
            sync: true,
            replica_parallel_workers: parallel_workers(),
        }
    }
}

/// The embedded target for data larger than memory. See the [module](self) for what it is made of.
///
/// Its files are in use until it and all readers and snapshots of it are dropped.
///
/// ```
/// use rejoin::target::Target;
/// use rejoin::target::disk::Store;
///
/// # let directory = std::env::temp_dir().join(format!("rejoin-disk-{}", std::process::id()));
/// let store = Store::open(&directory)?;
/// let reader = store.reader();
/// assert!(store.gtid_executed().is_empty());
/// assert_eq!(reader.snapshot().tables().count(), 0);
/// # drop((reader, store));
/// # std::fs::remove_dir_all(&directory).unwrap();
/// # Ok::<(), rejoin::Error>(())
/// ```
#[derive(Debug)]
pub struct Store {
    directory: PathBuf,
    options: StoreOptions,
    space: Arc<Space>,
    published: Arc<Published>,
    /// The published state, to which the transactions of the next batch are applied.
    state: State,
    applier: Applier,
    /// Rows that belong to no table any more.
    garbage: Garbage,
    /// A clone that failed, as far as it came.
    unfinished: Option<Copy<DiskRows>>,
    /// A commit failed: what the disk holds is not known.
    failed: bool,
}

impl Store {
    /// Opens the store in `directory`, or makes an empty one.
    ///
    /// # Errors
    /// [`ErrorKind::TargetLocked`] where another process uses it, [`ErrorKind::TargetIo`],
    /// [`ErrorKind::TargetCorrupt`]; [`ErrorKind::Configuration`] where the directory holds the tables of
    /// a [`store`](super::store).
    pub fn open(directory: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(directory, StoreOptions::default())
    }

    /// As [`open`](Self::open), with other options than the defaults.
    ///
    /// # Errors
    /// As `open`.
    pub fn open_with(directory: impl AsRef<Path>, options: StoreOptions) -> Result<Self> {
        let directory = directory.as_ref();
        let lock = Lock::take(directory)?;
        if directory.join("binlog.index").exists() {
            return Err(Error::new(
                ErrorKind::Configuration,
                "the directory holds a store in memory and its binary log",
            )
            .in_file(directory.display().to_string())
            .remedy("open it as that, or name an empty directory"));
        }
        let space = Space::open(&directory.join(KEYSPACE), lock, &options)?;
        let state = records::load(&space)?;
        let garbage = space.find_garbage(&state)?;
        let published = Arc::new(Published::new(View {
            state: state.clone(),
            snapshot: space.snapshot(),
        }));
        Ok(Self {
            directory: directory.to_owned(),
            space,
            published,
            state,
            applier: Applier::new(options.replica_parallel_workers),
            garbage,
            unfinished: None,
            failed: false,
            options,
        })
    }

    /// Has this source asked for the keys of tables that no statement of the log has made; else the rows of
    /// these are found by all of their columns.
    #[must_use]
    pub fn with_key_source(mut self, source: impl KeySource + 'static) -> Self {
        self.applier.ask(Box::new(source));
        self
    }

    /// A handle from which any number of threads read.
    pub fn reader(&self) -> Reader {
        Reader::new(Arc::clone(&self.published))
    }

    /// The directory of its files.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Makes what was applied durable, in one batch, and publishes it.
    fn commit(&mut self, before: &State) -> Result<()> {
        let committed = records::changes(before, &self.state).and_then(|changes| {
            self.failed = true;
            self.space.commit(&changes, self.options.sync)
        });
        if let Err(error) = committed {
            self.state = before.clone();
            self.applier.forget();
            return Err(error);
        }
        self.failed = false;
        self.settle();
        self.garbage.extend(self.space.dropped(before, &self.state));
        self.published.set(View {
            state: self.state.clone(),
            snapshot: self.space.snapshot(),
        });
        Ok(())
    }

    /// What the tables hold as changed is in the keyspace now.
    fn settle(&mut self) {
        for table in self.state.tables.iter_mut().flatten() {
            if !table.rows.is_settled() {
                Arc::make_mut(table).rows.settle();
            }
        }
    }

    fn check_usable(&self) -> Result<()> {
        if !self.failed {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::TargetIo,
            "the store takes nothing more, because an earlier commit failed",
        )
        .in_file(self.directory.display().to_string())
        .remedy("check the disk, then start again: opening finds out what is on the disk"))
    }

    /// Removes some of the rows that belong to no table. The store can do without.
    fn sweep(&mut self) {
        if let Err(error) = self.garbage.sweep(&self.space) {
            log::warn!("rows of dropped tables were not removed: {error}");
        }
    }
}

impl Target for Store {
    fn gtid_executed(&self) -> GtidSet {
        self.state.gtid_executed.clone()
    }

    fn relay_log_directory(&self) -> Option<PathBuf> {
        Some(self.directory.join(RELAY_LOGS))
    }

    fn apply(&mut self, batch: &Batch) -> Result<()> {
        self.check_usable()?;
        self.unfinished = None;
        let before = self.published.get();
        let before = &before.state;
        let applied = self
            .applier
            .apply_group(&mut self.state, before, batch, &mut ());
        if self.state.commit_number > before.commit_number {
            self.commit(before)?;
        }
        self.sweep();
        applied
    }

    fn clone_recipient(&mut self) -> Option<&mut dyn CloneRecipient> {
        Some(self)
    }
}
