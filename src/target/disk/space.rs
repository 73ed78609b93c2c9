//! The keyspace: what is where, and the batches in which it changes.
//!
//! ```text
//! 00 'h'                           u8 version, 1 | u64 commit number
//! 00 'g'                           executed GTIDs in the tagged form of `gtid`
//! 00 'c'                           the catalog
//! 00 't' number                    u32 length, database | u32 length, table | u64 number of the next row |
//!                                  u64 rows | u64 bytes of keys and rows
//! 00 'x' u32 format id | u32 length, gtrid | u32 length, bqual
//!                                  prepared XA transaction: u32 length, Format_description event | its events
//! 00 'l' u64 BE n                  nothing: the newest batch is the nth
//! 01 number | key                  a row
//! ```
//!
//! The journal's checksums cover what is in a batch but not its place in the order of all. Each batch takes
//! away the `l` of the one before it and adds its own: where there is not exactly one when the store is
//! opened, a batch was read in the wrong place, and the store is damaged.
//!
//! A table's number is a u32 BE that is new with CREATE, TRUNCATE and every statement that rewrites all
//! rows, so that these change nothing but the table's record; other numbers are little-endian. Rows of
//! numbers that no table has are garbage, removed piece by piece later, also when the store is opened.

use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::panic;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode, Readable, Slice};
use parking_lot::Mutex;

use super::{State, StoreOptions};
use crate::journal::disk::io_error;
use crate::journal::lock::Lock;
use crate::{Error, ErrorKind, Result};

/// First byte of the keys of rows.
const ROW: u8 = 1;
/// First byte of all other keys.
pub(super) const RECORD: u8 = 0;
/// What the keys of the records of batches begin with.
const BATCH: &[u8] = &[RECORD, b'l'];
/// Bytes of a row's key before the key proper.
pub(super) const PREFIX: usize = 5;
/// The journal is rotated so that it never takes more than this.
const JOURNAL_BYTES: u64 = 128 << 20;
/// Flushes and compactions at a time.
const WORKERS: usize = 2;
/// Rows of garbage that are removed beside one group commit.
const SWEPT: usize = 2000;

/// The keyspace of a store.
pub(crate) struct Space {
    database: Database,
    keyspace: Keyspace,
    next_number: AtomicU32,
    /// Numbers that have rows in the keyspace already, and belong to no committed table.
    written: Mutex<BTreeSet<u32>>,
    /// The number of the newest batch.
    batches: Mutex<u64>,
    /// Held until everything else is closed.
    _lock: Lock,
}

impl fmt::Debug for Space {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Space").finish_non_exhaustive()
    }
}

/// The keyspace at one moment.
pub(super) struct Snapshot(fjall::Snapshot);

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot").finish_non_exhaustive()
    }
}

/// Key and new value of everything that changes; `None` for what goes.
pub(super) type Changes = Vec<(Vec<u8>, Option<Vec<u8>>)>;

/// The key of a row, or with an empty `key` what all keys of a table begin with.
pub(super) fn row_key(number: u32, key: &[u8]) -> Vec<u8> {
    let mut whole = Vec::with_capacity(PREFIX + key.len());
    whole.push(ROW);
    whole.extend_from_slice(&number.to_be_bytes());
    whole.extend_from_slice(key);
    whole
}

/// What stands behind all keys of a table.
fn end_of(number: u32) -> Vec<u8> {
    match number.checked_add(1) {
        Some(next) => row_key(next, &[]),
        None => vec![ROW + 1],
    }
}

impl Space {
    pub(super) fn open(path: &Path, lock: Lock, options: &StoreOptions) -> Result<Arc<Self>> {
        let in_file = |error: Error| error.in_file(path.display().to_string());
        let open = || {
            let database = Database::builder(path)
                .cache_size(options.cache_bytes)
                .max_journaling_size(JOURNAL_BYTES)
                .worker_threads(WORKERS)
                .open()?;
            let keyspace = database.keyspace("rejoin", KeyspaceCreateOptions::default)?;
            Ok((database, keyspace))
        };
        // Some damage to its files is met by assertions.
        let opened = panic::catch_unwind(panic::AssertUnwindSafe(open))
            .map_err(|_| in_file(damaged("its keyspace cannot be read")))?;
        let (database, keyspace) =
            opened.map_err(|error| in_file(failed("open the keyspace", error)))?;
        Ok(Arc::new(Self {
            next_number: AtomicU32::new(0),
            written: Mutex::default(),
            batches: Mutex::new(newest_batch(&keyspace).map_err(in_file)?),
            database,
            keyspace,
            _lock: lock,
        }))
    }

