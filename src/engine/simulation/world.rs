//! The group: its history, its members, what each of them does wrong, and the door for a joiner.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rand::RngExt;
use rand::rngs::StdRng;

use super::history::History;
use super::plants::Plant;
use crate::binlog::ChecksumAlgorithm;
use crate::group::{Cut, Feed, Group, GroupMember, Joined, MemberState, View};
use crate::gtid::{GtidSet, Uuid};
use crate::net::{ConnectOptions, Endpoint, ServerVersion};
use crate::transaction::{Assembler, Batch};
use crate::{Error, ErrorKind, Limits};

pub(super) const SECOND: u64 = 1_000_000_000;

/// What may go wrong in a run, and how often; drawn from the seed.
#[derive(Debug, Clone)]
pub(super) struct Faults {
    /// Chances in 1000 for each connection to a donor.
    pub(super) refuse: u32,
    pub(super) silent: u32,
    pub(super) login: u32,
    pub(super) cut: u32,
    pub(super) flip: u32,
    pub(super) stall: u32,
    pub(super) end: u32,
    pub(super) twin: u32,
    pub(super) delay: u32,
    pub(super) replay: u32,
    pub(super) withhold: u32,
    pub(super) oversize: u32,
    /// Chances in 1000 for each clone.
    pub(super) clone_refuse: u32,
    pub(super) clone_cut: u32,
    /// Chances in 1000 for each step of the group.
    pub(super) leave: u32,
    pub(super) unreachable: u32,
    pub(super) purge: u32,
    pub(super) diverge: u32,
    pub(super) lie: u32,
    pub(super) out_of_sight: u32,
    /// Chances in 1000 for each question to the group.
    pub(super) no_answer: u32,
    /// Chances in 100,000 for each step of the joiner.
    pub(super) kill: u32,
    pub(super) torn: u32,
    pub(super) full: u32,
    pub(super) stop: u32,
    pub(super) settings: u32,
    pub(super) leap: u32,
    /// Chances in 1000 for each death of the joiner that its machine dies as well.
    pub(super) power: u32,
}

impl Faults {
    pub(super) const NONE: Self = Self {
        refuse: 0,
        silent: 0,
        login: 0,
        cut: 0,
        flip: 0,
        stall: 0,
        end: 0,
        twin: 0,
        delay: 0,
        replay: 0,
        withhold: 0,
        oversize: 0,
        clone_refuse: 0,
        clone_cut: 0,
        leave: 0,
        unreachable: 0,
        purge: 0,
        diverge: 0,
        lie: 0,
        out_of_sight: 0,
        no_answer: 0,
        kill: 0,
        torn: 0,
        full: 0,
        stop: 0,
        settings: 0,
        leap: 0,
        power: 0,
    };

    /// Most faults are absent from most runs, so that those present have room to unfold.
    pub(super) fn draw(random: &mut StdRng) -> Self {
        let mut chance = |most: u32| {
            if random.random_range(0..3) == 0 {
                random.random_range(0..=most)
            } else {
                0
            }
        };
        Self {
            refuse: chance(600),
            silent: chance(200),
            login: chance(400),
            cut: chance(1000),
            flip: chance(500),
            stall: chance(300),
            end: chance(300),
            twin: chance(300),
            delay: chance(500),
            replay: chance(300),
            withhold: chance(300),
            oversize: chance(300),
            clone_refuse: chance(500),
            clone_cut: chance(700),
            leave: chance(300),
            unreachable: chance(200),
            purge: chance(200),
            diverge: chance(200),
            lie: chance(200),
            out_of_sight: chance(50),
            no_answer: chance(300),
            kill: chance(1500),
            torn: chance(1500),
            full: chance(300),
            stop: chance(300),
            settings: chance(500),
            leap: chance(300),
            power: chance(1000),
        }
    }
}

pub(super) struct SimMember {
    /// As it is shown in views, but for the sets.
    pub(super) shown: GroupMember,
    /// How much of the history it has applied.
    pub(super) executed: usize,
    /// How much of it is no longer in its binary logs.
    pub(super) purged: usize,
    /// From where on its data differs from the group's.
    pub(super) diverged: Option<usize>,
    pub(super) lie: Option<Lie>,
    /// Whether it is in the view.
    pub(super) is_in: bool,
}

/// What a member tells of its sets that is not so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lie {
    /// It has executed less, as if it was read too early, and purged nothing.
    TooLittle,
    /// All that it has executed is purged.
    AllPurged,
}

pub(super) struct World {
    pub(super) history: History,
    pub(super) members: Vec<SimMember>,
    pub(super) faults: Faults,
    pub(super) random: StdRng,
    /// Whether the group is one that logs its views.
    pub(super) logs_views: bool,
    pub(super) views: u64,
    /// The place of the transaction that logs the newest.
    view_change: Option<usize>,
    pub(super) delivery: Option<Delivery>,
    /// What some donor has left out of what it sent.
    pub(super) withheld: BTreeSet<usize>,
    pub(super) plant: Option<Plant>,
}

