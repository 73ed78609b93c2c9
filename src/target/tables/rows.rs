//! Row events on a table: what a source's images do to the stored rows.
//!
//! A stored row is a full image. Where the source logs full images an insert is a copy of the bytes in
//! the event; where it logs less (`binlog_row_image` MINIMAL, NOBLOB), the missing columns come from
//! the stored row. Every change is checked: a row to insert must not be there, a row to change must be.

use std::hash::{DefaultHasher, Hasher};
use std::sync::Arc;

use super::layout::{ImageBuilder, Layout};
use super::state::Table;
use super::{KEY_MAX, Rows};
use crate::binlog::{Cell, Column, JsonDocument, Rows as Images, RowsEvent, RowsKind};
use crate::target::schema::StatementContext;
use crate::{Error, ErrorKind, Limits, Result};

/// Memory that is used again for every row.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    cells: Vec<Cell>,
    stored_cells: Vec<Cell>,
    key: Vec<u8>,
    new_key: Vec<u8>,
    image: Vec<u8>,
}

/// Says of a key whether its row is to be changed.
pub(crate) type Held<'a> = dyn Fn(&[u8]) -> bool + 'a;

/// Makes all changes of a row event.
///
/// # Errors
/// [`ErrorKind::Conflict`] where a row is there that must not be or is not there that must be; the rows
/// before it are changed already.
///
/// `timestamp` is when the statement ran, in seconds since 1970.
pub(crate) fn apply<R: Rows>(
    table: &mut Table<R>,
    event: &RowsEvent<'_>,
    timestamp: u32,
    scratch: &mut Scratch,
) -> Result<()> {
    change(table, event, timestamp, scratch, None)
}

/// As [`apply`], but only for the keys that `holds` says yes to: the rows of all others are as the
/// event leaves them already. A change of a key counts as a removal and an insertion.
///
/// # Errors
/// As `apply`; [`ErrorKind::Unsupported`] where a row comes from a key that is not held, and the event
/// does not have all of its columns.
pub(crate) fn apply_where<R: Rows>(
    table: &mut Table<R>,
    event: &RowsEvent<'_>,
    timestamp: u32,
    scratch: &mut Scratch,
    holds: &Held<'_>,
) -> Result<()> {
    change(table, event, timestamp, scratch, Some(holds))
}

fn change<R: Rows>(
    table: &mut Table<R>,
    event: &RowsEvent<'_>,
    timestamp: u32,
    scratch: &mut Scratch,
    holds: Option<&Held<'_>>,
) -> Result<()> {
    let layout = Arc::clone(&table.layout);
    let mut changer = Changer {
        table,
        holds,
        layout: &layout,
        scratch,
        timestamp,
        whole_before: is_whole(event.columns_before, event.width),
        whole_after: is_whole(event.columns_after, event.width),
    };
    let mut rows = event.rows(layout.columns())?;
    match event.kind {
        RowsKind::Insert if inserts_nothing_but_defaults(event) => {
            changer.scratch.cells.clear();
            changer.scratch.cells.resize(event.width, Cell::Absent);
            changer.insert_image(&[])?;
        }
        RowsKind::Insert => while changer.insert(&mut rows)? {},
        RowsKind::Delete => while changer.delete(&mut rows)? {},
        RowsKind::Update | RowsKind::PartialUpdate => while changer.update(&mut rows)? {},
    }
    Ok(())
}

/// Whether a bitmap of present columns has all of them.
pub(super) fn is_whole(bitmap: &[u8], width: usize) -> bool {
    (0..width).all(|column| has(bitmap, column))
}

/// Whether a minimal image has no column at all: `INSERT INTO t () VALUES ()`. The event's rows are no
/// bytes then, and it stands for one row, as it does to a replica of the server's.
pub(crate) fn inserts_nothing_but_defaults(event: &RowsEvent<'_>) -> bool {
    event.kind == RowsKind::Insert
        && event.width > 0
        && event.row_bytes().is_empty()
        && (0..event.width).all(|column| !has(event.columns_before, column))
}

