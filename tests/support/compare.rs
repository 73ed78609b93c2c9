//! A store's dump against a member's rows, byte for byte, and GTID sets.

use std::path::Path;

use super::rejoin;
use super::server::Server;

/// Databases that a server has by itself.
const OWN: &str = "'mysql', 'sys', 'information_schema', 'performance_schema'";

/// Every table of users, as `database.table`, with the order of its primary key.
pub fn tables(server: &Server) -> Vec<(String, String)> {
    let list = server.sql(&format!(
        "SELECT CONCAT(t.table_schema, '.', t.table_name), GROUP_CONCAT(
                IF(s.sub_part IS NULL, sys.quote_identifier(s.column_name),
                    CONCAT('LEFT(', sys.quote_identifier(s.column_name), ', ', s.sub_part, ')'))
                ORDER BY s.seq_in_index)
         FROM information_schema.tables t LEFT JOIN information_schema.statistics s
           ON s.table_schema = t.table_schema AND s.table_name = t.table_name AND s.index_name = 'PRIMARY'
         WHERE t.table_type = 'BASE TABLE' AND t.table_schema NOT IN ({OWN})
         GROUP BY t.table_schema, t.table_name ORDER BY 1"
    ));
    list.lines()
        .map(|line| {
            let (table, key) = line.split_once('\t').expect("two columns");
            (table.to_owned(), key.to_owned())
        })
        .collect()
}

/// The tables of one database, each with its primary key as `ORDER BY` takes it; none where the table
/// has none.
pub fn tables_in(server: &Server, database: &str) -> Vec<(String, Option<String>)> {
    let list = server.sql(&format!(
        "SELECT t.table_name, GROUP_CONCAT(
                CONCAT(IF(s.sub_part IS NULL, sys.quote_identifier(s.column_name),
                    CONCAT('LEFT(', sys.quote_identifier(s.column_name), ', ', s.sub_part, ')')),
                    IF(s.collation = 'D', ' DESC', ''))
                ORDER BY s.seq_in_index)
         FROM information_schema.tables t LEFT JOIN information_schema.statistics s
           ON s.table_schema = t.table_schema AND s.table_name = t.table_name AND s.index_name = 'PRIMARY'
         WHERE t.table_type = 'BASE TABLE' AND t.table_schema = '{database}'
         GROUP BY t.table_name"
    ));
    list.lines()
        .map(|line| {
            let (table, key) = line.split_once('\t').expect("two columns");
            (
                table.to_owned(),
                Some(key.to_owned()).filter(|key| key != "NULL"),
            )
        })
        .collect()
}

/// Checks that the store holds exactly the server's rows in every table, and gives how many rows.
///
/// # Panics
/// With the first line that differs.
pub fn assert_same_rows(store: &Path, server: &Server) -> usize {
    let tables = tables(server);
    assert!(
        !tables.is_empty(),
        "a server without tables compares nothing"
    );
    let mut rows = 0;
    for (table, key) in tables {
        let expected = server
            .sql_bytes(&format!("SELECT * FROM {table} ORDER BY {key}"))
            .unwrap_or_else(|error| panic!("{table}: {error}"));
        let dumped = rejoin::dump(store, &table);
        if dumped != expected {
            panic!(
                "{table} differs from the member of port {}: {}",
                server.port,
                first_difference(&dumped, &expected)
            );
        }
        rows += expected.iter().filter(|&&byte| byte == b'\n').count();
    }
    rows
}

fn first_difference(dumped: &[u8], expected: &[u8]) -> String {
    let lines = |bytes: &[u8]| {
        bytes
            .split(|&byte| byte == b'\n')
            .map(<[u8]>::to_vec)
            .collect::<Vec<_>>()
    };
    let (ours, theirs) = (lines(dumped), lines(expected));
    let at = ours.iter().zip(&theirs).take_while(|(a, b)| a == b).count();
    let show = |lines: &[Vec<u8>]| {
        lines.get(at).map_or_else(
            || "nothing".to_owned(),
            |line| line.escape_ascii().to_string(),
        )
    };
    format!(
        "{} lines against {}; line {}\n  dumped: {}\n  member: {}",
        ours.len() - 1,
        theirs.len() - 1,
        at + 1,
        show(&ours),
        show(&theirs)
    )
}

/// Checks that two GTID sets are equal, in the judgement of a server.
pub fn assert_same_gtids(judge: &Server, ours: &str, theirs: &str) {
    let equal = judge.sql(&format!(
        "SELECT GTID_SUBSET('{ours}', '{theirs}') AND GTID_SUBSET('{theirs}', '{ours}')"
    ));
    assert_eq!(
        equal, "1",
        "the store has executed {ours}, the member {theirs}"
    );
}
