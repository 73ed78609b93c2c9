//! What recovery may do, said once more and independently: attempts, sleeps, donors, ONLINE.
//!
//! The auditor is told what the machine is told (views, settings, the time) and looks at what it
//! does, as its subscribers see it. It knows the rules of `recovery` as sentences about lists and
//! counts, not as states.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::engine::{CloneState, Event};
use crate::group::{GroupMember, MemberState, View};
use crate::gtid::{GtidSet, Uuid};
use crate::net::ServerVersion;
use crate::recovery::{AttemptRecord, Method, OnlineRule, Settings};
use crate::{Error, ErrorKind};

pub(super) struct Auditor {
    settings: Settings,
    /// Whether the settings leave the choice of donors and the reactions to MySQL's rules.
    is_plain: bool,
    /// The membership that lists are built from.
    snapshot: View,
    newest: View,
    /// Donors not asked since the list was built; `None` before the plan.
    list: Option<BTreeSet<Uuid>>,
    attempts: u32,
    /// When the sleep that was begun last ends, and nothing was done since.
    asleep_until: Option<Duration>,
    /// Whether the clock has leapt while something was waited for.
    is_late: bool,
    /// Whether it ever has.
    has_leapt: bool,
    /// The attempt that has an open end.
    open: Option<u32>,
    can_clone: bool,
    /// The donor of the clone that goes on, and those of all clones so far.
    cloning: Option<Uuid>,
    cloned: Vec<Uuid>,
    /// Whether a clone has left nothing of the joiner's own data.
    is_dropped: bool,
    is_joined: bool,
    majority_lost: Option<Duration>,
    is_out_of_sight: bool,
    pub(super) cut: GtidSet,
    /// What the group had executed when phase 2 began.
    group_executed: GtidSet,
    /// Whether the queue was seen empty since.
    queue_was_empty: bool,
    pub(super) phase_2: bool,
    pub(super) is_online: bool,
    pub(super) sleeps: u32,
}

/// How the world is when the joiner does something.
#[derive(Clone, Copy)]
pub(super) struct Known<'a> {
    pub(super) now: Duration,
    /// What the joiner and the group have executed.
    pub(super) executed: &'a GtidSet,
    pub(super) group_executed: &'a GtidSet,
}

type Verdict = Result<(), String>;

fn rule(holds: bool, what: impl FnOnce() -> String) -> Verdict {
    if holds { Ok(()) } else { Err(what()) }
}

fn candidates(view: &View) -> BTreeSet<Uuid> {
    let newest = ServerVersion {
        major: 9,
        minor: 7,
        patch: 255,
    };
    view.members
        .iter()
        .filter(|member| member.state == MemberState::Online)
        .filter(|member| member.version.is_none_or(|version| version <= newest))
        .map(|member| member.uuid)
        .collect()
}

impl Auditor {
    pub(super) fn new(settings: Settings, can_clone: bool) -> Self {
        let plain = Settings::default();
        Self {
            is_plain: settings.donor_policy == plain.donor_policy
                && settings.reactions == plain.reactions,
            settings,
            snapshot: View::default(),
            newest: View::default(),
            list: None,
            attempts: 0,
            asleep_until: None,
            is_late: false,
            has_leapt: false,
            open: None,
            can_clone,
            cloning: None,
            cloned: Vec::new(),
            is_dropped: false,
            is_joined: false,
            majority_lost: None,
            is_out_of_sight: false,
            cut: GtidSet::new(),
            group_executed: GtidSet::new(),
            queue_was_empty: false,
            phase_2: false,
            is_online: false,
            sleeps: 0,
        }
    }

    pub(super) fn set_settings(&mut self, settings: Settings) {
        self.settings = settings;
    }

    pub(super) fn attempts(&self) -> u32 {
        self.attempts
    }

    pub(super) fn joined(&mut self, now: Duration, view: View) {
        self.is_joined = true;
        self.snapshot = view.clone();
        self.note_majority(now, &view);
        self.newest = view;
    }

    /// The clock has leapt: what was due meanwhile comes late.
    pub(super) fn leapt(&mut self) {
        self.is_late = true;
        self.has_leapt = true;
    }

    /// The group tells that nobody can be reached.
    pub(super) fn out_of_sight(&mut self) {
        self.is_out_of_sight = true;
    }

    pub(super) fn queue_is_empty(&mut self) {
        self.queue_was_empty |= self.phase_2;
    }

    fn note_majority(&mut self, now: Duration, view: &View) {
        let members = view.members.iter();
        let lost = members.filter(|member| member.state == MemberState::Unreachable);
        // The joiner itself does not count: it is no full member.
        if view.members.is_empty() || 2 * lost.count() < view.members.len() {
            self.majority_lost = None;
        } else {
            self.majority_lost.get_or_insert(now);
        }
    }

