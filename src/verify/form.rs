//! Values of both sides in one form: the text that the server sends for an expression, and the same text
//! made of the stored value. Every form is exact: equal texts are equal values.
//!
//! | column | expression | text |
//! |---|---|---|
//! | FLOAT, DOUBLE | `c + 0e0` | the shortest that is the same DOUBLE |
//! | ENUM, SET | `CAST(c AS UNSIGNED)` | the number |
//! | TIMESTAMP | `c` | in UTC |
//! | text | `c` | the stored bytes, in the column's character set |
//! | all others | `c` | as `mysql -BN` prints them, before its escaping |

use std::collections::BTreeMap;

use crate::binlog::{Column, ColumnKind, TextStyle, Value};
use crate::net::Connection;
use crate::target::key::KeyEncoder;
use crate::target::schema::{
    ColumnDefinition, KeyPart, TableDefinition, TableName, collation_facts, to_utf8,
};
use crate::target::store::Snapshot;
use crate::{Error, ErrorKind, Result};

/// The tables of both sides in the order of their names, with the columns that the member says they
/// have; `None` for a table that only the store has.
pub(super) fn tables(
    member: &mut Connection,
    store: &Snapshot,
) -> Result<BTreeMap<TableName, Option<Vec<String>>>> {
    let mut tables: BTreeMap<TableName, Option<Vec<String>>> =
        store.tables().map(|name| (name.clone(), None)).collect();
    member.query_each(
        "SELECT c.table_schema, c.table_name, c.column_name
         FROM information_schema.columns c JOIN information_schema.tables t USING (table_schema, table_name)
         WHERE t.table_type = 'BASE TABLE'
           AND c.table_schema NOT IN ('mysql', 'sys', 'information_schema', 'performance_schema')
         ORDER BY c.table_schema, c.table_name, c.ordinal_position",
        |row| {
            let values = row.values()?;
            let [Some(database), Some(table), Some(column)] = values[..] else {
                return Err(Error::new(ErrorKind::Malformed, "a name is NULL"));
            };
            let columns = tables.entry(TableName::new(database, table)).or_default();
            let column = String::from_utf8_lossy(column).into_owned();
            columns.get_or_insert_default().push(column);
            Ok(())
        },
    )?;
    Ok(tables)
}

/// How the rows of a table are asked for and compared.
#[derive(Debug)]
pub(super) struct Form<'a> {
    pub(super) definition: &'a TableDefinition,
    /// The table's name in SQL.
    pub(super) name: String,
    /// The columns of the key by their places; empty: rows have no key.
    pub(super) key: Vec<usize>,
    /// Whether rows can be asked for from a key on, in the store's order.
    pub(super) ordered: bool,
}

impl<'a> Form<'a> {
    pub(super) fn new(table: &TableName, definition: &'a TableDefinition) -> Result<Self> {
        let key = &definition.primary_key;
        let in_order = |part: &KeyPart| {
            let column = definition.columns.get(part.column);
            column.is_some_and(has_literals) && part.prefix_length.is_none()
        };
        let ordered =
            !key.is_empty() && key.iter().all(in_order) && KeyEncoder::new(definition)?.is_exact();
        Ok(Self {
            definition,
            name: format!("{}.{}", quoted(&table.database)?, quoted(&table.table)?),
            key: key.iter().map(|part| part.column).collect(),
            ordered,
        })
    }

    /// What to select, in the order of the columns.
    pub(super) fn select_list(&self) -> Result<String> {
        let columns = self.definition.columns.iter().map(|column| {
            let name = quoted(column.name.as_bytes())?;
            let kind = column.physical.as_ref().map(|physical| physical.kind);
            Ok(match kind {
                Some(ColumnKind::Float | ColumnKind::Double) => format!("{name} + 0e0"),
                Some(ColumnKind::Enum | ColumnKind::Set) => format!("CAST({name} AS UNSIGNED)"),
                _ => name,
            })
        });
        Ok(columns.collect::<Result<Vec<_>>>()?.join(", "))
    }

    /// The columns of the key for ORDER BY.
    pub(super) fn order(&self) -> Result<String> {
        let parts = self.definition.primary_key.iter().map(|part| {
            let descending = if part.descending { " DESC" } else { "" };
            Ok(format!("{}{descending}", self.part_name(part)?))
        });
        Ok(parts.collect::<Result<Vec<_>>>()?.join(", "))
    }

