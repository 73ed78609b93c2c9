//! Compressed transactions.
//!
//! ```text
//! (packed kind, packed length, value)*: 1 size of the payload, 2 compression, 3 size uncompressed
//! packed 0: end | payload: events back to back, without checksums, compressed as a whole
//! ```

use std::io::Cursor;

use zstd::zstd_safe::{DCtx, InBuffer, OutBuffer, ResetDirective, get_error_name};

use super::reader::Reader;
use super::{EventHeader, EventType, FormatDescription};
use crate::{Error, ErrorKind, Limits, Result};

/// How a payload is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PayloadCompression {
    /// Zstandard.
    Zstd,
    /// Not at all.
    None,
}

/// A whole transaction but for its GTID event, compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransactionPayload<'a> {
    /// How it is compressed.
    pub compression: PayloadCompression,
    /// Size of the events, as the source claims.
    pub uncompressed_size: Option<u64>,
    /// The compressed events.
    pub payload: &'a [u8],
    /// The fields as they came, up to and with their end mark.
    head: &'a [u8],
}

impl<'a> TransactionPayload<'a> {
    /// Reads the body of `event` (without its checksum).
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`]; [`ErrorKind::Unsupported`] for another compression.
    pub fn decode(format: &FormatDescription, event: &'a [u8]) -> Result<Self> {
        const END: u64 = 0;
        const PAYLOAD_SIZE: u64 = 1;
        const COMPRESSION: u64 = 2;
        const UNCOMPRESSED_SIZE: u64 = 3;
        // Never by the format description's entry for this event, which is wrong.
        let start = format.body_offset(EventType::TRANSACTION_PAYLOAD);
        let mut reader = Reader::at(event, start)?;
        let body = reader.rest();
        let mut payload_size = None;
        let mut compression = None;
        let mut uncompressed_size = None;
        loop {
            let kind = reader.packed("kind of payload field")?;
            if kind == END {
                break;
            }
            let length = reader.packed("length of payload field")?;
            let mut value = Reader::new(reader.take_u64(length, "payload field")?);
            match kind {
                PAYLOAD_SIZE => payload_size = Some(value.packed("payload size")?),
                COMPRESSION => compression = Some(value.packed("compression")?),
                UNCOMPRESSED_SIZE => uncompressed_size = Some(value.packed("uncompressed size")?),
                _ => {}
            }
        }
        let head = body.get(..reader.position() - start).unwrap_or_default();
        let compression = match compression {
            Some(0) => PayloadCompression::Zstd,
            Some(255) => PayloadCompression::None,
            Some(other) => {
                return Err(Error::new(
                    ErrorKind::Unsupported,
                    format!("transaction payload with compression {other}"),
                ));
            }
            None => return Err(reader.malformed("transaction payload without its compression")),
        };
        let Some(payload_size) = payload_size else {
            return Err(reader.malformed("transaction payload without its size"));
        };
        let payload = reader.take_u64(payload_size, "transaction payload")?;
        Ok(Self {
            compression,
            uncompressed_size,
            payload,
            head,
        })
    }

    pub(super) fn encode_body(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.head);
        out.extend_from_slice(self.payload);
    }
}

/// The event at the front of `events`, which were in a payload.
///
/// # Errors
/// [`ErrorKind::Malformed`] where it is cut, or of a type that stands in no payload.
#[inline]
pub(crate) fn split_nested(events: &[u8]) -> Result<(EventHeader, &[u8])> {
    let header = match EventHeader::decode(events) {
        Ok(header) => header,
        Err(error) => return Err(in_payload(error)),
    };
    match events.get(..header.length as usize) {
        Some(event) if may_be_nested(header.event_type) => Ok((header, event)),
        _ => Err(odd_nested(&header, events.len())),
    }
}

/// A payload is one transaction behind its GTID event, and nothing of the log's own.
#[inline]
fn may_be_nested(event_type: EventType) -> bool {
    !matches!(
        event_type,
        EventType::TRANSACTION_PAYLOAD
            | EventType::FORMAT_DESCRIPTION
            | EventType::ROTATE
            | EventType::STOP
            | EventType::PREVIOUS_GTIDS
            | EventType::GTID
            | EventType::ANONYMOUS_GTID
            | EventType::GTID_TAGGED
    )
}

#[cold]
fn odd_nested(header: &EventHeader, left: usize) -> Error {
    let EventHeader {
        event_type, length, ..
    } = header;
    let message = if *length as usize > left {
        format!("{event_type} event of {length} bytes where {left} are left")
    } else {
        format!("{event_type} event")
    };
    in_payload(Error::new(ErrorKind::Malformed, message))
}

/// Says of an error that it is in a payload.
#[cold]
pub(crate) fn in_payload(error: Error) -> Error {
    Error::new(
        error.kind(),
        format!("inside a compressed transaction: {}", error.message()),
    )
}

/// Decompresses payloads, with memory that it keeps from one to the next.
#[derive(Default)]
pub struct PayloadDecoder {
    /// Made at the first compressed payload.
    zstd: Option<DCtx<'static>>,
}

impl std::fmt::Debug for PayloadDecoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PayloadDecoder").finish_non_exhaustive()
    }
}

/// How much room is made for output at first; the claimed size is not trusted beyond it.
const FIRST_ROOM: usize = 1 << 20;

impl PayloadDecoder {
    /// A decoder without any memory yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends the events of `payload` to `out`.
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`] where the compressed bytes are damaged or their size is not the one
    /// claimed, [`ErrorKind::Limit`] where the events are larger than `limits` allow. `out` may have
    /// part of them then.
    pub fn expand(
        &mut self,
        payload: &TransactionPayload<'_>,
        limits: &Limits,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        let start = out.len();
        match payload.compression {
            PayloadCompression::None => out.extend_from_slice(payload.payload),
            PayloadCompression::Zstd => self.zstd(payload, limits, out)?,
        }
        let size = out.len() - start;
        if size > limits.decompressed_bytes {
            return Err(too_large(limits));
        }
        match payload.uncompressed_size {
            Some(claimed) if claimed != size as u64 => Err(Error::new(
                ErrorKind::Malformed,
                format!("transaction payload expands to {size} bytes, {claimed} were claimed"),
            )),
            _ => Ok(()),
        }
    }

    fn zstd(
        &mut self,
        payload: &TransactionPayload<'_>,
        limits: &Limits,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        let context = self.zstd.get_or_insert_with(DCtx::create);
        let claimed = payload
            .uncompressed_size
            .and_then(|claimed| usize::try_from(claimed).ok())
            .unwrap_or(usize::MAX);
        if claimed <= FIRST_ROOM.min(limits.decompressed_bytes) && is_one_frame(payload.payload) {
            let start = out.len();
            out.reserve(claimed);
            let mut room = Cursor::new(&mut *out);
            room.set_position(start as u64);
            if context.decompress(&mut room, payload.payload).is_ok() {
                return Ok(());
            }
            // What is the matter comes out below.
            out.truncate(start);
        }
        stream(context, payload.payload, claimed, limits, out)
    }
}

