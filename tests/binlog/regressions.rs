//! Inputs on which other parsers of the binary log have failed. Each test says which fault it pins.

use rejoin::binlog::{
    Cell, ChecksumAlgorithm, ColumnKind, Event, EventHeader, EventType, FormatDescription,
    GtidEvent, JsonDocument, RowsEvent, TableMap, TableMaps, Value, json_diffs,
};
use rejoin::transaction::Assembler;
use rejoin::{ErrorKind, Limits};

use super::compose::{event, format, format_event, rows, table_map};

const NO_CHECKSUM: ChecksumAlgorithm = ChecksumAlgorithm::None;

fn of_9_7() -> FormatDescription {
    format("9.7.4", NO_CHECKSUM)
}

fn map_event(types: &[u8], metadata: &[u8], optional: &[u8]) -> Vec<u8> {
    let body = table_map(types, metadata, optional);
    event(EventType::TABLE_MAP, 0, &body, NO_CHECKSUM)
}

/// A parser took the version bytes of a tagged set for a count of 2^56 and asked for as much memory.
#[test]
fn counts_in_previous_gtids_are_not_believed() {
    for body in [
        [0xff; 8],
        [1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1],
        [1, 1, 0, 0, 0, 0, 0, 1],
    ] {
        let bytes = event(EventType::PREVIOUS_GTIDS, 0x80, &body, NO_CHECKSUM);
        let Event::PreviousGtids(previous) = Event::decode(&of_9_7(), &bytes).unwrap() else {
            panic!("another event");
        };
        assert!(previous.gtids(&Limits::default()).is_err());
    }
    // 8.4 and later: an empty set, in both versions.
    for body in [[0; 8], [1, 0, 0, 0, 0, 0, 0, 1]] {
        let bytes = event(EventType::PREVIOUS_GTIDS, 0x80, &body, NO_CHECKSUM);
        let Event::PreviousGtids(previous) = Event::decode(&of_9_7(), &bytes).unwrap() else {
            panic!("another event");
        };
        assert!(previous.gtids(&Limits::default()).unwrap().is_empty());
    }
}

/// Parsers relied on the order of optional metadata, or stopped at kinds that they did not know.
#[test]
fn optional_metadata_comes_in_any_order_and_with_unknown_kinds() {
    // Names, an unknown kind (72), signedness: an INT and a VARCHAR.
    let optional = b"\x04\x04\x01a\x01b\x48\x03???\x01\x01\x80\x02\x01\x2d";
    let bytes = map_event(&[3, 15], &[80, 0], optional);
    let columns = TableMap::decode(&of_9_7(), &bytes)
        .unwrap()
        .columns()
        .unwrap();
    assert_eq!(columns[0].unsigned, Some(true));
    assert_eq!(columns[0].name.as_deref(), Some(&b"a"[..]));
    assert_eq!(columns[1].collation, Some(45));
    assert_eq!(columns[1].name.as_deref(), Some(&b"b"[..]));
}

/// Servers of 5.5 and 5.6 leave junk behind the NULL bits.
#[test]
fn junk_of_old_servers_is_no_optional_metadata() {
    let bytes = map_event(&[3], &[], b"\x01\xfe\xff junk");
    let old = TableMap::decode(&format("5.6.41", NO_CHECKSUM), &bytes).unwrap();
    assert_eq!(old.columns().unwrap()[0].unsigned, None);
    let new = TableMap::decode(&of_9_7(), &bytes).unwrap();
    assert!(new.columns().is_err());
}

/// The hidden column of a multi-valued index: an error in several parsers.
#[test]
fn typed_arrays_have_metadata_of_their_element_type() {
    for (metadata, what) in [
        (&[8][..], "BIGINT"),
        (&[15, 1, 2, 3][..], "VARCHAR, whose length has three bytes"),
        (&[246, 10, 2][..], "DECIMAL"),
        (&[19, 6][..], "TIME"),
    ] {
        let metadata: Vec<u8> = metadata.iter().copied().chain([80, 0]).collect();
        let bytes = map_event(&[20, 15], &metadata, b"");
        let columns = TableMap::decode(&of_9_7(), &bytes)
            .unwrap()
            .columns()
            .unwrap();
        assert_eq!(columns[0].kind, ColumnKind::TypedArray, "{what}");
        assert_eq!(columns[1].meta, 80, "{what}");
    }
}

/// VECTOR was an unknown type to most.
#[test]
fn vectors_are_read() {
    let bytes = map_event(&[242], &[4], b"\x0d\x01\x02");
    let mut tables = TableMaps::new(&Limits::default());
    let table = tables.add(&of_9_7(), &bytes).unwrap();
    assert_eq!(table.columns[0].dimensions, Some(2));
    let body = rows(1, 1, b"\0\x08\0\0\0\0\0\x80\x3f\0\0\0\x40");
    let bytes = event(EventType::WRITE_ROWS, 0, &body, NO_CHECKSUM);
    let row_event = RowsEvent::decode(&of_9_7(), &bytes).unwrap();
    let mut cells = Vec::new();
    let mut images = row_event.rows(&table.columns).unwrap();
    let image = images.next_image(&mut cells).unwrap().unwrap();
    let cell = cells[0].bytes(image.bytes).unwrap();
    let value = table.columns[0].decode(cell).unwrap();
    assert_eq!(value, Value::Vector(b"\0\0\x80\x3f\0\0\0\x40"));
    assert!(images.next_image(&mut cells).unwrap().is_none());
}

