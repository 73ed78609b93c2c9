//! The machine against hand-written courses of events.

use super::super::testing::{gtids, member, uuid};
use super::*;
use crate::group::GroupMember;
use crate::group::MemberState::{Online, Recovering};
use crate::recovery::OnlineRule;

/// Drives a machine and writes down what it does, one word an action.
struct Rig {
    machine: Machine,
    now: Duration,
    last: Option<(u32, GroupMember)>,
}

impl Rig {
    fn new(settings: Settings) -> Self {
        Self {
            machine: Machine::new(settings, uuid(9), 7),
            now: Duration::ZERO,
            last: None,
        }
    }

    /// A machine that has joined a group of `donors` members at 1-100 with 1-10 of its own.
    fn joined(donors: u8, settings: Settings) -> Self {
        let mut rig = Self::new(settings);
        assert_eq!(rig.actions(), "read_own");
        assert_eq!(rig.own("1-10"), "join");
        let view = View {
            members: (1..=donors).map(|n| member(n, Online)).collect(),
        };
        let cut = Cut::Gtids(gtids("1-100"));
        assert_eq!(
            rig.tell(Input::Joined { view, cut }),
            "plan:binlog connect:1"
        );
        rig
    }

    fn own(&mut self, executed: &str) -> String {
        self.tell(Input::Own {
            executed: gtids(executed),
            unapplied: GtidSet::new(),
            can_clone: false,
        })
    }

    fn tell(&mut self, input: Input) -> String {
        self.machine.handle(self.now, input);
        self.actions()
    }

    fn actions(&mut self) -> String {
        let mut words = Vec::new();
        while let Some(action) = self.machine.poll_action() {
            words.push(match action {
                Action::ReadOwn => "read_own".into(),
                Action::Join => "join".into(),
                Action::ApplyRelayLog => "relay_log".into(),
                Action::ReadGroup => "read_group".into(),
                Action::ReadGroupExecuted => "read_executed".into(),
                Action::Clone { donor, endpoint } => {
                    self.last = Some((0, donor));
                    format!("clone:{endpoint}")
                }
                Action::StopClone => "stop_clone".into(),
                Action::Planned(plan) => format!("plan:{}", plan.method.name()),
                Action::Connect {
                    attempt,
                    donor,
                    again,
                    ..
                } => {
                    self.last = Some((attempt, donor));
                    format!("{}:{attempt}", if again { "again" } else { "connect" })
                }
                Action::StopDonor { attempt } => format!("stop:{attempt}"),
                Action::Failover(record) => {
                    format!("failover:{}", record.end.unwrap().kind)
                }
                Action::Sleep(time) => format!("sleep:{}", time.as_secs()),
                Action::StartCatchUp => "catch_up".into(),
                Action::DeclareOnline => "online".into(),
                Action::End(end) => match end.result {
                    Ok(()) => "end".into(),
                    Err(error) => format!("error:{}", error.kind()),
                },
            });
        }
        words.join(" ")
    }

    fn attempt(&self) -> u32 {
        self.last.as_ref().unwrap().0
    }

    fn donor(&self) -> Uuid {
        self.last.as_ref().unwrap().1.uuid
    }

    fn connect(&mut self) -> String {
        let attempt = self.attempt();
        self.tell(Input::Connected { attempt })
    }

    /// The current donor fails; its threads stop at once.
    fn fail(&mut self, kind: ErrorKind) -> String {
        let attempt = self.attempt();
        let error = Error::new(kind, "planted");
        let first = self.tell(Input::DonorFailed { attempt, error });
        let second = self.tell(Input::DonorStopped { attempt });
        format!("{first} {second}").trim().into()
    }

    fn wake(&mut self) -> String {
        self.now = self.machine.next_wakeup().unwrap();
        self.tell(Input::Tick)
    }

    fn queue(&mut self, queued: u64, applied_last_second: u64, delivered: &str) -> String {
        self.tell(Input::Queue {
            queued,
            applied_last_second,
            delivered: gtids(delivered),
        })
    }
}

