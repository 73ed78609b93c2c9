//! What every embedded target does with transactions: compiled into the tests of each of them, where
//! `Store` and `Snapshot` are its own.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::Duration;

use crate::ErrorKind;
use crate::binlog::EventType;
use crate::gtid::GtidSet;
use crate::sample::{CREATE_TABLE, Change, Item, Source};
use crate::target::Target;
use crate::target::schema::TableName;

use super::super::{Snapshot, Store};
use super::{checkpoint, with_workers};

/// A directory without the waiting for a disk, where the machine has one.
pub(super) fn memory_directory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().unwrap())
}

pub(super) fn items() -> TableName {
    TableName::new("shop", "items")
}

pub(super) fn insert(id: i64, name: &str) -> Change {
    Change::Insert(Item::new(id, name))
}

pub(super) fn delete(id: i64) -> Change {
    Change::Delete(Item::new(id, ""))
}

pub(super) fn update(id: i64, name: &str) -> Change {
    Change::Update(Item::new(id, ""), Item::new(id, name))
}

/// A source that has made the table.
pub(super) fn source() -> Source {
    let mut source = Source::new();
    source.statement("CREATE DATABASE shop");
    source.statement(CREATE_TABLE);
    source
}

pub(super) fn dump(snapshot: &Snapshot) -> String {
    let mut out = Vec::new();
    snapshot.dump(&items(), &mut out).unwrap();
    String::from_utf8(out).unwrap()
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
    drop((reader, snapshot));

    for with_checkpoint in [false, true, true] {
        if with_checkpoint {
            checkpoint(&mut store);
        }
        drop(store);
        store = Store::open(directory.path()).unwrap();
        let snapshot = store.reader().snapshot();
        assert_eq!(dump(&snapshot), expected);
        assert_eq!(snapshot.commit_number(), 6);
        assert_eq!(snapshot.gtid_executed().count(), 6);
    }
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
        drop(snapshot);
        checkpoint(&mut store);
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
        checkpoint(&mut store);
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

pub(super) fn xa_prepare(one_phase: bool) -> Vec<u8> {
    let mut body = vec![u8::from(one_phase)];
    body.extend_from_slice(&1u32.to_le_bytes());
    body.extend_from_slice(&3u32.to_le_bytes());
    body.extend_from_slice(&0u32.to_le_bytes());
    body.extend_from_slice(b"abc");
    body
}

#[test]
fn prepared_transactions_wait_for_their_second_phase() {
    for with_checkpoint in [false, true] {
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
            if with_checkpoint {
                checkpoint(&mut store);
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
fn readers_never_see_half_a_transaction() {
    let directory = memory_directory();
    let mut store = Store::open(directory.path()).unwrap();
    let reader = store.reader();
    let mut source = source();
    // The sum of all versions is the number of the transaction: each moves one from row to row.
    source.rows(&(0..50).map(|id| insert(id, "0")).collect::<Vec<_>>());
    store.apply(&source.take()).unwrap();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..3 {
            let (reader, done) = (reader.clone(), &done);
            scope.spawn(move || {
                let mut newest = 0;
                while !done.load(Relaxed) {
                    let snapshot = reader.snapshot();
                    assert!(snapshot.commit_number() >= newest);
                    newest = snapshot.commit_number();
                    assert_eq!(snapshot.gtid_executed().count(), newest);
                    let rows = dump(&snapshot);
                    let names = rows.lines().map(|line| line.split('\t').nth(1).unwrap());
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
        done.store(true, Relaxed);
    });
    let last = source.gtid(1203);
    let waited = reader.wait_for(&GtidSet::from_iter([last]), Duration::ZERO);
    assert!(waited.is_some());
    let next = GtidSet::from_iter([source.gtid(1204)]);
    assert!(reader.wait_for(&next, Duration::from_millis(1)).is_none());
}

/// Groups of several tables, with statements between the rows and now and then a transaction that does not
/// fit: several threads leave what one thread leaves, and stop where it stops.
#[test]
fn several_threads_do_what_one_does() {
    const TABLES: u64 = 5;
    let directories = [memory_directory(), memory_directory()];
    let mut stores = [1, 4].map(|workers| {
        let directory = &directories[usize::from(workers > 1)];
        with_workers(directory.path(), workers)
    });
    let mut source = source();
    for table in 1..TABLES {
        source.statement(&format!("CREATE TABLE items{table} LIKE items"));
    }
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = move |bound: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % bound
    };
    let mut known = vec![vec![false; 400]; TABLES as usize];
    let mut refused = 0;
    for group in 0..30 {
        let fails_at = (next(2) == 0).then(|| next(250));
        let first = stores[0].gtid_executed().count();
        for number in 0..250 {
            let table = next(TABLES);
            source.choose_table(table as u8);
            let rows = &mut known[table as usize];
            if next(60) == 0 {
                source.statement(&match table {
                    0 => "TRUNCATE TABLE items".to_owned(),
                    _ => format!("TRUNCATE TABLE items{table}"),
                });
                rows.fill(false);
                continue;
            }
            let mut changes = Vec::new();
            for _ in 0..4 {
                let id = next(400);
                let is_known = &mut rows[id as usize];
                let name = format!("{group}.{number}{}", "-".repeat(next(200) as usize));
                changes.push(match (*is_known, next(3)) {
                    (true, 0) => delete(id as i64),
                    (true, _) => update(id as i64, &name),
                    (false, _) => insert(id as i64, &name),
                });
                *is_known = !matches!(changes.last(), Some(Change::Delete(_)));
            }
            if fails_at == Some(number) {
                changes.push(delete(10_000));
            }
            source.rows(&changes);
        }
        let batch = source.take();
        assert!(batch.byte_size() > 128 << 10, "no threads are started");
        let outcomes = stores.each_mut().map(|store| store.apply(&batch).err());
        let [one, several] = outcomes.map(|error| error.map(|error| error.to_string()));
        assert_eq!(one, several);
        let [one, several] = stores.each_ref().map(|store| store.reader().snapshot());
        assert_eq!(one.gtid_executed(), several.gtid_executed());
        for table in one.tables() {
            let text = |snapshot: &Snapshot| {
                let mut out = Vec::new();
                snapshot.dump(table, &mut out).unwrap();
                String::from_utf8(out).unwrap()
            };
            assert_eq!(text(&one), text(&several), "{table}");
        }
        if one.gtid_executed().count() < first + 250 {
            // The model knows nothing of what was refused: begin with empty tables.
            refused += 1;
            source.skip_to(one.gtid_executed().count());
            for table in 0..TABLES {
                let name = match table {
                    0 => "items".to_owned(),
                    _ => format!("items{table}"),
                };
                source.statement(&format!("TRUNCATE TABLE {name}"));
                known[table as usize].fill(false);
            }
            let batch = source.take();
            for store in &mut stores {
                store.apply(&batch).unwrap();
            }
        }
    }
    assert!(refused > 5 && refused < 25, "{refused}");
    drop(stores);
    let texts = directories.map(|directory| {
        let store = with_workers(directory.path(), 4);
        dump(&store.reader().snapshot())
    });
    assert_eq!(texts[0], texts[1]);
}

/// Nothing made the table in this log: its rows are found by all of their columns, until an event leaves
/// out those that are not its key.
#[test]
fn a_key_is_learnt_from_what_the_log_leaves_out() {
    let directory = memory_directory();
    let mut store = Store::open(directory.path()).unwrap();
    let mut source = Source::new();
    source.rows(&[insert(2, "two"), insert(1, "one"), insert(3, "three")]);
    source.rows(&[Change::Delete(Item::new(1, "one"))]);
    store.apply(&source.take()).unwrap();
    assert_eq!(
        dump(&store.reader().snapshot()),
        "2\ttwo\tNULL\n3\tthree\tNULL\n"
    );
    source.rows(&[Change::DeleteByKey(2), insert(1, "again")]);
    source.rows(&[insert(1, "taken")]);
    let error = store.apply(&source.take()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    for _ in 0..2 {
        assert_eq!(
            dump(&store.reader().snapshot()),
            "1\tagain\tNULL\n3\tthree\tNULL\n"
        );
        checkpoint(&mut store);
        drop(store);
        store = Store::open(directory.path()).unwrap();
    }
}

/// The row events of a table look as before where a statement about it was not understood: its rows stay
/// readable, under the name that it has by then, and no event changes them.
#[test]
fn a_table_whose_statement_is_not_understood_keeps_its_rows_and_takes_no_others() {
    for what in [
        "DROP COLUMN name, ADD COLUMN name VARCHAR(255) CHARACTER SET latin1 DEFAULT 'x' AFTER id",
        "MELT COLUMN name",
    ] {
        let directory = memory_directory();
        let mut store = Store::open(directory.path()).unwrap();
        let mut source = Source::new();
        source.choose_table(1);
        source.statement("CREATE DATABASE shop");
        source.statement(&CREATE_TABLE.replace("items", "items1"));
        source.statement("CREATE UNIQUE INDEX u ON items1 (id, name)");
        source.rows(&[insert(1, "one"), insert(2, "two")]);
        source.statement(&format!("ALTER TABLE items1 {what}, RENAME TO items"));
        store.apply(&source.take()).unwrap();
        source.choose_table(0);
        for _ in 0..3 {
            source.skip_to(5);
            source.rows(&[insert(3, "three")]);
            let error = store.apply(&source.take()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Schema, "{error}");
            assert!(error.message().contains(what), "{error}");
            assert_eq!(
                dump(&store.reader().snapshot()),
                "1\tone\tNULL\n2\ttwo\tNULL\n"
            );
            checkpoint(&mut store);
            drop(store);
            store = Store::open(directory.path()).unwrap();
        }
    }
}

/// A row event of `binlog_row_image=NOBLOB` leaves out large columns, and has
/// others than those of the key: it teaches nothing.
#[test]
fn no_key_is_learnt_from_an_event_that_leaves_out_large_columns_alone() {
    let directory = memory_directory();
    let mut store = Store::open(directory.path()).unwrap();
    let mut source = Source::new();
    source.rows(&[insert(1, "one"), insert(2, "two")]);
    source.rows(&[Change::DeleteWithoutNote(1, "one".to_owned())]);
    let error = store.apply(&source.take()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    source.skip_to(1);
    source.rows(&[Change::DeleteByKey(1), insert(1, "again")]);
    source.rows(&[insert(1, "taken")]);
    let error = store.apply(&source.take()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    assert_eq!(
        dump(&store.reader().snapshot()),
        "1\tagain\tNULL\n2\ttwo\tNULL\n"
    );
}
