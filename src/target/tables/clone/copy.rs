//! One table as far as it is copied: its rows, and of which snapshot each part of them is.

use std::sync::Arc;

use super::super::Rows;
use super::super::layout::Layout;
use super::super::rows::{check_key_length, keyless_key};
use super::super::state::Table;
use crate::binlog::Cell;
use crate::target::CloneReader;
use crate::target::key::KeyEncoder;
use crate::target::schema::{TableDefinition, TableName};
use crate::{Error, ErrorKind, Result};

#[derive(Debug)]
pub(super) struct TableCopy<R: Rows> {
    space: R::Space,
    table: Table<R>,
    /// The definition that the donor gave. A table map may add to the one in `table`.
    given: TableDefinition,
    /// In the order of their keys; none before the first row is asked for.
    parts: Vec<Part>,
    last_key: Vec<u8>,
    /// The row that came last, from which on the next snapshot goes on.
    last_row: Option<Vec<u8>>,
    /// Whether the rows came in the order of our keys: only then the keys tell parts apart.
    in_order: bool,
    complete: bool,
    cells: Vec<Cell>,
    key: Vec<u8>,
}

/// Rows of one snapshot.
#[derive(Debug)]
struct Part {
    /// The last key of the part; `None` for the end of the table.
    until: Option<Vec<u8>>,
    /// The snapshot's number.
    set: usize,
}

impl<R: Rows> TableCopy<R> {
    /// # Errors
    /// [`ErrorKind::Unsupported`] where the donor's definition is not understood.
    pub(super) fn new(
        space: &R::Space,
        name: &TableName,
        definition: &TableDefinition,
    ) -> Result<Self> {
        let layout = Layout::new(definition.clone())?;
        if layout.columns().is_empty() {
            let reason = definition.unknown.as_deref().unwrap_or("a type of column");
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!("the definition of table {name} is not understood: {reason}"),
            )
            .remedy("report the table's CREATE TABLE statement"));
        }
        Ok(Self {
            space: space.clone(),
            table: Table {
                name: Arc::new(name.clone()),
                layout: Arc::new(layout),
                rows: R::none(space),
                next_row: 0,
            },
            given: definition.clone(),
            parts: Vec::new(),
            last_key: Vec::new(),
            last_row: None,
            in_order: true,
            complete: false,
            cells: Vec::new(),
            key: Vec::new(),
        })
    }

    pub(super) fn name(&self) -> &TableName {
        &self.table.name
    }

    pub(super) fn given(&self) -> &TableDefinition {
        &self.given
    }

    pub(super) fn is_complete(&self) -> bool {
        self.complete
    }

    pub(super) fn last_row(&self) -> Option<Vec<u8>> {
        self.last_row.clone()
    }

    /// The numbers of the snapshots that parts of it are of.
    pub(super) fn sets(&self) -> impl Iterator<Item = usize> {
        self.parts.iter().map(|part| part.set)
    }

    /// The rows that follow are those of snapshot `set`.
    pub(super) fn begin(&mut self, set: usize, reader: &dyn CloneReader) {
        // A donor reads in the order of its collations: only where our keys have that order as well, the
        // rows behind a key are those that have not come.
        let encoder = self.table.layout.encoder();
        let is_exact = encoder.is_some_and(KeyEncoder::is_exact);
        let resumes = is_exact && self.in_order && reader.can_resume(&self.given);
        if !resumes || self.last_row.is_none() {
            self.reset();
        }
        match self.parts.last_mut() {
            Some(part) if part.set == set => return,
            Some(part) => part.until = Some(self.last_key.clone()),
            None => {}
        }
        self.parts.push(Part { until: None, set });
    }

    /// Begins anew.
    pub(super) fn reset(&mut self) {
        self.table.rows = R::none(&self.space);
        self.table.next_row = 0;
        self.parts.clear();
        self.last_key.clear();
        self.last_row = None;
        self.in_order = true;
        self.complete = false;
    }

    /// Takes the next row.
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`] where it does not have the table's columns, [`ErrorKind::Conflict`]
    /// where its key came before.
    pub(super) fn push(&mut self, row: &[u8]) -> Result<()> {
        let layout = &self.table.layout;
        layout.cells(row, &mut self.cells)?;
        self.key.clear();
        match layout.encoder() {
            Some(encoder) => {
                encoder.encode(row, &self.cells, &mut self.key)?;
                check_key_length(&self.key)?;
                self.in_order &= self.last_row.is_none() || self.last_key < self.key;
            }
            None => {
                let key = keyless_key(layout, row, self.table.next_row)?;
                self.key.extend_from_slice(&key);
                self.table.next_row += 1;
                self.in_order = false;
            }
        }
        if !self.table.rows.insert(&self.key, row)? {
            let row = layout.describe(row, &self.cells);
            return Err(Error::new(
                ErrorKind::Conflict,
                format!(
                    "the donor sent the row {row} of table {} twice",
                    self.name()
                ),
            ));
        }
        self.table.rows.relieve()?;
        std::mem::swap(&mut self.last_key, &mut self.key);
        let last = self.last_row.get_or_insert_default();
        last.clear();
        last.extend_from_slice(row);
        Ok(())
    }

    /// All rows are here.
    pub(super) fn end(&mut self) {
        self.complete = true;
    }

    pub(super) fn table_mut(&mut self) -> &mut Table<R> {
        &mut self.table
    }

    /// What a transaction has to do with the table, where it is missing in the snapshots with `true`
    /// in `missing`.
    pub(super) fn share(&self, missing: &[bool]) -> Share {
        let lacks = |part: &Part| missing.get(part.set).copied().unwrap_or(false);
        match self.parts.iter().filter(|part| lacks(part)).count() {
            0 => Share::Nothing,
            count if count == self.parts.len() => Share::Everything,
            _ => Share::Keys(Bounds(
                self.parts
                    .iter()
                    .map(|part| (part.until.clone(), lacks(part)))
                    .collect(),
            )),
        }
    }

    pub(super) fn into_table(self) -> Table<R> {
        self.table
    }
}

/// What of a table a transaction has to be applied to.
#[derive(Debug)]
pub(super) enum Share {
    Nothing,
    Everything,
    Keys(Bounds),
}

/// Last keys of parts, and whether they lack the transaction.
#[derive(Debug)]
pub(super) struct Bounds(Vec<(Option<Vec<u8>>, bool)>);

impl Bounds {
    pub(super) fn hold(&self, key: &[u8]) -> bool {
        let is_in = |until: &Option<Vec<u8>>| until.as_deref().is_none_or(|until| key <= until);
        let part = self.0.iter().find(|(until, _)| is_in(until));
        part.is_some_and(|(_, lacks)| *lacks)
    }
}
