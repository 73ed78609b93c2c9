//! Rows changed behind the back of the binary log, in every table: the store's own comparison with the
//! server finds these, and nothing else.

use std::collections::BTreeMap;

use crate::columns;
use crate::dice::Dice;
use crate::follow::Follower;
use crate::model::Table;
use crate::session::Session;

/// Plants differences; gives how many were found, which are all.
pub fn differences(
    session: &mut Session,
    dice: &mut Dice,
    follower: &mut Follower<'_>,
) -> Result<u64, String> {
    let before = follower.verify()?;
    if !before.is_empty() {
        return Err(format!(
            "verify: differences where there are none: {before:?}"
        ));
    }
    session.execute("SET SESSION sql_log_bin = 0");
    session.execute("SET SESSION foreign_key_checks = 0");
    session.execute("SET SESSION sql_mode = ''");
    let triggers = session.query(
        "SELECT trigger_name FROM information_schema.triggers WHERE trigger_schema = DATABASE()",
    );
    for row in 0..triggers.len() {
        let name = triggers.text(row, 0).expect("a name").replace('`', "``");
        session.execute(&format!("DROP TRIGGER `{name}`"));
    }
    session.read_model();
    let mut planted = BTreeMap::new();
    for table in session.tables().to_vec() {
        let count = plant(session, dice, &table);
        if count > 0 {
            let name = table.name[1..table.name.len() - 1].replace("``", "`");
            planted.insert(name, count);
        }
    }
    session.execute("SET SESSION sql_log_bin = 1");
    let found = follower.verify()?;
    if found != planted {
        return Err(format!(
            "verify: planted were {planted:?}, found are {found:?}"
        ));
    }
    Ok(planted.values().sum())
}

/// Changes the first row by key and takes the last away.
fn plant(session: &mut Session, dice: &mut Dice, table: &Table) -> u64 {
    let name = &table.name;
    let key: Vec<&str> = table
        .columns
        .iter()
        .filter(|column| column.in_key)
        .map(|column| column.name.as_str())
        .collect();
    if key.is_empty() {
        return session.changed_rows(&format!("DELETE FROM {name} LIMIT 1"));
    }
    let order = |direction: &str| {
        let parts: Vec<String> = key
            .iter()
            .map(|part| format!("{part} {direction}"))
            .collect();
        parts.join(", ")
    };
    let mut planted = 0;
    let changeable: Vec<_> = table.settable().filter(|column| !column.in_key).collect();
    for _ in 0..4 {
        if planted == 0 && !changeable.is_empty() {
            let column = *dice.pick(&changeable);
            let value = columns::literal(dice, column);
            planted = session.changed_rows(&format!(
                "UPDATE {name} SET {} = {value} ORDER BY {} LIMIT 1",
                column.name,
                order("ASC")
            ));
        }
    }
    if table.rows > 1 {
        planted += session.changed_rows(&format!(
            "DELETE FROM {name} ORDER BY {} LIMIT 1",
            order("DESC")
        ));
    }
    planted
}
