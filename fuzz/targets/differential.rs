//! Where this crate and `mysql_common` understand an event of row data alike, they agree on its rows.
//! The input is a log; `mysql_common` verifies no checksum, so only what we accept is compared. It also
//! allocates what an event merely claims to be long, so it gets only the events that we found whole.
//!
//! Of damaged table maps it reads some metadata otherwise than servers do, and the rows by it. So both have to
//! have the same columns, and to find the same rows in the event: then they have to read the same in them.
#![no_main]

use std::sync::atomic::{AtomicBool, Ordering};

use mysql_common::binlog::BinlogFile;
use mysql_common::binlog::consts::BinlogVersion;
use mysql_common::binlog::events::{EventData, TableMapEvent};
use mysql_common::binlog::row::BinlogRow;
use mysql_common::binlog::value::BinlogValue;
use rejoin::Limits;
use rejoin::binlog::{
    Cell, ChecksumAlgorithm, Column, EventType, FormatDescription, LogBytes, RowsEvent, TableMap,
    TableMaps,
};

/// The rival counts a row's columns anew for each of its cells: so many steps in an input are enough.
const STEPS: usize = 10_000_000;

/// A row event that could be read whole.
struct Found {
    columns: Vec<Column>,
    width: usize,
    /// The bytes of all images, and which columns they have.
    bytes: Vec<u8>,
    before: Vec<u8>,
    after: Vec<u8>,
    /// Of each image, which of its values are NULL, in the order of the columns that it has.
    nulls: Vec<Vec<bool>>,
}

/// The row events, `None` for those that are damaged, and where the last sound event ends that the rival can
/// read in time.
fn ours(data: &[u8]) -> (Vec<Option<Found>>, usize) {
    let limits = Limits::default();
    let (mut events, mut end, mut steps) = (Vec::new(), 0, 0);
    let Ok(mut reader) = LogBytes::new(data, &limits) else {
        return (events, end);
    };
    let mut tables = TableMaps::new(&limits);
    while let Ok(Some(event)) = reader.next_event() {
        let Ok(body) = event.verify() else { break };
        if event.header.event_type == EventType::TABLE_MAP {
            if tables.add(event.format, body).is_err() {
                break;
            }
        } else if event.header.event_type.is_rows() {
            let found = RowsEvent::decode(event.format, body).and_then(|rows| {
                let columns = &tables.of(&rows)?.columns;
                let mut images = rows.rows(columns)?;
                let (mut cells, mut nulls) = (Vec::new(), Vec::new());
                while images.next_image(&mut cells)?.is_some() {
                    steps += cells.len() * cells.len();
                    let present = cells.iter().filter(|cell| !matches!(cell, Cell::Absent));
                    nulls.push(present.map(|cell| *cell == Cell::Null).collect());
                }
                Ok(Found {
                    columns: columns.clone(),
                    width: rows.width,
                    bytes: rows.row_bytes().to_vec(),
                    before: rows.columns_before.to_vec(),
                    after: rows.columns_after.to_vec(),
                    nulls,
                })
            });
            if steps > STEPS {
                break;
            }
            events.push(found.ok());
        }
        end = event.offset as usize + event.bytes.len();
    }
    (events, end)
}

/// The columns as we read them out of the type and the metadata that the rival has found.
fn same_columns(table: &TableMapEvent<'_>, columns: &[Column], format: &FormatDescription) -> bool {
    let same = |(index, column): (usize, &Column)| {
        let kind = table.get_raw_column_type(index).ok().flatten()? as u8;
        let metadata = table.get_column_metadata(index)?;
        let mut event = vec![0; 19];
        event[4] = EventType::TABLE_MAP.0;
        event.extend_from_slice(&[0; 8]);
        event.extend_from_slice(&[1, b'd', 0, 1, b't', 0, 1, kind, metadata.len() as u8]);
        event.extend_from_slice(metadata);
        event.push(0);
        let length = event.len() as u32;
        event[9..13].copy_from_slice(&length.to_le_bytes());
        let read = TableMap::decode(format, &event).ok()?.columns().ok()?;
        let [read] = read.as_slice() else { return None };
        Some((read.kind, read.meta) == (column.kind, column.meta))
    };
    table.columns_count() == columns.len() as u64
        && columns
            .iter()
            .enumerate()
            .all(|column| same(column) == Some(true))
}

fn nulls_of(row: &BinlogRow) -> Vec<bool> {
    let values = (0..row.len()).map(|index| row.as_ref(index));
    values
        .map(|value| matches!(value, Some(BinlogValue::Value(mysql_common::Value::NULL))))
        .collect()
}

/// What the rival finds NULL in the row events that both understand alike.
fn theirs(data: &[u8], ours: &[Option<Found>]) -> Vec<Option<Vec<Vec<bool>>>> {
    let mut events = Vec::new();
    let Ok(mut file) = BinlogFile::new(BinlogVersion::Version4, data) else {
        return events;
    };
    let format = FormatDescription::new("9.7.4", ChecksumAlgorithm::None).expect("a version");
    while let Some(Ok(event)) = file.next() {
        let Some(found) = ours.get(events.len()) else {
            break;
        };
        if !EventType(event.header().event_type_raw()).is_rows() {
            continue;
        }
        let nulls = found.as_ref().and_then(|found| {
            let Ok(Some(EventData::RowsEvent(rows))) = event.read_data() else {
                return None;
            };
            let table = file.reader().get_tme(rows.table_id())?;
            let bitmaps = [
                rows.columns_before_image()
                    .map(|bits| (bits, &found.before)),
                rows.columns_after_image().map(|bits| (bits, &found.after)),
            ];
            let are_same = bitmaps.into_iter().flatten().all(|(theirs, ours)| {
                let bit = |index: usize| ours[index / 8] >> (index % 8) & 1 == 1;
                (0..found.width).all(|index| theirs.get(index).as_deref() == Some(&bit(index)))
            });
            let is_alike = rows.num_columns() == found.width as u64
                && rows.rows_data() == found.bytes
                && are_same
                && same_columns(table, &found.columns, &format);
            if !is_alike {
                return None;
            }
            let mut nulls = Vec::new();
            for (number, row) in rows.rows(table).enumerate() {
                // Where rows have no bytes it would read them for ever.
                if number > data.len() {
                    return None;
                }
                let (before, after) = row.ok()?;
                nulls.extend([before, after].iter().flatten().map(nulls_of));
            }
            Some(nulls)
        });
        events.push(nulls);
    }
    events
}

/// The rival panics on some damaged input: that is a finding about it, not about us. The fuzzer's own
/// hook would end the process there.
static RIVAL_RUNS: AtomicBool = AtomicBool::new(false);

fn let_the_rival_panic() {
    let fuzzers_hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if !RIVAL_RUNS.load(Ordering::Relaxed) {
            fuzzers_hook(info);
        }
    }));
}

libfuzzer_sys::fuzz_target!(init: let_the_rival_panic(), |data: &[u8]| {
    let (ours, end) = ours(data);
    RIVAL_RUNS.store(true, Ordering::Relaxed);
    let theirs = std::panic::catch_unwind(|| theirs(&data[..end], &ours));
    RIVAL_RUNS.store(false, Ordering::Relaxed);
    let Ok(theirs) = theirs else {
        return;
    };
    for (ours, theirs) in ours.iter().zip(&theirs) {
        if let (Some(ours), Some(theirs)) = (ours, theirs) {
            assert_eq!(&ours.nulls, theirs);
        }
    }
});
