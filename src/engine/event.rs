//! What happens, told as it happens.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use parking_lot::Mutex;

use crate::ErrorKind;
use crate::group::GroupMember;
use crate::gtid::GtidSet;
use crate::recovery::{AttemptRecord, Plan};
use crate::target::CloneProgress;

/// A step of recovery.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event {
    /// The member has compared itself with the group and chosen how to catch up.
    Planned(Plan),
    /// A donor is cloned: when it begins, once a second, and when it ends.
    Clone {
        /// The member that is cloned.
        donor: GroupMember,
        /// How far it is.
        progress: CloneProgress,
        /// Whether it has ended, and how.
        state: CloneState,
    },
    /// A donor is asked.
    Donor {
        /// The attempt's number, over all donors.
        attempt: u32,
        /// How many attempts are allowed.
        of: u32,
        /// The member that is asked.
        donor: GroupMember,
    },
    /// A donor has failed.
    Failover(AttemptRecord),
    /// Every donor was tried; recovery sleeps for this long.
    Sleep(Duration),
    /// Phase 1 is over, what the group delivered meanwhile is being applied.
    CatchUp,
    /// The member is ONLINE.
    Online {
        /// What it has executed.
        gtid_executed: GtidSet,
        /// Transactions applied since the start.
        transactions: u64,
        /// Time since the start.
        elapsed: Duration,
        /// Attempts made, over all donors.
        attempts: u32,
    },
}

/// How a clone stands.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CloneState {
    /// It goes on.
    Copying,
    /// The target holds the donor's data.
    Complete,
    /// It has failed, and another donor or another way is tried.
    Failed {
        /// The class of the error.
        kind: ErrorKind,
        /// What failed.
        message: String,
        /// Whether the target's own data is gone.
        data_dropped: bool,
    },
}

/// Events wait here for a subscriber that is busy; beyond this many the newest are dropped.
const CAPACITY: usize = 1024;

/// A subscription to a member's events, from the moment it was made on. It ends when the member
/// stops.
#[derive(Debug)]
pub struct Events {
    receiver: Receiver<Event>,
    dropped: Arc<AtomicU64>,
}

impl Events {
    /// How many events were dropped because they were not fetched in time.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// The next event, if one is here.
    pub fn try_next(&self) -> Option<Event> {
        self.receiver.try_recv().ok()
    }

    /// The next event, if one comes within `timeout`.
    pub fn next_timeout(&self, timeout: Duration) -> Option<Event> {
        self.receiver.recv_timeout(timeout).ok()
    }
}

impl Iterator for Events {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        self.receiver.recv().ok()
    }
}

/// All subscriptions of a member.
#[derive(Debug, Default)]
pub(super) struct Subscribers {
    list: Mutex<Vec<(Sender<Event>, Arc<AtomicU64>)>>,
}

impl Subscribers {
    pub(super) fn subscribe(&self) -> Events {
        let (sender, receiver) = bounded(CAPACITY);
        let dropped = Arc::new(AtomicU64::new(0));
        self.list.lock().push((sender, Arc::clone(&dropped)));
        Events { receiver, dropped }
    }

    pub(super) fn publish(&self, event: &Event) {
        self.list
            .lock()
            .retain(|(sender, dropped)| match sender.try_send(event.clone()) {
                Ok(()) => true,
                Err(TrySendError::Full(_)) => {
                    dropped.fetch_add(1, Ordering::Relaxed);
                    true
                }
                Err(TrySendError::Disconnected(_)) => false,
            });
    }

    /// Ends every subscription.
    pub(super) fn close(&self) {
        self.list.lock().clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_subscriber_loses_the_newest_and_knows_it() {
        let subscribers = Subscribers::default();
        let events = subscribers.subscribe();
        for _ in 0..CAPACITY + 3 {
            subscribers.publish(&Event::CatchUp);
        }
        subscribers.close();
        assert_eq!(events.dropped(), 3);
        assert_eq!(events.count(), CAPACITY);
    }
}