/// What the group delivers to the joiner that is a member now.
pub(super) struct Delivery {
    pub(super) feed: Feed,
    assembler: Assembler,
    /// The place of the next transaction.
    pub(super) next: usize,
    /// A batch that found the cache full.
    waiting: Option<Batch>,
}

/// A member's number; it is also in its UUID and host.
pub(super) fn number(uuid: &Uuid) -> usize {
    usize::from(uuid.0[0]) - 1
}

impl World {
    pub(super) fn new(mut random: StdRng, faults: Faults) -> Self {
        let count = random.random_range(1..=5);
        let logs_views = random.random_range(0..8) == 0;
        let mut history = History::new();
        let length = random.random_range(0..120);
        for _ in 0..length {
            commit(&mut history, &mut random);
        }
        let members = (0..count)
            .map(|index: u8| member(index, logs_views, &mut random, &history))
            .collect();
        Self {
            history,
            members,
            faults,
            random,
            logs_views,
            views: 0,
            view_change: None,
            delivery: None,
            withheld: BTreeSet::new(),
            plant: None,
        }
    }

    /// Whether something with `chances` in 1000 happens now.
    pub(super) fn chance(&mut self, chances: u32) -> bool {
        chances > 0 && self.random.random_range(0..1000) < chances
    }

    pub(super) fn commit(&mut self) {
        commit(&mut self.history, &mut self.random);
    }

    pub(super) fn view(&mut self) -> View {
        let mut members = Vec::new();
        for member in self.members.iter().filter(|member| member.is_in) {
            let mut shown = member.shown.clone();
            let (executed, purged) = match member.lie {
                None => (member.executed, member.purged),
                Some(Lie::TooLittle) => (member.executed / 2, 0),
                Some(Lie::AllPurged) => (member.executed, member.executed),
            };
            shown.executed = Some(self.history.executed(executed).clone());
            shown.purged = Some(self.history.executed(purged).clone());
            members.push(shown);
        }
        View { members }
    }

    /// The transaction that logs the newest view.
    pub(super) fn newest_view_change(&self) -> GtidSet {
        let mut set = GtidSet::new();
        if let Some(place) = self.view_change {
            set.insert(&self.history.get(place).gtid);
        }
        set
    }

    /// Lets one member do one thing. `true` if a new view has to be told.
    pub(super) fn step(&mut self) -> bool {
        let faults = self.faults.clone();
        let index = self.random.random_range(0..self.members.len());
        let length = self.history.len();
        let behind = length - self.members[index].executed;
        let caught_up = self.random.random_range(0..=behind);
        self.members[index].executed += caught_up;
        if self.chance(faults.purge) {
            let executed = self.members[index].executed;
            self.members[index].purged = self.random.random_range(0..=executed);
        }
        if self.chance(faults.diverge) {
            let from = self.random.random_range(0..=length);
            let healed = self.random.random_range(0..2) == 0;
            self.members[index].diverged = (!healed).then_some(from);
        }
        if self.chance(faults.lie) {
            let lie = [None, Some(Lie::TooLittle), Some(Lie::AllPurged)];
            self.members[index].lie = lie[self.random.random_range(0..3)];
        }
        let (leaves, lost) = (self.chance(faults.leave), self.chance(faults.unreachable));
        self.change_state(index, leaves, lost)
    }

    fn change_state(&mut self, index: usize, leaves: bool, lost: bool) -> bool {
        let up_to_date = self.members[index].executed == self.history.len();
        let member = &mut self.members[index];
        let state = &mut member.shown.state;
        match (member.is_in, *state) {
            (true, _) if leaves => member.is_in = false,
            (true, MemberState::Online) if lost => *state = MemberState::Unreachable,
            (true, MemberState::Unreachable) => *state = MemberState::Online,
            (true, MemberState::Recovering) if up_to_date => *state = MemberState::Online,
            (false, _) => {
                member.is_in = true;
                *state = MemberState::Recovering;
            }
            _ => return false,
        }
        true
    }

    /// The faults stop: whatever was broken is mended.
    pub(super) fn heal(&mut self) {
        self.faults = Faults::NONE;
        let length = self.history.len();
        for member in &mut self.members {
            member.shown.state = MemberState::Online;
            member.is_in = true;
            member.lie = None;
            member.diverged = None;
            member.purged = 0;
            member.executed = length;
            if member.shown.recovery_endpoints.is_empty() {
                member.shown.recovery_endpoints = vec![member.shown.address.clone()];
            }
        }
    }

