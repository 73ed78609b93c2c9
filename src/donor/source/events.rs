//! The events of one file, in a buffer of a fixed size.
//!
//! A donor reads for many clients at once, and some of them are slow: what one of them holds may not
//! depend on the size of an event, which can be 1 GiB. Events that do not fit the buffer are handed
//! out piece by piece.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use super::LogFile;
use crate::binlog::{ChecksumAlgorithm, EventHeader, MAGIC};
use crate::journal::disk::io_error;
use crate::{Error, ErrorKind, Limits, Result};

/// Size of the buffer.
const BUFFER_BYTES: usize = 128 << 10;

/// What comes next in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::donor) enum Next {
    /// An event, all of which may be read.
    Event(EventHeader),
    /// It may be read only once the file reaches this offset.
    Beyond(u64),
}

/// A file that is being read.
#[derive(Debug)]
pub(in crate::donor) struct EventFile {
    source: LogFile,
    file: File,
    buffer: Box<[u8]>,
    /// What of the buffer was read from the file and is not given out: `start..end`.
    start: usize,
    end: usize,
    /// Where `start` is in the file.
    offset: u64,
    /// Length of the event given out last.
    length: usize,
    event_bytes: usize,
}

impl EventFile {
    /// Opens a file and checks its magic.
    ///
    /// # Errors
    /// [`ErrorKind::TargetIo`], [`ErrorKind::Malformed`], and [`ErrorKind::Unsupported`] for an
    /// encrypted file.
    pub(in crate::donor) fn open(source: &LogFile, limits: &Limits) -> Result<Self> {
        let file = File::open(&source.path)
            .map_err(|error| io_error("open the log", &source.path, error))?;
        let mut events = Self {
            source: source.clone(),
            file,
            buffer: vec![0; BUFFER_BYTES].into_boxed_slice(),
            start: 0,
            end: 0,
            offset: 0,
            length: 0,
            event_bytes: limits.event_bytes,
        };
        events.fill(MAGIC.len(), MAGIC.len() as u64)?;
        match events.waiting().first_chunk::<4>() {
            Some(&MAGIC) => {}
            Some(b"\xfdbin") => {
                return Err(
                    Error::new(ErrorKind::Unsupported, "the binary log is encrypted")
                        .in_file(&source.name)
                        .remedy("serve it from its server, which decrypts what it sends"),
                );
            }
            _ => return Err(events.bogus("the file does not begin as a binary log does")),
        }
        events.length = MAGIC.len();
        events.pass();
        Ok(events)
    }

    /// The file.
    pub(in crate::donor) fn source(&self) -> &LogFile {
        &self.source
    }

    /// Where the event given out last begins; behind [`end_offset`](Self::end_offset) comes the next.
    pub(in crate::donor) fn offset(&self) -> u64 {
        self.offset
    }

    /// Where the event given out last ends.
    pub(in crate::donor) fn end_offset(&self) -> u64 {
        self.offset + self.length as u64
    }

    /// The file's size now.
    pub(in crate::donor) fn size(&self) -> Result<u64> {
        let metadata = self
            .file
            .metadata()
            .map_err(|error| io_error("look at the log", &self.source.path, error))?;
        Ok(metadata.len())
    }

    /// Goes on with the event that begins at `offset`.
    pub(in crate::donor) fn seek(&mut self, offset: u64) -> Result<()> {
        self.length = 0;
        let ahead = offset.checked_sub(self.offset);
        if let Some(ahead) = ahead.and_then(|ahead| usize::try_from(ahead).ok())
            && ahead <= self.end - self.start
        {
            self.start += ahead;
            self.offset = offset;
            return Ok(());
        }
        self.start = 0;
        self.end = 0;
        self.offset = offset;
        self.go_to(offset)
    }

    fn go_to(&mut self, offset: u64) -> Result<()> {
        self.file
            .seek(SeekFrom::Start(offset))
            .map_err(|error| io_error("read the log", &self.source.path, error))?;
        Ok(())
    }

    /// Moves to the next event, of which nothing behind `limit` may be read.
    ///
    /// # Errors
    /// [`ErrorKind::TargetIo`]; [`ErrorKind::Malformed`] for what cannot be a header,
    /// [`ErrorKind::Limit`] for an event that is too large.
    pub(in crate::donor) fn next(&mut self, limit: u64) -> Result<Next> {
        self.pass();
        let behind_header = self.offset + EventHeader::SIZE as u64;
        if behind_header > limit || !self.fill(EventHeader::SIZE, limit)? {
            return Ok(Next::Beyond(behind_header));
        }
        let header = EventHeader::decode(self.waiting())
            .map_err(|error| error.in_file(&self.source.name).at_offset(self.offset))?;
        let length = header.length as usize;
        if length > self.event_bytes {
            return Err(Error::new(
                ErrorKind::Limit,
                format!(
                    "{} event of {length} bytes, {} are allowed (limit event_bytes)",
                    header.event_type, self.event_bytes
                ),
            )
            .in_file(&self.source.name)
            .at_offset(self.offset));
        }
        let behind = self.offset + length as u64;
        if behind > limit || length <= self.buffer.len() && !self.fill(length, limit)? {
            return Ok(Next::Beyond(behind));
        }
        self.length = length;
        Ok(Next::Event(header))
    }

