//! Streams as a donor sends them: files one after the other, with events that no file has.

use rejoin::binlog::{ChecksumAlgorithm, EventHeader, EventType};
use rejoin::transaction::{Assembler, Batch, Progress, TransactionKind};
use rejoin::{ErrorKind, Limits};

use super::compose::{event, fake_rotate, format_event, gtid, query, rotate};
use ChecksumAlgorithm::{Crc32, None as NoChecksum};

fn assembler(first: ChecksumAlgorithm) -> Assembler {
    Assembler::new(Limits::default(), first)
}

/// GTID, BEGIN, a statement, COMMIT.
fn transaction(gno: u64, checksum: ChecksumAlgorithm) -> Vec<Vec<u8>> {
    vec![
        event(EventType::GTID, 0, &gtid(gno), checksum),
        event(EventType::QUERY, 0, &query("BEGIN"), checksum),
        event(
            EventType::QUERY,
            0,
            &query("INSERT INTO t VALUES (1)"),
            checksum,
        ),
        event(EventType::QUERY, 0, &query("COMMIT"), checksum),
    ]
}

fn push_all(assembler: &mut Assembler, events: &[Vec<u8>]) {
    for event in events {
        assembler.push(event).unwrap();
    }
}

#[test]
fn a_fake_rotate_has_the_checksum_of_the_file_before_it() {
    for (first, one, two) in [
        (NoChecksum, Crc32, NoChecksum),
        (Crc32, NoChecksum, Crc32),
        (NoChecksum, NoChecksum, Crc32),
        (Crc32, Crc32, NoChecksum),
    ] {
        let mut assembler = assembler(first);
        push_all(&mut assembler, &[fake_rotate("b.1", first)]);
        push_all(&mut assembler, &[format_event("9.7.4", one)]);
        push_all(&mut assembler, &transaction(1, one));
        let real = event(EventType::ROTATE, 0, &rotate("b.2", 4), one);
        push_all(&mut assembler, &[real, fake_rotate("b.2", one)]);
        // A donor may well send a heartbeat before the file's format description.
        let heartbeat = event(EventType::HEARTBEAT, 0, b"b.2", one);
        assert!(matches!(
            assembler.push(&heartbeat).unwrap(),
            Progress::Heartbeat { file: b"b.2", .. }
        ));
        push_all(&mut assembler, &[format_event("9.7.4", two)]);
        push_all(&mut assembler, &transaction(2, two));
        assert_eq!(assembler.ready().len(), 2);
        let sizes: Vec<usize> = assembler.ready().iter().map(|t| t.bytes().len()).collect();
        assert_eq!(sizes[0], sizes[1], "without checksums both are the same");
    }
}

#[test]
fn a_heartbeat_of_the_second_version_has_a_position_beyond_4_gib() {
    let mut assembler = assembler(Crc32);
    push_all(&mut assembler, &[fake_rotate("binlog.000002", Crc32)]);
    push_all(&mut assembler, &[format_event("9.7.4", Crc32)]);
    let beat = |position: &[u8]| {
        let mut body = b"\x01\x0dbinlog.000002\x02".to_vec();
        body.push(position.len() as u8);
        body.extend_from_slice(position);
        // A field that is not known, then the end.
        body.extend_from_slice(b"\x09\x02zz\0");
        event(EventType::HEARTBEAT_V2, 0, &body, Crc32)
    };
    let expected = |position| Progress::Heartbeat {
        file: b"binlog.000002",
        position,
    };
    let first = beat(b"\xfc\x52\x09");
    assert_eq!(assembler.push(&first).unwrap(), expected(0x952));
    let second = beat(b"\xfe\x00\x00\x00\x00\x05\x00\x00\x00");
    assert_eq!(assembler.push(&second).unwrap(), expected(5 << 32));
    assert_eq!(assembler.position(), (&b"binlog.000002"[..], 5 << 32));
    let error = assembler.push(&first).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Malformed);
}

