//! Statement text to lexemes.
//!
//! The lexer follows the server's own (`sql_lex.cc`) where the difference can be seen in a statement
//! that was executed: comments vanish, the content of versioned comments stays, a quoted name is never
//! a keyword. A statement in a binary log was accepted by its server, so that a versioned comment
//! that is still there was executed: the server blanks the `!` of those that it skipped.
//!
//! ```text
//! ALTER TABLE `a``b` /*!50100 ADD c VARCHAR(3) */ DEFAULT _latin1'it''s' -- why
//! word  word  name         word ...   symbols    word    word   string
//! ```

use std::borrow::Cow;

/// The bits of `sql_mode` that change how a statement reads, or what it does to rows.
pub(crate) mod sql_mode {
    /// `REAL` is `FLOAT`.
    pub(crate) const REAL_AS_FLOAT: u64 = 1;
    /// Double quotes enclose names.
    pub(crate) const ANSI_QUOTES: u64 = 1 << 2;
    /// A 0 in an AUTO_INCREMENT column is a 0.
    pub(crate) const NO_AUTO_VALUE_ON_ZERO: u64 = 1 << 19;
    /// A backslash in a string is itself.
    pub(crate) const NO_BACKSLASH_ESCAPES: u64 = 1 << 20;
    /// Fractional seconds are cut instead of rounded.
    pub(crate) const TIME_TRUNCATE_FRACTIONAL: u64 = 1 << 32;
}

/// One lexical element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Token<'a> {
    /// An unquoted name or a keyword, as written.
    Word(&'a [u8]),
    /// A quoted name, quotes resolved.
    Name(Cow<'a, [u8]>),
    /// A string literal, quotes and escapes resolved.
    String(Cow<'a, [u8]>),
    /// `x'..'`, `0x..`, `b'..'` or `0b..`: the bytes, most significant first.
    Bytes(Vec<u8>),
    /// An unsigned number, as written.
    Number(&'a [u8]),
    /// Any other character.
    Symbol(u8),
}

/// A token and where it stands in the statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lexeme<'a> {
    pub(crate) token: Token<'a>,
    pub(crate) start: usize,
    pub(crate) end: usize,
}

/// Why a statement could not be cut into lexemes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unterminated {
    /// What was open at the statement's end.
    pub(crate) what: &'static str,
}

/// Cuts `statement` into lexemes.
pub(crate) fn lex(statement: &[u8], mode: u64) -> Result<Vec<Lexeme<'_>>, Unterminated> {
    let mut lexer = Lexer {
        text: statement,
        position: 0,
        mode,
        versioned: 0,
        lexemes: Vec::with_capacity(statement.len() / 5 + 4),
    };
    lexer.run()?;
    Ok(lexer.lexemes)
}

/// The first `count` words or names of a statement, for statements of which no more is needed: the rest
/// (a trigger's body, say) is never looked at.
pub(crate) fn lex_head(statement: &[u8], mode: u64, count: usize) -> Vec<Lexeme<'_>> {
    let mut lexer = Lexer {
        text: statement,
        position: 0,
        mode,
        versioned: 0,
        lexemes: Vec::with_capacity(count),
    };
    while lexer.lexemes.len() < count {
        if !matches!(lexer.step(), Ok(true)) {
            break;
        }
    }
    lexer.lexemes
}

struct Lexer<'a> {
    text: &'a [u8],
    position: usize,
    mode: u64,
    /// Versioned comments that are open.
    versioned: usize,
    lexemes: Vec<Lexeme<'a>>,
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$' || byte >= 0x80
}

impl<'a> Lexer<'a> {
    fn run(&mut self) -> Result<(), Unterminated> {
        while self.step()? {}
        Ok(())
    }

    fn at(&self, offset: usize) -> u8 {
        self.text.get(self.position + offset).copied().unwrap_or(0)
    }

    fn push(&mut self, token: Token<'a>, start: usize) {
        let end = self.position;
        self.lexemes.push(Lexeme { token, start, end });
    }

