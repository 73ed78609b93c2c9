//! ALTER TABLE to clauses.
//!
//! Every clause of the manual's grammar is either read or known to change neither rows nor columns. A
//! clause that is neither makes the whole statement unclassified: the table is marked, and its next row
//! event is an error that names the statement. Its other clauses are read all the same: the table may get
//! another name.

use super::column::{self, ColumnSpec, TextAttributes};
use super::create::{self, Element, IndexSpec};
use super::cursor::{Cursor, Parse};
use super::definition::{ColumnDefault, TableName, Unclassified};

/// Where a column goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Position {
    /// Where it is; a new column at the end.
    Unsaid,
    First,
    After(String),
}

/// A clause that matters.
#[derive(Debug, Clone)]
pub(crate) enum Clause {
    AddColumn(ColumnSpec, Position),
    /// MODIFY and CHANGE: the column's old name first.
    ChangeColumn(String, ColumnSpec, Position),
    DropColumn(String),
    RenameColumn(String, String),
    /// SET DEFAULT; `None`: DROP DEFAULT.
    SetDefault(String, Option<ColumnDefault>),
    SetVisible(String, bool),
    AddIndex(IndexSpec),
    DropPrimaryKey,
    /// DROP INDEX and DROP CONSTRAINT; other constraints are not known here, and not missed.
    DropIndex(String),
    RenameIndex(String, String),
    RenameTable(TableName),
    ConvertCharset(TextAttributes),
    DefaultCharset(TextAttributes),
    /// Rows go without row events: the clause.
    RowsChange(String),
    /// Rows come without row events: the clause.
    RowsCome(String),
    /// Rows of a partition and of another table change places: the clause and that table.
    Exchange(String, TableName),
    TruncateAllPartitions,
    /// Neither read nor known to change nothing.
    Unclassified(Unclassified),
}

/// Reads the clauses behind the table's name.
pub(crate) fn clauses(cursor: &Cursor<'_>) -> Vec<Clause> {
    let mut clauses = Vec::new();
    if partition_statement(cursor, &mut clauses) {
        return clauses;
    }
    let mut parts = cursor.split_at_commas().into_iter().peekable();
    while let Some(mut part) = parts.next() {
        if part.is_word("ORDER") {
            // Its columns are separated by commas as well.
            while parts.next_if(is_order_column).is_some() {}
            continue;
        }
        if let Err(reason) = clause(&mut part, &mut clauses) {
            clauses.push(Clause::Unclassified(reason));
        }
    }
    clauses
}

fn is_order_column(part: &Cursor<'_>) -> bool {
    let mut part = *part;
    if part.name().is_err() {
        return false;
    }
    while part.accept_symbol(b'.') {
        if part.name().is_err() {
            return false;
        }
    }
    part.accept_any(&["ASC", "DESC"]);
    part.at_end() || part.is_any(&["PARTITION", "REMOVE"])
}

/// Statements on partitions stand alone, save for ALGORITHM, LOCK and WITHOUT VALIDATION before them.
fn partition_statement(cursor: &Cursor<'_>, clauses: &mut Vec<Clause>) -> bool {
    let mut cursor = *cursor;
    while cursor.is_any(&["ALGORITHM", "LOCK"]) {
        cursor.skip();
        cursor.accept_symbol(b'=');
        cursor.skip();
        cursor.accept_symbol(b',');
    }
    let text = cursor.rest();
    if cursor.accept_all(&["TRUNCATE", "PARTITION"]) {
        clauses.push(if cursor.is_word("ALL") {
            Clause::TruncateAllPartitions
        } else {
            Clause::RowsChange(text)
        });
        return true;
    }
    if cursor.accept_all(&["DROP", "PARTITION"]) || cursor.accept_all(&["DISCARD", "PARTITION"]) {
        clauses.push(Clause::RowsChange(text));
        return true;
    }
    if cursor.accept_all(&["IMPORT", "PARTITION"]) {
        clauses.push(Clause::RowsCome(text));
        return true;
    }
    if cursor.accept_all(&["EXCHANGE", "PARTITION"]) {
        let other = exchanged(&mut cursor);
        clauses
            .push(other.map_or_else(Clause::Unclassified, |other| Clause::Exchange(text, other)));
        return true;
    }
    for same_rows in [
        &["ADD", "PARTITION"][..],
        &["COALESCE", "PARTITION"],
        &["REORGANIZE", "PARTITION"],
        &["ANALYZE", "PARTITION"],
        &["CHECK", "PARTITION"],
        &["OPTIMIZE", "PARTITION"],
        &["REBUILD", "PARTITION"],
        &["REPAIR", "PARTITION"],
        &["SECONDARY_LOAD", "PARTITION"],
        &["SECONDARY_UNLOAD", "PARTITION"],
    ] {
        if cursor.accept_all(same_rows) {
            return true;
        }
    }
    false
}