/// Whether this is one zstd frame of a window that servers allow (below 128 MiB), and nothing else: where
/// payloads are decompressed in one step the library does not look at windows, which is a fault to
/// everybody else. (RFC 8878, section 3.1.1: a head, then blocks of which each says whether it is the last.)
fn is_one_frame(payload: &[u8]) -> bool {
    const MAGIC: [u8; 4] = 0xfd2f_b528u32.to_le_bytes();
    const LARGE_WINDOW: u8 = (27 - 10) << 3;
    let Some((&MAGIC, rest)) = payload.split_first_chunk() else {
        return false;
    };
    let [descriptor, window, ..] = *rest else {
        return false;
    };
    let is_single_segment = descriptor & 0x20 != 0;
    let content_size = match descriptor >> 6 {
        0 => usize::from(is_single_segment),
        exponent => 1 << exponent,
    };
    let dictionary_id = (1 << (descriptor & 3)) >> 1;
    let checksum = usize::from(descriptor & 4);
    let head = 1 + usize::from(!is_single_segment) + dictionary_id + content_size;
    let mut rest = rest.get(head..);
    while let Some([a, b, c, blocks @ ..]) = rest {
        let block = u32::from_le_bytes([*a, *b, *c, 0]);
        let size = match block >> 1 & 3 {
            // One byte, so many times.
            1 => 1,
            _ => block as usize >> 3,
        };
        rest = blocks.get(size..);
        if block & 1 == 1 {
            return (is_single_segment || window < LARGE_WINDOW)
                && rest.is_some_and(|rest| rest.len() == checksum);
        }
    }
    false
}

