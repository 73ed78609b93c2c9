//! JSON documents as the server prints them.

use std::io::Write;

use super::{JsonContainer, JsonValue};
use crate::binlog::value::{DateTime, Decimal, Time, write_double};
use crate::{Error, ErrorKind, Limits, Result};

/// Type numbers of opaque values that have a text of their own.
mod opaque {
    pub(super) const TIMESTAMP: u8 = 7;
    pub(super) const DATE: u8 = 10;
    pub(super) const TIME: u8 = 11;
    pub(super) const DATETIME: u8 = 12;
    pub(super) const NEWDECIMAL: u8 = 246;
}

/// Prints one document.
pub(super) struct Printer<'l> {
    limits: &'l Limits,
    /// Levels of nesting that are still allowed.
    depth: usize,
    /// Bytes of the document that are not printed yet. No two values of a sound document share
    /// bytes; without this bound a damaged one could name the same string a thousand times.
    budget: usize,
}

impl<'l> Printer<'l> {
    pub(super) fn new(document_bytes: usize, limits: &'l Limits) -> Self {
        Self {
            limits,
            depth: limits.json_depth,
            // One for the outermost value, which an empty document has, too.
            budget: document_bytes.saturating_add(1),
        }
    }

    fn spend(&mut self, bytes: usize) -> Result<()> {
        match self.budget.checked_sub(bytes) {
            Some(left) => {
                self.budget = left;
                Ok(())
            }
            None => Err(super::malformed("values share their bytes")),
        }
    }

    fn deeper(&mut self) -> Result<()> {
        match self.depth.checked_sub(1) {
            Some(depth) => {
                self.depth = depth;
                Ok(())
            }
            None => Err(Error::new(
                ErrorKind::Limit,
                format!(
                    "JSON document nested more than {} deep (limit json_depth)",
                    self.limits.json_depth
                ),
            )),
        }
    }

    /// Appends `value`.
    pub(super) fn value(&mut self, value: JsonValue<'_>, out: &mut Vec<u8>) -> Result<()> {
        self.spend(1)?;
        match value {
            JsonValue::Null => out.extend_from_slice(b"null"),
            JsonValue::Bool(true) => out.extend_from_slice(b"true"),
            JsonValue::Bool(false) => out.extend_from_slice(b"false"),
            // Writing to a Vec cannot fail.
            JsonValue::Int(number) => drop(write!(out, "{number}")),
            JsonValue::UnsignedInt(number) => drop(write!(out, "{number}")),
            JsonValue::Double(number) => write_number(number, out),
            JsonValue::String(text) => {
                self.spend(text.len())?;
                write_quoted(text, out);
            }
            JsonValue::Array(array) => {
                out.push(b'[');
                self.members(array, out)?;
                out.push(b']');
            }
            JsonValue::Object(object) => {
                out.push(b'{');
                self.members(object, out)?;
                out.push(b'}');
            }
            JsonValue::Opaque { type_number, data } => {
                self.spend(data.len())?;
                write_opaque(type_number, data, out)?;
            }
        }
        Ok(())
    }

    fn members(&mut self, container: JsonContainer<'_>, out: &mut Vec<u8>) -> Result<()> {
        self.deeper()?;
        for index in 0..container.len() {
            if index > 0 {
                out.extend_from_slice(b", ");
            }
            if container.is_object() {
                let key = container.key(index)?;
                self.spend(key.len())?;
                write_quoted(key, out);
                out.extend_from_slice(b": ");
            }
            self.value(container.value(index)?, out)?;
        }
        self.depth += 1;
        Ok(())
    }
}

/// A double always looks like one: whole numbers have `.0`.
fn write_number(number: f64, out: &mut Vec<u8>) {
    let start = out.len();
    write_double(number, out);
    let is_whole = out
        .get(start..)
        .unwrap_or_default()
        .iter()
        .all(|byte| byte.is_ascii_digit() || *byte == b'-');
    if is_whole {
        out.extend_from_slice(b".0");
    }
}

fn write_quoted(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for byte in text {
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            0x08 => out.extend_from_slice(b"\\b"),
            0x0c => out.extend_from_slice(b"\\f"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0..=0x1f => drop(write!(out, "\\u{byte:04x}")),
            other => out.push(*other),
        }
    }
    out.push(b'"');
}

fn write_opaque(type_number: u8, data: &[u8], out: &mut Vec<u8>) -> Result<()> {
    let packed = || {
        data.first_chunk::<8>()
            .map(|bytes| i64::from_le_bytes(*bytes))
            .ok_or_else(|| super::malformed("date or time of fewer than 8 bytes"))
    };
    match type_number {
        opaque::NEWDECIMAL => match data {
            [precision, scale, digits @ ..] => {
                return Decimal {
                    bytes: digits,
                    precision: *precision,
                    scale: *scale,
                }
                .write_text(out);
            }
            _ => return Err(super::malformed("DECIMAL of fewer than 2 bytes")),
        },
        opaque::DATE => {
            out.push(b'"');
            DateTime::from_json(packed()?).date.write_text(out);
        }
        opaque::DATETIME | opaque::TIMESTAMP => {
            out.push(b'"');
            DateTime::from_json(packed()?).write_text(out);
        }
        opaque::TIME => {
            out.push(b'"');
            Time::from_json(packed()?).write_text(out);
        }
        _ => {
            drop(write!(out, "\"base64:type{type_number}:"));
            write_base64(data, out);
        }
    }
    out.push(b'"');
    Ok(())
}

