//! A donor's data as it is copied, before it takes the place of what a target has.
//!
//! ```text
//! snapshot 1   orders: rows up to key 700 ............ then the connection broke
//! snapshot 2   orders: the rows behind key 700, items: all
//! transactions behind snapshot 1 and in snapshot 2: applied to orders up to key 700, and only there
//! ```
//!
//! So what was copied is never fetched again. Tables whose rows cannot be fetched in order of their
//! key, and tables that a schema change meets in between, are begun anew.
//!
//! - `copy`: tables as far as they are copied;
//! - `forward`: transactions on parts of tables.

mod copy;
mod forward;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;

use super::Rows;
use super::state::State;
use crate::gtid::GtidSet;
use crate::target::schema::{Catalog, TableName};
use crate::target::{CloneDonor, CloneProgress, CloneReader, CloneSnapshot};
use crate::{Error, ErrorKind, Result};

use copy::TableCopy;
use forward::Forward;

/// How often tables may have to be begun anew because of schema changes.
const ROUNDS: u32 = 20;
/// Rows between two looks at whether the clone is to end.
const ROWS_A_LOOK: u64 = 1024;

/// A donor's data, as far as it is here.
#[derive(Debug)]
pub(crate) struct Copy<R: Rows> {
    /// Where its rows lie.
    space: R::Space,
    /// What each snapshot, in the order of their opening, holds; moved on by transactions.
    sets: Vec<GtidSet>,
    /// Databases and views of the newest snapshot, and its tables.
    catalog: Catalog,
    tables: BTreeMap<TableName, TableCopy<R>>,
    /// Rows and bytes fetched, tables that were begun anew included.
    rows: u64,
    bytes: u64,
    /// False where a part may hold half of a transaction.
    is_sound: bool,
}

impl<R: Rows> Copy<R> {
    /// Nothing so far.
    pub(crate) fn new(space: R::Space) -> Self {
        Self {
            space,
            sets: Vec::new(),
            catalog: Catalog::new(),
            tables: BTreeMap::new(),
            rows: 0,
            bytes: 0,
            is_sound: false,
        }
    }

    /// Whether what is here may be gone on with.
    pub(crate) fn is_sound(&self) -> bool {
        self.is_sound
    }

