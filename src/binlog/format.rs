//! The format description: first event of every file, and the key to all others.
//!
//! ```text
//! offset size
//!      0    2  binlog version, 4
//!      2   50  server version, NUL-padded
//!     52    4  created: when the server started, in its first file; else 0
//!     56    1  length of the headers of events, 19
//!     57    n  length of the fixed part of each event, by type - 1
//!   57+n    1  checksum algorithm         (servers from 5.6.1 on)
//!   58+n    4  CRC-32 of this event       (the same; also where the algorithm is none)
//! ```

use super::reader::Reader;
use super::{ChecksumAlgorithm, EventHeader, EventType, checksum};
use crate::{Error, ErrorKind, Result};

/// Lengths of the fixed parts, as mysqld 9.7 writes them. The entry of Transaction_payload is wrong
/// in the server too (it has no fixed part), so nobody may rely on that one.
const POST_HEADER_LENGTHS: [u8; 42] = [
    0, 13, 0, 8, 0, 0, 0, 0, 4, 0, 4, 0, 0, 0, 99, 0, 4, 26, 8, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 10,
    10, 10, 42, 42, 0, 18, 52, 0, 10, 40, 0, 0,
];

/// Length of the server version's field.
const SERVER_VERSION_LENGTH: usize = 50;

/// Version of the first server that writes checksums, as [`FormatDescription::version_number`].
const FIRST_WITH_CHECKSUM: u32 = 0x05_06_01;

/// The content of a format description event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FormatDescription {
    server_version: [u8; SERVER_VERSION_LENGTH],
    version_number: u32,
    created: u32,
    header_length: u8,
    post_header_lengths: Vec<u8>,
    checksum: ChecksumAlgorithm,
    /// The number as it came: 255 stands for none, too.
    checksum_number: u8,
    in_use: bool,
}

impl FormatDescription {
    /// What a server of the version `server_version` (for example `9.7.4-rejoin`) writes, with the
    /// events that 9.7 knows.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`] where the version is longer than 49 bytes or below 5.6.1.
    pub fn new(server_version: &str, checksum: ChecksumAlgorithm) -> Result<Self> {
        let mut field = [0; SERVER_VERSION_LENGTH];
        let number = version_number(server_version.as_bytes());
        match field.get_mut(..server_version.len()) {
            Some(head) if server_version.len() < SERVER_VERSION_LENGTH => {
                head.copy_from_slice(server_version.as_bytes());
            }
            _ => return Err(unusable_version(server_version)),
        }
        if number < FIRST_WITH_CHECKSUM {
            return Err(unusable_version(server_version));
        }
        Ok(Self {
            server_version: field,
            version_number: number,
            created: 0,
            header_length: EventHeader::SIZE as u8,
            post_header_lengths: POST_HEADER_LENGTHS.to_vec(),
            checksum,
            checksum_number: checksum.number(),
            in_use: false,
        })
    }

