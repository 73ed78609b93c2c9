//! Replacing the target's data with a donor's.
//!
//! As MySQL's clone thread: every ONLINE member that can be cloned is tried once, in random order,
//! its endpoints one after another, without sleeping and without counting attempts. Then the rest
//! comes from binary logs, or, where every clone has failed, everything does, provided that the
//! target's own data is still there and somebody has the binary logs.

use std::collections::VecDeque;

use log::{info, warn};
use rand::seq::SliceRandom;

use super::{Machine, State};
use crate::group::{Cut, GroupMember};
use crate::gtid::GtidSet;
use crate::net::Endpoint;
use crate::recovery::plan::can_be_cloned;
use crate::recovery::{Action, Method, Plan};
use crate::{Error, ErrorKind};

#[derive(Debug)]
pub(super) struct Cloning {
    donor: GroupMember,
    /// Endpoints of `donor` not tried yet.
    endpoints: VecDeque<Endpoint>,
    /// Donors not tried yet.
    rest: Vec<GroupMember>,
    data_dropped: bool,
    /// `donor` has left, its clone is being stopped.
    stopping: bool,
}

impl Machine {
    pub(super) fn begin_clone(&mut self) {
        let mut donors: Vec<GroupMember> = self
            .view
            .online()
            .filter(|member| can_be_cloned(member))
            .cloned()
            .collect();
        donors.shuffle(&mut self.random);
        let nothing = Error::new(ErrorKind::CloneNeeded, "no member can be cloned");
        self.next_clone_donor(donors, false, nothing);
    }

    fn next_clone_donor(&mut self, mut rest: Vec<GroupMember>, data_dropped: bool, last: Error) {
        while let Some(donor) = rest.pop() {
            let mut endpoints = VecDeque::from(donor.recovery_endpoints.clone());
            if let Some(endpoint) = endpoints.pop_front() {
                return self.clone_from(
                    Cloning {
                        donor,
                        endpoints,
                        rest,
                        data_dropped,
                        stopping: false,
                    },
                    endpoint,
                );
            }
        }
        self.no_clone(data_dropped, last);
    }

    fn clone_from(&mut self, cloning: Cloning, endpoint: Endpoint) {
        self.act(Action::Clone {
            donor: cloning.donor.clone(),
            endpoint,
        });
        self.enter(State::Cloning(cloning));
    }

    pub(super) fn cloned(&mut self) {
        if matches!(self.state, State::Cloning(_)) {
            self.enter(State::ReadingOwn { cloned: true });
            self.act(Action::ReadOwn);
        }
    }

    /// Phase 1 behind a clone, which may have brought everything, and more than the cut.
    pub(super) fn fetch_rest(&mut self) {
        if matches!(self.cut, Cut::ViewId(_)) {
            self.read_cut();
        } else if self.cut_reached() {
            self.start_catch_up();
        } else {
            self.begin_transfer();
        }
    }

    /// MySQL joins a second time behind a clone, and waits for the view change of that. What the group
    /// has executed by now holds all that it had executed at the join.
    pub(super) fn read_cut(&mut self) {
        self.enter(State::ReadingCut { again: None });
        self.act(Action::ReadGroupExecuted);
    }

    pub(super) fn cut_read(&mut self, executed: GtidSet) {
        self.cut = Cut::Gtids(executed);
        self.fetch_rest();
    }

    pub(super) fn clone_failed(&mut self, error: Error, dropped: bool) {
        let State::Cloning(cloning) = &mut self.state else {
            return;
        };
        warn!("the clone of {} has failed: {error}", cloning.donor.address);
        cloning.data_dropped |= dropped;
        let data_dropped = cloning.data_dropped;
        let endpoint = if cloning.stopping {
            None
        } else {
            cloning.endpoints.pop_front()
        };
        match endpoint {
            Some(endpoint) => {
                let donor = cloning.donor.clone();
                self.act(Action::Clone { donor, endpoint });
            }
            None => {
                let rest = std::mem::take(&mut cloning.rest);
                self.next_clone_donor(rest, data_dropped, error);
            }
        }
    }

    /// A clone whose donor leaves the group is stopped.
    pub(super) fn check_clone_donor_left(&mut self) {
        if let State::Cloning(cloning) = &mut self.state
            && !cloning.stopping
            && self.view.member(&cloning.donor.uuid).is_none()
        {
            info!("{} has left while it was cloned", cloning.donor.address);
            cloning.stopping = true;
            self.act(Action::StopClone);
        }
    }

    /// Every clone has failed.
    fn no_clone(&mut self, data_dropped: bool, last: Error) {
        if data_dropped {
            return self.fail(
                Error::new(
                    ErrorKind::CloneNeeded,
                    format!("every clone has failed, and the data from before is gone: {last}"),
                )
                .remedy("start again: the data is no loss, the group has all of it")
                .caused_by(last),
            );
        }
        if self.view.members.is_empty() {
            return self.fail(
                Error::new(
                    ErrorKind::NoDonor,
                    format!("every clone has failed, and all donors have left: {last}"),
                )
                .caused_by(last),
            );
        }
        let plan = Plan::new(&self.executed, &self.view, &self.cut, &self.settings, false);
        let (method, reason) = (plan.method, plan.reason.clone());
        self.act(Action::Planned(plan));
        match (method, &self.cut) {
            (Method::Impossible, _) => {
                self.impossible(&format!("{reason}; {last}"), last.remedy_text())
            }
            (Method::Nothing, Cut::Gtids(_)) => self.start_catch_up(),
            _ => self.begin_transfer(),
        }
    }
}
