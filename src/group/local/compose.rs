//! Transactions as a server logs them, made from typed changes.
//!
//! ```text
//! Gtid | Query BEGIN | (Table_map | Write_rows ...)* | Xid           rows
//! Gtid | Query CREATE ...                                            a statement
//! Gtid | Query BEGIN | View_change | Query COMMIT                    a view change
//! ```

use std::collections::HashMap;
use std::time::{SystemTime, UNIX_EPOCH};

use super::table::LocalTable;
use crate::binlog::{
    ChecksumAlgorithm, Event, EventHeader, EventType, FormatDescription, GtidEvent, QueryEvent,
    Value, XidEvent,
};
use crate::gtid::Gtid;
use crate::transaction::{Assembler, Batch};
use crate::{Error, ErrorKind, Limits, Result};

/// The server that the group's transactions claim to come from.
const SERVER_VERSION: &str = "9.7.4";
const SERVER_VERSION_NUMBER: u32 = 90_704;
/// The `server_id` in their events.
const SERVER_ID: u32 = 0x4C_0CA1;
/// A row event takes no further row beyond so many bytes (`binlog_row_event_max_size`).
const ROW_EVENT_BYTES: usize = 8192;
/// Keys of changed rows that are remembered (`binlog_transaction_dependency_history_size`).
const HISTORY: usize = 25_000;

/// A change of rows of one table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RowsKind {
    Write,
    Update,
    Delete,
}

/// The events of one transaction behind its GTID event, and the keys of the rows that they change.
#[derive(Debug, Default)]
pub(super) struct Changes {
    events: Vec<u8>,
    /// Keys of all changed rows; empty for what must run alone.
    keys: Vec<u64>,
    /// The row event that takes more rows.
    open: Option<OpenRows>,
    tables: Vec<LocalTable>,
}

#[derive(Debug)]
struct OpenRows {
    table: usize,
    kind: RowsKind,
    body: Vec<u8>,
}

