//! Packets: the frames in which client and server talk.
//!
//! ```text
//! u24 payload length (little-endian) | u8 sequence number | payload
//! ```
//!
//! The sequence number starts at 0 with each command and goes up by one per packet in either
//! direction, modulo 256. A payload of 2^24 - 1 bytes or more is sent as several packets of
//! 2^24 - 1 bytes and one shorter, possibly empty, packet that ends it.
//!
//! [`PacketReader`] frames over one buffer that the socket is read into. A packet is a slice of that
//! buffer: no copy, no allocation and no system call per packet. Copied are only the packet that
//! straddles the end of the buffer (to its front) and packets larger than the buffer (into a
//! buffer of their own, that grows with the bytes received and never with a length claimed).

use std::ops::Range;

use crate::{Error, ErrorKind, Result};

/// Length of a packet's header.
pub const HEADER_LENGTH: usize = 4;

/// The payload length that says "another packet follows".
pub const MAX_CHUNK: usize = 0xff_ffff;

/// Memory of a joined packet above which it is given back as soon as the packet is done with.
const KEPT_JOIN_BYTES: usize = 32 << 20;

/// Cuts received bytes into packets.
///
/// The driver reads the socket into [`space`](Self::space), reports the count to
/// [`received`](Self::received), and calls [`advance`](Self::advance) until it says that more bytes
/// are needed; after each `true`, [`packet`](Self::packet) is the payload.
///
/// ```
/// use rejoin::wire::packet::PacketReader;
///
/// let mut reader = PacketReader::new(4096, 1 << 20);
/// let bytes = b"\x02\0\0\0hi\x01\0\0\x01!";
/// reader.space()[..bytes.len()].copy_from_slice(bytes);
/// reader.received(bytes.len());
/// assert!(reader.advance()?);
/// assert_eq!(reader.packet(), b"hi");
/// assert!(reader.has_packet());
/// assert!(reader.advance()?);
/// assert_eq!(reader.packet(), b"!");
/// assert!(!reader.advance()?);
/// # Ok::<(), rejoin::Error>(())
/// ```
pub struct PacketReader {
    buffer: Box<[u8]>,
    /// First byte of the buffer that is not part of a packet given out.
    start: usize,
    /// End of the received bytes.
    end: usize,
    /// The packet last given out, unless it was joined.
    packet: Range<usize>,
    /// The sequence number that the next packet must carry.
    sequence: u8,
    /// Whether it must.
    is_in_order: bool,
    join: Join,
    joined: Vec<u8>,
    limit: usize,
}

/// How far a packet that does not fit into the buffer has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Join {
    /// The current packet lies in the buffer.
    None,
    /// So many bytes of the current chunk are outstanding; `last` where no other chunk follows.
    Chunk { left: usize, last: bool },
    /// The next chunk's header is outstanding.
    Header,
    /// The current packet is `joined`, whole.
    Done,
}

impl PacketReader {
    /// A reader with a buffer of `capacity` bytes (1 KiB at least), which refuses packets of more
    /// than `limit` bytes ([`Limits::packet_bytes`](crate::Limits::packet_bytes)).
    pub fn new(capacity: usize, limit: usize) -> Self {
        Self {
            buffer: vec![0; capacity.max(1024)].into_boxed_slice(),
            start: 0,
            end: 0,
            packet: 0..0,
            sequence: 0,
            is_in_order: true,
            join: Join::None,
            joined: Vec::new(),
            limit,
        }
    }

    /// Sets the largest packet from now on, in bytes.
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// Enlarges the buffer to `capacity` bytes; what was received stays. Ends the current packet.
    pub fn grow(&mut self, capacity: usize) {
        if capacity > self.buffer.len() {
            self.packet = 0..0;
            let mut buffer = vec![0; capacity].into_boxed_slice();
            let received = self.buffer.get(self.start..self.end).unwrap_or_default();
            for (to, from) in buffer.iter_mut().zip(received) {
                *to = *from;
            }
            self.end = received.len();
            self.start = 0;
            self.buffer = buffer;
        }
    }

