//! Keys that the group tells, where the log does not.
//!
//! A member says what a table is now; a row event needs to know what it was then. An answer is taken where
//! all of this is so, of which each part excludes what the others let through:
//!
//! 1. Its columns are those of the table map: number, types, lengths, signs, collations, which may be NULL,
//!    and whether the key is a generated invisible one.
//! 2. The store stands where the member stood: the member had executed all that is here, and all that it
//!    had executed when it answered is here, the transaction at hand included. So no statement of the log
//!    can lie between the event and the answer. Before that, while a store catches up, an answer waits, and
//!    one statement about the table in the meantime makes it void.
//! 3. `CREATE_TIME` is older than the event by at least a second. That excludes statements that are in no log
//!    (`sql_log_bin=0`) behind the event.
//!
//! `CREATE_TIME` alone would not do. On 9.7.4 each ALTER TABLE moves it, of whatever algorithm, INSTANT
//! included, and so do DROP and CREATE, CREATE INDEX and OPTIMIZE; but RENAME TABLE does not, so that a table
//! made long ago, with another key, can take the name (`DROP TABLE t; RENAME TABLE u TO t`, and the swap with
//! which online schema changes end); and it is the session's clock, which replayed logs set back
//! (`SET TIMESTAMP`). Both are in the log, where the second condition sees them.
//!
//! A key that is taken is written into the table map of the transaction, as sources with
//! `binlog_row_metadata=FULL` have it there: the store's own log then tells it without anyone being asked, and
//! so it does to `mysqlbinlog` and to replicas. Where the transaction is one of other tables, it gets a
//! table map more, without rows, as servers write them for tables that a statement has opened and not
//! changed. XA transactions are in the log before their rows are applied; they tell and take nothing.

use std::collections::HashMap;
use std::sync::Arc;

use super::Rows;
use super::binding::take_key;
use super::lanes::Sink;
use super::layout::Layout;
use super::state::{State, Table};
use crate::binlog::{Column, EventHeader, TableMap};
use crate::gtid::{Gtid, GtidSet};
use crate::target::schema::{Concerns, StatementContext, TableDefinition, TableName, concerns};
use crate::target::{GroupTable, KeySource};
use crate::transaction::{Batch, Transaction};
use crate::{Fault, Result};

/// Columns of a key, each with the length of its prefix or 0.
pub(super) type Key = Vec<(usize, u32)>;

/// What a source of keys has said.
#[derive(Debug)]
pub(super) struct Answers {
    source: Box<dyn KeySource>,
    /// By the place of the table in the state.
    asked: HashMap<usize, Asked>,
    /// How many GTIDs a store has to have executed for any answer to be due; the most where none waits.
    least: u64,
    /// The transaction at hand has had its first table map.
    has_looked: bool,
    /// The table maps of the transaction at hand that were completed: which event, and what stands in its
    /// place.
    completed: Vec<(usize, Vec<u8>)>,
}

#[derive(Debug)]
struct Asked {
    name: Arc<TableName>,
    /// Of the table for which it was asked: one that has other columns by now has another layout.
    layout: Arc<Layout>,
    /// The event of its table map.
    map: Vec<u8>,
    /// `None`: there is none that could be taken.
    answer: Option<Answer>,
    is_taken: bool,
}

#[derive(Debug)]
struct Answer {
    key: Key,
    create_time: u64,
    gtid_executed: GtidSet,
}

impl Answers {
    pub(super) fn new(source: Box<dyn KeySource>) -> Self {
        Self {
            source,
            asked: HashMap::new(),
            least: u64::MAX,
            has_looked: false,
            completed: Vec::new(),
        }
    }

    /// Another transaction begins.
    pub(super) fn begin(&mut self) {
        self.completed.clear();
        self.has_looked = false;
    }

