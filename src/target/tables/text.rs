//! Rows as lines of text, as `mysql -BN` prints them.

use crate::binlog::{Cell, TextStyle, write_escaped};
use crate::target::schema::{ColumnDefinition, DataType, to_utf8};
use crate::{Error, ErrorKind, Result};

use super::layout::Layout;

/// Makes lines of the rows of a table.
#[derive(Debug)]
pub(crate) struct Line<'a> {
    layout: &'a Layout,
    styles: Vec<Style<'a>>,
    cells: Vec<Cell>,
    text: Vec<u8>,
    pub(crate) bytes: Vec<u8>,
}

/// How the values of one column are printed.
#[derive(Debug)]
struct Style<'a> {
    text: TextStyle<'a>,
    /// The collation of text that may be in another character set than UTF-8.
    collation: Option<u16>,
    visible: bool,
}

impl<'a> Line<'a> {
    pub(crate) fn new(layout: &'a Layout) -> Self {
        let styles = layout.definition.columns.iter().map(style).collect();
        Self {
            layout,
            styles,
            cells: Vec::new(),
            text: Vec::new(),
            bytes: Vec::new(),
        }
    }

    /// Sets `bytes` to the line of a row.
    pub(crate) fn write(&mut self, image: &[u8]) -> Result<()> {
        self.bytes.clear();
        self.layout.cells(image, &mut self.cells)?;
        let columns = self.layout.columns().iter().zip(&self.cells);
        let shown = columns.zip(&self.styles).filter(|(_, style)| style.visible);
        for (index, ((column, cell), style)) in shown.enumerate() {
            if index > 0 {
                self.bytes.push(b'\t');
            }
            let Some(value) = cell.bytes(image) else {
                write_escaped(None, &mut self.bytes);
                continue;
            };
            self.text.clear();
            let value = column.decode(value)?;
            value.write_text(&style.text, &mut self.text)?;
            match style.collation {
                Some(collation) => {
                    let text = to_utf8(collation, &self.text).ok_or_else(|| {
                        Error::new(
                            ErrorKind::Unsupported,
                            format!("text of collation {collation} cannot be printed in UTF-8"),
                        )
                    })?;
                    write_escaped(Some(&text), &mut self.bytes);
                }
                None => write_escaped(Some(&self.text), &mut self.bytes),
            }
        }
        self.bytes.push(b'\n');
        Ok(())
    }
}

fn style(column: &ColumnDefinition) -> Style<'_> {
    let members: &[String] = match &column.data_type {
        DataType::Enum(members) | DataType::Set(members) => members,
        _ => &[],
    };
    let decimals = match column.data_type {
        DataType::Float(Some((_, decimals))) | DataType::Double(Some((_, decimals))) => {
            Some(decimals)
        }
        _ => None,
    };
    // The names of members are in UTF-8 already.
    let is_text = matches!(
        column.data_type,
        DataType::Char(_) | DataType::VarChar(_) | DataType::Text(_)
    );
    Style {
        text: TextStyle {
            members,
            decimals,
            zerofill: column.zerofill.map(|width| width.min(255) as u8),
            utc_offset_s: 0,
        },
        collation: is_text.then_some(column.collation),
        visible: column.visible,
    }
}
