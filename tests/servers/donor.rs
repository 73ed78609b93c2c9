//! `rejoin donate` and real peers: servers as replicas, mysqlbinlog, our own client.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use rejoin::binlog::EventType;
use rejoin::gtid::{GtidSet, Uuid};
use rejoin::net::{BinlogStream, Connection, DumpRequest, Url};
use rejoin::transaction::{Assembler, Batch};
use rejoin::{ErrorKind, Limits};

use crate::support::donating::{Donating, quick_replica, replicate, wait_for_gtids};
use crate::support::server::{self, RECOVERY_PASSWORD, RECOVERY_USER, Server};
use crate::support::{Scenario, compare, group, prefix, reaper, workload};

pub const SCENARIOS: &[Scenario] = &[
    (
        "donor::sends_what_a_real_source_sends",
        sends_what_a_real_source_sends,
    ),
    (
        "donor::mysqlbinlog_fetches_the_files_byte_for_byte",
        mysqlbinlog_fetches_the_files_byte_for_byte,
    ),
    (
        "donor::refuses_as_a_real_source_refuses",
        refuses_as_a_real_source_refuses,
    ),
    (
        "donor::a_real_replica_follows_over_rotations_and_restarts",
        a_real_replica_follows_over_rotations_and_restarts,
    ),
    (
        "donor::fifty_joiners_of_which_half_do_not_read",
        fifty_joiners_of_which_half_do_not_read,
    ),
];

/// A server with all of the mixed workload and a few small files behind it.
fn loaded() -> Server {
    let server = Server::from_template(&workload::MIXED.template(), &[]);
    for file in 0..3 {
        server.sql(&format!(
            "FLUSH BINARY LOGS; CALL shop.mixed({}, 50)",
            500_000_000 + file * 1000
        ));
    }
    server
}

fn open(port: u16, request: &DumpRequest) -> rejoin::Result<BinlogStream> {
    let url: Url = server::url(&[port]).parse()?;
    let limits = Limits::default();
    let connection = Connection::connect(&url.endpoints[0], &url.options, &limits)?;
    BinlogStream::open(connection, request)
}

fn request(have: &GtidSet) -> DumpRequest {
    DumpRequest {
        non_blocking: true,
        ..DumpRequest::new(4_000_000_001, Uuid([0x4c; 16]), have.clone())
    }
}

/// Everything that a source sends to a replica with `have`.
fn stream(port: u16, have: &GtidSet) -> Vec<Vec<u8>> {
    let mut stream = open(port, &request(have)).expect("the dump begins");
    let mut events = Vec::new();
    while let Some(event) = stream.next_event().expect("the dump goes on") {
        events.push(event.to_vec());
    }
    events
}

fn sends_what_a_real_source_sends() {
    let server = loaded();
    let donor = Donating::binlog_dir(server.data());
    let executed: GtidSet = server.executed().parse().expect("a GTID set");
    let group = group::GROUP_NAME;
    let (_, intervals) = executed
        .sources()
        .find(|(tsid, _)| tsid.uuid.to_string() == group)
        .expect("it has the group's");
    let last = intervals.last().expect("not empty").end - 1;
    let everything_but = |text: &str| {
        let hole: GtidSet = text.parse().expect("a GTID set");
        executed.subtract(&hole)
    };
    let sets = [
        executed.clone(),
        // The newest transaction, some in the middle of a file, the first of a file.
        everything_but(&format!("{group}:{last}")),
        everything_but(&format!("{group}:{}-{}", last / 2, last / 2 + 10)),
        everything_but(&format!(
            "{group}:100-110:{}:{}-{last}",
            last - 300,
            last - 20
        )),
        everything_but(&format!("{}:1-{}", server.uuid(), 60)),
        // Errant ones of somebody else.
        executed.union(
            &"11111111-1111-1111-1111-111111111111:1-5"
                .parse()
                .expect("a set"),
        ),
        GtidSet::new(),
    ];
    for have in sets {
        let (real, ours) = (stream(server.port, &have), stream(donor.port, &have));
        for (index, (real, ours)) in real.iter().zip(&ours).enumerate() {
            assert_eq!(
                real.escape_ascii().to_string(),
                ours.escape_ascii().to_string(),
                "event {index} of a dump for {have}"
            );
        }
        assert_eq!(real.len(), ours.len(), "events of a dump for {have}");
    }
    donor.stop();
}