    /// Asks for the key of a table, unless that was done. `event` is the one of the table map.
    pub(super) fn ask<R: Rows>(
        &mut self,
        state: &State<R>,
        place: usize,
        map: &TableMap<'_>,
        event: &[u8],
    ) {
        let Some(table) = state.tables.get(place).and_then(Option::as_ref) else {
            return;
        };
        let asked = self.asked.get(&place);
        if asked.is_some_and(|asked| asked.is_of(table)) {
            return;
        }
        let executed = &state.gtid_executed;
        let told = match self.source.table(&table.name, executed) {
            Ok(Some(told)) => answer(told, table, map, executed),
            Ok(None) => Err("no member of the group has it".to_owned()),
            Err(error) => Err(format!("the group cannot be asked for its key: {error}")),
        };
        let answer = told.map_err(|reason| refused(&table.name, &reason)).ok();
        let asked = Asked {
            name: Arc::clone(&table.name),
            layout: Arc::clone(&table.layout),
            map: event.to_vec(),
            answer,
            is_taken: false,
        };
        self.asked.insert(place, asked);
        self.has_looked = false;
        self.wait_on();
    }

    /// Takes the keys that are due in a transaction and writes them into the table map at hand, which is
    /// that of the table in `own` and given with its number in the transaction. Gives the places of the
    /// tables that have keys now.
    ///
    /// # Errors
    /// Those of the target, and of rows that were handed to threads.
    pub(super) fn take<'b, R: Rows>(
        &mut self,
        state: &mut State<R>,
        transaction: &Transaction<'_>,
        (at, header, event): (usize, &EventHeader, &[u8]),
        own: Option<usize>,
        sink: &mut impl Sink<'b, R>,
    ) -> Result<Vec<usize>> {
        let due = self.due(&state.gtid_executed, transaction.gtid(), header.timestamp);
        let mut taken = Vec::new();
        let format = transaction.format();
        if due.is_empty() || !TableMap::decode(format, event)?.reads_optional_metadata() {
            return Ok(taken);
        }
        sink.settle(state)?;
        let (mut others, mut event) = (Vec::new(), event.to_vec());
        for (place, key) in due {
            let Some(asked) = self.asked.get_mut(&place) else {
                continue;
            };
            asked.is_taken = true;
            let table = state.tables.get(place).and_then(Option::as_ref);
            if !table.is_some_and(|table| asked.is_of(table)) {
                continue;
            }
            match take_key(state, place, &key) {
                Ok(()) if own == Some(place) => event = TableMap::with_primary_key(&event, &key),
                Ok(()) => {
                    let mut map = TableMap::with_primary_key(&asked.map, &key);
                    // From the end of the numbers, where no source comes to.
                    let id = TableMap::MAX_ID - 1 - place as u64;
                    TableMap::renumber(&mut map, header, id);
                    others.append(&mut map);
                }
                Err(error) if error.fault() == Fault::Target => return Err(error),
                Err(error) => {
                    // Rows have proved the answer wrong.
                    refused(&asked.name, error.message());
                    asked.answer = None;
                    continue;
                }
            }
            taken.push(place);
        }
        self.wait_on();
        if !taken.is_empty() {
            others.append(&mut event);
            self.completed.push((at, others));
        }
        Ok(taken)
    }

    /// Places and keys of the tables whose key can be taken in this transaction, as far as answers tell:
    /// `executed` is what was executed before it, `timestamp` when its statement ran. Each transaction looks
    /// once.
    fn due(&mut self, executed: &GtidSet, gtid: &Gtid, timestamp: u32) -> Vec<(usize, Key)> {
        if self.has_looked || self.least == u64::MAX {
            return Vec::new();
        }
        self.has_looked = true;
        if executed.count() + 1 < self.least {
            return Vec::new();
        }
        let waiting = self.asked.iter().filter(|(_, asked)| !asked.is_taken);
        let due = waiting.filter_map(|(place, asked)| {
            let answer = asked.answer.as_ref()?;
            let is_due = answer.create_time < u64::from(timestamp)
                && is_subset_with(&answer.gtid_executed, executed, gtid);
            is_due.then(|| (*place, answer.key.clone()))
        });
        let mut due: Vec<_> = due.collect();
        due.sort_unstable();
        due
    }

    /// Forgets what was said of the tables that a statement has to do with, be it that nothing has changed
    /// here; whether it was anything.
    pub(super) fn forget(&mut self, statement: &[u8], context: &StatementContext<'_>) -> bool {
        if self.asked.is_empty() {
            return false;
        }
        let before = self.asked.len();
        match concerns(statement, context) {
            Concerns::Nothing => {}
            Concerns::Tables(names) => self.asked.retain(|_, asked| !names.contains(&asked.name)),
            Concerns::Database(name) => {
                self.asked.retain(|_, asked| asked.name.database != name);
            }
            Concerns::Everything => self.asked.clear(),
        }
        self.wait_on();
        self.asked.len() < before
    }

    /// Takes may have been taken back, with the state.
    pub(super) fn look_again(&mut self) {
        for asked in self.asked.values_mut() {
            asked.is_taken = false;
        }
        self.wait_on();
    }

    fn wait_on(&mut self) {
        let waiting = self.asked.values().filter(|asked| !asked.is_taken);
        let counts = waiting.filter_map(|asked| Some(asked.answer.as_ref()?.gtid_executed.count()));
        self.least = counts.min().unwrap_or(u64::MAX);
    }

    /// The transaction at hand as it has to stand in the log; `None`: as it came.
    pub(super) fn completed(&self, transaction: &Transaction<'_>) -> Option<Batch> {
        (!self.completed.is_empty()).then(|| transaction.with_events(&self.completed))
    }
}