    /// The event's bytes, checksum included; `None` where it does not fit the buffer.
    pub(in crate::donor) fn whole(&self) -> Option<&[u8]> {
        self.waiting().get(..self.length)
    }

    /// Hands out the bytes of an event that does not fit the buffer, piece by piece.
    ///
    /// # Errors
    /// [`ErrorKind::TargetIo`], and what `each` returns.
    pub(in crate::donor) fn pieces(
        &mut self,
        mut each: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        self.start = 0;
        self.end = 0;
        self.go_to(self.offset)?;
        let mut left = self.length;
        while left > 0 {
            let room = left.min(self.buffer.len());
            let piece = self.buffer.get_mut(..room).unwrap_or_default();
            let count = match self.file.read(piece) {
                Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => Ok(count),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => Err(error),
            };
            let count =
                count.map_err(|error| io_error("read the log", &self.source.path, error))?;
            each(self.buffer.get(..count).unwrap_or_default())?;
            left -= count;
        }
        // Nothing of the buffer is a part of what follows.
        self.offset += self.length as u64;
        self.length = 0;
        Ok(())
    }

    /// The event's bytes in memory of their own, whatever its size.
    ///
    /// # Errors
    /// [`ErrorKind::TargetIo`].
    pub(in crate::donor) fn copy(&mut self) -> Result<Vec<u8>> {
        if let Some(event) = self.whole() {
            return Ok(event.to_vec());
        }
        let mut bytes = Vec::new();
        self.pieces_again(|piece| {
            bytes.extend_from_slice(piece);
            Ok(())
        })?;
        Ok(bytes)
    }

    /// As [`pieces`](Self::pieces), and the event stays the one given out last.
    fn pieces_again(&mut self, each: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let (offset, length) = (self.offset, self.length);
        self.pieces(each)?;
        self.offset = offset;
        self.length = length;
        // The buffer is empty: what follows is read from behind the event.
        self.go_to(offset + length as u64)
    }

    /// Checks the checksum of the event given out last.
    ///
    /// # Errors
    /// [`ErrorKind::Checksum`], with file and offset.
    pub(in crate::donor) fn verify(&mut self, checksum: ChecksumAlgorithm) -> Result<()> {
        let offset = self.offset;
        let checked = match self.whole() {
            Some(event) => checksum.verify(event).map(drop),
            None if checksum == ChecksumAlgorithm::None => Ok(()),
            None => self.verify_pieces(),
        };
        checked.map_err(|error| error.in_file(&self.source.name).at_offset(offset))
    }

    fn verify_pieces(&mut self) -> Result<()> {
        let length = self.length;
        let mut left = length - ChecksumAlgorithm::Crc32.size();
        let mut hasher = libdeflater::Crc::new();
        let mut sent = Vec::with_capacity(ChecksumAlgorithm::Crc32.size());
        self.pieces_again(|piece| {
            let (body, tail) = piece.split_at(left.min(piece.len()));
            hasher.update(body);
            left -= body.len();
            sent.extend_from_slice(tail);
            Ok(())
        })?;
        if sent == hasher.sum().to_le_bytes() {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Checksum,
            format!("event of {length} bytes differs from its checksum"),
        ))
    }

    fn waiting(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }

    /// Leaves the event given out last behind.
    fn pass(&mut self) {
        let length = std::mem::take(&mut self.length);
        // A large event is not in the buffer: only its first bytes may be.
        self.start = (self.start + length).min(self.end);
        self.offset += length as u64;
    }

    /// Reads until `wanted` bytes wait, which fit the buffer and are in front of `limit`; whether there are
    /// so many. What stands behind `limit` is not read, because it may change: zeros that were written
    /// ahead do.
    fn fill(&mut self, wanted: usize, limit: u64) -> Result<bool> {
        if self.end - self.start < wanted && self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        while self.end - self.start < wanted {
            let there = self.offset + (self.end - self.start) as u64;
            let may_come = usize::try_from(limit.saturating_sub(there)).unwrap_or(usize::MAX);
            let room = self.buffer.get_mut(self.end..).unwrap_or_default();
            let count = room.len().min(may_come);
            let room = room.get_mut(..count).unwrap_or_default();
            match self.file.read(room) {
                Ok(0) => return Ok(false),
                Ok(count) => self.end += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(io_error("read the log", &self.source.path, error)),
            }
        }
        Ok(true)
    }

    fn bogus(&self, what: &str) -> Error {
        Error::new(ErrorKind::Malformed, what)
            .in_file(&self.source.name)
            .at_offset(self.offset)
    }
}
