mod ahead;
mod speed;

use std::fs;
use std::path::Path;

use super::disk::Disk;
use super::*;
use crate::gtid::{GtidSet, Tag};
use crate::sample::{Change, Item, Source};
use crate::transaction::Batch;
use crate::{Error, ErrorKind, Limits, Result};

/// A directory without the waiting for a disk, where the machine has one.
fn memory_directory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().unwrap())
}

/// The transactions that a log gave back: GTID and bytes, without what the log makes anew.
type Contents = Vec<(String, Vec<u8>)>;

/// All events of each transaction behind its GTID event, as they stand in the batch, positions zeroed.
fn contents_of(batch: &Batch, contents: &mut Contents) {
    for transaction in batch.iter() {
        let mut bytes = Vec::new();
        for (_, event) in transaction.events().skip(1) {
            let start = bytes.len();
            bytes.extend_from_slice(event);
            bytes[start + 13..start + 17].fill(0);
        }
        contents.push((transaction.gtid().to_string(), bytes));
    }
}

fn open(directory: &Path, options: &JournalOptions) -> Result<(Journal, Contents)> {
    open_on(Disk::default(), directory, options)
}

fn open_on(disk: Disk, directory: &Path, options: &JournalOptions) -> Result<(Journal, Contents)> {
    let mut contents = Contents::new();
    let journal = Journal::open_on(
        disk,
        directory,
        options.clone(),
        &Limits::default(),
        None,
        &mut |batch| {
            contents_of(batch, &mut contents);
            Ok(())
        },
    )?;
    Ok((journal, contents))
}

fn append(journal: &mut Journal, batch: &Batch) -> Result<()> {
    for transaction in batch.iter() {
        journal.append(&transaction)?;
    }
    journal.commit().map(drop)
}

/// `count` groups of transactions of different sizes.
fn groups(source: &mut Source, count: i64) -> Vec<Batch> {
    let mut groups = Vec::new();
    for number in 0..count {
        source.statement("CREATE TABLE t (a INT)");
        let name = vec![b'x'; (number as usize * 37) % 200];
        source.rows(&[Change::Insert(Item::new(number, name))]);
        groups.push(source.take());
    }
    groups
}

fn sizes() -> JournalOptions {
    JournalOptions {
        segment_bytes: 1500,
        sync: false,
        ..JournalOptions::default()
    }
}

#[test]
fn what_was_committed_comes_back_over_several_segments() {
    let mut source = Source::new();
    let mut tagged = Source::with_tag(Tag::new(b"tag").unwrap());
    let directory = memory_directory();
    let mut expected = Contents::new();
    let (mut journal, nothing) = open(directory.path(), &sizes()).unwrap();
    assert!(nothing.is_empty());
    let mut all = groups(&mut source, 20);
    all.extend(groups(&mut tagged, 5));
    for (number, group) in all.iter().enumerate() {
        if number % 6 == 0 {
            drop(journal);
            journal = open(directory.path(), &sizes()).unwrap().0;
        }
        append(&mut journal, group).unwrap();
        contents_of(group, &mut expected);
    }
    assert!(journal.end().segment > 3, "{:?}", journal.end());
    let (executed, end) = (journal.gtid_executed().clone(), journal.end());
    drop(journal);
    let (journal, found) = open(directory.path(), &sizes()).unwrap();
    assert_eq!(found, expected);
    assert_eq!(*journal.gtid_executed(), executed);
    assert_eq!(journal.end(), end);
    assert_eq!(executed.count(), 50);
}

/// An event that was allowed when it was written is no damage where less is allowed.
#[test]
fn a_smaller_limit_cuts_nothing_off() {
    let directory = memory_directory();
    let (mut journal, _) = open(directory.path(), &sizes()).unwrap();
    let mut expected = Contents::new();
    for group in groups(&mut Source::new(), 5) {
        append(&mut journal, &group).unwrap();
        contents_of(&group, &mut expected);
    }
    drop(journal);
    let limits = Limits {
        event_bytes: 150,
        ..Limits::default()
    };
    let opened = Journal::open(directory.path(), sizes(), &limits, None, &mut |_| Ok(()));
    assert_eq!(opened.unwrap_err().kind(), ErrorKind::Limit);
    let (_, found) = open(directory.path(), &sizes()).unwrap();
    assert_eq!(found, expected);
}