/// Runs mysqlbinlog against `port`, with its output in `directory`.
fn mysqlbinlog(port: u16, directory: &Path, arguments: &[&str]) {
    let output = Command::new(prefix::program("mysqlbinlog"))
        .current_dir(directory)
        .args(["--no-defaults", "--host=127.0.0.1", "--raw"])
        .arg(format!("--port={port}"))
        .arg(format!("--user={RECOVERY_USER}"))
        .arg(format!("--password={RECOVERY_PASSWORD}"))
        .args(arguments)
        .output()
        .expect("mysqlbinlog starts");
    assert!(
        output.status.success(),
        "mysqlbinlog {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn mysqlbinlog_fetches_the_files_byte_for_byte() {
    let server = loaded();
    let files = server.binary_logs();
    server.shutdown();
    let donor = Donating::binlog_dir(server.data());
    let names: Vec<&str> = files
        .iter()
        .map(|file| {
            file.file_name()
                .and_then(|name| name.to_str())
                .expect("a name")
        })
        .collect();
    let by_name = [&["--read-from-remote-server"], names.as_slice()].concat();
    let ways = [
        vec!["--read-from-remote-server", "--to-last-log", names[0]],
        by_name,
        vec![
            "--read-from-remote-source=BINLOG-DUMP-GTIDS",
            "--to-last-log",
            names[0],
        ],
    ];
    for arguments in ways {
        let fetched = reaper::directory();
        mysqlbinlog(donor.port, fetched.path(), &arguments);
        for (file, name) in files.iter().zip(&names) {
            let (served, got) = (fs::read(file), fs::read(fetched.path().join(name)));
            assert!(
                served.expect("it is there") == got.expect("it was fetched"),
                "{name} differs ({arguments:?})"
            );
        }
    }
    let log = donor.stop();
    assert!(!log.contains("WARN"), "{log}");
}

/// Number and text of the error that ended a replica's connection.
fn refusal(replica: &Server, port: u16) -> (String, String) {
    replica.sql("STOP REPLICA; RESET REPLICA ALL");
    replicate(replica, port);
    let mut told = String::new();
    server::wait_until("the source refuses", Duration::from_secs(60), || {
        told = replica.sql(
            "SELECT last_error_number, last_error_message
             FROM performance_schema.replication_connection_status WHERE channel_name = ''",
        );
        !told.starts_with("0\t")
    });
    let (number, text) = told.split_once('\t').expect("two columns");
    (number.to_owned(), text.to_owned())
}

fn refuses_as_a_real_source_refuses() {
    let server = Server::standalone(&[]);
    let donor = Donating::binlog_dir(server.data());
    let replica = Server::standalone(&[]);
    let both = |what: &str| {
        let (real, ours) = (
            refusal(&replica, server.port),
            refusal(&replica, donor.port),
        );
        assert_eq!(real, ours, "{what}");
        real
    };
    server.sql(
        "CREATE DATABASE d; CREATE TABLE d.t (a INT PRIMARY KEY); INSERT INTO d.t VALUES (1);
         FLUSH BINARY LOGS; INSERT INTO d.t VALUES (2); FLUSH BINARY LOGS",
    );
    let newest = server.binary_logs().pop().expect("there is one");
    let name = newest
        .file_name()
        .and_then(|name| name.to_str())
        .expect("a name");
    server.sql(&format!("PURGE BINARY LOGS TO '{name}'"));
    let (number, text) = both("purged logs");
    assert_eq!(number, "13114");
    assert!(text.contains("purged required binary logs"), "{text}");
    assert!(text.contains(&format!("{}:1-4", server.uuid())), "{text}");

    replica.sql(&format!("SET GLOBAL gtid_purged='{}:1-9'", server.uuid()));
    let (_, text) = both("a replica that is ahead");
    assert!(text.contains("more GTIDs than the source has"), "{text}");
    donor.stop();
}

/// How many transactions a replica has received, applied or not.
fn received(replica: &Server) -> u64 {
    let set = replica.sql(
        "SELECT REPLACE(received_transaction_set, '\\n', '')
         FROM performance_schema.replication_connection_status WHERE channel_name = ''",
    );
    set.parse::<GtidSet>().expect("a GTID set").count()
}

fn a_real_replica_follows_over_rotations_and_restarts() {
    let source = loaded();
    // Slow enough to be killed in the middle of the transfer.
    let slow = ["--max-rate=10000000"];
    let donor = Donating::start("--binlog-dir", source.data(), 0, &slow);
    let port = donor.port;
    let replica = quick_replica();
    let count = || {
        let executed: GtidSet = replica.executed().parse().expect("a GTID set");
        executed.count()
    };
    let started = Instant::now();
    replicate(&replica, port);
    server::wait_until("the transfer is under way", Duration::from_secs(60), || {
        received(&replica) > 5000
    });
    donor.kill();
    let at_restart = received(&replica);
    assert!(
        at_restart < 100_000,
        "{at_restart} transactions before the restart"
    );
    let donor = Donating::start("--binlog-dir", source.data(), port, &[]);
    // Meanwhile the source goes on writing and rotating.
    for file in 0..4 {
        source.sql(&format!(
            "CALL shop.mixed({}, 200); FLUSH BINARY LOGS",
            600_000_000 + file * 10_000
        ));
    }
    let executed = source.executed();
    wait_for_gtids(&replica, &executed, Duration::from_secs(900));
    let took = started.elapsed();
    // Live: what is written now arrives within moments.
    source.sql("CALL shop.mixed(700000000, 10)");
    let written = Instant::now();
    let executed = source.executed();
    wait_for_gtids(&replica, &executed, Duration::from_secs(120));
    eprintln!(
        "{} transactions replicated in {took:?}, {at_restart} of them received before the donor was \
         killed; the newest after {:?}",
        count(),
        written.elapsed()
    );
    assert!(count() >= 100_000);
    compare::assert_same_gtids(&source, &replica.executed(), &executed);
    for (table, _) in compare::tables(&source) {
        let sum = format!("CHECKSUM TABLE {table}");
        assert_eq!(source.sql(&sum), replica.sql(&sum));
    }
    donor.stop();
}

/// Reads a stream to its end as recovery does; gives the GTIDs and how long it took.
fn drain(port: u16, request: &DumpRequest) -> rejoin::Result<(GtidSet, Duration)> {
    let started = Instant::now();
    let mut stream = open(port, request)?;
    let mut assembler = Assembler::new(Limits::default(), stream.initial_checksum());
    let mut received = GtidSet::new();
    let mut batch = Batch::new();
    while let Some(event) = stream.next_event()? {
        assembler.push(event)?;
        if assembler.byte_size() > 1 << 20 {
            batch = assembler.take(batch);
            received.extend(&batch.gtids());
        }
    }
    received.extend(&assembler.take(batch).gtids());
    Ok((received, started.elapsed()))
}

fn joiner(number: u8) -> DumpRequest {
    DumpRequest {
        non_blocking: true,
        ..DumpRequest::new(
            4_100_000_000 + u32::from(number),
            Uuid([number; 16]),
            GtidSet::new(),
        )
    }
}

/// Twenty-five that read everything; gives how long the slowest took.
fn readers(port: u16, executed: &GtidSet) -> Duration {
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..25)
            .map(|number| scope.spawn(move || drain(port, &joiner(number)).expect("it is served")))
            .collect();
        let mut slowest = Duration::ZERO;
        for thread in threads {
            let (received, took) = thread.join().expect("it does not panic");
            assert_eq!(received, *executed);
            slowest = slowest.max(took);
        }
        slowest
    })
}

