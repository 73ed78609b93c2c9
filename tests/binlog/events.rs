//! The list of events, and every event written back.

use std::path::Path;

use rejoin::binlog::{ChecksumAlgorithm, Event, EventHeader, LogReader, PayloadDecoder, Tail};
use rejoin::transaction::{Assembler, Batch, Progress, TransactionKind};
use rejoin::{ErrorKind, Limits};

use super::{VARIANTS, logs, read};

/// `offset, type, server id, end position` of each event, those inside payloads included, as SHOW
/// BINLOG EVENTS lists them.
fn listing(log: &Path) -> Vec<String> {
    let limits = Limits::default();
    let mut reader = LogReader::open(log, &limits).unwrap();
    let mut decoder = PayloadDecoder::new();
    let mut lines = Vec::new();
    while let Some(event) = reader.next_event().unwrap() {
        let end = event.offset + event.bytes.len() as u64;
        let line = |offset: u64, header: &EventHeader| {
            format!(
                "{offset}\t{}\t{}\t{end}",
                header.event_type, header.server_id
            )
        };
        lines.push(line(event.offset, &event.header));
        assert_eq!(u64::from(event.header.end_log_pos), end);
        let body = event.verify().unwrap();
        if let Event::TransactionPayload(payload) = Event::decode(event.format, body).unwrap() {
            let mut expanded = Vec::new();
            decoder.expand(&payload, &limits, &mut expanded).unwrap();
            let mut rest = expanded.as_slice();
            while !rest.is_empty() {
                let header = EventHeader::decode(rest).unwrap();
                // The server shows them at the end of their payload.
                lines.push(line(end, &header));
                rest = &rest[header.length as usize..];
            }
        }
    }
    assert_eq!(reader.tail(), Tail::Nothing);
    lines
}

#[test]
fn the_list_of_events_is_the_servers() {
    for log in VARIANTS.iter().flat_map(|variant| logs(variant)) {
        let mut path = log.clone().into_os_string();
        path.push(".events");
        let expected = String::from_utf8(read(&path.into())).unwrap();
        let listing = listing(&log);
        for (line, expected) in listing.iter().zip(expected.lines()) {
            assert_eq!(line, expected, "{}", log.display());
        }
        assert_eq!(listing.len(), expected.lines().count());
    }
}

#[test]
fn every_event_is_written_back_byte_for_byte() {
    for log in VARIANTS.iter().flat_map(|variant| logs(variant)) {
        let mut reader = LogReader::open(&log, &Limits::default()).unwrap();
        let mut count = 0;
        while let Some(event) = reader.next_event().unwrap() {
            let decoded = Event::decode(event.format, event.verify().unwrap()).unwrap();
            let mut written = Vec::new();
            decoded.encode(event.format, &event.header, &mut written);
            assert_eq!(written, event.bytes, "{decoded:?} at {}", event.offset);
            count += 1;
        }
        assert!(count > 40, "{count} events in {}", log.display());
    }
}

#[test]
fn every_transaction_is_assembled() {
    for variant in VARIANTS {
        for log in logs(variant) {
            let mut reader = LogReader::open(&log, &Limits::default()).unwrap();
            let mut assembler = Assembler::new(Limits::default(), ChecksumAlgorithm::None);
            let (mut gtid_events, mut transactions) = (0, 0);
            let mut batch = Batch::new();
            while let Some(event) = reader.next_event().unwrap() {
                gtid_events += usize::from(matches!(event.header.event_type.0, 33 | 42));
                let progress = assembler.push(event.bytes).unwrap();
                // Taken at other places each time, also in the middle of a transaction.
                if event.offset % 3 == 0 {
                    transactions += assembler.ready().len();
                    check(&batch);
                    batch = assembler.take(std::mem::take(&mut batch));
                }
                assert!(progress != Progress::Stop);
            }
            check(assembler.ready());
            transactions += assembler.ready().len();
            assert_eq!(transactions, gtid_events, "{}", log.display());
            assert_eq!(assembler.open_gtid(), None);
        }
    }
}

/// Every transaction is whole, begins with its GTID, and has no compressed event.
fn check(batch: &Batch) {
    for transaction in batch.iter() {
        let mut length = 0;
        for (index, (header, event)) in transaction.events().enumerate() {
            assert_eq!(header.length as usize, event.len());
            length += event.len();
            let decoded = Event::decode(transaction.format(), event).unwrap();
            match decoded {
                Event::Gtid(gtid) => {
                    assert_eq!((index, &gtid.gtid), (0, transaction.gtid()));
                }
                Event::TransactionPayload(_) => panic!("a payload that was not expanded"),
                _ => assert!(index > 0),
            }
        }
        assert_eq!(length, transaction.bytes().len());
        let events = transaction.events().count();
        match transaction.kind() {
            TransactionKind::Empty => assert_eq!(events, 3),
            TransactionKind::Statement => assert_eq!(events, 2),
            TransactionKind::Dml | TransactionKind::XaPrepare => assert!(events > 3),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn damage_anywhere_is_found_and_never_more_than_an_error() {
    for variant in VARIANTS {
        let log = logs(variant)[0].clone();
        let whole = read(&log);
        for at in (4..whole.len()).step_by(97) {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x10;
            let outcome = assemble(&damaged);
            if variant != "none-full" {
                let error = outcome.expect_err("the checksum covers every byte");
                let kind = error.kind();
                assert!(
                    matches!(
                        kind,
                        ErrorKind::Checksum
                            | ErrorKind::Malformed
                            | ErrorKind::Unsupported
                            | ErrorKind::Limit
                    ),
                    "byte {at}: {error}"
                );
            }
        }
    }
}

fn assemble(bytes: &[u8]) -> rejoin::Result<usize> {
    let mut reader = LogReader::new(bytes, &Limits::default())?;
    let mut assembler = Assembler::new(Limits::default(), ChecksumAlgorithm::None);
    while let Some(event) = reader.next_event()? {
        assembler.push(event.bytes)?;
    }
    if reader.tail() != Tail::Nothing {
        return Err(rejoin::Error::new(ErrorKind::Malformed, "cut"));
    }
    Ok(assembler.ready().len())
}