/// A process that was killed may have left what it had not waited for.
#[test]
fn what_is_found_is_on_the_disk_before_it_counts() {
    let directory = memory_directory();
    let options = JournalOptions {
        sync: true,
        ..sizes()
    };
    drop(open(directory.path(), &options).unwrap());
    let disk = Disk::default();
    let (_journal, _) = open_on(disk.clone(), directory.path(), &options).unwrap();
    assert!(disk.syncs() > 0);
}

#[test]
fn reading_starts_where_it_is_asked_to() {
    let mut source = Source::new();
    let directory = memory_directory();
    let (mut journal, _) = open(directory.path(), &sizes()).unwrap();
    let mut expected = Contents::new();
    let mut from = None;
    for (number, group) in groups(&mut source, 12).iter().enumerate() {
        append(&mut journal, group).unwrap();
        if number == 7 {
            from = Some((journal.end(), journal.gtid_executed().clone()));
        } else if number > 7 {
            contents_of(group, &mut expected);
        }
    }
    let end = journal.end();
    drop(journal);
    let mut found = Contents::new();
    let limits = Limits::default();
    let journal = Journal::open(directory.path(), sizes(), &limits, from, &mut |batch| {
        contents_of(batch, &mut found);
        Ok(())
    });
    assert_eq!(found, expected);
    let journal = journal.unwrap();
    assert_eq!(journal.end(), end);
    assert_eq!(journal.gtid_executed().count(), 24);
    drop(journal);
    let gone = Position { segment: 99, ..end };
    let error = Journal::open(
        directory.path(),
        sizes(),
        &limits,
        Some((gone, GtidSet::new())),
        &mut |_| Ok(()),
    );
    assert_eq!(error.unwrap_err().kind(), ErrorKind::TargetCorrupt);
}

#[test]
fn a_log_cut_at_any_byte_gives_its_whole_transactions() {
    let mut source = Source::new();
    let directory = memory_directory();
    let options = JournalOptions {
        sync: false,
        ..JournalOptions::default()
    };
    let (mut journal, _) = open(directory.path(), &options).unwrap();
    let mut expected = Contents::new();
    // Ends of the transactions in the file, and how many there are up to there.
    let mut ends = vec![(journal.end().offset, 0)];
    for group in groups(&mut source, 3) {
        for transaction in group.iter() {
            journal.append(&transaction).unwrap();
            journal.commit().unwrap();
            ends.push((journal.end().offset, ends.len()));
        }
        contents_of(&group, &mut expected);
    }
    drop(journal);
    let whole = fs::read(directory.path().join("binlog.000001")).unwrap();
    let head = ends[0].0 as usize;
    for cut in head..=whole.len() {
        for (filling, junk) in [(0, 0u8), (40, 0), (40, 0xa5)] {
            let copy = memory_directory();
            fs::write(copy.path().join("binlog.index"), "./binlog.000001\n").unwrap();
            let mut bytes = whole[..cut].to_vec();
            bytes.resize(cut + filling, junk);
            fs::write(copy.path().join("binlog.000001"), bytes).unwrap();
            let (mut journal, found) = open(copy.path(), &options).unwrap();
            let (end, count) = *ends.iter().rfind(|(end, _)| *end <= cut as u64).unwrap();
            assert_eq!(found, expected[..count], "cut at {cut}");
            assert_eq!(journal.end().offset, end);
            // It goes on from there as if nothing had been.
            let mut later = Source::new();
            later.skip_to(100);
            later.statement("CREATE TABLE later (a INT)");
            append(&mut journal, &later.take()).unwrap();
            drop(journal);
            let (journal, found) = open(copy.path(), &options).unwrap();
            assert_eq!(found.len(), count + 1);
            drop(journal);
        }
    }
}

