//! The rows of a group of transactions on several threads.
//!
//! ```text
//! the applier's thread: events in their order, table maps, statements, the log
//!        |  row events
//!        +--> rejoin-apply-1: tables 1, 4     each table belongs to one thread, which makes its changes
//!        +--> rejoin-apply-2: tables 2, 3     in the order of the log
//! ```
//!
//! Nobody sees a group before all of it is done, so that the order between tables means nothing: what is
//! published is what one thread would have made. Whatever looks at tables, a statement or a table map that
//! was not seen before, first [settles](Sink::settle) what was handed over. Where a change does not fit, the
//! group is applied anew by one thread, which finds the first transaction that it is.

use std::collections::HashMap;
use std::panic;
use std::sync::Arc;
use std::thread::{Builder, Scope, ScopedJoinHandle};

use crossbeam_channel::{Receiver, Sender, unbounded};

use super::Rows;
use super::rows::{self, Scratch};
use super::state::{State, Table};
use crate::binlog::RowsEvent;
use crate::gtid::Gtid;
use crate::{Error, ErrorKind, Result};

/// Row events that are handed over at once.
const CHUNK: usize = 64;

/// A row event of a table that is known.
#[derive(Debug)]
pub(super) struct TableRows<'b> {
    /// Where the table is in the state.
    pub(super) place: usize,
    pub(super) event: RowsEvent<'b>,
    /// When the statement ran, in seconds since 1970.
    pub(super) timestamp: u32,
    pub(super) gtid: &'b Gtid,
}

impl TableRows<'_> {
    fn apply<R: Rows>(
        &self,
        table: Option<&mut Arc<Table<R>>>,
        scratch: &mut Scratch,
    ) -> Result<()> {
        let Some(table) = table else {
            return Err(Error::new(
                ErrorKind::Internal,
                "table map of a dropped table",
            ));
        };
        rows::apply(Arc::make_mut(table), &self.event, self.timestamp, scratch)
    }
}

/// Where the row events of transactions go.
pub(super) trait Sink<'b, R: Rows> {
    /// Changes rows, now or before the next [`settle`](Self::settle) is over.
    fn rows(&mut self, state: &mut State<R>, rows: TableRows<'b>) -> Result<()>;

    /// All rows are changed, and all tables are in the state, when it returns.
    fn settle(&mut self, state: &mut State<R>) -> Result<()>;
}

/// Changes rows at once.
#[derive(Debug, Default)]
pub(super) struct AtOnce {
    scratch: Scratch,
}

impl<'b, R: Rows> Sink<'b, R> for AtOnce {
    fn rows(&mut self, state: &mut State<R>, rows: TableRows<'b>) -> Result<()> {
        let table = state.tables.get_mut(rows.place).and_then(Option::as_mut);
        rows.apply(table, &mut self.scratch)
    }

    fn settle(&mut self, _state: &mut State<R>) -> Result<()> {
        Ok(())
    }
}

/// Threads that change rows; none before there are any to change.
#[derive(Debug)]
pub(super) struct Lanes<'scope, 'env, 'b, R: Rows> {
    scope: &'scope Scope<'scope, 'env>,
    /// How many there may be.
    count: usize,
    lanes: Vec<Lane<'scope, 'b, R>>,
    /// The lane of each table, by its place in the state.
    owners: HashMap<usize, usize>,
}

/// Tables of a lane, with their places in the state.
type Tables<R> = HashMap<usize, Arc<Table<R>>>;

#[derive(Debug)]
struct Lane<'scope, 'b, R: Rows> {
    /// What is not handed over yet.
    chunk: Vec<Task<'b, R>>,
    /// Row events so far.
    load: usize,
    work: Sender<Vec<Task<'b, R>>>,
    thread: ScopedJoinHandle<'scope, Result<Tables<R>>>,
}

#[derive(Debug)]
enum Task<'b, R> {
    /// A table that is the lane's from now on.
    Table(usize, Arc<Table<R>>),
    Rows(TableRows<'b>),
}

