//! What a group delivers to a joiner, and what a joiner asks of a group.

use crossbeam_channel::Sender;

use super::{Cut, GroupMember, MemberState, View};
use crate::Error;
use crate::gtid::{GtidSet, Uuid};
use crate::net::ConnectOptions;
use crate::queue::{Producer, Refused};
use crate::transaction::{Batch, Part, Piece};

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
/// own group communication implements this trait and pushes into the [`Feed`] from its communication
/// thread: [transactions](Feed::deliver) in the group's order, and [views](Feed::view_changed). None
/// of that waits for the member.
///
/// Calls come from one thread at a time, but for [`leave`](Group::leave), which may come from
/// another thread at any moment and must make a call that is under way return soon.
///
/// # Example
/// `examples/host_group.rs`: a host's own communication thread, and a member that follows it.
///
/// ```
#[doc = include_str!("../../examples/host_group.rs")]
/// ```
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
/// Each thread that delivers has a clone of its own; all deliver to the same cache, in the order in
/// which they come to it.
#[derive(Debug, Clone)]
pub struct Feed {
    pub(crate) transactions: Producer<Piece>,
    pub(crate) news: Sender<News>,
    /// A transaction of so many bytes is better delivered in parts.
    pub(crate) large_bytes: usize,
}

/// Why a batch was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotDelivered {
    /// The cache has used up its budget: deliver it again when [`Feed::is_roomy`].
    Full,
    /// The joiner has stopped.
    Closed,
}

impl From<Refused> for NotDelivered {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Full => Self::Full,
            Refused::Closed => Self::Closed,
        }
    }
}

impl Feed {
    /// Delivers transactions, one or many, in the group's order. Takes no lock and never waits,
    /// neither for the disk nor for the applier; its one system call is to wake a cache that has
    /// gone to sleep, which it does when nothing has come for 2 ms or so.
    ///
    /// # Errors
    /// Gives the batch back with the reason.
    #[inline]
    pub fn deliver(&self, batch: Batch) -> Result<(), (Batch, NotDelivered)> {
        let bytes = batch.byte_size() as u64;
        self.transactions
            .push(Piece::Batch(batch), bytes)
            .map_err(|(piece, refused)| match piece {
                Piece::Batch(batch) => (batch, refused.into()),
                Piece::Part(_) | Piece::Abandoned => (Batch::new(), refused.into()),
            })
    }

    /// Delivers part of a transaction. Nothing else may be delivered, by whatever thread, before its
    /// last part. While the cache is full, `wait` is called, and ends the attempts with false.
    pub(crate) fn deliver_part(
        &self,
        part: Part,
        mut wait: impl FnMut() -> bool,
    ) -> Result<(), NotDelivered> {
        let bytes = part.bytes.len() as u64;
        let mut piece = Piece::Part(Box::new(part));
        loop {
            match self.transactions.push(piece, bytes) {
                Ok(()) => return Ok(()),
                Err((back, Refused::Full)) if wait() => piece = back,
                Err((_, refused)) => return Err(refused.into()),
            }
        }
    }

    /// Tells that the parts of a transaction that have been delivered are all that will come.
    pub(crate) fn abandon_parts(&self) {
        // What weighs nothing is refused by nobody but a joiner that is gone.
        let _ = self.transactions.push(Piece::Abandoned, 0);
    }

    /// Whether the cache has room again after it was [full](NotDelivered::Full): at most half of its
    /// budget is used.
    pub fn is_roomy(&self) -> bool {
        self.transactions.outstanding() <= self.transactions.budget() / 2
    }

    /// Tells that the membership has changed. This is about who can be a donor, and is heeded at once,
    /// whatever still waits: a group that writes its view changes to the binary log delivers those events
    /// as well, in their place among the transactions.
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
