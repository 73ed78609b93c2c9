//! Schema changes: tables of every shape, and every clause that an ALTER TABLE may have.

use crate::columns::{self, KEYS};
use crate::dice::Dice;
use crate::model::{Column, Table};
use crate::session::Session;

/// Tables that are there at a time.
const TABLES_MAX: usize = 8;

/// The schema changes of a round.
pub fn change(session: &mut Session, dice: &mut Dice, round: u64) {
    session.execute("SET SESSION sql_mode = DEFAULT");
    session.execute("SET SESSION foreign_key_checks = 1");
    session.execute(&format!(
        "SET SESSION sql_generate_invisible_primary_key = {}",
        dice.below(2)
    ));
    session.read_model();
    let count = if round == 0 { 5 } else { dice.between(2, 7) };
    for _ in 0..count {
        let known = session.tables().len();
        if known < 3 || (known < TABLES_MAX && dice.percent(25)) {
            create(session, dice);
        } else {
            let table = dice.pick(session.tables()).clone();
            change_one(session, dice, &table);
        }
        session.read_model();
    }
}

fn create(session: &mut Session, dice: &mut Dice) {
    let name = session.new_name("t");
    match dice.below(12) {
        0 if !session.tables().is_empty() => {
            let like = dice.pick(session.tables()).name.clone();
            session.execute(&format!("CREATE TABLE {name} LIKE {like}"));
        }
        1 if !session.tables().is_empty() => {
            let from = dice.pick(session.tables()).name.clone();
            session.execute(&format!(
                "CREATE TABLE IF NOT EXISTS {name} AS SELECT * FROM {from}"
            ));
        }
        2 => family(session, dice, &name),
        _ => table(session, dice, &name),
    }
}

/// Two tables, one of which follows the other by a foreign key.
fn family(session: &mut Session, dice: &mut Dice, name: &str) {
    let on_delete = dice.pick(&["CASCADE", "SET NULL"]);
    let on_update = dice.pick(&["CASCADE", "SET NULL"]);
    let child = session.new_name("child");
    session.execute(&format!(
        "CREATE TABLE {name} (id INT PRIMARY KEY, v VARCHAR(20))"
    ));
    session.execute(&format!(
        "CREATE TABLE {child} (id INT AUTO_INCREMENT PRIMARY KEY, parent INT, w INT,
            FOREIGN KEY (parent) REFERENCES {name} (id) ON DELETE {on_delete} ON UPDATE {on_update})"
    ));
    for _ in 0..20 {
        let id = dice.below(15);
        match dice.below(5) {
            0 | 1 => session.execute(&format!("INSERT INTO {name} VALUES ({id}, 'row')")),
            2 => session.execute(&format!(
                "INSERT INTO {child} (parent, w) VALUES ({id}, 1), ({id}, 2)"
            )),
            3 => session.execute(&format!("UPDATE {name} SET id = id + 20 WHERE id = {id}")),
            _ => session.execute(&format!("DELETE FROM {name} WHERE id = {id}")),
        };
    }
}

