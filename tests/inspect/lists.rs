//! The same events at the same offsets.

use std::fs;

use crate::support::Scenario;
use crate::support::reaper;
use crate::support::server::Server;
use crate::{data, oracle};

pub const SCENARIOS: &[Scenario] = &[
    ("lists::of_the_logs_in_the_repository", repository),
    ("lists::of_a_fresh_server", fresh),
    ("lists::of_a_server_that_was_killed", killed),
];

/// Every kind of event that a server of 9.7 writes.
pub const WORKLOAD: &str = "
CREATE DATABASE l; USE l;
CREATE TABLE t (id INT UNSIGNED PRIMARY KEY AUTO_INCREMENT, n TINYINT, u BIGINT UNSIGNED, f FLOAT,
    d DOUBLE, c DECIMAL(20,5), b BIT(13), y YEAR, da DATE, tm TIME(3), dt DATETIME(6), ts TIMESTAMP(2) NULL,
    vc VARCHAR(50), tx TEXT, vb VARBINARY(9), en ENUM('a','b','c'), se SET('p','q','r'), js JSON);
INSERT INTO t VALUES (1, -5, 18446744073709551615, 1.5, -2.25, -1234.5678, b'1010101010101', 2026,
    '2026-11-21', '-12:34:56.789', '2026-11-21 01:02:03.000004', '2026-11-21 01:02:03.45', 'it''s', 'x\\ny',
    'cd', 'b', 'p,r', '{\"a\": [1, 2.5, null, \"x\"]}');
INSERT INTO t (n) VALUES (NULL), (127), (-128);
UPDATE t SET vc = 'changed', js = JSON_SET(js, '$.b', 7) WHERE id = 1;
SET binlog_row_value_options = PARTIAL_JSON;
UPDATE t SET js = JSON_SET(js, '$.a[0]', 9) WHERE id = 1;
SET binlog_row_value_options = '', binlog_row_image = MINIMAL;
UPDATE t SET n = 3 WHERE id = 2;
DELETE FROM t WHERE id = 3;
SET binlog_row_image = FULL, binlog_rows_query_log_events = ON;
UPDATE t SET n = 4 WHERE id = 2;
SET binlog_rows_query_log_events = OFF, binlog_transaction_compression = ON;
BEGIN; INSERT INTO t (tx) VALUES (REPEAT('z', 5000)); UPDATE t SET n = 5; COMMIT;
SET binlog_transaction_compression = OFF, binlog_format = STATEMENT;
SET @v = 'x', @i = 7, @d = 1.5, @n = NULL;
INSERT INTO t (vc, n) VALUES (@v, @i), (@n, RAND() * 10);
INSERT INTO t (u) SELECT LAST_INSERT_ID();
SET binlog_format = ROW;
XA START 'g1', 'b1', 7; INSERT INTO t (n) VALUES (6); XA END 'g1', 'b1', 7; XA PREPARE 'g1', 'b1', 7; XA COMMIT 'g1', 'b1', 7;
XA START 'g2'; INSERT INTO t (n) VALUES (7); XA END 'g2'; XA COMMIT 'g2' ONE PHASE;
CREATE TABLE p (a INT PRIMARY KEY, b INT) PARTITION BY HASH (a) PARTITIONS 4;
INSERT INTO p VALUES (1, 1), (2, 2); UPDATE p SET a = 6 WHERE a = 1;
BEGIN; SAVEPOINT s1; INSERT INTO p VALUES (11, 1); SAVEPOINT s2; INSERT INTO p VALUES (12, 1); ROLLBACK TO s2; COMMIT;
SET gtid_next = 'aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa:tag:1'; INSERT INTO p VALUES (20, 1); SET gtid_next = 'AUTOMATIC';
FLUSH BINARY LOGS;
INSERT INTO p VALUES (21, 1);
FLUSH BINARY LOGS;
";

fn repository() {
    for log in data() {
        let verdict = oracle::agree(&log.display().to_string(), &log);
        assert!(verdict.damage.is_none() && verdict.events.len() > 100);
    }
}

fn fresh() {
    for (checksum, metadata) in [("CRC32", "FULL"), ("NONE", "MINIMAL")] {
        let server = Server::standalone(&[
            &format!("--binlog-checksum={checksum}"),
            &format!("--binlog-row-metadata={metadata}"),
        ]);
        server.sql(WORKLOAD);
        let mut total = 0;
        // The last one is being written.
        for log in server.binary_logs() {
            total += oracle::agree(&log.display().to_string(), &log).events.len();
        }
        assert!(total > 80, "{total} events");
    }
}

fn killed() {
    let server = Server::standalone(&[]);
    server.sql(WORKLOAD);
    server.sql("INSERT INTO l.p VALUES (30, 1)");
    let log = server.binary_logs().pop().expect("there is a log");
    server.kill();
    let whole = oracle::agree("whole", &log);
    let bytes = fs::read(&log).expect("it can be read");
    let scratch = reaper::directory();
    let cut = scratch.path().join("cut");
    // In the middle of an event, of a header, and between two events.
    let end = whole.events[whole.events.len() - 1].offset as usize;
    for length in [bytes.len() - 1, end + 30, end + 7, end] {
        fs::write(&cut, &bytes[..length]).expect("it can be written");
        let verdict = oracle::agree(&format!("cut to {length}"), &cut);
        assert_eq!(verdict.damage, None, "{length}");
        assert_eq!(verdict.events.len(), whole.events.len() - 1);
        let warned = verdict.messages.contains("warning: ");
        assert_eq!(warned, length != end, "{}", verdict.messages);
    }
}
