//! Every database and table at one point of the log, moved on by one statement after the other.

use std::collections::{BTreeMap, BTreeSet};

use crate::{Error, ErrorKind, Result};

use super::alter::Clause;
use super::charset::UTF8MB4_0900_AI_CI;
use super::column::TextAttributes;
use super::context::StatementContext;
use super::create::{CreateBody, CreateTable};
use super::definition::{TableDefinition, TableName, Unclassified};
use super::evolve::{self, Alteration};
use super::statement::{self, Statement};
use super::transform::RowTransform;

/// What a statement changes, in the order in which it has to happen.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum SchemaChange {
    /// A database was made.
    CreateDatabase(Vec<u8>),
    /// A database went, with all its tables (no [`DropTable`](Self::DropTable) is given for them).
    DropDatabase(Vec<u8>),
    /// A table was made; [`Catalog::table`] has its definition.
    CreateTable(TableName),
    /// A table went.
    DropTable(TableName),
    /// A table has another name.
    RenameTable {
        /// Its old name.
        from: TableName,
        /// Its new name.
        to: TableName,
    },
    /// All rows of a table went.
    TruncateTable(TableName),
    /// A table has another definition; [`Catalog::table`] has it.
    AlterTable {
        /// The table, under the name that it has before any renaming by the same statement.
        table: TableName,
        /// What to do with each stored row; `None` where rows stay as they are.
        transform: Option<RowTransform>,
        /// Whether the rows have another key or another order: after the transformation each row's
        /// key has to be made anew.
        rekey: bool,
    },
}

/// Databases and tables as the statements so far have made them.
///
/// ```
/// use rejoin::target::schema::{Catalog, StatementContext, TableName};
///
/// let mut catalog = Catalog::new();
/// let context = StatementContext { default_database: b"shop", ..Default::default() };
/// catalog.apply(b"CREATE DATABASE shop", &context)?;
/// catalog.apply(b"CREATE TABLE orders (id BIGINT PRIMARY KEY, note VARCHAR(20))", &context)?;
/// let orders = catalog.table(&TableName::new("shop", "orders")).unwrap();
/// assert_eq!(orders.columns.len(), 2);
/// assert_eq!(orders.primary_key[0].column, 0);
/// # Ok::<(), rejoin::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Catalog {
    /// Default collation of each database.
    pub(super) databases: BTreeMap<Vec<u8>, u16>,
    pub(super) tables: BTreeMap<TableName, TableDefinition>,
    /// Views, so that RENAME TABLE of one is not taken for an error.
    pub(super) views: BTreeSet<TableName>,
}

/// Databases that every server has from the start, with tables that no log creates.
const SYSTEM_DATABASES: [&[u8]; 4] = [
    b"mysql",
    b"sys",
    b"information_schema",
    b"performance_schema",
];

pub(crate) fn is_system(database: &[u8]) -> bool {
    SYSTEM_DATABASES.contains(&database)
}

impl Catalog {
    /// The catalog of a server that was just initialised: no databases but the system's.
    pub fn new() -> Self {
        Self::default()
    }

    /// The definition of a table.
    pub fn table(&self, name: &TableName) -> Option<&TableDefinition> {
        self.tables.get(name)
    }

    /// The definition of a table, to be [bound](TableDefinition::bind) to a table map.
    pub fn table_mut(&mut self, name: &TableName) -> Option<&mut TableDefinition> {
        self.tables.get_mut(name)
    }

    /// Makes or replaces a definition that another source than the log gave: a table map, or the donor's
    /// `SHOW CREATE TABLE` applied to a catalog of its own.
    pub fn insert(&mut self, name: TableName, definition: TableDefinition) {
        self.databases
            .entry(name.database.clone())
            .or_insert(UTF8MB4_0900_AI_CI);
        self.tables.insert(name, definition);
    }

    /// All tables in the order of their names.
    pub fn tables(&self) -> impl Iterator<Item = (&TableName, &TableDefinition)> {
        self.tables.iter()
    }

    /// All databases that statements have made, in the order of their names.
    pub fn databases(&self) -> impl Iterator<Item = &[u8]> {
        self.databases.keys().map(Vec::as_slice)
    }

