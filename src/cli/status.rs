//! `rejoin status`: what a store holds.

use std::io::Write;
use std::path::Path;

use serde_json::{Value, json};

use super::arguments::Status;
use super::json;
use crate::target::store::{Snapshot, Store};
use crate::{Error, ErrorKind, Result};

pub(super) fn run(options: &Status) -> Result<()> {
    let snapshot = Store::open_read_only(&options.store)?;
    let disk_bytes = disk_bytes(&options.store)?;
    if options.json {
        json::print("status", as_json(&snapshot, disk_bytes));
        return Ok(());
    }
    let mut out = std::io::stdout().lock();
    as_text(&snapshot, disk_bytes, &mut out).map_err(|error| {
        Error::new(
            ErrorKind::TargetIo,
            format!("cannot write to stdout: {error}"),
        )
    })
}

fn as_json(snapshot: &Snapshot, disk_bytes: u64) -> Value {
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
        "disk_bytes": disk_bytes,
    })
}

fn as_text(snapshot: &Snapshot, disk_bytes: u64, out: &mut impl Write) -> std::io::Result<()> {
    writeln!(out, "gtid_executed: {}", snapshot.gtid_executed())?;
    writeln!(out, "transactions:  {}", snapshot.gtid_executed().count())?;
    if snapshot.prepared_count() > 0 {
        writeln!(out, "prepared XA:   {}", snapshot.prepared_count())?;
    }
    writeln!(out, "tables:        {} bytes in memory", snapshot.bytes())?;
    writeln!(out, "on disk:       {disk_bytes} bytes")?;
    for table in snapshot.tables() {
        let rows = snapshot.row_count(table).unwrap_or_default();
        writeln!(out, "  {table}: {rows} rows")?;
    }
    Ok(())
}

/// Bytes of the store's files.
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
        bytes += entry
            .and_then(|entry| entry.metadata())
            .map_err(failed)?
            .len();
    }
    Ok(bytes)
}