    /// Delivers what is due to the joiner. `false` if there was nothing, or no room.
    pub(super) fn deliver(&mut self) -> bool {
        let end = self.history.len();
        let Some(delivery) = &mut self.delivery else {
            return false;
        };
        if delivery.waiting.is_some() && !delivery.feed.is_roomy() {
            return false;
        }
        let batch = match delivery.waiting.take() {
            Some(batch) => batch,
            None if delivery.next < end => {
                let most = (end - delivery.next).min(20);
                let count = self.random.random_range(1..=most);
                let mut places: Vec<usize> = (delivery.next..delivery.next + count).collect();
                match self.plant {
                    Some(Plant::Loses) => places.retain(|place| place % 10 != 3),
                    Some(Plant::Swaps) => places.chunks_mut(2).for_each(<[_]>::reverse),
                    _ => {}
                }
                for place in places {
                    for event in super::history::events(&self.history.get(place).bytes) {
                        delivery.assembler.push(event).expect("our own events");
                    }
                }
                delivery.next += count;
                delivery.assembler.take(Batch::new())
            }
            None => return false,
        };
        if let Err((batch, _)) = delivery.feed.deliver(batch) {
            delivery.waiting = Some(batch);
        }
        true
    }

    pub(super) fn has_undelivered(&self) -> bool {
        self.delivery.as_ref().is_some_and(|delivery| {
            delivery.next < self.history.len() || delivery.waiting.is_some()
        })
    }

    fn join(&mut self, feed: Feed) -> Result<Joined, Error> {
        let no_answer = self.faults.no_answer;
        if self.chance(no_answer) || self.members.iter().all(|member| !member.is_in) {
            return Err(Error::new(ErrorKind::GroupUnavailable, "planted"));
        }
        let cut = if self.logs_views {
            self.views += 1;
            let view_id = format!("17:{}", self.views);
            self.view_change = Some(self.history.len());
            self.history.commit_view(&view_id);
            Cut::ViewId(view_id)
        } else {
            let lacks = usize::from(self.plant == Some(Plant::ShortCut));
            let end = self.history.len().saturating_sub(lacks);
            Cut::Gtids(self.history.executed(end).clone())
        };
        let mut assembler = Assembler::new(Limits::default(), ChecksumAlgorithm::Crc32);
        for event in super::history::events(&self.history.preamble(b"feed")) {
            assembler.push(event).expect("our own events");
        }
        // What was executed just before may be delivered once more.
        let again = self.random.random_range(0..3).min(self.history.len());
        self.delivery = Some(Delivery {
            feed,
            assembler,
            next: self.history.len() - if self.logs_views { 0 } else { again },
            waiting: None,
        });
        Ok(Joined {
            view: self.view(),
            cut,
        })
    }
}

fn commit(history: &mut History, random: &mut StdRng) {
    let size = match random.random_range(0..200) {
        0 => 40_000,
        1..20 => random.random_range(500..4000),
        _ => random.random_range(20..120),
    };
    let tagged = random.random_range(0..10) == 0;
    let block = random.random_range(0..3);
    history.commit(tagged, block, size, random.random_range(0..4) > 0);
}

fn member(index: u8, logs_views: bool, random: &mut StdRng, history: &History) -> SimMember {
    let name = format!("db{}", index + 1);
    let address = Endpoint::new(name.clone(), 3306);
    let recovery_endpoints = match random.random_range(0..12) {
        0 if index > 0 => Vec::new(),
        1 | 2 => vec![
            Endpoint::new(name.clone(), 33061),
            Endpoint::new(name, 33062),
        ],
        _ => vec![address.clone()],
    };
    let version = match random.random_range(0..10) {
        0 if index > 0 => "9.8.0",
        1 | 2 => "8.4.5",
        _ if logs_views => "8.2.0",
        _ => "9.7.4",
    };
    SimMember {
        shown: GroupMember {
            uuid: Uuid([index + 1; 16]),
            address,
            state: MemberState::Online,
            primary: index == 0,
            version: Some(ServerVersion::parse(version)),
            recovery_endpoints,
            executed: None,
            purged: None,
        },
        executed: history.len(),
        purged: 0,
        diverged: None,
        lie: None,
        is_in: true,
    }
}

/// The group as the engine sees it.
pub(super) struct SimGroup(pub(super) Arc<Mutex<World>>);

impl SimGroup {
    fn unless_unanswered<T>(&self, answer: impl FnOnce(&mut World) -> T) -> Result<T, Error> {
        let mut world = self.0.lock();
        let no_answer = world.faults.no_answer;
        if world.chance(no_answer) {
            return Err(Error::new(ErrorKind::GroupUnavailable, "planted"));
        }
        Ok(answer(&mut world))
    }
}

impl Group for SimGroup {
    fn join(&self, feed: Feed) -> Result<Joined, Error> {
        self.0.lock().join(feed)
    }

    fn read(&self) -> Result<View, Error> {
        self.unless_unanswered(World::view)
    }

    fn executed(&self) -> Result<GtidSet, Error> {
        self.unless_unanswered(|world| match world.plant {
            Some(Plant::Believes) => GtidSet::new(),
            _ => world.history.executed(world.history.len()).clone(),
        })
    }

    fn donor_options(&self, _donor: &GroupMember) -> ConnectOptions {
        ConnectOptions {
            connect_timeout: Duration::from_secs(10),
            ..ConnectOptions::new("user", "password")
        }
    }

    fn leave(&self) {
        self.0.lock().delivery = None;
    }
}
