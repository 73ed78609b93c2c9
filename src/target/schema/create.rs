//! CREATE TABLE, and the index definitions that ALTER TABLE and CREATE INDEX share with it.

use super::column::{self, ColumnSpec, TextAttributes};
use super::context::StatementContext;
use super::cursor::{Cursor, Parse};
use super::data_type::DataType;
use super::definition::{
    ColumnDefault, ColumnDefinition, Index, KeyPart, TableDefinition, TableName, Unclassified,
    same_name,
};

/// CREATE TABLE as it is written.
#[derive(Debug, Clone)]
pub(crate) struct CreateTable {
    pub(crate) name: TableName,
    pub(crate) if_not_exists: bool,
    pub(crate) body: Parse<CreateBody>,
}

/// What a table is made of.
#[derive(Debug, Clone)]
pub(crate) enum CreateBody {
    Like(TableName),
    Elements(CreateElements),
    /// Rows come from a query: nothing that could be executed here.
    Select,
}

/// The parenthesised list of CREATE TABLE and the options behind it.
#[derive(Debug, Clone, Default)]
pub(crate) struct CreateElements {
    pub(crate) columns: Vec<ColumnSpec>,
    pub(crate) indexes: Vec<IndexSpec>,
    pub(crate) options: TextAttributes,
}

/// An index definition; the columns are still names.
#[derive(Debug, Clone)]
pub(crate) struct IndexSpec {
    pub(crate) name: Option<String>,
    pub(crate) primary: bool,
    pub(crate) unique: bool,
    /// `None`: FULLTEXT, SPATIAL, or a part is an expression.
    pub(crate) parts: Option<Vec<PartSpec>>,
    /// The name of the first column, from which a nameless index takes its own.
    first: Option<String>,
}

#[derive(Debug, Clone)]
pub(crate) struct PartSpec {
    column: String,
    prefix: Option<u32>,
    descending: bool,
}

/// Reads what follows `CREATE TABLE [IF NOT EXISTS]`.
pub(crate) fn create_table(cursor: &mut Cursor<'_>) -> Parse<CreateTable> {
    let if_not_exists = cursor.accept_if_exists(true);
    Ok(CreateTable {
        name: cursor.table_name()?,
        if_not_exists,
        body: body(cursor),
    })
}

fn body(cursor: &mut Cursor<'_>) -> Parse<CreateBody> {
    if cursor.accept("LIKE") {
        return cursor.table_name().map(CreateBody::Like);
    }
    let mut elements = CreateElements::default();
    let mut before = *cursor;
    if let Some(mut inside) = cursor.group() {
        if inside.accept("LIKE") {
            return inside.table_name().map(CreateBody::Like);
        }
        if inside.is_any(&["SELECT", "WITH", "VALUES", "TABLE"]) || inside.is_symbol(b'(') {
            return Ok(CreateBody::Select);
        }
        for mut element in inside.split_at_commas() {
            elements.read(&mut element)?;
        }
        before = *cursor;
    }
    *cursor = before;
    if table_options(cursor, &mut elements.options)? {
        return Ok(CreateBody::Select);
    }
    Ok(CreateBody::Elements(elements))
}

/// Reads options up to the end; true where a query follows that brings rows.
fn table_options(cursor: &mut Cursor<'_>, options: &mut TextAttributes) -> Parse<bool> {
    while !cursor.at_end() {
        if cursor.is_word("PARTITION") {
            return Ok(partitions_then_select(cursor));
        }
        if cursor.is_any(&[
            "SELECT", "WITH", "VALUES", "TABLE", "AS", "IGNORE", "REPLACE",
        ]) || cursor.is_symbol(b'(')
        {
            return Ok(true);
        }
        cursor.accept("DEFAULT");
        if options.accept(cursor)? {
            continue;
        }
        // Any other option: a word, perhaps several, perhaps '=', and a value. Its words are none of
        // those above, save after '='.
        cursor.skip();
        if cursor.accept_symbol(b'=') {
            cursor.skip();
        }
    }
    Ok(false)
}

