//! Rows by the values of their keys.

use super::reader::{Row, Scan, Snapshot};
use crate::target::schema::{ColumnDefinition, KeyValue, TableName};
use crate::{Error, ErrorKind, Result};

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
    /// [`ErrorKind::Schema`] where there is no such table, where its rows have no key, or where the values
    /// are none of the key's columns.
    pub fn find(&self, table: &TableName, key: &[KeyValue<'_>]) -> Result<Option<Row<'_>>> {
        let definition = self.definition(table);
        let parts = definition.map_or(0, |definition| definition.primary_key.len());
        let encoded = self.encode(table, key)?;
        if key.len() != parts {
            return Err(unfit(
                table,
                format!("its key has {parts} columns, not {}", key.len()),
            ));
        }
        self.get(table, &encoded)
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
        let from = self.encode(table, from)?;
        let to = self.encode(table, to)?;
        Ok(Range {
            scan: self.scan_from(table, &from)?,
            to,
        })
    }

    /// The beginning that all keys with these values have.
    fn encode(&self, table: &TableName, values: &[KeyValue<'_>]) -> Result<Vec<u8>> {
        let (definition, encoder) = self.key_of(table)?;
        let columns = definition.primary_key.iter();
        let columns = columns.map(|part| definition.columns.get(part.column));
        let packed = columns.zip(values).map(|(column, value)| {
            let packed = column.map(|column: &ColumnDefinition| column.pack(value));
            packed
                .unwrap_or_else(|| Err("a column is not known".to_owned()))
                .map_err(|reason| unfit(table, reason))
        });
        let packed = packed.collect::<Result<Vec<_>>>()?;
        if packed.len() != values.len() {
            let parts = definition.primary_key.len();
            return Err(unfit(
                table,
                format!("its key has {parts} columns, not {}", values.len()),
            ));
        }
        let mut key = Vec::new();
        encoder.encode_values(packed.iter().map(Vec::as_slice), &mut key)?;
        Ok(key)
    }
}

#[cold]
fn unfit(table: &TableName, reason: String) -> Error {
    Error::new(
        ErrorKind::Schema,
        format!("no key of table {table}: {reason}"),
    )
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
