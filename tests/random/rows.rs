//! Row changes, logged in every way.

use crate::columns;
use crate::dice::Dice;
use crate::model::{Column, Table};
use crate::session::Session;

/// Statements of a round.
const STATEMENTS: usize = 60;
/// A table with more rows than this gets no more.
const ROWS_MAX: u64 = 150;

/// How the server logs the rows that follow, and how it judges them.
pub fn set_logging(session: &mut Session, dice: &mut Dice) {
    let settings = [
        format!(
            "SET SESSION binlog_row_image = {}",
            dice.pick(&["FULL", "MINIMAL", "NOBLOB"])
        ),
        format!(
            "SET GLOBAL binlog_row_metadata = {}",
            dice.pick(&["FULL", "MINIMAL"])
        ),
        format!(
            "SET SESSION binlog_row_value_options = '{}'",
            dice.pick(&["PARTIAL_JSON", ""])
        ),
        format!(
            "SET SESSION binlog_transaction_compression = {}",
            dice.below(2)
        ),
        format!(
            "SET SESSION binlog_rows_query_log_events = {}",
            dice.below(2)
        ),
        format!(
            "SET SESSION binlog_row_event_max_size = {}",
            dice.pick(&["256", "8192"])
        ),
        format!(
            "SET SESSION time_zone = '{}'",
            dice.pick(&["+00:00", "+05:30", "-03:00"])
        ),
        format!(
            "SET NAMES utf8mb4 COLLATE {}",
            dice.pick(&["utf8mb4_0900_ai_ci", "utf8mb4_bin", "utf8mb4_general_ci"])
        ),
        format!(
            "SET SESSION sql_mode = '{}'",
            dice.pick(&[
                "STRICT_TRANS_TABLES,NO_ENGINE_SUBSTITUTION",
                "",
                "ALLOW_INVALID_DATES",
                "PAD_CHAR_TO_FULL_LENGTH",
                "ANSI_QUOTES,NO_BACKSLASH_ESCAPES",
                "TIME_TRUNCATE_FRACTIONAL,NO_AUTO_VALUE_ON_ZERO",
                "TRADITIONAL",
            ])
        ),
    ];
    for setting in settings {
        session.execute(&setting);
    }
}

pub fn change(session: &mut Session, dice: &mut Dice) {
    session.read_model();
    let mut tables = session.tables().to_vec();
    if tables.is_empty() {
        return;
    }
    for number in 0..STATEMENTS {
        match dice.below(20) {
            0 => in_one_transaction(session, dice, &mut tables),
            1 => prepared(session, dice, &mut tables, number),
            _ => {
                let statement = statement(dice, &mut tables);
                session.execute(&statement);
            }
        }
    }
}

/// Makes a procedure that goes through many small transactions on all tables, each time other ones; `false`
/// where there is no table. What the server refuses of them it passes over.
pub fn make_burst(session: &mut Session, dice: &mut Dice) -> bool {
    session.read_model();
    let tables = session.tables().to_vec();
    if tables.is_empty() {
        return false;
    }
    session.execute("DROP PROCEDURE IF EXISTS burst");
    let mut body = String::new();
    for _ in 0..STATEMENTS {
        let mut table = dice.pick(&tables).clone();
        let [one, other] = back_and_forth(dice, &mut table);
        body.push_str(&format!(
            "IF pass MOD 2 THEN {one};\nELSE {other};\nEND IF;\n"
        ));
    }
    let made = session.execute(&format!(
        "CREATE PROCEDURE burst(pass INT, passes INT)
         BEGIN
            DECLARE CONTINUE HANDLER FOR SQLEXCEPTION BEGIN END;
            WHILE passes > 0 DO
                {body}
                SET pass = pass + 1, passes = passes - 1;
            END WHILE;
         END"
    ));
    assert!(made, "{}", session.last_refusal());
    true
}

/// Two statements that, one after the other and again and again, nearly always change a row.
fn back_and_forth(dice: &mut Dice, table: &mut Table) -> [String; 2] {
    // Rows at the ends cost the server least, and it is the number of transactions that counts here.
    let key = table.columns.iter().find(|column| column.in_key);
    let row = match key {
        Some(key) if dice.percent(90) => {
            format!(
                "ORDER BY {} {} LIMIT 1",
                key.name,
                dice.pick(&["ASC", "DESC"])
            )
        }
        None if dice.percent(90) => "LIMIT 1".to_owned(),
        _ => format!(
            "ORDER BY RAND({} + pass DIV 2) LIMIT 2",
            dice.below(100_000)
        ),
    };
    let name = table.name.clone();
    if dice.percent(30) {
        let away = row.replace("LIMIT 1", "LIMIT 4");
        return [insert(dice, table), format!("DELETE FROM {name} {away}")];
    }
    let settable: Vec<&Column> = table.settable().collect();
    let column = *dice.pick(&settable);
    [(); 2].map(|()| {
        let value = columns::literal(dice, column);
        format!("UPDATE {name} SET {} = {value} {row}", column.name)
    })
}

fn in_one_transaction(session: &mut Session, dice: &mut Dice, tables: &mut [Table]) {
    session.execute("BEGIN");
    for at in 0..dice.between(1, 6) {
        let one = statement(dice, tables);
        session.execute(&one);
        match dice.below(4) {
            0 => _ = session.execute(&format!("SAVEPOINT `s {at}`")),
            1 => {
                let back = dice.below(at + 1);
                session.execute(&format!("ROLLBACK TO SAVEPOINT `s {back}`"));
            }
            _ => {}
        }
    }
    session.execute(dice.word(&["COMMIT", "COMMIT", "COMMIT", "ROLLBACK"]));
}

