//! Clones of a real group's members: when nobody has the binary logs any more, when the gap is too
//! large, when connections break, and when `rejoin` is killed.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rand::RngExt;
use rejoin::gtid::GtidSet;
use rejoin::target::schema::TableName;
use rejoin::target::store::Store;

use crate::support::group::Group;
use crate::support::reaper::{self, Directory};
use crate::support::rejoin::{self as tool, Outcome, Running};
use crate::support::server::Server;
use crate::support::workload::{MIXED, Writer};
use crate::support::{Scenario, compare};

pub const SCENARIOS: &[Scenario] = &[(
    "clone::of_members_that_have_purged_their_logs",
    of_members_that_have_purged_their_logs,
)];

/// Tables, types and keys that the mixed workload does not have, and changes of them for later.
const ODD: &str = include_str!("../support/odd.sql");
const PECULIAR: &str = include_str!("../support/clone.sql");
const PECULIAR_CHANGES: &str = include_str!("../support/clone_changes.sql");

fn store() -> (Directory, PathBuf) {
    let directory = reaper::directory();
    let store = directory.path().join("store");
    (directory, store)
}

/// One group for all of it: what one part leaves behind is where the next begins.
fn of_members_that_have_purged_their_logs() {
    let group = Arc::new(Group::loaded(2, &MIXED));
    let primary = group.wait_primary();
    primary.sql("GRANT RELOAD ON *.* TO recovery@'%'");
    primary.sql(ODD);
    primary.sql(PECULIAR);
    group.settle();
    for member in group.members() {
        purge(member);
    }
    let (_directory, store) = store();
    everything_is_cloned_beside_a_writer(&group, &store);
    changes_behind_a_clone_fit_its_rows(&group, &store);
    connections_break(&group);
    too_large_a_gap_is_cloned_and_kills_leave_old_or_new(&group, &store);
}

fn purge(member: &Server) {
    member.sql("FLUSH BINARY LOGS");
    let last = member.sql("SHOW BINARY LOG STATUS");
    let file = last.split('\t').next().expect("a file name");
    member.sql(&format!("PURGE BINARY LOGS TO '{file}'"));
}

/// Checks that the run planned and made a clone.
fn expect_cloned(outcome: &Outcome) {
    outcome.expect_online();
    let plans = outcome.events("plan");
    assert_eq!(plans.len(), 1, "{}", outcome.story());
    assert_eq!(plans[0]["method"], "clone", "{}", outcome.story());
    let clones = outcome.events("clone");
    let last = clones.last().expect("a clone is told about");
    assert_eq!(last["state"], "complete", "{}", outcome.story());
    assert_eq!(last["tables"], last["tables_copied"], "{last}");
}

/// Brings the store up to date with the group at rest and compares every row.
fn finish_and_compare(group: &Group, store: &Path) {
    let executed = group.settle();
    tool::run(&mut tool::recover(&group.url(), store)).expect_online();
    let member = group.online().expect("the group is there");
    compare::assert_same_gtids(member, &tool::executed(store), &executed);
    let snapshot = Store::open_read_only(store).expect("a store");
    let tables = compare::tables(member);
    assert_eq!(snapshot.tables().count(), tables.len());
    for (table, key) in tables {
        let (database, name) = table.split_once('.').expect("two names");
        let mut dumped = Vec::new();
        snapshot
            .dump(&TableName::new(database, name), &mut dumped)
            .unwrap_or_else(|error| panic!("{table}: {error}"));
        let expected = member
            .sql_bytes(&format!("SELECT * FROM {table} ORDER BY {key}"))
            .unwrap_or_else(|error| panic!("{table}: {error}"));
        compare::assert_same_text(&table, member, &dumped, &expected);
    }
}

fn everything_is_cloned_beside_a_writer(group: &Arc<Group>, store: &Path) {
    let writer = Writer::start(group);
    let outcome = tool::run(&mut tool::recover(&group.url(), store));
    let written = writer.stop();
    expect_cloned(&outcome);
    assert!(written > 0);
    eprintln!(
        "cloned and ONLINE after {:.1} s, beside {written} transactions: {}",
        outcome.took.as_secs_f32(),
        outcome.events("clone").last().expect("told about")
    );
    finish_and_compare(group, store);
}

/// Row events, partial JSON and schema changes among them, find the cloned rows.
fn changes_behind_a_clone_fit_its_rows(group: &Group, store: &Path) {
    group.wait_primary().sql(PECULIAR_CHANGES);
    group.settle();
    let outcome = tool::run(&mut tool::recover(&group.url(), store));
    outcome.expect_online();
    assert!(outcome.events("clone").is_empty(), "{}", outcome.story());
    finish_and_compare(group, store);
}

