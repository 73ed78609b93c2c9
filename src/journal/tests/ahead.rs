//! Segments that are written ahead, and the next one that is made before it is needed.

use std::collections::BTreeMap;

use super::*;
use crate::transaction::PartSlice;

type Files = BTreeMap<String, Vec<u8>>;

pub(super) fn ahead() -> JournalOptions {
    JournalOptions {
        sync: true,
        write_ahead_bytes: 700,
        ..sizes()
    }
}

/// All files of a log as a process finds them that starts after the writing one was killed now.
fn files(directory: &Path) -> Files {
    let entries = fs::read_dir(directory).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names
        .map(|name| (name.clone(), fs::read(directory.join(name)).unwrap()))
        .collect()
}

/// Makes the directory hold these files and no others.
fn put(directory: &Path, files: &Files) {
    for entry in fs::read_dir(directory).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
    for (name, bytes) in files {
        fs::write(directory.join(name), bytes).unwrap();
    }
}

fn length(journal: &Journal) -> u64 {
    let tail = journal.tail();
    let path = tail.directory().join(tail.file_name(tail.end().segment));
    fs::metadata(path).unwrap().len()
}

fn segments(files: &Files) -> impl Iterator<Item = (&String, &Vec<u8>)> {
    let is_segment = |name: &str| name.rsplit('.').next().unwrap().parse::<u64>().is_ok();
    files.iter().filter(move |(name, _)| is_segment(name))
}

/// How many transactions of `tried` a log holds, which must be the first ones; it may have been purged.
pub(super) fn count_of(journal: &Journal, found: &Contents, tried: &Contents, what: &str) -> usize {
    let count = journal.gtid_executed().count() as usize;
    assert_eq!(*found, tried[count - found.len()..count], "{what}");
    count
}

#[test]
fn a_commit_within_the_space_leaves_the_length_as_it_is() {
    let directory = memory_directory();
    let disk = Disk::default();
    let options = JournalOptions {
        segment_bytes: 10_000,
        ..ahead()
    };
    let (mut journal, _) = open_on(disk.clone(), directory.path(), &options).unwrap();
    let (mut before, mut lengths) = (length(&journal), 0);
    for group in groups(&mut Source::new(), 40) {
        let syncs = disk.syncs();
        append(&mut journal, &group).unwrap();
        if journal.end().segment > 1 {
            break;
        }
        let end = journal.end().offset;
        let expected = end.next_multiple_of(700).min(10_000).max(end);
        assert!(length(&journal) == before || length(&journal) == expected);
        assert!(length(&journal) >= end);
        assert!(journal.wait_for_spare() || disk.syncs() == syncs + 1);
        lengths += u64::from(length(&journal) != before);
        before = length(&journal);
    }
    assert!(
        journal.end().segment > 1 && (13..=15).contains(&lengths),
        "{lengths}"
    );
}

/// Reads and changes nothing but what the option is about: the files are the same in the end.
#[test]
fn closed_and_rotated_segments_are_those_of_a_log_that_grows() {
    let written = |options: &JournalOptions| {
        let directory = memory_directory();
        let (mut journal, _) = open(directory.path(), options).unwrap();
        let mut source = Source::new();
        for (number, group) in groups(&mut source, 30).iter().enumerate() {
            append(&mut journal, group).unwrap();
            journal.wait_for_spare();
            let files = files(directory.path());
            for (name, bytes) in segments(&files) {
                let is_last = *name == journal.tail().file_name(journal.end().segment);
                let end = journal.end().offset as usize;
                assert!(!is_last || bytes[end..].iter().all(|byte| *byte == 0));
                let is_cut = is_last || bytes.ends_with(&rotate_end(bytes));
                assert!(is_cut, "{name} is longer than its events");
            }
            if number % 11 == 0 {
                drop(journal);
                assert!(!directory.path().join("binlog.spare").exists());
                journal = open(directory.path(), options).unwrap().0;
            }
        }
        drop(journal);
        files(directory.path())
    };
    let grows = JournalOptions {
        write_ahead_bytes: 0,
        ..ahead()
    };
    // Events of our own say when they were written, in seconds.
    let are_same = (0..20).any(|_| written(&ahead()) == written(&grows));
    assert!(are_same);
}

