//! A table in chunks by primary key, the differing ones narrowed to rows.
//!
//! A chunk is as many rows of the store as the settings say, and whatever the member has between the same
//! keys. Rows that follow one another alike on both sides are compared as they come; at the first that does
//! not, rows are found by their keys. A table without a key, or with one of whose order either side knows
//! nothing certain (no exact collation, a prefix, ENUM), is one chunk, whose rows are found by a hash of all
//! their values: 128 bits of each row are held in memory then.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hasher};
use std::thread;
use std::time::{Duration, Instant};

use super::form::{self, Form};
use super::resume::Boundary;
use super::{Difference, DifferenceKind, Position, Report, Settings, TableReport};
use crate::Result;
use crate::binlog::Cell;
use crate::net::Connection;
use crate::target::schema::TableName;
use crate::target::store::{Row, Snapshot};

/// How long the rate limit sleeps before it tells progress again.
const NAP: Duration = Duration::from_millis(100);

/// All values of a row; `None` is NULL.
type Texts = Vec<Option<Vec<u8>>>;

/// A comparison under way.
pub(super) struct Run<'a> {
    pub(super) connection: Connection,
    pub(super) snapshot: &'a Snapshot,
    pub(super) settings: &'a Settings,
    pub(super) report: &'a mut dyn FnMut(Report) -> Result<()>,
    pub(super) begun: Instant,
    pub(super) read_bytes: u64,
}

/// A table under way.
struct Table<'a> {
    form: Form<'a>,
    told: TableReport,
    listed: usize,
}

