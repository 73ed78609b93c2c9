//! Prints the table of ratios in the README: `binlog-table DIRECTORY [ROUNDS]`, with the logs of
//! `benches/logs` in the directory.
//!
//! On a machine that others use too, times mean little and their ratios much: all walks of one log
//! take turns, each is timed by the processor time of its thread, and the best of all rounds counts.

use std::hint::black_box;
use std::time::Duration;

use rejoin_benches::{Seen, limits, ours, rivals};
use rustix::time::{ClockId, clock_gettime};

/// One way through a log.
struct Walk<'a> {
    name: &'static str,
    run: Box<dyn FnMut() -> Option<Seen> + 'a>,
    best: Duration,
}

/// What is compared over one log.
struct Course<'a> {
    title: &'static str,
    bytes: usize,
    walks: Vec<Walk<'a>>,
}

impl<'a> Course<'a> {
    fn new(title: &'static str, log: &[u8]) -> Self {
        Self {
            title,
            bytes: log.len(),
            walks: Vec::new(),
        }
    }

    /// A walk that parses, and what it has seen.
    fn walk(mut self, name: &'static str, mut run: impl FnMut() -> Seen + 'a) -> Self {
        self.walks.push(Walk {
            name,
            run: Box::new(move || Some(run())),
            best: Duration::MAX,
        });
        self
    }

    /// Something that parses nothing.
    fn limit<T>(mut self, name: &'static str, mut run: impl FnMut() -> T + 'a) -> Self {
        self.walks.push(Walk {
            name,
            run: Box::new(move || {
                black_box(run());
                None
            }),
            best: Duration::MAX,
        });
        self
    }

    fn run(&mut self, rounds: usize) {
        for _ in 0..rounds {
            for walk in &mut self.walks {
                let start = thread_time();
                black_box((walk.run)());
                walk.best = walk.best.min(thread_time() - start);
            }
        }
    }

    /// Whoever decodes every value has to see the same of them.
    fn check(&mut self, decoding: &[&str]) {
        let mut expected = None;
        for walk in &mut self.walks {
            if decoding.contains(&walk.name) {
                let seen = (walk.run)().map(|seen| (seen.images, seen.values));
                assert_eq!(
                    *expected.get_or_insert(seen),
                    seen,
                    "{}: {}",
                    self.title,
                    walk.name
                );
            }
        }
    }

    fn best(&self, name: &str) -> Duration {
        let walk = self.walks.iter().find(|walk| walk.name == name);
        walk.unwrap_or_else(|| panic!("no walk {name}")).best
    }

    fn print(&self) {
        eprintln!("{} ({} MB)", self.title, self.bytes / 1_000_000);
        for walk in &self.walks {
            let rate = self.bytes as f64 / walk.best.as_secs_f64() / 1e6;
            eprintln!("  {:<40} {rate:>8.0} MB/s", walk.name);
        }
    }

    /// How many times as long `other` takes as `ours`.
    fn ratio(&self, ours: &str, other: &str) -> String {
        let ratio = self.best(other).as_secs_f64() / self.best(ours).as_secs_f64();
        if ratio < 10.0 {
            format!("{ratio:.1} x")
        } else {
            format!("{ratio:.0} x")
        }
    }
}

/// Processor time of this thread.
fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

const VALUES: &str = "rejoin, every value";
const TRANSACTIONS: &str = "rejoin, whole transactions";
const COMMON: &str = "mysql_common, every value";
const COMMON_READ: &str = "mysql_common, events only";
const CONNECTOR: &str = "mysql-binlog-connector-rust, every value";
const CDC: &str = "mysql_cdc, every value";
const ZSTD: &str = "zstd alone";
const CHECKSUMS: &str = "rejoin, checksums";

fn main() {
    let mut arguments = std::env::args().skip(1);
    let directory = arguments.next().expect("DIRECTORY");
    let rounds = arguments
        .next()
        .map_or(15, |text| text.parse().expect("ROUNDS"));
    let log = |name: &str| {
        let path = format!("{directory}/{name}.binlog");
        std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
    };
    let (oltp, bulk, compressed) = (log("oltp"), log("bulk"), log("compressed"));
    let payloads = limits::payloads(&compressed);

    let mut small = with_ours("small transactions", &oltp)
        .walk(COMMON_READ, || rivals::mysql_common::read(&oltp))
        .walk(COMMON, || rivals::mysql_common::values(&oltp))
        .walk(CONNECTOR, || rivals::connector::values(&oltp))
        .walk(CDC, || rivals::mysql_cdc::values(&oltp));
    let mut wide = with_ours("bulk", &bulk)
        .walk(COMMON_READ, || rivals::mysql_common::read(&bulk))
        .walk(COMMON, || rivals::mysql_common::values(&bulk))
        .walk(CONNECTOR, || rivals::connector::values(&bulk));
    let mut packed = with_ours("compressed", &compressed)
        .walk(COMMON, || rivals::mysql_common::values(&compressed))
        .walk(CONNECTOR, || rivals::connector::values(&compressed))
        .limit(ZSTD, || limits::zstd(&payloads));
    for course in [&mut small, &mut wide, &mut packed] {
        course.check(&[VALUES, COMMON, CONNECTOR, CDC]);
        course.run(rounds);
        course.print();
    }
    let zstd_share = packed.best(ZSTD).as_secs_f64() / packed.best(VALUES).as_secs_f64() * 100.0;

    println!("| | small transactions | bulk | compressed |");
    println!("|---|---|---|---|");
    println!(
        "| every value, `mysql_common` | {} | {} | {} |",
        small.ratio(VALUES, COMMON),
        wide.ratio(VALUES, COMMON),
        packed.ratio(VALUES, COMMON)
    );
    println!(
        "| every value, `mysql-binlog-connector-rust` | {} | {} | {} |",
        small.ratio(VALUES, CONNECTOR),
        wide.ratio(VALUES, CONNECTOR),
        packed.ratio(VALUES, CONNECTOR)
    );
    println!(
        "| every value, `mysql_cdc` | {} | fails | not expanded |",
        small.ratio(VALUES, CDC)
    );
    println!(
        "| whole transactions, against bare reading of events by `mysql_common` | {} | {} | |",
        small.ratio(TRANSACTIONS, COMMON_READ),
        wide.ratio(TRANSACTIONS, COMMON_READ)
    );
    println!("Of the time for the compressed log {zstd_share:.0} % is zstd's own.");
}

/// What every log is measured with.
fn with_ours<'a>(title: &'static str, log: &'a [u8]) -> Course<'a> {
    Course::new(title, log)
        .limit("copying", || limits::copy(log))
        .limit("one checksum of all", || limits::checksum(log))
        .walk("rejoin, headers", || {
            ours::headers(log).expect("a sound log")
        })
        .walk(CHECKSUMS, || ours::checksums(log).expect("a sound log"))
        .walk(TRANSACTIONS, || {
            ours::transactions(log).expect("a sound log")
        })
        .walk(VALUES, || ours::values(log).expect("a sound log"))
}
