//! The same walks by the parsers that others would use. None of them verifies a checksum.

/// `mysql_common`, the parser of the `mysql` crates.
pub mod mysql_common {
    use std::hint::black_box;

    use mysql_common::binlog::events::{Event, EventData, RowsEventData};
    use mysql_common::binlog::{BinlogFile, consts::BinlogVersion};

    use crate::Seen;

    /// Reads events only: their headers, and a copy of each.
    pub fn read(log: &[u8]) -> Seen {
        let mut seen = Seen::default();
        let file = BinlogFile::new(BinlogVersion::Version4, log).expect("a log");
        for event in file {
            black_box(event.expect("an event"));
            seen.events += 1;
        }
        seen
    }

    /// Every value of every row.
    pub fn values(log: &[u8]) -> Seen {
        let mut seen = Seen::default();
        let mut file = BinlogFile::new(BinlogVersion::Version4, log).expect("a log");
        while let Some(event) = file.next() {
            one(&mut file, &event.expect("an event"), &mut seen);
        }
        seen
    }

    fn one(file: &mut BinlogFile<&[u8]>, event: &Event, seen: &mut Seen) {
        seen.events += 1;
        match event.read_data().expect("data") {
            Some(EventData::RowsEvent(rows)) => rows_of(file, &rows, seen),
            Some(EventData::TransactionPayloadEvent(payload)) => {
                let mut decompressed = payload.decompressed().expect("a payload");
                while let Some(event) = file
                    .reader_mut()
                    .read_decompressed(&mut decompressed)
                    .expect("an event in a payload")
                {
                    one(file, &event, seen);
                }
            }
            Some(other) => {
                black_box(other);
            }
            None => {}
        }
    }

    fn rows_of(file: &BinlogFile<&[u8]>, rows: &RowsEventData<'_>, seen: &mut Seen) {
        let table = file.reader().get_tme(rows.table_id()).expect("a table map");
        for row in rows.rows(table) {
            let (before, after) = row.expect("a row");
            for image in [before, after].into_iter().flatten() {
                seen.images += 1;
                for value in image.unwrap() {
                    if !matches!(
                        value,
                        mysql_common::binlog::value::BinlogValue::Value(mysql_common::Value::NULL)
                    ) {
                        seen.values += 1;
                    }
                    black_box(value);
                }
            }
        }
    }
}

/// `mysql-binlog-connector-rust`.
pub mod connector {
    use std::collections::HashMap;
    use std::hint::black_box;
    use std::io::Cursor;

    use mysql_binlog_connector_rust::binlog_parser::BinlogParser;
    use mysql_binlog_connector_rust::column::column_value::ColumnValue;
    use mysql_binlog_connector_rust::event::event_data::EventData;
    use mysql_binlog_connector_rust::event::row_event::RowEvent;

    use crate::Seen;

    /// Every value of every row; it has no walk that does less.
    pub fn values(log: &[u8]) -> Seen {
        let mut seen = Seen::default();
        let mut parser = BinlogParser {
            checksum_length: 0,
            table_map_event_by_table_id: HashMap::new(),
        };
        let mut stream = Cursor::new(log);
        parser.check_magic(&mut stream).expect("a log");
        while stream.position() < log.len() as u64 {
            let (_, data) = parser.next(&mut stream).expect("an event");
            one(&data, &mut seen);
            black_box(data);
        }
        seen
    }

    fn one(data: &EventData, seen: &mut Seen) {
        seen.events += 1;
        match data {
            EventData::WriteRows(event) => event.rows.iter().for_each(|row| image(row, seen)),
            EventData::DeleteRows(event) => event.rows.iter().for_each(|row| image(row, seen)),
            EventData::UpdateRows(event) => {
                for (before, after) in &event.rows {
                    image(before, seen);
                    image(after, seen);
                }
            }
            EventData::TransactionPayload(payload) => {
                for (_, event) in &payload.uncompressed_events {
                    one(event, seen);
                }
            }
            _ => {}
        }
    }

    fn image(row: &RowEvent, seen: &mut Seen) {
        seen.images += 1;
        let values = row.column_values.iter();
        seen.values += values.filter(|value| **value != ColumnValue::None).count() as u64;
    }
}

/// `mysql_cdc`. It expands no compressed payloads, and fails on BINARY columns.
pub mod mysql_cdc {
    use std::hint::black_box;

    use mysql_cdc::events::binlog_event::BinlogEvent;
    use mysql_cdc::events::event_header::EventHeader;
    use mysql_cdc::events::event_parser::EventParser;
    use mysql_cdc::events::row_events::row_data::RowData;

    use crate::Seen;

    /// Every value of every row; it has no walk that does less.
    pub fn values(log: &[u8]) -> Seen {
        let mut seen = Seen::default();
        let mut parser = EventParser::new();
        let mut rest = log.strip_prefix(b"\xfebin").expect("a log");
        while !rest.is_empty() {
            let header = EventHeader::parse(rest).expect("a header");
            let (event, behind) = rest.split_at(header.event_length as usize);
            let event = parser.parse_event(&header, &event[19..]).expect("an event");
            one(&event, &mut seen);
            black_box(event);
            rest = behind;
        }
        seen
    }

    fn one(event: &BinlogEvent, seen: &mut Seen) {
        seen.events += 1;
        match event {
            BinlogEvent::WriteRowsEvent(event) => {
                event.rows.iter().for_each(|row| image(row, seen));
            }
            BinlogEvent::DeleteRowsEvent(event) => {
                event.rows.iter().for_each(|row| image(row, seen));
            }
            BinlogEvent::UpdateRowsEvent(event) => {
                for row in &event.rows {
                    image(&row.before_update, seen);
                    image(&row.after_update, seen);
                }
            }
            _ => {}
        }
    }

    fn image(row: &RowData, seen: &mut Seen) {
        seen.images += 1;
        seen.values += row.cells.iter().flatten().count() as u64;
    }
}
