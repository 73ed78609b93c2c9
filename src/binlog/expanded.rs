//! A log as if nothing in it were compressed.
//!
//! ```text
//! a stretch of the log --verify--> its events --expand--> events in its payloads --next_event--> the caller
//! ```
//!
//! Where a compressed transaction is met, each of these steps goes through a whole stretch of the log
//! before the next one begins. Done in turns for every transaction, each step would find the processor's
//! caches, and its guesses of what comes next, as zstd has left them: measured, verifying and decoding
//! take half as long again.

use std::sync::Arc;

use prefetch_index::prefetch_index;

use super::file::CACHE_LINE;
use super::payload::split_nested;
use super::{
    EventHeader, EventType, FormatDescription, LogBytes, PayloadDecoder, Tail, TransactionPayload,
};
use crate::{Error, ErrorKind, Limits, Result};

/// Tests meet the ends of stretches more often.
const SCALE: usize = if cfg!(any(test, fuzzing)) { 1 } else { 64 };
/// How much of the log is looked at in one go.
const STRETCH_BYTES: usize = SCALE * (2 << 10);
/// When so much came out of a stretch, the rest of its payloads waits.
const EXPANDED_BYTES: usize = SCALE * (16 << 10);

/// An event that is sound: its checksum was verified, or it was in the payload of one whose checksum was.
#[derive(Debug, Clone, Copy)]
pub struct ExpandedEvent<'a> {
    /// Where it starts in the log; of an event in a payload, where the one with the payload starts.
    pub offset: u64,
    /// Its header.
    pub header: EventHeader,
    /// The event without its checksum.
    pub bytes: &'a [u8],
    /// How it is read.
    pub format: &'a Arc<FormatDescription>,
    /// Whether it was in a payload.
    pub is_nested: bool,
}

/// Reads a log in memory as [`LogBytes`] does, with the events of compressed transactions in the place of
/// their payloads, and everything verified.
///
/// ```no_run
/// use rejoin::Limits;
/// use rejoin::binlog::{Event, ExpandedLog};
///
/// let bytes = std::fs::read("/var/lib/mysql/binlog.000001").unwrap();
/// let mut log = ExpandedLog::new(&bytes, &Limits::default())?;
/// while let Some(event) = log.next_event()? {
///     println!("{:>10} {:?}", event.offset, Event::decode(event.format, event.bytes)?);
/// }
/// # Ok::<(), rejoin::Error>(())
/// ```
#[derive(Debug)]
pub struct ExpandedLog<'a> {
    /// Stands behind the stretch.
    log: LogBytes<'a>,
    limits: Limits,
    decoder: PayloadDecoder,
    /// What was verified and was not given out yet; of one format.
    stretch: &'a [u8],
    /// Where that starts in the log.
    offset: u64,
    /// The payloads of the stretch, in their order.
    payloads: Vec<Payload<'a>>,
    /// How many of them were entered.
    entered: usize,
    /// The events of all of them.
    expanded: Vec<u8>,
    /// Where the payload that was entered last is in the log.
    payload_offset: u64,
    /// Where in `expanded` the next event starts.
    next: usize,
    /// Where those of the payload that was entered last end.
    end: usize,
}

#[derive(Debug)]
struct Payload<'a> {
    /// Where the event with it starts in the log.
    offset: u64,
    payload: TransactionPayload<'a>,
    /// Where its events end in those of all payloads of the stretch.
    end: usize,
}

impl<'a> ExpandedLog<'a> {
    /// Reads `log`, which begins with the magic.
    ///
    /// # Errors
    /// As [`LogBytes::new`].
    pub fn new(log: &'a [u8], limits: &Limits) -> Result<Self> {
        Ok(Self {
            log: LogBytes::new(log, limits)?,
            limits: limits.clone(),
            decoder: PayloadDecoder::new(),
            stretch: &[],
            offset: 0,
            payloads: Vec::new(),
            entered: 0,
            expanded: Vec::new(),
            payload_offset: 0,
            next: 0,
            end: 0,
        })
    }

