//! Durable logs of transactions in MySQL's own binary log format.
//!
//! Two uses of one mechanism: the member's **binary log** holds what was applied and is the redo log
//! of [`target::store`](crate::target::store); a **relay log** holds what was received and is not
//! applied yet. `mysqlbinlog`, and any replica, can read both.
//!
//! ```text
//! DIR/binlog.index      ./binlog.000001        one line a segment, oldest first
//!                       ./binlog.000002
//! DIR/binlog.synced     how far all of it is on the disk, see `synced`
//! DIR/binlog.000001     fe 62 69 6e            magic
//!                       Format_description     flag "in use" while it is the last segment and open
//!                       Previous_gtids         what all segments before this one hold
//!                       Gtid, Query BEGIN, Table_map, Write_rows, ..., Xid       a transaction
//!                       Gtid, Query ...                                          the next one
//!                       Rotate                 name of the next segment; not in the last one
//! ```
//!
//! Transactions come as a donor sent them. What belongs to the file is made anew: `end_log_pos`, the
//! checksum behind each event, and in the GTID event the length of the transaction and its place in
//! the file's logical clock. The format description is the source's, with checksums on, so that events
//! of any server version stay readable without a change to their bodies.
//!
//! **Durability.** A group commit is one write and one `fdatasync` ([`Journal::commit`]). If either
//! fails, nobody can say what is on the disk: the journal refuses everything from then on, and the
//! next opening finds out. Opening reads all events from a known position on, checks each checksum,
//! and cuts the last segment behind its last whole transaction; zeros behind the end are an end, too.
//! A fault before the end of a segment that is not the last one is damage, and an error.
//!
//! Segments grow as they are written, unless [`JournalOptions::write_ahead_bytes`] says otherwise. Written
//! ahead, a sync leaves out the commit of the file system's own journal, which says how long the file is:
//! of ext4 with a journal one flush of the disk instead of two. A store did not commit faster for it, but
//! for groups of some KiB on a disk that flushes in 0.1 ms (0.24 and 0.12 ms); and whoever reads the file of
//! a running store, `mysqlbinlog` first of all, takes zeros for damage.
//!
//! ```text
//! DIR/binlog.000007     fe 62 69 6e, events, 0 0 0 0 ...     while it is open, and after a crash
//! DIR/binlog.spare      0 0 0 0 ...                          becomes binlog.000008
//! ```
//!
//! - `compose`: events of a transaction as they stand in a file;
//! - `index`: the list of segments;
//! - `segment`: reading the events of one segment;
//! - `recover`: reading a whole log, from a position to its end;
//! - `log`: the journal that is written to; in `log::ahead` and `log::spare` its space before it is needed;
//! - `reading`: reading a log on while it is written;
//! - `stored`: a transaction of a relay log that is read in pieces;
//! - `relay_log`: a log of what is not applied yet: filled at one end, read and purged at the other;
//! - `lock`: one process for each directory;
//! - `disk`: operations on files, where tests put their faults.

pub(crate) mod compose;
pub(crate) mod disk;
pub(crate) mod index;
pub(crate) mod lock;
mod log;
mod reading;
pub(crate) mod recover;
pub(crate) mod relay_log;
pub(crate) mod segment;
mod stored;
pub(crate) mod synced;
mod tail;

pub use log::Journal;
pub(crate) use log::begin_log;
pub(crate) use reading::Load;
pub use relay_log::{RelayLogSurvey, SyncRelayLog};
pub use stored::{StoredEvents, StoredTransaction};
pub use tail::{LogTail, SegmentHold};

use std::time::Duration;

/// Where a transaction ends in a log, or the next one begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Number of the segment: 7 for `binlog.000007`.
    pub segment: u64,
    /// Byte offset in it.
    pub offset: u64,
    /// Transactions that stand before it in the segment.
    pub sequence_number: u64,
}

/// How a log is written.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct JournalOptions {
    /// The segments' name before the number. Default `binlog`.
    pub base_name: String,
    /// A segment takes no further group commit once it has this many bytes (`max_binlog_size`).
    /// Default 1 GiB.
    pub segment_bytes: u64,
    /// The `server_id` in events that are our own. Default 0.
    pub server_id: u32,
    /// A segment that was closed so long ago may be purged (`binlog_expire_logs_seconds`); `None`
    /// keeps all. Default 30 days.
    pub expire_after: Option<Duration>,
    /// The oldest segments may be purged when all together have more bytes than this; `None` for no
    /// bound. Default `None`.
    pub keep_bytes: Option<u64>,
    /// Whether a commit waits for the disk (`sync_binlog=1`). Default true; with false, a crash of the
    /// machine (not of the process) may lose the last transactions, never tear them.
    pub sync: bool,
    /// Whether the space of a group commit is taken before it is written, so that a full disk is
    /// noticed before it has part of a transaction (Linux only). Default false.
    pub reserve: bool,
    /// A group commit that does not fit writes zeros behind it, up to the next multiple of so many bytes
    /// (never beyond `segment_bytes`): those that follow find their space there, and their syncs leave the
    /// file system's journal out. Default 0: the segment grows with each commit. Without effect where
    /// `sync` is false.
    ///
    /// It pays on a disk that flushes in a fraction of a millisecond, for commits of some KiB: those of 4 KiB
    /// took half the time there (the median, in segments of 2 MiB as well, with all that a rotation is),
    /// and 256 KiB did what 1 MiB did. Everything is written twice, once as zeros; the commit that writes
    /// them waits for them. The first 64 MiB of the next segment are written by a thread of their own while
    /// this one is being filled: space that the disk has to have as well. The file of a running store ends
    /// with zeros, which `mysqlbinlog` (and `rejoin inspect`) report as damage at its end; a segment that is
    /// full, or whose store was closed, has none.
    pub write_ahead_bytes: u64,
}

impl Default for JournalOptions {
    fn default() -> Self {
        Self {
            base_name: "binlog".to_owned(),
            segment_bytes: 1 << 30,
            server_id: 0,
            expire_after: Some(Duration::from_secs(30 * 24 * 3600)),
            keep_bytes: None,
            sync: true,
            reserve: false,
            write_ahead_bytes: 0,
        }
    }
}

#[cfg(test)]
mod tests;
