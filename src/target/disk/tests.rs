use std::fs;
use std::path::Path;

use super::*;
use crate::sample::{CREATE_TABLE, Change, Item, Source};
use crate::target::schema::TableName;

// Compiled for each kind of store.
#[allow(clippy::duplicate_mod)]
#[path = "../tables/tests.rs"]
mod transactions;

// Compiled for each kind of store.
#[allow(clippy::duplicate_mod)]
#[path = "../tables/key_tests.rs"]
mod keys;

// Compiled for each kind of store.
#[allow(clippy::duplicate_mod)]
#[path = "../tables/clone_tests.rs"]
mod cloning;

use transactions::{dump, insert, items, memory_directory, source, update};

/// There is nothing that could be read from elsewhere when the store is opened next.
fn checkpoint(_store: &mut Store) {}

fn with_workers(directory: &Path, workers: usize) -> Store {
    let options = StoreOptions {
        replica_parallel_workers: workers,
        ..StoreOptions::default()
    };
    Store::open_with(directory, options).unwrap()
}

/// A store with data of its own that no donor has.
fn old_store(directory: &Path) -> Store {
    let mut store = Store::open(directory).unwrap();
    let mut source = Source::new();
    source.skip_to(1_000_000);
    source.statement("CREATE DATABASE shop");
    source.statement(CREATE_TABLE);
    source.rows(&[Change::Insert(Item::new(1, "old"))]);
    store.apply(&source.take()).unwrap();
    store
}

/// Rows that the keyspace has, of all tables and of none.
fn rows_in(store: &Store) -> usize {
    let known = store.space.records(&[1]);
    known.count()
}

