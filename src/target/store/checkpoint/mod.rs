//! Checkpoints: a whole state in a file, so that opening does not begin at the log's beginning.
//!
//! ```text
//! checkpoint.000000000123      the state at commit number 123
//!
//! file    magic "REJOINC" | u8 version, 1 | blocks to the end
//! block   u32 length of the content | u8 kind | content | u32 CRC-32 of kind and content
//!
//! kind 1  head, the first block
//!           u64 commit number
//!           u64 segment | u64 offset | u64 sequence number     where the log goes on
//!           u32 length, executed GTIDs in the tagged form of `gtid` | the catalog to the end
//! kind 2  prepared XA transaction
//!           u32 format id | u32 length, gtrid | u32 length, bqual
//!           u32 length, Format_description event | its events, without checksums, to the end
//! kind 3  table
//!           u32 length, database | u32 length, table | u64 number of the next row | u64 rows
//! kind 4  rows of the last table, in the order of their keys
//!           (u16 length of the key | u32 length of the row | key | row)*
//!         in a table without keys: the row's number, 8 bytes BE, in place of the key
//! kind 5  end, the last block
//!           u64 rows of all tables
//! ```
//!
//! Numbers are little-endian unless said otherwise. A file is written under another name, synced, and
//! renamed; the newest two are kept. Offset 0 in the head is that of a clone: the log begins with this
//! segment.
//!
//! One that is damaged or cut is passed over when a store is opened,
//! and the one before it is taken, with more of the log to replay.

mod background;
mod read;
mod write;

use std::fs;
use std::path::{Path, PathBuf};

pub(crate) use background::Checkpointer;

use super::State;
use crate::Result;
use crate::journal::disk::{Disk, io_error};

const MAGIC: [u8; 8] = *b"REJOINC\x01";
const PREFIX: &str = "checkpoint.";
/// Bytes of rows in a block; a longer row has a block to itself.
const ROWS_BLOCK: usize = 256 << 10;

/// Kinds of blocks.
mod kind {
    pub(super) const HEAD: u8 = 1;
    pub(super) const PREPARED: u8 = 2;
    pub(super) const TABLE: u8 = 3;
    pub(super) const ROWS: u8 = 4;
    pub(super) const END: u8 = 5;
}

/// The state of the newest checkpoint that is whole.
///
/// # Errors
/// [`ErrorKind::TargetIo`](crate::ErrorKind::TargetIo) where the directory cannot be read.
pub(crate) fn newest(directory: &Path) -> Result<Option<State>> {
    for (_, path) in list(directory)? {
        match read::read(&path) {
            Ok(state) => return Ok(Some(state)),
            Err(error) => log::warn!("{} is passed over: {error}", path.display()),
        }
    }
    Ok(None)
}

/// Removes all checkpoints but the one at `commit_number`.
///
/// # Errors
/// [`ErrorKind::TargetIo`](crate::ErrorKind::TargetIo).
pub(crate) fn remove_older(disk: &Disk, directory: &Path, commit_number: u64) -> Result<()> {
    for (number, path) in list(directory)? {
        if number != commit_number {
            disk.remove(&path)
                .map_err(|error| io_error("remove an old checkpoint", &path, error))?;
        }
    }
    Ok(())
}

/// All checkpoint files with their commit numbers, newest first.
fn list(directory: &Path) -> Result<Vec<(u64, PathBuf)>> {
    let failed = |error| io_error("list the store's files", directory, error);
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
        if let Some(number) = number.and_then(|number| number.parse().ok()) {
            files.push((number, entry.path()));
        }
    }
    files.sort_by(|a, b| b.cmp(a));
    Ok(files)
}

fn file_name(commit_number: u64) -> String {
    format!("{PREFIX}{commit_number:012}")
}