fn retry(count: u32) -> Settings {
    Settings {
        recovery_retry_count: count,
        ..Settings::default()
    }
}

#[test]
fn a_smooth_recovery() {
    let mut rig = Rig::joined(3, retry(10));
    assert_eq!(rig.connect(), "");
    assert_eq!(rig.tell(Input::Executed(gtids("1-99"))), "");
    assert_eq!(rig.tell(Input::Executed(gtids("1-103"))), "stop:1");
    assert_eq!(
        rig.tell(Input::DonorStopped { attempt: 1 }),
        "catch_up read_executed"
    );
    assert_eq!(rig.queue(5, 0, "101-108"), "");
    assert_eq!(rig.tell(Input::GroupExecuted(gtids("1-107"))), "");
    assert_eq!(rig.tell(Input::Executed(gtids("1-108"))), "");
    assert_eq!(rig.queue(0, 5, "101-108"), "online");
    assert_eq!(rig.tell(Input::Stop), "end");
}

/// With D donors and N attempts the sleeps are ceil(N/D) - 1, none after the last attempt.
#[test]
fn sleeps_only_when_every_donor_was_tried() {
    for (donors, attempts) in [(1, 1), (1, 3), (2, 10), (3, 4), (3, 3), (3, 7), (5, 2)] {
        let mut rig = Rig::joined(donors, retry(attempts));
        let mut sleeps = 0;
        let end = loop {
            let mut words = rig.fail(ErrorKind::Authentication);
            if words.contains("sleep:60") {
                sleeps += 1;
                words = rig.wake();
            }
            if words.contains("error") {
                break words;
            }
        };
        assert!(end.ends_with("error:no_donor"), "{end}");
        assert_eq!(rig.attempt(), attempts);
        assert_eq!(
            sleeps,
            attempts.div_ceil(donors.into()) - 1,
            "{donors} {attempts}"
        );
    }
}

#[test]
fn every_donor_is_asked_once_before_one_is_asked_again() {
    let mut rig = Rig::joined(4, retry(8));
    let mut asked = vec![rig.donor()];
    for _ in 1..4 {
        rig.fail(ErrorKind::Purged);
        asked.push(rig.donor());
    }
    asked.sort();
    assert_eq!(asked, (1..=4).map(uuid).collect::<Vec<_>>());
    assert_eq!(
        rig.fail(ErrorKind::Purged),
        "failover:purged stop:4 sleep:60"
    );
    assert_eq!(rig.wake(), "connect:5");
}

#[test]
fn no_attempt_is_allowed() {
    let mut rig = Rig::new(retry(0));
    rig.actions();
    rig.own("");
    let words = rig.tell(Input::Joined {
        view: View {
            members: vec![member(1, Online)],
        },
        cut: Cut::Gtids(gtids("1")),
    });
    assert_eq!(words, "plan:binlog error:no_donor");
}

#[test]
fn lowering_the_count_below_the_attempts_made_ends_recovery() {
    let mut rig = Rig::joined(3, retry(10));
    rig.fail(ErrorKind::Network);
    rig.machine.set_settings(retry(2));
    assert_eq!(
        rig.fail(ErrorKind::Network),
        "failover:network stop:2 error:no_donor"
    );
}

#[test]
fn the_interval_counts_from_when_the_sleep_began() {
    let mut rig = Rig::joined(1, retry(3));
    assert!(rig.fail(ErrorKind::Network).ends_with("sleep:60"));
    rig.machine.set_settings(Settings {
        recovery_reconnect_interval: Duration::from_secs(5),
        ..retry(3)
    });
    assert_eq!(rig.machine.next_wakeup(), Some(Duration::from_secs(60)));
    rig.now = Duration::from_secs(59);
    assert_eq!(rig.tell(Input::Tick), "");
    assert_eq!(rig.wake(), "connect:2");
    assert!(rig.fail(ErrorKind::Network).ends_with("sleep:5"));
}

