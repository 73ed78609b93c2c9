//! What a table is: its columns as declared and as logged, and the key of its rows.

use std::fmt;

use crate::binlog::{Column, ColumnKind};
use crate::{Error, ErrorKind, Result};

use super::charset;
use super::data_type::DataType;

/// The name of a table, as table maps have it: bytes, usually UTF-8, compared exactly.
///
/// ```
/// use rejoin::target::schema::TableName;
///
/// assert_eq!(TableName::new("shop", "orders").to_string(), "shop.orders");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableName {
    /// The database.
    pub database: Vec<u8>,
    /// The table in it.
    pub table: Vec<u8>,
}

impl TableName {
    /// The table `table` of `database`.
    pub fn new(database: impl AsRef<[u8]>, table: impl AsRef<[u8]>) -> Self {
        Self {
            database: database.as_ref().to_vec(),
            table: table.as_ref().to_vec(),
        }
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}.{}",
            String::from_utf8_lossy(&self.database),
            String::from_utf8_lossy(&self.table)
        )
    }
}

/// Why a part of a statement says nothing that could be relied on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unclassified(pub(crate) String);

impl Unclassified {
    pub(crate) fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}

/// A column as CREATE TABLE and ALTER TABLE declare it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ColumnDefinition {
    /// Its name. Names compare without regard to case.
    pub name: String,
    /// Its type as declared.
    pub data_type: DataType,
    /// UNSIGNED (ZEROFILL implies it).
    pub unsigned: bool,
    /// Display width of a ZEROFILL column: shorter numbers print with leading zeros.
    pub zerofill: Option<u16>,
    /// Collation number of a column of characters, 63 for everything binary.
    pub collation: u16,
    /// Whether NULL is allowed.
    pub nullable: bool,
    /// What a row gets that does not name the column.
    pub default: ColumnDefault,
    /// AUTO_INCREMENT.
    pub auto_increment: bool,
    /// `GENERATED ALWAYS AS`: whether and how it is computed.
    pub generated: Option<Generated>,
    /// Whether `SELECT *` shows it.
    pub visible: bool,
    /// The column of the row events: from the declaration, then from the first table map.
    pub physical: Option<Column>,
}

/// How a generated column gets its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generated {
    /// Whether the value is stored (STORED) or computed when read (VIRTUAL).
    pub stored: bool,
    /// The text of the expression.
    pub expression: String,
}

/// The DEFAULT of a column.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ColumnDefault {
    /// No default: a statement has to name the column.
    None,
    /// NULL, said or implied.
    Null,
    /// A constant, with the quotes resolved: see [`Literal`].
    Constant(Literal),
    /// `CURRENT_TIMESTAMP` and its synonyms.
    CurrentTimestamp,
    /// Any other expression, as text.
    Expression(String),
    /// Not known: no statement about the column was seen.
    Unknown,
}

/// A constant as a statement writes it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Literal {
    /// A quoted string in UTF-8.
    Text(String),
    /// A quoted string of bytes, or one in a character set that is not converted to UTF-8.
    Bytes(Vec<u8>),
    /// `x'..'` or `b'..'`: bytes for a string, a big-endian number for a number.
    Bits(Vec<u8>),
    /// A number with its sign.
    Number(String),
}

/// One part of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPart {
    /// Index of the column in [`TableDefinition::columns`].
    pub column: usize,
    /// Only so much of the value counts: characters of a character column, bytes of a binary one.
    pub prefix_length: Option<u32>,
    /// Whether the part sorts downwards.
    pub descending: bool,
}

/// An index of a table, as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    /// Its name; `PRIMARY` is the primary key.
    pub name: String,
    /// Whether two rows cannot have the same key.
    pub unique: bool,
    /// Its columns; `None` where it has expressions or is no ordered index (FULLTEXT, SPATIAL).
    pub parts: Option<Vec<KeyPart>>,
}

/// A table at one point of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TableDefinition {
    /// The columns in their order.
    pub columns: Vec<ColumnDefinition>,
    /// The key of the rows: PRIMARY KEY, else the first UNIQUE key of which no column can be NULL.
    /// Empty: the rows have no key (whole-row mode).
    pub primary_key: Vec<KeyPart>,
    /// All indexes, in the order in which they were made.
    pub indexes: Vec<Index>,
    /// Collation number that new columns get.
    pub default_collation: u16,
    /// Why the definition is not known, where a statement could not be understood. The rest is what was
    /// known before that statement: rows that are there can be read by it, and no others be put in.
    pub unknown: Option<String>,
}

