//! The snapshots that sessions read, for joiners that clone.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::target::store::Snapshot;
use crate::wire::server::answer::Refusal;

/// A snapshot that sessions read.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) id: u64,
    pub(super) rows: Snapshot,
}

/// All snapshots of a donor that sessions read.
#[derive(Debug, Default)]
pub(super) struct Snapshots {
    all: Mutex<BTreeMap<u64, Weak<Held>>>,
    /// Held while one is taken: a source may have to read all rows into memory for that.
    pub(super) opening: Mutex<()>,
}

impl Snapshots {
    /// # Errors
    /// As many as are allowed are read.
    pub(super) fn check_room(&self, allowed: usize) -> Result<(), Refusal> {
        let mut all = self.all.lock();
        all.retain(|_, held| held.strong_count() > 0);
        if all.len() < allowed {
            return Ok(());
        }
        Err(Refusal::new(
            3634,
            format!("Too many concurrent clone operations. Maximum allowed - {allowed}"),
        ))
    }

    pub(super) fn hold(&self, rows: Snapshot) -> Arc<Held> {
        // What cannot be guessed cannot be read by mistake.
        let id = rand::random();
        let held = Arc::new(Held { id, rows });
        self.all.lock().insert(id, Arc::downgrade(&held));
        held
    }

    pub(super) fn get(&self, id: u64) -> Result<Arc<Held>, Refusal> {
        let held = self.all.lock().get(&id).and_then(Weak::upgrade);
        held.ok_or_else(|| Refusal::new(3635, "The clone's snapshot is gone"))
    }
}