/// Where the format is another one, a segment ends before it is full.
#[test]
fn the_space_that_a_segment_does_not_need_is_given_back() {
    let place = memory_directory();
    let options = JournalOptions {
        segment_bytes: 100_000,
        write_ahead_bytes: 10_000,
        ..ahead()
    };
    let (mut journal, _) = open(place.path(), &options).unwrap();
    append(&mut journal, &groups(&mut Source::new(), 1)[0]).unwrap();
    assert_eq!(length(&journal), 10_000);
    let mut older = Source::with_version("5.7.44");
    older.skip_to(2);
    append(&mut journal, &groups(&mut older, 1)[0]).unwrap();
    assert_eq!(journal.end().segment, 2);
    let first = fs::read(place.path().join("binlog.000001")).unwrap();
    assert!(
        first.ends_with(&rotate_end(&first)),
        "{} bytes",
        first.len()
    );
    drop(journal);
    assert_eq!(open(place.path(), &options).unwrap().1.len(), 4);
}

/// The last event of a segment that has one behind the other up to its end.
fn rotate_end(bytes: &[u8]) -> Vec<u8> {
    let mut offset = 4;
    while offset + 19 <= bytes.len() {
        let length = u32::from_le_bytes(bytes[offset + 9..offset + 13].try_into().unwrap());
        if length == 0 {
            return b"zeros".to_vec();
        }
        let event = &bytes[offset..offset + length as usize];
        if event[4] == crate::binlog::EventType::ROTATE.0 {
            return event.to_vec();
        }
        offset += length as usize;
    }
    b"no Rotate".to_vec()
}

/// A transaction that a crash took away must not come back behind a later one: whatever part of what was
/// not synced is on the disk, and at whatever length of the file.
#[test]
fn no_loss_of_power_brings_anything_but_what_was_committed() {
    let ahead = JournalOptions {
        segment_bytes: 1000,
        ..ahead()
    };
    let grows = JournalOptions {
        write_ahead_bytes: 0,
        ..ahead.clone()
    };
    let directory = memory_directory();
    let (mut journal, _) = open(directory.path(), &ahead).unwrap();
    let mut tried = Contents::new();
    let place = memory_directory();
    let mut images = 0;
    for group in groups(&mut Source::new(), 9) {
        journal.wait_for_spare();
        let before = files(directory.path());
        let mut transactions = group.iter();
        journal.append(&transactions.next().unwrap()).unwrap();
        let begun = files(directory.path());
        for transaction in transactions {
            journal.append(&transaction).unwrap();
        }
        journal.commit().unwrap();
        let synced = tried.len();
        contents_of(&group, &mut tried);
        let mut check = |image: &Files| {
            images += 1;
            // The option may be another one at each opening.
            let options = [&ahead, &grows][images % 2];
            put(place.path(), image);
            check_image(place.path(), options, synced, &tried, &group);
        };
        // Up to the commit of the index the old segment is the last one.
        let rotates = before.get("binlog.index") != begun.get("binlog.index");
        if rotates {
            let mut rotated = begun.clone();
            rotated.insert("binlog.index".to_owned(), before["binlog.index"].clone());
            mixtures(&before, &rotated, &mut check);
        }
        mixtures(&begun, &files(directory.path()), &mut check);
    }
    let rotations = journal.end().segment - 1;
    assert!(rotations > 2 && images > 1000, "{rotations}, {images}");
}