#[test]
fn a_broken_connection_is_tried_once_more_without_a_new_attempt() {
    let mut rig = Rig::joined(2, retry(10));
    rig.connect();
    assert_eq!(rig.fail(ErrorKind::Network), "stop:1 again:1");
    rig.connect();
    assert_eq!(
        rig.fail(ErrorKind::Network),
        "failover:network stop:1 connect:2"
    );
}

#[test]
fn progress_allows_another_second_try() {
    let mut rig = Rig::joined(2, retry(10));
    rig.connect();
    assert_eq!(rig.fail(ErrorKind::TimedOut), "stop:1 again:1");
    rig.connect();
    rig.tell(Input::Executed(gtids("1-20")));
    assert_eq!(rig.fail(ErrorKind::Network), "stop:1 again:1");
    // A second try that does not even connect moves on.
    assert_eq!(
        rig.fail(ErrorKind::Network),
        "failover:network stop:1 connect:2"
    );
}

#[test]
fn a_donor_that_leaves_the_view_is_given_up_only_while_it_serves() {
    let mut rig = Rig::joined(3, retry(10));
    let without = |gone: Uuid| View {
        members: (1..=3)
            .filter(|n| uuid(*n) != gone)
            .map(|n| member(n, Online))
            .collect(),
    };
    // While connecting, the connection itself will tell.
    assert_eq!(rig.tell(Input::View(without(rig.donor()))), "");
    let first = rig.donor();
    assert_eq!(rig.connect(), "failover:donor_left stop:1");
    assert_eq!(rig.tell(Input::DonorStopped { attempt: 1 }), "connect:2");
    assert_ne!(rig.donor(), first);
    rig.connect();
    // Not being ONLINE any more is no reason.
    let mut view = without(first);
    for other in &mut view.members {
        other.state = Recovering;
    }
    assert_eq!(rig.tell(Input::View(view)), "");
    assert_eq!(
        rig.tell(Input::View(without(rig.donor()))),
        "failover:donor_left stop:2"
    );
}

#[test]
fn all_members_leaving_ends_recovery_and_a_full_view_refills_the_list() {
    let mut rig = Rig::joined(1, retry(10));
    assert!(rig.fail(ErrorKind::Network).ends_with("sleep:60"));
    let two = View {
        members: vec![member(1, Online), member(2, Online)],
    };
    assert_eq!(rig.tell(Input::View(two)), "");
    assert_eq!(rig.wake(), "connect:2");
    rig.tell(Input::View(View::default()));
    assert_eq!(
        rig.fail(ErrorKind::Refused),
        "failover:refused stop:2 error:no_donor"
    );
}

#[test]
fn rounds_without_a_donor_count_as_attempts() {
    let mut rig = Rig::joined(1, retry(3));
    let recovering = View {
        members: vec![member(1, Recovering)],
    };
    rig.tell(Input::View(recovering));
    assert!(rig.fail(ErrorKind::Network).ends_with("sleep:60"));
    assert_eq!(rig.wake(), "sleep:60");
    assert_eq!(rig.wake(), "error:no_donor");
}

#[test]
fn all_purged_while_recovering_asks_for_a_clone() {
    let mut rig = Rig::joined(2, retry(2));
    rig.fail(ErrorKind::Purged);
    assert!(rig.fail(ErrorKind::Purged).ends_with("error:clone_needed"));
}

#[test]
fn a_full_disk_is_no_donors_fault() {
    let mut rig = Rig::joined(3, retry(10));
    rig.connect();
    let words = rig.fail(ErrorKind::TargetIo);
    assert_eq!(words, "failover:target_io error:target_io");
}

#[test]
fn reached_while_failing_over_counts_as_reached() {
    let mut rig = Rig::joined(2, retry(1));
    rig.connect();
    let error = Error::new(ErrorKind::Checksum, "planted");
    let words = rig.tell(Input::DonorFailed { attempt: 1, error });
    assert_eq!(words, "failover:checksum stop:1");
    assert_eq!(rig.tell(Input::Executed(gtids("1-100"))), "");
    assert_eq!(
        rig.tell(Input::DonorStopped { attempt: 1 }),
        "catch_up read_executed"
    );
}

