//! A whole group in virtual time, in one thread, from one seed.
//!
//! ```text
//! World: history, members, views, faults      Connection: donor's bytes -> framing, intake
//!    |  feed, views, answers                      |  batches, facts
//!    v                                            v
//! Joiner: controller with the machine, cache, applier: the product's own, turned by hand
//!    |  group commits                             |  what it does
//!    v                                            v
//! Ledger: durable, checks each transaction    Auditor: attempts, sleeps, donors, ONLINE
//! ```
//!
//! A run has two phases. While it is unsafe, everything that the seed has drawn goes wrong, and
//! nothing wrong may be done: no transaction lost, applied twice, before one that it needs, or with
//! other bytes; ONLINE never early; attempts and sleeps exact; memory bounded. Then the faults stop,
//! and the joiner must be ONLINE within a bounded time, hold the whole history, and follow.
//!
//! What it has found is pinned in `findings`, each by a test of its own.
//!
//! `REJOIN_SEED=17 cargo test --release --lib simulation` runs one seed alone and tells its course;
//! `REJOIN_SEEDS=1000000` runs that many, `REJOIN_FIRST_SEED` says from where.

mod auditor;
mod clones;
mod findings;
mod history;
mod joiner;
mod ledger;
mod network;
mod orders;
mod plants;
mod world;

use std::fs::{self, File};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::time::Duration;

use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tempfile::TempDir;

use crate::binlog::EventType;
use crate::gtid::GtidSet;
use crate::recovery::{
    DonorPolicy, OnlineRule, Phase, Reaction, Reactions, Selector, Settings, SlowDonor,
};
use joiner::Joiner;
use ledger::{Account, Break};
use plants::Plant;
use world::{Faults, SECOND, World};

/// Steps after which a run is taken for a livelock.
const MOST_STEPS: u64 = 400_000;

struct Simulation {
    random: StdRng,
    world: Arc<Mutex<World>>,
    account: Arc<Mutex<Account>>,
    clock: Arc<AtomicU64>,
    settings: Settings,
    joiner: Option<Joiner>,
    /// Where the joiner's processes keep their relay logs, if they do.
    relay_logs: Option<TempDir>,
    /// When the joiner's process is started again.
    restart: u64,
    /// When the group does its next step, commits, and delivers.
    group_due: u64,
    commit_due: u64,
    deliver_due: u64,
    load: u64,
    is_loaded: bool,
    healed: Option<u64>,
    steps: u64,
    outcome: Outcome,
}

/// What a run has seen, to know that runs see enough.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Outcome {
    attempts: u64,
    sleeps: u64,
    lives: u64,
    errors: u64,
    transactions: u64,
    /// Bytes of the feed's that went to a relay log, and of donors'.
    spilled: u64,
    overflowed: u64,
    /// Transactions that a run found in the relay log.
    found: u64,
    steps: u64,
    trace: u64,
}

/// Where files cost little, if there is such a place.
fn memory_directory() -> TempDir {
    tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .expect("a directory for relay logs")
}

fn draw_settings(random: &mut StdRng) -> Settings {
    let mut settings = Settings {
        recovery_retry_count: random.random_range(0..12),
        recovery_reconnect_interval: Duration::from_secs([0, 1, 5, 60][random.random_range(0..4)]),
        flow_control_period: Duration::from_secs(random.random_range(1..4)),
        ..Settings::default()
    };
    if random.random_range(0..4) == 0 {
        settings.clone_threshold = random.random_range(1..60);
    }
    if random.random_range(0..4) == 0 {
        settings.unreachable_majority_timeout = Duration::from_secs(random.random_range(1..60));
    }
    if random.random_range(0..3) == 0 {
        settings.online_rule = OnlineRule::QueueEmpty;
    }
    if random.random_range(0..8) == 0 {
        settings.slow_donor = Some(SlowDonor {
            bytes_per_second: 1000,
            patience: Duration::from_secs(random.random_range(1..20)),
        });
    }
    if random.random_range(0..6) == 0 {
        settings.donor_policy = DonorPolicy {
            prefer: vec![Selector::Secondary],
            weights: vec![(Selector::Primary, 5)],
            must_have_missing: random.random_range(0..2) == 0,
            ..DonorPolicy::default()
        };
    }
    if random.random_range(0..8) == 0 {
        settings.reactions = Reactions {
            purged: Reaction::GiveDonorUp,
            authentication: Reaction::End,
            ..Reactions::default()
        };
    }
    settings
}

