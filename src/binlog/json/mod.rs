//! JSON documents in the server's binary form.
//!
//! ```text
//! document   type byte, value
//! object     count | size | count * (key offset | u16 key length) | count * entry | keys | values
//! array      count | size | count * entry | values
//! entry      type byte | offset of the value, or the value itself where it is small enough
//! ```
//!
//! `count`, `size` and offsets take 2 bytes in the small form and 4 in the large one; offsets and
//! size count from the `count` field. Keys are sorted by length, then by bytes. Holes are legal: an
//! update in place may leave some.

mod diff;
mod parse;
mod text;
mod tree;

pub use diff::{JsonDiff, JsonOperation, json_diffs};
pub(crate) use parse::document_from_text;

use super::reader::Reader;
use crate::{Error, ErrorKind, Limits, Result};

/// Type bytes.
mod tag {
    pub(super) const SMALL_OBJECT: u8 = 0x00;
    pub(super) const LARGE_OBJECT: u8 = 0x01;
    pub(super) const SMALL_ARRAY: u8 = 0x02;
    pub(super) const LARGE_ARRAY: u8 = 0x03;
    pub(super) const LITERAL: u8 = 0x04;
    pub(super) const INT16: u8 = 0x05;
    pub(super) const UINT16: u8 = 0x06;
    pub(super) const INT32: u8 = 0x07;
    pub(super) const UINT32: u8 = 0x08;
    pub(super) const INT64: u8 = 0x09;
    pub(super) const UINT64: u8 = 0x0a;
    pub(super) const DOUBLE: u8 = 0x0b;
    pub(super) const STRING: u8 = 0x0c;
    pub(super) const OPAQUE: u8 = 0x0f;
}

/// A JSON document as it stands in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JsonDocument<'a> {
    bytes: &'a [u8],
}

/// A value in a JSON document.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum JsonValue<'a> {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// An integer below zero, or one that was stored as signed.
    Int(i64),
    /// An integer that was stored as unsigned.
    UnsignedInt(u64),
    /// A floating-point number.
    Double(f64),
    /// A string, in utf8mb4.
    String(&'a [u8]),
    /// An array.
    Array(JsonContainer<'a>),
    /// An object.
    Object(JsonContainer<'a>),
    /// A value of another type of the server, by its type number: DECIMAL, dates, binary strings.
    Opaque {
        /// The server's type number.
        type_number: u8,
        /// The value.
        data: &'a [u8],
    },
}

/// An array or object. Members are found by their place; nothing is parsed before it is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JsonContainer<'a> {
    /// From the `count` field to the end of the container.
    bytes: &'a [u8],
    count: usize,
    is_large: bool,
    is_object: bool,
}

impl<'a> JsonDocument<'a> {
    /// The document of a JSON column; no bytes at all stand for the literal `null`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// The bytes in the row.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The outermost value.
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`].
    pub fn root(&self) -> Result<JsonValue<'a>> {
        match self.bytes.split_first() {
            None => Ok(JsonValue::Null),
            Some((tag, value)) => JsonValue::read(*tag, value),
        }
    }

    /// Appends the document as the server prints it: `{"a": 1, "b": [1, 2]}`.
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`]; [`ErrorKind::Limit`] where it is nested deeper than `limits` allow.
    pub fn write_text(&self, limits: &Limits, out: &mut Vec<u8>) -> Result<()> {
        let root = self.root()?;
        let size = match root {
            // What lies behind the outermost container belongs to nothing.
            JsonValue::Array(container) | JsonValue::Object(container) => container.bytes.len(),
            _ => self.bytes.len(),
        };
        text::Printer::new(size, limits).value(root, out)
    }
}

impl<'a> JsonValue<'a> {
    /// Reads a value that is not inlined, with its type byte.
    fn read(tag_byte: u8, bytes: &'a [u8]) -> Result<Self> {
        let mut reader = Reader::new(bytes);
        Ok(match tag_byte {
            tag::SMALL_OBJECT | tag::LARGE_OBJECT => Self::Object(JsonContainer::read(
                tag_byte == tag::LARGE_OBJECT,
                true,
                bytes,
            )?),
            tag::SMALL_ARRAY | tag::LARGE_ARRAY => Self::Array(JsonContainer::read(
                tag_byte == tag::LARGE_ARRAY,
                false,
                bytes,
            )?),
            tag::LITERAL => literal(u32::from(reader.u8("JSON literal")?))?,
            tag::INT16 => Self::Int(i64::from(reader.u16("JSON number")? as i16)),
            tag::UINT16 => Self::UnsignedInt(u64::from(reader.u16("JSON number")?)),
            tag::INT32 => Self::Int(i64::from(reader.u32("JSON number")? as i32)),
            tag::UINT32 => Self::UnsignedInt(u64::from(reader.u32("JSON number")?)),
            tag::INT64 => Self::Int(reader.u64("JSON number")? as i64),
            tag::UINT64 => Self::UnsignedInt(reader.u64("JSON number")?),
            tag::DOUBLE => Self::Double(f64::from_bits(reader.u64("JSON number")?)),
            tag::STRING => Self::String(counted(&mut reader)?),
            tag::OPAQUE => Self::Opaque {
                type_number: reader.u8("type of an opaque JSON value")?,
                data: counted(&mut reader)?,
            },
            other => {
                return Err(malformed(format_args!("value of type {other:#04x}")));
            }
        })
    }
}

