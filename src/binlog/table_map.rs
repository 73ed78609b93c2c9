//! Table maps: which table, with which columns, the row events that follow belong to.
//!
//! ```text
//! u48 table id (u32 in pre-release 5.1 logs) | u16 flags
//! packed length, database, NUL | packed length, table, NUL
//! packed column count n | n type bytes | packed length, metadata
//! (n + 7) / 8 bytes: which columns may be NULL, lowest bit first
//! optional metadata to the end: u8 kind, packed length, value; any number, in any order
//! ```
//!
//! A map repeats in front of every statement, mostly with the same bytes: whoever decodes rows keeps
//! the columns of a map by its bytes .

use super::column::Column;
use super::reader::{Reader, bit, put_packed};
use super::{ColumnKind, EventHeader, EventType, FormatDescription};
use crate::{Error, ErrorKind, Result};

/// Longest name of a database or table, in bytes (64 characters of three bytes).
const NAME_LENGTH: u64 = 192;

/// The server's bound on columns; the width of a row event has the same.
pub(super) const MAX_COLUMNS: u64 = 4096;

/// A table map event, not yet taken apart into columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableMap<'a> {
    /// What row events refer to; it changes whenever the source opens the table anew.
    pub table_id: u64,
    /// [`TableMap::REFERRED_FK_DB`] and others; unknown bits are kept.
    pub flags: u16,
    /// Name of the database.
    pub database: &'a [u8],
    /// Name of the table.
    pub table: &'a [u8],
    types: &'a [u8],
    metadata: &'a [u8],
    null_bits: &'a [u8],
    optional: &'a [u8],
    short_id: bool,
    reads_optional: bool,
}

impl<'a> TableMap<'a> {
    /// Lengths of BIT columns are exact.
    pub const BIT_LEN_EXACT: u16 = 1;
    /// Foreign keys of a table in another database refer to this one.
    pub const REFERRED_FK_DB: u16 = 2;
    /// The primary key is one that the server made up.
    pub const GENERATED_INVISIBLE_PK: u16 = 4;
    /// The largest table id.
    pub(crate) const MAX_ID: u64 = (1 << 48) - 1;