#[test]
fn only_one_process_writes_and_only_this_kind_of_store() {
    let directory = memory_directory();
    let store = Store::open(directory.path()).unwrap();
    let error = Store::open(directory.path()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TargetLocked);
    drop(store);
    Store::open(directory.path()).unwrap();
    let other = memory_directory();
    drop(crate::target::store::Store::open(other.path()).unwrap());
    let error = Store::open(other.path()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
}

#[test]
fn a_keyspace_that_was_left_half_made_is_made_anew() {
    let directory = memory_directory();
    let unfinished = directory.path().join("keyspace.new");
    fs::create_dir(&unfinished).unwrap();
    fs::write(unfinished.join("lock"), b"").unwrap();
    let mut store = Store::open(directory.path()).unwrap();
    store.apply(&source().take()).unwrap();
    assert!(!unfinished.exists());
}

/// Rows of tables that were dropped, emptied or rewritten go piece by piece, and at the latest when the
/// store is opened; snapshots from before keep them.
#[test]
fn rows_that_belong_to_no_table_are_removed() {
    let directory = memory_directory();
    let mut store = Store::open(directory.path()).unwrap();
    let mut source = source();
    for first in (0..9000).step_by(1000) {
        let rows: Vec<_> = (first..first + 1000).map(|id| insert(id, "x")).collect();
        source.rows(&rows);
    }
    store.apply(&source.take()).unwrap();
    let before = store.reader().snapshot();
    let expected = dump(&before);
    source.statement("ALTER TABLE items MODIFY id INT NOT NULL");
    source.statement("ALTER TABLE items MODIFY id BIGINT NOT NULL");
    store.apply(&source.take()).unwrap();
    assert_eq!(dump(&store.reader().snapshot()), expected);
    assert!(rows_in(&store) > 9000);
    drop(before);
    drop(store);
    let mut store = Store::open(directory.path()).unwrap();
    for _ in 0..20 {
        source.rows(&[update(1, "x")]);
        store.apply(&source.take()).unwrap();
    }
    assert_eq!(rows_in(&store), 9000);
    assert_eq!(dump(&store.reader().snapshot()), expected);
    let before = store.reader().snapshot();
    source.statement("TRUNCATE TABLE items");
    source.rows(&[insert(1, "again")]);
    store.apply(&source.take()).unwrap();
    for _ in 0..20 {
        source.rows(&[update(1, "again")]);
        store.apply(&source.take()).unwrap();
    }
    assert_eq!(rows_in(&store), 1);
    assert_eq!(dump(&before), expected);
    assert_eq!(dump(&store.reader().snapshot()), "1\tagain\tNULL\n");
}

/// A journal that is cut, zeroed or overwritten anywhere: what is opened is what a whole number of group
/// commits has left, with its GTID set, or an error.
#[test]
fn a_damaged_journal_gives_whole_groups_or_an_error() {
    let directory = memory_directory();
    let mut store = Store::open(directory.path()).unwrap();
    let mut source = source();
    store.apply(&source.take()).unwrap();
    let mut states = vec![String::new()];
    for group in 0..12 {
        source.rows(&[insert(group, "whole"), insert(100 + group, "whole")]);
        source.rows(&[update(group, "half"), insert(200 + group, "x")]);
        source.rows(&[update(group, "whole")]);
        store.apply(&source.take()).unwrap();
        states.push(dump(&store.reader().snapshot()));
    }
    drop(store);
    let keyspace = directory.path().join(KEYSPACE);
    let mut journals: Vec<_> = fs::read_dir(&keyspace)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "jnl"))
        .collect();
    journals.sort();
    let journal = journals.pop().unwrap();
    let whole = fs::read(&journal).unwrap();
    let used = whole.len() - whole.iter().rev().take_while(|byte| **byte == 0).count();
    let mut found = [0; 3];
    for at in (0..used).step_by((used / 60).max(1)) {
        for (way, count) in found.iter_mut().enumerate() {
            let mut bytes = whole.clone();
            match way {
                0 => bytes.truncate(at),
                1 => bytes[at..].fill(0),
                _ => bytes[at] ^= 0x10,
            }
            let copy = memory_directory();
            copy_directory(directory.path(), copy.path());
            let name = journal.strip_prefix(directory.path()).unwrap();
            fs::write(copy.path().join(name), bytes).unwrap();
            let store = match Store::open(copy.path()) {
                Ok(store) => store,
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::TargetCorrupt, "{error}");
                    continue;
                }
            };
            *count += 1;
            let executed = store.gtid_executed().count();
            let snapshot = store.reader().snapshot();
            if executed == 0 {
                assert_eq!(snapshot.tables().count(), 0, "at {at}, way {way}");
                continue;
            }
            assert_eq!((executed - 2) % 3, 0, "at {at}, way {way}: {executed}");
            let expected = &states[(executed as usize - 2) / 3];
            assert_eq!(dump(&snapshot), *expected, "at {at}, way {way}");
        }
    }
    assert!(found[0] > 50 && found[1] > 50, "{found:?}");
}

fn copy_directory(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.metadata().unwrap().is_dir() {
            fs::create_dir_all(&target).unwrap();
            copy_directory(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), &target).unwrap();
        }
    }
}

#[test]
fn rows_are_found_by_the_values_of_their_keys() {
    let directory = memory_directory();
    let mut store = Store::open(directory.path()).unwrap();
    let mut source = source();
    source.rows(&[
        insert(-3, "a"),
        insert(1, "b"),
        insert(2, "c"),
        insert(300, "d"),
    ]);
    store.apply(&source.take()).unwrap();
    let snapshot = store.reader().snapshot();
    let table = items();
    let id = |row: OwnedRow| format!("{:?}", row.values().unwrap()[0]);
    let found = snapshot.find(&table, &["-3".into()]).unwrap().map(id);
    assert_eq!(found.as_deref(), Some("Int(-3)"));
    assert!(snapshot.find(&table, &[3.into()]).unwrap().is_none());
    let range = snapshot.range(&table, &[(-100).into()], &[2.into()]);
    let ids: Vec<_> = range.unwrap().map(|row| id(row.unwrap())).collect();
    assert_eq!(ids, ["Int(-3)", "Int(1)", "Int(2)"]);
    let error = snapshot
        .find(&TableName::new("no", "table"), &[])
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Schema);
}
