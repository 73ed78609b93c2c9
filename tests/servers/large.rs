//! A transaction that is much larger than the memory for what waits: it streams through the disk.
//!
//! `REJOIN_FULL_SIZES=1`: one of 512 MiB from a donor, and then one of 128 MiB from the group, with a
//! budget of 64 MiB; else 160 and 40 MiB with 8 MiB.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rejoin::Error;
use rejoin::binlog::{EventType, RowsEvent, TableMap};
use rejoin::engine::Member;
use rejoin::group::MySqlGroup;
use rejoin::gtid::GtidSet;
use rejoin::journal::StoredTransaction;
use rejoin::target::Target;
use rejoin::transaction::{Batch, TransactionKind};

use crate::support::group::Group;
use crate::support::server::Server;
use crate::support::{Scenario, peak};

pub const SCENARIOS: &[Scenario] = &[(
    "large::a_transaction_larger_than_the_memory_streams_through_the_disk",
    a_transaction_larger_than_the_memory_streams_through_the_disk,
)];

/// Bytes of a row's blob.
const ROW: u64 = 32 << 10;
/// What the promise leaves for everything else.
const ELSE: u64 = 128 << 20;

#[derive(Debug, Default)]
struct Seen {
    executed: GtidSet,
    /// Of each transaction that came piece by piece: rows, and bytes of its row events.
    stored: Vec<(u64, u64)>,
}

/// Looks at the rows, and keeps nothing of them.
struct Counting(Arc<Mutex<Seen>>);

impl Target for Counting {
    fn gtid_executed(&self) -> GtidSet {
        self.0.lock().executed.clone()
    }

    fn apply(&mut self, batch: &Batch) -> Result<(), Error> {
        let mut seen = self.0.lock();
        for transaction in batch.iter() {
            assert!(transaction.bytes().len() < 4 << 20, "it is large");
            assert!(seen.executed.insert(transaction.gtid()));
        }
        Ok(())
    }

    fn apply_stored(&mut self, transaction: &mut StoredTransaction) -> Result<(), Error> {
        assert_eq!(transaction.kind(), TransactionKind::Dml);
        let (gtid, format) = (*transaction.gtid(), transaction.format().clone());
        let (mut rows, mut bytes) = (0, 0);
        let mut columns = Vec::new();
        let mut events = transaction.events()?;
        while let Some((header, event)) = events.next_event()? {
            match header.event_type {
                EventType::TABLE_MAP => columns = TableMap::decode(&format, event)?.columns()?,
                EventType::WRITE_ROWS => {
                    bytes += event.len() as u64;
                    let event = RowsEvent::decode(&format, event)?;
                    let mut images = event.rows(&columns)?;
                    let mut cells = Vec::new();
                    while images.next_image(&mut cells)?.is_some() {
                        rows += 1;
                    }
                }
                _ => {}
            }
        }
        let mut seen = self.0.lock();
        assert!(seen.executed.insert(&gtid));
        seen.stored.push((rows, bytes));
        Ok(())
    }
}

/// One transaction of so many bytes.
fn insert(server: &Server, first: u64, bytes: u64) {
    let rows = bytes / ROW;
    server.sql(&format!(
        "SET SESSION cte_max_recursion_depth = 100000000;
         INSERT INTO large.t SELECT n, REPEAT(CHAR(65 + n MOD 26), {ROW}) FROM
         (WITH RECURSIVE c (n) AS (SELECT {first} UNION ALL SELECT n + 1 FROM c WHERE n < {})
          SELECT n FROM c) AS numbers",
        first + rows - 1
    ));
}

fn a_transaction_larger_than_the_memory_streams_through_the_disk() {
    let (from_donor, from_group, budget) = if peak::is_full_size() {
        (512 << 20, 128 << 20, 64 << 20)
    } else {
        (160 << 20, 40 << 20, 8 << 20)
    };
    let group = Group::start(1);
    let server = &group.members()[0];
    // The group itself takes no transaction of that size: it is there before the group.
    server.stop_group_replication();
    server.sql(
        "SET GLOBAL super_read_only = OFF; SET GLOBAL read_only = OFF;
         SET GLOBAL net_write_timeout = 10;
         CREATE DATABASE large; CREATE TABLE large.t (id BIGINT PRIMARY KEY, v LONGBLOB)",
    );
    insert(server, 1, from_donor);
    server.bootstrap();

    let relay_logs = tempfile::tempdir().expect("a directory");
    let seen: Arc<Mutex<Seen>> = Arc::default();
    peak::reset();
    let seeds = MySqlGroup::connect(&group.url()).expect("the group answers");
    let member = Member::builder(seeds, Counting(Arc::clone(&seen)))
        .cache_bytes(budget as usize)
        .relay_log_directory(relay_logs.path())
        .donor_net_write_timeout(Duration::from_secs(10))
        .start()
        .expect("the member starts");
    member
        .wait_online(Duration::from_secs(300))
        .expect("the member is ONLINE");
    let status = member.status();
    assert_eq!(status.attempts, 1, "{:?}", status.attempt_records);
    assert!(status.overflow_bytes > from_donor, "{status:?}");
    let recovered = peak::bytes();

    insert(server, 1_000_000_000, from_group);
    let settled: GtidSet = server.executed().parse().expect("a GTID set");
    let asked = Instant::now();
    while !settled.is_subset(&seen.lock().executed) {
        assert!(
            asked.elapsed() < Duration::from_secs(120),
            "{:?}",
            member.status()
        );
        std::thread::sleep(Duration::from_millis(50));
    }
    let peak = peak::bytes();
    println!(
        "{} MiB: a transaction of {} MiB at a peak of {} MiB, then one of {} MiB at {} MiB",
        budget >> 20,
        from_donor >> 20,
        recovered >> 20,
        from_group >> 20,
        peak >> 20
    );
    let stored = seen.lock().stored.clone();
    assert_eq!(stored.len(), 2, "{stored:?}");
    for ((rows, bytes), expected) in stored.into_iter().zip([from_donor, from_group]) {
        assert_eq!(rows, expected / ROW);
        assert!(bytes > expected);
    }
    assert!(peak <= budget + ELSE, "a peak of {peak} bytes");
    member.stop();
    member.join().expect("stopping is no error");
}
