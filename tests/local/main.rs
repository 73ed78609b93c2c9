//! Groups within this process: members with stores and donors on loopback, one total order.
#![allow(clippy::print_stdout, missing_docs, unreachable_pub)]

mod clone;
mod demo;
mod member;
mod proxy;
mod shop;

use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rejoin::ErrorKind;
use rejoin::binlog::{EventType, LogReader, Value, ViewChangeEvent};
use rejoin::engine::Event;
use rejoin::group::MemberState;
use rejoin::group::local::{ColumnType, LocalGroup, LocalTable};
use rejoin::net::ConnectOptions;

use member::{Node, WAIT, group, uuid};
use shop::{Load, Shop};

fn states(group: &LocalGroup) -> Vec<MemberState> {
    let view = group.view();
    view.members.iter().map(|member| member.state).collect()
}

#[test]
fn a_member_joins_under_load_and_all_have_the_same_rows_and_logs() {
    let directory = tempfile::tempdir().unwrap();
    let group = group();
    let first = Node::join(&group, 1, directory.path().join("1")).online();
    let second = Node::join(&group, 2, directory.path().join("2")).online();
    let shop = Arc::new(Shop::open(&group));
    for _ in 0..500 {
        shop.write(1).unwrap();
    }
    let load = Load::through(&shop, &first.reader);
    let mut third = Node::join(&group, 3, directory.path().join("3")).online();
    load.stop();
    assert_eq!(states(&group), [MemberState::Online; 3]);
    let executed = group.executed();
    let rows = first.rows(&executed);
    assert!(rows.lines().count() > 100, "{rows}");
    assert!(second.rows(&executed) == rows && third.rows(&executed) == rows);

    // Every log has every view change at its place in the same order.
    let logs: Vec<_> = (1..=3)
        .map(|number| transactions(&directory.path().join(number.to_string())))
        .collect();
    assert_eq!(logs[0], logs[1]);
    assert_eq!(logs[0], logs[2]);
    let views = logs[0].iter().filter_map(|(_, view)| view.as_deref());
    let numbers: Vec<&str> = views.map(|view| view.split_once(':').unwrap().1).collect();
    assert_eq!(numbers, ["1", "2", "3"]);
    // The joiner's first phase ended at its own.
    let plan = third.events.find_map(|event| match event {
        Event::Planned(plan) => Some(plan),
        _ => None,
    });
    assert!(plan.unwrap().missing.count() > 500);
}

/// Each transaction of a log: its GTID, and its view where it is a view change.
fn transactions(directory: &std::path::Path) -> Vec<(String, Option<String>)> {
    let index = std::fs::read_to_string(directory.join("binlog.index")).unwrap();
    let mut transactions: Vec<(String, Option<String>)> = Vec::new();
    for name in index.lines() {
        let limits = rejoin::Limits::default();
        let mut reader = LogReader::open(directory.join(name), &limits).unwrap();
        while let Some(event) = reader.next_event().unwrap() {
            if event.header.event_type == EventType::GTID {
                let gtid = rejoin::binlog::GtidEvent::decode(event.format, event.bytes).unwrap();
                transactions.push((gtid.gtid.to_string(), None));
            } else if event.header.event_type == EventType::VIEW_CHANGE {
                let view = ViewChangeEvent::decode(event.format, event.bytes).unwrap();
                let id = String::from_utf8(view.view_id.to_vec()).unwrap();
                transactions.last_mut().unwrap().1 = Some(id);
            }
        }
    }
    transactions
}

#[test]
fn a_donor_that_dies_in_mid_transfer_is_followed_by_the_next() {
    let directory = tempfile::tempdir().unwrap();
    let group = group();
    let first = Node::join(&group, 1, directory.path().join("1")).online();
    let second = Node::join(&group, 2, directory.path().join("2")).online();
    let shop = Shop::open(&group);
    for _ in 0..2000 {
        shop.write(1).unwrap();
    }
    let executed = group.executed();
    let mut donors = vec![first, second];
    for donor in &donors {
        donor.rows(&executed);
        donor.donor.set_max_rate(Some(100_000));
    }
    let mut joiner = Node::join(&group, 3, directory.path().join("3"));
    let chosen = joiner.events.find_map(|event| match event {
        Event::Donor { donor, .. } => Some(donor.uuid),
        _ => None,
    });
    let deadline = Instant::now() + WAIT;
    while joiner.member.status().transactions < 50 {
        assert!(Instant::now() < deadline, "{:?}", joiner.member.status());
        std::thread::sleep(Duration::from_millis(5));
    }
    let index = donors.iter().position(|donor| Some(donor.uuid) == chosen);
    donors.remove(index.unwrap()).crash(&group);
    donors[0].donor.set_max_rate(None);
    joiner.member.wait_online(WAIT).unwrap();
    assert_eq!(joiner.member.status().attempts, 2);
    assert_eq!(states(&group), [MemberState::Online; 2]);
    let executed = group.executed();
    assert_eq!(joiner.rows(&executed), donors[0].rows(&executed));
}