fn prepared(session: &mut Session, dice: &mut Dice, tables: &mut [Table], number: usize) {
    let xid = format!("'global {number}', x'00FF', {number}");
    session.execute(&format!("XA START {xid}"));
    for _ in 0..dice.between(1, 3) {
        let one = statement(dice, tables);
        session.execute(&one);
    }
    session.execute(&format!("XA END {xid}"));
    if dice.percent(30) {
        session.execute(&format!("XA COMMIT {xid} ONE PHASE"));
        return;
    }
    session.execute(&format!("XA PREPARE {xid}"));
    let end = *dice.pick(&["COMMIT", "COMMIT", "ROLLBACK"]);
    session.execute(&format!("XA {end} {xid}"));
}

fn statement(dice: &mut Dice, tables: &mut [Table]) -> String {
    let at = dice.below(tables.len());
    let other = tables[dice.below(tables.len())].clone();
    let table = &mut tables[at];
    let crowded = table.rows > ROWS_MAX;
    match dice.below(20) {
        0..=7 if !crowded => insert(dice, table),
        8 if !crowded => insert(dice, table).replacen("INSERT INTO", "REPLACE INTO", 1),
        9 if !crowded => format!(
            "{} ON DUPLICATE KEY UPDATE {}",
            insert(dice, table),
            assignments(dice, table, "")
        ),
        10 if !crowded => format!(
            "INSERT IGNORE INTO {0} SELECT * FROM {0} ORDER BY RAND({1}) LIMIT 3",
            table.name,
            dice.below(1000)
        ),
        11 => format!(
            "UPDATE IGNORE {0} x, {1} y SET {2}, {3} WHERE x.{4} IS NOT NULL AND y.{5} = {6}",
            table.name,
            other.name,
            assignments(dice, table, "x."),
            assignments(dice, &other, "y."),
            table.columns[0].name,
            other.columns[0].name,
            columns::literal(dice, &other.columns[0]),
        ),
        12 => format!(
            "DELETE x, y FROM {0} x JOIN {1} y ON x.{2} = y.{3} WHERE y.{3} = {4}",
            table.name,
            other.name,
            table.columns[0].name,
            other.columns[0].name,
            columns::literal(dice, &other.columns[0]),
        ),
        13..=15 => {
            let most = if crowded { 60 } else { 3 };
            format!(
                "DELETE FROM {} {}",
                table.name,
                some_rows(dice, table, most)
            )
        }
        _ => {
            let ignore = if dice.percent(50) { "IGNORE " } else { "" };
            format!(
                "UPDATE {ignore}{} SET {} {}",
                table.name,
                assignments(dice, table, ""),
                some_rows(dice, table, 8)
            )
        }
    }
}

fn some_rows(dice: &mut Dice, table: &Table, most: usize) -> String {
    let order = format!(
        "ORDER BY RAND({}) LIMIT {}",
        dice.below(1000),
        dice.between(1, most)
    );
    if dice.percent(25) {
        let column = dice.pick(&table.columns);
        let comparison = dice.pick(&[">", "<=", "<>"]);
        if !is_special(column) {
            let literal = columns::literal(dice, column);
            return format!("WHERE {} {comparison} {literal} {order}", column.name);
        }
    }
    order
}

fn is_special(column: &Column) -> bool {
    matches!(column.kind.as_str(), "json" | "vector")
        || column.srid.is_some()
        || column.kind.contains("geom")
}

fn insert(dice: &mut Dice, table: &mut Table) -> String {
    let leaves_out = dice.percent(40);
    let mut chosen: Vec<&Column> = Vec::new();
    for column in table.settable() {
        let needed = !column.nullable && !column.has_default && !column.auto_increment;
        let skipped = if column.auto_increment {
            dice.percent(70)
        } else {
            leaves_out && !needed && dice.percent(50)
        };
        if !skipped {
            chosen.push(column);
        }
    }
    let count = *dice.pick(&[1, 1, 1, 2, 5, 12]);
    let mut rows = Vec::new();
    for _ in 0..count {
        let values: Vec<String> = chosen
            .iter()
            .map(|column| columns::value(dice, column))
            .collect();
        rows.push(format!("({})", values.join(",")));
    }
    let names: Vec<&str> = chosen.iter().map(|column| column.name.as_str()).collect();
    let statement = format!(
        "INSERT INTO {} ({}) VALUES {}",
        table.name,
        names.join(","),
        rows.join(",")
    );
    table.rows += count;
    statement
}

fn assignments(dice: &mut Dice, table: &Table, alias: &str) -> String {
    let settable: Vec<&Column> = table.settable().collect();
    let mut list = Vec::new();
    for _ in 0..dice.between(1, 3) {
        let column = *dice.pick(&settable);
        if column.in_key && dice.percent(60) {
            continue;
        }
        let value = if column.kind == "json" && dice.percent(70) && alias.is_empty() {
            columns::changed_document(dice, column)
        } else {
            columns::value(dice, column)
        };
        list.push(format!("{alias}{} = {value}", column.name));
    }
    if list.is_empty() {
        let column = *dice.pick(&settable);
        list.push(format!(
            "{alias}{} = {}",
            column.name,
            columns::value(dice, column)
        ));
    }
    list.join(", ")
}
