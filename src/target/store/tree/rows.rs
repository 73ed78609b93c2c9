//! A tree as the rows of a table.

use std::iter::Map;

use super::{Cursor, Tree};
use crate::Result;
use crate::target::tables::Rows;

type Found<'a> = (&'a [u8], &'a [u8]);

impl Rows for Tree {
    type Space = ();
    type Bytes<'a> = &'a [u8];
    type Cursor<'a> = Map<Cursor<'a>, fn(Found<'a>) -> Result<Found<'a>>>;

    fn none((): &()) -> Self {
        Self::new()
    }

    fn bytes(&self) -> u64 {
        Self::bytes(self)
    }

    fn get(&self, key: &[u8]) -> Result<Option<&[u8]>> {
        Ok(Self::get(self, key))
    }

    fn range(&self, key: &[u8]) -> Self::Cursor<'_> {
        Self::range(self, key).map(Ok)
    }

    fn insert(&mut self, key: &[u8], row: &[u8]) -> Result<bool> {
        Ok(Self::insert(self, key, row))
    }

    fn replace(&mut self, key: &[u8], row: &[u8]) -> Result<bool> {
        Ok(Self::replace(self, key, row))
    }

    fn remove(&mut self, key: &[u8]) -> Result<bool> {
        Ok(Self::remove(self, key))
    }
}
