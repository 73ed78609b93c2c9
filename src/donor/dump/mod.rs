//! The dump: one client's stream of events.
//!
//! ```text
//! made-up Rotate | Format_description | Previous_gtids | [Heartbeat: position behind what is skipped]
//! events ... | Rotate of the file | made-up Rotate | Format_description | ...
//! Heartbeat after each period of silence; EOF at the end for those who do not wait; ERR
//! ```
//!
//! What is sent, and in which order, is what mysqld 9.7 sends for the same files: the events' own
//! bytes, but for the format description, in which the mark of an open file is cleared.
//!
//! - `sender`: walks through files and events and decides what is sent;
//! - `outlet`: puts events into packets and packets onto the connection;
//! - `refusal`: the errors of a dump in MySQL's words.

mod outlet;
mod refusal;
mod sender;

pub(super) use sender::{Dump, Ending};

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::binlog::ChecksumAlgorithm;

/// What the session has agreed on before the dump.
#[derive(Debug, Clone, Copy)]
pub(super) struct Agreement {
    /// Silence after which a heartbeat is sent.
    pub(super) heartbeat_period: Option<std::time::Duration>,
    /// `None`: the client knows no checksums.
    pub(super) checksum: Option<ChecksumAlgorithm>,
}

/// A dump as others see it.
#[derive(Debug)]
pub(super) struct DumpTicket {
    pub(super) connection_id: u32,
    /// `@replica_uuid` as it was sent; empty where it was not.
    pub(super) replica_uuid: String,
    pub(super) server_id: u32,
    /// Another one with the same identity has come: this one has to end.
    replaced: AtomicBool,
    pub(super) sent_bytes: AtomicU64,
    /// The file that is read, and how far.
    pub(super) position: Mutex<(String, u64)>,
}

impl DumpTicket {
    pub(super) fn new(connection_id: u32, replica_uuid: String, server_id: u32) -> Self {
        Self {
            connection_id,
            replica_uuid,
            server_id,
            replaced: AtomicBool::new(false),
            sent_bytes: AtomicU64::new(0),
            position: Mutex::default(),
        }
    }

    /// Whether both are dumps of the same replica. Tools have neither UUID nor server ID and never
    /// are.
    pub(super) fn is_same_replica(&self, other: &Self) -> bool {
        if self.replica_uuid.is_empty() {
            return self.server_id != 0
                && other.replica_uuid.is_empty()
                && self.server_id == other.server_id;
        }
        self.replica_uuid.eq_ignore_ascii_case(&other.replica_uuid)
    }

    pub(super) fn replace(&self) {
        self.replaced.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_replaced(&self) -> bool {
        self.replaced.load(Ordering::Relaxed)
    }
}