impl Simulation {
    fn new(seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let faults = Faults::draw(&mut random);
        let world = World::new(StdRng::seed_from_u64(random.random()), faults);
        let mut account = Account::default();
        // Some joiners are new, some were members before.
        let known = random.random_range(0..=world.history.len());
        if random.random_range(0..2) == 0 {
            account.replace(world.history.executed(known));
        }
        account.can_clone = random.random_range(0..2) == 0;
        account.drops_first = random.random_range(0..2) == 0;
        Self {
            settings: draw_settings(&mut random),
            world: Arc::new(Mutex::new(world)),
            account: Arc::new(Mutex::new(account)),
            clock: Arc::default(),
            joiner: None,
            relay_logs: random.random_range(0..2).eq(&0).then(memory_directory),
            restart: 0,
            group_due: 0,
            commit_due: 0,
            deliver_due: 0,
            load: SECOND / [1, 5, 25][random.random_range(0..3)],
            is_loaded: true,
            healed: None,
            steps: 0,
            outcome: Outcome::default(),
            random,
        }
    }

    fn now(&self) -> u64 {
        self.clock.load(Relaxed)
    }

    /// Until all is over and right.
    fn run(mut self) -> Result<Outcome, String> {
        let unsafe_steps = self.random.random_range(0..3000);
        while self.steps < MOST_STEPS {
            self.steps += 1;
            if self.healed.is_none() && self.steps > unsafe_steps {
                self.heal()?;
            }
            self.step()?;
            if let Some(finding) = self.account.lock().finding.take() {
                return Err(finding);
            }
            if self.healed.is_some() && self.is_done()? {
                return Ok(self.outcome);
            }
        }
        Err(format!("no end after {} steps", self.steps))
    }

    fn step(&mut self) -> Result<(), String> {
        if self.joiner.is_none() && self.restart <= self.now() {
            self.start_joiner();
        }
        self.interfere()?;
        if let Some(joiner) = &mut self.joiner
            && joiner.step(&mut self.random)?
        {
            self.look_at_joiner();
            return Ok(());
        }
        let now = self.now();
        if self.group_due <= now {
            self.group_due = now + self.random.random_range(SECOND / 100..3 * SECOND);
            return self.step_group();
        }
        if self.is_loaded && self.commit_due <= now {
            self.commit_due = now + self.random.random_range(0..2 * self.load);
            self.world.lock().commit();
            return Ok(());
        }
        if self.deliver_due <= now {
            self.deliver_due = now + self.random.random_range(0..SECOND / 10);
            self.world.lock().deliver();
            return Ok(());
        }
        self.advance();
        Ok(())
    }

    /// Jumps to when something happens next.
    fn advance(&mut self) {
        let mut next = self.group_due;
        if self.is_loaded {
            next = next.min(self.commit_due);
        }
        if self.world.lock().has_undelivered() {
            next = next.min(self.deliver_due);
        } else {
            self.deliver_due = self.deliver_due.max(next);
        }
        match &self.joiner {
            Some(joiner) => next = joiner.due().map_or(next, |due| next.min(due)),
            None => next = next.min(self.restart),
        }
        self.clock.fetch_max(next, Relaxed);
    }

    fn start_joiner(&mut self) {
        let mut joiner = Joiner::start(
            &self.world,
            &self.account,
            &self.clock,
            &self.settings,
            self.relay_logs.as_ref().map(TempDir::path),
            &mut self.random,
        );
        if self.healed.is_some() {
            joiner.slowness = 0;
        }
        self.outcome.lives += 1;
        self.joiner = Some(joiner);
    }

    fn step_group(&mut self) -> Result<(), String> {
        let (is_new, gone) = {
            let mut world = self.world.lock();
            let before: Vec<bool> = world.members.iter().map(|member| member.is_in).collect();
            let is_new = world.step();
            let gone = before
                .iter()
                .zip(&world.members)
                .position(|(was_in, member)| *was_in && !member.is_in);
            (is_new, gone)
        };
        let Some(joiner) = &mut self.joiner else {
            return Ok(());
        };
        if let (Some(gone), Some(connection)) = (gone, &mut joiner.connection) {
            // A server that leaves the group ends its dumps; one that dies does so as well.
            connection.lose(gone);
        }
        if is_new { joiner.tell_view() } else { Ok(()) }
    }

    /// What administrators and accidents do to the joiner.
    fn interfere(&mut self) -> Result<(), String> {
        let faults = self.world.lock().faults.clone();
        let mut happens =
            |chances: u32| chances > 0 && self.random.random_range(0..100_000) < chances;
        let (kill, torn, full, stop) = (
            happens(faults.kill),
            happens(faults.torn),
            happens(faults.full),
            happens(faults.stop),
        );
        let (change, leap) = (happens(faults.settings), happens(faults.leap));
        let sight = happens(faults.out_of_sight);
        if torn || full {
            let broken = if torn { Break::Dies } else { Break::Full };
            self.account.lock().breaks = Some((self.random.random_range(0..5), broken));
        }
        if leap {
            // As if the machine had been suspended.
            let most = [SECOND, 60 * SECOND, 3600 * SECOND][self.random.random_range(0..3)];
            self.clock
                .fetch_add(self.random.random_range(0..most), Relaxed);
        }
        let Some(joiner) = &mut self.joiner else {
            return Ok(());
        };
        if leap {
            joiner.auditor.leapt();
        }
        if sight {
            joiner.lose_sight()?;
            self.look_at_joiner();
        } else if kill {
            self.die();
        } else if stop {
            joiner.stop()?;
            self.look_at_joiner();
        } else if change {
            let mut settings = self.settings.clone();
            settings.recovery_retry_count = self.random.random_range(0..12);
            settings.recovery_reconnect_interval =
                Duration::from_secs(self.random.random_range(0..20));
            self.settings = settings.clone();
            joiner.change_settings(settings)?;
            self.look_at_joiner();
        }
        Ok(())
    }