    /// Reads one lexeme or one comment; false at the end.
    fn step(&mut self) -> Result<bool, Unterminated> {
        while self.at(0).is_ascii_whitespace() || self.at(0) == 0x0b {
            self.position += 1;
        }
        let start = self.position;
        let Some(&byte) = self.text.get(start) else {
            return Ok(false);
        };
        match byte {
            b'#' => self.skip_line(),
            b'-' if self.at(1) == b'-' && self.at(2) <= b' ' => self.skip_line(),
            b'/' if self.at(1) == b'*' => self.comment()?,
            b'*' if self.at(1) == b'/' && self.versioned > 0 => {
                self.versioned -= 1;
                self.position += 2;
            }
            b'`' => {
                let name = self.quoted(b'`', false)?;
                self.push(Token::Name(name), start);
            }
            b'"' if self.mode & sql_mode::ANSI_QUOTES != 0 => {
                let name = self.quoted(b'"', false)?;
                self.push(Token::Name(name), start);
            }
            b'\'' | b'"' => {
                let string = self.quoted(byte, true)?;
                self.push(Token::String(string), start);
            }
            b'x' | b'X' | b'b' | b'B' if self.at(1) == b'\'' => {
                self.position += 1;
                let digits = self.quoted(b'\'', false)?;
                let base = if byte | 0x20 == b'x' { 4 } else { 1 };
                self.push(Token::Bytes(pack_digits(&digits, base)), start);
            }
            b'n' | b'N' if self.at(1) == b'\'' => {
                self.position += 1;
                let string = self.quoted(b'\'', true)?;
                self.push(Token::String(string), start);
            }
            _ if byte.is_ascii_digit() || (byte == b'.' && self.starts_fraction()) => {
                self.number(start);
            }
            _ if is_word(byte) => {
                self.skip_word();
                self.push(Token::Word(&self.text[start..self.position]), start);
            }
            _ => {
                self.position += 1;
                self.push(Token::Symbol(byte), start);
            }
        }
        Ok(true)
    }

    fn skip_line(&mut self) {
        while self.position < self.text.len() && self.at(0) != b'\n' {
            self.position += 1;
        }
    }

    fn skip_word(&mut self) {
        while is_word(self.at(0)) {
            self.position += 1;
        }
    }

    fn comment(&mut self) -> Result<(), Unterminated> {
        self.position += 2;
        if self.at(0) == b'!' {
            self.position += 1;
            // Five digits of version, six since 8.0; fewer digits belong to the content.
            let digits = (0..6)
                .take_while(|&index| self.at(index).is_ascii_digit())
                .count();
            if digits >= 5 {
                self.position += digits;
            }
            self.versioned += 1;
            return Ok(());
        }
        let rest = &self.text[self.position..];
        match rest.windows(2).position(|pair| pair == b"*/") {
            Some(length) => {
                self.position += length + 2;
                Ok(())
            }
            None => Err(Unterminated { what: "comment" }),
        }
    }

    /// A `.5` is a number where no name can go on.
    fn starts_fraction(&self) -> bool {
        self.at(1).is_ascii_digit()
            && !matches!(
                self.lexemes.last(),
                Some(Lexeme { token: Token::Word(_) | Token::Name(_), end, .. }) if *end == self.position
            )
    }

    fn number(&mut self, start: usize) {
        let after_dot = matches!(
            self.lexemes.last(),
            Some(Lexeme { token: Token::Symbol(b'.'), end, .. }) if *end == start
        );
        let marker = self.at(1) | 0x20;
        let is_digit: fn(&u8) -> bool = if marker == b'x' {
            u8::is_ascii_hexdigit
        } else {
            |byte| matches!(byte, b'0' | b'1')
        };
        if self.at(0) == b'0' && matches!(self.at(1), b'x' | b'b') && !after_dot {
            let rest = &self.text[start + 2..];
            let length = rest.iter().take_while(|byte| is_digit(byte)).count();
            if length > 0 && !rest.get(length).is_some_and(|&byte| is_word(byte)) {
                self.position = start + 2 + length;
                let base = if marker == b'x' { 4 } else { 1 };
                let bytes = pack_digits(&self.text[start + 2..self.position], base);
                self.push(Token::Bytes(bytes), start);
                return;
            }
        }
        let digits = |lexer: &mut Self| {
            while lexer.at(0).is_ascii_digit() {
                lexer.position += 1;
            }
        };
        digits(self);
        // A name may begin with digits (`1st`), and is one for certain behind a dot.
        let exponent = matches!(self.at(0), b'e' | b'E')
            && (self.at(1).is_ascii_digit()
                || (matches!(self.at(1), b'+' | b'-') && self.at(2).is_ascii_digit()));
        if after_dot || (is_word(self.at(0)) && !exponent) {
            self.skip_word();
            self.push(Token::Word(&self.text[start..self.position]), start);
            return;
        }
        if self.at(0) == b'.' {
            self.position += 1;
            digits(self);
        }
        if matches!(self.at(0), b'e' | b'E')
            && (self.at(1).is_ascii_digit()
                || (matches!(self.at(1), b'+' | b'-') && self.at(2).is_ascii_digit()))
        {
            self.position += 2;
            digits(self);
        }
        self.push(Token::Number(&self.text[start..self.position]), start);
    }