    /// A number that no table ever had.
    pub(super) fn new_number(&self) -> u32 {
        self.next_number.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        Snapshot(self.database.snapshot())
    }

    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Slice>> {
        self.keyspace.get(key).map_err(not_read)
    }

    pub(super) fn contains(&self, key: &[u8]) -> Result<bool> {
        self.keyspace.contains_key(key).map_err(not_read)
    }

    /// How long the value of a key is.
    pub(super) fn length(&self, key: &[u8]) -> Result<Option<u32>> {
        self.keyspace.size_of(key).map_err(not_read)
    }

    /// The rows of a table from a key on.
    pub(super) fn rows(&self, number: u32, from: &[u8]) -> fjall::Iter {
        self.keyspace.range(row_key(number, from)..end_of(number))
    }

    /// All that begins with `prefix`.
    pub(super) fn records(&self, prefix: &[u8]) -> fjall::Iter {
        self.keyspace.prefix(prefix)
    }

    /// Makes all changes at once, and waits for the disk where `sync` is wanted.
    pub(super) fn commit(&self, changes: &Changes, sync: bool) -> Result<()> {
        let mut newest = self.batches.lock();
        let mut batch = self.database.batch();
        batch.remove(&self.keyspace, batch_key(*newest));
        batch.insert(&self.keyspace, batch_key(*newest + 1), b"".as_slice());
        for (key, value) in changes {
            match value {
                Some(value) => batch.insert(&self.keyspace, key.as_slice(), value.as_slice()),
                None => batch.remove(&self.keyspace, key.as_slice()),
            }
        }
        let durability = if sync {
            PersistMode::SyncData
        } else {
            PersistMode::Buffer
        };
        batch
            .durability(Some(durability))
            .commit()
            .map_err(|error| failed("commit to the keyspace", error))?;
        *newest += 1;
        Ok(())
    }

    /// Writes rows of a table that is not committed yet.
    pub(super) fn write_ahead(&self, number: u32, changes: &Changes) -> Result<()> {
        self.written.lock().insert(number);
        self.commit(changes, false)
    }

    /// Numbers that a commit has left without a table.
    pub(super) fn dropped(&self, before: &State, after: &State) -> Vec<u32> {
        let numbers = |state: &State| -> BTreeSet<u32> {
            state.tables().map(|table| table.rows.number()).collect()
        };
        let mut old = std::mem::take(&mut *self.written.lock());
        if !Arc::ptr_eq(&before.names, &after.names) || !old.is_empty() || rewritten(before, after)
        {
            old.append(&mut numbers(before));
            return old.difference(&numbers(after)).copied().collect();
        }
        Vec::new()
    }

    /// Rows of numbers that no table of `state` has; new numbers are behind all that is found.
    pub(super) fn find_garbage(&self, state: &State) -> Result<Garbage> {
        let known: BTreeSet<u32> = state.tables().map(|table| table.rows.number()).collect();
        let mut garbage = Garbage::default();
        let mut next = known.last().map_or(0, |last| last.saturating_add(1));
        let mut from = row_key(0, &[]);
        while let Some(found) = self.keyspace.range(from..).next() {
            let key = found.key().map_err(not_read)?;
            let number = key.get(1..PREFIX).and_then(|bytes| bytes.first_chunk());
            let Some(number) = number.map(|bytes| u32::from_be_bytes(*bytes)) else {
                return Err(damaged("a key is not whole"));
            };
            if !known.contains(&number) {
                garbage.extend([number]);
            }
            next = next.max(number.saturating_add(1));
            from = end_of(number);
        }
        self.next_number.store(next, Ordering::Relaxed);
        Ok(garbage)
    }
}

