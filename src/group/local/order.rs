//! The total order: one sequence of transactions and view changes, delivered to every member.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use log::info;

use super::compose::Composer;
use super::{LocalMemberOptions, MAX_MEMBERS};
use crate::group::{Cut, Feed, GroupMember, Joined, MemberState, NotDelivered, View};
use crate::gtid::{Gtid, GtidSet, Tag, Tsid, Uuid};
use crate::net::ServerVersion;
use crate::transaction::Batch;
use crate::{Error, ErrorKind, Result};

/// The version that members show.
const VERSION: ServerVersion = ServerVersion {
    major: 9,
    minor: 7,
    patch: 4,
};

/// What a member has by its own account.
pub(super) type Sets = Arc<dyn Fn() -> MemberSets + Send + Sync>;

/// The GTID sets of a member at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MemberSets {
    /// What its target has executed.
    pub executed: GtidSet,
    /// What is no longer in its binary log.
    pub purged: GtidSet,
}

/// Everything that a group knows; all changes happen under one lock, which is the order.
pub(super) struct Order {
    tsid: Tsid,
    composer: Composer,
    /// Everything that was ever ordered, and what the first member brought.
    executed: GtidSet,
    gno: u64,
    /// A view's id is `<epoch>:<number>`.
    epoch: u64,
    view_number: u64,
    members: Vec<Entry>,
    seats: u64,
}

struct Entry {
    /// Counts the joins: a member that joins again has another seat.
    seat: u64,
    options: LocalMemberOptions,
    state: MemberState,
    /// None once it has left, or failed: it is only shown then.
    feed: Option<Feed>,
    /// Delivered in this order; what its cache had no room for waits here.
    waiting: VecDeque<Batch>,
}

impl fmt::Debug for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Order")
            .field("view_id", &self.view_id())
            .field("view", &self.view(None))
            .finish_non_exhaustive()
    }
}

