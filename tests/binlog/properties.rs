//! Properties that hold for any input: round trips, any chunking, no panic.

use std::io::Read;

use proptest::prelude::*;
use rejoin::Limits;
use rejoin::binlog::{
    Cell, ChecksumAlgorithm, Decimal, Event, EventHeader, EventType, GtidEvent, JsonDocument,
    LogBytes, LogReader, RowsEvent, TableMap, TextStyle,
};
use rejoin::gtid::{Gtid, Tag, Tsid, Uuid};
use rejoin::transaction::{Assembler, Batch};

use super::compose::{event, format};
use super::{VARIANTS, logs, read};

/// Gives bytes in pieces of the given sizes, over and over.
struct Pieces<'a> {
    bytes: &'a [u8],
    sizes: std::iter::Cycle<std::slice::Iter<'a, usize>>,
}

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let size = *self.sizes.next().unwrap();
        let count = size.min(self.bytes.len()).min(buffer.len());
        let (now, later) = self.bytes.split_at(count);
        buffer[..count].copy_from_slice(now);
        self.bytes = later;
        Ok(count)
    }
}

/// All transactions of a log, read in pieces and taken in portions.
fn transactions(log: &[u8], pieces: &[usize], portions: &[usize]) -> Vec<(String, Vec<u8>)> {
    let source = Pieces {
        bytes: log,
        sizes: pieces.iter().cycle(),
    };
    let mut reader = LogReader::new(source, &Limits::default()).unwrap();
    let mut assembler = Assembler::new(Limits::default(), ChecksumAlgorithm::None);
    let mut portions = portions.iter().cycle();
    let mut until_take = *portions.next().unwrap();
    let mut out = Vec::new();
    let mut batch = Batch::new();
    loop {
        let pushed = match reader.next_event().unwrap() {
            Some(event) => {
                assembler.push(event.bytes).unwrap();
                true
            }
            None => false,
        };
        until_take = until_take.saturating_sub(1);
        if until_take == 0 || !pushed {
            batch = assembler.take(batch);
            for transaction in batch.iter() {
                out.push((transaction.gtid().to_string(), transaction.bytes().to_vec()));
            }
            until_take = *portions.next().unwrap();
        }
        if !pushed {
            return out;
        }
    }
}

fn gtids() -> impl Strategy<Value = Gtid> {
    let tag = prop_oneof![Just(String::new()), "[a-z_][a-z0-9_]{0,31}"];
    (any::<[u8; 16]>(), tag, 1..=i64::MAX as u64 - 1).prop_map(|(uuid, tag, gno)| Gtid {
        tsid: Tsid {
            uuid: Uuid(uuid),
            tag: Tag::new(tag.as_bytes()).unwrap_or(Tag::NONE),
        },
        gno,
    })
}

/// Times and versions that the untagged form has room for.
fn gtid_events() -> impl Strategy<Value = GtidEvent> {
    (
        gtids(),
        any::<u8>(),
        any::<(i64, i64)>(),
        (0..1u64 << 55, 0..1u64 << 55, any::<bool>()),
        any::<u64>(),
        (0..1u32 << 31, 0..1u32 << 31, any::<bool>()),
    )
        .prop_map(|(gtid, flags, clock, times, length, versions)| {
            let mut event = GtidEvent::new(gtid);
            event.flags = flags;
            (event.last_committed, event.sequence_number) = clock;
            event.immediate_commit_timestamp = times.0;
            event.original_commit_timestamp = if times.2 { times.0 } else { times.1 };
            event.transaction_length = length;
            event.immediate_server_version = versions.0;
            event.original_server_version = if versions.2 { versions.0 } else { versions.1 };
            event
        })
}

fn json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        (-70_000i64..70_000).prop_map(Into::into),
        any::<u64>().prop_map(Into::into),
        "\\PC{0,20}".prop_map(Into::into),
        "[a-z]{300}".prop_map(Into::into),
    ];
    leaf.prop_recursive(5, 60, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Into::into),
            prop::collection::btree_map("\\PC{0,6}", inner, 0..8)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

