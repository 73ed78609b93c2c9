//! The recovery channel from a real donor, without a store: connection, events, whole transactions.

use std::time::Instant;

use rejoin::gtid::{GtidSet, Uuid};
use rejoin::net::{BinlogStream, Connection, DumpRequest, Url};
use rejoin::transaction::{Assembler, Batch};
use rejoin::{ErrorKind, Limits};

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
    ("channel::is_told_what_was_purged", is_told_what_was_purged),
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

fn is_told_what_was_purged() {
    let server = Server::standalone(&[]);
    server.sql("CREATE DATABASE d; FLUSH BINARY LOGS; CREATE DATABASE e; FLUSH BINARY LOGS");
    let last = server.sql("SHOW BINARY LOG STATUS");
    server.sql(&format!(
        "PURGE BINARY LOGS TO '{}'",
        last.split('\t').next().expect("a file name")
    ));
    let error = open(&server.url(), GtidSet::new())
        .and_then(drain)
        .expect_err("nothing is left");
    assert_eq!(error.kind(), ErrorKind::Purged, "{error}");
    assert!(
        error.to_string().contains(&server.port.to_string()),
        "{error}"
    );
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
        let executed: GtidSet = server.executed().parse().expect("a GTID set");
        let stream = open(&server.url(), GtidSet::new()).expect("the donor serves");
        let (received, transactions) =
            drain(stream).unwrap_or_else(|error| panic!("{options:?}: {error}"));
        assert_eq!(received, executed, "{options:?}");
        assert_eq!(transactions, executed.count(), "{options:?}");
    }
}
