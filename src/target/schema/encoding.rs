//! The catalog as bytes, for checkpoints.
//!
//! ```text
//! u8 version = 1
//! count of databases: name, u16 collation
//! count of tables: database, table, definition
//! count of views: database, table
//!
//! definition: u16 collation | optional text: why it is not known
//!             | count of columns: column | count of indexes: name, u8 unique, optional count of parts
//!             | key: count of parts
//! part:       u32 column | optional u32 prefix | u8 descending
//! column:     name | type | u8 flags (1 unsigned, 2 nullable, 4 auto_increment, 8 visible)
//!             | optional u16 ZEROFILL width | u16 collation | default | optional (u8 stored, expression)
//!             | optional physical column
//! ```
//! Numbers are little-endian, counts and lengths u32, text and names a length and bytes; an optional part
//! is u8 0 or u8 1 and the part.

use crate::binlog::{Column, ColumnKind};
use crate::{Error, ErrorKind, Result};

use super::catalog::Catalog;
use super::data_type::DataType;
use super::definition::{
    ColumnDefault, ColumnDefinition, Generated, Index, KeyPart, Literal, TableDefinition, TableName,
};

const VERSION: u8 = 1;

impl Catalog {
    /// Appends the catalog's bytes to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut writer = Writer(out);
        writer.u8(VERSION);
        writer.count(self.databases.len());
        for (name, collation) in &self.databases {
            writer.bytes(name);
            writer.u16(*collation);
        }
        writer.count(self.tables.len());
        for (name, table) in &self.tables {
            writer.name(name);
            writer.table(table);
        }
        writer.count(self.views.len());
        for view in &self.views {
            writer.name(view);
        }
    }

    /// The catalog that [`encode`](Self::encode) wrote.
    ///
    /// # Errors
    /// [`ErrorKind::TargetCorrupt`] where the bytes are not those of a catalog.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader(bytes);
        read_catalog(&mut reader)
            .filter(|_| reader.0.is_empty())
            .ok_or_else(|| Error::new(ErrorKind::TargetCorrupt, "the catalog's bytes are damaged"))
    }
}

struct Writer<'a>(&'a mut Vec<u8>);

