//! Documents from the text that a server prints of them.
//!
//! Text does not tell everything: a date in a document prints as a string, and is read as one. But what
//! is made here always prints as the text that it was made of.

use super::tree::Node;
use super::{JsonDocument, JsonValue, malformed, tag};
use crate::{Error, ErrorKind, Limits, Result};

/// Type number of a DECIMAL.
const NEWDECIMAL: u8 = 246;
/// Most digits of a DECIMAL.
const DECIMAL_DIGITS: usize = 65;
/// Bytes of a group of so many digits.
const GROUP_BYTES: [usize; 10] = [0, 1, 1, 2, 2, 3, 3, 4, 4, 4];

/// Appends the document that prints as `text`.
///
/// # Errors
/// [`ErrorKind::Malformed`] where `text` is no document, [`ErrorKind::Unsupported`] where it is none
/// that a server prints, [`ErrorKind::Limit`] where it is nested too deep.
pub(crate) fn document_from_text(text: &[u8], limits: &Limits, out: &mut Vec<u8>) -> Result<()> {
    let mut parser = Parser {
        rest: text,
        depth: limits.json_depth,
    };
    let value = parser.value()?;
    if !parser.rest.is_empty() {
        return Err(malformed("text behind the document"));
    }
    let start = out.len();
    value.node().write(limits, out)?;
    let mut printed = Vec::with_capacity(text.len());
    let document = JsonDocument::new(out.get(start..).unwrap_or_default());
    document.write_text(limits, &mut printed)?;
    if printed != text {
        return Err(Error::new(
            ErrorKind::Unsupported,
            "a JSON document does not print as a server prints it",
        ));
    }
    Ok(())
}

/// A value that owns what its text does not show as it is.
enum Parsed {
    Null,
    Bool(bool),
    Int(i64),
    UnsignedInt(u64),
    Double(f64),
    Decimal(Vec<u8>),
    String(Vec<u8>),
    Array(Vec<Parsed>),
    Object(Vec<(Vec<u8>, Parsed)>),
}

impl Parsed {
    fn node(&self) -> Node<'_> {
        Node::Whole(match self {
            Self::Null => JsonValue::Null,
            Self::Bool(value) => JsonValue::Bool(*value),
            Self::Int(number) => JsonValue::Int(*number),
            Self::UnsignedInt(number) => JsonValue::UnsignedInt(*number),
            Self::Double(number) => JsonValue::Double(*number),
            Self::Decimal(data) => JsonValue::Opaque {
                type_number: NEWDECIMAL,
                data,
            },
            Self::String(text) => JsonValue::String(text),
            Self::Array(values) => {
                return Node::Array(values.iter().map(Self::node).collect());
            }
            Self::Object(members) => {
                let members = members
                    .iter()
                    .map(|(key, value)| (key.clone(), value.node()));
                return Node::Object(members.collect());
            }
        })
    }
}

struct Parser<'a> {
    rest: &'a [u8],
    /// Levels of nesting that are still allowed.
    depth: usize,
}

