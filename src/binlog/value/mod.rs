//! Column values: from the bytes in a row to typed values, and to the text that MySQL prints.

mod decimal;
mod float;
mod temporal;
mod text;

pub use decimal::Decimal;
pub(crate) use float::write_double;
pub use temporal::{Date, DateTime, Time, Timestamp};
pub use text::{TextStyle, write_escaped};

use super::column::{Form, read_length};
use super::{Column, JsonDocument};
use crate::Result;

/// A value of a column. Bytes are borrowed from the row.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Value<'a> {
    /// NULL.
    Null,
    /// An integer that may be below zero; also every integer of a source before 8.0.1, which does
    /// not say whether its columns are UNSIGNED.
    Int(i64),
    /// An UNSIGNED integer.
    UnsignedInt(u64),
    /// FLOAT.
    Float(f32),
    /// DOUBLE.
    Double(f64),
    /// DECIMAL.
    Decimal(Decimal<'a>),
    /// BIT: big-endian, as many whole bytes as it takes.
    Bit(&'a [u8]),
    /// YEAR; 0 for `0000`.
    Year(u16),
    /// DATE.
    Date(Date),
    /// TIME.
    Time(Time),
    /// DATETIME.
    DateTime(DateTime),
    /// TIMESTAMP.
    Timestamp(Timestamp),
    /// CHAR, VARCHAR, TEXT in the column's character set, VARBINARY, BLOB.
    Bytes(&'a [u8]),
    /// BINARY: zero bytes belong behind `bytes` up to `length`, the log leaves them out.
    Binary {
        /// The bytes in the log.
        bytes: &'a [u8],
        /// The length of the column.
        length: u16,
    },
    /// ENUM: the member's number, from 1; 0 for the empty string of an invalid value.
    Enum(u16),
    /// SET: bit n for member n + 1.
    Set(u64),
    /// JSON.
    Json(JsonDocument<'a>),
    /// GEOMETRY: a little-endian SRID, then WKB.
    Geometry(&'a [u8]),
    /// VECTOR: little-endian 32-bit floats.
    Vector(&'a [u8]),
}

/// The collation of binary strings.
const BINARY_COLLATION: u16 = 63;

impl Column {
    /// The value at the front of `bytes`, which begin with the value's length prefix where its type
    /// has one (as a [`Cell`](super::Cell) has them).
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`] where `bytes` are too few.
    #[inline]
    pub fn decode<'a>(&self, bytes: &'a [u8]) -> Result<Value<'a>> {
        let mut found = Value::Null;
        match self.pass(bytes, |value| found = value) {
            Ok(_) => Ok(found),
            Err(error) => Err(error),
        }
    }

    /// Gives the value at the front of `bytes` to `each`, and returns what is behind it.
    ///
    /// One decision for each value: the form says both how long it is and what its bytes mean. And every
    /// form calls `each` for itself: where their values met, each would be put together from its bytes.
    #[inline]
    pub(super) fn pass<'a>(
        &self,
        bytes: &'a [u8],
        each: impl FnOnce(Value<'a>),
    ) -> Result<&'a [u8]> {
        let behind = match self.form {
            Form::Null => {
                each(Value::Null);
                Some(bytes)
            }
            Form::Int1 => front(bytes, |[a]| each(self.integer(u64::from(a), 1))),
            Form::Int2 => front(bytes, |bytes| {
                each(self.integer(u64::from(u16::from_le_bytes(bytes)), 2));
            }),
            Form::Int3 => front(bytes, |[a, b, c]| {
                each(self.integer(u64::from(u32::from_le_bytes([a, b, c, 0])), 3));
            }),
            Form::Int4 => front(bytes, |bytes| {
                each(self.integer(u64::from(u32::from_le_bytes(bytes)), 4));
            }),
            Form::Int8 => front(bytes, |bytes| {
                each(self.integer(u64::from_le_bytes(bytes), 8));
            }),
            Form::Float => front(bytes, |bytes| {
                each(Value::Float(f32::from_le_bytes(bytes)));
            }),
            Form::Double => front(bytes, |bytes| {
                each(Value::Double(f64::from_le_bytes(bytes)));
            }),
            Form::Year => front(bytes, |[year]| {
                each(Value::Year(match year {
                    0 => 0,
                    year => 1900 + u16::from(year),
                }));
            }),
            Form::Date => front(bytes, |bytes| each(Value::Date(Date::from_packed(bytes)))),
            Form::OldTime => front(bytes, |bytes| each(Value::Time(Time::from_old(bytes)))),
            Form::OldDateTime => front(bytes, |bytes| {
                each(Value::DateTime(DateTime::from_old(u64::from_le_bytes(
                    bytes,
                ))));
            }),
            Form::OldTimestamp => front(bytes, |bytes| {
                each(Value::Timestamp(Timestamp {
                    seconds: u32::from_le_bytes(bytes),
                    microseconds: 0,
                    fraction_digits: 0,
                }));
            }),
            Form::DateTime5 => front(bytes, |content: [u8; 5]| each(self.date_time(&content))),
            Form::DateTime8 => front(bytes, |content: [u8; 8]| each(self.date_time(&content))),
            Form::DateTime => self.with_content(bytes, |content| each(self.date_time(content))),
            Form::Timestamp4 => front(bytes, |content: [u8; 4]| each(self.timestamp(&content))),
            Form::Timestamp7 => front(bytes, |content: [u8; 7]| each(self.timestamp(&content))),
            Form::Timestamp => self.with_content(bytes, |content| each(self.timestamp(content))),
            Form::Time => self.with_content(bytes, |content| {
                each(Value::Time(Time::from_packed(content, self.meta as u8)));
            }),
            Form::Decimal => self.with_content(bytes, |content| {
                each(Value::Decimal(Decimal {
                    bytes: content,
                    precision: self.precision(),
                    scale: self.scale(),
                }));
            }),
            Form::Char if self.collation == Some(BINARY_COLLATION) => {
                self.with_content(bytes, |content| {
                    each(Value::Binary {
                        bytes: content,
                        length: self.meta as u16,
                    });
                })
            }
            Form::Bytes1 => prefixed::<1>(bytes, |content| each(Value::Bytes(content))),
            Form::Bytes2 => prefixed::<2>(bytes, |content| each(Value::Bytes(content))),
            Form::Bytes4 => prefixed::<4>(bytes, |content| each(Value::Bytes(content))),
            Form::Char | Form::Bytes => {
                self.with_content(bytes, |content| each(Value::Bytes(content)))
            }
            Form::Bit => self.with_content(bytes, |content| each(Value::Bit(content))),
            Form::Enum1 => front(bytes, |[a]| each(Value::Enum(u16::from(a)))),
            Form::Enum => self.with_content(bytes, |content| {
                each(Value::Enum(unsigned(content) as u16));
            }),
            Form::Set => self.with_content(bytes, |content| {
                each(Value::Set(unsigned(content)));
            }),
            Form::Json => self.with_content(bytes, |content| {
                each(Value::Json(JsonDocument::new(content)));
            }),
            Form::Geometry => self.with_content(bytes, |content| each(Value::Geometry(content))),
            Form::Vector => self.with_content(bytes, |content| each(Value::Vector(content))),
        };
        match behind {
            Some(behind) => Ok(behind),
            None => Err(self.cut(bytes.len())),
        }
    }

    /// Looks at the content of the value at the front of `bytes`, and returns what is behind it.
    #[inline]
    fn with_content<'a>(&self, bytes: &'a [u8], look: impl FnOnce(&'a [u8])) -> Option<&'a [u8]> {
        match self.split(bytes) {
            Some((content, behind)) => {
                look(content);
                Some(behind)
            }
            None => None,
        }
    }

    #[inline]
    fn date_time(&self, content: &[u8]) -> Value<'static> {
        Value::DateTime(DateTime::from_packed(content, self.meta as u8))
    }

    #[inline]
    fn timestamp(&self, content: &[u8]) -> Value<'static> {
        Value::Timestamp(Timestamp::from_packed(content, self.meta as u8))
    }

    /// An integer of `length` bytes.
    #[inline]
    fn integer(&self, number: u64, length: u32) -> Value<'static> {
        if self.unsigned == Some(true) {
            Value::UnsignedInt(number)
        } else {
            let unused = 64 - 8 * length;
            Value::Int((number << unused) as i64 >> unused)
        }
    }
}

/// Looks at the first `N` bytes, and returns what is behind them.
#[inline]
fn front<const N: usize>(bytes: &[u8], look: impl FnOnce([u8; N])) -> Option<&[u8]> {
    match bytes.split_first_chunk() {
        Some((front, behind)) => {
            look(*front);
            Some(behind)
        }
        None => None,
    }
}

/// Looks at the content behind a length of `WIDTH` bytes, and returns what is behind it.
#[inline]
fn prefixed<'a, const WIDTH: u8>(bytes: &'a [u8], look: impl FnOnce(&'a [u8])) -> Option<&'a [u8]> {
    let length = read_length(WIDTH, bytes)?;
    let (content, behind) = bytes.get(usize::from(WIDTH)..)?.split_at_checked(length)?;
    look(content);
    Some(behind)
}

/// Little-endian number of up to 8 bytes.
#[inline]
fn unsigned(bytes: &[u8]) -> u64 {
    match *bytes {
        [a] => u64::from(a),
        [a, b] => u64::from(u16::from_le_bytes([a, b])),
        [a, b, c, d] => u64::from(u32::from_le_bytes([a, b, c, d])),
        [a, b, c, d, e, f, g, h] => u64::from_le_bytes([a, b, c, d, e, f, g, h]),
        _ => bytes
            .iter()
            .take(8)
            .rev()
            .fold(0, |number, byte| number << 8 | u64::from(*byte)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::binlog::ColumnKind;

    fn integer(kind: ColumnKind, is_unsigned: bool, bytes: &[u8]) -> Value<'_> {
        let mut column = Column::new(kind, 0).unwrap();
        column.unsigned = Some(is_unsigned);
        column.decode(bytes).unwrap()
    }

    #[test]
    fn integers_of_every_width_keep_their_sign() {
        assert_eq!(integer(ColumnKind::TinyInt, false, &[0xfb]), Value::Int(-5));
        assert_eq!(
            integer(ColumnKind::TinyInt, true, &[200]),
            Value::UnsignedInt(200)
        );
        assert_eq!(
            integer(ColumnKind::MediumInt, false, &[0x90, 0xee, 0xfe]),
            Value::Int(-70_000)
        );
        assert_eq!(
            integer(ColumnKind::MediumInt, true, &[0, 0x24, 0xf4]),
            Value::UnsignedInt(16_000_000)
        );
        assert_eq!(
            integer(ColumnKind::BigInt, true, &[0xff; 8]),
            Value::UnsignedInt(u64::MAX)
        );
        assert_eq!(
            integer(ColumnKind::BigInt, false, &[0xff; 8]),
            Value::Int(-1)
        );
    }

    #[test]
    fn a_value_needs_all_its_bytes() {
        let column = Column::new(ColumnKind::VarChar, 20).unwrap();
        assert_eq!(column.decode(b"\x02abc").unwrap(), Value::Bytes(b"ab"));
        assert!(column.decode(b"\x04abc").is_err());
        assert!(column.decode(b"").is_err());
        let column = Column::new(ColumnKind::Double, 0).unwrap();
        assert!(column.decode(&[0; 7]).is_err());
    }
}
