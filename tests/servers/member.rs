//! The library as a host uses it: a target of the host's own, recovered from a real group.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rejoin::engine::{Event, Member};
use rejoin::group::MySqlGroup;
use rejoin::gtid::GtidSet;
use rejoin::recovery::Phase;
use rejoin::target::Target;
use rejoin::transaction::Batch;
use rejoin::{Error, ErrorKind};

use crate::support::workload::Writer;
use crate::support::{Scenario, compare, group};

pub const SCENARIOS: &[Scenario] = &[
    (
        "member::follows_a_group_that_is_written_to",
        follows_a_group_that_is_written_to,
    ),
    (
        "member::goes_to_another_donor_when_its_donor_is_killed",
        goes_to_another_donor_when_its_donor_is_killed,
    ),
    (
        "member::conflicting_data_is_tried_with_every_donor",
        conflicting_data_is_tried_with_every_donor,
    ),
    (
        "member::its_feed_outlives_every_member_in_turn",
        its_feed_outlives_every_member_in_turn,
    ),
    ("member::stops_at_once", stops_at_once),
];

/// A target that only keeps account of what it was given.
#[derive(Default)]
struct Account {
    executed: GtidSet,
    transactions: u64,
}

struct Ledger {
    account: Arc<Mutex<Account>>,
    /// Time that each batch takes.
    delay: Duration,
    /// Refuses everything from this many transactions on.
    conflict_at: u64,
}

impl Ledger {
    fn new(account: &Arc<Mutex<Account>>) -> Self {
        Self {
            account: Arc::clone(account),
            delay: Duration::ZERO,
            conflict_at: u64::MAX,
        }
    }
}

impl Target for Ledger {
    fn gtid_executed(&self) -> GtidSet {
        self.account.lock().executed.clone()
    }

    fn apply(&mut self, batch: &Batch) -> Result<(), Error> {
        std::thread::sleep(self.delay);
        let mut account = self.account.lock();
        for transaction in batch.iter() {
            if account.transactions >= self.conflict_at {
                return Err(Error::new(ErrorKind::Conflict, "planted").at_gtid(*transaction.gtid()));
            }
            assert!(
                account.executed.insert(transaction.gtid()),
                "{} was applied twice",
                transaction.gtid()
            );
            account.transactions += 1;
        }
        Ok(())
    }
}

fn follows_a_group_that_is_written_to() {
    let group = group::shared();
    let account = Arc::default();
    let writer = Writer::start(&group);
    let seeds = MySqlGroup::connect(&group.url()).expect("the group answers");
    let member = Member::builder(seeds, Ledger::new(&account))
        .start()
        .expect("the member starts");
    member
        .wait_online(Duration::from_secs(300))
        .expect("the member is ONLINE");
    let status = member.status();
    assert_eq!((status.attempts, status.missing), (1, 0));
    // It stays a member.
    let before = account.lock().transactions;
    let written = writer.written();
    while writer.written() < written + 500 {
        std::thread::yield_now();
    }
    writer.stop();
    wait_for(&account, &group.settle());
    assert!(account.lock().transactions > before);
    assert_eq!(member.status().phase, Phase::Online);
    member.stop();
    member.join().expect("stopping is no error");
}

