//! Keys whose byte order is the order of the rows.
//!
//! A key is the concatenation of its parts, each of which ends by itself; a descending part is inverted.
//!
//! | type | form |
//! |---|---|
//! | integers | big-endian, the sign bit inverted unless UNSIGNED |
//! | DECIMAL, BIT, YEAR, TIME, DATETIME, TIMESTAMP | as logged: these are big-endian already |
//! | DATE, ENUM, SET | as big-endian numbers |
//! | FLOAT, DOUBLE | big-endian; negative: every bit inverted, else the sign bit |
//! | BINARY, VARBINARY, BLOB | each 00 as 00 FF, then 00 00 |
//! | CHAR, VARCHAR, TEXT | by collation |
//!
//! Weights of characters are facts of a real server, in `tables/`.

mod collate;
mod weights;

use crate::binlog::{Cell, Column, ColumnKind};
use crate::target::schema::{KeyPart, TableDefinition, collation_facts, decode_text};
use crate::{Error, ErrorKind, Result};

use collate::Collator;

/// Makes keys of stored rows: `memcmp` of two keys is MySQL's order of the rows by primary key, and equal
/// keys are equal to MySQL.
///
/// ```
/// use rejoin::binlog::Cell;
/// use rejoin::target::key::KeyEncoder;
/// use rejoin::target::schema::{Catalog, StatementContext, TableName};
///
/// let mut catalog = Catalog::new();
/// let context = StatementContext { default_database: b"d", ..Default::default() };
/// catalog.apply(b"CREATE DATABASE d", &context)?;
/// catalog.apply(b"CREATE TABLE t (id INT PRIMARY KEY)", &context)?;
/// let encoder = KeyEncoder::new(catalog.table(&TableName::new("d", "t")).unwrap())?;
/// let mut key = Vec::new();
/// encoder.encode(&[0, 1, 0, 0, 0], &[Cell::Value { start: 1, end: 5 }], &mut key)?;
/// assert_eq!(key, [0x80, 0, 0, 1]);
/// # Ok::<(), rejoin::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct KeyEncoder {
    parts: Vec<Part>,
}

#[derive(Debug, Clone)]
struct Part {
    column: usize,
    name: String,
    physical: Column,
    form: Form,
    /// False: bytes stand in for a collation whose order is not known.
    exact: bool,
    descending: bool,
}

/// How a value becomes a part of a key.
#[derive(Debug, Clone)]
enum Form {
    /// Little-endian; the flag: with a sign.
    Integer(bool),
    /// Little-endian with its sign in the highest bit.
    Float,
    /// As it is.
    Ordered,
    Bytes {
        /// Bytes that count.
        prefix: usize,
    },
    Text {
        collator: Collator,
        /// Characters that count.
        prefix: usize,
        encoding: Encoding,
    },
}

/// How the characters of a text are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Bytes,
    Utf8,
    /// A character set of two or four bytes a character: read as UTF-8, whose bytes are in the order of the
    /// code points as well.
    Wide(&'static str),
}

impl KeyEncoder {
    /// The encoder of a table's keys; a table without a key gets empty ones.
    ///
    /// A collation whose weights are not built in sorts by bytes: the log says so once for each column.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] where a key column's type has no order, [`ErrorKind::Schema`] where the
    /// definition is not complete.
    pub fn new(table: &TableDefinition) -> Result<Self> {
        Ok(Self {
            parts: table
                .primary_key
                .iter()
                .map(|part| Part::new(table, part))
                .collect::<Result<_>>()?,
        })
    }

    /// Whether the order of the keys is the server's: the weights of all collations are known.
    pub fn is_exact(&self) -> bool {
        self.parts.iter().all(|part| part.exact)
    }

    /// Appends the key of the row `image`, whose columns are at `cells`, to `out`.
    ///
    /// # Errors
    /// [`ErrorKind::Schema`] where a key column is absent or NULL, [`ErrorKind::Malformed`] where its
    /// value is cut.
    #[inline]
    pub fn encode(&self, image: &[u8], cells: &[Cell], out: &mut Vec<u8>) -> Result<()> {
        for part in &self.parts {
            let value = cells.get(part.column).and_then(|cell| cell.bytes(image));
            match value {
                Some(value) => part.encode(value, out)?,
                None => return Err(part.without_value()),
            }
        }
        Ok(())
    }

    /// Appends the key of a value for each part, as the values stand in a row image.
    ///
    /// # Errors
    /// As [`encode`](Self::encode); fewer values than parts give the prefix that all keys with these
    /// values share, unless the last one is text.
    pub fn encode_values<'a>(
        &self,
        values: impl IntoIterator<Item = &'a [u8]>,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        let mut parts = self.parts.iter();
        for value in values {
            match parts.next() {
                Some(part) => part.encode(value, out)?,
                None => {
                    return Err(Error::new(
                        ErrorKind::Schema,
                        "more values than the key has parts",
                    ));
                }
            }
        }
        Ok(())
    }
}

