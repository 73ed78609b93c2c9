//! The statements that replicas and their tools send before a dump.
//!
//! ```text
//! SET target = value, ...        user variables, session variables; SET NAMES
//! SELECT item, ... [LIMIT n]     variables, literals, a few functions
//! SELECT column, ... FROM performance_schema.replication_group_members [WHERE column = value]
//! SHOW BINARY LOGS | BINARY LOG STATUS | [GLOBAL|SESSION] VARIABLES [LIKE 'pattern'] | GRANTS
//!    | WARNINGS
//! ```
//!
//! An item may be `COALESCE((SELECT column FROM table WHERE column = value), value)` about a table of
//! replication channels, or about a setting of Group Replication among the global variables: a donor
//! has neither, and the last value is the answer.
//!
//! A donor serves binary logs and no SQL: everything else is refused with the number that a server
//! gives a statement that it does not support.

use super::answer::Refusal;

/// Longest statement that is looked at, in bytes.
const STATEMENT_BYTES: usize = 64 << 10;

/// A statement that can be answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Statement {
    /// SET, assignment by assignment.
    Set(Vec<(Target, Expression)>),
    /// SELECT: each item with its column's name.
    Select(Vec<(Expression, String)>),
    /// SELECT from the members of the group.
    SelectMembers {
        /// Each column with the name that it is to have.
        columns: Vec<(String, String)>,
        /// A column, and the value that it must have.
        condition: Option<(String, String)>,
    },
    /// SHOW GRANTS.
    ShowGrants,
    /// SHOW BINARY LOGS.
    ShowBinaryLogs,
    /// SHOW BINARY LOG STATUS.
    ShowBinaryLogStatus,
    /// SHOW VARIABLES, with its pattern.
    ShowVariables(Option<String>),
    /// SHOW WARNINGS: there never are any.
    ShowWarnings,
}

/// What is assigned to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// `@name`, in lower case.
    User(String),
    /// A session variable, in lower case.
    Session(String),
    /// Character set or collation of the session, which change nothing here.
    Names,
}

/// A value in a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expression {
    /// A literal.
    Literal(String),
    /// A bare word, as in `SET autocommit = ON`; of a table, the name of a column.
    Name(String),
    /// NULL.
    Null,
    /// `@name`, in lower case.
    User(String),
    /// `@@name`, in lower case, whatever its scope.
    System(String),
    /// `NAME()`, in lower case.
    Call(String),
}

/// Reads a statement.
///
/// # Errors
/// 1235 (ER_NOT_SUPPORTED_YET) for everything that is none of the above.
pub fn parse(statement: &[u8]) -> Result<Statement, Refusal> {
    let text = String::from_utf8_lossy(statement.get(..STATEMENT_BYTES).unwrap_or(statement));
    let mut cursor = Cursor { rest: &text };
    let parsed = if statement.len() > STATEMENT_BYTES {
        None
    } else if cursor.word("SET") {
        set(&mut cursor)
    } else if cursor.word("SELECT") {
        select(&mut cursor)
    } else if cursor.word("SHOW") {
        show(&mut cursor)
    } else {
        None
    };
    cursor.symbol(';');
    match parsed {
        Some(statement) if cursor.is_empty() => Ok(statement),
        _ => Err(unsupported(&text)),
    }
}

fn unsupported(text: &str) -> Refusal {
    let shown: String = text.chars().take(200).collect();
    Refusal::with_state(
        1235,
        "42000",
        format!("This version of MySQL doesn't yet support '{shown}': a donor serves binary logs"),
    )
}

fn set(cursor: &mut Cursor<'_>) -> Option<Statement> {
    let mut assignments = Vec::new();
    loop {
        if cursor.word("NAMES") {
            let value = cursor.value()?;
            if cursor.word("COLLATE") {
                cursor.value()?;
            }
            assignments.push((Target::Names, value));
        } else {
            let target = match cursor.variable() {
                Some(Expression::User(name)) => Target::User(name),
                Some(Expression::System(name)) => Target::Session(name),
                _ => {
                    let _ = cursor.word("SESSION") || cursor.word("LOCAL");
                    Target::Session(cursor.name()?.to_ascii_lowercase())
                }
            };
            let _ = cursor.symbol(':');
            if !cursor.symbol('=') {
                return None;
            }
            assignments.push((target, cursor.value()?));
        }
        if !cursor.symbol(',') {
            return Some(Statement::Set(assignments));
        }
    }
}