    /// Reads what stands between quotes, the opening one at the position.
    fn quoted(&mut self, quote: u8, string: bool) -> Result<Cow<'a, [u8]>, Unterminated> {
        let escapes = string && self.mode & sql_mode::NO_BACKSLASH_ESCAPES == 0;
        let text = self.text;
        let start = self.position + 1;
        let mut owned: Option<Vec<u8>> = None;
        let mut position = start;
        loop {
            let Some(&byte) = text.get(position) else {
                return Err(Unterminated {
                    what: if string { "string" } else { "quoted name" },
                });
            };
            if byte == quote {
                if text.get(position + 1) != Some(&quote) {
                    self.position = position + 1;
                    return Ok(match owned {
                        Some(owned) => Cow::Owned(owned),
                        None => Cow::Borrowed(&text[start..position]),
                    });
                }
                let so_far = owned.get_or_insert_with(|| text[start..position].to_vec());
                so_far.push(quote);
                position += 2;
            } else if byte == b'\\' && escapes {
                let so_far = owned.get_or_insert_with(|| text[start..position].to_vec());
                match text.get(position + 1).copied().unwrap_or(b'\\') {
                    b'0' => so_far.push(0),
                    b'b' => so_far.push(8),
                    b'n' => so_far.push(b'\n'),
                    b'r' => so_far.push(b'\r'),
                    b't' => so_far.push(b'\t'),
                    b'Z' => so_far.push(26),
                    // These two keep their backslash: LIKE patterns need it.
                    other @ (b'%' | b'_') => so_far.extend([b'\\', other]),
                    other => so_far.push(other),
                }
                position += 2;
            } else {
                if let Some(owned) = &mut owned {
                    owned.push(byte);
                }
                position += 1;
            }
        }
    }
}

/// Digits of 1 or 4 bits each to bytes, right-aligned.
fn pack_digits(digits: &[u8], bits: usize) -> Vec<u8> {
    let mut bytes = vec![0; (digits.len() * bits).div_ceil(8)];
    for (index, &digit) in digits.iter().rev().enumerate() {
        let value = char::from(digit).to_digit(16).unwrap_or(0) as u8;
        let bit = index * bits;
        let place = bytes.len() - 1 - bit / 8;
        bytes[place] |= value << (bit % 8);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(text: &str, mode: u64) -> Vec<String> {
        lex(text.as_bytes(), mode)
            .unwrap()
            .into_iter()
            .map(|lexeme| match lexeme.token {
                Token::Word(word) => format!("w:{}", String::from_utf8_lossy(word)),
                Token::Name(name) => format!("n:{}", String::from_utf8_lossy(&name)),
                Token::String(string) => format!("s:{}", String::from_utf8_lossy(&string)),
                Token::Bytes(bytes) => format!("b:{bytes:02x?}"),
                Token::Number(number) => format!("d:{}", String::from_utf8_lossy(number)),
                Token::Symbol(symbol) => format!("{}", char::from(symbol)),
            })
            .collect()
    }

    #[test]
    fn comments_vanish_and_versioned_content_stays() {
        assert_eq!(
            tokens(
                "a /* b */ # c\n -- d\n/*!50100 e /* f */ g */ /*! h*/i/*+ j */--1",
                0
            ),
            ["w:a", "w:e", "w:g", "w:h", "w:i", "-", "-", "d:1"]
        );
    }

    #[test]
    fn quotes_are_resolved_by_sql_mode() {
        assert_eq!(
            tokens(r#"`a``b` "c""d" 'e\'f''g\n\%'"#, 0),
            ["n:a`b", "s:c\"d", "s:e'f'g\n\\%"]
        );
        assert_eq!(
            tokens(
                r#""c""d" 'e\' x"#,
                sql_mode::ANSI_QUOTES | sql_mode::NO_BACKSLASH_ESCAPES
            ),
            ["n:c\"d", "s:e\\", "w:x"]
        );
        assert_eq!(lex(b"'abc", 0).unwrap_err().what, "string");
        assert_eq!(lex(b"/* abc", 0).unwrap_err().what, "comment");
    }

    #[test]
    fn numbers_and_names_that_begin_with_digits() {
        assert_eq!(
            tokens(
                "1 1.5 .5 1e3 1E-3 2.e5 1st db.1e5 a.2b 0x1F 0xZZ x'0aF' b'101' 0b11 N'n'",
                0
            ),
            [
                "d:1",
                "d:1.5",
                "d:.5",
                "d:1e3",
                "d:1E-3",
                "d:2.e5",
                "w:1st",
                "w:db",
                ".",
                "w:1e5",
                "w:a",
                ".",
                "w:2b",
                "b:[1f]",
                "w:0xZZ",
                "b:[00, af]",
                "b:[05]",
                "b:[03]",
                "s:n"
            ]
        );
    }

    #[test]
    fn no_text_makes_it_panic() {
        let alphabet = b"'\"`\\/*!-#x0b.e1 \xe9";
        let mut state = 7u32;
        for _ in 0..20_000 {
            let mut text = Vec::new();
            for _ in 0..12 {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                text.push(alphabet[(state >> 16) as usize % alphabet.len()]);
            }
            let _ = lex(&text, 0);
            let _ = lex_head(&text, 4, 3);
        }
    }
}
