//! Binary log files and relay logs, read event by event.
//!
//! ```text
//! fe 62 69 6e   magic
//! events back to back; the first is a format description
//! ```
//!
//! The reader is made for files that are still being written, too: at the end of what is there it
//! says so, and goes on when it is asked again. Whether what is left there is the cut tail of a crash
//! or the front of an event to come, [`LogReader::tail`] tells the caller, who knows which it can be.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use prefetch_index::prefetch_index;

use super::{EventHeader, EventType, FormatDescription};
use crate::{Error, ErrorKind, Limits, Result};

/// The first four bytes of every binary log.
pub const MAGIC: [u8; 4] = *b"\xfebin";

/// The first four bytes of an encrypted one.
const ENCRYPTED_MAGIC: [u8; 4] = *b"\xfdbin";

/// How much is read at once. Events beyond it make the buffer grow as their bytes arrive.
const READ_BYTES: usize = 1 << 20;

/// What the processor fetches at once.
pub(super) const CACHE_LINE: usize = 64;

/// An event of a file.
#[derive(Debug, Clone, Copy)]
pub struct LogEvent<'a> {
    /// Where it starts in the file.
    pub offset: u64,
    /// Its header.
    pub header: EventHeader,
    /// Its bytes as they stand in the file, checksum included.
    pub bytes: &'a [u8],
    /// How it is read. Of a format description this is what it says itself.
    pub format: &'a Arc<FormatDescription>,
}

impl<'a> LogEvent<'a> {
    /// The event without its checksum, which is verified.
    ///
    /// # Errors
    /// [`ErrorKind::Checksum`], with the offset.
    #[inline]
    pub fn verify(&self) -> Result<&'a [u8]> {
        match self.format.verify(self.bytes) {
            Ok(body) => Ok(body),
            Err(error) => Err(error.at_offset(self.offset)),
        }
    }
}

/// What is left behind the last whole event of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tail {
    /// Nothing.
    Nothing,
    /// So many bytes, fewer than a header has.
    PartOfHeader(usize),
    /// An event whose body is cut.
    PartOfEvent {
        /// Its header.
        header: EventHeader,
        /// How many of its bytes are there.
        available: usize,
    },
}

/// Reads a binary log or relay log from its beginning.
///
/// ```no_run
/// use rejoin::Limits;
/// use rejoin::binlog::LogReader;
///
/// let mut reader = LogReader::open("/var/lib/mysql/binlog.000001", &Limits::default())?;
/// while let Some(event) = reader.next_event()? {
///     event.verify()?;
///     println!("{:>10} {}", event.offset, event.header.event_type);
/// }
/// # Ok::<(), rejoin::Error>(())
/// ```
#[derive(Debug)]
pub struct LogReader<R> {
    source: R,
    buffer: Vec<u8>,
    /// How much of the buffer has been read.
    filled: usize,
    /// Where in the buffer the next event starts.
    next: usize,
    /// Where in the file it starts; 0 as long as the magic was not read.
    offset: u64,
    format: Option<Arc<FormatDescription>>,
    event_bytes: usize,
}

impl LogReader<File> {
    /// Opens a file.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`] where it cannot be opened, and as [`LogReader::new`].
    pub fn open(path: impl AsRef<Path>, limits: &Limits) -> Result<Self> {
        let path = path.as_ref();
        let name = path.display().to_string();
        let file = File::open(path).map_err(|error| {
            Error::new(
                ErrorKind::Configuration,
                format!("cannot open {name}: {error}"),
            )
            .caused_by(error)
        })?;
        Self::new(file, limits).map_err(|error| error.in_file(name))
    }
}

