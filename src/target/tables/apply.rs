//! Transactions on a state: events in their order, each row change and schema change checked.

use std::collections::HashMap;
use std::sync::Arc;
use std::thread;

use super::answers::Answers;
use super::binding::{bind, is_keyless, is_untold, key_of, take_key};
use super::lanes::{AtOnce, Lanes, Sink, TableRows};
use super::rows::is_whole;
use super::state::State;
use super::xa::{self, Prepared, SecondPhase, Xid};
use super::{Rows, schema_change};
use crate::binlog::{
    EventHeader, EventType, FormatDescription, QueryEvent, RowsEvent, RowsKind, TableMap,
    XaPrepareEvent,
};
use crate::target::KeySource;
use crate::target::schema::StatementContext;
use crate::transaction::{Batch, Transaction, TransactionKind, is_rollback};
use crate::{Error, ErrorKind, Fault, Result};

/// Table maps that are remembered from one statement to the next.
const MAPS_KEPT: usize = 1024;

/// From so many bytes of events on, it pays to start threads.
const PARALLEL_BYTES: usize = 128 << 10;

/// Applies transactions to a [`State`]; what it keeps between them only makes it faster.
#[derive(Debug, Default)]
pub(crate) struct Applier {
    /// Threads that change rows beside the caller's; with none or one, it does everything itself.
    workers: usize,
    /// Table maps by their table id, as they were bound last.
    maps: HashMap<u64, BoundMap>,
    /// Ids of the table maps of the statement that is being executed.
    open: Vec<u64>,
    at_once: AtOnce,
    /// The keys that the group tells; `None` where nobody is asked.
    answers: Option<Answers>,
}

/// What is told of each transaction of a group.
pub(crate) trait GroupLog {
    /// The transaction belongs to the group.
    fn append(&mut self, transaction: &Transaction<'_>) -> Result<()>;

    /// The group begins anew.
    fn roll_back(&mut self);
}

/// No log.
impl GroupLog for () {
    fn append(&mut self, _transaction: &Transaction<'_>) -> Result<()> {
        Ok(())
    }

    fn roll_back(&mut self) {}
}

/// A table map, and the table that it was found to mean.
#[derive(Debug)]
struct BoundMap {
    /// The event behind its header: equal bytes mean the same table and columns.
    body: Vec<u8>,
    /// Place of the table in the state; `None` for tables whose rows are not kept.
    place: Option<usize>,
    /// Whether rows are found by all of their columns.
    is_keyless: bool,
}

impl Applier {
    pub(crate) fn new(workers: usize) -> Self {
        Self {
            workers,
            ..Self::default()
        }
    }

    /// Has this source asked for keys, where the log tells none. Nobody is asked before that, as when a log
    /// is replayed.
    pub(crate) fn ask(&mut self, source: Box<dyn KeySource>) {
        self.answers = Some(Answers::new(source));
    }

    /// Forgets all table maps, after a schema change or a step back.
    pub(crate) fn forget(&mut self) {
        self.maps.clear();
        self.open.clear();
        if let Some(answers) = &mut self.answers {
            answers.look_again();
        }
    }

    /// Applies one transaction.
    ///
    /// # Errors
    /// They name the GTID. The state holds part of the transaction then and is of no use.
    pub(crate) fn apply<R: Rows>(
        &mut self,
        state: &mut State<R>,
        transaction: &Transaction<'_>,
    ) -> Result<()> {
        let mut at_once = std::mem::take(&mut self.at_once);
        let done = self.transaction(state, transaction, &mut at_once);
        self.at_once = at_once;
        done
    }

    /// Applies all transactions of `batch`, on several threads where it is large.
    ///
    /// # Errors
    /// They name a GTID. The state is of no use then.
    pub(crate) fn apply_all<R: Rows>(&mut self, state: &mut State<R>, batch: &Batch) -> Result<()> {
        if self.is_parallel(batch) {
            return self.in_lanes(state, batch, &mut ());
        }
        for transaction in batch.iter() {
            self.apply(state, &transaction)?;
        }
        Ok(())
    }