fn fifty_joiners_of_which_half_do_not_read() {
    let server = loaded();
    let executed: GtidSet = server.executed().parse().expect("a GTID set");
    assert!(executed.count() >= 100_000);
    let donor = Donating::binlog_dir(server.data());
    let alone = readers(donor.port, &executed);
    let before = donor.resident_bytes();
    let stalled: Vec<BinlogStream> = (100..125)
        .map(|number| open(donor.port, &joiner(number)).expect("it is served"))
        .collect();
    // Each soon fills what the system buffers for it, and holds up its thread.
    std::thread::sleep(Duration::from_secs(1));
    let beside = readers(donor.port, &executed);
    let after = donor.resident_bytes();
    eprintln!(
        "25 readers: {alone:?} alone, {beside:?} beside 25 that do not read; the donor's memory: \
         {} KiB, then {} KiB",
        before >> 10,
        after >> 10
    );
    assert!(
        beside < alone * 4 + Duration::from_secs(2),
        "{alone:?} alone, {beside:?} beside"
    );
    assert!(after < 64 << 20, "{after} bytes");
    // One of those that stood still goes on where it was.
    let mut slow = stalled.into_iter().next().expect("25 of them");
    let mut events = 0;
    let error = loop {
        match slow.next_event() {
            Ok(Some(event)) => {
                assert_ne!(event[4], EventType::STOP.0);
                events += 1;
                if events > 10_000 {
                    break None;
                }
            }
            Ok(None) => panic!("there is more"),
            Err(error) => break Some(error),
        }
    };
    assert!(error.is_none_or(|error| error.kind() != ErrorKind::Network));
    let stopping = Instant::now();
    donor.stop();
    assert!(stopping.elapsed() < Duration::from_secs(30));
}
