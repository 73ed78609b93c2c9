//! Phase 1: donors, attempts, sleeps, failover.
//!
//! ```text
//! next attempt: count used up? -> end    group empty? -> end    list empty? -> sleep, rebuild the list
//!               take the next donor, try its endpoints in order
//! Connecting -> Streaming -> cut reached -> Stopping -> phase 2
//!      \            \------> failure, donor left, too slow -> Stopping -> next attempt
//!       \                    (a broken connection first: the same donor once more)
//!        \-> failure -> Stopping -> next endpoint, then next attempt
//! ```

use std::collections::VecDeque;
use std::time::Duration;

use log::info;

use super::{Machine, State};
use crate::group::{Cut, GroupMember};
use crate::gtid::GtidSet;
use crate::net::Endpoint;
use crate::recovery::attempt::{AttemptEnd, AttemptRecord};
use crate::recovery::donor_list::candidates;
use crate::recovery::policy::still_has;
use crate::recovery::{Action, FailureClass, Reaction};
use crate::{Error, ErrorKind};

#[derive(Debug)]
pub(super) enum Step {
    /// The donors' purged sets are read before one is taken; `slept`: after a sleep.
    Reading {
        slept: bool,
    },
    Sleeping {
        until: Duration,
    },
    Connecting {
        /// To the donor whose connection broke a moment ago.
        reconnecting: bool,
    },
    Streaming {
        /// Whether the connection broke before, and nothing was applied since.
        lost_before: bool,
        /// Since when it has been too slow.
        slow_since: Option<Duration>,
    },
    Stopping {
        next: Next,
        deadline: Duration,
    },
}

/// What follows when a donor's threads have stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    CatchUp,
    AnotherDonor,
    AnotherEndpoint,
    SameDonor,
}

/// The attempt that is under way.
#[derive(Debug)]
pub(super) struct Current {
    number: u32,
    donor: GroupMember,
    /// Where it is connected to.
    endpoint: Option<Endpoint>,
    /// Where it was not tried yet.
    endpoints: VecDeque<Endpoint>,
    began: Duration,
    executed_before: u64,
    is_recorded: bool,
}

impl Step {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Reading { .. } => "Reading",
            Self::Sleeping { .. } => "Sleeping",
            Self::Connecting { .. } => "Connecting",
            Self::Streaming { .. } => "Streaming",
            Self::Stopping { .. } => "Stopping",
        }
    }

    pub(super) fn next_wakeup(&self) -> Option<Duration> {
        match self {
            Self::Sleeping { until } => Some(*until),
            Self::Stopping { deadline, .. } => Some(*deadline),
            _ => None,
        }
    }
}

impl Machine {
    pub(super) fn begin_transfer(&mut self) {
        self.rebuild_donors();
        self.begin_attempt(false);
    }

    fn rebuild_donors(&mut self) {
        self.donors.rebuild(
            &self.snapshot,
            &self.settings.donor_policy,
            &self.given_up,
            &mut self.random,
        );
    }

    /// The time of the present step is up.
    pub(super) fn step_due(&mut self) {
        match self.step() {
            Some(Step::Sleeping { .. }) => {
                self.rebuild_donors();
                self.begin_attempt(true);
            }
            Some(Step::Stopping { .. }) => {
                let waited = self.settings.components_stop_timeout.as_secs();
                self.fail(
                    Error::new(
                        ErrorKind::TimedOut,
                        format!("the applier has not stopped (components_stop_timeout {waited} s)"),
                    )
                    .remedy("see what keeps the target from applying, then start again"),
                );
            }
            _ => {}
        }
    }

    fn begin_attempt(&mut self, slept: bool) {
        if self.settings.donor_policy.must_have_missing && !self.donors.is_empty() {
            self.enter(State::Transfer(Step::Reading { slept }));
            self.act(Action::ReadGroup);
        } else {
            self.take_donor(slept);
        }
    }

    /// Asks the next donor, or sleeps when every one was tried. Behind a sleep (`slept`) the count is
    /// not looked at again, and a list that is still empty costs an attempt.
    pub(super) fn take_donor(&mut self, mut slept: bool) {
        self.pass_over_purged();
        loop {
            if !slept && self.is_over() {
                return;
            }
            match self.donors.pop() {
                Some(donor) => {
                    if self.ask(donor) {
                        return;
                    }
                }
                None if slept => self.attempts += 1,
                None => return self.sleep(),
            }
            slept = false;
        }
    }

    /// Drops the donors that have purged what is missing, where the policy asks for it.
    fn pass_over_purged(&mut self) {
        if !self.settings.donor_policy.must_have_missing {
            return;
        }
        let missing = self.missing();
        let view = &self.view;
        self.donors.retain(|donor| {
            let member = view.member(&donor.uuid).unwrap_or(donor);
            let usable = still_has(member, &missing);
            if !usable {
                info!("donor {} has purged what is missing", donor.address);
            }
            usable
        });
    }