    /// Whether the time is up for which a lost majority is waited for.
    fn majority_is_given_up(&self, now: Duration) -> bool {
        let timeout = self.settings.unreachable_majority_timeout;
        let lost = self.majority_lost.filter(|_| !timeout.is_zero());
        lost.is_some_and(|since| since + timeout <= now)
    }

    /// It goes on, though nothing may have happened.
    pub(super) fn goes_on(&mut self, now: Duration) -> Verdict {
        rule(!self.majority_is_given_up(now), || {
            "waits for a majority for too long".into()
        })
    }

    /// A view reaches the machine.
    pub(super) fn view(&mut self, now: Duration, view: View) {
        let is_new = |old: &View| {
            view.members.len() != old.members.len()
                || view.members.iter().any(|member| {
                    old.members
                        .iter()
                        .find(|known| known.uuid == member.uuid)
                        .is_none_or(|known| {
                            known.state != member.state && member.state != MemberState::Unreachable
                        })
                })
        };
        if is_new(&self.snapshot) {
            self.snapshot = view.clone();
            if let Some(list) = &mut self.list {
                *list = candidates(&view);
            }
        }
        if self.is_joined {
            self.note_majority(now, &view);
        }
        self.newest = view;
    }

    pub(super) fn event(&mut self, event: &Event, known: Known<'_>) -> Verdict {
        let now = known.now;
        rule(!self.is_online, || format!("behind ONLINE: {event:?}"))?;
        match event {
            Event::Planned(plan) => {
                if plan.method == Method::BinaryLog && plan.errant.is_empty() {
                    rule(!self.is_dropped, || "goes on with what is gone".into())?;
                    self.list = Some(candidates(&self.snapshot));
                }
                rule(
                    plan.method != Method::Clone || self.cloned.is_empty(),
                    || "clones are planned twice".into(),
                )
            }
            Event::Clone { donor, state, .. } => self.clone_told(donor, state),
            Event::Donor { attempt, of, donor } => {
                rule(!self.phase_2, || "a donor in phase 2".into())?;
                self.may_attempt()?;
                self.wake(now, false)?;
                self.take(&donor.uuid)?;
                self.open = Some(*attempt);
                rule(*attempt == self.attempts, || {
                    format!("attempt {attempt} is number {}", self.attempts)
                })?;
                rule(*of == self.settings.recovery_retry_count, || {
                    format!("of {of}")
                })
            }
            Event::Failover(record) => self.failover(now, record),
            Event::Sleep(time) => {
                self.wake(now, true)?;
                let left = self.list.as_ref().map_or(0, BTreeSet::len);
                rule(!self.is_plain || left == 0, || {
                    format!("sleep although {left} donors were not tried")
                })?;
                rule(*time == self.settings.recovery_reconnect_interval, || {
                    format!("sleep of {time:?}")
                })?;
                rule(self.attempts < self.settings.recovery_retry_count, || {
                    "sleep behind the last attempt".into()
                })?;
                self.sleeps += 1;
                self.is_late = false;
                self.asleep_until = Some(now + *time);
                Ok(())
            }
            Event::CatchUp => {
                rule(!self.phase_2, || "phase 2 twice".into())?;
                self.phase_2 = true;
                self.group_executed.clone_from(known.group_executed);
                rule(self.cloning.is_none(), || "phase 2 beside a clone".into())?;
                rule(self.cut.is_subset(known.executed), || {
                    "phase 1 ended before the cut".into()
                })
            }
            Event::Online { gtid_executed, .. } => {
                self.is_online = true;
                rule(self.phase_2, || "ONLINE without phase 2".into())?;
                rule(gtid_executed == known.executed, || {
                    "ONLINE with what is not executed".into()
                })?;
                rule(self.cut.is_subset(gtid_executed), || {
                    "ONLINE before the cut".into()
                })?;
                // Whatever the group had executed by then, even if it was delivered later.
                rule(self.group_executed.is_subset(gtid_executed), || {
                    "ONLINE without what the group had executed".into()
                })?;
                let is_strict = self.settings.online_rule == OnlineRule::QueueEmpty;
                rule(!is_strict || self.queue_was_empty, || {
                    "ONLINE though the queue was never empty".into()
                })?;
                rule(self.majority_lost.is_none(), || {
                    "ONLINE without a majority".into()
                })
            }
        }
    }

