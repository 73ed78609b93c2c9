//! The state machine: inputs in, actions out.

use std::collections::VecDeque;
use std::time::Duration;

use log::info;
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::attempt::{AttemptEnd, AttemptRecord, History};
use super::donor_list::DonorList;
use super::{Method, OnlineRule, Plan, Settings};
use crate::group::{Cut, GroupMember, View};
use crate::gtid::{GtidSet, Uuid};
use crate::{Error, ErrorKind};

/// How long to wait before the group is read again to see whether transactions that look errant
/// were only in flight.
const ERRANT_RECHECK: Duration = Duration::from_secs(1);

/// A fact that the owner of the machine tells it.
#[derive(Debug)]
pub enum Input {
    /// What the target has executed: the answer to [`Action::ReadOwn`].
    Own(GtidSet),
    /// The group was joined, its feed delivers from `cut` on: an answer to [`Action::Join`].
    Joined {
        /// The membership, with what each member has executed and purged.
        view: View,
        /// Where phase 1 ends.
        cut: Cut,
    },
    /// The membership has changed, or was read again for [`Action::ReadGroup`].
    View(View),
    /// The donor of this attempt serves us.
    Connected {
        /// The attempt's number.
        attempt: u32,
    },
    /// Receiving from, or applying what came from, the donor of this attempt has failed.
    DonorFailed {
        /// The attempt's number.
        attempt: u32,
        /// What failed.
        error: Error,
    },
    /// Nothing more comes from the donor of this attempt, and nothing of it is left to be applied:
    /// the answer to [`Action::StopDonor`].
    DonorStopped {
        /// The attempt's number.
        attempt: u32,
    },
    /// What the target has executed by now.
    Executed(GtidSet),
    /// The transaction with this view-change event has been applied.
    ViewChangeApplied(String),
    /// How the queue stands, told about once a second while catching up and whenever it is empty.
    Queue {
        /// Transactions delivered and not yet applied.
        queued: u64,
        /// Transactions applied in the last second.
        applied_last_second: u64,
        /// All that the group has delivered since the cut.
        delivered: GtidSet,
    },
    /// What the group has executed: the answer to [`Action::StartCatchUp`].
    GroupExecuted(GtidSet),
    /// The group cannot be reached, or the applier of the group's own transactions has failed.
    Failed(Error),
    /// The owner wants to stop.
    Stop,
    /// Time has passed.
    Tick,
}

/// What the owner of the machine has to do.
#[derive(Debug)]
pub enum Action {
    /// Tell what the target has executed ([`Input::Own`]).
    ReadOwn,
    /// Join the group ([`Input::Joined`]).
    Join,
    /// Read the members' states and sets again ([`Input::View`]).
    ReadGroup,
    /// The plan was made.
    Planned(Plan),
    /// Ask this donor for everything that the target has not executed, trying its recovery
    /// endpoints in order ([`Input::Connected`] or [`Input::DonorFailed`]).
    Connect {
        /// The attempt's number, from 1.
        attempt: u32,
        /// The number of attempts allowed.
        of: u32,
        /// The member to ask.
        donor: GroupMember,
        /// Whether its connection broke a moment ago and this is the immediate second try.
        again: bool,
    },
    /// Close this attempt's connection, drop what is not applied yet ([`Input::DonorStopped`]).
    StopDonor {
        /// The attempt's number.
        attempt: u32,
    },
    /// An attempt has failed; the next action says what follows.
    Failover(AttemptRecord),
    /// Every donor was tried: nothing happens for this long. The end is in
    /// [`Machine::next_wakeup`].
    Sleep(Duration),
    /// Phase 1 is over: apply what the group has delivered, and tell what the group has executed by
    /// now ([`Input::GroupExecuted`]).
    StartCatchUp,
    /// The member is ONLINE.
    DeclareOnline,
    /// Recovery has ended: the owner asked for it (`Ok`), or it cannot go on. The last action.
    End(Result<(), Error>),
}

