//! What every embedded target does with a clone: compiled into the tests of each of them, where `Store`
//! and `Snapshot` are its own. What donors hold are states in memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::binlog::EventType;
use crate::gtid::GtidSet;
use crate::sample::{CREATE_TABLE, Change, Item, Source};
use crate::target::schema::{Catalog, TableDefinition, TableName};
use crate::target::store::Snapshot as Model;
use crate::target::store::tree::Tree;
use crate::target::tables::apply::Applier;
use crate::target::tables::state::State;
use crate::target::{
    CloneDonor, CloneProgress, CloneReader, CloneRecipient, CloneSnapshot, Target,
};
use crate::transaction::Batch;
use crate::{Error, ErrorKind, Result};

use super::{Snapshot, Store, checkpoint, memory_directory, old_store};

/// A state of a donor's.
type Kept = State<Tree>;

/// A generator of numbers, the same for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// Transactions, and the state behind each of them.
pub(super) struct History {
    pub(super) batches: Vec<Batch>,
    pub(super) states: Vec<Arc<Kept>>,
}

impl History {
    fn new() -> Self {
        Self {
            batches: Vec::new(),
            states: vec![Arc::new(Kept::empty(()))],
        }
    }

    fn add(&mut self, batch: Batch) {
        let last = self.states.last().unwrap();
        let mut state = Kept::clone(last);
        Applier::default()
            .apply(&mut state, &batch.first().unwrap())
            .unwrap();
        self.batches.push(batch);
        self.states.push(Arc::new(state));
    }

    /// Changes of rows, of keys too, with statements between them where `statements` are wanted.
    pub(super) fn random(seed: u64, length: u64, statements: bool) -> Self {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let mut history = Self::new();
        let mut source = Source::new();
        let mut rows: BTreeMap<i64, Item> = BTreeMap::new();
        for statement in [
            "CREATE DATABASE shop",
            CREATE_TABLE,
            "CREATE TABLE keyless (a INT)",
        ] {
            source.statement(statement);
            history.add(source.take());
        }
        for number in 0..length {
            if statements && random.below(60) == 0 {
                match random.below(4) {
                    0 => {
                        source.statement("TRUNCATE TABLE items");
                        rows.clear();
                    }
                    1 => source.statement(&format!("CREATE TABLE t{number} LIKE items")),
                    2 => source.statement("CREATE INDEX i ON items (name)"),
                    _ => {
                        source.statement("RENAME TABLE items TO passing");
                        history.add(source.take());
                        source.statement("RENAME TABLE passing TO items");
                    }
                }
                history.add(source.take());
                // The index is there once.
                source.statement("DROP TABLE IF EXISTS nothing");
                history.add(source.take());
                continue;
            }
            if statements && random.below(50) == 0 {
                // Prepared, and never committed.
                let name = format!("{number:04}");
                let [one, four, zero] = [1u32, 4, 0].map(u32::to_le_bytes);
                let id = [&[0][..], &one, &four, &zero, name.as_bytes()].concat();
                let item = Item::new(5000 + number as i64, "by XA");
                source.bracketed(
                    &["XA START X'61',X'',1", "XA END X'61',X'',1"],
                    &[Change::Insert(item)],
                    (EventType::XA_PREPARE, &id),
                );
                history.add(source.take());
                continue;
            }
            let mut changes = Vec::new();
            for _ in 0..=random.below(4) {
                let id = random.below(300) as i64;
                let item = Item::new(id, format!("{number}"));
                match rows.remove(&id) {
                    None => {
                        rows.insert(id, item.clone());
                        changes.push(Change::Insert(item));
                    }
                    Some(old) => match random.below(3) {
                        0 => changes.push(Change::Delete(old)),
                        1 => {
                            rows.insert(id, item.clone());
                            changes.push(Change::Update(old, item));
                        }
                        _ => {
                            let mut moved = item;
                            moved.id = 300 + random.below(300) as i64;
                            if rows.contains_key(&moved.id) {
                                rows.insert(id, old);
                                continue;
                            }
                            rows.insert(moved.id, moved.clone());
                            changes.push(Change::Update(old, moved));
                        }
                    },
                }
            }
            if !changes.is_empty() {
                source.rows(&changes);
                history.add(source.take());
            }
        }
        history
    }
}

/// What happens to a snapshot: the transaction behind which it is, and rows until the connection breaks.
type Turn = (usize, Option<u64>);