    /// Each donor is cloned once, at one endpoint after another.
    fn clone_told(&mut self, donor: &GroupMember, state: &CloneState) -> Verdict {
        let uuid = donor.uuid;
        match state {
            CloneState::Copying if self.cloning == Some(uuid) => Ok(()),
            CloneState::Copying => {
                rule(self.can_clone, || {
                    "a clone of what cannot be replaced".into()
                })?;
                rule(self.cloning.is_none() && self.list.is_none(), || {
                    "a clone beside something else".into()
                })?;
                let is_next_endpoint = self.cloned.last() == Some(&uuid);
                rule(is_next_endpoint || !self.cloned.contains(&uuid), || {
                    format!("{uuid} is cloned again")
                })?;
                let oldest = ServerVersion {
                    major: 8,
                    minor: 4,
                    patch: 0,
                };
                rule(
                    donor.version.is_some_and(|version| version >= oldest),
                    || format!("{uuid} is too old for a clone"),
                )?;
                self.cloning = Some(uuid);
                self.cloned.push(uuid);
                Ok(())
            }
            CloneState::Complete | CloneState::Failed { .. } => {
                rule(self.cloning.take() == Some(uuid), || {
                    format!("{uuid} was not cloned")
                })?;
                match state {
                    CloneState::Failed { data_dropped, .. } => self.is_dropped |= data_dropped,
                    // What the clone has not brought comes from binary logs.
                    _ => self.list = Some(candidates(&self.snapshot)),
                }
                Ok(())
            }
        }
    }

    /// Behind a sleep the count is not looked at again.
    fn may_attempt(&self) -> Verdict {
        let allowed = self.settings.recovery_retry_count;
        rule(
            self.asleep_until.is_some() || self.attempts < allowed,
            || format!("more attempts than {allowed}"),
        )
    }

    /// Something is done: if recovery slept, its time must be up; the list is built anew then.
    fn wake(&mut self, now: Duration, again: bool) -> Verdict {
        let Some(until) = self.asleep_until.take() else {
            return Ok(());
        };
        // Where the members are read first, the answer takes its time.
        let is_late = std::mem::take(&mut self.is_late) || !self.is_plain;
        let is_due = now == until || (is_late && now > until);
        rule(is_due, || format!("woke at {now:?}, not {until:?}"))?;
        let list = candidates(&self.snapshot);
        if list.is_empty() || (again && !self.is_plain) {
            self.attempts += 1;
        }
        self.list = Some(list);
        Ok(())
    }

    fn take(&mut self, donor: &Uuid) -> Verdict {
        self.attempts += 1;
        if self.is_plain {
            let list = self.list.get_or_insert_default();
            return rule(list.remove(donor), || {
                format!("{donor} is not on the list {list:?}")
            });
        }
        let known = candidates(&self.snapshot);
        rule(known.contains(donor), || format!("{donor} is no donor"))
    }

    fn failover(&mut self, now: Duration, record: &AttemptRecord) -> Verdict {
        if record.endpoint.is_none() {
            // It has nothing to connect to: the attempt ends where it begins.
            self.may_attempt()?;
            self.wake(now, false)?;
            self.take(&record.donor.uuid)?;
            self.open = Some(self.attempts);
        }
        rule(self.open.take() == Some(record.number), || {
            format!("attempt {} has failed, which is not open", record.number)
        })?;
        rule(record.ended >= record.began, || {
            "ended before it began".into()
        })
    }

    /// What every ONLINE member has executed, but not the joiner.
    fn gap(&self, executed: &GtidSet) -> GtidSet {
        let online = self.newest.members.iter();
        online
            .filter(|member| member.state == MemberState::Online)
            .filter_map(|member| member.executed.clone())
            .reduce(|all, set| all.intersect(&set))
            .unwrap_or_default()
            .subtract(executed)
    }

    /// Recovery has ended with an error.
    pub(super) fn end(&mut self, error: &Error, known: Known<'_>, is_full: bool) -> Verdict {
        let now = known.now;
        match error.kind() {
            // Nothing could stop in time.
            ErrorKind::TimedOut if self.has_leapt => Ok(()),
            ErrorKind::TargetIo => rule(is_full, || format!("ended with {error}")),
            ErrorKind::GroupUnavailable if self.is_joined => rule(
                self.is_out_of_sight || self.majority_is_given_up(now),
                || format!("ended too early: {error}"),
            ),
            ErrorKind::NoDonor | ErrorKind::CloneNeeded if self.is_plain && self.list.is_some() => {
                // A round that found nobody may have used up the last attempt.
                self.wake(now, true)?;
                let is_alone = self.newest.members.is_empty();
                let is_used_up = self.attempts >= self.settings.recovery_retry_count;
                rule(is_alone || is_used_up, || {
                    format!("ended after {} attempts: {error}", self.attempts)
                })
            }
            ErrorKind::Gap => {
                rule(self.phase_2, || "a gap in phase 1".into())?;
                rule(!self.gap(known.executed).is_empty(), || {
                    format!("no gap: {error}")
                })
            }
            ErrorKind::NoDonor
            | ErrorKind::CloneNeeded
            | ErrorKind::GroupUnavailable
            | ErrorKind::Errant => Ok(()),
            // A reaction may end recovery with the donor's own fault.
            _ if !self.is_plain && error.is_donor_fault() => Ok(()),
            _ => Err(format!("ended with {error}")),
        }
    }
}