#[test]
fn errant_transactions_are_looked_at_twice() {
    for (second, expected) in [
        ("1-12", "plan:nothing catch_up read_executed"),
        ("1-11", "plan:nothing error:errant"),
    ] {
        let mut rig = Rig::new(retry(10));
        rig.actions();
        rig.own("1-12");
        let view = |set: &str| {
            let mut view = View {
                members: vec![member(1, Online)],
            };
            view.members[0].executed = Some(gtids(set));
            view
        };
        let cut = Cut::Gtids(gtids("1-11"));
        assert_eq!(
            rig.tell(Input::Joined {
                view: view("1-11"),
                cut
            }),
            ""
        );
        assert_eq!(rig.tell(Input::View(view("1-11"))), "", "not asked yet");
        assert_eq!(rig.wake(), "read_group");
        assert_eq!(rig.tell(Input::View(view(second))), expected);
    }
}

#[test]
fn no_online_member_is_an_error_at_once() {
    let mut rig = Rig::new(retry(10));
    rig.actions();
    rig.own("");
    let view = View {
        members: vec![member(1, Recovering)],
    };
    let cut = Cut::Gtids(gtids("1"));
    assert_eq!(rig.tell(Input::Joined { view, cut }), "error:no_donor");
}

#[test]
fn phase_1_can_end_at_a_view_change_event() {
    let mut rig = Rig::new(retry(10));
    rig.actions();
    rig.own("");
    let mut view = View {
        members: vec![member(1, Online)],
    };
    view.members[0].executed = Some(gtids("1-5"));
    let cut = Cut::ViewId("17:4".into());
    rig.tell(Input::Joined { view, cut });
    rig.connect();
    assert_eq!(rig.tell(Input::Executed(gtids("1-50"))), "");
    assert_eq!(rig.tell(Input::ViewChangeApplied("17:3".into())), "");
    assert_eq!(rig.tell(Input::ViewChangeApplied("17:4".into())), "stop:1");
}

#[test]
fn under_load_the_member_is_online_when_the_rest_fits_a_window() {
    let mut rig = Rig::joined(1, retry(10));
    rig.connect();
    rig.tell(Input::Executed(gtids("1-100")));
    rig.tell(Input::DonorStopped { attempt: 1 });
    rig.tell(Input::GroupExecuted(gtids("1-150")));
    assert_eq!(rig.queue(60, 50, "101-170"), "");
    assert_eq!(rig.queue(50, 50, "101-200"), "");
    // The queue never empties, but what was delivered then is applied now.
    assert_eq!(rig.queue(55, 50, "101-250"), "");
    assert_eq!(rig.tell(Input::Executed(gtids("1-199"))), "");
    assert_eq!(rig.tell(Input::Executed(gtids("1-200"))), "online");
}

#[test]
fn the_strict_rule_waits_for_an_empty_queue() {
    let mut rig = Rig::joined(
        1,
        Settings {
            online_rule: OnlineRule::QueueEmpty,
            ..retry(10)
        },
    );
    rig.connect();
    rig.tell(Input::Executed(gtids("1-100")));
    rig.tell(Input::DonorStopped { attempt: 1 });
    rig.tell(Input::GroupExecuted(gtids("1-150")));
    assert_eq!(rig.queue(1, 500, "101-170"), "");
    assert_eq!(rig.tell(Input::Executed(gtids("1-170"))), "");
    assert_eq!(rig.queue(0, 1, "101-170"), "online");
}

#[test]
fn stop_ends_every_state() {
    let mut rig = Rig::joined(1, retry(10));
    assert_eq!(rig.tell(Input::Stop), "end");
    assert_eq!(rig.tell(Input::Executed(gtids("1-100"))), "");
    let mut sleeping = Rig::joined(1, retry(10));
    sleeping.fail(ErrorKind::Network);
    assert_eq!(sleeping.machine.phase(), Phase::Sleeping);
    assert_eq!(sleeping.tell(Input::Stop), "end");
}

