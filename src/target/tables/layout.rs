//! How the rows of a table lie in memory: the columns of its row images and the key made of them.
//!
//! A row is stored as a full row image of the log:
//!
//! ```text
//! NULL bitmap, (columns + 7) / 8 bytes, lowest bit first, unused bits 1 | values of the others
//! ```

use crate::binlog::{Cell, Column, ColumnKind, JsonDocument, TextStyle};
use crate::target::key::KeyEncoder;
use crate::target::schema::TableDefinition;
use crate::{Error, ErrorKind, Limits, Result};

/// Columns and key of a table's rows, for as long as its definition stays the same.
#[derive(Debug)]
pub(crate) struct Layout {
    pub(crate) definition: TableDefinition,
    /// The columns of the row images; `None` until a table map shows them.
    columns: Option<Vec<Column>>,
    /// `None`: rows have no key, and are found by their whole image.
    encoder: Option<KeyEncoder>,
}

impl Layout {
    /// # Errors
    /// [`ErrorKind::Unsupported`] where the key has a collation that is not known.
    pub(crate) fn new(definition: TableDefinition) -> Result<Self> {
        let columns = definition.physical_columns();
        let encoder = if columns.is_some() && definition.has_key() {
            Some(KeyEncoder::new(&definition)?)
        } else {
            None
        };
        Ok(Self {
            definition,
            columns,
            encoder,
        })
    }

    /// The columns of the row images; none where they are not known, and then there are no rows.
    pub(crate) fn columns(&self) -> &[Column] {
        self.columns.as_deref().unwrap_or_default()
    }

    /// How keys are made; `None` in a table whose rows have none.
    pub(crate) fn encoder(&self) -> Option<&KeyEncoder> {
        self.encoder.as_ref()
    }

    /// Finds the cells of a stored row.
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`] where the image does not have the layout's columns.
    pub(crate) fn cells(&self, image: &[u8], cells: &mut Vec<Cell>) -> Result<()> {
        cells.clear();
        let columns = self.columns();
        let mut start = columns.len().div_ceil(8);
        for (index, column) in columns.iter().enumerate() {
            if image
                .get(index / 8)
                .is_some_and(|byte| byte >> (index % 8) & 1 == 1)
            {
                cells.push(Cell::Null);
                continue;
            }
            let rest = image.get(start..).unwrap_or_default();
            let end = start + column.value_length(rest)?;
            cells.push(Cell::Value {
                start: start as u32,
                end: end as u32,
            });
            start = end;
        }
        if start != image.len() {
            return Err(Error::new(
                ErrorKind::Malformed,
                format!(
                    "row of {} bytes where its columns take {start}",
                    image.len()
                ),
            ));
        }
        Ok(())
    }
}

impl Layout {
    /// Sets `out` to bytes that are equal for equal rows. The image nearly is that; but the unused bits
    /// of its NULL bitmap mean nothing, and servers change JSON documents in place, so that equal
    /// documents may have different bytes.
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`] where the image does not have the layout's columns.
    pub(crate) fn comparable(
        &self,
        image: &[u8],
        cells: &mut Vec<Cell>,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        self.cells(image, cells)?;
        let mut builder = ImageBuilder::new(out, self.columns().len());
        let mut text = Vec::new();
        for (column, cell) in self.columns().iter().zip(&*cells) {
            match cell.bytes(image) {
                Some(bytes) if column.kind == ColumnKind::Json => {
                    text.clear();
                    JsonDocument::new(column.content(bytes)?)
                        .write_text(&Limits::default(), &mut text)?;
                    builder.push(Some(&text));
                }
                bytes => builder.push(bytes),
            }
        }
        Ok(())
    }

    /// A row for people: the values of its key, or that it has none.
    pub(crate) fn describe(&self, image: &[u8], cells: &[Cell]) -> String {
        if self.definition.primary_key.is_empty() {
            return "(without a key)".to_owned();
        }
        let parts = self.definition.primary_key.iter().map(|part| {
            let name = self.definition.columns.get(part.column);
            let name = name.map_or("?", |column| column.name.as_str());
            let bytes = cells.get(part.column).and_then(|cell| cell.bytes(image));
            let column = self.columns().get(part.column);
            let mut text = Vec::new();
            let written = column.zip(bytes).map(|(column, bytes)| {
                let value = column.decode(bytes)?;
                value.write_text(&TextStyle::default(), &mut text)
            });
            match written {
                Some(Ok(())) => format!("{name}={}", String::from_utf8_lossy(&text).escape_debug()),
                _ => format!("{name}=?"),
            }
        });
        format!("({})", parts.collect::<Vec<_>>().join(", "))
    }
}

/// Builds a full row image, column by column.
#[derive(Debug)]
pub(crate) struct ImageBuilder<'a> {
    image: &'a mut Vec<u8>,
    column: usize,
}

impl<'a> ImageBuilder<'a> {
    /// Starts an image of `columns` columns in `image`; all are NULL so far.
    pub(crate) fn new(image: &'a mut Vec<u8>, columns: usize) -> Self {
        image.clear();
        image.resize(columns.div_ceil(8), 0xff);
        Self { image, column: 0 }
    }

    /// Sets the next column: its value with its length prefix, or NULL.
    pub(crate) fn push(&mut self, value: Option<&[u8]>) {
        if let Some(value) = value {
            if let Some(byte) = self.image.get_mut(self.column / 8) {
                *byte &= !(1 << (self.column % 8));
            }
            self.image.extend_from_slice(value);
        }
        self.column += 1;
    }
}
