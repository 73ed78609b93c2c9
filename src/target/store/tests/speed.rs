//! What a transaction costs, in time of the processor, which other processes do not change.

use std::fs;

use super::{delete, insert, items, source, update};
use crate::target::Target;
use crate::target::store::{Store, StoreOptions};
use crate::transaction::Batch;

/// Nanoseconds that this thread has had a processor.
fn processor_time_ns() -> u64 {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    text.split(' ').next().unwrap().parse().unwrap()
}

/// `cargo test --release --lib store_speed -- --ignored --nocapture`; `ROWS` and `DIRECTORY` in the
/// environment choose another size and place.
#[test]
#[ignore = "measures; needs a release build"]
#[allow(clippy::print_stdout)]
fn store_speed() {
    let rows: i64 = std::env::var("ROWS").map_or(1_000_000, |rows| rows.parse().unwrap());
    let place = std::env::var("DIRECTORY").unwrap_or_else(|_| "/dev/shm".to_owned());
    let directory = tempfile::tempdir_in(place).unwrap();
    let mut store = Store::open(directory.path()).unwrap();
    let mut source = source();
    let name = "n".repeat(180);
    // Keys in a scattered order, so that no two changes of a transaction meet in a leaf.
    let key = |number: i64| number.wrapping_mul(0x9e37_79b9_7f4a_7c15u64 as i64);
    for first in (0..rows).step_by(10_000) {
        for number in (first..first + 10_000).step_by(100) {
            let changes = (number..number + 100).map(|number| insert(key(number), &name));
            source.rows(&changes.collect::<Vec<_>>());
        }
        store.apply(&source.take()).unwrap();
    }
    let (mut low, mut high) = (0, rows);
    for group in [64, 256, 1024, 4096] {
        let count = (60_000 / group) * group;
        let mut batches = Vec::new();
        for _ in 0..count / group {
            for _ in 0..group {
                let changed = low + 1 + (high * 7919) % (high - low - 1);
                let changes = [
                    update(key(changed), &name),
                    insert(key(high), &name),
                    delete(key(low)),
                ];
                source.rows(&changes);
                (low, high) = (low + 1, high + 1);
            }
            batches.push(source.take());
        }
        let bytes: usize = batches.iter().map(Batch::byte_size).sum();
        let started = (processor_time_ns(), std::time::Instant::now());
        for batch in &batches {
            store.apply(batch).unwrap();
        }
        println!(
            "{rows} rows, groups of {group}: {:.2} us of processor a transaction of {} bytes; {:?} in all",
            (processor_time_ns() - started.0) as f64 / 1000.0 / count as f64,
            bytes / count as usize,
            started.1.elapsed() / count as u32,
        );
    }
    let started = std::time::Instant::now();
    store.checkpoint().unwrap();
    println!("checkpoint in {:?}", started.elapsed());
    drop(store);
    let started = std::time::Instant::now();
    let store = Store::open(directory.path()).unwrap();
    println!("opened in {:?}", started.elapsed());
    let snapshot = store.reader().snapshot();
    let started = processor_time_ns();
    let mut found = 0;
    for number in 0..1_000_000 {
        let number = low + (number * 7919) % (high - low);
        let key = ((key(number) as u64) ^ (1 << 63)).to_be_bytes();
        found += usize::from(snapshot.get(&items(), &key).unwrap().is_some());
    }
    let each = (processor_time_ns() - started) / 1_000_000;
    println!("{found} of 1000000 found, {each} ns of processor each");
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let memory = status.lines().find(|line| line.starts_with("VmRSS"));
    println!(
        "{} bytes of keys and rows, {}",
        snapshot.bytes(),
        memory.unwrap()
    );
}

/// Time that all threads of the process have had processors, in hundredths of a second.
fn ticks() -> u64 {
    let text = fs::read_to_string("/proc/self/stat").unwrap();
    let behind_name = text.rsplit(')').next().unwrap();
    let mut fields = behind_name.split_whitespace().skip(11);
    let mut field = || fields.next().unwrap().parse::<u64>().unwrap();
    field() + field()
}

/// `cargo test --release --lib store_workers -- --ignored --nocapture`: the same transactions with one
/// thread and with several, on one table and on four.
#[test]
#[ignore = "measures; needs a release build"]
#[allow(clippy::print_stdout)]
fn store_workers() {
    const ROWS: i64 = 200_000;
    const GROUP: i64 = 1000;
    const GROUPS: u32 = 30;
    let place = std::env::var("DIRECTORY").unwrap_or_else(|_| "/dev/shm".to_owned());
    let directory = tempfile::tempdir_in(place).unwrap();
    let mut source = source();
    let name = "n".repeat(180);
    let key = |number: i64| number.wrapping_mul(0x9e37_79b9_7f4a_7c15u64 as i64);
    let open = |workers| {
        let options = StoreOptions {
            replica_parallel_workers: workers,
            ..StoreOptions::default()
        };
        Store::open_with(directory.path(), options).unwrap()
    };
    let mut store = open(1);
    for table in 1..4 {
        source.statement(&format!("CREATE TABLE items{table} LIKE items"));
    }
    for table in 0..4 {
        source.choose_table(table);
        for first in (0..ROWS).step_by(100) {
            let changes = (first..first + 100).map(|number| insert(key(number), &name));
            source.rows(&changes.collect::<Vec<_>>());
        }
        store.apply(&source.take()).unwrap();
    }
    store.checkpoint().unwrap();
    let mut at = 0;
    for _ in 0..2 {
        for tables in [1, 4] {
            for workers in [1, 2, 4] {
                drop(store);
                store = open(workers);
                let mut batches = Vec::new();
                for _ in 0..GROUPS {
                    for number in 0..GROUP {
                        source.choose_table((number % tables) as u8);
                        let changes = [1, 2, 3]
                            .map(|step| update(key((at * 7919 + step * 50_021) % ROWS), &name));
                        source.rows(&changes);
                        at += 1;
                    }
                    batches.push(source.take());
                }
                let started = (std::time::Instant::now(), ticks());
                for batch in &batches {
                    store.apply(batch).unwrap();
                }
                let count = GROUPS * GROUP as u32;
                println!(
                    "{tables} tables, {workers} workers: {:?} a transaction, {:.1} us of processors",
                    started.0.elapsed() / count,
                    (ticks() - started.1) as f64 * 10_000.0 / f64::from(count)
                );
                store.checkpoint().unwrap();
            }
        }
    }
}