    /// Applies the transactions of `batch` to `state`, which is that of `before`, and tells `log` of each.
    ///
    /// # Errors
    /// That of the first transaction that cannot be applied: state and log hold those before it then, or
    /// nothing of the group where the target itself has failed.
    pub(crate) fn apply_group<R: Rows>(
        &mut self,
        state: &mut State<R>,
        before: &State<R>,
        batch: &Batch,
        log: &mut impl GroupLog,
    ) -> Result<()> {
        if self.is_parallel(batch) {
            if self.in_lanes(state, batch, log).is_ok() {
                return Ok(());
            }
            state.clone_from(before);
            self.forget();
            log.roll_back();
        }
        let mut completed = HashMap::new();
        for (index, transaction) in batch.iter().enumerate() {
            let done = self.apply(state, &transaction);
            let error = match done.and_then(|()| self.log(log, &transaction)) {
                Ok(None) => continue,
                Ok(Some(whole)) => {
                    completed.insert(index, whole);
                    continue;
                }
                Err(error) => error,
            };
            state.clone_from(before);
            self.forget();
            if error.fault() == Fault::Target {
                log.roll_back();
                return Err(error);
            }
            // Part of that transaction may have been applied: begin the group anew without it, with what the
            // log was told.
            let answers = self.answers.take();
            let again =
                batch
                    .iter()
                    .enumerate()
                    .take(index)
                    .try_for_each(|(index, transaction)| {
                        let told = completed.get(&index).and_then(Batch::first);
                        self.apply(state, &told.unwrap_or(transaction))
                    });
            self.answers = answers;
            return again.and(Err(error));
        }
        Ok(())
    }

    /// Whether threads are of use. A log that changes its format commits what it was told before: it must
    /// not be told of anything that is not done.
    fn is_parallel(&self, batch: &Batch) -> bool {
        let Some(first) = batch.first() else {
            return false;
        };
        self.workers > 1
            && batch.byte_size() >= PARALLEL_BYTES
            && batch
                .iter()
                .all(|transaction| Arc::ptr_eq(transaction.format(), first.format()))
    }

    fn in_lanes<R: Rows>(
        &mut self,
        state: &mut State<R>,
        batch: &Batch,
        log: &mut impl GroupLog,
    ) -> Result<()> {
        thread::scope(|scope| {
            let mut lanes = Lanes::new(scope, self.workers);
            for transaction in batch.iter() {
                self.transaction(state, &transaction, &mut lanes)?;
                self.log(log, &transaction)?;
            }
            lanes.settle(state)
        })
    }

    /// Tells the log of the transaction that was applied last. Gives it where it was told otherwise than it
    /// came.
    fn log(&self, log: &mut impl GroupLog, transaction: &Transaction<'_>) -> Result<Option<Batch>> {
        let completed = self.answers.as_ref();
        let completed = completed.and_then(|answers| answers.completed(transaction));
        let told = completed.as_ref().and_then(Batch::first);
        log.append(&told.unwrap_or(*transaction))?;
        Ok(completed)
    }

    fn transaction<'b, R: Rows>(
        &mut self,
        state: &mut State<R>,
        transaction: &Transaction<'b>,
        sink: &mut impl Sink<'b, R>,
    ) -> Result<()> {
        let gtid = transaction.gtid();
        self.open.clear();
        if let Some(answers) = &mut self.answers {
            answers.begin();
        }
        if state.gtid_executed.contains(gtid) {
            return Err(
                Error::new(ErrorKind::Internal, "a transaction came a second time").at_gtid(*gtid),
            );
        }
        let done = match transaction.kind() {
            TransactionKind::XaPrepare => prepare(state, transaction),
            TransactionKind::Empty | TransactionKind::ViewChange { .. } => Ok(()),
            _ if ends_with_rollback(transaction) => Ok(()),
            _ => self.changes(state, transaction, sink),
        };
        done.map_err(|error| error.at_gtid(*gtid))?;
        state.gtid_executed.insert(gtid);
        state.commit_number += 1;
        Ok(())
    }

