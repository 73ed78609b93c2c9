//! Recovery from a real group of three that takes writes: to its end, through the death of the
//! donor, and through the death of `rejoin` itself. In the end the store holds the members' rows.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rand::RngExt;
use rejoin::gtid::GtidSet;
use serde_json::Value;

use crate::support::group::{self, Group};
use crate::support::reaper::{self, Directory};
use crate::support::rejoin::{self as tool, Running};
use crate::support::workload::Writer;
use crate::support::{Scenario, compare};

pub const SCENARIOS: &[Scenario] = &[
    (
        "recover::takes_over_what_an_ordinary_workload_does_not_have",
        takes_over_what_an_ordinary_workload_does_not_have,
    ),
    (
        "recover::reaches_online_while_the_group_takes_writes",
        reaches_online_while_the_group_takes_writes,
    ),
    (
        "recover::follows_the_group_until_told_to_stop",
        follows_the_group_until_told_to_stop,
    ),
    (
        "recover::takes_another_donor_when_one_is_killed",
        takes_another_donor_when_one_is_killed,
    ),
    (
        "recover::goes_on_after_being_killed_ten_times",
        goes_on_after_being_killed_ten_times,
    ),
];

/// A directory for one store, which does not exist yet.
fn store() -> (Directory, PathBuf) {
    let directory = reaper::directory();
    let store = directory.path().join("store");
    (directory, store)
}

/// Brings the store up to date with a group that is at rest, and compares everything with a member.
fn finish_and_compare(group: &Group, store: &Path) {
    let executed = group.settle();
    let outcome = tool::run(&mut tool::recover(&group.url(), store));
    let online = outcome.expect_online();
    let member = group.online().expect("the group is there");
    compare::assert_same_gtids(member, text(&online["gtid_executed"]), &executed);
    compare::assert_same_gtids(member, &tool::executed(store), &executed);
    let rows = compare::assert_same_rows(store, member);
    assert!(rows > 10_000, "{rows} rows are not the workload's");
}

fn text(value: &Value) -> &str {
    value
        .as_str()
        .unwrap_or_else(|| panic!("{value} is not text"))
}

fn port(value: &Value) -> u16 {
    value["port"]
        .as_u64()
        .and_then(|port| port.try_into().ok())
        .unwrap_or_else(|| panic!("{value} has no port"))
}

fn reaches_online_while_the_group_takes_writes() {
    let group = group::shared();
    let (_directory, store) = store();
    let writer = Writer::start(&group);
    let before: GtidSet = group
        .online()
        .expect("it is ONLINE")
        .executed()
        .parse()
        .expect("a GTID set");
    let outcome = tool::run(&mut tool::recover(&group.url(), &store));
    let written = writer.stop();
    let online = outcome.expect_online();
    eprintln!(
        "ONLINE after {:.1} s, beside {written} transactions: {online}",
        outcome.took.as_secs_f32()
    );
    assert!(written > 0);
    assert_eq!(outcome.events("plan").len(), 1, "{}", outcome.story());
    assert_eq!(
        outcome.events("plan")[0]["method"],
        "binlog",
        "{}",
        outcome.story()
    );
    assert_eq!(outcome.events("donor").len(), 1, "{}", outcome.story());
    assert!(online["transactions"].as_u64() >= Some(100_000), "{online}");
    // Declared ONLINE means: everything that the group had executed at the join is here.
    let reached: GtidSet = text(&online["gtid_executed"]).parse().expect("a GTID set");
    assert!(before.is_subset(&reached), "{before} is not in {reached}");
    finish_and_compare(&group, &store);

    // Nothing is missing now: no transaction is applied twice.
    let again = tool::run(&mut tool::recover(&group.url(), &store));
    assert_eq!(
        again.expect_online()["transactions"],
        0,
        "{}",
        again.story()
    );
}

fn follows_the_group_until_told_to_stop() {
    let group = group::shared();
    let (_directory, store) = store();
    let writer = Writer::start(&group);
    let mut running = Running::start(tool::recover(&group.url(), &store).arg("--follow"));
    running
        .wait_for(|event| (event["event"] == "online").then_some(()))
        .expect("it gets ONLINE");
    let at_online = writer.written();
    while writer.written() < at_online + 1_000 {
        thread::sleep(Duration::from_millis(10));
    }
    writer.stop();
    let executed = group.settle();
    // Whoever is ONLINE applies what the group delivers without being asked again.
    thread::sleep(Duration::from_secs(3));
    running.interrupt();
    let outcome = running.wait();
    outcome.expect_online();
    compare::assert_same_gtids(&group.members()[0], &tool::executed(&store), &executed);
    finish_and_compare(&group, &store);
}

