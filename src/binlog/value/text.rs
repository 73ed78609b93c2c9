//! Values as the text that the server sends for them, and as `mysql -BN` prints that.

use std::io::Write;

use super::{Value, float};
use crate::{Limits, Result};

/// What the declaration of a column adds to its values' text; nothing of it is in the log.
#[derive(Debug, Clone, Copy, Default)]
pub struct TextStyle<'a> {
    /// Names of the members of ENUM and SET, in UTF-8; without them their numbers are printed.
    pub members: &'a [String],
    /// D of FLOAT(M,D) and DOUBLE(M,D).
    pub decimals: Option<u8>,
    /// The display width of ZEROFILL columns.
    pub zerofill: Option<u8>,
    /// The session's time zone, in seconds east of UTC, for TIMESTAMP.
    pub utc_offset_s: i32,
}

impl Value<'_> {
    /// Appends the text that the server sends for the value (before the client's own escaping, for
    /// which there is [`write_escaped`]); for NULL nothing. Text stays in the column's character
    /// set, BIT, GEOMETRY and VECTOR are raw bytes.
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`](crate::ErrorKind::Malformed) where a DECIMAL or a JSON document is
    /// damaged, [`ErrorKind::Limit`](crate::ErrorKind::Limit) where JSON is nested too deep.
    pub fn write_text(&self, style: &TextStyle<'_>, out: &mut Vec<u8>) -> Result<()> {
        let start = out.len();
        match self {
            Self::Null => {}
            Self::Int(number) => display(number, out),
            Self::UnsignedInt(number) => display(number, out),
            Self::Float(number) => match style.decimals {
                Some(decimals) => float::write_fixed(f64::from(*number), decimals, out),
                None => float::write_float(*number, out),
            },
            Self::Double(number) => match style.decimals {
                Some(decimals) => float::write_fixed(*number, decimals, out),
                None => float::write_double(*number, out),
            },
            Self::Decimal(decimal) => decimal.write_text(out)?,
            // Writing to a Vec cannot fail.
            Self::Year(year) => drop(write!(out, "{year:04}")),
            Self::Date(date) => date.write_text(out),
            Self::Time(time) => time.write_text(out),
            Self::DateTime(datetime) => datetime.write_text(out),
            Self::Timestamp(timestamp) => {
                timestamp.to_date_time(style.utc_offset_s).write_text(out);
            }
            Self::Bytes(bytes) | Self::Bit(bytes) | Self::Geometry(bytes) | Self::Vector(bytes) => {
                out.extend_from_slice(bytes);
            }
            Self::Binary { bytes, length } => {
                out.extend_from_slice(bytes);
                let missing = usize::from(*length).saturating_sub(bytes.len());
                out.extend(std::iter::repeat_n(0, missing));
            }
            Self::Enum(number) => enumeration(*number, style.members, out),
            Self::Set(bits) => set(*bits, style.members, out),
            Self::Json(document) => document.write_text(&Limits::default(), out)?,
        }
        if let (Some(width), true) = (style.zerofill, self.is_number()) {
            let missing = usize::from(width).saturating_sub(out.len() - start);
            out.splice(start..start, std::iter::repeat_n(b'0', missing));
        }
        Ok(())
    }

    fn is_number(&self) -> bool {
        matches!(
            self,
            Self::Int(_)
                | Self::UnsignedInt(_)
                | Self::Float(_)
                | Self::Double(_)
                | Self::Decimal(_)
        )
    }
}

fn display(value: impl std::fmt::Display, out: &mut Vec<u8>) {
    let _ = write!(out, "{value}");
}

fn enumeration(number: u16, members: &[String], out: &mut Vec<u8>) {
    match usize::from(number).checked_sub(1) {
        None => {}
        Some(index) => match members.get(index) {
            Some(member) => out.extend_from_slice(member.as_bytes()),
            None => display(number, out),
        },
    }
}

fn set(bits: u64, members: &[String], out: &mut Vec<u8>) {
    if members.is_empty() {
        return display(bits, out);
    }
    let mut separator: &[u8] = b"";
    for (index, member) in members.iter().enumerate().take(64) {
        if bits >> index & 1 == 1 {
            out.extend_from_slice(separator);
            out.extend_from_slice(member.as_bytes());
            separator = b",";
        }
    }
}

/// Appends `text` as the `mysql` client prints it with `--batch`: tab, newline, backslash and NUL
/// with a backslash, `NULL` for `None`.
///
/// ```
/// let mut out = Vec::new();
/// rejoin::binlog::write_escaped(Some(b"a\tb\\"), &mut out);
/// rejoin::binlog::write_escaped(None, &mut out);
/// assert_eq!(out, b"a\\tb\\\\NULL");
/// ```
pub fn write_escaped(text: Option<&[u8]>, out: &mut Vec<u8>) {
    let Some(text) = text else {
        out.extend_from_slice(b"NULL");
        return;
    };
    for byte in text {
        match byte {
            b'\t' => out.extend_from_slice(b"\\t"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\\' => out.extend_from_slice(b"\\\\"),
            0 => out.extend_from_slice(b"\\0"),
            other => out.push(*other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: Value<'_>, style: &TextStyle<'_>) -> String {
        let mut out = Vec::new();
        value.write_text(style, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn members_are_named_in_their_order() {
        let members: Vec<String> = ["a", "b", "c"].map(String::from).into();
        let style = TextStyle {
            members: &members,
            ..Default::default()
        };
        assert_eq!(text(Value::Enum(2), &style), "b");
        assert_eq!(text(Value::Enum(0), &style), "");
        assert_eq!(text(Value::Set(0b101), &style), "a,c");
        assert_eq!(text(Value::Set(0), &style), "");
        assert_eq!(text(Value::Set(5), &TextStyle::default()), "5");
    }

    #[test]
    fn binary_columns_are_filled_up_with_zero_bytes() {
        let value = Value::Binary {
            bytes: b"ab",
            length: 4,
        };
        assert_eq!(text(value, &TextStyle::default()), "ab\0\0");
    }

    #[test]
    fn zerofill_pads_numbers_only() {
        let style = TextStyle {
            zerofill: Some(5),
            ..Default::default()
        };
        assert_eq!(text(Value::UnsignedInt(42), &style), "00042");
        assert_eq!(text(Value::Bytes(b"42"), &style), "42");
    }
}