/// What an earlier attempt still has to say does not concern the present one.
#[test]
fn late_news_of_an_earlier_attempt() {
    let mut rig = Rig::joined(2, retry(10));
    assert_eq!(
        rig.fail(ErrorKind::Authentication),
        "failover:authentication stop:1 connect:2"
    );
    assert_eq!(rig.tell(Input::Connected { attempt: 1 }), "");
    let error = Error::new(ErrorKind::Network, "planted");
    assert_eq!(rig.tell(Input::DonorFailed { attempt: 1, error }), "");
    assert_eq!(rig.tell(Input::DonorStopped { attempt: 1 }), "");
    // Not connected yet: a broken connection is no reason to try the same donor once more.
    assert_eq!(
        rig.fail(ErrorKind::Network),
        "failover:network stop:2 sleep:60"
    );
    assert_eq!(rig.machine.attempts(), 2);
}

/// A view that says what is known already leaves the list of donors as it is, and so does one in
/// which a member cannot be reached for a while; one that changes a state begins it anew.
#[test]
fn only_a_changed_view_begins_the_list_of_donors_anew() {
    let view = |second, third| View {
        members: vec![member(1, Online), member(2, second), member(3, third)],
    };
    let used_up = |news: View| {
        let mut rig = Rig::joined(3, retry(10));
        for _ in 0..2 {
            rig.fail(ErrorKind::Authentication);
        }
        assert_eq!(rig.tell(Input::View(news)), "");
        rig.fail(ErrorKind::Authentication).ends_with("sleep:60")
    };
    assert!(used_up(view(Online, Online)));
    assert!(used_up(view(Online, MemberState::Unreachable)));
    assert!(!used_up(view(Online, Recovering)));
}

/// Whoever tells a view may count the joiner in.
#[test]
fn the_joiner_is_no_donor_of_its_own() {
    let mut rig = Rig::joined(1, retry(10));
    let view = View {
        members: vec![member(9, Online)],
    };
    assert_eq!(rig.tell(Input::View(view)), "");
    assert_eq!(
        rig.fail(ErrorKind::Authentication),
        "failover:authentication stop:1 error:no_donor"
    );
}

#[test]
fn the_log_names_every_state() {
    let mut rig = Rig::new(retry(1));
    let mut seen = vec![rig.machine.state.name()];
    rig.actions();
    rig.own("1-10");
    seen.push(rig.machine.state.name());
    let view = View {
        members: vec![member(1, Online)],
    };
    let cut = Cut::Gtids(gtids("1-100"));
    rig.tell(Input::Joined { view, cut });
    seen.push(rig.machine.state.name());
    rig.connect();
    seen.push(rig.machine.state.name());
    rig.tell(Input::Executed(gtids("1-100")));
    seen.push(rig.machine.state.name());
    rig.tell(Input::DonorStopped { attempt: 1 });
    seen.push(rig.machine.state.name());
    rig.tell(Input::Stop);
    seen.push(rig.machine.state.name());
    let expected = "ReadingOwn Joining Connecting Streaming Stopping CatchUp Ended";
    assert_eq!(seen.join(" "), expected);
}

/// A donor that breaks off twice is tried a third time only if it has brought something between.
#[test]
fn a_broken_connection_counts_anew_only_behind_progress() {
    let broken_twice = |executed_between: &str| {
        let mut rig = Rig::joined(1, retry(10));
        rig.connect();
        assert_eq!(rig.fail(ErrorKind::Network), "stop:1 again:1");
        rig.connect();
        assert_eq!(rig.tell(Input::Executed(gtids(executed_between))), "");
        rig.fail(ErrorKind::Network)
    };
    assert_eq!(broken_twice("1-10"), "failover:network stop:1 sleep:60");
    assert_eq!(broken_twice("1-11"), "stop:1 again:1");
}
