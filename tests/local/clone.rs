//! Members of ours that clone members of ours.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::RngExt;
use rejoin::binlog::Value;
use rejoin::donor::{Account, BinlogDirectory, Donor, DonorOptions};
use rejoin::engine::{CloneState, Event};
use rejoin::group::local::{ColumnType, LocalGroup, LocalTable};
use rejoin::gtid::GtidSet;
use rejoin::recovery::Method;
use rejoin::target::CloneProgress;
use rejoin::target::store::{Snapshot, Store};

use crate::member::{Node, NodeOptions, WAIT, group, rows};
use crate::proxy::Proxy;
use crate::shop::{Load, Shop};

/// Rows of the large table: `REJOIN_CLONE_ROWS=1000000` for the full size.
fn large() -> i64 {
    std::env::var("REJOIN_CLONE_ROWS").map_or(40_000, |text| text.parse().unwrap())
}

/// A large table, beside the tables of the shop.
fn fill(group: &LocalGroup, count: i64) {
    let columns = [
        ("id", ColumnType::BigInt),
        ("name", ColumnType::VarChar(80)),
        ("n", ColumnType::Int),
    ];
    let table = LocalTable::new("shop", "large", &columns).unwrap();
    group.create_table(&table).unwrap();
    let mut id = 0;
    while id < count {
        let mut transaction = group.begin();
        for _ in 0..1000 {
            // Not in the order of their keys.
            let name = format!("row {id} of the large table, which has {count}");
            let row = [
                Value::Int(id * 7919 % 1_000_003),
                Value::Bytes(name.as_bytes()),
                Value::Int(id % 1000),
            ];
            transaction.insert(&table, &row).unwrap();
            id += 1;
        }
        transaction.commit().unwrap();
    }
}

fn count_rows(snapshot: &Snapshot) -> u64 {
    let tables = snapshot.tables();
    tables.filter_map(|table| snapshot.row_count(table)).sum()
}

/// Clones instead of reading logs, whatever the gap.
fn cloning() -> NodeOptions {
    let mut options = NodeOptions::default();
    options.settings.clone_threshold = 1;
    options
}

