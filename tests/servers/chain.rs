//! A chain: a real group, a member, and behind the member another one and a real server.

use std::path::Path;
use std::time::Duration;

use rejoin::gtid::GtidSet;

use crate::support::donating::{Donating, quick_replica, replicate, wait_for_gtids};
use crate::support::rejoin::{self as tool, Running};
use crate::support::server::{self, Server};
use crate::support::{Scenario, compare, group, reaper, workload};

pub const SCENARIOS: &[Scenario] = &[(
    "chain::a_member_is_a_donor_for_a_member_and_a_server",
    a_member_is_a_donor_for_a_member_and_a_server,
)];

/// Slow enough to be killed in the middle.
const SLOW: &str = "--max-rate=6000000";

fn follow(url: &str, store: &Path) -> Running {
    let mut command = tool::recover(url, store);
    Running::start(command.args(["--follow", "--recovery-reconnect-interval=1"]))
}

/// Waits until the member is ONLINE.
fn online(member: &mut Running) {
    let event = member.wait_for(|event| {
        let last = event["event"] == "online" || event["event"] == "error";
        last.then(|| event.clone())
    });
    let event = event.expect("it does not end");
    assert_eq!(event["event"], "online", "{event}");
}

/// Waits until the store has executed all of `gtids`.
fn wait_for_store(judge: &Server, store: &Path, gtids: &str) {
    server::wait_until("the store has everything", Duration::from_secs(120), || {
        let executed = tool::executed(store);
        judge.sql(&format!("SELECT GTID_SUBSET('{gtids}', '{executed}')")) == "1"
    });
}

/// The group is written to all the while; two members follow it. The donor of one is killed while it
/// sends to a third member, which goes on with the donor of the other; started again, it is killed
/// while it sends to a server, and started once more.
fn a_member_is_a_donor_for_a_member_and_a_server() {
    let group = group::shared();
    let directory = reaper::directory();
    let stores = ["first", "second", "third"].map(|name| directory.path().join(name));
    let [first, second, third] = &stores;
    let writer = workload::Writer::start(&group);
    let mut members = [first, second].map(|store| follow(&group.url(), store));
    for member in &mut members {
        online(member);
    }

    let dying = Donating::start("--store", first, 0, &[SLOW]);
    let lasting = Donating::start("--store", second, 0, &[]);
    let mut joiner = follow(&server::url(&[dying.port, lasting.port]), third);
    let transactions = joiner.wait_for(|event| {
        let transactions = event["transactions"].as_u64().filter(|count| *count > 5000);
        transactions.filter(|_| event["event"] == "progress")
    });
    dying.kill();
    let transactions = transactions.expect("it does not end");
    online(&mut joiner);
    let failovers = joiner.events();
    let failovers = failovers
        .iter()
        .filter(|event| event["event"] == "failover");
    assert!(failovers.count() > 0, "killed at {transactions}");

    let donor = Donating::start("--store", first, 0, &[SLOW]);
    let port = donor.port;
    let replica = quick_replica();
    replicate(&replica, port);
    server::wait_until("the transfer is under way", Duration::from_secs(60), || {
        let executed: GtidSet = replica.executed().parse().expect("a GTID set");
        executed.count() > 1000
    });
    donor.kill();
    let donor = Donating::start("--store", first, port, &[]);

    assert!(writer.stop() > 0);
    let executed = group.settle();
    let judge = group.online().expect("it is ONLINE");
    for store in &stores {
        wait_for_store(judge, store, &executed);
    }
    wait_for_gtids(&replica, &executed, Duration::from_secs(300));
    for member in members.into_iter().chain([joiner]) {
        member.interrupt();
        member.wait().expect_online();
    }
    for store in &stores {
        compare::assert_same_gtids(judge, &tool::executed(store), &executed);
        compare::assert_same_rows(store, judge);
    }
    for (table, _) in compare::tables(judge) {
        let sum = format!("CHECKSUM TABLE {table}");
        assert_eq!(judge.sql(&sum), replica.sql(&sum));
    }
    donor.stop();
    lasting.stop();
}
