//! One row, for those who read.

use super::layout::Layout;
use crate::Result;
use crate::binlog::{Cell, Column, Value};

/// One row of a snapshot.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    layout: &'a Layout,
    image: &'a [u8],
}

impl<'a> Row<'a> {
    pub(crate) fn new(layout: &'a Layout, image: &'a [u8]) -> Self {
        Self { layout, image }
    }

    /// The row as a full row image of the binary log: NULL bitmap, then the values.
    pub fn image(&self) -> &'a [u8] {
        self.image
    }

    /// The columns of the image.
    pub fn columns(&self) -> &'a [Column] {
        self.layout.columns()
    }

    /// Where each column's value is in the image.
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`](crate::ErrorKind::Malformed) where the image is damaged.
    pub fn cells(&self, cells: &mut Vec<Cell>) -> Result<()> {
        self.layout.cells(self.image, cells)
    }

    /// The values, in the order of the columns.
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`](crate::ErrorKind::Malformed) where the image is damaged.
    pub fn values(&self) -> Result<Vec<Value<'a>>> {
        let mut cells = Vec::new();
        self.cells(&mut cells)?;
        let columns = self.columns().iter().zip(&cells);
        columns
            .map(|(column, cell)| match cell.bytes(self.image) {
                Some(bytes) => column.decode(bytes),
                None => Ok(Value::Null),
            })
            .collect()
    }
}