fn literal<'a>(number: u32) -> Result<JsonValue<'a>> {
    match number {
        0 => Ok(JsonValue::Null),
        1 => Ok(JsonValue::Bool(true)),
        2 => Ok(JsonValue::Bool(false)),
        other => Err(malformed(format_args!("literal {other}"))),
    }
}

/// A length of 1 to 5 bytes, 7 bits in each, lowest first, and as many bytes.
fn counted<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8]> {
    let mut length = 0u64;
    for shift in [0, 7, 14, 21, 28] {
        let byte = reader.u8("JSON length")?;
        length |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            if length > u64::from(u32::MAX) {
                break;
            }
            return reader.take_u64(length, "JSON string");
        }
    }
    Err(malformed("length of more than 32 bits"))
}

#[cold]
fn malformed(what: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Malformed, format!("JSON document: {what}"))
}

impl<'a> JsonContainer<'a> {
    fn read(is_large: bool, is_object: bool, bytes: &'a [u8]) -> Result<Self> {
        let mut reader = Reader::new(bytes);
        let (count, size) = if is_large {
            (reader.u32("JSON count")?, reader.u32("JSON size")?)
        } else {
            (
                u32::from(reader.u16("JSON count")?),
                u32::from(reader.u16("JSON size")?),
            )
        };
        let container = Self {
            bytes: bytes.get(..size as usize).ok_or_else(|| {
                malformed(format_args!(
                    "container of {size} bytes where {} are left",
                    bytes.len()
                ))
            })?,
            count: count as usize,
            is_large,
            is_object,
        };
        let head = container
            .entry_width()
            .checked_mul(container.count)
            .and_then(|entries| entries.checked_add(2 * container.offset_width()));
        match head {
            Some(head) if head <= size as usize => Ok(container),
            _ => Err(malformed(format_args!(
                "container of {size} bytes for {count} members"
            ))),
        }
    }

    /// Number of members.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is no member.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether its members have keys.
    pub fn is_object(&self) -> bool {
        self.is_object
    }

    fn offset_width(&self) -> usize {
        if self.is_large { 4 } else { 2 }
    }

    fn key_entry_width(&self) -> usize {
        if self.is_object {
            self.offset_width() + 2
        } else {
            0
        }
    }

    /// Of the entries of key and value together.
    fn entry_width(&self) -> usize {
        self.key_entry_width() + 1 + self.offset_width()
    }

    fn offset(&self, reader: &mut Reader<'_>) -> Result<usize> {
        if self.is_large {
            reader.u32("JSON offset").map(|offset| offset as usize)
        } else {
            reader.u16("JSON offset").map(usize::from)
        }
    }

    #[cold]
    fn out_of_bounds(&self, offset: usize) -> Error {
        malformed(format_args!(
            "offset {offset} in a container of {} bytes",
            self.bytes.len()
        ))
    }

    #[cold]
    fn no_member(&self, index: usize) -> Error {
        malformed(format_args!("member {index} of {}", self.count))
    }

    /// The key of member `index` of an object.
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`] where the document is damaged, there is no such member, or this is
    /// an array.
    pub fn key(&self, index: usize) -> Result<&'a [u8]> {
        if index >= self.count || !self.is_object {
            return Err(self.no_member(index));
        }
        let at = 2 * self.offset_width() + index * self.key_entry_width();
        let mut reader = Reader::at(self.bytes, at)?;
        let offset = self.offset(&mut reader)?;
        let length = usize::from(reader.u16("JSON key length")?);
        self.bytes
            .get(offset..offset + length)
            .ok_or_else(|| self.out_of_bounds(offset))
    }

    /// The value of member `index`.
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`] where the document is damaged or there is no such member.
    pub fn value(&self, index: usize) -> Result<JsonValue<'a>> {
        if index >= self.count {
            return Err(self.no_member(index));
        }
        let at = 2 * self.offset_width()
            + self.count * self.key_entry_width()
            + index * (1 + self.offset_width());
        let mut reader = Reader::at(self.bytes, at)?;
        let tag_byte = reader.u8("JSON type")?;
        match tag_byte {
            tag::LITERAL => return literal(self.offset(&mut reader)? as u32),
            tag::INT16 => {
                return Ok(JsonValue::Int(i64::from(reader.u16("JSON number")? as i16)));
            }
            tag::UINT16 => {
                return Ok(JsonValue::UnsignedInt(u64::from(
                    reader.u16("JSON number")?,
                )));
            }
            tag::INT32 if self.is_large => {
                return Ok(JsonValue::Int(i64::from(reader.u32("JSON number")? as i32)));
            }
            tag::UINT32 if self.is_large => {
                return Ok(JsonValue::UnsignedInt(u64::from(
                    reader.u32("JSON number")?,
                )));
            }
            _ => {}
        }
        let offset = self.offset(&mut reader)?;
        let head = 2 * self.offset_width() + self.count * self.entry_width();
        match self.bytes.get(offset..) {
            // A value inside the entries would be itself or its parents: without end.
            Some(bytes) if offset >= head => JsonValue::read(tag_byte, bytes),
            _ => Err(self.out_of_bounds(offset)),
        }
    }

    /// The place of the member with this key in an object.
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`] where the document is damaged.
    pub fn find(&self, key: &[u8]) -> Result<Option<usize>> {
        if !self.is_object {
            return Ok(None);
        }
        // Keys are sorted by length, then by bytes.
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low + (high - low) / 2;
            let here = self.key(middle)?;
            match here.len().cmp(&key.len()).then_with(|| here.cmp(key)) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Equal => return Ok(Some(middle)),
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        Ok(None)
    }
}