    /// Reads a format description event as it stands in a file, and checks its own checksum where the
    /// events of the file have one.
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`], [`ErrorKind::Checksum`], and [`ErrorKind::Unsupported`] for binlog
    /// versions before 4 (servers before 5.0) and for MariaDB.
    pub fn decode(event: &[u8]) -> Result<Self> {
        let (_, format) = Self::open(event)?;
        Ok(format)
    }

    /// As [`decode`](Self::decode), for an event that comes from a donor: its own checksum counts even
    /// where it says that the events behind it have none. Or else one flipped bit could make it say so.
    pub(crate) fn decode_sent(event: &[u8]) -> Result<Self> {
        let (body, format) = Self::open(event)?;
        verify_own(event, body, event.get(body.len()..).unwrap_or_default())?;
        Ok(format)
    }

    /// The event without its checksum, and what it says.
    fn open(event: &[u8]) -> Result<(&[u8], Self)> {
        let body_length = match FormatDescription::version_in(event) {
            Some(number) if number >= FIRST_WITH_CHECKSUM => event.len().saturating_sub(4),
            _ => event.len(),
        };
        let (body, sent) = event
            .split_at_checked(body_length)
            .ok_or_else(|| checksum::no_room(event))?;
        let format = Self::decode_without_checksum(body)?;
        // Servers look for the version where headers of the length that it names would end.
        if event.len() < format.header_length() + 2 + SERVER_VERSION_LENGTH {
            return Err(Error::new(
                ErrorKind::Malformed,
                format!(
                    "headers of {} bytes in the format description",
                    format.header_length
                ),
            ));
        }
        // As mysqlbinlog does: a file whose events have no checksums is read whatever stands here.
        if format.checksum == ChecksumAlgorithm::Crc32 {
            verify_own(event, body, sent)?;
        }
        Ok((body, format))
    }

    /// Reads the event with its last four bytes already gone (where the server writes them).
    pub(super) fn decode_without_checksum(event: &[u8]) -> Result<Self> {
        let header = EventHeader::decode(event)?;
        if header.event_type != EventType::FORMAT_DESCRIPTION {
            return Err(Error::new(
                ErrorKind::Malformed,
                format!(
                    "{} event where a format description was expected",
                    header.event_type
                ),
            ));
        }
        let mut reader = Reader::at(event, EventHeader::SIZE)?;
        let binlog_version = reader.u16("binlog version")?;
        if binlog_version != 4 {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!("binlog version {binlog_version} (servers from 5.0 on write version 4)"),
            ));
        }
        let server_version: [u8; SERVER_VERSION_LENGTH] = reader.bytes("server version")?;
        let created = reader.u32("time of creation")?;
        let header_length = reader.u8("header length")?;
        if usize::from(header_length) < EventHeader::SIZE {
            return Err(reader.malformed(format_args!(
                "headers of {header_length} bytes in the format description"
            )));
        }
        refuse_mariadb(&server_version)?;
        let version_number = version_number(&server_version);
        if version_number == 0 {
            return Err(reader.malformed("server version in the format description is no version"));
        }
        let mut lengths = reader.take_rest();
        let mut checksum_number = 255;
        if version_number >= FIRST_WITH_CHECKSUM {
            let Some((number, before)) = lengths.split_last() else {
                return Err(
                    reader.malformed("format description ends before its checksum algorithm")
                );
            };
            checksum_number = *number;
            lengths = before;
        }
        let Some(checksum) = ChecksumAlgorithm::from_number(checksum_number) else {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!("checksum algorithm {checksum_number} in the format description"),
            ));
        };
        if lengths.is_empty() {
            return Err(reader.malformed("format description without event types"));
        }
        Ok(Self {
            server_version,
            version_number,
            created,
            header_length,
            post_header_lengths: lengths.to_vec(),
            checksum,
            checksum_number,
            in_use: header.has(EventHeader::BINLOG_IN_USE),
        })
    }

    /// The version number in the event, where it is long enough to have one.
    fn version_in(event: &[u8]) -> Option<u32> {
        let start = EventHeader::SIZE + 2;
        event
            .get(start..start + SERVER_VERSION_LENGTH)
            .map(version_number)
    }

    /// Checks length and checksum of `event`, as it stands in a file or comes from a donor, and
    /// returns it without its checksum bytes. The length in its header stays as it was sent.
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`] where the length in the header is not the length of `event`,
    /// [`ErrorKind::Checksum`] where the checksum differs.
    #[inline]
    pub fn verify<'a>(&self, event: &'a [u8]) -> Result<&'a [u8]> {
        open(self.checksum, event)
    }

    /// The text before the NUL padding of the server version's field.
    pub fn server_version(&self) -> &[u8] {
        before_nul(&self.server_version)
    }

    /// `major << 16 | minor << 8 | patch` of the server that wrote the file.
    pub fn version_number(&self) -> u32 {
        self.version_number
    }

    /// When the server started, in its first file since then (open temporary tables of the run
    /// before are gone); else 0.
    pub fn created(&self) -> u32 {
        self.created
    }

    /// Length of the headers of all events but this one and Rotate.
    pub fn header_length(&self) -> usize {
        usize::from(self.header_length)
    }

    /// What stands behind each event.
    pub fn checksum(&self) -> ChecksumAlgorithm {
        self.checksum
    }

    /// Whether the file was not closed: it is being written, or the server crashed.
    pub fn in_use(&self) -> bool {
        self.in_use
    }

    /// Sets when the server started.
    #[must_use]
    pub fn with_created(mut self, created: u32) -> Self {
        self.created = created;
        self
    }

    /// Sets what stands behind each event.
    #[must_use]
    pub fn with_checksum(mut self, checksum: ChecksumAlgorithm) -> Self {
        self.checksum = checksum;
        self.checksum_number = checksum.number();
        self
    }

    /// Sets the length of headers to the usual one of 19 bytes, as which mysqlbinlog 9.7 reads those of
    /// every log.
    #[must_use]
    pub fn with_plain_headers(mut self) -> Self {
        self.header_length = EventHeader::SIZE as u8;
        self
    }

    /// Lengths of the fixed parts by type - 1. The one of Transaction_payload is wrong in files of
    /// real servers.
    pub fn post_header_lengths(&self) -> &[u8] {
        &self.post_header_lengths
    }

    /// Length of the fixed part of `event_type`; `None` where the source does not know the type.
    pub fn post_header_length(&self, event_type: EventType) -> Option<usize> {
        let index = usize::from(event_type.0).checked_sub(1)?;
        self.post_header_lengths
            .get(index)
            .map(|length| usize::from(*length))
    }

    /// Whether events of both formats are read in the same way (their checksums set aside).
    pub fn reads_like(&self, other: &Self) -> bool {
        self.header_length == other.header_length
            && self.version_number == other.version_number
            && self.post_header_lengths == other.post_header_lengths
    }

    /// Whether the server writes optional metadata into table maps; older ones leave junk there.
    pub(super) fn has_optional_metadata(&self) -> bool {
        self.version_number >= 0x08_00_01
    }

    /// Where the body of an event of this type starts. Types that have no fixed part skip what the
    /// source announces as one (some releases before 5.1 do so for Xid, and leave it empty).
    #[inline]
    pub(super) fn body_offset(&self, event_type: EventType) -> usize {
        let header_length = usize::from(self.header_length);
        match event_type {
            EventType::ROTATE | EventType::FORMAT_DESCRIPTION => EventHeader::SIZE,
            EventType::XID
            | EventType::XA_PREPARE
            | EventType::INTVAR
            | EventType::RAND
            | EventType::USER_VAR
            | EventType::ROWS_QUERY
            | EventType::PREVIOUS_GTIDS => {
                header_length + self.post_header_length(event_type).unwrap_or(0)
            }
            _ => header_length,
        }
    }

    /// Whether this event itself has a checksum: always, from 5.6.1 on.
    pub(crate) fn has_own_checksum(&self) -> bool {
        self.version_number >= FIRST_WITH_CHECKSUM
    }

    /// Appends the body, without the last four bytes.
    pub(super) fn encode_body(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&4u16.to_le_bytes());
        out.extend_from_slice(&self.server_version);
        out.extend_from_slice(&self.created.to_le_bytes());
        out.push(self.header_length);
        out.extend_from_slice(&self.post_header_lengths);
        if self.has_own_checksum() {
            out.push(self.checksum_number);
        }
    }

    /// Appends the whole event, its own checksum included, as the first event of a file
    /// (`end_log_pos` is set for that). `in_use` is the mark of a file that is not closed yet; it
    /// does not count in the checksum, so that closing the file changes one byte only.
    pub fn encode(&self, timestamp: u32, server_id: u32, in_use: bool, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&[0; EventHeader::SIZE]);
        self.encode_body(out);
        let has_checksum = self.has_own_checksum();
        let length = (out.len() - start) as u32 + if has_checksum { 4 } else { 0 };
        let mut header = EventHeader {
            timestamp,
            event_type: EventType::FORMAT_DESCRIPTION,
            server_id,
            length,
            end_log_pos: length + 4,
            flags: 0,
        };
        put_header(&header, start, out);
        if has_checksum {
            ChecksumAlgorithm::Crc32.append(start, out);
        }
        if in_use {
            header.flags |= EventHeader::BINLOG_IN_USE;
            put_header(&header, start, out);
        }
    }
}