/// A partial update was dropped without a word, or its differences were read into the next column.
#[test]
fn differences_end_with_their_column() {
    // JSON, INT, JSON; only the first JSON column of the after image is given as differences.
    let bytes = map_event(&[245, 3, 245], &[4, 4], b"");
    let mut tables = TableMaps::new(&Limits::default());
    let columns = tables.add(&of_9_7(), &bytes).unwrap().columns.clone();
    let document = b"\x03\0\0\0\x05\x07\0";
    let mut images = vec![0];
    images.extend_from_slice(document);
    images.extend_from_slice(&1u32.to_le_bytes());
    images.extend_from_slice(document);
    // Options, bits of the JSON columns, NULL bits, differences: replace $ by 9.
    let diff = b"\0\x01$\x03\x05\x09\0";
    images.extend_from_slice(&[1, 0b01, 0]);
    images.extend_from_slice(&(diff.len() as u32).to_le_bytes());
    images.extend_from_slice(diff);
    images.extend_from_slice(&2u32.to_le_bytes());
    images.extend_from_slice(document);
    let body = rows(3, 2, &images);
    let bytes = event(EventType::PARTIAL_UPDATE_ROWS, 0, &body, NO_CHECKSUM);
    let row_event = RowsEvent::decode(&of_9_7(), &bytes).unwrap();
    let mut cursor = row_event.rows(&columns).unwrap();
    let mut cells = Vec::new();
    cursor.next_image(&mut cells).unwrap().unwrap();
    assert!(cells.iter().all(|cell| matches!(cell, Cell::Value { .. })));
    let after = cursor.next_image(&mut cells).unwrap().unwrap();
    assert!(matches!(cells[0], Cell::Partial { .. }));
    assert!(matches!(cells[2], Cell::Value { .. }));
    let content = columns[0]
        .content(cells[0].bytes(after.bytes).unwrap())
        .unwrap();
    assert_eq!(json_diffs(content).count(), 1);
    let mut changed = Vec::new();
    JsonDocument::new(&document[4..])
        .apply(content, &Limits::default(), &mut changed)
        .unwrap();
    assert_eq!(changed, b"\x05\x09\0");
    assert!(cursor.next_image(&mut cells).unwrap().is_none());
}

/// Table maps of the file before were used for rows of the next one.
#[test]
fn rows_without_a_table_map_are_refused() {
    let bytes = event(
        EventType::WRITE_ROWS,
        0,
        &rows(1, 1, b"\0\x01"),
        NO_CHECKSUM,
    );
    let row_event = RowsEvent::decode(&of_9_7(), &bytes).unwrap();
    let tables = TableMaps::new(&Limits::default());
    let error = tables.of(&row_event).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Malformed);
}

/// Rows of a width other than the table's were read as if they fitted.
#[test]
fn rows_have_the_width_of_their_table() {
    let bytes = map_event(&[3, 3], &[], b"");
    let mut tables = TableMaps::new(&Limits::default());
    let columns = tables.add(&of_9_7(), &bytes).unwrap().columns.clone();
    let bytes = event(EventType::WRITE_ROWS, 0, &rows(3, 1, b"\0"), NO_CHECKSUM);
    assert!(
        RowsEvent::decode(&of_9_7(), &bytes)
            .unwrap()
            .rows(&columns)
            .is_err()
    );
}

