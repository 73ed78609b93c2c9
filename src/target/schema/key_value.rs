//! Values that a host looks rows up by.

use super::decimal::Decimal;
use super::definition::ColumnDefinition;
use super::value::Plain;

/// The value of a key column: a number for columns of numbers, text for all others and for whatever has a
/// text form (`2026-11-21`, `1.25`, the name of an ENUM's member; a TIMESTAMP in UTC), bytes for BINARY,
/// VARBINARY and BLOB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyValue<'a> {
    /// An integer.
    Integer(i128),
    /// A text in UTF-8.
    Text(&'a str),
    /// Bytes.
    Bytes(&'a [u8]),
}

macro_rules! integers {
    ($($integer:ty),*) => {$(
        impl From<$integer> for KeyValue<'_> {
            fn from(value: $integer) -> Self {
                Self::Integer(value.into())
            }
        }
    )*};
}

integers!(i32, u32, i64, u64);

impl<'a> From<&'a str> for KeyValue<'a> {
    fn from(value: &'a str) -> Self {
        Self::Text(value)
    }
}

impl<'a> From<&'a [u8]> for KeyValue<'a> {
    fn from(value: &'a [u8]) -> Self {
        Self::Bytes(value)
    }
}

impl ColumnDefinition {
    /// The value as it stands in a row image; the error says why it is none of the column's.
    pub(crate) fn pack(&self, value: &KeyValue<'_>) -> Result<Vec<u8>, String> {
        let value = match *value {
            KeyValue::Integer(number) => Plain::Exact(Decimal::from_integer(number)),
            KeyValue::Text(text) => Plain::Text(text.to_owned()),
            KeyValue::Bytes(bytes) => Plain::Bytes(bytes.to_vec()),
        };
        self.write_in_utc(&value)
    }
}
