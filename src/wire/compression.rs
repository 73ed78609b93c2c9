//! The compressed protocol: frames around the packets, once the login is done.
//!
//! ```text
//! u24 length of what follows | u8 frame number | u24 length before compression | frame
//! ```
//!
//! A second length of 0 says that the frame is not compressed. A frame holds any piece of the stream of
//! packets. Frame numbers start at 0 with each command. Once compression is on, a server counts frames
//! and packets with one counter, so that the numbers of packets inside have gaps: nobody checks them.

use std::io::Read;

use crate::{Error, ErrorKind, Result};

/// Length of a frame's header.
const HEADER_LENGTH: usize = 7;

/// The longest piece of a stream that goes into one frame.
const MAX_FRAME: usize = 0xff_ffff;

/// Enough for the window of any frame, which has 16 MiB at most.
const WINDOW_LOG_MAX: u32 = 25;

/// What a connection's frames are compressed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Compression {
    /// There are no frames.
    #[default]
    Uncompressed,
    /// zlib.
    Zlib,
    /// Zstandard.
    Zstd {
        /// The server's level, 1 to 22.
        level: u8,
    },
}

impl Compression {
    /// The name that `protocol_compression_algorithms` has for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Uncompressed => "uncompressed",
            Self::Zlib => "zlib",
            Self::Zstd { .. } => "zstd",
        }
    }
}

/// Both directions of a compressed connection. What we send is a few commands: their frames are not
/// compressed.
#[derive(Debug)]
pub struct Frames {
    compression: Compression,
    /// The number of the next frame that is sent.
    number: u8,
    /// Received bytes that are no whole frame yet.
    received: Vec<u8>,
    /// The last whole frame, and how much of it was taken.
    plain: Vec<u8>,
    taken: usize,
}

impl Frames {
    /// For a connection on which compression has just begun.
    pub fn new(compression: Compression) -> Self {
        Self {
            compression,
            number: 0,
            received: Vec::new(),
            plain: Vec::new(),
            taken: 0,
        }
    }

    /// A command begins.
    pub fn begin_command(&mut self) {
        self.number = 0;
    }

    /// Puts packets into frames.
    pub fn wrap(&mut self, packets: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(packets.len() + HEADER_LENGTH);
        for piece in packets.chunks(MAX_FRAME) {
            let [a, b, c, ..] = (piece.len() as u32).to_le_bytes();
            out.extend_from_slice(&[a, b, c, self.number, 0, 0, 0]);
            out.extend_from_slice(piece);
            self.number = self.number.wrapping_add(1);
        }
        out
    }

    /// Takes received bytes in.
    pub fn received(&mut self, bytes: &[u8]) {
        self.received.extend_from_slice(bytes);
    }