/// How the plan was, and how the clone ended.
fn story(node: &mut Node) -> (Option<Method>, Option<(CloneProgress, CloneState)>) {
    let (mut method, mut clone) = (None, None);
    while let Some(event) = node.events.try_next() {
        match event {
            Event::Planned(plan) => method = Some(plan.method),
            Event::Clone {
                progress, state, ..
            } => clone = Some((progress, state)),
            _ => {}
        }
    }
    (method, clone)
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + WAIT;
    while !is_so() {
        assert!(Instant::now() < deadline, "waited for {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_clone_of_a_member_that_is_cut_three_times_under_load_goes_on_where_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let group = group();
    let proxy = Proxy::start();
    let options = NodeOptions {
        advertised_port: Some(proxy.port),
        ..NodeOptions::default()
    };
    let first = Node::join_with(&group, 1, directory.path().join("1"), options).online();
    proxy.lead_to(first.donor.local_addr());
    let shop = Arc::new(Shop::open(&group));
    fill(&group, large());
    for _ in 0..500 {
        shop.write(3).unwrap();
    }
    first.rows(&group.executed());
    let snapshot = first.reader.snapshot();
    let (all, bytes) = (count_rows(&snapshot), snapshot.bytes());
    drop(snapshot);

    let load = Load::through(&shop, &first.reader);
    // Nobody gets through before it was cut three times.
    first.donor.set_max_rate(Some(bytes / 4));
    let began = Instant::now();
    let joiner = Node::join_with(&group, 2, directory.path().join("2"), cloning());
    for cut in 1..=3 {
        wait_until("rows", || {
            let clone = joiner.member.status().clone;
            clone.is_some_and(|clone| clone.rows > all * cut / 5 && clone.snapshots >= cut)
        });
        proxy.cut();
    }
    first.donor.set_max_rate(None);
    joiner.member.wait_online(WAIT).unwrap();
    let took = began.elapsed();
    load.stop();
    let executed = group.executed();
    let mut joiner = joiner;
    let expected = first.rows(&executed);
    assert!(joiner.rows(&executed) == expected);
    let (method, clone) = story(&mut joiner);
    assert_eq!(method, Some(Method::Clone));
    let (progress, state) = clone.unwrap();
    println!("{all} rows, {bytes} bytes, cut three times, in {took:?}: {progress:?}");
    assert_eq!(state, CloneState::Complete);
    assert!(progress.snapshots >= 4, "{progress:?}");
    assert_eq!(progress.tables_copied, progress.tables);
    // What was here was not fetched again.
    let in_the_end = count_rows(&first.reader.snapshot());
    assert!(
        progress.rows < in_the_end + all / 5,
        "{in_the_end}: {progress:?}"
    );

    // A member that was cloned is a donor like any other.
    first.leave();
    let third = Node::join_with(&group, 3, directory.path().join("3"), cloning()).online();
    shop.write(3).unwrap();
    let executed = group.executed();
    assert!(third.rows(&executed) == joiner.rows(&executed));
}

#[test]
fn a_member_that_lacks_what_everybody_has_purged_is_cloned() {
    let directory = tempfile::tempdir().unwrap();
    let group = group();
    let forgetful = || {
        let mut options = NodeOptions::default();
        options.store.journal.segment_bytes = 20_000;
        options.store.journal.keep_bytes = Some(60_000);
        options.store.checkpoint_log_bytes = 1;
        options
    };
    let join = |number: u8| {
        let path = directory.path().join(number.to_string());
        Node::join_with(&group, number, path, forgetful())
    };
    let first = join(1).online();
    let shop = Arc::new(Shop::open(&group));
    let second = join(2).online();
    second.leave();
    let second = join(3).online();
    let load = Load::through(&shop, &first.reader);
    wait_until("the logs are purged", || {
        let nodes = [&first, &second];
        nodes
            .iter()
            .all(|node| node.donor.gtid_purged().unwrap().count() > 200)
    });
    // One that was there before, and one that never was.
    let (mut returning, mut new) = (join(2).online(), join(4).online());
    load.stop();
    for node in [&mut returning, &mut new] {
        let (method, clone) = story(node);
        assert_eq!(method, Some(Method::Clone));
        assert_eq!(clone.unwrap().1, CloneState::Complete);
    }
    let executed = group.executed();
    let expected = first.rows(&executed);
    for node in [&second, &returning, &new] {
        assert!(node.rows(&executed) == expected, "{}", node.uuid);
    }
}

/// The store of a member that was in a group until it had so many rows, and everything of the group.
fn history(directory: &Path) -> (PathBuf, PathBuf) {
    let (old, new) = (directory.join("old"), directory.join("new"));
    let group = group();
    let node = Node::join(&group, 1, new.clone()).online();
    let shop = Shop::open(&group);
    for _ in 0..200 {
        shop.write(3).unwrap();
    }
    Node::join(&group, 2, old.clone()).online().leave();
    fill(&group, large());
    for _ in 0..200 {
        shop.write(3).unwrap();
    }
    node.rows(&group.executed());
    node.leave();
    (old, new)
}

fn copy(from: &Path, to: &Path) {
    let _ = std::fs::remove_dir_all(to);
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() {
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

fn found(store: &Path) -> (GtidSet, String) {
    let snapshot = Store::open_read_only(store).unwrap();
    (snapshot.gtid_executed().clone(), rows(&snapshot))
}

#[test]
fn a_joiner_that_is_killed_while_it_clones_has_the_old_data_or_the_new() {
    let directory = tempfile::tempdir().unwrap();
    let (old_store, new_store) = history(directory.path());
    let (old, new) = (found(&old_store), found(&new_store));
    assert!(old.0.is_subset(&new.0) && old.1 != new.1);
    let rows = BinlogDirectory::open_store(&new_store).unwrap();
    let mut options = DonorOptions::new(vec![Account::new("recovery", b"secret")]);
    // A second, at least.
    options.max_rate = Some(Store::open_read_only(&new_store).unwrap().bytes());
    let donor = Donor::start("127.0.0.1:0", Arc::new(rows), options).unwrap();
    let url = format!("mysql://recovery:secret@{}", donor.local_addr());
    let trial = directory.path().join("trial");
    let recover = || {
        copy(&old_store, &trial);
        let mut command = Command::new(env!("CARGO_BIN_EXE_rejoin"));
        command
            .args(["recover", "--quiet", "--json", "--clone-threshold=1"])
            .args(["--group", &url, "--store"])
            .arg(&trial)
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        command
    };
    let began = Instant::now();
    let output = recover().output().unwrap();
    let took = began.elapsed();
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{told}");
    assert!(told.contains(r#""state":"complete""#), "{told}");
    assert!(found(&trial) == new);

    let (mut was_old, mut was_new) = (0, 0);
    for number in 0..10 {
        let mut child = recover().spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        if number % 2 == 0 {
            std::thread::sleep(took.mul_f64(rand::rng().random_range(0.1..0.9)));
        } else {
            // About where the new data takes the place of the old.
            let is_complete = |line: &String| line.contains(r#""state":"complete""#);
            assert!(lines.map(Result::unwrap).any(|line| is_complete(&line)));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let found = found(&trial);
        if found.0 == old.0 {
            assert!(found.1 == old.1, "the old GTIDs with other rows");
            was_old += 1;
        } else {
            assert!(found == new, "neither the old data nor the new");
            was_new += 1;
        }
    }
    assert!(was_old > 0 && was_new > 0, "{was_old} old, {was_new} new");
    println!("killed ten times in {took:?}: {was_old} times the old data, {was_new} times the new");
}
