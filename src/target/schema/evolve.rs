//! A table before ALTER TABLE to the table after it.
//!
//! Columns follow the server's own order of work (`prepare_fields_and_keys`, sql_table.cc): first every
//! old column is dropped, changed in its place, or kept; then new and moved columns are put in one by
//! one, and AFTER speaks of the names that columns have by then. Keys follow their columns.

use super::alter::{Clause, Position};
use super::charset;
use super::column::{ColumnSpec, TextAttributes, length_width};
use super::context::StatementContext;
use super::create::{self, IndexSpec};
use super::cursor::Parse;
use super::data_type::DataType;
use super::definition::{
    ColumnDefault, ColumnDefinition, Index, KeyPart, Literal, TableDefinition, TableName,
    Unclassified, same_name,
};
use super::transform::RowTransform;

/// What an ALTER TABLE comes to.
#[derive(Debug, Clone)]
pub(crate) struct Alteration {
    pub(crate) definition: TableDefinition,
    pub(crate) transform: Option<RowTransform>,
    pub(crate) rekey: bool,
    pub(crate) rename: Option<TableName>,
    pub(crate) truncate: bool,
}

impl Alteration {
    /// A new definition and nothing to do with the rows.
    pub(crate) fn of(definition: TableDefinition) -> Self {
        Self {
            definition,
            transform: None,
            rekey: false,
            rename: None,
            truncate: false,
        }
    }
}

/// A column of the new table and the old column that it comes from.
#[derive(Debug, Clone)]
pub(crate) struct Successor {
    pub(crate) column: ColumnDefinition,
    pub(crate) from: Option<usize>,
    /// Said by ADD, MODIFY or CHANGE: made of text, not inherited.
    declared: bool,
    /// Declared as a TIMESTAMP, and no default with it.
    bare_timestamp: bool,
}

impl Successor {
    fn declared(
        spec: &ColumnSpec,
        from: Option<usize>,
        collation: u16,
        context: &StatementContext<'_>,
    ) -> Parse<Self> {
        Ok(Self {
            bare_timestamp: spec.is_bare_timestamp(),
            column: spec.clone().resolve(collation, context)?,
            from,
            declared: true,
        })
    }
}

/// The clauses, by what they are about.
#[derive(Default)]
struct Sorted {
    added: Vec<(ColumnSpec, Position, Option<String>)>,
    dropped: Vec<String>,
    renamed: Vec<(String, String)>,
    defaults: Vec<(String, Option<ColumnDefault>)>,
    visible: Vec<(String, bool)>,
    indexes: Vec<IndexSpec>,
    dropped_indexes: Vec<String>,
    renamed_indexes: Vec<(String, String)>,
    rename: Option<TableName>,
    convert: Option<TextAttributes>,
    default_charset: Option<TextAttributes>,
    rows_change: Option<String>,
    truncate: bool,
    unclassified: Option<Unclassified>,
}

impl Sorted {
    fn of(clauses: Vec<Clause>) -> Self {
        let mut sorted = Self::default();
        for clause in clauses {
            match clause {
                Clause::AddColumn(spec, position) => sorted.added.push((spec, position, None)),
                Clause::ChangeColumn(old, spec, position) => {
                    sorted.added.push((spec, position, Some(old)));
                }
                Clause::DropColumn(name) => sorted.dropped.push(name),
                Clause::RenameColumn(from, to) => sorted.renamed.push((from, to)),
                Clause::SetDefault(name, default) => sorted.defaults.push((name, default)),
                Clause::SetVisible(name, visible) => sorted.visible.push((name, visible)),
                Clause::AddIndex(index) => sorted.indexes.push(index),
                Clause::DropPrimaryKey => sorted.dropped_indexes.push("PRIMARY".to_owned()),
                Clause::DropIndex(name) => sorted.dropped_indexes.push(name),
                Clause::RenameIndex(from, to) => sorted.renamed_indexes.push((from, to)),
                Clause::RenameTable(name) => sorted.rename = Some(name),
                Clause::ConvertCharset(text) => sorted.convert = Some(text),
                Clause::DefaultCharset(text) => {
                    // Said in several clauses, they are one: a collation is not undone by its set.
                    let all = sorted.default_charset.get_or_insert_default();
                    all.charset = text.charset.or(all.charset.take());
                    all.collation = text.collation.or(all.collation.take());
                }
                Clause::RowsChange(clause)
                | Clause::RowsCome(clause)
                | Clause::Exchange(clause, _) => sorted.rows_change = Some(clause),
                Clause::TruncateAllPartitions => sorted.truncate = true,
                Clause::Unclassified(reason) => {
                    sorted.unclassified.get_or_insert(reason);
                }
            }
        }
        sorted
    }
}

