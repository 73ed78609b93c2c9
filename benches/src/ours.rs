//! The walks of this crate.

use std::hint::black_box;
use std::sync::Arc;

use rejoin::binlog::{
    CellValue, ChecksumAlgorithm, Event, EventHeader, EventType, ExpandedEvent, ExpandedLog,
    FormatDescription, GtidEvent, LogBytes, QueryEvent, RowsEvent, TableMaps, Value, XidEvent,
};
use rejoin::transaction::{Assembler, Batch};
use rejoin::wire::dump::{self, DumpPacket};
use rejoin::wire::packet::PacketReader;
use rejoin::{Limits, Result};

use crate::Seen;

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

/// A log as a donor sends it: each event in a packet.
pub fn sent(log: &[u8]) -> Result<Vec<u8>> {
    let mut packets = Vec::with_capacity(log.len() + log.len() / 8);
    let mut reader = LogBytes::new(log, &Limits::default())?;
    let mut sequence = 0u8;
    while let Some(event) = reader.next_event()? {
        let length = (event.bytes.len() as u32 + 1).to_le_bytes();
        packets.extend_from_slice(&length[..3]);
        packets.extend_from_slice(&[sequence, 0]);
        packets.extend_from_slice(event.bytes);
        sequence = sequence.wrapping_add(1);
    }
    Ok(packets)
}

/// Whole transactions from packets: what a receiver does between its socket and its batches, the
/// socket's copy into the buffer included.
pub fn received(mut packets: &[u8]) -> Result<Seen> {
    let mut seen = Seen::default();
    let mut reader = PacketReader::new(512 << 10, Limits::default().packet_bytes);
    let mut assembler = Assembler::new(Limits::default(), ChecksumAlgorithm::None);
    let mut batch = Batch::new();
    while !packets.is_empty() {
        let space = reader.space();
        let (now, later) = packets.split_at(space.len().min(packets.len()));
        space[..now.len()].copy_from_slice(now);
        reader.received(now.len());
        packets = later;
        while reader.advance()? {
            if let DumpPacket::Event(event) = dump::parse(reader.packet())? {
                assembler.push(event)?;
                seen.events += 1;
            }
            if assembler.byte_size() > 256 << 10 && !assembler.ready().is_empty() {
                batch = assembler.take(batch);
                seen.transactions += batch.len() as u64;
            }
        }
    }
    seen.transactions += assembler.ready().len() as u64;
    Ok(seen)
}

/// Checksums, and every value of every row, in compressed transactions too.
pub fn values(log: &[u8]) -> Result<Seen> {
    let limits = Limits::default();
    let mut seen = Seen::default();
    let mut log = ExpandedLog::new(log, &limits)?;
    let mut tables = TableMaps::new(&limits);
    while let Some(event) = log.next_event()? {
        seen.events += 1;
        let ExpandedEvent { format, bytes, .. } = event;
        match event.header.event_type {
            EventType::TABLE_MAP => {
                tables.add(format, bytes)?;
            }
            event_type if event_type.is_rows() => {
                let rows = RowsEvent::decode(format, bytes)?;
                let table = tables.of(&rows)?;
                let mut images = rows.rows(&table.columns)?;
                let mut values = 0;
                while images
                    .next_values(|_, value| {
                        values += u64::from(!matches!(value, CellValue::Value(Value::Null)));
                        black_box(value);
                    })?
                    .is_some()
                {
                    seen.images += 1;
                }
                seen.values += values;
            }
            EventType::QUERY => look(QueryEvent::decode(format, bytes))?,
            EventType::GTID | EventType::GTID_TAGGED => look(GtidEvent::decode(format, bytes))?,
            EventType::XID => look(XidEvent::decode(format, bytes))?,
            _ => look(Event::decode(format, bytes))?,
        }
    }
    Ok(seen)
}

/// Keeps the compiler from leaving out what was decoded.
#[inline(always)]
fn look<T>(decoded: Result<T>) -> Result<()> {
    match &decoded {
        Ok(value) => {
            black_box(value);
            Ok(())
        }
        Err(_) => decoded.map(drop),
    }
}

/// A log taken apart into typed events, for [`encode`].
#[derive(Debug)]
pub struct Decoded<'a> {
    format: Arc<FormatDescription>,
    events: Vec<(EventHeader, Event<'a>)>,
}

/// Takes a log of one format apart.
pub fn decoded(log: &[u8]) -> Result<Decoded<'_>> {
    let mut reader = LogBytes::new(log, &Limits::default())?;
    let mut events = Vec::new();
    let mut format = None;
    while let Some(event) = reader.next_event()? {
        // The same bytes, borrowed from the log itself.
        let bytes = &log[event.offset as usize..][..event.bytes.len()];
        let body = event.format.verify(bytes)?;
        events.push((event.header, Event::decode(event.format, body)?));
        format = Some(Arc::clone(event.format));
    }
    Ok(Decoded {
        format: format.expect("a log has a format description"),
        events,
    })
}

/// Writes all events, checksums included, each over the one before.
pub fn encode(log: &Decoded<'_>, out: &mut Vec<u8>) {
    for (header, event) in &log.events {
        out.clear();
        event.encode(&log.format, header, out);
        black_box(&out);
    }
}
