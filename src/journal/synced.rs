//! How far a log is on the disk, told to other processes: `binlog.synced` beside `binlog.index`.
//!
//! ```text
//! u64 segment | u64 offset | u32 CRC-32 of both        little-endian
//! ```
//!
//! A process that reads the files of another sees bytes that the disk may not have yet. It reads here
//! what it may take for granted. The file is written in place after each sync of the log, and is not
//! synced itself: a crash of the machine leaves an older position, never one that is ahead of the log,
//! and the next opening of the log writes it anew.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::Position;

const SIZE: usize = 20;
/// A reader may come while the writer writes; it does so again.
const READS: usize = 10;

/// Where the mark of the log with this index is.
pub(crate) fn path_beside(index: &Path) -> PathBuf {
    index.with_extension("synced")
}

/// Writes the mark.
#[derive(Debug)]
pub(super) struct SyncedMark {
    path: PathBuf,
    /// None after a failure, and where commits do not wait for the disk; then there is no mark.
    file: Option<File>,
}

impl SyncedMark {
    /// The mark of a log whose commits wait for the disk, or not.
    pub(super) fn open(index: &Path, is_synced: bool) -> Self {
        let path = path_beside(index);
        if !is_synced {
            // Of an earlier opening; usually there is none.
            let _ = std::fs::remove_file(&path);
            return Self { path, file: None };
        }
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path);
        let mut mark = Self { path, file: None };
        match file {
            Ok(file) => mark.file = Some(file),
            Err(error) => mark.give_up(&error),
        }
        mark
    }

    pub(super) fn set(&mut self, end: Position) {
        let Some(mut file) = self.file.as_ref() else {
            return;
        };
        let mut bytes = [0; SIZE];
        bytes[..8].copy_from_slice(&end.segment.to_le_bytes());
        bytes[8..16].copy_from_slice(&end.offset.to_le_bytes());
        let sum = libdeflater::crc32(&bytes[..16]);
        bytes[16..].copy_from_slice(&sum.to_le_bytes());
        let written = file
            .seek(SeekFrom::Start(0))
            .and_then(|_| file.write_all(&bytes));
        if let Err(error) = written {
            self.give_up(&error);
        }
    }

    fn give_up(&mut self, error: &std::io::Error) {
        log::warn!(
            "{} cannot be written, donors in other processes send what the system has: {error}",
            self.path.display()
        );
        self.file = None;
        // If that fails as well, such donors stand still.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// The segment and the offset up to which the log is on the disk; `None` where nobody has said so.
pub(crate) fn read(path: &Path) -> Option<(u64, u64)> {
    (0..READS).find_map(|_| read_once(path))
}

fn read_once(path: &Path) -> Option<(u64, u64)> {
    let mut bytes = [0; SIZE];
    File::open(path).ok()?.read_exact(&mut bytes).ok()?;
    let (numbers, sum) = bytes.split_at(16);
    if libdeflater::crc32(numbers).to_le_bytes() != *sum {
        return None;
    }
    let (segment, offset) = numbers.split_at(8);
    let number = |bytes: &[u8]| bytes.try_into().map(u64::from_le_bytes).ok();
    Some((number(segment)?, number(offset)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_as_written_and_damage_is_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let index = directory.path().join("binlog.index");
        let path = path_beside(&index);
        assert!(path.ends_with("binlog.synced"));
        assert_eq!(read(&path), None);
        let end = |segment, offset| Position {
            segment,
            offset,
            sequence_number: 5,
        };
        let mut mark = SyncedMark::open(&index, true);
        mark.set(end(7, u64::MAX));
        mark.set(end(8, 123));
        assert_eq!(read(&path), Some((8, 123)));
        // Another process goes on with the same log.
        SyncedMark::open(&index, true).set(end(9, 4));
        assert_eq!(read(&path), Some((9, 4)));
        let mut bytes = std::fs::read(&path).unwrap();
        for index in 0..SIZE {
            bytes[index] ^= 1;
            std::fs::write(&path, &bytes).unwrap();
            assert_eq!(read(&path), None);
            bytes[index] ^= 1;
        }
        std::fs::write(&path, &bytes[..SIZE - 1]).unwrap();
        assert_eq!(read(&path), None);
        SyncedMark::open(&index, false).set(end(9, 5));
        assert!(!path.exists());
    }
}
