//! Declared types, and the physical column that each becomes in the log.
//!
//! | declared | logged as | meta |
//! |---|---|---|
//! | CHAR(n), BINARY(n) | STRING | n times the bytes of the widest character |
//! | VARCHAR(n), VARBINARY(n) | VARCHAR | the same |
//! | TINYTEXT, TEXT, MEDIUMTEXT, LONGTEXT and BLOBs | BLOB | bytes of the length: 1 to 4 |
//! | ENUM of up to 255 and of more members | STRING with real type ENUM | 1, 2 |
//! | SET of up to 8, 16, 24, 32, 64 members | STRING with real type SET | 1, 2, 3, 4, 8 |
//! | TIME, DATETIME, TIMESTAMP with fraction | the `2` types of 5.6 | digits of the fraction |

use crate::binlog::{Column, ColumnKind};

use super::charset;
use super::definition::{ColumnDefinition, Unclassified};

/// A type as CREATE TABLE writes it, synonyms resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
#[non_exhaustive]
pub enum DataType {
    TinyInt,
    SmallInt,
    MediumInt,
    Int,
    BigInt,
    /// Precision and scale.
    Decimal(u8, u8),
    /// Digits and decimals of the old `FLOAT(m,d)`, with which values print.
    Float(Option<(u8, u8)>),
    /// Digits and decimals of the old `DOUBLE(m,d)`.
    Double(Option<(u8, u8)>),
    /// Bits.
    Bit(u8),
    Year,
    Date,
    /// Digits of the fraction.
    Time(u8),
    /// Digits of the fraction.
    DateTime(u8),
    /// Digits of the fraction.
    Timestamp(u8),
    /// Characters.
    Char(u32),
    /// Characters.
    VarChar(u32),
    /// Bytes.
    Binary(u32),
    /// Bytes.
    VarBinary(u32),
    /// TINYTEXT to LONGTEXT: bytes of the length, 1 to 4.
    Text(u8),
    /// TINYBLOB to LONGBLOB: bytes of the length, 1 to 4.
    Blob(u8),
    /// The members in order, in UTF-8.
    Enum(Vec<String>),
    /// The members in order, in UTF-8.
    Set(Vec<String>),
    Json,
    /// Subtype: 0 any, 1 POINT, 2 LINESTRING, 3 POLYGON, 4 to 6 their MULTI forms, 7 GEOMETRYCOLLECTION.
    Geometry(u8),
    /// Dimensions.
    Vector(u32),
    /// The forms without fraction of servers before 5.6, from a table map only.
    OldTime,
    OldDateTime,
    OldTimestamp,
    /// Anything else that only a table map could tell.
    Other,
}

impl DataType {
    /// Whether a character set belongs to it.
    pub fn is_text(&self) -> bool {
        matches!(
            self,
            Self::Char(_) | Self::VarChar(_) | Self::Text(_) | Self::Enum(_) | Self::Set(_)
        )
    }

    /// Whether it is an integer.
    pub fn is_integer(&self) -> bool {
        matches!(
            self,
            Self::TinyInt | Self::SmallInt | Self::MediumInt | Self::Int | Self::BigInt
        )
    }

    /// Whether UNSIGNED can stand behind it.
    pub(crate) fn is_number(&self) -> bool {
        self.is_integer() || matches!(self, Self::Decimal(..) | Self::Float(_) | Self::Double(_))
    }

    /// The type that a table map alone shows. Lengths of text are in bytes there: they are taken for
    /// characters of one byte where the collation is not known.
    pub(crate) fn from_physical(column: &Column) -> Self {
        let max_bytes = column
            .collation
            .and_then(charset::by_id)
            .map_or(1, |collation| u32::from(collation.max_bytes).max(1));
        let binary = column.collation == Some(charset::BINARY);
        let members = || {
            let members = column.members.iter().flatten();
            members
                .map(|member| String::from_utf8_lossy(member).into_owned())
                .collect()
        };
        let meta = column.meta;
        match column.kind {
            ColumnKind::TinyInt => Self::TinyInt,
            ColumnKind::SmallInt => Self::SmallInt,
            ColumnKind::MediumInt => Self::MediumInt,
            ColumnKind::Int => Self::Int,
            ColumnKind::BigInt => Self::BigInt,
            ColumnKind::Float => Self::Float(None),
            ColumnKind::Double => Self::Double(None),
            ColumnKind::Decimal => Self::Decimal(column.precision(), column.scale()),
            ColumnKind::Bit => Self::Bit(meta as u8),
            ColumnKind::Year => Self::Year,
            ColumnKind::Date => Self::Date,
            ColumnKind::OldTime => Self::OldTime,
            ColumnKind::OldDateTime => Self::OldDateTime,
            ColumnKind::OldTimestamp => Self::OldTimestamp,
            ColumnKind::Time => Self::Time(meta as u8),
            ColumnKind::DateTime => Self::DateTime(meta as u8),
            ColumnKind::Timestamp => Self::Timestamp(meta as u8),
            ColumnKind::Char if binary => Self::Binary(meta),
            ColumnKind::Char => Self::Char(meta / max_bytes),
            ColumnKind::VarChar if binary => Self::VarBinary(meta),
            ColumnKind::VarChar => Self::VarChar(meta / max_bytes),
            ColumnKind::Blob if binary => Self::Blob(meta as u8),
            ColumnKind::Blob => Self::Text(meta as u8),
            ColumnKind::Enum => Self::Enum(members()),
            ColumnKind::Set => Self::Set(members()),
            ColumnKind::Json => Self::Json,
            ColumnKind::Geometry => Self::Geometry(column.geometry_type.unwrap_or(0)),
            ColumnKind::Vector => Self::Vector(column.dimensions.unwrap_or(0)),
            _ => Self::Other,
        }
    }
}

