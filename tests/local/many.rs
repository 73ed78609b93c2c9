//! Fifty joiners of one donor, each a process; half of them stand still.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use rejoin::binlog::Value;
use rejoin::group::local::{ColumnType, LocalTable};
use serde_json::Value as Json;

use crate::member::{Node, group};

/// More than the system buffers for a connection, in few transactions.
const TRANSACTIONS: i64 = 1200;
const NOTE_BYTES: usize = 10_000;
const HALF: usize = 25;
/// For all together: slow enough that a joiner can be stopped in the middle.
const RATE: &str = "--max-rate=100000000";

/// A process that is ended with this.
struct Process {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Process {
    fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_rejoin"))
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Self { child, lines }
    }

    fn recover(url: &str, store: &Path) -> Self {
        Self::start(&[
            "recover",
            "--quiet",
            "--json",
            "--group",
            url,
            "--store",
            store.to_str().unwrap(),
        ])
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        line
    }

    /// Waits for an event of this kind.
    fn wait_for(&mut self, kind: &str) -> Json {
        loop {
            let line = self.line();
            assert!(!line.is_empty(), "it ended without {kind}");
            let event: Json = serde_json::from_str(&line).unwrap();
            if event["event"] == kind {
                return event;
            }
        }
    }

    fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args([name, &id])
                .status()
                .unwrap()
                .success()
        );
    }

    fn resident_bytes(&self) -> u64 {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(path).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes = line.unwrap().trim().strip_suffix(" kB").unwrap();
        kilobytes.trim().parse::<u64>().unwrap() << 10
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
    let running: Vec<Process> = (0..HALF)
        .map(|number| Process::recover(url, &directory.join(format!("{name}{number}"))))
        .collect();
    for mut joiner in running {
        let online = joiner.wait_for("online");
        assert!(
            online["transactions"].as_i64() > Some(TRANSACTIONS),
            "{online}"
        );
    }
    started.elapsed()
}

#[test]
fn fifty_joiners_of_which_half_are_stopped() {
    let directory = tempfile::tempdir().unwrap();
    let store = history(directory.path());
    let password = directory.path().join("password");
    std::fs::write(&password, "secret").unwrap();
    let mut donor = Process::start(&[
        "donate",
        "--store",
        store.to_str().unwrap(),
        "--listen=127.0.0.1:0",
        "--quiet",
        RATE,
        "--user=recovery",
        "--password-file",
        password.to_str().unwrap(),
    ]);
    let listening = donor.line();
    let address = listening.trim().strip_prefix("listening on ").unwrap();
    let url = format!("mysql://recovery:secret@{address}");
    let alone = joiners(&url, directory.path(), "alone");
    let before = donor.resident_bytes();

    let mut stopped: Vec<Process> = (0..HALF)
        .map(|number| Process::recover(&url, &directory.path().join(format!("stopped{number}"))))
        .collect();
    let mut in_the_middle = 0;
    for joiner in &mut stopped {
        let mut bytes = 0;
        while bytes == 0 {
            bytes = joiner.wait_for("progress")["bytes"].as_i64().unwrap();
        }
        joiner.signal("-STOP");
        in_the_middle += usize::from(bytes < TRANSACTIONS * NOTE_BYTES as i64);
    }
    assert!(in_the_middle > HALF / 2, "{in_the_middle}");
    let beside = joiners(&url, directory.path(), "beside");
    let after = donor.resident_bytes();
    println!(
        "25 joiners: {alone:?} alone, {beside:?} beside 25 that are stopped, {in_the_middle} in the \
         middle; the donor's memory: {} KiB, then {} KiB",
        before >> 10,
        after >> 10
    );
    assert!(beside < alone * 3 / 2 + Duration::from_secs(2));
    assert!(
        after < 64 << 20 && after < before + (32 << 20),
        "{before}, then {after} bytes"
    );
    for joiner in &stopped {
        joiner.signal("-CONT");
    }
    for mut joiner in stopped {
        joiner.wait_for("online");
    }
}