impl Changes {
    /// Adds a row: one image, or two of an update.
    pub(super) fn row(
        &mut self,
        table: &LocalTable,
        kind: RowsKind,
        images: &[&[Value<'_>]],
    ) -> Result<()> {
        let mut bytes = Vec::new();
        let mut keys = Vec::new();
        for image in images {
            keys.push(table.image(image, &mut bytes)?);
        }
        let known = self.tables.iter().position(|known| known == table);
        let table = known.unwrap_or_else(|| {
            self.tables.push(table.clone());
            self.tables.len() - 1
        });
        let takes_more = self.open.as_ref().is_some_and(|open| {
            (open.table, open.kind) == (table, kind)
                && open.body.len() + bytes.len() <= ROW_EVENT_BYTES
        });
        if !takes_more {
            self.close_rows();
            let has_two_images = kind == RowsKind::Update;
            let body = self.tables[table].rows_head(table_id(table), has_two_images);
            self.open = Some(OpenRows { table, kind, body });
        }
        if let Some(open) = &mut self.open {
            open.body.extend_from_slice(&bytes);
        }
        self.keys.append(&mut keys);
        Ok(())
    }

    fn close_rows(&mut self) {
        let Some(open) = self.open.take() else {
            return;
        };
        let map = self.tables[open.table].table_map(table_id(open.table));
        put_event(EventType::TABLE_MAP, &map, &mut self.events);
        let event_type = match open.kind {
            RowsKind::Write => EventType::WRITE_ROWS,
            RowsKind::Update => EventType::UPDATE_ROWS,
            RowsKind::Delete => EventType::DELETE_ROWS,
        };
        put_event(event_type, &open.body, &mut self.events);
    }
}

/// Numbers of tables; those of a transaction are its own.
fn table_id(index: usize) -> u64 {
    100 + index as u64
}

/// Makes whole transactions, with GTIDs and the logical clock of one source.
#[derive(Debug)]
pub(super) struct Composer {
    format: FormatDescription,
    assembler: Assembler,
    history: History,
    xid: u64,
}

impl Composer {
    pub(super) fn new() -> Result<Self> {
        let format = FormatDescription::new(SERVER_VERSION, ChecksumAlgorithm::None)?;
        let mut assembler = Assembler::new(Limits::default(), ChecksumAlgorithm::None);
        let mut event = Vec::new();
        format.encode(0, SERVER_ID, false, &mut event);
        assembler.push(&event)?;
        Ok(Self {
            format,
            assembler,
            history: History::default(),
            xid: 0,
        })
    }

    /// A transaction of changed rows.
    pub(super) fn rows(&mut self, gtid: Gtid, mut changes: Changes) -> Result<Batch> {
        changes.close_rows();
        let mut events = Vec::new();
        self.query("", "BEGIN", &mut events);
        events.append(&mut changes.events);
        self.xid += 1;
        let xid = Event::Xid(XidEvent { xid: self.xid });
        xid.encode(&self.format, &header(EventType::XID), &mut events);
        self.transaction(gtid, &events, &changes.keys)
    }

    /// A transaction of one statement.
    pub(super) fn statement(&mut self, gtid: Gtid, database: &str, sql: &str) -> Result<Batch> {
        let mut events = Vec::new();
        self.query(database, sql, &mut events);
        self.transaction(gtid, &events, &[])
    }

    /// A transaction that says that the view was installed.
    pub(super) fn view_change(&mut self, gtid: Gtid, view_id: &str) -> Result<Batch> {
        let mut body = view_id.as_bytes().to_vec();
        body.resize(40, 0);
        // No transaction is ever certified here: number 0, and nothing to know about.
        body.extend_from_slice(&[0; 12]);
        let mut events = Vec::new();
        self.query("", "BEGIN", &mut events);
        put_event(EventType::VIEW_CHANGE, &body, &mut events);
        self.query("", "COMMIT", &mut events);
        self.transaction(gtid, &events, &[])
    }

    fn transaction(&mut self, gtid: Gtid, events: &[u8], keys: &[u64]) -> Result<Batch> {
        let mut event = GtidEvent::new(gtid);
        (event.last_committed, event.sequence_number) = self.history.next(keys);
        let now = now_us();
        event.immediate_commit_timestamp = now;
        event.original_commit_timestamp = now;
        event.immediate_server_version = SERVER_VERSION_NUMBER;
        event.original_server_version = SERVER_VERSION_NUMBER;
        event.set_transaction_length(events.len() as u64, 0);
        let mut bytes = Vec::new();
        Event::Gtid(Box::new(event)).encode(&self.format, &header(EventType::GTID), &mut bytes);
        self.assembler.push(&bytes)?;
        let mut rest = events;
        while !rest.is_empty() {
            let length = EventHeader::decode(rest)?.length as usize;
            let (event, behind) = rest.split_at_checked(length).unwrap_or((rest, &[]));
            self.assembler.push(event)?;
            rest = behind;
        }
        let batch = self.assembler.take(Batch::new());
        if batch.len() != 1 {
            return Err(Error::new(ErrorKind::Internal, "not one whole transaction"));
        }
        Ok(batch)
    }

    fn query(&self, database: &str, statement: &str, out: &mut Vec<u8>) {
        let status_bytes = STATUS.concat();
        let query = QueryEvent {
            thread_id: 1,
            execution_time: 0,
            error_code: 0,
            status_bytes: &status_bytes,
            database: database.as_bytes(),
            statement: statement.as_bytes(),
        };
        Event::Query(query).encode(&self.format, &header(EventType::QUERY), out);
    }
}

/// The session of every statement: flags2 0, sql_mode 0, catalog std, utf8mb4_0900_ai_ci throughout.
const STATUS: [&[u8]; 5] = [
    &[0, 0, 0, 0, 0],
    &[1, 0, 0, 0, 0, 0, 0, 0, 0],
    b"\x06\x03std",
    &[4, 255, 0, 255, 0, 255, 0],
    &[18, 255, 0],
];

/// Which transactions may run beside each other: those that change other rows
/// (`binlog_transaction_dependency_tracking=WRITESET`, the only way of servers since 8.4).
#[derive(Debug, Default)]
struct History {
    sequence_number: i64,
    /// Everything up to this one comes before what follows.
    start: i64,
    /// The newest transaction that changed the row of a key.
    newest: HashMap<u64, i64>,
}

impl History {
    /// `last_committed` and `sequence_number` of the next transaction, which changes rows with these
    /// keys; without keys it runs alone.
    fn next(&mut self, keys: &[u64]) -> (i64, i64) {
        self.sequence_number += 1;
        let number = self.sequence_number;
        if keys.is_empty() {
            self.newest.clear();
            self.start = number;
            return (number - 1, number);
        }
        let mut parent = self.start;
        for key in keys {
            let before = self.newest.insert(*key, number).filter(|n| *n < number);
            parent = parent.max(before.unwrap_or(0));
        }
        if self.newest.len() > HISTORY {
            self.newest.clear();
            self.start = number;
        }
        (parent, number)
    }
}

fn header(event_type: EventType) -> EventHeader {
    EventHeader {
        timestamp: (now_us() / 1_000_000) as u32,
        event_type,
        server_id: SERVER_ID,
        length: 0,
        end_log_pos: 0,
        flags: 0,
    }
}

fn put_event(event_type: EventType, body: &[u8], out: &mut Vec<u8>) {
    let header = EventHeader {
        length: (EventHeader::SIZE + body.len()) as u32,
        ..header(event_type)
    };
    out.extend_from_slice(&header.encode());
    out.extend_from_slice(body);
}

fn now_us() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| now.as_micros() as u64)
}