    /// Gives bytes of the stream of packets; 0 where more has to be received first.
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`] for a frame that cannot be expanded to the length that it claims.
    pub fn read(&mut self, into: &mut [u8]) -> Result<usize> {
        loop {
            let left = self.plain.get(self.taken..).unwrap_or_default();
            if !left.is_empty() || into.is_empty() {
                let count = left.len().min(into.len());
                if let (Some(to), Some(from)) = (into.get_mut(..count), left.get(..count)) {
                    to.copy_from_slice(from);
                }
                self.taken += count;
                return Ok(count);
            }
            if !self.open_frame()? {
                return Ok(0);
            }
        }
    }

    /// Expands the next frame, if it is whole.
    fn open_frame(&mut self) -> Result<bool> {
        let Some((&[a, b, c, _, d, e, f], rest)) = self.received.split_first_chunk() else {
            return Ok(false);
        };
        let length = u32::from_le_bytes([a, b, c, 0]) as usize;
        let plain_length = u32::from_le_bytes([d, e, f, 0]) as usize;
        let Some(frame) = rest.get(..length) else {
            return Ok(false);
        };
        self.taken = 0;
        self.plain.clear();
        if plain_length == 0 {
            self.plain.extend_from_slice(frame);
        } else {
            // It grows with what comes out, and never beyond the length that was claimed.
            let most = plain_length as u64 + 1;
            let expanded = match self.compression {
                Compression::Zstd { .. } => expand_zstd(frame, most, &mut self.plain),
                _ => flate2::read::ZlibDecoder::new(frame)
                    .take(most)
                    .read_to_end(&mut self.plain),
            };
            expanded.map_err(|error| broken(&error.to_string()))?;
            if self.plain.len() != plain_length {
                return Err(broken("it has another length than it says"));
            }
        }
        self.received.drain(..HEADER_LENGTH + length);
        Ok(true)
    }
}

fn expand_zstd(frame: &[u8], most: u64, out: &mut Vec<u8>) -> std::io::Result<usize> {
    let mut decoder = zstd::stream::read::Decoder::with_buffer(frame)?.single_frame();
    decoder.window_log_max(WINDOW_LOG_MAX)?;
    decoder.take(most).read_to_end(out)
}

#[cold]
fn broken(why: &str) -> Error {
    Error::new(
        ErrorKind::Malformed,
        format!("compressed frame cannot be expanded: {why}"),
    )
    .remedy("check that no proxy breaks the stream")
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn frame(number: u8, payload: &[u8], plain_length: usize) -> Vec<u8> {
        let mut frame = (payload.len() as u32).to_le_bytes()[..3].to_vec();
        frame.push(number);
        frame.extend_from_slice(&(plain_length as u32).to_le_bytes()[..3]);
        frame.extend_from_slice(payload);
        frame
    }

    fn zlib(plain: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(plain: &[u8]) -> Vec<u8> {
        zstd::bulk::compress(plain, 22).unwrap()
    }

    /// Everything in `bytes`, which come in pieces of `piece`.
    fn read(compression: Compression, bytes: &[u8], piece: usize) -> Result<Vec<u8>> {
        let mut frames = Frames::new(compression);
        let mut out = Vec::new();
        let mut space = [0; 1000];
        for piece in bytes.chunks(piece) {
            frames.received(piece);
            loop {
                match frames.read(&mut space)? {
                    0 => break,
                    count => out.extend_from_slice(&space[..count]),
                }
            }
        }
        Ok(out)
    }

    #[test]
    fn frames_come_out_as_they_went_in_however_they_arrive() {
        let plain: Vec<u8> = (0..50_000u32).flat_map(|n| (n / 7).to_le_bytes()).collect();
        for (compression, compress) in [
            (Compression::Zlib, zlib as fn(&[u8]) -> Vec<u8>),
            (Compression::Zstd { level: 3 }, zstd),
        ] {
            let mut bytes = frame(1, &compress(&plain), plain.len());
            bytes.extend(frame(2, b"short", 0));
            bytes.extend(frame(3, b"", 0));
            bytes.extend(frame(4, &compress(&plain[..100]), 100));
            let expected = [&plain[..], b"short", &plain[..100]].concat();
            for piece in [1, 6, 1000, bytes.len()] {
                assert_eq!(read(compression, &bytes, piece).unwrap(), expected);
            }
        }
    }

    #[test]
    fn a_frame_that_is_not_what_it_claims_is_refused() {
        let plain = vec![7; 100_000];
        for (compression, compressed) in [
            (Compression::Zlib, zlib(&plain)),
            (Compression::Zstd { level: 3 }, zstd(&plain)),
        ] {
            for claimed in [1, 99_999, 100_001, MAX_FRAME] {
                let error = read(compression, &frame(0, &compressed, claimed), 100).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Malformed, "{claimed}");
            }
            let cut = &compressed[..compressed.len() - 1];
            assert!(read(compression, &frame(0, cut, plain.len()), 100).is_err());
            assert!(read(compression, &frame(0, b"neither", 7), 100).is_err());
        }
    }

    #[test]
    fn what_is_sent_is_numbered_from_each_command_on() {
        let mut frames = Frames::new(Compression::Zlib);
        assert_eq!(frames.wrap(b"one"), frame(0, b"one", 0));
        assert_eq!(frames.wrap(b"two"), frame(1, b"two", 0));
        frames.begin_command();
        let long = vec![1; MAX_FRAME + 2];
        let mut expected = frame(0, &long[..MAX_FRAME], 0);
        expected.extend(frame(1, &long[MAX_FRAME..], 0));
        assert_eq!(frames.wrap(&long), expected);
    }
}
