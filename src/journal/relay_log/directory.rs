//! The relay logs of a member as earlier processes left them: locked, opened again, or only looked at.

use std::fs;
use std::path::{Path, PathBuf};

use super::{APPLIER_CHANNEL, RelayLog, SyncRelayLog};
use crate::gtid::GtidSet;
use crate::journal::JournalOptions;
use crate::journal::disk::{Disk, io_error};
use crate::journal::index::Index;
use crate::journal::lock::Lock;
use crate::journal::recover::recover_gtids;
use crate::{Error, Limits, Result};

/// Where the relay logs of a member are, and how they are written.
#[derive(Debug, Clone)]
pub(crate) struct RelayLogOptions {
    pub(crate) directory: PathBuf,
    /// A segment takes nothing more once it has this many bytes (`max_relay_log_size`).
    pub(crate) segment_bytes: u64,
    pub(crate) server_id: u32,
    /// Transactions of so many bytes are not read back into memory.
    pub(crate) large_bytes: usize,
    pub(crate) limits: Limits,
}

/// The directory of relay logs, locked for as long as this lives.
#[derive(Debug)]
pub(crate) struct RelayLogDirectory {
    options: RelayLogOptions,
    disk: Disk,
    _lock: Lock,
}

impl RelayLogDirectory {
    /// Makes the directory where it does not exist, and locks it.
    ///
    /// # Errors
    /// [`ErrorKind::TargetLocked`](crate::ErrorKind::TargetLocked), [`ErrorKind::TargetIo`](crate::ErrorKind::TargetIo).
    pub(crate) fn open(options: RelayLogOptions) -> Result<Self> {
        Self::open_on(Disk::default(), options)
    }

    pub(crate) fn open_on(disk: Disk, options: RelayLogOptions) -> Result<Self> {
        let lock = Lock::take(&options.directory)?;
        Ok(Self {
            options,
            disk,
            _lock: lock,
        })
    }

    /// A log of this channel without content: what an earlier process left of it is removed.
    ///
    /// # Errors
    /// [`ErrorKind::TargetIo`](crate::ErrorKind::TargetIo).
    pub(crate) fn empty_log(&self, channel: &str, sync: SyncRelayLog) -> Result<RelayLog> {
        let log = self.log(channel, sync);
        log.remove_files(&[])?;
        Ok(log)
    }

    /// The log of this channel as an earlier process left it, and which of its transactions are not
    /// in `executed`. One whose transactions are all executed, or cannot be applied because others
    /// before them are missing, is emptied.
    ///
    /// # Errors
    /// [`ErrorKind::TargetIo`](crate::ErrorKind::TargetIo), [`ErrorKind::TargetCorrupt`](crate::ErrorKind::TargetCorrupt).
    pub(crate) fn reopen_log(
        &self,
        channel: &str,
        sync: SyncRelayLog,
        executed: &GtidSet,
    ) -> Result<(RelayLog, GtidSet)> {
        let mut log = self.log(channel, sync);
        let index = log.read_index()?;
        let mut held = GtidSet::new();
        let mut count = 0;
        let recovered = recover_gtids(&index, &self.options.limits, &mut |gtid| {
            count += 1;
            held.insert(gtid);
        })
        .map_err(|error| {
            error.remedy(format!(
                "remove {}: what it held comes again from the group",
                self.options.directory.display()
            ))
        })?;
        let Some(recovered) = recovered else {
            log.remove_files(&[])?;
            return Ok((log, GtidSet::new()));
        };
        let unapplied = held.subtract(executed);
        let missing = recovered.previous.subtract(executed);
        if unapplied.is_empty() || !missing.is_empty() {
            if !unapplied.is_empty() {
                log::info!(
                    "{count} transactions in the relay log are dropped and will come again: before \
                     them {} are missing",
                    missing.count()
                );
            }
            log.remove_files(&[])?;
            return Ok((log, GtidSet::new()));
        }
        log.remove_files(index.segments())?;
        log.resume(index, recovered, held, count)?;
        Ok((log, unapplied))
    }

    fn log(&self, channel: &str, sync: SyncRelayLog) -> RelayLog {
        RelayLog {
            disk: self.disk.clone(),
            directory: self.options.directory.clone(),
            journal_options: JournalOptions {
                base_name: base_name(channel),
                segment_bytes: self.options.segment_bytes,
                server_id: self.options.server_id,
                sync: false,
                reserve: true,
                // Whoever reads it on has read behind its end, too, and would take the zeros for what
                // is written there later. Nor does it wait for the disk.
                write_ahead_bytes: 0,
                // Purging asks for what is executed, and nothing else.
                expire_after: None,
                keep_bytes: Some(0),
            },
            limits: self.options.limits.clone(),
            large_bytes: self.options.large_bytes,
            sync,
            open: None,
        }
    }
}

/// What waits in the relay log of the group's transactions, of a member that runs or does not.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RelayLogSurvey {
    /// Bytes of its files.
    pub bytes: u64,
    /// All transactions in it, those included that are executed and not purged yet.
    pub gtid_set: GtidSet,
}

impl RelayLogSurvey {
    /// Reads the relay log in a member's directory of relay logs, without a lock and without changing
    /// anything; `None` where there is none.
    ///
    /// # Errors
    /// [`ErrorKind::TargetIo`](crate::ErrorKind::TargetIo), [`ErrorKind::TargetCorrupt`](crate::ErrorKind::TargetCorrupt).
    pub fn read(directory: impl AsRef<Path>, limits: &Limits) -> Result<Option<Self>> {
        let read = || Self::read_once(directory.as_ref(), limits);
        // A file may be purged between two looks.
        read().or_else(|_: Error| read())
    }

    fn read_once(directory: &Path, limits: &Limits) -> Result<Option<Self>> {
        let index = Index::read(directory, &base_name(APPLIER_CHANNEL))?;
        let mut gtid_set = GtidSet::new();
        let recovered = recover_gtids(&index, limits, &mut |gtid| {
            gtid_set.insert(gtid);
        })?;
        let mut bytes = 0;
        for number in index.segments() {
            let path = index.file_path(*number);
            let file = fs::metadata(&path).map_err(|e| io_error("read the log", &path, e))?;
            bytes += file.len();
        }
        Ok(recovered.map(|_| Self { bytes, gtid_set }))
    }
}

fn base_name(channel: &str) -> String {
    format!("relay-bin-{channel}")
}
