//! Schema changes on a state: what the catalog makes of a statement, done to the tables.

use std::sync::Arc;

use super::layout::Layout;
use super::rows::keyless_key;
use super::state::{State, Table};
use super::{KEY_MAX, Rows};
use crate::target::schema::{Catalog, RowTransform, SchemaChange, StatementContext, TableName};
use crate::{Error, ErrorKind, Result};

/// Executes a statement; whether it changed any table.
///
/// # Errors
/// Those of [`Catalog::apply`], and of rows that do not fit the new definition.
pub(crate) fn apply<R: Rows>(
    state: &mut State<R>,
    statement: &[u8],
    context: &StatementContext<'_>,
) -> Result<bool> {
    let changes = Arc::make_mut(&mut state.catalog).apply(statement, context)?;
    for change in &changes {
        match change {
            SchemaChange::CreateDatabase(_) => {}
            SchemaChange::DropDatabase(database) => drop_database(state, database),
            SchemaChange::CreateTable(name) => {
                let layout = layout_of(&state.catalog, name)?;
                state.put_table(Table {
                    name: Arc::new(name.clone()),
                    layout: Arc::new(layout),
                    rows: R::none(&state.space),
                    next_row: 0,
                });
            }
            SchemaChange::DropTable(name) => drop(state.take_table(name)),
            SchemaChange::RenameTable { from, to } => rename(state, from, to)?,
            SchemaChange::TruncateTable(name) => {
                let rows = R::none(&state.space);
                let table = known(state, name)?;
                table.rows = rows;
                table.next_row = 0;
            }
            SchemaChange::AlterTable {
                table,
                transform,
                rekey,
            } => {
                // The catalog is at the end of the statement, where the table may have its new name.
                let renamed = changes.iter().find_map(|change| match change {
                    SchemaChange::RenameTable { from, to } if from == table => Some(to),
                    _ => None,
                });
                let name = renamed.unwrap_or(table);
                let layout = layout_of(&state.catalog, name)?;
                let space = state.space.clone();
                let table = known(state, table)?;
                alter(table, &space, layout, transform.as_ref(), *rekey)?;
            }
        }
    }
    Ok(!changes.is_empty())
}

fn layout_of(catalog: &Catalog, name: &TableName) -> Result<Layout> {
    match catalog.table(name) {
        Some(definition) => Layout::new(definition.clone()),
        None => Err(unknown(name)),
    }
}

fn known<'a, R: Rows>(state: &'a mut State<R>, name: &TableName) -> Result<&'a mut Table<R>> {
    let place = state.names.get(name).copied();
    let table = place.and_then(|place| state.tables.get_mut(place)?.as_mut());
    table.map(Arc::make_mut).ok_or_else(|| unknown(name))
}

#[cold]
fn unknown(name: &TableName) -> Error {
    Error::new(
        ErrorKind::Internal,
        format!("catalog and tables disagree about {name}"),
    )
}

fn drop_database<R: Rows>(state: &mut State<R>, database: &[u8]) {
    let names = state.names.keys().filter(|name| name.database == database);
    for name in names.cloned().collect::<Vec<_>>() {
        state.take_table(&name);
    }
}

fn rename<R: Rows>(state: &mut State<R>, from: &TableName, to: &TableName) -> Result<()> {
    let Some(table) = state.take_table(from) else {
        return Err(unknown(from));
    };
    let mut table = Arc::unwrap_or_clone(table);
    table.name = Arc::new(to.clone());
    state.put_table(table);
    Ok(())
}

/// Brings the rows of a table into a new form.
fn alter<R: Rows>(
    table: &mut Table<R>,
    space: &R::Space,
    layout: Layout,
    transform: Option<&RowTransform>,
    rekey: bool,
) -> Result<()> {
    let layout = Arc::new(layout);
    if transform.is_some() || rekey {
        table.rows = rewritten(table, space, &layout, transform)?;
    }
    table.layout = layout;
    Ok(())
}

/// All rows in the form of another layout.
pub(super) fn rewritten<R: Rows>(
    table: &mut Table<R>,
    space: &R::Space,
    layout: &Layout,
    transform: Option<&RowTransform>,
) -> Result<R> {
    let mut rows = R::none(space);
    let (mut image, mut cells, mut key) = (Vec::new(), Vec::new(), Vec::new());
    for stored in table.rows.range(&[]) {
        let (_, stored) = stored?;
        let row = match transform {
            Some(transform) => {
                image.clear();
                transform.apply(&stored, &mut image)?;
                &image[..]
            }
            None => &stored,
        };
        key.clear();
        match layout.encoder() {
            Some(encoder) => {
                layout.cells(row, &mut cells)?;
                encoder.encode(row, &cells, &mut key)?;
            }
            None => {
                key.extend_from_slice(&keyless_key(layout, row, table.next_row)?);
                table.next_row += 1;
            }
        }
        if key.len() > KEY_MAX || !rows.insert(&key, row)? {
            let row = layout.describe(row, &cells);
            return Err(Error::new(
                ErrorKind::Conflict,
                format!("two rows {row} of table {} under the new key", table.name),
            ));
        }
        rows.relieve()?;
    }
    Ok(rows)
}
