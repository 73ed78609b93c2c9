//! JSON written as it comes, members in the order in which they are given: nothing is built in memory
//! first, however large an event is.

use std::fmt::Display;
use std::io::Write;

/// An object or array that is being written; it is closed when it is dropped.
pub(super) struct Container<'a> {
    out: &'a mut Vec<u8>,
    close: u8,
    is_empty: bool,
}

impl<'a> Container<'a> {
    /// Opens an object at the end of `out`.
    pub(super) fn object(out: &'a mut Vec<u8>) -> Self {
        Self::open(out, b'{', b'}')
    }

    /// Opens an array at the end of `out`.
    pub(super) fn array(out: &'a mut Vec<u8>) -> Self {
        Self::open(out, b'[', b']')
    }

    fn open(out: &'a mut Vec<u8>, open: u8, close: u8) -> Self {
        out.push(open);
        Self {
            out,
            close,
            is_empty: true,
        }
    }

    /// Where the next element of an array is written.
    pub(super) fn element(&mut self) -> &mut Vec<u8> {
        if !self.is_empty {
            self.out.push(b',');
        }
        self.is_empty = false;
        self.out
    }

    /// Where the value of a new member of an object is written.
    pub(super) fn value(&mut self, key: &str) -> &mut Vec<u8> {
        let out = self.element();
        string(key, out);
        out.push(b':');
        out
    }

    pub(super) fn number(&mut self, key: &str, number: impl Display) {
        let out = self.value(key);
        // Writing to a Vec cannot fail.
        let _ = write!(out, "{number}");
    }

    pub(super) fn boolean(&mut self, key: &str, value: bool) {
        self.number(key, value);
    }

    pub(super) fn string(&mut self, key: &str, text: &str) {
        string(text, self.value(key));
    }

    /// Bytes that are meant as text.
    pub(super) fn text(&mut self, key: &str, text: &[u8]) {
        string(&String::from_utf8_lossy(text), self.value(key));
    }

    pub(super) fn strings<S: AsRef<str>>(&mut self, key: &str, texts: &[S]) {
        let mut array = Container::array(self.value(key));
        for text in texts {
            string(text.as_ref(), array.element());
        }
    }

    pub(super) fn null(&mut self, key: &str) {
        self.value(key).extend_from_slice(b"null");
    }
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        self.out.push(self.close);
    }
}

/// Writes a string with its quotes and escapes.
pub(super) fn string(text: &str, out: &mut Vec<u8>) {
    // A string always has a JSON form, and writing to a Vec cannot fail.
    let _ = serde_json::to_writer(out, text);
}

/// Writes bytes that are no text as `"0x..."`.
pub(super) fn hex(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"\"0x");
    for byte in bytes {
        let _ = write!(out, "{byte:02x}");
    }
    out.push(b'"');
}

/// Writes a floating-point number; what JSON has no number for becomes a string.
pub(super) fn float(number: f64, text: &str, out: &mut Vec<u8>) {
    if number.is_finite() {
        out.extend_from_slice(text.as_bytes());
    } else {
        string(text, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_nest_and_close_themselves() {
        let mut out = Vec::new();
        {
            let mut object = Container::object(&mut out);
            object.number("a", 1);
            object.string("b", "x\"\n");
            {
                let mut array = Container::array(object.value("c"));
                array.element().extend_from_slice(b"2");
                hex(b"\x00\xff", array.element());
            }
            object.null("d");
        }
        assert_eq!(
            String::from_utf8(out).unwrap(),
            r#"{"a":1,"b":"x\"\n","c":[2,"0x00ff"],"d":null}"#
        );
    }
}
