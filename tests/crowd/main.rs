//! Fifty joiners of one donor, each a process; half of them stand still. Alone in its process, the
//! donor's, for that one's memory is measured.
#![allow(clippy::print_stdout, missing_docs, unreachable_pub)]

// Members that crash or are asked for their events are for the other tests.
#[allow(dead_code)]
#[path = "../local/member.rs"]
mod member;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rejoin::binlog::Value;
use rejoin::donor::{Account, BinlogDirectory, Donor, DonorOptions};
use rejoin::group::local::{ColumnType, LocalTable};
use serde_json::Value as Json;

use member::{Node, group};

/// More than the system buffers for a connection, in few transactions.
const TRANSACTIONS: i64 = 1200;
const NOTE_BYTES: usize = 10_000;
const HALF: usize = 25;
/// Of the donor for all together: on any machine the joiners are kept busy for 3 s.
const RATE: u64 = 100_000_000;
/// While those that will be stopped are in the middle: they would need 5 minutes to get out of it.
const SLOW_RATE: u64 = 1_000_000;
/// For what takes a moment.
const PATIENCE: Duration = Duration::from_secs(120);

/// A joiner that is ended with this.
struct Joiner {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Drop for Joiner {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Joiner {
    fn start(url: &str, store: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_rejoin"))
            .args(["recover", "--quiet", "--json", "--group", url])
            // A machine that is busy for long may break a connection: it is made anew.
            .args(["--recovery-reconnect-interval=1", "--store"])
            .arg(store)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Self { child, lines }
    }

    fn half(url: &str, directory: &Path, name: &str) -> Vec<Self> {
        (0..HALF)
            .map(|number| Self::start(url, &directory.join(format!("{name}{number}"))))
            .collect()
    }

    /// Waits until it is ONLINE and has everything.
    fn expect_online(&mut self) {
        loop {
            let mut line = String::new();
            self.lines.read_line(&mut line).unwrap();
            assert!(!line.is_empty(), "it ended without online");
            let event: Json = serde_json::from_str(&line).unwrap();
            if event["event"] == "online" {
                assert!(
                    event["transactions"].as_i64() > Some(TRANSACTIONS),
                    "{line}"
                );
                return;
            }
        }
    }

    fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args([name, &id]).status().unwrap();
        assert!(sent.success());
    }
}

/// A store with the group's history.
fn history(directory: &Path) -> PathBuf {
    let group = group();
    let path = directory.join("donor");
    let node = Node::join(&group, 1, path.clone()).online();
    let columns = [("id", ColumnType::BigInt), ("note", ColumnType::Text)];
    let table = LocalTable::new("shop", "notes", &columns).unwrap();
    group.create_database("shop").unwrap();
    group.create_table(&table).unwrap();
    for id in 0..TRANSACTIONS {
        let note = format!("{id} ").repeat(NOTE_BYTES);
        let mut transaction = group.begin();
        let row = [Value::Int(id), Value::Bytes(&note.as_bytes()[..NOTE_BYTES])];
        transaction.insert(&table, &row).unwrap();
        transaction.commit().unwrap();
    }
    node.rows(&group.executed());
    node.leave();
    path
}

/// How long the slowest of twenty-five joiners takes.
fn joiners(url: &str, directory: &Path, name: &str) -> Duration {
    let started = Instant::now();
    for joiner in &mut Joiner::half(url, directory, name) {
        joiner.expect_online();
    }
    started.elapsed()
}

/// What the donor has sent in each transfer. Each joiner has a second stream, of what is new, with
/// nothing in it.
fn sent(donor: &Donor) -> Vec<u64> {
    let dumps = donor.status().dumps.into_iter().map(|dump| dump.sent_bytes);
    dumps
        .filter(|&bytes| bytes > 2 * NOTE_BYTES as u64)
        .collect()
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "waited for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.unwrap().trim().strip_suffix(" kB").unwrap();
    kilobytes.trim().parse::<u64>().unwrap() << 10
}

#[test]
fn fifty_joiners_of_which_half_are_stopped() {
    let directory = tempfile::tempdir().unwrap();
    let log = BinlogDirectory::open(history(directory.path())).unwrap();
    let mut options = DonorOptions::new(vec![Account::new("recovery", b"secret")]);
    options.max_rate = Some(RATE);
    // However slow the machine is: who stands still is not given up.
    options.net_write_timeout = Duration::from_secs(3600);
    options.connect_timeout = Duration::from_secs(600);
    let donor = Donor::start("127.0.0.1:0", Arc::new(log), options).unwrap();
    let url = format!("mysql://recovery:secret@{}", donor.local_addr());
    let alone = joiners(&url, directory.path(), "alone");
    wait_until("all have gone", || donor.status().connections == 0);
    let before = resident_bytes();

    donor.set_max_rate(Some(SLOW_RATE));
    let mut stopped = Joiner::half(&url, directory.path(), "stopped");
    wait_until("every transfer is under way", || sent(&donor).len() == HALF);
    for joiner in &stopped {
        joiner.signal("-STOP");
    }
    // The system takes more for them than they will read; then the donor's threads stand as well.
    donor.set_max_rate(Some(RATE));
    let mut standing = sent(&donor);
    wait_until("nothing moves", || {
        std::thread::sleep(Duration::from_secs(1));
        let earlier = std::mem::replace(&mut standing, sent(&donor));
        earlier == standing
    });
    let beside = joiners(&url, directory.path(), "beside");
    let after = resident_bytes();
    println!(
        "25 joiners: {alone:?} alone, {beside:?} beside 25 that are stopped; the donor's memory: \
         {} KiB, then {} KiB",
        before >> 10,
        after >> 10
    );
    // All were in the middle, and are where they were.
    wait_until("the others have gone", || sent(&donor).len() <= HALF);
    assert_eq!(sent(&donor), standing);
    let all = TRANSACTIONS as u64 * NOTE_BYTES as u64;
    assert!(standing.iter().all(|&bytes| bytes < all), "{standing:?}");
    // Who waits for one that is stopped waits for ever: this is wide for a machine that has other
    // things to do meanwhile.
    assert!(beside < alone * 4 + Duration::from_secs(2));
    assert!(after < before + (32 << 20), "{before}, then {after} bytes");
    for joiner in &stopped {
        joiner.signal("-CONT");
    }
    for joiner in &mut stopped {
        joiner.expect_online();
    }
}