fn put_header(header: &EventHeader, start: usize, out: &mut [u8]) {
    if let Some(place) = out.get_mut(start..start + EventHeader::SIZE) {
        place.copy_from_slice(&header.encode());
    }
}

/// Checks length and checksum of an event of a stream whose checksum algorithm is `checksum`, and
/// takes the checksum off it. What it returns has a whole header.
///
/// The header is not returned: put together here and taken apart by the caller it would go through
/// memory, which costs as much as all else that is done with most events.
#[inline]
pub(crate) fn open(checksum: ChecksumAlgorithm, event: &[u8]) -> Result<&[u8]> {
    if let Some(head) = event.first_chunk() {
        let header = EventHeader::unchecked(head);
        if header.length as usize == event.len()
            && header.event_type != EventType::FORMAT_DESCRIPTION
        {
            return checksum.verify(event);
        }
    }
    open_odd(event)
}

/// `sent` is what stands behind `body` in the format description: its checksum, if it has one.
fn verify_own(event: &[u8], body: &[u8], sent: &[u8]) -> Result<()> {
    let Some(sent) = sent.first_chunk::<4>() else {
        return Ok(());
    };
    let computed = crc_with_in_use_cleared(body);
    let sent = u32::from_le_bytes(*sent);
    if sent == computed {
        Ok(())
    } else {
        Err(checksum::differs(event, sent, computed))
    }
}

/// A format description, or an event whose length is wrong.
#[cold]
fn open_odd(event: &[u8]) -> Result<&[u8]> {
    let header = EventHeader::decode(event)?;
    if header.length as usize != event.len() {
        return Err(other_length(&header, event.len()));
    }
    let (body, _) = FormatDescription::open(event)?;
    Ok(body)
}

#[cold]
fn other_length(header: &EventHeader, length: usize) -> Error {
    Error::new(
        ErrorKind::Malformed,
        format!(
            "{} event claims {} bytes, it has {length}",
            header.event_type, header.length
        ),
    )
}

