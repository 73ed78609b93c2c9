//! The rows of one table: those in the keyspace, and what the group commit that is being made has changed.

use std::cmp::Ordering;
use std::fmt;
use std::iter::Peekable;
use std::ops::Deref;
use std::sync::Arc;

use fjall::Slice;

use super::space::{self, Changes, PREFIX, Space, row_key};
use crate::Result;
use crate::target::store::tree::{self, Tree};
use crate::target::tables::Rows;

/// A table that is filled keeps so many bytes in memory.
const RELIEVED: u64 = 4 << 20;
/// Last byte of a changed row's value.
const HERE: u8 = 1;
/// All of the value of a row that was removed.
const GONE: u8 = 0;

/// The rows of one table.
#[derive(Debug, Clone)]
pub(crate) struct DiskRows {
    space: Arc<Space>,
    number: u32,
    /// What differs from the keyspace.
    changes: Tree,
    length: u64,
    bytes: u64,
    value: Vec<u8>,
}

impl DiskRows {
    /// The rows that are in the keyspace under this number.
    pub(super) fn stored(space: &Arc<Space>, number: u32, length: u64, bytes: u64) -> Self {
        Self {
            space: Arc::clone(space),
            number,
            changes: Tree::new(),
            length,
            bytes,
            value: Vec::new(),
        }
    }

    pub(super) fn space(&self) -> &Space {
        &self.space
    }

    pub(super) fn number(&self) -> u32 {
        self.number
    }

    pub(super) fn len(&self) -> u64 {
        self.length
    }

    /// Whether all rows are in the keyspace as they are here.
    pub(super) fn is_settled(&self) -> bool {
        self.changes.len() == 0
    }

    /// The changes are in the keyspace now.
    pub(super) fn settle(&mut self) {
        self.changes = Tree::new();
    }

    /// Adds what differs from the keyspace.
    pub(super) fn push_changes(&self, changes: &mut Changes) {
        for (key, value) in self.changes.iter() {
            changes.push((row_key(self.number, key), row_in(value).map(<[u8]>::to_vec)));
        }
    }

    /// How long the row of a key is.
    fn row_length(&self, key: &[u8]) -> Result<Option<u64>> {
        if let Some(value) = self.changes.get(key) {
            return Ok(row_in(value).map(|row| row.len() as u64));
        }
        let length = self.space.length(&row_key(self.number, key))?;
        Ok(length.map(u64::from))
    }

    fn contains(&self, key: &[u8]) -> Result<bool> {
        match self.changes.get(key) {
            Some(value) => Ok(row_in(value).is_some()),
            None => self.space.contains(&row_key(self.number, key)),
        }
    }

    fn set(&mut self, key: &[u8], row: Option<&[u8]>) {
        self.value.clear();
        match row {
            Some(row) => {
                self.value.extend_from_slice(row);
                self.value.push(HERE);
            }
            None => self.value.push(GONE),
        }
        if !self.changes.insert(key, &self.value) {
            self.changes.replace(key, &self.value);
        }
    }
}

/// The row in a value of the changes; `None` where it was removed.
fn row_in(value: &[u8]) -> Option<&[u8]> {
    let (last, row) = value.split_last()?;
    (*last == HERE).then_some(row)
}

impl Rows for DiskRows {
    type Space = Arc<Space>;
    type Bytes<'a> = Bytes<'a>;
    type Cursor<'a> = Cursor<'a>;

    fn none(space: &Arc<Space>) -> Self {
        Self::stored(space, space.new_number(), 0, 0)
    }

    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn get(&self, key: &[u8]) -> Result<Option<Bytes<'_>>> {
        if let Some(value) = self.changes.get(key) {
            return Ok(row_in(value).map(Bytes::Changed));
        }
        let row = self.space.get(&row_key(self.number, key))?;
        Ok(row.map(|row| Bytes::Stored {
            bytes: row,
            from: 0,
        }))
    }

    fn range(&self, key: &[u8]) -> Cursor<'_> {
        Cursor {
            stored: self.space.rows(self.number, key),
            next_stored: None,
            changes: self.changes.range(key).peekable(),
        }
    }

    fn insert(&mut self, key: &[u8], row: &[u8]) -> Result<bool> {
        if self.contains(key)? {
            return Ok(false);
        }
        self.set(key, Some(row));
        self.length += 1;
        self.bytes += (key.len() + row.len()) as u64;
        Ok(true)
    }

    fn replace(&mut self, key: &[u8], row: &[u8]) -> Result<bool> {
        let Some(old) = self.row_length(key)? else {
            return Ok(false);
        };
        self.set(key, Some(row));
        self.bytes = (self.bytes + row.len() as u64).saturating_sub(old);
        Ok(true)
    }

    fn remove(&mut self, key: &[u8]) -> Result<bool> {
        let Some(old) = self.row_length(key)? else {
            return Ok(false);
        };
        self.set(key, None);
        self.length = self.length.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(key.len() as u64 + old);
        Ok(true)
    }

    fn relieve(&mut self) -> Result<()> {
        if self.changes.bytes() < RELIEVED {
            return Ok(());
        }
        let mut changes = Changes::new();
        self.push_changes(&mut changes);
        self.space.write_ahead(self.number, &changes)?;
        self.settle();
        Ok(())
    }
}

/// A key or a row.
#[derive(Debug)]
pub(crate) enum Bytes<'a> {
    /// Of the changes.
    Changed(&'a [u8]),
    /// Of the keyspace.
    Stored {
        /// With what stands before it.
        bytes: Slice,
        /// Where it begins.
        from: usize,
    },
}

impl Deref for Bytes<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Changed(bytes) => bytes,
            Self::Stored { bytes, from } => bytes.get(*from..).unwrap_or_default(),
        }
    }
}

/// Rows of the keyspace with the changes put over them.
pub(crate) struct Cursor<'a> {
    stored: fjall::Iter,
    next_stored: Option<(Bytes<'a>, Bytes<'a>)>,
    changes: Peekable<tree::Cursor<'a>>,
}

impl fmt::Debug for Cursor<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cursor").finish_non_exhaustive()
    }
}

/// The next key and row of a table in the keyspace.
pub(super) fn next_stored<'a>(rows: &mut fjall::Iter) -> Option<Result<(Bytes<'a>, Bytes<'a>)>> {
    let found = rows.next()?.into_inner();
    let whole = found.map(|(key, row)| {
        let key = Bytes::Stored {
            bytes: key,
            from: PREFIX,
        };
        (
            key,
            Bytes::Stored {
                bytes: row,
                from: 0,
            },
        )
    });
    Some(whole.map_err(space::not_read))
}

impl<'a> Iterator for Cursor<'a> {
    type Item = Result<(Bytes<'a>, Bytes<'a>)>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if self.next_stored.is_none() {
                match next_stored(&mut self.stored).transpose() {
                    Ok(found) => self.next_stored = found,
                    Err(error) => return Some(Err(error)),
                }
            }
            let order = match (&self.next_stored, self.changes.peek()) {
                (None, None) => return None,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some((stored, _)), Some((changed, _))) => (**stored).cmp(changed),
            };
            if order == Ordering::Less {
                return self.next_stored.take().map(Ok);
            }
            if order == Ordering::Equal {
                self.next_stored = None;
            }
            let (key, value) = self.changes.next()?;
            if let Some(row) = row_in(value) {
                return Some(Ok((Bytes::Changed(key), Bytes::Changed(row))));
            }
        }
    }
}
