//! SIGKILL at random moments of a process that writes a store: nothing acknowledged is lost, and the
//! rows are exactly those of the GTIDs that the store names.
//!
//! ```text
//! REJOIN_CRASH_ROUNDS=200 cargo test --release --features disk --test store -- crash   killed more often
//! REJOIN_CRASH_SYNCS=200 ...    and on entering each of the first 200 syncs of a new store (needs strace)
//! ```

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::env;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, Sender};
use std::time::{Duration, Instant};

use rejoin::target::Target;
use rejoin::target::schema::TableName;
use rejoin::target::store::{Store, StoreOptions};

use crate::sample::{CREATE_TABLE, Change, Item, Source};

/// Where the writing process finds its store; only it has this in its environment.
const DIRECTORY: &str = "REJOIN_CRASH_DIRECTORY";
/// Set for a longer run: how often it is killed.
const ROUNDS: &str = "REJOIN_CRASH_ROUNDS";
/// Set for a run that ends at every sync: at how many.
const SYNCS: &str = "REJOIN_CRASH_SYNCS";
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

/// A log that is written ahead by about a hundred transactions at a time, and purged.
fn ahead() -> StoreOptions {
    let mut options = options();
    options.journal.write_ahead_bytes = 30_000;
    options.journal.keep_bytes = Some(500_000);
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
    if let Some(directory) = env::var_os(DIRECTORY) {
        write(&mut Store::open_with(directory, options()).unwrap());
    }
}

#[test]
fn writer_ahead() {
    if let Some(directory) = env::var_os(DIRECTORY) {
        write(&mut Store::open_with(directory, ahead()).unwrap());
    }
}