/// `partition WITH TABLE table`.
fn exchanged(cursor: &mut Cursor<'_>) -> Parse<TableName> {
    cursor.name()?;
    cursor.expect("WITH")?;
    cursor.expect("TABLE")?;
    cursor.table_name()
}

fn clause(part: &mut Cursor<'_>, clauses: &mut Vec<Clause>) -> Parse<()> {
    if part.accept("ADD") {
        add(part, clauses)
    } else if part.accept("DROP") {
        clauses.extend(drop(part)?);
        Ok(())
    } else if part.accept("MODIFY") {
        part.accept("COLUMN");
        let spec = column::column(part)?;
        let position = position(part)?;
        let name = spec.name.clone();
        clauses.push(Clause::ChangeColumn(name, spec, position));
        options(part, clauses)
    } else if part.accept("CHANGE") {
        part.accept("COLUMN");
        let old = part.name()?;
        let spec = column::column(part)?;
        let position = position(part)?;
        clauses.push(Clause::ChangeColumn(old, spec, position));
        options(part, clauses)
    } else if part.accept("RENAME") {
        clauses.push(rename(part)?);
        options(part, clauses)
    } else if part.accept("ALTER") {
        clauses.extend(alter_column(part)?);
        Ok(())
    } else if part.accept("CONVERT") {
        part.expect("TO")?;
        let mut text = TextAttributes::default();
        if !text.accept(part)? {
            return Err(part.unclassified("CHARACTER SET"));
        }
        // CONVERT TO CHARACTER SET DEFAULT: the database's.
        if text
            .charset
            .as_deref()
            .is_some_and(|name| name.eq_ignore_ascii_case("DEFAULT"))
        {
            text.charset = None;
        }
        text.accept(part)?;
        clauses.push(Clause::ConvertCharset(text));
        options(part, clauses)
    } else {
        options(part, clauses)
    }
}

fn add(part: &mut Cursor<'_>, clauses: &mut Vec<Clause>) -> Parse<()> {
    if !part.accept("COLUMN") {
        match create::index_or_constraint(part)? {
            Element::Index(index) => {
                clauses.push(Clause::AddIndex(index));
                return Ok(());
            }
            Element::Constraint => return Ok(()),
            Element::Column => {}
        }
    }
    if let Some(inside) = part.group() {
        for mut element in inside.split_at_commas() {
            match create::index_or_constraint(&mut element)? {
                Element::Index(index) => clauses.push(Clause::AddIndex(index)),
                Element::Constraint => {}
                Element::Column => {
                    let spec = column::column(&mut element)?;
                    clauses.push(Clause::AddColumn(spec, Position::Unsaid));
                }
            }
        }
        return options(part, clauses);
    }
    let spec = column::column(part)?;
    let position = position(part)?;
    clauses.push(Clause::AddColumn(spec, position));
    options(part, clauses)
}

fn position(part: &mut Cursor<'_>) -> Parse<Position> {
    if part.accept("FIRST") {
        Ok(Position::First)
    } else if part.accept("AFTER") {
        part.name().map(Position::After)
    } else {
        Ok(Position::Unsaid)
    }
}

fn drop(part: &mut Cursor<'_>) -> Parse<Option<Clause>> {
    if part.accept_all(&["PRIMARY", "KEY"]) {
        return Ok(Some(Clause::DropPrimaryKey));
    }
    if part.accept_all(&["FOREIGN", "KEY"]) || part.accept("CHECK") {
        part.name()?;
        return Ok(None);
    }
    if part.accept_any(&["INDEX", "KEY", "CONSTRAINT"]) {
        return part.name().map(|name| Some(Clause::DropIndex(name)));
    }
    part.accept("COLUMN");
    let name = part.name()?;
    part.accept_any(&["RESTRICT", "CASCADE"]);
    Ok(Some(Clause::DropColumn(name)))
}

