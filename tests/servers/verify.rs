//! `rejoin verify` against a real group: nothing where nothing differs, also while the group takes
//! writes, and every single row that does.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::support::Scenario;
use crate::support::group::Group;
use crate::support::reaper;
use crate::support::rejoin::{self as tool, Outcome, Running};
use crate::support::server::RECOVERY_USER;
use crate::support::workload::{MIXED, Writer};

pub const SCENARIOS: &[Scenario] = &[(
    "verify::finds_every_planted_difference_and_nothing_else",
    finds_every_planted_difference_and_nothing_else,
)];

fn verify(group: &Group, store: &Path, arguments: &[&str]) -> Outcome {
    let mut command = tool::command("verify", store);
    tool::run(
        command
            .args(["--group", &group.url(), "--json"])
            .args(arguments),
    )
}

fn summary(outcome: &Outcome) -> &Value {
    let found = outcome.events("summary");
    found
        .first()
        .copied()
        .unwrap_or_else(|| panic!("{}", outcome.story()))
}

fn finds_every_planted_difference_and_nothing_else() {
    let group = Arc::new(Group::loaded(1, &MIXED));
    let member = &group.members()[0];
    member.sql(&format!("GRANT FLUSH_TABLES ON *.* TO {RECOVERY_USER}"));
    let directory = reaper::directory();
    let store = directory.path().join("store");
    let recovered = tool::run(tool::recover(&group.url(), &store).arg("--verify"));
    recovered.expect_online();
    assert_eq!(
        summary(&recovered)["differences"],
        0,
        "{}",
        recovered.story()
    );

    // The group goes on: the member is ahead of the store, and never rests.
    let writer = Writer::start(&group);
    let outcome = verify(&group, &store, &[]);
    assert!(writer.stop() > 0);
    assert_eq!(outcome.code, Some(0), "{}", outcome.story());
    assert_eq!(outcome.events("difference").len(), 0, "{}", outcome.story());
    let rows = summary(&outcome)["rows"].as_u64();
    assert!(rows > Some(50_000), "{}", outcome.story());
    assert!(summary(&outcome)["tables"].as_u64() >= Some(6));

    goes_on_where_it_was_interrupted(&group, &store, directory.path());

    let planted = plant(&group);
    let outcome = verify(&group, &store, &["--chunk-rows", "777"]);
    outcome.expect_error(5);
    let mut found: Vec<(String, String, String)> = Vec::new();
    for difference in outcome.events("difference") {
        let row = difference["row"].as_object().expect("an object");
        let key: Vec<&str> = row
            .values()
            .map(|value| value.as_str().unwrap_or("NULL"))
            .collect();
        let text = |name: &str| difference[name].as_str().expect("text").to_owned();
        found.push((text("table"), text("kind"), key.join(",")));
    }
    found.sort();
    assert_eq!(found, planted);
    assert_eq!(planted.len(), 100);
    assert_eq!(summary(&outcome)["differences"], 100);

    // What differs is not called ONLINE.
    let refused = tool::run(tool::recover(&group.url(), &store).arg("--verify"));
    refused.expect_error(5);
    assert_eq!(refused.events("online").len(), 0, "{}", refused.story());
}

fn goes_on_where_it_was_interrupted(group: &Group, store: &Path, directory: &Path) {
    let position = directory.join("position");
    let text = position.to_str().expect("a plain path");
    let mut command = tool::command("verify", store);
    let slow = command
        .args(["--group", &group.url(), "--json", "--max-rate", "3000000"])
        .args(["--resume", text]);
    let mut running = Running::start(slow);
    running
        .wait_for(|event| (event["table"] == "shop.places").then_some(()))
        .expect("tables are compared one after another");
    std::thread::sleep(Duration::from_millis(1500));
    running.interrupt();
    let interrupted = running.wait();
    assert_eq!(interrupted.code, Some(130), "{}", interrupted.story());
    assert!(position.exists(), "{}", interrupted.story());
    let rest = verify(group, store, &["--resume", text]);
    assert_eq!(rest.code, Some(0), "{}", rest.story());
    assert_eq!(rest.events("difference").len(), 0, "{}", rest.story());
    let tables: Vec<&Value> = rest
        .events("table")
        .iter()
        .map(|event| &event["table"])
        .collect();
    assert_eq!(tables, ["shop.types"], "{}", rest.story());
    let whole = verify(group, store, &[]);
    let rows = |outcome: &Outcome| summary(outcome)["rows"].as_u64();
    assert!(rows(&rest) < rows(&whole), "{}", rest.story());
    assert!(!position.exists());
}

