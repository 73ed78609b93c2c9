//! A store against a member: every table, row by row, at one GTID set.
//!
//! ```text
//! instant  a member's consistent snapshot and the GTID set that it shows, and the store's tables at
//!          that set: what the store lacks is fetched and applied to a copy of its trees
//! form     values of both sides in one form, and keys as SQL literals
//! chunks   a table in chunks by primary key, the differing ones narrowed to rows
//! resume   where to go on after an interruption
//! ```
//! Nothing is changed, neither in the store nor on the member. A chunk is read once from each side and
//! compared value by value, so that no checksum can hide a difference. Only the member's rows cross the
//! network; a rate limits them.

mod chunks;
mod form;
mod instant;
mod resume;

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use crate::gtid::GtidSet;
use crate::net::{Connection, Url};
use crate::target::schema::TableName;
use crate::target::store::Snapshot;
use crate::{Error, ErrorKind, Limits, Result};

pub use resume::Position;

/// How to compare.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settings {
    /// Rows of a chunk. Default 2000.
    pub chunk_rows: usize,
    /// Bytes of rows to read from the member each second at most. Default: no limit.
    pub max_rate: Option<u64>,
    /// Differences of one table that are reported one by one; the others are only counted.
    /// Default 1000.
    pub listed_differences: usize,
    /// Where an earlier comparison was interrupted; everything before is left out.
    pub resume: Option<Position>,
    /// How long the member may take to execute what the store has and it has not. Default 30 s.
    pub patience: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            chunk_rows: 2000,
            max_rate: None,
            listed_differences: 1000,
            resume: None,
            patience: Duration::from_secs(30),
        }
    }
}

/// What a comparison tells while it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Report {
    /// Both sides stand at this GTID set; the tables follow.
    Started {
        /// The member, as `host:port`.
        member: String,
        /// The set.
        gtid_executed: GtidSet,
    },
    /// One difference.
    Difference(Difference),
    /// A chunk was compared.
    Progress {
        /// Where to go on if the comparison ends here.
        position: Position,
        /// Rows of the table that were compared until now.
        rows: u64,
    },
    /// A table was compared to its end.
    Table(TableReport),
}

/// One difference between the store and the member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The table.
    pub table: TableName,
    /// What differs.
    pub kind: DifferenceKind,
    /// The row: its key's columns, or all columns where it has no key, each with its value as text. Empty
    /// where whole tables or their columns differ.
    pub row: Vec<(String, Option<String>)>,
    /// The columns that differ, in rows that both sides have, or of which only one side's table has.
    pub columns: Vec<String>,
}

/// What differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum DifferenceKind {
    /// Both have the row, with other values.
    Changed,
    /// Only the member has the row.
    Missing,
    /// Only the store has the row.
    Extra,
    /// The tables have other columns; their rows were not compared.
    Columns,
    /// Only the member has the table.
    MissingTable,
    /// Only the store has the table.
    ExtraTable,
}

impl DifferenceKind {
    /// The stable snake_case name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::Missing => "missing",
            Self::Extra => "extra",
            Self::Columns => "columns",
            Self::MissingTable => "missing_table",
            Self::ExtraTable => "extra_table",
        }
    }
}

/// What the comparison of one table came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableReport {
    /// The table.
    pub table: TableName,
    /// The store's rows that were compared.
    pub rows: u64,
    /// The chunks that were compared.
    pub chunks: u64,
    /// The differences, listed or not.
    pub differences: u64,
}

/// What a whole comparison came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// The member, as `host:port`.
    pub member: String,
    /// The GTID set at which both were compared.
    pub gtid_executed: GtidSet,
    /// Tables that were compared.
    pub tables: u64,
    /// The store's rows that were compared.
    pub rows: u64,
    /// Chunks that were compared.
    pub chunks: u64,
    /// Differences.
    pub differences: u64,
    /// How long it took.
    pub elapsed: Duration,
}

/// Compares `snapshot` with the first of the group's members that answers, and tells `report` what it
/// finds; when that breaks, the comparison ends.
///
/// The member's rows are those of one consistent snapshot. Where transactions never pause, taking it needs
/// `FLUSH TABLES WITH READ LOCK` for a moment, and with it the privilege FLUSH_TABLES or RELOAD.
///
/// # Errors
/// [`ErrorKind::Errant`] where the store has executed what the member has not,
/// [`ErrorKind::Purged`] where the member no longer has what the store lacks,
/// [`ErrorKind::Interrupted`] where `report` broke, and whatever reading from the member can end with.
/// Differences are no errors.
pub fn verify(
    group: &Url,
    snapshot: &Snapshot,
    settings: &Settings,
    report: &mut dyn FnMut(Report) -> ControlFlow<()>,
) -> Result<Summary> {
    let begun = Instant::now();
    let connect = |endpoint| Connection::connect(endpoint, &group.options, &Limits::default());
    let mut last = Error::new(ErrorKind::Configuration, "no member is named");
    let mut reached = None;
    for endpoint in &group.endpoints {
        match connect(endpoint) {
            Ok(connection) => {
                reached = Some((endpoint, connection));
                break;
            }
            Err(error) => last = error,
        }
    }
    let Some((endpoint, mut connection)) = reached else {
        return Err(last);
    };
    let at_member = |error: Error| error.at_donor(endpoint.to_string());
    let more = || connect(endpoint);
    let (executed, snapshot) =
        instant::meet(&mut connection, more, snapshot, settings.patience).map_err(at_member)?;
    let mut run = chunks::Run {
        connection,
        snapshot: &snapshot,
        settings,
        report: &mut |told| match report(told) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(interrupted()),
        },
        begun,
        read_bytes: 0,
    };
    (run.report)(Report::Started {
        member: endpoint.to_string(),
        gtid_executed: executed.clone(),
    })?;
    let mut summary = Summary {
        member: endpoint.to_string(),
        gtid_executed: executed,
        tables: 0,
        rows: 0,
        chunks: 0,
        differences: 0,
        elapsed: Duration::ZERO,
    };
    for (table, columns) in form::tables(&mut run.connection, &snapshot).map_err(at_member)? {
        let resume = settings.resume.as_ref();
        if resume.is_some_and(|position| table < position.table) {
            continue;
        }
        let told = run
            .table(&table, columns.as_deref())
            .map_err(|error| at_member(error).about_table(&table))?;
        summary.tables += 1;
        summary.rows += told.rows;
        summary.chunks += told.chunks;
        summary.differences += told.differences;
        (run.report)(Report::Table(told))?;
    }
    summary.elapsed = begun.elapsed();
    Ok(summary)
}

#[cold]
fn interrupted() -> Error {
    Error::new(ErrorKind::Interrupted, "the comparison was interrupted")
}

impl Error {
    /// A schema change behind the member's snapshot takes the table away from it.
    fn about_table(self, table: &TableName) -> Self {
        if self.kind() != ErrorKind::Refused {
            return self;
        }
        let message = format!("table {table} cannot be compared: {}", self.message());
        Self::new(ErrorKind::Refused, message)
            .remedy("where its definition was changed meanwhile, run the comparison again")
            .caused_by(self)
    }
}
