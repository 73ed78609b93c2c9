//! What a group delivers to a joiner, and what a joiner asks of a group.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crossbeam_channel::{SendTimeoutError, Sender};

use super::{Cut, GroupMember, MemberState, View};
use crate::Error;
use crate::gtid::{GtidSet, Uuid};
use crate::net::ConnectOptions;
use crate::transaction::Batch;

/// What a join answers: the membership, and the point from which on the feed delivers.
#[derive(Debug, Clone)]
pub struct Joined {
    /// All other members, with what each has executed and purged where that is known.
    pub view: View,
    /// The feed delivers everything that is not in it, or that comes behind it.
    pub cut: Cut,
}

/// A group as a joiner uses it.
///
/// [`MySqlGroup`](super::MySqlGroup) is a real Group Replication group. A host server that has its
/// own group communication implements this trait and pushes into the [`Feed`] from its delivery
/// thread.
///
/// Calls come from one thread at a time, but for [`leave`](Group::leave), which may come from
/// another thread at any moment and must make a call that is under way return soon.
pub trait Group: Send + Sync {
    /// Joins the group. From the answered cut on, everything that the group executes is delivered to
    /// `feed`, and membership changes are told to it, until [`leave`](Group::leave).
    ///
    /// # Errors
    /// The group cannot be reached, refuses the login, or is in no state to be joined.
    fn join(&self, feed: Feed) -> Result<Joined, Error>;

    /// Reads the members with their sets again.
    ///
    /// # Errors
    /// No member can be reached.
    fn read(&self) -> Result<View, Error>;

    /// What the group has executed by now.
    ///
    /// # Errors
    /// No member can be reached.
    fn executed(&self) -> Result<GtidSet, Error>;

    /// How to log in at `donor` for the recovery channel.
    fn donor_options(&self, donor: &GroupMember) -> ConnectOptions;

    /// Recovery uses this donor from now on; a feed that costs its source something may prefer
    /// another member.
    fn donor_chosen(&self, _donor: &Uuid) {}

    /// The member has changed its state: to ONLINE, or to ERROR just before it leaves. Where others
    /// are to know, this is the place to tell them.
    fn state_changed(&self, _state: MemberState) {}

    /// Leaves the group and stops the feed.
    fn leave(&self);
}

/// News of a group's membership.
#[derive(Debug)]
pub(crate) enum News {
    View(View),
    /// No member could be reached for this long.
    Unreachable(Error),
}

/// Where a group delivers: the entrance of a joiner's cache.
///
/// Clones deliver to the same cache.
#[derive(Debug, Clone)]
pub struct Feed {
    pub(crate) transactions: Sender<Batch>,
    pub(crate) news: Sender<News>,
    pub(crate) room: Arc<Room>,
}

/// The byte budget of a cache, shared by those who fill it and those who empty it.
#[derive(Debug)]
pub(crate) struct Room {
    budget: usize,
    // Bytes of delivered transactions that have not been applied. Added by the cache thread,
    // subtracted by it; others only compare, so that no ordering is needed.
    used: AtomicUsize,
}

impl Room {
    pub(crate) fn new(budget: usize) -> Self {
        Self {
            budget,
            used: AtomicUsize::new(0),
        }
    }

    pub(crate) fn add(&self, bytes: usize) {
        self.used.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn subtract(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }

    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    fn is_full(&self) -> bool {
        self.used() >= self.budget
    }

    fn is_roomy(&self) -> bool {
        self.used() <= self.budget / 2
    }
}

/// Why a batch was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotDelivered {
    /// The cache has used up its budget: deliver it again when [`Feed::is_roomy`].
    Full,
    /// The joiner has stopped.
    Closed,
}

impl Feed {
    /// Delivers transactions, in the group's order. Waits at most a moment for the cache thread.
    ///
    /// # Errors
    /// Gives the batch back with the reason.
    pub fn deliver(&self, batch: Batch) -> Result<(), (Batch, NotDelivered)> {
        if self.room.is_full() {
            return Err((batch, NotDelivered::Full));
        }
        self.transactions
            .send_timeout(batch, Duration::from_secs(1))
            .map_err(|error| match error {
                SendTimeoutError::Timeout(batch) => (batch, NotDelivered::Full),
                SendTimeoutError::Disconnected(batch) => (batch, NotDelivered::Closed),
            })
    }

    /// Whether the cache has room again after it was [full](NotDelivered::Full): less than half of
    /// its budget is used.
    pub fn is_roomy(&self) -> bool {
        self.room.is_roomy()
    }

    /// Tells that the membership has changed.
    pub fn view_changed(&self, view: View) {
        // A joiner that is gone needs no news.
        let _ = self.news.send(News::View(view));
    }

    /// Tells that no member can be reached any more. While the joiner is ONLINE this is only
    /// logged; while it catches up, recovery ends with this error.
    pub fn unreachable(&self, error: Error) {
        let _ = self.news.send(News::Unreachable(error));
    }
}