    /// Goes on until everything is here, at the GTID set of the newest snapshot.
    ///
    /// # Errors
    /// Those of the donor, and of data that does not fit.
    pub(crate) fn complete(&mut self, donor: &dyn CloneDonor) -> Result<()> {
        self.is_sound = true;
        let (mut failures, mut rounds) = (0, 0);
        loop {
            let rows = self.rows;
            match self.round(donor) {
                Ok(true) => return Ok(()),
                Ok(false) if rounds < ROUNDS => rounds += 1,
                Ok(false) => {
                    return Err(Error::new(
                        ErrorKind::Schema,
                        format!("schema changes came in between {ROUNDS} times"),
                    )
                    .remedy("let the schema rest while a member is cloned"));
                }
                Err(error) if error.is_retryable() && self.is_sound && !donor.is_stopped() => {
                    failures = if self.rows > rows { 1 } else { failures + 1 };
                    log::warn!("the clone was cut off after {} rows: {error}", self.rows);
                    if !donor.pause(failures) {
                        return Err(error);
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Fetches what is missing from one snapshot, and brings the rest forward to it. `false` where
    /// that was not possible with every table.
    fn round(&mut self, donor: &dyn CloneDonor) -> Result<bool> {
        if self.sets.is_empty() || self.tables.values().any(|table| !table.is_complete()) {
            let mut snapshot = donor.snapshot(self.sets.last().unwrap_or(&GtidSet::new()))?;
            self.adopt(&*snapshot)?;
            self.fetch(&mut *snapshot, donor)?;
        }
        self.bring_forward(donor)
    }

    /// Takes over the schema of a snapshot: tables that are not as they were are begun anew.
    fn adopt(&mut self, snapshot: &dyn CloneSnapshot) -> Result<()> {
        let catalog = snapshot.catalog();
        self.tables
            .retain(|name, table| catalog.table(name) == Some(table.given()));
        for (name, definition) in catalog.tables() {
            if !self.tables.contains_key(name) {
                let table = TableCopy::new(&self.space, name, definition)?;
                self.tables.insert(name.clone(), table);
            }
        }
        self.catalog = catalog.clone();
        self.sets.push(snapshot.gtid_executed().clone());
        Ok(())
    }

    /// Copies the tables that are not complete, as many at a time as there are readers. Where a
    /// reader's connection breaks, the others go on with its table.
    fn fetch(&mut self, snapshot: &mut dyn CloneSnapshot, donor: &dyn CloneDonor) -> Result<()> {
        let set = self.sets.len() - 1;
        let (complete, waiting): (BTreeMap<_, _>, BTreeMap<_, _>) =
            std::mem::take(&mut self.tables)
                .into_iter()
                .partition(|(_, table)| table.is_complete());
        let fetching = Fetching {
            donor,
            set,
            tables: (complete.len() + waiting.len()) as u64,
            waiting: Mutex::new(waiting.into_values().collect()),
            complete: Mutex::new(complete.into_values().collect()),
            failure: Mutex::new(None),
            hopeless: AtomicBool::new(false),
            rows: AtomicU64::new(self.rows),
            bytes: AtomicU64::new(self.bytes),
        };
        std::thread::scope(|scope| {
            for (number, reader) in snapshot.readers().into_iter().enumerate() {
                let work = || fetching.run(reader);
                let named = std::thread::Builder::new().name(format!("rejoin-clone-{number}"));
                if let Err(error) = named.spawn_scoped(scope, work) {
                    let error = Error::new(ErrorKind::Internal, "cannot start a thread to clone")
                        .caused_by(error);
                    *fetching.failure.lock() = Some(error);
                }
            }
        });
        self.rows = fetching.rows.into_inner();
        self.bytes = fetching.bytes.into_inner();
        let waiting = fetching.waiting.into_inner();
        let is_done = waiting.is_empty();
        let tables = waiting.into_iter().chain(fetching.complete.into_inner());
        self.tables = tables
            .map(|table| (TableName::clone(table.name()), table))
            .collect();
        match fetching.failure.into_inner() {
            Some(error) if !is_done => Err(error),
            _ => Ok(()),
        }
    }

    /// Applies to each part what it does not hold of the newest snapshot.
    fn bring_forward(&mut self, donor: &dyn CloneDonor) -> Result<bool> {
        let Some(newest) = self.sets.last().cloned() else {
            return Ok(false);
        };
        let used = self.tables.values().flat_map(TableCopy::sets);
        let behind = used
            .filter_map(|set| self.sets.get(set))
            .filter(|set| **set != newest);
        let oldest = behind.fold(newest.clone(), |all, set| all.intersect(set));
        if oldest == newest {
            return Ok(true);
        }
        log::info!(
            "{} transactions came between the snapshots of the clone",
            newest.subtract(&oldest).count()
        );
        let mut forward = Forward::new(&mut self.sets, &mut self.tables, &newest);
        let mut is_sound = true;
        let brought = donor.transactions(&oldest, &newest, &mut |batch| {
            is_sound = false;
            forward.apply(batch)?;
            is_sound = true;
            Ok(())
        });
        let is_whole = forward.is_whole();
        self.is_sound = is_sound;
        match brought {
            Err(error) if error.kind() == ErrorKind::Purged => {
                log::warn!("what was copied first is copied again: {error}");
                self.begin_anew_behind(&newest);
                Ok(false)
            }
            brought => brought.map(|()| is_whole),
        }
    }

    /// Lets go of tables that can no longer be brought forward.
    fn begin_anew_behind(&mut self, newest: &GtidSet) {
        for table in self.tables.values_mut() {
            if table.sets().any(|set| self.sets.get(set) != Some(newest)) {
                table.reset();
            }
        }
    }

    /// The complete copy.
    pub(crate) fn into_state(self) -> State<R> {
        let mut state = State::empty(self.space);
        let mut catalog = self.catalog;
        for table in self.tables.into_values() {
            let table = table.into_table();
            catalog.insert(
                TableName::clone(&table.name),
                table.layout.definition.clone(),
            );
            state.put_table(table);
        }
        state.catalog = Arc::new(catalog);
        state.gtid_executed = self.sets.into_iter().next_back().unwrap_or_default();
        state
    }
}

/// What the readers of one snapshot share.
struct Fetching<'a, R: Rows> {
    donor: &'a dyn CloneDonor,
    /// The snapshot's number.
    set: usize,
    tables: u64,
    waiting: Mutex<Vec<TableCopy<R>>>,
    complete: Mutex<Vec<TableCopy<R>>>,
    /// The first failure; one after which no reader can go on takes the place of one that can be retried.
    failure: Mutex<Option<Error>>,
    /// Set when a failure leaves nothing for other readers to do.
    hopeless: AtomicBool,
    rows: AtomicU64,
    bytes: AtomicU64,
}

impl<R: Rows> Fetching<'_, R> {
    fn run(&self, reader: &mut dyn CloneReader) {
        while let Some(mut table) = self.next() {
            let fetched = self.table(&mut table, reader);
            match fetched {
                Ok(()) => self.complete.lock().push(table),
                Err(error) => {
                    let hopeless = !error.is_retryable();
                    let mut failure = self.failure.lock();
                    if failure
                        .as_ref()
                        .is_none_or(|first| hopeless && first.is_retryable())
                    {
                        *failure = Some(error);
                    }
                    drop(failure);
                    self.waiting.lock().push(table);
                    // Last: it makes the other readers fail, which is not what went wrong.
                    if hopeless {
                        self.hopeless.store(true, Ordering::Relaxed);
                    }
                    return;
                }
            }
            self.donor.progress(self.progress());
        }
    }

    fn next(&self) -> Option<TableCopy<R>> {
        if self.hopeless.load(Ordering::Relaxed) {
            return None;
        }
        self.waiting.lock().pop()
    }

    fn table(&self, table: &mut TableCopy<R>, reader: &mut dyn CloneReader) -> Result<()> {
        table.begin(self.set, reader);
        let (name, definition) = (TableName::clone(table.name()), table.given().clone());
        let after = table.last_row();
        let (mut rows, mut bytes) = (0, 0);
        let tell = |new_rows: &mut u64, new_bytes: &mut u64| {
            self.rows
                .fetch_add(std::mem::take(new_rows), Ordering::Relaxed);
            self.bytes
                .fetch_add(std::mem::take(new_bytes), Ordering::Relaxed);
        };
        let fetched = reader.rows(&name, &definition, after.as_deref(), &mut |row| {
            table.push(row)?;
            rows += 1;
            bytes += row.len() as u64;
            if rows == ROWS_A_LOOK {
                tell(&mut rows, &mut bytes);
                self.donor.progress(self.progress());
                if self.donor.is_stopped() || self.hopeless.load(Ordering::Relaxed) {
                    return Err(stopped());
                }
            }
            Ok(())
        });
        tell(&mut rows, &mut bytes);
        fetched?;
        table.end();
        Ok(())
    }

    fn progress(&self) -> CloneProgress {
        CloneProgress {
            tables: self.tables,
            tables_copied: self.complete.lock().len() as u64,
            rows: self.rows.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            snapshots: self.set as u64 + 1,
        }
    }
}

#[cold]
fn stopped() -> Error {
    Error::new(ErrorKind::Interrupted, "the clone was stopped")
}