/// Decompresses piece by piece: no room is made for more than comes.
fn stream(
    context: &mut DCtx<'_>,
    payload: &[u8],
    claimed: usize,
    limits: &Limits,
    out: &mut Vec<u8>,
) -> Result<()> {
    let damaged = |code: usize| {
        Error::new(
            ErrorKind::Malformed,
            format!("transaction payload: zstd: {}", get_error_name(code)),
        )
    };
    context
        .reset(ResetDirective::SessionOnly)
        .map_err(damaged)?;
    let start = out.len();
    let mut room = claimed.clamp(4096, FIRST_ROOM);
    let mut input = InBuffer::around(payload);
    loop {
        // Never all the room that `out` happens to have: what zstd says of damage depends on it.
        let filled = out.len();
        out.resize(filled + room, 0);
        let mut window = OutBuffer::around(out.get_mut(filled..).unwrap_or_default());
        let result = context.decompress_stream(&mut window, &mut input);
        let produced = window.pos();
        out.truncate(filled + produced);
        let hint = result.map_err(damaged)?;
        if out.len() - start > limits.decompressed_bytes {
            return Err(too_large(limits));
        }
        if input.pos() == payload.len() {
            if hint == 0 {
                return Ok(());
            }
            if produced == 0 {
                return Err(Error::new(
                    ErrorKind::Malformed,
                    "transaction payload ends in the middle of a zstd frame",
                ));
            }
        }
        room = (out.len() - start).clamp(4096, 1 << 24);
    }
}

#[cold]
fn too_large(limits: &Limits) -> Error {
    Error::new(
        ErrorKind::Limit,
        format!(
            "transaction payload expands to more than {} bytes (limit decompressed_bytes)",
            limits.decompressed_bytes
        ),
    )
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn one_frame_is_told_apart_from_parts_and_from_two() {
        let mixed: Vec<u8> = (0..300_000u32)
            .flat_map(|n| n.wrapping_mul(n).to_le_bytes())
            .collect();
        for (bytes, size) in [
            (&mixed[..], 0),
            (&mixed, 1),
            (&mixed, 255),
            (&mixed, 256),
            (&mixed, 65_792),
            (&mixed, mixed.len()),
            (&[7; 500_000], 500_000),
        ] {
            for (has_size, has_checksum) in [(false, false), (true, false), (true, true)] {
                let mut encoder = zstd::stream::Encoder::new(Vec::new(), 3).unwrap();
                encoder.include_checksum(has_checksum).unwrap();
                let pledged = has_size.then_some(size as u64);
                encoder.set_pledged_src_size(pledged).unwrap();
                encoder.write_all(&bytes[..size]).unwrap();
                let mut frame = encoder.finish().unwrap();
                let what = format!("{size} bytes, size {has_size}, checksum {has_checksum}");
                assert!(is_one_frame(&frame), "{what}");
                let cuts = (0..frame.len().min(32)).chain([frame.len() - 1]);
                for cut in cuts {
                    assert!(!is_one_frame(&frame[..cut]), "{what}, cut at {cut}");
                }
                frame.push(0x28);
                assert!(!is_one_frame(&frame), "{what}, and a byte");
                frame.pop();
                frame.extend_from_within(..);
                assert!(!is_one_frame(&frame), "{what}, twice");
            }
        }
        // A frame that is to be skipped.
        assert!(!is_one_frame(&[0x50, 0x2a, 0x4d, 0x18, 1, 0, 0, 0, 1]));
    }

    #[test]
    fn a_window_that_no_server_allows_is_refused() {
        for (window, is_allowed) in [(0x58, true), (0x87, true), (0x97, false)] {
            // One block, the last one, of three bytes as they are.
            let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0, window];
            frame.extend_from_slice(&[3 << 3 | 1, 0, 0, b'a', b'b', b'c']);
            let payload = TransactionPayload {
                compression: PayloadCompression::Zstd,
                uncompressed_size: Some(3),
                payload: &frame,
                head: &[],
            };
            let mut out = Vec::new();
            let expanded = PayloadDecoder::new().expand(&payload, &Limits::default(), &mut out);
            assert_eq!(expanded.is_ok(), is_allowed, "window {window:#x}");
            assert!(!is_allowed || out == b"abc");
        }
    }
}
