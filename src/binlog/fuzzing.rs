//! What the fuzz targets do with their input: each function holds a property against any bytes.
//!
//! The tests at the end run the same functions over real events with random damage, as many rounds as
//! `REJOIN_FUZZ_ROUNDS` says: a fuzzer without feedback that needs no other build.

use super::rows::{full_image, some_columns};
use super::*;
use crate::Limits;
use crate::transaction::{Assembler, Batch};

fn limits() -> Limits {
    Limits {
        decompressed_bytes: 1 << 20,
        ..Limits::default()
    }
}

fn format() -> Option<FormatDescription> {
    FormatDescription::new("9.7.4", ChecksumAlgorithm::None).ok()
}

/// What [`Rows::next_values`] gave is what the cell says. (NaN equals itself here.)
fn assert_same_value(column: &Column, cell: &Cell, image: &[u8], value: &CellValue<'_>) {
    let expected = match (cell, cell.bytes(image)) {
        (Cell::Partial { .. }, Some(bytes)) => column.content(bytes).map(CellValue::Partial),
        (_, Some(bytes)) => column.decode(bytes).map(CellValue::Value),
        (Cell::Null, None) => Ok(CellValue::Value(Value::Null)),
        (_, None) => Ok(CellValue::Absent),
    };
    assert_eq!(format!("{:?}", expected.ok()), format!("{:?}", Some(value)));
}

/// A log gives the same transactions, or the same error, whether it is read at once or byte by byte,
/// and however often batches are taken out.
pub fn stream(data: &[u8]) {
    let mut at_once = Vec::new();
    let result = LogBytes::new(data, &limits()).and_then(|mut reader| {
        let mut assembler = Assembler::new(limits(), ChecksumAlgorithm::None);
        while let Some(event) = reader.next_event()? {
            assembler.push(event.bytes)?;
            collect(assembler.ready(), at_once.len(), &mut at_once);
        }
        Ok(())
    });
    let mut in_pieces = Vec::new();
    let result_in_pieces = LogReader::new(OneByOne(data), &limits()).and_then(|mut reader| {
        let mut assembler = Assembler::new(limits(), ChecksumAlgorithm::None);
        let mut batch = Batch::new();
        while let Some(event) = reader.next_event()? {
            assembler.push(event.bytes)?;
            batch = assembler.take(batch);
            collect(&batch, 0, &mut in_pieces);
        }
        Ok(())
    });
    assert_eq!(
        result.map_err(|error| error.to_string()),
        result_in_pieces.map_err(|error| error.to_string())
    );
    assert_eq!(at_once, in_pieces);
}

fn collect(batch: &Batch, skip: usize, out: &mut Vec<Vec<u8>>) {
    for transaction in batch.iter().skip(skip) {
        let length: usize = transaction.events().map(|(_, event)| event.len()).sum();
        assert_eq!(length, transaction.bytes().len());
        out.push(transaction.bytes().to_vec());
    }
}

struct OneByOne<'a>(&'a [u8]);

impl std::io::Read for OneByOne<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match (self.0.split_first(), buffer.first_mut()) {
            (Some((byte, rest)), Some(place)) => {
                *place = *byte;
                self.0 = rest;
                Ok(1)
            }
            _ => Ok(0),
        }
    }
}

/// A log gives the same events, up to the same error, whether payloads are expanded by [`ExpandedLog`] or
/// one by one.
pub fn expanded(data: &[u8]) {
    let mut stretches = Vec::new();
    let result = ExpandedLog::new(data, &limits()).and_then(|mut log| {
        while let Some(event) = log.next_event()? {
            stretches.push((event.offset, event.is_nested, event.bytes.to_vec()));
        }
        Ok(log.tail())
    });
    let mut one_by_one = Vec::new();
    let result_one_by_one = LogBytes::new(data, &limits()).and_then(|mut log| {
        let mut decoder = PayloadDecoder::new();
        let mut nested = Vec::new();
        while let Some(event) = log.next_event()? {
            let offset = event.offset;
            let body = event.verify()?;
            if event.header.event_type != EventType::TRANSACTION_PAYLOAD {
                one_by_one.push((offset, false, body.to_vec()));
                continue;
            }
            let at = |error: crate::Error| error.at_offset(offset);
            let payload = TransactionPayload::decode(event.format, body).map_err(at)?;
            nested.clear();
            decoder
                .expand(&payload, &limits(), &mut nested)
                .map_err(at)?;
            let mut rest = nested.as_slice();
            while !rest.is_empty() {
                let (_, bytes) = split_nested(rest).map_err(at)?;
                one_by_one.push((offset, true, bytes.to_vec()));
                rest = rest.get(bytes.len()..).unwrap_or_default();
            }
        }
        Ok(log.tail())
    });
    assert_eq!(
        result.map_err(|error| error.to_string()),
        result_one_by_one.map_err(|error| error.to_string())
    );
    assert_eq!(stretches, one_by_one);
}

