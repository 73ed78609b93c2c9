//! The memory of leaves.
//!
//! Behind every published snapshot the applier copies the leaves that it changes, and soon afterwards
//! lets the old ones go: thousands of pages of one size come and go in every group commit. General
//! allocators are slow at just that, so a thread that makes pages keeps some of those that it frees.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};

use super::PAGE;

/// Pages that a thread keeps for later: 16 MiB.
const KEPT: usize = 4096;

thread_local! {
    /// `None` on threads that never made a page: a reader that frees some has no use for them.
    static FREE: RefCell<Option<Vec<Vec<u8>>>> = const { RefCell::new(None) };
}

/// A buffer with room for a leaf's heap.
#[derive(Debug)]
pub(super) struct Page(Vec<u8>);

impl Page {
    /// A page without memory.
    pub(super) fn empty() -> Self {
        Self(Vec::new())
    }

    /// An empty page with room for so many bytes.
    pub(super) fn with_room(bytes: usize) -> Self {
        if bytes > PAGE {
            return Self(Vec::with_capacity(bytes));
        }
        // While a thread ends it has no such list any more.
        let kept = FREE.try_with(|free| free.borrow_mut().get_or_insert_default().pop());
        let kept = kept.ok().flatten();
        Self(kept.unwrap_or_else(|| Vec::with_capacity(PAGE)))
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        if self.0.capacity() != PAGE {
            return;
        }
        let mut page = std::mem::take(&mut self.0);
        let _ = FREE.try_with(|free| {
            if let Some(free) = &mut *free.borrow_mut()
                && free.len() < KEPT
            {
                page.clear();
                free.push(page);
            }
        });
    }
}

impl Deref for Page {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        &self.0
    }
}

impl DerefMut for Page {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }
}
