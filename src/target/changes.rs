//! What a transaction changes, for hosts with a storage of their own.
//!
//! ```text
//! Transaction -> events -> table map: is the table wanted?   no: its row events are passed over unread
//!                       -> row images: which columns are wanted? the values of the others are not decoded
//! ```

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::binlog::{Cell, Column, EventType, QueryEvent, RowsEvent, RowsKind, TableMap, Value};
use crate::target::schema::TableName;
use crate::target::tables::rows::inserts_nothing_but_defaults;
use crate::transaction::{Transaction, is_rollback};
use crate::{Error, ErrorKind, Result};

/// Which tables and columns are wanted. The default: all.
///
/// ```
/// use rejoin::target::Filter;
/// use rejoin::target::schema::TableName;
///
/// let filter = Filter::default()
///     .table(TableName::new("shop", "orders"))
///     .columns(TableName::new("shop", "names"), ["name", "hits"]);
/// # drop(filter);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Names of columns by table, `None` for all of them.
    tables: Option<BTreeMap<TableName, Option<Vec<String>>>>,
}

impl Filter {
    /// Wants this table with all its columns; tables that are not named are not wanted any more.
    #[must_use]
    pub fn table(mut self, table: TableName) -> Self {
        self.tables.get_or_insert_default().insert(table, None);
        self
    }

    /// Wants these columns of a table. The members have to log their names: `binlog_row_metadata=FULL`.
    #[must_use]
    pub fn columns<N: Into<String>>(
        mut self,
        table: TableName,
        columns: impl IntoIterator<Item = N>,
    ) -> Self {
        let columns = columns.into_iter().map(Into::into).collect();
        let tables = self.tables.get_or_insert_default();
        tables.insert(table, Some(columns));
        self
    }

