//! Phase 1: what comes of an attempt, from the connection to the end of phase 1 or to the failover.

use std::time::Duration;

use log::info;

use super::transfer::{Next, Step};
use super::{Machine, State};
use crate::group::Cut;
use crate::gtid::GtidSet;
use crate::recovery::attempt::{AttemptEnd, AttemptRecord};
use crate::recovery::donor_list::candidates;
use crate::recovery::{Action, FailureClass, Reaction};
use crate::{Error, ErrorKind};

impl Machine {
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

    pub(super) fn record_failure(&mut self, error: &Error) {
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
