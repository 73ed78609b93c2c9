//! Rows from queries: how a column is asked for so that nothing of its value is lost, and the row image
//! that the answer makes.
//!
//! The session has to have `time_zone` `+00:00`, an empty `sql_mode`, and `character_set_results` NULL,
//! so that strings come in the column's own character set. FLOAT and DOUBLE would be rounded to what they
//! print as, ENUM and SET would come by name: these are asked for as what they are.

use crate::binlog::document_from_text;
use crate::{Error, ErrorKind, Limits, Result};

use super::data_type::DataType;
use super::decimal::Decimal;
use super::definition::{ColumnDefinition, KeyPart, TableDefinition};
use super::temporal::{DateTime, Time, Timestamp};
use super::{charset, value};
use crate::binlog::Cell;

/// `name` as an identifier.
pub(crate) fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

impl TableDefinition {
    /// What to SELECT for the row images of the table: every column, generated and invisible ones too.
    pub(crate) fn select_list(&self) -> String {
        let columns = self.columns.iter().map(|column| {
            let name = quoted(&column.name);
            match column.data_type {
                DataType::Float(_) | DataType::Double(_) => format!("CAST({name} AS DOUBLE)"),
                DataType::Enum(_) | DataType::Set(_) => format!("CAST({name} AS UNSIGNED)"),
                _ => name,
            }
        });
        columns.collect::<Vec<_>>().join(", ")
    }

    /// Sets `image` to the full row image of a row of [`select_list`](Self::select_list).
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`] where a value is none of its column.
    pub(crate) fn image_of(&self, values: &[Option<&[u8]>], image: &mut Vec<u8>) -> Result<()> {
        if values.len() != self.columns.len() {
            return Err(Error::new(
                ErrorKind::Malformed,
                format!("{} values for {} columns", values.len(), self.columns.len()),
            ));
        }
        image.clear();
        image.resize(values.len().div_ceil(8), 0xff);
        for (index, (value, column)) in values.iter().zip(&self.columns).enumerate() {
            let Some(value) = value else { continue };
            if let Some(byte) = image.get_mut(index / 8) {
                *byte &= !(1 << (index % 8));
            }
            let packed = column.pack_selected(value, image);
            packed.map_err(|reason| {
                Error::new(
                    ErrorKind::Malformed,
                    format!(
                        "the value {} of column {}: {reason}",
                        String::from_utf8_lossy(value.get(..40).unwrap_or(value)).escape_debug(),
                        column.name
                    ),
                )
            })?;
        }
        Ok(())
    }

    /// Whether rows can be asked for in the order of the key, from one on.
    pub(crate) fn can_be_ordered(&self) -> bool {
        let whole = |part: &KeyPart| {
            let column = self.columns.get(part.column);
            part.prefix_length.is_none() && column.is_some_and(ColumnDefinition::has_literals)
        };
        self.has_key() && self.primary_key.iter().all(whole)
    }

    /// `ORDER BY` the key.
    pub(crate) fn order_by_key(&self) -> String {
        let parts = self.key_columns().map(|(part, column)| {
            let direction = if part.descending { " DESC" } else { "" };
            format!("{}{direction}", quoted(&column.name))
        });
        parts.collect::<Vec<_>>().join(", ")
    }

    fn key_columns(&self) -> impl Iterator<Item = (&KeyPart, &ColumnDefinition)> {
        self.primary_key
            .iter()
            .filter_map(|part| Some((part, self.columns.get(part.column)?)))
    }

    /// A condition for the rows behind one, in the order of the key: `(a > 1) OR (a = 1 AND b > 2)`.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`] where the key cannot be [ordered](Self::can_be_ordered).
    pub(crate) fn behind(&self, image: &[u8], cells: &[Cell]) -> Result<String> {
        let mut equal = String::new();
        let mut alternatives = Vec::new();
        for (part, column) in self.key_columns() {
            let value = cells.get(part.column).and_then(|cell| cell.bytes(image));
            let literal = value.and_then(|value| column.literal(value));
            let Some(literal) = literal else {
                return Err(Error::new(
                    ErrorKind::Internal,
                    format!("column {} of a key has no literal", column.name),
                ));
            };
            let name = quoted(&column.name);
            let sign = if part.descending { '<' } else { '>' };
            alternatives.push(format!("({equal}{name} {sign} {literal})"));
            equal.push_str(&format!("{name} = {literal} AND "));
        }
        Ok(alternatives.join(" OR "))
    }
}