fn takes_another_donor_when_one_is_killed() {
    // On a busy machine the whole transfer may be over before this process has its turn to kill.
    let killed_in_time = (0..3).any(|_| kill_the_donor_half_way());
    assert!(killed_in_time, "three transfers were over too soon");
}

/// Whether the donor was killed before its transfer was over.
fn kill_the_donor_half_way() -> bool {
    let group = group::shared();
    let (_directory, store) = store();
    let writer = Writer::start(&group);
    let sent: Vec<(u16, u64)> = group
        .members()
        .iter()
        .map(|member| (member.port, member.bytes_sent()))
        .collect();
    let mut running = Running::start(
        tool::recover(&group.url(), &store).args(["--recovery-reconnect-interval", "1"]),
    );
    let first = running
        .wait_for(|event| (event["event"] == "donor").then(|| port(event)))
        .expect("a donor is chosen");
    let (_, before) = sent
        .iter()
        .find(|(port, _)| *port == first)
        .expect("a member");
    group.member(first).kill_in_mid_transfer(*before);
    let killed_at = Instant::now();
    let outcome = running.wait();
    eprintln!(
        "ONLINE {:.1} s after its donor was killed",
        killed_at.elapsed().as_secs_f32()
    );
    writer.stop();

    let online = outcome.expect_online();
    let donors: Vec<u16> = outcome
        .events("donor")
        .iter()
        .map(|event| port(event))
        .collect();
    if donors.len() == 1 {
        assert!(online["transactions"].as_u64() >= Some(100_000), "{online}");
        return false;
    }
    assert_ne!(donors.last(), Some(&first), "{}", outcome.story());
    let failover = outcome.events("failover");
    assert_eq!(
        port(failover.first().expect("the failover is told")),
        first,
        "{}",
        outcome.story()
    );
    assert!(!text(&failover[0]["reason"]).is_empty());
    assert!(online["attempts"].as_u64() >= Some(2), "{online}");
    for donor in [first, *donors.last().expect("two")] {
        assert!(
            outcome.stderr.contains(&donor.to_string()),
            "the log names {donor}: {}",
            outcome.story()
        );
    }
    // Those that are left settle among themselves before the killed one comes back.
    finish_and_compare(&group, &store);
    group.heal();
    finish_and_compare(&group, &store);
    true
}

fn goes_on_after_being_killed_ten_times() {
    let group = group::shared();
    let (_directory, store) = store();
    let seed: u64 = rand::random();
    eprintln!("seed {seed}");
    let mut random = <rand::rngs::StdRng as rand::SeedableRng>::seed_from_u64(seed);
    let writer = Writer::start(&group);
    let mut before = GtidSet::new();
    let mut kills = 0;
    while kills < 10 {
        // Short and long lives: the first falls into the start, others into transfer and following.
        let life = Duration::from_millis(random.random_range(20..1_000));
        let run = Running::start(tool::recover(&group.url(), &store).arg("--follow"));
        let outcome = run.kill_after(life);
        assert_eq!(
            outcome.code,
            None,
            "it ended by itself: {}",
            outcome.story()
        );
        kills += 1;
        if store.exists() {
            let now: GtidSet = tool::executed(&store).parse().expect("a GTID set");
            assert!(
                before.is_subset(&now),
                "after kill {kills}: {before} is not in {now}"
            );
            before = now;
        }
    }
    writer.stop();
    assert!(
        !before.is_empty(),
        "no run lived long enough to apply anything"
    );
    finish_and_compare(&group, &store);
}

/// Keys of every type, schema changes with rows there, transactions of every form.
fn takes_over_what_an_ordinary_workload_does_not_have() {
    let group = Group::start(1);
    let founder = &group.members()[0];
    founder.sql(include_str!("../support/odd.sql"));
    let (_directory, store) = store();
    let outcome = tool::run(&mut tool::recover(&group.url(), &store));
    let online = outcome.expect_online();
    compare::assert_same_gtids(founder, text(&online["gtid_executed"]), &founder.executed());
    compare::assert_same_rows(&store, founder);
}
