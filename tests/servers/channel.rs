//! The recovery channel from a real donor, without a store: connection, events, whole transactions.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Instant;

use rejoin::Limits;
use rejoin::binlog::{
    Cell, Column, EventType, ImageKind, QueryEvent, RowsEvent, TableMap, TextStyle, write_escaped,
};
use rejoin::gtid::{GtidSet, Uuid};
use rejoin::net::{BinlogStream, Connection, DumpRequest, Url};
use rejoin::target::schema::{Catalog, StatementContext, TableName};
use rejoin::transaction::{Assembler, Batch, Transaction};

use crate::support::Scenario;
use crate::support::group;
use crate::support::server::Server;

pub const SCENARIOS: &[Scenario] = &[
    (
        "channel::brings_every_transaction_of_a_donor",
        brings_every_transaction_of_a_donor,
    ),
    (
        "channel::resumes_where_the_set_ends",
        resumes_where_the_set_ends,
    ),
    (
        "channel::statements_make_the_schema_that_row_events_need",
        statements_make_the_schema_that_row_events_need,
    ),
    (
        "channel::changes_add_up_to_the_rows_that_the_donor_shows",
        changes_add_up_to_the_rows_that_the_donor_shows,
    ),
    (
        "channel::reads_every_way_a_donor_can_be_set_up",
        reads_every_way_a_donor_can_be_set_up,
    ),
];

/// A stream that ends with the donor's last binary log.
fn open(url: &str, have: GtidSet) -> rejoin::Result<BinlogStream> {
    let url: Url = url.parse()?;
    let limits = Limits::default();
    let connection = Connection::connect(&url.endpoints[0], &url.options, &limits)?;
    let request = DumpRequest {
        non_blocking: true,
        ..DumpRequest::new(4_000_000_000, Uuid([0x4b; 16]), have)
    };
    BinlogStream::open(connection, &request)
}

/// Everything that the stream brings, and how many transactions.
fn drain(mut stream: BinlogStream) -> rejoin::Result<(GtidSet, u64)> {
    let mut assembler = Assembler::new(Limits::default(), stream.initial_checksum());
    let mut received = GtidSet::new();
    let mut transactions = 0;
    let mut batch = Batch::new();
    let mut collect = |assembler: &mut Assembler, batch: Batch| {
        let batch = assembler.take(batch);
        transactions += batch.len() as u64;
        received.extend(&batch.gtids());
        batch
    };
    while let Some(event) = stream.next_event()? {
        assembler.push(event)?;
        if assembler.byte_size() > 1 << 20 {
            batch = collect(&mut assembler, batch);
        }
    }
    collect(&mut assembler, batch);
    Ok((received, transactions))
}

fn brings_every_transaction_of_a_donor() {
    let group = group::shared();
    group.settle();
    let donor = group.online().expect("it is ONLINE");
    let executed: GtidSet = donor.executed().parse().expect("a GTID set");
    for mode in ["REQUIRED", "DISABLED"] {
        let url = format!("{}?ssl-mode={mode}", donor.url());
        let start = Instant::now();
        let stream = open(&url, GtidSet::new()).expect("the donor serves");
        let (received, transactions) = drain(stream).expect("the stream is whole");
        let seconds = start.elapsed().as_secs_f64();
        eprintln!(
            "{mode}: {transactions} transactions, {:.0} a second",
            transactions as f64 / seconds
        );
        assert_eq!(received, executed);
        assert_eq!(transactions, executed.count());
    }
}

fn resumes_where_the_set_ends() {
    let group = group::shared();
    group.settle();
    let donor = group.online().expect("it is ONLINE");
    let executed: GtidSet = donor.executed().parse().expect("a GTID set");
    let half: GtidSet = format!("{}:1-50000", group::GROUP_NAME)
        .parse()
        .expect("a GTID set");
    let stream = open(&donor.url(), half.clone()).expect("the donor serves");
    let (received, _) = drain(stream).expect("the stream is whole");
    assert_eq!(received, executed.subtract(&half));
}