impl Asked {
    fn is_of<R>(&self, table: &Table<R>) -> bool {
        Arc::ptr_eq(&self.layout, &table.layout)
    }
}

/// Whether all of `set` is `executed`, or is this one.
fn is_subset_with(set: &GtidSet, executed: &GtidSet, gtid: &Gtid) -> bool {
    let missing = set.subtract(executed);
    missing.is_empty() || missing.count() == 1 && missing.contains(gtid)
}

/// What of a member's answer may once be taken, or why nothing.
fn answer<R>(
    told: GroupTable,
    table: &Table<R>,
    map: &TableMap<'_>,
    executed: &GtidSet,
) -> Result<Answer, String> {
    if !executed.is_subset(&told.gtid_executed) {
        return Err("the member of the group that was asked is behind".to_owned());
    }
    let is_made_up = map.flags & TableMap::GENERATED_INVISIBLE_PK != 0;
    Ok(Answer {
        key: agreed(told.definition, table.layout.columns(), is_made_up)?,
        create_time: told.create_time,
        gtid_executed: told.gtid_executed,
    })
}

/// The key of a definition whose columns are the logged ones; `is_made_up`: the log says that it is a
/// generated invisible one.
fn agreed(
    mut definition: TableDefinition,
    columns: &[Column],
    is_made_up: bool,
) -> Result<Key, String> {
    let differs = |what: &str| Err(format!("the group has {what} by now"));
    let declared = definition.columns.iter().zip(columns);
    let is_other = declared.into_iter().any(|(declared, logged)| {
        let collations = logged.collation.map(|logged| (logged, declared.collation));
        declared.nullable != logged.nullable || collations.is_some_and(|(a, b)| a != b)
    });
    if let Err(error) = definition.bind(columns) {
        return differs(&format!("other columns ({})", error.message()));
    }
    if is_other {
        return differs("columns of other collations, or others that may be NULL,");
    }
    if is_made_up != definition.has_generated_invisible_primary_key() {
        return differs("another key");
    }
    if !definition.has_key() {
        return Err("it has none in the group".to_owned());
    }
    let parts = definition.primary_key.iter();
    Ok(parts
        .map(|part| (part.column, part.prefix_length.unwrap_or(0)))
        .collect())
}