/// An error inside a compressed transaction ended it early, as if that were its end.
#[test]
fn damage_inside_a_payload_is_an_error() {
    let inner = |last: Vec<u8>| {
        let mut events = event(
            EventType::QUERY,
            0,
            &super::compose::query("BEGIN"),
            NO_CHECKSUM,
        );
        events.extend(event(
            EventType::QUERY,
            0,
            &super::compose::query("x"),
            NO_CHECKSUM,
        ));
        events.extend(last);
        events
    };
    let payload = |events: &[u8], claimed: u16| {
        let compressed = zstd::encode_all(events, 3).unwrap();
        let mut body = vec![2, 1, 0, 3, 3, 0xfc];
        body.extend_from_slice(&claimed.to_le_bytes());
        body.extend_from_slice(&[1, 3, 0xfc]);
        body.extend_from_slice(&(compressed.len() as u16).to_le_bytes());
        body.push(0);
        body.extend_from_slice(&compressed);
        event(EventType::TRANSACTION_PAYLOAD, 0, &body, NO_CHECKSUM)
    };
    let push = |bytes: &[u8], limits: Limits| {
        let mut assembler = Assembler::new(limits, NO_CHECKSUM);
        assembler.push(&format_event("9.7.4", NO_CHECKSUM)).unwrap();
        let gtid = event(EventType::GTID, 0, &super::compose::gtid(1), NO_CHECKSUM);
        assembler.push(&gtid).unwrap();
        let result = assembler.push(bytes).map(drop);
        // After an error a new connection goes on where the last whole transaction was.
        assembler.reset(NO_CHECKSUM);
        result.map(|()| assembler.ready().len())
    };
    let commit = event(EventType::XID, 0, &[0; 8], NO_CHECKSUM);
    let good = inner(commit.clone());
    let length = good.len() as u16;
    assert_eq!(push(&payload(&good, length), Limits::default()).unwrap(), 1);
    let limits = Limits {
        decompressed_bytes: 50,
        ..Default::default()
    };
    let error = push(&payload(&good, length), limits).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Limit);
    for wrong in [0, length - 1, length + 1, u16::MAX] {
        let error = push(&payload(&good, wrong), Limits::default()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Malformed);
        assert!(error.to_string().contains("were claimed"), "{error}");
    }
    for bad in [
        inner(Vec::new()),
        inner(commit[..20].to_vec()),
        inner(event(
            EventType::GTID,
            0,
            &super::compose::gtid(2),
            NO_CHECKSUM,
        )),
        inner(event(EventType(200), 0, b"", NO_CHECKSUM)),
        inner([commit.clone(), commit.clone()].concat()),
        inner(event(EventType::TRANSACTION_PAYLOAD, 0, b"", NO_CHECKSUM)),
    ] {
        let length = bad.len() as u16;
        assert!(push(&payload(&bad, length), Limits::default()).is_err());
    }
    let mut damaged = payload(&good, length);
    let last = damaged.len() - 1;
    damaged.truncate(last);
    damaged[9..13].copy_from_slice(&(last as u32).to_le_bytes());
    assert!(push(&damaged, Limits::default()).is_err());
}

/// They were damage. A log whose format description has lost its checksum algorithm has four bytes behind
/// each event, and mysqlbinlog reads it.
#[test]
fn bytes_behind_a_payload_and_a_tagged_gtid_are_passed_over() {
    let decode = |event_type, body: &[u8]| {
        let bytes = event(event_type, 0, body, NO_CHECKSUM);
        Event::decode(&of_9_7(), &bytes).map(|event| format!("{event:?}"))
    };
    let gtid = "3e11fa47-71ca-11e1-9e33-c80aa9429562:tag:70000";
    let mut tagged = Vec::new();
    Event::Gtid(Box::new(GtidEvent::new(gtid.parse().unwrap()))).encode(
        &of_9_7(),
        &EventHeader::new(EventType::GTID_TAGGED, 0, 1),
        &mut tagged,
    );
    let payload = b"\x02\x01\0\x01\x01\x02\0xy";
    for (event_type, body) in [
        (EventType::TRANSACTION_PAYLOAD, &payload[..]),
        (EventType::GTID_TAGGED, &tagged[EventHeader::SIZE..]),
    ] {
        let whole = decode(event_type, body).unwrap();
        let with_more = [body, b"\x01\x02\x03\x04"].concat();
        assert_eq!(decode(event_type, &with_more).unwrap(), whole);
        assert!(decode(event_type, &body[..body.len() - 2]).is_err());
    }
}

/// The entry of Transaction_payload in format descriptions is the event's number, not a length.
#[test]
fn the_length_of_a_payloads_head_is_not_taken_from_the_format() {
    assert_eq!(
        of_9_7().post_header_length(EventType::TRANSACTION_PAYLOAD),
        Some(40)
    );
    let body = b"\x02\x03\xfc\xff\0\x01\x01\x02\0xy";
    let bytes = event(EventType::TRANSACTION_PAYLOAD, 0, body, NO_CHECKSUM);
    let Event::TransactionPayload(payload) = Event::decode(&of_9_7(), &bytes).unwrap() else {
        panic!("another event");
    };
    assert_eq!(payload.payload, b"xy");
}

/// A set of width 4,097, a zero width, and images without any column that never end.
#[test]
fn rows_cannot_repeat_for_ever() {
    let bytes = map_event(&[3], &[], b"");
    let mut tables = TableMaps::new(&Limits::default());
    let columns = tables.add(&of_9_7(), &bytes).unwrap().columns.clone();
    // Width 1, but the only column is not present.
    let body = [5, 0, 0, 0, 0, 0, 1, 0, 2, 0, 1, 0, 9, 9];
    let bytes = event(EventType::WRITE_ROWS, 0, &body, NO_CHECKSUM);
    let row_event = RowsEvent::decode(&of_9_7(), &bytes).unwrap();
    let mut images = row_event.rows(&columns).unwrap();
    assert!(images.next_image(&mut Vec::new()).is_err());
    let body = [5, 0, 0, 0, 0, 0, 1, 0, 2, 0, 0];
    let bytes = event(EventType::WRITE_ROWS, 0, &body, NO_CHECKSUM);
    assert!(RowsEvent::decode(&of_9_7(), &bytes).is_err());
}