fn table(session: &mut Session, dice: &mut Dice, name: &str) {
    let mut parts = Vec::new();
    let mut key = Vec::new();
    let form = dice.below(10);
    // Without a key, or with one that the server makes up; with one of its own; with several columns.
    let keys = match form {
        0 | 1 => 0,
        2..=6 => 1,
        _ => dice.between(2, 3),
    };
    let mut partitions = String::new();
    for at in 0..keys {
        let (declared, prefix) = *dice.pick(KEYS);
        let column = session.new_name("k");
        if at == 0 && declared.contains("INT") && dice.percent(30) {
            partitions = partitioning(dice, &column);
        }
        let automatic = keys == 1 && declared.ends_with("INT") && dice.percent(40);
        let more = if automatic {
            " AUTO_INCREMENT"
        } else {
            " NOT NULL"
        };
        parts.push(format!("{column} {declared}{more}"));
        let prefix = prefix.map_or(String::new(), |length| format!("({length})"));
        let descending = if dice.percent(15) { " DESC" } else { "" };
        key.push(format!("{column}{prefix}{descending}"));
    }
    for _ in 0..dice.between(1, 14) {
        let column = session.new_name("c");
        parts.push(format!("{column} {}", definition(dice)));
    }
    if dice.percent(25) {
        let (base, made) = (session.new_name("b"), session.new_name("g"));
        let stored = dice.pick(&["STORED", "VIRTUAL"]);
        parts.push(format!("{base} INT DEFAULT 5"));
        parts.push(format!(
            "{made} VARCHAR(40) AS (CONCAT('<', {base}, '>')) {stored}"
        ));
    }
    if !key.is_empty() {
        let kind = if dice.percent(85) || !partitions.is_empty() {
            "PRIMARY KEY"
        } else {
            "UNIQUE KEY"
        };
        parts.push(format!("{kind} ({})", key.join(", ")));
    }
    // The order of the columns is not that of the key.
    for at in (1..parts.len().saturating_sub(1)).rev() {
        parts.swap(at, dice.below(at + 1));
    }
    let options = dice.pick(&[
        "",
        " COMMENT 'it''s; one'",
        " DEFAULT CHARSET latin1",
        " ROW_FORMAT=COMPRESSED",
        " COLLATE utf8mb4_bin",
    ]);
    session.execute(&format!(
        "CREATE TABLE {name} ({}){options} {partitions}",
        parts.join(", ")
    ));
}

fn partitioning(dice: &mut Dice, column: &str) -> String {
    match dice.below(3) {
        0 => format!("PARTITION BY HASH ({column}) PARTITIONS 3"),
        1 => "PARTITION BY KEY () PARTITIONS 4".to_owned(),
        _ => format!(
            "PARTITION BY RANGE ({column}) (PARTITION p0 VALUES LESS THAN (10), PARTITION p1 VALUES LESS THAN (100),
                PARTITION p2 VALUES LESS THAN MAXVALUE)"
        ),
    }
}

/// A type with what may stand behind it.
fn definition(dice: &mut Dice) -> String {
    let declared = columns::declaration(dice);
    let bare = declared.split(['(', ' ']).next().unwrap_or_default();
    let default = match bare {
        "TINYINT" | "SMALLINT" | "MEDIUMINT" | "INT" | "BIGINT" | "YEAR" => "7",
        "DECIMAL" | "DOUBLE" | "FLOAT" => "1",
        "CHAR" | "VARCHAR" if !declared.starts_with("CHAR(0)") => "'x'",
        "BINARY" | "VARBINARY" => "x'41'",
        "DATE" => "'2026-02-28'",
        "TIME" => "'-01:02:03'",
        "DATETIME" => "'2026-01-02 03:04:05'",
        "TIMESTAMP" => "'2026-01-02 03:04:05'",
        "BIT" => "b'1'",
        "ENUM" | "SET" if declared.contains("'m1'") => "'m1'",
        "JSON" => "(JSON_ARRAY())",
        _ => "",
    };
    let rest = match dice.below(6) {
        0 if !default.is_empty() => format!(" NOT NULL DEFAULT {default}"),
        1 if !default.is_empty() => format!(" DEFAULT {default}"),
        2 => " NOT NULL".to_owned(),
        3 if !default.is_empty() => format!(" NULL DEFAULT {default} INVISIBLE COMMENT 'a, b'"),
        _ => " NULL".to_owned(),
    };
    format!("{declared}{rest}")
}

/// A definition whose value every row there is can have: no expression.
fn definition_of_new_column(dice: &mut Dice) -> String {
    let mut text = definition(dice);
    while text.contains("(JSON_ARRAY())") {
        text = definition(dice);
    }
    text
}

fn place(dice: &mut Dice, table: &Table) -> String {
    match dice.below(3) {
        0 => " FIRST".to_owned(),
        1 => format!(" AFTER {}", dice.pick(&table.columns).name),
        _ => String::new(),
    }
}

