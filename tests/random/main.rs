//! Stores that follow a real server through random workloads, from seeds.
//!
//! ```text
//! cargo test --release --test random                          a few seeds, 200,000 transactions
//! REJOIN_WORKLOAD_SEEDS=20 cargo test --release --test random more of them
//! REJOIN_WORKLOAD_SEED=7 ...                                  this one alone
//! REJOIN_WORKLOAD_ROUNDS=100 ...                              longer ones
//! REJOIN_WORKLOAD_TRANSACTIONS=50000 ...                      with more transactions to a seed
//! cargo test --release --features disk --test random          with a store on the disk beside it
//! ```
//! Each seed has a database of its own on one server. A round changes schemas, sets how the server logs
//! rows, changes rows, and then brings the store up to date and compares every table with what
//! `mysql -BN` prints; then small transactions follow by the thousand. What the server refuses is not logged: the generator may try anything.
//!
//! ```text
//! columns  types of all kinds and widths, and values for them
//! model    the tables as information_schema shows them
//! tables   schema changes
//! rows     row changes
//! follow   the store, and the comparison
//! plant    rows changed behind the back of the binary log, which the store's own comparison has to find
//! ```
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    missing_docs,
    unreachable_pub
)]

#[path = "../support/mod.rs"]
mod support;

mod columns;
mod dice;
mod follow;
mod model;
mod plant;
mod rows;
mod session;
mod tables;

use std::collections::BTreeSet;
use std::time::Instant;

use dice::Dice;
use follow::Follower;
use session::Session;
use support::Scenario;
use support::server::Server;

/// What a run does where the environment says nothing: 200,000 transactions.
const SEEDS: u64 = 4;
const ROUNDS: u64 = 5;
const TRANSACTIONS: u64 = 51_000;
/// Passes of the procedure of small transactions between two looks at how many there were.
const PASSES: u64 = 25;

const SCENARIOS: &[Scenario] = &[
    (
        "random::what_was_found_stays_mended",
        what_was_found_stays_mended,
    ),
    (
        "random::tables_made_outside_the_log_have_their_rows",
        tables_made_outside_the_log_have_their_rows,
    ),
    (
        "random::workloads_leave_the_rows_of_the_server",
        workloads_leave_the_rows_of_the_server,
    ),
];

/// What random workloads brought to light: stores had other rows than the server, or stopped.
const FOUND: &[&str] = &[
    // A constant default of a TIMESTAMP is one in the time zone of the statement that declares it.
    "SET SESSION time_zone = '+05:30'",
    "CREATE TABLE stamped (a INT PRIMARY KEY, t TIMESTAMP NOT NULL DEFAULT '2026-01-02 03:04:05')",
    "SET SESSION time_zone = '-03:00', binlog_row_image = MINIMAL",
    "INSERT INTO stamped (a) VALUES (1)",
    "ALTER TABLE stamped ALTER COLUMN t SET DEFAULT '2026-05-05 05:05:05'",
    "SET SESSION time_zone = '+00:00'",
    "INSERT INTO stamped (a) VALUES (2)",
    // A generated invisible primary key stays the first column.
    "SET SESSION sql_generate_invisible_primary_key = ON",
    "CREATE TABLE made_up (a INT)",
    "INSERT INTO made_up VALUES (1), (2)",
    "ALTER TABLE made_up ADD COLUMN b INT DEFAULT 7 FIRST, ADD COLUMN c INT AFTER a",
    "INSERT INTO made_up VALUES (3, 4, 5)",
    "SET SESSION sql_generate_invisible_primary_key = OFF",
    // A minimal image of no column at all is a row.
    "CREATE TABLE all_defaults (a INT, b VARCHAR(5) DEFAULT 'x')",
    "INSERT INTO all_defaults () VALUES ()",
    // Collations of wide character sets pad with spaces, which come behind control characters.
    "CREATE TABLE wide (k CHAR(20) CHARACTER SET utf16 COLLATE utf16_bin NOT NULL, PRIMARY KEY (k DESC))",
    "INSERT INTO wide VALUES ('a'), (''), ('\n'), ('a\t')",
];

/// Of the first table, full images and minimal metadata name no key; of the second, metadata does. The
/// last statements bring the rows of the first one to where its key would have them.
const OUTSIDE: &[&str] = &[
    "SET SESSION sql_log_bin = OFF",
    "CREATE TABLE unnamed (a INT, b VARCHAR(20), c DECIMAL(10, 2), d DATETIME(3), e JSON, f INT UNSIGNED, \
     g VARBINARY(9), PRIMARY KEY (a, f))",
    "CREATE TABLE named (k VARCHAR(9) COLLATE utf8mb4_bin PRIMARY KEY, e ENUM('x', 'y'))",
    "SET SESSION sql_log_bin = ON, binlog_row_image = FULL",
    "INSERT INTO unnamed VALUES (3, 'c', 3.25, '2026-11-21 01:02:03.5', '{\"a\": 1}', 4000000000, x'00ff'), \
     (1, NULL, NULL, NULL, NULL, 1, ''), (2, 'b', -1, '2026-11-21', '[]', 2, x'61')",
    "UPDATE unnamed SET b = 'd' WHERE a = 2",
    "DELETE FROM unnamed WHERE a = 3",
    "SET GLOBAL binlog_row_metadata = FULL",
    "INSERT INTO named VALUES ('b', 'y'), ('a', 'x')",
    "UPDATE named SET e = 'y' WHERE k = 'a'",
    "SET GLOBAL binlog_row_metadata = MINIMAL",
    "UPDATE unnamed SET c = 7 ORDER BY a",
];