    fn part_name(&self, part: &KeyPart) -> Result<String> {
        let column = self.definition.columns.get(part.column);
        quoted(column.map_or("", |column| &column.name).as_bytes())
    }

    /// The condition of rows behind the key with these values; `or_equal`: of those up to it.
    pub(super) fn condition(&self, literals: &[String], up_to: bool) -> Result<String> {
        let parts: Vec<_> = self.definition.primary_key.iter().zip(literals).collect();
        let mut alternatives = Vec::new();
        for (index, (part, literal)) in parts.iter().enumerate() {
            let mut terms = Vec::new();
            for (earlier, literal) in &parts[..index] {
                terms.push(format!("{} = {literal}", self.part_name(earlier)?));
            }
            let last = index + 1 == parts.len();
            let comparison = match (up_to != part.descending, up_to && last) {
                (false, false) => ">",
                (false, true) => ">=",
                (true, false) => "<",
                (true, true) => "<=",
            };
            terms.push(format!("{} {comparison} {literal}", self.part_name(part)?));
            alternatives.push(format!("({})", terms.join(" AND ")));
        }
        Ok(format!("({})", alternatives.join(" OR ")))
    }

    /// The values of a stored row's key as SQL literals.
    pub(super) fn literals(&self, texts: &[Option<Vec<u8>>]) -> Result<Vec<String>> {
        self.key
            .iter()
            .map(|&index| {
                let column = self.definition.columns.get(index);
                let text = texts.get(index).and_then(Option::as_deref);
                match column.zip(text) {
                    Some((column, text)) => literal(column, text),
                    None => Err(Error::new(ErrorKind::Internal, "a key without a value")),
                }
            })
            .collect()
    }

    /// A value for people.
    pub(super) fn shown(&self, index: usize, text: &[u8]) -> String {
        let collation = self.definition.columns.get(index);
        let collation = collation.map_or(0, |column| column.collation);
        let text = to_utf8(collation, text).unwrap_or(text.into());
        String::from_utf8_lossy(&text).escape_debug().to_string()
    }
}

/// Appends the form of a stored value.
pub(super) fn write(
    column: &Column,
    zerofill: Option<u8>,
    bytes: &[u8],
    out: &mut Vec<u8>,
) -> Result<()> {
    let style = TextStyle {
        zerofill,
        ..TextStyle::default()
    };
    // The zeros are one to the server's addition as well.
    let value = match column.decode(bytes)? {
        Value::Float(number) => Value::Double(f64::from(number) + 0.0),
        Value::Double(number) => Value::Double(number + 0.0),
        value => value,
    };
    value.write_text(&style, out)
}

fn quoted(name: &[u8]) -> Result<String> {
    match std::str::from_utf8(name) {
        Ok(name) => Ok(format!("`{}`", name.replace('`', "``"))),
        Err(_) => Err(Error::new(
            ErrorKind::Unsupported,
            "a name that is not UTF-8",
        )),
    }
}

/// Whether the server finds rows by a literal of the type, in the order of its keys.
fn has_literals(column: &ColumnDefinition) -> bool {
    let kind = column.physical.as_ref().map(|physical| physical.kind);
    matches!(
        kind,
        Some(
            ColumnKind::TinyInt
                | ColumnKind::SmallInt
                | ColumnKind::MediumInt
                | ColumnKind::Int
                | ColumnKind::BigInt
                | ColumnKind::Decimal
                | ColumnKind::Year
                | ColumnKind::Date
                | ColumnKind::Time
                | ColumnKind::DateTime
                | ColumnKind::Timestamp
                | ColumnKind::Char
                | ColumnKind::VarChar
        )
    )
}

fn literal(column: &ColumnDefinition, text: &[u8]) -> Result<String> {
    let kind = column.physical.as_ref().map(|physical| physical.kind);
    let plain = || String::from_utf8_lossy(text).into_owned();
    Ok(match kind {
        Some(ColumnKind::Char | ColumnKind::VarChar) => {
            let Some((collation, charset, _)) = collation_facts(column.collation) else {
                return Err(Error::new(ErrorKind::Unsupported, "unknown collation"));
            };
            let hex: String = text.iter().map(|byte| format!("{byte:02x}")).collect();
            if charset == "binary" {
                format!("x'{hex}'")
            } else {
                format!("_{charset} x'{hex}' COLLATE {collation}")
            }
        }
        Some(
            ColumnKind::Date | ColumnKind::Time | ColumnKind::DateTime | ColumnKind::Timestamp,
        ) => format!("'{}'", plain()),
        _ => plain(),
    })
}