/// Where recovery stands, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Phase {
    /// Reading its own state, joining, planning.
    Joining,
    /// Phase 1: state transfer from a donor.
    Transfer,
    /// Phase 1, sleeping because every donor was tried.
    Sleeping,
    /// Phase 2: applying what the group delivered meanwhile.
    CatchUp,
    /// A member like any other.
    Online,
    /// Ended.
    Ended,
}

#[derive(Debug)]
enum State {
    ReadingOwn,
    Joining,
    /// Something looked errant; the group is read again at `at` (and then `asked`).
    Rechecking {
        at: Duration,
        asked: bool,
    },
    Transfer(Step),
    CatchUp(CatchUp),
    Online,
    Ended,
}

#[derive(Debug)]
enum Step {
    Sleeping { until: Duration },
    Connecting { again: bool },
    Streaming { lost_before: bool },
    Stopping(Next),
}

/// What follows when a donor's threads have stopped.
#[derive(Debug)]
enum Next {
    CatchUp,
    AnotherDonor,
    SameDonor,
}

#[derive(Debug, Default)]
struct CatchUp {
    /// What the group had executed when this phase began; ONLINE is not declared without it.
    group_executed: Option<GtidSet>,
    /// What had been delivered when the queue was short enough: when all of it is executed, the
    /// member is ONLINE.
    goal: Option<GtidSet>,
}

/// Distributed recovery of one member.
///
/// ```
/// use std::time::Duration;
/// use rejoin::gtid::Uuid;
/// use rejoin::recovery::{Action, Input, Machine, Settings};
///
/// let mut machine = Machine::new(Settings::default(), Uuid([1; 16]), 42);
/// assert!(matches!(machine.poll_action(), Some(Action::ReadOwn)));
/// machine.handle(Duration::ZERO, Input::Own("".parse()?));
/// assert!(matches!(machine.poll_action(), Some(Action::Join)));
/// # Ok::<(), rejoin::gtid::ParseGtidError>(())
/// ```
#[derive(Debug)]
pub struct Machine {
    settings: Settings,
    own: Uuid,
    random: StdRng,
    state: State,
    actions: VecDeque<Action>,
    now: Duration,
    executed: GtidSet,
    view: View,
    cut: Cut,
    donors: DonorList,
    attempts: u32,
    history: History,
    current: Option<Current>,
}

/// The attempt that is under way.
#[derive(Debug)]
struct Current {
    number: u32,
    donor: GroupMember,
    began: Duration,
    executed_before: u64,
}

impl Machine {
    /// A machine for the member `own`; `seed` decides the order in which donors are asked.
    pub fn new(settings: Settings, own: Uuid, seed: u64) -> Self {
        Self {
            settings,
            own,
            random: StdRng::seed_from_u64(seed),
            state: State::ReadingOwn,
            actions: VecDeque::from([Action::ReadOwn]),
            now: Duration::ZERO,
            executed: GtidSet::new(),
            view: View::default(),
            cut: Cut::Gtids(GtidSet::new()),
            donors: DonorList::default(),
            attempts: 0,
            history: History::default(),
            current: None,
        }
    }

    /// The next thing to do.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When [`Input::Tick`] is due at the latest, on the clock of the owner.
    pub fn next_wakeup(&self) -> Option<Duration> {
        match &self.state {
            State::Rechecking { at, asked: false } => Some(*at),
            State::Transfer(Step::Sleeping { until }) => Some(*until),
            _ => None,
        }
    }

    /// Where recovery stands.
    pub fn phase(&self) -> Phase {
        match &self.state {
            State::ReadingOwn | State::Joining | State::Rechecking { .. } => Phase::Joining,
            State::Transfer(Step::Sleeping { .. }) => Phase::Sleeping,
            State::Transfer(_) => Phase::Transfer,
            State::CatchUp(_) => Phase::CatchUp,
            State::Online => Phase::Online,
            State::Ended => Phase::Ended,
        }
    }

    /// The latest attempts that have failed, oldest first (at most 256).
    pub fn attempt_records(&self) -> impl Iterator<Item = &AttemptRecord> {
        self.history.iter()
    }

