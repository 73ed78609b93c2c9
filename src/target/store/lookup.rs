//! Rows by the values of their keys.

use super::reader::{Scan, Snapshot};
use crate::Result;
use crate::target::schema::{KeyValue, TableName};
use crate::target::tables::lookup;
use crate::target::tables::row::Row;

impl Snapshot {
    /// The row whose primary key has these values, one for each of its columns. Values are equal as the
    /// columns' collations say.
    ///
    /// ```no_run
    /// use rejoin::target::schema::TableName;
    /// use rejoin::target::store::Store;
    ///
    /// let snapshot = Store::open_read_only("replica")?;
    /// let orders = TableName::new("shop", "orders");
    /// if let Some(row) = snapshot.find(&orders, &[7.into(), "2026-11-21".into()])? {
    ///     println!("{:?}", row.values()?);
    /// }
    /// # Ok::<(), rejoin::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Schema`](crate::ErrorKind::Schema) where there is no such table, where its rows have no
    /// key, or where the values are none of the key's columns.
    pub fn find(&self, table: &TableName, key: &[KeyValue<'_>]) -> Result<Option<Row<'_>>> {
        let key = lookup::whole_key(self.known(table)?, key)?;
        self.get(table, &key)
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
    ) -> Result<Range<'_>> {
        let known = self.known(table)?;
        let from = lookup::beginning(known, from)?;
        let to = lookup::beginning(known, to)?;
        Ok(Range {
            scan: self.scan_from(table, &from)?,
            to,
        })
    }
}

/// The rows between two keys, in the order of their keys.
#[derive(Debug)]
pub struct Range<'a> {
    scan: Scan<'a>,
    /// The beginning of the last keys.
    to: Vec<u8>,
}

impl<'a> Iterator for Range<'a> {
    type Item = Row<'a>;

    fn next(&mut self) -> Option<Row<'a>> {
        let (key, row) = self.scan.next()?;
        let beginning = key.get(..self.to.len()).unwrap_or(key);
        (beginning <= self.to.as_slice()).then_some(row)
    }
}
