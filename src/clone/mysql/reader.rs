//! One session in a snapshot: tables in chunks.

use super::schema;
use crate::binlog::Cell;
use crate::net::Connection;
use crate::target::CloneReader;
use crate::target::schema::{TableDefinition, TableName, quoted};
use crate::target::tables::layout::Layout;
use crate::{Error, ErrorKind, Result};

/// Rows of one query.
const CHUNK_ROWS: u64 = 20_000;

pub(super) struct Reader {
    connection: Connection,
}

impl Reader {
    pub(super) fn new(connection: Connection) -> Self {
        Self { connection }
    }

    /// The rows of one query; how many, and the last of them in `last`.
    fn chunk(
        &mut self,
        query: &str,
        definition: &TableDefinition,
        last: &mut Vec<u8>,
        each: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<u64> {
        let mut rows = 0;
        self.connection.query_each(query, |row| {
            rows += 1;
            definition.image_of(&row.values()?, last)?;
            each(last)
        })?;
        Ok(rows)
    }

    /// Refuses a table that is not as it was when the snapshot was taken.
    fn check(&mut self, table: &TableName, definition: &TableDefinition) -> Result<()> {
        let now = schema::definition(&mut self.connection, table)?;
        if now.columns == definition.columns && now.primary_key == definition.primary_key {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Refused,
            format!("table {table} was altered behind the snapshot"),
        )
        .at_donor(self.connection.endpoint().to_string()))
    }
}

impl CloneReader for Reader {
    fn rows(
        &mut self,
        table: &TableName,
        definition: &TableDefinition,
        after: Option<&[u8]>,
        each: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        let name = format!(
            "{}.{}",
            quoted(&String::from_utf8_lossy(&table.database)),
            quoted(&String::from_utf8_lossy(&table.table))
        );
        let columns = definition.select_list();
        let ordered = definition.can_be_ordered();
        let mut last = after.map(<[u8]>::to_vec).unwrap_or_default();
        let mut is_first = after.is_none();
        loop {
            let mut query = format!("SELECT {columns} FROM {name}");
            if ordered {
                if !is_first {
                    let behind = definition.behind(&last, &cells_of(definition, &last)?)?;
                    query.push_str(&format!(" WHERE {behind}"));
                }
                let order = definition.order_by_key();
                query.push_str(&format!(" ORDER BY {order} LIMIT {CHUNK_ROWS}"));
            }
            // Behind it metadata locks are given back, and a change of the schema can go on.
            self.connection.execute("SAVEPOINT chunk")?;
            let rows = self.chunk(&query, definition, &mut last, each)?;
            self.check(table, definition)?;
            self.connection.execute("ROLLBACK TO SAVEPOINT chunk")?;
            if !ordered || rows < CHUNK_ROWS {
                return Ok(());
            }
            is_first = false;
        }
    }

    fn can_resume(&self, definition: &TableDefinition) -> bool {
        definition.can_be_ordered()
    }
}

/// Where the values of a row image are.
fn cells_of(definition: &TableDefinition, image: &[u8]) -> Result<Vec<Cell>> {
    let mut cells = Vec::new();
    Layout::new(definition.clone())?.cells(image, &mut cells)?;
    Ok(cells)
}
