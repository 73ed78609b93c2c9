//! Where a comparison stands.

use std::fmt;
use std::str::FromStr;

use crate::target::schema::TableName;
use crate::{Error, ErrorKind, Result};

/// How far a comparison came, as one line of text: to be kept, and given to the next one.
///
/// ```
/// use rejoin::target::schema::TableName;
/// use rejoin::verify::Position;
///
/// let position = Position::before(TableName::new("shop", "orders"));
/// let line = position.to_string();
/// assert_eq!(line, "73686f70.6f7264657273");
/// assert_eq!(line.parse::<Position>()?, position);
/// # Ok::<(), rejoin::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// The table that is compared; those with smaller names are done.
    pub(super) table: TableName,
    /// The last row of it that was compared.
    pub(super) after: Option<Boundary>,
}

/// A row between two chunks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Boundary {
    /// Its key in the store.
    pub(super) key: Vec<u8>,
    /// The same as SQL literals, one a part.
    pub(super) literals: Vec<String>,
}

impl Position {
    /// In front of the first row of a table.
    pub fn before(table: TableName) -> Self {
        Self { table, after: None }
    }
}

/// ```text
/// database "." table [ " " key { " " literal } ]     each in hexadecimal digits
/// ```
impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(f, &self.table.database)?;
        f.write_str(".")?;
        hex(f, &self.table.table)?;
        if let Some(boundary) = &self.after {
            f.write_str(" ")?;
            hex(f, &boundary.key)?;
            for literal in &boundary.literals {
                f.write_str(" ")?;
                hex(f, literal.as_bytes())?;
            }
        }
        Ok(())
    }
}

fn hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

impl FromStr for Position {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        parse(text).ok_or_else(|| {
            Error::new(
                ErrorKind::Configuration,
                format!("no position of a comparison: {}", text.escape_debug()),
            )
            .remedy("remove the file to begin anew")
        })
    }
}

fn parse(text: &str) -> Option<Position> {
    let mut words = text.split_ascii_whitespace();
    let (database, table) = words.next()?.split_once('.')?;
    let table = TableName::new(unhex(database)?, unhex(table)?);
    let Some(key) = words.next() else {
        return Some(Position::before(table));
    };
    let literals = words.map(|word| String::from_utf8(unhex(word)?).ok());
    let after = Boundary {
        key: unhex(key)?,
        literals: literals.collect::<Option<_>>()?,
    };
    Some(Position {
        table,
        after: Some(after),
    })
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes().chunks(2);
    digits
        .map(|pair| {
            let pair = std::str::from_utf8(pair)
                .ok()
                .filter(|pair| pair.len() == 2)?;
            u8::from_str_radix(pair, 16).ok()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_survives_as_text_and_damage_does_not() {
        let position = Position {
            table: TableName::new("d", "été"),
            after: Some(Boundary {
                key: vec![0, 0xff, 7],
                literals: vec!["1".into(), "_utf8mb4 x'61'".into()],
            }),
        };
        let text = position.to_string();
        assert_eq!(text.parse::<Position>().unwrap(), position);
        for damaged in ["", "00", "0.0", "64.74 0", "64.74 00 ff", "zz.00"] {
            let error = damaged.parse::<Position>().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Configuration, "{damaged}");
        }
    }
}