type Packed = std::result::Result<(), &'static str>;

impl ColumnDefinition {
    /// Appends the value, in the form of the log, that a query gave as text.
    fn pack_selected(&self, bytes: &[u8], out: &mut Vec<u8>) -> Packed {
        let text = || std::str::from_utf8(bytes).map_err(|_| "no text");
        let physical = self.physical.as_ref().ok_or("a type that is not known")?;
        let mut number = |bits: u64, width: usize| {
            let bytes = bits.to_le_bytes();
            let (value, rest) = bytes.split_at_checked(width).ok_or("too wide")?;
            out.extend_from_slice(value);
            rest.iter()
                .all(|byte| *byte == 0)
                .then_some(())
                .ok_or("does not fit")
        };
        match &self.data_type {
            DataType::TinyInt => self.pack_integer(text()?, 1, out),
            DataType::SmallInt => self.pack_integer(text()?, 2, out),
            DataType::MediumInt => self.pack_integer(text()?, 3, out),
            DataType::Int => self.pack_integer(text()?, 4, out),
            DataType::BigInt => self.pack_integer(text()?, 8, out),
            DataType::Decimal(precision, scale) => {
                let decimal = Decimal::parse(text()?).ok_or("no number")?;
                decimal
                    .pack(*precision, *scale, out)
                    .then_some(())
                    .ok_or("does not fit")
            }
            DataType::Float(_) => {
                let value: f64 = text()?.parse().map_err(|_| "no number")?;
                out.extend_from_slice(&(value as f32).to_le_bytes());
                Ok(())
            }
            DataType::Double(_) => {
                let value: f64 = text()?.parse().map_err(|_| "no number")?;
                out.extend_from_slice(&value.to_le_bytes());
                Ok(())
            }
            DataType::Bit(bits) => {
                let width = usize::from(*bits).div_ceil(8);
                out.extend(std::iter::repeat_n(0, width.saturating_sub(bytes.len())));
                let start = bytes.len().saturating_sub(width);
                out.extend_from_slice(bytes.get(start..).unwrap_or_default());
                Ok(())
            }
            DataType::Year => {
                let year: u16 = text()?.parse().map_err(|_| "no year")?;
                let packed = match year {
                    0 => Some(0),
                    _ => year
                        .checked_sub(1900)
                        .and_then(|year| u8::try_from(year).ok()),
                };
                out.push(packed.ok_or("no year")?);
                Ok(())
            }
            DataType::Enum(_) | DataType::Set(_) => {
                let bits = text()?.parse().map_err(|_| "no number")?;
                number(bits, physical.meta as usize)
            }
            DataType::Date => {
                DateTime::parse(text()?).ok_or("no date")?.pack_date(out);
                Ok(())
            }
            DataType::DateTime(fraction) => {
                let value = DateTime::parse(text()?).ok_or("no date and time")?;
                value.pack(u32::from(*fraction), out);
                Ok(())
            }
            DataType::Timestamp(fraction) => {
                let value = DateTime::parse(text()?).ok_or("no date and time")?;
                let value = Timestamp::from_datetime(value, 0).ok_or("no timestamp")?;
                value
                    .pack(u32::from(*fraction), out)
                    .then_some(())
                    .ok_or("no timestamp")
            }
            DataType::Time(fraction) => {
                let value = Time::parse(text()?).ok_or("no time")?;
                value.pack(u32::from(*fraction), out);
                Ok(())
            }
            DataType::Char(_) | DataType::VarChar(_) | DataType::VarBinary(_) => {
                pack_string(bytes, length_bytes(physical.meta), out)
            }
            DataType::Binary(_) => {
                // The log has it without the zeros at its end.
                let zeros = bytes.iter().rev().take_while(|byte| **byte == 0).count();
                let bytes = bytes.get(..bytes.len() - zeros).unwrap_or_default();
                pack_string(bytes, length_bytes(physical.meta), out)
            }
            DataType::Text(_) | DataType::Blob(_) | DataType::Geometry(_) | DataType::Vector(_) => {
                pack_string(bytes, physical.meta as usize, out)
            }
            DataType::Json => {
                let mut document = Vec::new();
                document_from_text(bytes, &Limits::default(), &mut document)
                    .map_err(|_| "no JSON document")?;
                pack_string(&document, physical.meta as usize, out)
            }
            _ => Err("a type that no query gives"),
        }
    }

