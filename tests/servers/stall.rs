//! An applier that stands still: donors and the group are read on, memory stays bounded.
//!
//! `REJOIN_FULL_SIZES=1` makes it stand still for 5 minutes with a budget of 64 MiB, and donors wait for
//! 10 s when they cannot write; else 12 s, 2 MiB and 4 s.

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
use crate::support::{Scenario, group, peak};

pub const SCENARIOS: &[Scenario] = &[(
    "stall::a_donor_never_waits_for_an_applier_that_stands_still",
    a_donor_never_waits_for_an_applier_that_stands_still,
)];

/// What the promise leaves for everything but the budget.
const ELSE: u64 = 128 << 20;

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
    // A donor that cannot write for so long as the second cuts the connection.
    let (stall, net_write_timeout, budget) = if peak::is_full_size() {
        (Duration::from_secs(300), Duration::from_secs(10), 64 << 20)
    } else {
        (Duration::from_secs(12), Duration::from_secs(4), 2 << 20)
    };
    let group = group::shared();
    for member in group.members() {
        member.sql(&format!(
            "SET GLOBAL net_write_timeout = {}",
            net_write_timeout.as_secs()
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
    peak::reset();
    let seeds = MySqlGroup::connect(&group.url()).expect("the group answers");
    let member = Member::builder(seeds, target)
        .cache_bytes(budget as usize)
        .max_relay_log_size(4 << 20)
        .donor_net_write_timeout(net_write_timeout)
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
    // All of it was executed: the logs are going. (A busy disk takes half a second to let go of a file.)
    let asked = Instant::now();
    while fs::read_dir(relay_logs.path())
        .expect("the directory")
        .count()
        > 1
    {
        assert!(
            asked.elapsed() < Duration::from_secs(60),
            "{:?}",
            member.status()
        );
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(
        largest_relay_log > 0 || budget > 2 << 20,
        "the group's transactions went to disk, too"
    );
    let peak = peak::bytes();
    println!(
        "stalled {:?}, {} MiB overflowed, a peak of {} MiB",
        status.stalled,
        status.overflow_bytes >> 20,
        peak >> 20
    );
    assert!(peak <= budget + ELSE, "a peak of {peak} bytes");
    member.stop();
    member.join().expect("stopping is no error");
    for member in group.members() {
        member.sql("SET GLOBAL net_write_timeout = DEFAULT");
    }
}
