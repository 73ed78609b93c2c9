mod reading;
mod speed;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs;
use std::path::Path;

use super::*;
use crate::binlog::EventType;
use crate::sample::{CREATE_TABLE, Change, Item, Source};
use crate::target::schema::TableName;

/// A directory without the waiting for a disk, where the machine has one.
fn memory_directory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().unwrap())
}

fn items() -> TableName {
    TableName::new("shop", "items")
}

fn insert(id: i64, name: &str) -> Change {
    Change::Insert(Item::new(id, name))
}

fn delete(id: i64) -> Change {
    Change::Delete(Item::new(id, ""))
}

fn update(id: i64, name: &str) -> Change {
    Change::Update(Item::new(id, ""), Item::new(id, name))
}

/// A source that has made the table.
fn source() -> Source {
    let mut source = Source::new();
    source.statement("CREATE DATABASE shop");
    source.statement(CREATE_TABLE);
    source
}

fn dump(snapshot: &Snapshot) -> String {
    let mut out = Vec::new();
    snapshot.dump(&items(), &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn read_only(directory: &Path) -> Snapshot {
    Store::open_read_only(directory).unwrap()
}

#[test]
fn rows_are_there_when_apply_returns_and_after_a_restart() {
    let directory = memory_directory();
    let mut store = Store::open(directory.path()).unwrap();
    let reader = store.reader();
    let mut source = source();
    source.rows(&[insert(2, "two"), insert(-1, "minus one"), insert(1, "one")]);
    source.rows(&[update(2, "deux"), delete(1)]);
    source.rows(&[Change::Update(Item::new(2, "deux"), Item::new(7, "seven"))]);
    let note = Item {
        id: 9,
        name: None,
        note: Some(vec![b'n'; 5000]),
    };
    source.rows(&[Change::Insert(note)]);
    store.apply(&source.take()).unwrap();

    let expected = format!(
        "-1\tminus one\tNULL\n7\tseven\tNULL\n9\tNULL\t{}\n",
        "n".repeat(5000)
    );
    let snapshot = reader.snapshot();
    assert_eq!(dump(&snapshot), expected);
    assert_eq!(snapshot.commit_number(), 6);
    assert_eq!(snapshot.gtid_executed().count(), 6);
    assert_eq!(store.gtid_executed(), *snapshot.gtid_executed());
    assert_eq!(dump(&read_only(directory.path())), expected);

    for with_checkpoint in [false, true, true] {
        if with_checkpoint {
            store.checkpoint().unwrap();
        }
        drop(store);
        store = Store::open(directory.path()).unwrap();
        let snapshot = store.reader().snapshot();
        assert_eq!(dump(&snapshot), expected);
        assert_eq!(snapshot.commit_number(), 6);
        assert_eq!(snapshot.gtid_executed().count(), 6);
    }
    assert_eq!(dump(&read_only(directory.path())), expected);
}

#[test]
fn a_conflict_leaves_the_transactions_before_it_and_nothing_else() {
    let conflicts: [(&str, Vec<Change>); 4] = [
        (
            "is there already",
            vec![insert(5, "new"), insert(1, "again")],
        ),
        (
            "to delete is not there",
            vec![update(1, "changed"), delete(77)],
        ),
        ("to update is not there", vec![delete(1), update(1, "gone")]),
        (
            "is there already",
            vec![
                insert(3, "three"),
                Change::Update(Item::new(3, ""), Item::new(1, "taken")),
            ],
        ),
    ];
    for (message, changes) in conflicts {
        let directory = memory_directory();
        let mut store = Store::open(directory.path()).unwrap();
        let mut source = source();
        source.rows(&[insert(1, "one")]);
        store.apply(&source.take()).unwrap();
        source.rows(&[insert(2, "two")]);
        source.rows(&changes);
        source.rows(&[insert(8, "never")]);
        let error = store.apply(&source.take()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict);
        assert!(error.message().contains(message), "{error}");
        assert!(error.message().contains("shop.items"), "{error}");
        assert_eq!(error.gtid(), Some(&source.gtid(5)));

        let expected = "1\tone\tNULL\n2\ttwo\tNULL\n";
        assert_eq!(dump(&store.reader().snapshot()), expected);
        assert_eq!(store.gtid_executed().count(), 4);
        // It takes the right transaction after that, and has the same after a restart.
        source.skip_to(4);
        source.rows(&[insert(4, "four")]);
        store.apply(&source.take()).unwrap();
        drop(store);
        let store = Store::open(directory.path()).unwrap();
        let expected = format!("{expected}4\tfour\tNULL\n");
        assert_eq!(dump(&store.reader().snapshot()), expected);
        assert_eq!(store.gtid_executed().count(), 5);
    }
}

#[test]
fn snapshots_do_not_change() {
    let directory = memory_directory();
    let mut store = Store::open(directory.path()).unwrap();
    let reader = store.reader();
    let mut source = source();
    let mut snapshots = Vec::new();
    for id in 0..200 {
        source.rows(&[insert(id, "first")]);
        if id % 3 == 2 {
            source.rows(&[update(id - 1, "second"), delete(id - 2)]);
        }
        store.apply(&source.take()).unwrap();
        let snapshot = reader.snapshot();
        snapshots.push((dump(&snapshot), snapshot));
    }
    source.statement("TRUNCATE TABLE items");
    source.statement("DROP TABLE items");
    store.apply(&source.take()).unwrap();
    assert_eq!(reader.snapshot().tables().count(), 0);
    for (expected, snapshot) in &snapshots {
        assert_eq!(dump(snapshot), *expected);
    }
}

#[test]
fn schema_changes_keep_their_rows() {
    let directory = memory_directory();
    let mut store = Store::open(directory.path()).unwrap();
    let mut source = source();
    source.rows(&[insert(1, "one"), insert(2, "two")]);
    source.statement("RENAME TABLE items TO old, shop.old TO shop.older");
    source.statement(CREATE_TABLE);
    source.rows(&[insert(10, "ten")]);
    source.statement("ALTER TABLE older ADD COLUMN extra INT NOT NULL DEFAULT 7 AFTER id");
    source.statement("CREATE USER 'u'@'%'");
    source.statement("CREATE DATABASE other");
    source.statement("CREATE TABLE other.t (a INT)");
    source.statement("DROP DATABASE other");
    store.apply(&source.take()).unwrap();
    for _ in 0..2 {
        let snapshot = store.reader().snapshot();
        let names: Vec<_> = snapshot.tables().map(ToString::to_string).collect();
        assert_eq!(names, ["shop.items", "shop.older"]);
        assert_eq!(dump(&snapshot), "10\tten\tNULL\n");
        let mut out = Vec::new();
        snapshot
            .dump(&TableName::new("shop", "older"), &mut out)
            .unwrap();
        assert_eq!(out, b"1\t7\tone\tNULL\n2\t7\ttwo\tNULL\n");
        store.checkpoint().unwrap();
        drop(store);
        store = Store::open(directory.path()).unwrap();
    }
}

#[test]
fn a_table_without_a_key_finds_equal_rows_one_by_one() {
    let directory = memory_directory();
    let mut store = Store::open(directory.path()).unwrap();
    let mut source = Source::new();
    source.statement("CREATE DATABASE shop");
    source.statement("CREATE TABLE items (id BIGINT NOT NULL, name VARCHAR(255) CHARACTER SET latin1, note LONGTEXT)");
    source.rows(&[
        insert(2, "b"),
        insert(1, "a"),
        insert(2, "b"),
        insert(2, "b"),
    ]);
    source.rows(&[Change::Delete(Item::new(2, "b"))]);
    source.rows(&[Change::Update(Item::new(2, "b"), Item::new(3, "c"))]);
    store.apply(&source.take()).unwrap();
    for _ in 0..3 {
        assert_eq!(
            dump(&store.reader().snapshot()),
            "1\ta\tNULL\n2\tb\tNULL\n3\tc\tNULL\n"
        );
        store.checkpoint().unwrap();
        drop(store);
        store = Store::open(directory.path()).unwrap();
    }
    let executed = store.gtid_executed();
    source.rows(&[Change::Delete(Item::new(2, "other"))]);
    let error = store.apply(&source.take()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert_eq!(store.gtid_executed(), executed);
    // The next number goes on behind those of before the restart.
    source.skip_to(5);
    source.rows(&[insert(0, "z")]);
    store.apply(&source.take()).unwrap();
    assert!(dump(&store.reader().snapshot()).ends_with("0\tz\tNULL\n"));
}

fn xa_prepare(one_phase: bool) -> Vec<u8> {
    let mut body = vec![u8::from(one_phase)];
    body.extend_from_slice(&1u32.to_le_bytes());
    body.extend_from_slice(&3u32.to_le_bytes());
    body.extend_from_slice(&0u32.to_le_bytes());
    body.extend_from_slice(b"abc");
    body
}

#[test]
fn prepared_transactions_wait_for_their_second_phase() {
    for checkpoint in [false, true] {
        for (second, expected) in [
            ("XA COMMIT X'616263',X'',1", "1\tone\tNULL\n"),
            ("XA ROLLBACK X'616263',X'',1", ""),
        ] {
            let directory = memory_directory();
            let mut store = Store::open(directory.path()).unwrap();
            let mut source = source();
            let xid = "X'616263',X'',1";
            source.bracketed(
                &[&format!("XA START {xid}"), &format!("XA END {xid}")],
                &[insert(1, "one")],
                (EventType::XA_PREPARE, &xa_prepare(false)),
            );
            store.apply(&source.take()).unwrap();
            assert_eq!(dump(&store.reader().snapshot()), "");
            assert_eq!(store.reader().snapshot().prepared_count(), 1);
            if checkpoint {
                store.checkpoint().unwrap();
            }
            drop(store);
            let mut store = Store::open(directory.path()).unwrap();
            assert_eq!(store.gtid_executed().count(), 3);
            source.statement(second);
            store.apply(&source.take()).unwrap();
            assert_eq!(dump(&store.reader().snapshot()), expected);
            assert_eq!(store.reader().snapshot().prepared_count(), 0);
            source.statement(second);
            let error = store.apply(&source.take()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Conflict);
        }
    }
}

#[test]
fn rolled_back_changes_are_not_made() {
    let directory = memory_directory();
    let mut store = Store::open(directory.path()).unwrap();
    let mut source = source();
    source.bracketed(
        &["BEGIN", "ROLLBACK"],
        &[insert(1, "one")],
        (EventType::QUERY, b""),
    );
    source.rows(&[insert(2, "two")]);
    store.apply(&source.take()).unwrap();
    assert_eq!(dump(&store.reader().snapshot()), "2\ttwo\tNULL\n");
    assert_eq!(store.gtid_executed().count(), 4);
}

#[test]
fn statements_that_change_rows_are_refused_with_a_remedy() {
    let directory = memory_directory();
    let mut store = Store::open(directory.path()).unwrap();
    let mut source = source();
    source.bracketed(
        &["BEGIN", "INSERT INTO items VALUES (1, 'one', NULL)"],
        &[],
        (EventType::XID, &[0; 8]),
    );
    let error = store.apply(&source.take()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.remedy_text().unwrap().contains("binlog_format=ROW"));
    assert_eq!(store.gtid_executed().count(), 2);
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
    fs::write(&log, &whole[..whole.len() - 1]).unwrap();
    for error in [
        Store::open(directory.path()).map(drop).unwrap_err(),
        Store::open_read_only(directory.path())
            .map(drop)
            .unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::TargetCorrupt, "{error}");
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
    let options = StoreOptions {
        journal: JournalOptions {
            segment_bytes: 3000,
            ..JournalOptions::default()
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

#[test]
fn readers_never_see_half_a_transaction() {
    let directory = memory_directory();
    let mut store = Store::open(directory.path()).unwrap();
    let reader = store.reader();
    let mut source = source();
    // The sum of all versions is the number of the transaction: each moves one from row to row.
    source.rows(&(0..50).map(|id| insert(id, "0")).collect::<Vec<_>>());
    store.apply(&source.take()).unwrap();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            let (reader, done) = (reader.clone(), &done);
            scope.spawn(move || {
                let mut newest = 0;
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    let snapshot = reader.snapshot();
                    assert!(snapshot.commit_number() >= newest);
                    newest = snapshot.commit_number();
                    assert_eq!(snapshot.gtid_executed().count(), newest);
                    let names = snapshot.scan(&items()).unwrap().map(|(_, row)| {
                        let values = row.values().unwrap();
                        let mut text = Vec::new();
                        values[1]
                            .write_text(&Default::default(), &mut text)
                            .unwrap();
                        String::from_utf8(text).unwrap()
                    });
                    let names: Vec<_> = names.collect();
                    assert_eq!(names.len(), 50);
                    assert!(names.iter().all(|name| *name == names[0]), "{names:?}");
                }
            });
        }
        for number in 0..400 {
            for step in 0..3 {
                let name = format!("{number}.{step}");
                source.rows(&(0..50).map(|id| update(id, &name)).collect::<Vec<_>>());
            }
            store.apply(&source.take()).unwrap();
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    let last = source.gtid(1203);
    let waited = reader.wait_for(&GtidSet::from_iter([last]), std::time::Duration::ZERO);
    assert!(waited.is_some());
    let next = GtidSet::from_iter([source.gtid(1204)]);
    assert!(
        reader
            .wait_for(&next, std::time::Duration::from_millis(1))
            .is_none()
    );
}
