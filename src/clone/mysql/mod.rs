//! A MySQL server as the donor of a clone.
//!
//! ```text
//! control   FLUSH TABLES WITH READ LOCK             nothing commits from here
//! readers   START TRANSACTION WITH CONSISTENT SNAPSHOT, each
//! control   SELECT @@GLOBAL.gtid_executed           exactly what the snapshots show
//! control   UNLOCK TABLES                           to here: a few milliseconds
//! readers   SELECT .. ORDER BY key LIMIT n          chunk by chunk, all of the same instant
//! ```
//!
//! The schema is read before and after the lock: where it differs a schema change came in between, and
//! the snapshot is taken anew. No metadata lock is kept from one chunk to the next, so that schema
//! changes on the donor wait for one chunk at most; one that does come makes the server refuse the old
//! snapshot of the table, and the table is then read from a newer one.

mod reader;
mod schema;
mod table;

use std::time::Instant;

use super::{ServerDonor, Snapshot};
use crate::gtid::GtidSet;
use crate::net::Connection;
use crate::target::CloneSnapshot;
use crate::{Error, ErrorKind, Result};

use reader::Reader;
pub(crate) use table::table_now;

/// Sessions that read at the same time.
const READERS: usize = 4;
/// How long the donor may take to get the read lock: all that time it blocks writers.
const LOCK_WAIT_S: u32 = 5;
/// How long a donor that lags behind an earlier snapshot is waited for.
const CATCH_UP_S: u32 = 30;
/// Snapshots that are tried while the schema changes.
const SCHEMA_TRIES: u32 = 5;

/// Makes a session one whose answers are exact: raw bytes, UTC, plain SQL; and patient.
const SESSION: &[&str] = &[
    "SET SESSION time_zone = '+00:00', sql_mode = '', sql_quote_show_create = 1, \
     sql_select_limit = DEFAULT, max_execution_time = 0, lc_messages = 'en_US', \
     transaction_isolation = 'REPEATABLE-READ'",
    "SET SESSION net_write_timeout = 3600, net_read_timeout = 3600, wait_timeout = 28800",
    "SET SESSION show_gipk_in_create_table_and_information_schema = ON",
];

/// Opens a snapshot of the server that `control` is connected to.
///
/// # Errors
/// As [`CloneDonor::snapshot`](crate::target::CloneDonor::snapshot).
pub(super) fn snapshot(
    donor: &ServerDonor,
    mut control: Connection,
    at_least: &GtidSet,
) -> Result<Box<dyn CloneSnapshot>> {
    prepare(&mut control)?;
    schema::check_grants(&mut control)?;
    if !at_least.is_empty() {
        let behind = "the donor does not have the transactions of an earlier snapshot";
        wait_for(&mut control, at_least, CATCH_UP_S, behind)?;
    }
    for _ in 0..SCHEMA_TRIES {
        if let Some(snapshot) = try_snapshot(donor, &mut control)? {
            return Ok(Box::new(snapshot));
        }
    }
    Err(Error::new(
        ErrorKind::Refused,
        format!("the donor's schema changed during each of {SCHEMA_TRIES} snapshots"),
    )
    .at_donor(donor.endpoint.to_string())
    .remedy("let the schema rest while a member is cloned"))
}

fn prepare(connection: &mut Connection) -> Result<()> {
    for statement in SESSION {
        connection.execute(statement)?;
    }
    Ok(())
}

/// Waits until the server has executed a set; after so many seconds it is an error, that it is `behind`.
fn wait_for(
    connection: &mut Connection,
    at_least: &GtidSet,
    seconds: u32,
    behind: &'static str,
) -> Result<()> {
    let waited = connection.query(&format!(
        "SELECT WAIT_FOR_EXECUTED_GTID_SET('{at_least}', {seconds})"
    ))?;
    if waited.text(0, 0)? != "0" {
        let endpoint = connection.endpoint().to_string();
        return Err(Error::new(ErrorKind::TimedOut, behind).at_donor(endpoint));
    }
    Ok(())
}

/// Opens a snapshot in each session while nothing commits.
fn open(
    donor: &ServerDonor,
    control: &mut Connection,
    readers: &mut [Connection],
) -> Result<GtidSet> {
    control.execute(&format!("SET SESSION lock_wait_timeout = {LOCK_WAIT_S}"))?;
    let began = Instant::now();
    control
        .execute("FLUSH TABLES WITH READ LOCK")
        .map_err(explained)?;
    for reader in readers {
        reader.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")?;
    }
    let executed = gtid_executed(control)?;
    let prepared = control.query("XA RECOVER").map_or(0, |rows| rows.len());
    control.execute("UNLOCK TABLES")?;
    log::info!(
        "a snapshot of {} at {} transactions; writers waited {:.1} ms at most",
        donor.endpoint,
        executed.count(),
        began.elapsed().as_secs_f64() * 1e3
    );
    if prepared > 0 {
        return Err(Error::new(
            ErrorKind::Refused,
            format!("{prepared} XA transactions are prepared on the donor, no snapshot shows them"),
        )
        .remedy("commit or roll back what XA RECOVER lists, or let another member be cloned"));
    }
    Ok(executed)
}

/// A snapshot in which the schema did not change; `None` where it did.
fn try_snapshot(donor: &ServerDonor, control: &mut Connection) -> Result<Option<Snapshot<Reader>>> {
    let mut connections = Vec::new();
    for _ in 0..READERS {
        let mut connection = donor.connect()?;
        prepare(&mut connection)?;
        connection.execute("SET SESSION character_set_results = NULL")?;
        connections.push(connection);
    }
    let catalog = schema::read(control)?;
    let executed = open(donor, control, &mut connections)?;
    if schema::read(control)? != catalog {
        return Ok(None);
    }
    Ok(Some(Snapshot {
        executed,
        catalog,
        readers: connections.into_iter().map(Reader::new).collect(),
    }))
}

fn gtid_executed(connection: &mut Connection) -> Result<GtidSet> {
    let rows = connection.query("SELECT @@GLOBAL.gtid_executed")?;
    rows.text(0, 0)?.parse().map_err(|error| {
        Error::new(
            ErrorKind::Malformed,
            format!("the donor's gtid_executed: {error}"),
        )
    })
}

/// A refusal of the read lock, with what to do about it.
fn explained(error: Error) -> Error {
    match error.kind() {
        ErrorKind::Privilege => error.remedy(
            "grant the recovery user RELOAD, with which a donor is held still for the moment of the \
             snapshot",
        ),
        _ => error.remedy(
            "look for long statements and table locks on the donor: the read lock waits for them",
        ),
    }
}