    /// Moves on by one statement of the log. An empty answer: it changes neither rows nor schemas.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] for statements that only an SQL engine can execute and for statements
    /// of no known kind, [`ErrorKind::Schema`] for statements that do not fit what is there. The catalog
    /// stays as it was.
    pub fn apply(
        &mut self,
        statement: &[u8],
        context: &StatementContext<'_>,
    ) -> Result<Vec<SchemaChange>> {
        let parsed = statement::parse(statement, context)
            .map_err(|reason| unsupported(&reason, statement))?;
        self.execute(parsed, statement, context)
            .map_err(|refusal| match refusal {
                Refusal::Schema(reason) => Error::new(
                    ErrorKind::Schema,
                    format!("{reason}, but the log has: {}", excerpt(statement)),
                )
                .remedy("the target's schema is not the donor's: recover into an empty store"),
                Refusal::Unclassified(reason) => unsupported(&reason, statement),
                Refusal::Error(error) => error,
            })
    }

    fn execute(
        &mut self,
        parsed: Statement,
        text: &[u8],
        context: &StatementContext<'_>,
    ) -> Outcome {
        match parsed {
            Statement::Nothing => Ok(Vec::new()),
            Statement::Unknown => Err(Refusal::Unclassified(Unclassified::new(
                "statement of an unknown kind",
            ))),
            Statement::NeedsSql(what) => Err(Refusal::Error(needs_sql(&what, text))),
            Statement::CreateDatabase {
                name,
                if_not_exists,
                text,
            } => self.create_database(name, if_not_exists, &text, context),
            Statement::AlterDatabase { name, text } => self.alter_database(name, &text, context),
            Statement::DropDatabase { name, if_exists } => self.drop_database(&name, if_exists),
            Statement::CreateTable(create) => self.create_table(*create, text, context),
            Statement::AlterTable { name, clauses } => {
                self.alter_table(&name, clauses, text, context)
            }
            Statement::RenameTables(renames) => self.rename_tables(renames),
            Statement::DropTables { names, if_exists } => {
                self.drop_tables(names, if_exists || context.error_code != 0)
            }
            Statement::Truncate(name) => match self.known(&name)? {
                true => Ok(vec![SchemaChange::TruncateTable(name)]),
                false => Ok(Vec::new()),
            },
            Statement::CreateIndex { table, index } => {
                let clause = index.map_or_else(Clause::Unclassified, Clause::AddIndex);
                self.alter_table(&table, vec![clause], text, context)
            }
            Statement::DropIndex { table, index } => {
                // A primary key goes by its name as well.
                let clause = if index.eq_ignore_ascii_case("PRIMARY") {
                    Clause::DropPrimaryKey
                } else {
                    Clause::DropIndex(index)
                };
                self.alter_table(&table, vec![clause], text, context)
            }
            Statement::CreateView(name) => {
                self.views.insert(name);
                Ok(Vec::new())
            }
            Statement::DropViews(names) => {
                for name in names {
                    self.views.remove(&name);
                }
                Ok(Vec::new())
            }
        }
    }

    fn create_database(
        &mut self,
        name: String,
        if_not_exists: bool,
        text: &TextAttributes,
        context: &StatementContext<'_>,
    ) -> Outcome {
        let name = name.into_bytes();
        if self.databases.contains_key(&name) || is_system(&name) {
            return if if_not_exists || is_system(&name) {
                Ok(Vec::new())
            } else {
                Err(exists("database", &name))
            };
        }
        let collation = text.resolve(context.server_collation, context)?.id;
        self.databases.insert(name.clone(), collation);
        Ok(vec![SchemaChange::CreateDatabase(name)])
    }

    fn alter_database(
        &mut self,
        name: Option<String>,
        text: &TextAttributes,
        context: &StatementContext<'_>,
    ) -> Outcome {
        let name = name.map_or_else(|| context.default_database.to_vec(), String::into_bytes);
        if is_system(&name) {
            return Ok(Vec::new());
        }
        let inherited = self.database_collation(&name)?;
        let collation = text.resolve(inherited, context)?.id;
        self.databases.insert(name, collation);
        Ok(Vec::new())
    }

    fn drop_database(&mut self, name: &str, if_exists: bool) -> Outcome {
        let name = name.as_bytes();
        if self.databases.remove(name).is_none() {
            return if if_exists {
                Ok(Vec::new())
            } else {
                Err(missing("database", name))
            };
        }
        self.tables.retain(|table, _| table.database != name);
        self.views.retain(|view| view.database != name);
        Ok(vec![SchemaChange::DropDatabase(name.to_vec())])
    }

