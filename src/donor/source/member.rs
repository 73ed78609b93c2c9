//! A member's own binary log, served while it is written by this process.

use std::any::Any;
use std::time::Duration;

use super::{LogEnd, LogFile, LogSource, SourceIdentity};
use crate::journal::{LogTail, Position};
use crate::target::store::{Reader, Snapshot, Store};
use crate::{Error, ErrorKind, Result};

/// The binary log of a [`Store`](crate::target::store::Store) or another journal of this process.
///
/// Sent is only what the disk has for good, at the moment when it has it; segments that are being
/// sent are not purged.
///
/// ```
/// use rejoin::donor::{LogSource, MemberLog, SourceIdentity};
/// use rejoin::gtid::Uuid;
/// use rejoin::target::store::Store;
///
/// # let directory = std::env::temp_dir().join(format!("rejoin-doc-log-{}", std::process::id()));
/// let store = Store::open(&directory)?;
/// let identity = SourceIdentity { server_id: 7, server_uuid: Uuid([7; 16]) };
/// let source = MemberLog::of(&store, identity);
/// assert_eq!(source.end()?.file, "binlog.000001");
/// # drop(store);
/// # std::fs::remove_dir_all(&directory).unwrap();
/// # Ok::<(), rejoin::Error>(())
/// ```
#[derive(Debug)]
pub struct MemberLog {
    tail: LogTail,
    rows: Option<Reader>,
    identity: SourceIdentity,
}

impl MemberLog {
    /// Serves a log under an identity.
    pub fn new(tail: LogTail, identity: SourceIdentity) -> Self {
        Self {
            tail,
            rows: None,
            identity,
        }
    }

    /// Serves a store: its log, and its rows to joiners that clone.
    pub fn of(store: &Store, identity: SourceIdentity) -> Self {
        Self {
            tail: store.binary_log(),
            rows: Some(store.reader()),
            identity,
        }
    }

    fn as_end(&self, position: Position) -> LogEnd {
        LogEnd {
            file: self.tail.file_name(position.segment),
            bytes: position.offset,
        }
    }
}

impl LogSource for MemberLog {
    fn identity(&self) -> SourceIdentity {
        self.identity
    }

    fn files(&self) -> Result<Vec<LogFile>> {
        let newest = self.tail.end().segment;
        let files: Vec<LogFile> = self
            .tail
            .segments()?
            .into_iter()
            // The index may name a segment a moment before the end is there.
            .filter(|segment| *segment <= newest)
            .map(|segment| {
                let name = self.tail.file_name(segment);
                let path = self.tail.directory().join(&name);
                LogFile { name, path }
            })
            .collect();
        if files.is_empty() {
            return Err(Error::new(ErrorKind::TargetIo, "the log has no segment"));
        }
        Ok(files)
    }

    fn end(&self) -> Result<LogEnd> {
        Ok(self.as_end(self.tail.end()))
    }

    fn wait(&self, seen: &LogEnd, timeout: Duration) {
        let end = self.tail.end();
        if self.as_end(end) == *seen {
            self.tail.wait(end, timeout);
        }
    }

    fn snapshot(&self) -> Result<Option<Snapshot>> {
        Ok(self.rows.as_ref().map(Reader::snapshot))
    }

    fn hold(&self, file: &LogFile) -> Option<Box<dyn Any + Send>> {
        let number = file.name.rsplit('.').next()?.parse().ok()?;
        Some(Box::new(self.tail.hold(number)))
    }
}
