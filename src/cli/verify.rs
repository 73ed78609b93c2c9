//! `rejoin verify`: a store against a member, row by row. Changes nothing, anywhere.

use std::fs;
use std::io::Write;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use super::arguments::{Group, Verify};
use super::{group, json, process};
use crate::target::store::{Reader, Snapshot, Store};
use crate::verify::{Difference, Position, Report, Settings, Summary};
use crate::{Error, ErrorKind, Result, verify};

/// How often the position is written to its file.
const KEPT_EVERY: Duration = Duration::from_secs(1);

pub(super) fn run(options: &Verify) -> Result<()> {
    process::start_log(&options.verbosity, false);
    let result = compare(options);
    if let (true, Err(error)) = (options.json, &result) {
        json::error(error);
    }
    result
}

fn compare(options: &Verify) -> Result<()> {
    let stop = process::watch_signals()?;
    let mut settings = Settings {
        chunk_rows: options.chunk_rows,
        max_rate: options.max_rate,
        ..Settings::default()
    };
    let mut kept = Kept {
        file: options.resume.clone(),
        position: None,
        written: None,
    };
    settings.resume = kept.read()?;
    let snapshot = Store::open_read_only(&options.store)?;
    let done = against(
        &options.group,
        &snapshot,
        &settings,
        options.json,
        &stop,
        &mut kept,
    );
    if let Err(error) = &done
        && error.kind() == ErrorKind::Interrupted
    {
        kept.write()?;
    }
    let summary = done?;
    kept.remove();
    verdict(&summary)
}

/// The comparison that `recover --verify` makes of what it has recovered.
pub(super) fn before_online(
    group: &Group,
    reader: &Reader,
    json: bool,
    stop: &AtomicBool,
) -> Result<()> {
    let mut kept = Kept::default();
    let settings = Settings::default();
    let summary = against(group, &reader.snapshot(), &settings, json, stop, &mut kept)?;
    verdict(&summary)
}

fn against(
    group: &Group,
    snapshot: &Snapshot,
    settings: &Settings,
    json: bool,
    stop: &AtomicBool,
    kept: &mut Kept,
) -> Result<Summary> {
    let url = group::url(group)?;
    let mut failed = None;
    let summary = verify::verify(&url, snapshot, settings, &mut |report| {
        let told = match report {
            Report::Progress { position, .. } => kept.keep(position),
            report => {
                tell(&report, json);
                Ok(())
            }
        };
        if let Err(error) = told {
            failed = Some(error);
        }
        if failed.is_some() || stop.load(Ordering::Relaxed) {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    });
    if let Some(error) = failed {
        return Err(error);
    }
    let summary = summary?;
    if json {
        json::print(
            "summary",
            json!({
                "member": summary.member,
                "gtid_executed": summary.gtid_executed.to_string(),
                "tables": summary.tables,
                "rows": summary.rows,
                "chunks": summary.chunks,
                "differences": summary.differences,
                "seconds": summary.elapsed.as_secs_f64(),
            }),
        );
    } else {
        line(&format!(
            "{} tables, {} rows in {} chunks, {} differences, {:.1} s, at {}",
            summary.tables,
            summary.rows,
            summary.chunks,
            summary.differences,
            summary.elapsed.as_secs_f64(),
            summary.gtid_executed,
        ));
    }
    Ok(summary)
}

fn verdict(summary: &Summary) -> Result<()> {
    if summary.differences == 0 {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Conflict,
        format!(
            "the store differs from the member in {} places",
            summary.differences
        ),
    )
    .at_donor(summary.member.clone())
    .remedy("remove the store and recover it anew; where it differs again, compare the members"))
}

fn line(text: &str) {
    // A reader that went away ends the lines, not the comparison.
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}

fn tell(report: &Report, json: bool) {
    match report {
        Report::Difference(difference) if json => {
            let row: Map<String, Value> = difference
                .row
                .iter()
                .map(|(column, value)| (column.clone(), json!(value)))
                .collect();
            json::print(
                "difference",
                json!({
                    "table": difference.table.to_string(),
                    "kind": difference.kind.name(),
                    "row": row,
                    "columns": difference.columns,
                }),
            );
        }
        Report::Difference(difference) => line(&shown(difference)),
        Report::Table(table) if json => json::print(
            "table",
            json!({
                "table": table.table.to_string(),
                "rows": table.rows,
                "chunks": table.chunks,
                "differences": table.differences,
            }),
        ),
        Report::Table(table) => line(&format!(
            "{}: {} rows in {} chunks, {} differences",
            table.table, table.rows, table.chunks, table.differences
        )),
        Report::Started {
            member,
            gtid_executed,
        } => log::info!("comparing with {member} at {gtid_executed}"),
        Report::Progress { .. } => {}
    }
}

fn shown(difference: &Difference) -> String {
    let row: Vec<String> = difference
        .row
        .iter()
        .map(|(column, value)| match value {
            Some(value) => format!("{column}={value}"),
            None => format!("{column} NULL"),
        })
        .collect();
    let mut text = format!("{}: {}", difference.table, difference.kind.name());
    if !row.is_empty() {
        text.push_str(&format!(" row ({})", row.join(", ")));
    }
    if !difference.columns.is_empty() {
        text.push_str(&format!(" in {}", difference.columns.join(", ")));
    }
    text
}

/// The position in its file.
#[derive(Debug, Default)]
struct Kept {
    file: Option<PathBuf>,
    position: Option<Position>,
    written: Option<Instant>,
}

impl Kept {
    fn read(&self) -> Result<Option<Position>> {
        let Some(file) = self.file.as_deref().filter(|file| file.exists()) else {
            return Ok(None);
        };
        let text = fs::read_to_string(file).map_err(|error| failed("read", file, &error))?;
        let position: Position = text
            .parse()
            .map_err(|error: Error| error.in_file(file.display().to_string()))?;
        log::info!("going on behind the table or row of {}", file.display());
        Ok(Some(position))
    }

    fn keep(&mut self, position: Position) -> Result<()> {
        self.position = Some(position);
        if self.written.is_some_and(|at| at.elapsed() < KEPT_EVERY) {
            return Ok(());
        }
        self.written = Some(Instant::now());
        self.write()
    }

    fn write(&self) -> Result<()> {
        let (Some(file), Some(position)) = (&self.file, &self.position) else {
            return Ok(());
        };
        fs::write(file, format!("{position}\n")).map_err(|error| failed("write", file, &error))
    }

    /// There is nothing to go on with.
    fn remove(&self) {
        if let Some(file) = &self.file
            && file.exists()
            && let Err(error) = fs::remove_file(file)
        {
            log::warn!("cannot remove {}: {error}", file.display());
        }
    }
}

fn failed(verb: &str, file: &Path, error: &std::io::Error) -> Error {
    Error::new(
        ErrorKind::Configuration,
        format!("cannot {verb} the position: {error}"),
    )
    .in_file(file.display().to_string())
}
