//! What a target holds at one commit number: tables, catalog, executed GTIDs, prepared transactions.
//!
//! A [`State`] is cheap to clone: everything that can be large is shared. The applier works on a state
//! of its own and publishes clones of it; who holds a clone reads one commit number, without locks and
//! for as long as it likes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::Rows;
use super::layout::Layout;
use super::xa::{Prepared, Xid};
use crate::gtid::GtidSet;
use crate::journal::Position;
use crate::target::schema::{Catalog, TableName};

/// One table at one commit number.
#[derive(Debug, Clone)]
pub(crate) struct Table<R> {
    pub(crate) name: Arc<TableName>,
    pub(crate) layout: Arc<Layout>,
    pub(crate) rows: R,
    /// In a table whose rows have no key: the number that makes the next row's key.
    pub(crate) next_row: u64,
}

/// Everything at one commit number.
#[derive(Debug, Clone)]
pub(crate) struct State<R: Rows> {
    /// Where the rows of new tables come to lie.
    pub(crate) space: R::Space,
    /// How many transactions were ever committed here.
    pub(crate) commit_number: u64,
    pub(crate) gtid_executed: GtidSet,
    /// The end of the newest of them in the binary log, where the target has one.
    pub(crate) position: Position,
    pub(crate) catalog: Arc<Catalog>,
    /// Where each table stands in `tables`.
    pub(crate) names: Arc<BTreeMap<TableName, usize>>,
    /// Tables never move; places of dropped ones are used again.
    pub(crate) tables: Vec<Option<Arc<Table<R>>>>,
    /// XA transactions that wait for their second phase.
    pub(crate) prepared: Arc<BTreeMap<Xid, Prepared>>,
}

impl<R: Rows> State<R> {
    /// A target in which nothing ever happened.
    pub(crate) fn empty(space: R::Space) -> Self {
        Self {
            space,
            commit_number: 0,
            gtid_executed: GtidSet::new(),
            position: Position {
                segment: 0,
                offset: 0,
                sequence_number: 0,
            },
            catalog: Arc::new(Catalog::new()),
            names: Arc::default(),
            tables: Vec::new(),
            prepared: Arc::default(),
        }
    }

    pub(crate) fn table(&self, name: &TableName) -> Option<&Arc<Table<R>>> {
        let place = *self.names.get(name)?;
        self.tables.get(place)?.as_ref()
    }

    /// All tables in order of their names.
    pub(crate) fn tables(&self) -> impl Iterator<Item = &Arc<Table<R>>> {
        self.names
            .values()
            .filter_map(|place| self.tables.get(*place)?.as_ref())
    }

    /// Bytes of all keys and rows.
    pub(crate) fn bytes(&self) -> u64 {
        self.tables().map(|table| table.rows.bytes()).sum()
    }

    /// Puts a table in, in place of one that has its name.
    pub(crate) fn put_table(&mut self, table: Table<R>) {
        let name = TableName::clone(&table.name);
        let place = match self.names.get(&name) {
            Some(place) => *place,
            None => {
                let free = self.tables.iter().position(Option::is_none);
                let place = free.unwrap_or(self.tables.len());
                Arc::make_mut(&mut self.names).insert(name, place);
                place
            }
        };
        if place == self.tables.len() {
            self.tables.push(None);
        }
        self.tables[place] = Some(Arc::new(table));
    }

    /// Takes a table out.
    pub(crate) fn take_table(&mut self, name: &TableName) -> Option<Arc<Table<R>>> {
        let place = Arc::make_mut(&mut self.names).remove(name)?;
        self.tables.get_mut(place)?.take()
    }
}

/// What was published last, a [`State`] with whatever is needed to read it, and those who wait for a
/// newer one.
#[derive(Debug)]
pub(crate) struct Published<T> {
    state: Mutex<Arc<T>>,
    newer: Condvar,
}

impl<T> Published<T> {
    pub(crate) fn new(state: T) -> Self {
        Self {
            state: Mutex::new(Arc::new(state)),
            newer: Condvar::new(),
        }
    }

    /// The newest state. The lock is held for as long as it takes to count one reference.
    pub(crate) fn get(&self) -> Arc<T> {
        Arc::clone(&self.state.lock())
    }

    /// Makes a newer state the one that readers get; the older one is handed back, so that its memory
    /// is freed by who published, not by a reader.
    pub(crate) fn set(&self, state: T) -> Arc<T> {
        let newer = Arc::new(state);
        let older = std::mem::replace(&mut *self.state.lock(), newer);
        self.newer.notify_all();
        older
    }

    /// Waits for a state of which `wanted` is true; `None` if there is none in time.
    pub(crate) fn wait(&self, wanted: impl Fn(&T) -> bool, timeout: Duration) -> Option<Arc<T>> {
        let deadline = Instant::now().checked_add(timeout);
        let mut state = self.state.lock();
        while !wanted(&state) {
            match deadline {
                Some(deadline) => {
                    let waited = self.newer.wait_until(&mut state, deadline);
                    if waited.timed_out() && !wanted(&state) {
                        return None;
                    }
                }
                None => self.newer.wait(&mut state),
            }
        }
        Some(Arc::clone(&state))
    }
}