/// Whether it has this one.
pub(super) fn has(bitmap: &[u8], column: usize) -> bool {
    let byte = bitmap.get(column / 8);
    byte.is_some_and(|byte| byte >> (column % 8) & 1 == 1)
}

struct Changer<'a, R> {
    table: &'a mut Table<R>,
    layout: &'a Layout,
    /// The keys that are to be changed, where not all are.
    holds: Option<&'a Held<'a>>,
    scratch: &'a mut Scratch,
    timestamp: u32,
    /// Whether images before (in inserts: of the new row), and after a change have every column.
    whole_before: bool,
    whole_after: bool,
}

impl<R: Rows> Changer<'_, R> {
    /// The next row of an insert; `false` behind the last one.
    fn insert(&mut self, rows: &mut Images<'_, '_>) -> Result<bool> {
        let Some(image) = rows.next_image(&mut self.scratch.cells)? else {
            return Ok(false);
        };
        self.insert_image(image.bytes)?;
        Ok(true)
    }

    /// Puts in the row of an image, whose columns are at `scratch.cells`.
    fn insert_image(&mut self, image: &[u8]) -> Result<()> {
        let mut built = std::mem::take(&mut self.scratch.image);
        let row = if self.whole_before {
            image
        } else {
            self.fill_with_defaults(image, &mut built)?;
            self.layout.cells(&built, &mut self.scratch.cells)?;
            &built
        };
        self.insert_row(row)?;
        self.scratch.image = built;
        Ok(())
    }

    /// Puts a whole row in, whose columns are at `scratch.cells`.
    fn insert_row(&mut self, row: &[u8]) -> Result<()> {
        match self.layout.encoder() {
            Some(encoder) => {
                let key = &mut self.scratch.key;
                key.clear();
                encoder.encode(row, &self.scratch.cells, key)?;
                check_key_length(key)?;
                if self.holds.is_some_and(|holds| !holds(key)) {
                    return Ok(());
                }
                if !self.table.rows.insert(key, row)? {
                    return Err(self.conflict(row, "is there already"));
                }
                Ok(())
            }
            None => self.insert_keyless(row),
        }
    }

    fn delete(&mut self, rows: &mut Images<'_, '_>) -> Result<bool> {
        let Some(image) = rows.next_image(&mut self.scratch.cells)? else {
            return Ok(false);
        };
        self.find_key(image.bytes)?;
        if !self.is_held(&self.scratch.key) {
            return Ok(true);
        }
        if !self.table.rows.remove(&self.scratch.key)? {
            return Err(self.conflict(image.bytes, "to delete is not there"));
        }
        Ok(true)
    }

    fn update(&mut self, rows: &mut Images<'_, '_>) -> Result<bool> {
        let Some(before) = rows.next_image(&mut self.scratch.cells)? else {
            return Ok(false);
        };
        self.find_key(before.bytes)?;
        let before_cells = std::mem::take(&mut self.scratch.cells);
        let Some(after) = rows.next_image(&mut self.scratch.cells)? else {
            // The cursor refuses an update without its second image.
            return Ok(false);
        };
        let mut built = std::mem::take(&mut self.scratch.image);
        let partial = self.scratch.cells.iter();
        let is_whole = self.whole_after
            && !partial
                .clone()
                .any(|cell| matches!(cell, Cell::Partial { .. }));
        if !self.is_held(&self.scratch.key) {
            return self
                .update_from_elsewhere(after.bytes, is_whole)
                .map(|()| true);
        }
        let row = if is_whole {
            after.bytes
        } else {
            let Some(stored) = self.table.rows.get(&self.scratch.key)? else {
                self.scratch.cells = before_cells;
                return Err(self.conflict(before.bytes, "to update is not there"));
            };
            self.layout.cells(&stored, &mut self.scratch.stored_cells)?;
            overlay(
                self.layout.columns(),
                (&stored, &self.scratch.stored_cells),
                (after.bytes, &self.scratch.cells),
                &mut built,
            )?;
            self.layout.cells(&built, &mut self.scratch.cells)?;
            &built
        };
        let outcome = self.update_row(row);
        let refused = match outcome {
            Ok(Updated::Done) => Ok(()),
            Ok(Updated::Missing) => {
                self.scratch.cells.clone_from(&before_cells);
                Err(self.conflict(before.bytes, "to update is not there"))
            }
            Ok(Updated::Taken) => Err(self.conflict(row, "is there already")),
            Err(error) => Err(error),
        };
        self.scratch.image = built;
        refused.map(|()| true)
    }

    /// Puts a whole row, whose columns are at `scratch.cells`, in place of the one at `scratch.key`.
    fn update_row(&mut self, row: &[u8]) -> Result<Updated> {
        let Some(encoder) = self.layout.encoder() else {
            if !self.table.rows.remove(&self.scratch.key)? {
                return Ok(Updated::Missing);
            }
            self.insert_keyless(row)?;
            return Ok(Updated::Done);
        };
        let new_key = &mut self.scratch.new_key;
        new_key.clear();
        encoder.encode(row, &self.scratch.cells, new_key)?;
        if *new_key == self.scratch.key {
            return Ok(if self.table.rows.replace(new_key, row)? {
                Updated::Done
            } else {
                Updated::Missing
            });
        }
        check_key_length(new_key)?;
        if !self.table.rows.remove(&self.scratch.key)? {
            return Ok(Updated::Missing);
        }
        if self.holds.is_some_and(|holds| !holds(new_key)) {
            return Ok(Updated::Done);
        }
        Ok(if self.table.rows.insert(new_key, row)? {
            Updated::Done
        } else {
            Updated::Taken
        })
    }

    fn is_held(&self, key: &[u8]) -> bool {
        self.holds.is_none_or(|holds| holds(key))
    }

    /// An update of a row whose old key is not held: it counts where its new key is. The columns of the
    /// image are at `scratch.cells`.
    fn update_from_elsewhere(&mut self, after: &[u8], is_whole: bool) -> Result<()> {
        if is_whole {
            return self.insert_row(after);
        }
        let Some(encoder) = self.layout.encoder() else {
            return Ok(());
        };
        let scratch = &mut *self.scratch;
        let parts = || self.layout.definition.primary_key.iter();
        let is_there = |column: usize| scratch.cells.get(column) != Some(&Cell::Absent);
        if !parts().any(|part| is_there(part.column)) {
            return Ok(());
        }
        if parts().all(|part| is_there(part.column)) {
            scratch.new_key.clear();
            encoder.encode(after, &scratch.cells, &mut scratch.new_key)?;
            if !self.is_held(&self.scratch.new_key) {
                return Ok(());
            }
        }
        Err(Error::new(
            ErrorKind::Unsupported,
            format!(
                "a row of table {} moves to a key that is copied, and its event does not have all columns",
                self.table.name
            ),
        )
        .remedy("set binlog_row_image=FULL on the donor, or clone again"))
    }

    /// Sets `scratch.key` to the key of the row that an image before a change shows; where there is no
    /// such row it is a key that is not there.
    fn find_key(&mut self, image: &[u8]) -> Result<()> {
        let scratch = &mut *self.scratch;
        scratch.key.clear();
        if let Some(encoder) = self.layout.encoder() {
            return encoder.encode(image, &scratch.cells, &mut scratch.key);
        }
        if !self.whole_before {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!(
                    "table {} has no key, and the row event does not have all columns",
                    self.table.name
                ),
            ));
        }
        let (mut wanted, mut candidate) = (Vec::new(), Vec::new());
        self.layout
            .comparable(image, &mut scratch.stored_cells, &mut wanted)?;
        let hash = hash_of(&wanted);
        scratch.key.extend_from_slice(&hash);
        for found in self.table.rows.range(&hash) {
            let (key, stored) = found?;
            if !key.starts_with(&hash) {
                break;
            }
            self.layout
                .comparable(&stored, &mut scratch.stored_cells, &mut candidate)?;
            if candidate == wanted {
                scratch.key.clear();
                scratch.key.extend_from_slice(&key);
                break;
            }
        }
        Ok(())
    }

    /// Rows without a key: hash of the row, then a number that makes equal rows different.
    fn insert_keyless(&mut self, row: &[u8]) -> Result<()> {
        let number = self.table.next_row;
        self.table.next_row += 1;
        let key = keyless_key(self.layout, row, number)?;
        let inserted = self.table.rows.insert(&key, row)?;
        debug_assert!(inserted, "row numbers are never used twice");
        Ok(())
    }

    /// Completes an insert that leaves columns out: they have their defaults.
    fn fill_with_defaults(&self, image: &[u8], built: &mut Vec<u8>) -> Result<()> {
        let cells = &self.scratch.cells;
        let context = StatementContext {
            timestamp: self.timestamp,
            ..StatementContext::default()
        };
        let mut builder = ImageBuilder::new(built, cells.len());
        for (cell, definition) in cells.iter().zip(&self.layout.definition.columns) {
            match cell {
                Cell::Absent => builder.push(definition.default_value(&context)?.as_deref()),
                cell => builder.push(cell.bytes(image)),
            }
        }
        Ok(())
    }

    #[cold]
    fn conflict(&self, image: &[u8], what: &str) -> Error {
        let row = self.layout.describe(image, &self.scratch.cells);
        let name = &self.table.name;
        Error::new(
            ErrorKind::Conflict,
            format!("the row {row} of table {name} {what}"),
        )
    }
}