impl<'scope, 'env, 'b: 'scope, R: Rows> Lanes<'scope, 'env, 'b, R> {
    pub(super) fn new(scope: &'scope Scope<'scope, 'env>, count: usize) -> Self {
        Self {
            scope,
            count,
            lanes: Vec::new(),
            owners: HashMap::new(),
        }
    }

    /// The lane of a table; one that had no rows so far goes where there is the least to do.
    fn lane(&mut self, state: &mut State<R>, place: usize) -> Result<&mut Lane<'scope, 'b, R>> {
        let number = match self.owners.get(&place) {
            Some(number) => *number,
            None => {
                let table = state.tables.get_mut(place).and_then(Option::take);
                let Some(table) = table else {
                    return Err(Error::new(
                        ErrorKind::Internal,
                        "table map of a dropped table",
                    ));
                };
                if self.lanes.len() < self.count {
                    self.begin()?;
                }
                let least = self
                    .lanes
                    .iter()
                    .enumerate()
                    .min_by_key(|(_, lane)| lane.load);
                let number = least.map_or(0, |(number, _)| number);
                self.owners.insert(place, number);
                if let Some(lane) = self.lanes.get_mut(number) {
                    lane.chunk.push(Task::Table(place, table));
                }
                number
            }
        };
        self.lanes
            .get_mut(number)
            .ok_or_else(|| Error::new(ErrorKind::Internal, "no thread to apply"))
    }

    fn begin(&mut self) -> Result<()> {
        let (work, tasks) = unbounded();
        let thread = Builder::new()
            .name(format!("rejoin-apply-{}", self.lanes.len() + 1))
            .spawn_scoped(self.scope, move || run(&tasks))
            .map_err(|error| {
                Error::new(ErrorKind::Internal, "cannot start a thread to apply").caused_by(error)
            })?;
        self.lanes.push(Lane {
            chunk: Vec::with_capacity(CHUNK),
            load: 0,
            work,
            thread,
        });
        Ok(())
    }
}

impl<'b, R: Rows> Lane<'_, 'b, R> {
    fn hand_over(&mut self) {
        let chunk = std::mem::replace(&mut self.chunk, Vec::with_capacity(CHUNK));
        // A thread that has met an error takes nothing more, and says so when it is joined.
        let _ = self.work.send(chunk);
    }
}

/// Changes the rows of tables until there is nothing more to come; gives the tables back.
fn run<R: Rows>(tasks: &Receiver<Vec<Task<'_, R>>>) -> Result<Tables<R>> {
    let mut tables = Tables::new();
    let mut scratch = Scratch::default();
    for task in tasks.iter().flatten() {
        match task {
            Task::Table(place, table) => {
                tables.insert(place, table);
            }
            Task::Rows(rows) => rows
                .apply(tables.get_mut(&rows.place), &mut scratch)
                .map_err(|error| error.at_gtid(*rows.gtid))?,
        }
    }
    Ok(tables)
}

impl<'scope, 'b: 'scope, R: Rows> Sink<'b, R> for Lanes<'scope, '_, 'b, R> {
    fn rows(&mut self, state: &mut State<R>, rows: TableRows<'b>) -> Result<()> {
        let lane = self.lane(state, rows.place)?;
        lane.load += 1;
        lane.chunk.push(Task::Rows(rows));
        if lane.chunk.len() >= CHUNK {
            lane.hand_over();
        }
        Ok(())
    }

    fn settle(&mut self, state: &mut State<R>) -> Result<()> {
        self.owners.clear();
        for lane in &mut self.lanes {
            lane.hand_over();
        }
        let threads: Vec<_> = self.lanes.drain(..).map(|lane| lane.thread).collect();
        let mut outcome = Ok(());
        for thread in threads {
            match thread.join() {
                Ok(Ok(tables)) => {
                    for (place, table) in tables {
                        if let Some(free) = state.tables.get_mut(place) {
                            *free = Some(table);
                        }
                    }
                }
                Ok(Err(error)) => outcome = outcome.and(Err(error)),
                Err(panicked) => panic::resume_unwind(panicked),
            }
        }
        outcome
    }
}