#[cold]
fn unusable_version(version: &str) -> Error {
    Error::new(
        ErrorKind::Configuration,
        format!("{version:?} cannot be the server version of a binary log"),
    )
    .remedy("give three numbers, at least 5.6.1, in fewer than 50 bytes")
}

pub(super) fn before_nul(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// Refuses the logs of MariaDB, which look alike up to here.
fn refuse_mariadb(server_version: &[u8]) -> Result<()> {
    let version = before_nul(server_version);
    if version.windows(7).any(|window| window == b"MariaDB") {
        return Err(Error::new(
            ErrorKind::Unsupported,
            format!(
                "the log is of a MariaDB server ({})",
                String::from_utf8_lossy(version)
            ),
        )
        .remedy("MariaDB's binary log differs from MySQL's; use a MySQL server"));
    }
    Ok(())
}

/// The server's own reading of a version: three numbers up to 255, a dot behind the first, anything
/// behind the third. 0 where it is none.
fn version_number(version: &[u8]) -> u32 {
    let mut rest = before_nul(version);
    let mut number = 0;
    for index in 0..3 {
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (part, tail) = rest.split_at(digits);
        let part = part.iter().fold(0u32, |sum, digit| {
            sum.saturating_mul(10)
                .saturating_add(u32::from(digit - b'0'))
        });
        let tail_after_dot = tail.strip_prefix(b".");
        if part > 255 || (index == 0 && tail_after_dot.is_none()) {
            return 0;
        }
        number = number << 8 | part;
        rest = tail_after_dot.unwrap_or(tail);
    }
    number
}

/// Appends the checksum of the format description event at `out[start..]`.
pub(super) fn append_checksum(start: usize, out: &mut Vec<u8>) {
    let checksum = crc_with_in_use_cleared(out.get(start..).unwrap_or_default());
    out.extend_from_slice(&checksum.to_le_bytes());
}

/// CRC-32 of a format description, with the mark of an open file taken out.
fn crc_with_in_use_cleared(event: &[u8]) -> u32 {
    let mut hasher = libdeflater::Crc::new();
    match event.split_at_checked(EventHeader::FLAGS_OFFSET) {
        Some((before, [flags, after @ ..])) => {
            hasher.update(before);
            hasher.update(&[flags & !(EventHeader::BINLOG_IN_USE as u8)]);
            hasher.update(after);
        }
        _ => hasher.update(event),
    }
    hasher.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_the_server_reads_them() {
        assert_eq!(version_number(b"9.7.4-2\0\0"), 0x09_07_04);
        assert_eq!(version_number(b"5.6.1"), 0x05_06_01);
        assert_eq!(version_number(b"8.0.29-debug"), 0x08_00_1d);
        assert_eq!(version_number(b"5.0"), 0x05_00_00);
        assert_eq!(version_number(b"junk"), 0);
        assert_eq!(version_number(b"300.1.2"), 0);
    }

    #[test]
    fn it_round_trips_and_the_open_mark_does_not_count_in_its_checksum() {
        for checksum in [ChecksumAlgorithm::Crc32, ChecksumAlgorithm::None] {
            let format = FormatDescription::new("9.7.4-rejoin", checksum).unwrap();
            let mut closed = Vec::new();
            format.encode(1, 2, false, &mut closed);
            let mut open = Vec::new();
            format.encode(1, 2, true, &mut open);
            assert_eq!(FormatDescription::decode(&closed).unwrap(), format);
            assert!(FormatDescription::decode(&open).unwrap().in_use());
            let differing = closed.iter().zip(&open).filter(|(a, b)| a != b).count();
            assert_eq!(differing, 1);
            assert_eq!(closed.len(), 19 + 57 + 42 + 1 + 4);
        }
    }

    #[test]
    fn a_damaged_one_is_refused() {
        let format = FormatDescription::new("9.7.4", ChecksumAlgorithm::Crc32).unwrap();
        let mut event = Vec::new();
        format.encode(1, 2, false, &mut event);
        event[60] ^= 1;
        let error = FormatDescription::decode(&event).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Checksum);
    }

    #[test]
    fn a_flipped_bit_does_not_turn_the_checksums_of_a_stream_off() {
        let format = FormatDescription::new("9.7.4", ChecksumAlgorithm::Crc32).unwrap();
        let mut event = Vec::new();
        format.encode(1, 2, false, &mut event);
        let algorithm = event.len() - 5;
        event[algorithm] ^= ChecksumAlgorithm::Crc32.number();
        let error = FormatDescription::decode_sent(&event).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Checksum);
        // mysqlbinlog reads such a file up to the first event that ends too late.
        let read = FormatDescription::decode(&event).unwrap();
        assert_eq!(read.checksum(), ChecksumAlgorithm::None);
    }
}
