//! What the catalog makes of statements, refuses, ignores and marks.

use super::{
    Catalog, ColumnDefault, DataType, Literal, RowTransform, SchemaChange, StatementContext,
    TableDefinition, TableName,
};
use crate::{ErrorKind, Result};

fn apply(catalog: &mut Catalog, statement: &str) -> Result<Vec<SchemaChange>> {
    let context = StatementContext {
        default_database: b"d",
        ..Default::default()
    };
    catalog.apply(statement.as_bytes(), &context)
}

fn catalog(statements: &[&str]) -> Catalog {
    let mut catalog = Catalog::new();
    apply(&mut catalog, "CREATE DATABASE d").unwrap();
    for statement in statements {
        apply(&mut catalog, statement).unwrap();
    }
    catalog
}

fn table<'a>(catalog: &'a Catalog, name: &str) -> &'a TableDefinition {
    catalog.table(&TableName::new("d", name)).unwrap()
}

fn names(table: &TableDefinition) -> Vec<&str> {
    let columns = table.columns.iter();
    columns.map(|column| column.name.as_str()).collect()
}

/// What the statement does to each row of the one table that it changes.
fn only_transform(changes: &[SchemaChange]) -> &RowTransform {
    match changes {
        [
            SchemaChange::AlterTable {
                transform: Some(transform),
                ..
            },
        ] => transform,
        _ => panic!("{changes:?}"),
    }
}

#[test]
fn statements_that_only_an_sql_engine_executes_are_refused_with_the_remedy() {
    let mut catalog = catalog(&["CREATE TABLE t (a INT)"]);
    for statement in [
        "INSERT INTO t VALUES (1)",
        "/* x */ update t set a = 1",
        "DELETE FROM t",
        "REPLACE t SELECT 1",
        "LOAD DATA INFILE 'x' INTO TABLE t",
        "WITH x AS (SELECT 1) DELETE FROM t",
        "CALL p()",
        "SELECT f()",
        "CREATE TABLE u AS SELECT * FROM t",
        "CREATE TABLE u (a INT) IGNORE SELECT * FROM t",
        "CREATE TABLE u (SELECT 1)",
    ] {
        let error = apply(&mut catalog, statement).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{statement}");
        assert!(error.remedy_text().unwrap().contains("binlog_format=ROW"));
    }
    let error = apply(&mut catalog, "FROBNICATE t").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}

#[test]
fn statements_that_change_neither_rows_nor_schemas_change_nothing() {
    let mut catalog = catalog(&[]);
    for statement in [
        "GRANT ALL ON *.* TO u",
        "CREATE USER u IDENTIFIED BY 'x'",
        "CREATE DEFINER=`a`@`%` PROCEDURE p () BEGIN DROP TABLE t; END",
        "CREATE TRIGGER tr BEFORE INSERT ON t FOR EACH ROW SET NEW.a = 'unterminated",
        "CREATE OR REPLACE VIEW v AS SELECT 1",
        "CREATE JSON RELATIONAL DUALITY VIEW v2 AS SELECT 1",
        "DROP TEMPORARY TABLE IF EXISTS t",
        "DROP /*!40005 TEMPORARY */ TABLE t",
        "ANALYZE TABLE t",
        "FLUSH TABLES",
        "DROP TABLE IF EXISTS nothing",
        "DROP DATABASE IF EXISTS nothing",
        "ALTER TABLE mysql.general_log ENGINE = CSV",
        "XA COMMIT 'a'",
        "CREATE SPATIAL REFERENCE SYSTEM 4120 NAME 'x'",
        "ALTER INSTANCE ROTATE INNODB MASTER KEY",
    ] {
        let changes = apply(&mut catalog, statement).unwrap();
        assert!(changes.is_empty(), "{statement}: {changes:?}");
    }
}

#[test]
fn a_table_whose_statement_is_not_understood_is_an_error_at_its_next_row() {
    let mut catalog = catalog(&["CREATE TABLE t (a INT)"]);
    let changes = apply(&mut catalog, "ALTER TABLE t MELT COLUMN a").unwrap();
    assert!(matches!(changes[..], [SchemaChange::AlterTable { .. }]));
    let name = TableName::new("d", "t");
    let error = catalog.table_mut(&name).unwrap().bind(&[]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Schema);
    assert!(error.message().contains("MELT COLUMN"), "{error}");
    // What is known still happens, and the reason stays.
    apply(&mut catalog, "ALTER TABLE t ADD b INT, RENAME TO u").unwrap();
    assert!(
        table(&catalog, "u")
            .unknown
            .as_ref()
            .unwrap()
            .contains("MELT")
    );
    apply(&mut catalog, "DROP TABLE u").unwrap();
    apply(&mut catalog, "CREATE TABLE t (a QUBIT)").unwrap();
    assert!(table(&catalog, "t").unknown.is_some());
}