#[test]
fn whoever_cannot_take_part_is_told_why() {
    let directory = tempfile::tempdir().unwrap();
    let group = group();
    let table = LocalTable::new("d", "t", &[("id", ColumnType::Int)]).unwrap();
    let error = group.create_table(&table).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::GroupUnavailable);
    assert_eq!(
        group.begin().commit().unwrap_err().kind(),
        ErrorKind::Configuration
    );

    let first = Node::join(&group, 1, directory.path().join("1")).online();
    let twin = Node::join(&group, 1, directory.path().join("twin"));
    let error = twin.member.wait_online(WAIT).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration, "{error}");
    drop(twin);
    assert_eq!(states(&group), [MemberState::Online]);

    // A member with transactions that the group does not know is refused, and shown as failed.
    let stranger = LocalGroup::new(uuid(0xbb), ConnectOptions::new("recovery", "secret")).unwrap();
    let path = directory.path().join("2");
    Node::join(&stranger, 2, path.clone()).online().leave();
    let errant = Node::join(&group, 2, path);
    let error = errant.member.wait_online(WAIT).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Errant, "{error}");
    assert_eq!(states(&group), [MemberState::Online, MemberState::Error]);
    drop(errant);
    first.leave();
    assert_eq!(states(&group), [MemberState::Error]);
}

#[test]
fn a_conflict_on_every_donor_ends_in_error_which_all_others_see() {
    let directory = tempfile::tempdir().unwrap();
    let group = group();
    let first = Node::join(&group, 1, directory.path().join("1")).online();
    let table = LocalTable::new("d", "t", &[("id", ColumnType::Int)]).unwrap();
    group.create_database("d").unwrap();
    group.create_table(&table).unwrap();
    let mut transaction = group.begin();
    transaction.delete(&table, &[Value::Int(7)]).unwrap();
    transaction.commit().unwrap();
    // What no member can apply ends every member that gets it.
    let deadline = Instant::now() + WAIT;
    while !first.member.is_ended() {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(states(&group), [MemberState::Error]);
    let error = first.member.join().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    let refused = group.create_table(&table).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::GroupUnavailable);
}

/// Members join, leave, crash and come back under load, in an order that a seed decides; in the end
/// all that are present have the same rows.
#[test]
fn whatever_happens_to_members_the_rows_are_equal_in_the_end() {
    for seed in seeds() {
        println!("seed {seed}");
        churn(seed);
    }
}

/// `REJOIN_SEEDS=from..to` for more than the few of every run.
fn seeds() -> std::ops::Range<u64> {
    let Ok(text) = std::env::var("REJOIN_SEEDS") else {
        return 1..4;
    };
    let (from, to) = text.split_once("..").expect("from..to");
    from.parse().unwrap()..to.parse().unwrap()
}

fn churn(seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let directory = tempfile::tempdir().unwrap();
    let path = |number: u8| directory.path().join(number.to_string());
    let group = group();
    let mut nodes = vec![Node::join(&group, 1, path(1)).online()];
    let mut absent: Vec<u8> = (2..=6).collect();
    let shop = Arc::new(Shop::open(&group));
    let pause = Duration::from_micros(random.random_range(50..500));
    let load = Load::paced(&shop, pause);
    for _ in 0..12 {
        std::thread::sleep(Duration::from_millis(random.random_range(0..120)));
        let online: Vec<usize> = (0..nodes.len())
            .filter(|index| nodes[*index].member.wait_online(Duration::ZERO).is_ok())
            .collect();
        if random.random_bool(0.6) && !absent.is_empty() {
            let number = absent.remove(random.random_range(0..absent.len()));
            nodes.push(Node::join(&group, number, path(number)));
        } else if online.len() > 1 {
            // The last ONLINE member stays, or nobody could serve the others.
            let index = online[random.random_range(0..online.len())];
            let node = nodes.remove(index);
            absent.push(node.uuid.0[0]);
            if random.random_bool(0.5) {
                node.crash(&group);
            } else {
                node.leave();
            }
        }
    }
    // On a busy machine a member may be slower than the load for as long as that lasts.
    load.stop();
    for node in &nodes {
        if let Err(error) = node.member.wait_online(WAIT) {
            let status = node.member.status();
            panic!(
                "seed {seed}: {} is not ONLINE: {error}: {status:?}",
                node.uuid
            );
        }
    }
    let executed = group.executed();
    let rows = nodes[0].rows(&executed);
    for node in &nodes[1..] {
        assert!(node.rows(&executed) == rows, "seed {seed}: {}", node.uuid);
    }
    let view = group.view();
    assert_eq!(view.online().count(), nodes.len(), "seed {seed}");
}
