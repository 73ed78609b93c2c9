//! Which tables a statement of the log changes, or may change.

use super::context::StatementContext;
use super::definition::TableName;
use super::statement::{self, Statement};

/// What a statement has to do with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Concerns {
    /// No rows, and no table's definition.
    Nothing,
    Tables(Vec<TableName>),
    /// Every table of a database.
    Database(Vec<u8>),
    /// What it changes cannot be told.
    Everything,
}

/// Looks at the names in a statement; whether it fits what is there does not matter.
pub(crate) fn concerns(statement: &[u8], context: &StatementContext<'_>) -> Concerns {
    if is_control(statement) {
        return Concerns::Nothing;
    }
    if takes_back(statement) {
        return Concerns::Everything;
    }
    let Ok(parsed) = statement::parse(statement, context) else {
        return Concerns::Everything;
    };
    match parsed {
        Statement::Nothing
        | Statement::CreateDatabase { .. }
        | Statement::AlterDatabase { .. }
        | Statement::CreateView(_)
        | Statement::DropViews(_) => Concerns::Nothing,
        Statement::DropDatabase { name, .. } => Concerns::Database(name.into_bytes()),
        Statement::CreateTable(create) => Concerns::Tables(vec![create.name]),
        Statement::AlterTable { name, .. } | Statement::Truncate(name) => {
            Concerns::Tables(vec![name])
        }
        Statement::RenameTables(renames) => Concerns::Tables(
            renames
                .into_iter()
                .flat_map(|(from, to)| [from, to])
                .collect(),
        ),
        Statement::DropTables { names, .. } => Concerns::Tables(names),
        Statement::CreateIndex { table, .. } | Statement::DropIndex { table, .. } => {
            Concerns::Tables(vec![table])
        }
        Statement::NeedsSql(_) | Statement::Unknown => Concerns::Everything,
    }
}

/// ROLLBACK TO a savepoint, and the second phase of an XA transaction: both change rows by what is in
/// other events.
fn takes_back(statement: &[u8]) -> bool {
    let begins = |text: &[u8]| {
        let head = statement.get(..text.len()).unwrap_or_default();
        head.eq_ignore_ascii_case(text)
    };
    begins(b"ROLLBACK TO ") || begins(b"XA COMMIT") || begins(b"XA ROLLBACK")
}

/// What opens and ends transactions.
fn is_control(statement: &[u8]) -> bool {
    let is = |text: &[u8]| statement.eq_ignore_ascii_case(text);
    let head = statement.get(..10).unwrap_or_default();
    is(b"BEGIN") || is(b"COMMIT") || head.eq_ignore_ascii_case(b"SAVEPOINT ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_and_what_cannot_be_told_concerns_everything() {
        let context = StatementContext {
            default_database: b"d",
            ..Default::default()
        };
        let of = |statement: &str| concerns(statement.as_bytes(), &context);
        let tables = |names: &[(&str, &str)]| {
            let names = names.iter().map(|(d, t)| TableName::new(d, t));
            Concerns::Tables(names.collect())
        };
        for (statement, expected) in [
            ("BEGIN", Concerns::Nothing),
            ("SAVEPOINT `a`", Concerns::Nothing),
            ("CREATE DATABASE e", Concerns::Nothing),
            ("CREATE VIEW v AS SELECT 1", Concerns::Nothing),
            ("DROP DATABASE e", Concerns::Database(b"e".to_vec())),
            ("CREATE TABLE t (a INT)", tables(&[("d", "t")])),
            ("ALTER TABLE e.t ADD b INT", tables(&[("e", "t")])),
            ("TRUNCATE t", tables(&[("d", "t")])),
            ("CREATE INDEX i ON t (a)", tables(&[("d", "t")])),
            ("DROP INDEX i ON t", tables(&[("d", "t")])),
            ("DROP TABLE t, e.u", tables(&[("d", "t"), ("e", "u")])),
            ("RENAME TABLE t TO e.u", tables(&[("d", "t"), ("e", "u")])),
            ("ROLLBACK TO `a`", Concerns::Everything),
            ("XA COMMIT X'61',X'',1", Concerns::Everything),
            ("INSERT INTO t VALUES (1)", Concerns::Everything),
            ("CONJURE TABLE t", Concerns::Everything),
        ] {
            assert_eq!(of(statement), expected, "{statement}");
        }
    }
}
