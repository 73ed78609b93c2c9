//! What is shown.

use crate::Limits;
use crate::binlog::{Event, EventHeader, MappedTable};
use crate::gtid::Gtid;

/// What the last line says, over all files.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Totals {
    pub(super) events: u64,
    pub(super) transactions: u64,
    pub(super) checksum_errors: u64,
    /// Events whose rows could not be decoded, or not all of them.
    pub(super) undecoded: u64,
}

/// One event with everything that is known about it when it is shown.
pub(super) struct Seen<'a> {
    /// Where it is in the file; of an event inside a payload, where that payload ended in the source's
    /// file, as mysqlbinlog has it.
    pub(super) offset: u64,
    /// Where the payload is that it comes from.
    pub(super) payload_offset: Option<u64>,
    pub(super) header: EventHeader,
    pub(super) checksum: Option<u32>,
    pub(super) gtid: Option<Gtid>,
    pub(super) event: &'a Event<'a>,
    /// Of table maps and row events; or why it cannot be known.
    pub(super) table: Option<Result<&'a MappedTable, &'a str>>,
    pub(super) limits: &'a Limits,
}
