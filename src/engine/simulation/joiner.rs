//! One life of the joiner's process: the product's controller, cache, applier and intake, turned by
//! hand in an order that the seed chooses.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use parking_lot::Mutex;
use rand::RngExt;
use rand::rngs::StdRng;

use super::auditor::{Auditor, Known};
use super::clones::SimClones;
use super::history::TRANSACTION_LIMIT;
use super::ledger::{Account, Ledger};
use super::network::Connection;
use super::orders::{Orders, Pending, SimReceivers};

use super::plants::Plant;
use super::world::{SECOND, SimGroup, World};
use crate::engine::applier::Applier;
use crate::engine::cache::Cache;
use crate::engine::controller::{Controller, Request, answer};
use crate::engine::parts::Parts;
use crate::engine::shared::{Clock, Fact, Turn};
use crate::engine::{Event, Events, Member};
use crate::group::{Cut, Group, View};
use crate::gtid::{GtidSet, Uuid};
use crate::journal::SyncRelayLog;
use crate::recovery::{Machine, Phase, Settings};
use crate::{Error, ErrorKind, Limits, Result};

/// The joiner's own UUID.
const OWN: Uuid = Uuid([0x77; 16]);

pub(super) struct Joiner {
    controller: Controller,
    applier: Applier,
    cache: Cache,
    group: Arc<dyn Group>,
    requests: crossbeam_channel::Receiver<Request>,
    facts: crossbeam_channel::Sender<Fact>,
    events: Events,
    orders: Arc<Mutex<Orders>>,
    clock: Arc<AtomicU64>,
    account: Arc<Mutex<Account>>,
    world: Arc<Mutex<World>>,
    pub(super) connection: Option<Connection>,
    pub(super) auditor: Auditor,
    /// Requests that the group has not answered yet.
    asked: Option<(u64, Request)>,
    /// How long the applier is busy with what it took last.
    applier_free: u64,
    /// Longest time that a group commit takes.
    pub(super) slowness: u64,
    /// When the controller looks at its counters again.
    look: u64,
    cache_bytes: usize,
    /// A hash of all steps so far.
    pub(super) trace: u64,
    /// Whether the phase is one in which the controller's windows matter.
    pub(super) result: Option<Result<()>>,
}

/// What there is to do now.
#[derive(Debug, Clone, Copy, Hash)]
enum Actor {
    Controller,
    Applier,
    Cache,
    Group,
    Network,
}

impl Joiner {
    pub(super) fn start(
        world: &Arc<Mutex<World>>,
        account: &Arc<Mutex<Account>>,
        clock: &Arc<AtomicU64>,
        settings: &Settings,
        relay_logs: Option<&Path>,
        random: &mut StdRng,
    ) -> Self {
        let can_clone = account.lock().can_clone;
        let cache_bytes = [5_000, 100_000, 100_000_000][random.random_range(0..3)];
        let ledger = Ledger {
            account: Arc::clone(account),
            world: Arc::clone(world),
        };
        let mut builder = Member::builder(SimGroup(Arc::clone(world)), ledger)
            .settings(settings.clone())
            .cache_bytes(cache_bytes)
            .limits(Limits {
                transaction_bytes: TRANSACTION_LIMIT,
                ..Limits::default()
            })
            .uuid(OWN);
        if let Some(directory) = relay_logs {
            let sync = match random.random_range(0..4) {
                0 => SyncRelayLog::Each,
                1 => SyncRelayLog::Transactions(5),
                2 => SyncRelayLog::Interval(Duration::from_millis(300)),
                _ => SyncRelayLog::Never,
            };
            builder = builder
                .relay_log_directory(directory)
                .sync_relay_log(sync)
                .max_relay_log_size(20_000);
        }
        let events = builder.events();
        let parts = Parts::assemble(builder, Clock::Virtual(Arc::clone(clock)))
            .expect("settings in their ranges");
        let orders = Arc::<Mutex<Orders>>::default();
        let mut controller = parts.controller;
        let mut given = settings.clone();
        if world.lock().plant == Some(Plant::WakesEarly) {
            let interval = &mut given.recovery_reconnect_interval;
            *interval = interval.saturating_sub(Duration::from_secs(1));
        }
        controller.machine = Machine::new(given, OWN, random.random());
        controller.receivers = Box::new(SimReceivers(Arc::clone(&orders)));
        controller.clone_donors = Box::new(SimClones {
            world: Arc::clone(world),
            orders: Arc::clone(&orders),
            clock: Arc::clone(clock),
        });
        Self {
            controller,
            applier: parts.applier,
            cache: parts.cache,
            group: parts.group,
            requests: parts.requests,
            facts: parts.facts,
            events,
            orders,
            clock: Arc::clone(clock),
            account: Arc::clone(account),
            world: Arc::clone(world),
            connection: None,
            auditor: Auditor::new(settings.clone(), can_clone),
            asked: None,
            applier_free: 0,
            slowness: [0, 2_000_000, 300_000_000, 5 * SECOND][random.random_range(0..4)],
            look: 0,
            cache_bytes,
            trace: 0,
            result: None,
        }
    }