fn partitions_then_select(cursor: &mut Cursor<'_>) -> bool {
    let mut previous_by = false;
    while !cursor.at_end() {
        // A definition of partitions has its queries' words only inside of parentheses.
        if !previous_by && cursor.is_any(&["SELECT", "WITH", "AS", "IGNORE", "REPLACE"]) {
            return true;
        }
        previous_by = cursor.is_word("BY");
        cursor.skip();
    }
    false
}

impl CreateElements {
    fn read(&mut self, element: &mut Cursor<'_>) -> Parse<()> {
        match index_or_constraint(element)? {
            Element::Index(index) => self.indexes.push(index),
            Element::Constraint => {}
            Element::Column => self.columns.push(column::column(element)?),
        }
        Ok(())
    }
}

/// What an element of a table's definition is.
pub(crate) enum Element {
    Index(IndexSpec),
    /// FOREIGN KEY or CHECK: nothing about the rows' form.
    Constraint,
    /// Neither: the cursor stands where it stood.
    Column,
}

pub(crate) fn index_or_constraint(cursor: &mut Cursor<'_>) -> Parse<Element> {
    let mut symbol = None;
    if cursor.accept("CONSTRAINT") && !cursor.is_any(&["PRIMARY", "UNIQUE", "FOREIGN", "CHECK"]) {
        symbol = Some(cursor.name()?);
    }
    if cursor.accept_all(&["PRIMARY", "KEY"]) {
        return index(cursor, true, true, symbol).map(Element::Index);
    }
    if cursor.accept("UNIQUE") {
        cursor.accept_any(&["KEY", "INDEX"]);
        return index(cursor, false, true, symbol).map(Element::Index);
    }
    if cursor.is_any(&["FULLTEXT", "SPATIAL"]) {
        cursor.skip();
        cursor.accept_any(&["KEY", "INDEX"]);
        let mut spec = index(cursor, false, false, symbol)?;
        spec.parts = None;
        return Ok(Element::Index(spec));
    }
    if cursor.accept_any(&["KEY", "INDEX"]) {
        return index(cursor, false, false, symbol).map(Element::Index);
    }
    if cursor.is_any(&["FOREIGN", "CHECK"]) {
        return Ok(Element::Constraint);
    }
    if symbol.is_some() {
        return Err(cursor.unclassified("a constraint"));
    }
    Ok(Element::Column)
}

/// `[name] [USING type] (parts) [options]`.
fn index(
    cursor: &mut Cursor<'_>,
    primary: bool,
    unique: bool,
    symbol: Option<String>,
) -> Parse<IndexSpec> {
    let mut name = symbol;
    if !cursor.is_symbol(b'(') && !cursor.is_any(&["USING", "TYPE"]) {
        name = Some(cursor.name()?);
    }
    if cursor.accept_any(&["USING", "TYPE"]) {
        cursor.skip();
    }
    index_parts(cursor, primary, unique, name)
}

/// `(parts)` of an index called `name`.
pub(crate) fn index_parts(
    cursor: &mut Cursor<'_>,
    primary: bool,
    unique: bool,
    name: Option<String>,
) -> Parse<IndexSpec> {
    let inside = cursor.expect_group()?;
    let mut parts = Some(Vec::new());
    let mut first = None;
    for (position, mut part) in inside.split_at_commas().into_iter().enumerate() {
        if part.is_symbol(b'(') {
            parts = None;
            continue;
        }
        let column = part.name()?;
        if position == 0 {
            first = Some(column.clone());
        }
        let prefix = match part.group() {
            Some(mut length) => Some(length.integer()?),
            None => None,
        };
        part.accept("ASC");
        let descending = part.accept("DESC");
        if let Some(parts) = &mut parts {
            parts.push(PartSpec {
                column,
                prefix,
                descending,
            });
        }
    }
    Ok(IndexSpec {
        name: if primary { None } else { name },
        primary,
        unique: unique || primary,
        parts,
        first,
    })
}

