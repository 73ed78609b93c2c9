//! Keys that the group tells, of a table that no statement made: compiled into the tests of each embedded
//! target.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::binlog::EventType;
use crate::gtid::{Gtid, GtidSet};
use crate::sample::{CREATE_TABLE, Change, Item, Source};
use crate::target::schema::{Catalog, StatementContext, TableDefinition, TableName};
use crate::target::{GroupTable, KeySource, Target};
use crate::{Error, ErrorKind};

use super::super::{Snapshot, Store};
use super::transactions::{dump, insert, items, memory_directory, update, xa_prepare};
use super::{checkpoint, with_workers};

/// When the statements of the source ran.
const THEN: u64 = 1_700_000_000;

/// A group that has made the table in no log.
#[derive(Debug, Clone)]
struct Group {
    /// `None`: nobody answers.
    statement: Option<String>,
    create_time: u64,
    executed: GtidSet,
    asked: Arc<AtomicUsize>,
}

impl Group {
    /// One that made the table long ago and has executed the source's transactions up to this one.
    fn at(source: &Source, gno: u64) -> Self {
        Self {
            statement: Some(CREATE_TABLE.to_owned()),
            create_time: THEN - 1,
            executed: up_to(source, gno),
            asked: Arc::default(),
        }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

impl KeySource for Group {
    fn table(&mut self, name: &TableName, _: &GtidSet) -> Result<Option<GroupTable>, Error> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let Some(statement) = &self.statement else {
            return Err(Error::new(ErrorKind::TimedOut, "nobody answers"));
        };
        let mut catalog = Catalog::new();
        let context = StatementContext {
            default_database: b"shop",
            ..StatementContext::default()
        };
        catalog.apply(b"CREATE DATABASE shop", &context)?;
        let table = String::from_utf8_lossy(&name.table);
        let statement = statement.replace("items", &table);
        catalog.apply(statement.as_bytes(), &context)?;
        Ok(catalog.table(name).map(|definition| GroupTable {
            definition: definition.clone(),
            create_time: self.create_time,
            gtid_executed: self.executed.clone(),
        }))
    }
}

fn up_to(source: &Source, gno: u64) -> GtidSet {
    (1..=gno)
        .map(|gno| source.gtid(gno))
        .collect::<Vec<Gtid>>()
        .into_iter()
        .collect()
}

fn has_key(snapshot: &Snapshot) -> bool {
    snapshot.definition(&items()).unwrap().has_key()
}

/// The rows, and whether they have a key, now and after a restart without a group.
fn comes_out(directory: &std::path::Path, store: Store) -> (String, bool) {
    let now = store.reader().snapshot();
    let expected = (dump(&now), has_key(&now));
    drop((now, store));
    let mut store = Store::open(directory).unwrap();
    for _ in 0..2 {
        let again = store.reader().snapshot();
        assert_eq!((dump(&again), has_key(&again)), expected);
        drop(again);
        checkpoint(&mut store);
        drop(store);
        store = Store::open(directory).unwrap();
    }
    expected
}

#[test]
fn a_key_of_the_group_is_the_key_of_the_own_log() {
    for with_checkpoint in [false, true] {
        let directory = memory_directory();
        let mut source = Source::new();
        let group = Group::at(&source, 1);
        let store = Store::open(directory.path()).unwrap();
        let mut store = store.with_key_source(group.clone());
        source.rows(&[insert(2, "two"), insert(1, "one"), insert(3, "three")]);
        store.apply(&source.take()).unwrap();
        if with_checkpoint {
            checkpoint(&mut store);
        }
        source.rows(&[update(2, "deux")]);
        store.apply(&source.take()).unwrap();
        assert_eq!(group.asked(), 1);
        let expected = "1\tone\tNULL\n2\tdeux\tNULL\n3\tthree\tNULL\n";
        let told = comes_out(directory.path(), store);
        assert_eq!(told, (expected.to_owned(), true));
    }
}

/// While the store catches up, the answer waits: what the log still has to say comes first.
#[test]
fn an_answer_waits_for_what_the_group_had_executed() {
    let directory = memory_directory();
    let mut source = Source::new();
    let group = Group::at(&source, 3);
    let store = Store::open(directory.path()).unwrap();
    let mut store = store.with_key_source(group.clone());
    source.rows(&[insert(2, "two")]);
    source.rows(&[insert(1, "one")]);
    store.apply(&source.take()).unwrap();
    let snapshot = store.reader().snapshot();
    assert_eq!(dump(&snapshot), "2\ttwo\tNULL\n1\tone\tNULL\n");
    assert!(!has_key(&snapshot));
    drop(snapshot);
    source.rows(&[insert(0, "zero")]);
    store.apply(&source.take()).unwrap();
    assert_eq!(group.asked(), 1);
    let expected = "0\tzero\tNULL\n1\tone\tNULL\n2\ttwo\tNULL\n";
    let told = comes_out(directory.path(), store);
    assert_eq!(told, (expected.to_owned(), true));
}

/// A table that is not written again gets its key with the rows of another one.
#[test]
fn a_table_at_rest_gets_its_key_as_well() {
    for workers in [1, 4] {
        let directory = memory_directory();
        let mut source = Source::new();
        let group = Group::at(&source, 4);
        let mut store = with_workers(directory.path(), workers).with_key_source(group.clone());
        source.rows(&[insert(2, "two"), insert(1, "one")]);
        source.choose_table(1);
        source.rows(&[insert(9, "nine")]);
        source.statement("CREATE DATABASE other");
        let many = (0..3000).map(|id| insert(3000 - id, &"-".repeat(60)));
        source.choose_table(2);
        source.rows(&many.collect::<Vec<_>>());
        store.apply(&source.take()).unwrap();
        assert_eq!(group.asked(), 3);
        let keys = |snapshot: &Snapshot| {
            let definitions = snapshot.tables().map(|name| snapshot.definition(name));
            definitions
                .filter(|definition| definition.is_some_and(TableDefinition::has_key))
                .count()
        };
        assert_eq!(keys(&store.reader().snapshot()), 3);
        let (rows, _) = comes_out(directory.path(), store);
        assert_eq!(rows, "1\tone\tNULL\n2\ttwo\tNULL\n");
        let store = Store::open(directory.path()).unwrap();
        assert_eq!(keys(&store.reader().snapshot()), 3);
    }
}

/// What is taken back with its transaction is taken anew with the next.
#[test]
fn a_key_that_was_rolled_back_comes_again() {
    let directory = memory_directory();
    let mut source = Source::new();
    let group = Group::at(&source, 2);
    let store = Store::open(directory.path()).unwrap();
    let mut store = store.with_key_source(group.clone());
    source.rows(&[insert(2, "two")]);
    store.apply(&source.take()).unwrap();
    source.rows(&[insert(1, "one"), insert(2, "taken")]);
    let error = store.apply(&source.take()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    assert!(!has_key(&store.reader().snapshot()));
    source.skip_to(1);
    source.rows(&[insert(1, "one")]);
    store.apply(&source.take()).unwrap();
    assert_eq!(group.asked(), 1);
    let told = comes_out(directory.path(), store);
    assert_eq!(told, ("1\tone\tNULL\n2\ttwo\tNULL\n".to_owned(), true));
}

#[test]
fn an_answer_that_may_be_another_tables_is_not_taken() {
    let source = Source::new();
    let group = Group::at(&source, 2);
    let stated = |statement: &str| Group {
        statement: Some(statement.to_owned()),
        ..group.clone()
    };
    let groups = [
        // Nobody answers; there is no table of the name.
        Group {
            statement: None,
            ..group.clone()
        },
        stated("CREATE TABLE other (id BIGINT PRIMARY KEY)"),
        // Made or altered in the second of the event, or later.
        Group {
            create_time: THEN,
            ..group.clone()
        },
        Group {
            create_time: THEN + 1,
            ..group.clone()
        },
        // Other columns; the same without a key.
        stated(&CREATE_TABLE.replace("BIGINT", "INT")),
        stated(&CREATE_TABLE.replace("255", "254")),
        stated(&CREATE_TABLE.replace("latin1", "utf8mb4")),
        stated(&CREATE_TABLE.replace("note LONGTEXT", "note LONGTEXT NOT NULL")),
        stated(&CREATE_TABLE.replace(", note LONGTEXT", "")),
        stated(&CREATE_TABLE.replace(" PRIMARY KEY", "")),
        // What the group has executed beyond the event may have changed the key.
        Group {
            executed: up_to(&source, 4),
            ..group.clone()
        },
        // It has not executed all that is here.
        Group {
            executed: up_to(&source, 0),
            ..group
        },
    ];
    for group in groups {
        let directory = memory_directory();
        let mut source = Source::new();
        let store = Store::open(directory.path()).unwrap();
        source.rows(&[]);
        source.rows(&[insert(2, "two"), insert(1, "one")]);
        let asked = group.asked();
        let mut store = store.with_key_source(group.clone());
        store.apply(&source.take()).unwrap();
        // Once, and not again for the same columns.
        source.rows(&[Change::Delete(Item::new(2, "two")), insert(0, "zero")]);
        store.apply(&source.take()).unwrap();
        assert_eq!(group.asked(), asked + 1);
        let (rows, has_key) = comes_out(directory.path(), store);
        assert_eq!(rows, "1\tone\tNULL\n0\tzero\tNULL\n", "{group:?}");
        assert!(!has_key, "{group:?}");
    }
}

/// Names go from table to table: what the group says of a name when all is done is not said of the table
/// that had it before, not even where that has it again.
#[test]
fn another_name_makes_an_answer_void() {
    let swap = "RENAME TABLE items TO other, items1 TO items, other TO items1";
    for swaps in [1, 2] {
        let directory = memory_directory();
        let mut source = Source::new();
        let group = Group::at(&source, 3 + swaps);
        let store = Store::open(directory.path()).unwrap();
        let mut store = store.with_key_source(group.clone());
        source.statement("CREATE DATABASE shop");
        source.rows(&[insert(2, "two")]);
        source.choose_table(1);
        source.rows(&[insert(3, "three")]);
        store.apply(&source.take()).unwrap();
        assert_eq!(group.asked(), 2);
        for _ in 0..swaps {
            source.statement(swap);
        }
        store.apply(&source.take()).unwrap();
        assert!(!has_key(&store.reader().snapshot()));
        // It is asked anew; the group is where the store is.
        source.choose_table(0);
        source.rows(&[insert(1, "one")]);
        store.apply(&source.take()).unwrap();
        assert_eq!(group.asked(), 3);
        assert!(has_key(&store.reader().snapshot()));
        let (rows, _) = comes_out(directory.path(), store);
        let two = if swaps == 1 { "3\tthree" } else { "2\ttwo" };
        assert_eq!(rows, format!("1\tone\tNULL\n{two}\tNULL\n"));
    }
}

#[test]
fn a_statement_about_the_table_makes_an_answer_void() {
    let directory = memory_directory();
    let mut source = Source::new();
    let group = Group::at(&source, 4);
    let store = Store::open(directory.path()).unwrap();
    let mut store = store.with_key_source(group.clone());
    source.statement("CREATE DATABASE shop");
    source.rows(&[insert(2, "two")]);
    source.statement("ALTER TABLE items COMMENT 'altered'");
    source.rows(&[insert(1, "one")]);
    store.apply(&source.take()).unwrap();
    assert_eq!(group.asked(), 2);
    let (rows, has_key) = comes_out(directory.path(), store);
    assert_eq!(rows, "1\tone\tNULL\n2\ttwo\tNULL\n");
    assert!(has_key);
}

/// Rows that the key does not tell apart prove that it is not theirs.
#[test]
fn rows_that_have_no_such_key_refuse_it() {
    let directory = memory_directory();
    let mut source = Source::new();
    let group = Group::at(&source, 2);
    let store = Store::open(directory.path()).unwrap();
    let mut store = store.with_key_source(group);
    source.rows(&[insert(1, "one"), insert(1, "again")]);
    source.rows(&[insert(0, "zero")]);
    source.rows(&[Change::Delete(Item::new(1, "one"))]);
    store.apply(&source.take()).unwrap();
    let (rows, has_key) = comes_out(directory.path(), store);
    assert_eq!(rows, "1\tagain\tNULL\n0\tzero\tNULL\n");
    assert!(!has_key);
}

/// A group commit that ends before its last transaction is made anew: as the log was told.
#[test]
fn a_failed_group_keeps_the_key_that_it_was_told() {
    for workers in [1, 4] {
        let directory = memory_directory();
        let mut source = Source::new();
        let group = Group::at(&source, 1);
        let mut store = with_workers(directory.path(), workers).with_key_source(group);
        let many: Vec<Change> = (0..3000)
            .map(|id| insert(3000 - id, &"-".repeat(60)))
            .collect();
        source.rows(&many);
        source.rows(&[insert(1, "taken")]);
        let error = store.apply(&source.take()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
        assert_eq!(store.gtid_executed().count(), 1);
        let (rows, has_key) = comes_out(directory.path(), store);
        assert!(rows.starts_with("1\t--"));
        assert!(has_key);
    }
}

/// The rows of an XA transaction are in the log before they are applied: no key could be written there.
#[test]
fn the_second_phase_of_a_transaction_takes_no_key() {
    let directory = memory_directory();
    let mut source = Source::new();
    let group = Group::at(&source, 3);
    let store = Store::open(directory.path()).unwrap();
    let mut store = store.with_key_source(group.clone());
    let xid = "X'616263',X'',1";
    source.bracketed(
        &[&format!("XA START {xid}"), &format!("XA END {xid}")],
        &[insert(2, "two"), insert(1, "one")],
        (EventType::XA_PREPARE, &xa_prepare(false)),
    );
    source.statement(&format!("XA COMMIT {xid}"));
    store.apply(&source.take()).unwrap();
    assert_eq!(group.asked(), 0);
    assert!(!has_key(&store.reader().snapshot()));
    source.rows(&[insert(0, "zero")]);
    store.apply(&source.take()).unwrap();
    let (rows, has_key) = comes_out(directory.path(), store);
    assert_eq!(rows, "0\tzero\tNULL\n1\tone\tNULL\n2\ttwo\tNULL\n");
    assert!(has_key);
}