#[cfg(test)]
mod tests {
    use super::super::table::ColumnType;
    use super::*;
    use crate::binlog::{RowsEvent, ViewChangeEvent};
    use crate::gtid::{Tag, Tsid, Uuid};
    use crate::transaction::TransactionKind;

    fn gtid(gno: u64) -> Gtid {
        let tsid = Tsid {
            uuid: Uuid([7; 16]),
            tag: Tag::NONE,
        };
        Gtid { tsid, gno }
    }

    fn types(batch: &Batch) -> Vec<EventType> {
        let first = batch.first().unwrap();
        first
            .events()
            .map(|(header, _)| header.event_type)
            .collect()
    }

    #[test]
    fn rows_are_gathered_by_table_and_kind_and_bounded() {
        let columns = [("id", ColumnType::BigInt), ("v", ColumnType::Text)];
        let (a, b) = (
            LocalTable::new("d", "a", &columns).unwrap(),
            LocalTable::new("d", "b", &columns).unwrap(),
        );
        let mut changes = Changes::default();
        let long = vec![b'x'; 3000];
        for id in 0..5 {
            let row = [Value::Int(id), Value::Bytes(&long)];
            changes.row(&a, RowsKind::Write, &[&row]).unwrap();
        }
        let row = [Value::Int(1), Value::Null];
        changes.row(&b, RowsKind::Update, &[&row, &row]).unwrap();
        changes.row(&b, RowsKind::Delete, &[&row]).unwrap();
        let mut composer = Composer::new().unwrap();
        let batch = composer.rows(gtid(3), changes).unwrap();
        let (map, write) = (EventType::TABLE_MAP, EventType::WRITE_ROWS);
        assert_eq!(
            types(&batch),
            [
                EventType::GTID,
                EventType::QUERY,
                map,
                write,
                map,
                write,
                map,
                write,
                map,
                EventType::UPDATE_ROWS,
                map,
                EventType::DELETE_ROWS,
                EventType::XID,
            ]
        );
        let transaction = batch.first().unwrap();
        assert_eq!(*transaction.gtid(), gtid(3));
        assert_eq!(transaction.kind(), TransactionKind::Dml);
        for (header, event) in transaction.events() {
            if header.event_type == write {
                let rows = RowsEvent::decode(transaction.format(), event).unwrap();
                assert_eq!((rows.table_id, rows.flags & 1), (100, 1));
            }
        }
    }

    #[test]
    fn a_view_change_has_its_id_and_runs_alone() {
        let mut composer = Composer::new().unwrap();
        let batch = composer.view_change(gtid(1), "17:3").unwrap();
        let transaction = batch.first().unwrap();
        assert_eq!(
            transaction.kind(),
            TransactionKind::ViewChange { view_id: b"17:3" }
        );
        let (_, event) = transaction.events().nth(2).unwrap();
        let view = ViewChangeEvent::decode(transaction.format(), event).unwrap();
        assert_eq!((view.view_id, view.certification_count), (&b"17:3"[..], 0));
        let statement = composer.statement(gtid(2), "d", "CREATE TABLE t (i INT)");
        assert_eq!(statement.unwrap().first().unwrap().last_committed(), 1);
    }

    #[test]
    fn only_transactions_that_change_the_same_rows_wait_for_each_other() {
        let mut history = History::default();
        assert_eq!(history.next(&[]), (0, 1));
        assert_eq!(history.next(&[1, 2]), (1, 2));
        assert_eq!(history.next(&[3, 3]), (1, 3));
        assert_eq!(history.next(&[2, 3]), (3, 4));
        assert_eq!(history.next(&[1]), (2, 5));
        assert_eq!(history.next(&[]), (5, 6));
        assert_eq!(history.next(&[1]), (6, 7));
        let many: Vec<u64> = (10..10 + HISTORY as u64 + 1).collect();
        assert_eq!(history.next(&many), (6, 8));
        // Forgotten: everything before must be over.
        assert_eq!(history.next(&[1]), (8, 9));
    }
}