/// The differences that build `value` from nothing, leaf by leaf.
fn differences(path: &str, value: &serde_json::Value, out: &mut Vec<u8>) {
    let put = |operation: u8, path: &str, document: &[u8], out: &mut Vec<u8>| {
        out.push(operation);
        for part in [path.as_bytes(), document] {
            out.push(0xfd);
            out.extend_from_slice(&(part.len() as u32).to_le_bytes()[..3]);
            out.extend_from_slice(part);
        }
    };
    let operation = if path.ends_with('"') || path.ends_with(']') {
        1
    } else {
        0
    };
    match value {
        serde_json::Value::Null => put(operation, path, &[4, 0], out),
        serde_json::Value::Bool(flag) => put(operation, path, &[4, 2 - u8::from(*flag)], out),
        serde_json::Value::Number(number) => {
            let mut document = Vec::new();
            if let Some(number) = number.as_i64() {
                document.push(9);
                document.extend_from_slice(&number.to_le_bytes());
            } else {
                document.push(10);
                document.extend_from_slice(&number.as_u64().unwrap().to_le_bytes());
            }
            put(operation, path, &document, out);
        }
        serde_json::Value::String(text) => {
            let mut document = vec![12];
            let length = text.len();
            document.extend_from_slice(&[(length & 0x7f) as u8 | 0x80, (length >> 7) as u8]);
            document.extend_from_slice(text.as_bytes());
            put(operation, path, &document, out);
        }
        serde_json::Value::Array(values) => {
            put(operation, path, &[2, 0, 0, 4, 0], out);
            for (index, value) in values.iter().enumerate() {
                differences(&format!("{path}[{index}]"), value, out);
            }
        }
        serde_json::Value::Object(members) => {
            put(operation, path, &[0, 0, 0, 4, 0], out);
            for (key, value) in members {
                let quoted = serde_json::to_string(key).unwrap();
                differences(&format!("{path}.{quoted}"), value, out);
            }
        }
    }
}

/// What every reader does with an event that it cannot trust.
fn read_everything(bytes: &[u8], columns_of: &[u8]) {
    let format = format("9.7.4", ChecksumAlgorithm::None);
    let Ok(decoded) = Event::decode(&format, bytes) else {
        return;
    };
    match &decoded {
        Event::Query(query) => query.status().for_each(drop),
        Event::PreviousGtids(previous) => drop(previous.gtids(&Limits::default())),
        Event::TableMap(map) => {
            drop(map.columns());
            drop(map.primary_key());
        }
        Event::Rows(rows) => {
            drop(rows.extra_info());
            let map = event(EventType::TABLE_MAP, 0, columns_of, ChecksumAlgorithm::None);
            if let Ok(map) = TableMap::decode(&format, &map) {
                print_rows(rows, &map);
            }
        }
        _ => {}
    }
}

