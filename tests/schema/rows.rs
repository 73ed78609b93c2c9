//! ALTER TABLE on rows: the rows that our transformation makes are the rows that the server logs
//! afterwards (the before images of a DELETE). Where the server refuses the statement there is nothing to
//! compare; where we refuse it, nothing is wrong: how often each happens is counted.

use std::collections::HashMap;

use rejoin::ErrorKind;
use rejoin::binlog::RowsKind;
use rejoin::target::schema::{Catalog, SchemaChange, StatementContext, TableName};

use crate::log::{Logged, Place};
use crate::support::Scenario;
use crate::support::server::Server;

pub const SCENARIOS: &[Scenario] = &[
    ("rows::clauses_of_all_kinds", clauses_of_all_kinds),
    ("rows::every_type_to_every_other", every_type_to_every_other),
];

/// What became of a statement's rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// Ours are the server's.
    Exact,
    /// Ours are others.
    Wrong,
    /// We say that we cannot.
    Refused,
}

/// A store of images, moved on by the log.
#[derive(Debug, Default)]
struct Follower {
    catalog: Catalog,
    rows: HashMap<TableName, Result<Vec<Vec<u8>>, String>>,
    fates: HashMap<TableName, Fate>,
}

impl Follower {
    fn follow(&mut self, logged: Vec<Logged>) {
        let mut deleted: HashMap<TableName, Vec<Vec<u8>>> = HashMap::new();
        for logged in logged {
            match logged {
                Logged::Statement(statement) => {
                    let query = statement.query();
                    let context = StatementContext::of(&query, statement.timestamp).unwrap();
                    let changes = self.catalog.apply(query.statement, &context).unwrap();
                    for change in changes {
                        self.change(change);
                    }
                }
                Logged::Row {
                    table,
                    columns,
                    kind,
                    image,
                } => {
                    let definition = self.catalog.table_mut(&table).unwrap();
                    definition
                        .bind(&columns)
                        .unwrap_or_else(|error| panic!("{table}: {error}"));
                    let image = without_padding(image, columns.len());
                    match kind {
                        RowsKind::Insert => {
                            let rows = self.rows.entry(table).or_insert_with(|| Ok(Vec::new()));
                            rows.as_mut().unwrap().push(image);
                        }
                        _ => deleted.entry(table).or_default().push(image),
                    }
                }
            }
        }
        for (table, mut theirs) in deleted {
            let fate = match self.rows.remove(&table) {
                Some(Ok(mut ours)) => {
                    ours.sort();
                    theirs.sort();
                    if ours == theirs {
                        Fate::Exact
                    } else {
                        println!("{table}: ours {ours:02x?} theirs {theirs:02x?}");
                        Fate::Wrong
                    }
                }
                Some(Err(_)) => Fate::Refused,
                None => panic!("{table} has rows on the server only"),
            };
            self.fates.insert(table, fate);
        }
    }

    fn change(&mut self, change: SchemaChange) {
        match change {
            SchemaChange::RenameTable { from, to } => {
                if let Some(rows) = self.rows.remove(&from) {
                    self.rows.insert(to, rows);
                }
            }
            SchemaChange::TruncateTable(table) | SchemaChange::DropTable(table) => {
                self.rows.remove(&table);
            }
            SchemaChange::AlterTable {
                table,
                transform: Some(transform),
                ..
            } => {
                let Some(Ok(rows)) = self.rows.get(&table) else {
                    return;
                };
                let mut rewritten = Vec::new();
                for row in rows {
                    let mut image = Vec::new();
                    match transform.apply(row, &mut image) {
                        Ok(()) => rewritten.push(image),
                        Err(error) => {
                            assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
                            self.rows.insert(table, Err(error.to_string()));
                            return;
                        }
                    }
                }
                self.rows.insert(table, Ok(rewritten));
            }
            _ => {}
        }
    }
}

/// A row image with the unused bits of its null bitmap cleared.
fn without_padding(mut image: Vec<u8>, columns: usize) -> Vec<u8> {
    if !columns.is_multiple_of(8) {
        image[columns / 8] &= (1 << (columns % 8)) - 1;
    }
    image
}

