//! What kind of statement a Query event holds.

use super::alter::{self, Clause};
use super::column::TextAttributes;
use super::context::StatementContext;
use super::create::{self, CreateTable, IndexSpec};
use super::cursor::{Cursor, Parse};
use super::definition::{TableName, Unclassified};
use super::text;
use super::token::{self, Lexeme};

/// A statement, as far as rows and schemas go.
#[derive(Debug, Clone)]
pub(crate) enum Statement {
    /// Changes neither rows nor schemas.
    Nothing,
    /// Changes rows in a way that only an SQL engine can follow: what it is.
    NeedsSql(String),
    CreateDatabase {
        name: String,
        if_not_exists: bool,
        text: TextAttributes,
    },
    AlterDatabase {
        name: Option<String>,
        text: TextAttributes,
    },
    DropDatabase {
        name: String,
        if_exists: bool,
    },
    CreateTable(Box<CreateTable>),
    AlterTable {
        name: TableName,
        clauses: Vec<Clause>,
    },
    RenameTables(Vec<(TableName, TableName)>),
    DropTables {
        names: Vec<TableName>,
        if_exists: bool,
    },
    Truncate(TableName),
    CreateIndex {
        table: TableName,
        index: Parse<IndexSpec>,
    },
    DropIndex {
        table: TableName,
        index: String,
    },
    CreateView(TableName),
    DropViews(Vec<TableName>),
    /// Nothing that this version knows.
    Unknown,
}

/// Lexemes that are enough to see what a statement is.
const HEAD: usize = 48;

