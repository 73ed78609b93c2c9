//! What embedded targets have in common: transactions on tables, wherever their rows lie.
//!
//! ```text
//! Transaction -> apply: events in their order -> rows: images of rows    -> Rows, the rows of a table
//!                                             -> schema_change: DDL      -> State, tables and catalog
//!                                             -> xa: prepared transactions
//! ```
//!
//! - [`state`]: everything at one commit number, and how it is published;
//! - [`layout`]: columns, row images, keys;
//! - [`answers`]: keys that the group tells;
//! - [`apply`], [`binding`], [`rows`], [`schema_change`], [`xa`]: transactions on a state;
//! - [`lanes`]: row events on several threads;
//! - [`clone`]: a donor's data as it is copied;
//! - [`lookup`], [`row`], [`text`]: keys from values, and rows as hosts and people read them.

mod answers;
pub(crate) mod apply;
mod binding;
pub(crate) mod clone;
mod lanes;
pub(crate) mod layout;
pub(crate) mod lookup;
pub(crate) mod row;
pub(crate) mod rows;
mod schema_change;
pub(crate) mod state;
pub(crate) mod text;
pub(crate) mod xa;

use std::fmt;
use std::ops::Deref;

use crate::Result;

/// The longest key, in bytes: with what tells tables apart it fits 64 KiB.
pub(crate) const KEY_MAX: usize = u16::MAX as usize - 5;

/// The rows of one table in the order of their keys, which are compared as bytes.
///
/// A clone costs nothing that grows with the rows, and neither sees what is changed in the other.
pub(crate) trait Rows: Clone + fmt::Debug + Send + Sync + 'static {
    /// Where the rows of new tables come to lie.
    type Space: Clone + fmt::Debug + Send + Sync;
    /// A key or a row that is read.
    type Bytes<'a>: Deref<Target = [u8]>
    where
        Self: 'a;
    /// Keys and rows in order.
    type Cursor<'a>: Iterator<Item = Result<(Self::Bytes<'a>, Self::Bytes<'a>)>>
    where
        Self: 'a;

    /// No rows.
    fn none(space: &Self::Space) -> Self;

    /// Bytes of all keys and rows.
    fn bytes(&self) -> u64;

    /// The row of `key`.
    fn get(&self, key: &[u8]) -> Result<Option<Self::Bytes<'_>>>;

    /// All rows from `key` on.
    fn range(&self, key: &[u8]) -> Self::Cursor<'_>;

    /// Adds a row; `false`, and nothing changed, if the key is there already.
    fn insert(&mut self, key: &[u8], row: &[u8]) -> Result<bool>;

    /// Gives a key another row; `false`, and nothing changed, if it is not there.
    fn replace(&mut self, key: &[u8], row: &[u8]) -> Result<bool>;

    /// Takes a row out; `false` if it is not there.
    fn remove(&mut self, key: &[u8]) -> Result<bool>;

    /// Is called now and then while a table is filled of which there is no other clone, and from which
    /// nobody goes back: what was added may be put where it does not take memory.
    fn relieve(&mut self) -> Result<()> {
        Ok(())
    }
}