/// An event that can be read is read again from what is written of it.
pub fn event(data: &[u8]) {
    let Some(format) = format() else { return };
    let (Ok(header), Ok(event)) = (EventHeader::decode(data), Event::decode(&format, data)) else {
        return;
    };
    match &event {
        Event::Query(query) => query.status().for_each(drop),
        Event::PreviousGtids(previous) => drop(previous.gtids(&limits())),
        Event::Rows(rows) => drop(rows.extra_info()),
        Event::TableMap(map) => {
            drop(map.columns());
            drop(map.primary_key());
        }
        _ => {}
    }
    let mut written = Vec::new();
    event.encode(&format, &header, &mut written);
    let body = match &event {
        Event::FormatDescription(own) if own.has_own_checksum() => {
            written.split_last_chunk::<4>().map(|(body, _)| body)
        }
        _ => Some(written.as_slice()),
    };
    let again = Event::decode(&format, body.unwrap_or_default());
    assert_eq!(again.ok().as_ref(), Some(&event));
}

/// Rows with any table map: images fill the event without a gap, values lie inside their image, and
/// the fast way finds what the plain one finds. The first byte is the length of the map's body.
pub fn rows(data: &[u8]) {
    let Some(format) = format() else { return };
    let Some((length, rest)) = data.split_first() else {
        return;
    };
    let Some((map, rest)) = rest.split_at_checked(usize::from(*length)) else {
        return;
    };
    let mut map_event = vec![0; EventHeader::SIZE];
    map_event.extend_from_slice(map);
    let Ok(columns) = TableMap::decode(&format, &map_event).and_then(|map| map.columns()) else {
        return;
    };
    let Ok(rows) = RowsEvent::decode(&format, rest) else {
        return;
    };
    let Ok(mut images) = rows.rows(&columns) else {
        return;
    };
    let mut cells = Vec::new();
    let mut text = Vec::new();
    let mut plain = vec![Cell::Absent; columns.len()];
    let mut decoded = images.clone();
    let mut values = Vec::new();
    loop {
        let image = images.next_image(&mut cells);
        values.clear();
        let same = decoded.next_values(|_, value| values.push(value));
        assert_eq!(image.as_ref().ok(), same.as_ref().ok());
        let Ok(Some(image)) = image else { break };
        assert_eq!(cells.len(), columns.len());
        assert_eq!(values.len(), columns.len());
        for ((column, cell), value) in columns.iter().zip(&cells).zip(&values) {
            assert_same_value(column, cell, image.bytes, value);
        }
        for (column, cell) in columns.iter().zip(&cells) {
            let Some(bytes) = cell.bytes(image.bytes) else {
                assert!(matches!(cell, Cell::Absent | Cell::Null));
                continue;
            };
            text.clear();
            match column.decode(bytes) {
                Ok(value) => drop(value.write_text(&TextStyle::default(), &mut text)),
                Err(error) => panic!("{error}"),
            }
        }
        let all = vec![0xff; columns.len().div_ceil(8)];
        let has_all = cells
            .iter()
            .all(|cell| matches!(cell, Cell::Value { .. } | Cell::Null));
        if has_all {
            let nulls = image.bytes.get(..all.len()).unwrap_or_default();
            let fast = full_image(&columns, nulls, image.bytes, &mut cells);
            let slow = some_columns(&columns, nulls, &all, &[], image.bytes, &mut plain);
            assert_eq!(fast.ok(), slow.ok());
            assert_eq!(cells, plain);
        }
    }
}

