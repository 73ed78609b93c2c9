//! The state machine: inputs in, actions out.
//!
//! | file | has |
//! |---|---|
//! | `mod` | the machine, its states, its doors, its end |
//! | `joining` | own state, relay log, join, errant check, plan |
//! | `cloning` | replacing the target's data with a donor's |
//! | `transfer` | phase 1: donors, attempts, sleeps |
//! | `serving` | phase 1: what comes of an attempt, failover |
//! | `catch_up` | phase 2, ONLINE |

mod catch_up;
mod cloning;
mod joining;
mod serving;
mod transfer;

use std::collections::VecDeque;
use std::time::Duration;

use log::info;
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::attempt::{AttemptRecord, History};
use super::donor_list::DonorList;
use super::{Action, End, Input, Phase, Settings};
use crate::group::{Cut, MemberState, View};
use crate::gtid::{GtidSet, Uuid};
use crate::{Error, ErrorKind};
use catch_up::{CatchUp, READ_AGAIN};
use cloning::Cloning;
use transfer::{Current, Step};

#[derive(Debug)]
enum State {
    ReadingOwn {
        /// Whether a clone has just replaced the target's data.
        cloned: bool,
    },
    ApplyingRelayLog {
        unapplied: GtidSet,
    },
    Joining {
        deadline: Duration,
    },
    /// Something looked errant; the group is read again at `at` (and then `asked`).
    Rechecking {
        at: Duration,
        asked: bool,
    },
    Cloning(Cloning),
    /// A clone may hold the view change already, which no donor will send then: the group is asked
    /// what phase 1 has to bring instead, once more at `again` where nobody could say.
    ReadingCut {
        again: Option<Duration>,
    },
    Transfer(Step),
    CatchUp(CatchUp),
    Online,
    Ended,
}

/// Distributed recovery of one member.
///
/// ```
/// use std::time::Duration;
/// use rejoin::gtid::{GtidSet, Uuid};
/// use rejoin::recovery::{Action, Input, Machine, Settings};
///
/// let mut machine = Machine::new(Settings::default(), Uuid([1; 16]), 42);
/// assert!(matches!(machine.poll_action(), Some(Action::ReadOwn)));
/// let own = Input::Own {
///     executed: "".parse()?,
///     unapplied: GtidSet::new(),
///     can_clone: false,
/// };
/// machine.handle(Duration::ZERO, own);
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
    can_clone: bool,
    /// Whether the group was joined, so that failing means leaving it.
    joined: bool,
    /// The membership as it is known by now.
    view: View,
    /// The membership when it last changed or a member became ONLINE: what lists are built from.
    snapshot: View,
    /// Since when most of the members cannot be reached.
    majority_lost: Option<Duration>,
    cut: Cut,
    donors: DonorList,
    /// Donors that are not asked again, whatever happens.
    given_up: Vec<Uuid>,
    attempts: u32,
    history: History,
    current: Option<Current>,
}