impl Run<'_> {
    /// Compares a table; `columns`: what the member says of it.
    pub(super) fn table(
        &mut self,
        name: &TableName,
        columns: Option<&[String]>,
    ) -> Result<TableReport> {
        let mut told = TableReport {
            table: name.clone(),
            rows: 0,
            chunks: 0,
            differences: 0,
        };
        let snapshot = self.snapshot;
        let (kind, columns) = match (snapshot.definition(name), columns) {
            (Some(definition), Some(columns)) => {
                let ours: Vec<_> = definition.columns.iter().map(|c| c.name.clone()).collect();
                if ours == columns {
                    let mut table = Table {
                        form: Form::new(name, definition)?,
                        told,
                        listed: 0,
                    };
                    if table.form.ordered {
                        self.by_key(&mut table)?;
                    } else {
                        self.whole(&mut table)?;
                    }
                    return Ok(table.told);
                }
                let only = |these: &[String], those: &[String]| {
                    let only = these.iter().filter(|name| !those.contains(name));
                    only.cloned().collect::<Vec<_>>()
                };
                let differing = [only(&ours, columns), only(columns, &ours)].concat();
                (DifferenceKind::Columns, differing)
            }
            (None, _) => (DifferenceKind::MissingTable, Vec::new()),
            (Some(_), None) => (DifferenceKind::ExtraTable, Vec::new()),
        };
        told.differences = 1;
        (self.report)(Report::Difference(Difference {
            table: name.clone(),
            kind,
            row: Vec::new(),
            columns,
        }))?;
        Ok(told)
    }

    fn by_key(&mut self, table: &mut Table<'_>) -> Result<()> {
        let snapshot = self.snapshot;
        let name = table.told.table.clone();
        let resume = self.settings.resume.as_ref();
        let resume = resume.filter(|position| position.table == name);
        let mut after: Option<Boundary> = resume.and_then(|position| position.after.clone());
        let from = after.as_ref().map(|boundary| boundary.key.clone());
        let mut rows = snapshot
            .scan_from(&name, from.as_deref().unwrap_or_default())?
            .skip_while(|(key, _)| from.as_deref() == Some(*key))
            .peekable();
        loop {
            let mut chunk = Vec::new();
            let mut last = Vec::new();
            for (key, row) in rows.by_ref().take(self.settings.chunk_rows.max(1)) {
                chunk.push(texts(&table.form, row)?);
                last = key.to_vec();
            }
            let until = match (rows.peek(), chunk.last()) {
                (Some(_), Some(row)) => Some(Boundary {
                    key: last,
                    literals: table.form.literals(row)?,
                }),
                _ => None,
            };
            self.chunk(table, &chunk, after.as_ref(), until.as_ref())?;
            after = until;
            let Some(boundary) = &after else {
                return Ok(());
            };
            self.progress(table, Some(boundary.clone()))?;
        }
    }

    /// Compares the rows between two keys.
    fn chunk(
        &mut self,
        table: &mut Table<'_>,
        rows: &[Texts],
        after: Option<&Boundary>,
        until: Option<&Boundary>,
    ) -> Result<()> {
        let form = &table.form;
        let mut conditions = Vec::new();
        if let Some(after) = after {
            conditions.push(form.condition(&after.literals, false)?);
        }
        if let Some(until) = until {
            conditions.push(form.condition(&until.literals, true)?);
        }
        let mut statement = format!("SELECT {} FROM {}", form.select_list()?, form.name);
        if !conditions.is_empty() {
            statement.push_str(&format!(" WHERE {}", conditions.join(" AND ")));
        }
        statement.push_str(&format!(" ORDER BY {}", form.order()?));
        let mut seen = vec![false; rows.len()];
        let mut by_key: Option<HashMap<Texts, usize>> = None;
        let mut found = Vec::new();
        let mut next = 0;
        let read_bytes = &mut self.read_bytes;
        self.connection.query_each(&statement, |row| {
            let theirs = row.values()?;
            *read_bytes += bytes_of(&theirs);
            let at = if rows
                .get(next)
                .is_some_and(|ours| same_key(form, ours, &theirs))
            {
                Some(next)
            } else {
                let by_key = by_key.get_or_insert_with(|| {
                    let keys = rows.iter().enumerate();
                    keys.map(|(at, ours)| (key_of(form, ours), at)).collect()
                });
                let theirs: Texts = theirs.iter().map(|text| text.map(<[u8]>::to_vec)).collect();
                by_key.get(&key_of(form, &theirs)).copied()
            };
            match at {
                Some(at) => {
                    seen[at] = true;
                    next = at + 1;
                    let columns = changed(form, &rows[at], &theirs);
                    if !columns.is_empty() {
                        found.push((DifferenceKind::Changed, rows[at].clone(), columns));
                    }
                }
                None => {
                    let theirs = theirs.iter().map(|text| text.map(<[u8]>::to_vec));
                    found.push((DifferenceKind::Missing, theirs.collect(), Vec::new()));
                }
            }
            Ok(())
        })?;
        for (ours, _) in rows.iter().zip(&seen).filter(|(_, seen)| !**seen) {
            found.push((DifferenceKind::Extra, ours.clone(), Vec::new()));
        }
        table.told.rows += rows.len() as u64;
        table.told.chunks += 1;
        for (kind, row, columns) in found {
            self.difference(table, kind, &row, columns)?;
        }
        Ok(())
    }

    /// Compares all rows of a table, in no order.
    fn whole(&mut self, table: &mut Table<'_>) -> Result<()> {
        let snapshot = self.snapshot;
        let name = table.told.table.clone();
        let mut hashes: HashMap<u128, u64> = HashMap::new();
        for (_, row) in snapshot.scan(&name)? {
            let texts = texts(&table.form, row)?;
            let borrowed: Vec<_> = texts.iter().map(Option::as_deref).collect();
            *hashes.entry(hash_of(&borrowed)).or_default() += 1;
            table.told.rows += 1;
        }
        let statement = format!(
            "SELECT {} FROM {}",
            table.form.select_list()?,
            table.form.name
        );
        let mut missing: Vec<Texts> = Vec::new();
        let read_bytes = &mut self.read_bytes;
        self.connection.query_each(&statement, |row| {
            let theirs = row.values()?;
            *read_bytes += bytes_of(&theirs);
            match hashes.get_mut(&hash_of(&theirs)) {
                Some(count) if *count > 0 => *count -= 1,
                _ => missing.push(theirs.iter().map(|text| text.map(<[u8]>::to_vec)).collect()),
            }
            Ok(())
        })?;
        table.told.chunks += 1;
        let mut missing_by_key: HashMap<Texts, Texts> = HashMap::new();
        if !table.form.key.is_empty() {
            let keys = missing.drain(..);
            missing_by_key.extend(keys.map(|row| (key_of(&table.form, &row), row)));
        }
        if hashes.values().any(|count| *count > 0) {
            for (_, row) in snapshot.scan(&name)? {
                let ours = texts(&table.form, row)?;
                let borrowed: Vec<_> = ours.iter().map(Option::as_deref).collect();
                let count = hashes.get_mut(&hash_of(&borrowed));
                let Some(count) = count.filter(|count| **count > 0) else {
                    continue;
                };
                *count -= 1;
                let (kind, columns) = match missing_by_key.remove(&key_of(&table.form, &ours)) {
                    Some(theirs) => {
                        let theirs: Vec<_> = theirs.iter().map(Option::as_deref).collect();
                        let columns = changed(&table.form, &ours, &theirs);
                        (DifferenceKind::Changed, columns)
                    }
                    None => (DifferenceKind::Extra, Vec::new()),
                };
                self.difference(table, kind, &ours, columns)?;
            }
        }
        for row in missing_by_key.values().chain(&missing) {
            self.difference(table, DifferenceKind::Missing, row, Vec::new())?;
        }
        self.progress(table, None)
    }

    fn difference(
        &mut self,
        table: &mut Table<'_>,
        kind: DifferenceKind,
        row: &[Option<Vec<u8>>],
        columns: Vec<String>,
    ) -> Result<()> {
        table.told.differences += 1;
        if table.listed == self.settings.listed_differences {
            return Ok(());
        }
        table.listed += 1;
        let form = &table.form;
        let all: Vec<usize> = (0..row.len()).collect();
        let shown = if form.key.is_empty() { &all } else { &form.key };
        let row = shown.iter().map(|&at| {
            let text = row.get(at).and_then(Option::as_deref);
            let name = form.definition.columns.get(at).map(|c| c.name.clone());
            (
                name.unwrap_or_default(),
                text.map(|text| form.shown(at, text)),
            )
        });
        (self.report)(Report::Difference(Difference {
            table: table.told.table.clone(),
            kind,
            row: row.collect(),
            columns,
        }))
    }

    /// Tells where the comparison stands, and waits until the rate allows more.
    fn progress(&mut self, table: &Table<'_>, after: Option<Boundary>) -> Result<()> {
        loop {
            (self.report)(Report::Progress {
                position: Position {
                    table: table.told.table.clone(),
                    after: after.clone(),
                },
                rows: table.told.rows,
            })?;
            let due = self.settings.max_rate.map_or(Duration::ZERO, |rate| {
                Duration::from_secs_f64(self.read_bytes as f64 / rate.max(1) as f64)
            });
            let wait = due.saturating_sub(self.begun.elapsed());
            if wait.is_zero() {
                return Ok(());
            }
            thread::sleep(wait.min(NAP));
        }
    }
}