impl ColumnDefinition {
    /// The physical column that the declaration makes.
    pub(crate) fn declared_physical(&self) -> Result<Column, Unclassified> {
        let characters = |length: u32| {
            let max_bytes = charset::by_id(self.collation).map_or(1, |c| u32::from(c.max_bytes));
            length.saturating_mul(max_bytes)
        };
        let (kind, meta) = match &self.data_type {
            DataType::TinyInt => (ColumnKind::TinyInt, 0),
            DataType::SmallInt => (ColumnKind::SmallInt, 0),
            DataType::MediumInt => (ColumnKind::MediumInt, 0),
            DataType::Int => (ColumnKind::Int, 0),
            DataType::BigInt => (ColumnKind::BigInt, 0),
            DataType::Decimal(precision, scale) => (
                ColumnKind::Decimal,
                u32::from(*precision) << 8 | u32::from(*scale),
            ),
            DataType::Float(_) => (ColumnKind::Float, 0),
            DataType::Double(_) => (ColumnKind::Double, 0),
            DataType::Bit(bits) => (ColumnKind::Bit, u32::from(*bits)),
            DataType::Year => (ColumnKind::Year, 0),
            DataType::Date => (ColumnKind::Date, 0),
            DataType::Time(fraction) => (ColumnKind::Time, u32::from(*fraction)),
            DataType::DateTime(fraction) => (ColumnKind::DateTime, u32::from(*fraction)),
            DataType::Timestamp(fraction) => (ColumnKind::Timestamp, u32::from(*fraction)),
            DataType::Char(length) => (ColumnKind::Char, characters(*length)),
            DataType::VarChar(length) => (ColumnKind::VarChar, characters(*length)),
            DataType::Binary(length) => (ColumnKind::Char, *length),
            DataType::VarBinary(length) => (ColumnKind::VarChar, *length),
            DataType::Text(width) | DataType::Blob(width) => (ColumnKind::Blob, u32::from(*width)),
            DataType::Enum(members) => (ColumnKind::Enum, if members.len() < 256 { 1 } else { 2 }),
            DataType::Set(members) => (
                ColumnKind::Set,
                match members.len() {
                    0..9 => 1,
                    9..17 => 2,
                    17..25 => 3,
                    25..33 => 4,
                    _ => 8,
                },
            ),
            DataType::Json => (ColumnKind::Json, 4),
            DataType::Geometry(_) => (ColumnKind::Geometry, 4),
            DataType::Vector(_) => (ColumnKind::Vector, 4),
            DataType::OldTime => (ColumnKind::OldTime, 0),
            DataType::OldDateTime => (ColumnKind::OldDateTime, 0),
            DataType::OldTimestamp => (ColumnKind::OldTimestamp, 0),
            DataType::Other => return Err(Unclassified::new("type without a declaration")),
        };
        let mut column =
            Column::new(kind, meta).map_err(|error| Unclassified::new(error.message()))?;
        column.nullable = self.nullable;
        if self.data_type.is_number() {
            column.unsigned = Some(self.unsigned);
        }
        // As in table maps: ENUM and SET have no collation there unless the source writes everything.
        if matches!(
            kind,
            ColumnKind::Char | ColumnKind::VarChar | ColumnKind::Blob | ColumnKind::Vector
        ) {
            column.collation = Some(self.collation);
        }
        if let DataType::Geometry(subtype) = self.data_type {
            column.geometry_type = Some(subtype);
        }
        if let DataType::Vector(dimensions) = self.data_type {
            column.dimensions = Some(dimensions);
        }
        Ok(column)
    }
}
