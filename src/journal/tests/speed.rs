//! How long a group commit takes, of a log that grows and of one that is written ahead.

use std::time::{Duration, Instant};

use super::*;

/// `cargo test --lib log_speed -- --ignored --nocapture`; `DIRECTORY` in the environment chooses a disk,
/// `COMMITS` how many. All logs take turns, so that what else the disk has to do is the same for all.
#[test]
#[ignore = "measures"]
#[allow(clippy::print_stdout)]
fn log_speed() {
    let commits: i64 = std::env::var("COMMITS").map_or(3000, |commits| commits.parse().unwrap());
    let place = std::env::var("DIRECTORY").unwrap_or_else(|_| ".".to_owned());
    let mut logs = Vec::new();
    for (segment_bytes, segments) in [(1 << 30, "one segment"), (2 << 20, "segments of 2 MiB")] {
        for write_ahead_bytes in [0, 256 << 10, 1 << 20] {
            let directory = tempfile::tempdir_in(&place).unwrap();
            let options = JournalOptions {
                segment_bytes,
                write_ahead_bytes,
                ..JournalOptions::default()
            };
            let (journal, _) = open(directory.path(), &options).unwrap();
            let name = format!("{segments}, {write_ahead_bytes} bytes ahead");
            logs.push((name, journal, directory, Vec::new()));
        }
    }
    let mut source = Source::new();
    for number in 0..commits {
        let note = Some(vec![b'n'; 3800]);
        source.rows(&[Change::Insert(Item {
            note,
            ..Item::new(number, "row")
        })]);
        let group = source.take();
        for (_, journal, _, times) in &mut logs {
            let started = Instant::now();
            append(journal, &group).unwrap();
            times.push(started.elapsed());
        }
    }
    for (name, journal, _, mut times) in logs {
        times.sort_unstable();
        let at = |part: usize| times[times.len() * part / 1000];
        let mean = times.iter().sum::<Duration>() / times.len() as u32;
        println!(
            "{name}: {mean:.2?} a commit; p10 {:.2?}, p50 {:.2?}, p90 {:.2?}, p99 {:.2?}, p99.9 {:.2?}; {} segments",
            at(100),
            at(500),
            at(900),
            at(990),
            at(999),
            journal.end().segment,
        );
    }
}