    /// How many attempts were made, over all donors.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Changes the settings; each takes effect as its documentation says.
    pub fn set_settings(&mut self, settings: Settings) {
        self.settings = settings;
    }

    /// Takes a fact in. `now` must never run backwards.
    pub fn handle(&mut self, now: Duration, input: Input) {
        self.now = now;
        if matches!(self.state, State::Ended) {
            return;
        }
        match input {
            Input::Own(executed) => {
                self.executed = executed;
                if matches!(self.state, State::ReadingOwn) {
                    self.enter(State::Joining);
                    self.act(Action::Join);
                }
            }
            Input::Joined { view, cut } => self.joined(view, cut),
            Input::View(view) => self.view_changed(view),
            Input::Connected { attempt } => self.connected(attempt),
            Input::DonorFailed { attempt, error } => self.donor_failed(attempt, &error),
            Input::DonorStopped { attempt } => self.donor_stopped(attempt),
            Input::Executed(executed) => self.executed(executed),
            Input::ViewChangeApplied(id) => {
                if matches!(&self.cut, Cut::ViewId(wanted) if *wanted == id) {
                    self.end_phase_1();
                }
            }
            Input::Queue {
                queued,
                applied_last_second,
                delivered,
            } => self.queue(queued, applied_last_second, delivered),
            Input::GroupExecuted(set) => {
                if let State::CatchUp(catch_up) = &mut self.state {
                    catch_up.group_executed = Some(set);
                }
                self.check_online();
            }
            Input::Failed(error) => self.end(Err(error)),
            Input::Stop => self.end(Ok(())),
            Input::Tick => self.tick(),
        }
    }

    fn act(&mut self, action: Action) {
        self.actions.push_back(action);
    }

    fn enter(&mut self, state: State) {
        info!("{} -> {}", self.state.name(), state.name());
        self.state = state;
    }

    fn end(&mut self, result: Result<(), Error>) {
        self.enter(State::Ended);
        self.act(Action::End(result));
    }

    // Joining and planning.

    fn joined(&mut self, view: View, cut: Cut) {
        if !matches!(self.state, State::Joining) {
            return;
        }
        self.view = view;
        self.cut = cut;
        if self.view.online().next().is_none() {
            // As in a group of 8.3.0 and later: nobody could tell us where phase 1 ends.
            return self.end(Err(Error::new(
                ErrorKind::NoDonor,
                "the group has no ONLINE member to recover from",
            )
            .remedy("bring at least one member ONLINE, or bootstrap the group")));
        }
        self.plan(false);
    }

    /// Compares and chooses. What looks errant at first may only have been in flight when the
    /// members were read, so that the group is read a second time before the join is refused.
    fn plan(&mut self, rechecked: bool) {
        let plan = Plan::new(&self.executed, &self.view, &self.cut, &self.settings, false);
        if !plan.errant.is_empty() && !rechecked {
            return self.enter(State::Rechecking {
                at: self.now + ERRANT_RECHECK,
                asked: false,
            });
        }
        let (method, errant, reason) = (plan.method, plan.errant.clone(), plan.reason.clone());
        self.act(Action::Planned(plan));
        if !errant.is_empty() {
            return self.end(Err(Error::new(
                ErrorKind::Errant,
                format!("this member has transactions that the group does not know: {errant}"),
            )
            .remedy(
                "recover into an empty store, or execute these transactions in the group if they \
                 are wanted",
            )));
        }
        match method {
            Method::Nothing => self.start_catch_up(),
            Method::BinaryLog => {
                self.donors.rebuild(&self.view, &self.own, &mut self.random);
                self.next_donor();
            }
            Method::Clone | Method::Impossible => {
                self.end(Err(Error::new(ErrorKind::CloneNeeded, reason).remedy(
                    "start again from a backup that is newer than what the members have purged, \
                     and keep binary logs longer (binlog_expire_logs_seconds)",
                )));
            }
        }
    }

