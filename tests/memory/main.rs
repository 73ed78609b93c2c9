//! A backlog that is much larger than the memory for it, delivered by a host's own communication
//! thread while the applier stands still.
//!
//! `REJOIN_FULL_SIZES=1`: 2 GiB with a budget of 64 MiB; else 256 MiB with 16 MiB. Alone in its process,
//! because it measures the memory of the process.
#![allow(missing_docs, unreachable_pub, dead_code, clippy::print_stdout)]

#[path = "../support/peak.rs"]
mod peak;
#[path = "../support/sample.rs"]
mod sample;

use std::fs;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rejoin::Error;
use rejoin::engine::Member;
use rejoin::group::{Cut, Feed, Group, GroupMember, Joined, MemberState, NotDelivered, View};
use rejoin::gtid::{GtidSet, Uuid};
use rejoin::net::{ConnectOptions, Endpoint};
use rejoin::target::Target;
use rejoin::transaction::Batch;

use sample::{Change, Item, Source};

/// What the promise leaves for everything else.
const ELSE: u64 = 128 << 20;
/// Bytes of a transaction, nearly; and of one in a thousand.
const SMALL: usize = 1 << 10;
const LARGE: usize = 9 << 20;

/// A group of one member, which nobody needs to ask.
struct Host(Sender<Feed>);

impl Host {
    fn view() -> View {
        let address = Endpoint::new("127.0.0.1", 1);
        View {
            members: vec![GroupMember {
                uuid: Uuid([0xd1; 16]),
                recovery_endpoints: vec![address.clone()],
                address,
                state: MemberState::Online,
                primary: true,
                version: None,
                executed: None,
                purged: None,
            }],
        }
    }
}

impl Group for Host {
    fn join(&self, feed: Feed) -> Result<Joined, Error> {
        let _ = self.0.send(feed);
        Ok(Joined {
            view: Self::view(),
            cut: Cut::Gtids(GtidSet::new()),
        })
    }

    fn read(&self) -> Result<View, Error> {
        Ok(Self::view())
    }

    fn executed(&self) -> Result<GtidSet, Error> {
        Ok(GtidSet::new())
    }

    fn donor_options(&self, _donor: &GroupMember) -> ConnectOptions {
        ConnectOptions::new("recovery", "secret")
    }

    fn leave(&self) {}
}

/// Stands still until it is told to go on, and checks the order.
struct Standing {
    go: Option<Receiver<()>>,
    executed: Arc<Mutex<GtidSet>>,
    last: u64,
}

impl Target for Standing {
    fn gtid_executed(&self) -> GtidSet {
        self.executed.lock().clone()
    }

    fn apply(&mut self, batch: &Batch) -> Result<(), Error> {
        if let Some(go) = self.go.take() {
            go.recv().expect("the test goes on");
        }
        let mut executed = self.executed.lock();
        for transaction in batch.iter() {
            let gtid = transaction.gtid();
            assert_eq!(gtid.gno, self.last + 1, "out of order");
            assert!(transaction.bytes().len() >= length(gtid.gno));
            self.last = gtid.gno;
            executed.insert(gtid);
        }
        Ok(())
    }
}

fn length(number: u64) -> usize {
    if number.is_multiple_of(20_000) {
        LARGE
    } else {
        SMALL
    }
}

#[test]
fn a_backlog_waits_on_the_disk_in_order_and_memory_stays_bounded() {
    let (total, budget): (u64, u64) = if peak::is_full_size() {
        (2 << 30, 64 << 20)
    } else {
        (256 << 20, 16 << 20)
    };
    let relay_logs = tempfile::tempdir().expect("a directory");
    let (joined, feeds) = channel();
    let (go, told) = channel();
    let executed: Arc<Mutex<GtidSet>> = Arc::default();
    let target = Standing {
        go: Some(told),
        executed: Arc::clone(&executed),
        last: 0,
    };
    peak::reset();
    let member = Member::builder(Host(joined), target)
        .cache_bytes(budget as usize)
        .relay_log_directory(relay_logs.path())
        .start()
        .expect("the member starts");
    let feed = feeds.recv().expect("the member joins");

    let began = Instant::now();
    let mut source = Source::new();
    let (mut delivered, mut last, mut refused) = (0, 0, 0);
    while delivered < total {
        for _ in 0..100 {
            last += 1;
            source.rows(&[Change::Insert(Item {
                note: Some(vec![b'x'; length(last)]),
                ..Item::new(last as i64, "row")
            })]);
        }
        let mut batch = source.take();
        delivered += batch.byte_size() as u64;
        while let Err((back, reason)) = feed.deliver(batch) {
            assert_eq!(reason, NotDelivered::Full);
            refused += 1;
            batch = back;
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    let time = began.elapsed();
    let asked = Instant::now();
    while member.status().relay_log_bytes < total - budget {
        assert!(
            asked.elapsed() < Duration::from_secs(60),
            "{:?}",
            member.status()
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    let full = peak::bytes();
    go.send(()).expect("the applier waits");
    let asked = Instant::now();
    while executed.lock().count() < last {
        assert!(
            asked.elapsed() < Duration::from_secs(120),
            "{:?}",
            member.status()
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    let peak = peak::bytes();
    println!(
        "{} MiB: a backlog of {} MiB in {time:?} (refused {refused} times) at a peak of {} MiB, applied \
         in {:?} at {} MiB",
        budget >> 20,
        delivered >> 20,
        full >> 20,
        asked.elapsed(),
        peak >> 20
    );
    assert!(peak <= budget + ELSE, "a peak of {peak} bytes");
    // All of it is executed: the files go.
    let asked = Instant::now();
    while fs::read_dir(relay_logs.path())
        .expect("it is there")
        .count()
        > 1
    {
        assert!(asked.elapsed() < Duration::from_secs(30), "files are left");
        std::thread::sleep(Duration::from_millis(50));
    }
    member.stop();
    member.join().expect("stopping is no error");
}
