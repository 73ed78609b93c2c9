//! The next segment's space, written by a thread of its own while the last segment is being filled.
//!
//! ```text
//! DIR/binlog.spare     zeros, all of them on the disk before the file gets a segment's name
//! ```
//!
//! It is a new file, not a segment that was purged: somebody may be reading that one still, a donor in
//! another process for instance, and would go on in the new segment as if it were the old one. What a
//! purge and a new file cost more is done here, where nobody waits for it.
//!
//! No log depends on it. One that cannot be made is removed, and the segment begins as an empty file; one
//! that an earlier process left is removed, because nobody knows how far it had come.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use super::super::disk::Disk;
use super::super::index::Index;

/// Bytes that are written and synced at once: a commit of the log waits for no more than these.
const PIECE: u64 = 1 << 20;

/// A file of zeros that is being made, or is there. Dropped, it is removed.
#[derive(Debug)]
pub(super) struct Spare {
    disk: Disk,
    path: PathBuf,
    length: u64,
    stopping: Arc<AtomicBool>,
    /// Gives the file, where it stands at its beginning, or nothing and has removed it. `None` where
    /// there is no thread, and once somebody has the file.
    thread: Option<JoinHandle<Option<File>>>,
}

impl Spare {
    /// Begins to make a file of `length` bytes.
    pub(super) fn begin(disk: &Disk, index: &Index, length: u64) -> Self {
        let mut spare = Self {
            disk: disk.clone(),
            path: path_of(index),
            length,
            stopping: Arc::default(),
            thread: None,
        };
        let (disk, path) = (disk.clone(), spare.path.clone());
        let stopping = Arc::clone(&spare.stopping);
        let thread = thread::Builder::new().name("rejoin-spare".to_owned());
        match thread.spawn(move || make(&disk, &path, length, &stopping)) {
            Ok(thread) => spare.thread = Some(thread),
            Err(error) => log::warn!("no thread to write ahead in the log: {error}"),
        }
        spare
    }

    /// Whether it is there, or will never be.
    pub(super) fn is_done(&self) -> bool {
        self.thread.as_ref().is_some_and(JoinHandle::is_finished)
    }

    /// Gives the file this name; the file and its length, where there is one.
    pub(super) fn rename(mut self, to: &Path) -> Option<(File, u64)> {
        let file = self.thread.take()?.join().ok()??;
        if let Err(error) = self.disk.rename(&self.path, to) {
            log::warn!("cannot rename {}: {error}", self.path.display());
            self.disk.discard(&self.path);
            return None;
        }
        Some((file, self.length))
    }

    /// Removes what an earlier process has left.
    pub(super) fn remove_old(disk: &Disk, index: &Index) {
        let path = path_of(index);
        if path.exists() {
            disk.discard(&path);
        }
    }
}

impl Drop for Spare {
    fn drop(&mut self) {
        let Some(thread) = self.thread.take() else {
            return;
        };
        self.stopping.store(true, Ordering::Relaxed);
        thread.thread().unpark();
        if let Ok(Some(_)) = thread.join() {
            self.disk.discard(&self.path);
        }
    }
}

fn path_of(index: &Index) -> PathBuf {
    index.path().with_extension("spare")
}

fn make(disk: &Disk, path: &Path, length: u64, stopping: &AtomicBool) -> Option<File> {
    match fill(disk, path, length, stopping) {
        Ok(file) if !stopping.load(Ordering::Relaxed) => return Some(file),
        Ok(_) => {}
        Err(error) => log::warn!("cannot write ahead to {}: {error}", path.display()),
    }
    if path.exists() {
        disk.discard(path);
    }
    None
}

/// Fills a new file, as far as it comes before it is to stop.
fn fill(disk: &Disk, path: &Path, length: u64, stopping: &AtomicBool) -> io::Result<File> {
    let file = disk.create(path)?;
    let mut from = 0;
    while from < length && !stopping.load(Ordering::Relaxed) {
        let started = Instant::now();
        let to = length.min(from + PIECE);
        disk.write_zeros(&file, from, to)?;
        disk.sync(&file)?;
        from = to;
        // Half of the time the disk is the log's alone.
        thread::park_timeout(started.elapsed());
    }
    Ok(file)
}
