//! Phase 2: what the group has delivered since the cut is applied, until the member is ONLINE.

use std::time::Duration;

use super::{Machine, State};
use crate::gtid::GtidSet;
use crate::recovery::{Action, OnlineRule};

/// How long to wait before the group is asked again what it has executed.
const READ_AGAIN: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(super) struct CatchUp {
    /// What the group had executed when this phase began; ONLINE is not declared without it.
    group_executed: Option<GtidSet>,
    /// What had been delivered when the queue was short enough: when all of it is executed, the
    /// member is ONLINE.
    goal: Option<GtidSet>,
    /// When the group is asked again what it has executed.
    pub(super) read_again: Option<Duration>,
}

impl Machine {
    pub(super) fn start_catch_up(&mut self) {
        self.finish_attempt();
        self.enter(State::CatchUp(CatchUp::default()));
        self.act(Action::StartCatchUp);
        self.act(Action::ReadGroupExecuted);
    }

    pub(super) fn group_executed(&mut self, set: GtidSet) {
        if let State::CatchUp(catch_up) = &mut self.state {
            catch_up.group_executed = Some(set);
        }
        self.check_online();
    }

    pub(super) fn read_group_later(&mut self) {
        if let State::CatchUp(catch_up) = &mut self.state {
            catch_up.read_again = Some(self.now + READ_AGAIN);
        }
    }

    pub(super) fn catch_up_due(&mut self) {
        if let State::CatchUp(catch_up) = &mut self.state
            && catch_up.read_again.is_some_and(|at| at <= self.now)
        {
            catch_up.read_again = None;
            self.act(Action::ReadGroupExecuted);
        }
    }

    pub(super) fn queue(&mut self, queued: u64, applied_last_second: u64, delivered: GtidSet) {
        let window = self.settings.flow_control_period.as_secs();
        let short = match self.settings.online_rule {
            OnlineRule::FitsWindow => queued <= applied_last_second.saturating_mul(window),
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

    /// Without a majority nobody would hear the announcement.
    pub(super) fn check_online(&mut self) {
        let State::CatchUp(CatchUp {
            group_executed: Some(group_executed),
            goal: Some(goal),
            ..
        }) = &self.state
        else {
            return;
        };
        if self.majority_lost.is_none()
            && group_executed.is_subset(&self.executed)
            && goal.is_subset(&self.executed)
        {
            self.enter(State::Online);
            self.act(Action::DeclareOnline);
        }
    }
}
