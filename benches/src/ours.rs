//! The walks of this crate.

use std::hint::black_box;
use std::sync::Arc;

use rejoin::binlog::{
    CellValue, ChecksumAlgorithm, Event, EventHeader, EventType, FormatDescription, GtidEvent,
    LogBytes, PayloadDecoder, QueryEvent, RowsEvent, TableMaps, TransactionPayload, Value,
    XidEvent,
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

/// Checksums, and every value of every row.
pub fn values(log: &[u8]) -> Result<Seen> {
    let limits = Limits::default();
    let mut seen = Seen::default();
    let mut reader = LogBytes::new(log, &limits)?;
    let mut walk = Walk {
        tables: TableMaps::new(&limits),
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
            seen.events += 1;
        } else {
            walk.event(event.format, &event.header, body, &mut seen)?;
        }
    }
    Ok(seen)
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

struct Walk {
    tables: TableMaps,
    decoder: PayloadDecoder,
    expanded: Vec<u8>,
}

impl Walk {
    #[inline]
    fn event(
        &mut self,
        format: &FormatDescription,
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
                while images
                    .next_values(|_, value| {
                        seen.values += u64::from(!matches!(value, CellValue::Value(Value::Null)));
                        black_box(value);
                    })?
                    .is_some()
                {
                    seen.images += 1;
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