/// Applies `clauses` to `old`; `statement` names the statement in errors of rows.
pub(crate) fn alter(
    old: &TableDefinition,
    clauses: Vec<Clause>,
    database_collation: u16,
    context: &StatementContext<'_>,
    statement: &str,
) -> Parse<Alteration> {
    let sorted = Sorted::of(clauses);
    if old.unknown.is_some() {
        return Ok(Alteration {
            rename: sorted.rename,
            truncate: sorted.truncate,
            ..Alteration::of(old.clone())
        });
    }
    if let Some(reason) = sorted.unclassified {
        return Err(reason);
    }
    let mut new = TableDefinition::empty(old.default_collation);
    let convert_to = new_collations(&mut new, &sorted, database_collation, context)?;

    let specs = sorted.added.iter().map(|(spec, ..)| spec.clone()).collect();
    let mut successors = place_columns(old, &sorted, new.default_collation, context)?;
    let columns = successors.iter_mut();
    create::imply_timestamp_defaults(
        columns.map(|successor| (&mut successor.column, successor.bare_timestamp)),
        context,
    );
    if let Some(collation) = convert_to {
        for successor in &mut successors {
            if !successor.declared {
                convert_column(&mut successor.column, collation)?;
            }
        }
    }
    let indexes = carry_indexes(old, &sorted, &successors)?;
    new.columns = successors
        .iter()
        .map(|successor| successor.column.clone())
        .collect();
    new.indexes = indexes;
    add_indexes(&mut new, specs, sorted.indexes)?;
    new.choose_key();
    for (successor, column) in successors.iter_mut().zip(&new.columns) {
        successor.column.clone_from(column);
    }

    let transform = RowTransform::plan(old, &successors, sorted.rows_change, context, statement)?;
    let rekey = has_other_key(old, &new, &successors);
    Ok(Alteration {
        definition: new,
        transform,
        rekey,
        rename: sorted.rename,
        truncate: sorted.truncate,
    })
}

/// Sets the table's new default collation and gives the one that CONVERT TO names.
fn new_collations(
    new: &mut TableDefinition,
    sorted: &Sorted,
    database_collation: u16,
    context: &StatementContext<'_>,
) -> Parse<Option<u16>> {
    if let Some(text) = &sorted.default_charset {
        new.default_collation = text.resolve(new.default_collation, context)?.id;
    }
    let Some(text) = &sorted.convert else {
        return Ok(None);
    };
    let collation = text.resolve(database_collation, context)?.id;
    new.default_collation = collation;
    Ok(Some(collation))
}

/// The new columns in their order.
fn place_columns(
    old: &TableDefinition,
    sorted: &Sorted,
    collation: u16,
    context: &StatementContext<'_>,
) -> Parse<Vec<Successor>> {
    let mut list: Vec<Successor> = Vec::with_capacity(old.columns.len() + sorted.added.len());
    let change_of = |name: &str| {
        let mut changes = sorted.added.iter();
        changes.find(|(_, _, old)| old.as_deref().is_some_and(|old| same_name(old, name)))
    };
    for (index, column) in old.columns.iter().enumerate() {
        if sorted
            .dropped
            .iter()
            .any(|name| same_name(name, &column.name))
        {
            continue;
        }
        match change_of(&column.name) {
            Some((spec, Position::Unsaid, _)) => {
                list.push(Successor::declared(spec, Some(index), collation, context)?);
            }
            Some(_) => {}
            None => list.push(Successor {
                column: inherit(column, sorted, context),
                from: Some(index),
                declared: false,
                bare_timestamp: false,
            }),
        }
    }
    for (spec, position, change) in &sorted.added {
        let from = match change {
            None => None,
            Some(_) if *position == Position::Unsaid => continue,
            Some(name) => Some(known_column(old, name)?),
        };
        let successor = Successor::declared(spec, from, collation, context)?;
        match position {
            Position::Unsaid => list.push(successor),
            Position::First => list.insert(0, successor),
            Position::After(name) => {
                let mut places = list.iter();
                let place = places.position(|other| same_name(&other.column.name, name));
                let place = place.ok_or_else(|| no_column(name))?;
                list.insert(place + 1, successor);
            }
        }
    }
    check_names(old, sorted)?;
    // A generated invisible primary key stays the first column, whatever a statement puts FIRST.
    if old.has_generated_invisible_primary_key() {
        let place = list.iter().position(|column| column.from == Some(0));
        if let Some(place) = place {
            list[..=place].rotate_right(1);
        }
    }
    Ok(list)
}

