//! The same values of rows: of every column type, under every setting that changes how rows are logged.

use std::path::Path;

use crate::lists::WORKLOAD;
use crate::oracle;
use crate::support::Scenario;
use crate::support::server::Server;

// The logs in the repository hold what mysqlbinlog gives up on (geometries) or prints as an expression
// (JSON differences); their values are compared with the server's own print of the tables.
pub const SCENARIOS: &[Scenario] = &[
    ("values::of_a_fresh_server", fresh),
    ("values::of_every_type_under_every_setting", every_setting),
];

/// Rows of every column type, inserted, changed in each of their columns, and deleted.
const EVERY_TYPE: &str = "
DROP DATABASE IF EXISTS e; CREATE DATABASE e; USE e;
CREATE TABLE n (id INT PRIMARY KEY, a TINYINT, b SMALLINT UNSIGNED, c MEDIUMINT, d MEDIUMINT UNSIGNED, e INT,
    f BIGINT, g FLOAT, h DOUBLE, i DECIMAL(65,30), j DECIMAL(5,0), k BIT(1), l BIT(64), m YEAR);
INSERT INTO n VALUES (1, -128, 65535, -8388608, 16777215, -1, -9223372036854775808, -1.25, 1e300,
    -12345678901234567890.5, -99999, 1, 258, 1901), (2, 1, 1, 1, 1, 1, 1, 0.5, -2.5, 0.1, 1, 0, 1, 2155),
    (3, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
UPDATE n SET a = -5, c = -6, e = 7, i = 8.25, l = 511 WHERE id = 2;
CREATE TABLE m (id INT PRIMARY KEY, a DATE, b TIME, b3 TIME(3), b6 TIME(6), c DATETIME, c4 DATETIME(4),
    d TIMESTAMP NULL, d1 TIMESTAMP(1) NULL, d6 TIMESTAMP(6) NULL);
INSERT INTO m VALUES (1, '2024-02-29', '-838:59:59', '-00:00:00.001', '838:59:58.999999',
    '9999-12-31 23:59:59', '2026-11-21 01:02:03.4567', '1970-01-01 00:00:01', '2026-11-21 01:02:03.9',
    '2038-01-19 03:14:07.499999'), (2, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
SET sql_mode = ''; INSERT INTO m (id, a, c, d) VALUES (3, 0, 0, 0); SET sql_mode = DEFAULT;
UPDATE m SET b6 = '-01:00:00.5', d1 = NULL WHERE id = 1;
CREATE TABLE s (id INT PRIMARY KEY, a CHAR(10), b BINARY(6), c VARCHAR(255), d VARCHAR(300) CHARACTER SET latin1,
    e VARBINARY(300), f TINYTEXT, g TEXT, h MEDIUMTEXT, i LONGTEXT, j TINYBLOB, k BLOB, l MEDIUMBLOB, m LONGBLOB,
    n ENUM('a','b,c','d''e'), o SET('x','y z','w'), p SET('1','2','3','4','5','6','7','8','9'));
INSERT INTO s VALUES (1, 'abc', 'ab', 'it''s \\ \n \t', 'latin', x'000aff', 'ti', REPEAT('te', 200), 'me', 'lo',
    x'00', 'blob', x'ff00', 'x', 'b,c', 'x,w', '1,9'), (2, '', '', 'é😀', '', '', '', 'é', '', '', '', '', '', '',
    'a', '', ''), (3, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
UPDATE s SET c = 'other', n = 'a' WHERE id = 1; UPDATE s SET g = 'text', k = x'01' WHERE id = 1;
CREATE TABLE o (id INT PRIMARY KEY, j JSON, v VECTOR(3));
INSERT INTO o VALUES (1, '{\"a\": 1, \"b\": [1, 2.5, {\"c\": null}], \"e\": \"é\"}', TO_VECTOR('[1,2.5,-3]')),
    (2, 'null', NULL), (3, NULL, NULL),
    (4, JSON_ARRAY(1e15, -0.5, 18446744073709551615, CAST(1.25 AS DECIMAL(5,2)), CAST('2026-11-21' AS DATE), true), NULL);
SET binlog_row_value_options = PARTIAL_JSON;
UPDATE o SET j = JSON_SET(j, '$.a', 7, '$.z', JSON_ARRAY(1, 'x')) WHERE id = 1;
UPDATE o SET j = JSON_REMOVE(j, '$.b[1]') WHERE id = 1;
SET binlog_row_value_options = '';
CREATE TABLE g (id INT PRIMARY KEY, g GEOMETRY, p POINT SRID 4326);
-- One row: mysqlbinlog gives an event up at its first geometry.
INSERT INTO g VALUES (1, ST_GeomFromText('LINESTRING(0 0,1 1)'), ST_SRID(Point(1, 2), 4326));
DELETE FROM n; DELETE FROM m; DELETE FROM s; DELETE FROM o; DELETE FROM g;
";

fn every_setting() {
    let server = Server::standalone(&[]);
    let images = ["FULL", "MINIMAL", "NOBLOB"];
    for checksum in ["CRC32", "NONE"] {
        for metadata in ["FULL", "MINIMAL"] {
            server.sql(&format!(
                "SET GLOBAL binlog_checksum = {checksum};
                 SET GLOBAL binlog_row_metadata = {metadata}; FLUSH BINARY LOGS"
            ));
            for compression in ["ON", "OFF"] {
                for image in images {
                    server.sql(&format!(
                        "SET binlog_transaction_compression = {compression}, binlog_row_image = {image};
                         {EVERY_TYPE}"
                    ));
                }
            }
        }
    }
    let mut compared = 0;
    for log in server.binary_logs() {
        let what = log.display().to_string();
        assert!(!oracle::agree(&what, &log).is_damaged);
        compared += compare(&log);
    }
    assert!(compared > 4000, "{compared}");
}

fn fresh() {
    let server = Server::standalone(&[]);
    server.sql(WORKLOAD);
    let compared: usize = server.binary_logs().iter().map(|log| compare(log)).sum();
    assert!(compared > 100, "{compared}");
}

/// The row lines of a tool's text: of each its column and value, or the line itself.
fn rows(text: &str) -> Vec<(Option<usize>, String)> {
    let mut rows: Vec<(Option<usize>, String)> = Vec::new();
    let is_row = |line: &&str| line.starts_with("### ") && !line.starts_with("### Extra row info");
    for line in text.lines().filter(is_row) {
        // Calls within calls go on in further lines.
        if let (Some(more), Some((Some(_), value))) =
            (line.strip_prefix("###      "), rows.last_mut())
        {
            value.push_str(more);
            continue;
        }
        let value = line.strip_prefix("###   @").and_then(|rest| {
            let (number, rest) = rest.split_once('=')?;
            Some((Some(number.parse().ok()?), rest.to_owned()))
        });
        rows.push(value.unwrap_or((None, line.trim_end().to_owned())));
    }
    rows
}

/// Compares the rows of `log` as both tools print them; how many values were the same.
fn compare(log: &Path) -> usize {
    let theirs = oracle::mysqlbinlog(&[], log);
    let ours = oracle::rejoin(&[], log);
    assert!(theirs.status.success() && ours.status.success());
    let theirs = rows(&String::from_utf8_lossy(&theirs.stdout));
    let ours = rows(&String::from_utf8_lossy(&ours.stdout));
    let mut ours = ours.iter().peekable();
    let mut compared = 0;
    for (column, value) in &theirs {
        let Some(column) = column else {
            // What it cannot decode ends a row for mysqlbinlog, not for us.
            while ours.peek().is_some_and(|(column, _)| column.is_some()) {
                ours.next();
            }
            let (_, line) = ours.next().expect("as many rows");
            assert_eq!(line, value, "{}", log.display());
            continue;
        };
        let next = ours.next_if(|(ours, _)| *ours == Some(*column));
        if value.starts_with("!! Don't know how to handle column type") {
            continue;
        }
        let (_, our) = next.unwrap_or_else(|| panic!("{}: no @{column}", log.display()));
        if let Some((theirs, ours)) = comparable(value, our) {
            assert_eq!(ours, theirs, "{}: @{column}: {our} {value}", log.display());
            compared += 1;
        }
    }
    compared
}

/// Both values in one form; `None` where they cannot be brought into one (names of ENUM and SET, text in
/// other character sets).
fn comparable(theirs: &str, ours: &str) -> Option<(String, String)> {
    let (theirs, their_type) = theirs.rsplit_once(" /* ")?;
    let (ours, our_type) = ours.rsplit_once(" /* ")?;
    let kind = their_type.split([' ', '(']).next()?;
    let plain = |text: &str| text.trim().to_owned();
    if theirs == "NULL" || ours == "NULL" {
        return Some((plain(theirs), plain(ours)));
    }
    Some(match kind {
        "TINYINT" | "SHORTINT" | "MEDIUMINT" | "INT" | "LONGINT" => {
            // Of negative numbers both readings; we know which one it is.
            let (signed, unsigned) = match theirs.split_once(" (") {
                Some((signed, unsigned)) => (signed, unsigned.trim_end_matches(')')),
                None => (theirs, theirs),
            };
            let reading = if our_type.contains("UNSIGNED") {
                unsigned
            } else {
                signed
            };
            (plain(reading), plain(ours))
        }
        // Theirs has six digits.
        "FLOAT" => {
            let digits = |text: &str| {
                let number: f32 = text.trim().parse().unwrap();
                format!("{number:.5e}")
            };
            (digits(theirs), digits(ours))
        }
        "DOUBLE" => {
            let bits = |text: &str| text.trim().parse::<f64>().unwrap().to_string();
            (bits(theirs), bits(ours))
        }
        "DECIMAL" | "BIT" | "YEAR" | "TIME" | "DATETIME" => (plain(theirs), plain(ours)),
        "DATE" => (theirs.replace(':', "-"), plain(ours)),
        "TIMESTAMP" => (plain(theirs), seconds(ours.trim_matches('\''))),
        "SET" if ours.starts_with('\'') => return None,
        "SET" => (set_bits(theirs), plain(ours)),
        "ENUM" if ours.starts_with('\'') => return None,
        "ENUM" => (plain(theirs), plain(ours)),
        "JSON" if ours.starts_with("JSON_") => {
            let (mut calls, paths) = calls(theirs);
            // Theirs is written from the last call to the first.
            calls.reverse();
            let (our_calls, our_paths) = self::calls(ours);
            (
                format!("{calls:?} {paths:?}"),
                format!("{our_calls:?} {our_paths:?}"),
            )
        }
        "STRING"
        | "VARSTRING"
        | "JSON"
        | "TINYBLOB/TINYTEXT"
        | "BLOB/TEXT"
        | "MEDIUMBLOB/MEDIUMTEXT"
        | "LONGBLOB/LONGTEXT" => {
            if theirs.contains('\u{fffd}') {
                return None;
            }
            (
                format!("{:?}", string(theirs)?),
                format!("{:?}", string(ours)?),
            )
        }
        _ => return None,
    })
}

/// The bytes of a quoted string, or of hexadecimal digits.
fn string(literal: &str) -> Option<Vec<u8>> {
    let hex = |digits: &str| u8::from_str_radix(digits, 16).ok();
    if let Some(digits) = literal.strip_prefix("X'") {
        let digits = digits.strip_suffix('\'')?;
        let pairs = (0..digits.len()).step_by(2);
        return pairs.map(|at| hex(digits.get(at..at + 2)?)).collect();
    }
    let mut rest = literal.strip_prefix('\'')?.strip_suffix('\'')?;
    let mut bytes = Vec::new();
    while let Some(character) = rest.chars().next() {
        rest = &rest[character.len_utf8()..];
        if character != '\\' {
            bytes.extend(character.to_string().bytes());
            continue;
        }
        let escape = rest.chars().next()?;
        rest = &rest[escape.len_utf8()..];
        match escape {
            'n' => bytes.push(b'\n'),
            't' => bytes.push(b'\t'),
            'r' => bytes.push(b'\r'),
            'x' => {
                bytes.push(hex(rest.get(..2)?)?);
                rest = &rest[2..];
            }
            other => bytes.extend(other.to_string().bytes()),
        }
    }
    Some(bytes)
}

/// `YYYY-MM-DD hh:mm:ss.f` in UTC as seconds since 1970.
fn seconds(time: &str) -> String {
    let number = |range: std::ops::Range<usize>| time[range].parse::<i64>().unwrap();
    let fraction = &time[19..];
    if number(0..4) == 0 {
        return format!("0{fraction}");
    }
    let (year, month) = (number(0..4), number(5..7));
    let is_leap = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let mut days: i64 = (1970..year)
        .map(|year| 365 + i64::from(is_leap(year)))
        .sum();
    let lengths = [
        31,
        28 + i64::from(is_leap(year)),
        31,
        30,
        31,
        30,
        31,
        31,
        30,
        31,
        30,
    ];
    days += lengths[..month as usize - 1].iter().sum::<i64>() + number(8..10) - 1;
    let seconds = days * 86_400 + number(11..13) * 3600 + number(14..16) * 60 + number(17..19);
    format!("{seconds}{fraction}")
}

/// The bytes of a SET, in the order of the log with them, as one number.
fn set_bits(theirs: &str) -> String {
    let bits = theirs
        .trim()
        .trim_start_matches("b'")
        .trim_end_matches('\'');
    let bytes: Vec<&str> = bits
        .as_bytes()
        .chunks(8)
        .map(|byte| std::str::from_utf8(byte).unwrap())
        .collect();
    format!("b'{}'", bytes.into_iter().rev().collect::<String>())
}

/// Names of the calls that change a document, and the paths in them, as they stand in a text.
fn calls(text: &str) -> (Vec<&'static str>, Vec<&str>) {
    let names = ["JSON_REPLACE", "JSON_INSERT", "JSON_REMOVE"];
    let mut found: Vec<(usize, &'static str)> = names
        .iter()
        .flat_map(|name| text.match_indices(name).map(|(at, _)| (at, *name)))
        .collect();
    found.sort_unstable();
    let paths = text
        .split('\'')
        .filter(|part| part.starts_with('$'))
        .collect();
    (found.into_iter().map(|(_, name)| name).collect(), paths)
}