fn rename(part: &mut Cursor<'_>) -> Parse<Clause> {
    let pair = |part: &mut Cursor<'_>| {
        let from = part.name()?;
        part.expect("TO")?;
        Ok((from, part.name()?))
    };
    if part.accept("COLUMN") {
        let (from, to) = pair(part)?;
        return Ok(Clause::RenameColumn(from, to));
    }
    if part.accept_any(&["INDEX", "KEY"]) {
        let (from, to) = pair(part)?;
        return Ok(Clause::RenameIndex(from, to));
    }
    if !part.accept_any(&["TO", "AS"]) {
        part.accept_symbol(b'=');
    }
    part.table_name().map(Clause::RenameTable)
}

fn alter_column(part: &mut Cursor<'_>) -> Parse<Option<Clause>> {
    if part.accept_any(&["INDEX", "CHECK", "CONSTRAINT"]) {
        // Visibility of an index, enforcement of a constraint.
        return Ok(None);
    }
    part.accept("COLUMN");
    let name = part.name()?;
    if part.accept_all(&["SET", "DEFAULT"]) {
        let value = column::default_value(part)?;
        return Ok(Some(Clause::SetDefault(name, Some(value))));
    }
    if part.accept_all(&["DROP", "DEFAULT"]) {
        return Ok(Some(Clause::SetDefault(name, None)));
    }
    if part.accept_all(&["SET", "VISIBLE"]) {
        return Ok(Some(Clause::SetVisible(name, true)));
    }
    if part.accept_all(&["SET", "INVISIBLE"]) {
        return Ok(Some(Clause::SetVisible(name, false)));
    }
    Err(part.unclassified("SET or DROP DEFAULT"))
}

/// Table options and what else stands alone: a list without commas up to the end of the clause.
fn options(part: &mut Cursor<'_>, clauses: &mut Vec<Clause>) -> Parse<()> {
    let mut text = TextAttributes::default();
    let mut said = false;
    while !part.at_end() {
        if part.is_any(&["PARTITION", "REMOVE"]) {
            // PARTITION BY .., REMOVE PARTITIONING: the rows stay.
            break;
        }
        let clause = part.rest();
        if part.accept_all(&["DISCARD", "TABLESPACE"]) {
            clauses.push(Clause::RowsChange(clause));
            continue;
        }
        if part.accept_all(&["IMPORT", "TABLESPACE"]) {
            clauses.push(Clause::RowsCome(clause));
            continue;
        }
        if part.accept_any(&["FORCE", "SECONDARY_LOAD", "SECONDARY_UNLOAD"])
            || part.accept_all(&["DISABLE", "KEYS"])
            || part.accept_all(&["ENABLE", "KEYS"])
            || part.accept_all(&["WITH", "VALIDATION"])
            || part.accept_all(&["WITHOUT", "VALIDATION"])
        {
            continue;
        }
        part.accept("DEFAULT");
        if text.accept(part)? {
            said = true;
            continue;
        }
        if !option(part) {
            return Err(part.unclassified("a clause of ALTER TABLE"));
        }
    }
    if said {
        clauses.push(Clause::DefaultCharset(text));
    }
    Ok(())
}

/// `name [=] value` of an option that says nothing about rows.
fn option(part: &mut Cursor<'_>) -> bool {
    const OPTIONS: [&str; 31] = [
        "ALGORITHM",
        "AUTOEXTEND_SIZE",
        "AUTO_INCREMENT",
        "AVG_ROW_LENGTH",
        "CHECKSUM",
        "COMMENT",
        "COMPRESSION",
        "CONNECTION",
        "DATA",
        "DELAY_KEY_WRITE",
        "ENCRYPTION",
        "ENGINE",
        "ENGINE_ATTRIBUTE",
        "INDEX",
        "INSERT_METHOD",
        "KEY_BLOCK_SIZE",
        "LOCK",
        "MAX_ROWS",
        "MIN_ROWS",
        "PACK_KEYS",
        "PASSWORD",
        "ROW_FORMAT",
        "SECONDARY_ENGINE",
        "SECONDARY_ENGINE_ATTRIBUTE",
        "START",
        "STATS_AUTO_RECALC",
        "STATS_PERSISTENT",
        "STATS_SAMPLE_PAGES",
        "STORAGE",
        "TABLESPACE",
        "UNION",
    ];
    if !part.accept_any(&OPTIONS) {
        return false;
    }
    part.accept("DIRECTORY");
    part.accept_symbol(b'=');
    part.skip();
    true
}