impl Writer<'_> {
    fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    fn u16(&mut self, value: u16) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    fn u32(&mut self, value: u32) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    fn count(&mut self, count: usize) {
        self.u32(count as u32);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.count(bytes.len());
        self.0.extend_from_slice(bytes);
    }

    fn name(&mut self, name: &TableName) {
        self.bytes(&name.database);
        self.bytes(&name.table);
    }

    fn optional<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        self.u8(u8::from(value.is_some()));
        if let Some(value) = value {
            write(self, value);
        }
    }

    fn table(&mut self, table: &TableDefinition) {
        self.u16(table.default_collation);
        self.optional(table.unknown.as_ref(), |w, reason| {
            w.bytes(reason.as_bytes());
        });
        self.count(table.columns.len());
        for column in &table.columns {
            self.column(column);
        }
        self.count(table.indexes.len());
        for index in &table.indexes {
            self.bytes(index.name.as_bytes());
            self.u8(u8::from(index.unique));
            self.optional(index.parts.as_ref(), |w, parts| w.parts(parts));
        }
        self.parts(&table.primary_key);
    }

    fn parts(&mut self, parts: &[KeyPart]) {
        self.count(parts.len());
        for part in parts {
            self.count(part.column);
            self.optional(part.prefix_length, Self::u32);
            self.u8(u8::from(part.descending));
        }
    }

    fn column(&mut self, column: &ColumnDefinition) {
        self.bytes(column.name.as_bytes());
        self.data_type(&column.data_type);
        self.u8(u8::from(column.unsigned)
            | u8::from(column.nullable) << 1
            | u8::from(column.auto_increment) << 2
            | u8::from(column.visible) << 3);
        self.optional(column.zerofill, Self::u16);
        self.u16(column.collation);
        match &column.default {
            ColumnDefault::None => self.u8(0),
            ColumnDefault::Null => self.u8(1),
            ColumnDefault::CurrentTimestamp => self.u8(2),
            ColumnDefault::Expression(text) => self.tagged(3, text.as_bytes()),
            ColumnDefault::Constant(Literal::Text(text)) => self.tagged(4, text.as_bytes()),
            ColumnDefault::Constant(Literal::Bytes(bytes)) => self.tagged(5, bytes),
            ColumnDefault::Constant(Literal::Bits(bytes)) => self.tagged(6, bytes),
            ColumnDefault::Constant(Literal::Number(text)) => self.tagged(7, text.as_bytes()),
            ColumnDefault::Unknown => self.u8(8),
        }
        self.optional(column.generated.as_ref(), |w, generated| {
            w.u8(u8::from(generated.stored));
            w.bytes(generated.expression.as_bytes());
        });
        self.optional(column.physical.as_ref(), Self::physical);
    }

    fn tagged(&mut self, tag: u8, bytes: &[u8]) {
        self.u8(tag);
        self.bytes(bytes);
    }

    fn data_type(&mut self, data_type: &DataType) {
        let (first, second) = match data_type {
            DataType::Decimal(precision, scale) => (u32::from(*precision), u32::from(*scale)),
            DataType::Float(Some((digits, decimals)))
            | DataType::Double(Some((digits, decimals))) => {
                (u32::from(*digits) + 1, u32::from(*decimals))
            }
            DataType::Bit(n)
            | DataType::Time(n)
            | DataType::DateTime(n)
            | DataType::Timestamp(n)
            | DataType::Text(n)
            | DataType::Blob(n)
            | DataType::Geometry(n) => (u32::from(*n), 0),
            DataType::Char(n)
            | DataType::VarChar(n)
            | DataType::Binary(n)
            | DataType::VarBinary(n)
            | DataType::Vector(n) => (*n, 0),
            DataType::Enum(members) | DataType::Set(members) => (members.len() as u32, 0),
            _ => (0, 0),
        };
        self.u8(type_tag(data_type));
        self.u32(first);
        self.u32(second);
        if let DataType::Enum(members) | DataType::Set(members) = data_type {
            for member in members {
                self.bytes(member.as_bytes());
            }
        }
    }

    fn physical(&mut self, column: &Column) {
        self.u8(kind_tag(column.kind));
        self.u32(column.meta);
        self.optional(column.unsigned, |w, unsigned| w.u8(u8::from(unsigned)));
        self.u8(u8::from(column.nullable));
        self.optional(column.collation, Self::u16);
        self.optional(column.geometry_type, Self::u8);
        self.optional(column.dimensions, Self::u32);
    }
}

fn type_tag(data_type: &DataType) -> u8 {
    match data_type {
        DataType::TinyInt => 1,
        DataType::SmallInt => 2,
        DataType::MediumInt => 3,
        DataType::Int => 4,
        DataType::BigInt => 5,
        DataType::Decimal(..) => 6,
        DataType::Float(_) => 7,
        DataType::Double(_) => 8,
        DataType::Bit(_) => 9,
        DataType::Year => 10,
        DataType::Date => 11,
        DataType::Time(_) => 12,
        DataType::DateTime(_) => 13,
        DataType::Timestamp(_) => 14,
        DataType::Char(_) => 15,
        DataType::VarChar(_) => 16,
        DataType::Binary(_) => 17,
        DataType::VarBinary(_) => 18,
        DataType::Text(_) => 19,
        DataType::Blob(_) => 20,
        DataType::Enum(_) => 21,
        DataType::Set(_) => 22,
        DataType::Json => 23,
        DataType::Geometry(_) => 24,
        DataType::Vector(_) => 25,
        DataType::OldTime => 26,
        DataType::OldDateTime => 27,
        DataType::OldTimestamp => 28,
        DataType::Other => 0,
    }
}

/// The kinds of physical columns; a tag is the position.
const KINDS: [ColumnKind; 27] = [
    ColumnKind::Null,
    ColumnKind::TinyInt,
    ColumnKind::SmallInt,
    ColumnKind::MediumInt,
    ColumnKind::Int,
    ColumnKind::BigInt,
    ColumnKind::Float,
    ColumnKind::Double,
    ColumnKind::Decimal,
    ColumnKind::Bit,
    ColumnKind::Year,
    ColumnKind::Date,
    ColumnKind::OldTime,
    ColumnKind::OldDateTime,
    ColumnKind::OldTimestamp,
    ColumnKind::Time,
    ColumnKind::DateTime,
    ColumnKind::Timestamp,
    ColumnKind::Char,
    ColumnKind::VarChar,
    ColumnKind::Blob,
    ColumnKind::Enum,
    ColumnKind::Set,
    ColumnKind::Json,
    ColumnKind::Geometry,
    ColumnKind::Vector,
    ColumnKind::TypedArray,
];