fn select(cursor: &mut Cursor<'_>) -> Option<Statement> {
    let mut items = Vec::new();
    loop {
        cursor.skip_blanks();
        let before = cursor.rest;
        let value = cursor.value()?;
        let length = before.len() - cursor.rest.len();
        let mut label = before.get(..length)?.trim().to_owned();
        if cursor.word("AS") {
            label = cursor.name()?.to_owned();
        }
        items.push((value, label));
        if !cursor.symbol(',') {
            break;
        }
    }
    if cursor.word("FROM") {
        return members(cursor, items);
    }
    if cursor.word("LIMIT") {
        cursor.name()?;
    }
    Some(Statement::Select(items))
}

fn members(cursor: &mut Cursor<'_>, items: Vec<(Expression, String)>) -> Option<Statement> {
    if !cursor.word("performance_schema.replication_group_members") {
        return None;
    }
    let condition = cursor.condition()?;
    let columns = items.into_iter().map(|(item, label)| match item {
        Expression::Name(column) => Some((column.to_ascii_lowercase(), label)),
        _ => None,
    });
    Some(Statement::SelectMembers {
        columns: columns.collect::<Option<_>>()?,
        condition,
    })
}

/// Whether a donor has no row of a table where the condition holds.
fn has_none(table: &str, condition: Option<&(String, String)>) -> bool {
    match table {
        "performance_schema.replication_connection_status" => true,
        "performance_schema.global_variables" => condition.is_some_and(|(column, value)| {
            column == "variable_name" && value.starts_with("group_replication_")
        }),
        _ => false,
    }
}

fn show(cursor: &mut Cursor<'_>) -> Option<Statement> {
    if cursor.word("BINARY") || cursor.word("MASTER") {
        return if cursor.word("LOGS") {
            Some(Statement::ShowBinaryLogs)
        } else if cursor.word("STATUS") || cursor.word("LOG") && cursor.word("STATUS") {
            Some(Statement::ShowBinaryLogStatus)
        } else {
            None
        };
    }
    if cursor.word("WARNINGS") {
        return Some(Statement::ShowWarnings);
    }
    if cursor.word("GRANTS") {
        return Some(Statement::ShowGrants);
    }
    let _ = cursor.word("GLOBAL") || cursor.word("SESSION") || cursor.word("LOCAL");
    if !cursor.word("VARIABLES") {
        return None;
    }
    if !cursor.word("LIKE") {
        return Some(Statement::ShowVariables(None));
    }
    match cursor.value()? {
        Expression::Literal(pattern) => Some(Statement::ShowVariables(Some(pattern))),
        _ => None,
    }
}

/// Whether a name fits a pattern of LIKE. Patterns come from clients: the time is bounded by the
/// product of both lengths.
pub fn is_like(name: &str, pattern: &str) -> bool {
    let name: Vec<char> = name.chars().flat_map(char::to_lowercase).collect();
    let mut pattern = pattern.chars().flat_map(char::to_lowercase);
    // fits[i]: the pattern so far fits the first i characters.
    let mut fits: Vec<bool> = std::iter::once(true)
        .chain(name.iter().map(|_| false))
        .collect();
    while let Some(part) = pattern.next() {
        let mut next = vec![false; fits.len()];
        let wanted = match part {
            '%' => {
                let mut any = false;
                for (to, from) in next.iter_mut().zip(&fits) {
                    any |= from;
                    *to = any;
                }
                fits = next;
                continue;
            }
            '_' => None,
            '\\' => pattern.next(),
            other => Some(other),
        };
        for ((to, from), have) in next.iter_mut().skip(1).zip(&fits).zip(&name) {
            *to = *from && wanted.is_none_or(|wanted| wanted == *have);
        }
        fits = next;
    }
    fits.last() == Some(&true)
}

/// What is left of a statement.
struct Cursor<'a> {
    rest: &'a str,
}

impl<'a> Cursor<'a> {
    /// Passes over blanks and comments.
    fn skip_blanks(&mut self) {
        loop {
            self.rest = self.rest.trim_start();
            let Some(comment) = self.rest.strip_prefix("/*") else {
                return;
            };
            let Some((_, behind)) = comment.split_once("*/") else {
                return;
            };
            self.rest = behind;
        }
    }

    fn is_empty(&mut self) -> bool {
        self.skip_blanks();
        self.rest.is_empty()
    }

