//! Readers beside an applier at full speed: no read sees half a transaction, and none waits for the
//! applier.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rejoin::binlog::Value;
use rejoin::target::Target;
use rejoin::target::schema::TableName;
use rejoin::target::store::{Reader, Snapshot, Store};

use crate::sample::{CREATE_TABLE, Change, Item, Source};

/// Rows `2n` and `2n + 1` always have the same name, in every transaction.
const PAIRS: i64 = 20_000;
/// More than this machine has processors for: what they see is what is checked then, not when.
const CROWD: usize = 4;
const TIME: Duration = Duration::from_secs(2);

fn insert(id: i64) -> Change {
    Change::Insert(Item::new(id, "0"))
}

fn update(id: i64, from: &str, to: &str) -> Change {
    Change::Update(Item::new(id, from), Item::new(id, to))
}

fn name(snapshot: &Snapshot, table: &TableName, id: i64) -> Vec<u8> {
    let row = snapshot.find(table, &[id.into()]).unwrap();
    let row = row.unwrap_or_else(|| panic!("row {id} is not there"));
    match row.values().unwrap()[1] {
        Value::Bytes(name) => name.to_vec(),
        ref other => panic!("{other:?}"),
    }
}

/// Reads pairs until it is told to stop; gives the time of each pair's read, sorted, in nanoseconds.
fn read(reader: &Reader, stop: &AtomicBool, seed: i64) -> Vec<u64> {
    let table = TableName::new("shop", "items");
    let mut times = Vec::new();
    let mut pair = seed;
    let mut newest = 0;
    while !stop.load(Ordering::Relaxed) {
        pair = (pair * 31 + 7) % PAIRS;
        let begun = Instant::now();
        let snapshot = reader.snapshot();
        let first = name(&snapshot, &table, 2 * pair);
        let second = name(&snapshot, &table, 2 * pair + 1);
        times.push(begun.elapsed().as_nanos() as u64);
        assert_eq!(first, second, "half a transaction, at pair {pair}");
        assert!(snapshot.commit_number() >= newest, "a reader went back");
        newest = snapshot.commit_number();
        if times.len() % 500 == 0 {
            let rows = snapshot.range(&table, &[(2 * pair).into()], &[(2 * pair + 99).into()]);
            let rows: Vec<_> = rows.unwrap().map(|row| row.image()[9..].to_vec()).collect();
            assert!(
                rows.chunks(2).all(|pair| pair[0] == pair[1]),
                "half a transaction in a range"
            );
        }
    }
    times.sort_unstable();
    times
}

fn readers(count: usize, reader: &Reader, work: impl FnOnce()) -> Vec<u64> {
    let stop = Arc::new(AtomicBool::new(false));
    let threads: Vec<_> = (1..=count as i64)
        .map(|seed| {
            let (reader, stop) = (reader.clone(), Arc::clone(&stop));
            thread::spawn(move || read(&reader, &stop, seed))
        })
        .collect();
    work();
    stop.store(true, Ordering::Relaxed);
    let times = threads
        .into_iter()
        .flat_map(|thread| thread.join().unwrap());
    let mut times: Vec<u64> = times.collect();
    times.sort_unstable();
    times
}

#[test]
#[allow(clippy::print_stdout)]
fn no_read_sees_half_a_transaction_beside_a_full_speed_catch_up() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = Store::open(directory.path()).unwrap();
    let reader = store.reader();
    let mut source = Source::new();
    source.statement("CREATE DATABASE shop");
    source.statement(CREATE_TABLE);
    for chunk in 0..PAIRS / 100 {
        let rows: Vec<_> = (chunk * 200..(chunk + 1) * 200).map(insert).collect();
        source.rows(&rows);
    }
    store.apply(&source.take()).unwrap();
    let at_rest = readers(1, &reader, || thread::sleep(TIME / 4));

    let mut transactions = 0u64;
    let mut names = vec![0u64; PAIRS as usize];
    let mut catch_up = || {
        let begun = Instant::now();
        let mut pair = 1;
        while begun.elapsed() < TIME {
            for _ in 0..500 {
                pair = (pair * 17 + 3) % PAIRS;
                let known = &mut names[pair as usize];
                let (from, to) = (known.to_string(), (*known + 1).to_string());
                *known += 1;
                source.rows(&[
                    update(2 * pair, &from, &to),
                    update(2 * pair + 1, &from, &to),
                ]);
            }
            let batch = source.take();
            transactions += batch.len() as u64;
            store.apply(&batch).unwrap();
        }
    };
    let busy = readers(1, &reader, &mut catch_up);
    let crowded = readers(CROWD, &reader, &mut catch_up);
    let us =
        |times: &[u64], per_mille: usize| times[(times.len() - 1) * per_mille / 1000] as f64 / 1e3;
    for (state, times) in [
        ("one reader at rest", &at_rest),
        ("one reader beside the applier", &busy),
        ("four readers beside the applier", &crowded),
    ] {
        println!(
            "{state}: {} reads of a pair: p50 {:.1} us, p99 {:.1}, p99.9 {:.1}, max {:.1}",
            times.len(),
            us(times, 500),
            us(times, 990),
            us(times, 999),
            us(times, 1000)
        );
    }
    println!("{transactions} transactions applied meanwhile");
    assert!(
        transactions > 1000 && busy.len() > 1000 && crowded.len() > 1000,
        "nothing was tested"
    );
    assert_eq!(
        reader.snapshot().commit_number(),
        store.gtid_executed().count()
    );
}