#[cold]
fn refused(table: &TableName, reason: &str) {
    log::warn!(
        "table {table} has no key here, and its rows are found by all of their columns: {reason}"
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::schema::Catalog;

    fn definition(columns: &str) -> TableDefinition {
        let mut catalog = Catalog::new();
        let context = StatementContext {
            default_database: b"d",
            ..StatementContext::default()
        };
        for statement in ["CREATE DATABASE d", &format!("CREATE TABLE t ({columns})")] {
            catalog.apply(statement.as_bytes(), &context).unwrap();
        }
        catalog.table(&TableName::new("d", "t")).unwrap().clone()
    }

    /// What the group's columns say of a table that was logged with these.
    fn compare(logged: &str, now: &str, is_made_up: bool) -> Result<Key, String> {
        let logged = definition(logged);
        let mut columns = logged.physical_columns().unwrap();
        for (column, declared) in columns.iter_mut().zip(&logged.columns) {
            column.nullable = declared.nullable;
        }
        agreed(definition(now), &columns, is_made_up)
    }

    const LOGGED: &str = "a INT NOT NULL, b VARCHAR(20) COLLATE utf8mb4_bin NOT NULL, \
                          c DECIMAL(10, 2) NOT NULL, d BIGINT UNSIGNED";

    #[test]
    fn the_key_is_that_of_the_same_columns() {
        for (key, expected) in [
            ("PRIMARY KEY (a)", vec![(0, 0)]),
            ("PRIMARY KEY (c, a)", vec![(2, 0), (0, 0)]),
            ("PRIMARY KEY (b(3), a)", vec![(1, 3), (0, 0)]),
            ("PRIMARY KEY (b DESC)", vec![(1, 0)]),
            ("UNIQUE (d), UNIQUE (c, b)", vec![(2, 0), (1, 0)]),
        ] {
            let told = compare(LOGGED, &format!("{LOGGED}, {key}"), false);
            assert_eq!(told, Ok(expected), "{key}");
        }
    }

    #[test]
    fn other_columns_tell_nothing() {
        for (logged, now) in [
            ("INT NOT NULL", "BIGINT NOT NULL"),
            ("INT NOT NULL", "INT UNSIGNED NOT NULL"),
            ("INT NOT NULL", "INT"),
            ("VARCHAR(20)", "VARCHAR(21)"),
            ("DECIMAL(10, 2)", "DECIMAL(10, 3)"),
            ("utf8mb4_bin", "utf8mb4_0900_ai_ci"),
            (", d BIGINT UNSIGNED", ""),
            (", d BIGINT UNSIGNED", ", d BIGINT UNSIGNED, e INT"),
            ("a INT NOT NULL, ", ""),
        ] {
            let now = format!("{}, PRIMARY KEY (b)", LOGGED.replace(logged, now));
            let told = compare(LOGGED, &now, false);
            assert!(told.is_err(), "{now}: {told:?}");
        }
        // Not even where the order alone is another one.
        let (logged, now) = (
            "a INT NOT NULL, b DATE",
            "b DATE, a INT NOT NULL PRIMARY KEY",
        );
        assert!(compare(logged, now, false).is_err());
    }

    #[test]
    fn a_generated_invisible_key_is_one_in_the_log_as_well() {
        let logged = "my_row_id BIGINT UNSIGNED NOT NULL, a INT";
        let made_up = "my_row_id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT INVISIBLE, a INT, \
                       PRIMARY KEY (my_row_id)";
        let own = "my_row_id BIGINT UNSIGNED NOT NULL, a INT, PRIMARY KEY (my_row_id)";
        assert_eq!(compare(logged, made_up, true), Ok(vec![(0, 0)]));
        assert_eq!(compare(logged, own, false), Ok(vec![(0, 0)]));
        assert!(compare(logged, made_up, false).is_err());
        assert!(compare(logged, own, true).is_err());
    }

    #[test]
    fn no_key_is_no_answer() {
        for key in ["", ", UNIQUE (d)", ", KEY (a)"] {
            let told = compare(LOGGED, &format!("{LOGGED}{key}"), false);
            assert_eq!(told, Err("it has none in the group".to_owned()));
        }
    }
}