    fn symbol(&mut self, symbol: char) -> bool {
        self.skip_blanks();
        match self.rest.strip_prefix(symbol) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// Takes a keyword, in any case, where it comes next.
    fn word(&mut self, keyword: &str) -> bool {
        let before = self.rest;
        let found = self
            .name()
            .is_some_and(|name| name.eq_ignore_ascii_case(keyword));
        if !found {
            self.rest = before;
        }
        found
    }

    /// A bare word or number: letters, digits, `_`, `$`, `.` and `-` within.
    fn name(&mut self) -> Option<&'a str> {
        self.skip_blanks();
        let length = self
            .rest
            .find(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '$' | '.' | '-')))
            .unwrap_or(self.rest.len());
        let (name, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        (!name.is_empty()).then_some(name)
    }

    /// A name in backticks, or a bare one.
    fn quoted_name(&mut self) -> Option<String> {
        if self.rest.starts_with(['`', '\'', '"']) {
            return self.text();
        }
        self.name().map(str::to_owned)
    }

    /// `@name` or `@@[scope.]name`.
    fn variable(&mut self) -> Option<Expression> {
        if !self.symbol('@') {
            return None;
        }
        if !self.rest.starts_with('@') {
            return self
                .quoted_name()
                .map(|name| Expression::User(name.to_ascii_lowercase()));
        }
        self.rest = self.rest.strip_prefix('@')?;
        let name = self.name()?.to_ascii_lowercase();
        let bare = ["global.", "session.", "local."]
            .iter()
            .find_map(|scope| name.strip_prefix(scope));
        Some(Expression::System(bare.unwrap_or(&name).to_owned()))
    }

    /// Text in quotes: doubled quotes and backslashes escape.
    fn text(&mut self) -> Option<String> {
        let mut chars = self.rest.chars();
        let quote = chars.next()?;
        let mut text = String::new();
        loop {
            match chars.next()? {
                c if c == quote => {
                    if !chars.as_str().starts_with(quote) {
                        self.rest = chars.as_str();
                        return Some(text);
                    }
                    chars.next();
                    text.push(quote);
                }
                '\\' if quote != '`' => text.push(chars.next()?),
                c => text.push(c),
            }
        }
    }

    fn value(&mut self) -> Option<Expression> {
        self.skip_blanks();
        match self.rest.chars().next()? {
            '@' => self.variable(),
            '\'' | '"' => self.text().map(Expression::Literal),
            _ => {
                let name = self.name()?;
                if let Some(rest) = self.rest.strip_prefix('(') {
                    self.rest = rest;
                    if name.eq_ignore_ascii_case("COALESCE") {
                        return self.default_of_nothing();
                    }
                    return self
                        .symbol(')')
                        .then(|| Expression::Call(name.to_ascii_lowercase()));
                }
                if name.eq_ignore_ascii_case("NULL") {
                    return Some(Expression::Null);
                }
                let is_number = name
                    .bytes()
                    .all(|byte| byte.is_ascii_digit() || byte == b'.');
                Some(if is_number {
                    Expression::Literal(name.to_owned())
                } else {
                    Expression::Name(name.to_owned())
                })
            }
        }
    }

    /// Behind `COALESCE(`: a subquery that finds nothing, and the value in its place.
    fn default_of_nothing(&mut self) -> Option<Expression> {
        let opened = self.symbol('(') && self.word("SELECT");
        self.name().filter(|_| opened)?;
        let table = if self.word("FROM") { self.name() } else { None };
        let table = table?.to_ascii_lowercase();
        let condition = self.condition()?;
        let closed = self.symbol(')') && self.symbol(',');
        if !closed || !has_none(&table, condition.as_ref()) {
            return None;
        }
        let Expression::Literal(default) = self.value()? else {
            return None;
        };
        self.symbol(')').then_some(Expression::Literal(default))
    }

    /// `[WHERE name = value]`, the name in lower case; the outer `None` where it is something else.
    fn condition(&mut self) -> Option<Option<(String, String)>> {
        if !self.word("WHERE") {
            return Some(None);
        }
        let name = self.name()?.to_ascii_lowercase();
        let equals = self.symbol('=');
        match self.value().filter(|_| equals)? {
            Expression::Literal(value) => Some(Some((name, value))),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::command::replica;

    fn selected(statement: &str) -> Vec<(Expression, String)> {
        match parse(statement.as_bytes()) {
            Ok(Statement::Select(items)) => items,
            other => panic!("{statement}: {other:?}"),
        }
    }

    fn system(name: &str) -> Expression {
        Expression::System(name.into())
    }

    #[test]
    fn what_a_replica_sends_is_understood() {
        assert_eq!(
            selected(replica::CLOCK),
            [(
                Expression::Call("unix_timestamp".into()),
                "UNIX_TIMESTAMP()".into()
            )]
        );
        assert_eq!(
            selected(replica::SERVER_ID),
            [(system("server_id"), "@@GLOBAL.SERVER_ID".into())]
        );
        assert_eq!(
            parse(replica::SET_CHECKSUM.as_bytes()),
            Ok(Statement::Set(vec![
                (
                    Target::User("master_binlog_checksum".into()),
                    system("binlog_checksum")
                ),
                (
                    Target::User("source_binlog_checksum".into()),
                    system("binlog_checksum")
                ),
            ]))
        );
        assert_eq!(
            parse(b"SET SESSION lc_messages = 'en_US', SESSION net_write_timeout = 3600;"),
            Ok(Statement::Set(vec![
                (
                    Target::Session("lc_messages".into()),
                    Expression::Literal("en_US".into())
                ),
                (
                    Target::Session("net_write_timeout".into()),
                    Expression::Literal("3600".into())
                ),
            ]))
        );
        assert_eq!(
            selected("select @@version_comment limit 1"),
            [(system("version_comment"), "@@version_comment".into())]
        );
        assert_eq!(
            selected(
                " /* tool */ SELECT @@session.auto_increment_increment AS x, 'it''s', 7, NULL"
            ),
            [
                (system("auto_increment_increment"), "x".into()),
                (Expression::Literal("it's".into()), "'it''s'".into()),
                (Expression::Literal("7".into()), "7".into()),
                (Expression::Null, "NULL".into()),
            ]
        );
    }

    #[test]
    fn what_tools_ask_is_understood() {
        for (statement, expected) in [
            ("SHOW BINARY LOGS", Statement::ShowBinaryLogs),
            ("show master logs", Statement::ShowBinaryLogs),
            ("SHOW BINARY LOG STATUS", Statement::ShowBinaryLogStatus),
            ("SHOW MASTER STATUS;", Statement::ShowBinaryLogStatus),
            (
                "SHOW GLOBAL VARIABLES LIKE 'BINLOG_CHECKSUM'",
                Statement::ShowVariables(Some("BINLOG_CHECKSUM".into())),
            ),
            (
                "SET NAMES 'utf8mb4' COLLATE utf8mb4_bin",
                Statement::Set(vec![(Target::Names, Expression::Literal("utf8mb4".into()))]),
            ),
        ] {
            assert_eq!(parse(statement.as_bytes()), Ok(expected), "{statement}");
        }
    }

    #[test]
    fn what_a_joiner_asks_a_member_is_understood() {
        assert_eq!(
            parse(
                b"SELECT MEMBER_ID, MEMBER_PORT AS p FROM performance_schema.replication_group_members \
                  WHERE CHANNEL_NAME = 'group_replication_applier'"
            ),
            Ok(Statement::SelectMembers {
                columns: vec![
                    ("member_id".into(), "MEMBER_ID".into()),
                    ("member_port".into(), "p".into()),
                ],
                condition: Some(("channel_name".into(), "group_replication_applier".into())),
            })
        );
        let items = selected(
            "SELECT @@GLOBAL.gtid_purged, COALESCE((SELECT VARIABLE_VALUE \
             FROM performance_schema.global_variables \
             WHERE VARIABLE_NAME = 'group_replication_advertise_recovery_endpoints'), 'DEFAULT')",
        );
        assert_eq!(items[1].0, Expression::Literal("DEFAULT".into()));
        assert_eq!(parse(b"SHOW GRANTS"), Ok(Statement::ShowGrants));
    }

    #[test]
    fn sql_is_refused() {
        for statement in [
            "",
            "SELECT 1 FROM t",
            "SELECT",
            "SET GLOBAL x = 1",
            "SET @a = (SELECT 1)",
            "INSERT INTO t VALUES (1)",
            "SELECT 'open",
            "SELECT COALESCE((SELECT a FROM t), 'x')",
            "SELECT COALESCE((SELECT VARIABLE_VALUE FROM performance_schema.global_variables \
             WHERE VARIABLE_NAME = 'server_uuid'), 'x')",
            "SELECT @@a FROM performance_schema.replication_group_members",
            "SHOW TABLES",
        ] {
            assert_eq!(
                parse(statement.as_bytes()).unwrap_err().code,
                1235,
                "{statement}"
            );
        }
    }

    #[test]
    fn patterns_fit_as_like_says() {
        for (name, pattern, fits) in [
            ("binlog_checksum", "BINLOG_CHECKSUM", true),
            ("binlog_checksum", "binlog\\_%", true),
            ("binlogxchecksum", "binlog\\_%", false),
            ("gtid_mode", "%mode", true),
            ("gtid_mode", "gtid_mod", false),
            ("gtid_mode", "%%_%", true),
            ("", "%", true),
        ] {
            assert_eq!(is_like(name, pattern), fits, "{name} LIKE {pattern}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "(SET|SELECT|SHOW)?[ -~ä]{0,60}") {
            let _ = parse(text.as_bytes());
        }
    }
}
