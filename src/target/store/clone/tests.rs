use std::path::Path;

use super::super::Snapshot;
use super::*;
use crate::journal::disk::Disk;
use crate::sample::{CREATE_TABLE, Change, Item, Source};
use crate::target::Target;

// Compiled for each kind of store.
#[allow(clippy::duplicate_mod)]
#[path = "../../tables/clone_tests.rs"]
mod cloning;

use cloning::{Donor, History, contents, expected};

fn memory_directory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().unwrap())
}

/// Has what was applied read from elsewhere when the store is opened next.
fn checkpoint(store: &mut Store) {
    store.checkpoint().unwrap();
}

fn old_store(directory: &Path) -> Store {
    old_store_on(Disk::default(), directory).unwrap()
}

/// Every operation on the disk fails in its turn, and some leave half of a write behind, as a crash
/// does: what is opened then has the old data or the new, whole, with its GTIDs.
#[test]
fn after_any_fault_the_old_data_or_the_new_is_there() {
    let history = History::random(9, 60, false);
    let last = history.states.len() - 1;
    let donor = Donor::new(history, vec![(last, None)]);
    let new = expected(&donor.history.states[last]);
    let (mut old_found, mut new_found) = (0, 0);
    for for_good in [false, true] {
        for n in 0..200 {
            let directory = memory_directory();
            let disk = Disk::failing_at(n, for_good);
            let Ok(mut store) = old_store_on(disk.clone(), directory.path()) else {
                continue;
            };
            let old = contents(&store.reader().snapshot());
            let before = disk.has_failed();
            let received = store.receive(&donor);
            let in_memory = contents(&store.reader().snapshot());
            let failed = disk.has_failed() && !before;
            if let Err(failure) = &received {
                assert!(failed, "{failure:?}");
                assert_eq!(in_memory, old, "fault {n}");
            } else {
                assert_eq!(in_memory, new, "fault {n}");
            }
            let says_gone = received.is_err_and(|failure| failure.data_dropped);
            drop(store);
            let read_only = Store::open_read_only(directory.path()).unwrap();
            let store = Store::open(directory.path()).unwrap();
            let found = contents(&store.reader().snapshot());
            assert_eq!(contents(&read_only), found, "fault {n}");
            if found == old {
                old_found += 1;
                assert_eq!(store.gtid_executed().count(), 3, "fault {n}");
            } else {
                new_found += 1;
                assert_eq!(found, new, "fault {n}");
                assert_eq!(
                    store.gtid_executed(),
                    donor.history.states[last].gtid_executed
                );
                assert!(says_gone || !failed || in_memory == new, "fault {n}");
            }
            if !disk.has_failed() {
                break;
            }
        }
    }
    assert!(old_found > 3 && new_found > 3, "{old_found} {new_found}");
}

/// A store with data of its own that no donor has.
fn old_store_on(disk: Disk, directory: &Path) -> Result<Store> {
    let mut store = Store::open_on(disk, directory, StoreOptions::default())?;
    let mut source = Source::new();
    source.skip_to(1_000_000);
    source.statement("CREATE DATABASE shop");
    source.statement(CREATE_TABLE);
    source.rows(&[Change::Insert(Item::new(1, "old"))]);
    store.apply(&source.take())?;
    store.checkpoint()?;
    Ok(store)
}
