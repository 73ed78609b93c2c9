//! A snapshot of how a member stands.

use std::time::Duration;

use crate::gtid::GtidSet;
use crate::recovery::{AttemptRecord, ExitStateAction, Phase};
use crate::target::CloneProgress;

/// How a member stands at one moment.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Status {
    /// The phase of recovery.
    pub phase: Phase,
    /// The donor that is asked or serves, `host:port`.
    pub donor: Option<String>,
    /// Attempts made, over all donors.
    pub attempts: u32,
    /// The attempts that are over, oldest first, the latest 256; the last one may have brought
    /// everything, the others have failed.
    pub attempt_records: Vec<AttemptRecord>,
    /// What `exit_state_action` asks of the member's server, once recovery has failed in the group.
    pub exit_state_action: Option<ExitStateAction>,
    /// What the target has executed.
    pub gtid_executed: GtidSet,
    /// Transactions applied since the start, from any source.
    pub transactions: u64,
    /// Bytes of events received from donors since the start.
    pub received_bytes: u64,
    /// Bytes of donors' transactions that went to the disk since the start, because the applier was
    /// behind, or because they are too large for the memory.
    pub overflow_bytes: u64,
    /// Time since the start for which donors were kept waiting, because the applier was behind.
    pub stalled: Duration,
    /// Bytes of the relay log: what the group has delivered, and fits in memory no more or is to
    /// outlive a crash (see [`SyncRelayLog`](crate::journal::SyncRelayLog)). Measured once a second.
    pub relay_log_bytes: u64,
    /// Transactions up to the cut that are not executed yet; 0 before the join.
    pub missing: u64,
    /// Transactions that the group has delivered and that are not applied yet.
    pub queued: u64,
    /// Transactions applied in the last second.
    pub rate: u64,
    /// Time until everything known to be missing is applied, at this rate; `None` while nothing
    /// moves.
    pub eta: Option<Duration>,
    /// How far the clone is, while a donor is cloned.
    pub clone: Option<CloneProgress>,
    /// Time since the start.
    pub elapsed: Duration,
}