    /// Reads the body of `event` (without its checksum).
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`]. The columns are checked later, by [`TableMap::columns`].
    pub fn decode(format: &FormatDescription, event: &'a [u8]) -> Result<Self> {
        let mut reader = Reader::at(event, format.body_offset(EventType::TABLE_MAP))?;
        let short_id = format.post_header_length(EventType::TABLE_MAP) == Some(6);
        let table_id = if short_id {
            u64::from(reader.u32("table id")?)
        } else {
            reader.u48("table id")?
        };
        let flags = reader.u16("table map flags")?;
        let database = name(&mut reader, "database name")?;
        let table = name(&mut reader, "table name")?;
        let count = reader.packed("column count")?;
        if count > MAX_COLUMNS {
            return Err(Error::new(
                ErrorKind::Malformed,
                format!("table map of {count} columns, {MAX_COLUMNS} is the most"),
            ));
        }
        let types = reader.take_u64(count, "column types")?;
        if reader.is_empty() {
            // Written by 5.1 before its release; rows that refer to it have only types of fixed size.
            return Ok(Self {
                table_id,
                flags,
                database,
                table,
                types,
                metadata: &[],
                null_bits: &[],
                optional: &[],
                short_id,
                reads_optional: format.has_optional_metadata(),
            });
        }
        let metadata_length = reader.packed("metadata length")?;
        if metadata_length > 4 * count {
            return Err(reader.malformed(format_args!(
                "{metadata_length} bytes of metadata for {count} columns"
            )));
        }
        let metadata = reader.take_u64(metadata_length, "column metadata")?;
        let null_bits = reader.take(types.len().div_ceil(8), "NULL bits")?;
        Ok(Self {
            table_id,
            flags,
            database,
            table,
            types,
            metadata,
            null_bits,
            optional: reader.take_rest(),
            short_id,
            reads_optional: format.has_optional_metadata(),
        })
    }

    /// How many columns the table has on the source.
    pub fn column_count(&self) -> usize {
        self.types.len()
    }

    /// The columns, with all that the optional metadata says about them.
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`] where metadata breaks the format, [`ErrorKind::Unsupported`] for a
    /// column type that no server up to 9.7 writes.
    pub fn columns(&self) -> Result<Vec<Column>> {
        let mut metadata = Reader::new(self.metadata);
        let mut columns = Vec::with_capacity(self.types.len());
        for (index, number) in self.types.iter().enumerate() {
            let mut column = Column::read(*number, &mut metadata)?;
            column.nullable = bit(self.null_bits, index);
            columns.push(column);
        }
        metadata.finish("column metadata")?;
        for field in self.optional_metadata() {
            let (kind, value) = field?;
            add_optional(kind, value, &mut columns)?;
        }
        Ok(columns)
    }

    /// The fields of the optional metadata, as `(kind, value)` in the order of the event. Sources
    /// before 8.0.1 have none, and may leave junk in its place.
    pub fn optional_metadata(&self) -> impl Iterator<Item = Result<(u8, &'a [u8])>> {
        let mut reader = Reader::new(if self.reads_optional {
            self.optional
        } else {
            &[]
        });
        std::iter::from_fn(move || {
            if reader.is_empty() {
                return None;
            }
            let field = (|| {
                let kind = reader.u8("kind of optional metadata")?;
                let length = reader.packed("length of optional metadata")?;
                Ok((kind, reader.take_u64(length, "optional metadata")?))
            })();
            if field.is_err() {
                reader.take_rest();
            }
            Some(field)
        })
    }

    /// The primary key as `(column index, prefix length in characters)`, 0 for the whole column;
    /// empty where there is none or the source does not say (`binlog_row_metadata=MINIMAL`).
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`] where the optional metadata is, or names a column that is not there.
    pub fn primary_key(&self) -> Result<Vec<(usize, u64)>> {
        let mut key = Vec::new();
        for field in self.optional_metadata() {
            let (kind, value) = field?;
            if !matches!(
                kind,
                optional::SIMPLE_PRIMARY_KEY | optional::PRIMARY_KEY_WITH_PREFIX
            ) {
                continue;
            }
            let mut reader = Reader::new(value);
            while !reader.is_empty() {
                let column = reader.packed("column of the primary key")?;
                let prefix = if kind == optional::PRIMARY_KEY_WITH_PREFIX {
                    reader.packed("prefix of the primary key")?
                } else {
                    0
                };
                match usize::try_from(column) {
                    Ok(column) if column < self.types.len() => key.push((column, prefix)),
                    _ => return Err(reader.malformed("primary key on a column that is not there")),
                }
            }
        }
        Ok(key)
    }

    /// The event of a table map, without its checksum, with this primary key, of columns and prefixes as
    /// [`primary_key`](Self::primary_key) gives them; there is none in `event`.
    pub(crate) fn with_primary_key(event: &[u8], key: &[(usize, u32)]) -> Vec<u8> {
        let has_prefix = key.iter().any(|(_, prefix)| *prefix > 0);
        let mut value = Vec::new();
        for &(column, prefix) in key {
            put_packed(column as u64, &mut value);
            if has_prefix {
                put_packed(u64::from(prefix), &mut value);
            }
        }
        let mut completed = event.to_vec();
        completed.push(if has_prefix {
            optional::PRIMARY_KEY_WITH_PREFIX
        } else {
            optional::SIMPLE_PRIMARY_KEY
        });
        put_packed(value.len() as u64, &mut completed);
        completed.extend_from_slice(&value);
        let length = completed.len() as u32;
        overwrite(
            &mut completed,
            EventHeader::LENGTH_OFFSET,
            &length.to_le_bytes(),
        );
        completed
    }

    /// Gives the event of a table map another table id, and the time and server of `header`.
    pub(crate) fn renumber(event: &mut [u8], header: &EventHeader, table_id: u64) {
        let header = EventHeader {
            length: event.len() as u32,
            ..*header
        };
        overwrite(event, 0, &header.encode());
        let [id @ .., _, _] = table_id.to_le_bytes();
        overwrite(event, EventHeader::SIZE, &id);
    }

    /// Whether readers of the event look for optional metadata.
    pub(crate) fn reads_optional_metadata(&self) -> bool {
        self.reads_optional
    }

    pub(super) fn encode_body(&self, out: &mut Vec<u8>) {
        let id = self.table_id.to_le_bytes();
        let width = if self.short_id { 4 } else { 6 };
        out.extend_from_slice(id.get(..width).unwrap_or_default());
        out.extend_from_slice(&self.flags.to_le_bytes());
        for name in [self.database, self.table] {
            put_packed(name.len() as u64, out);
            out.extend_from_slice(name);
            out.push(0);
        }
        put_packed(self.types.len() as u64, out);
        out.extend_from_slice(self.types);
        if self.null_bits.is_empty() && !self.types.is_empty() {
            return;
        }
        put_packed(self.metadata.len() as u64, out);
        out.extend_from_slice(self.metadata);
        out.extend_from_slice(self.null_bits);
        out.extend_from_slice(self.optional);
    }
}

fn overwrite(event: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(place) = event.get_mut(at..at + bytes.len()) {
        place.copy_from_slice(bytes);
    }
}

fn name<'a>(reader: &mut Reader<'a>, what: &str) -> Result<&'a [u8]> {
    let length = reader.packed(what)?;
    if length > NAME_LENGTH {
        return Err(reader.malformed(format_args!("{what} of {length} bytes")));
    }
    let name = reader.take_u64(length, what)?;
    reader.u8("NUL behind a name")?;
    Ok(name)
}

/// Kinds of optional metadata.
mod optional {
    pub(super) const SIGNEDNESS: u8 = 1;
    pub(super) const DEFAULT_CHARSET: u8 = 2;
    pub(super) const COLUMN_CHARSET: u8 = 3;
    pub(super) const COLUMN_NAME: u8 = 4;
    pub(super) const SET_MEMBERS: u8 = 5;
    pub(super) const ENUM_MEMBERS: u8 = 6;
    pub(super) const GEOMETRY_TYPE: u8 = 7;
    pub(super) const SIMPLE_PRIMARY_KEY: u8 = 8;
    pub(super) const PRIMARY_KEY_WITH_PREFIX: u8 = 9;
    pub(super) const ENUM_AND_SET_DEFAULT_CHARSET: u8 = 10;
    pub(super) const ENUM_AND_SET_COLUMN_CHARSET: u8 = 11;
    pub(super) const COLUMN_VISIBILITY: u8 = 12;
    pub(super) const VECTOR_DIMENSIONALITY: u8 = 13;
}

/// Puts one field of the optional metadata into the columns that it speaks of. Kinds that are not
/// known are passed over: others' servers write some of their own.
fn add_optional(kind: u8, value: &[u8], columns: &mut [Column]) -> Result<()> {
    let mut reader = Reader::new(value);
    match kind {
        optional::SIGNEDNESS => {
            let numeric = columns.iter_mut().filter(|column| column.is_numeric());
            for (column, unsigned) in numeric.zip(bits_from_the_top(value)) {
                column.unsigned = Some(unsigned);
            }
        }
        optional::DEFAULT_CHARSET => {
            default_charset(reader, columns, Column::is_character)?;
        }
        optional::ENUM_AND_SET_DEFAULT_CHARSET => {
            default_charset(reader, columns, Column::is_enum_or_set)?;
        }
        optional::COLUMN_CHARSET => {
            for column in columns.iter_mut().filter(|column| column.is_character()) {
                column.collation = Some(collation(&mut reader)?);
            }
        }
        optional::ENUM_AND_SET_COLUMN_CHARSET => {
            for column in columns.iter_mut().filter(|column| column.is_enum_or_set()) {
                column.collation = Some(collation(&mut reader)?);
            }
        }
        optional::COLUMN_NAME => {
            for column in columns {
                column.name = Some(string(&mut reader, "column name")?.into());
            }
        }
        optional::SET_MEMBERS => members(&mut reader, columns, ColumnKind::Set)?,
        optional::ENUM_MEMBERS => members(&mut reader, columns, ColumnKind::Enum)?,
        optional::GEOMETRY_TYPE => {
            for column in of_kind(columns, ColumnKind::Geometry) {
                let number = reader.packed("geometry type")?;
                column.geometry_type = u8::try_from(number).ok();
            }
        }
        optional::COLUMN_VISIBILITY => {
            for (column, visible) in columns.iter_mut().zip(bits_from_the_top(value)) {
                column.visible = Some(visible);
            }
        }
        optional::VECTOR_DIMENSIONALITY => {
            for column in of_kind(columns, ColumnKind::Vector) {
                let number = reader.packed("vector dimensions")?;
                column.dimensions = u32::try_from(number).ok();
            }
        }
        _ => {}
    }
    Ok(())
}

fn of_kind(columns: &mut [Column], kind: ColumnKind) -> impl Iterator<Item = &mut Column> {
    columns.iter_mut().filter(move |column| column.kind == kind)
}

/// SIGNEDNESS and COLUMN_VISIBILITY begin with the highest bit, unlike every other bitmap.
fn bits_from_the_top(bitmap: &[u8]) -> impl Iterator<Item = bool> {
    bitmap
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1 == 1))
}

fn collation(reader: &mut Reader<'_>) -> Result<u16> {
    let number = reader.packed("collation")?;
    u16::try_from(number).map_err(|_| reader.malformed(format_args!("collation {number}")))
}

/// One collation for most columns, then `(index, collation)` for those that differ; the index counts
/// only the columns that `has_one` accepts.
fn default_charset(
    mut reader: Reader<'_>,
    columns: &mut [Column],
    has_one: fn(&Column) -> bool,
) -> Result<()> {
    let default = collation(&mut reader)?;
    for column in columns.iter_mut().filter(|column| has_one(column)) {
        column.collation = Some(default);
    }
    while !reader.is_empty() {
        let index = reader.packed("column with another collation")?;
        let other = collation(&mut reader)?;
        let column = usize::try_from(index).ok().and_then(|index| {
            columns
                .iter_mut()
                .filter(|column| has_one(column))
                .nth(index)
        });
        match column {
            Some(column) => column.collation = Some(other),
            None => return Err(reader.malformed("collation of a column that is not there")),
        }
    }
    Ok(())
}

fn string<'a>(reader: &mut Reader<'a>, what: &str) -> Result<&'a [u8]> {
    let length = reader.packed(what)?;
    reader.take_u64(length, what)
}

fn members(reader: &mut Reader<'_>, columns: &mut [Column], kind: ColumnKind) -> Result<()> {
    for column in of_kind(columns, kind) {
        let count = reader.packed("number of members")?;
        let mut names = Vec::new();
        for _ in 0..count {
            // Each takes at least one byte, so a wild count ends with the input.
            names.push(string(reader, "member name")?.into());
        }
        column.members = Some(names.into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{Change, Item, Source};

    #[test]
    fn a_key_that_is_added_is_read() {
        let mut source = Source::new();
        source.rows(&[Change::Insert(Item::new(1, "one"))]);
        let batch = source.take();
        let transaction = batch.first().unwrap();
        let mut events = transaction.events();
        let (header, event) = events
            .find(|(header, _)| header.event_type == EventType::TABLE_MAP)
            .unwrap();
        let before = TableMap::decode(transaction.format(), event).unwrap();
        for key in [vec![(0, 0)], vec![(2, 300), (0, 0), (1, 7)]] {
            let mut completed = TableMap::with_primary_key(event, &key);
            TableMap::renumber(&mut completed, &header, TableMap::MAX_ID - 1);
            let read = EventHeader::decode(&completed).unwrap();
            assert_eq!(read.length as usize, completed.len());
            assert_eq!(
                (read.timestamp, read.flags),
                (header.timestamp, header.flags)
            );
            let map = TableMap::decode(transaction.format(), &completed).unwrap();
            assert_eq!(map.table_id, 0xffff_ffff_fffe);
            assert_eq!(map.columns().unwrap(), before.columns().unwrap());
            let expected = key
                .iter()
                .map(|&(column, prefix)| (column, u64::from(prefix)));
            let expected: Vec<_> = expected.collect();
            assert_eq!(map.primary_key().unwrap(), expected);
        }
    }
}
