//! Blocks that wait to be used again.

use std::ptr;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use super::sync::AtomicPtr;
use super::{Block, unless_planted};

/// Spare blocks that are kept: a backlog that comes and goes by up to this many blocks, as it does
/// while the consumer waits for a disk, costs no call of the allocator.
pub(super) const SPARES: usize = if cfg!(loom) {
    1
} else if cfg!(miri) {
    8
} else {
    1024
};

pub(super) struct Spares<T> {
    /// Blocks for reuse, null where there is none. Whoever puts a block there gives it up
    /// (Release); whoever swaps it out owns it with all that was done to it (Acquire). Pointers
    /// are only ever swapped out, never compared, so that it does not matter if one comes back.
    places: [AtomicPtr<Block<T>>; SPARES],
    /// Places below this one are filled and the others free, as far as those that change
    /// them at the same moment let it be known: where a search begins, so that it is short, and so
    /// that the block that was used last, and is still in a cache, is used again first. A wrong
    /// number costs a longer search or a call of the allocator: Relaxed, and nothing for loom.
    level: std::sync::atomic::AtomicUsize,
}

impl<T> Spares<T> {
    pub(super) fn new() -> Self {
        Self {
            places: std::array::from_fn(|_| AtomicPtr::new(ptr::null_mut())),
            level: std::sync::atomic::AtomicUsize::new(0),
        }
    }

    /// Adds a new block where there are fewer than `least`.
    pub(super) fn provide(&self, least: usize) {
        if self.level.load(Relaxed) < least {
            self.put(Block::boxed());
        }
    }

    /// A block that nobody else has: a spare one, or a new one.
    pub(super) fn take(&self) -> *mut Block<T> {
        let level = self.level.load(Relaxed).min(SPARES);
        for place in (0..level).rev() {
            let spare = &self.places[place];
            if !spare.load(Relaxed).is_null() {
                let block = spare.swap(ptr::null_mut(), unless_planted("spare", Acquire));
                if !block.is_null() {
                    self.level.store(place, Relaxed);
                    return block;
                }
            }
        }
        self.level.store(0, Relaxed);
        Block::boxed()
    }

    /// Takes a block that nobody else has. Where there are enough spare ones it is freed.
    pub(super) fn put(&self, block: *mut Block<T>) {
        let level = self.level.load(Relaxed).min(SPARES);
        for place in level..SPARES {
            let spare = &self.places[place];
            if spare.load(Relaxed).is_null()
                && spare
                    .compare_exchange(ptr::null_mut(), block, Release, Relaxed)
                    .is_ok()
            {
                self.level.store(place + 1, Relaxed);
                return;
            }
        }
        self.level.store(SPARES, Relaxed);
        // SAFETY: it came from `Block::boxed`, and the caller has the only pointer to it. Its
        // values, if any, were taken.
        drop(unsafe { Box::from_raw(block) });
    }
}

impl<T> Drop for Spares<T> {
    fn drop(&mut self) {
        for place in &self.places {
            let block = place.load(Relaxed);
            if !block.is_null() {
                // SAFETY: spare blocks come from `Block::boxed` and are linked nowhere.
                drop(unsafe { Box::from_raw(block) });
            }
        }
    }
}
