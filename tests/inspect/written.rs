//! Logs that `rejoin` writes: mysqlbinlog reads them, and a real replica takes them.

use std::fs;
use std::path::Path;
use std::time::Duration;

use rejoin::Limits;
use rejoin::binlog::{ChecksumAlgorithm, Event, FormatDescription, GtidEvent, LogBytes, LogWriter};
use rejoin::gtid::GtidSet;

use crate::lists::WORKLOAD;
use crate::oracle;
use crate::support::donating::{Donating, replicate, wait_for_gtids};
use crate::support::server::Server;
use crate::support::{Scenario, reaper};

pub const SCENARIOS: &[Scenario] = &[("written::by_the_writer", by_the_writer)];

/// The tables of the workload.
const TABLES: [&str; 2] = ["l.t", "l.p"];

/// Every transaction of a server's logs is read and written anew, event by event; then it reads as
/// mysqlbinlog reads it, and a replica of it has the server's rows.
fn by_the_writer() {
    let source = Server::standalone(&[]);
    source.sql(WORKLOAD);
    let scratch = reaper::directory();
    for checksum in [ChecksumAlgorithm::None, ChecksumAlgorithm::Crc32] {
        let directory = scratch.path().join(format!("{checksum:?}"));
        fs::create_dir(&directory).expect("it can be made");
        let executed = rewrite(&source, &directory, checksum);
        assert_eq!(executed, source.executed().parse().expect("a GTID set"));

        let index = fs::read_to_string(directory.join("binlog.index")).expect("it is there");
        let files: Vec<_> = index.lines().map(|name| directory.join(name)).collect();
        assert!(files.len() > 2, "{index}");
        let mut events = 0;
        for file in &files {
            let verdict = oracle::agree(&file.display().to_string(), file);
            assert!(!verdict.is_damaged && verdict.messages.is_empty());
            events += verdict.events.len();
        }
        assert!(events > 80, "{events} events");
    }

    let donor = Donating::binlog_dir(&scratch.path().join("Crc32"));
    let replica = Server::standalone(&[]);
    replicate(&replica, donor.port);
    wait_for_gtids(&replica, &source.executed(), Duration::from_secs(60));
    for table in TABLES {
        let rows = format!("SELECT * FROM {table} ORDER BY 1");
        let expected = source.sql(&rows);
        assert!(!expected.is_empty());
        assert_eq!(replica.sql(&rows), expected, "{table}");
    }
}

/// Writes the transactions of `source` to `directory`; gives what was executed.
fn rewrite(source: &Server, directory: &Path, checksum: ChecksumAlgorithm) -> GtidSet {
    let limits = Limits::default();
    let format = FormatDescription::new("9.7.4-rejoin", checksum).expect("a good version");
    let log = LogWriter::create(directory, "binlog", format, GtidSet::new(), 77);
    let mut log = log.expect("an empty directory").with_file_bytes(2000);
    for file in source.binary_logs() {
        let bytes = fs::read(&file).expect("it can be read");
        let mut reader = LogBytes::new(&bytes, &limits).expect("a log");
        let mut open: Option<(u32, GtidEvent)> = None;
        let mut bodies: Vec<Vec<u8>> = Vec::new();
        loop {
            let event = reader.next_event().expect("a sound log");
            let body = event.map(|event| event.verify().expect("a sound log"));
            let decoded = event
                .zip(body)
                .map(|(event, body)| Event::decode(event.format, body).expect("a sound event"));
            let is_outside = matches!(
                decoded,
                None | Some(
                    Event::Gtid(_)
                        | Event::FormatDescription(_)
                        | Event::PreviousGtids(_)
                        | Event::Rotate(_)
                        | Event::Stop
                )
            );
            if is_outside && let Some((timestamp, gtid)) = open.take() {
                let format = reader_format(&bytes);
                let events: Vec<Event<'_>> = bodies
                    .iter()
                    .map(|body| Event::decode(&format, body).expect("as before"))
                    .collect();
                log.transaction(timestamp, gtid, &events)
                    .expect("it can be written");
                bodies.clear();
            }
            match (decoded, body, event) {
                (Some(Event::Gtid(gtid)), _, Some(event)) => {
                    open = Some((event.header.timestamp, *gtid));
                }
                (Some(_), Some(body), _) if !is_outside => bodies.push(body.to_vec()),
                (None, ..) => break,
                _ => {}
            }
        }
    }
    log.close().expect("it can be written")
}

/// The format description at the beginning of a log.
fn reader_format(log: &[u8]) -> FormatDescription {
    let mut reader = LogBytes::new(log, &Limits::default()).expect("a log");
    let event = reader
        .next_event()
        .expect("a sound log")
        .expect("its first event");
    FormatDescription::decode(event.bytes).expect("a format description")
}