    fn tick(&mut self) {
        match &mut self.state {
            State::Rechecking { at, asked } if !*asked && *at <= self.now => {
                *asked = true;
                self.act(Action::ReadGroup);
            }
            State::Transfer(Step::Sleeping { until }) if *until <= self.now => {
                self.donors.rebuild(&self.view, &self.own, &mut self.random);
                if self.donors.is_empty() {
                    // A round without any donor costs an attempt as well.
                    self.attempts += 1;
                }
                self.next_donor();
            }
            _ => {}
        }
    }

    fn view_changed(&mut self, view: View) {
        self.view = view;
        match &self.state {
            State::Rechecking { asked: true, .. } => self.plan(true),
            State::Transfer(_) => {
                self.donors.rebuild(&self.view, &self.own, &mut self.random);
                self.check_donor_left();
            }
            _ => {}
        }
    }

    // Phase 1.

    /// Asks the next donor, or sleeps when every one was tried.
    fn next_donor(&mut self) {
        let of = self.settings.recovery_retry_count;
        if self.attempts >= of {
            let error = self.history.exhausted(&format!(
                "no donor is left after {} attempts",
                self.attempts
            ));
            return self.end(Err(error));
        }
        if self
            .view
            .members
            .iter()
            .all(|member| member.uuid == self.own)
        {
            let error = self.history.exhausted("all donors have left the group");
            return self.end(Err(error));
        }
        let Some(donor) = self.donors.pop() else {
            let interval = self.settings.recovery_reconnect_interval;
            self.act(Action::Sleep(interval));
            return self.enter(State::Transfer(Step::Sleeping {
                until: self.now + interval,
            }));
        };
        self.attempts += 1;
        self.current = Some(Current {
            number: self.attempts,
            donor: donor.clone(),
            began: self.now,
            executed_before: self.executed.count(),
        });
        self.connect(donor, false);
    }

    fn connect(&mut self, donor: GroupMember, again: bool) {
        self.act(Action::Connect {
            attempt: self.attempts,
            of: self.settings.recovery_retry_count,
            donor,
            again,
        });
        self.enter(State::Transfer(Step::Connecting { again }));
    }

    /// Whether `attempt` is the one under way; late news of an earlier one is of no interest.
    fn is_current(&self, attempt: u32) -> bool {
        self.current
            .as_ref()
            .is_some_and(|current| current.number == attempt)
    }

    fn step(&mut self) -> Option<&mut Step> {
        match &mut self.state {
            State::Transfer(step) => Some(step),
            _ => None,
        }
    }

    fn connected(&mut self, attempt: u32) {
        if !self.is_current(attempt) {
            return;
        }
        if let Some(Step::Connecting { again }) = self.step() {
            let lost_before = *again;
            self.enter(State::Transfer(Step::Streaming { lost_before }));
            self.check_donor_left();
        }
    }

    fn donor_failed(&mut self, attempt: u32, error: &Error) {
        if !self.is_current(attempt) {
            return;
        }
        let next = match self.step() {
            // As a real receiver thread: when an established connection breaks, the same donor is
            // tried once more at once, and that is no new attempt.
            Some(Step::Streaming { lost_before: false })
                if matches!(error.kind(), ErrorKind::Network | ErrorKind::TimedOut) =>
            {
                info!("the connection to the donor broke, trying it once more: {error}");
                Next::SameDonor
            }
            Some(Step::Connecting { .. } | Step::Streaming { .. }) => Next::AnotherDonor,
            _ => return,
        };
        if matches!(next, Next::AnotherDonor) {
            self.record_failure(error);
            if !error.is_donor_fault() {
                return self.end(Err(Error::new(error.kind(), error.to_string())
                    .remedy(error.remedy_text().unwrap_or("see the log of this program"))));
            }
        }
        self.stop_donor(next);
    }

    fn record_failure(&mut self, error: &Error) {
        let Some(current) = &self.current else { return };
        let record = AttemptRecord {
            number: current.number,
            donor: current.donor.clone(),
            began: current.began,
            applied: self
                .executed
                .count()
                .saturating_sub(current.executed_before),
            end: Some(AttemptEnd::of(error)),
        };
        self.history.push(record.clone());
        self.act(Action::Failover(record));
    }

