//! Transactions that are written in parts, because they are too large to be held.

use super::*;
use crate::binlog::GtidEvent;

/// A transaction that was written in parts, the end of which nobody knew at the beginning, is the same
/// in the file as one that was written whole: its length is right, too.
#[test]
fn parts_of_a_transaction_are_in_the_file_what_the_whole_is() {
    let mut source = Source::new();
    source.rows(&[Change::Insert(Item {
        note: Some(vec![b'x'; 70_000]),
        ..Item::new(1, "row")
    })]);
    let batch = source.take();
    let transaction = batch.first().unwrap();
    for size in [1, 1000, 1 << 20] {
        let mut files = Vec::new();
        for in_parts in [false, true] {
            let place = memory_directory();
            let directory = directory(place.path());
            let mut log = directory.empty_log(CHANNEL, SyncRelayLog::Each).unwrap();
            log.begin(GtidSet::new(), Duration::ZERO).unwrap();
            if in_parts {
                for mut part in PartSlice::of(&transaction, size).map(own) {
                    if part.is_first {
                        say_another_length(&mut part);
                    }
                    log.append_part(&part).unwrap();
                }
            } else {
                log.append(&batch, false).unwrap();
            }
            log.write(Duration::ZERO).unwrap();
            let path = log.open.as_ref().unwrap().journal.index().file_path(1);
            let start = {
                let bytes = fs::read(&path).unwrap();
                4 + event_length(&bytes[4..])
                    + event_length(&bytes[4 + event_length(&bytes[4..])..])
            };
            files.push(fs::read(&path).unwrap()[start..].to_vec());
        }
        assert_eq!(files[0].len(), files[1].len());
        assert!(files[0] == files[1], "parts of {size} bytes");
    }
}

/// The source has its events without checksums, so that its transaction is shorter than ours. (What the
/// sample source says takes fewer bytes.)
fn say_another_length(part: &mut Part) {
    let length = event_length(&part.bytes);
    let mut event = GtidEvent::decode(&part.format, &part.bytes[..length]).unwrap();
    event.transaction_length = 70_000;
    let body = event.body();
    part.bytes[9..13].copy_from_slice(&(19 + body.len() as u32).to_le_bytes());
    part.bytes.splice(19..length, body);
}

/// The process dies while a transaction is written in parts: cut at any byte, nothing of it is there,
/// but for the last.
#[test]
fn a_large_transaction_is_there_whole_or_not_at_all() {
    let place = memory_directory();
    let mut source = Source::new();
    source.statement("CREATE TABLE t (a INT)");
    source.rows(&[
        Change::Insert(Item::new(1, vec![b'x'; 250])),
        Change::Insert(Item::new(2, vec![b'y'; 250])),
        Change::Insert(Item::new(3, vec![b'z'; 250])),
    ]);
    let batch = source.take();
    let large = batch.get(1).unwrap();
    let name = {
        let directory = directory(place.path());
        let mut log = directory.empty_log(CHANNEL, SyncRelayLog::Each).unwrap();
        log.begin(GtidSet::new(), Duration::ZERO).unwrap();
        let mut first = Batch::new();
        first.push(&batch.first().unwrap());
        log.append(&first, false).unwrap();
        for part in PartSlice::of(&large, 100).map(own) {
            log.append_part(&part).unwrap();
        }
        log.write(Duration::ZERO).unwrap();
        let index = log.open.as_ref().unwrap().journal.index();
        index.file_name(1)
    };
    let whole = fs::read(place.path().join(&name)).unwrap();
    let mut seen = 0;
    for cut in whole.len() - large.bytes().len()..=whole.len() {
        let copy = copy_of(place.path());
        fs::write(copy.path().join(&name), &whole[..cut]).unwrap();
        let (mut log, unapplied) = reopened(copy.path(), &GtidSet::new()).unwrap();
        let count = if cut == whole.len() { 2 } else { 1 };
        assert_eq!(unapplied, gtids(1, count), "cut at {cut}");
        assert_eq!(Contents::read_all(&mut log).unwrap().0.len() as u64, count);
        seen += 1;
    }
    assert!(seen > 500, "{seen}");
}

/// The thread that reads has others to look after: however large a transaction is, it looks at a bounded
/// part of it at a time.
#[test]
fn a_large_transaction_is_looked_at_a_part_at_a_time() {
    let place = memory_directory();
    let directory = directory(place.path());
    let mut log = directory.empty_log(CHANNEL, SyncRelayLog::Never).unwrap();
    log.begin(GtidSet::new(), Duration::ZERO).unwrap();
    let mut source = Source::new();
    let rows: Vec<Change> = (0..20)
        .map(|id| Change::Insert(Item::new(id, vec![b'x'; 250])))
        .collect();
    source.rows(&rows);
    let large = source.take();
    for part in PartSlice::of(&large.first().unwrap(), 100).map(own) {
        log.append_part(&part).unwrap();
    }
    let mut looks = 0;
    let load = loop {
        looks += 1;
        if let Some(load) = log.read(Batch::new()).unwrap() {
            break load;
        }
        assert_eq!(log.unread(), 1);
    };
    assert_eq!(loaded(load).unwrap().gtids(), large.gtids());
    assert!((3..=7).contains(&looks), "{looks} looks at 5 KiB");
    assert_eq!(log.unread(), 0);
}

/// A reader has read ahead when a transaction is taken back: what it has in memory are the first parts of
/// one member's copy, where the file has something else by then.
#[test]
fn what_was_taken_back_is_not_read_from_memory() {
    let place = memory_directory();
    let directory = directory(place.path());
    let mut log = directory.empty_log(CHANNEL, SyncRelayLog::Never).unwrap();
    log.begin(GtidSet::new(), Duration::ZERO).unwrap();
    let mut source = Source::new();
    source.statement("CREATE TABLE t (a INT)");
    let before = source.take();
    source.rows(&[
        Change::Insert(Item::new(1, vec![b'x'; 250])),
        Change::Insert(Item::new(2, vec![b'y'; 250])),
    ]);
    let taken_back = source.take();
    source.statement("CREATE TABLE another_one (a INT, b INT)");
    let behind = source.take();

    log.append(&before, false).unwrap();
    let parts: Vec<Part> = PartSlice::of(&taken_back.first().unwrap(), 100)
        .map(own)
        .collect();
    let (_last, first) = parts.split_last().unwrap();
    for part in first {
        log.append_part(part).unwrap();
    }
    let read = loaded(read(&mut log).unwrap().unwrap()).unwrap();
    assert_eq!(read.gtids(), before.gtids());
    log.abandon_parts().unwrap();
    log.append(&behind, false).unwrap();
    let mut expected = Contents::default();
    expected.add(&behind);
    assert_eq!(Contents::read_all(&mut log).unwrap(), expected);
}
