//! Phase 1: donors, attempts, sleeps. What comes of an attempt is in [`serving`](super::serving).
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
use crate::recovery::Action;
use crate::recovery::donor_list::candidates;
use crate::recovery::policy::still_has;
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
    pub(super) number: u32,
    pub(super) donor: GroupMember,
    /// Where it is connected to.
    pub(super) endpoint: Option<Endpoint>,
    /// Where it was not tried yet.
    pub(super) endpoints: VecDeque<Endpoint>,
    pub(super) began: Duration,
    pub(super) executed_before: u64,
    pub(super) is_recorded: bool,
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

    pub(super) fn rebuild_donors(&mut self) {
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

    pub(super) fn begin_attempt(&mut self, slept: bool) {
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
            still_has(member, &missing) || {
                info!("donor {} has purged what is missing", donor.address);
                false
            }
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

    pub(super) fn connect(&mut self, again: bool, reconnecting: bool) {
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
    pub(super) fn is_current(&self, attempt: u32) -> bool {
        self.current
            .as_ref()
            .is_some_and(|current| current.number == attempt)
    }

    pub(super) fn step(&mut self) -> Option<&mut Step> {
        match &mut self.state {
            State::Transfer(step) => Some(step),
            _ => None,
        }
    }
}