enum Updated {
    Done,
    Missing,
    /// The new key belongs to another row.
    Taken,
}

pub(crate) fn check_key_length(key: &[u8]) -> Result<()> {
    if key.len() > KEY_MAX {
        return Err(Error::new(
            ErrorKind::Limit,
            format!("key of {} bytes, {KEY_MAX} is the most", key.len()),
        ));
    }
    Ok(())
}

/// The key of a row of a table without keys.
///
/// # Errors
/// [`ErrorKind::Malformed`] where the row does not have the layout's columns.
pub(crate) fn keyless_key(layout: &Layout, row: &[u8], number: u64) -> Result<[u8; 16]> {
    let mut key = [0; 16];
    let (hash, rest) = key.split_at_mut(8);
    let mut comparable = Vec::new();
    layout.comparable(row, &mut Vec::new(), &mut comparable)?;
    hash.copy_from_slice(&hash_of(&comparable));
    rest.copy_from_slice(&number.to_be_bytes());
    Ok(key)
}

/// The number in such a key.
pub(crate) fn keyless_number(key: &[u8]) -> u64 {
    key.last_chunk::<8>()
        .map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

fn hash_of(comparable: &[u8]) -> [u8; 8] {
    let mut hasher = DefaultHasher::new();
    hasher.write(comparable);
    hasher.finish().to_be_bytes()
}

/// The stored row with the columns of an image put over it.
fn overlay(
    columns: &[Column],
    (stored, stored_cells): (&[u8], &[Cell]),
    (image, cells): (&[u8], &[Cell]),
    built: &mut Vec<u8>,
) -> Result<()> {
    let mut builder = ImageBuilder::new(built, cells.len());
    for ((new, old), column) in cells.iter().zip(stored_cells).zip(columns) {
        match new {
            Cell::Absent => builder.push(old.bytes(stored)),
            Cell::Partial { .. } => {
                let (old, new) = (old.bytes(stored), new.bytes(image));
                let document = changed_document(column, old, new.unwrap_or_default())?;
                builder.push(Some(&document));
            }
            cell => builder.push(cell.bytes(image)),
        }
    }
    Ok(())
}

/// A JSON document with the differences of an update put into it, length prefix included.
fn changed_document(column: &Column, old: Option<&[u8]>, differences: &[u8]) -> Result<Vec<u8>> {
    let Some(old) = old else {
        return Err(Error::new(
            ErrorKind::Malformed,
            "differences for a JSON document that is NULL",
        ));
    };
    let old = column.content(old)?;
    let differences = column.content(differences)?;
    let prefix = column.meta as usize;
    let mut document = vec![0; prefix];
    JsonDocument::new(old).apply(differences, &Limits::default(), &mut document)?;
    let length = (document.len() - prefix) as u64;
    let places = document.iter_mut().take(prefix);
    for (place, byte) in places.zip(length.to_le_bytes()) {
        *place = byte;
    }
    Ok(document)
}
