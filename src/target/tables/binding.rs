//! Which table a table map means, and by which key its rows are found.
//!
//! The key is that of the first of these which names one; where two name different ones, nobody guesses:
//!
//! 1. the catalog: the statements that the log holds, and the definitions that a clone brought;
//! 2. the table map, where the source has `binlog_row_metadata=FULL`;
//! 3. a row event that leaves columns out (`binlog_row_image=MINIMAL`, but not `NOBLOB`): those that it
//!    keeps of the row before its change;
//! 4. what a member of the group says that the table is now, where a source of keys is given and the answer
//!    is sure to be that of the event: see [`answers`](super::answers);
//! 5. none: rows are found by all of their columns.
//!
//! A store begins empty and applies its group's transactions from the first one on, or is cloned where
//! donors have purged that one. So the catalog knows every table but those that were made outside the
//! log, with `sql_log_bin=0` or before `RESET BINARY LOGS AND GTIDS`. Of these, full images with minimal
//! metadata tell no key: the group is asked, once for a table, and its answer is written into the store's own
//! log, from which a store has to come out the same. Where there is no answer that could be taken, and until
//! there is, their rows are the donor's all the same, but cannot be looked up by key.

use std::sync::Arc;

use super::layout::Layout;
use super::rows::has;
use super::state::{State, Table};
use super::{Rows, schema_change};
use crate::binlog::{Column, ColumnKind, RowsEvent, TableMap};
use crate::target::schema::{TableDefinition, TableName, is_system};
use crate::{Error, ErrorKind, Result};

/// Finds the table that a table map means, and checks that it has the map's columns.
pub(super) fn bind<R: Rows>(state: &mut State<R>, map: &TableMap<'_>) -> Result<Option<usize>> {
    // Statements about users, grants and routines change nothing here, and neither do their rows.
    if is_system(map.database) {
        return Ok(None);
    }
    let name = TableName::new(map.database, map.table);
    let columns = map.columns()?;
    let place = match state.names.get(&name) {
        Some(place) => *place,
        None => adopt(state, &name, map)?,
    };
    let in_table = |error: Error| {
        Error::new(error.kind(), format!("table {name}: {}", error.message())).remedy(
            error
                .remedy_text()
                .unwrap_or("recover into an empty store")
                .to_owned(),
        )
    };
    // Before all else: where the rows look as before, nothing below would notice.
    if let Some(known) = state.catalog.table(&name) {
        known.check_known().map_err(in_table)?;
    }
    let key = logged_key(map)?;
    if !key.is_empty() {
        take_key(state, place, &key)?;
    }
    let bound_already = state.tables.get(place).and_then(Option::as_ref);
    if bound_already.is_some_and(|table| table.layout.columns() == columns) {
        return Ok(Some(place));
    }
    let Some(known) = state.catalog.table(&name) else {
        return Err(Error::new(
            ErrorKind::Internal,
            "table without a definition",
        ));
    };
    let mut definition = known.clone();
    definition.bind(&columns).map_err(in_table)?;
    if definition != *known {
        Arc::make_mut(&mut state.catalog).insert(name.clone(), definition.clone());
    }
    let layout = Layout::new(definition).map_err(in_table)?;
    if let Some(table) = state.tables.get_mut(place).and_then(Option::as_mut) {
        Arc::make_mut(table).layout = Arc::new(layout);
    }
    Ok(Some(place))
}

/// Takes in a table of which nothing but a table map is known: its CREATE TABLE is in no log that was
/// applied here.
fn adopt<R: Rows>(state: &mut State<R>, name: &TableName, map: &TableMap<'_>) -> Result<usize> {
    log::warn!(
        "nothing in the log has made table {name}: rows that it had before are not here, as comparing \
         with a member shows; cloning one brings them"
    );
    let columns = map.columns()?;
    let definition = TableDefinition::from_table_map(&columns, &logged_key(map)?)?;
    let layout = Layout::new(definition.clone())?;
    Arc::make_mut(&mut state.catalog).insert(name.clone(), definition);
    state.put_table(Table {
        name: Arc::new(name.clone()),
        layout: Arc::new(layout),
        rows: R::none(&state.space),
        next_row: 0,
    });
    let place = state.names.get(name).copied();
    place.ok_or_else(|| Error::new(ErrorKind::Internal, "a new table has no place"))
}