    fn database_collation(&self, name: &[u8]) -> Result<u16, Refusal> {
        match self.databases.get(name) {
            Some(&collation) => Ok(collation),
            None if is_system(name) => Ok(UTF8MB4_0900_AI_CI),
            None => Err(missing("database", name)),
        }
    }

    fn create_table(
        &mut self,
        create: CreateTable,
        text: &[u8],
        context: &StatementContext<'_>,
    ) -> Outcome {
        let name = create.name;
        if self.tables.contains_key(&name) || self.views.contains(&name) {
            return if create.if_not_exists {
                Ok(Vec::new())
            } else {
                Err(exists("table", name.to_string().as_bytes()))
            };
        }
        let inherited = self.database_collation(&name.database)?;
        let definition = match create.body {
            Ok(CreateBody::Like(like)) => match self.tables.get(&like) {
                Some(definition) => definition.clone(),
                None => return Err(missing("table", like.to_string().as_bytes())),
            },
            Ok(CreateBody::Select) => {
                return Err(Refusal::Error(needs_sql("CREATE TABLE .. SELECT", text)));
            }
            Ok(CreateBody::Elements(elements)) => {
                TableDefinition::create(elements, inherited, context)
                    .unwrap_or_else(|reason| unknown(inherited, &reason, text))
            }
            Err(reason) => unknown(inherited, &reason, text),
        };
        self.tables.insert(name.clone(), definition);
        Ok(vec![SchemaChange::CreateTable(name)])
    }

    /// Whether a table is known; a table of the system's need not be.
    fn known(&self, name: &TableName) -> Result<bool, Refusal> {
        if self.tables.contains_key(name) {
            Ok(true)
        } else if is_system(&name.database) {
            Ok(false)
        } else {
            Err(missing("table", name.to_string().as_bytes()))
        }
    }

    fn alter_table(
        &mut self,
        name: &TableName,
        clauses: Vec<Clause>,
        text: &[u8],
        context: &StatementContext<'_>,
    ) -> Outcome {
        if !self.known(name)? {
            return Ok(Vec::new());
        }
        let Some(old) = self.tables.get(name) else {
            return Ok(Vec::new());
        };
        let database_collation = self.database_collation(&name.database)?;
        let statement = excerpt(text);
        let exchange = self.rows_from_elsewhere(&clauses, text, context)?;
        let renamed = clauses.iter().find_map(|clause| match clause {
            Clause::RenameTable(to) => Some(to.clone()),
            _ => None,
        });
        let altered = evolve::alter(old, clauses, database_collation, context, &statement);
        let Alteration {
            definition,
            transform,
            rekey,
            rename,
            truncate,
        } = altered.unwrap_or_else(|reason| {
            // Rows that are there can be read by what was known until now.
            let mut definition = old.clone();
            definition.unknown = Some(why_unknown(&reason, text));
            Alteration {
                rename: renamed,
                ..Alteration::of(definition)
            }
        });
        let rename = rename.filter(|to| to != name);
        if let Some(to) = &rename {
            self.check_free(to)?;
        }
        let mut changes = Vec::new();
        if truncate {
            changes.push(SchemaChange::TruncateTable(name.clone()));
        }
        if definition != *old || transform.is_some() {
            changes.push(SchemaChange::AlterTable {
                table: name.clone(),
                transform,
                rekey,
            });
        }
        changes.extend(exchange);
        self.tables.insert(name.clone(), definition);
        if let Some(to) = rename {
            self.rename(name, &to);
            changes.push(SchemaChange::RenameTable {
                from: name.clone(),
                to,
            });
        }
        Ok(changes)
    }

    /// Refuses clauses that bring rows which the log does not have; what is to be done with the other
    /// table of an exchange, which is one as soon as either table has rows.
    fn rows_from_elsewhere(
        &self,
        clauses: &[Clause],
        text: &[u8],
        context: &StatementContext<'_>,
    ) -> Result<Option<SchemaChange>, Refusal> {
        for clause in clauses {
            match clause {
                Clause::RowsCome(clause) => return Err(Refusal::Error(no_rows(clause, text))),
                Clause::Exchange(clause, other) if self.known(other)? => {
                    let transform = RowTransform::refusing(clause, context, &excerpt(text));
                    return Ok(Some(SchemaChange::AlterTable {
                        table: other.clone(),
                        transform: Some(transform),
                        rekey: false,
                    }));
                }
                _ => {}
            }
        }
        Ok(None)
    }

