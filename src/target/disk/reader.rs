//! Reading: snapshots of all tables at one commit number.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use super::rows::{Bytes, next_stored};
use super::space::{damaged, row_key};
use super::{Published, Table, View};
use crate::binlog::Value;
use crate::gtid::GtidSet;
use crate::target::schema::{KeyValue, TableDefinition, TableName};
use crate::target::tables::layout::Layout;
use crate::target::tables::lookup;
use crate::target::tables::row::Row;
use crate::target::tables::rows::keyless_number;
use crate::target::tables::text::Line;
use crate::{Error, ErrorKind, Result};

/// Gives [`Snapshot`]s of a store; cheap to clone, usable from any thread, never blocked by the applier.
#[derive(Debug, Clone)]
pub struct Reader {
    published: Arc<Published>,
}

impl Reader {
    pub(super) fn new(published: Arc<Published>) -> Self {
        Self { published }
    }

    /// Everything up to the newest group commit.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            view: self.published.get(),
        }
    }

    /// Waits for a commit after the one with this number; `None` if there is none in time. Called in a
    /// loop with the [number](Snapshot::commit_number) of the snapshot that came last, it tells every
    /// change; commits that follow one another faster than it is called come as one.
    pub fn wait_newer(&self, commit_number: u64, timeout: Duration) -> Option<Snapshot> {
        let newer = |view: &View| view.state.commit_number > commit_number;
        let view = self.published.wait(newer, timeout)?;
        Some(Snapshot { view })
    }

    /// Waits until all of `gtids` are applied; `None` if they are not in time.
    pub fn wait_for(&self, gtids: &GtidSet, timeout: Duration) -> Option<Snapshot> {
        let applied = |view: &View| gtids.is_subset(&view.state.gtid_executed);
        let view = self.published.wait(applied, timeout)?;
        Some(Snapshot { view })
    }
}

/// All tables at one commit number: whole transactions, and the same for as long as it is held.
///
/// What it shows stays on the disk as long as it is held: let it go soon.
#[derive(Debug, Clone)]
pub struct Snapshot {
    view: Arc<View>,
}

impl Snapshot {
    /// What was executed to get there.
    pub fn gtid_executed(&self) -> &GtidSet {
        &self.view.state.gtid_executed
    }

    /// How many transactions were executed to get there. It never goes back.
    pub fn commit_number(&self) -> u64 {
        self.view.state.commit_number
    }

    /// The tables in order of their names.
    pub fn tables(&self) -> impl Iterator<Item = &TableName> {
        self.view.state.tables().map(|table| &*table.name)
    }

    /// The definition of a table.
    pub fn definition(&self, table: &TableName) -> Option<&TableDefinition> {
        let table = self.view.state.table(table)?;
        Some(&table.layout.definition)
    }

    /// How many rows a table has.
    pub fn row_count(&self, table: &TableName) -> Option<u64> {
        let table = self.view.state.table(table)?;
        Some(table.rows.len())
    }

    /// Bytes of all keys and rows of all tables, as they are before the keyspace packs them.
    pub fn bytes(&self) -> u64 {
        self.view.state.bytes()
    }

    /// XA transactions that are prepared and wait for XA COMMIT or XA ROLLBACK.
    pub fn prepared_count(&self) -> usize {
        self.view.state.prepared.len()
    }

    /// The row with that key, as a [`KeyEncoder`](crate::target::key::KeyEncoder) makes it.
    ///
    /// # Errors
    /// [`ErrorKind::Schema`] where there is no such table, [`ErrorKind::TargetIo`],
    /// [`ErrorKind::TargetCorrupt`].
    pub fn get(&self, table: &TableName, key: &[u8]) -> Result<Option<OwnedRow>> {
        self.row(self.known(table)?, key)
    }