fn print_rows(rows: &RowsEvent<'_>, map: &TableMap<'_>) {
    let Ok(columns) = map.columns() else { return };
    let Ok(mut images) = rows.rows(&columns) else {
        return;
    };
    let mut cells: Vec<Cell> = Vec::new();
    let mut text = Vec::new();
    while let Ok(Some(image)) = images.next_image(&mut cells) {
        for (column, cell) in columns.iter().zip(&cells) {
            if let Some(bytes) = cell.bytes(image.bytes) {
                let value = column.decode(bytes).expect("the cursor measured it");
                text.clear();
                drop(value.write_text(&TextStyle::default(), &mut text));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..Default::default() })]

    #[test]
    fn any_chunking_gives_the_same_transactions(
        pieces in prop::collection::vec(1usize..3000, 1..8),
        portions in prop::collection::vec(1usize..40, 1..8),
        variant in 0usize..3,
    ) {
        let log = read(&logs(VARIANTS[variant])[0]);
        let expected = transactions(&log, &[usize::MAX], &[usize::MAX]);
        prop_assert_eq!(transactions(&log, &pieces, &portions), expected);
    }

    #[test]
    fn gtid_events_round_trip(original in gtid_events()) {
        let format = format("9.7.4", ChecksumAlgorithm::Crc32);
        let header = EventHeader {
            timestamp: 1,
            event_type: original.event_type(),
            server_id: 2,
            length: 0,
            end_log_pos: 3,
            flags: 0,
        };
        let mut bytes = Vec::new();
        Event::Gtid(Box::new(original)).encode(&format, &header, &mut bytes);
        let body = format.verify(&bytes).unwrap();
        let decoded = GtidEvent::decode(&format, body).unwrap();
        prop_assert_eq!(decoded, original);
        prop_assert_eq!(EventHeader::decode(&bytes).unwrap().length as usize, bytes.len());
    }

    #[test]
    fn a_transaction_length_counts_itself(mut original in gtid_events(), rest in 0u64..1 << 40) {
        original.set_transaction_length(rest, 4);
        let format = format("9.7.4", ChecksumAlgorithm::Crc32);
        let header = EventHeader {
            timestamp: 1,
            event_type: original.event_type(),
            server_id: 2,
            length: 0,
            end_log_pos: 3,
            flags: 0,
        };
        let mut bytes = Vec::new();
        Event::Gtid(Box::new(original)).encode(&format, &header, &mut bytes);
        prop_assert_eq!(original.transaction_length, rest + bytes.len() as u64);
    }

    #[test]
    fn documents_built_from_differences_print_as_themselves(value in json()) {
        let mut diffs = Vec::new();
        differences("$", &value, &mut diffs);
        let limits = Limits::default();
        let mut document = Vec::new();
        JsonDocument::new(b"").apply(&diffs, &limits, &mut document).unwrap();
        let mut text = Vec::new();
        JsonDocument::new(&document).write_text(&limits, &mut text).unwrap();
        let printed: serde_json::Value = serde_json::from_slice(&text).unwrap();
        prop_assert_eq!(&printed, &value);
        // Written anew from its own parts, it prints the same.
        let mut again = Vec::new();
        JsonDocument::new(&document).apply(&[], &limits, &mut again).unwrap();
        let mut text_again = Vec::new();
        JsonDocument::new(&again).write_text(&limits, &mut text_again).unwrap();
        prop_assert_eq!(text_again, text);
    }

    #[test]
    fn decimals_print_their_digits(
        digits in prop::collection::vec(0u8..10, 1..66),
        scale in 0usize..31,
        negative: bool,
    ) {
        let scale = scale.min(digits.len());
        let packed = pack(&digits, scale, negative);
        let mut text = Vec::new();
        Decimal { bytes: &packed, precision: digits.len() as u8, scale: scale as u8 }
            .write_text(&mut text)
            .unwrap();
        let digits: String = digits.iter().map(|digit| char::from(b'0' + digit)).collect();
        let (whole, fraction) = digits.split_at(digits.len() - scale);
        let whole = whole.trim_start_matches('0');
        let mut expected = String::from(if negative { "-" } else { "" });
        expected.push_str(if whole.is_empty() { "0" } else { whole });
        if scale > 0 {
            expected.push('.');
            expected.push_str(fraction);
        }
        prop_assert_eq!(String::from_utf8(text).unwrap(), expected);
    }

    #[test]
    fn no_event_body_makes_a_reader_panic(
        event_type in 0u8..43,
        flags in prop_oneof![Just(0u16), any::<u16>()],
        body in prop::collection::vec(any::<u8>(), 0..200),
        map in prop::collection::vec(any::<u8>(), 0..60),
    ) {
        let bytes = event(EventType(event_type), flags, &body, ChecksumAlgorithm::None);
        read_everything(&bytes, &map);
    }

    #[test]
    fn a_damaged_event_of_a_real_log_makes_no_reader_panic(
        variant in 0usize..3,
        number in 0usize..2,
        which in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        value: u8,
    ) {
        let log = read(&logs(VARIANTS[variant])[number]);
        let mut events = Vec::new();
        let mut map = Vec::new();
        let mut reader = LogBytes::new(&log, &Limits::default()).unwrap();
        while let Some(event) = reader.next_event().unwrap() {
            let body = event.verify().unwrap();
            if event.header.event_type == EventType::TABLE_MAP {
                map = body[EventHeader::SIZE..].to_vec();
            }
            events.push((body.to_vec(), map.clone()));
        }
        let (mut bytes, map) = events.swap_remove(which.index(events.len()));
        let at = at.index(bytes.len());
        bytes[at] = value;
        read_everything(&bytes, &map);
    }
}

/// The packed form of a decimal number, by its definition.
fn pack(digits: &[u8], scale: usize, negative: bool) -> Vec<u8> {
    const BYTES: [usize; 10] = [0, 1, 1, 2, 2, 3, 3, 4, 4, 4];
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    let mut groups: Vec<&[u8]> = vec![&whole[..whole.len() % 9]];
    groups.extend(whole[whole.len() % 9..].chunks(9));
    groups.extend(fraction.chunks(9));
    let mut packed = Vec::new();
    for group in groups {
        let number = group
            .iter()
            .fold(0u32, |sum, digit| sum * 10 + u32::from(*digit));
        packed.extend_from_slice(&number.to_be_bytes()[4 - BYTES[group.len()]..]);
    }
    packed[0] ^= 0x80;
    if negative {
        packed.iter_mut().for_each(|byte| *byte = !*byte);
    }
    packed
}
