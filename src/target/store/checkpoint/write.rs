//! Writing a checkpoint.

use std::fs::File;
use std::path::{Path, PathBuf};

use super::super::{State, Table};
use super::{MAGIC, ROWS_BLOCK, file_name, kind, list, read, remove_older};
use crate::gtid::Encoding;
use crate::journal::disk::{Disk, io_error};
use crate::journal::index::Index;
use crate::target::CloneFailure;
use crate::target::tables::rows::keyless_number;
use crate::target::tables::xa::{Prepared, Xid};
use crate::{Error, ErrorKind, Result};

/// Checkpoints that are kept.
const KEPT: usize = 2;

/// Writes `state` to a file of its own, and removes what is older than the newest two. `stop` is asked
/// between blocks.
///
/// # Errors
/// [`ErrorKind::TargetIo`]; [`ErrorKind::Interrupted`] where `stop` said so. The checkpoints before are
/// still there.
pub(super) fn write(
    disk: &Disk,
    directory: &Path,
    log_name: &str,
    state: &State,
    stop: &dyn Fn() -> bool,
) -> Result<()> {
    let temporary = write_file(disk, directory, state, stop)?;
    sync_log(disk, directory, log_name, state)?;
    publish(disk, directory, &temporary, state)?;
    for (_, old) in list(directory)?.into_iter().skip(KEPT) {
        disk.remove(&old)
            .map_err(|error| io_error("remove an old checkpoint", &old, error))?;
    }
    Ok(())
}

/// Writes `state`, which is no continuation of what is there, reads it back, and makes it the only
/// checkpoint. It is the store's data from the moment at which it has its name.
///
/// # Errors
/// As [`write`]. [`ErrorKind::TargetCorrupt`] where what was read back is not what was written. The
/// data from before counts as dropped where nobody can say which of the two a restart will find.
pub(super) fn replace(
    disk: &Disk,
    directory: &Path,
    state: &State,
    stop: &dyn Fn() -> bool,
) -> Result<(), CloneFailure> {
    let temporary = write_file(disk, directory, state, stop)?;
    let rows: u64 = state.tables().map(|table| table.rows.len()).sum();
    read::check(&temporary, rows)?;
    publish(disk, directory, &temporary, state).map_err(|error| CloneFailure {
        error: error.remedy("check the disk, then start again: the old data or the clone is there"),
        data_dropped: true,
    })?;
    if let Err(error) = remove_older(disk, directory, state.commit_number) {
        // They are passed over from now on, and removed when the store is opened next.
        log::warn!("{error}");
    }
    Ok(())
}

/// Writes `state` to a file that has not its name yet.
fn write_file(
    disk: &Disk,
    directory: &Path,
    state: &State,
    stop: &dyn Fn() -> bool,
) -> Result<PathBuf> {
    let temporary = directory.join("checkpoint.tmp");
    let failed = |error| io_error("write a checkpoint", &temporary, error);
    let mut writer = Writer {
        disk,
        path: &temporary,
        file: disk.create(&temporary).map_err(failed)?,
        block: MAGIC.to_vec(),
        stop,
    };
    writer.flush()?;
    writer.head(state)?;
    for (xid, prepared) in &*state.prepared {
        writer.prepared(xid, prepared)?;
    }
    let mut rows = 0;
    for table in state.tables() {
        writer.table(table)?;
        rows += table.rows.len();
    }
    writer.begin(kind::END);
    writer.u64(rows);
    writer.end()?;
    disk.sync(&writer.file).map_err(failed)?;
    Ok(temporary)
}

/// Gives the file its name.
fn publish(disk: &Disk, directory: &Path, temporary: &Path, state: &State) -> Result<()> {
    let path = directory.join(file_name(state.commit_number));
    disk.rename(temporary, &path)
        .and_then(|()| disk.sync_directory(directory))
        .map_err(|error| io_error("write a checkpoint", temporary, error))
}

/// Makes sure that the log reaches as far as the checkpoint says: after a crash it must not be behind
/// (it may be, where commits do not wait for the disk).
fn sync_log(disk: &Disk, directory: &Path, log_name: &str, state: &State) -> Result<()> {
    let index = Index::read(directory, log_name)?;
    let path = index.file_path(state.position.segment);
    let file = File::open(&path).map_err(|error| io_error("sync the log", &path, error))?;
    disk.sync(&file)
        .map_err(|error| io_error("sync the log", &path, error))
}

struct Writer<'a> {
    disk: &'a Disk,
    path: &'a Path,
    file: File,
    /// The block that is being made.
    block: Vec<u8>,
    stop: &'a dyn Fn() -> bool,
}

impl Writer<'_> {
    fn head(&mut self, state: &State) -> Result<()> {
        self.begin(kind::HEAD);
        self.u64(state.commit_number);
        self.u64(state.position.segment);
        self.u64(state.position.offset);
        self.u64(state.position.sequence_number);
        let mut gtids = Vec::new();
        state.gtid_executed.encode(Encoding::Tagged, &mut gtids);
        self.bytes(&gtids);
        state.catalog.encode(&mut self.block);
        self.end()
    }

    fn prepared(&mut self, xid: &Xid, prepared: &Prepared) -> Result<()> {
        self.begin(kind::PREPARED);
        self.block.extend_from_slice(&xid.format_id.to_le_bytes());
        self.bytes(&xid.gtrid);
        self.bytes(&xid.bqual);
        prepared.encode(&mut self.block)?;
        self.end()
    }

    fn table(&mut self, table: &Table) -> Result<()> {
        self.begin(kind::TABLE);
        self.bytes(&table.name.database);
        self.bytes(&table.name.table);
        self.u64(table.next_row);
        self.u64(table.rows.len());
        self.end()?;
        let has_keys = table.layout.encoder().is_some();
        self.begin(kind::ROWS);
        let empty = self.block.len();
        for (key, row) in table.rows.iter() {
            let length = self.block.len();
            if length > empty && length + key.len() + row.len() > ROWS_BLOCK {
                self.end()?;
                self.begin(kind::ROWS);
            }
            let number = keyless_number(key).to_be_bytes();
            let key = if has_keys { key } else { &number };
            self.block
                .extend_from_slice(&(key.len() as u16).to_le_bytes());
            self.block
                .extend_from_slice(&(row.len() as u32).to_le_bytes());
            self.block.extend_from_slice(key);
            self.block.extend_from_slice(row);
        }
        self.end()
    }

    fn begin(&mut self, kind: u8) {
        self.block.clear();
        self.block.extend_from_slice(&[0; 4]);
        self.block.push(kind);
    }

    fn u64(&mut self, number: u64) {
        self.block.extend_from_slice(&number.to_le_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.block
            .extend_from_slice(&(bytes.len() as u32).to_le_bytes());
        self.block.extend_from_slice(bytes);
    }

    /// Completes the block and writes it.
    fn end(&mut self) -> Result<()> {
        if (self.stop)() {
            return Err(Error::new(
                ErrorKind::Interrupted,
                "the store is being closed",
            ));
        }
        let content = self.block.len() - 5;
        let Ok(length) = u32::try_from(content) else {
            return Err(Error::new(
                ErrorKind::Limit,
                format!("block of {content} bytes does not fit a checkpoint"),
            ));
        };
        let checksum = libdeflater::crc32(&self.block[4..]);
        self.block[..4].copy_from_slice(&length.to_le_bytes());
        self.block.extend_from_slice(&checksum.to_le_bytes());
        self.flush()
    }

    fn flush(&mut self) -> Result<()> {
        self.disk
            .write(&self.file, &self.block)
            .map_err(|error| io_error("write a checkpoint", self.path, error))
    }
}