    /// What phase 1 still has to bring.
    fn missing(&self) -> GtidSet {
        match &self.cut {
            Cut::Gtids(set) => set.subtract(&self.executed),
            Cut::ViewId(_) => self.view.executed().subtract(&self.executed),
        }
    }

    /// Ends recovery where no attempt may follow.
    fn is_over(&mut self) -> bool {
        let why = if self.attempts >= self.settings.recovery_retry_count {
            format!("no donor is left, attempts made: {}", self.attempts)
        } else if self.view.members.is_empty() {
            "all donors have left the group".into()
        } else if self.all_given_up() {
            "every donor was given up".into()
        } else {
            return false;
        };
        let error = self.history.exhausted(&why);
        self.fail(error);
        true
    }

    fn all_given_up(&self) -> bool {
        !self.given_up.is_empty()
            && candidates(&self.snapshot, &self.settings.donor_policy)
                .all(|donor| self.given_up.contains(&donor.uuid))
    }

    fn sleep(&mut self) {
        let interval = self.settings.recovery_reconnect_interval;
        self.act(Action::Sleep(interval));
        self.enter(State::Transfer(Step::Sleeping {
            until: self.now + interval,
        }));
    }

    /// Begins an attempt; `false` if the donor has no endpoint, which uses the attempt up.
    fn ask(&mut self, donor: GroupMember) -> bool {
        self.attempts += 1;
        let mut current = Current {
            number: self.attempts,
            endpoint: None,
            endpoints: donor.recovery_endpoints.iter().cloned().collect(),
            donor,
            began: self.now,
            executed_before: self.executed.count(),
            is_recorded: false,
        };
        current.endpoint = current.endpoints.pop_front();
        let has_endpoint = current.endpoint.is_some();
        let address = current.donor.address.to_string();
        self.current = Some(current);
        if has_endpoint {
            self.connect(false, false);
        } else {
            let error = Error::new(
                ErrorKind::Refused,
                format!("member {address} advertises no usable recovery endpoint"),
            )
            .remedy("set group_replication_advertise_recovery_endpoints there");
            self.record_failure(&error);
        }
        has_endpoint
    }

