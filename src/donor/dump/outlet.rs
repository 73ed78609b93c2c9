//! Events into packets, packets onto the connection, at the rate that is allowed.

use std::time::{Duration, Instant};

use crate::Result;
use crate::donor::throttle::Throttle;
use crate::net::{Accepted, Closer, Input};
use crate::wire::packet::MAX_CHUNK;

/// What is collected before it is sent: a few TLS records.
const BUFFER_BYTES: usize = 32 << 10;

/// The way out of a dump.
#[derive(Debug)]
pub(super) struct Outlet<'a> {
    accepted: &'a mut Accepted,
    throttle: &'a Throttle,
    stop: &'a Closer,
    buffer: Vec<u8>,
    sequence: u8,
    last_sent: Instant,
    /// Of a large event's packet: payload bytes still to come, and those of them in this chunk.
    left: usize,
    chunk_left: usize,
    chunk_is_full: bool,
}

impl<'a> Outlet<'a> {
    pub(super) fn new(
        accepted: &'a mut Accepted,
        throttle: &'a Throttle,
        stop: &'a Closer,
    ) -> Self {
        let sequence = accepted.sequence();
        Self {
            accepted,
            throttle,
            stop,
            buffer: Vec::with_capacity(BUFFER_BYTES + 4096),
            sequence,
            last_sent: Instant::now(),
            left: 0,
            chunk_left: 0,
            chunk_is_full: false,
        }
    }

    /// Sends an event, now or with those that follow.
    pub(super) fn event(&mut self, event: &[u8]) -> Result<()> {
        self.begin_event(event.len())?;
        self.piece(event)
    }

    /// Begins an event of which `length` bytes follow piece by piece.
    pub(super) fn begin_event(&mut self, length: usize) -> Result<()> {
        self.last_sent = Instant::now();
        self.left = 1 + length;
        self.begin_chunk();
        self.piece(&[0])
    }

    fn begin_chunk(&mut self) {
        let length = self.left.min(MAX_CHUNK);
        let [a, b, c, ..] = (length as u32).to_le_bytes();
        self.buffer.extend_from_slice(&[a, b, c, self.sequence]);
        self.sequence = self.sequence.wrapping_add(1);
        self.chunk_left = length;
        self.chunk_is_full = length == MAX_CHUNK;
    }

    pub(super) fn piece(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let room = BUFFER_BYTES.saturating_sub(self.buffer.len()).max(1);
            let length = bytes.len().min(self.chunk_left).min(room);
            let Some((now, later)) = bytes.split_at_checked(length) else {
                return Ok(());
            };
            bytes = later;
            self.buffer.extend_from_slice(now);
            self.left -= now.len();
            self.chunk_left -= now.len();
            if self.buffer.len() >= BUFFER_BYTES {
                self.flush()?;
            }
            // A chunk of the largest size is always followed by another one, if need be by an empty one.
            if self.chunk_left == 0 && self.chunk_is_full {
                self.begin_chunk();
            }
            debug_assert!(
                bytes.is_empty() || self.chunk_left > 0,
                "the length is right"
            );
        }
        Ok(())
    }

    /// Sends what was collected. Waits as long as the rate and the client want; `Interrupted` when
    /// the donor stops.
    pub(super) fn flush(&mut self) -> Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        if !self
            .throttle
            .take(self.buffer.len(), || self.stop.is_closed())
        {
            return Err(Closer::interrupted());
        }
        self.accepted.send_raw(&self.buffer)?;
        self.buffer.clear();
        Ok(())
    }

    /// How long nothing was sent.
    pub(super) fn silence(&self) -> Duration {
        self.last_sent.elapsed()
    }

    /// What the client does, which should be nothing.
    pub(super) fn input(&self) -> Input {
        self.accepted.input()
    }

    /// Bytes sent on this connection so far.
    pub(super) fn sent_bytes(&self) -> u64 {
        self.accepted.sent_bytes()
    }

    /// Sends the rest and hands the sequence back to the session.
    pub(super) fn finish(mut self) -> Result<()> {
        self.flush()?;
        self.accepted.set_sequence(self.sequence);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::{TcpListener, TcpStream};

    use super::*;
    use crate::wire::packet::PacketReader;

    /// What a client makes of events of these lengths.
    fn received(lengths: &[usize]) -> Vec<usize> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (socket, _) = listener.accept().unwrap();
        let closer = Closer::new();
        let mut accepted = Accepted::new(socket, &closer, Duration::from_secs(20)).unwrap();
        let lengths = lengths.to_vec();
        let sender = std::thread::spawn(move || {
            let throttle = Throttle::new(None);
            let stop = Closer::new();
            let mut outlet = Outlet::new(&mut accepted, &throttle, &stop);
            for length in lengths {
                outlet.begin_event(length).unwrap();
                let event = vec![7; length];
                for piece in event.chunks(1_000_003) {
                    outlet.piece(piece).unwrap();
                }
            }
            assert!(outlet.buffer.capacity() < 2 * BUFFER_BYTES);
            outlet.finish().unwrap();
        });
        let mut reader = PacketReader::new(1 << 16, 1 << 30);
        let mut seen = Vec::new();
        loop {
            while reader.advance().unwrap() {
                let (first, event) = reader.packet().split_first().unwrap();
                assert_eq!(*first, 0);
                assert!(event.iter().all(|&byte| byte == 7));
                seen.push(event.len());
            }
            let count = client.read(reader.space()).unwrap();
            if count == 0 {
                break;
            }
            reader.received(count);
        }
        sender.join().unwrap();
        seen
    }

    #[test]
    fn events_of_every_size_arrive_as_they_were_sent() {
        let lengths = [
            19,
            BUFFER_BYTES - 6,
            BUFFER_BYTES,
            200_000,
            MAX_CHUNK - 2,
            // Exactly one full chunk, which an empty one follows.
            MAX_CHUNK - 1,
            MAX_CHUNK,
            2 * MAX_CHUNK - 1,
            100,
        ];
        assert_eq!(received(&lengths), lengths);
    }
}