/// An event that leaves columns out names the key, by which rows are in order from now on.
const OUTSIDE_MINIMAL: &[&str] = &[
    "SET SESSION binlog_row_image = MINIMAL",
    "UPDATE unnamed SET b = 'z' WHERE a = 2",
    "INSERT INTO unnamed VALUES (0, 'first', NULL, NULL, NULL, 9, NULL)",
];

/// Nothing in the log says what the columns are that it leaves out.
const OUTSIDE_DEFAULTS: &str = "INSERT INTO unnamed (a, b, f) VALUES (7, 'g', 7)";

fn main() {
    support::run(SCENARIOS, || {});
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}={text}")))
}

fn what_was_found_stays_mended() {
    let server = Server::standalone(&[]);
    let mut follower = Follower::new(&server);
    let mut session = Session::open(&server, 0);
    for statement in FOUND {
        assert!(session.execute(statement), "{}", session.last_refusal());
    }
    let compared = follower
        .catch_up(&mut Dice::new(0))
        .and_then(|()| follower.compare(session.database()));
    let rows = compared.unwrap_or_else(|difference| panic!("{difference}"));
    assert_eq!(rows, 10);
}

fn tables_made_outside_the_log_have_their_rows() {
    let server = Server::standalone(&[]);
    let mut follower = Follower::new(&server);
    let mut session = Session::open(&server, 0);
    let mut dice = Dice::new(0);
    for (statements, rows) in [(OUTSIDE, 4), (OUTSIDE_MINIMAL, 5)] {
        for statement in statements {
            assert!(session.execute(statement), "{}", session.last_refusal());
        }
        let compared = follower
            .catch_up(&mut dice)
            .and_then(|()| follower.compare(session.database()));
        assert_eq!(compared, Ok(rows));
    }
    assert!(
        session.execute(OUTSIDE_DEFAULTS),
        "{}",
        session.last_refusal()
    );
    let refused = follower.catch_up(&mut dice).unwrap_err();
    assert!(
        refused.contains("default of column @3: it is not known"),
        "{refused}"
    );
}

fn workloads_leave_the_rows_of_the_server() {
    let server = Server::standalone(&["--innodb-lock-wait-timeout=1", "--max-connections=50"]);
    let rounds = number("REJOIN_WORKLOAD_ROUNDS").unwrap_or(ROUNDS);
    let transactions = number("REJOIN_WORKLOAD_TRANSACTIONS").unwrap_or(TRANSACTIONS);
    let seeds = match number("REJOIN_WORKLOAD_SEED") {
        Some(seed) => seed..seed + 1,
        None => 1..number("REJOIN_WORKLOAD_SEEDS").unwrap_or(SEEDS) + 1,
    };
    let several = seeds.clone().count() > 2;
    let mut follower = Follower::new(&server);
    let mut types = BTreeSet::new();
    for seed in seeds {
        run(
            &server,
            &mut follower,
            &mut types,
            seed,
            rounds,
            transactions / rounds,
        );
    }
    println!(
        "{} transactions, {} types and widths in all",
        follower.transactions(),
        types.len()
    );
    assert!(!several || types.len() >= 60, "{types:?}");
}

fn run(
    server: &Server,
    follower: &mut Follower<'_>,
    types: &mut BTreeSet<String>,
    seed: u64,
    rounds: u64,
    burst: u64,
) {
    let begun = Instant::now();
    let mut dice = Dice::new(seed);
    let mut session = Session::open(server, seed);
    let before = follower.transactions();
    let mut compared = 0;
    for round in 0..rounds {
        tables::change(&mut session, &mut dice, round);
        rows::set_logging(&mut session, &mut dice);
        rows::change(&mut session, &mut dice);
        compared += follower
            .catch_up(&mut dice)
            .and_then(|()| follower.compare(session.database()))
            .unwrap_or_else(|difference| panic!("seed {seed}, round {round}: {difference}"));
        compared += small_transactions(&mut session, &mut dice, follower, burst)
            .unwrap_or_else(|difference| panic!("seed {seed}, round {round}: {difference}"));
    }
    let planted = plant::differences(&mut session, &mut dice, follower)
        .unwrap_or_else(|difference| panic!("seed {seed}: {difference}"));
    let transactions = follower.transactions() - before;
    println!(
        "seed {seed}: {transactions} transactions, {} of {} statements done, {compared} rows \
         compared, {planted} planted differences found, {:.1} s",
        session.done(),
        session.tried(),
        begun.elapsed().as_secs_f64()
    );
    assert!(
        session.done() * 2 > session.tried(),
        "most statements were refused, the last one by: {}",
        session.last_refusal()
    );
    assert!(
        compared > 0 && transactions > rounds * burst,
        "the workload did too little"
    );
    types.extend(session.types().iter().cloned());
    session.execute(&format!("DROP DATABASE {}", session.database()));
}

/// So many small transactions at least; gives how many rows were compared behind them.
fn small_transactions(
    session: &mut Session,
    dice: &mut Dice,
    follower: &mut Follower<'_>,
    count: u64,
) -> Result<usize, String> {
    let until = follower.transactions() + count;
    let mut pass = 0;
    while follower.transactions() < until && rows::make_burst(session, dice) {
        // Tables that are all empty or refuse everything are no place for them: other statements may be.
        for _ in 0..4 {
            session.execute(&format!("CALL burst({pass}, {PASSES})"));
            pass += PASSES;
            follower.catch_up(dice)?;
            if follower.transactions() >= until {
                break;
            }
        }
    }
    follower.compare(session.database())
}