    /// Executes all events of a transaction.
    fn changes<'b, R: Rows>(
        &mut self,
        state: &mut State<R>,
        transaction: &Transaction<'b>,
        sink: &mut impl Sink<'b, R>,
    ) -> Result<()> {
        let format = transaction.format();
        let mut savepoints = Vec::new();
        for (at, (header, event)) in transaction.events().enumerate() {
            match header.event_type {
                EventType::TABLE_MAP => {
                    let place = self.table_map(state, format, event, sink)?;
                    if let Some(answers) = &mut self.answers {
                        let map = (at, &header, event);
                        for taken in answers.take(state, transaction, map, place, sink)? {
                            for bound in self.maps.values_mut() {
                                bound.is_keyless &= bound.place != Some(taken);
                            }
                        }
                    }
                }
                EventType::QUERY => {
                    let query = QueryEvent::decode(format, event)?;
                    self.query(state, &header, &query, &mut savepoints, sink)?;
                }
                EventType::XID
                | EventType::GTID
                | EventType::GTID_TAGGED
                | EventType::ROWS_QUERY
                | EventType::XA_PREPARE
                | EventType::VIEW_CHANGE
                // Variables of a statement: what depends on them cannot be executed, and says so.
                | EventType::INTVAR
                | EventType::RAND
                | EventType::USER_VAR => {}
                event_type if event_type.is_rows() => {
                    let event = RowsEvent::decode(format, event)?;
                    let ends_statement = event.ends_statement();
                    self.learn_key(state, &event, sink)?;
                    if let Some(place) = self.table_of(&event)? {
                        let rows = TableRows {
                            place,
                            event,
                            timestamp: header.timestamp,
                            gtid: transaction.gtid(),
                        };
                        sink.rows(state, rows)?;
                    }
                    if ends_statement {
                        self.open.clear();
                    }
                }
                event_type if header.has(EventHeader::IGNORABLE) => {
                    log::debug!("{event_type} event passed over");
                }
                event_type => return Err(not_executable(event_type)),
            }
        }
        Ok(())
    }

    /// Where the table of a table map is; `None` where its rows are not kept.
    fn table_map<'b, R: Rows>(
        &mut self,
        state: &mut State<R>,
        format: &FormatDescription,
        event: &[u8],
        sink: &mut impl Sink<'b, R>,
    ) -> Result<Option<usize>> {
        let body = event.get(format.header_length()..).unwrap_or_default();
        let map = TableMap::decode(format, event)?;
        let id = map.table_id;
        let place = match self.maps.get(&id) {
            Some(bound) if bound.body == body => bound.place,
            _ => {
                sink.settle(state)?;
                let place = bind(state, &map)?;
                if let Some((answers, place)) = self.answers.as_mut().zip(place)
                    && is_untold(state, place, &map)?
                {
                    answers.ask(state, place, &map, event);
                }
                if self.maps.len() >= MAPS_KEPT && self.open.is_empty() {
                    self.maps.clear();
                }
                let bound = BoundMap {
                    body: body.to_vec(),
                    place,
                    is_keyless: place.is_some_and(|place| is_keyless(state, place)),
                };
                self.maps.insert(id, bound);
                place
            }
        };
        if !self.open.contains(&id) {
            self.open.push(id);
        }
        Ok(place)
    }

    /// Where the table of a row event is; `None` where its rows are not kept.
    fn table_of(&self, event: &RowsEvent<'_>) -> Result<Option<usize>> {
        if event.is_dummy() {
            return Ok(None);
        }
        let bound = self.maps.get(&event.table_id);
        match bound.filter(|_| self.open.contains(&event.table_id)) {
            Some(bound) => Ok(bound.place),
            None => Err(event.without_map()),
        }
    }

    /// What a row event leaves out of the row before its change is what the source does not need to find
    /// it: where nothing else told the key of a table, this does.
    fn learn_key<'b, R: Rows>(
        &mut self,
        state: &mut State<R>,
        event: &RowsEvent<'b>,
        sink: &mut impl Sink<'b, R>,
    ) -> Result<()> {
        let Some(bound) = self.maps.get_mut(&event.table_id) else {
            return Ok(());
        };
        let Some(place) = bound.place.filter(|_| bound.is_keyless) else {
            return Ok(());
        };
        if event.kind == RowsKind::Insert || is_whole(event.columns_before, event.width) {
            return Ok(());
        }
        let table = state.tables.get(place).and_then(Option::as_ref);
        let Some(key) = table.and_then(|table| key_of(table.layout.columns(), event)) else {
            return Ok(());
        };
        sink.settle(state)?;
        take_key(state, place, &key)?;
        bound.is_keyless = false;
        Ok(())
    }

    fn query<'b, R: Rows>(
        &mut self,
        state: &mut State<R>,
        header: &EventHeader,
        query: &QueryEvent<'_>,
        savepoints: &mut Vec<(Vec<u8>, State<R>)>,
        sink: &mut impl Sink<'b, R>,
    ) -> Result<()> {
        self.open.clear();
        let control = Control::of(query.statement)?;
        if matches!(control, Some(Control::Nothing)) {
            return Ok(());
        }
        sink.settle(state)?;
        match control {
            Some(Control::Nothing) => Ok(()),
            Some(Control::Savepoint(name)) => {
                savepoints.push((name.to_vec(), state.clone()));
                Ok(())
            }
            Some(Control::RollbackTo(name)) => {
                let at = savepoints.iter().rposition(|(known, _)| known == name);
                let Some(at) = at else {
                    return Err(Error::new(
                        ErrorKind::Malformed,
                        format!("no savepoint {}", String::from_utf8_lossy(name)),
                    ));
                };
                savepoints.truncate(at + 1);
                *state = savepoints[at].1.clone();
                self.forget();
                Ok(())
            }
            Some(Control::Second(phase)) => self.second_phase(state, phase),
            None => {
                let context = StatementContext::of(query, header.timestamp)?;
                let answers = self.answers.as_mut();
                let is_void =
                    answers.is_some_and(|answers| answers.forget(query.statement, &context));
                if schema_change::apply(state, query.statement, &context)? || is_void {
                    self.forget();
                }
                Ok(())
            }
        }
    }

    fn second_phase<R: Rows>(&mut self, state: &mut State<R>, phase: SecondPhase) -> Result<()> {
        let (xid, commits) = match phase {
            SecondPhase::Commit(xid) => (xid, true),
            SecondPhase::Rollback(xid) => (xid, false),
        };
        let Some(prepared) = Arc::make_mut(&mut state.prepared).remove(&xid) else {
            return Err(Error::new(
                ErrorKind::Conflict,
                "the XA transaction to end was not prepared here",
            ));
        };
        let Some(transaction) = prepared.batch.first().filter(|_| commits) else {
            return Ok(());
        };
        // Its table maps are in the log already: a key could not be written there, and nobody is asked for
        // one before the table's next map, which is bound anew.
        let answers = self.answers.take();
        let done = self.changes(state, &transaction, &mut AtOnce::default());
        if answers.is_some() {
            self.maps.retain(|_, bound| !bound.is_keyless);
        }
        self.answers = answers;
        done
    }
}

