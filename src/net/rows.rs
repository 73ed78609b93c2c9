//! The rows of a small query.

use crate::{Error, ErrorKind, Result};

/// All rows of a text query, in memory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rows {
    pub(super) columns: Vec<String>,
    pub(super) rows: Vec<Vec<Option<Vec<u8>>>>,
}

impl Rows {
    /// The names of the columns.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The rows, each with one value per column; `None` is NULL.
    pub fn iter(&self) -> impl Iterator<Item = &[Option<Vec<u8>>]> {
        self.rows.iter().map(Vec::as_slice)
    }

    /// The value at `row` and `column`, from 0; `None` for NULL and where there is none.
    pub fn value(&self, row: usize, column: usize) -> Option<&[u8]> {
        self.rows.get(row)?.get(column)?.as_deref()
    }

    /// The value at `row` and `column` as text.
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`] where it is NULL, missing or not UTF-8.
    pub fn text(&self, row: usize, column: usize) -> Result<&str> {
        self.value(row, column)
            .and_then(|value| std::str::from_utf8(value).ok())
            .ok_or_else(|| {
                let name = self.columns.get(column).map_or("?", String::as_str);
                Error::new(
                    ErrorKind::Malformed,
                    format!("expected text as {name} in row {} of a query", row + 1),
                )
            })
    }
}