#[test]
fn damage_before_the_last_segment_is_an_error() {
    let mut source = Source::new();
    let directory = memory_directory();
    let (mut journal, _) = open(directory.path(), &sizes()).unwrap();
    for group in groups(&mut source, 20) {
        append(&mut journal, &group).unwrap();
    }
    drop(journal);
    let path = directory.path().join("binlog.000002");
    let whole = fs::read(&path).unwrap();
    for at in (4..whole.len()).step_by(13) {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        fs::write(&path, bytes).unwrap();
        // The mark of an open file is the one byte that no checksum covers.
        if at != 4 + 17 {
            let error = open(directory.path(), &sizes()).map(drop).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TargetCorrupt, "byte {at}: {error}");
        }
    }
    fs::write(&path, &whole[..whole.len() - 30]).unwrap();
    let error = open(directory.path(), &sizes()).map(drop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TargetCorrupt);
}

/// Makes the nth operation on the disk fail, for every n: what was committed before must be there
/// after a restart, and what follows must be a prefix of what was tried.
#[test]
fn no_fault_of_the_disk_loses_a_commit_or_tears_a_transaction() {
    no_fault_does(&JournalOptions {
        sync: true,
        ..sizes()
    });
}

#[test]
fn no_fault_of_the_disk_does_where_it_is_written_ahead() {
    no_fault_does(&ahead::ahead());
}

fn no_fault_does(options: &JournalOptions) {
    let options = JournalOptions {
        keep_bytes: Some(3000),
        ..options.clone()
    };
    for for_good in [false, true] {
        for n in 0..10_000 {
            let directory = memory_directory();
            let disk = Disk::failing_at(n, for_good);
            let mut tried = Contents::new();
            let mut committed = 0;
            let outcome = (|| {
                let mut source = Source::new();
                let (mut journal, _) = open_on(disk.clone(), directory.path(), &options)?;
                for group in groups(&mut source, 16) {
                    contents_of(&group, &mut tried);
                    append(&mut journal, &group)?;
                    committed = tried.len();
                    journal.wait_for_spare();
                    journal.purge(u64::MAX)?;
                }
                Ok::<_, Error>(journal)
            })();
            if !disk.has_failed() {
                assert!(outcome.is_ok() && n > 10);
                break;
            }
            if let Err(error) = &outcome {
                assert_eq!(error.kind(), ErrorKind::TargetIo, "operation {n}");
            }
            drop(outcome);
            let (mut journal, found) = open(directory.path(), &options).unwrap();
            let count = ahead::count_of(&journal, &found, &tried, &format!("operation {n}"));
            assert!(count >= committed, "operation {n}");
            let mut later = Source::new();
            later.skip_to(100);
            later.statement("CREATE TABLE later (a INT)");
            append(&mut journal, &later.take()).unwrap();
        }
    }
}

#[test]
fn a_journal_that_failed_takes_nothing_more() {
    let mut source = Source::new();
    for n in 0..100 {
        let directory = memory_directory();
        let disk = Disk::failing_at(n, false);
        let Ok((mut journal, _)) = open_on(disk.clone(), directory.path(), &sizes()) else {
            continue;
        };
        source.statement("CREATE TABLE t (a INT)");
        let batch = source.take();
        let failed = append(&mut journal, &batch);
        if disk.has_failed() {
            assert_eq!(failed.unwrap_err().kind(), ErrorKind::TargetIo);
            let again = append(&mut journal, &batch).unwrap_err();
            assert!(again.to_string().contains("takes nothing more"));
            return;
        }
    }
    panic!("no operation of the commit failed");
}