/// Changes a hundred rows behind the back of the binary log, every kind of value among them; gives them
/// as (table, kind, key), sorted.
fn plant(group: &Group) -> Vec<(String, String, String)> {
    /// The smallest change of each column of `shop.types`.
    const CHANGES: &[&str] = &[
        "ti = COALESCE(ti, 0) ^ 1",
        "su = COALESCE(su, 0) ^ 1",
        "bi = COALESCE(bi, 0) ^ 1",
        "bu = COALESCE(bu, 0) ^ 1",
        "fl = COALESCE(fl, 1) * 1.0000005",
        "db = COALESCE(db, 1e0) * 1.0000000000000005e0",
        "de = COALESCE(de, 0) + 0.000001",
        "dw = COALESCE(dw, 0) + 0.000000000000000000000000000001",
        "bt = COALESCE(bt, 0) ^ 1",
        "yr = IF(yr <=> 2001, 2002, 2001)",
        "da = IF(da <=> '2026-01-01', NULL, '2026-01-01')",
        "tf = IF(tf IS NULL, '-00:00:00.001', NULL)",
        "df = COALESCE(df, '2026-01-01') + INTERVAL 1 MICROSECOND",
        "ts = COALESCE(ts, '2026-01-01') + INTERVAL 1 SECOND",
        "vc = CONCAT(COALESCE(vc, ''), ' ')",
        "vl = CONCAT(COALESCE(vl, ''), 'é')",
        "bn = IF(bn <=> x'0001', x'0002', x'0001')",
        "vb = CONCAT(COALESCE(vb, ''), x'00')",
        "lt = IF(lt IS NULL, '', NULL)",
        "mb = CONCAT(COALESCE(mb, ''), x'00')",
        "en = IF(en <=> 'red', 'blue', 'red')",
        "se = COALESCE(se, 0) ^ 256",
        "js = IF(js IS NULL, 'null', NULL)",
        "ch = IF(BINARY ch <=> 'x', 'X', 'x')",
    ];
    let member = &group.members()[0];
    let mut script = String::from("SET sql_log_bin = 0; SET sql_mode = '';\n");
    let mut planted = Vec::new();
    let mut note = |table: &str, kind: &str, key: &str| {
        planted.push((table.to_owned(), kind.to_owned(), key.to_owned()));
    };
    let lines = |sql: &str| -> Vec<String> { member.sql(sql).lines().map(str::to_owned).collect() };
    // Every other row, so that none is met twice.
    let types = lines("SELECT id FROM shop.types ORDER BY CRC32(id) LIMIT 70");
    for (at, id) in types.iter().enumerate() {
        if at < 60 {
            let change = CHANGES[at % CHANGES.len()];
            writeln!(
                script,
                "UPDATE shop.types SET {change} WHERE id = {id}; SELECT ROW_COUNT();"
            )
            .unwrap();
            note("shop.types", "changed", id);
        } else {
            writeln!(
                script,
                "DELETE FROM shop.types WHERE id = {id}; SELECT ROW_COUNT();"
            )
            .unwrap();
            note("shop.types", "extra", id);
        }
    }
    for id in [1, 2, 3, 77_777_777_777_u64, 88_888_888_888, 99_999_999_999] {
        writeln!(
            script,
            "INSERT INTO shop.types (id) VALUES ({id}); SELECT ROW_COUNT();"
        )
        .unwrap();
        note("shop.types", "missing", &id.to_string());
    }
    for row in lines(
        "SELECT customer, number FROM shop.orders ORDER BY CRC32(CONCAT(customer, '/', number)) LIMIT 8",
    ) {
        let key = row.replace('\t', ",");
        writeln!(script, "UPDATE shop.orders SET total = total + 0.01 WHERE (customer, number) = ({key}); SELECT ROW_COUNT();")
            .unwrap();
        note("shop.orders", "changed", &key);
    }
    for name in lines("SELECT name FROM shop.names ORDER BY CRC32(name) LIMIT 8") {
        writeln!(
            script,
            "DELETE FROM shop.names WHERE name = '{name}'; SELECT ROW_COUNT();"
        )
        .unwrap();
        note("shop.names", "extra", &name);
    }
    for row in lines("SELECT region, day, seq FROM shop.places ORDER BY CRC32(seq) LIMIT 8") {
        let key = row.replace('\t', "','");
        writeln!(script, "UPDATE shop.places SET kind = 1 + kind MOD 3 WHERE (region, day, seq) = ('{key}'); SELECT ROW_COUNT();")
            .unwrap();
        // Columns of an object in JSON are in the order of their names.
        let mut parts: BTreeMap<&str, &str> = BTreeMap::new();
        for (name, value) in ["region", "day", "seq"].into_iter().zip(row.split('\t')) {
            parts.insert(name, value);
        }
        let parts: Vec<&str> = parts.into_values().collect();
        note("shop.places", "changed", &parts.join(","));
    }
    let counts = member.sql(&script);
    assert!(
        counts.lines().all(|count| count == "1"),
        "{counts}\n{script}"
    );
    planted.sort();
    planted
}
