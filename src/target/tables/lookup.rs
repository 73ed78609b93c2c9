//! The keys of rows from the values of their columns.

use super::state::Table;
use crate::target::schema::{ColumnDefinition, KeyValue, TableName};
use crate::{Error, ErrorKind, Result};

/// The key with these values, one for each of its columns.
///
/// # Errors
/// [`ErrorKind::Schema`] where the table's rows have no key, or the values are none of its columns.
pub(crate) fn whole_key<R>(table: &Table<R>, values: &[KeyValue<'_>]) -> Result<Vec<u8>> {
    let key = beginning(table, values)?;
    let parts = table.layout.definition.primary_key.len();
    if values.len() != parts {
        return Err(other_count(&table.name, parts, values.len()));
    }
    Ok(key)
}

/// The beginning that all keys with these values have.
///
/// # Errors
/// As [`whole_key`]; fewer values than columns are none.
pub(crate) fn beginning<R>(table: &Table<R>, values: &[KeyValue<'_>]) -> Result<Vec<u8>> {
    let definition = &table.layout.definition;
    let Some(encoder) = table.layout.encoder() else {
        return Err(Error::new(
            ErrorKind::Schema,
            format!("the rows of table {} have no key", table.name),
        ));
    };
    let columns = definition.primary_key.iter();
    let columns = columns.map(|part| definition.columns.get(part.column));
    let packed = columns.zip(values).map(|(column, value)| {
        let packed = column.map(|column: &ColumnDefinition| column.pack(value));
        packed
            .unwrap_or_else(|| Err("a column is not known".to_owned()))
            .map_err(|reason| unfit(&table.name, reason))
    });
    let packed = packed.collect::<Result<Vec<_>>>()?;
    if packed.len() != values.len() {
        let parts = definition.primary_key.len();
        return Err(other_count(&table.name, parts, values.len()));
    }
    let mut key = Vec::new();
    encoder.encode_values(packed.iter().map(Vec::as_slice), &mut key)?;
    Ok(key)
}

#[cold]
fn other_count(table: &TableName, parts: usize, values: usize) -> Error {
    unfit(table, format!("its key has {parts} columns, not {values}"))
}

#[cold]
fn unfit(table: &TableName, reason: String) -> Error {
    Error::new(
        ErrorKind::Schema,
        format!("no key of table {table}: {reason}"),
    )
}