/// Checksums or none, compressed transactions, small row metadata: settings of a donor that change bytes.
fn reads_every_way_a_donor_can_be_set_up() {
    for options in [
        &["--binlog-checksum=NONE"][..],
        &["--binlog-transaction-compression=ON"],
        &[
            "--binlog-row-metadata=FULL",
            "--binlog-rows-query-log-events=ON",
        ],
        &["--max-binlog-size=4096"],
    ] {
        let server = Server::standalone(options);
        server.sql(include_str!("../support/mixed.sql"));
        server.sql("CALL shop.mixed(10000000, 300)");
        server.sql(include_str!("../support/odd.sql"));
        let executed: GtidSet = server.executed().parse().expect("a GTID set");
        let stream = open(&server.url(), GtidSet::new()).expect("the donor serves");
        let (received, transactions) =
            drain(stream).unwrap_or_else(|error| panic!("{options:?}: {error}"));
        assert_eq!(received, executed, "{options:?}");
        assert_eq!(transactions, executed.count(), "{options:?}");
    }
}

/// Every row change of a stream applied to plain lines of text: an independent, slow replica.
#[derive(Default)]
struct Lines {
    tables: HashMap<String, BTreeMap<Vec<u8>, usize>>,
    members: HashMap<(String, usize), Vec<String>>,
}

impl Lines {
    fn change(&mut self, table: &str, line: Vec<u8>, kind: ImageKind) {
        let lines = self.tables.entry(table.to_owned()).or_default();
        let count = lines.entry(line.clone()).or_default();
        match kind {
            ImageKind::After => *count += 1,
            ImageKind::Before if *count > 1 => *count -= 1,
            ImageKind::Before => {
                let was_there = lines.remove(&line) == Some(1);
                assert!(was_there, "{table} has no row {}", line.escape_ascii());
            }
        }
    }

    fn line(&self, table: &str, columns: &[Column], cells: &[Cell], image: &[u8]) -> Vec<u8> {
        let mut line = Vec::new();
        for (index, (column, cell)) in columns.iter().zip(cells).enumerate() {
            if index > 0 {
                line.push(b'\t');
            }
            let Some(bytes) = cell.bytes(image) else {
                assert_eq!(*cell, Cell::Null, "images are whole");
                write_escaped(None, &mut line);
                continue;
            };
            let members = self
                .members
                .get(&(table.to_owned(), index))
                .map_or(&[][..], Vec::as_slice);
            let mut text = Vec::new();
            column
                .decode(bytes)
                .and_then(|value| {
                    value.write_text(
                        &TextStyle {
                            members,
                            ..TextStyle::default()
                        },
                        &mut text,
                    )
                })
                .unwrap_or_else(|error| panic!("{table} column {index}: {error}"));
            // latin1 as far as this workload has it.
            if column.collation == Some(8) {
                text = text
                    .iter()
                    .map(|&byte| char::from(byte))
                    .collect::<String>()
                    .into_bytes();
            }
            write_escaped(Some(&text), &mut line);
        }
        line
    }

    fn apply(&mut self, transaction: &Transaction<'_>) -> rejoin::Result<()> {
        let format = transaction.format();
        let mut maps = HashMap::new();
        let mut cells = Vec::new();
        for (header, event) in transaction.events() {
            if header.event_type == EventType::TABLE_MAP {
                let map = TableMap::decode(format, event)?;
                let name = [map.database, b".", map.table].concat();
                let name = String::from_utf8(name).expect("plain names");
                maps.insert(map.table_id, (name, map.columns()?));
            } else if header.event_type.is_rows() {
                let rows = RowsEvent::decode(format, event)?;
                let (table, columns) = &maps[&rows.table_id];
                let mut images = rows.rows(columns)?;
                while let Some(image) = images.next_image(&mut cells)? {
                    let line = self.line(table, columns, &cells, image.bytes);
                    self.change(table, line, image.kind);
                }
            }
        }
        Ok(())
    }
}