impl<'a> Parser<'a> {
    fn skip(&mut self, token: &[u8]) -> bool {
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn value(&mut self) -> Result<Parsed> {
        match self.rest.first() {
            Some(b'"') => self.string().map(Parsed::String),
            Some(b'[') => self.nested(Self::array),
            Some(b'{') => self.nested(Self::object),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ if self.skip(b"null") => Ok(Parsed::Null),
            _ if self.skip(b"true") => Ok(Parsed::Bool(true)),
            _ if self.skip(b"false") => Ok(Parsed::Bool(false)),
            _ => Err(malformed("no value where one is expected")),
        }
    }

    fn nested(&mut self, read: fn(&mut Self) -> Result<Parsed>) -> Result<Parsed> {
        self.depth = self.depth.checked_sub(1).ok_or_else(|| {
            Error::new(
                ErrorKind::Limit,
                "JSON document nested too deep (limit json_depth)",
            )
        })?;
        let value = read(self)?;
        self.depth += 1;
        Ok(value)
    }

    fn array(&mut self) -> Result<Parsed> {
        let mut values = Vec::new();
        self.skip(b"[");
        if self.skip(b"]") {
            return Ok(Parsed::Array(values));
        }
        loop {
            values.push(self.value()?);
            if self.skip(b"]") {
                return Ok(Parsed::Array(values));
            }
            self.comma()?;
        }
    }

    fn object(&mut self) -> Result<Parsed> {
        let mut members: Vec<(Vec<u8>, Parsed)> = Vec::new();
        self.skip(b"{");
        if self.skip(b"}") {
            return Ok(Parsed::Object(members));
        }
        loop {
            let key = self.string()?;
            if !self.skip(b": ") {
                return Err(malformed("no colon behind a key"));
            }
            let in_order = members
                .last()
                .is_none_or(|(last, _)| (last.len(), &**last) < (key.len(), &*key));
            if !in_order {
                return Err(malformed("keys that are not in order"));
            }
            members.push((key, self.value()?));
            if self.skip(b"}") {
                return Ok(Parsed::Object(members));
            }
            self.comma()?;
        }
    }

    fn comma(&mut self) -> Result<()> {
        if self.skip(b", ") {
            Ok(())
        } else {
            Err(malformed("no comma between two values"))
        }
    }

    fn string(&mut self) -> Result<Vec<u8>> {
        let mut text = Vec::new();
        if !self.skip(b"\"") {
            return Err(malformed("no string where one is expected"));
        }
        loop {
            let plain = self
                .rest
                .iter()
                .position(|byte| matches!(byte, b'"' | b'\\'));
            let (plain, rest) = plain
                .and_then(|at| self.rest.split_at_checked(at))
                .ok_or_else(|| malformed("a string without an end"))?;
            text.extend_from_slice(plain);
            self.rest = rest;
            if self.skip(b"\"") {
                return Ok(text);
            }
            let escape = rest.get(1).copied().unwrap_or_default();
            self.rest = rest.get(2..).unwrap_or_default();
            text.push(match escape {
                b'b' => 0x08,
                b'f' => 0x0c,
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                b'u' => self.control()?,
                b'"' | b'\\' => escape,
                _ => return Err(malformed("an unknown escape")),
            });
        }
    }

    /// The digits of `\u00XX`, the only form that servers print.
    fn control(&mut self) -> Result<u8> {
        let digits = self.rest.split_at_checked(4);
        let (digits, rest) = digits.ok_or_else(|| malformed("a string without an end"))?;
        self.rest = rest;
        std::str::from_utf8(digits)
            .ok()
            .and_then(|digits| u8::from_str_radix(digits, 16).ok())
            .ok_or_else(|| malformed("an unknown escape"))
    }

    fn number(&mut self) -> Result<Parsed> {
        let of_number = |byte: &u8| matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9');
        let length = self.rest.iter().take_while(|byte| of_number(byte)).count();
        let (text, rest) = self.rest.split_at(length);
        self.rest = rest;
        let text = std::str::from_utf8(text).unwrap_or_default();
        if let Ok(number) = text.parse() {
            return Ok(Parsed::Int(number));
        }
        if let Ok(number) = text.parse() {
            return Ok(Parsed::UnsignedInt(number));
        }
        if let Ok(number) = text.parse()
            && prints_as(number, text)?
        {
            return Ok(Parsed::Double(number));
        }
        decimal(text)
            .map(Parsed::Decimal)
            .ok_or_else(|| malformed(format_args!("the number {text}")))
    }
}

/// Whether a double prints as `text`; if not, the text is that of a DECIMAL.
fn prints_as(number: f64, text: &str) -> Result<bool> {
    let mut bytes = vec![tag::DOUBLE];
    bytes.extend_from_slice(&number.to_le_bytes());
    let mut printed = Vec::new();
    JsonDocument::new(&bytes).write_text(&Limits::default(), &mut printed)?;
    Ok(printed == text.as_bytes())
}

/// A DECIMAL in a document: precision, scale and the packed digits.
fn decimal(text: &str) -> Option<Vec<u8>> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let whole = if whole == "0" && !fraction.is_empty() {
        ""
    } else {
        whole
    };
    let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let precision = whole.len() + fraction.len();
    if !all_digits(whole) || !all_digits(fraction) || precision == 0 || precision > DECIMAL_DIGITS {
        return None;
    }
    let mut out = vec![precision as u8, fraction.len() as u8];
    let (odd, groups) = whole.as_bytes().split_at(whole.len() % 9);
    push_group(odd, &mut out)?;
    for group in groups.chunks(9).chain(fraction.as_bytes().chunks(9)) {
        push_group(group, &mut out)?;
    }
    let (_, packed) = out.split_at_mut(2);
    if negative {
        packed.iter_mut().for_each(|byte| *byte = !*byte);
    }
    *packed.first_mut()? ^= 0x80;
    Some(out)
}

fn push_group(digits: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let value = digits
        .iter()
        .fold(0u32, |value, digit| value * 10 + u32::from(digit - b'0'));
    let bytes = *GROUP_BYTES.get(digits.len())?;
    out.extend_from_slice(value.to_be_bytes().get(4 - bytes..)?);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_servers_print_comes_back_as_it_was() {
        for text in [
            "null",
            "true",
            "[]",
            "{}",
            "-1",
            "18446744073709551615",
            "18446744073709551616",
            "-9223372036854775809",
            "1.5",
            "1.50",
            "0.10",
            "-0.0",
            "1e20",
            "1.7976931348623157e308",
            "123456789012345678901234567890.123456789",
            r#""a \"quoted\" \\ \n \u001f text \u0000""#,
            "[1, 70000, 5000000000, [false, {\"b\": []}]]",
            r#"{"": 1, "b": "x", "aa": {"k": "2026-11-21 05:00:00.000000"}}"#,
            "\"\u{1f600} \u{e9}\"",
        ] {
            let mut out = b"before".to_vec();
            document_from_text(text.as_bytes(), &Limits::default(), &mut out)
                .unwrap_or_else(|error| panic!("{text}: {error}"));
            let mut printed = Vec::new();
            let document = JsonDocument::new(&out[6..]);
            document
                .write_text(&Limits::default(), &mut printed)
                .unwrap();
            assert_eq!(String::from_utf8(printed).unwrap(), text);
        }
        let large = format!("[{}]", vec!["\"0123456789\""; 10_000].join(", "));
        let mut out = Vec::new();
        document_from_text(large.as_bytes(), &Limits::default(), &mut out).unwrap();
    }

    #[test]
    fn what_no_server_prints_is_refused() {
        let deep = "[".repeat(101);
        for text in [
            "",
            "nul",
            "[1,2]",
            "[1, 2",
            "{\"a\":1}",
            "{\"b\": 1, \"a\": 1}",
            "\"",
            "\"\\x\"",
            "\"\\u12",
            "\"\\u1234\"",
            "1 ",
            "--1",
            "1e",
            "+1",
            "01",
            "1.0e+3",
            &deep,
        ] {
            let refused = document_from_text(text.as_bytes(), &Limits::default(), &mut Vec::new());
            assert!(refused.is_err(), "{text}");
        }
    }
}
