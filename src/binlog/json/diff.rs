//! JSON columns given as differences (`binlog_row_value_options=PARTIAL_JSON`).
//!
//! ```text
//! (u8 operation | packed length, path | packed length, value)*     REMOVE has no value
//! path: $ and legs: .name  ."name"  [index]
//! ```

use super::tree::Node;
use super::{JsonDocument, malformed};
use crate::binlog::reader::Reader;
use crate::{Error, ErrorKind, Limits, Result};

/// What a difference does at its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum JsonOperation {
    /// Another value in place of the one that is there.
    Replace,
    /// A new member, or a new element in front of the one at the path.
    Insert,
    /// The member or element is gone.
    Remove,
}

/// One difference between a document and the one that it becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JsonDiff<'a> {
    /// What it does.
    pub operation: JsonOperation,
    /// Where, as the text of a JSON path.
    pub path: &'a [u8],
    /// The new value, of Replace and Insert.
    pub value: Option<JsonDocument<'a>>,
}

/// The differences of a [`Cell::Partial`](crate::binlog::Cell::Partial), `content` being its bytes
/// without the length prefix.
pub fn json_diffs(content: &[u8]) -> impl Iterator<Item = Result<JsonDiff<'_>>> {
    let mut reader = Reader::new(content);
    std::iter::from_fn(move || {
        if reader.is_empty() {
            return None;
        }
        let diff = read(&mut reader);
        if diff.is_err() {
            reader.take_rest();
        }
        Some(diff)
    })
}

fn read<'a>(reader: &mut Reader<'a>) -> Result<JsonDiff<'a>> {
    let operation = match reader.u8("JSON operation")? {
        0 => JsonOperation::Replace,
        1 => JsonOperation::Insert,
        2 => JsonOperation::Remove,
        other => return Err(reader.malformed(format_args!("JSON operation {other}"))),
    };
    let length = reader.packed("length of a JSON path")?;
    let path = reader.take_u64(length, "JSON path")?;
    let value = match operation {
        JsonOperation::Remove => None,
        _ => {
            let length = reader.packed("length of a JSON value")?;
            let bytes = reader.take_u64(length, "JSON value")?;
            Some(JsonDocument::new(bytes))
        }
    };
    Ok(JsonDiff {
        operation,
        path,
        value,
    })
}