    fn check_free(&self, to: &TableName) -> Result<(), Refusal> {
        self.database_collation(&to.database)?;
        if self.tables.contains_key(to) || self.views.contains(to) {
            return Err(exists("table", to.to_string().as_bytes()));
        }
        Ok(())
    }

    fn rename(&mut self, from: &TableName, to: &TableName) {
        if let Some(definition) = self.tables.remove(from) {
            self.tables.insert(to.clone(), definition);
        }
        if self.views.remove(from) {
            self.views.insert(to.clone());
        }
    }

    /// `RENAME TABLE a TO b, b TO c`: from left to right, all or nothing.
    fn rename_tables(&mut self, renames: Vec<(TableName, TableName)>) -> Outcome {
        let mut changes = Vec::new();
        let mut done: Vec<(TableName, TableName)> = Vec::new();
        for (from, to) in renames {
            let is_view = self.views.contains(&from);
            let checked = if is_view { Ok(true) } else { self.known(&from) };
            let checked = checked.and_then(|known| self.check_free(&to).map(|()| known));
            match checked {
                Ok(false) => {}
                Ok(true) => {
                    self.rename(&from, &to);
                    if !is_view {
                        changes.push(SchemaChange::RenameTable {
                            from: from.clone(),
                            to: to.clone(),
                        });
                    }
                    done.push((from, to));
                }
                Err(refusal) => {
                    for (from, to) in done.iter().rev() {
                        self.rename(to, from);
                    }
                    return Err(refusal);
                }
            }
        }
        Ok(changes)
    }

    fn drop_tables(&mut self, names: Vec<TableName>, if_exists: bool) -> Outcome {
        for name in &names {
            if !if_exists {
                self.known(name)?;
            }
        }
        let dropped = names.into_iter();
        Ok(dropped
            .filter(|name| self.tables.remove(name).is_some())
            .map(SchemaChange::DropTable)
            .collect())
    }
}

type Outcome = Result<Vec<SchemaChange>, Refusal>;

/// Why a statement is not applied.
#[derive(Debug)]
enum Refusal {
    /// It does not fit what is there.
    Schema(String),
    Unclassified(Unclassified),
    Error(Error),
}

impl From<Unclassified> for Refusal {
    fn from(reason: Unclassified) -> Self {
        Self::Unclassified(reason)
    }
}

fn exists(what: &str, name: &[u8]) -> Refusal {
    let name = String::from_utf8_lossy(name);
    Refusal::Schema(format!("{what} {name} is there already"))
}

fn missing(what: &str, name: &[u8]) -> Refusal {
    let name = String::from_utf8_lossy(name);
    Refusal::Schema(format!("{what} {name} is not known"))
}

fn unsupported(reason: &Unclassified, statement: &[u8]) -> Error {
    Error::new(
        ErrorKind::Unsupported,
        format!("{} in the statement: {}", reason.0, excerpt(statement)),
    )
    .remedy("report the statement; a clone of a member gets past it")
}

fn needs_sql(what: &str, statement: &[u8]) -> Error {
    Error::new(
        ErrorKind::Unsupported,
        format!(
            "{what} is logged as a statement, which only an SQL engine can execute: {}",
            excerpt(statement)
        ),
    )
    .remedy("set binlog_format=ROW on every member, and clone a member to get past this statement")
}

/// Rows come out of a file that is not in the log.
fn no_rows(clause: &str, statement: &[u8]) -> Error {
    Error::new(
        ErrorKind::Unsupported,
        format!(
            "the log does not have the rows that {clause} brings: {}",
            excerpt(statement)
        ),
    )
    .remedy("clone a member to get past this statement")
}

/// A table of which a statement could not be understood.
fn unknown(collation: u16, reason: &Unclassified, statement: &[u8]) -> TableDefinition {
    let mut definition = TableDefinition::empty(collation);
    definition.unknown = Some(why_unknown(reason, statement));
    definition
}

fn why_unknown(reason: &Unclassified, statement: &[u8]) -> String {
    format!("{} in: {}", reason.0, excerpt(statement))
}

/// The beginning of a statement on one line, for messages.
fn excerpt(statement: &[u8]) -> String {
    const LENGTH: usize = 300;
    let text = String::from_utf8_lossy(&statement[..statement.len().min(4 * LENGTH)]);
    let words: Vec<&str> = text.split_whitespace().collect();
    let mut line = words.join(" ");
    if let Some((cut, _)) = line.char_indices().nth(LENGTH) {
        line.truncate(cut);
        line.push_str("..");
    }
    line
}