#[test]
fn what_does_not_fit_is_an_error_and_changes_nothing() {
    let mut catalog = catalog(&["CREATE TABLE a (x INT)", "CREATE TABLE b (x INT)"]);
    let before = catalog.clone();
    for statement in [
        "CREATE TABLE a (x INT)",
        "CREATE TABLE other.t (x INT)",
        "CREATE TABLE c LIKE nothing",
        "CREATE DATABASE d",
        "DROP TABLE a, nothing",
        "DROP DATABASE nothing",
        "RENAME TABLE a TO c, b TO c",
        "RENAME TABLE a TO c, nothing TO e",
        "ALTER TABLE a RENAME TO b",
        "ALTER TABLE nothing ADD x INT",
        "TRUNCATE nothing",
        "DROP INDEX i ON nothing",
    ] {
        let error = apply(&mut catalog, statement).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Schema, "{statement}");
        assert_eq!(catalog, before, "{statement}");
    }
}

#[test]
fn tables_swap_names_from_left_to_right() {
    let mut catalog = catalog(&["CREATE TABLE a (x INT)", "CREATE TABLE b (y INT)"]);
    let changes = apply(&mut catalog, "RENAME TABLE a TO c, b TO a, c TO b").unwrap();
    assert_eq!(changes.len(), 3);
    assert_eq!(names(table(&catalog, "a")), ["y"]);
    assert_eq!(names(table(&catalog, "b")), ["x"]);
}

#[test]
fn the_key_is_the_primary_or_the_first_unique_one_without_null() {
    let catalog = catalog(&[
        "CREATE TABLE a (x INT, y INT NOT NULL UNIQUE, PRIMARY KEY (x))",
        "CREATE TABLE b (x INT UNIQUE, y VARCHAR(9) NOT NULL, z INT NOT NULL, UNIQUE (y(3)), UNIQUE (z DESC))",
        "CREATE TABLE c (x INT, UNIQUE (x), KEY (x))",
    ]);
    let key = |name| {
        let parts = table(&catalog, name).primary_key.iter();
        parts
            .map(|part| (part.column, part.descending))
            .collect::<Vec<_>>()
    };
    assert_eq!(key("a"), [(0, false)]);
    assert_eq!(key("b"), [(2, true)]);
    assert_eq!(key("c"), []);
}

#[test]
fn rows_that_go_without_row_events_are_refused_once_there_are_rows() {
    let mut catalog = catalog(&[
        "CREATE TABLE t (a INT PRIMARY KEY) PARTITION BY RANGE (a) (PARTITION p VALUES LESS THAN (9))",
    ]);
    for statement in [
        "ALTER TABLE t DROP PARTITION p",
        "ALTER TABLE t TRUNCATE PARTITION p, q",
        "ALTER TABLE t DISCARD TABLESPACE",
    ] {
        let changes = apply(&mut catalog, statement).unwrap();
        let transform = only_transform(&changes);
        let error = transform
            .apply(&[0, 1, 0, 0, 0], &mut Vec::new())
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.message().contains(statement), "{error}");
    }
    let changes = apply(&mut catalog, "ALTER TABLE t TRUNCATE PARTITION ALL").unwrap();
    assert!(matches!(changes[..], [SchemaChange::TruncateTable(_)]));
}

#[test]
fn a_statement_in_another_character_set_names_the_same_table() {
    let mut catalog = catalog(&[]);
    let context = StatementContext {
        default_database: b"d",
        client_collation: 8,
        ..Default::default()
    };
    let statement = b"CREATE TABLE gr\xf6\xdfe (a ENUM('\xe4'))";
    catalog.apply(statement, &context).unwrap();
    let table = table(&catalog, "größe");
    assert_eq!(
        table.columns[0].data_type,
        DataType::Enum(vec!["ä".to_owned()])
    );
    let big5 = StatementContext {
        client_collation: 1,
        ..context
    };
    let error = catalog.apply(b"CREATE TABLE \xa4\x5c (a INT)", &big5);
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Unsupported);
}