/// Waits until exactly this is in the account.
fn wait_for(account: &Mutex<Account>, executed: &str) {
    let executed: GtidSet = executed.parse().expect("a GTID set");
    let mut patience = 600;
    while account.lock().executed != executed {
        patience -= 1;
        assert!(patience > 0, "{} {executed}", account.lock().executed);
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(account.lock().transactions, executed.count());
}

fn its_feed_outlives_every_member_in_turn() {
    let group = group::shared();
    let account = Arc::default();
    let seeds = MySqlGroup::connect(&group.url()).expect("the group answers");
    let member = Member::builder(seeds, Ledger::new(&account))
        .start()
        .expect("the member starts");
    member
        .wait_online(Duration::from_secs(300))
        .expect("the member is ONLINE");
    let writer = Writer::start(&group);
    for victim in group.members() {
        victim.kill();
        group.wait_primary();
        let before = account.lock().transactions;
        let mut patience = 600;
        while account.lock().transactions < before + 200 {
            patience -= 1;
            assert!(patience > 0, "nothing comes after {} died", victim.port);
            std::thread::sleep(Duration::from_millis(100));
        }
        group.heal();
    }
    writer.stop();
    wait_for(&account, &group.settle());
    member.stop();
    member.join().expect("stopping is no error");
}

fn goes_to_another_donor_when_its_donor_is_killed() {
    let group = group::shared();
    let account = Arc::default();
    let seeds = MySqlGroup::connect(&group.url()).expect("the group answers");
    let target = Ledger {
        delay: Duration::from_millis(10),
        ..Ledger::new(&account)
    };
    let builder = Member::builder(seeds, target);
    let events = builder.events();
    let member = builder.start().expect("the member starts");
    let mut told = Vec::new();
    let mut killed = None;
    for event in events {
        match event {
            Event::Donor { donor, .. } => {
                if killed.is_none() {
                    while account.lock().transactions < 20_000 {
                        std::thread::yield_now();
                    }
                    group.member(donor.address.port).kill();
                    killed = Some(donor.uuid);
                }
                told.push(donor.uuid);
            }
            Event::Failover(record) => {
                assert_eq!(Some(record.donor.uuid), killed);
                assert!(record.applied >= 20_000);
                let end = record.end.expect("a failure has a reason");
                assert!(
                    matches!(end.kind, ErrorKind::Network | ErrorKind::DonorLeft),
                    "{end:?}"
                );
            }
            Event::Online { attempts, .. } => {
                assert_eq!(attempts, 2);
                break;
            }
            _ => {}
        }
    }
    assert_eq!(told.len(), 2);
    assert_ne!(told[0], told[1]);
    member.stop();
    member.join().expect("stopping is no error");
    let live = group.online().expect("two members are left");
    compare::assert_same_gtids(live, &account.lock().executed.to_string(), &live.executed());
    group.heal();
}

fn conflicting_data_is_tried_with_every_donor() {
    let group = group::shared();
    let account = Arc::default();
    let seeds = MySqlGroup::connect(&group.url()).expect("the group answers");
    let target = Ledger {
        conflict_at: 1000,
        ..Ledger::new(&account)
    };
    let builder = Member::builder(seeds, target).recovery_retry_count(3);
    let events = builder.events();
    let member = builder.start().expect("the member starts");
    let failed: Vec<_> = events
        .filter_map(|event| match event {
            Event::Failover(record) => Some((record.donor.uuid, record.end)),
            _ => None,
        })
        .collect();
    let mut donors: Vec<_> = failed.iter().map(|(donor, _)| *donor).collect();
    donors.sort();
    donors.dedup();
    assert_eq!(donors.len(), 3);
    assert!(failed.iter().all(|(_, end)| {
        end.as_ref()
            .is_some_and(|end| end.kind == ErrorKind::Conflict)
    }));
    let error = member.join().expect_err("nobody agrees with the data");
    assert_eq!(error.kind(), ErrorKind::NoDonor);
    assert_eq!(account.lock().transactions, 1000);
}

fn stops_at_once() {
    let group = group::shared();
    for delay in [0, 5, 50, 300, 1000] {
        let account = Arc::default();
        let seeds = MySqlGroup::connect(&group.url()).expect("the group answers");
        let member = Member::builder(seeds, Ledger::new(&account))
            .start()
            .expect("the member starts");
        std::thread::sleep(Duration::from_millis(delay));
        let asked = std::time::Instant::now();
        member.stop();
        member.join().expect("stopping is no error");
        assert!(asked.elapsed() < Duration::from_secs(2), "{delay}");
    }
}
