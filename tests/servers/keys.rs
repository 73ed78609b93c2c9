//! Tables made with `sql_log_bin=0` on all members of a real group whose logs tell no keys: the group's
//! `information_schema` does, where it speaks of the table that the events meant.

use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use rejoin::target::schema::TableName;
use rejoin::target::store::Store;

use crate::support::donating::{Donating, replicate, wait_for_gtids};
use crate::support::group::{Group, Member};
use crate::support::rejoin as tool;
use crate::support::server::Server;
use crate::support::{Scenario, prefix, reaper};

pub const SCENARIOS: &[Scenario] = &[(
    "keys::of_tables_made_outside_the_log",
    of_tables_made_outside_the_log,
)];

const OUTSIDE: &str = "
CREATE TABLE d.told (a INT NOT NULL, b VARCHAR(20) COLLATE utf8mb4_bin NOT NULL, c DECIMAL(10, 2),
    f BIGINT UNSIGNED NOT NULL, PRIMARY KEY (b(3), f));
CREATE TABLE d.rested (n INT, k CHAR(5) COLLATE latin1_bin NOT NULL PRIMARY KEY, e ENUM('x', 'y'), g INT AS (n + 1));
CREATE TABLE d.altered (a INT NOT NULL, b INT NOT NULL, PRIMARY KEY (a));
CREATE TABLE d.name (a INT NOT NULL, b INT NOT NULL, PRIMARY KEY (a));
CREATE TABLE d.other (a INT NOT NULL, b INT NOT NULL, PRIMARY KEY (b));
SET sql_generate_invisible_primary_key = ON;
CREATE TABLE d.made_up (a INT);
";

/// The name goes to another table, made as long ago, while rows are written; the last rows are those of one
/// table only.
const ROWS: &str = "
INSERT INTO d.rested (n, k, e) VALUES (1, 'c', 'x'), (2, 'a', 'y'), (3, 'b', NULL);
INSERT INTO d.altered VALUES (2, 1), (1, 2);
INSERT INTO d.made_up VALUES (2), (1);
INSERT INTO d.name VALUES (1, 9), (2, 9);
INSERT INTO d.other VALUES (1, 2), (1, 1);
RENAME TABLE d.name TO d.gone, d.other TO d.name;
INSERT INTO d.name VALUES (1, 0);
INSERT INTO d.told VALUES (1, 'zebra', 1.5, 1), (2, 'zealot', 2, 2), (3, 'apple', NULL, 9);
INSERT INTO d.told VALUES (4, 'zebu', 0, 18446744073709551615), (5, 'zero', 7, 0);
";

/// Runs statements that no log has.
fn outside(server: &Server, statements: &str) {
    server.sql(&format!(
        "SET sql_log_bin = OFF; SET GLOBAL super_read_only = OFF; SET GLOBAL read_only = OFF; {statements}"
    ));
}

fn outside_everywhere(group: &Group, statements: &str) {
    let primary = group.wait_primary().port;
    for member in group.members() {
        outside(member, statements);
        if member.port != primary {
            member.sql("SET GLOBAL super_read_only = ON");
        }
    }
}

/// The key of a table of the store, as its own log tells it: columns by their places.
fn key(store: &Path, table: &str) -> Vec<usize> {
    let snapshot = Store::open_read_only(store).expect("a store");
    let definition = snapshot.definition(&TableName::new("d", table));
    let key = &definition.expect("a table").primary_key;
    key.iter().map(|part| part.column).collect()
}

fn recover(group: &Group, store: &Path) {
    group.settle();
    tool::run(&mut tool::recover(&group.url(), store)).expect_online();
}