    /// The row whose primary key has these values, one for each of its columns. Values are equal as the
    /// columns' collations say.
    ///
    /// # Errors
    /// As [`get`](Self::get), and [`ErrorKind::Schema`] where the table's rows have no key or the values
    /// are none of its columns.
    pub fn find(&self, table: &TableName, key: &[KeyValue<'_>]) -> Result<Option<OwnedRow>> {
        let table = self.known(table)?;
        self.row(table, &lookup::whole_key(table, key)?)
    }

    fn row(&self, table: &Table, key: &[u8]) -> Result<Option<OwnedRow>> {
        let rows = &table.rows;
        let found = self
            .view
            .snapshot
            .get(rows.space(), &row_key(rows.number(), key))?;
        Ok(found.map(|bytes| OwnedRow {
            layout: Arc::clone(&table.layout),
            image: Bytes::Stored { bytes, from: 0 },
        }))
    }

    /// All rows of a table in the order of their keys.
    ///
    /// # Errors
    /// [`ErrorKind::Schema`] where there is no such table.
    pub fn scan(&self, table: &TableName) -> Result<Scan> {
        self.scan_from(table, &[])
    }

    /// The rows from a key on, in the order of their keys.
    ///
    /// # Errors
    /// [`ErrorKind::Schema`] where there is no such table.
    pub fn scan_from(&self, table: &TableName, key: &[u8]) -> Result<Scan> {
        let table = self.known(table)?;
        let rows = &table.rows;
        Ok(Scan {
            layout: Arc::clone(&table.layout),
            rows: self.view.snapshot.rows(rows.space(), rows.number(), key),
        })
    }

    /// The rows whose keys begin with values from `from` on and up to `to`, both included, in the order of
    /// the keys. Each may have fewer values than the key has columns: none at all is no limit.
    ///
    /// # Errors
    /// As [`find`](Self::find).
    pub fn range(
        &self,
        table: &TableName,
        from: &[KeyValue<'_>],
        to: &[KeyValue<'_>],
    ) -> Result<Range> {
        let known = self.known(table)?;
        let from = lookup::beginning(known, from)?;
        let to = lookup::beginning(known, to)?;
        Ok(Range {
            scan: self.scan_from(table, &from)?,
            to,
        })
    }

    /// Writes all rows of a table as `mysql -BN -e 'SELECT * FROM t ORDER BY pk'` prints them, in UTF-8;
    /// a table without a key in the order in which its rows came. Returns how many there were.
    ///
    /// # Errors
    /// [`ErrorKind::Schema`] where there is no such table, [`ErrorKind::TargetIo`] where the keyspace or
    /// `out` fails.
    pub fn dump(&self, table: &TableName, out: &mut impl Write) -> Result<u64> {
        let known = self.known(table)?;
        let mut line = Line::new(&known.layout);
        let mut rows = 0;
        let mut write = |image: &[u8]| {
            rows += 1;
            line.write(image)?;
            out.write_all(&line.bytes)
                .map_err(|error| Error::new(ErrorKind::TargetIo, format!("cannot write: {error}")))
        };
        if known.layout.encoder().is_some() {
            for found in self.scan(table)? {
                write(found?.1.image())?;
            }
            return Ok(rows);
        }
        let mut in_order_of_arrival = BTreeMap::new();
        for found in self.scan(table)? {
            let (key, _) = found?;
            in_order_of_arrival.insert(keyless_number(&key), key);
        }
        for key in in_order_of_arrival.into_values() {
            let row = self.row(known, &key)?;
            write(row.ok_or_else(|| damaged("a row is gone"))?.image())?;
        }
        Ok(rows)
    }

    fn known(&self, name: &TableName) -> Result<&Table> {
        let table = self.view.state.table(name);
        table
            .map(|table| &**table)
            .ok_or_else(|| Error::new(ErrorKind::Schema, format!("there is no table {name}")))
    }
}

/// The rows of a table, in the order of their keys.
pub struct Scan {
    layout: Arc<Layout>,
    rows: fjall::Iter,
}

impl fmt::Debug for Scan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scan").finish_non_exhaustive()
    }
}

impl Iterator for Scan {
    type Item = Result<(Vec<u8>, OwnedRow)>;

    /// The next key and its row.
    fn next(&mut self) -> Option<Self::Item> {
        let found = next_stored(&mut self.rows)?;
        Some(found.map(|(key, image)| {
            let layout = Arc::clone(&self.layout);
            (key.to_vec(), OwnedRow { layout, image })
        }))
    }
}

/// The rows between two keys, in the order of their keys.
#[derive(Debug)]
pub struct Range {
    scan: Scan,
    /// The beginning of the last keys.
    to: Vec<u8>,
}

impl Iterator for Range {
    type Item = Result<OwnedRow>;

    fn next(&mut self) -> Option<Self::Item> {
        let (key, row) = match self.scan.next()? {
            Ok(found) => found,
            Err(error) => return Some(Err(error)),
        };
        let beginning = key.get(..self.to.len()).unwrap_or(&key);
        (beginning <= self.to.as_slice()).then_some(Ok(row))
    }
}

/// One row of a snapshot, read from the disk.
#[derive(Debug)]
pub struct OwnedRow {
    layout: Arc<Layout>,
    image: Bytes<'static>,
}

impl OwnedRow {
    /// The row as a full row image of the binary log: NULL bitmap, then the values.
    pub fn image(&self) -> &[u8] {
        &self.image
    }

    /// The row as stores in memory give it.
    pub fn as_row(&self) -> Row<'_> {
        Row::new(&self.layout, &self.image)
    }

    /// The values, in the order of the columns.
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`] where the image is damaged.
    pub fn values(&self) -> Result<Vec<Value<'_>>> {
        self.as_row().values()
    }
}