    /// What a transaction changes in the wanted tables, in order. A transaction that ends with ROLLBACK
    /// changes nothing; what an XA transaction changes is [prepared](crate::transaction::TransactionKind)
    /// and comes to pass with the statement `XA COMMIT` of a later one.
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`] for events that break the format, [`ErrorKind::Schema`] where a wanted
    /// column is not in the log or has no name there, [`ErrorKind::Unsupported`] for differences of JSON
    /// documents (`binlog_row_value_options=PARTIAL_JSON`) in wanted columns.
    pub fn changes<'a>(&self, transaction: &Transaction<'a>) -> Result<Vec<Change<'a>>> {
        let mut changes = Vec::new();
        let mut maps = HashMap::new();
        let format = transaction.format();
        for (header, event) in transaction.events() {
            match header.event_type {
                EventType::TABLE_MAP => {
                    let map = TableMap::decode(format, event)?;
                    maps.insert(map.table_id, self.wanted(&map)?);
                }
                EventType::QUERY => {
                    let query = QueryEvent::decode(format, event)?;
                    let is = |word: &[u8]| query.statement.eq_ignore_ascii_case(word);
                    if is_rollback(query.statement) {
                        changes.clear();
                    } else if !is(b"BEGIN") && !is(b"COMMIT") {
                        changes.push(Change::Statement {
                            database: query.database,
                            text: query.statement,
                        });
                    }
                }
                event_type if event_type.is_rows() => {
                    let rows = RowsEvent::decode(format, event)?;
                    match maps.get(&rows.table_id) {
                        Some(Some(table)) => table.changes(&rows, &mut changes)?,
                        Some(None) => {}
                        None if rows.is_dummy() => {}
                        None => return Err(rows.without_map()),
                    }
                }
                _ => {}
            }
        }
        Ok(changes)
    }

    fn wanted<'a>(&self, map: &TableMap<'a>) -> Result<Option<Wanted<'a>>> {
        let name = TableName::new(map.database, map.table);
        let names = match &self.tables {
            None => None,
            Some(tables) => match tables.get(&name) {
                Some(names) => names.as_ref(),
                None => return Ok(None),
            },
        };
        let columns = map.columns()?;
        let places = match names {
            None => (0..columns.len()).collect(),
            Some(names) => names
                .iter()
                .map(|wanted| place(&columns, wanted, &name))
                .collect::<Result<_>>()?,
        };
        Ok(Some(Wanted {
            database: map.database,
            table: map.table,
            columns: columns.into(),
            places,
        }))
    }
}

fn place(columns: &[Column], wanted: &str, table: &TableName) -> Result<usize> {
    let named = |column: &Column| {
        let name = column.name.as_deref();
        name.is_some_and(|name| name.eq_ignore_ascii_case(wanted.as_bytes()))
    };
    columns.iter().position(named).ok_or_else(|| {
        Error::new(
            ErrorKind::Schema,
            format!("the log has no column {wanted} of table {table}"),
        )
        .remedy("set binlog_row_metadata=FULL on every member, and name columns that the table has")
    })
}

/// Values by the place of their column.
type Values<'a> = Vec<(usize, Value<'a>)>;

/// A table whose changes are wanted.
struct Wanted<'a> {
    database: &'a [u8],
    table: &'a [u8],
    columns: Arc<[Column]>,
    places: Vec<usize>,
}

impl<'a> Wanted<'a> {
    fn changes(&self, rows: &RowsEvent<'a>, changes: &mut Vec<Change<'a>>) -> Result<()> {
        if inserts_nothing_but_defaults(rows) {
            changes.push(self.change(None, Some(Vec::new())));
            return Ok(());
        }
        let mut cells = Vec::new();
        let mut images = rows.rows(&self.columns)?;
        while let Some(image) = images.next_image(&mut cells)? {
            let first = Some(self.values(image.bytes, &cells)?);
            let (before, after) = match rows.kind {
                RowsKind::Insert => (None, first),
                RowsKind::Delete => (first, None),
                RowsKind::Update | RowsKind::PartialUpdate => {
                    let Some(image) = images.next_image(&mut cells)? else {
                        return Ok(());
                    };
                    (first, Some(self.values(image.bytes, &cells)?))
                }
            };
            changes.push(self.change(before, after));
        }
        Ok(())
    }

    fn change(&self, before: Option<Values<'a>>, after: Option<Values<'a>>) -> Change<'a> {
        Change::Row(RowChange {
            database: self.database,
            table: self.table,
            columns: Arc::clone(&self.columns),
            before,
            after,
        })
    }

    fn values(&self, image: &'a [u8], cells: &[Cell]) -> Result<Values<'a>> {
        let mut values = Vec::with_capacity(self.places.len());
        for &place in &self.places {
            let (Some(cell), Some(column)) = (cells.get(place), self.columns.get(place)) else {
                continue;
            };
            match cell {
                Cell::Absent => {}
                Cell::Null => values.push((place, Value::Null)),
                Cell::Value { .. } => {
                    let bytes = cell.bytes(image).unwrap_or_default();
                    values.push((place, column.decode(bytes)?));
                }
                Cell::Partial { .. } => {
                    return Err(Error::new(
                        ErrorKind::Unsupported,
                        "differences of a JSON document, where the document is wanted",
                    )
                    .remedy("set binlog_row_value_options='' on every member"));
                }
            }
        }
        Ok(values)
    }
}

/// One change of a transaction.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Change<'a> {
    /// A statement: a schema change, `XA COMMIT`, `SAVEPOINT`, or whatever else the log has as text.
    Statement {
        /// The default database.
        database: &'a [u8],
        /// The text.
        text: &'a [u8],
    },
    /// A change of one row.
    Row(RowChange<'a>),
}

/// A change of one row.
#[derive(Debug, Clone, PartialEq)]
pub struct RowChange<'a> {
    /// The database.
    pub database: &'a [u8],
    /// The table in it.
    pub table: &'a [u8],
    /// All columns of the table, as the log has them.
    pub columns: Arc<[Column]>,
    /// The row as it was, by place of the column; `None` in inserts. Columns that are not wanted are left
    /// out, and so are those that the source does not log (`binlog_row_image`).
    pub before: Option<Vec<(usize, Value<'a>)>>,
    /// The row as it is from now on; `None` in deletes.
    pub after: Option<Vec<(usize, Value<'a>)>>,
}