#[test]
fn positions_are_followed_beyond_4_gib() {
    let mut assembler = assembler(NoChecksum);
    push_all(&mut assembler, &[fake_rotate("b.1", NoChecksum)]);
    push_all(&mut assembler, &[format_event("9.7.4", NoChecksum)]);
    let mut at = |end_log_pos: u32| {
        let mut bytes = event(EventType::PREVIOUS_GTIDS, 0, &[0; 8], NoChecksum);
        bytes[13..17].copy_from_slice(&end_log_pos.to_le_bytes());
        assembler.push(&bytes).unwrap();
        assembler.position().1
    };
    assert_eq!(at(0xf000_0000), 0xf000_0000);
    // An event without a position, and one that goes back a little, change nothing.
    assert_eq!(at(0), 0xf000_0000);
    assert_eq!(at(0xefff_0000), 0xf000_0000);
    assert_eq!(at(0x10), 0x1_0000_0010);
    assert_eq!(at(0x20), 0x1_0000_0020);
}

#[test]
fn a_heartbeat_for_another_file_is_refused() {
    let mut assembler = assembler(NoChecksum);
    push_all(&mut assembler, &[fake_rotate("b.1", NoChecksum)]);
    let heartbeat = event(EventType::HEARTBEAT, 0, b"b.2", NoChecksum);
    assert!(assembler.push(&heartbeat).is_err());
}

#[test]
fn a_transaction_that_was_cut_by_a_reconnect_comes_again_as_a_whole() {
    let mut assembler = assembler(NoChecksum);
    push_all(&mut assembler, &[format_event("9.7.4", NoChecksum)]);
    push_all(&mut assembler, &transaction(1, NoChecksum));
    push_all(&mut assembler, &transaction(2, NoChecksum)[..3]);
    assert!(assembler.open_gtid().is_some());
    assembler.reset(NoChecksum);
    push_all(&mut assembler, &[format_event("9.7.4", NoChecksum)]);
    push_all(&mut assembler, &transaction(2, NoChecksum));
    let numbers: Vec<u64> = assembler.ready().iter().map(|t| t.gtid().gno).collect();
    assert_eq!(numbers, [1, 2]);
}

#[test]
fn what_is_taken_is_whole_and_what_is_not_whole_stays() {
    let mut assembler = assembler(Crc32);
    push_all(&mut assembler, &[format_event("9.7.4", Crc32)]);
    let mut taken = Vec::new();
    let mut recycled = Batch::new();
    for gno in 1..=20 {
        for (index, event) in transaction(gno, Crc32).iter().enumerate() {
            assembler.push(event).unwrap();
            if (gno as usize + index).is_multiple_of(3) {
                let batch = assembler.take(recycled);
                for transaction in batch.iter() {
                    assert_eq!(transaction.events().count(), 4);
                    assert_eq!(transaction.kind(), TransactionKind::Dml);
                    taken.push(transaction.gtid().gno);
                }
                recycled = batch;
            }
        }
    }
    taken.extend(assembler.take(recycled).iter().map(|t| t.gtid().gno));
    assert_eq!(taken, (1..=20).collect::<Vec<u64>>());
}

#[test]
fn events_that_may_not_stand_there_are_named_with_their_place() {
    let setup = |events: &[(EventType, Vec<u8>)]| {
        let mut assembler = assembler(NoChecksum);
        assembler.push(&fake_rotate("b.1", NoChecksum)).unwrap();
        assembler.push(&format_event("9.7.4", NoChecksum)).unwrap();
        let mut result = Ok(());
        for (event_type, body) in events {
            result = assembler
                .push(&event(*event_type, 0, body, NoChecksum))
                .map(drop);
        }
        result.unwrap_err()
    };
    let error = setup(&[(EventType::QUERY, query("BEGIN"))]);
    assert!(
        error.to_string().contains("between transactions"),
        "{error}"
    );
    assert!(error.to_string().contains("file b.1"), "{error}");
    let error = setup(&[(EventType::GTID, gtid(1)), (EventType::GTID, gtid(2))]);
    assert!(error.to_string().contains(":1"), "{error}");
    let error = setup(&[(EventType::GTID, gtid(1)), (EventType::XID, vec![0; 8])]);
    assert_eq!(error.kind(), ErrorKind::Malformed);
    let error = setup(&[
        (EventType::GTID, gtid(1)),
        (EventType::ROTATE, rotate("b.2", 4)),
    ]);
    assert_eq!(error.kind(), ErrorKind::Malformed);
    let error = setup(&[(EventType(77), vec![])]);
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("type 77"), "{error}");
    let error = setup(&[(EventType::MARIADB_GTID, vec![])]);
    assert!(error.to_string().contains("MariaDB"), "{error}");
    let error = setup(&[(EventType::ANONYMOUS_GTID, gtid(0))]);
    assert!(error.to_string().contains("without a GTID"), "{error}");
    let error = setup(&[(EventType::INCIDENT, b"\x01\0\x04lost".to_vec())]);
    assert!(error.to_string().contains("lost"), "{error}");
}