/// A document that prints is written anew to one that prints the same.
pub fn json(data: &[u8]) {
    let document = JsonDocument::new(data);
    let mut text = Vec::new();
    if document.write_text(&limits(), &mut text).is_err() {
        return;
    }
    let mut again = Vec::new();
    if document.apply(&[], &limits(), &mut again).is_ok() {
        let mut text_again = Vec::new();
        assert!(
            JsonDocument::new(&again)
                .write_text(&limits(), &mut text_again)
                .is_ok()
        );
        assert_eq!(text, text_again);
    }
}

/// Differences that apply give a document that prints, unless its base did not. The first two bytes
/// are the length of the document.
pub fn json_diff(data: &[u8]) {
    let Some((length, rest)) = data.split_first_chunk::<2>() else {
        return;
    };
    let Some((document, diffs)) = rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))
    else {
        return;
    };
    let mut changed = Vec::new();
    if JsonDocument::new(document)
        .apply(diffs, &limits(), &mut changed)
        .is_ok()
    {
        let mut text = Vec::new();
        drop(JsonDocument::new(&changed).write_text(&limits(), &mut text));
    }
}

/// A payload expands to what the compression library itself makes of it, or to an error, and never
/// far beyond its limit.
pub fn payload(data: &[u8]) {
    let Some(format) = format() else { return };
    let mut bytes = vec![0; EventHeader::SIZE];
    bytes.extend_from_slice(data);
    let Ok(payload) = TransactionPayload::decode(&format, &bytes) else {
        return;
    };
    let mut out = Vec::new();
    let result = PayloadDecoder::new().expand(&payload, &limits(), &mut out);
    assert!(out.capacity() < 1 << 26);
    // Room that is there already changes nothing.
    let mut roomy = Vec::with_capacity(1 << 21);
    roomy.push(7);
    let again = PayloadDecoder::new().expand(&payload, &limits(), &mut roomy);
    assert_eq!(
        result.as_ref().map_err(ToString::to_string),
        again.as_ref().map_err(ToString::to_string)
    );
    assert_eq!(out, roomy.split_off(1));
    if result.is_ok() && payload.compression == PayloadCompression::Zstd {
        let plain = zstd::decode_all(payload.payload);
        assert_eq!(plain.ok().as_deref(), Some(out.as_slice()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::damage::run;

    fn logs() -> Vec<Vec<u8>> {
        let data = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/binlog");
        ["crc32-minimal", "none-full", "compressed-full"]
            .iter()
            .flat_map(|variant| [1, 2].map(|number| format!("{data}/{variant}/binlog.{number:06}")))
            .map(|path| std::fs::read(path).unwrap())
            .collect()
    }

    /// Inputs of one target, from the events of the real logs.
    fn seeds(of: impl Fn(&LogEvent<'_>, &[u8], &mut Vec<u8>) -> Vec<Vec<u8>>) -> Vec<Vec<u8>> {
        let mut seeds = Vec::new();
        for log in logs() {
            let mut state = Vec::new();
            let mut reader = LogBytes::new(&log, &Limits::default()).unwrap();
            while let Some(event) = reader.next_event().unwrap() {
                let body = event.verify().unwrap();
                if body.len() < 5000 {
                    seeds.extend(of(&event, body, &mut state));
                }
            }
        }
        assert!(!seeds.is_empty());
        seeds
    }

    /// Its headers would be longer than itself: read all the same, and so must be what is written.
    #[test]
    fn a_short_format_description_round_trips() {
        let mut bytes = vec![0; 82];
        bytes[EventHeader::TYPE_OFFSET] = 15;
        bytes[EventHeader::LENGTH_OFFSET] = 123;
        bytes[EventHeader::SIZE] = 4;
        bytes[EventHeader::SIZE + 2..][..3].copy_from_slice(b"9.7");
        bytes[EventHeader::SIZE + 56] = 52;
        bytes[81] = 1;
        assert!(Event::decode(&format().unwrap(), &bytes).is_ok());
        event(&bytes);
    }

    #[test]
    fn events_with_damage() {
        run(1, &seeds(|_, body, _| vec![body.to_vec()]), event);
    }

    #[test]
    fn rows_with_damage() {
        let pairs = seeds(|event, body, map| {
            if event.header.event_type == EventType::TABLE_MAP {
                *map = body[EventHeader::SIZE..].to_vec();
                return Vec::new();
            }
            match u8::try_from(map.len()) {
                Ok(length) if event.header.event_type.is_rows() => {
                    vec![[&[length][..], map, body].concat()]
                }
                _ => Vec::new(),
            }
        });
        run(2, &pairs, rows);
    }

    /// JSON documents of the logs, and differences behind a document that they change.
    fn documents(want_differences: bool) -> Vec<Vec<u8>> {
        seeds(|event, body, map| {
            if event.header.event_type == EventType::TABLE_MAP {
                *map = body.to_vec();
            }
            let (mut documents, mut before) = (Vec::new(), Vec::new());
            if !event.header.event_type.is_rows() {
                return documents;
            }
            let columns = TableMap::decode(event.format, map)
                .unwrap()
                .columns()
                .unwrap();
            let row_event = RowsEvent::decode(event.format, body).unwrap();
            let mut images = row_event.rows(&columns).unwrap();
            let mut cells = Vec::new();
            while let Some(image) = images.next_image(&mut cells).unwrap() {
                for (column, cell) in columns.iter().zip(&cells) {
                    let Some(bytes) = cell.bytes(image.bytes) else {
                        continue;
                    };
                    if column.kind != ColumnKind::Json {
                        continue;
                    }
                    let content = column.content(bytes).unwrap().to_vec();
                    match cell {
                        Cell::Partial { .. } if want_differences => {
                            let length = (before.len() as u16).to_le_bytes();
                            documents.push([&length[..], &before, &content].concat());
                        }
                        Cell::Value { .. } if !want_differences => documents.push(content),
                        _ => before = content,
                    }
                }
            }
            documents
        })
    }

    #[test]
    fn documents_with_damage() {
        run(3, &documents(false), json);
    }

    #[test]
    fn differences_with_damage() {
        run(4, &documents(true), json_diff);
    }

    #[test]
    fn payloads_with_damage() {
        let payloads = seeds(|event, body, _| {
            if event.header.event_type == EventType::TRANSACTION_PAYLOAD {
                vec![body[EventHeader::SIZE..].to_vec()]
            } else {
                Vec::new()
            }
        });
        run(5, &payloads, payload);
    }

    #[test]
    fn expanded_logs_with_damage() {
        // Without checksums, so that damage reaches what is behind them; and two files in one, the second
        // with checksums.
        let mut logs: Vec<Vec<u8>> = Vec::new();
        for log in self::logs().split_off(4) {
            expanded(&log);
            let mut plain = MAGIC.to_vec();
            let mut first_payload = 0;
            let format = format().unwrap();
            format.encode(1, 1, false, &mut plain);
            let mut reader = LogBytes::new(&log, &Limits::default()).unwrap();
            while let Some(event) = reader.next_event().unwrap() {
                if event.header.event_type != EventType::FORMAT_DESCRIPTION && plain.len() < 12_000
                {
                    let start = plain.len();
                    plain.extend_from_slice(event.verify().unwrap());
                    let length = (plain.len() - start) as u32;
                    plain[start + EventHeader::LENGTH_OFFSET..][..4]
                        .copy_from_slice(&length.to_le_bytes());
                    if event.header.event_type == EventType::TRANSACTION_PAYLOAD
                        && first_payload == 0
                    {
                        first_payload = plain.len();
                    }
                }
            }
            let nested = |log: &[u8]| {
                let mut reader = ExpandedLog::new(log, &Limits::default()).unwrap();
                let mut count = 0;
                while let Some(event) = reader.next_event().unwrap() {
                    count += usize::from(event.is_nested);
                }
                count
            };
            assert!(nested(&plain) > 20, "{} events in payloads", nested(&plain));
            let second = &log[MAGIC.len()..log.len().min(9000)];
            logs.push([&plain[..first_payload], second].concat());
            logs.push(plain);
        }
        run(7, &logs, expanded);
    }

    #[test]
    fn streams_with_damage() {
        // Without checksums, so that damage reaches what is behind them; the fronts of the logs.
        let fronts: Vec<Vec<u8>> = logs()
            .iter()
            .map(|log| log[..log.len().min(9000)].to_vec())
            .collect();
        run(6, &fronts, stream);
    }
}