    fn pack_integer(&self, text: &str, width: usize, out: &mut Vec<u8>) -> Packed {
        let value: i128 = text.parse().map_err(|_| "no number")?;
        let bits = 8 * width as u32;
        let range = if self.unsigned {
            0..1i128 << bits
        } else {
            -(1i128 << (bits - 1))..1i128 << (bits - 1)
        };
        if !range.contains(&value) {
            return Err("does not fit");
        }
        out.extend(value.to_le_bytes().iter().take(width));
        Ok(())
    }

    /// Whether every value can be written as a literal that compares as the value does.
    fn has_literals(&self) -> bool {
        match &self.data_type {
            DataType::Char(_) | DataType::VarChar(_) | DataType::Text(_) => {
                charset::by_id(self.collation).is_some()
            }
            DataType::Bit(bits) => *bits <= 63,
            DataType::Binary(_) | DataType::VarBinary(_) | DataType::Blob(_) => true,
            DataType::Decimal(..)
            | DataType::Year
            | DataType::Date
            | DataType::DateTime(_)
            | DataType::Timestamp(_)
            | DataType::Time(_)
            | DataType::Enum(_)
            | DataType::Set(_) => true,
            data_type => data_type.is_integer(),
        }
    }

    /// A value of the log as a literal that compares as the value does.
    fn literal(&self, packed: &[u8]) -> Option<String> {
        if let DataType::Char(_) | DataType::VarChar(_) | DataType::Text(_) = self.data_type {
            let collation = charset::by_id(self.collation)?;
            let (charset, name) = (collation.charset, collation.name);
            let bytes = hex(self.physical.as_ref()?.content(packed).ok()?);
            return Some(format!("_{charset} x'{bytes}' COLLATE {name}"));
        }
        match (&self.data_type, self.read_plain(packed)?) {
            (DataType::Binary(_) | DataType::VarBinary(_) | DataType::Blob(_), plain) => {
                match plain {
                    value::Plain::Bytes(bytes) => Some(format!("x'{}'", hex(&bytes))),
                    _ => None,
                }
            }
            (_, value::Plain::Exact(number) | value::Plain::Named(number, _)) => {
                Some(number.to_text())
            }
            (_, value::Plain::Date(date)) => Some(format!("'{}'", date.date_text())),
            (_, value::Plain::DateTime(value, fraction)) => {
                Some(format!("'{}'", value.to_text(fraction)))
            }
            (_, value::Plain::Time(value, fraction)) => {
                Some(format!("'{}'", value.to_text(fraction)))
            }
            (_, value::Plain::Timestamp(value, fraction)) => {
                Some(format!("'{}'", value.to_datetime(0).to_text(fraction)))
            }
            _ => None,
        }
    }
}

/// Bytes of the length before a CHAR or VARCHAR of at most so many bytes.
fn length_bytes(longest: u32) -> usize {
    if longest > 255 { 2 } else { 1 }
}

fn pack_string(bytes: &[u8], width: usize, out: &mut Vec<u8>) -> Packed {
    let length = (bytes.len() as u64).to_le_bytes();
    let (length, rest) = length.split_at_checked(width).ok_or("too wide")?;
    if rest.iter().any(|byte| *byte != 0) {
        return Err("too long");
    }
    out.extend_from_slice(length);
    out.extend_from_slice(bytes);
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
