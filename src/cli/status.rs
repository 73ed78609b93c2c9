//! `rejoin status`: what a store holds.

use std::io::Write;
use std::path::Path;

use serde_json::{Value, json};

use super::arguments::Status;
use super::json;
use crate::journal::RelayLogSurvey;
use crate::target::store::{RELAY_LOGS, Snapshot, Store};
use crate::{Error, ErrorKind, Limits, Result};

pub(super) fn run(options: &Status) -> Result<()> {
    let snapshot = Store::open_read_only(&options.store)?;
    let files = Files::of(&options.store, &snapshot)?;
    if options.json {
        json::print("status", as_json(&snapshot, &files));
        return Ok(());
    }
    let mut out = std::io::stdout().lock();
    as_text(&snapshot, &files, &mut out).map_err(|error| {
        Error::new(
            ErrorKind::TargetIo,
            format!("cannot write to stdout: {error}"),
        )
    })
}

/// What there is on disk beside the tables.
struct Files {
    bytes: u64,
    relay_log_bytes: u64,
    /// Transactions in the relay log that are not executed.
    unapplied: u64,
}

impl Files {
    fn of(store: &Path, snapshot: &Snapshot) -> Result<Self> {
        let relay_log = RelayLogSurvey::read(store.join(RELAY_LOGS), &Limits::default())?;
        let executed = snapshot.gtid_executed();
        Ok(Self {
            bytes: disk_bytes(store)?,
            relay_log_bytes: relay_log.as_ref().map_or(0, |log| log.bytes),
            unapplied: relay_log.map_or(0, |log| log.gtid_set.subtract(executed).count()),
        })
    }
}

fn as_json(snapshot: &Snapshot, files: &Files) -> Value {
    let tables: Vec<Value> = snapshot
        .tables()
        .map(|table| json!({ "table": table.to_string(), "rows": snapshot.row_count(table) }))
        .collect();
    json!({
        "gtid_executed": snapshot.gtid_executed().to_string(),
        "transactions": snapshot.gtid_executed().count(),
        "tables": tables,
        "prepared_xa": snapshot.prepared_count(),
        "table_bytes": snapshot.bytes(),
        "disk_bytes": files.bytes,
        "relay_log_bytes": files.relay_log_bytes,
        "relay_log_transactions": files.unapplied,
    })
}

fn as_text(snapshot: &Snapshot, files: &Files, out: &mut impl Write) -> std::io::Result<()> {
    writeln!(out, "gtid_executed: {}", snapshot.gtid_executed())?;
    writeln!(out, "transactions:  {}", snapshot.gtid_executed().count())?;
    if snapshot.prepared_count() > 0 {
        writeln!(out, "prepared XA:   {}", snapshot.prepared_count())?;
    }
    writeln!(out, "tables:        {} bytes in memory", snapshot.bytes())?;
    writeln!(out, "on disk:       {} bytes", files.bytes)?;
    if files.relay_log_bytes > 0 {
        writeln!(
            out,
            "relay log:     {} bytes, {} transactions to be applied",
            files.relay_log_bytes, files.unapplied
        )?;
    }
    for table in snapshot.tables() {
        let rows = snapshot.row_count(table).unwrap_or_default();
        writeln!(out, "  {table}: {rows} rows")?;
    }
    Ok(())
}

/// Bytes of the files in a directory and those below it.
fn disk_bytes(directory: &Path) -> Result<u64> {
    let failed = |error: std::io::Error| {
        Error::new(
            ErrorKind::TargetIo,
            format!("cannot read the directory: {error}"),
        )
        .in_file(directory.display().to_string())
    };
    let mut bytes = 0;
    for entry in std::fs::read_dir(directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let metadata = entry.metadata().map_err(failed)?;
        bytes += if metadata.is_dir() {
            disk_bytes(&entry.path())?
        } else {
            metadata.len()
        };
    }
    Ok(bytes)
}
