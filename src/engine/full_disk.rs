//! A member in a process of its own runs into a limit of its disk: it ends with a clear error, and the
//! next one applies what was received before it asks the group for anything.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;
use std::{env, thread};

use parking_lot::Mutex;

use super::Member;
use crate::group::{Cut, Feed, Group, GroupMember, Joined, MemberState, NotDelivered, View};
use crate::gtid::{GtidSet, Uuid};
use crate::journal::SyncRelayLog;
use crate::net::{ConnectOptions, Endpoint};
use crate::sample::{Change, Item, Source};
use crate::target::Target;
use crate::transaction::Batch;
use crate::{ErrorKind, Result};

/// Where the member finds its relay log; only its process has this in its environment.
const DIRECTORY: &str = "REJOIN_MEMBER_DIRECTORY";
/// How many transactions its target has executed when it starts.
const EXECUTED: &str = "REJOIN_MEMBER_EXECUTED";
/// How many the group has in all.
const LAST: u64 = 3000;

fn gtids(last: u64) -> GtidSet {
    let source = Source::new();
    (1..=last).map(|gno| source.gtid(gno)).collect()
}

/// Takes its time, so that most of what comes waits, and checks the order.
struct Slow(Arc<Mutex<GtidSet>>);

impl Target for Slow {
    fn gtid_executed(&self) -> GtidSet {
        self.0.lock().clone()
    }

    fn apply(&mut self, batch: &Batch) -> Result<()> {
        let before = self.0.lock().count();
        if before == 0 {
            thread::sleep(Duration::from_millis(200));
        }
        let mut executed = self.0.lock();
        for (transaction, number) in batch.iter().zip(before + 1..) {
            assert_eq!(transaction.gtid().gno, number);
            executed.insert(transaction.gtid());
        }
        Ok(())
    }

    fn group_commit(&self) -> crate::target::GroupCommit {
        crate::target::GroupCommit {
            transactions: 1,
            bytes: 1,
        }
    }
}

/// A group that delivers again what the member lacks when it joins.
struct Host {
    executed: Arc<Mutex<GtidSet>>,
    joined: Sender<(Feed, u64)>,
}

impl Group for Host {
    fn join(&self, feed: Feed) -> Result<Joined> {
        let executed = self.executed.lock().clone();
        let _ = self.joined.send((feed, executed.count()));
        Ok(Joined {
            view: self.read()?,
            cut: Cut::Gtids(executed),
        })
    }

    fn read(&self) -> Result<View> {
        let address = Endpoint::new("127.0.0.1", 1);
        Ok(View {
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
        })
    }

    fn executed(&self) -> Result<GtidSet> {
        Ok(self.executed.lock().clone())
    }

    fn donor_options(&self, _donor: &GroupMember) -> ConnectOptions {
        ConnectOptions::default()
    }

    fn leave(&self) {}
}

fn tell(what: &str, value: impl std::fmt::Display) {
    let mut out = std::io::stdout();
    writeln!(out, "{what} {value}").unwrap();
    out.flush().unwrap();
}

/// The member's process. It tells what was executed when it joined and when it ended, and the error
/// that it ended with.
#[test]
fn member() {
    let Some(directory) = env::var_os(DIRECTORY) else {
        return;
    };
    let executed = env::var(EXECUTED).unwrap().parse().unwrap();
    let executed = Arc::new(Mutex::new(gtids(executed)));
    let (joined, feeds) = channel();
    let host = Host {
        executed: Arc::clone(&executed),
        joined,
    };
    let member = Member::builder(host, Slow(Arc::clone(&executed)))
        .relay_log_directory(directory)
        .sync_relay_log(SyncRelayLog::Each)
        .start()
        .unwrap();
    let (feed, last) = feeds.recv().unwrap();
    tell("joined", last);
    let mut source = Source::new();
    for number in last + 1..=LAST {
        source.skip_to(number - 1);
        source.rows(&[Change::Insert(Item {
            note: Some(vec![b'x'; 1000]),
            ..Item::new(number as i64, "row")
        })]);
        if let Err((_, reason)) = feed.deliver(source.take()) {
            assert_eq!(reason, NotDelivered::Closed);
            break;
        }
    }
    while !member.is_ended() && executed.lock().count() < LAST {
        thread::sleep(Duration::from_millis(5));
    }
    member.stop();
    if let Err(error) = member.join() {
        assert_eq!(error.kind(), ErrorKind::TargetIo);
        let remedy = error.remedy_text().unwrap_or_default().to_owned();
        tell("failed", format!("{error}; {remedy}"));
    }
    tell("executed", executed.lock().count());
}

/// Runs the member's process to its end, with a limit on the length of files in blocks of 512 bytes.
fn run_member(directory: &Path, executed: u64, limit: &str) -> (u64, u64, Option<String>) {
    // The signal that comes with the limit would end the process.
    let script = format!("trap '' XFSZ; ulimit -f {limit}; exec \"$0\" \"$@\"");
    let mut member = Command::new("sh")
        .args(["-c", &script])
        .arg(env::current_exe().unwrap())
        .args(["engine::full_disk::member", "--exact", "--nocapture"])
        .env(DIRECTORY, directory)
        .env(EXECUTED, executed.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let (mut joined, mut executed, mut failed) = (None, None, None);
    let lines = BufReader::new(member.stdout.take().unwrap()).lines();
    for line in lines.map_while(std::result::Result::ok) {
        // The harness's own words may stand before the first line.
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            [.., "joined", number] => joined = number.parse().ok(),
            [.., "executed", number] => executed = number.parse().ok(),
            _ if line.contains("failed ") => failed = Some(line),
            _ => {}
        }
    }
    assert!(member.wait().unwrap().success());
    (joined.unwrap(), executed.unwrap(), failed)
}

#[test]
fn a_full_disk_ends_a_member_with_a_clear_error_and_the_next_one_has_what_was_received() {
    let directory = tempfile::tempdir().unwrap();
    let (joined, executed, failed) = run_member(directory.path(), 0, "1024");
    assert_eq!(joined, 0);
    assert!(executed < LAST / 2, "{executed} were executed");
    let failed = failed.unwrap();
    for part in [
        "cannot write to the log",
        "File too large",
        "relay-bin-group_replication_applier.000001",
        "free space",
    ] {
        assert!(failed.contains(part), "{failed}");
    }
    // Half a MiB was received and synced: the group is asked for what comes behind it.
    let (joined, executed, failed) = run_member(directory.path(), executed, "unlimited");
    assert!((300..LAST).contains(&joined), "{joined} when it joined");
    assert_eq!((executed, failed), (LAST, None));
}