/// Classifies `text`.
pub(crate) fn parse(text: &[u8], context: &StatementContext<'_>) -> Parse<Statement> {
    let charset = context.client_charset();
    if text::hides_ascii(charset) && !text.is_ascii() {
        return Err(Unclassified::new(format!(
            "statement in character set {charset}"
        )));
    }
    let head = token::lex_head(text, context.sql_mode, HEAD);
    let cursor = Cursor::new(text, &head, context);
    if let Some(statement) = by_head(cursor)? {
        return Ok(statement);
    }
    let lexemes = token::lex(text, context.sql_mode)
        .map_err(|open| Unclassified::new(format!("{} without an end", open.what)))?;
    let mut lexemes: &[Lexeme<'_>] = &lexemes;
    while let [rest @ .., last] = lexemes {
        if last.token != token::Token::Symbol(b';') {
            break;
        }
        lexemes = rest;
    }
    whole(Cursor::new(text, lexemes, context))
}

/// The statements of which the first words say enough.
fn by_head(mut cursor: Cursor<'_>) -> Parse<Option<Statement>> {
    let Some(token::Token::Word(verb)) = cursor.next() else {
        return Ok(Some(Statement::Unknown));
    };
    let verb = String::from_utf8_lossy(verb).to_ascii_uppercase();
    Ok(Some(match verb.as_str() {
        "INSERT" | "UPDATE" | "DELETE" | "REPLACE" | "LOAD" | "CALL" | "SELECT" | "DO" | "WITH"
        | "TABLE" | "VALUES" | "HANDLER" | "IMPORT" => Statement::NeedsSql(verb),
        "GRANT" | "REVOKE" | "ANALYZE" | "OPTIMIZE" | "REPAIR" | "CHECK" | "CHECKSUM" | "FLUSH"
        | "SET" | "INSTALL" | "UNINSTALL" | "CACHE" | "RESET" | "BEGIN" | "START" | "COMMIT"
        | "ROLLBACK" | "SAVEPOINT" | "RELEASE" | "XA" | "PREPARE" | "EXECUTE" | "DEALLOCATE"
        | "LOCK" | "UNLOCK" | "USE" | "BINLOG" | "KILL" | "PURGE" | "CHANGE" | "STOP" | "CLONE"
        | "RESTART" | "SHUTDOWN" | "SIGNAL" | "SHOW" | "EXPLAIN" | "DESCRIBE" | "HELP" => {
            Statement::Nothing
        }
        "CREATE" | "ALTER" | "DROP" => {
            return match object(&mut cursor) {
                Object::Schema => Ok(None),
                Object::View if verb == "CREATE" => {
                    cursor.accept_if_exists(true);
                    cursor
                        .table_name()
                        .map(|name| Some(Statement::CreateView(name)))
                }
                Object::View if verb == "DROP" => Ok(None),
                Object::View | Object::Other => Ok(Some(Statement::Nothing)),
                Object::Unknown => Ok(Some(Statement::Unknown)),
            };
        }
        "RENAME" if cursor.is_word("USER") => Statement::Nothing,
        "RENAME" | "TRUNCATE" => return Ok(None),
        _ => Statement::Unknown,
    }))
}

/// What CREATE, ALTER or DROP is about.
enum Object {
    /// Tables, indexes, databases.
    Schema,
    View,
    /// Users, routines, servers and the like.
    Other,
    Unknown,
}

/// Reads to the word that names the kind of object; the position is behind it for a view, before it for
/// what belongs to a schema.
fn object(cursor: &mut Cursor<'_>) -> Object {
    const SCHEMA: [&str; 14] = [
        "TABLE",
        "TABLES",
        "TEMPORARY",
        "DATABASE",
        "SCHEMA",
        "INDEX",
        "UNIQUE",
        "FULLTEXT",
        "EXTERNAL",
        "ONLINE",
        "OFFLINE",
        "IGNORE",
        "KEY",
        "VECTOR",
    ];
    const OTHER: [&str; 20] = [
        "USER",
        "ROLE",
        "FUNCTION",
        "PROCEDURE",
        "TRIGGER",
        "EVENT",
        "SERVER",
        "LOGFILE",
        "TABLESPACE",
        "UNDO",
        "INSTANCE",
        "RESOURCE",
        "AGGREGATE",
        "LIBRARY",
        "PREPARE",
        "DEFAULT",
        "MASKING",
        "COMPONENT",
        "PLUGIN",
        "PUBLICATION",
    ];
    loop {
        if cursor.accept_all(&["SPATIAL", "REFERENCE"]) || cursor.is_any(&OTHER) {
            return Object::Other;
        }
        if cursor.is_any(&SCHEMA) || cursor.is_word("SPATIAL") {
            return Object::Schema;
        }
        if cursor.accept("VIEW") {
            return Object::View;
        }
        if cursor.accept_all(&["OR", "REPLACE"])
            || cursor.accept_any(&["MATERIALIZED", "JSON", "RELATIONAL", "DUALITY"])
        {
            continue;
        }
        if cursor.accept("ALGORITHM") {
            cursor.accept_symbol(b'=');
            cursor.skip();
        } else if cursor.accept_all(&["SQL", "SECURITY"]) {
            cursor.skip();
        } else if cursor.accept("DEFINER") {
            cursor.accept_symbol(b'=');
            // user, user@host, 'user'@'host', CURRENT_USER, CURRENT_USER().
            cursor.skip();
            if cursor.accept_symbol(b'@') {
                cursor.skip();
            } else {
                cursor.group();
            }
        } else {
            return Object::Unknown;
        }
    }
}

/// The statements that have to be read to their end.
fn whole(mut cursor: Cursor<'_>) -> Parse<Statement> {
    if cursor.accept("CREATE") {
        create_object(&mut cursor)
    } else if cursor.accept("ALTER") {
        alter_object(&mut cursor)
    } else if cursor.accept("DROP") {
        drop_object(&mut cursor)
    } else if cursor.accept("TRUNCATE") {
        cursor.accept("TABLE");
        cursor.table_name().map(Statement::Truncate)
    } else if cursor.accept("RENAME") {
        if !cursor.accept_any(&["TABLE", "TABLES"]) {
            return Ok(Statement::Unknown);
        }
        let mut renames = Vec::new();
        loop {
            let from = cursor.table_name()?;
            cursor.expect("TO")?;
            renames.push((from, cursor.table_name()?));
            if !cursor.accept_symbol(b',') {
                return Ok(Statement::RenameTables(renames));
            }
        }
    } else {
        Ok(Statement::Unknown)
    }
}

fn create_object(cursor: &mut Cursor<'_>) -> Parse<Statement> {
    if cursor.accept_any(&["DATABASE", "SCHEMA"]) {
        let if_not_exists = cursor.accept_if_exists(true);
        let name = cursor.name()?;
        let text = database_options(cursor)?;
        return Ok(Statement::CreateDatabase {
            name,
            if_not_exists,
            text,
        });
    }
    if cursor.accept_all(&["TEMPORARY", "TABLE"]) {
        return Ok(Statement::Nothing);
    }
    cursor.accept("EXTERNAL");
    if cursor.accept("TABLE") {
        let table = create::create_table(cursor)?;
        return Ok(Statement::CreateTable(Box::new(table)));
    }
    let unique = cursor.accept("UNIQUE");
    let ordered = !cursor.accept_any(&["FULLTEXT", "SPATIAL", "VECTOR"]);
    cursor.expect("INDEX")?;
    let name = cursor.name()?;
    if cursor.accept_any(&["USING", "TYPE"]) {
        cursor.skip();
    }
    cursor.expect("ON")?;
    let table = cursor.table_name()?;
    let index = create::index_parts(cursor, false, unique, Some(name)).map(|mut index| {
        if !ordered {
            index.parts = None;
        }
        index
    });
    Ok(Statement::CreateIndex { table, index })
}

fn alter_object(cursor: &mut Cursor<'_>) -> Parse<Statement> {
    if cursor.accept_any(&["DATABASE", "SCHEMA"]) {
        let has_name =
            !cursor.is_any(&["DEFAULT", "CHARACTER", "CHARSET", "COLLATE", "ENCRYPTION"])
                && !cursor.is_word("READ");
        let name = if has_name { Some(cursor.name()?) } else { None };
        let text = database_options(cursor)?;
        return Ok(Statement::AlterDatabase { name, text });
    }
    cursor.accept_any(&["ONLINE", "OFFLINE"]);
    cursor.accept_any(&["IGNORE", "EXTERNAL"]);
    if !cursor.accept("TABLE") {
        return Ok(Statement::Unknown);
    }
    let name = cursor.table_name()?;
    Ok(Statement::AlterTable {
        name,
        clauses: alter::clauses(cursor),
    })
}

fn drop_object(cursor: &mut Cursor<'_>) -> Parse<Statement> {
    if cursor.accept_any(&["DATABASE", "SCHEMA"]) {
        let if_exists = cursor.accept_if_exists(false);
        return Ok(Statement::DropDatabase {
            name: cursor.name()?,
            if_exists,
        });
    }
    if cursor.accept("TEMPORARY") {
        return Ok(Statement::Nothing);
    }
    if cursor.accept("INDEX") {
        let index = cursor.name()?;
        cursor.expect("ON")?;
        let table = cursor.table_name()?;
        return Ok(Statement::DropIndex { table, index });
    }
    let views = cursor.accept("VIEW");
    if !views && !cursor.accept_any(&["TABLE", "TABLES"]) {
        return Ok(Statement::Unknown);
    }
    let if_exists = cursor.accept_if_exists(false);
    let names = cursor.table_names()?;
    Ok(if views {
        Statement::DropViews(names)
    } else {
        Statement::DropTables { names, if_exists }
    })
}

fn database_options(cursor: &mut Cursor<'_>) -> Parse<TextAttributes> {
    let mut text = TextAttributes::default();
    while !cursor.at_end() {
        cursor.accept("DEFAULT");
        if !text.accept(cursor)? && !cursor.at_end() {
            // ENCRYPTION = 'y', READ ONLY = 0.
            cursor.skip();
        }
    }
    Ok(text)
}