/// What may be on the disk where `before` was synced and `after` was written: of the last segment that
/// `before` has, a part of the bytes that differ, and the one length or the other.
fn mixtures(before: &Files, after: &Files, check: &mut dyn FnMut(&Files)) {
    let name = segments(before).last().unwrap().0;
    let (old, new) = (&before[name], &after[name]);
    let longest = old.len().max(new.len());
    let byte = |bytes: &[u8], at: usize| bytes.get(at).copied().unwrap_or_default();
    let differs = |at: &usize| byte(old, *at) != byte(new, *at);
    let first = (0..longest).find(differs).unwrap_or(longest);
    let mut image = after.clone();
    let mut mix = |is_new: &dyn Fn(usize) -> bool| {
        let lengths = [old.len(), new.len()];
        for length in &lengths[usize::from(old.len() == new.len())..] {
            let choose = |at| byte(if is_new(at) { new } else { old }, at);
            image.insert(name.clone(), (0..*length).map(choose).collect());
            check(&image);
        }
    };
    let mut random = 0x9e37_79b9_7f4a_7c15_u64 ^ first as u64;
    for _ in 0..20 {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        mix(&|at| random >> (at / 16 % 64) & 1 == 1);
    }
    // Elsewhere a split gives what the one before it gives.
    for split in (first..longest).filter(differs) {
        mix(&|at| at >= split);
        if split % 5 == 0 {
            mix(&|at| at < split);
        }
    }
}

fn check_image(
    directory: &Path,
    options: &JournalOptions,
    synced: usize,
    tried: &Contents,
    group: &Batch,
) {
    let (mut journal, found) = open(directory, options).unwrap();
    let count = count_of(&journal, &found, tried, "after the crash");
    assert!(count >= synced, "{synced} were synced, {count} are there");
    assert!(!directory.join("binlog.spare").exists());
    // The first one that was lost comes again, alone: those that came behind it are not there.
    let Some(lost) = group.iter().nth(count - synced) else {
        return;
    };
    journal.append(&lost).unwrap();
    journal.commit().unwrap();
    let killed = files(directory);
    drop(journal);
    put(directory, &killed);
    let (journal, found) = open(directory, options).unwrap();
    let again = count_of(&journal, &found, tried, "after the second crash");
    assert_eq!(again, count + 1);
}

/// The spare file of a process that was killed has who knows what in it.
#[test]
fn nothing_of_an_old_spare_file_gets_into_the_log() {
    let place = memory_directory();
    let directory = place.path();
    let spare = directory.join("binlog.spare");
    // A segment with a head of the same length as the next one's will be.
    let elsewhere = memory_directory();
    let (mut journal, _) = open(elsewhere.path(), &ahead()).unwrap();
    for group in groups(&mut Source::new(), 12) {
        append(&mut journal, &group).unwrap();
    }
    let mut old = fs::read(elsewhere.path().join("binlog.000002")).unwrap();
    old.truncate(1500);
    fs::write(&spare, &old).unwrap();
    let (mut journal, _) = open(directory, &ahead()).unwrap();
    assert!(!spare.exists());
    // And one that comes behind our back.
    fs::write(&spare, &old).unwrap();
    let mut tried = Contents::new();
    let mut renamed = 0;
    for group in groups(&mut Source::new(), 25) {
        let (last, was_there) = (journal.end().segment, journal.wait_for_spare());
        for transaction in group.iter() {
            journal.append(&transaction).unwrap();
        }
        contents_of(&group, &mut tried);
        if journal.end().segment > last && was_there {
            renamed += 1;
            assert_eq!(length(&journal), ahead().segment_bytes);
        }
        let is_written = [false, true];
        for is_committed in is_written {
            if is_committed {
                journal.commit().unwrap();
            }
            let copy = memory_directory();
            put(copy.path(), &files(directory));
            let (opened, found) = open(copy.path(), &ahead()).unwrap();
            let count = count_of(&opened, &found, &tried, "beside an old spare file");
            assert_eq!(
                count,
                tried.len() - if is_committed { 0 } else { group.len() }
            );
        }
    }
    assert!(renamed > 4, "{renamed}");
    fs::write(&spare, &old).unwrap();
    drop(journal);
    drop(open(directory, &sizes()).unwrap());
    assert!(!spare.exists(), "also without the option");
}