    /// Where the socket's next bytes go; never empty. Ends the current packet.
    pub fn space(&mut self) -> &mut [u8] {
        self.packet = 0..0;
        if self.start > 0 {
            // At most one packet's beginning is moved, and each beginning at most once.
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        debug_assert!(self.end < self.buffer.len(), "a packet that fits was whole");
        self.buffer.get_mut(self.end..).unwrap_or_default()
    }

    /// Reports that `count` bytes were written to the front of [`space`](Self::space).
    pub fn received(&mut self, count: usize) {
        self.end = (self.end + count).min(self.buffer.len());
    }

    /// Moves to the next packet. `false`: more bytes are needed first.
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`] for a packet out of sequence, [`ErrorKind::Limit`] for one that is
    /// too large. The stream is unusable after either.
    #[inline]
    pub fn advance(&mut self) -> Result<bool> {
        if self.join == Join::None
            && let Some(received) = self.buffer.get(self.start..self.end)
            && let Some((&[a, b, c, sequence], body)) = received.split_first_chunk()
        {
            let length = usize::from(a) | usize::from(b) << 8 | usize::from(c) << 16;
            if length < MAX_CHUNK
                && length <= body.len()
                && length <= self.limit
                && (sequence == self.sequence || !self.is_in_order)
            {
                let start = self.start + HEADER_LENGTH;
                self.start = start + length;
                self.packet = start..self.start;
                self.sequence = sequence.wrapping_add(1);
                return Ok(true);
            }
        }
        self.advance_slowly()
    }

    /// Everything but the whole small packet in the buffer.
    fn advance_slowly(&mut self) -> Result<bool> {
        self.packet = 0..0;
        if self.join == Join::Done {
            self.join = Join::None;
            if self.joined.capacity() > KEPT_JOIN_BYTES {
                self.joined = Vec::new();
            }
            return self.advance();
        }
        if self.join == Join::None {
            let Some((length, sequence)) = self.peek_header() else {
                return Ok(false);
            };
            self.check(length, sequence)?;
            if length < MAX_CHUNK && HEADER_LENGTH + length <= self.buffer.len() {
                return Ok(false);
            }
            self.joined.clear();
            self.join = Join::Header;
        }
        self.continue_join()
    }

    fn continue_join(&mut self) -> Result<bool> {
        loop {
            match self.join {
                Join::Header => {
                    let Some((length, sequence)) = self.peek_header() else {
                        return Ok(false);
                    };
                    self.check(length, sequence)?;
                    self.start += HEADER_LENGTH;
                    self.sequence = sequence.wrapping_add(1);
                    self.join = Join::Chunk {
                        left: length,
                        last: length < MAX_CHUNK,
                    };
                }
                Join::Chunk { left, last } => {
                    let received = self.buffer.get(self.start..self.end).unwrap_or_default();
                    let part = received.get(..left).unwrap_or(received);
                    self.joined.extend_from_slice(part);
                    self.start += part.len();
                    if part.len() < left {
                        self.join = Join::Chunk {
                            left: left - part.len(),
                            last,
                        };
                        return Ok(false);
                    }
                    if last {
                        self.join = Join::Done;
                        return Ok(true);
                    }
                    self.join = Join::Header;
                }
                Join::None | Join::Done => return Ok(self.join == Join::Done),
            }
        }
    }

    /// Length and sequence number of the header at the front, where it has arrived.
    fn peek_header(&self) -> Option<(usize, u8)> {
        let received = self.buffer.get(self.start..self.end)?;
        let &[a, b, c, sequence] = received.first_chunk()?;
        Some((
            usize::from(a) | usize::from(b) << 8 | usize::from(c) << 16,
            sequence,
        ))
    }

    fn check(&self, length: usize, sequence: u8) -> Result<()> {
        if sequence != self.sequence && self.is_in_order {
            return Err(Error::new(
                ErrorKind::Malformed,
                format!(
                    "packets out of order: number {sequence} came where {} was due",
                    self.sequence
                ),
            )
            .remedy(
                "check that the address is a MySQL server's and that no proxy breaks the stream",
            ));
        }
        let before = match self.join {
            Join::None | Join::Done => 0,
            Join::Header | Join::Chunk { .. } => self.joined.len(),
        };
        if before + length > self.limit {
            return Err(Error::new(
                ErrorKind::Limit,
                format!("packet is larger than {} bytes (packet_bytes)", self.limit),
            )
            .remedy("raise Limits::packet_bytes if the donor's rows are that large"));
        }
        Ok(())
    }

    /// The packet's payload that the last [`advance`](Self::advance) moved to; empty after
    /// [`space`](Self::space).
    #[inline]
    pub fn packet(&self) -> &[u8] {
        if self.join == Join::Done {
            return &self.joined;
        }
        self.buffer.get(self.packet.clone()).unwrap_or_default()
    }

    /// The packet that is still coming: its length, as far as one header says it, and what has come
    /// of it. `None` between packets and where it goes on in further packets of full length.
    pub fn incomplete(&self) -> Option<(usize, &[u8])> {
        match self.join {
            Join::None => {
                let (length, _) = self.peek_header()?;
                let body = self.buffer.get(self.start + HEADER_LENGTH..self.end)?;
                (length < MAX_CHUNK).then_some((length, body))
            }
            Join::Chunk { left, last: true } => Some((self.joined.len() + left, &self.joined)),
            Join::Chunk { .. } | Join::Header | Join::Done => None,
        }
    }

    /// Whether another whole packet lies in the buffer already.
    #[inline]
    pub fn has_packet(&self) -> bool {
        if !matches!(self.join, Join::None | Join::Done) {
            return false;
        }
        match self.peek_header() {
            Some((length, _)) => {
                length < MAX_CHUNK && self.end - self.start >= HEADER_LENGTH + length
            }
            None => false,
        }
    }

    /// Whether received bytes are waiting that belong to no packet yet given out.
    pub fn has_bytes(&self) -> bool {
        self.start < self.end || matches!(self.join, Join::Chunk { .. } | Join::Header)
    }

    /// Takes out the bytes that were received and belong to no packet: what follows a packet that
    /// changes the protocol.
    pub fn take_bytes(&mut self) -> Vec<u8> {
        let bytes = self.buffer.get(self.start..self.end).unwrap_or_default();
        let bytes = bytes.to_vec();
        self.packet = 0..0;
        self.start = self.end;
        bytes
    }

    /// Bytes of memory that the reader holds.
    #[cfg(any(fuzzing, test))]
    pub(super) fn held_bytes(&self) -> usize {
        self.buffer.len() + self.joined.capacity()
    }

    /// From now on the numbers of packets are not looked at: inside of [compressed
    /// frames](super::compression) they have gaps.
    pub fn ignore_order(&mut self) {
        self.is_in_order = false;
    }

    /// The sequence number of the next packet, in either direction.
    pub fn sequence(&self) -> u8 {
        self.sequence
    }

    /// Sets the sequence number of the next packet (after own packets were sent).
    pub fn set_sequence(&mut self, sequence: u8) {
        self.sequence = sequence;
    }
}

impl std::fmt::Debug for PacketReader {
    // The bytes may hold a login.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PacketReader")
            .field("capacity", &self.buffer.len())
            .field("buffered", &(self.end - self.start))
            .field("sequence", &self.sequence)
            .finish_non_exhaustive()
    }
}

/// Appends `payload` to `out` as one or more packets, numbered from `sequence`; gives the number
/// that comes next.
pub fn write_packet(mut sequence: u8, payload: &[u8], out: &mut Vec<u8>) -> u8 {
    let mut rest = payload;
    loop {
        let (chunk, behind) = rest.split_at(rest.len().min(MAX_CHUNK));
        let [a, b, c, ..] = (chunk.len() as u32).to_le_bytes();
        out.extend_from_slice(&[a, b, c, sequence]);
        out.extend_from_slice(chunk);
        sequence = sequence.wrapping_add(1);
        rest = behind;
        if chunk.len() < MAX_CHUNK {
            return sequence;
        }
    }
}

#[cfg(test)]
mod tests;