/// The primary key in a table map: columns, and the lengths of their prefixes or 0.
fn logged_key(map: &TableMap<'_>) -> Result<Vec<(usize, u32)>> {
    let key = map.primary_key()?.into_iter();
    Ok(key
        .map(|(column, prefix)| (column, prefix as u32))
        .collect())
}

/// The key of which a row event has the columns and no others, before the change; `None` where it may
/// have others. With `binlog_row_image=NOBLOB` an event has all columns but the large ones: then only a
/// single column is sure to be the key.
pub(super) fn key_of(columns: &[Column], event: &RowsEvent<'_>) -> Option<Vec<(usize, u32)>> {
    let is_large = |column: &Column| {
        matches!(
            column.kind,
            ColumnKind::Blob | ColumnKind::Json | ColumnKind::Geometry | ColumnKind::Vector
        )
    };
    let (mut key, mut is_minimal) = (Vec::new(), false);
    for (place, column) in columns.iter().enumerate() {
        if !has(event.columns_before, place) {
            is_minimal |= !is_large(column);
        } else if column.nullable {
            return None;
        } else {
            key.push((place, 0));
        }
    }
    (is_minimal || key.len() == 1).then_some(key)
}

pub(super) fn is_keyless<R: Rows>(state: &State<R>, place: usize) -> bool {
    let table = state.tables.get(place).and_then(Option::as_ref);
    table.is_some_and(|table| !table.layout.definition.has_key())
}

/// Whether nothing has told the key of a table: no statement made it, and the source does not write what
/// keys there are.
pub(super) fn is_untold<R: Rows>(
    state: &State<R>,
    place: usize,
    map: &TableMap<'_>,
) -> Result<bool> {
    if !is_keyless(state, place) || !map.reads_optional_metadata() {
        return Ok(false);
    }
    let table = state.tables.get(place).and_then(Option::as_ref);
    let is_adopted = table.is_some_and(|table| table.layout.definition.is_partly_unknown());
    let has_names = map.columns()?.iter().any(|column| column.name.is_some());
    Ok(is_adopted && !has_names)
}

/// Finds the rows of a table by the key that the log shows from now on.
///
/// # Errors
/// [`ErrorKind::Schema`] where they are found by another one so far, [`ErrorKind::Conflict`] where two rows
/// have the same key.
pub(super) fn take_key<R: Rows>(
    state: &mut State<R>,
    place: usize,
    key: &[(usize, u32)],
) -> Result<()> {
    let space = state.space.clone();
    let Some(table) = state.tables.get_mut(place).and_then(Option::as_mut) else {
        return Ok(());
    };
    let known = &table.layout.definition;
    let columns = |key: &mut dyn Iterator<Item = usize>| {
        let names = key.map(|column| {
            known
                .columns
                .get(column)
                .map_or("?", |column| &*column.name)
        });
        names.collect::<Vec<_>>().join(", ")
    };
    let logged = columns(&mut key.iter().map(|(column, _)| *column));
    let had = columns(&mut known.primary_key.iter().map(|part| part.column));
    if logged == had {
        return Ok(());
    }
    if known.has_key() {
        return Err(Error::new(
            ErrorKind::Schema,
            format!(
                "table {}: the log has ({logged}) as its key, its definition ({had})",
                table.name
            ),
        )
        .remedy("clone the member anew, or report the statements that made the table"));
    }
    log::info!("table {} has the key ({logged})", table.name);
    let mut definition = known.clone();
    definition.add_primary_key(key)?;
    let layout = Layout::new(definition.clone())?;
    let table = Arc::make_mut(table);
    table.rows = schema_change::rewritten(table, &space, &layout, None)?;
    table.layout = Arc::new(layout);
    Arc::make_mut(&mut state.catalog).insert(TableName::clone(&table.name), definition);
    Ok(())
}