fn change_one(session: &mut Session, dice: &mut Dice, table: &Table) {
    let name = &table.name;
    match dice.below(30) {
        0 if session.tables().len() > 3 => _ = session.execute(&format!("DROP TABLE {name}")),
        1 => _ = session.execute(&format!("TRUNCATE TABLE {name}")),
        2 => swap(session, dice, table),
        3 => {
            let new = session.new_name("r");
            session.execute(&format!(
                "ALTER TABLE {name} RENAME TO {new}, COMMENT 'renamed'"
            ));
        }
        4 => partition_maintenance(session, dice, table),
        5 => {
            let view = session.new_name("v");
            session.execute(&format!("CREATE VIEW {view} AS SELECT * FROM {name}"));
            session.execute(&format!("DROP VIEW IF EXISTS {view}"));
        }
        6 => trigger(session, dice, table),
        7 => {
            let charset = *dice.pick(&["latin1", "utf8mb4", "utf8mb3"]);
            let database = session.database().to_owned();
            session.execute(&format!(
                "ALTER DATABASE {database} CHARACTER SET {charset}"
            ));
        }
        8 => {
            let statement = *dice.pick(&[
                "ANALYZE TABLE",
                "OPTIMIZE TABLE",
                "CHECK TABLE",
                "FLUSH TABLES",
            ]);
            session.execute(&format!("{statement} {name}"));
        }
        9 => {
            let column = dice.pick(&table.columns).name.clone();
            let index = session.new_name("i");
            let unique = if dice.percent(30) { "UNIQUE " } else { "" };
            session.execute(&format!(
                "CREATE {unique}INDEX {index} ON {name} ({column})"
            ));
        }
        10 if !table.indexes.is_empty() => {
            let index = dice.pick(&table.indexes).clone();
            session.execute(&format!("DROP INDEX {index} ON {name}"));
        }
        _ => {
            let mut clauses = Vec::new();
            for _ in 0..*dice.pick(&[1, 1, 1, 2, 2, 3]) {
                if let Some(clause) = clause(session, dice, table) {
                    clauses.push(clause);
                }
            }
            if !clauses.is_empty() {
                let algorithm = dice.pick(&[
                    "",
                    "",
                    "",
                    ", ALGORITHM = COPY",
                    ", ALGORITHM = INPLACE, LOCK = NONE",
                    ", ALGORITHM = INSTANT",
                ]);
                session.execute(&format!(
                    "ALTER TABLE {name} {}{algorithm}",
                    clauses.join(", ")
                ));
            }
        }
    }
}

fn swap(session: &mut Session, dice: &mut Dice, table: &Table) {
    let other = dice.pick(session.tables()).name.clone();
    let (name, passing) = (&table.name, session.new_name("s"));
    if other == *name {
        session.execute(&format!("RENAME TABLE {name} TO {passing}"));
    } else {
        session.execute(&format!(
            "RENAME TABLE {name} TO {passing}, {other} TO {name}, {passing} TO {other}"
        ));
    }
}

fn partition_maintenance(session: &mut Session, dice: &mut Dice, table: &Table) {
    let name = &table.name;
    let clause = match table.partitioning.as_deref() {
        None => {
            let Some(key) = table
                .columns
                .iter()
                .find(|column| column.in_key && column.kind.ends_with("int"))
            else {
                return;
            };
            partitioning(dice, &key.name.clone())
        }
        Some(method) => {
            let list: &[&str] = match method {
                "HASH" | "KEY" => &[
                    "ADD PARTITION PARTITIONS 2",
                    "COALESCE PARTITION 1",
                    "REBUILD PARTITION p0",
                    "REMOVE PARTITIONING",
                ],
                _ => &[
                    "REORGANIZE PARTITION p1 INTO (PARTITION p1 VALUES LESS THAN (50), PARTITION p3 VALUES LESS THAN (100))",
                    "REORGANIZE PARTITION p0, p1 INTO (PARTITION p1 VALUES LESS THAN (100))",
                    "ANALYZE PARTITION ALL",
                    "REBUILD PARTITION ALL",
                    "REMOVE PARTITIONING",
                    "TRUNCATE PARTITION ALL",
                ],
            };
            (*dice.pick(list)).to_owned()
        }
    };
    session.execute(&format!("ALTER TABLE {name} {clause}"));
}

/// What a trigger changes is logged as rows of the statement that fired it.
fn trigger(session: &mut Session, dice: &mut Dice, table: &Table) {
    let other = dice.pick(session.tables()).name.clone();
    let (name, trigger) = (&table.name, session.new_name("tr"));
    if other != *name {
        session.execute(&format!("CREATE TRIGGER {trigger} AFTER UPDATE ON {name} FOR EACH ROW DELETE FROM {other} ORDER BY 1 LIMIT 1"));
    }
}