#[test]
fn what_is_rolled_back_is_not_written() {
    let directory = memory_directory();
    let mut source = Source::new();
    let (mut journal, _) = open(directory.path(), &sizes()).unwrap();
    let mut expected = Contents::new();
    let all = groups(&mut source, 3);
    append(&mut journal, &all[0]).unwrap();
    contents_of(&all[0], &mut expected);
    for transaction in all[1].iter() {
        journal.append(&transaction).unwrap();
    }
    assert!(journal.pending_bytes() > 0);
    journal.roll_back();
    append(&mut journal, &all[2]).unwrap();
    contents_of(&all[2], &mut expected);
    assert_eq!(journal.gtid_executed().count(), 4);
    drop(journal);
    assert_eq!(open(directory.path(), &sizes()).unwrap().1, expected);
}

#[test]
fn a_reset_log_holds_nothing_but_what_came_before() {
    let directory = memory_directory();
    let mut source = Source::new();
    let (mut journal, _) = open(directory.path(), &sizes()).unwrap();
    for group in groups(&mut source, 10) {
        append(&mut journal, &group).unwrap();
    }
    let executed: GtidSet = "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-100"
        .parse()
        .unwrap();
    journal.reset(executed.clone()).unwrap();
    drop(journal);
    let (journal, found) = open(directory.path(), &sizes()).unwrap();
    assert!(found.is_empty());
    assert_eq!(*journal.gtid_executed(), executed);
    let files = fs::read_dir(directory.path()).unwrap().count();
    assert_eq!(files, 2, "one segment and the index");
}

#[test]
fn purging_keeps_what_somebody_needs() {
    let mut source = Source::new();
    let directory = memory_directory();
    let options = JournalOptions {
        keep_bytes: Some(4000),
        ..sizes()
    };
    let (mut journal, _) = open(directory.path(), &options).unwrap();
    for group in groups(&mut source, 30) {
        append(&mut journal, &group).unwrap();
    }
    let tail = journal.tail();
    let all = tail.segments().unwrap();
    assert!(all.len() > 6, "{all:?}");
    assert_eq!(tail.end(), journal.end());
    // Nothing before what the caller needs, nor before what a reader holds.
    assert_eq!(journal.purge(0).unwrap(), 0);
    let hold = tail.hold(3);
    assert_eq!(tail.oldest_held(), Some(3));
    assert_eq!(journal.purge(u64::MAX).unwrap(), 2);
    assert_eq!(tail.segments().unwrap(), all[2..]);
    drop(hold);
    assert!(journal.purge(u64::MAX).unwrap() > 0);
    let kept = tail.segments().unwrap();
    assert!(kept.len() >= 2 && kept.last() == all.last(), "{kept:?}");
    for number in &all {
        let exists = directory.path().join(tail.file_name(*number)).exists();
        assert_eq!(exists, kept.contains(number));
    }
    // Old ones go whatever their size, but never the last.
    drop(journal);
    let options = JournalOptions {
        expire_after: Some(std::time::Duration::ZERO),
        ..sizes()
    };
    let (mut journal, contents) = open(directory.path(), &options).unwrap();
    assert!(!contents.is_empty());
    std::thread::sleep(std::time::Duration::from_millis(20));
    journal.purge(u64::MAX).unwrap();
    assert_eq!(journal.tail().segments().unwrap(), all[all.len() - 1..]);
    let executed = journal.gtid_executed().clone();
    drop(journal);
    let (journal, _) = open(directory.path(), &options).unwrap();
    assert_eq!(*journal.gtid_executed(), executed);
}

#[test]
fn who_waits_for_the_end_is_woken_by_a_commit() {
    let mut source = Source::new();
    let directory = memory_directory();
    let (mut journal, _) = open(directory.path(), &sizes()).unwrap();
    let tail = journal.tail();
    let seen = tail.end();
    let brief = std::time::Duration::from_millis(1);
    assert_eq!(tail.wait(seen, brief), seen);
    let waiting = std::thread::spawn(move || tail.wait(seen, std::time::Duration::from_secs(20)));
    let group = groups(&mut source, 1).remove(0);
    append(&mut journal, &group).unwrap();
    assert_eq!(waiting.join().unwrap(), journal.end());
}
