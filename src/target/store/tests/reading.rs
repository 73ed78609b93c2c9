//! Rows by their keys, waiting for commits, and the bound on memory.

use std::thread;
use std::time::Duration;

use super::*;
use crate::binlog::Value;
use crate::target::schema::TableName;

fn id(row: Row<'_>) -> i64 {
    match row.values().unwrap()[0] {
        Value::Int(id) => id,
        ref other => panic!("{other:?}"),
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
    source.statement("CREATE TABLE bare (a INT)");
    store.apply(&source.take()).unwrap();
    let snapshot = store.reader().snapshot();
    let table = items();

    assert_eq!(id(snapshot.find(&table, &[2.into()]).unwrap().unwrap()), 2);
    assert_eq!(
        id(snapshot.find(&table, &["-3".into()]).unwrap().unwrap()),
        -3
    );
    assert!(snapshot.find(&table, &[3.into()]).unwrap().is_none());
    let range = |from: &[_], to: &[_]| -> Vec<i64> {
        snapshot.range(&table, from, to).unwrap().map(id).collect()
    };
    assert_eq!(range(&[], &[]), [-3, 1, 2, 300]);
    assert_eq!(range(&[1.into()], &[]), [1, 2, 300]);
    assert_eq!(range(&[(-100).into()], &[2.into()]), [-3, 1, 2]);
    assert!(range(&[3.into()], &[299.into()]).is_empty());

    let bare = TableName::new("shop", "bare");
    for error in [
        snapshot.find(&table, &[]).unwrap_err(),
        snapshot.find(&table, &[1.into(), 2.into()]).unwrap_err(),
        snapshot.find(&table, &["one".into()]).unwrap_err(),
        snapshot.find(&table, &[u64::MAX.into()]).unwrap_err(),
        snapshot.find(&bare, &[1.into()]).unwrap_err(),
        snapshot
            .find(&TableName::new("no", "table"), &[])
            .unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Schema, "{error}");
    }
}

#[test]
fn each_commit_wakes_those_who_wait_for_one() {
    let directory = memory_directory();
    let mut store = Store::open(directory.path()).unwrap();
    let reader = store.reader();
    let mut source = source();
    let batch = source.take();
    let seen = reader.snapshot().commit_number();
    assert!(reader.wait_newer(seen, Duration::from_millis(1)).is_none());
    let waiting = thread::spawn(move || {
        let snapshot = reader.wait_newer(seen, Duration::from_secs(60));
        snapshot.map(|snapshot| snapshot.commit_number())
    });
    store.apply(&batch).unwrap();
    assert_eq!(waiting.join().unwrap(), Some(seen + 2));
}

#[test]
fn the_bound_on_memory_refuses_growth_and_loses_nothing() {
    let directory = memory_directory();
    let options = StoreOptions {
        memory_bytes: Some(1000),
        ..StoreOptions::default()
    };
    let mut store = Store::open_with(directory.path(), options.clone()).unwrap();
    let mut source = source();
    source.rows(&[insert(1, "x"), insert(2, &"y".repeat(200))]);
    store.apply(&source.take()).unwrap();
    let before = (store.gtid_executed(), dump(&store.reader().snapshot()));

    source.rows(&[insert(3, &"z".repeat(250)), insert(4, &"z".repeat(250))]);
    source.rows(&[insert(5, &"z".repeat(250)), insert(6, &"z".repeat(250))]);
    let refused = source.take();
    for _ in 0..2 {
        let error = store.apply(&refused).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TargetIo);
        assert!(
            error.message().contains("memory_bytes allows 1000"),
            "{error}"
        );
        let after = (store.gtid_executed(), dump(&store.reader().snapshot()));
        assert_eq!(after, before);
    }
    drop(store);
    // With more memory it goes on from where it stood; and what shrinks is never refused.
    let more = StoreOptions {
        memory_bytes: None,
        ..options.clone()
    };
    let mut store = Store::open_with(directory.path(), more).unwrap();
    assert_eq!(store.gtid_executed(), before.0);
    store.apply(&refused).unwrap();
    drop(store);
    let mut store = Store::open_with(directory.path(), options).unwrap();
    source.rows(&[delete(3)]);
    store.apply(&source.take()).unwrap();
    assert_eq!(store.reader().snapshot().row_count(&items()), Some(5));
}
