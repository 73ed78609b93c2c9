//! The end of a log for those who read its files while it is written: donors.
//!
//! A reader of the files alone would see bytes that the disk may not have yet. What it sent of them
//! to others could be lost here by a crash of the machine, and others would then hold transactions
//! that their source does not know. So the journal tells how far it is.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::Position;
use super::index::Index;
use super::synced::SyncedMark;
use crate::Result;

/// A handle on the end of a [`Journal`](super::Journal), which goes on to work when the journal is
/// closed: nothing more comes then.
#[derive(Debug, Clone)]
pub struct LogTail(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    directory: PathBuf,
    base_name: String,
    state: Mutex<State>,
    moved: Condvar,
}

#[derive(Debug)]
struct State {
    end: Position,
    /// The same for readers in other processes.
    mark: SyncedMark,
    /// How many readers need each segment.
    holds: BTreeMap<u64, usize>,
}

/// Keeps a segment, and all newer ones, from being purged, until it is dropped.
#[derive(Debug)]
pub struct SegmentHold {
    tail: LogTail,
    segment: u64,
}

impl LogTail {
    pub(super) fn new(index: &Index, end: Position, is_synced: bool) -> Self {
        let mut mark = SyncedMark::open(&index.path(), is_synced);
        mark.set(end);
        Self(Arc::new(Shared {
            directory: index.directory().to_owned(),
            base_name: index.base_name().to_owned(),
            state: Mutex::new(State {
                end,
                mark,
                holds: BTreeMap::new(),
            }),
            moved: Condvar::new(),
        }))
    }

    /// The end of the last commit: all before it is on the disk.
    pub fn end(&self) -> Position {
        self.0.state.lock().end
    }

    /// Waits until the end is no longer `seen`, but no longer than `timeout`; gives the end.
    pub fn wait(&self, seen: Position, timeout: Duration) -> Position {
        let until = Instant::now() + timeout;
        let mut state = self.0.state.lock();
        while state.end == seen {
            if self.0.moved.wait_until(&mut state, until).timed_out() {
                break;
            }
        }
        state.end
    }

    /// The directory of the segments.
    pub fn directory(&self) -> &Path {
        &self.0.directory
    }

    /// The file name of a segment.
    pub fn file_name(&self, segment: u64) -> String {
        format!("{}.{segment:06}", self.0.base_name)
    }

    /// The segments that there are, oldest first.
    ///
    /// # Errors
    /// [`ErrorKind::TargetIo`](crate::ErrorKind::TargetIo) where the index cannot be read.
    pub fn segments(&self) -> Result<Vec<u64>> {
        let index = Index::read(&self.0.directory, &self.0.base_name)?;
        Ok(index.segments().to_vec())
    }

    /// Keeps `segment` and all newer ones from being purged.
    pub fn hold(&self, segment: u64) -> SegmentHold {
        let mut state = self.0.state.lock();
        *state.holds.entry(segment).or_default() += 1;
        drop(state);
        SegmentHold {
            tail: self.clone(),
            segment,
        }
    }

    /// The oldest segment that somebody needs.
    pub fn oldest_held(&self) -> Option<u64> {
        self.0.state.lock().holds.keys().next().copied()
    }

    pub(super) fn publish(&self, end: Position) {
        {
            let mut state = self.0.state.lock();
            state.end = end;
            state.mark.set(end);
        }
        self.0.moved.notify_all();
    }
}

impl Drop for SegmentHold {
    fn drop(&mut self) {
        let mut state = self.tail.0.state.lock();
        if let Some(count) = state.holds.get_mut(&self.segment) {
            *count -= 1;
            if *count == 0 {
                state.holds.remove(&self.segment);
            }
        }
    }
}