/// A stored row in the form of both sides.
fn texts(form: &Form<'_>, row: Row<'_>) -> Result<Texts> {
    let mut cells = Vec::new();
    row.cells(&mut cells)?;
    let columns = row.columns().iter().zip(&form.definition.columns);
    columns
        .zip(&cells)
        .map(|((physical, definition), cell): (_, &Cell)| {
            let Some(bytes) = cell.bytes(row.image()) else {
                return Ok(None);
            };
            let zerofill = definition.zerofill.map(|width| width.min(255) as u8);
            let mut text = Vec::new();
            form::write(physical, zerofill, bytes, &mut text)?;
            Ok(Some(text))
        })
        .collect()
}

fn bytes_of(values: &[Option<&[u8]>]) -> u64 {
    let lengths = values.iter().flatten().map(|text| text.len() as u64 + 1);
    lengths.sum()
}

fn same_key(form: &Form<'_>, ours: &Texts, theirs: &[Option<&[u8]>]) -> bool {
    let mut parts = form.key.iter();
    parts.all(|&at| ours.get(at).map(Option::as_deref) == theirs.get(at).copied())
}

fn key_of(form: &Form<'_>, row: &Texts) -> Texts {
    let parts = form.key.iter();
    parts.map(|&at| row.get(at).cloned().flatten()).collect()
}

/// The names of the columns that differ.
fn changed(form: &Form<'_>, ours: &Texts, theirs: &[Option<&[u8]>]) -> Vec<String> {
    let pairs = ours.iter().zip(theirs).zip(&form.definition.columns);
    pairs
        .filter(|((ours, theirs), _)| ours.as_deref() != **theirs)
        .map(|(_, column)| column.name.clone())
        .collect()
}

/// Two halves of different beginnings: as good as one of 128 bits.
fn hash_of(values: &[Option<&[u8]>]) -> u128 {
    let half = |seed: u8| {
        let mut hasher = DefaultHasher::new();
        hasher.write_u8(seed);
        for value in values {
            match value {
                Some(text) => {
                    hasher.write_u64(text.len() as u64);
                    hasher.write(text);
                }
                None => hasher.write_u64(u64::MAX),
            }
        }
        hasher.finish()
    };
    u128::from(half(1)) << 64 | u128::from(half(2))
}
