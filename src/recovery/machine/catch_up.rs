//! Phase 2: what the group has delivered since the cut is applied, until the member is ONLINE.

use std::time::Duration;

use super::{Machine, State};
use crate::group::View;
use crate::gtid::GtidSet;
use crate::recovery::{Action, OnlineRule};
use crate::{Error, ErrorKind};

/// How long to wait before the group is asked again what it has executed.
pub(super) const READ_AGAIN: Duration = Duration::from_secs(1);

/// How often the members are looked at while something that the group had executed does not come.
const LOOK_FOR_GAP: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub(super) struct CatchUp {
    /// What the group had executed when this phase began; ONLINE is not declared without it.
    group_executed: Option<GtidSet>,
    /// What had been delivered when the queue was short enough: when all of it is executed, the
    /// member is ONLINE.
    goal: Option<GtidSet>,
    /// When the group is asked again what it has executed.
    read_again: Option<Duration>,
    /// What has been delivered by now; `None` while the queue is not short.
    delivered: Option<GtidSet>,
    look_at: Duration,
    /// Whether the members are being read for a look.
    looking: bool,
    /// What every ONLINE member had executed and nobody had sent when they were looked at last.
    gap: GtidSet,
}

impl CatchUp {
    pub(super) fn next_wakeup(&self) -> Duration {
        self.read_again
            .map_or(self.look_at, |at| at.min(self.look_at))
    }
}

impl Machine {
    pub(super) fn start_catch_up(&mut self) {
        self.finish_attempt();
        self.enter(State::CatchUp(CatchUp {
            look_at: self.now + LOOK_FOR_GAP,
            ..CatchUp::default()
        }));
        self.act(Action::StartCatchUp);
        self.act(Action::ReadGroupExecuted);
    }

    pub(super) fn group_executed(&mut self, set: GtidSet) {
        match &mut self.state {
            State::ReadingCut { .. } => self.cut_read(set),
            State::CatchUp(catch_up) => {
                catch_up.group_executed = Some(set);
                self.check_online();
            }
            _ => {}
        }
    }

    pub(super) fn read_group_later(&mut self) {
        if let State::CatchUp(catch_up) = &mut self.state {
            catch_up.looking = false;
            if catch_up.group_executed.is_none() {
                catch_up.read_again = Some(self.now + READ_AGAIN);
            }
        }
    }

    pub(super) fn catch_up_due(&mut self) {
        let State::CatchUp(catch_up) = &mut self.state else {
            return;
        };
        let reads = catch_up.read_again.is_some_and(|at| at <= self.now);
        if reads {
            catch_up.read_again = None;
        }
        let looks = catch_up.look_at <= self.now;
        if looks {
            catch_up.look_at = self.now + LOOK_FOR_GAP;
            catch_up.looking = catch_up.delivered.is_some();
        }
        let looks = looks && catch_up.looking;
        if reads {
            self.act(Action::ReadGroupExecuted);
        }
        if looks {
            self.act(Action::ReadGroup);
        }
    }

    /// Ends recovery when transactions are missing that nobody is going to send: at two looks every
    /// ONLINE member had executed them, and the queue was short. Where a view change ends phase 1, a
    /// donor may have left them out unnoticed.
    pub(super) fn look_for_gap(&mut self) {
        let State::CatchUp(catch_up) = &mut self.state else {
            return;
        };
        if !std::mem::take(&mut catch_up.looking) {
            return;
        }
        let Some(delivered) = &catch_up.delivered else {
            return catch_up.gap = GtidSet::new();
        };
        let gap = executed_by_all(&self.view)
            .subtract(&self.executed)
            .subtract(delivered);
        let lost = gap.intersect(&catch_up.gap);
        catch_up.gap = gap;
        if !lost.is_empty() {
            self.fail(
                Error::new(
                    ErrorKind::Gap,
                    format!(
                        "the members have executed {lost}, and neither donor nor group sent it"
                    ),
                )
                .remedy("start again: the next donor is asked for what is missing"),
            );
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
            _ => catch_up.goal = short.then(|| delivered.clone()),
        }
        catch_up.delivered = short.then_some(delivered);
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

/// What every ONLINE member is known to have executed.
fn executed_by_all(view: &View) -> GtidSet {
    let mut sets = view.online().map(|member| member.executed.as_ref());
    let Some(Some(first)) = sets.next() else {
        return GtidSet::new();
    };
    sets.fold(first.clone(), |all, set| {
        set.map_or_else(GtidSet::new, |set| all.intersect(set))
    })
}
