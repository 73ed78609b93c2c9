//! Reading one segment, event by event, up to its end or to where it is torn.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::compose::{CHECKSUM, MAGIC};
use super::disk::io_error;
use crate::binlog::EventHeader;
use crate::{Error, ErrorKind, Limits, Result};

/// Bytes that are asked from the file at once.
const CHUNK: usize = 1 << 20;

/// What comes next in a segment.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next<'a> {
    /// An event, checksum included; its checksum is not verified yet.
    Event(&'a [u8]),
    /// Nothing, or zeros as in space that was written ahead.
    End,
    /// Bytes that are no whole event, and why.
    Torn(&'static str),
}

/// Gives the events of a file one by one.
#[derive(Debug)]
pub(crate) struct SegmentReader {
    path: PathBuf,
    file: File,
    length: u64,
    buffer: Vec<u8>,
    /// The part of the buffer that was not given out yet.
    start: usize,
    /// Offset in the file of `buffer[start]`.
    offset: u64,
    event_bytes: usize,
}

impl SegmentReader {
    /// Opens a segment and checks its magic; the first event is the format description.
    pub(crate) fn open(path: &Path, limits: &Limits) -> Result<Self> {
        let file = File::open(path).map_err(|error| io_error("read the log", path, error))?;
        Self::of(file, path, limits)
    }

    /// As [`open`](Self::open), of a file that is open, from its beginning on. Nobody else may use it
    /// meanwhile.
    pub(crate) fn of(mut file: File, path: &Path, limits: &Limits) -> Result<Self> {
        let failed = |error| io_error("read the log", path, error);
        file.seek(SeekFrom::Start(0)).map_err(failed)?;
        let length = file.metadata().map_err(failed)?.len();
        let mut reader = Self {
            path: path.to_owned(),
            file,
            length,
            buffer: Vec::new(),
            start: 0,
            offset: 0,
            event_bytes: limits.event_bytes,
        };
        if !reader.fill(MAGIC.len())? || reader.waiting().first_chunk() != Some(&MAGIC) {
            return Err(Error::new(
                ErrorKind::TargetCorrupt,
                "the file does not begin as a binary log does",
            )
            .in_file(path.display().to_string()));
        }
        reader.skip(MAGIC.len());
        Ok(reader)
    }

    /// Where the next event starts.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// How long the file was when it was opened.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// The file may have grown since: it is read up to its present end.
    pub(crate) fn extend(&mut self) -> Result<()> {
        let metadata = self.file.metadata();
        self.length = metadata
            .map_err(|error| io_error("read the log", &self.path, error))?
            .len();
        Ok(())
    }

    /// Whether events reach up to `offset`: neither the file nor zeros in place of them end before it.
    /// It goes on somewhere else then.
    pub(crate) fn reaches(&mut self, offset: u64) -> Result<bool> {
        // No event is shorter, nor has zeros alone so far from its end.
        const LEAST: usize = EventHeader::SIZE + CHECKSUM.size();
        if offset > self.length {
            return Ok(false);
        }
        self.seek(offset.saturating_sub(LEAST as u64))?;
        let is_there = self.fill(LEAST)?;
        let mut end = self.waiting().iter().take(LEAST);
        Ok(is_there && end.any(|byte| *byte != 0))
    }

    /// Goes on at another offset.
    pub(crate) fn seek(&mut self, offset: u64) -> Result<()> {
        self.file
            .seek(SeekFrom::Start(offset))
            .map_err(|error| io_error("read the log", &self.path, error))?;
        self.buffer.clear();
        self.start = 0;
        self.offset = offset;
        Ok(())
    }

    /// The next event.
    pub(crate) fn next(&mut self) -> Result<Next<'_>> {
        let left = self.length.saturating_sub(self.offset);
        if left == 0 {
            return Ok(Next::End);
        }
        if left < EventHeader::SIZE as u64 || !self.fill(EventHeader::SIZE)? {
            return Ok(if self.is_zero_to_the_end()? {
                Next::End
            } else {
                Next::Torn("the file ends within an event header")
            });
        }
        let head = self.waiting().first_chunk::<{ EventHeader::SIZE }>();
        if head == Some(&[0; EventHeader::SIZE]) {
            return Ok(if self.is_zero_to_the_end()? {
                Next::End
            } else {
                Next::Torn("zeros stand before other bytes")
            });
        }
        let Ok(header) = EventHeader::decode(self.waiting()) else {
            return Ok(Next::Torn("an event header has no valid length"));
        };
        let length = header.length as usize;
        if length as u64 > left {
            return Ok(Next::Torn("an event reaches behind the end of the file"));
        }
        if length > self.event_bytes {
            return Err(Error::new(
                ErrorKind::Limit,
                format!(
                    "{}: an event of {length} bytes at offset {}, where {} are allowed",
                    self.path.display(),
                    self.offset,
                    self.event_bytes
                ),
            )
            .remedy("open it with the limits it was written with (event_bytes)"));
        }
        if !self.fill(length)? {
            return Ok(Next::Torn("the file became shorter while it was read"));
        }
        let from = self.start;
        self.skip(length);
        Ok(Next::Event(
            self.buffer.get(from..from + length).unwrap_or_default(),
        ))
    }

    /// Whether nothing but zeros is left; they are read then.
    fn is_zero_to_the_end(&mut self) -> Result<bool> {
        let start = self.offset;
        loop {
            let waiting = self.waiting();
            if !waiting.iter().all(|byte| *byte == 0) {
                self.seek(start)?;
                return Ok(false);
            }
            let length = waiting.len();
            self.skip(length);
            if !self.fill(1)? {
                self.seek(start)?;
                return Ok(true);
            }
        }
    }

    fn waiting(&self) -> &[u8] {
        self.buffer.get(self.start..).unwrap_or_default()
    }

    fn skip(&mut self, bytes: usize) {
        self.start += bytes;
        self.offset += bytes as u64;
    }

    /// Reads until `wanted` bytes wait; whether the file has so many.
    fn fill(&mut self, wanted: usize) -> Result<bool> {
        if self.waiting().len() >= wanted {
            return Ok(true);
        }
        self.buffer.drain(..self.start);
        self.start = 0;
        while self.buffer.len() < wanted {
            let more = CHUNK.max(wanted - self.buffer.len()) as u64;
            let read = (&self.file)
                .take(more)
                .read_to_end(&mut self.buffer)
                .map_err(|error| io_error("read the log", &self.path, error))?;
            if read == 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