/// Tables with rows, each followed by statements; `DELETE` comes by itself.
const CASES: &[(&str, &[&str])] = &[
    (
        "CREATE TABLE t (id INT PRIMARY KEY, a VARCHAR(10), b INT); INSERT INTO t VALUES (1, 'x', 5), (2, NULL, NULL), (3, 'größe', -7)",
        &[
            "ALTER TABLE t ADD c INT, ADD d INT NOT NULL, ADD e VARCHAR(5) DEFAULT 'e', ADD f DECIMAL(8,3) DEFAULT -1.5 AFTER id, ADD g CHAR(4) NOT NULL FIRST",
            "ALTER TABLE t DROP a, MODIFY b BIGINT FIRST, CHANGE e e2 VARCHAR(300) AFTER id",
            "ALTER TABLE t RENAME COLUMN b TO bb, RENAME TO t2; RENAME TABLE t2 TO t",
            "ALTER TABLE t CONVERT TO CHARACTER SET latin1",
        ],
    ),
    (
        "CREATE TABLE t (id INT PRIMARY KEY); INSERT INTO t VALUES (1), (2)",
        &[
            "ALTER TABLE t ADD a TINYINT DEFAULT -3, ADD b SMALLINT UNSIGNED DEFAULT 65535, ADD c MEDIUMINT DEFAULT '-8', ADD d INT DEFAULT TRUE, ADD e BIGINT UNSIGNED DEFAULT 18446744073709551615, ADD f FLOAT DEFAULT 1.1, ADD g DOUBLE DEFAULT -1e-5, ADD h DECIMAL(65,30) DEFAULT 1.000000001, ADD i BIT(10) DEFAULT b'1010', ADD j YEAR DEFAULT 1999, ADD k YEAR DEFAULT '0', ADD l YEAR DEFAULT 70, ADD m FLOAT(7,2) DEFAULT 3.145, ADD n INT DEFAULT x'41', ADD o INT DEFAULT 1.5, ADD p DECIMAL(5,1) DEFAULT '2.25'",
            "ALTER TABLE t ADD q DATE DEFAULT '2020-02-29', ADD r TIME(2) DEFAULT '-12:34:56.789', ADD s DATETIME(3) DEFAULT '2020-01-01 12:00:00.9996', ADD t1 TIMESTAMP(1) NULL DEFAULT '2020-01-01 00:00:00.26', ADD u DATETIME DEFAULT CURRENT_TIMESTAMP, ADD v TIMESTAMP DEFAULT NOW(), ADD w DATETIME(6) DEFAULT NOW(6), ADD x TIMESTAMP(3) DEFAULT CURRENT_TIMESTAMP(3), ADD y DATE DEFAULT 20200131, ADD z DATETIME DEFAULT 20200131101112, ADD z2 TIME DEFAULT 101112",
            "ALTER TABLE t ADD aa CHAR(5) DEFAULT 'a  ', ADD ab VARCHAR(5) DEFAULT 'b  ', ADD ac BINARY(4) DEFAULT 'c', ADD ad VARBINARY(4) DEFAULT x'6400', ADD ae BINARY(3) DEFAULT 0x0102, ADD af CHAR(5) CHARACTER SET latin1 DEFAULT 'é', ADD ag VARCHAR(300) DEFAULT 'x', ADD ah ENUM('p','q','r') DEFAULT 'q', ADD ai SET('p','q','r') DEFAULT 'r,p', ADD aj VARCHAR(9) CHARACTER SET utf16 DEFAULT 'ж', ADD ak VARCHAR(5) DEFAULT 7, ADD al VARCHAR(9) DEFAULT _latin1 x'e9', ADD am VARCHAR(9) DEFAULT 'it''s'",
            "ALTER TABLE t ADD ba TINYINT NOT NULL, ADD bb DOUBLE NOT NULL, ADD bc DECIMAL(7,2) NOT NULL, ADD bd BIT(3) NOT NULL, ADD be YEAR NOT NULL, ADD bf TIME NOT NULL, ADD bg CHAR(3) NOT NULL, ADD bh TEXT NOT NULL, ADD bi BLOB NOT NULL, ADD bj ENUM('m','n') NOT NULL, ADD bk SET('m') NOT NULL, ADD bl BINARY(2) NOT NULL, ADD bm VARCHAR(400) NOT NULL",
            "ALTER TABLE t ADD ca TEXT, ADD cb BLOB, ADD cc JSON, ADD cd GEOMETRY, ADD ce VECTOR(3), ADD cf POINT NULL DEFAULT NULL",
            "SET sql_mode=''; ALTER TABLE t ADD da DATE NOT NULL, ADD db DATETIME(2) NOT NULL, ADD dc TIMESTAMP NOT NULL",
        ],
    ),
    (
        "CREATE TABLE t (id INT PRIMARY KEY, a INT NULL, b INT AS (a + 1) STORED, c INT AS (a * 2) VIRTUAL, d INT INVISIBLE DEFAULT 4); INSERT INTO t (id, a) VALUES (1, 5), (2, 6)",
        &[
            "ALTER TABLE t MODIFY a BIGINT NOT NULL FIRST",
            "ALTER TABLE t MODIFY b INT, DROP c",
            "ALTER TABLE t ALTER d SET VISIBLE, RENAME COLUMN b TO bee",
        ],
    ),
    (
        "CREATE TABLE t (id INT PRIMARY KEY, e ENUM('a','b','c'), s SET('x','y','z')); INSERT INTO t VALUES (1,'a','x,z'), (2,'c',''), (3,NULL,'x,y,z')",
        &[
            "ALTER TABLE t MODIFY e ENUM('a','b','c','d'), MODIFY s SET('x','y','z','1','2','3','4','5','6')",
            "ALTER TABLE t MODIFY e ENUM('d','c','b','a'), MODIFY s SET('z','q','y','x')",
            "ALTER TABLE t MODIFY e VARCHAR(10), MODIFY s VARCHAR(20)",
            "ALTER TABLE t MODIFY e ENUM('c','a'), MODIFY s SET('x','y','z')",
        ],
    ),
    (
        "CREATE TABLE t (id INT PRIMARY KEY, a VARCHAR(20) CHARACTER SET latin1, b TEXT CHARACTER SET utf8mb4, c CHAR(5) CHARACTER SET ascii) DEFAULT CHARSET latin1; INSERT INTO t VALUES (1,'é€','é','a'), (2,'','',''), (3,'x  ','x ','x ')",
        &[
            "ALTER TABLE t CONVERT TO CHARACTER SET utf8mb3",
            "ALTER TABLE t CONVERT TO CHARACTER SET utf8mb4",
            "ALTER TABLE t MODIFY a CHAR(9) CHARACTER SET utf16, MODIFY b MEDIUMTEXT CHARACTER SET cp1250",
            "ALTER TABLE t CONVERT TO CHARACTER SET latin1 COLLATE latin1_bin",
            "ALTER TABLE t MODIFY a VARBINARY(30), MODIFY b BLOB, MODIFY c BINARY(7)",
            "ALTER TABLE t MODIFY a VARCHAR(30) CHARACTER SET latin1, MODIFY b TEXT CHARACTER SET latin1",
        ],
    ),
    (
        "CREATE TABLE t (id INT PRIMARY KEY) PARTITION BY HASH (id) PARTITIONS 2; INSERT INTO t VALUES (1), (2), (3)",
        &[
            "ALTER TABLE t ADD PARTITION PARTITIONS 3",
            "ALTER TABLE t COALESCE PARTITION 1",
            "ALTER TABLE t ALGORITHM=INPLACE, REBUILD PARTITION ALL",
            "ALTER TABLE t REMOVE PARTITIONING",
            "ALTER TABLE t FORCE, ADD a INT DEFAULT 1",
        ],
    ),
    (
        "CREATE TABLE t (id INT PRIMARY KEY, a DATETIME(6), b TIMESTAMP(6) NULL, c TIME(6), d DATE); INSERT INTO t VALUES (1,'2020-12-31 23:59:59.999999','2020-12-31 23:59:59.999999','-10:59:59.999999','2020-01-01'), (2,'2000-01-01 00:00:00.5','1971-01-01 00:00:00.4','00:00:00.123456',NULL)",
        &[
            "ALTER TABLE t MODIFY a DATETIME(3), MODIFY b TIMESTAMP(1) NULL, MODIFY c TIME(2), MODIFY d DATETIME(2)",
            "ALTER TABLE t MODIFY a TIMESTAMP(3) NULL, MODIFY b DATETIME",
            "SET time_zone='+05:30'; ALTER TABLE t MODIFY a DATETIME(1), MODIFY b TIMESTAMP(5) NULL",
            "SET sql_mode='TIME_TRUNCATE_FRACTIONAL'; ALTER TABLE t MODIFY a DATETIME, MODIFY c TIME",
            "ALTER TABLE t MODIFY a VARCHAR(30), MODIFY b VARCHAR(30), MODIFY c CHAR(20), MODIFY d TEXT",
        ],
    ),
];