fn known_column(old: &TableDefinition, name: &str) -> Parse<usize> {
    old.column_index(name).ok_or_else(|| no_column(name))
}

fn no_column(name: &str) -> Unclassified {
    Unclassified::new(format!("column {name} is not known"))
}

/// Every column that a clause names has to be there: else our table is not the server's.
fn check_names(old: &TableDefinition, sorted: &Sorted) -> Parse<()> {
    let dropped = sorted.dropped.iter().map(String::as_str);
    let renamed = sorted.renamed.iter().map(|(from, _)| from.as_str());
    let defaults = sorted.defaults.iter().map(|(name, _)| name.as_str());
    let changed = sorted.added.iter().filter_map(|(_, _, old)| old.as_deref());
    for name in dropped.chain(renamed).chain(changed) {
        known_column(old, name)?;
    }
    for name in defaults {
        // SET DEFAULT may name the column by its new name where the statement renames it.
        let renamed = sorted.renamed.iter().any(|(_, to)| same_name(to, name));
        if !renamed {
            known_column(old, name)?;
        }
    }
    Ok(())
}

/// A column that is kept, with the small changes that need no definition.
fn inherit(
    column: &ColumnDefinition,
    sorted: &Sorted,
    context: &StatementContext<'_>,
) -> ColumnDefinition {
    let mut column = column.clone();
    let matches = |name: &String| same_name(name, &column.name);
    let renamed = sorted.renamed.iter().find(|(from, _)| matches(from));
    let default = sorted
        .defaults
        .iter()
        .find(|(name, _)| matches(name) || renamed.is_some_and(|(_, to)| same_name(name, to)));
    let visible = sorted.visible.iter().find(|(name, _)| matches(name));
    if let Some((_, default)) = default {
        column.default = match default {
            Some(default) => default.clone(),
            None => ColumnDefault::None,
        };
        column.settle_default(context);
    }
    if let Some((_, visible)) = visible {
        column.visible = *visible;
    }
    if let Some((_, name)) = renamed {
        column.name.clone_from(name);
    }
    column
}

/// CONVERT TO CHARACTER SET on one column.
fn convert_column(column: &mut ColumnDefinition, collation: u16) -> Parse<()> {
    if !column.data_type.is_text() || column.collation == charset::BINARY {
        return Ok(());
    }
    let bytes = |id: u16| charset::by_id(id).map_or(1, |collation| u64::from(collation.max_bytes));
    let (before, after) = (bytes(column.collation), bytes(collation));
    match &mut column.data_type {
        // A text type grows where its characters may take more bytes than its length counts.
        DataType::Text(width) if after > before => {
            let longest = (1u64 << (8 * u32::from(*width))) - 1;
            *width = length_width(longest * after / before);
        }
        DataType::VarChar(length) if u64::from(*length) * after > 65_535 => {
            let bytes = u64::from(*length) * after;
            column.data_type = DataType::Text(length_width(bytes));
        }
        _ => {}
    }
    column.collation = collation;
    if collation == charset::BINARY {
        column.data_type = match std::mem::replace(&mut column.data_type, DataType::Other) {
            DataType::Char(length) => DataType::Binary(length),
            DataType::VarChar(length) => DataType::VarBinary(length),
            DataType::Text(width) => DataType::Blob(width),
            other => other,
        };
    }
    column.physical = Some(column.declared_physical()?);
    Ok(())
}