impl Order {
    pub(super) fn new(uuid: Uuid) -> Result<Self> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        Ok(Self {
            tsid: Tsid {
                uuid,
                tag: Tag::NONE,
            },
            composer: Composer::new()?,
            executed: GtidSet::new(),
            gno: 0,
            epoch: now.map_or(0, |now| now.as_micros() as u64),
            view_number: 0,
            members: Vec::new(),
            seats: 0,
        })
    }

    pub(super) fn view_id(&self) -> String {
        format!("{}:{}", self.epoch, self.view_number)
    }

    pub(super) fn executed(&self) -> &GtidSet {
        &self.executed
    }

    /// The members, but for the one that looks.
    pub(super) fn view(&self, seen_by: Option<&Uuid>) -> View {
        let primary = self.online().next().map(|entry| entry.options.uuid);
        let others = self
            .members
            .iter()
            .filter(|entry| seen_by != Some(&entry.options.uuid));
        let shown = others.map(|entry| {
            let mut sets = (entry.options.sets)();
            if entry.state == MemberState::Online {
                // Received, if not executed: everything in the order goes to it.
                sets.executed.extend(&self.executed);
            }
            GroupMember {
                uuid: entry.options.uuid,
                address: entry.options.endpoint.clone(),
                state: entry.state,
                primary: primary == Some(entry.options.uuid),
                version: Some(VERSION),
                recovery_endpoints: vec![entry.options.endpoint.clone()],
                executed: Some(sets.executed),
                purged: Some(sets.purged),
            }
        });
        View {
            members: shown.collect(),
        }
    }

    fn online(&self) -> impl Iterator<Item = &Entry> {
        self.members
            .iter()
            .filter(|entry| entry.state == MemberState::Online)
    }

    /// Lets a member in: every other one gets the view change as a transaction, in its place in the
    /// order; what comes behind goes to the joiner as well. Gives its seat, too.
    pub(super) fn join(
        &mut self,
        options: &LocalMemberOptions,
        feed: Feed,
    ) -> Result<(u64, Joined)> {
        let uuid = options.uuid;
        if self.seat_of(&uuid).is_some() {
            return Err(Error::new(
                ErrorKind::Configuration,
                format!("a member with server_uuid {uuid} is in the group already"),
            )
            .remedy("give each member a server_uuid of its own"));
        }
        self.members.retain(|entry| entry.options.uuid != uuid);
        let present = self.members.iter().filter(|e| e.feed.is_some()).count();
        if present >= MAX_MEMBERS {
            return Err(Error::new(
                ErrorKind::GroupUnavailable,
                format!("the group has {MAX_MEMBERS} members, which is the most"),
            ));
        }
        let is_alone = present == 0;
        if is_alone {
            self.bootstrap(&(options.sets)().executed);
        }
        self.view_number += 1;
        let view_id = self.view_id();
        let gtid = self.next_gtid();
        let batch = self.composer.view_change(gtid, &view_id)?;
        self.seats += 1;
        let entry = Entry {
            seat: self.seats,
            options: options.clone(),
            state: MemberState::Recovering,
            feed: Some(feed),
            waiting: VecDeque::new(),
        };
        if is_alone {
            // Nobody else could give it the view change.
            self.members.push(entry);
            self.deliver(gtid, &batch);
        } else {
            self.deliver(gtid, &batch);
            self.members.push(entry);
        }
        info!("member {uuid} joins the group, view {view_id}");
        self.tell_view();
        let joined = Joined {
            view: self.view(Some(&uuid)),
            cut: Cut::ViewId(view_id),
        };
        Ok((self.seats, joined))
    }

    /// The first member decides what the group has executed.
    fn bootstrap(&mut self, executed: &GtidSet) {
        self.executed.clone_from(executed);
        let own = executed.intervals().filter(|(tsid, _)| **tsid == self.tsid);
        let newest = own.map(|(_, interval)| interval.end - 1).max();
        self.gno = newest.unwrap_or(0);
    }

    fn next_gtid(&self) -> Gtid {
        Gtid {
            tsid: self.tsid,
            gno: self.gno + 1,
        }
    }

    /// Orders a transaction that `compose` makes with its GTID.
    pub(super) fn execute(
        &mut self,
        compose: impl FnOnce(&mut Composer, Gtid) -> Result<Batch>,
    ) -> Result<Gtid> {
        if self.online().next().is_none() {
            return Err(Error::new(
                ErrorKind::GroupUnavailable,
                "no member of the group is ONLINE",
            )
            .remedy("wait until the first member is ONLINE"));
        }
        let gtid = self.next_gtid();
        let batch = compose(&mut self.composer, gtid)?;
        self.deliver(gtid, &batch);
        Ok(gtid)
    }

    fn deliver(&mut self, gtid: Gtid, batch: &Batch) {
        self.gno = gtid.gno;
        self.executed.insert(&gtid);
        for entry in self.members.iter_mut().filter(|e| e.feed.is_some()) {
            entry.waiting.push_back(batch.clone());
        }
        self.flush();
    }

    /// Hands over what waits; whether nothing is left.
    pub(super) fn flush(&mut self) -> bool {
        let mut is_empty = true;
        let mut gone = Vec::new();
        for entry in &mut self.members {
            while let (Some(feed), Some(batch)) = (&entry.feed, entry.waiting.pop_front()) {
                match feed.deliver(batch) {
                    Ok(()) => {}
                    Err((batch, NotDelivered::Full)) => {
                        entry.waiting.push_front(batch);
                        is_empty = false;
                        break;
                    }
                    Err((_, NotDelivered::Closed)) => {
                        gone.push(entry.seat);
                        break;
                    }
                }
            }
        }
        for seat in gone {
            self.leave(seat);
        }
        is_empty
    }

    /// The seat of a member that is present.
    pub(super) fn seat_of(&self, uuid: &Uuid) -> Option<u64> {
        let mut present = self.members.iter().filter(|e| e.feed.is_some());
        let entry = present.find(|entry| entry.options.uuid == *uuid)?;
        Some(entry.seat)
    }

    fn occupant(&mut self, seat: u64) -> Option<&mut Entry> {
        let mut present = self.members.iter_mut().filter(|e| e.feed.is_some());
        present.find(|entry| entry.seat == seat)
    }

    pub(super) fn is_taken(&self, seat: u64) -> bool {
        self.members
            .iter()
            .any(|e| e.seat == seat && e.feed.is_some())
    }

    /// Takes a member out. One in state ERROR goes on to be shown.
    pub(super) fn leave(&mut self, seat: u64) {
        let Some(entry) = self.occupant(seat) else {
            return;
        };
        entry.feed = None;
        entry.waiting.clear();
        info!("member {} has left the group", entry.options.uuid);
        self.members
            .retain(|entry| entry.feed.is_some() || entry.state == MemberState::Error);
        self.view_number += 1;
        self.tell_view();
    }

    /// Notes what a member says of itself.
    pub(super) fn set_state(&mut self, seat: u64, state: MemberState) {
        let Some(entry) = self.occupant(seat) else {
            return;
        };
        entry.state = state;
        info!("member {} is {state}", entry.options.uuid);
        self.tell_view();
    }

    fn tell_view(&self) {
        for entry in &self.members {
            if let Some(feed) = &entry.feed {
                feed.view_changed(self.view(Some(&entry.options.uuid)));
            }
        }
    }
}