fn clauses_of_all_kinds() {
    let server = Server::standalone(&[]);
    let mut place = Place::default();
    for (number, (create, statements)) in CASES.iter().enumerate() {
        // Rows are compared after each statement: tables that begin alike end one statement later each.
        for last in 0..statements.len() {
            let database = format!("d{number}_{last}");
            let mut follower = Follower::default();
            place.read(&server);
            let done = statements[..=last].join("; SET sql_mode=DEFAULT; SET time_zone='+00:00'; ");
            server.sql(&format!(
                "CREATE DATABASE {database}; USE {database}; {create}; {done}; DELETE FROM t;"
            ));
            follower.follow(place.read(&server));
            let fate = follower.fates[&TableName::new(&database, "t")];
            assert_eq!(
                fate,
                Fate::Exact,
                "{}: {:?}",
                statements[last],
                follower.rows
            );
        }
    }
}

/// Types and values that fit them.
const TYPES: &[(&str, &[&str])] = &[
    ("TINYINT", &["0", "-128", "127"]),
    ("TINYINT UNSIGNED", &["0", "255", "7"]),
    ("SMALLINT", &["-32768", "5", "32767"]),
    ("MEDIUMINT UNSIGNED", &["16777215", "9"]),
    ("INT", &["-2147483648", "2147483647", "42"]),
    (
        "BIGINT",
        &["-9223372036854775808", "1234567890123456789", "0"],
    ),
    ("BIGINT UNSIGNED", &["18446744073709551615", "3"]),
    ("DECIMAL(5,2)", &["-999.99", "0.05", "1.50"]),
    (
        "DECIMAL(30,10)",
        &["12345678901234567890.0123456789", "-0.5", "2.5"],
    ),
    ("DECIMAL(10,0) UNSIGNED", &["0", "4294967296"]),
    ("FLOAT", &["1.5", "-3.25e10", "0", "0.1"]),
    ("FLOAT(7,3)", &["1.5", "-3.251", "0.1"]),
    ("DOUBLE", &["1.5", "-3.25e100", "0.1", "7"]),
    ("BIT(1)", &["b'1'", "b'0'"]),
    ("BIT(20)", &["b'10101010101010101010'", "65"]),
    ("YEAR", &["1999", "0", "2155"]),
    ("DATE", &["'2020-02-29'", "'0001-01-01'", "'9999-12-31'"]),
    ("TIME", &["'-838:59:59'", "'12:34:56'"]),
    ("TIME(3)", &["'00:00:00.999'", "'-12:34:56.500'"]),
    (
        "DATETIME",
        &["'2020-02-29 12:34:56'", "'1000-01-01 00:00:00'"],
    ),
    (
        "DATETIME(4)",
        &["'2020-12-31 23:59:59.9999'", "'2000-01-01 00:00:00'"],
    ),
    (
        "TIMESTAMP NULL",
        &["'2020-02-29 12:34:56'", "'1970-01-02 00:00:01'"],
    ),
    ("TIMESTAMP(2) NULL", &["'2038-01-18 03:14:07.99'"]),
    ("CHAR(10)", &["'abc'", "''", "'12  '", "'é'"]),
    ("CHAR(100)", &["'-7'", "' 8'", "'a,b'"]),
    ("CHAR(10) CHARACTER SET latin1", &["'é'", "'1.5'"]),
    ("VARCHAR(10)", &["'12'", "'x '", "'2020-01-01'", "'b'"]),
    ("VARCHAR(200) CHARACTER SET latin1", &["'ü'", "'a'"]),
    ("VARCHAR(300)", &["'1e3'", "'+5'", "'99999999999999999999'"]),
    ("TINYTEXT", &["'abc'", "'12:34:56'"]),
    ("TEXT CHARACTER SET utf8mb3", &["'ж'", "'a'"]),
    ("LONGTEXT", &["'😀'", "'0'"]),
    ("BINARY(4)", &["'ab'", "x'00ff0000'", "x'61626364'"]),
    ("VARBINARY(20)", &["x'c3a9'", "'a '", "x'00'"]),
    ("BLOB", &["'abc'", "x'ff'"]),
    ("ENUM('a','b','c')", &["'a'", "'c'"]),
    ("ENUM('c','1','a','12')", &["'1'", "'a'"]),
    ("SET('a','b','c')", &["'a,c'", "''"]),
    (
        "SET('c','x','b','a','1','2','3','4','5')",
        &["'x'", "'5,c'"],
    ),
    ("JSON", &["'[1, 2]'", "'\"a\"'", "'12'"]),
    ("POINT", &["POINT(1,2)"]),
    ("VECTOR(2)", &["TO_VECTOR('[1,2]')"]),
];

