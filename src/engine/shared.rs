//! What the threads of one member share.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;
use parking_lot::{Condvar, Mutex};

use super::event::Subscribers;
use crate::group::{Joined, View};
use crate::gtid::GtidSet;
use crate::journal::Load;
use crate::recovery::Settings;
use crate::target::CloneFailure;
use crate::transaction::Piece;
use crate::{Error, ErrorKind, Result};

/// A batch that goes from a receiver to the applier holds at most this many transactions, so that
/// a group commit stays short and readers see new data often.
pub(super) const BATCH_TRANSACTIONS: usize = 1024;
/// And at most about this many bytes; one transaction may be larger.
pub(super) const BATCH_BYTES: usize = 4 << 20;

/// Counters and sets that several threads read. Counters are statistics: they order nothing, so
/// every access is relaxed.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) clock: Clock,
    /// What the target has executed; written by the applier after each group commit.
    pub(super) executed: Mutex<GtidSet>,
    /// Whether the controller still has news of `executed` waiting for it.
    pub(super) executed_told: AtomicBool,
    /// What the feed has delivered since the cut; written by the cache thread.
    pub(super) delivered: Mutex<GtidSet>,
    /// Transactions that the feed has delivered.
    pub(super) feed_delivered: AtomicU64,
    /// Transactions from the feed that are executed by now, skipped ones included.
    pub(super) feed_applied: AtomicU64,
    /// Transactions applied from any source.
    pub(super) applied: AtomicU64,
    /// Bytes of events received from donors.
    pub(super) received_bytes: AtomicU64,
    /// Whether the applier kept a receiver waiting since the controller last looked.
    pub(super) held_back: AtomicBool,
    /// Nanoseconds for which the applier kept donors waiting.
    pub(super) stalled_nanos: AtomicU64,
    /// Bytes of donors' transactions that went to the disk because the applier was behind.
    pub(super) overflow_bytes: AtomicU64,
    /// Bytes of the relay log of what the group has delivered.
    pub(super) relay_log_bytes: AtomicU64,
    /// When the cache has to be woken though nothing happens, in nanoseconds since the start;
    /// written by the cache thread.
    pub(super) cache_due: AtomicU64,
    /// Batches of connections to donors up to this one are dropped unapplied.
    pub(super) cancelled: AtomicU32,
    /// The member was asked to stop.
    pub(super) stopping: AtomicBool,
    pub(super) subscribers: Subscribers,
    /// Waited on with the lock of the member's status.
    pub(super) phase_changed: Condvar,
}

/// What says how late it is.
#[derive(Debug)]
pub(super) enum Clock {
    /// Time since the member was started.
    Real(Instant),
    /// Nanoseconds, set by a simulation.
    #[cfg(test)]
    Virtual(std::sync::Arc<AtomicU64>),
}

/// What came of a turn of a thread's loop, which does one piece of work without waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    Worked,
    /// There is nothing to do.
    Idle,
    /// Nobody is left to work for.
    Ended,
}

impl Shared {
    pub(super) fn new(executed: GtidSet, subscribers: Subscribers, clock: Clock) -> Self {
        Self {
            clock,
            executed: Mutex::new(executed),
            executed_told: AtomicBool::new(false),
            delivered: Mutex::default(),
            feed_delivered: AtomicU64::new(0),
            feed_applied: AtomicU64::new(0),
            applied: AtomicU64::new(0),
            received_bytes: AtomicU64::new(0),
            held_back: AtomicBool::new(false),
            stalled_nanos: AtomicU64::new(0),
            overflow_bytes: AtomicU64::new(0),
            relay_log_bytes: AtomicU64::new(0),
            cache_due: AtomicU64::new(u64::MAX),
            cancelled: AtomicU32::new(0),
            stopping: AtomicBool::new(false),
            subscribers,
            phase_changed: Condvar::new(),
        }
    }

    pub(super) fn now(&self) -> Duration {
        match &self.clock {
            Clock::Real(started) => started.elapsed(),
            #[cfg(test)]
            Clock::Virtual(nanos) => {
                Duration::from_nanos(nanos.load(std::sync::atomic::Ordering::Relaxed))
            }
        }
    }
}

/// What the threads tell the controller.
#[derive(Debug)]
pub(super) enum Fact {
    /// The group thread's answers.
    Joined(Box<Joined>),
    Read(View),
    GroupExecuted(GtidSet),
    JoinFailed(Error),
    ReadFailed(Error),
    /// The receiver's.
    Connected {
        attempt: u32,
    },
    ReceiverFailed {
        attempt: u32,
        error: Error,
    },
    /// The applier's.
    Executed,
    ViewChangeApplied(String),
    ApplyFailed {
        source: Source,
        error: Error,
    },
    Fenced,
    Cloned,
    CloneFailed(CloneFailure),
    /// The cache's: it can neither take in nor pass on any more.
    RelayLogFailed(Error),
    /// A thread has panicked.
    Panicked(Error),
    /// The owner's.
    Settings(Box<Settings>),
    Stop,
}

/// Where a batch comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// The connection to a donor with this number, counted from 1.
    Donor(u32),
    /// The group's feed, through the cache.
    Feed,
}

/// What the cache gets from a receiver.
#[derive(Debug)]
pub(super) struct Received {
    /// The connection to a donor.
    pub(super) connection: u32,
    pub(super) piece: Piece,
}

/// What the applier gets.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) source: Source,
    pub(super) load: Load,
}

/// Starts a named thread whose panic becomes a fact instead of a hang.
pub(super) fn spawn(
    name: &'static str,
    facts: &Sender<Fact>,
    body: impl FnOnce() + Send + 'static,
) -> Result<JoinHandle<()>> {
    let facts = facts.clone();
    thread::Builder::new()
        .name(name.into())
        .spawn(move || {
            if let Err(panic) = catch_unwind(AssertUnwindSafe(body)) {
                let text = panic
                    .downcast_ref::<&str>()
                    .map(|text| String::from(*text))
                    .or_else(|| panic.downcast_ref::<String>().cloned())
                    .unwrap_or_else(|| "no message".into());
                // Without a controller nobody waits for this thread's work either.
                let _ = facts.send(Fact::Panicked(Error::new(
                    ErrorKind::Internal,
                    format!("thread {name} panicked: {text}"),
                )));
            }
        })
        .map_err(|error| {
            Error::new(
                ErrorKind::Internal,
                format!("cannot start thread {name}: {error}"),
            )
            .remedy("raise the limit on threads of this process")
        })
}