#[test]
fn a_rekey_is_asked_for_where_keys_change_and_only_there() {
    let mut catalog = catalog(&[
        "CREATE TABLE t (a INT, b VARCHAR(9) COLLATE utf8mb4_bin NOT NULL, c INT, PRIMARY KEY (a, b))",
    ]);
    for (statement, expected) in [
        ("ALTER TABLE t ADD d INT, MODIFY c BIGINT, DROP c", false),
        ("ALTER TABLE t MODIFY a INT AFTER b", false),
        ("ALTER TABLE t MODIFY a BIGINT", true),
        (
            "ALTER TABLE t MODIFY b VARCHAR(9) COLLATE utf8mb4_0900_ai_ci NOT NULL",
            true,
        ),
        (
            "ALTER TABLE t DROP PRIMARY KEY, ADD PRIMARY KEY (b, a)",
            true,
        ),
        (
            "ALTER TABLE t DROP PRIMARY KEY, ADD PRIMARY KEY (b, a)",
            false,
        ),
        (
            "ALTER TABLE t DROP PRIMARY KEY, ADD PRIMARY KEY (b, a DESC)",
            true,
        ),
        ("ALTER TABLE t DROP PRIMARY KEY", true),
        ("CREATE UNIQUE INDEX u ON t (b)", true),
        ("ALTER TABLE t COMMENT 'x', RENAME COLUMN b TO bb", false),
    ] {
        let changes = apply(&mut catalog, statement).unwrap();
        let rekeyed = changes
            .iter()
            .any(|change| matches!(change, SchemaChange::AlterTable { rekey: true, .. }));
        assert_eq!(rekeyed, expected, "{statement}");
    }
}

#[test]
fn no_statement_makes_it_panic() {
    let words = [
        "CREATE",
        "ALTER",
        "TABLE",
        "t",
        "(",
        ")",
        ",",
        "a",
        "INT",
        "VARCHAR(9)",
        "DEFAULT",
        "'x'",
        "1e400",
        "-1",
        "NULL",
        "PRIMARY KEY",
        "UNIQUE",
        "(a(3) DESC)",
        "ADD",
        "DROP",
        "MODIFY",
        "CHANGE",
        "RENAME",
        "TO",
        "AFTER",
        "FIRST",
        "CONVERT TO CHARACTER SET",
        "latin1",
        "PARTITION",
        "ENUM('a')",
        "((((",
        "))))",
        "TIME",
        "99999999999999999999999999999999999999",
        "x'00'",
        "TRUNCATE",
        "ALL",
        "AS (a)",
        "STORED",
        "`",
        "\'",
        "/*!",
        "*/",
        ".",
        "=",
        "TEXT(4000000000)",
        "DECIMAL(255,255)",
        "BIT(200)",
        "COLLATE",
        "utf8mb4_bin",
        "INDEX",
        "ON",
        "LIKE",
        "DATABASE",
        "ORDER BY",
    ];
    let mut catalog = catalog(&["CREATE TABLE t (a INT PRIMARY KEY, b VARCHAR(9), c ENUM('x'))"]);
    let mut state = 1u32;
    let mut below = |bound: usize| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as usize % bound
    };
    let begin = [
        "CREATE TABLE t",
        "ALTER TABLE t",
        "ALTER TABLE t ADD",
        "ALTER TABLE t MODIFY b",
        "",
    ];
    for _ in 0..20_000 {
        let mut statement = begin[below(begin.len())].to_owned();
        for _ in 0..below(9) {
            statement.push(' ');
            statement.push_str(words[below(words.len())]);
        }
        let mut scratch = catalog.clone();
        if let Ok(changes) = apply(&mut scratch, &statement) {
            for change in changes {
                if let SchemaChange::AlterTable {
                    transform: Some(transform),
                    ..
                } = change
                {
                    let _ = transform.apply(&[0, 1, 0, 0, 0, 1, b'x', 1], &mut Vec::new());
                }
            }
            let mut bytes = Vec::new();
            scratch.encode(&mut bytes);
            assert_eq!(Catalog::decode(&bytes).unwrap(), scratch, "{statement}");
        }
    }
    let deep = format!(
        "ALTER TABLE t ADD d INT DEFAULT {}1{}",
        "(".repeat(50_000),
        ")".repeat(50_000)
    );
    apply(&mut catalog, &deep).unwrap();
}

