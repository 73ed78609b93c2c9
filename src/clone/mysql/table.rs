//! One table as a server has it now.

use super::{gtid_executed, prepare, schema, wait_for};
use crate::gtid::GtidSet;
use crate::net::Connection;
use crate::target::GroupTable;
use crate::target::schema::TableName;
use crate::{Error, ErrorKind, Result};

/// How long the server may take to execute what it is behind, and a schema change to let go of the table.
const WAIT_S: u32 = 2;

/// The table as the server has it that has executed `at_least`; `None` where it has none of the name.
///
/// # Errors
/// What the server refuses it with; [`ErrorKind::TimedOut`] where it stays behind.
pub(crate) fn table_now(
    connection: &mut Connection,
    name: &TableName,
    at_least: &GtidSet,
) -> Result<Option<GroupTable>> {
    prepare(connection)?;
    connection.execute(&format!("SET SESSION lock_wait_timeout = {WAIT_S}"))?;
    let behind = "the member does not have the transactions that are here";
    wait_for(connection, at_least, WAIT_S, behind)?;
    // In this order: what comes in between shows in the time or in the set. SHOW CREATE TABLE waits for a
    // schema change to end, so that one whose outcome it shows is in the set.
    let Some(before) = create_time(connection, name)? else {
        return Ok(None);
    };
    let definition = schema::definition(connection, name)?;
    let create_time = create_time(connection, name)?.map(|after| after.max(before));
    let gtid_executed = gtid_executed(connection)?;
    Ok(create_time.map(|create_time| GroupTable {
        definition,
        create_time,
        gtid_executed,
    }))
}

/// When the table was made or altered, in seconds since 1970; `None` where there is none of the name.
fn create_time(connection: &mut Connection, name: &TableName) -> Result<Option<u64>> {
    let rows = connection.query(&format!(
        "SELECT UNIX_TIMESTAMP(create_time) FROM information_schema.tables
         WHERE table_schema = {} AND table_name = {} AND table_type = 'BASE TABLE'",
        literal(&name.database),
        literal(&name.table)
    ))?;
    if rows.is_empty() {
        return Ok(None);
    }
    let text = rows.text(0, 0)?;
    let seconds = text.parse().map_err(|_| {
        Error::new(
            ErrorKind::Malformed,
            format!("the create time of table {name} is {text:?}"),
        )
    })?;
    Ok(Some(seconds))
}

/// A string in SQL.
fn literal(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}