/// Rows as this library reads them from the log against rows as the server prints them.
fn changes_add_up_to_the_rows_that_the_donor_shows() {
    let server = Server::standalone(&[]);
    server.sql(include_str!("../support/mixed.sql"));
    server.sql("CALL shop.mixed(10000000, 5000)");
    let mut lines = Lines::default();
    let declared = server.sql(
        "SELECT CONCAT(table_schema, '.', table_name), ordinal_position - 1, column_type
         FROM information_schema.columns WHERE table_schema = 'shop' AND data_type IN ('enum', 'set')",
    );
    for row in declared.lines() {
        let fields: Vec<&str> = row.split('\t').collect();
        let names = fields[2]
            .split('\'')
            .skip(1)
            .step_by(2)
            .map(str::to_owned)
            .collect();
        lines.members.insert(
            (fields[0].to_owned(), fields[1].parse().expect("a number")),
            names,
        );
    }
    let mut stream = open(&server.url(), GtidSet::new()).expect("the donor serves");
    let mut assembler = Assembler::new(Limits::default(), stream.initial_checksum());
    while let Some(event) = stream.next_event().expect("the stream is whole") {
        assembler.push(event).expect("whole events");
    }
    for transaction in assembler.take(Batch::new()).iter() {
        lines
            .apply(&transaction)
            .unwrap_or_else(|error| panic!("{}: {error}", transaction.gtid()));
    }
    for table in ["shop.types", "shop.orders", "shop.names", "shop.places"] {
        let shown = server
            .sql_bytes(&format!("SELECT * FROM {table}"))
            .expect("it is there");
        let mut shown: Vec<&[u8]> = shown.split_inclusive(|&byte| byte == b'\n').collect();
        shown.sort_unstable();
        assert!(shown.len() > 100, "{table} compares next to nothing");
        let ours = &lines.tables[table];
        assert_eq!(ours.len(), shown.len(), "{table}");
        for (ours, shown) in ours.keys().zip(shown) {
            let shown = shown.strip_suffix(b"\n").unwrap_or(shown);
            assert!(
                ours == shown,
                "{table}\n  ours:   {}\n  server: {}",
                ours.escape_ascii(),
                shown.escape_ascii()
            );
        }
    }
}

/// Schemas as this library follows them through the log against row events and the server's own.
fn statements_make_the_schema_that_row_events_need() {
    let server = Server::standalone(&[]);
    server.sql(include_str!("../support/mixed.sql"));
    server.sql("CALL shop.mixed(10000000, 50)");
    server.sql(include_str!("../support/odd.sql"));
    let mut stream = open(&server.url(), GtidSet::new()).expect("the donor serves");
    let mut assembler = Assembler::new(Limits::default(), stream.initial_checksum());
    while let Some(event) = stream.next_event().expect("the stream is whole") {
        assembler.push(event).expect("whole events");
    }
    let mut catalog = Catalog::new();
    for transaction in assembler.take(Batch::new()).iter() {
        follow(&mut catalog, &transaction)
            .unwrap_or_else(|error| panic!("{}: {error}", transaction.gtid()));
    }
    let shown = server.sql(
        "SELECT CONCAT(c.table_schema, '.', c.table_name), GROUP_CONCAT(c.column_name ORDER BY c.ordinal_position)
         FROM information_schema.columns c JOIN information_schema.tables t USING (table_schema, table_name)
         WHERE t.table_type = 'BASE TABLE' AND c.table_schema IN ('shop', 'odd')
         GROUP BY c.table_schema, c.table_name",
    );
    let shown: BTreeSet<String> = shown.lines().map(str::to_owned).collect();
    let ours: BTreeSet<String> = catalog
        .tables()
        .map(|(name, definition)| {
            let columns: Vec<&str> = definition
                .columns
                .iter()
                .map(|column| column.name.as_str())
                .collect();
            format!("{name}\t{}", columns.join(","))
        })
        .collect();
    assert_eq!(ours, shown);
}

fn follow(catalog: &mut Catalog, transaction: &Transaction<'_>) -> rejoin::Result<()> {
    let format = transaction.format();
    for (header, event) in transaction.events() {
        if header.event_type == EventType::QUERY {
            let query = QueryEvent::decode(format, event)?;
            catalog.apply(
                query.statement,
                &StatementContext::of(&query, header.timestamp)?,
            )?;
        } else if header.event_type == EventType::TABLE_MAP {
            let map = TableMap::decode(format, event)?;
            let name = TableName::new(map.database, map.table);
            let table = catalog
                .table_mut(&name)
                .unwrap_or_else(|| panic!("{name} is not known"));
            table.bind(&map.columns()?)?;
        }
    }
    Ok(())
}