/// A million rows and more; all sessions of a snapshot are killed three times while they are copied,
/// beside a writer: the clone goes on where it was.
fn connections_break(group: &Arc<Group>) {
    const ROWS: u64 = 1_000_000;
    /// Waits within the server, where it takes no time to see that the table is being read.
    const CUT: &str = "CREATE PROCEDURE peculiar.cut()
         BEGIN
             DECLARE gone, looks INT DEFAULT 0;
             DECLARE victim BIGINT;
             DECLARE victims CURSOR FOR
                 SELECT p.id FROM performance_schema.processlist p
                 JOIN information_schema.innodb_trx t ON t.trx_mysql_thread_id = p.id
                 WHERE p.user = 'recovery';
             DECLARE CONTINUE HANDLER FOR NOT FOUND SET gone = 1;
             DECLARE CONTINUE HANDLER FOR 1094 BEGIN END;
             WHILE NOT EXISTS (SELECT * FROM performance_schema.processlist
                     WHERE user = 'recovery' AND info LIKE 'SELECT%`bulk` WHERE%') DO
                 DO SLEEP(0.002);
                 SET looks = looks + 1;
                 IF looks > 30000 THEN
                     SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'nobody reads the table';
                 END IF;
             END WHILE;
             OPEN victims;
             FETCH victims INTO victim;
             WHILE NOT gone DO
                 KILL victim;
                 FETCH victims INTO victim;
             END WHILE;
             CLOSE victims;
         END";
    let primary = group.wait_primary();
    primary.sql("CREATE TABLE peculiar.bulk (id INT PRIMARY KEY, name VARCHAR(40), n INT)");
    // One statement for the client as well.
    primary.sql(&format!("DELIMITER //\n{CUT} //\nDELIMITER ;"));
    for part in 0..ROWS / 100_000 {
        primary.sql(&format!(
            "SET SESSION cte_max_recursion_depth = 100000;
             INSERT INTO peculiar.bulk
             WITH RECURSIVE r (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM r WHERE i < 100000)
             SELECT i + {part} * 100000, CONCAT('row ', i), i % 1000 FROM r"
        ));
    }
    group.settle();
    let (_directory, store) = store();
    let writer = Writer::start(group);
    let mut running = Running::start(&mut tool::recover(&group.url(), &store));
    let donor = running
        .wait_for(|event| (event["event"] == "clone").then(|| event["port"].as_u64()))
        .flatten()
        .and_then(|port| u16::try_from(port).ok())
        .expect("a member is cloned");
    for _ in 0..3 {
        group.member(donor).sql("CALL peculiar.cut()");
    }
    let outcome = running.wait();
    writer.stop();
    expect_cloned(&outcome);
    let clones = outcome.events("clone");
    let last = clones.last().expect("told about");
    eprintln!(
        "cut three times, ONLINE after {:.1} s: {last}",
        outcome.took.as_secs_f32()
    );
    assert!(last["snapshots"].as_u64() > Some(3), "{}", outcome.story());
    let rows = last["rows"].as_u64().expect("a number");
    assert!((ROWS..ROWS * 3 / 2).contains(&rows), "{rows} rows fetched");
    finish_and_compare(group, &store);
    primary.sql("DROP TABLE peculiar.bulk; DROP PROCEDURE peculiar.cut");
}

fn copy_directory(from: &Path, to: &Path) {
    std::fs::create_dir(to).expect("a directory");
    for entry in std::fs::read_dir(from).expect("the directory is there") {
        let entry = entry.expect("an entry");
        let to = to.join(entry.file_name());
        if entry.file_type().expect("a type").is_dir() {
            copy_directory(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).expect("it can be copied");
        }
    }
}

/// A clone takes the place of data that is there, and a kill at any moment leaves one or the other.
fn too_large_a_gap_is_cloned_and_kills_leave_old_or_new(group: &Group, store: &Path) {
    let member = group.online().expect("the group is there");
    let old: GtidSet = tool::executed(store).parse().expect("a GTID set");
    let old_rows = rows_of(store);
    group
        .wait_primary()
        .sql("CALL shop.mixed(900000000, 300); DELETE FROM peculiar.by_number");
    let executed = group.settle();
    let new: GtidSet = executed.parse().expect("a GTID set");
    let copy = |to: &Path| {
        let _ = std::fs::remove_dir_all(to);
        copy_directory(store, to);
    };
    let (_directory, trial) = self::store();
    let recover = || {
        let mut command = tool::recover(&group.url(), &trial);
        command.args(["--clone-threshold", "1"]);
        command
    };
    copy(&trial);
    let whole = tool::run(&mut recover());
    expect_cloned(&whole);
    let new_rows = rows_of(&trial);
    compare::assert_same_gtids(member, &tool::executed(&trial), &executed);
    assert!(new_rows != old_rows);

    let (mut was_old, mut was_new) = (0, 0);
    for _ in 0..10 {
        copy(&trial);
        let delay = whole.took.mul_f64(rand::rng().random_range(0.1..1.05));
        Running::start(&mut recover()).kill_after(delay);
        let found: GtidSet = tool::executed(&trial).parse().expect("a GTID set");
        let rows = rows_of(&trial);
        if found == old {
            assert!(rows == old_rows, "the old GTIDs with other rows");
            was_old += 1;
        } else {
            assert_eq!(found, new, "neither the old set nor the new");
            assert!(rows == new_rows, "the new GTIDs with other rows");
            was_new += 1;
        }
    }
    eprintln!("killed ten times: {was_old} times the old data, {was_new} times the new");
}

/// All rows of all tables, as they print.
fn rows_of(store: &Path) -> Vec<u8> {
    let snapshot = Store::open_read_only(store).expect("a store");
    let mut out = Vec::new();
    for table in snapshot.tables() {
        out.extend_from_slice(format!("{table}\n").as_bytes());
        snapshot.dump(table, &mut out).expect("rows that print");
    }
    out
}