    /// Buries a process that has ended or was killed in a group commit.
    fn look_at_joiner(&mut self) {
        let Some(joiner) = &self.joiner else { return };
        let mut account = self.account.lock();
        let has_died = std::mem::take(&mut account.has_died);
        drop(account);
        if has_died {
            self.die();
        } else if joiner.result.is_some() {
            if matches!(joiner.result, Some(Err(_))) {
                self.outcome.errors += 1;
            }
            self.bury();
        }
    }

    /// The process is killed, or its whole machine loses power.
    fn die(&mut self) {
        let was_cloning = self.joiner.as_ref().is_some_and(Joiner::is_cloning);
        self.bury();
        let mut account = self.account.lock();
        if was_cloning && account.drops_first && self.random.random_range(0..2) == 0 {
            account.replace(&GtidSet::new());
        }
        drop(account);
        let power = self.world.lock().faults.power;
        if self.random.random_range(0..1000) < power
            && let Some(directory) = &self.relay_logs
        {
            tear(directory.path(), &mut self.random);
        }
    }

    /// The process is gone with all that it held in memory.
    fn bury(&mut self) {
        if let Some(joiner) = self.joiner.take() {
            self.outcome.sleeps += u64::from(joiner.auditor.sleeps);
            self.outcome.attempts += u64::from(joiner.auditor.attempts());
            self.outcome.trace = self.outcome.trace.rotate_left(1) ^ joiner.trace;
            let (spilled, overflowed, found) = joiner.on_disk();
            self.outcome.spilled += spilled;
            self.outcome.overflowed += overflowed;
            self.outcome.found += found;
        }
        self.world.lock().delivery = None;
        let mut account = self.account.lock();
        (account.breaks, account.is_full) = (None, false);
        drop(account);
        self.restart = self.now() + self.random.random_range(0..10 * SECOND);
    }

    fn heal(&mut self) -> Result<(), String> {
        let now = self.now();
        self.healed = Some(now);
        self.world.lock().heal();
        self.account.lock().breaks = None;
        self.settings.recovery_retry_count = self.settings.recovery_retry_count.max(1);
        // A member that lags is slow, and no fault.
        self.settings.slow_donor = None;
        if let Some(joiner) = &mut self.joiner {
            joiner.slowness = 0;
            joiner.change_settings(self.settings.clone())?;
            if let Some(connection) = &mut joiner.connection {
                connection.heal(now);
            }
            joiner.tell_view()?;
            self.look_at_joiner();
        }
        Ok(())
    }

    /// Whether the joiner is ONLINE and has everything, once the load has ended.
    fn is_done(&mut self) -> Result<bool, String> {
        let now = self.now();
        let since = now - self.healed.unwrap_or(now);
        let is_online = self
            .joiner
            .as_ref()
            .is_some_and(|joiner| joiner.phase() == Phase::Online);
        // A silent donor, an interval that had begun, the way itself; then once more, because one
        // last failure may have used the attempts up, or the way itself has left something out,
        // which takes three looks at the members to be sure of.
        let interval = self.settings.recovery_reconnect_interval.as_nanos() as u64;
        let bound = 2 * (60 * SECOND + interval.max(60 * SECOND)) + 300 * SECOND;
        if !is_online {
            return if since < bound {
                Ok(false)
            } else {
                Err(format!(
                    "not ONLINE {} s after the faults stopped: {}",
                    since / SECOND,
                    self.joiner
                        .as_ref()
                        .map_or_else(|| "not even started".into(), Joiner::describe)
                ))
            };
        }
        if self.is_loaded {
            // It follows for a while.
            self.is_loaded = self.random.random_range(0..100) > 0;
            return Ok(false);
        }
        let world = self.world.lock();
        let all = world.history.executed(world.history.len());
        let account = self.account.lock();
        if account.executed != *all {
            return if since < 2 * bound {
                Ok(false)
            } else {
                let missing = all.subtract(&account.executed);
                Err(format!("ONLINE, but {missing} is missing"))
            };
        }
        if account.count != world.history.len() as u64 {
            return Err(format!("{} transactions were applied", account.count));
        }
        self.outcome.transactions = account.count;
        self.outcome.steps = self.steps;
        drop((account, world));
        if let Some(joiner) = &mut self.joiner {
            joiner.stop()?;
        }
        self.bury();
        Ok(true)
    }
}

