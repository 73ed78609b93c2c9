//! Columns as a declaration would name them, and values as literals.

use crate::Result;
use crate::binlog::{
    ChecksumAlgorithm, Column, ColumnKind, Decimal, TextStyle, UserVarValue, Value,
};
use crate::target::schema::{collation_facts, to_utf8};

/// The collation of binary strings.
const BINARY: u16 = 63;

/// The type as a declaration has it. Lengths of text are in bytes: the log knows no characters.
pub(super) fn type_name(column: &Column) -> String {
    let meta = column.meta;
    let is_binary = column.collation == Some(BINARY);
    let name = match column.kind {
        ColumnKind::TinyInt => "TINYINT".to_owned(),
        ColumnKind::SmallInt => "SMALLINT".to_owned(),
        ColumnKind::MediumInt => "MEDIUMINT".to_owned(),
        ColumnKind::Int => "INT".to_owned(),
        ColumnKind::BigInt => "BIGINT".to_owned(),
        ColumnKind::Float => "FLOAT".to_owned(),
        ColumnKind::Double => "DOUBLE".to_owned(),
        ColumnKind::Decimal => format!("DECIMAL({},{})", column.precision(), column.scale()),
        ColumnKind::Bit => format!("BIT({meta})"),
        ColumnKind::Year => "YEAR".to_owned(),
        ColumnKind::Date => "DATE".to_owned(),
        ColumnKind::OldTime => "TIME".to_owned(),
        ColumnKind::OldDateTime => "DATETIME".to_owned(),
        ColumnKind::OldTimestamp => "TIMESTAMP".to_owned(),
        ColumnKind::Time => fraction("TIME", meta),
        ColumnKind::DateTime => fraction("DATETIME", meta),
        ColumnKind::Timestamp => fraction("TIMESTAMP", meta),
        ColumnKind::Char if is_binary => format!("BINARY({meta})"),
        ColumnKind::Char => format!("CHAR({meta})"),
        ColumnKind::VarChar if is_binary => format!("VARBINARY({meta})"),
        ColumnKind::VarChar => format!("VARCHAR({meta})"),
        ColumnKind::Blob => {
            let size = ["TINY", "", "MEDIUM", "LONG"].get(meta.wrapping_sub(1) as usize);
            let kind = match column.collation {
                Some(BINARY) => "BLOB",
                Some(_) => "TEXT",
                None => "BLOB/TEXT",
            };
            format!("{}{kind}", size.unwrap_or(&""))
        }
        ColumnKind::Enum => "ENUM".to_owned(),
        ColumnKind::Set => "SET".to_owned(),
        ColumnKind::Json => "JSON".to_owned(),
        ColumnKind::Geometry => geometry(column.geometry_type).to_owned(),
        ColumnKind::Vector => match column.dimensions {
            Some(dimensions) => format!("VECTOR({dimensions})"),
            None => "VECTOR".to_owned(),
        },
        ColumnKind::TypedArray => "ARRAY".to_owned(),
        ColumnKind::Null => "NULL".to_owned(),
    };
    match column.unsigned {
        Some(true) if column.kind != ColumnKind::Year => format!("{name} UNSIGNED"),
        _ => name,
    }
}

fn fraction(name: &str, digits: u32) -> String {
    match digits {
        0 => name.to_owned(),
        digits => format!("{name}({digits})"),
    }
}

fn geometry(number: Option<u8>) -> &'static str {
    match number {
        Some(1) => "POINT",
        Some(2) => "LINESTRING",
        Some(3) => "POLYGON",
        Some(4) => "MULTIPOINT",
        Some(5) => "MULTILINESTRING",
        Some(6) => "MULTIPOLYGON",
        Some(7) => "GEOMETRYCOLLECTION",
        _ => "GEOMETRY",
    }
}

/// The name of the column's collation, where it is of text.
pub(super) fn collation_name(column: &Column) -> Option<&'static str> {
    match column.collation {
        None | Some(BINARY) => None,
        Some(number) => collation_facts(number).map(|(name, _, _)| name),
    }
}

/// Text in UTF-8; `None` where the bytes are no text that can be read.
pub(super) fn utf8(collation: Option<u16>, bytes: &[u8]) -> Option<String> {
    let text = match collation {
        Some(BINARY) => return None,
        Some(number) => to_utf8(number, bytes)?.into_owned(),
        None => bytes.to_vec(),
    };
    String::from_utf8(text).ok()
}

/// The names of an ENUM's or SET's members, in UTF-8.
pub(super) fn members(column: &Column) -> Vec<String> {
    column
        .members
        .iter()
        .flatten()
        .map(|name| {
            utf8(column.collation, name)
                .unwrap_or_else(|| String::from_utf8_lossy(name).into_owned())
        })
        .collect()
}

/// What an ENUM's or SET's value is called, where the log has the names.
pub(super) fn member_text(column: &Column, value: &Value<'_>) -> Option<String> {
    let members = members(column);
    if members.is_empty() {
        return None;
    }
    let style = TextStyle {
        members: &members,
        ..TextStyle::default()
    };
    let mut text = Vec::new();
    value.write_text(&style, &mut text).ok()?;
    String::from_utf8(text).ok()
}

/// The text that a client sees for values whose text needs no character set.
pub(super) fn plain_text(value: &Value<'_>) -> Result<String> {
    let mut text = Vec::new();
    value.write_text(&TextStyle::default(), &mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// The bits of a BIT column's value as a number.
pub(super) fn bits(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .take(8)
        .fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// The elements of a VECTOR.
pub(super) fn floats(bytes: &[u8]) -> impl Iterator<Item = f32> {
    bytes
        .chunks_exact(4)
        .map(|chunk| f32::from_le_bytes(chunk.try_into().unwrap_or_default()))
}

/// An integer of a source that does not say whether its column is UNSIGNED, read as if it were.
pub(super) fn as_unsigned(column: &Column, number: i64) -> u64 {
    let bits = match column.kind {
        ColumnKind::TinyInt => 8,
        ColumnKind::SmallInt => 16,
        ColumnKind::MediumInt => 24,
        ColumnKind::Int => 32,
        _ => 64,
    };
    number as u64 & (u64::MAX >> (64 - bits))
}

/// The value of a user variable, which the event checked for its length.
pub(super) fn user_value<'a>(value: &UserVarValue<'a>) -> Value<'a> {
    const UNSIGNED: u8 = 1;
    let number = value
        .bytes
        .first_chunk()
        .map(|bytes| u64::from_le_bytes(*bytes));
    match (value.type_number, number, value.bytes) {
        (1, Some(number), _) => Value::Double(f64::from_bits(number)),
        (2, Some(number), _) if value.flags.unwrap_or(0) & UNSIGNED != 0 => {
            Value::UnsignedInt(number)
        }
        (2, Some(number), _) => Value::Int(number as i64),
        (4, _, [precision, scale, digits @ ..]) => Value::Decimal(Decimal {
            bytes: digits,
            precision: *precision,
            scale: *scale,
        }),
        _ => Value::Bytes(value.bytes),
    }
}

/// The variable that an Intvar event sets.
pub(super) fn intvar_name(kind: u8) -> Result<&'static str, String> {
    match kind {
        1 => Ok("LAST_INSERT_ID"),
        2 => Ok("INSERT_ID"),
        other => Err(format!("Intvar of kind {other}")),
    }
}

/// As `binlog_checksum` has it.
pub(super) fn checksum_name(algorithm: ChecksumAlgorithm) -> &'static str {
    match algorithm {
        ChecksumAlgorithm::Crc32 => "CRC32",
        ChecksumAlgorithm::None => "NONE",
    }
}
