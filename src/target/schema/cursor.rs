//! A place in a statement's lexemes, and what is read there again and again: keywords, names, literals,
//! groups in parentheses.

use super::context::StatementContext;
use super::definition::{Literal, TableName, Unclassified};
use super::text;
use super::token::{Lexeme, Token};

pub(crate) type Parse<T> = Result<T, Unclassified>;

/// A place in a range of lexemes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cursor<'a> {
    statement: &'a [u8],
    lexemes: &'a [Lexeme<'a>],
    position: usize,
    pub(crate) context: &'a StatementContext<'a>,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(
        statement: &'a [u8],
        lexemes: &'a [Lexeme<'a>],
        context: &'a StatementContext<'a>,
    ) -> Self {
        Self {
            statement,
            lexemes,
            position: 0,
            context,
        }
    }

    pub(crate) fn peek(&self) -> Option<&'a Token<'a>> {
        self.peek_at(0)
    }

    pub(crate) fn peek_at(&self, offset: usize) -> Option<&'a Token<'a>> {
        self.lexemes
            .get(self.position + offset)
            .map(|lexeme| &lexeme.token)
    }

    pub(crate) fn next(&mut self) -> Option<&'a Token<'a>> {
        let token = self.peek();
        self.position += usize::from(token.is_some());
        token
    }

    pub(crate) fn at_end(&self) -> bool {
        self.position >= self.lexemes.len()
    }

    /// The statement's text from here on, to name a clause in an error.
    pub(crate) fn rest(&self) -> String {
        let start = self.lexemes.get(self.position).map(|lexeme| lexeme.start);
        let end = self.lexemes.last().map(|lexeme| lexeme.end);
        self.text_between(start, end)
    }

    fn text_between(&self, start: Option<usize>, end: Option<usize>) -> String {
        start
            .zip(end)
            .and_then(|(start, end)| self.statement.get(start..end))
            .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
            .unwrap_or_default()
    }

    pub(crate) fn unclassified(&self, expected: &str) -> Unclassified {
        let mut rest = self.rest();
        if let Some((cut, _)) = rest.char_indices().nth(60) {
            rest.truncate(cut);
        }
        Unclassified::new(format!("{expected} expected at '{rest}'"))
    }

    /// Whether the unquoted word `keyword` (upper case) stands `offset` lexemes further.
    pub(crate) fn is_word_at(&self, offset: usize, keyword: &str) -> bool {
        matches!(self.peek_at(offset), Some(Token::Word(word)) if word.eq_ignore_ascii_case(keyword.as_bytes()))
    }

    pub(crate) fn is_word(&self, keyword: &str) -> bool {
        self.is_word_at(0, keyword)
    }

    pub(crate) fn is_any(&self, keywords: &[&str]) -> bool {
        keywords.iter().any(|keyword| self.is_word(keyword))
    }

    pub(crate) fn accept(&mut self, keyword: &str) -> bool {
        let found = self.is_word(keyword);
        self.position += usize::from(found);
        found
    }

    /// Accepts the whole sequence of keywords or nothing.
    pub(crate) fn accept_all(&mut self, keywords: &[&str]) -> bool {
        let found = keywords
            .iter()
            .enumerate()
            .all(|(offset, keyword)| self.is_word_at(offset, keyword));
        if found {
            self.position += keywords.len();
        }
        found
    }

    pub(crate) fn accept_any(&mut self, keywords: &[&str]) -> bool {
        let found = self.is_any(keywords);
        self.position += usize::from(found);
        found
    }

    pub(crate) fn expect(&mut self, keyword: &str) -> Parse<()> {
        if self.accept(keyword) {
            Ok(())
        } else {
            Err(self.unclassified(keyword))
        }
    }

    pub(crate) fn is_symbol(&self, symbol: u8) -> bool {
        self.peek() == Some(&Token::Symbol(symbol))
    }

    pub(crate) fn accept_symbol(&mut self, symbol: u8) -> bool {
        let found = self.is_symbol(symbol);
        self.position += usize::from(found);
        found
    }

    /// Passes over one lexeme, or over a whole group where one opens here.
    pub(crate) fn skip(&mut self) {
        if self.group().is_none() {
            self.position += 1;
        }
    }

    /// The inside of the parentheses that open here; the position moves behind them.
    pub(crate) fn group(&mut self) -> Option<Cursor<'a>> {
        if !self.is_symbol(b'(') {
            return None;
        }
        let start = self.position + 1;
        let mut depth = 0usize;
        for (offset, lexeme) in self.lexemes[self.position..].iter().enumerate() {
            match lexeme.token {
                Token::Symbol(b'(') => depth += 1,
                Token::Symbol(b')') => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                let end = self.position + offset;
                self.position = end + 1;
                return Some(self.part(start, end));
            }
        }
        None
    }

    pub(crate) fn expect_group(&mut self) -> Parse<Cursor<'a>> {
        match self.group() {
            Some(group) => Ok(group),
            None => Err(self.unclassified("a group in parentheses")),
        }
    }

    fn part(&self, start: usize, end: usize) -> Cursor<'a> {
        Cursor {
            lexemes: &self.lexemes[start..end],
            position: 0,
            ..*self
        }
    }

    /// What is left, cut at the commas that stand outside of parentheses.
    pub(crate) fn split_at_commas(&self) -> Vec<Cursor<'a>> {
        let mut parts = Vec::new();
        let mut start = self.position;
        let mut depth = 0usize;
        for (position, lexeme) in self.lexemes.iter().enumerate().skip(self.position) {
            match lexeme.token {
                Token::Symbol(b'(') => depth += 1,
                Token::Symbol(b')') => depth = depth.saturating_sub(1),
                Token::Symbol(b',') if depth == 0 => {
                    parts.push(self.part(start, position));
                    start = position + 1;
                }
                _ => {}
            }
        }
        if start < self.lexemes.len() {
            parts.push(self.part(start, self.lexemes.len()));
        }
        parts
    }

    /// A name, quoted or not.
    pub(crate) fn name(&mut self) -> Parse<String> {
        let Some(name) = self.peek().and_then(|token| self.name_of(token)) else {
            return Err(self.unclassified("a name"));
        };
        self.position += 1;
        name
    }

    fn name_of(&self, token: &Token<'_>) -> Option<Parse<String>> {
        let bytes = match token {
            Token::Word(word) => *word,
            Token::Name(name) => name.as_ref(),
            _ => return None,
        };
        Some(
            text::decode(self.context.client_charset(), bytes).ok_or_else(|| {
                Unclassified::new(format!(
                    "name in character set {}",
                    self.context.client_charset()
                ))
            }),
        )
    }

    /// `[database.]table`.
    pub(crate) fn table_name(&mut self) -> Parse<TableName> {
        // `.table` is accepted by the server as well.
        if self.accept_symbol(b'.') {
            let table = self.name()?;
            return Ok(TableName::new(self.context.default_database, table));
        }
        let first = self.name()?;
        if self.is_symbol(b'.')
            && self
                .peek_at(1)
                .is_some_and(|token| self.name_of(token).is_some())
        {
            self.position += 1;
            return Ok(TableName::new(first, self.name()?));
        }
        Ok(TableName::new(self.context.default_database, first))
    }

    /// A comma-separated list of tables that ends where no comma follows.
    pub(crate) fn table_names(&mut self) -> Parse<Vec<TableName>> {
        let mut names = vec![self.table_name()?];
        while self.accept_symbol(b',') {
            names.push(self.table_name()?);
        }
        Ok(names)
    }

    /// The name of a character set or collation, which may also be a string.
    pub(crate) fn charset_word(&mut self) -> Parse<String> {
        if let Some(Token::String(string)) = self.peek() {
            self.position += 1;
            return Ok(String::from_utf8_lossy(string).into_owned());
        }
        self.name()
    }

    /// `IF EXISTS` or, with `not`, `IF NOT EXISTS`.
    pub(crate) fn accept_if_exists(&mut self, not: bool) -> bool {
        if not {
            self.accept_all(&["IF", "NOT", "EXISTS"])
        } else {
            self.accept_all(&["IF", "EXISTS"])
        }
    }

    /// An unsigned number that fits.
    pub(crate) fn integer<T: std::str::FromStr>(&mut self) -> Parse<T> {
        let number = match self.peek() {
            Some(Token::Number(digits)) => std::str::from_utf8(digits)
                .ok()
                .and_then(|digits| digits.parse().ok()),
            _ => None,
        };
        match number {
            Some(number) => {
                self.position += 1;
                Ok(number)
            }
            None => Err(self.unclassified("a number")),
        }
    }

    /// A literal other than NULL, TRUE and FALSE: a string with or without introducer, adjacent strings
    /// joined, bits, or a number with its sign.
    pub(crate) fn literal(&mut self) -> Parse<Option<Literal>> {
        let sign = match self.peek() {
            Some(Token::Symbol(sign @ (b'-' | b'+')))
                if matches!(self.peek_at(1), Some(Token::Number(_))) =>
            {
                self.position += 1;
                if *sign == b'-' { "-" } else { "" }
            }
            _ => "",
        };
        match self.peek() {
            Some(Token::Number(digits)) => {
                self.position += 1;
                let digits = String::from_utf8_lossy(digits);
                Ok(Some(Literal::Number(format!("{sign}{digits}"))))
            }
            Some(Token::Bytes(bytes)) => {
                self.position += 1;
                Ok(Some(Literal::Bits(bytes.clone())))
            }
            Some(Token::String(_)) => self.string(self.context.client_charset()).map(Some),
            Some(Token::Word(word)) if word.first() == Some(&b'_') => {
                let charset = String::from_utf8_lossy(&word[1..]).to_ascii_lowercase();
                match self.peek_at(1) {
                    Some(Token::String(_)) => {
                        self.position += 1;
                        self.string(&charset).map(Some)
                    }
                    Some(Token::Bytes(bytes)) => {
                        self.position += 2;
                        Ok(Some(text_literal(&charset, bytes.clone())))
                    }
                    _ => Ok(None),
                }
            }
            // DATE'2020-01-01' and the like.
            Some(Token::Word(_))
                if self.is_any(&["DATE", "TIME", "TIMESTAMP"])
                    && matches!(self.peek_at(1), Some(Token::String(_))) =>
            {
                self.position += 1;
                self.string(self.context.client_charset()).map(Some)
            }
            _ => Ok(None),
        }
    }

    fn string(&mut self, charset: &str) -> Parse<Literal> {
        let mut bytes = Vec::new();
        while let Some(Token::String(string)) = self.peek() {
            bytes.extend_from_slice(string);
            self.position += 1;
        }
        Ok(text_literal(charset, bytes))
    }

    /// The members of an ENUM or SET: strings, in UTF-8.
    pub(crate) fn strings(&mut self) -> Parse<Vec<String>> {
        let mut strings = Vec::new();
        loop {
            match self.literal()? {
                Some(Literal::Text(text)) => strings.push(text),
                Some(Literal::Bits(bytes) | Literal::Bytes(bytes)) => {
                    let text = String::from_utf8(bytes);
                    strings.push(text.map_err(|_| self.unclassified("a string in UTF-8"))?);
                }
                _ => return Err(self.unclassified("a string")),
            }
            if !self.accept_symbol(b',') {
                return Ok(strings);
            }
        }
    }
}

fn text_literal(charset: &str, bytes: Vec<u8>) -> Literal {
    if charset == "binary" {
        return Literal::Bytes(bytes);
    }
    match text::decode(charset, &bytes) {
        Some(text) => Literal::Text(text),
        None => Literal::Bytes(bytes),
    }
}