impl TableDefinition {
    /// The table that CREATE TABLE makes in a database whose collation is `inherited`.
    pub(crate) fn create(
        elements: CreateElements,
        inherited: u16,
        context: &StatementContext<'_>,
    ) -> Parse<Self> {
        let collation = elements.options.resolve(inherited, context)?.id;
        let mut table = Self::empty(collation);
        let mut indexes = Vec::new();
        let mut bare_timestamps = Vec::new();
        for spec in elements.columns {
            if spec.primary {
                indexes.push(IndexSpec::inline(&spec.name, true));
            }
            if spec.unique {
                indexes.push(IndexSpec::inline(&spec.name, false));
            }
            bare_timestamps.push(spec.is_bare_timestamp());
            table.columns.push(spec.resolve(collation, context)?);
        }
        imply_timestamp_defaults(table.columns.iter_mut().zip(bare_timestamps), context);
        indexes.extend(elements.indexes);
        for index in indexes {
            table.add_index(index)?;
        }
        table.choose_key();
        Ok(table)
    }

    /// Adds an index; the columns of a primary key become NOT NULL.
    pub(crate) fn add_index(&mut self, spec: IndexSpec) -> Parse<()> {
        let name = match &spec.name {
            _ if spec.primary => "PRIMARY".to_owned(),
            Some(name) => name.clone(),
            None => self.free_index_name(spec.first.as_deref().unwrap_or("functional_index")),
        };
        let mut parts = spec.parts.as_ref().map(|_| Vec::new());
        for part in spec.parts.iter().flatten() {
            let column = self.column_index(&part.column).ok_or_else(|| {
                Unclassified::new(format!("key on an unknown column {}", part.column))
            })?;
            if spec.primary {
                self.columns[column].become_not_null();
            }
            let prefix_length = part
                .prefix
                .filter(|&prefix| !self.columns[column].is_covered_by(prefix));
            if let Some(parts) = &mut parts {
                parts.push(KeyPart {
                    column,
                    prefix_length,
                    descending: part.descending,
                });
            }
        }
        if spec.primary && self.index_position("PRIMARY").is_some() {
            return Err(Unclassified::new("a second primary key"));
        }
        self.indexes.push(Index {
            name,
            unique: spec.unique,
            parts,
        });
        Ok(())
    }

    /// The name of an index without one: that of its first column, with a number where it is taken.
    fn free_index_name(&self, first: &str) -> String {
        let taken = |name: &str| {
            same_name(name, "PRIMARY") || self.indexes.iter().any(|i| same_name(&i.name, name))
        };
        if !taken(first) {
            return first.to_owned();
        }
        let mut numbered = (2..).map(|number| format!("{first}_{number}"));
        numbered
            .find(|name| !taken(name))
            .unwrap_or_else(|| first.to_owned())
    }
}

/// Without `explicit_defaults_for_timestamp`, TIMESTAMP columns that say nothing of a default (`true`) have
/// one: the current time where it is the table's first TIMESTAMP column.
pub(crate) fn imply_timestamp_defaults<'a>(
    columns: impl Iterator<Item = (&'a mut ColumnDefinition, bool)>,
    context: &StatementContext<'_>,
) {
    if context.explicit_defaults_for_timestamp {
        return;
    }
    let timestamps =
        columns.filter(|(column, _)| matches!(column.data_type, DataType::Timestamp(_)));
    for (place, (column, is_bare)) in timestamps.enumerate() {
        if !is_bare {
            continue;
        }
        column.default = match place {
            0 => ColumnDefault::CurrentTimestamp,
            _ => ColumnDefault::zero_timestamp(),
        };
    }
}

impl IndexSpec {
    /// The index of a column's own PRIMARY KEY or UNIQUE.
    pub(crate) fn inline(column: &str, primary: bool) -> Self {
        Self {
            name: None,
            primary,
            unique: true,
            parts: Some(vec![PartSpec {
                column: column.to_owned(),
                prefix: None,
                descending: false,
            }]),
            first: Some(column.to_owned()),
        }
    }
}