    fn stop_donor(&mut self, next: Next) {
        let Some(attempt) = self.current.as_ref().map(|current| current.number) else {
            return;
        };
        self.enter(State::Transfer(Step::Stopping(next)));
        self.act(Action::StopDonor { attempt });
    }

    fn donor_stopped(&mut self, attempt: u32) {
        if !self.is_current(attempt) {
            return;
        }
        let State::Transfer(Step::Stopping(next)) = &self.state else {
            return;
        };
        match (next, &self.current) {
            (Next::CatchUp, _) => self.start_catch_up(),
            _ if self.cut_reached() => self.start_catch_up(),
            (Next::SameDonor, Some(current)) => {
                let donor = current.donor.clone();
                self.connect(donor, true);
            }
            _ => {
                self.current = None;
                self.next_donor();
            }
        }
    }

    fn cut_reached(&self) -> bool {
        matches!(&self.cut, Cut::Gtids(set) if set.is_subset(&self.executed))
    }

    /// A donor that is no longer in the view is given up, in whatever state its connection is.
    fn check_donor_left(&mut self) {
        let Some(Step::Streaming { .. }) = self.step() else {
            return;
        };
        let Some(donor) = self.current.as_ref().map(|current| &current.donor) else {
            return;
        };
        if self.view.member(&donor.uuid).is_none() {
            let error = Error::new(ErrorKind::DonorLeft, "the donor left the group")
                .at_donor(donor.address.to_string());
            self.record_failure(&error);
            self.stop_donor(Next::AnotherDonor);
        }
    }

    fn executed(&mut self, executed: GtidSet) {
        let progressed = executed != self.executed;
        self.executed = executed;
        if let (true, Some(Step::Streaming { lost_before })) = (progressed, self.step()) {
            *lost_before = false;
        }
        if self.cut_reached() {
            self.end_phase_1();
        }
        self.check_online();
    }

    fn end_phase_1(&mut self) {
        match self.step() {
            Some(Step::Stopping(next)) => *next = Next::CatchUp,
            Some(Step::Connecting { .. } | Step::Streaming { .. }) => {
                self.stop_donor(Next::CatchUp);
            }
            Some(Step::Sleeping { .. }) => self.start_catch_up(),
            None => {}
        }
    }

    // Phase 2.

    fn start_catch_up(&mut self) {
        self.current = None;
        self.enter(State::CatchUp(CatchUp::default()));
        self.act(Action::StartCatchUp);
    }

    fn queue(&mut self, queued: u64, applied_last_second: u64, delivered: GtidSet) {
        let short = match self.settings.online_rule {
            OnlineRule::FitsWindow => queued <= applied_last_second,
            OnlineRule::QueueEmpty => queued == 0,
        };
        let State::CatchUp(catch_up) = &mut self.state else {
            return;
        };
        match self.settings.online_rule {
            OnlineRule::FitsWindow if catch_up.goal.is_some() => {}
            _ => catch_up.goal = short.then_some(delivered),
        }
        self.check_online();
    }

    fn check_online(&mut self) {
        let State::CatchUp(CatchUp {
            group_executed: Some(group_executed),
            goal: Some(goal),
        }) = &self.state
        else {
            return;
        };
        if group_executed.is_subset(&self.executed) && goal.is_subset(&self.executed) {
            self.enter(State::Online);
            self.act(Action::DeclareOnline);
        }
    }
}

impl State {
    fn name(&self) -> &'static str {
        match self {
            Self::ReadingOwn => "ReadingOwn",
            Self::Joining => "Joining",
            Self::Rechecking { .. } => "Rechecking",
            Self::Transfer(Step::Sleeping { .. }) => "Sleeping",
            Self::Transfer(Step::Connecting { .. }) => "Connecting",
            Self::Transfer(Step::Streaming { .. }) => "Streaming",
            Self::Transfer(Step::Stopping(_)) => "Stopping",
            Self::CatchUp(_) => "CatchUp",
            Self::Online => "Online",
            Self::Ended => "Ended",
        }
    }
}

#[cfg(test)]
#[path = "machine_tests.rs"]
mod tests;
