//! The columns of a table map: their types, and how long a value of each is.
//!
//! A table map gives each column a type byte and 0 to 4 bytes of metadata. Here both become a
//! [`Column`], in which the length of a value is either fixed or a prefix of 1 to 4 bytes.

use super::reader::Reader;
use crate::{Error, ErrorKind, Result};

/// The type of a column, with ENUM and SET told apart from CHAR.
///
/// The types that the server stored before 5.6 (without fractions) are marked `Old`: they still
/// occur in tables that were never rebuilt and in old logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
#[non_exhaustive]
pub enum ColumnKind {
    TinyInt,
    SmallInt,
    MediumInt,
    Int,
    BigInt,
    Float,
    Double,
    Decimal,
    Bit,
    Year,
    Date,
    OldTime,
    OldDateTime,
    OldTimestamp,
    Time,
    DateTime,
    Timestamp,
    /// CHAR and BINARY; trailing padding is not in the log.
    Char,
    /// VARCHAR and VARBINARY.
    VarChar,
    /// TEXT and BLOB of every size.
    Blob,
    Enum,
    Set,
    Json,
    Geometry,
    Vector,
    /// The hidden column of a multi-valued index; only 8.0.17 logs it.
    TypedArray,
    /// A column of type NULL, as in CREATE TABLE ... SELECT NULL of old servers.
    Null,
}

/// The type numbers of table maps.
mod type_byte {
    pub(super) const TINY: u8 = 1;
    pub(super) const SHORT: u8 = 2;
    pub(super) const LONG: u8 = 3;
    pub(super) const FLOAT: u8 = 4;
    pub(super) const DOUBLE: u8 = 5;
    pub(super) const NULL: u8 = 6;
    pub(super) const TIMESTAMP: u8 = 7;
    pub(super) const LONGLONG: u8 = 8;
    pub(super) const INT24: u8 = 9;
    pub(super) const DATE: u8 = 10;
    pub(super) const TIME: u8 = 11;
    pub(super) const DATETIME: u8 = 12;
    pub(super) const YEAR: u8 = 13;
    pub(super) const NEWDATE: u8 = 14;
    pub(super) const VARCHAR: u8 = 15;
    pub(super) const BIT: u8 = 16;
    pub(super) const TIMESTAMP2: u8 = 17;
    pub(super) const DATETIME2: u8 = 18;
    pub(super) const TIME2: u8 = 19;
    pub(super) const TYPED_ARRAY: u8 = 20;
    pub(super) const VECTOR: u8 = 242;
    pub(super) const JSON: u8 = 245;
    pub(super) const NEWDECIMAL: u8 = 246;
    pub(super) const ENUM: u8 = 247;
    pub(super) const SET: u8 = 248;
    pub(super) const TINY_BLOB: u8 = 249;
    pub(super) const MEDIUM_BLOB: u8 = 250;
    pub(super) const LONG_BLOB: u8 = 251;
    pub(super) const BLOB: u8 = 252;
    pub(super) const VAR_STRING: u8 = 253;
    pub(super) const STRING: u8 = 254;
    pub(super) const GEOMETRY: u8 = 255;
}

/// How the length of a value is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Storage {
    /// Always this many bytes.
    Fixed(u8),
    /// A little-endian length of this many bytes, then the value.
    Prefixed(u8),
}

/// How a value is decoded: its type and where it ends, so that one decision tells both. Numbers are those
/// of the bytes of a value, or of its length prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Null,
    Int1,
    Int2,
    Int3,
    Int4,
    Int8,
    Float,
    Double,
    Year,
    Date,
    OldTime,
    OldDateTime,
    OldTimestamp,
    Time,
    DateTime5,
    DateTime8,
    DateTime,
    Timestamp4,
    Timestamp7,
    Timestamp,
    Decimal,
    Char,
    Bytes1,
    Bytes2,
    Bytes4,
    Bytes,
    Bit,
    Enum1,
    Enum,
    Set,
    Json,
    Geometry,
    Vector,
}

