//! SIGKILL at random moments of a process that writes a store: nothing acknowledged is lost, and the
//! rows are exactly those of the GTIDs that the store names.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::env;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rejoin::target::Target;
use rejoin::target::schema::TableName;
use rejoin::target::store::{Snapshot, Store, StoreOptions};

use crate::sample::{CREATE_TABLE, Change, Item, Source};

/// Where the writing process finds its store; only it has this in its environment.
const DIRECTORY: &str = "REJOIN_CRASH_DIRECTORY";
/// Transactions that make the table.
const HEAD: u64 = 2;

type Model = BTreeMap<i64, String>;

/// Small segments and many checkpoints, so that kills meet rotations and renames, too.
fn options() -> StoreOptions {
    let mut options = StoreOptions::default();
    options.journal.segment_bytes = 200_000;
    options.checkpoint_log_bytes = 50_000;
    options
}

/// What transaction `number` does, and to the model as well.
fn changes(number: u64, model: &mut Model) -> Vec<Change> {
    let mut random = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = |bound: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % bound
    };
    let mut changes = Vec::new();
    for _ in 0..=next(4) {
        let id = next(300) as i64;
        let name = format!("{number}{}", "-".repeat(next(100) as usize));
        let deletes = next(2) == 0;
        match model.entry(id) {
            Entry::Vacant(free) => {
                changes.push(Change::Insert(Item::new(id, &name)));
                free.insert(name);
            }
            Entry::Occupied(taken) if deletes => {
                changes.push(Change::Delete(Item::new(id, "")));
                taken.remove();
            }
            Entry::Occupied(mut taken) => {
                changes.push(Change::Update(Item::new(id, ""), Item::new(id, &name)));
                taken.insert(name);
            }
        }
    }
    changes
}

/// The model after the first `count` transactions.
fn model_at(count: u64) -> Model {
    let mut model = Model::new();
    for number in HEAD + 1..=count {
        changes(number, &mut model);
    }
    model
}

/// The writing process: applies one group after the other, and prints how many transactions are safe.
#[test]
fn writer() {
    let Some(directory) = env::var_os(DIRECTORY) else {
        return;
    };
    let mut store = Store::open_with(directory, options()).unwrap();
    let mut source = Source::new();
    let mut count = store.gtid_executed().count();
    if count < HEAD {
        source.skip_to(count);
        for statement in ["CREATE DATABASE shop", CREATE_TABLE]
            .iter()
            .skip(count as usize)
        {
            source.statement(statement);
        }
        store.apply(&source.take()).unwrap();
        count = HEAD;
    }
    let mut model = model_at(count);
    source.skip_to(count);
    let mut out = std::io::stdout();
    loop {
        for _ in 0..=count % 20 {
            count += 1;
            source.rows(&changes(count, &mut model));
        }
        store.apply(&source.take()).unwrap();
        writeln!(out, "safe {count}").unwrap();
        out.flush().unwrap();
    }
}

fn text(snapshot: &Snapshot) -> String {
    let mut out = Vec::new();
    let items = TableName::new("shop", "items");
    snapshot.dump(&items, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn check(directory: &Path, safe: u64) -> u64 {
    let snapshot = Store::open_read_only(directory).unwrap();
    let count = snapshot.commit_number();
    assert!(count >= safe, "{safe} were acknowledged, {count} are there");
    assert_eq!(snapshot.gtid_executed().count(), count);
    if count >= HEAD {
        let model = model_at(count);
        let lines = model
            .iter()
            .map(|(id, name)| format!("{id}\t{name}\tNULL\n"));
        assert_eq!(text(&snapshot), lines.collect::<String>());
    }
    count
}

#[test]
fn killed_at_any_moment_it_has_what_it_acknowledged() {
    let directory = tempfile::tempdir().unwrap();
    let mut safe = 0;
    for round in 0..40u64 {
        let mut writer = Command::new(env::current_exe().unwrap())
            .args(["crash::writer", "--exact", "--nocapture"])
            .env(DIRECTORY, directory.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(writer.stdout.take().unwrap()).lines();
        let reading = std::thread::spawn(move || {
            let numbers = lines.map_while(Result::ok).filter_map(|line| {
                let (_, number) = line.split_once("safe ")?;
                number.parse::<u64>().ok()
            });
            numbers.last()
        });
        // Some rounds end within the opening, others after hundreds of commits.
        std::thread::sleep(Duration::from_micros(2_000 + round * round * 97 % 60_000));
        writer.kill().unwrap();
        writer.wait().unwrap();
        safe = safe.max(reading.join().unwrap().unwrap_or(0));
        if safe > 0 {
            safe = check(directory.path(), safe);
        }
    }
    assert!(safe > 100, "only {safe} transactions in all rounds");
    // And it goes on: the same process opens it, changes it, and opens it again.
    let mut store = Store::open_with(directory.path(), options()).unwrap();
    let mut source = Source::new();
    source.skip_to(safe);
    source.rows(&changes(safe + 1, &mut model_at(safe)));
    store.apply(&source.take()).unwrap();
    let started = Instant::now();
    drop(store);
    assert!(
        started.elapsed() < Duration::from_secs(5),
        "closing takes no time"
    );
    check(directory.path(), safe + 1);
}