fn write(store: &mut dyn Target) -> ! {
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

/// What a store was found to hold.
struct Found {
    /// Transactions.
    count: u64,
    /// Lines of the table, where there is one.
    text: Option<String>,
}

fn in_memory(directory: &Path) -> Found {
    let snapshot = Store::open_read_only(directory).unwrap();
    assert_eq!(snapshot.gtid_executed().count(), snapshot.commit_number());
    let mut out = Vec::new();
    let dumped = snapshot.dump(&TableName::new("shop", "items"), &mut out);
    Found {
        count: snapshot.commit_number(),
        text: dumped.is_ok().then(|| String::from_utf8(out).unwrap()),
    }
}

fn check(found: &Found, safe: u64) -> u64 {
    let count = found.count;
    assert!(count >= safe, "{safe} were acknowledged, {count} are there");
    if count >= HEAD {
        let model = model_at(count);
        let lines = model
            .iter()
            .map(|(id, name)| format!("{id}\t{name}\tNULL\n"));
        assert_eq!(found.text.as_deref(), Some(&*lines.collect::<String>()));
    }
    count
}

/// Has `command`, this program or one that runs it, write to a store.
fn start(mut command: Command, writer: &str, directory: &Path) -> Child {
    command
        .args([writer, "--exact", "--nocapture"])
        .env(DIRECTORY, directory)
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    command.spawn().unwrap()
}

/// The last number that a writing process has acknowledged; each is told to `begun` as well.
fn acknowledged(out: ChildStdout, begun: &Sender<()>) -> u64 {
    let lines = BufReader::new(out).lines().map_while(Result::ok);
    let numbers = lines.filter_map(|line| {
        let (_, number) = line.split_once("safe ")?;
        number.parse::<u64>().ok()
    });
    // Nobody listens where the process ends before it.
    numbers
        .inspect(|_| _ = begun.send(()))
        .last()
        .unwrap_or_default()
}

/// Kills the writing process again and again; gives how many transactions there were in the end.
fn kill_again_and_again(writer: &str, directory: &Path, found: fn(&Path) -> Found) -> u64 {
    let rounds = env::var(ROUNDS).map_or(40, |rounds| rounds.parse().unwrap());
    let program = env::current_exe().unwrap();
    let mut safe = 0;
    for round in 0..rounds {
        let mut writer = start(Command::new(&program), writer, directory);
        let out = writer.stdout.take().unwrap();
        let (begun, begins) = mpsc::channel();
        let reading = std::thread::spawn(move || acknowledged(out, &begun));
        // Some rounds end within the opening, others after hundreds of commits.
        if round % 4 != 0 {
            begins.recv().expect("the first commit");
        }
        std::thread::sleep(Duration::from_micros(round * round * 97 % 60_000));
        writer.kill().unwrap();
        writer.wait().unwrap();
        safe = safe.max(reading.join().unwrap());
        if safe > 0 {
            safe = check(&found(directory), safe);
        }
    }
    assert!(safe > 100, "only {safe} transactions in all rounds");
    safe
}

/// Kills the writing process of a new store on entering its first sync, its second, and so on.
#[allow(clippy::print_stderr)]
fn kill_at_every_sync(writer: &str, found: fn(&Path) -> Found) {
    let Ok(syncs) = env::var(SYNCS) else {
        eprintln!("left out: {SYNCS} says at how many syncs");
        return;
    };
    let (begun, _begins) = mpsc::channel();
    let mut most = 0;
    for number in 1..=syncs.parse::<u64>().unwrap() {
        let directory = tempfile::tempdir().unwrap();
        let mut command = Command::new("strace");
        command
            .args([
                "-f",
                "-qq",
                "-o",
                "/dev/null",
                "-e",
                "trace=fsync,fdatasync",
                "-e",
            ])
            .arg(format!(
                "inject=fsync,fdatasync:signal=SIGKILL:when={number}"
            ))
            .arg(env::current_exe().unwrap());
        let mut writer = start(command, writer, directory.path());
        let safe = acknowledged(writer.stdout.take().unwrap(), &begun);
        writer.wait().unwrap();
        if safe > 0 {
            most = most.max(check(&found(directory.path()), safe));
        }
    }
    eprintln!("{most} transactions at most");
    assert!(most > 100, "only {most} transactions at most");
}

#[test]
fn killed_at_every_sync_it_has_what_it_acknowledged() {
    kill_at_every_sync("crash::writer", in_memory);
}

#[test]
fn killed_at_every_sync_it_does_where_the_log_is_written_ahead() {
    kill_at_every_sync("crash::writer_ahead", in_memory);
}

#[test]
fn killed_at_any_moment_it_has_what_it_acknowledged() {
    killed_at_any_moment("crash::writer");
}

#[test]
fn killed_at_any_moment_it_does_where_the_log_is_written_ahead() {
    killed_at_any_moment("crash::writer_ahead");
}

fn killed_at_any_moment(writer: &str) {
    let directory = tempfile::tempdir().unwrap();
    let safe = kill_again_and_again(writer, directory.path(), in_memory);
    // And it goes on: the same process opens it, changes it, and opens it again; of either kind.
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
    check(&in_memory(directory.path()), safe + 1);
}

#[cfg(feature = "disk")]
mod disk {
    use rejoin::target::disk::Store;

    use super::*;

    #[test]
    fn writer() {
        if let Some(directory) = env::var_os(DIRECTORY) {
            write(&mut Store::open(directory).unwrap());
        }
    }

    fn on_disk(directory: &Path) -> Found {
        let store = Store::open(directory).unwrap();
        let snapshot = store.reader().snapshot();
        assert_eq!(snapshot.gtid_executed().count(), snapshot.commit_number());
        let mut out = Vec::new();
        let dumped = snapshot.dump(&TableName::new("shop", "items"), &mut out);
        Found {
            count: snapshot.commit_number(),
            text: dumped.is_ok().then(|| String::from_utf8(out).unwrap()),
        }
    }

    #[test]
    fn killed_at_any_moment_it_has_what_it_acknowledged() {
        let directory = tempfile::tempdir().unwrap();
        kill_again_and_again("crash::disk::writer", directory.path(), on_disk);
    }

    #[test]
    fn killed_at_every_sync_it_has_what_it_acknowledged() {
        kill_at_every_sync("crash::disk::writer", on_disk);
    }
}
