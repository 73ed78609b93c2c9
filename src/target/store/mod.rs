//! The embedded target: tables in memory, the member's own binary log as redo log, checkpoints.
//!
//! ```text
//! Batch -> Applier changes a state of its own (copy-on-write trees) -> Journal: one write, one sync
//!                                                                        |
//!          readers <- Published <- clone of that state <-----------------+
//! ```
//!
//! A group commit applies all transactions of a batch to a state that nobody else sees, appends their
//! events to the binary log, waits for the disk once, and then makes the new state the one that readers
//! get. A reader takes the newest state with one reference count and reads it without locks: whole
//! transactions at one commit number, for as long as it likes; the applier never waits for it.
//!
//! Where many transactions wait, threads `rejoin-apply-N` change the rows, each those of tables of its own
//! (`replica_parallel_workers`); with one worker all happens in order on the applier's thread.
//!
//! What makes the rows durable is the log. A checkpoint writes a state to a file beside it, so that
//! opening starts from there and replays only what stands behind it.
//!
//! ```text
//! DIR/rejoin.lock                        held while the store is open for writing
//! DIR/binlog.index, DIR/binlog.000001    the binary log, see `journal`
//! DIR/checkpoint.000000000123            all tables at commit number 123, see `checkpoint`
//! DIR/relay/                             relay logs of the member that the store belongs to
//! ```
//!
//! - `tree`: the rows of one table; what transactions do to them is in `tables`;
//! - `reader`, `lookup`: what others read;
//! - `checkpoint`: states in files;
//! - `clone`: all of it replaced with a donor's.

mod checkpoint;
mod clone;
mod lookup;
mod reader;
pub(super) mod tree;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::gtid::GtidSet;
use crate::journal::disk::Disk;
use crate::journal::index::Index;
use crate::journal::lock::Lock;
use crate::journal::recover::recover;
use crate::journal::{Journal, JournalOptions, LogTail, Position};
use crate::target::tables;
use crate::target::tables::apply::{Applier, GroupLog};
use crate::target::tables::clone::Copy;
use crate::target::{CloneRecipient, KeySource, Target};
use crate::transaction::{Batch, Transaction};
use crate::{Error, ErrorKind, Limits, Result};

use checkpoint::Checkpointer;
use tree::Tree;

pub use crate::target::tables::row::Row;
pub use lookup::Range;
pub use reader::{Reader, Scan, Snapshot};

type State = tables::state::State<Tree>;
type Table = tables::state::Table<Tree>;
type Published = tables::state::Published<State>;

/// The directory of relay logs in the store's.
pub(crate) const RELAY_LOGS: &str = "relay";

/// Default of `replica_parallel_workers`: MySQL's, where there are as many cores. On two, the donor and the
/// threads that receive have them busy, and handing rows over costs more than it gives.
pub(crate) fn parallel_workers() -> usize {
    const WORKERS: usize = 4;
    match std::thread::available_parallelism() {
        Ok(cores) if cores.get() >= WORKERS => WORKERS,
        _ => 1,
    }
}

/// How a store works.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreOptions {
    /// How its binary log is written.
    pub journal: JournalOptions,
    /// A checkpoint is made when the log has grown by so many bytes, and by as much as the tables
    /// hold, since the last one. Default 256 MiB.
    pub checkpoint_log_bytes: u64,
    /// Bytes that the keys and rows of all tables may take; the pages they lie in take about a quarter
    /// more, and snapshots that are held keep what was changed since. A group commit that would need more
    /// is refused whole, before it is logged; one that takes rows away never is. Default: no bound.
    pub memory_bytes: Option<u64>,
    /// How many threads change rows where many transactions wait, each those of tables of its own,
    /// beside the thread that calls. With 1 there is none: everything happens in order on that thread.
    /// What is committed is the same. Default 4, as MySQL has it, and 1 on machines of fewer cores.
    pub replica_parallel_workers: usize,
    /// Bounds on what is read from its files.
    pub limits: Limits,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            journal: JournalOptions::default(),
            checkpoint_log_bytes: 256 << 20,
            memory_bytes: None,
            replica_parallel_workers: parallel_workers(),
            limits: Limits::default(),
        }
    }
}