impl JsonDocument<'_> {
    /// Appends the document that this one becomes by the differences in `content` (of a
    /// [`Cell::Partial`](crate::binlog::Cell::Partial), without the length prefix).
    ///
    /// The result is the same document as the server's, not always the same bytes: the server may
    /// change a document in place and leave holes.
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`]; [`ErrorKind::Conflict`] where a path leads nowhere in this document
    /// (it is not the one that the source had); [`ErrorKind::Limit`] where the result is nested too
    /// deep.
    pub fn apply(&self, content: &[u8], limits: &Limits, out: &mut Vec<u8>) -> Result<()> {
        let mut root = Node::of(self)?;
        for diff in json_diffs(content) {
            apply_one(&mut root, &diff?, limits)?;
        }
        root.write(limits, out)
    }
}

fn apply_one<'a>(root: &mut Node<'a>, diff: &JsonDiff<'a>, limits: &Limits) -> Result<()> {
    let mut legs = Path::new(diff.path, limits)?;
    let value = diff.value.as_ref().map(Node::of).transpose()?;
    let mut last = legs.next_leg()?;
    let mut node = root;
    while let Some(leg) = last.take() {
        let Some(next) = legs.next_leg()? else {
            last = Some(leg);
            break;
        };
        node = match &leg {
            Leg::Member(key) => node.member(key)?,
            Leg::Element(index) => node.element(*index)?,
        }
        .ok_or_else(|| nowhere(diff))?;
        last = Some(next);
    }
    let done = match (diff.operation, last, value) {
        (JsonOperation::Replace, None, Some(value)) => {
            *node = value;
            true
        }
        (JsonOperation::Replace, Some(leg), Some(value)) => {
            let target = match &leg {
                Leg::Member(key) => node.member(key)?,
                Leg::Element(index) => node.element(*index)?,
            };
            match target {
                Some(target) => {
                    *target = value;
                    true
                }
                None => false,
            }
        }
        (JsonOperation::Insert, Some(Leg::Member(key)), Some(value)) => {
            node.insert_member(key, value)?
        }
        (JsonOperation::Insert, Some(Leg::Element(index)), Some(value)) => {
            node.insert_element(index, value)?
        }
        (JsonOperation::Remove, Some(Leg::Member(key)), _) => node.remove_member(&key)?,
        (JsonOperation::Remove, Some(Leg::Element(index)), _) => node.remove_element(index)?,
        _ => false,
    };
    if done { Ok(()) } else { Err(nowhere(diff)) }
}

#[cold]
fn nowhere(diff: &JsonDiff<'_>) -> Error {
    Error::new(
        ErrorKind::Conflict,
        format!(
            "JSON difference {:?} at {} does not fit the document",
            diff.operation,
            String::from_utf8_lossy(diff.path)
        ),
    )
}

/// One step of a path.
#[derive(Debug, PartialEq, Eq)]
enum Leg {
    Member(Vec<u8>),
    Element(usize),
}

/// A path's text, read leg by leg.
struct Path<'a> {
    rest: &'a [u8],
    legs_left: usize,
}

impl<'a> Path<'a> {
    fn new(text: &'a [u8], limits: &Limits) -> Result<Self> {
        match text.strip_prefix(b"$") {
            Some(rest) => Ok(Self {
                rest,
                legs_left: limits.json_depth,
            }),
            None => Err(malformed("path without its $")),
        }
    }

    fn next_leg(&mut self) -> Result<Option<Leg>> {
        let Some((first, rest)) = self.rest.split_first() else {
            return Ok(None);
        };
        self.legs_left = self
            .legs_left
            .checked_sub(1)
            .ok_or_else(|| malformed("path of too many legs"))?;
        match (first, rest) {
            (b'.', [b'"', quoted @ ..]) => {
                let (key, rest) = unquote(quoted)?;
                self.rest = rest;
                Ok(Some(Leg::Member(key)))
            }
            (b'.', name) => {
                let length = name
                    .iter()
                    .position(|byte| matches!(byte, b'.' | b'['))
                    .unwrap_or(name.len());
                let (name, rest) = name.split_at(length);
                if name.is_empty() {
                    return Err(malformed("path with an empty name"));
                }
                self.rest = rest;
                Ok(Some(Leg::Member(name.to_vec())))
            }
            (b'[', rest) => {
                let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
                let (number, rest) = rest.split_at(digits);
                let index = std::str::from_utf8(number)
                    .ok()
                    .and_then(|number| number.parse().ok());
                match (index, rest.strip_prefix(b"]")) {
                    (Some(index), Some(rest)) => {
                        self.rest = rest;
                        Ok(Some(Leg::Element(index)))
                    }
                    _ => Err(malformed("path with a bad index")),
                }
            }
            _ => Err(malformed("path with a bad leg")),
        }
    }
}

/// A quoted name up to its quote, and what is behind it.
fn unquote(mut rest: &[u8]) -> Result<(Vec<u8>, &[u8])> {
    let mut name = Vec::new();
    loop {
        let Some((byte, tail)) = rest.split_first() else {
            return Err(malformed("path with an open quote"));
        };
        rest = tail;
        match byte {
            b'"' => return Ok((name, rest)),
            b'\\' => {
                let Some((escaped, tail)) = rest.split_first() else {
                    return Err(malformed("path with an open quote"));
                };
                rest = tail;
                match escaped {
                    b'b' => name.push(8),
                    b'f' => name.push(12),
                    b'n' => name.push(b'\n'),
                    b'r' => name.push(b'\r'),
                    b't' => name.push(b'\t'),
                    b'u' => {
                        // The server writes control characters so, and nothing else.
                        let (digits, tail) = rest
                            .split_at_checked(4)
                            .ok_or_else(|| malformed("path with a bad escape"))?;
                        let character = std::str::from_utf8(digits)
                            .ok()
                            .and_then(|digits| u32::from_str_radix(digits, 16).ok())
                            .and_then(char::from_u32)
                            .ok_or_else(|| malformed("path with a bad escape"))?;
                        let mut utf8 = [0; 4];
                        name.extend_from_slice(character.encode_utf8(&mut utf8).as_bytes());
                        rest = tail;
                    }
                    other => name.push(*other),
                }
            }
            other => name.push(*other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::binlog::reader::put_packed;

    /// {"a": 1, "b": [true, "x"]}
    const DOCUMENT: &[u8] = &[
        0x00, 2, 0, 34, 0, 18, 0, 1, 0, 19, 0, 1, 0, 5, 1, 0, 2, 20, 0, b'a', b'b', 2, 0, 12, 0, 4,
        1, 0, 12, 10, 0, 1, b'x', 0, 0,
    ];

    fn diff(operation: u8, path: &str, value: Option<&[u8]>) -> Vec<u8> {
        let mut out = vec![operation];
        put_packed(path.len() as u64, &mut out);
        out.extend_from_slice(path.as_bytes());
        if let Some(value) = value {
            put_packed(value.len() as u64, &mut out);
            out.extend_from_slice(value);
        }
        out
    }

    fn apply(diffs: &[Vec<u8>]) -> Result<String> {
        let limits = Limits::default();
        let mut document = Vec::new();
        JsonDocument::new(DOCUMENT).apply(&diffs.concat(), &limits, &mut document)?;
        let mut text = Vec::new();
        JsonDocument::new(&document).write_text(&limits, &mut text)?;
        Ok(String::from_utf8(text).unwrap())
    }

    /// The integer 7, and the string "zz".
    const SEVEN: &[u8] = &[0x05, 7, 0];
    const ZZ: &[u8] = &[0x0c, 2, b'z', b'z'];

    #[test]
    fn without_differences_the_document_stays() {
        assert_eq!(apply(&[]).unwrap(), r#"{"a": 1, "b": [true, "x"]}"#);
    }

    #[test]
    fn each_operation_changes_members_and_elements() {
        assert_eq!(
            apply(&[diff(0, "$.b[1]", Some(SEVEN)), diff(0, "$.a", Some(ZZ))]).unwrap(),
            r#"{"a": "zz", "b": [true, 7]}"#
        );
        assert_eq!(
            apply(&[
                diff(1, "$.new", Some(ZZ)),
                diff(1, "$.b[1]", Some(SEVEN)),
                diff(1, "$.b[9]", Some(SEVEN)),
                diff(1, "$.\"q\\\"\\u0001 \"", Some(SEVEN)),
            ])
            .unwrap(),
            r#"{"a": 1, "b": [true, 7, "x", 7], "new": "zz", "q\"\u0001 ": 7}"#
        );
        assert_eq!(
            apply(&[diff(2, "$.b[0]", None), diff(2, "$.a", None)]).unwrap(),
            r#"{"b": ["x"]}"#
        );
        assert_eq!(apply(&[diff(0, "$", Some(SEVEN))]).unwrap(), "7");
    }

    #[test]
    fn a_path_that_leads_nowhere_is_a_conflict() {
        for wrong in [
            diff(0, "$.c", Some(SEVEN)),
            diff(0, "$.a[0]", Some(SEVEN)),
            diff(1, "$.a", Some(SEVEN)),
            diff(2, "$.b[2]", None),
            diff(2, "$", None),
            diff(1, "$.a.b", Some(SEVEN)),
        ] {
            assert_eq!(apply(&[wrong]).unwrap_err().kind(), ErrorKind::Conflict);
        }
    }

    #[test]
    fn broken_differences_are_refused() {
        for wrong in [
            vec![3, 1, b'$'],
            diff(0, "a", Some(SEVEN)),
            diff(0, "$.\"a", Some(SEVEN)),
            diff(0, "$[x]", Some(SEVEN)),
            diff(0, "$.b[1", Some(SEVEN)),
            diff(0, "$.b[1]", None),
            diff(0, "$.", Some(SEVEN)),
        ] {
            assert_eq!(apply(&[wrong]).unwrap_err().kind(), ErrorKind::Malformed);
        }
    }

    #[test]
    fn a_document_that_outgrows_the_small_form_takes_the_large_one() {
        let mut long = vec![0x0c, 0xf0, 0xa2, 0x04];
        long.extend(std::iter::repeat_n(b'y', 70_000));
        let text = apply(&[diff(1, "$.long", Some(&long)), diff(1, "$.z", Some(SEVEN))]).unwrap();
        assert!(text.starts_with(r#"{"a": 1, "b": [true, "x"], "z": 7, "long": "yyy"#));
        assert_eq!(
            text.len(),
            r#"{"a": 1, "b": [true, "x"], "z": 7, "long": ""}"#.len() + 70_000
        );
    }
}
