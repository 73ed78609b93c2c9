//! What the machine allows: nothing that reads a log can be faster.

use rejoin::Limits;
use rejoin::binlog::{EventType, LogBytes, PayloadCompression, TransactionPayload};

/// Copies all bytes, in pieces that stay in the cache, as a batch does.
pub fn copy(log: &[u8]) -> usize {
    let mut piece = vec![0; 256 << 10];
    for bytes in log.chunks(piece.len()) {
        piece[..bytes.len()].copy_from_slice(bytes);
        std::hint::black_box(&piece);
    }
    log.len()
}

/// The checksum of the whole log in one piece.
pub fn checksum(log: &[u8]) -> u32 {
    libdeflater::crc32(log)
}

/// The compressed payloads of a log, with the sizes that they expand to.
pub fn payloads(log: &[u8]) -> Vec<(&[u8], usize)> {
    let mut payloads = Vec::new();
    let mut reader = LogBytes::new(log, &Limits::default()).expect("a log");
    while let Some(event) = reader.next_event().expect("an event") {
        // The same bytes, borrowed from the log itself.
        let bytes = &log[event.offset as usize..][..event.bytes.len()];
        if event.header.event_type == EventType::TRANSACTION_PAYLOAD {
            let body = event.format.verify(bytes).expect("a checksum");
            let payload = TransactionPayload::decode(event.format, body).expect("a payload");
            assert_eq!(payload.compression, PayloadCompression::Zstd);
            let size = payload.uncompressed_size.expect("servers write it");
            payloads.push((payload.payload, size as usize));
        }
    }
    payloads
}

/// Decompresses them with nothing around it: one context, one buffer, sizes known beforehand.
pub fn zstd(payloads: &[(&[u8], usize)]) -> usize {
    let mut decompressor = zstd::bulk::Decompressor::new().expect("a context");
    let mut out = Vec::new();
    let mut total = 0;
    for (payload, size) in payloads {
        out.clear();
        out.reserve(*size);
        total += decompressor
            .decompress_to_buffer(payload, &mut out)
            .expect("zstd");
        std::hint::black_box(&out);
    }
    total
}
