//! What is loaded into groups, and a writer that keeps writing.
//!
//! Loads run as stored procedures in a group of one, in parallel sessions, so that every transaction
//! passes through Group Replication and bears a GTID of the group.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::group::{GROUP_NAME, Group};
use super::prefix;
use super::server;

/// How one kind of content is made.
#[derive(Debug)]
pub struct Workload {
    name: &'static str,
    /// Run first, by one session.
    schema: &'static str,
    /// Run in order; the statements of one step run in parallel sessions.
    steps: &'static [&'static [&'static str]],
}

/// 100,000 transactions and more over every ordinary column type and keys of one and several
/// columns; inserts, updates (of keys too), deletes and DDL.
pub static MIXED: Workload = Workload {
    name: "mixed",
    schema: include_str!("mixed.sql"),
    steps: &[
        &["CALL shop.mixed(10000000, 26000)", "CALL shop.mixed(20000000, 26000)"],
        &[
            "ALTER TABLE shop.orders ADD COLUMN paid TINYINT(1) NOT NULL DEFAULT 1, ALGORITHM = INSTANT;
             RENAME TABLE shop.draft TO shop.kept;
             CREATE TABLE shop.gone LIKE shop.kept;
             INSERT INTO shop.gone SELECT * FROM shop.kept;
             DROP TABLE shop.gone;
             TRUNCATE TABLE shop.emptied;
             INSERT INTO shop.emptied VALUES (7, 'after the TRUNCATE');
             CREATE DATABASE passing; CREATE TABLE passing.t (a INT PRIMARY KEY); DROP DATABASE passing;",
        ],
        &["CALL shop.mixed(30000000, 26000)", "CALL shop.mixed(40000000, 26000)"],
    ],
};

/// 100,000 transactions of three row changes each: what the speed of applying is measured with.
pub static SMALL: Workload = Workload {
    name: "small",
    schema: include_str!("small.sql"),
    steps: &[&[
        "CALL small.small(10000000, 50000)",
        "CALL small.small(20000000, 50000)",
    ]],
};

impl Workload {
    /// The data directory that holds all of it, made where it is not there yet.
    pub fn template(&self) -> PathBuf {
        let empty = server::initialised();
        let mut recipe = vec![
            empty.to_str().expect("the cache has a plain name"),
            self.schema,
        ];
        recipe.extend(self.steps.iter().flat_map(|step| step.iter()));
        prefix::template(self.name, &recipe, |data| {
            let group = Group::from_template(1, &empty, GROUP_NAME);
            let founder = &group.members()[0];
            founder.sql(self.schema);
            for step in self.steps {
                let results: Vec<_> = thread::scope(|scope| {
                    let sessions: Vec<_> = step
                        .iter()
                        .map(|statements| scope.spawn(|| founder.try_sql(statements)))
                        .collect();
                    sessions.into_iter().map(|session| session.join()).collect()
                });
                for result in results {
                    result
                        .expect("the session does not panic")
                        .expect("the load succeeds");
                }
            }
            founder.stop_group_replication();
            founder.shutdown();
            prefix::copy(founder.data(), data);
        })
    }
}

/// Keeps writing to the group's primary, whoever that is, until it is stopped.
#[derive(Debug)]
pub struct Writer {
    stop: Arc<AtomicBool>,
    written: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

/// How many transactions the writer asks for at once; between two bursts it takes breath, so that on
/// two cores the group has time for others.
const BURST: u64 = 100;

impl Writer {
    /// Starts writing rows of the mixed workload; keys begin behind those of the load.
    pub fn start(group: &Arc<Group>) -> Writer {
        let stop = Arc::new(AtomicBool::new(false));
        let written = Arc::new(AtomicU64::new(0));
        let thread = thread::Builder::new()
            .name("writer".into())
            .spawn({
                let (stop, written, group) = (stop.clone(), written.clone(), group.clone());
                move || write(&group, &stop, &written)
            })
            .expect("a thread can be started");
        Writer {
            stop,
            written,
            thread: Some(thread),
        }
    }

    /// How many transactions were certainly written until now.
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Stops after the burst that is under way and gives the number of transactions.
    pub fn stop(mut self) -> u64 {
        self.end();
        self.written()
    }

    fn end(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
            && !thread::panicking()
        {
            panic!("the writer panicked");
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.end();
    }
}

fn write(group: &Group, stop: &AtomicBool, written: &AtomicU64) {
    // Another range than any earlier writer's: the group may have been written to before.
    static NEXT: AtomicU64 = AtomicU64::new(1_000_000_000);
    let mut primary = group.wait_primary();
    while !stop.load(Ordering::Relaxed) {
        let base = NEXT.fetch_add(BURST, Ordering::Relaxed);
        match primary.try_sql(&format!("CALL shop.mixed({base}, {BURST})")) {
            Ok(_) => _ = written.fetch_add(BURST, Ordering::Relaxed),
            // Killed, or no longer primary. What it wrote of this burst stays; the next one has other keys.
            Err(_) => primary = group.wait_primary(),
        }
        thread::sleep(Duration::from_millis(20));
    }
}
