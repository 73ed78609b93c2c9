//! Mistakes that are planted: what checks the simulation can fail, and does.

use std::time::Duration;

use super::auditor::{Auditor, Known};
use super::run_planted;
use crate::engine::{CloneState, Event};
use crate::group::{GroupMember, MemberState, View};
use crate::gtid::{GtidSet, Uuid};
use crate::net::{Endpoint, ServerVersion};
use crate::recovery::{AttemptEnd, AttemptRecord, FailureClass, Method, Plan, Settings};
use crate::target::CloneProgress;
use crate::{Error, ErrorKind};

/// A mistake of the joiner's, or of what it is told, all through a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Plant {
    /// It forgets what it has executed, and applies it again.
    Forgets,
    /// It believes that the group has executed nothing when phase 2 begins.
    Believes,
    /// The last transaction is missing from its cut.
    ShortCut,
    /// It is never given every tenth of the group's transactions.
    Loses,
    /// It is given the group's transactions in pairs, the later one first.
    Swaps,
    /// A donor's bytes are altered, their checksum with them.
    Alters,
    /// It sleeps a second less than it should.
    WakesEarly,
}

/// Runs seeds until the mistake shows, and checks that it shows as what it is.
fn expect(plant: Plant, findings: &[&str]) {
    let found = (0..500).find_map(|seed| run_planted(seed, Some(plant)).err());
    let found = found.unwrap_or_else(|| panic!("{plant:?} was never found"));
    assert!(
        findings.iter().any(|finding| found.contains(finding)),
        "{plant:?} was found as: {found}"
    );
}

#[test]
fn planted_mistakes_are_found() {
    expect(Plant::Forgets, &["was applied twice"]);
    expect(
        Plant::Believes,
        &[
            "ONLINE without what the group had executed",
            "the queue was never empty",
        ],
    );
    expect(
        Plant::ShortCut,
        &["not ONLINE", "came before", "ONLINE without", "no gap"],
    );
    expect(Plant::Loses, &["not ONLINE", "came before", "is missing"]);
    expect(Plant::Swaps, &["came before"]);
    expect(Plant::Alters, &["has other bytes"]);
    expect(Plant::WakesEarly, &["sleep of"]);
}

/// A recovery as the auditor sees it.
struct Course {
    auditor: Auditor,
    now: Duration,
    executed: GtidSet,
    group_executed: GtidSet,
    attempts: u32,
}

fn gtids(text: &str) -> GtidSet {
    format!("aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa:{text}")
        .parse()
        .expect("a GTID set")
}

fn member(number: u8, state: MemberState) -> GroupMember {
    let address = Endpoint::new(format!("db{number}"), 3306);
    GroupMember {
        uuid: Uuid([number; 16]),
        recovery_endpoints: vec![address.clone()],
        address,
        state,
        primary: false,
        version: Some(ServerVersion::parse("9.7.4")),
        executed: None,
        purged: None,
    }
}

fn view(states: &[MemberState]) -> View {
    let members = states.iter().zip(1..);
    View {
        members: members
            .map(|(state, number)| member(number, *state))
            .collect(),
    }
}

impl Course {
    /// Two donors, three attempts, a minute between rounds; 1-5 is where phase 1 ends.
    fn planned(change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = Settings {
            recovery_retry_count: 3,
            ..Settings::default()
        };
        change(&mut settings);
        let mut course = Self {
            auditor: Auditor::new(settings, true),
            now: Duration::ZERO,
            executed: gtids("1-2"),
            group_executed: gtids("1-9"),
            attempts: 0,
        };
        let both = view(&[MemberState::Online; 2]);
        course.auditor.joined(course.now, both);
        course.auditor.cut = gtids("1-5");
        course
    }

    fn transfer(change: impl FnOnce(&mut Settings)) -> Self {
        let mut course = Self::planned(change);
        course.plan(Method::BinaryLog).expect("a plan");
        course
    }

    fn tell(&mut self, event: &Event) -> Result<(), String> {
        let known = Known {
            now: self.now,
            executed: &self.executed,
            group_executed: &self.group_executed,
        };
        self.auditor.event(event, known)
    }

    fn plan(&mut self, method: Method) -> Result<(), String> {
        self.tell(&Event::Planned(Plan {
            method,
            reason: String::new(),
            missing: gtids("3-9"),
            errant: GtidSet::new(),
        }))
    }

    fn attempt(&mut self, donor: u8) -> Result<(), String> {
        self.attempts += 1;
        self.tell(&Event::Donor {
            attempt: self.attempts,
            of: 3,
            donor: member(donor, MemberState::Online),
        })?;
        self.tell(&Event::Failover(AttemptRecord {
            number: self.attempts,
            donor: member(donor, MemberState::Online),
            endpoint: Some(Endpoint::new("db", 3306)),
            began: self.now,
            ended: self.now,
            applied: 0,
            end: Some(AttemptEnd {
                kind: ErrorKind::Network,
                class: FailureClass::Network,
                message: String::new(),
                remedy: None,
            }),
        }))
    }

    fn sleep(&mut self, seconds: u64) -> Result<(), String> {
        self.tell(&Event::Sleep(Duration::from_secs(seconds)))?;
        self.now += Duration::from_secs(seconds);
        Ok(())
    }