impl<R: Read> LogReader<R> {
    /// Reads from `source`, which begins with the magic.
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`] where it is no binary log, [`ErrorKind::Unsupported`] where it is
    /// encrypted, [`ErrorKind::TargetIo`] where reading fails.
    pub fn new(source: R, limits: &Limits) -> Result<Self> {
        let mut reader = Self {
            source,
            buffer: Vec::new(),
            filled: 0,
            next: 0,
            offset: 0,
            format: None,
            event_bytes: limits.event_bytes,
        };
        while reader.filled < MAGIC.len() && reader.fill(MAGIC.len())? {}
        check_magic(reader.rest())?;
        reader.next = MAGIC.len();
        reader.offset = MAGIC.len() as u64;
        Ok(reader)
    }

    /// Where the next event starts in the file.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The newest format description so far.
    pub fn format(&self) -> Option<&Arc<FormatDescription>> {
        self.format.as_ref()
    }

    /// The next event, its length checked and its checksum not; `None` at the end of what is there.
    /// Asked again later, it goes on with what was appended meanwhile.
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`] and [`ErrorKind::Checksum`] (of format descriptions only) with the
    /// offset of the event, [`ErrorKind::Limit`], [`ErrorKind::TargetIo`]. After an error the same
    /// event is met again.
    pub fn next_event(&mut self) -> Result<Option<LogEvent<'_>>> {
        let offset = self.offset;
        let header = match self.whole_event() {
            Ok(Some(header)) => header,
            Ok(None) => return Ok(None),
            Err(error) => return Err(error.at_offset(offset)),
        };
        let length = header.length as usize;
        let bytes = self
            .buffer
            .get(self.next..self.next + length)
            .unwrap_or_default();
        let format =
            format_of(&mut self.format, &header, bytes).map_err(|error| error.at_offset(offset))?;
        self.next += length;
        self.offset += length as u64;
        Ok(Some(LogEvent {
            offset,
            header,
            bytes,
            format,
        }))
    }

    /// What is left behind the last whole event, after [`next_event`](Self::next_event) has
    /// returned `None`.
    pub fn tail(&self) -> Tail {
        tail(self.rest())
    }

    /// The header of the next event, which is wholly in the buffer then.
    fn whole_event(&mut self) -> Result<Option<EventHeader>> {
        loop {
            match whole_header(self.rest(), self.event_bytes)? {
                Whole::Yes(header) => return Ok(Some(header)),
                Whole::Needs(length) => {
                    if !self.fill(length)? {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// What has been read and not been given out.
    fn rest(&self) -> &[u8] {
        self.buffer.get(self.next..self.filled).unwrap_or_default()
    }

    /// Reads some more; false where nothing more is there. `wanted` bytes are needed from `next` on.
    fn fill(&mut self, wanted: usize) -> Result<bool> {
        self.buffer.copy_within(self.next..self.filled, 0);
        self.filled -= self.next;
        self.next = 0;
        // Never more than this ahead of what has come: a claimed length costs nothing.
        let room = wanted
            .saturating_sub(self.filled)
            .clamp(READ_BYTES, 1 << 24);
        if self.buffer.len() < self.filled + room {
            self.buffer.resize(self.filled + room, 0);
        }
        let result = loop {
            let free = self.buffer.get_mut(self.filled..).unwrap_or_default();
            match self.source.read(free) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => break result,
            }
        };
        match result {
            Ok(count) => {
                self.filled += count;
                Ok(count > 0)
            }
            Err(error) => Err(Error::new(
                ErrorKind::TargetIo,
                format!("reading the binary log: {error}"),
            )
            .caused_by(error)),
        }
    }
}

/// A whole log in memory, read without copying anything; otherwise as [`LogReader`].
#[derive(Debug, Clone)]
pub struct LogBytes<'a> {
    rest: &'a [u8],
    offset: u64,
    format: Option<Arc<FormatDescription>>,
    event_bytes: usize,
}

impl<'a> LogBytes<'a> {
    /// Reads `log`, which begins with the magic.
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`] where it is no binary log, [`ErrorKind::Unsupported`] where it is
    /// encrypted.
    pub fn new(log: &'a [u8], limits: &Limits) -> Result<Self> {
        check_magic(log)?;
        Ok(Self {
            rest: log.get(MAGIC.len()..).unwrap_or_default(),
            offset: MAGIC.len() as u64,
            format: None,
            event_bytes: limits.event_bytes,
        })
    }

    /// The next event, its length checked and its checksum not; `None` behind the last whole one.
    ///
    /// # Errors
    /// As [`LogReader::next_event`].
    #[inline]
    pub fn next_event(&mut self) -> Result<Option<LogEvent<'_>>> {
        // Nearly all events pass here; whatever is the matter with the others is found out below.
        if let Some(head) = self.rest.first_chunk() {
            let header = EventHeader::unchecked(head);
            let length = header.length as usize;
            if header.event_type != EventType::FORMAT_DESCRIPTION
                && length >= EventHeader::SIZE
                && length <= self.event_bytes
                && let Some((bytes, rest)) = self.rest.split_at_checked(length)
                && self.format.is_some()
            {
                fetch_ahead(rest, length);
                return Ok(self.pass(header, bytes, rest));
            }
        }
        self.next_checked()
    }

    /// [`next_event`](Self::next_event) step by step, for every event.
    #[cold]
    fn next_checked(&mut self) -> Result<Option<LogEvent<'_>>> {
        let offset = self.offset;
        let header = match whole_header(self.rest, self.event_bytes) {
            Ok(Whole::Yes(header)) => header,
            Ok(Whole::Needs(_)) => return Ok(None),
            Err(error) => return Err(error.at_offset(offset)),
        };
        let (bytes, rest) = self
            .rest
            .split_at_checked(header.length as usize)
            .unwrap_or((self.rest, &[]));
        format_of(&mut self.format, &header, bytes).map_err(|error| error.at_offset(offset))?;
        Ok(self.pass(header, bytes, rest))
    }

    /// Where the next event starts in the log.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The newest format description so far.
    #[inline]
    pub fn format(&self) -> Option<&Arc<FormatDescription>> {
        self.format.as_ref()
    }

    /// What was not read yet.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Goes on with `rest`, which starts at `offset` and is of the same format.
    pub(super) fn go_to(&mut self, rest: &'a [u8], offset: u64) {
        self.rest = rest;
        self.offset = offset;
    }

    /// What the next event is.
    #[inline]
    pub(super) fn next_type(&self) -> Option<EventType> {
        let byte = self.rest.get(EventHeader::TYPE_OFFSET);
        byte.map(|event_type| EventType(*event_type))
    }

    /// Gives out `bytes`; what follows is in `rest`.
    #[inline]
    fn pass(
        &mut self,
        header: EventHeader,
        bytes: &'a [u8],
        rest: &'a [u8],
    ) -> Option<LogEvent<'_>> {
        let offset = self.offset;
        self.rest = rest;
        self.offset += bytes.len() as u64;
        self.format.as_ref().map(|format| LogEvent {
            offset,
            header,
            bytes,
            format,
        })
    }

    /// What is left behind the last whole event.
    pub fn tail(&self) -> Tail {
        tail(self.rest)
    }
}

/// Asks for memory a page behind the front of `rest`: for three lines, and behind a larger event for more.
///
/// The processor fetches memory ahead of a reader by itself, but not across the border of a page, and
/// not before it has seen some steps: every walk through a large log of small events would spend a fifth
/// of its time waiting. Within events of many lines it does well enough, once it has begun.
#[inline]
fn fetch_ahead(rest: &[u8], length: usize) {
    const PAGE: usize = 4096;
    const LARGE: usize = 8 * CACHE_LINE;
    const MOST_LINES: usize = 16;
    prefetch_index(rest, PAGE - 2 * CACHE_LINE);
    prefetch_index(rest, PAGE - CACHE_LINE);
    prefetch_index(rest, PAGE);
    if length > LARGE {
        for line in 3..(length / CACHE_LINE).min(MOST_LINES) {
            prefetch_index(rest, PAGE - line * CACHE_LINE);
        }
    }
}

fn check_magic(log: &[u8]) -> Result<()> {
    match log.first_chunk::<4>() {
        Some(&MAGIC) => Ok(()),
        Some(&ENCRYPTED_MAGIC) => Err(Error::new(
            ErrorKind::Unsupported,
            "the binary log is encrypted",
        )
        .remedy("read it through its server, which decrypts what it sends")),
        _ => Err(Error::new(
            ErrorKind::Malformed,
            "no binary log: it does not begin with fe 62 69 6e",
        )
        .at_offset(0)),
    }
}

/// Whether an event is there with all its bytes.
enum Whole {
    Yes(EventHeader),
    /// No; so many bytes are needed to go on.
    Needs(usize),
}

#[inline]
fn whole_header(rest: &[u8], event_bytes: usize) -> Result<Whole> {
    if rest.len() < EventHeader::SIZE {
        return Ok(Whole::Needs(EventHeader::SIZE));
    }
    let header = EventHeader::decode(rest)?;
    let length = header.length as usize;
    if length > event_bytes {
        return Err(too_large(&header, event_bytes));
    }
    if rest.len() < length {
        return Ok(Whole::Needs(length));
    }
    Ok(Whole::Yes(header))
}

#[cold]
fn too_large(header: &EventHeader, event_bytes: usize) -> Error {
    Error::new(
        ErrorKind::Limit,
        format!(
            "{} event claims {} bytes, {event_bytes} are allowed (limit event_bytes)",
            header.event_type, header.length
        ),
    )
}

/// The format in which an event is to be read: a format description brings its own.
#[inline]
fn format_of<'f>(
    current: &'f mut Option<Arc<FormatDescription>>,
    header: &EventHeader,
    bytes: &[u8],
) -> Result<&'f Arc<FormatDescription>> {
    if header.event_type == EventType::FORMAT_DESCRIPTION {
        *current = Some(Arc::new(FormatDescription::decode(bytes)?));
    }
    current.as_ref().ok_or_else(|| {
        Error::new(
            ErrorKind::Malformed,
            format!(
                "{} event where the file's format description was expected",
                header.event_type
            ),
        )
    })
}

fn tail(rest: &[u8]) -> Tail {
    if rest.is_empty() {
        return Tail::Nothing;
    }
    match EventHeader::decode(rest) {
        Ok(header) => Tail::PartOfEvent {
            header,
            available: rest.len(),
        },
        Err(_) => Tail::PartOfHeader(rest.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::binlog::ChecksumAlgorithm;

    fn file() -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        FormatDescription::new("9.7.4", ChecksumAlgorithm::Crc32)
            .unwrap()
            .encode(1, 1, true, &mut bytes);
        for index in 0..3u8 {
            let start = bytes.len();
            let header = EventHeader {
                timestamp: 1,
                event_type: EventType::IGNORABLE,
                server_id: 1,
                length: 19 + 4 + u32::from(index),
                end_log_pos: 0,
                flags: EventHeader::IGNORABLE,
            };
            bytes.extend_from_slice(&header.encode());
            bytes.extend(std::iter::repeat_n(index, usize::from(index)));
            ChecksumAlgorithm::Crc32.append(start, &mut bytes);
        }
        bytes
    }

    /// Gives what is there in pieces of one size, with an end behind each that is not the last.
    struct Growing<'a> {
        bytes: &'a [u8],
        piece: usize,
        pause: bool,
    }

    impl Read for Growing<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.pause = !self.pause;
            if self.pause {
                return Ok(0);
            }
            let count = self.piece.min(self.bytes.len()).min(buffer.len());
            let (now, later) = self.bytes.split_at(count);
            buffer[..count].copy_from_slice(now);
            self.bytes = later;
            Ok(count)
        }
    }

    #[test]
    fn a_file_that_grows_gives_its_events_as_they_become_whole() {
        let bytes = file();
        for piece in [1, 7, 19, 50, 4096] {
            let (now, later) = bytes.split_at(4);
            let source = now.chain(Growing {
                bytes: later,
                piece,
                pause: false,
            });
            let mut reader = LogReader::new(source, &Limits::default()).unwrap();
            let mut offsets = Vec::new();
            for _ in 0..2 * bytes.len() {
                if let Some(event) = reader.next_event().unwrap() {
                    event.verify().unwrap();
                    offsets.push(event.offset);
                }
            }
            assert_eq!(offsets, [4, 127, 150, 174], "pieces of {piece}");
            assert_eq!(reader.tail(), Tail::Nothing);
        }
    }

    #[test]
    fn a_cut_tail_is_told_apart_from_an_end() {
        let bytes = file();
        let mut reader = LogReader::new(&bytes[..bytes.len() - 1], &Limits::default()).unwrap();
        while reader.next_event().unwrap().is_some() {}
        assert!(matches!(
            reader.tail(),
            Tail::PartOfEvent { available: 24, .. }
        ));
        assert_eq!(reader.offset(), 174);
        let mut reader = LogReader::new(&bytes[..180], &Limits::default()).unwrap();
        while reader.next_event().unwrap().is_some() {}
        assert_eq!(reader.tail(), Tail::PartOfHeader(6));
    }

    #[test]
    fn files_of_other_kinds_are_refused_by_name() {
        let refused = |bytes: &[u8]| {
            LogReader::new(bytes, &Limits::default())
                .and_then(|mut reader| reader.next_event().map(|event| event.is_some()))
                .unwrap_err()
                .to_string()
        };
        assert!(refused(b"\xfdbin\x01").contains("encrypted"));
        assert!(refused(b"hello").contains("no binary log"));
        assert!(refused(b"\xfeb").contains("no binary log"));
        let mut mariadb = MAGIC.to_vec();
        FormatDescription::new("10.11.6-MariaDB-log", ChecksumAlgorithm::Crc32)
            .unwrap()
            .encode(1, 1, true, &mut mariadb);
        assert!(refused(&mariadb).contains("MariaDB"));
    }

    #[test]
    fn a_claimed_length_is_not_believed() {
        let mut bytes = file();
        let at = 127 + EventHeader::LENGTH_OFFSET;
        bytes[at..at + 4].copy_from_slice(&(1u32 << 30).to_le_bytes());
        let mut reader = LogReader::new(bytes.as_slice(), &Limits::default()).unwrap();
        assert!(reader.next_event().unwrap().is_some());
        assert!(reader.next_event().unwrap().is_none());
        assert!(reader.buffer.capacity() < 1 << 25);
        bytes[at..at + 4].copy_from_slice(&u32::MAX.to_le_bytes());
        let mut reader = LogReader::new(bytes.as_slice(), &Limits::default()).unwrap();
        assert!(reader.next_event().unwrap().is_some());
        let error = reader.next_event().unwrap_err();
        assert_eq!(
            (error.kind(), error.offset()),
            (ErrorKind::Limit, Some(127))
        );
    }
}
