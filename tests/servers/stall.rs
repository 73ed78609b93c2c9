//! An applier that stands still: donors and the group are read on, memory stays bounded.
//!
//! `REJOIN_STALL_SECONDS=300` makes it stand still for longer than the 12 s of the ordinary run.

use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rejoin::Error;
use rejoin::engine::Member;
use rejoin::group::MySqlGroup;
use rejoin::gtid::GtidSet;
use rejoin::target::Target;
use rejoin::transaction::Batch;

use crate::support::workload::Writer;
use crate::support::{Scenario, group};

pub const SCENARIOS: &[Scenario] = &[(
    "stall::a_donor_never_waits_for_an_applier_that_stands_still",
    a_donor_never_waits_for_an_applier_that_stands_still,
)];

/// Less than the stall: a donor that cannot write for so long cuts the connection.
const NET_WRITE_TIMEOUT: u64 = 4;

/// Stands still once, when it has this many transactions.
struct Stalling {
    executed: Arc<Mutex<GtidSet>>,
    after: u64,
    stall: Option<Duration>,
}

impl Target for Stalling {
    fn gtid_executed(&self) -> GtidSet {
        self.executed.lock().clone()
    }

    fn apply(&mut self, batch: &Batch) -> Result<(), Error> {
        if self.executed.lock().count() >= self.after
            && let Some(stall) = self.stall.take()
        {
            std::thread::sleep(stall);
        }
        let mut executed = self.executed.lock();
        for transaction in batch.iter() {
            let gtid = transaction.gtid();
            assert!(executed.insert(gtid), "{gtid} was applied twice");
        }
        Ok(())
    }
}

fn a_donor_never_waits_for_an_applier_that_stands_still() {
    let seconds = std::env::var("REJOIN_STALL_SECONDS").ok();
    let seconds = seconds.map_or(12, |seconds| seconds.parse().expect("a number of seconds"));
    let stall = Duration::from_secs(seconds);
    let group = group::shared();
    for member in group.members() {
        member.sql(&format!(
            "SET GLOBAL net_write_timeout = {NET_WRITE_TIMEOUT}"
        ));
    }
    let writer = Writer::start(&group);
    let relay_logs = tempfile::tempdir().expect("a directory");
    let executed = Arc::default();
    let target = Stalling {
        executed: Arc::clone(&executed),
        after: 2000,
        stall: Some(stall),
    };
    let seeds = MySqlGroup::connect(&group.url()).expect("the group answers");
    let member = Member::builder(seeds, target)
        .cache_bytes(2 << 20)
        .max_relay_log_size(4 << 20)
        .relay_log_directory(relay_logs.path())
        .start()
        .expect("the member starts");
    let began = Instant::now();
    let mut last = member.status();
    let mut largest_relay_log = 0;
    // What is received in each quarter of the stall.
    while last.stalled < Duration::from_millis(500) {
        assert!(began.elapsed() < Duration::from_secs(60), "{last:?}");
        std::thread::sleep(Duration::from_millis(20));
        last = member.status();
    }
    for quarter in 0..4 {
        std::thread::sleep((stall / 4).saturating_sub(Duration::from_millis(300)));
        let now = member.status();
        largest_relay_log = largest_relay_log.max(now.relay_log_bytes);
        if quarter < 2 {
            assert!(
                now.received_bytes > last.received_bytes,
                "{quarter}: {now:?}"
            );
            assert!(
                now.overflow_bytes > last.overflow_bytes,
                "{quarter}: {now:?}"
            );
        }
        last = now;
    }
    member
        .wait_online(Duration::from_secs(300))
        .expect("the member is ONLINE");
    writer.stop();
    let status = member.status();
    assert_eq!(status.attempts, 1, "{:?}", status.attempt_records);
    let settled: GtidSet = group.settle().parse().expect("a GTID set");
    let asked = Instant::now();
    while *executed.lock() != settled {
        assert!(
            asked.elapsed() < Duration::from_secs(60),
            "{:?}",
            member.status()
        );
        std::thread::sleep(Duration::from_millis(50));
    }
    // All of it was executed: the logs are gone within a moment.
    let asked = Instant::now();
    while fs::read_dir(relay_logs.path())
        .expect("the directory")
        .count()
        > 1
    {
        assert!(
            asked.elapsed() < Duration::from_secs(10),
            "{:?}",
            member.status()
        );
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(
        largest_relay_log > 0,
        "the group's transactions went to disk, too"
    );
    member.stop();
    member.join().expect("stopping is no error");
    for member in group.members() {
        member.sql("SET GLOBAL net_write_timeout = DEFAULT");
    }
}