/// The embedded target. See the [module](self) for what it is made of.
///
/// ```
/// use rejoin::target::Target;
/// use rejoin::target::store::Store;
///
/// # let directory = std::env::temp_dir().join(format!("rejoin-doc-{}", std::process::id()));
/// let store = Store::open(&directory)?;
/// let reader = store.reader();
/// assert!(store.gtid_executed().is_empty());
/// assert_eq!(reader.snapshot().tables().count(), 0);
/// # drop(store);
/// # std::fs::remove_dir_all(&directory).unwrap();
/// # Ok::<(), rejoin::Error>(())
/// ```
#[derive(Debug)]
pub struct Store {
    directory: PathBuf,
    options: StoreOptions,
    journal: Journal,
    published: Arc<Published>,
    /// The published state, to which the transactions of the next batch are applied.
    state: State,
    applier: Applier,
    /// States that were published once and may still be read.
    retired: Vec<Arc<State>>,
    checkpointer: Checkpointer,
    /// Log bytes since the last checkpoint was asked for.
    log_bytes: u64,
    /// What purging depended on when it was last tried: the newest segment, and the one needed for
    /// the checkpoints.
    purged_at: (u64, u64),
    /// A clone that failed, as far as it came.
    unfinished: Option<Copy<Tree>>,
    /// Held until everything else is closed.
    _lock: Lock,
}

impl Store {
    /// Opens the store in `directory`, or makes an empty one.
    ///
    /// # Errors
    /// [`ErrorKind::TargetLocked`] where another process uses it, [`ErrorKind::TargetIo`],
    /// [`ErrorKind::TargetCorrupt`].
    pub fn open(directory: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(directory, StoreOptions::default())
    }

    /// As [`open`](Self::open), with other options than the defaults.
    ///
    /// # Errors
    /// As `open`.
    pub fn open_with(directory: impl AsRef<Path>, options: StoreOptions) -> Result<Self> {
        Self::open_on(Disk::default(), directory.as_ref(), options)
    }

    pub(crate) fn open_on(disk: Disk, directory: &Path, options: StoreOptions) -> Result<Self> {
        let lock = Lock::take(directory)?;
        let mut state = checkpoint::newest(directory)?.unwrap_or_else(|| State::empty(()));
        if clone::begins_log(&state) {
            clone::finish(&disk, directory, &options, &state)?;
        }
        let from = start_of_replay(&state);
        let mut applier = Applier::new(options.replica_parallel_workers);
        let mut log_bytes = 0;
        let mut replay = |batch: &Batch| {
            log_bytes += batch.byte_size() as u64;
            replay(&mut applier, &mut state, batch)
        };
        let journal = Journal::open_on(
            disk.clone(),
            directory,
            options.journal.clone(),
            &options.limits,
            from,
            &mut replay,
        )?;
        state.position = journal.end();
        check_replayed(&state, journal.gtid_executed())?;
        let published = Arc::new(Published::new(state.clone()));
        let log_name = &options.journal.base_name;
        let checkpointer = Checkpointer::start(disk, directory, log_name, Arc::clone(&published))?;
        Ok(Self {
            directory: directory.to_owned(),
            journal,
            checkpointer,
            published,
            state,
            applier,
            retired: Vec::new(),
            log_bytes,
            purged_at: (0, 0),
            unfinished: None,
            options,
            _lock: lock,
        })
    }