#[test]
fn rows_that_come_without_row_events_are_refused() {
    let mut catalog = catalog(&[
        "CREATE TABLE t (a INT PRIMARY KEY) PARTITION BY HASH (a) PARTITIONS 2",
        "CREATE TABLE u (a INT PRIMARY KEY)",
    ]);
    let before = catalog.clone();
    for statement in [
        "ALTER TABLE u IMPORT TABLESPACE",
        "ALTER TABLE t IMPORT PARTITION p0 TABLESPACE",
    ] {
        let error = apply(&mut catalog, statement).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{statement}");
        assert!(error.remedy_text().unwrap().contains("clone"));
        assert_eq!(catalog, before);
    }
    // An exchange is one as soon as either table has a row.
    let statement = "ALTER TABLE t EXCHANGE PARTITION p0 WITH TABLE d.u WITHOUT VALIDATION";
    let changes = apply(&mut catalog, statement).unwrap();
    let mut tables = Vec::new();
    for change in &changes {
        let SchemaChange::AlterTable {
            table,
            transform: Some(transform),
            ..
        } = change
        else {
            panic!("{change:?}");
        };
        let error = transform.apply(&[0, 1, 0, 0, 0], &mut Vec::new());
        assert_eq!(error.unwrap_err().kind(), ErrorKind::Unsupported);
        tables.push(table.to_string());
    }
    assert_eq!(tables, ["d.t", "d.u"]);
    let error = apply(
        &mut catalog,
        "ALTER TABLE t EXCHANGE PARTITION p0 WITH TABLE nothing",
    );
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Schema);
    assert_eq!(catalog, before);
}

/// The server computes a generated column anew where the statement changes what it is made of.
#[test]
fn rows_whose_generated_columns_would_change_are_refused() {
    let number = &[0, 1, 0, 0, 0, 2, 0, 0, 0][..];
    // 1.55, and 3.10.
    let decimal = &[0, 0x80, 0, 0, 1, 55, 0x80, 0, 0, 0, 3, 10][..];
    let ascii = &[0, 1, b'a', 1, b'h'][..];
    for (table, clause, row, expected) in [
        ("n INT, g INT AS (`N` + 1)", "MODIFY n BIGINT", number, true),
        (
            "n INT, g INT AS (n + 1)",
            "MODIFY n VARCHAR(9)",
            number,
            false,
        ),
        (
            "n INT, g INT AS (m + 1)",
            "MODIFY n VARCHAR(9)",
            number,
            true,
        ),
        ("n INT, g INT AS (ABS(n))", "ADD abs INT", number, true),
        (
            "n INT, g INT AS (n)",
            "DROP n, ADD n INT FIRST",
            number,
            false,
        ),
        (
            "d DECIMAL(10,2), g DECIMAL(12,2) AS (d * 2) STORED",
            "MODIFY d DECIMAL(10,1)",
            decimal,
            false,
        ),
        (
            "d DECIMAL(10,2), g DECIMAL(12,2) AS (d * 2) STORED",
            "MODIFY d DECIMAL(11,2)",
            decimal,
            true,
        ),
        (
            "d DECIMAL(10,2), g DECIMAL(12,2) AS (d * 2) STORED",
            "MODIFY g DECIMAL(12,4) AS (d * 2) STORED",
            decimal,
            false,
        ),
        (
            "d DECIMAL(10,2), g DECIMAL(12,2) AS (d * 2) STORED",
            "MODIFY g DECIMAL(12,2) AS (d * 2) STORED COMMENT 'twice', MODIFY d DECIMAL(11,2)",
            decimal,
            true,
        ),
        (
            "u VARCHAR(9), g CHAR(32) AS (MD5(U)) STORED",
            "MODIFY u VARCHAR(300)",
            ascii,
            true,
        ),
        (
            "u VARCHAR(9), g CHAR(32) AS (MD5(U)) STORED",
            "CONVERT TO CHARACTER SET utf8mb4",
            ascii,
            false,
        ),
        (
            "u VARCHAR(9), g CHAR(32) AS (REPLACE('u', 'a', u)) STORED",
            "MODIFY u VARCHAR(9) COLLATE latin1_bin",
            ascii,
            false,
        ),
        (
            "u VARCHAR(9), g CHAR(32) AS ('u') STORED",
            "MODIFY u VARCHAR(9) COLLATE latin1_bin, ADD x INT",
            ascii,
            true,
        ),
    ] {
        let create = format!("CREATE TABLE t ({table}) CHARACTER SET latin1");
        let mut catalog = catalog(&[&create]);
        let changes = apply(&mut catalog, &format!("ALTER TABLE t {clause}")).unwrap();
        let transform = only_transform(&changes);
        let outcome = transform.apply(row, &mut Vec::new());
        assert_eq!(outcome.is_ok(), expected, "{table}: {clause}: {outcome:?}");
        if let Err(error) = outcome {
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            assert!(error.message().contains("generated column"), "{error}");
        }
    }
}

