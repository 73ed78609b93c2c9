//! What is measured: the same walk through a log, by this crate and by its rivals; and in
//! [`hand_over`] the queue of the group's feed beside its rivals.

pub mod hand_over;
pub mod histogram;

use std::hint::black_box;

use rejoin::binlog::{
    Cell, ChecksumAlgorithm, Event, EventHeader, EventType, GtidEvent, LogBytes, PayloadDecoder,
    QueryEvent, RowsEvent, TableMaps, TransactionPayload, XidEvent,
};
use rejoin::transaction::{Assembler, Batch};
use rejoin::{Limits, Result};

/// What a walk has seen, so that walks can be compared and are not optimised away.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Events, those in payloads included where they are expanded.
    pub events: u64,
    /// Row images.
    pub images: u64,
    /// Cells that have a value.
    pub values: u64,
    /// Transactions.
    pub transactions: u64,
}

/// Headers only.
pub fn headers(log: &[u8]) -> Result<Seen> {
    let mut seen = Seen::default();
    let mut reader = LogBytes::new(log, &Limits::default())?;
    while let Some(event) = reader.next_event()? {
        black_box(event.header);
        seen.events += 1;
    }
    Ok(seen)
}

/// Headers and checksums.
pub fn checksums(log: &[u8]) -> Result<Seen> {
    let mut seen = Seen::default();
    let mut reader = LogBytes::new(log, &Limits::default())?;
    while let Some(event) = reader.next_event()? {
        black_box(event.verify()?);
        seen.events += 1;
    }
    Ok(seen)
}

/// Whole transactions, batch by batch.
pub fn transactions(log: &[u8]) -> Result<Seen> {
    let mut seen = Seen::default();
    let mut reader = LogBytes::new(log, &Limits::default())?;
    let mut assembler = Assembler::new(Limits::default(), ChecksumAlgorithm::None);
    let mut batch = Batch::new();
    while let Some(event) = reader.next_event()? {
        assembler.push(event.bytes)?;
        seen.events += 1;
        if assembler.byte_size() > 256 << 10 && !assembler.ready().is_empty() {
            batch = assembler.take(batch);
            seen.transactions += batch.len() as u64;
        }
    }
    seen.transactions += assembler.ready().len() as u64;
    Ok(seen)
}

/// Checksums, and every value of every row.
pub fn values(log: &[u8]) -> Result<Seen> {
    let limits = Limits::default();
    let mut seen = Seen::default();
    let mut reader = LogBytes::new(log, &limits)?;
    let mut walk = Walk {
        tables: TableMaps::new(&limits),
        cells: Vec::new(),
        decoder: PayloadDecoder::new(),
        expanded: Vec::new(),
    };
    while let Some(event) = reader.next_event()? {
        let body = event.verify()?;
        if event.header.event_type == EventType::TRANSACTION_PAYLOAD {
            let payload = TransactionPayload::decode(event.format, body)?;
            walk.expanded.clear();
            walk.decoder.expand(&payload, &limits, &mut walk.expanded)?;
            let expanded = std::mem::take(&mut walk.expanded);
            let mut rest = expanded.as_slice();
            while !rest.is_empty() {
                let header = EventHeader::decode(rest)?;
                let (event_bytes, behind) = rest.split_at(header.length as usize);
                walk.event(event.format, &header, event_bytes, &mut seen)?;
                rest = behind;
            }
            walk.expanded = expanded;
        }
        walk.event(event.format, &event.header, body, &mut seen)?;
    }
    Ok(seen)
}

struct Walk {
    tables: TableMaps,
    cells: Vec<Cell>,
    decoder: PayloadDecoder,
    expanded: Vec<u8>,
}

impl Walk {
    #[inline]
    fn event(
        &mut self,
        format: &rejoin::binlog::FormatDescription,
        header: &EventHeader,
        event: &[u8],
        seen: &mut Seen,
    ) -> Result<()> {
        seen.events += 1;
        match header.event_type {
            EventType::TABLE_MAP => {
                self.tables.add(format, event)?;
            }
            event_type if event_type.is_rows() => {
                let rows = RowsEvent::decode(format, event)?;
                let table = self.tables.of(&rows)?;
                let mut images = rows.rows(&table.columns)?;
                while let Some(image) = images.next_image(&mut self.cells)? {
                    seen.images += 1;
                    for (column, cell) in table.columns.iter().zip(&self.cells) {
                        if let Some(bytes) = cell.bytes(image.bytes) {
                            black_box(column.decode(bytes)?);
                            seen.values += 1;
                        }
                    }
                }
            }
            EventType::QUERY => {
                black_box(QueryEvent::decode(format, event)?);
            }
            EventType::GTID | EventType::GTID_TAGGED => {
                black_box(GtidEvent::decode(format, event)?);
            }
            EventType::XID => {
                black_box(XidEvent::decode(format, event)?);
            }
            _ => {
                black_box(Event::decode(format, event)?);
            }
        }
        Ok(())
    }
}

/// The rival `mysql_common`.
pub mod mysql_common_walk {
    use std::hint::black_box;

    use mysql_common::binlog::events::{EventData, RowsEventData};
    use mysql_common::binlog::{BinlogFile, consts::BinlogVersion};

    use super::Seen;

    /// Reads events only.
    pub fn read(log: &[u8]) -> Seen {
        let mut seen = Seen::default();
        let file = BinlogFile::new(BinlogVersion::Version4, log).expect("a log");
        for event in file {
            black_box(event.expect("an event"));
            seen.events += 1;
        }
        seen
    }

    /// Every value of every row; no checksum.
    pub fn values(log: &[u8]) -> Seen {
        let mut seen = Seen::default();
        let mut file = BinlogFile::new(BinlogVersion::Version4, log).expect("a log");
        while let Some(event) = file.next() {
            let event = event.expect("an event");
            one(&mut file, &event, &mut seen);
        }
        seen
    }

    fn one(
        file: &mut BinlogFile<&[u8]>,
        event: &mysql_common::binlog::events::Event,
        seen: &mut Seen,
    ) {
        seen.events += 1;
        match event.read_data().expect("data") {
            Some(EventData::RowsEvent(rows)) => rows_of(file, &rows, seen),
            Some(other) => {
                black_box(other);
            }
            None => {}
        }
    }

    fn rows_of(file: &mut BinlogFile<&[u8]>, rows: &RowsEventData<'_>, seen: &mut Seen) {
        let Some(table) = file.reader().get_tme(rows.table_id()) else {
            return;
        };
        for row in rows.rows(table) {
            let (before, after) = row.expect("a row");
            for image in [before, after].into_iter().flatten() {
                seen.images += 1;
                for value in image.unwrap() {
                    black_box(value);
                    seen.values += 1;
                }
            }
        }
    }
}