fn kind_tag(kind: ColumnKind) -> u8 {
    KINDS.iter().position(|other| *other == kind).unwrap_or(0) as u8
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(head)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1).and_then(|bytes| bytes.first().copied())
    }

    fn flag(&mut self) -> Option<bool> {
        self.u8().map(|byte| byte != 0)
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2)?.try_into().ok().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take(4)?.try_into().ok().map(u32::from_le_bytes)
    }

    fn bytes(&mut self) -> Option<Vec<u8>> {
        let length = self.u32()?;
        self.take(length as usize).map(<[u8]>::to_vec)
    }

    fn text(&mut self) -> Option<String> {
        String::from_utf8(self.bytes()?).ok()
    }

    fn name(&mut self) -> Option<TableName> {
        Some(TableName {
            database: self.bytes()?,
            table: self.bytes()?,
        })
    }

    fn optional<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<Option<T>> {
        match self.u8()? {
            0 => Some(None),
            1 => read(self).map(Some),
            _ => None,
        }
    }

    /// A count and as many items; room is made as they come, not as they are claimed.
    fn list<T>(&mut self, mut read: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let count = self.u32()?;
        let mut items = Vec::new();
        for _ in 0..count {
            items.push(read(self)?);
        }
        Some(items)
    }
}

fn read_catalog(reader: &mut Reader<'_>) -> Option<Catalog> {
    if reader.u8()? != VERSION {
        return None;
    }
    let databases = reader.list(|r| Some((r.bytes()?, r.u16()?)))?;
    let tables = reader.list(|r| Some((r.name()?, read_table(r)?)))?;
    let views = reader.list(Reader::name)?;
    Some(Catalog {
        databases: databases.into_iter().collect(),
        tables: tables.into_iter().collect(),
        views: views.into_iter().collect(),
    })
}

fn read_table(reader: &mut Reader<'_>) -> Option<TableDefinition> {
    let mut table = TableDefinition::empty(reader.u16()?);
    table.unknown = reader.optional(Reader::text)?;
    table.columns = reader.list(read_column)?;
    table.indexes = reader.list(|r| {
        Some(Index {
            name: r.text()?,
            unique: r.flag()?,
            parts: r.optional(read_parts)?,
        })
    })?;
    table.primary_key = read_parts(reader)?;
    let keys = table
        .indexes
        .iter()
        .filter_map(|index| index.parts.as_ref());
    let mut parts = keys.flatten().chain(&table.primary_key);
    let fits = parts.all(|part| part.column < table.columns.len());
    fits.then_some(table)
}

fn read_parts(reader: &mut Reader<'_>) -> Option<Vec<KeyPart>> {
    reader.list(|r| {
        Some(KeyPart {
            column: r.u32()? as usize,
            prefix_length: r.optional(Reader::u32)?,
            descending: r.flag()?,
        })
    })
}

fn read_column(reader: &mut Reader<'_>) -> Option<ColumnDefinition> {
    let name = reader.text()?;
    let data_type = read_type(reader)?;
    let flags = reader.u8()?;
    Some(ColumnDefinition {
        name,
        data_type,
        unsigned: flags & 1 != 0,
        nullable: flags & 2 != 0,
        auto_increment: flags & 4 != 0,
        visible: flags & 8 != 0,
        zerofill: reader.optional(Reader::u16)?,
        collation: reader.u16()?,
        default: read_default(reader)?,
        generated: reader.optional(|r| {
            Some(Generated {
                stored: r.flag()?,
                expression: r.text()?,
            })
        })?,
        physical: reader.optional(read_physical)?,
    })
}

fn read_default(reader: &mut Reader<'_>) -> Option<ColumnDefault> {
    Some(match reader.u8()? {
        0 => ColumnDefault::None,
        1 => ColumnDefault::Null,
        2 => ColumnDefault::CurrentTimestamp,
        3 => ColumnDefault::Expression(reader.text()?),
        4 => ColumnDefault::Constant(Literal::Text(reader.text()?)),
        5 => ColumnDefault::Constant(Literal::Bytes(reader.bytes()?)),
        6 => ColumnDefault::Constant(Literal::Bits(reader.bytes()?)),
        7 => ColumnDefault::Constant(Literal::Number(reader.text()?)),
        8 => ColumnDefault::Unknown,
        _ => return None,
    })
}

