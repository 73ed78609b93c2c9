//! Reading: snapshots of all tables at one commit number.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use super::tree::Cursor;
use super::{Published, State, Table};
use crate::gtid::GtidSet;
use crate::journal::Position;
use crate::target::schema::{Catalog, TableDefinition, TableName};
use crate::target::tables::apply::Applier;
use crate::target::tables::layout::Layout;
use crate::target::tables::row::Row;
use crate::target::tables::rows::keyless_number;
use crate::target::tables::text::Line;
use crate::transaction::Batch;
use crate::{Error, ErrorKind, Result};

/// Gives [`Snapshot`]s of a store; cheap to clone, usable from any thread, never blocked by the applier.
#[derive(Debug, Clone)]
pub struct Reader {
    published: Arc<Published>,
}

impl Reader {
    pub(crate) fn new(published: Arc<Published>) -> Self {
        Self { published }
    }

    /// Everything up to the newest group commit.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::new(self.published.get())
    }

    /// Waits for a commit after the one with this number; `None` if there is none in time. Called in a
    /// loop with the [number](Snapshot::commit_number) of the snapshot that came last, it tells every
    /// change; commits that follow one another faster than it is called come as one.
    pub fn wait_newer(&self, commit_number: u64, timeout: Duration) -> Option<Snapshot> {
        let newer = |state: &State| state.commit_number > commit_number;
        self.published.wait(newer, timeout).map(Snapshot::new)
    }

    /// Waits until all of `gtids` are applied; `None` if they are not in time.
    pub fn wait_for(&self, gtids: &GtidSet, timeout: Duration) -> Option<Snapshot> {
        let applied = |state: &State| gtids.is_subset(&state.gtid_executed);
        self.published.wait(applied, timeout).map(Snapshot::new)
    }
}

/// All tables at one commit number: whole transactions, and the same for as long as it is held.
///
/// It keeps in memory what it shows, also where the store has changed or dropped it since.
#[derive(Debug, Clone)]
pub struct Snapshot {
    state: Arc<State>,
}

impl Snapshot {
    pub(crate) fn new(state: Arc<State>) -> Self {
        Self { state }
    }

    /// The tables as further transactions leave them, in a copy that shares what they do not change:
    /// neither this snapshot nor the store changes.
    ///
    /// # Errors
    /// As [`Store`](super::Store)'s `apply`; GTIDs that are executed already are not skipped.
    pub fn after(&self, batch: &Batch) -> Result<Self> {
        let mut state = State::clone(&self.state);
        let mut applier = Applier::default();
        for transaction in batch.iter() {
            applier.apply(&mut state, &transaction)?;
        }
        Ok(Self::new(Arc::new(state)))
    }

    /// What was executed to get there.
    pub fn gtid_executed(&self) -> &GtidSet {
        &self.state.gtid_executed
    }

    /// All databases, tables and views.
    pub(crate) fn catalog(&self) -> &Catalog {
        &self.state.catalog
    }

    /// Where the log goes on behind it.
    pub(crate) fn position(&self) -> Position {
        self.state.position
    }

    /// How many transactions were executed to get there. It never goes back.
    pub fn commit_number(&self) -> u64 {
        self.state.commit_number
    }

    /// The tables in order of their names.
    pub fn tables(&self) -> impl Iterator<Item = &TableName> {
        self.state.tables().map(|table| &*table.name)
    }

    /// The definition of a table.
    pub fn definition(&self, table: &TableName) -> Option<&TableDefinition> {
        self.state
            .table(table)
            .map(|table| &table.layout.definition)
    }

    /// How many rows a table has.
    pub fn row_count(&self, table: &TableName) -> Option<u64> {
        self.state.table(table).map(|table| table.rows.len())
    }

    /// Bytes of all keys and rows of all tables.
    pub fn bytes(&self) -> u64 {
        self.state.bytes()
    }

    /// XA transactions that are prepared and wait for XA COMMIT or XA ROLLBACK.
    pub fn prepared_count(&self) -> usize {
        self.state.prepared.len()
    }

    /// The row with that key, as a [`KeyEncoder`](crate::target::key::KeyEncoder) makes it.
    ///
    /// # Errors
    /// [`ErrorKind::Schema`] where there is no such table.
    pub fn get(&self, table: &TableName, key: &[u8]) -> Result<Option<Row<'_>>> {
        let table = self.known(table)?;
        let image = table.rows.get(key);
        Ok(image.map(|image| Row::new(&table.layout, image)))
    }

    /// All rows of a table in the order of their keys.
    ///
    /// # Errors
    /// [`ErrorKind::Schema`] where there is no such table.
    pub fn scan(&self, table: &TableName) -> Result<Scan<'_>> {
        self.scan_from(table, &[])
    }

    /// The rows from a key on, in the order of their keys.
    ///
    /// # Errors
    /// [`ErrorKind::Schema`] where there is no such table.
    pub fn scan_from(&self, table: &TableName, key: &[u8]) -> Result<Scan<'_>> {
        let table = self.known(table)?;
        Ok(Scan {
            layout: &table.layout,
            cursor: table.rows.range(key),
        })
    }

    /// Writes all rows of a table as `mysql -BN -e 'SELECT * FROM t ORDER BY pk'` prints them, in UTF-8;
    /// a table without a key in the order in which its rows came. Returns how many there were.
    ///
    /// # Errors
    /// [`ErrorKind::Schema`] where there is no such table, [`ErrorKind::TargetIo`] where `out` fails.
    pub fn dump(&self, table: &TableName, out: &mut impl Write) -> Result<u64> {
        let table = self.known(table)?;
        let mut line = Line::new(&table.layout);
        let mut write = |image: &[u8]| {
            line.write(image)?;
            out.write_all(&line.bytes)
                .map_err(|error| Error::new(ErrorKind::TargetIo, format!("cannot write: {error}")))
        };
        if table.layout.encoder().is_some() {
            for (_, image) in table.rows.iter() {
                write(image)?;
            }
        } else {
            for image in in_order_of_arrival(table).into_values() {
                write(image)?;
            }
        }
        Ok(table.rows.len())
    }

    pub(super) fn known(&self, name: &TableName) -> Result<&Table> {
        match self.state.table(name) {
            Some(table) => Ok(table),
            None => Err(Error::new(
                ErrorKind::Schema,
                format!("there is no table {name}"),
            )),
        }
    }
}

/// The rows of a table without a key.
fn in_order_of_arrival(table: &Table) -> BTreeMap<u64, &[u8]> {
    let rows = table.rows.iter();
    rows.map(|(key, image)| (keyless_number(key), image))
        .collect()
}

/// The rows of a table, in the order of their keys.
#[derive(Debug)]
pub struct Scan<'a> {
    layout: &'a Layout,
    cursor: Cursor<'a>,
}

impl<'a> Iterator for Scan<'a> {
    type Item = (&'a [u8], Row<'a>);

    /// The next key and its row.
    fn next(&mut self) -> Option<Self::Item> {
        let (key, image) = self.cursor.next()?;
        Some((key, Row::new(self.layout, image)))
    }
}