/// Takes the end of the relay log away, or leaves zeros in its place: it never was on the disk.
fn tear(directory: &Path, random: &mut StdRng) {
    let newest = fs::read_dir(directory)
        .expect("the directory of relay logs")
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|number| number.len() == 6))
        .filter(|path| path.to_string_lossy().contains("applier"))
        .max();
    let Some(path) = newest else { return };
    let bytes = fs::read(&path).expect("the newest relay log");
    let length = bytes.len() as u64;
    // Its head was synced before anything else was written.
    let there = random.random_range(head(&bytes)..=length);
    let file = File::options().write(true).open(path);
    let file = file.expect("the newest relay log");
    file.set_len(there).expect("a shorter file");
    if random.random_range(0..2) == 0 {
        file.set_len(length).expect("zeros");
    }
}

/// The length of a relay log up to its first transaction.
fn head(bytes: &[u8]) -> u64 {
    let mut length = 4;
    for event in history::events(&bytes[4..]) {
        length += event.len() as u64;
        if event[4] == EventType::PREVIOUS_GTIDS.0 {
            break;
        }
    }
    length
}

fn run(seed: u64) -> Result<Outcome, String> {
    run_planted(seed, None)
}

/// Runs a seed with a mistake in it, if there is one.
fn run_planted(seed: u64, plant: Option<Plant>) -> Result<Outcome, String> {
    catch_unwind(AssertUnwindSafe(|| {
        let simulation = Simulation::new(seed);
        simulation.world.lock().plant = plant;
        simulation.run()
    }))
    .unwrap_or_else(|panic| {
        let text = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied());
        Err(format!("panic: {}", text.unwrap_or("no message")))
    })
}

fn number_from(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// Tells what the engine logs.
struct Course;

impl log::Log for Course {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    #[allow(clippy::print_stderr)]
    fn log(&self, record: &log::Record<'_>) {
        eprintln!("{} {}", record.target(), record.args());
    }

    fn flush(&self) {}
}

#[test]
fn simulation() {
    if let Some(seed) = number_from("REJOIN_SEED") {
        log::set_max_level(log::LevelFilter::Debug);
        let _ = log::set_logger(&Course);
        let outcome = run(seed).unwrap_or_else(|finding| panic!("seed {seed}: {finding}"));
        panic!("seed {seed} is fine: {outcome:?}");
    }
    let first = number_from("REJOIN_FIRST_SEED").unwrap_or(0);
    let count = number_from("REJOIN_SEEDS").unwrap_or(10_000);
    let next = AtomicU64::new(first);
    let seen = Mutex::new(Outcome::default());
    let findings = Mutex::new(Vec::new());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, SeqCst);
                    if seed >= first + count || findings.lock().len() >= 10 {
                        return;
                    }
                    match run(seed) {
                        Ok(outcome) => add(&mut seen.lock(), &outcome),
                        Err(finding) => findings.lock().push(format!("seed {seed}: {finding}")),
                    }
                }
            });
        }
    });
    let findings = findings.into_inner();
    assert!(findings.is_empty(), "{}", findings.join("\n"));
    let seen = seen.into_inner();
    // Runs in which nothing happens prove nothing.
    assert!(seen.attempts > count && seen.sleeps > count / 10 && seen.errors > count / 10);
    assert!(
        seen.spilled > 100 * count && seen.overflowed > 100 * count && seen.found > count / 100,
        "{seen:?}"
    );
    if std::env::var_os("REJOIN_SEEDS").is_some() {
        report(&seen);
    }
}

#[allow(clippy::print_stderr)]
fn report(seen: &Outcome) {
    eprintln!("{seen:?}");
}

fn add(seen: &mut Outcome, outcome: &Outcome) {
    seen.attempts += outcome.attempts;
    seen.sleeps += outcome.sleeps;
    seen.lives += outcome.lives;
    seen.errors += outcome.errors;
    seen.transactions += outcome.transactions;
    seen.spilled += outcome.spilled;
    seen.overflowed += outcome.overflowed;
    seen.found += outcome.found;
    seen.steps += outcome.steps;
}

/// The same seed runs the same course, step by step, and another seed another one.
#[test]
fn a_seed_replays() {
    let mut traces = std::collections::HashSet::new();
    for seed in 0..50 {
        let outcome = run(seed);
        assert_eq!(outcome, run(seed), "seed {seed}");
        traces.insert(outcome.map(|outcome| outcome.trace));
    }
    assert_eq!(traces.len(), 50);
}