fn of_tables_made_outside_the_log() {
    let group = Group::start(2);
    let primary: &Member = group.wait_primary();
    primary.sql("CREATE DATABASE IF NOT EXISTS d");
    group.settle();
    outside_everywhere(&group, OUTSIDE);
    // The tables have to be older than their rows by a second.
    thread::sleep(Duration::from_secs(2));
    primary.sql(ROWS);
    group.settle();
    thread::sleep(Duration::from_secs(1));
    outside_everywhere(
        &group,
        "ALTER TABLE d.altered DROP PRIMARY KEY, ADD PRIMARY KEY (b)",
    );

    let directory = reaper::directory();
    let store = directory.path().join("store");
    recover(&group, &store);
    for (table, expected) in [
        ("told", &[1, 3][..]),
        ("rested", &[1]),
        ("made_up", &[0]),
        // Asked for by its new name, and not by the one of the table that had it before.
        ("name", &[1]),
        ("gone", &[]),
        // Altered behind its last rows.
        ("altered", &[]),
    ] {
        assert_eq!(key(&store, table), expected, "{table}");
    }
    for (table, query) in [
        ("told", "SELECT * FROM d.told ORDER BY LEFT(b, 3), f"),
        // Of an ENUM, minimal metadata tells the numbers alone.
        ("rested", "SELECT n, k, e + 0, g FROM d.rested ORDER BY k"),
        ("name", "SELECT * FROM d.name ORDER BY b"),
    ] {
        let expected = primary.sql_bytes(query).expect("the table is there");
        let dump = tool::dump(&store, &format!("d.{table}"));
        assert_eq!(
            String::from_utf8_lossy(&dump),
            String::from_utf8_lossy(&expected),
            "{table}"
        );
    }
    mysqlbinlog_shows_the_keys(&store);

    // Rows that are written later than the table was altered, by a second, are of the key that it has now.
    thread::sleep(Duration::from_secs(2));
    primary.sql("INSERT INTO d.altered VALUES (3, 0)");
    recover(&group, &store);
    assert_eq!(key(&store, "altered"), [1]);
    assert_eq!(tool::dump(&store, "d.altered"), b"3\t0\n2\t1\n1\t2\n");
    a_replica_takes_them(&store, primary);
}

fn mysqlbinlog_shows_the_keys(store: &Path) {
    let prefix = prefix::mysql().expect("scenarios run only where MySQL is there");
    let output = Command::new(prefix.join("bin/mysqlbinlog"))
        .args(["--verify-binlog-checksum", "--print-table-metadata", "-vv"])
        .arg("--base64-output=DECODE-ROWS")
        .arg(store.join("binlog.000001"))
        .output()
        .expect("mysqlbinlog starts");
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && errors.is_empty(), "{errors}");
    let lines = text.lines().filter(|line| line.contains("Primary Key("));
    let keys: Vec<_> = lines.map(|line| line.trim_start_matches("# ")).collect();
    let expected = [
        // The source's own map of `made_up`: mysqlbinlog sees it by a flag.
        "Primary Key(my_row_id)",
        "Primary Key(1)",
        "Primary Key(my_row_id)",
        "Primary Key(1)",
        "Primary Key(1(3), 3)",
    ];
    assert_eq!(keys, expected, "{text}");
}

/// A server that has the tables from elsewhere, as the members have.
fn a_replica_takes_them(store: &Path, primary: &Member) {
    let donor = Donating::start("--store", store, 0, &[]);
    let replica = Server::standalone(&[]);
    outside(&replica, &format!("CREATE DATABASE d; {OUTSIDE}"));
    replicate(&replica, donor.port);
    wait_for_gtids(&replica, &primary.executed(), Duration::from_secs(60));
    for table in ["told", "rested", "made_up", "name", "gone", "altered"] {
        let rows = format!("SELECT * FROM d.{table} ORDER BY 1, 2 DESC");
        let rows = rows.replace(
            "d.made_up ORDER BY 1, 2 DESC",
            "d.made_up ORDER BY my_row_id",
        );
        assert_eq!(replica.sql(&rows), primary.sql(&rows), "{table}");
    }
}