/// Keeps the first part of an XA transaction.
fn prepare<R: Rows>(state: &mut State<R>, transaction: &Transaction<'_>) -> Result<()> {
    let last = transaction.events().last();
    let Some((_, event)) = last.filter(|(header, _)| header.event_type == EventType::XA_PREPARE)
    else {
        return Err(Error::new(
            ErrorKind::Internal,
            "XA transaction without its end",
        ));
    };
    let event = XaPrepareEvent::decode(transaction.format(), event)?;
    let xid = Xid {
        format_id: event.format_id,
        gtrid: event.gtrid.to_vec(),
        bqual: event.bqual.to_vec(),
    };
    let mut batch = Batch::new();
    batch.push(transaction);
    let prepared = Prepared {
        batch: Arc::new(batch),
    };
    if Arc::make_mut(&mut state.prepared)
        .insert(xid, prepared)
        .is_some()
    {
        return Err(Error::new(
            ErrorKind::Conflict,
            "an XA transaction of the same name is prepared here",
        ));
    }
    Ok(())
}

/// Whether the source took all changes of the transaction back.
pub(crate) fn ends_with_rollback(transaction: &Transaction<'_>) -> bool {
    let last = transaction.events().last();
    last.is_some_and(|(header, event)| {
        header.event_type == EventType::QUERY
            && QueryEvent::decode(transaction.format(), event)
                .is_ok_and(|query| is_rollback(query.statement))
    })
}

/// Statements that steer a transaction.
enum Control<'a> {
    Nothing,
    Savepoint(&'a [u8]),
    RollbackTo(&'a [u8]),
    Second(SecondPhase),
}

impl<'a> Control<'a> {
    /// `None` for all other statements.
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`] for the end of an XA transaction that cannot be told.
    fn of(statement: &'a [u8]) -> Result<Option<Self>> {
        let is = |text: &[u8]| statement.eq_ignore_ascii_case(text);
        let after = |prefix: &[u8]| {
            let (head, rest) = statement.split_at_checked(prefix.len())?;
            head.eq_ignore_ascii_case(prefix).then_some(rest)
        };
        Ok(if is(b"BEGIN") || is(b"COMMIT") {
            Some(Self::Nothing)
        } else if let Some(name) = after(b"SAVEPOINT ") {
            Some(Self::Savepoint(name.trim_ascii()))
        } else if let Some(name) = after(b"ROLLBACK TO ") {
            Some(Self::RollbackTo(name.trim_ascii()))
        } else if after(b"XA ").is_some() {
            let phase = xa::second_phase(statement)?;
            Some(phase.map_or(Self::Nothing, Self::Second))
        } else {
            None
        })
    }
}

#[cold]
fn not_executable(event_type: EventType) -> Error {
    Error::new(
        ErrorKind::Unsupported,
        format!(
            "{event_type} event: a change in statement format, which only an SQL engine can execute"
        ),
    )
    .remedy(
        "set binlog_format=ROW on every member, and clone a member to get past this transaction",
    )
}