    /// Reads the store in `directory` as it stands, without a lock and without changing anything: a
    /// process that writes it is not disturbed.
    ///
    /// # Errors
    /// [`ErrorKind::TargetIo`] where there is none, [`ErrorKind::TargetCorrupt`].
    pub fn open_read_only(directory: impl AsRef<Path>) -> Result<Snapshot> {
        let directory = directory.as_ref();
        let options = StoreOptions::default();
        let index = Index::read(directory, &options.journal.base_name)?;
        let mut state = checkpoint::newest(directory)?.unwrap_or_else(|| State::empty(()));
        if clone::begins_log(&state) && !index.segments().contains(&state.position.segment) {
            // A clone whose log is not begun yet: its rows are all there is.
            return Ok(Snapshot::new(Arc::new(state)));
        }
        let from = start_of_replay(&state);
        let mut applier = Applier::new(options.replica_parallel_workers);
        let recovered = recover(&index, &options.limits, from, &mut |batch| {
            replay(&mut applier, &mut state, batch)
        })?;
        let Some(recovered) = recovered else {
            return Err(Error::new(ErrorKind::TargetIo, "there is no store")
                .in_file(directory.display().to_string())
                .remedy("name the directory that was given to --store"));
        };
        state.position = recovered.end;
        check_replayed(&state, &recovered.executed)?;
        Ok(Snapshot::new(Arc::new(state)))
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

    /// The end of the binary log.
    pub fn log_position(&self) -> Position {
        self.journal.end()
    }

    /// The binary log for those who read it while it is written, as a
    /// [donor](crate::donor::MemberLog) does.
    pub fn binary_log(&self) -> LogTail {
        self.journal.tail()
    }

    /// Writes a checkpoint of everything applied so far, and waits for it.
    ///
    /// # Errors
    /// [`ErrorKind::TargetIo`]; the store goes on without the checkpoint.
    pub fn checkpoint(&mut self) -> Result<()> {
        self.log_bytes = 0;
        self.checkpointer.make_now()
    }

    /// Applies and logs all transactions up to the first that cannot be.
    fn apply_in_memory(&mut self, batch: &Batch) -> Result<()> {
        let before = self.published.get();
        let journal = &mut self.journal;
        self.applier
            .apply_group(&mut self.state, &before, batch, journal)
    }

    /// Whether the tables may be as large as they have become.
    fn check_memory(&mut self) -> Result<()> {
        let (bytes, before) = (self.state.bytes(), self.published.get().bytes());
        match self.too_large(bytes).filter(|_| bytes > before) {
            Some(error) => {
                self.step_back();
                self.journal.roll_back();
                Err(error)
            }
            None => Ok(()),
        }
    }

    /// Why so many bytes of rows cannot be held; `None` where they can.
    fn too_large(&self, bytes: u64) -> Option<Error> {
        let allowed = self
            .options
            .memory_bytes
            .filter(|allowed| bytes > *allowed)?;
        let error = Error::new(
            ErrorKind::TargetIo,
            format!(
                "the rows of all tables would take {bytes} bytes, memory_bytes allows {allowed}"
            ),
        );
        Some(error.remedy(
            "raise memory_bytes (--store-memory): nothing is lost, the next run goes on from here",
        ))
    }

    /// Back to what is published.
    fn step_back(&mut self) {
        self.state = State::clone(&self.published.get());
        self.applier.forget();
    }

    /// Lets go of segments that are neither wanted nor needed any more.
    fn purge(&mut self) {
        let now = (
            self.journal.end().segment,
            self.checkpointer.needed_segment(),
        );
        if now == self.purged_at {
            return;
        }
        self.purged_at = now;
        match self.journal.purge(now.1) {
            Ok(0) => {}
            Ok(count) => log::info!("{count} segments of the binary log were purged"),
            // The store can do without; it is tried again with the next segment.
            Err(error) => log::warn!("the binary log was not purged: {error}"),
        }
    }

    fn publish(&mut self) {
        let older = self.published.set(self.state.clone());
        self.retired.push(older);
        // A state that a reader still has is let go later, so that its memory is not freed by the reader.
        self.retired.retain(|state| Arc::strong_count(state) > 1);
    }
}

impl GroupLog for Journal {
    fn append(&mut self, transaction: &Transaction<'_>) -> Result<()> {
        Self::append(self, transaction)
    }

    fn roll_back(&mut self) {
        Self::roll_back(self);
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
        self.unfinished = None;
        let applied = self.apply_in_memory(batch);
        self.check_memory()?;
        let logged = self.journal.pending_bytes() as u64;
        if logged > 0 {
            match self.journal.commit() {
                Ok(end) => self.state.position = end,
                Err(error) => {
                    self.step_back();
                    return Err(error);
                }
            }
            self.publish();
            self.log_bytes += logged;
            let enough = self.options.checkpoint_log_bytes.max(self.state.bytes());
            if self.log_bytes >= enough && self.checkpointer.ask() {
                self.log_bytes = 0;
            }
            self.purge();
        }
        applied
    }

    fn clone_recipient(&mut self) -> Option<&mut dyn CloneRecipient> {
        Some(self)
    }
}

/// Where the log has to be read from, and what was executed before: nothing known is its beginning.
fn start_of_replay(state: &State) -> Option<(Position, GtidSet)> {
    (state.position.offset > 0).then(|| (state.position, state.gtid_executed.clone()))
}

fn replay(applier: &mut Applier, state: &mut State, batch: &Batch) -> Result<()> {
    applier.apply_all(state, batch).map_err(|error| {
        let corrupt = Error::new(
            ErrorKind::TargetCorrupt,
            format!("the store's own log cannot be applied: {}", error.message()),
        )
        .remedy("remove the store and recover the member anew");
        let gtid = error.gtid().copied();
        let corrupt = corrupt.caused_by(error);
        match gtid {
            Some(gtid) => corrupt.at_gtid(gtid),
            None => corrupt,
        }
    })
}

/// Rows and log have to agree about what was executed: a log whose beginning is gone without a
/// checkpoint in its place would leave rows out.
fn check_replayed(state: &State, executed: &GtidSet) -> Result<()> {
    if state.gtid_executed != *executed {
        return Err(Error::new(
            ErrorKind::TargetCorrupt,
            format!(
                "the log says that {executed} was executed, the rows are those of {}",
                state.gtid_executed
            ),
        )
        .remedy("remove the store and recover the member anew"));
    }
    Ok(())
}