fn batch_key(number: u64) -> Vec<u8> {
    [BATCH, &number.to_be_bytes()].concat()
}

/// The number of the newest batch; 0 where there is none.
fn newest_batch(keyspace: &Keyspace) -> Result<u64> {
    let mut newest = None;
    for found in keyspace.prefix(BATCH) {
        let key = found.key().map_err(not_read)?;
        let number = key.get(BATCH.len()..).and_then(|bytes| bytes.first_chunk());
        let number = number.ok_or_else(|| damaged("a key is not whole"))?;
        if newest.replace(u64::from_be_bytes(*number)).is_some() {
            return Err(damaged("its batches are not in order"));
        }
    }
    match newest {
        Some(newest) => Ok(newest),
        None if keyspace.first_key_value().is_none() => Ok(0),
        None => Err(damaged("its newest batch is missing")),
    }
}

/// Whether a table has other rows under its name, all of them.
fn rewritten(before: &State, after: &State) -> bool {
    let pairs = before.tables.iter().zip(&after.tables);
    pairs.into_iter().any(|(old, new)| match (old, new) {
        (Some(old), Some(new)) => old.rows.number() != new.rows.number(),
        _ => false,
    })
}

impl Snapshot {
    pub(super) fn get(&self, space: &Space, key: &[u8]) -> Result<Option<Slice>> {
        self.0.get(&space.keyspace, key).map_err(not_read)
    }

    pub(super) fn rows(&self, space: &Space, number: u32, from: &[u8]) -> fjall::Iter {
        let range = row_key(number, from)..end_of(number);
        self.0.range(&space.keyspace, range)
    }
}

/// Rows that belong to no table, to be removed.
#[derive(Debug, Default)]
pub(super) struct Garbage {
    /// First keys that may be there, and the ends.
    ranges: VecDeque<(Vec<u8>, Vec<u8>)>,
}

impl Garbage {
    pub(super) fn extend(&mut self, numbers: impl IntoIterator<Item = u32>) {
        let ranges = numbers
            .into_iter()
            .map(|number| (row_key(number, &[]), end_of(number)));
        self.ranges.extend(ranges);
    }

    /// Removes some of them.
    pub(super) fn sweep(&mut self, space: &Space) -> Result<()> {
        let Some((from, end)) = self.ranges.front_mut() else {
            return Ok(());
        };
        let mut gone = Changes::new();
        for found in space.keyspace.range(from.clone()..end.clone()).take(SWEPT) {
            gone.push((found.key().map_err(not_read)?.to_vec(), None));
        }
        if let Some((last, _)) = gone.last() {
            // Not from the beginning again: what was removed there has still to be stepped over.
            from.clone_from(last);
            space.commit(&gone, false)?;
        }
        if gone.len() < SWEPT {
            self.ranges.pop_front();
        }
        Ok(())
    }
}

#[cold]
pub(super) fn not_read(error: fjall::Error) -> Error {
    failed("read the keyspace", error)
}

#[cold]
pub(super) fn damaged(what: &str) -> Error {
    Error::new(
        ErrorKind::TargetCorrupt,
        format!("the store is damaged: {what}"),
    )
    .remedy("remove the store and recover the member anew")
}

#[cold]
fn failed(doing: &str, error: fjall::Error) -> Error {
    match error {
        fjall::Error::Io(error) | fjall::Error::Storage(fjall::LsmError::Io(error)) => {
            io_error(doing, Path::new(super::KEYSPACE), error)
        }
        fjall::Error::Poisoned => Error::new(
            ErrorKind::TargetIo,
            format!("cannot {doing}: an earlier write or sync failed"),
        )
        .remedy("check the disk, then start again: opening finds out what is on the disk"),
        fjall::Error::Locked => {
            Error::new(ErrorKind::TargetLocked, "another process uses the keyspace")
                .remedy("stop the other process, or give each member a directory of its own")
        }
        error => damaged(&format!("cannot {doing}: {error}")).caused_by(error),
    }
}