/// One column as the row events see it.
///
/// ```
/// use rejoin::binlog::{Column, ColumnKind, Value};
///
/// let column = Column::new(ColumnKind::Decimal, 10 << 8 | 4)?;
/// assert_eq!((column.precision(), column.scale()), (10, 4));
/// assert_eq!(column.value_length(&[0x80; 5])?, 5);
/// # Ok::<(), rejoin::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Column {
    /// The type.
    pub kind: ColumnKind,
    /// What the type needs to know: see [`Column::new`].
    pub meta: u32,
    /// UNSIGNED, from the table map's optional metadata (numbers and YEAR only). Servers before
    /// 8.0.1 do not say; then it is `None`.
    pub unsigned: Option<bool>,
    /// Whether NULL is allowed.
    pub nullable: bool,
    /// Collation number of character columns (63 = binary), and of ENUM and SET where the source
    /// writes full metadata.
    pub collation: Option<u16>,
    /// Name, where the source has `binlog_row_metadata=FULL`.
    pub name: Option<Box<[u8]>>,
    /// Names of the values of ENUM and SET, where the source has `binlog_row_metadata=FULL`.
    pub members: Option<Box<[Box<[u8]>]>>,
    /// Subtype of GEOMETRY: 0 any, 1 POINT, 2 LINESTRING, 3 POLYGON, 4 to 6 the MULTI forms of
    /// these, 7 GEOMETRYCOLLECTION.
    pub geometry_type: Option<u8>,
    /// Dimensions of VECTOR.
    pub dimensions: Option<u32>,
    /// Visibility, where the source has `binlog_row_metadata=FULL`.
    pub visible: Option<bool>,
    pub(super) storage: Storage,
    pub(super) form: Form,
}

