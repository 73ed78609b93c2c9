//! What recovery may do, said once more and independently: attempts, sleeps, donors, ONLINE.
//!
//! The auditor is told what the machine is told (views, settings, the time) and looks at what it
//! does, as its subscribers see it. It knows the rules of `recovery` as sentences about lists and
//! counts, not as states.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::engine::Event;
use crate::group::{MemberState, View};
use crate::gtid::{GtidSet, Uuid};
use crate::net::ServerVersion;
use crate::recovery::{AttemptRecord, Method, Settings};
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
    /// The attempt that has an open end.
    open: Option<u32>,
    pub(super) cut: GtidSet,
    pub(super) phase_2: bool,
    pub(super) is_online: bool,
    pub(super) sleeps: u32,
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
    pub(super) fn new(settings: Settings) -> Self {
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
            open: None,
            cut: GtidSet::new(),
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

    pub(super) fn joined(&mut self, view: View) {
        self.snapshot = view.clone();
        self.newest = view;
    }

    /// A view reaches the machine.
    pub(super) fn view(&mut self, view: View) {
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
        self.newest = view;
    }

    pub(super) fn event(&mut self, now: Duration, event: &Event, executed: &GtidSet) -> Verdict {
        rule(!self.is_online, || format!("behind ONLINE: {event:?}"))?;
        match event {
            Event::Planned(plan) => {
                if plan.method == Method::BinaryLog && plan.errant.is_empty() {
                    self.list = Some(candidates(&self.snapshot));
                }
                Ok(())
            }
            Event::Clone { .. } => rule(false, || "a clone of what cannot be replaced".into()),
            Event::Donor { attempt, of, donor } => {
                rule(!self.phase_2, || "a donor in phase 2".into())?;
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
                self.asleep_until = Some(now + *time);
                Ok(())
            }
            Event::CatchUp => {
                rule(!self.phase_2, || "phase 2 twice".into())?;
                self.phase_2 = true;
                rule(self.cut.is_subset(executed), || {
                    "phase 1 ended before the cut".into()
                })
            }
            Event::Online { gtid_executed, .. } => {
                self.is_online = true;
                rule(self.phase_2, || "ONLINE without phase 2".into())?;
                rule(self.cut.is_subset(gtid_executed), || {
                    "ONLINE before the cut".into()
                })
            }
        }
    }

    /// Something is done: if recovery slept, its time must be up; the list is built anew then.
    fn wake(&mut self, now: Duration, again: bool) -> Verdict {
        let Some(until) = self.asleep_until.take() else {
            return Ok(());
        };
        // Where the members are read first, the answer takes its time.
        let is_due = now == until || (!self.is_plain && now > until);
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
    pub(super) fn end(&mut self, now: Duration, error: &Error, executed: &GtidSet) -> Verdict {
        match error.kind() {
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
                rule(!self.gap(executed).is_empty(), || {
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
