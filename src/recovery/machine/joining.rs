//! Own state, relay log, join, errant check, plan.

use std::time::Duration;

use super::{Machine, State};
use crate::group::{Cut, View};
use crate::gtid::GtidSet;
use crate::recovery::{Action, Method, Plan};
use crate::{Error, ErrorKind};

/// How long to wait before the group is read again to see whether transactions that look errant
/// were only in flight.
const ERRANT_RECHECK: Duration = Duration::from_secs(1);

/// How long the group may take to answer a join with its cut
/// (`MAX_RECOVERY_METADATA_WAIT_TIME` of the plugin).
const JOIN_TIMEOUT: Duration = Duration::from_secs(300);

impl Machine {
    pub(super) fn own_read(&mut self, executed: GtidSet, unapplied: GtidSet, can_clone: bool) {
        let State::ReadingOwn { cloned } = self.state else {
            return;
        };
        self.executed = executed;
        self.can_clone = can_clone;
        if cloned {
            return self.fetch_rest();
        }
        if unapplied.is_subset(&self.executed) {
            return self.join();
        }
        self.enter(State::ApplyingRelayLog { unapplied });
        self.act(Action::ApplyRelayLog);
    }

    /// Goes on when all of the relay log is applied. There is no limit of time, as in MySQL.
    pub(super) fn check_relay_log(&mut self) {
        if let State::ApplyingRelayLog { unapplied } = &self.state
            && unapplied.is_subset(&self.executed)
        {
            self.join();
        }
    }

    fn join(&mut self) {
        self.enter(State::Joining {
            deadline: self.now + JOIN_TIMEOUT,
        });
        self.act(Action::Join);
    }

    pub(super) fn join_failed(&mut self, error: Error) {
        if matches!(self.state, State::Joining { .. }) {
            self.refuse(error);
        }
    }

    pub(super) fn join_timed_out(&mut self) {
        let waited = JOIN_TIMEOUT.as_secs();
        // A refusal would have come by now: it is a member, but cannot be told where it stands.
        self.joined = true;
        self.fail(Error::new(
            ErrorKind::GroupUnavailable,
            format!("the group has not said within {waited} s what it had executed at the join"),
        ));
    }

    pub(super) fn joined(&mut self, mut view: View, cut: Cut) {
        if !matches!(self.state, State::Joining { .. }) {
            return;
        }
        self.joined = true;
        self.without_itself(&mut view);
        self.snapshot.clone_from(&view);
        self.view = view;
        self.cut = cut;
        self.note_majority();
        let must_have_online = match &self.cut {
            // Alone there is nothing to be told, unless the group has had others before.
            Cut::Gtids(cut) if self.view.members.is_empty() => !cut.is_subset(&self.executed),
            // As in a group of 8.3.0 and later: nobody else could tell us where phase 1 ends.
            Cut::Gtids(_) => true,
            Cut::ViewId(_) => false,
        };
        if must_have_online && self.view.online().next().is_none() {
            return self.fail(
                Error::new(
                    ErrorKind::NoDonor,
                    "the group has no ONLINE member to recover from",
                )
                .remedy("bring at least one member ONLINE, or bootstrap the group"),
            );
        }
        if self.view.members.is_empty() {
            self.act(Action::Planned(Plan::alone()));
            return self.start_catch_up();
        }
        self.plan(false);
    }

    /// Compares and chooses. What looks errant at first may only have been in flight when the
    /// members were read, so that the group is read a second time before the join is refused.
    pub(super) fn plan(&mut self, rechecked: bool) {
        let plan = Plan::new(
            &self.executed,
            &self.view,
            &self.cut,
            &self.settings,
            self.can_clone,
        );
        if !plan.errant.is_empty() && !rechecked {
            return self.recheck_later();
        }
        let (method, errant) = (plan.method, plan.errant.clone());
        let reason = plan.reason.clone();
        self.act(Action::Planned(plan));
        if !errant.is_empty() {
            return self.refuse(
                Error::new(
                    ErrorKind::Errant,
                    format!("this member has transactions that the group does not know: {errant}"),
                )
                .remedy(
                    "recover into an empty store, or execute these transactions in the group if \
                     they are wanted",
                ),
            );
        }
        match method {
            Method::Nothing => self.start_catch_up(),
            Method::BinaryLog => self.begin_transfer(),
            Method::Clone => self.begin_clone(),
            Method::Impossible => self.impossible(&reason, None),
        }
    }

    /// Nothing brings what is missing. `remedy` is that of the last clone that was tried.
    pub(super) fn impossible(&mut self, reason: &str, remedy: Option<&str>) {
        if self.view.online().next().is_none() {
            return self.fail(
                Error::new(ErrorKind::NoDonor, reason)
                    .remedy("bring at least one member ONLINE, or bootstrap the group"),
            );
        }
        self.fail(
            Error::new(ErrorKind::CloneNeeded, reason).remedy(remedy.unwrap_or(
                "start again from a backup that is newer than what the members have purged, and \
                 keep binary logs longer (binlog_expire_logs_seconds)",
            )),
        );
    }

    pub(super) fn recheck_later(&mut self) {
        self.enter(State::Rechecking {
            at: self.now + ERRANT_RECHECK,
            asked: false,
        });
    }

    pub(super) fn recheck(&mut self) {
        if let State::Rechecking { asked, .. } = &mut self.state {
            *asked = true;
            self.act(Action::ReadGroup);
        }
    }
}