impl Column {
    /// A column of `kind`; `meta` by kind:
    ///
    /// | kind | meta |
    /// |---|---|
    /// | Decimal | `precision << 8 \| scale` |
    /// | Bit | bits |
    /// | Time, DateTime, Timestamp | digits of the fraction, 0 to 6 |
    /// | Char, VarChar | largest length in bytes |
    /// | Enum, Set | bytes of a value: 1 or 2, 1 to 8 |
    /// | Blob, Json, Geometry, Vector, TypedArray | bytes of the length prefix, 1 to 4 |
    /// | others | 0 |
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`] where `meta` is out of its range.
    pub fn new(kind: ColumnKind, meta: u32) -> Result<Self> {
        let storage = storage(kind, meta).ok_or_else(|| {
            Error::new(
                ErrorKind::Malformed,
                format!("metadata {meta:#x} of a column of type {kind:?}"),
            )
        })?;
        Ok(Self {
            kind,
            meta,
            unsigned: None,
            nullable: true,
            collation: None,
            name: None,
            members: None,
            geometry_type: None,
            dimensions: None,
            visible: None,
            storage,
            form: form(kind, storage),
        })
    }

    /// Reads the metadata that belongs to the type byte `type_byte` and makes the column.
    pub(super) fn read(type_number: u8, metadata: &mut Reader<'_>) -> Result<Self> {
        let (kind, meta) = kind_and_meta(type_number, metadata)?;
        Self::new(kind, meta)
    }

    /// Precision of a DECIMAL.
    pub fn precision(&self) -> u8 {
        (self.meta >> 8) as u8
    }

    /// Digits behind the point of a DECIMAL.
    pub fn scale(&self) -> u8 {
        self.meta as u8
    }

    /// Whether it counts in the SIGNEDNESS bitmap of the optional metadata.
    pub(super) fn is_numeric(&self) -> bool {
        matches!(
            self.kind,
            ColumnKind::TinyInt
                | ColumnKind::SmallInt
                | ColumnKind::MediumInt
                | ColumnKind::Int
                | ColumnKind::BigInt
                | ColumnKind::Float
                | ColumnKind::Double
                | ColumnKind::Decimal
                | ColumnKind::Year
        )
    }

    /// Whether it counts in the charset lists of the optional metadata.
    pub(super) fn is_character(&self) -> bool {
        matches!(
            self.kind,
            ColumnKind::Char | ColumnKind::VarChar | ColumnKind::Blob | ColumnKind::Vector
        )
    }

    /// Whether it counts in the charset lists of ENUM and SET columns.
    pub(super) fn is_enum_or_set(&self) -> bool {
        matches!(self.kind, ColumnKind::Enum | ColumnKind::Set)
    }

    /// Length in bytes of the value at the front of `bytes`, its own length prefix included.
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`] where `bytes` ends before the value does.
    #[inline]
    pub fn value_length(&self, bytes: &[u8]) -> Result<usize> {
        let length = match self.storage {
            Storage::Fixed(length) => usize::from(length),
            Storage::Prefixed(width) => match read_length(width, bytes) {
                Some(length) => usize::from(width) + length,
                None => return Err(self.cut(bytes.len())),
            },
        };
        if length <= bytes.len() {
            Ok(length)
        } else {
            Err(self.cut(bytes.len()))
        }
    }

    /// The value without its length prefix.
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`] where `value` ends too early.
    #[inline]
    pub fn content<'a>(&self, value: &'a [u8]) -> Result<&'a [u8]> {
        match self.split(value) {
            Some((content, _)) => Ok(content),
            None => Err(self.cut(value.len())),
        }
    }

    /// The content of the value at the front of `bytes`, and what is behind the value.
    #[inline]
    pub(super) fn split<'a>(&self, bytes: &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
        match self.storage {
            Storage::Fixed(length) => bytes.split_at_checked(usize::from(length)),
            Storage::Prefixed(width) => match read_length(width, bytes) {
                Some(length) => bytes
                    .get(usize::from(width)..)
                    .and_then(|behind_prefix| behind_prefix.split_at_checked(length)),
                None => None,
            },
        }
    }

    #[cold]
    pub(super) fn cut(&self, left: usize) -> Error {
        Error::new(
            ErrorKind::Malformed,
            format!(
                "value of a {:?} column is longer than the {left} bytes that are left of the row",
                self.kind
            ),
        )
    }
}

#[inline]
pub(super) fn read_length(width: u8, bytes: &[u8]) -> Option<usize> {
    Some(match width {
        1 => usize::from(*bytes.first()?),
        2 => usize::from(u16::from_le_bytes(*bytes.first_chunk()?)),
        3 => {
            let [a, b, c] = *bytes.first_chunk()?;
            u32::from_le_bytes([a, b, c, 0]) as usize
        }
        _ => u32::from_le_bytes(*bytes.first_chunk()?) as usize,
    })
}

/// Bytes of a packed DECIMAL; `None` where the server has no such type.
pub(super) fn decimal_length(precision: u32, scale: u32) -> Option<u8> {
    const LEFTOVER: [u32; 10] = [0, 1, 1, 2, 2, 3, 3, 4, 4, 4];
    if precision == 0 || precision > 65 || scale > 30 || scale > precision {
        return None;
    }
    let whole = precision - scale;
    let bytes = |digits: u32| {
        LEFTOVER
            .get((digits % 9) as usize)
            .map(|leftover| digits / 9 * 4 + leftover)
    };
    Some((bytes(whole)? + bytes(scale)?) as u8)
}

fn storage(kind: ColumnKind, meta: u32) -> Option<Storage> {
    let fraction = || (meta <= 6).then(|| meta.div_ceil(2) as u8);
    let fixed = |length: u8| Some(Storage::Fixed(length));
    match kind {
        ColumnKind::Null => fixed(0),
        ColumnKind::TinyInt | ColumnKind::Year => fixed(1),
        ColumnKind::SmallInt => fixed(2),
        ColumnKind::MediumInt | ColumnKind::Date | ColumnKind::OldTime => fixed(3),
        ColumnKind::Int | ColumnKind::Float | ColumnKind::OldTimestamp => fixed(4),
        ColumnKind::BigInt | ColumnKind::Double | ColumnKind::OldDateTime => fixed(8),
        ColumnKind::Decimal => decimal_length(meta >> 8, meta & 0xff).map(Storage::Fixed),
        ColumnKind::Bit => (1..=64)
            .contains(&meta)
            .then(|| Storage::Fixed(meta.div_ceil(8) as u8)),
        ColumnKind::Time => fraction().map(|bytes| Storage::Fixed(3 + bytes)),
        ColumnKind::Timestamp => fraction().map(|bytes| Storage::Fixed(4 + bytes)),
        ColumnKind::DateTime => fraction().map(|bytes| Storage::Fixed(5 + bytes)),
        ColumnKind::Char | ColumnKind::VarChar => {
            (meta <= 0xffff).then_some(Storage::Prefixed(if meta > 255 { 2 } else { 1 }))
        }
        ColumnKind::Enum => matches!(meta, 1 | 2).then_some(Storage::Fixed(meta as u8)),
        ColumnKind::Set => matches!(meta, 1..=8).then_some(Storage::Fixed(meta as u8)),
        ColumnKind::Blob
        | ColumnKind::Json
        | ColumnKind::Geometry
        | ColumnKind::Vector
        | ColumnKind::TypedArray => matches!(meta, 1..=4).then_some(Storage::Prefixed(meta as u8)),
    }
}

fn form(kind: ColumnKind, storage: Storage) -> Form {
    match (kind, storage) {
        (ColumnKind::Null, _) => Form::Null,
        (ColumnKind::TinyInt, _) => Form::Int1,
        (ColumnKind::SmallInt, _) => Form::Int2,
        (ColumnKind::MediumInt, _) => Form::Int3,
        (ColumnKind::Int, _) => Form::Int4,
        (ColumnKind::BigInt, _) => Form::Int8,
        (ColumnKind::Float, _) => Form::Float,
        (ColumnKind::Double, _) => Form::Double,
        (ColumnKind::Decimal, _) => Form::Decimal,
        (ColumnKind::Bit, _) => Form::Bit,
        (ColumnKind::Year, _) => Form::Year,
        (ColumnKind::Date, _) => Form::Date,
        (ColumnKind::OldTime, _) => Form::OldTime,
        (ColumnKind::OldDateTime, _) => Form::OldDateTime,
        (ColumnKind::OldTimestamp, _) => Form::OldTimestamp,
        (ColumnKind::Time, _) => Form::Time,
        (ColumnKind::DateTime, Storage::Fixed(5)) => Form::DateTime5,
        (ColumnKind::DateTime, Storage::Fixed(8)) => Form::DateTime8,
        (ColumnKind::DateTime, _) => Form::DateTime,
        (ColumnKind::Timestamp, Storage::Fixed(4)) => Form::Timestamp4,
        (ColumnKind::Timestamp, Storage::Fixed(7)) => Form::Timestamp7,
        (ColumnKind::Timestamp, _) => Form::Timestamp,
        (ColumnKind::Char, _) => Form::Char,
        (ColumnKind::VarChar | ColumnKind::Blob, Storage::Prefixed(1)) => Form::Bytes1,
        (ColumnKind::VarChar | ColumnKind::Blob, Storage::Prefixed(2)) => Form::Bytes2,
        (ColumnKind::VarChar | ColumnKind::Blob, Storage::Prefixed(4)) => Form::Bytes4,
        (ColumnKind::VarChar | ColumnKind::Blob, _) => Form::Bytes,
        (ColumnKind::Enum, Storage::Fixed(1)) => Form::Enum1,
        (ColumnKind::Enum, _) => Form::Enum,
        (ColumnKind::Set, _) => Form::Set,
        (ColumnKind::Json | ColumnKind::TypedArray, _) => Form::Json,
        (ColumnKind::Geometry, _) => Form::Geometry,
        (ColumnKind::Vector, _) => Form::Vector,
    }
}

fn kind_and_meta(number: u8, metadata: &mut Reader<'_>) -> Result<(ColumnKind, u32)> {
    use type_byte as t;
    let byte = |metadata: &mut Reader<'_>| metadata.u8("column metadata").map(u32::from);
    Ok(match number {
        t::TINY => (ColumnKind::TinyInt, 0),
        t::SHORT => (ColumnKind::SmallInt, 0),
        t::INT24 => (ColumnKind::MediumInt, 0),
        t::LONG => (ColumnKind::Int, 0),
        t::LONGLONG => (ColumnKind::BigInt, 0),
        t::FLOAT => {
            float_size(byte(metadata)?, 4)?;
            (ColumnKind::Float, 0)
        }
        t::DOUBLE => {
            float_size(byte(metadata)?, 8)?;
            (ColumnKind::Double, 0)
        }
        t::NULL => (ColumnKind::Null, 0),
        t::TIMESTAMP => (ColumnKind::OldTimestamp, 0),
        t::DATETIME => (ColumnKind::OldDateTime, 0),
        t::TIME => (ColumnKind::OldTime, 0),
        t::DATE | t::NEWDATE => (ColumnKind::Date, 0),
        t::YEAR => (ColumnKind::Year, 0),
        t::TIMESTAMP2 => (ColumnKind::Timestamp, byte(metadata)?),
        t::DATETIME2 => (ColumnKind::DateTime, byte(metadata)?),
        t::TIME2 => (ColumnKind::Time, byte(metadata)?),
        t::VARCHAR | t::VAR_STRING => {
            let length = metadata.u16("column metadata")?;
            (ColumnKind::VarChar, u32::from(length))
        }
        t::BIT => {
            let bits = byte(metadata)?;
            let bytes = byte(metadata)?;
            if bits > 7 {
                return Err(metadata.malformed("BIT column with more than 7 odd bits"));
            }
            (ColumnKind::Bit, bytes * 8 + bits)
        }
        t::NEWDECIMAL => {
            let precision = byte(metadata)?;
            let scale = byte(metadata)?;
            (ColumnKind::Decimal, precision << 8 | scale)
        }
        t::BLOB => (ColumnKind::Blob, byte(metadata)?),
        t::JSON => (ColumnKind::Json, byte(metadata)?),
        t::GEOMETRY => (ColumnKind::Geometry, byte(metadata)?),
        t::VECTOR => (ColumnKind::Vector, byte(metadata)?),
        t::STRING => string_kind(byte(metadata)?, byte(metadata)?, metadata)?,
        t::ENUM | t::SET => {
            // Old servers could write the real type here, with the same two bytes as STRING.
            byte(metadata)?;
            let size = byte(metadata)?;
            let kind = if number == t::ENUM {
                ColumnKind::Enum
            } else {
                ColumnKind::Set
            };
            (kind, size)
        }
        t::TYPED_ARRAY => {
            typed_array_element(metadata)?;
            (ColumnKind::TypedArray, 4)
        }
        t::TINY_BLOB => (ColumnKind::Blob, 1),
        t::MEDIUM_BLOB => (ColumnKind::Blob, 3),
        t::LONG_BLOB => (ColumnKind::Blob, 4),
        _ => {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!("column of type {number} in a table map"),
            ));
        }
    })
}

fn float_size(size: u32, expected: u32) -> Result<()> {
    if size == expected {
        Ok(())
    } else {
        Err(Error::new(
            ErrorKind::Malformed,
            format!("floating-point column of {size} bytes, {expected} expected"),
        ))
    }
}

/// CHAR, ENUM and SET share one type byte; the first metadata byte has the real type, and two bits
/// of a length above 255, inverted.
fn string_kind(first: u32, second: u32, metadata: &Reader<'_>) -> Result<(ColumnKind, u32)> {
    if first & 0x30 != 0x30 {
        let length = second | ((first & 0x30) ^ 0x30) << 4;
        return match (first | 0x30) as u8 {
            type_byte::STRING => Ok((ColumnKind::Char, length)),
            real => Err(metadata.malformed(format_args!("string column of real type {real}"))),
        };
    }
    match first as u8 {
        type_byte::STRING => Ok((ColumnKind::Char, second)),
        type_byte::VAR_STRING | type_byte::VARCHAR => Ok((ColumnKind::VarChar, second)),
        type_byte::ENUM => Ok((ColumnKind::Enum, second)),
        type_byte::SET => Ok((ColumnKind::Set, second)),
        real => Err(metadata.malformed(format_args!("string column of real type {real}"))),
    }
}

/// Passes over the metadata of a multi-valued index's element type.
fn typed_array_element(metadata: &mut Reader<'_>) -> Result<()> {
    use type_byte as t;
    let length = match metadata.u8("element type")? {
        // A length of three bytes, since an element may be longer than a column.
        t::VARCHAR | t::VAR_STRING => 3,
        t::NEWDECIMAL => 2,
        t::TIMESTAMP2 | t::DATETIME2 | t::TIME2 | t::FLOAT | t::DOUBLE => 1,
        _ => 0,
    };
    metadata.take(length, "element metadata").map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(number: u8, metadata: &[u8]) -> Result<Column> {
        let mut reader = Reader::new(metadata);
        let column = Column::read(number, &mut reader)?;
        assert!(reader.is_empty());
        Ok(column)
    }

    #[test]
    fn the_length_of_a_long_char_hides_in_the_type() {
        let column = read(254, &[0xee, 0xfc]).unwrap();
        assert_eq!((column.kind, column.meta), (ColumnKind::Char, 0x1fc));
        assert_eq!(column.value_length(&[2, 0, b'a', b'b', b'c']).unwrap(), 4);
        let column = read(254, &[254, 40]).unwrap();
        assert_eq!((column.kind, column.meta), (ColumnKind::Char, 40));
    }

    #[test]
    fn enum_and_set_are_told_apart_from_char() {
        assert_eq!(read(254, &[247, 1]).unwrap().kind, ColumnKind::Enum);
        assert_eq!(read(254, &[248, 8]).unwrap().kind, ColumnKind::Set);
        assert!(read(254, &[248, 9]).is_err());
        assert!(read(254, &[247, 3]).is_err());
    }

    #[test]
    fn metadata_out_of_range_is_refused() {
        assert!(read(246, &[66, 0]).is_err());
        assert!(read(246, &[10, 11]).is_err());
        assert!(read(18, &[7]).is_err());
        assert!(read(252, &[0]).is_err());
        assert!(read(252, &[5]).is_err());
        assert!(read(16, &[1, 8]).is_err());
        assert!(read(4, &[8]).is_err());
        assert!(read(100, &[]).is_err());
    }

    #[test]
    fn bits_fill_whole_bytes() {
        let column = read(16, &[5, 1]).unwrap();
        assert_eq!(column.meta, 13);
        assert_eq!(column.value_length(&[0; 2]).unwrap(), 2);
    }

    #[test]
    fn decimals_take_four_bytes_for_nine_digits() {
        assert_eq!(decimal_length(10, 4), Some(5));
        assert_eq!(decimal_length(65, 30), Some(16 + 14));
        assert_eq!(decimal_length(9, 0), Some(4));
        assert_eq!(decimal_length(1, 1), Some(1));
    }
}