impl Part {
    fn new(table: &TableDefinition, part: &KeyPart) -> Result<Self> {
        let incomplete = || Error::new(ErrorKind::Schema, "key of a table that is not known");
        let column = table.columns.get(part.column).ok_or_else(incomplete)?;
        let physical = column.physical.clone().ok_or_else(incomplete)?;
        let prefix = part
            .prefix_length
            .map_or(usize::MAX, |length| length as usize);
        let mut exact = true;
        let form = match physical.kind {
            ColumnKind::TinyInt
            | ColumnKind::SmallInt
            | ColumnKind::MediumInt
            | ColumnKind::Int
            | ColumnKind::BigInt => Form::Integer(!column.unsigned),
            ColumnKind::OldTime => Form::Integer(true),
            ColumnKind::Date
            | ColumnKind::OldDateTime
            | ColumnKind::OldTimestamp
            | ColumnKind::Enum
            | ColumnKind::Set => Form::Integer(false),
            ColumnKind::Float | ColumnKind::Double => Form::Float,
            ColumnKind::Decimal
            | ColumnKind::Bit
            | ColumnKind::Year
            | ColumnKind::Time
            | ColumnKind::DateTime
            | ColumnKind::Timestamp => Form::Ordered,
            ColumnKind::Char | ColumnKind::VarChar | ColumnKind::Blob => {
                let (form, known) = text_form(column.collation, &column.name, prefix)?;
                exact = known;
                form
            }
            kind => {
                return Err(Error::new(
                    ErrorKind::Unsupported,
                    format!("{kind:?} column {} in a key", column.name),
                ));
            }
        };
        Ok(Self {
            column: part.column,
            name: column.name.clone(),
            physical,
            form,
            exact,
            descending: part.descending,
        })
    }

    #[inline]
    fn encode(&self, value: &[u8], out: &mut Vec<u8>) -> Result<()> {
        let start = out.len();
        match &self.form {
            Form::Integer(signed) => {
                out.extend(value.iter().rev());
                if *signed {
                    flip_sign(&mut out[start..]);
                }
            }
            Form::Float => {
                out.extend(value.iter().rev());
                float_order(&mut out[start..]);
            }
            Form::Ordered => out.extend_from_slice(value),
            Form::Bytes { prefix } => {
                let content = self.physical.content(value)?;
                collate::push_bytes(&content[..content.len().min(*prefix)], out);
            }
            Form::Text {
                collator,
                prefix,
                encoding,
            } => {
                let content = self.physical.content(value)?;
                // What is no text of the set stays as it is: no server stores it.
                let text = match encoding {
                    Encoding::Wide(charset) => decode_text(charset, content),
                    Encoding::Bytes | Encoding::Utf8 => None,
                };
                let content = text.as_deref().map_or(content, str::as_bytes);
                let length = match *prefix {
                    usize::MAX => content.len(),
                    prefix if *encoding == Encoding::Bytes => content.len().min(prefix),
                    prefix => collate::utf8_prefix(content, prefix),
                };
                collator.encode(&content[..length], out);
            }
        }
        if self.descending {
            out[start..].iter_mut().for_each(|byte| *byte = !*byte);
        }
        Ok(())
    }

    #[cold]
    fn without_value(&self) -> Error {
        Error::new(
            ErrorKind::Schema,
            format!("key column {} has no value in the row", self.name),
        )
    }
}

/// The form of a text, and whether the order of its collation is known.
fn text_form(collation: u16, column: &str, prefix: usize) -> Result<(Form, bool)> {
    let Some((name, charset, max_bytes)) = collation_facts(collation) else {
        log::warn!("column {column}: collation {collation} is not known, keys sort by bytes");
        return Ok((Form::Bytes { prefix }, false));
    };
    if charset == "binary" {
        return Ok((Form::Bytes { prefix }, true));
    }
    let found = collate::find(collation, name, charset)?;
    if !found.exact {
        log::warn!("column {column}: the order of {name} is not known, keys sort by bytes");
    }
    let encoding = match charset {
        "utf8mb3" | "utf8mb4" => Encoding::Utf8,
        "ucs2" | "utf16" | "utf16le" | "utf32" => Encoding::Wide(charset),
        _ => Encoding::Bytes,
    };
    let form = Form::Text {
        collator: found.collator,
        // Where characters cannot be counted, no two keys may become equal that are not.
        prefix: if encoding == Encoding::Bytes {
            prefix.saturating_mul(usize::from(max_bytes))
        } else {
            prefix
        },
        encoding,
    };
    Ok((form, found.exact))
}

#[inline]
fn flip_sign(bytes: &mut [u8]) {
    if let Some(first) = bytes.first_mut() {
        *first ^= 0x80;
    }
}

/// IEEE order: negative numbers downwards below all others; the two zeros are one.
fn float_order(bytes: &mut [u8]) {
    let Some(first) = bytes.first().copied() else {
        return;
    };
    let zero = first & 0x7f == 0 && bytes[1..].iter().all(|byte| *byte == 0);
    if zero {
        bytes[0] = 0x80;
    } else if first & 0x80 == 0 {
        bytes[0] ^= 0x80;
    } else {
        bytes.iter_mut().for_each(|byte| *byte = !*byte);
    }
}
