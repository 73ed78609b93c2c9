//! Where the binary logs come from.
//!
//! - [`LogSource`]: files, oldest first, and how far the newest may be read;
//! - `directory`: a directory that mysqld, or a store in another process, writes;
//! - `member`: the log of a store of this process;
//! - `history`: which GTIDs the files hold, and where a replica has to begin;
//! - `events`: the events of one file.

mod directory;
pub(super) mod events;
mod history;
mod member;

use std::any::Any;
use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

pub use directory::BinlogDirectory;
pub(super) use history::{Dispute, History, decode_gtid, is_gtid};
pub use member::MemberLog;

use crate::Result;
use crate::gtid::Uuid;
use crate::target::store::Snapshot;

/// Binary logs that can be served.
///
/// Files are written at their end only; all but the newest are complete. The newest may be longer than what
/// is in it, with zeros that were written ahead. A file may be removed at any time: whoever has it open
/// reads on.
pub trait LogSource: fmt::Debug + Send + Sync + 'static {
    /// As whom the logs are served.
    fn identity(&self) -> SourceIdentity;

    /// All files, oldest first.
    ///
    /// # Errors
    /// [`ErrorKind::TargetIo`](crate::ErrorKind::TargetIo) where they cannot be listed, or there is
    /// none.
    fn files(&self) -> Result<Vec<LogFile>>;

    /// The newest file, and how far it may be sent.
    ///
    /// # Errors
    /// As [`files`](Self::files).
    fn end(&self) -> Result<LogEnd>;

    /// Waits until the end is no longer `seen`, or `timeout` is over, whichever comes first.
    fn wait(&self, seen: &LogEnd, timeout: Duration);

    /// Keeps a file, and all newer ones, from being purged for as long as the value lives. Without a
    /// say in that, nothing.
    fn hold(&self, file: &LogFile) -> Option<Box<dyn Any + Send>> {
        let _ = file;
        None
    }

    /// The rows that the logs have led to, for joiners that clone; `None` where logs are all there is.
    /// Nothing is in them that is not in the logs for good.
    ///
    /// # Errors
    /// Where they cannot be read.
    fn snapshot(&self) -> Result<Option<Snapshot>> {
        Ok(None)
    }
}

/// How much there is in a file of a log that ends at `end`.
pub(super) fn file_bytes(file: &LogFile, end: &LogEnd) -> u64 {
    if end.file == file.name {
        return end.bytes;
    }
    // One that was purged has nothing any more.
    fs::metadata(&file.path).map_or(0, |metadata| metadata.len())
}

/// As whom a donor serves: what replicas ask before they begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SourceIdentity {
    /// `server_id`, which must differ from every replica's.
    pub server_id: u32,
    /// `server_uuid`. A replica that has more of its transactions than the logs is refused.
    pub server_uuid: Uuid,
}

/// A file of the binary log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFile {
    /// Its name without directory, as replicas see it.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
}

/// The end of a binary log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEnd {
    /// Name of the newest file.
    pub file: String,
    /// How many of its bytes are there for good.
    pub bytes: u64,
}