    fn connect(&mut self, again: bool, reconnecting: bool) {
        let Some(Current {
            number,
            donor,
            endpoint: Some(endpoint),
            ..
        }) = &self.current
        else {
            return;
        };
        let action = Action::Connect {
            attempt: *number,
            of: self.settings.recovery_retry_count,
            donor: donor.clone(),
            endpoint: endpoint.clone(),
            again,
        };
        self.act(action);
        self.enter(State::Transfer(Step::Connecting { reconnecting }));
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

    pub(super) fn connected(&mut self, attempt: u32) {
        if !self.is_current(attempt) {
            return;
        }
        if let Some(Step::Connecting { reconnecting }) = self.step() {
            let lost_before = *reconnecting;
            self.enter(State::Transfer(Step::Streaming {
                lost_before,
                slow_since: None,
            }));
            self.check_donor_left();
        }
    }

    pub(super) fn received(&mut self, attempt: u32, bytes: u64, held_back: bool) {
        let Some(slow) = self.settings.slow_donor else {
            return;
        };
        if !self.is_current(attempt) {
            return;
        }
        let enough = held_back || bytes >= slow.bytes_per_second || !self.has_other_donor();
        let second_ago = self.now.saturating_sub(Duration::from_secs(1));
        let now = self.now;
        let Some(Step::Streaming { slow_since, .. }) = self.step() else {
            return;
        };
        if enough {
            *slow_since = None;
        } else if now - *slow_since.get_or_insert(second_ago) >= slow.patience {
            self.give_donor_up(Error::new(
                ErrorKind::TooSlow,
                format!(
                    "the donor has sent less than {} bytes a second for {} s",
                    slow.bytes_per_second,
                    slow.patience.as_secs()
                ),
            ));
        }
    }

    /// Whether somebody else than the present donor could be asked.
    fn has_other_donor(&self) -> bool {
        let present = self.current.as_ref().map(|current| current.donor.uuid);
        candidates(&self.view, &self.settings.donor_policy)
            .any(|other| Some(other.uuid) != present && !self.given_up.contains(&other.uuid))
    }

    pub(super) fn donor_failed(&mut self, attempt: u32, error: Error) {
        if !self.is_current(attempt) {
            return;
        }
        let has_endpoint = self
            .current
            .as_ref()
            .is_some_and(|current| !current.endpoints.is_empty());
        let broke = FailureClass::of(error.kind()) == FailureClass::Network;
        match self.step() {
            // As a real receiver thread: when an established connection breaks, the same donor is
            // tried once more at once, and that is no new attempt.
            Some(Step::Streaming {
                lost_before: false, ..
            }) if broke => {
                info!("the connection to the donor broke, trying it once more: {error}");
                self.stop_donor(Next::SameDonor);
            }
            Some(Step::Connecting {
                reconnecting: false,
            }) if has_endpoint && error.is_donor_fault() => {
                info!("trying the donor's next endpoint: {error}");
                self.stop_donor(Next::AnotherEndpoint);
            }
            Some(Step::Connecting { .. } | Step::Streaming { .. }) => self.give_donor_up(error),
            _ => {}
        }
    }

    /// The attempt has failed.
    fn give_donor_up(&mut self, error: Error) {
        self.record_failure(&error);
        if !error.is_donor_fault() {
            return self.fail(error);
        }
        match self.settings.reactions.to(FailureClass::of(error.kind())) {
            Reaction::AnotherDonor => {}
            Reaction::GiveDonorUp => {
                if let Some(current) = &self.current {
                    let uuid = current.donor.uuid;
                    self.given_up.push(uuid);
                    self.donors.retain(|donor| donor.uuid != uuid);
                }
            }
            Reaction::End => return self.fail(error),
        }
        self.stop_donor(Next::AnotherDonor);
    }

    fn record_failure(&mut self, error: &Error) {
        if let Some(record) = self.record(Some(AttemptEnd::of(error))) {
            self.act(Action::Failover(record));
        }
    }

    /// Keeps the record of the present attempt, once.
    fn record(&mut self, end: Option<AttemptEnd>) -> Option<AttemptRecord> {
        let current = self.current.as_mut()?;
        if std::mem::replace(&mut current.is_recorded, true) {
            return None;
        }
        let executed = self.executed.count();
        let record = AttemptRecord {
            number: current.number,
            donor: current.donor.clone(),
            endpoint: current.endpoint.clone(),
            began: current.began,
            ended: self.now,
            applied: executed.saturating_sub(current.executed_before),
            end,
        };
        self.history.push(record.clone());
        Some(record)
    }

    /// The attempt under way, if there is one, has brought all that was missing.
    pub(super) fn finish_attempt(&mut self) {
        self.record(None);
        self.current = None;
    }

    fn stop_donor(&mut self, next: Next) {
        let Some(attempt) = self.current.as_ref().map(|current| current.number) else {
            return;
        };
        if let Some(Step::Stopping { next: planned, .. }) = self.step() {
            *planned = next;
            return;
        }
        self.enter(State::Transfer(Step::Stopping {
            next,
            deadline: self.now + self.settings.components_stop_timeout,
        }));
        self.act(Action::StopDonor { attempt });
    }

    pub(super) fn donor_stopped(&mut self, attempt: u32) {
        if !self.is_current(attempt) {
            return;
        }
        let Some(&mut Step::Stopping { next, .. }) = self.step() else {
            return;
        };
        match next {
            Next::CatchUp => self.start_catch_up(),
            Next::SameDonor => self.connect(true, true),
            Next::AnotherEndpoint => {
                if let Some(current) = &mut self.current {
                    current.endpoint = current.endpoints.pop_front();
                }
                self.connect(true, false);
            }
            Next::AnotherDonor => {
                self.current = None;
                self.begin_attempt(false);
            }
        }
    }

    pub(super) fn cut_reached(&self) -> bool {
        matches!(&self.cut, Cut::Gtids(set) if set.is_subset(&self.executed))
    }

    pub(super) fn transfer_view_changed(&mut self, changed: bool) {
        if changed {
            self.rebuild_donors();
        }
        match self.step() {
            Some(Step::Reading { slept }) => {
                let slept = *slept;
                self.take_donor(slept);
            }
            _ => self.check_donor_left(),
        }
    }

    /// A donor that has served and is no longer in the view is given up, in whatever state its
    /// connection is. One that only stops being ONLINE is kept.
    fn check_donor_left(&mut self) {
        let Some(
            Step::Streaming { .. }
            | Step::Connecting { reconnecting: true }
            | Step::Stopping {
                next: Next::SameDonor,
                ..
            },
        ) = self.step()
        else {
            return;
        };
        let Some(donor) = self.current.as_ref().map(|current| &current.donor) else {
            return;
        };
        if self.view.member(&donor.uuid).is_none() {
            let error = Error::new(ErrorKind::DonorLeft, "the donor left the group")
                .at_donor(donor.address.to_string());
            self.give_donor_up(error);
        }
    }

    pub(super) fn executed(&mut self, executed: GtidSet) {
        let progressed = executed != self.executed;
        self.executed = executed;
        match self.step() {
            Some(Step::Streaming { lost_before, .. }) if progressed => *lost_before = false,
            _ => {}
        }
        if self.cut_reached() {
            self.end_phase_1();
        }
        self.check_relay_log();
        self.check_online();
    }

    pub(super) fn view_change_applied(&mut self, id: &str) {
        if matches!(&self.cut, Cut::ViewId(wanted) if wanted == id) {
            self.end_phase_1();
        }
    }

    fn end_phase_1(&mut self) {
        match self.step() {
            Some(Step::Connecting { .. } | Step::Streaming { .. } | Step::Stopping { .. }) => {
                self.stop_donor(Next::CatchUp);
            }
            Some(Step::Sleeping { .. } | Step::Reading { .. }) => self.start_catch_up(),
            None => {}
        }
    }
}