/// The old indexes on the new columns.
fn carry_indexes(
    old: &TableDefinition,
    sorted: &Sorted,
    successors: &[Successor],
) -> Parse<Vec<Index>> {
    let place = |part: &KeyPart| {
        let by_origin = successors.iter().position(|s| s.from == Some(part.column));
        // A column that is dropped and added again in one statement keeps its place in keys, with the
        // length that it had there.
        by_origin.or_else(|| {
            let name = old.columns.get(part.column).map(|column| &column.name)?;
            let mut places = successors.iter();
            places.position(|s| s.from.is_none() && same_name(&s.column.name, name))
        })
    };
    let dropped = |index: &&Index| {
        let mut names = sorted.dropped_indexes.iter();
        !names.any(|name| same_name(name, &index.name))
    };
    let mut indexes = Vec::new();
    for index in old.indexes.iter().filter(dropped) {
        let mut index = index.clone();
        let anew = index
            .parts
            .iter()
            .flatten()
            .filter_map(place)
            .any(|column| successors[column].from.is_none());
        if index.unique && anew {
            return Err(Unclassified::new(format!(
                "a column of the unique key {} is dropped and added anew",
                index.name
            )));
        }
        if let Some(parts) = &mut index.parts {
            parts.retain_mut(|part| match place(part) {
                Some(column) => {
                    part.column = column;
                    let covered = part
                        .prefix_length
                        .is_some_and(|prefix| successors[column].column.is_covered_by(prefix));
                    if covered {
                        part.prefix_length = None;
                    }
                    true
                }
                None => false,
            });
            if parts.is_empty() {
                continue;
            }
        }
        let mut renamed = sorted.renamed_indexes.iter();
        if let Some((_, to)) = renamed.find(|(from, _)| same_name(from, &index.name)) {
            index.name.clone_from(to);
        }
        indexes.push(index);
    }
    Ok(indexes)
}

/// Indexes of added and changed columns, then those of clauses of their own.
fn add_indexes(
    new: &mut TableDefinition,
    specs: Vec<ColumnSpec>,
    indexes: Vec<IndexSpec>,
) -> Parse<()> {
    for spec in specs {
        if spec.primary {
            new.add_index(IndexSpec::inline(&spec.name, true))?;
        }
        if spec.unique {
            new.add_index(IndexSpec::inline(&spec.name, false))?;
        }
    }
    for index in indexes {
        new.add_index(index)?;
    }
    // A primary key keeps its columns NOT NULL, whatever MODIFY says of them.
    let primary = new.index_position("PRIMARY");
    let parts = primary.and_then(|at| new.indexes[at].parts.clone());
    for part in parts.into_iter().flatten() {
        new.columns[part.column].become_not_null();
    }
    Ok(())
}

/// Whether keys made of the new definition differ from those of the old one.
fn has_other_key(old: &TableDefinition, new: &TableDefinition, successors: &[Successor]) -> bool {
    if old.primary_key.len() != new.primary_key.len() {
        return true;
    }
    let mut parts = old.primary_key.iter().zip(&new.primary_key);
    parts.any(|(before, after)| {
        let from = successors.get(after.column).and_then(|s| s.from);
        let (Some(was), Some(is)) = (
            old.columns.get(before.column),
            new.columns.get(after.column),
        ) else {
            return true;
        };
        from != Some(before.column)
            || before.prefix_length != after.prefix_length
            || before.descending != after.descending
            || was.data_type != is.data_type
            || was.unsigned != is.unsigned
            || was.collation != is.collation
    })
}

impl ColumnDefinition {
    /// NOT NULL, with what follows for the default.
    pub(crate) fn become_not_null(&mut self) {
        self.nullable = false;
        if self.default == ColumnDefault::Null {
            self.default = ColumnDefault::None;
        }
        if let Some(physical) = &mut self.physical {
            physical.nullable = false;
        }
    }

    /// Whether a key's prefix of this length takes in the whole column.
    pub(crate) fn is_covered_by(&self, prefix: u32) -> bool {
        match self.data_type {
            DataType::Char(length)
            | DataType::VarChar(length)
            | DataType::Binary(length)
            | DataType::VarBinary(length) => prefix >= length,
            _ => false,
        }
    }
}

impl ColumnDefault {
    /// The default that TIMESTAMP columns behind the first one imply without
    /// `explicit_defaults_for_timestamp`.
    pub(crate) fn zero_timestamp() -> Self {
        Self::Constant(Literal::Text("0000-00-00 00:00:00".to_owned()))
    }
}