#[test]
fn what_a_crash_leaves_of_the_space_is_kept_or_cut() {
    let place = memory_directory();
    let options = JournalOptions {
        segment_bytes: 100_000,
        write_ahead_bytes: 5000,
        ..ahead()
    };
    let (mut journal, _) = open(place.path(), &options).unwrap();
    let mut source = Source::new();
    let mut tried = Contents::new();
    for group in groups(&mut source, 3) {
        append(&mut journal, &group).unwrap();
        contents_of(&group, &mut tried);
    }
    let killed = files(place.path());
    let end = journal.end();
    assert_eq!(length(&journal), 5000);
    drop(journal);
    let next = groups(&mut source, 1).remove(0);
    contents_of(&next, &mut tried);

    put(place.path(), &killed);
    let (mut journal, found) = open(place.path(), &options).unwrap();
    assert_eq!((&found[..], journal.end()), (&tried[..6], end));
    assert_eq!(length(&journal), 5000);
    append(&mut journal, &next).unwrap();
    assert_eq!(length(&journal), 5000);
    drop(journal);
    assert_eq!(open(place.path(), &options).unwrap().1, tried);

    put(place.path(), &killed);
    let grows = JournalOptions {
        write_ahead_bytes: 0,
        ..options
    };
    let (mut journal, found) = open(place.path(), &grows).unwrap();
    assert_eq!((&found[..], journal.end()), (&tried[..6], end));
    assert_eq!(length(&journal), end.offset);
    append(&mut journal, &next).unwrap();
    assert_eq!(length(&journal), journal.end().offset);
    drop(journal);
    assert_eq!(open(place.path(), &grows).unwrap().1, tried);
}

/// Zeros are not what `keep_bytes` speaks of: a log that is written ahead keeps what another one keeps.
#[test]
fn purging_counts_what_is_in_the_log() {
    let kept = [0, 700].map(|write_ahead_bytes| {
        let place = memory_directory();
        let options = JournalOptions {
            keep_bytes: Some(4000),
            write_ahead_bytes,
            ..ahead()
        };
        let (mut journal, _) = open(place.path(), &options).unwrap();
        let mut kept = Vec::new();
        for group in groups(&mut Source::new(), 30) {
            append(&mut journal, &group).unwrap();
            journal.wait_for_spare();
            journal.purge(u64::MAX).unwrap();
            kept.push(journal.tail().segments().unwrap());
        }
        kept
    });
    assert!(kept[0].last().unwrap()[0] > 1);
    assert_eq!(kept[0], kept[1]);
}

#[test]
fn a_transaction_in_parts_that_has_no_end_takes_its_space_with_it() {
    let place = memory_directory();
    let options = JournalOptions {
        segment_bytes: 100_000,
        ..ahead()
    };
    let mut source = Source::new();
    let (mut journal, _) = open(place.path(), &options).unwrap();
    let mut tried = Contents::new();
    let all = groups(&mut source, 9);
    append(&mut journal, &all[3]).unwrap();
    contents_of(&all[3], &mut tried);
    let large = all[8].iter().nth(1).unwrap();
    let parts: Vec<_> = PartSlice::of(&large, 100).collect();
    assert!(parts.len() > 2);
    for part in &parts[..parts.len() - 1] {
        journal.append_part(*part).unwrap();
    }
    let killed = files(place.path());
    journal.abandon_parts().unwrap();
    assert_eq!(length(&journal), journal.end().offset);
    for part in &parts {
        journal.append_part(*part).unwrap();
    }
    assert_eq!(length(&journal), journal.end().offset.next_multiple_of(700));
    let whole = files(place.path());
    drop(journal);
    assert_eq!(open(place.path(), &options).unwrap().1.len(), 3);

    put(place.path(), &whole);
    assert_eq!(open(place.path(), &options).unwrap().1.len(), 3);
    put(place.path(), &killed);
    let (mut journal, found) = open(place.path(), &options).unwrap();
    assert_eq!(found, tried);
    assert_eq!(length(&journal), journal.end().offset);
    append(&mut journal, &all[4]).unwrap();
    contents_of(&all[4], &mut tried);
    drop(journal);
    assert_eq!(open(place.path(), &options).unwrap().1, tried);
}
