//! What the server has logged since the last look.

use std::collections::HashMap;
use std::path::PathBuf;

use rejoin::Limits;
use rejoin::binlog::{Column, Event, LogReader, QueryEvent, RowsKind};
use rejoin::target::schema::TableName;

use crate::support::server::Server;

/// Something of the log, in order.
#[derive(Debug)]
pub enum Logged {
    /// A statement: the bytes of its Query event's parts.
    Statement(Statement),
    /// One row image.
    Row {
        table: TableName,
        columns: Vec<Column>,
        kind: RowsKind,
        image: Vec<u8>,
    },
}

#[derive(Debug)]
pub struct Statement {
    pub timestamp: u32,
    pub error_code: u16,
    pub status: Vec<u8>,
    pub database: Vec<u8>,
    pub text: Vec<u8>,
}

impl Statement {
    pub fn query(&self) -> QueryEvent<'_> {
        QueryEvent {
            thread_id: 0,
            execution_time: 0,
            error_code: self.error_code,
            status_bytes: &self.status,
            database: &self.database,
            statement: &self.text,
        }
    }
}

/// A place in the log of a server that has one file.
#[derive(Debug, Default)]
pub struct Place {
    events: usize,
    log: Option<PathBuf>,
}

impl Place {
    /// Everything behind the place; the place moves to the end.
    pub fn read(&mut self, server: &Server) -> Vec<Logged> {
        let log = self
            .log
            .get_or_insert_with(|| server.binary_logs().pop().expect("there is a log"));
        let mut reader = LogReader::open(log, &Limits::default()).unwrap();
        let mut maps: HashMap<u64, (TableName, Vec<Column>)> = HashMap::new();
        let mut logged = Vec::new();
        let mut count = 0;
        while let Some(event) = reader.next_event().unwrap() {
            count += 1;
            let body = event.verify().unwrap();
            let new = count > self.events;
            match Event::decode(event.format, body).unwrap() {
                Event::Query(query) if new && !matches!(query.statement, b"BEGIN" | b"COMMIT") => {
                    logged.push(Logged::Statement(Statement {
                        timestamp: event.header.timestamp,
                        error_code: query.error_code,
                        status: query.status_bytes.to_vec(),
                        database: query.database.to_vec(),
                        text: query.statement.to_vec(),
                    }));
                }
                Event::TableMap(map) => {
                    let name = TableName::new(map.database, map.table);
                    maps.insert(map.table_id, (name, map.columns().unwrap()));
                }
                Event::Rows(rows) if new => {
                    let (table, columns) = &maps[&rows.table_id];
                    let mut cursor = rows.rows(columns).unwrap();
                    let mut cells = Vec::new();
                    while let Some(image) = cursor.next_image(&mut cells).unwrap() {
                        logged.push(Logged::Row {
                            table: table.clone(),
                            columns: columns.clone(),
                            kind: rows.kind,
                            image: image.bytes.to_vec(),
                        });
                    }
                }
                _ => {}
            }
        }
        self.events = count;
        logged
    }
}