fn read_type(reader: &mut Reader<'_>) -> Option<DataType> {
    let tag = reader.u8()?;
    let first = reader.u32()?;
    let second = reader.u32()?;
    let byte = |value: u32| u8::try_from(value).ok();
    let digits = |first: u32| -> Option<Option<(u8, u8)>> {
        match first {
            0 => Some(None),
            _ => Some(Some((byte(first - 1)?, byte(second)?))),
        }
    };
    Some(match tag {
        0 => DataType::Other,
        1 => DataType::TinyInt,
        2 => DataType::SmallInt,
        3 => DataType::MediumInt,
        4 => DataType::Int,
        5 => DataType::BigInt,
        6 => DataType::Decimal(byte(first)?, byte(second)?),
        7 => DataType::Float(digits(first)?),
        8 => DataType::Double(digits(first)?),
        9 => DataType::Bit(byte(first)?),
        10 => DataType::Year,
        11 => DataType::Date,
        12 => DataType::Time(byte(first)?),
        13 => DataType::DateTime(byte(first)?),
        14 => DataType::Timestamp(byte(first)?),
        15 => DataType::Char(first),
        16 => DataType::VarChar(first),
        17 => DataType::Binary(first),
        18 => DataType::VarBinary(first),
        19 => DataType::Text(byte(first)?),
        20 => DataType::Blob(byte(first)?),
        21 | 22 => {
            let mut members = Vec::new();
            for _ in 0..first {
                members.push(reader.text()?);
            }
            if tag == 21 {
                DataType::Enum(members)
            } else {
                DataType::Set(members)
            }
        }
        23 => DataType::Json,
        24 => DataType::Geometry(byte(first)?),
        25 => DataType::Vector(first),
        26 => DataType::OldTime,
        27 => DataType::OldDateTime,
        28 => DataType::OldTimestamp,
        _ => return None,
    })
}

fn read_physical(reader: &mut Reader<'_>) -> Option<Column> {
    let kind = *KINDS.get(usize::from(reader.u8()?))?;
    let mut column = Column::new(kind, reader.u32()?).ok()?;
    column.unsigned = reader.optional(Reader::flag)?;
    column.nullable = reader.flag()?;
    column.collation = reader.optional(Reader::u16)?;
    column.geometry_type = reader.optional(Reader::u8)?;
    column.dimensions = reader.optional(Reader::u32)?;
    Some(column)
}

#[cfg(test)]
mod tests {
    use super::super::context::StatementContext;
    use super::*;

    #[test]
    fn a_catalog_comes_back_whole_and_no_cut_one_is_taken() {
        let mut catalog = Catalog::new();
        let context = StatementContext {
            default_database: b"d",
            ..Default::default()
        };
        for statement in [
            "CREATE DATABASE d CHARACTER SET latin1",
            "CREATE TABLE t (a BIGINT UNSIGNED ZEROFILL, b DECIMAL(10,4) NOT NULL DEFAULT -1.5,
             c ENUM('x','y') DEFAULT 'y', d SET('p'), e FLOAT(7,3), f DATETIME(3) DEFAULT CURRENT_TIMESTAMP(3),
             g JSON DEFAULT (json_array()), h INT AS (b + 1) STORED INVISIBLE, i TEXT, j BIT(9) DEFAULT b'101',
             k VARBINARY(9) DEFAULT x'00ff', l POINT, m VECTOR(3), n DOUBLE,
             PRIMARY KEY (b DESC, c), UNIQUE u (i(10)), KEY ((a + 1)))",
            "CREATE TABLE odd (a QUANTUM)",
            "CREATE VIEW v AS SELECT 1",
        ] {
            catalog.apply(statement.as_bytes(), &context).unwrap();
        }
        let mut bytes = Vec::new();
        catalog.encode(&mut bytes);
        assert_eq!(Catalog::decode(&bytes).unwrap(), catalog);
        for length in 0..bytes.len() {
            assert!(Catalog::decode(&bytes[..length]).is_err());
        }
    }
}
