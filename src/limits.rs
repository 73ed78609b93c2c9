//! One bound on everything that a peer or a file can make large.
//!
//! Reaching a limit is an [`Error`](crate::Error) of kind
//! [`ErrorKind::Limit`](crate::ErrorKind::Limit) that names the limit and its value; nothing is
//! ever cut short silently.

/// Bounds on what is accepted from a donor, a group or a file.
///
/// ```
/// let limits = rejoin::Limits { transaction_bytes: 64 << 20, ..Default::default() };
/// assert_eq!(limits.columns, 4096);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Largest packet that is put together from its 16 MiB parts, in bytes. Default 1 GiB + 16,
    /// the largest event plus what a packet adds (`replica_max_allowed_packet` of a real replica).
    pub packet_bytes: usize,
    /// Largest single event, in bytes. Default 1 GiB (`max_log_event_size` of the server).
    pub event_bytes: usize,
    /// Largest transaction that is held in memory, in bytes of its events. Default 2 GiB. A member with
    /// relay logs streams large ones through them: those are bounded by the disk alone, unless the
    /// target [loads](crate::journal::StoredTransaction::load) them.
    pub transaction_bytes: usize,
    /// Largest decompressed size of one compressed transaction, in bytes. Default 1 GiB, as mysqld. Such
    /// a transaction is one event: it is held in memory whole, before and after it is decompressed.
    pub decompressed_bytes: usize,
    /// Table maps that may be open in one statement. Default 4,096.
    pub table_maps: usize,
    /// Columns of a table. Default 4,096, the server's own bound.
    pub columns: usize,
    /// Nesting of a JSON document. Default 100, the server's own bound.
    pub json_depth: usize,
    /// Intervals of one encoded GTID set. Default 1,000,000.
    pub gtid_intervals: usize,
    /// Rows of one text query's result. Default 1,000,000.
    pub result_rows: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            packet_bytes: (1 << 30) + 16,
            event_bytes: 1 << 30,
            transaction_bytes: 2 << 30,
            decompressed_bytes: 1 << 30,
            table_maps: 4096,
            columns: 4096,
            json_depth: 100,
            gtid_intervals: 1_000_000,
            result_rows: 1_000_000,
        }
    }
}
