//! A chain of donors: a real group, a member of ours, and behind that another one and a real server.

use std::thread;
use std::time::{Duration, Instant};

use rejoin::gtid::GtidSet;

use crate::support::donating::{Donating, replicate, wait_for_gtids};
use crate::support::rejoin::{self as tool, Running};
use crate::support::server::{self, Server};
use crate::support::workload::Writer;
use crate::support::{Scenario, compare, group, reaper};

pub const SCENARIOS: &[Scenario] = &[(
    "chain::goes_on_when_donors_are_killed",
    goes_on_when_donors_are_killed,
)];

fn goes_on_when_donors_are_killed() {
    let group = group::shared();
    let directory = reaper::directory();
    let (first, second) = (directory.path().join("1"), directory.path().join("2"));
    let writer = Writer::start(&group);
    let sent: Vec<(u16, u64)> = group
        .members()
        .iter()
        .map(|member| (member.port, member.bytes_sent()))
        .collect();
    let recover = |url: &str, store| {
        let mut command = tool::recover(url, store);
        command.args(["--recovery-reconnect-interval", "1"]);
        command
    };
    let mut follower = Running::start(recover(&group.url(), &first).arg("--follow"));
    let donor = follower
        .wait_for(|event| (event["event"] == "donor").then(|| event["port"].as_u64()))
        .flatten()
        .and_then(|port| u16::try_from(port).ok())
        .expect("a donor is chosen");
    let before = sent.iter().find(|(port, _)| *port == donor);
    let killed = group.member(donor);
    killed.kill_in_mid_transfer(before.expect("a member").1);
    follower
        .wait_for(|event| (event["event"] == "online").then_some(()))
        .expect("it gets ONLINE");

    // Slow enough to be killed in the middle.
    let slow = ["--max-rate=10000000"];
    let donating = Donating::start("--store", &first, 0, &slow);
    let (port, url) = (donating.port, server::url(&[donating.port]));
    // The log of a member has what parallel appliers need.
    let replica = Server::standalone(&[
        "--innodb-flush-log-at-trx-commit=0",
        "--replica-parallel-workers=4",
        "--replica-preserve-commit-order=ON",
    ]);
    replicate(&replica, port);
    let mut joiner = Running::start(&mut recover(&url, &second));
    let transferred = joiner.wait_for(|event| {
        let transactions = event["transactions"].as_u64()?;
        (event["event"] == "progress" && transactions > 0).then_some(transactions)
    });
    assert!(
        transferred < Some(100_000),
        "it was too late to kill the donor: {transferred:?}"
    );
    donating.kill();
    // Back only when its absence was noticed: sooner, the joiner goes on as after a broken connection.
    joiner
        .wait_for(|event| (event["event"] == "failover").then_some(()))
        .expect("it gives up the donor that is gone");
    let donating = Donating::start("--store", &first, port, &[]);
    let joined = joiner.wait();
    joined.expect_online();

    // On a busy machine the group may still look for its next primary.
    let asked = Instant::now();
    while writer.written() == 0 {
        assert!(asked.elapsed() < Duration::from_secs(120), "nobody writes");
        thread::sleep(Duration::from_millis(50));
    }
    let written = writer.stop();
    let executed = group.settle();
    wait_for_gtids(&replica, &executed, Duration::from_secs(900));
    let again = tool::run(&mut recover(&url, &second));
    again.expect_online();
    follower.interrupt();
    follower.wait().expect_online();
    donating.stop();
    let member = group.online().expect("two are left");
    for store in [&first, &second] {
        compare::assert_same_gtids(member, &tool::executed(store), &executed);
        compare::assert_same_rows(store, member);
    }
    compare::assert_same_gtids(member, &replica.executed(), &executed);
    let count = executed.parse::<GtidSet>().expect("a GTID set").count();
    assert!(count >= 100_000);
    for (table, _) in compare::tables(member) {
        let sum = format!("CHECKSUM TABLE {table}");
        assert_eq!(member.sql(&sum), replica.sql(&sum));
    }
    eprintln!("{count} transactions, {written} of them meanwhile, on all four");
    group.heal();
}