impl TableDefinition {
    /// A table without columns and indexes.
    pub(crate) fn empty(default_collation: u16) -> Self {
        Self {
            columns: Vec::new(),
            primary_key: Vec::new(),
            indexes: Vec::new(),
            default_collation,
            unknown: None,
        }
    }

    /// A definition made of a table map alone, for a table whose CREATE TABLE was never seen.
    ///
    /// Where the source writes `binlog_row_metadata=FULL`, `primary_key` (column and prefix length in
    /// characters, 0 for a whole column) and the names come from there; otherwise columns are called
    /// `@1`, `@2`, as mysqlbinlog does, and the table has no key.
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`] where `primary_key` names a column that is not there.
    pub fn from_table_map(columns: &[Column], primary_key: &[(usize, u32)]) -> Result<Self> {
        let mut definition = Self::empty(charset::UTF8MB4_0900_AI_CI);
        for (position, column) in columns.iter().enumerate() {
            let name = match &column.name {
                Some(name) => String::from_utf8_lossy(name).into_owned(),
                None => format!("@{}", position + 1),
            };
            definition
                .columns
                .push(ColumnDefinition::from_physical(name, column));
        }
        definition.add_primary_key(primary_key)?;
        Ok(definition)
    }

    /// Adds a primary key on these columns, each with the length of its prefix or 0, where there are any.
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`] where a column is not there.
    pub(crate) fn add_primary_key(&mut self, primary_key: &[(usize, u32)]) -> Result<()> {
        let mut parts = Vec::with_capacity(primary_key.len());
        for &(column, prefix) in primary_key {
            if column >= self.columns.len() {
                return Err(Error::new(
                    ErrorKind::Malformed,
                    format!(
                        "primary key names column {column} of {}",
                        self.columns.len()
                    ),
                ));
            }
            parts.push(KeyPart {
                column,
                prefix_length: (prefix > 0).then_some(prefix),
                descending: false,
            });
        }
        if !parts.is_empty() {
            self.indexes.push(Index {
                name: "PRIMARY".to_owned(),
                unique: true,
                parts: Some(parts),
            });
        }
        self.choose_key();
        Ok(())
    }

    /// Index of the column called `name`, in any case.
    pub fn column_index(&self, name: &str) -> Option<usize> {
        self.columns
            .iter()
            .position(|column| same_name(&column.name, name))
    }

    /// Index of the index called `name`, in any case.
    pub(crate) fn index_position(&self, name: &str) -> Option<usize> {
        self.indexes
            .iter()
            .position(|index| same_name(&index.name, name))
    }

    /// Whether the rows have a key.
    pub fn has_key(&self) -> bool {
        !self.primary_key.is_empty()
    }

    /// Whether there are columns that no statement has declared.
    pub(crate) fn is_partly_unknown(&self) -> bool {
        let mut columns = self.columns.iter();
        columns.any(|column| column.default == ColumnDefault::Unknown)
    }

    /// The columns of the row events, where the definition is known.
    pub fn physical_columns(&self) -> Option<Vec<Column>> {
        self.columns
            .iter()
            .map(|column| column.physical.clone())
            .collect()
    }

    /// Whether the server made the primary key up (`sql_generate_invisible_primary_key`).
    pub(crate) fn has_generated_invisible_primary_key(&self) -> bool {
        let made_up = self.columns.first().is_some_and(|column| {
            same_name(&column.name, "my_row_id")
                && column.data_type == DataType::BigInt
                && column.auto_increment
                && !column.visible
        });
        made_up && matches!(&self.primary_key[..], [part] if part.column == 0)
    }

    /// Sets [`primary_key`](Self::primary_key) from the indexes.
    pub(crate) fn choose_key(&mut self) {
        let usable = |index: &&Index| {
            let parts = index.parts.as_deref().unwrap_or_default();
            index.unique
                && !parts.is_empty()
                && parts.iter().all(|part| {
                    let column = self.columns.get(part.column);
                    index.name == "PRIMARY" || column.is_some_and(|column| !column.nullable)
                })
        };
        let whole = |index: &&Index| {
            let mut parts = index.parts.iter().flatten();
            parts.all(|part| part.prefix_length.is_none())
        };
        let candidates = || self.indexes.iter().filter(usable);
        let chosen = candidates()
            .find(|index| index.name == "PRIMARY")
            // The server prefers keys on whole columns as well (`sort_keys`, sql_table.cc).
            .or_else(|| candidates().find(whole))
            .or_else(|| candidates().next());
        self.primary_key = chosen
            .and_then(|index| index.parts.clone())
            .unwrap_or_default();
    }

    /// # Errors
    /// [`ErrorKind::Schema`] where the definition is not known; the message names the statement that could
    /// not be understood.
    pub(crate) fn check_known(&self) -> Result<()> {
        match &self.unknown {
            None => Ok(()),
            Some(reason) => Err(Error::new(
                ErrorKind::Schema,
                format!("the table's definition is not known: {reason}"),
            )
            .remedy("clone the member anew, or report the statement")),
        }
    }

    /// Checks the columns of a table map against the definition and keeps them: from now on rows are
    /// read as the table map says.
    ///
    /// # Errors
    /// [`ErrorKind::Schema`] where number or types of the columns differ, or where the definition is
    /// not known; the message names the statement that could not be understood.
    pub fn bind(&mut self, columns: &[Column]) -> Result<()> {
        self.check_known()?;
        if columns.len() != self.columns.len() {
            return Err(Error::new(
                ErrorKind::Schema,
                format!(
                    "row event has {} columns where the table has {}",
                    columns.len(),
                    self.columns.len()
                ),
            ));
        }
        for (definition, logged) in self.columns.iter().zip(columns) {
            definition.check(logged)?;
        }
        for (definition, logged) in self.columns.iter_mut().zip(columns) {
            definition.record(logged);
        }
        Ok(())
    }
}

