//! Row images decoded value by value, without the detour over cells.
//!
//! [`Rows::next_image`] finds out where the values of an image are, for those who keep rows as bytes
//! and look at few of them. Who wants every value walks the image once only with
//! [`Rows::next_values`]. Both give the same; the tests compare them.

use super::reader::bit;
use super::rows::Front;
use super::{Column, ColumnKind, RowImage, Rows, Value};
use crate::Result;

/// What a row image has in one column.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum CellValue<'a> {
    /// Nothing: the image does not have the column (`binlog_row_image` MINIMAL or NOBLOB).
    Absent,
    /// The value, [`Value::Null`] among others.
    Value(Value<'a>),
    /// A JSON column as differences from the image before, for [`json_diffs`](super::json_diffs).
    Partial(&'a [u8]),
}

impl<'a> Rows<'a, '_> {
    /// Decodes the next image: `each` gets the columns of the table one by one in their order, with
    /// what the image has there. `None` behind the last image.
    ///
    /// ```
    /// # fn example(rows: rejoin::binlog::RowsEvent<'_>, columns: &[rejoin::binlog::Column]) -> rejoin::Result<()> {
    /// let mut images = rows.rows(columns)?;
    /// while let Some(image) = images.next_values(|column, value| println!("{:?}: {value:?}", column.kind))? {
    ///     println!("{:?} in {} bytes", image.kind, image.bytes.len());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Rows::next_image`]. Columns before the damage have been given out then.
    #[inline]
    pub fn next_values(
        &mut self,
        mut each: impl FnMut(&Column, CellValue<'a>),
    ) -> Result<Option<RowImage<'a>>> {
        let Some(front) = self.front()? else {
            return Ok(None);
        };
        let columns = self.columns();
        let left = if front.is_full {
            full_image(columns, &front, &mut each)?
        } else {
            some_columns(columns, &front, &mut each)?
        };
        self.pass(&front, front.bytes.len() - left.len()).map(Some)
    }
}

/// Decodes an image that has every column, and returns what is behind it.
#[inline]
fn full_image<'a>(
    columns: &[Column],
    front: &Front<'a>,
    each: &mut impl FnMut(&Column, CellValue<'a>),
) -> Result<&'a [u8]> {
    let mut rest = behind_nulls(front);
    let mut left = columns;
    let mut bitmap = front.bytes;
    loop {
        let (group, behind) = left.split_at_checked(64).unwrap_or((left, &[]));
        let mut null_bits = null_bits(bitmap);
        for column in group {
            if null_bits & 1 == 1 {
                each(column, CellValue::Value(Value::Null));
            } else {
                rest = column.pass(rest, |value| each(column, CellValue::Value(value)))?;
            }
            null_bits >>= 1;
        }
        if behind.is_empty() {
            return Ok(rest);
        }
        left = behind;
        bitmap = bitmap.get(8..).unwrap_or_default();
    }
}

/// The same for an image that lacks some columns, or has some JSON columns as differences.
fn some_columns<'a>(
    columns: &[Column],
    front: &Front<'a>,
    each: &mut impl FnMut(&Column, CellValue<'a>),
) -> Result<&'a [u8]> {
    let mut rest = behind_nulls(front);
    let mut image_index = 0;
    let mut json_index = 0;
    for (index, column) in columns.iter().enumerate() {
        let is_partial = column.kind == ColumnKind::Json && {
            json_index += 1;
            bit(front.partial, json_index - 1)
        };
        if !bit(front.present, index) {
            each(column, CellValue::Absent);
            continue;
        }
        image_index += 1;
        if bit(front.nulls, image_index - 1) {
            each(column, CellValue::Value(Value::Null));
        } else if is_partial {
            let split = column.split(rest);
            let (content, behind) = split.ok_or_else(|| column.cut(rest.len()))?;
            each(column, CellValue::Partial(content));
            rest = behind;
        } else {
            rest = column.pass(rest, |value| each(column, CellValue::Value(value)))?;
        }
    }
    Ok(rest)
}

/// The bits of 64 columns. Behind the NULL bitmap there are values; what they look like as bits does not
/// matter, no column asks for these.
#[inline]
fn null_bits(bitmap: &[u8]) -> u64 {
    match bitmap.first_chunk() {
        Some(bits) => u64::from_le_bytes(*bits),
        None => bitmap
            .iter()
            .rev()
            .fold(0, |bits, byte| bits << 8 | u64::from(*byte)),
    }
}

fn behind_nulls<'a>(front: &Front<'a>) -> &'a [u8] {
    front.bytes.get(front.nulls.len()..).unwrap_or_default()
}