    fn clone(&mut self, donor: u8, state: CloneState) -> Result<(), String> {
        self.tell(&Event::Clone {
            donor: member(donor, MemberState::Online),
            progress: CloneProgress::default(),
            state,
        })
    }

    fn catch_up(&mut self) -> Result<(), String> {
        self.executed = gtids("1-5");
        self.tell(&Event::CatchUp)
    }

    fn online(&mut self) -> Result<(), String> {
        self.tell(&Event::Online {
            gtid_executed: self.executed.clone(),
            transactions: 0,
            elapsed: self.now,
            attempts: self.attempts,
        })
    }

    fn end(&mut self, kind: ErrorKind) -> Result<(), String> {
        let known = Known {
            now: self.now,
            executed: &self.executed,
            group_executed: &self.group_executed,
        };
        self.auditor.end(&Error::new(kind, "the end"), known, false)
    }
}

#[track_caller]
fn is_finding(verdict: Result<(), String>, expected: &str) {
    let finding = verdict.expect_err(expected);
    assert!(finding.contains(expected), "{finding}");
}

#[test]
fn the_auditor_counts_attempts_and_sleeps() {
    let mut course = Course::transfer(|_| ());
    course.attempt(1).expect("the first");
    is_finding(course.sleep(60), "1 donors were not tried");
    let mut course = Course::transfer(|_| ());
    course.attempt(1).expect("the first");
    is_finding(course.attempt(1), "is not on the list");
    let mut course = Course::transfer(|_| ());
    course.attempt(1).expect("the first");
    course.attempts = 0;
    is_finding(course.attempt(2), "attempt 1 is number 2");

    let round = || {
        let mut course = Course::transfer(|_| ());
        course.attempt(2).expect("the first");
        course.attempt(1).expect("the second");
        course
    };
    is_finding(round().sleep(59), "sleep of");
    is_finding(round().end(ErrorKind::NoDonor), "ended after 2 attempts");
    let mut course = round();
    course.sleep(60).expect("a round is over");
    course.now -= Duration::from_secs(1);
    is_finding(course.attempt(1), "woke at");
    let mut course = round();
    course.sleep(60).expect("a round is over");
    course.attempt(1).expect("the third");
    is_finding(course.attempt(2), "more attempts than 3");
    let mut course = round();
    course.sleep(60).expect("a round is over");
    course.attempt(1).expect("the third");
    course
        .end(ErrorKind::NoDonor)
        .expect("the count is used up");
}

#[test]
fn the_auditor_sees_what_is_too_early() {
    let early = || {
        let mut course = Course::transfer(|_| ());
        course.catch_up().expect("all of the cut");
        course
    };
    let mut course = Course::transfer(|_| ());
    is_finding(course.tell(&Event::CatchUp), "phase 1 ended before the cut");
    is_finding(course.online(), "ONLINE before the cut");
    is_finding(early().online(), "ONLINE without what");
    let mut course = early();
    course.executed = gtids("1-9");
    course.online().expect("all is there");
    is_finding(course.online(), "behind ONLINE");

    let mut course = early();
    course.executed = gtids("1-9");
    let states = [MemberState::Online, MemberState::Unreachable];
    course.auditor.view(course.now, view(&states));
    is_finding(course.online(), "ONLINE without a majority");

    let mut course =
        Course::transfer(|settings| settings.online_rule = crate::recovery::OnlineRule::QueueEmpty);
    course.catch_up().expect("all of the cut");
    course.executed = gtids("1-9");
    is_finding(course.online(), "the queue was never empty");
}

#[test]
fn the_auditor_knows_how_long_a_majority_is_waited_for() {
    let minute = Duration::from_secs(60);
    let mut course = Course::transfer(|settings| settings.unreachable_majority_timeout = minute);
    let states = [MemberState::Online, MemberState::Unreachable];
    course.auditor.view(course.now, view(&states));
    course.now += minute - Duration::from_nanos(1);
    course.auditor.goes_on(course.now).expect("not yet");
    is_finding(course.end(ErrorKind::GroupUnavailable), "ended too early");
    course.now = minute;
    course.end(ErrorKind::GroupUnavailable).expect("in time");
    is_finding(course.auditor.goes_on(course.now), "for too long");
}

#[test]
fn the_auditor_follows_clones() {
    let failed = |data_dropped| CloneState::Failed {
        kind: ErrorKind::Network,
        message: String::new(),
        data_dropped,
    };
    let begun = || {
        let mut course = Course::planned(|_| ());
        course.plan(Method::Clone).expect("a clone");
        course.clone(1, CloneState::Copying).expect("the first");
        course
    };
    is_finding(begun().clone(2, CloneState::Copying), "beside something");
    is_finding(begun().clone(2, CloneState::Complete), "was not cloned");
    let mut course = begun();
    course.clone(1, failed(false)).expect("it may fail");
    course.clone(2, CloneState::Copying).expect("the second");
    course.clone(2, failed(true)).expect("it may fail");
    is_finding(course.clone(1, CloneState::Copying), "is cloned again");
    is_finding(course.plan(Method::BinaryLog), "with what is gone");
    let mut course = begun();
    course.clone(1, CloneState::Complete).expect("it is there");
    course.attempt(2).expect("the rest");
    is_finding(course.clone(2, CloneState::Copying), "beside something");
}