impl ColumnDefinition {
    /// A column of which only the table map is known.
    fn from_physical(name: String, column: &Column) -> Self {
        Self {
            name,
            data_type: DataType::from_physical(column),
            unsigned: column.unsigned.unwrap_or(false),
            zerofill: None,
            collation: column.collation.unwrap_or(charset::BINARY),
            nullable: column.nullable,
            default: ColumnDefault::Unknown,
            auto_increment: false,
            generated: None,
            visible: column.visible.unwrap_or(true),
            physical: Some(bare(column)),
        }
    }

    fn check(&self, logged: &Column) -> Result<()> {
        let Some(physical) = &self.physical else {
            return Ok(());
        };
        let signs_differ = matches!(
            (physical.unsigned, logged.unsigned),
            (Some(ours), Some(theirs)) if ours != theirs
        );
        if physical.kind != logged.kind || physical.meta != logged.meta || signs_differ {
            return Err(Error::new(
                ErrorKind::Schema,
                format!(
                    "column {} is {} in the row event, {} in the table's definition",
                    self.name,
                    describe(logged),
                    describe(physical)
                ),
            ));
        }
        Ok(())
    }

    /// Takes what a table map says; what it leaves out stays.
    fn record(&mut self, logged: &Column) {
        let mut column = bare(logged);
        if let Some(known) = &self.physical {
            column.unsigned = column.unsigned.or(known.unsigned);
            column.collation = column.collation.or(known.collation);
        }
        if let Some(collation) = column.collation {
            self.collation = collation;
        }
        self.physical = Some(column);
    }
}

/// A logged column without what the definition has: names and visibility.
fn bare(column: &Column) -> Column {
    let mut column = column.clone();
    column.name = None;
    column.members = None;
    column.visible = None;
    column
}

fn describe(column: &Column) -> String {
    let sign = if column.unsigned == Some(true) {
        " unsigned"
    } else {
        ""
    };
    match column.kind {
        ColumnKind::Decimal => {
            format!("Decimal({},{}){sign}", column.precision(), column.scale())
        }
        kind if column.meta == 0 => format!("{kind:?}{sign}"),
        kind => format!("{kind:?}({}){sign}", column.meta),
    }
}

/// Whether two names of columns or indexes are the same to the server.
pub(crate) fn same_name(left: &str, right: &str) -> bool {
    if left.is_ascii() && right.is_ascii() {
        left.eq_ignore_ascii_case(right)
    } else {
        left.to_lowercase() == right.to_lowercase()
    }
}