pub(super) struct Donor {
    pub(super) history: History,
    turns: Mutex<Vec<Turn>>,
    /// Transactions until a stream of them breaks, once.
    break_stream: Mutex<Option<usize>>,
    /// Whether the donor has purged what the first stream asks for.
    is_purged: Mutex<bool>,
    rows_sent: Mutex<u64>,
}

impl Donor {
    pub(super) fn new(history: History, mut turns: Vec<Turn>) -> Self {
        turns.reverse();
        Self {
            history,
            turns: Mutex::new(turns),
            break_stream: Mutex::new(None),
            is_purged: Mutex::new(false),
            rows_sent: Mutex::new(0),
        }
    }
}

fn cut() -> Error {
    Error::new(ErrorKind::Network, "the connection broke")
}

impl CloneDonor for Donor {
    fn snapshot(&self, at_least: &GtidSet) -> Result<Box<dyn CloneSnapshot + '_>> {
        let mut turns = self.turns.lock();
        let (at, rows) = match turns.len() {
            1 => turns[0],
            _ => turns.pop().unwrap(),
        };
        let state = Arc::clone(&self.history.states[at]);
        assert!(at_least.is_subset(&state.gtid_executed));
        let left = Arc::new(Mutex::new(rows));
        let reader = || Reader {
            state: Arc::clone(&state),
            left: Arc::clone(&left),
            sent: &self.rows_sent,
        };
        Ok(Box::new(TestSnapshot {
            readers: vec![reader(), reader()],
            state: Arc::clone(&state),
        }))
    }

    fn transactions(
        &self,
        from: &GtidSet,
        until: &GtidSet,
        each: &mut dyn FnMut(&Batch) -> Result<()>,
    ) -> Result<()> {
        if std::mem::take(&mut *self.is_purged.lock()) {
            return Err(Error::new(ErrorKind::Purged, "purged"));
        }
        let mut left = self.break_stream.lock().take();
        let mut seen = from.clone();
        for batch in &self.history.batches {
            let gtid = *batch.first().unwrap().gtid();
            if from.contains(&gtid) {
                continue;
            }
            if let Some(left) = &mut left {
                if *left == 0 {
                    return Err(cut());
                }
                *left -= 1;
            }
            each(batch)?;
            seen.insert(&gtid);
            if until.is_subset(&seen) {
                return Ok(());
            }
        }
        panic!("the history ends before {until}");
    }

    fn progress(&self, progress: CloneProgress) {
        assert!(progress.tables_copied <= progress.tables);
    }

    fn pause(&self, failures: u32) -> bool {
        failures < 100
    }

    fn is_stopped(&self) -> bool {
        false
    }
}

struct TestSnapshot<'a> {
    state: Arc<Kept>,
    readers: Vec<Reader<'a>>,
}

impl CloneSnapshot for TestSnapshot<'_> {
    fn gtid_executed(&self) -> &GtidSet {
        &self.state.gtid_executed
    }

    fn catalog(&self) -> &Catalog {
        &self.state.catalog
    }

    fn readers(&mut self) -> Vec<&mut (dyn CloneReader + '_)> {
        self.readers.iter_mut().map(|reader| reader as _).collect()
    }
}

struct Reader<'a> {
    state: Arc<Kept>,
    left: Arc<Mutex<Option<u64>>>,
    sent: &'a Mutex<u64>,
}

impl CloneReader for Reader<'_> {
    fn rows(
        &mut self,
        table: &TableName,
        definition: &TableDefinition,
        after: Option<&[u8]>,
        each: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        let table = self.state.table(table).unwrap();
        assert_eq!(table.layout.definition, *definition);
        let mut from = Vec::new();
        if let (Some(row), Some(encoder)) = (after, table.layout.encoder()) {
            let mut cells = Vec::new();
            table.layout.cells(row, &mut cells)?;
            encoder.encode(row, &cells, &mut from)?;
        }
        for (_, row) in table.rows.range(&from).filter(|(key, _)| **key != from) {
            if let Some(left) = &mut *self.left.lock() {
                if *left == 0 {
                    return Err(cut());
                }
                *left -= 1;
            }
            *self.sent.lock() += 1;
            each(row)?;
        }
        if *self.left.lock() == Some(0) {
            return Err(cut());
        }
        Ok(())
    }

    fn can_resume(&self, definition: &TableDefinition) -> bool {
        definition.has_key()
    }
}