#[test]
fn unknown_events_that_may_be_passed_over_are() {
    let mut assembler = assembler(NoChecksum);
    push_all(&mut assembler, &[format_event("9.7.4", NoChecksum)]);
    let unknown = event(EventType(120), EventHeader::IGNORABLE, b"x", NoChecksum);
    let mut events = transaction(1, NoChecksum);
    events.insert(2, unknown.clone());
    events.insert(0, unknown);
    events.insert(1, event(EventType::IGNORABLE, 0, b"", NoChecksum));
    push_all(&mut assembler, &events);
    assert_eq!(assembler.ready().first().unwrap().events().count(), 4);
}

#[test]
fn limits_are_kept_and_named() {
    let limits = Limits {
        transaction_bytes: 200,
        event_bytes: 1000,
        ..Default::default()
    };
    let mut assembler = Assembler::new(limits, NoChecksum);
    push_all(&mut assembler, &[format_event("9.7.4", NoChecksum)]);
    let events = transaction(1, NoChecksum);
    push_all(&mut assembler, &events[..2]);
    let long = query(&"x".repeat(150));
    let error = assembler
        .push(&event(EventType::QUERY, 0, &long, NoChecksum))
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Limit);
    assert!(error.to_string().contains("transaction_bytes"), "{error}");
    let longer = query(&"x".repeat(1500));
    let error = assembler
        .push(&event(EventType::QUERY, 0, &longer, NoChecksum))
        .unwrap_err();
    assert!(error.to_string().contains("event_bytes"), "{error}");
}

#[test]
fn a_view_change_shows_its_view() {
    let mut assembler = assembler(NoChecksum);
    push_all(&mut assembler, &[format_event("8.0.36", NoChecksum)]);
    let mut view = b"17:4".to_vec();
    view.resize(40, 0);
    view.extend_from_slice(&9u64.to_le_bytes());
    view.extend_from_slice(&1u32.to_le_bytes());
    view.extend_from_slice(b"\x03\0key\x02\0\0\0vv");
    let mut events = transaction(1, NoChecksum);
    events[2] = event(EventType::VIEW_CHANGE, 0, &view, NoChecksum);
    push_all(&mut assembler, &events);
    let batch = assembler.take(Batch::new());
    let kind = batch.first().unwrap().kind();
    assert_eq!(kind, TransactionKind::ViewChange { view_id: b"17:4" });
    // A copy in another batch still shows it.
    let mut copy = Batch::new();
    copy.push(&batch.first().unwrap());
    copy.push(&batch.first().unwrap());
    assert_eq!(copy.last().unwrap().kind(), kind);
}

#[test]
fn batches_are_cut_and_filtered_by_transaction() {
    let mut assembler = assembler(NoChecksum);
    push_all(&mut assembler, &[format_event("9.7.4", NoChecksum)]);
    for gno in 1..=6 {
        push_all(&mut assembler, &transaction(gno, NoChecksum));
    }
    let mut batch = assembler.take(Batch::new());
    let one = batch.byte_size() / 6;
    batch.retain(|transaction| transaction.gtid().gno % 2 == 0);
    assert_eq!((batch.len(), batch.byte_size()), (3, 3 * one));
    batch.truncate(2);
    let source = "aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa";
    assert_eq!(batch.gtids().to_string(), format!("{source}:2:4"));
}