/// One clause of an ALTER TABLE.
fn clause(session: &mut Session, dice: &mut Dice, table: &Table) -> Option<String> {
    let column = dice.pick(&table.columns).clone();
    let name = &column.name;
    Some(match dice.below(26) {
        0..=4 => format!(
            "ADD COLUMN {} {}{}",
            session.new_name("n"),
            definition_of_new_column(dice),
            place(dice, table)
        ),
        5 => format!(
            "ADD COLUMN ({} {}, {} {})",
            session.new_name("n"),
            definition_of_new_column(dice),
            session.new_name("n"),
            definition_of_new_column(dice)
        ),
        6..=8 if table.columns.len() > 3 => format!("DROP COLUMN {name}"),
        9 => format!("RENAME COLUMN {name} TO {}", session.new_name("q")),
        10 | 11 => format!(
            "CHANGE COLUMN {name} {} {}{}",
            session.new_name("q"),
            same_or_wider(dice, &column, false)?,
            place(dice, table)
        ),
        12..=14 => format!(
            "MODIFY COLUMN {name} {}{}",
            same_or_wider(dice, &column, true)?,
            place(dice, table)
        ),
        15 if !column.generated => format!(
            "ALTER COLUMN {name} SET DEFAULT {}",
            constant(dice, &column)?
        ),
        16 => format!("ALTER COLUMN {name} DROP DEFAULT"),
        17 => format!(
            "ALTER COLUMN {name} SET {}",
            dice.pick(&["VISIBLE", "INVISIBLE"])
        ),
        18 => format!("ADD INDEX {} ({name})", session.new_name("i")),
        19 if table.has_primary_key => {
            let other = dice.pick(&table.columns);
            if other.name == *name {
                format!("DROP PRIMARY KEY, ADD PRIMARY KEY ({name})")
            } else {
                format!("DROP PRIMARY KEY, ADD PRIMARY KEY ({name}, {})", other.name)
            }
        }
        19 => format!("ADD PRIMARY KEY ({name})"),
        20 => format!(
            "CONVERT TO CHARACTER SET {}",
            dice.pick(&["utf8mb4", "utf8mb4 COLLATE utf8mb4_bin", "utf8mb3"])
        ),
        21 => "DEFAULT CHARACTER SET latin1".to_owned(),
        22 => (*dice.pick(&[
            "ENGINE = InnoDB",
            "FORCE",
            "COMMENT = 'x'",
            "ROW_FORMAT = DYNAMIC",
            "STATS_PERSISTENT = 1",
        ]))
        .to_owned(),
        23 => format!(
            "ADD CONSTRAINT {} CHECK ({name} IS NOT NULL OR TRUE)",
            session.new_name("ck")
        ),
        24 => "DROP PRIMARY KEY".to_owned(),
        _ => format!("ADD UNIQUE INDEX {} ({name})", session.new_name("u")),
    })
}

fn constant(dice: &mut Dice, column: &Column) -> Option<String> {
    let literal = columns::literal(dice, column);
    // Types without constant defaults.
    let plain = !literal.contains('(')
        && !column.kind.ends_with("text")
        && !column.kind.ends_with("blob")
        && column.kind != "json";
    plain.then_some(literal)
}

/// The column's own type again, or a wider one.
fn same_or_wider(dice: &mut Dice, column: &Column, may_widen: bool) -> Option<String> {
    if column.generated {
        return None;
    }
    let null = if column.nullable {
        " NULL"
    } else {
        " NOT NULL"
    };
    if may_widen && dice.percent(70) {
        return columns::successor(dice, column).map(|declared| format!("{declared}{null}"));
    }
    let charset = column
        .charset
        .as_deref()
        .map_or(String::new(), |name| format!(" CHARACTER SET {name}"));
    let srid = column
        .srid
        .as_deref()
        .map_or(String::new(), |srid| format!(" SRID {srid}"));
    Some(format!("{}{charset}{null}{srid}", column.declared))
}