#[test]
fn a_table_known_by_its_table_map_alone_has_no_defaults_to_fill_in() {
    let made = catalog(&["CREATE TABLE t (a INT NOT NULL, b INT DEFAULT 5)"]);
    let columns = table(&made, "t").physical_columns().unwrap();
    let definition = TableDefinition::from_table_map(&columns, &[]).unwrap();
    let mut adopted = Catalog::new();
    adopted.insert(TableName::new("d", "t"), definition);
    let mut bytes = Vec::new();
    adopted.encode(&mut bytes);
    for catalog in [&adopted, &Catalog::decode(&bytes).unwrap()] {
        for column in &table(catalog, "t").columns {
            let error = column.default_value(&StatementContext::default());
            assert_eq!(error.unwrap_err().kind(), ErrorKind::Unsupported);
        }
    }
}

#[test]
fn a_row_that_auto_increment_would_number_is_refused() {
    let rewrite = |create: &str, sql_mode: u64, value: u8| {
        let mut catalog = catalog(&[create]);
        let context = StatementContext {
            default_database: b"d",
            sql_mode,
            ..Default::default()
        };
        let statement = b"ALTER TABLE t MODIFY a SMALLINT NOT NULL AUTO_INCREMENT, ADD b INT";
        let changes = catalog.apply(statement, &context).unwrap();
        let transform = only_transform(&changes);
        transform.apply(&[0, value], &mut Vec::new())
    };
    let plain = "CREATE TABLE t (a TINYINT PRIMARY KEY)";
    let numbered = "CREATE TABLE t (a TINYINT AUTO_INCREMENT PRIMARY KEY)";
    rewrite(plain, 0, 1).unwrap();
    rewrite(plain, 1 << 19, 0).unwrap();
    rewrite(numbered, 0, 0).unwrap();
    let error = rewrite(plain, 0, 0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.message().contains("AUTO_INCREMENT"), "{error}");
}

#[test]
fn the_first_timestamp_has_a_default_of_its_own_in_an_altered_table_too() {
    let context = StatementContext {
        default_database: b"d",
        timestamp: 0x0102_0304,
        explicit_defaults_for_timestamp: false,
        ..Default::default()
    };
    let zero = [0u8; 4];
    let now = [1, 2, 3, 4];
    for (clauses, expected) in [
        ("ADD b TIMESTAMP, ADD c TIMESTAMP NOT NULL", [now, zero]),
        ("ADD b TIMESTAMP, ADD c TIMESTAMP FIRST", [now, zero]),
        ("ADD (b TIMESTAMP DEFAULT 0, c TIMESTAMP)", [zero, zero]),
    ] {
        let mut catalog = catalog(&["CREATE TABLE t (a TINYINT)"]);
        let statement = format!("ALTER TABLE t {clauses}");
        let changes = catalog.apply(statement.as_bytes(), &context).unwrap();
        let transform = only_transform(&changes);
        let mut row = Vec::new();
        transform.apply(&[0, 7], &mut row).unwrap();
        row.retain(|byte| *byte != 7);
        assert_eq!(row[1..], expected.concat(), "{statement}");
    }
}

#[test]
fn default_is_also_a_value_of_column_options() {
    let catalog = catalog(&[
        "CREATE TABLE t (a INT COLUMN_FORMAT DEFAULT STORAGE DEFAULT DEFAULT 5, b INT STORAGE DISK)",
    ]);
    let table = table(&catalog, "t");
    assert_eq!(table.unknown, None);
    assert_eq!(names(table), ["a", "b"]);
    assert_eq!(
        table.columns[0].default,
        ColumnDefault::Constant(Literal::Number("5".to_owned()))
    );
}
