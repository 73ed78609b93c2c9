//! Where this crate and `mysql_common` both accept an event of row data, they agree on its rows.
//! The input is a log; `mysql_common` verifies no checksum, so only what we accept is compared. It also
//! allocates what an event merely claims to be long, so it gets only the events that we found whole.
#![no_main]

use std::sync::atomic::{AtomicBool, Ordering};

use mysql_common::binlog::BinlogFile;
use mysql_common::binlog::consts::BinlogVersion;
use mysql_common::binlog::events::EventData;
use rejoin::Limits;
use rejoin::binlog::{LogBytes, RowsEvent, TableMaps};

/// The rival counts a row's columns anew for each of its cells: so many steps in an input are enough.
const STEPS: usize = 10_000_000;

/// Number of images of each row event that could be read whole, and where the last sound event ends that
/// the rival can read in time.
fn ours(data: &[u8]) -> (Vec<Option<usize>>, usize) {
    let limits = Limits::default();
    let (mut counts, mut end, mut steps) = (Vec::new(), 0, 0);
    let Ok(mut reader) = LogBytes::new(data, &limits) else {
        return (counts, end);
    };
    let mut tables = TableMaps::new(&limits);
    while let Ok(Some(event)) = reader.next_event() {
        let Ok(body) = event.verify() else { break };
        if event.header.event_type.0 == 19 {
            if tables.add(event.format, body).is_err() {
                break;
            }
        } else if event.header.event_type.is_rows() {
            let count = RowsEvent::decode(event.format, body).and_then(|rows| {
                let table = tables.of(&rows)?;
                let mut images = rows.rows(&table.columns)?;
                let (mut cells, mut count) = (Vec::new(), 0);
                while images.next_image(&mut cells)?.is_some() {
                    count += 1;
                    steps += cells.len() * cells.len();
                }
                Ok(count)
            });
            if steps > STEPS {
                break;
            }
            counts.push(count.ok());
        }
        end = event.offset as usize + event.bytes.len();
    }
    (counts, end)
}

/// The same of the rival, where `ours` is a number.
fn theirs(data: &[u8], ours: &[Option<usize>]) -> Vec<Option<usize>> {
    let mut counts = Vec::new();
    let Ok(mut file) = BinlogFile::new(BinlogVersion::Version4, data) else {
        return counts;
    };
    while let Some(Ok(event)) = file.next() {
        if counts.len() == ours.len() {
            break;
        }
        if !matches!(event.header().event_type_raw(), 23..=25 | 30..=32 | 39) {
            continue;
        }
        if ours[counts.len()].is_none() {
            counts.push(None);
            continue;
        }
        let Ok(Some(EventData::RowsEvent(rows))) = event.read_data() else {
            counts.push(None);
            continue;
        };
        let count = file.reader().get_tme(rows.table_id()).and_then(|table| {
            let mut count = 0;
            for (number, row) in rows.rows(table).enumerate() {
                // Where rows have no bytes it would read them for ever.
                if number > data.len() {
                    return None;
                }
                let (before, after) = row.ok()?;
                count += usize::from(before.is_some()) + usize::from(after.is_some());
            }
            Some(count)
        });
        counts.push(count);
    }
    counts
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
            assert_eq!(ours, theirs);
        }
    }
});