fn every_type_to_every_other() {
    let server = Server::standalone(&["--sync-binlog=0"]);
    let mut refused = 0;
    let mut exact = 0;
    let mut wrong = Vec::new();
    let mut impossible = 0;
    let all = std::env::var("REJOIN_ALL_CONVERSIONS").is_ok();
    for (at, (from, values)) in TYPES.iter().enumerate() {
        let mut place = Place::default();
        server.sql("DROP DATABASE IF EXISTS d; RESET BINARY LOGS AND GTIDS");
        let mut sql = String::from("SET time_zone='+02:00'; CREATE DATABASE d; USE d;\n");
        let mut tables = Vec::new();
        let others = TYPES.iter().filter(|(to, _)| to != from).enumerate();
        // A third of the pairs, and all of them by hand.
        for (number, (to, _)) in others.filter(|(number, _)| all || (number + at) % 3 == 0) {
            // One value a table: a value that the server refuses hides no other.
            let count = if all { values.len() } else { 1 };
            for value in values
                .iter()
                .cycle()
                .skip(number % values.len())
                .take(count)
            {
                let table = format!("t{}", tables.len());
                sql.push_str(&format!(
                    "CREATE TABLE {table} (c {from}); INSERT INTO {table} VALUES ({value}), (NULL);\n\
                     ALTER TABLE {table} MODIFY c {to};\nDELETE FROM {table};\n"
                ));
                tables.push((table, *to, *value));
            }
        }
        // The client goes on behind errors of ALTER TABLE.
        let mut client = server.client(&["-BN", "--force"]).spawn().unwrap();
        std::io::Write::write_all(&mut client.stdin.take().unwrap(), sql.as_bytes()).unwrap();
        client.wait_with_output().unwrap();
        let mut follower = Follower::default();
        let logged = place.read(&server);
        let altered: Vec<String> = logged
            .iter()
            .filter_map(|logged| match logged {
                Logged::Statement(statement) if statement.text.starts_with(b"ALTER TABLE ") => {
                    let text = String::from_utf8_lossy(&statement.text);
                    text.split(' ').nth(2).map(str::to_owned)
                }
                _ => None,
            })
            .collect();
        follower.follow(logged);
        for (table, to, value) in tables {
            if !altered.contains(&table) {
                impossible += 1;
                continue;
            }
            match follower.fates[&TableName::new("d", &table)] {
                Fate::Exact => exact += 1,
                Fate::Wrong => wrong.push(format!("{value} from {from} to {to}")),
                Fate::Refused => {
                    println!("refused: {value} from {from} to {to}");
                    refused += 1;
                }
            }
        }
    }
    println!("{exact} exact, {refused} refused by us, {impossible} refused by the server");
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(exact > 200, "{exact}");
}