pub(super) fn contents(snapshot: &Snapshot) -> Vec<(String, Vec<u8>)> {
    let tables = snapshot.tables().map(|name| {
        let mut out = Vec::new();
        snapshot.dump(name, &mut out).unwrap();
        (name.to_string(), out)
    });
    tables.collect()
}

pub(super) fn expected(state: &Arc<Kept>) -> Vec<(String, Vec<u8>)> {
    let snapshot = Model::new(Arc::clone(state));
    let tables = snapshot.tables().map(|name| {
        let mut out = Vec::new();
        snapshot.dump(name, &mut out).unwrap();
        (name.to_string(), out)
    });
    tables.collect()
}

/// Snapshots that break at random, statements and XA transactions between them: in the end the copy is
/// exactly the donor at the newest snapshot, nothing is fetched twice that need not be, and what
/// follows can be applied, over restarts too.
#[test]
fn a_clone_that_is_cut_again_and_again_ends_equal() {
    for seed in 1..=150 {
        let mut random = Random(seed * 7919);
        let history = History::random(seed, 150, seed % 3 == 0);
        let last = history.states.len() - 1;
        let mut turns: Vec<Turn> = Vec::new();
        let mut at = 20 + random.below(40) as usize;
        for _ in 0..random.below(5) {
            turns.push((at.min(last), Some(random.below(150))));
            at += random.below(20) as usize;
        }
        turns.push((at.min(last), None));
        let donor = Donor::new(history, turns);
        if random.below(2) == 0 {
            *donor.break_stream.lock() = Some(random.below(10) as usize);
        }
        *donor.is_purged.lock() = random.below(5) == 0;
        let directory = memory_directory();
        let mut store = old_store(directory.path());
        let old_reader = store.reader().snapshot();
        let failed = store.clone_recipient().unwrap().receive(&donor).err();
        assert!(failed.is_none(), "seed {seed}: {failed:?}");

        // Where a snapshot broke behind its last row, there was no need for the next one.
        let executed = store.gtid_executed();
        let mut states = donor.history.states.iter();
        let at = states.position(|state| state.gtid_executed == executed);
        let at = at.unwrap_or_else(|| panic!("seed {seed}: {executed} is no state"));
        let state = &donor.history.states[at];
        let snapshot = store.reader().snapshot();
        assert_eq!(contents(&snapshot), expected(state), "seed {seed}");
        assert!(snapshot.commit_number() > old_reader.commit_number());
        assert_eq!(contents(&old_reader)[0].1, b"1\told\tNULL\n");
        drop((snapshot, old_reader));

        for batch in donor.history.batches.iter().skip(at) {
            store.apply(batch).unwrap();
        }
        let all = expected(&donor.history.states[last]);
        drop(store);
        let store = Store::open(directory.path()).unwrap();
        assert_eq!(contents(&store.reader().snapshot()), all, "seed {seed}");
        assert_eq!(
            store.gtid_executed(),
            donor.history.states[last].gtid_executed
        );
    }
}

#[test]
fn rows_that_are_here_are_not_fetched_again() {
    let history = History::random(4, 200, false);
    let (first, second) = (100, 110);
    let rows = |at: usize| -> u64 {
        let state = &history.states[at];
        state.tables().map(|table| table.rows.len()).sum()
    };
    let (some, all) = (rows(first) / 2, rows(second));
    let donor = Donor::new(history, vec![(first, Some(some)), (second, None)]);
    let directory = memory_directory();
    let mut store = old_store(directory.path());
    store.receive(&donor).unwrap();
    let sent = *donor.rows_sent.lock();
    assert!(
        sent < all + 20,
        "{sent} rows were sent, the table has {all}"
    );
}

#[test]
fn a_store_with_a_clone_takes_a_second_one() {
    let directory = memory_directory();
    let mut store = old_store(directory.path());
    for seed in [1, 2] {
        let history = History::random(seed, 50, false);
        let last = history.states.len() - 1;
        let donor = Donor::new(history, vec![(last, None)]);
        store.receive(&donor).unwrap();
        let all = expected(&donor.history.states[last]);
        assert_eq!(contents(&store.reader().snapshot()), all);
    }
    checkpoint(&mut store);
    let before = contents(&store.reader().snapshot());
    drop(store);
    let store = Store::open(directory.path()).unwrap();
    assert_eq!(contents(&store.reader().snapshot()), before);
}