impl Machine {
    /// A machine for the member `own`; `seed` decides the order in which donors are asked.
    pub fn new(settings: Settings, own: Uuid, seed: u64) -> Self {
        Self {
            settings,
            own,
            random: StdRng::seed_from_u64(seed),
            state: State::ReadingOwn { cloned: false },
            actions: VecDeque::from([Action::ReadOwn]),
            now: Duration::ZERO,
            executed: GtidSet::new(),
            can_clone: false,
            joined: false,
            view: View::default(),
            snapshot: View::default(),
            majority_lost: None,
            cut: Cut::Gtids(GtidSet::new()),
            donors: DonorList::default(),
            given_up: Vec::new(),
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
        let state = match &self.state {
            State::Joining { deadline } => Some(*deadline),
            State::Rechecking { at, asked: false } => Some(*at),
            State::ReadingCut { again } => *again,
            State::Transfer(step) => step.next_wakeup(),
            State::CatchUp(catch_up) => Some(catch_up.next_wakeup()),
            _ => None,
        };
        match (state, self.majority_deadline()) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// Where recovery stands.
    pub fn phase(&self) -> Phase {
        match &self.state {
            State::ApplyingRelayLog { .. } => Phase::RelayLog,
            State::ReadingOwn { cloned: true } | State::Cloning(_) | State::ReadingCut { .. } => {
                Phase::Cloning
            }
            State::ReadingOwn { .. } | State::Joining { .. } | State::Rechecking { .. } => {
                Phase::Joining
            }
            State::Transfer(Step::Sleeping { .. }) => Phase::Sleeping,
            State::Transfer(_) => Phase::Transfer,
            State::CatchUp(_) => Phase::CatchUp,
            State::Online => Phase::Online,
            State::Ended => Phase::Ended,
        }
    }

    /// The latest attempts that are over, oldest first (at most 256).
    pub fn attempt_records(&self) -> impl Iterator<Item = &AttemptRecord> {
        self.history.iter()
    }

    /// How many attempts were made, over all donors.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// The settings in force.
    pub fn settings(&self) -> &Settings {
        &self.settings
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
            Input::Own {
                executed,
                unapplied,
                can_clone,
            } => self.own_read(executed, unapplied, can_clone),
            Input::Joined { view, cut } => self.joined(view, cut),
            Input::JoinFailed(error) => self.join_failed(error),
            Input::View(view) => self.view_changed(view),
            Input::ReadFailed(error) => self.read_failed(&error),
            Input::GroupUnreachable(error) => self.group_unreachable(error),
            Input::Cloned => self.cloned(),
            Input::CloneFailed {
                error,
                data_dropped,
            } => self.clone_failed(error, data_dropped),
            Input::Connected { attempt } => self.connected(attempt),
            Input::Received {
                attempt,
                bytes,
                held_back,
            } => self.received(attempt, bytes, held_back),
            Input::DonorFailed { attempt, error } => self.donor_failed(attempt, error),
            Input::DonorStopped { attempt } => self.donor_stopped(attempt),
            Input::Executed(executed) => self.executed(executed),
            Input::ViewChangeApplied(id) => self.view_change_applied(&id),
            Input::Queue {
                queued,
                applied_last_second,
                delivered,
            } => self.queue(queued, applied_last_second, delivered),
            Input::GroupExecuted(set) => self.group_executed(set),
            Input::Failed(error) => self.fail(error),
            Input::Stop => self.end(Ok(()), MemberState::Offline, false),
            Input::Tick => {}
        }
        self.look_at_clock();
    }

    fn act(&mut self, action: Action) {
        self.actions.push_back(action);
    }

    fn enter(&mut self, state: State) {
        info!("{} -> {}", self.state.name(), state.name());
        self.state = state;
    }

    /// Does what is due by now.
    fn look_at_clock(&mut self) {
        if self.majority_deadline().is_some_and(|at| at <= self.now) {
            let waited = self.settings.unreachable_majority_timeout.as_secs();
            return self.fail(
                Error::new(
                    ErrorKind::GroupUnavailable,
                    format!("most members of the group could not be reached for {waited} s"),
                )
                .remedy("bring them back, or force the group's membership to those that are left"),
            );
        }
        match &self.state {
            State::Joining { deadline } if *deadline <= self.now => self.join_timed_out(),
            State::Rechecking { at, asked: false } if *at <= self.now => self.recheck(),
            State::ReadingCut { again: Some(at) } if *at <= self.now => self.read_cut(),
            State::Transfer(step) if step.next_wakeup().is_some_and(|at| at <= self.now) => {
                self.step_due();
            }
            State::CatchUp(_) => self.catch_up_due(),
            _ => {}
        }
    }

    // The membership.

    fn view_changed(&mut self, mut view: View) {
        self.without_itself(&mut view);
        let changed = differs(&self.snapshot, &view);
        if changed {
            self.snapshot.clone_from(&view);
        }
        self.view = view;
        self.note_majority();
        match &self.state {
            State::Rechecking { asked: true, .. } => self.plan(true),
            State::Cloning(_) => self.check_clone_donor_left(),
            State::Transfer(_) => self.transfer_view_changed(changed),
            State::CatchUp(_) => {
                self.look_for_gap();
                self.check_online();
            }
            _ => {}
        }
    }

    /// A view is of the others, whoever told it.
    fn without_itself(&self, view: &mut View) {
        view.members.retain(|member| member.uuid != self.own);
    }

    fn note_majority(&mut self) {
        if self.view.has_majority() {
            if self.majority_lost.take().is_some() {
                info!("most members of the group can be reached again");
            }
        } else if self.majority_lost.is_none() {
            info!("most members of the group cannot be reached");
            self.majority_lost = Some(self.now);
        }
    }

    /// When the lost majority has been waited for long enough.
    fn majority_deadline(&self) -> Option<Duration> {
        let timeout = self.settings.unreachable_majority_timeout;
        let lost = self.majority_lost.filter(|_| !timeout.is_zero())?;
        (!matches!(self.state, State::Ended)).then(|| lost + timeout)
    }

    /// Nobody could be asked just now: what was to be read is read again, or done without.
    fn read_failed(&mut self, error: &Error) {
        info!("the group could not be read: {error}");
        match &mut self.state {
            State::Rechecking { .. } => self.recheck_later(),
            State::ReadingCut { again } => *again = Some(self.now + READ_AGAIN),
            State::Transfer(Step::Reading { slept }) => {
                let slept = *slept;
                self.take_donor(slept);
            }
            State::CatchUp(_) => self.read_group_later(),
            _ => {}
        }
    }

    /// While a donor serves, its connection says more; ONLINE, there is only waiting.
    fn group_unreachable(&mut self, error: Error) {
        match self.state {
            State::Rechecking { .. } | State::ReadingCut { .. } | State::CatchUp(_) => {
                self.fail(error);
            }
            _ => info!("the group is out of reach: {error}"),
        }
    }

    // The end.

    /// Recovery cannot go on.
    fn fail(&mut self, error: Error) {
        self.end(Err(error), MemberState::Error, self.joined);
    }

    /// The member does not even become one.
    fn refuse(&mut self, error: Error) {
        self.end(Err(error), MemberState::Offline, false);
    }

    fn end(&mut self, result: Result<(), Error>, state: MemberState, leaves: bool) {
        self.enter(State::Ended);
        let exit_state_action = leaves.then_some(self.settings.exit_state_action);
        self.act(Action::End(End {
            result,
            state,
            exit_state_action,
        }));
    }
}

/// Whether the membership has changed or a member's state has. That a member cannot be reached for a
/// while installs no view.
fn differs(old: &View, new: &View) -> bool {
    old.members.len() != new.members.len()
        || new.members.iter().any(|member| {
            old.member(&member.uuid).is_none_or(|known| {
                known.state != member.state && member.state != MemberState::Unreachable
            })
        })
}

impl State {
    fn name(&self) -> &'static str {
        match self {
            Self::ReadingOwn { .. } => "ReadingOwn",
            Self::ApplyingRelayLog { .. } => "ApplyingRelayLog",
            Self::Joining { .. } => "Joining",
            Self::Rechecking { .. } => "Rechecking",
            Self::Cloning(_) => "Cloning",
            Self::ReadingCut { .. } => "ReadingCut",
            Self::Transfer(step) => step.name(),
            Self::CatchUp(_) => "CatchUp",
            Self::Online => "Online",
            Self::Ended => "Ended",
        }
    }
}

#[cfg(test)]
mod tests;