    fn now(&self) -> u64 {
        self.clock.load(Relaxed)
    }

    pub(super) fn phase(&self) -> Phase {
        self.controller.machine.phase()
    }

    /// Where it stands, for the one who looks into a finding.
    pub(super) fn describe(&self) -> String {
        format!(
            "{:?}; cache {:?}, passes {:?}; applier {} waiting, free at {}; {:?}; {:?}",
            self.phase(),
            self.cache.feed,
            self.cache.passes,
            self.applier.work.len(),
            self.applier_free,
            self.controller.shared,
            self.controller.machine,
        )
    }

    /// Bytes of the feed's that went to the disk alone, bytes of donors', and transactions that were
    /// in the relay log at the start.
    pub(super) fn on_disk(&self) -> (u64, u64, u64) {
        (
            self.cache.feed.spilled_bytes(),
            self.cache.shared.overflow_bytes.load(Relaxed),
            self.controller.unapplied.count(),
        )
    }

    /// When there is something to do next, if nothing else happens.
    pub(super) fn due(&self) -> Option<u64> {
        let wakeup = self.controller.machine.next_wakeup();
        let applier = match self.clone_due() {
            Some(due) => Some(due.max(self.applier_free)),
            None => (!self.applier.work.is_empty()).then_some(self.applier_free),
        };
        [
            wakeup.map(|at| at.as_nanos() as u64),
            self.connection.as_ref().map(|connection| connection.due),
            self.asked.as_ref().map(|(at, _)| *at),
            matches!(self.phase(), Phase::Transfer | Phase::CatchUp).then_some(self.look),
            self.cache.due().map(|at| at.as_nanos() as u64),
            applier,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// When the clone that the applier is asked for is over.
    fn clone_due(&self) -> Option<u64> {
        self.orders.lock().clone.as_ref().map(Pending::due)
    }

    /// Whether it is in the middle of a clone.
    pub(super) fn is_cloning(&self) -> bool {
        self.clone_due().is_some()
    }

    /// Does one thing, if there is one to do now.
    pub(super) fn step(&mut self, random: &mut StdRng) -> Result<bool, String> {
        let now = self.now();
        let mut ready = [None; 5];
        let mut count = 0;
        let mut add = |is_ready: bool, actor| {
            if is_ready {
                ready[count] = Some(actor);
                count += 1;
            }
        };
        let wakeup = self.controller.machine.next_wakeup();
        let looks = matches!(self.phase(), Phase::Transfer | Phase::CatchUp) && self.look <= now;
        add(
            !self.controller.facts.is_empty()
                || !self.controller.news.is_empty()
                || wakeup.is_some_and(|at| at.as_nanos() as u64 <= now)
                || looks
                || self.look == 0,
            Actor::Controller,
        );
        let has_work = match self.clone_due() {
            Some(due) => due <= now,
            None => {
                self.applier.next.is_some()
                    || !self.applier.fences.is_empty()
                    || !self.applier.work.is_empty()
            }
        };
        add(has_work && self.applier_free <= now, Actor::Applier);
        add(self.cache.is_ready(), Actor::Cache);
        let answers = self
            .asked
            .as_ref()
            .map_or(!self.requests.is_empty(), |(at, _)| *at <= now);
        add(answers, Actor::Group);
        let arrives = self
            .connection
            .as_ref()
            .is_some_and(|connection| connection.due <= now);
        add(arrives, Actor::Network);
        if count == 0 {
            return Ok(false);
        }
        let actor = ready[random.random_range(0..count)];
        self.note(actor);
        match actor {
            Some(Actor::Applier) => self.turn_applier(random),
            Some(Actor::Cache) => {
                assert_ne!(self.cache.turn(), Turn::Ended);
            }
            Some(Actor::Group) => self.turn_group(random)?,
            Some(Actor::Network) => self.turn_network(),
            Some(Actor::Controller) | None => {
                if looks || self.look == 0 {
                    self.look = now + SECOND;
                }
                self.turn_controller()?;
            }
        }
        self.check_memory()?;
        Ok(true)
    }

    /// Adds a step to the trace: who did it, when, and how everything stood.
    fn note(&mut self, actor: Option<Actor>) {
        let mut hasher = DefaultHasher::new();
        self.trace.hash(&mut hasher);
        actor.hash(&mut hasher);
        self.now().hash(&mut hasher);
        self.account.lock().count.hash(&mut hasher);
        self.controller.machine.attempts().hash(&mut hasher);
        let connection = self.connection.as_ref();
        connection.map(Connection::byte_size).hash(&mut hasher);
        self.trace = hasher.finish();
    }

    fn turn_controller(&mut self) -> Result<(), String> {
        if self.result.is_some() {
            return Ok(());
        }
        if self.queue_is_empty() {
            self.auditor.queue_is_empty();
        }
        self.result = self.controller.turn();
        self.audit()?;
        let (stop, start) = {
            let mut orders = self.orders.lock();
            (std::mem::take(&mut orders.stop), orders.start.take())
        };
        if stop {
            self.connection = None;
        }
        if let Some(receiver) = start {
            let connection = Connection::new(receiver, &mut self.world.lock(), self.now());
            self.connection = Some(connection);
        }
        Ok(())
    }

    /// Whether nothing that the group has delivered waits to be applied.
    fn queue_is_empty(&self) -> bool {
        let shared = &self.controller.shared;
        shared.feed_delivered.load(Relaxed) <= shared.feed_applied.load(Relaxed)
    }

    /// Shows the auditor what was done.
    fn audit(&mut self) -> Result<(), String> {
        let now = Duration::from_nanos(self.now());
        let events: Vec<Event> = std::iter::from_fn(|| self.events.try_next()).collect();
        if events.is_empty() && self.result.is_none() {
            return self.auditor.goes_on(now);
        }
        let account = self.account.lock();
        let world = self.world.lock();
        let known = Known {
            now,
            executed: &account.executed,
            group_executed: world.history.executed(world.history.len()),
            queue_is_empty: self.queue_is_empty(),
        };
        for event in events {
            self.auditor.event(&event, known)?;
        }
        match &self.result {
            Some(Err(error)) => self.auditor.end(error, known, account.is_full),
            _ => Ok(()),
        }
    }

    fn turn_applier(&mut self, random: &mut StdRng) {
        self.orders.lock().clone = None;
        if self.world.lock().plant == Some(Plant::Forgets) {
            *self.applier.shared.executed.lock() = GtidSet::new();
        }
        assert_ne!(self.applier.turn(), Turn::Ended);
        self.applier_free = self.now() + random.random_range(0..=self.slowness);
    }

    fn turn_network(&mut self) {
        if let Some(connection) = &mut self.connection {
            connection.step(&mut self.world.lock(), self.clock.load(Relaxed));
            if connection.is_over {
                self.connection = None;
            }
        }
    }

    /// The group thread takes a request, and answers it some time later.
    fn turn_group(&mut self, random: &mut StdRng) -> Result<(), String> {
        let Some((_, request)) = self.asked.take() else {
            if let Ok(request) = self.requests.try_recv() {
                let time = random.random_range(0..200_000_000);
                self.asked = Some((self.now() + time, request));
            }
            return Ok(());
        };
        let fact = answer(&*self.group, request);
        // Everything told before has been taken in, so that the auditor knows what was known when.
        self.turn_controller()?;
        let now = Duration::from_nanos(self.now());
        match &fact {
            Fact::Joined(joined) => {
                self.auditor.joined(now, joined.view.clone());
                self.auditor.cut = match &joined.cut {
                    Cut::Gtids(cut) => cut.clone(),
                    Cut::ViewId(_) => self.world.lock().newest_view_change(),
                };
            }
            Fact::Read(view) => self.auditor.view(now, view.clone()),
            _ => {}
        }
        let _ = self.facts.send(fact);
        self.turn_controller()
    }

    /// The group tells a new view.
    pub(super) fn tell_view(&mut self) -> Result<(), String> {
        let (view, feed): (View, _) = {
            let mut world = self.world.lock();
            let view = world.view();
            let Some(delivery) = &world.delivery else {
                return Ok(());
            };
            (view, delivery.feed.clone())
        };
        self.turn_controller()?;
        self.auditor
            .view(Duration::from_nanos(self.now()), view.clone());
        feed.view_changed(view);
        self.turn_controller()
    }

    /// The group tells that nobody can be reached.
    pub(super) fn lose_sight(&mut self) -> Result<(), String> {
        self.turn_controller()?;
        if let Some(delivery) = &self.world.lock().delivery {
            self.auditor.out_of_sight();
            let error = Error::new(ErrorKind::GroupUnavailable, "nobody answers");
            delivery.feed.unreachable(error);
        }
        self.turn_controller()
    }

    pub(super) fn change_settings(&mut self, settings: Settings) -> Result<(), String> {
        self.turn_controller()?;
        self.auditor.set_settings(settings.clone());
        let _ = self.facts.send(Fact::Settings(Box::new(settings)));
        self.turn_controller()
    }

    /// Asks it to stop, which it must do at once and without an error.
    pub(super) fn stop(&mut self) -> Result<(), String> {
        self.turn_controller()?;
        if self.result.is_some() {
            return Ok(());
        }
        let _ = self.facts.send(Fact::Stop);
        self.turn_controller()?;
        match &self.result {
            Some(Ok(())) if self.connection.is_none() => Ok(()),
            other => Err(format!("asked to stop: {other:?}")),
        }
    }

    fn check_memory(&self) -> Result<(), String> {
        // A delivery is taken as long as there is room: the last one may go beyond.
        let largest = 20 * super::history::LARGEST_TRANSACTION;
        let queued = self.cache.queue.outstanding() as usize;
        let held = if self.cache.feed.can_spill() {
            self.cache.feed.head_bytes()
        } else {
            // The queue counts that, too.
            0
        };
        if queued + held + self.cache.donor.head_bytes() > self.cache_bytes + 3 * largest {
            return Err(format!("the cache holds {queued} and {held} bytes"));
        }
        let received = self.connection.as_ref().map_or(0, Connection::byte_size);
        if received > Connection::LIMIT {
            return Err(format!("the receiver holds {received} bytes"));
        }
        Ok(())
    }
}
