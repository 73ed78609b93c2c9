//! Databases, tables and views of a server, in the server's own words.

use crate::net::Connection;
use crate::target::schema::{Catalog, StatementContext, TableDefinition, TableName, quoted};
use crate::{Error, ErrorKind, Result};

/// Databases of the server itself, which are not copied.
const OWN: &str = "'mysql', 'sys', 'information_schema', 'performance_schema'";

/// Makes sure that the user sees everything: tables that he may not read would be missing silently.
pub(super) fn check_grants(connection: &mut Connection) -> Result<()> {
    let role = connection.query("SELECT CURRENT_ROLE()")?;
    let using = match role.text(0, 0)? {
        "NONE" => String::new(),
        roles => format!(" USING {roles}"),
    };
    let grants = connection.query(&format!("SHOW GRANTS FOR CURRENT_USER(){using}"))?;
    let mut reads_all = false;
    for index in 0..grants.len() {
        let grant = grants.text(index, 0)?;
        let Some((what, on)) = grant.split_once(" ON ") else {
            continue;
        };
        let mut named = what.split([' ', ',']);
        let on_all = on.starts_with("*.*");
        let is_read =
            named.any(|word| word == "SELECT") || what.starts_with("GRANT ALL PRIVILEGES");
        if what.starts_with("REVOKE") && is_read {
            reads_all = false;
            break;
        }
        reads_all |= on_all && is_read;
    }
    if reads_all {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Privilege,
        "the user may not read every table, and what he may not read would be missing in a clone",
    )
    .at_donor(connection.endpoint().to_string())
    .remedy("grant the recovery user SELECT ON *.*, and RELOAD"))
}

/// Reads the whole schema.
pub(super) fn read(connection: &mut Connection) -> Result<Catalog> {
    let mut catalog = Catalog::new();
    let databases = connection.query(&format!(
        "SELECT schema_name FROM information_schema.schemata WHERE schema_name NOT IN ({OWN})"
    ))?;
    for index in 0..databases.len() {
        let name = databases.text(index, 0)?;
        let created = connection.query(&format!("SHOW CREATE DATABASE {}", quoted(name)))?;
        apply(&mut catalog, name, created.text(0, 1)?)?;
    }
    let tables = connection.query(&format!(
        "SELECT table_schema, table_name, table_type, engine FROM information_schema.tables
         WHERE table_schema NOT IN ({OWN}) ORDER BY 1, 2"
    ))?;
    for index in 0..tables.len() {
        let (database, table) = (tables.text(index, 0)?, tables.text(index, 1)?);
        if tables.text(index, 2)? == "VIEW" {
            let statement = format!("CREATE VIEW {} AS SELECT 1", name_of(database, table));
            apply(&mut catalog, database, &statement)?;
            continue;
        }
        let engine = tables.text(index, 3).unwrap_or("no engine");
        if engine != "InnoDB" {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!("table {database}.{table} is of {engine}: only InnoDB has snapshots"),
            )
            .at_donor(connection.endpoint().to_string())
            .remedy("ALTER TABLE .. ENGINE = InnoDB, which Group Replication asks for as well"));
        }
        let statement = show_create(connection, database, table)?;
        apply(&mut catalog, database, &statement)?;
    }
    Ok(catalog)
}

/// The definition of one table as it is now.
pub(super) fn definition(connection: &mut Connection, name: &TableName) -> Result<TableDefinition> {
    let database = String::from_utf8_lossy(&name.database).into_owned();
    let table = String::from_utf8_lossy(&name.table).into_owned();
    let statement = show_create(connection, &database, &table)?;
    let mut catalog = Catalog::new();
    apply(
        &mut catalog,
        &database,
        &format!("CREATE DATABASE {}", quoted(&database)),
    )?;
    apply(&mut catalog, &database, &statement)?;
    catalog.table(name).cloned().ok_or_else(|| {
        Error::new(
            ErrorKind::Malformed,
            format!("SHOW CREATE TABLE {name} shows another table"),
        )
    })
}

fn show_create(connection: &mut Connection, database: &str, table: &str) -> Result<String> {
    let rows = connection.query(&format!("SHOW CREATE TABLE {}", name_of(database, table)))?;
    Ok(rows.text(0, 1)?.to_owned())
}

fn name_of(database: &str, table: &str) -> String {
    format!("{}.{}", quoted(database), quoted(table))
}

fn apply(catalog: &mut Catalog, database: &str, statement: &str) -> Result<()> {
    let context = StatementContext {
        default_database: database.as_bytes(),
        // As the session has it in which this was shown.
        time_zone: b"+00:00",
        ..StatementContext::default()
    };
    catalog.apply(statement.as_bytes(), &context).map(drop)
}
