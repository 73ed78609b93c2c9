//! The test bed: what the other scenarios take for granted.

use std::sync::Arc;

use rejoin::gtid::GtidSet;

use crate::support::group::{self, Group};
use crate::support::server::Server;
use crate::support::workload::{self, Writer};
use crate::support::{Scenario, compare};

pub const SCENARIOS: &[Scenario] = &[
    (
        "bed::standalone_takes_options_and_survives_a_kill",
        standalone_takes_options_and_survives_a_kill,
    ),
    (
        "bed::group_takes_writes_through_the_death_of_its_primary",
        group_takes_writes_through_the_death_of_its_primary,
    ),
    (
        "bed::workload_is_large_and_the_same_on_every_member",
        workload_is_large_and_the_same_on_every_member,
    ),
];

fn standalone_takes_options_and_survives_a_kill() {
    let server = Server::standalone(&["--binlog-checksum=NONE"]);
    assert_eq!(
        server.sql("SELECT @@binlog_checksum, @@gtid_executed"),
        "NONE\t"
    );
    server
        .sql("CREATE DATABASE d; CREATE TABLE d.t (a INT PRIMARY KEY); INSERT INTO d.t VALUES (1)");
    let files = server.binary_logs().len();
    server.restart();
    assert_eq!(server.sql("SELECT a FROM d.t"), "1");
    assert_eq!(server.executed(), format!("{}:1-3", server.uuid()));
    assert_eq!(
        server.binary_logs().len(),
        files + 1,
        "a killed server begins another file"
    );
    server.stop_process();
    server.cont();
    server.shutdown();
}

fn group_takes_writes_through_the_death_of_its_primary() {
    let group = group::shared();
    let writer = Writer::start(&group);
    let first = group.wait_primary();
    while writer.written() == 0 {
        std::thread::yield_now();
    }
    first.kill();
    assert_ne!(group.wait_primary().port, first.port);
    let before = writer.written();
    while writer.written() == before {
        std::thread::yield_now();
    }
    writer.stop();
    group.heal();
    let executed = group.settle();
    compare::assert_same_gtids(first, &first.executed(), &executed);
}

fn workload_is_large_and_the_same_on_every_member() {
    let group: Arc<Group> = group::shared();
    let executed: GtidSet = group.members()[0].executed().parse().expect("a GTID set");
    assert!(executed.count() >= 100_000, "{executed}");
    for (table, _) in compare::tables(&group.members()[0]) {
        let sums: Vec<String> = group
            .members()
            .iter()
            .map(|member| member.sql(&format!("CHECKSUM TABLE {table}")))
            .collect();
        assert!(sums.windows(2).all(|pair| pair[0] == pair[1]), "{sums:?}");
    }
    assert!(workload::SMALL.template().is_dir());
}