    /// The next event; `None` behind the last whole one.
    ///
    /// # Errors
    /// As [`LogBytes::next_event`] and [`PayloadDecoder::expand`], and [`ErrorKind::Checksum`]; all with the
    /// offset of the event, and behind every event in front of it. What can be read after an error is not
    /// defined.
    #[inline]
    pub fn next_event(&mut self) -> Result<Option<ExpandedEvent<'_>>> {
        loop {
            if self.next < self.end {
                return self.nested().map(Some);
            }
            if let Some(head) = self.stretch.first_chunk() {
                let header = EventHeader::unchecked(head);
                let offset = self.offset;
                let (event, rest) = self
                    .stretch
                    .split_at_checked(header.length as usize)
                    .unwrap_or((self.stretch, &[]));
                self.stretch = rest;
                self.offset += event.len() as u64;
                if header.event_type == EventType::TRANSACTION_PAYLOAD {
                    self.enter();
                    continue;
                }
                return Ok(self.log.format().map(|format| {
                    let body = event.len().saturating_sub(format.checksum().size());
                    ExpandedEvent {
                        offset,
                        header,
                        bytes: event.get(..body).unwrap_or_default(),
                        format,
                        is_nested: false,
                    }
                }));
            }
            if self.log.next_type() != Some(EventType::TRANSACTION_PAYLOAD) {
                return self.verified();
            }
            self.next_stretch()?;
            if self.stretch.is_empty() {
                return Ok(None);
            }
        }
    }

    /// What is left behind the last whole event, after [`next_event`](Self::next_event) has returned
    /// `None`.
    pub fn tail(&self) -> Tail {
        self.log.tail()
    }

    /// The next event of the log itself.
    #[inline]
    fn verified(&mut self) -> Result<Option<ExpandedEvent<'_>>> {
        let Some(event) = self.log.next_event()? else {
            return Ok(None);
        };
        Ok(Some(ExpandedEvent {
            offset: event.offset,
            header: event.header,
            bytes: event.verify()?,
            format: event.format,
            is_nested: false,
        }))
    }

    /// The next event of the payload that was entered.
    #[inline]
    fn nested(&mut self) -> Result<ExpandedEvent<'_>> {
        const AHEAD: usize = 1024;
        prefetch_index(&self.expanded, self.next + AHEAD);
        prefetch_index(&self.expanded, self.next + AHEAD + CACHE_LINE);
        let offset = self.payload_offset;
        let rest = self.expanded.get(self.next..self.end).unwrap_or_default();
        let (header, bytes) = match split_nested(rest) {
            Ok(event) => event,
            Err(error) => return Err(error.at_offset(offset)),
        };
        let Some(format) = self.log.format() else {
            return Err(Error::new(ErrorKind::Internal, "events without a format"));
        };
        self.next += bytes.len();
        Ok(ExpandedEvent {
            offset,
            header,
            bytes,
            format,
            is_nested: true,
        })
    }

    /// Goes on in the next payload of the stretch.
    #[inline]
    fn enter(&mut self) {
        // The log goes on there behind it.
        prefetch_index(self.stretch, 0);
        prefetch_index(self.stretch, CACHE_LINE);
        if let Some(payload) = self.payloads.get(self.entered) {
            self.payload_offset = payload.offset;
            self.end = payload.end;
            self.entered += 1;
        }
    }

    /// Verifies a stretch that begins with a payload, and expands what is in it. It ends in front of what is
    /// damaged: that is found again when it is the first event.
    #[inline(never)]
    fn next_stretch(&mut self) -> Result<()> {
        let bytes = self.log.rest();
        let offset = self.log.offset();
        let mut size = 0;
        self.payloads.clear();
        while size < STRETCH_BYTES {
            match self.verify_next(bytes.get(size..).unwrap_or_default()) {
                Ok(0) => break,
                Ok(length) => size += length,
                Err(error) if size == 0 => return Err(error),
                Err(_) => break,
            }
        }
        if let Some(waiting) = self.expand()? {
            size = (waiting - offset) as usize;
        }
        let (stretch, rest) = bytes.split_at_checked(size).unwrap_or((bytes, &[]));
        self.log.go_to(rest, offset + size as u64);
        self.stretch = stretch;
        self.offset = offset;
        Ok(())
    }

    /// Verifies one event of the log, which is at the front of `rest`, and says how long it is: 0 where the
    /// stretch ends.
    #[inline]
    fn verify_next(&mut self, rest: &'a [u8]) -> Result<usize> {
        if self.log.next_type() == Some(EventType::FORMAT_DESCRIPTION) {
            return Ok(0);
        }
        let Some(event) = self.log.next_event()? else {
            return Ok(0);
        };
        let body = event.verify()?.len();
        if event.header.event_type == EventType::TRANSACTION_PAYLOAD {
            let body = rest.get(..body).unwrap_or_default();
            match TransactionPayload::decode(event.format, body) {
                Ok(payload) => self.payloads.push(Payload {
                    offset: event.offset,
                    payload,
                    end: 0,
                }),
                Err(error) => return Err(error.at_offset(event.offset)),
            }
        }
        Ok(event.bytes.len())
    }

    /// Expands the payloads of the stretch, and says where the first one is that has to wait.
    #[inline]
    fn expand(&mut self) -> Result<Option<u64>> {
        self.entered = 0;
        self.next = 0;
        self.end = 0;
        self.expanded.clear();
        for (index, payload) in self.payloads.iter_mut().enumerate() {
            if self.expanded.len() >= EXPANDED_BYTES {
                return Ok(Some(payload.offset));
            }
            let result = self
                .decoder
                .expand(&payload.payload, &self.limits, &mut self.expanded);
            match result {
                Ok(()) => payload.end = self.expanded.len(),
                Err(error) if index == 0 => return Err(error.at_offset(payload.offset)),
                Err(_) => return Ok(Some(payload.offset)),
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::binlog::reader::put_packed;
    use crate::binlog::{ChecksumAlgorithm, MAGIC};

    fn event(event_type: EventType, body: &[u8]) -> Vec<u8> {
        let mut header = EventHeader::new(event_type, 1, 1);
        header.length = (EventHeader::SIZE + body.len()) as u32;
        [&header.encode()[..], body].concat()
    }

    #[test]
    fn no_more_is_expanded_than_is_given_out_soon() {
        const EVENTS: usize = 40;
        let nested = event(EventType::IGNORABLE, &[7; 4000]);
        let plain = nested.repeat(3);
        let compressed = zstd::encode_all(plain.as_slice(), 3).unwrap();
        let mut body = vec![2, 1, 0, 3, 3];
        put_packed(plain.len() as u64, &mut body);
        body.extend_from_slice(&[1, 1]);
        put_packed(compressed.len() as u64, &mut body);
        body.push(0);
        body.extend_from_slice(&compressed);
        let payload = event(EventType::TRANSACTION_PAYLOAD, &body);
        let mut bytes = MAGIC.to_vec();
        let format = FormatDescription::new("9.7.4", ChecksumAlgorithm::None).unwrap();
        format.encode(1, 1, false, &mut bytes);
        let start = bytes.len();
        bytes.extend_from_slice(&payload.repeat(EVENTS));
        assert!(STRETCH_BYTES / payload.len() * plain.len() > 4 * EXPANDED_BYTES);

        let mut log = ExpandedLog::new(&bytes, &Limits::default()).unwrap();
        assert!(
            log.next_event().unwrap().is_some(),
            "the format description"
        );
        for index in 0..3 * EVENTS {
            let event = log.next_event().unwrap().unwrap();
            assert!(event.is_nested);
            assert_eq!(event.bytes, nested);
            assert_eq!(event.offset, (start + index / 3 * payload.len()) as u64);
            assert!(log.expanded.len() < EXPANDED_BYTES + plain.len());
        }
        assert!(log.next_event().unwrap().is_none());
        assert_eq!(log.tail(), Tail::Nothing);
    }
}