fn write_base64(data: &[u8], out: &mut Vec<u8>) {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    /// Groups of three bytes in a line of 76 characters.
    const LINE_GROUPS: usize = 19;
    for (index, group) in data.chunks(3).enumerate() {
        if index > 0 && index % LINE_GROUPS == 0 {
            // The server's base64 has lines, and a line break inside a JSON string is escaped.
            out.extend_from_slice(b"\\n");
        }
        let byte = |index: usize| u32::from(group.get(index).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4 {
            if place > group.len() {
                out.push(b'=');
            } else {
                let index = (bits >> (18 - 6 * place) & 63) as usize;
                out.extend(ALPHABET.get(index));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::Limits;
    use crate::binlog::JsonDocument;

    fn text(document: &[u8]) -> crate::Result<String> {
        let mut out = Vec::new();
        JsonDocument::new(document).write_text(&Limits::default(), &mut out)?;
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn an_empty_document_is_null() {
        assert_eq!(text(b"").unwrap(), "null");
    }

    #[test]
    fn small_objects_and_arrays_print_normalised() {
        // {"a": 1, "b": [true, "x"]}
        let document = [
            0x00, 2, 0, 34, 0, 18, 0, 1, 0, 19, 0, 1, 0, 5, 1, 0, 2, 20, 0, b'a', b'b', 2, 0, 12,
            0, 4, 1, 0, 12, 10, 0, 1, b'x', 0, 0,
        ];
        assert_eq!(text(&document).unwrap(), r#"{"a": 1, "b": [true, "x"]}"#);
    }

    #[test]
    fn strings_escape_what_json_must() {
        assert_eq!(
            text(b"\x0c\x09a\"\\/\n\x01\x7f\xc3\xa9").unwrap(),
            "\"a\\\"\\\\/\\n\\u0001\x7f\u{e9}\""
        );
    }

    #[test]
    fn doubles_always_look_like_doubles() {
        let mut document = vec![0x0b];
        document.extend_from_slice(&1f64.to_le_bytes());
        assert_eq!(text(&document).unwrap(), "1.0");
    }

    #[test]
    fn a_container_inside_itself_is_refused() {
        // An array whose only element points at the array's own start.
        let document = [0x02, 1, 0, 7, 0, 2, 0, 0];
        assert!(text(&document).is_err());
    }

    #[test]
    fn other_types_print_as_base64() {
        assert_eq!(text(b"\x0f\x0f\x02xx").unwrap(), "\"base64:type15:eHg=\"");
        assert_eq!(
            text(b"\x0f\xf6\x05\x03\x02\x81\x19").unwrap_or_default(),
            ""
        );
    }

    #[test]
    fn values_that_share_bytes_are_refused() {
        // An array of 100 elements that all are the same string of 200 bytes.
        let (count, head) = (100u16, 4 + 100 * 3);
        let size = head + 202;
        let mut document = vec![2u8];
        document.extend_from_slice(&count.to_le_bytes());
        document.extend_from_slice(&(size as u16).to_le_bytes());
        for _ in 0..count {
            document.push(0x0c);
            document.extend_from_slice(&(head as u16).to_le_bytes());
        }
        document.extend_from_slice(&[0xc8, 1]);
        document.extend_from_slice(&[b'x'; 200]);
        assert!(text(&document).is_err());
    }

    /// Found by fuzzing: bytes behind the document counted as room for values that share theirs.
    #[test]
    fn bytes_behind_the_document_do_not_count() {
        // Two elements that are the same string, then 20 bytes of nothing.
        let mut document = vec![2u8, 2, 0, 15, 0, 0x0c, 10, 0, 0x0c, 10, 0];
        document.extend_from_slice(b"\x04aaaa");
        assert_eq!(text(&document).unwrap(), r#"["aaaa", "aaaa"]"#);
        document[3] = 21;
        document[11] = 10;
        document.extend_from_slice(b"bbbbbb");
        let alone = text(&document);
        document.extend_from_slice(&[0; 20]);
        assert_eq!(text(&document).is_err(), alone.is_err());
    }

    #[test]
    fn depth_is_bounded() {
        // Arrays of one element, each the one before: built from the inside.
        let mut document = vec![2u8, 0, 0, 4, 0];
        for _ in 0..120 {
            let mut outer = vec![2u8, 1, 0];
            outer.extend_from_slice(&((7 + document.len() - 1) as u16).to_le_bytes());
            outer.extend_from_slice(&[2, 7, 0]);
            outer.extend_from_slice(&document[1..]);
            document = outer;
        }
        assert!(text(&document).is_err());
    }
}
