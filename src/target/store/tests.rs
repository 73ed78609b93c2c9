mod reading;
mod speed;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs;
use std::path::Path;

use super::*;
use crate::sample::Source;

// Compiled for each kind of store.
#[allow(clippy::duplicate_mod)]
#[path = "../tables/tests.rs"]
mod transactions;

// Compiled for each kind of store.
#[allow(clippy::duplicate_mod)]
#[path = "../tables/key_tests.rs"]
mod keys;

use transactions::{delete, dump, insert, items, memory_directory, source, update};

/// Has what was applied read from elsewhere when the store is opened next.
fn checkpoint(store: &mut Store) {
    store.checkpoint().unwrap();
    let newest = super::checkpoint::newest(store.directory()).unwrap();
    let newest = newest.expect("a checkpoint that can be read");
    assert_eq!(newest.commit_number, store.state.commit_number);
}

fn with_workers(directory: &Path, workers: usize) -> Store {
    let options = StoreOptions {
        replica_parallel_workers: workers,
        ..StoreOptions::default()
    };
    Store::open_with(directory, options).unwrap()
}

fn read_only(directory: &Path) -> Snapshot {
    Store::open_read_only(directory).unwrap()
}

#[test]
fn only_one_process_writes() {
    let directory = memory_directory();
    let store = Store::open(directory.path()).unwrap();
    let error = Store::open(directory.path()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TargetLocked);
    let snapshot = read_only(directory.path());
    assert_eq!(snapshot.tables().count(), 0);
    drop(store);
    Store::open(directory.path()).unwrap();
    let nowhere = directory.path().join("nothing");
    let error = Store::open_read_only(&nowhere).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TargetIo);
}

#[test]
fn damaged_checkpoints_are_passed_over() {
    let directory = memory_directory();
    let mut store = Store::open(directory.path()).unwrap();
    let mut source = source();
    for id in 0..300 {
        source.rows(&[insert(id, "name")]);
    }
    store.apply(&source.take()).unwrap();
    store.checkpoint().unwrap();
    source.rows(&[insert(1000, "later")]);
    store.apply(&source.take()).unwrap();
    store.checkpoint().unwrap();
    let expected = dump(&store.reader().snapshot());
    drop(store);
    let newest = directory.path().join("checkpoint.000000000303");
    let whole = fs::read(&newest).unwrap();
    for at in (0..whole.len()).step_by(101) {
        for cut in [false, true] {
            let mut bytes = whole.clone();
            if cut {
                bytes.truncate(at);
            } else {
                bytes[at] ^= 4;
            }
            fs::write(&newest, bytes).unwrap();
            assert_eq!(dump(&read_only(directory.path())), expected);
        }
    }
    let names = fs::read_dir(directory.path()).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let kept = names.filter(|name| name.starts_with("checkpoint")).count();
    assert_eq!(kept, 2);
}

#[test]
fn a_log_that_ends_before_its_checkpoint_is_damaged() {
    let directory = memory_directory();
    let mut store = Store::open(directory.path()).unwrap();
    let mut source = source();
    source.rows(&[insert(1, "one")]);
    store.apply(&source.take()).unwrap();
    store.checkpoint().unwrap();
    drop(store);
    let log = directory.path().join("binlog.000001");
    let whole = fs::read(&log).unwrap();
    let mut zeros = whole[..whole.len() - 40].to_vec();
    zeros.resize(whole.len() + 1000, 0);
    for image in [&whole[..whole.len() - 1], &zeros] {
        fs::write(&log, image).unwrap();
        for error in [
            Store::open(directory.path()).map(drop).unwrap_err(),
            Store::open_read_only(directory.path())
                .map(drop)
                .unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::TargetCorrupt, "{error}");
        }
    }
    fs::remove_file(&log).unwrap();
    let error = Store::open(directory.path()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TargetIo, "{error}");
    fs::write(&log, &whole).unwrap();
    assert_eq!(dump(&read_only(directory.path())), "1\tone\tNULL\n");
}

/// What a model of the table holds after each of a source's transactions.
type Model = BTreeMap<i64, String>;

fn lines(model: &Model) -> String {
    let line = |(id, name): (&i64, &String)| format!("{id}\t{name}\tNULL\n");
    model.iter().map(line).collect()
}

/// `count` transactions of random changes that fit, and the model after each.
fn random_transactions(source: &mut Source, count: usize, seed: u64) -> Vec<Model> {
    let mut random = seed | 1;
    let mut next = move |bound: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % bound
    };
    let mut model = Model::new();
    let mut models = Vec::new();
    for number in 0..count {
        let mut changes = Vec::new();
        for _ in 0..=next(4) {
            let id = next(60) as i64;
            let name = format!("{number}-{}", "x".repeat(next(120) as usize));
            let deletes = next(2) == 0;
            match model.entry(id) {
                Entry::Vacant(free) => {
                    changes.push(insert(id, &name));
                    free.insert(name);
                }
                Entry::Occupied(taken) if deletes => {
                    changes.push(delete(id));
                    taken.remove();
                }
                Entry::Occupied(mut taken) => {
                    changes.push(update(id, &name));
                    taken.insert(name);
                }
            }
        }
        source.rows(&changes);
        models.push(model.clone());
    }
    models
}

/// Every operation on the disk fails in its turn; whatever had been acknowledged is there after a
/// restart, and the rows are exactly those of the GTIDs that the store names.
#[test]
fn after_any_fault_rows_and_gtids_belong_together() {
    after_any_fault(JournalOptions::default());
}

#[test]
fn after_any_fault_they_do_where_the_log_is_written_ahead() {
    after_any_fault(JournalOptions {
        write_ahead_bytes: 1000,
        keep_bytes: Some(5000),
        ..JournalOptions::default()
    });
}

fn after_any_fault(journal: JournalOptions) {
    let options = StoreOptions {
        journal: JournalOptions {
            segment_bytes: 3000,
            ..journal
        },
        checkpoint_log_bytes: 1000,
        ..StoreOptions::default()
    };
    for for_good in [false, true] {
        for n in 0..1000 {
            let directory = memory_directory();
            let disk = Disk::failing_at(n, for_good);
            let mut models = Vec::new();
            let mut acknowledged = 0;
            let outcome = (|| {
                let mut store = Store::open_on(disk.clone(), directory.path(), options.clone())?;
                let mut source = source();
                store.apply(&source.take())?;
                acknowledged = 2;
                for group in 0..6 {
                    models.extend(random_transactions(&mut source, 5, group * 77 + 5));
                    // Each group starts from an empty table of its own.
                    source.statement("TRUNCATE TABLE items");
                    models.push(Model::new());
                    store.apply(&source.take())?;
                    acknowledged += 6;
                    if group % 2 == 1 {
                        // A checkpoint that fails is no fault of the log.
                        let _ = store.checkpoint();
                    }
                }
                Ok::<_, Error>(())
            })();
            let failed = disk.has_failed();
            if let Err(error) = outcome {
                assert_eq!(error.kind(), ErrorKind::TargetIo, "operation {n}: {error}");
            }
            let store = Store::open_with(directory.path(), options.clone()).unwrap();
            let count = store.gtid_executed().count();
            assert!(count >= acknowledged, "operation {n}");
            let snapshot = store.reader().snapshot();
            match count.checked_sub(3) {
                Some(last) => assert_eq!(dump(&snapshot), lines(&models[last as usize])),
                None => assert!(
                    snapshot
                        .tables()
                        .all(|table| snapshot.row_count(table) == Some(0))
                ),
            }
            if !failed {
                assert!(n > 30);
                break;
            }
        }
    }
}
