//! How one `rejoin` asks another for a clone, and what is answered.
//!
//! ```text
//! CLONE SNAPSHOT FORMAT 1 [AT LEAST 'gtid set']        id, executed GTIDs, sealed catalog
//! CLONE SESSION OF n                                   this session, too, reads snapshot n: OK
//! CLONE ROWS OF x'database'.x'table' [BEHIND x'key']   sealed chunks, each a row of the result
//!
//! sealed   u32 CRC-32 of what follows | content
//! chunk    u32 number, from 0 | u8 0 | (u32 length, row image)*
//! last     u32 number         | u8 1 | u64 rows in all chunks of this answer
//! ```
//!
//! Numbers are little-endian. Rows come in the order of their keys, those behind `key` alone where one
//! is given; keys and catalogs are in the form of a checkpoint, whose version `FORMAT` is: it changes
//! with them.

use super::reader::Reader;
use crate::gtid::GtidSet;
use crate::{Error, ErrorKind, Result};

/// The form of catalogs and keys.
const FORMAT: &str = "1";

/// A chunk is sent when it has so many bytes; a longer row has one to itself.
pub(crate) const CHUNK_BYTES: usize = 256 << 10;

const HEAD_BYTES: usize = 9;
const ROWS: u8 = 0;
const LAST: u8 = 1;

/// What a joiner asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CloneRequest {
    /// A snapshot with at least these transactions.
    Snapshot {
        /// May be empty.
        at_least: GtidSet,
    },
    /// To read a snapshot that another session of the joiner has opened.
    Session {
        /// Its number.
        snapshot: u64,
    },
    /// The rows of a table.
    Rows {
        /// Its database.
        database: Vec<u8>,
        /// Its name.
        table: Vec<u8>,
        /// The key of the last row that the joiner has.
        behind: Option<Vec<u8>>,
    },
}

impl CloneRequest {
    /// Whether a statement is one of these, well-formed or not.
    pub(crate) fn is_meant(statement: &[u8]) -> bool {
        let first = statement.split(u8::is_ascii_whitespace).next();
        first.is_some_and(|word| word.eq_ignore_ascii_case(b"CLONE"))
    }

    /// The statement.
    pub(crate) fn statement(&self) -> String {
        match self {
            Self::Snapshot { at_least } if at_least.is_empty() => {
                format!("CLONE SNAPSHOT FORMAT {FORMAT}")
            }
            Self::Snapshot { at_least } => {
                format!("CLONE SNAPSHOT FORMAT {FORMAT} AT LEAST '{at_least}'")
            }
            Self::Session { snapshot } => format!("CLONE SESSION OF {snapshot}"),
            Self::Rows {
                database,
                table,
                behind,
            } => {
                let mut statement = "CLONE ROWS OF ".to_owned();
                put_hex(database, &mut statement);
                statement.push('.');
                put_hex(table, &mut statement);
                if let Some(key) = behind {
                    statement.push_str(" BEHIND ");
                    put_hex(key, &mut statement);
                }
                statement
            }
        }
    }

    /// What a statement asks for; `None` where it is none of these.
    pub(crate) fn parse(statement: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(statement).ok()?;
        let rest = text.strip_prefix("CLONE ")?;
        if let Some(snapshot) = rest.strip_prefix("SESSION OF ") {
            let snapshot = snapshot.parse().ok()?;
            return Some(Self::Session { snapshot });
        }
        if let Some(rest) = rest.strip_prefix("SNAPSHOT FORMAT ") {
            let rest = rest.strip_prefix(FORMAT)?;
            if rest.is_empty() {
                let at_least = GtidSet::new();
                return Some(Self::Snapshot { at_least });
            }
            let set = rest.strip_prefix(" AT LEAST '")?.strip_suffix('\'')?;
            let at_least = set.parse().ok()?;
            return Some(Self::Snapshot { at_least });
        }
        let rest = rest.strip_prefix("ROWS OF ")?;
        let (names, behind) = match rest.split_once(" BEHIND ") {
            Some((names, key)) => (names, Some(from_hex(key)?)),
            None => (rest, None),
        };
        let (database, table) = names.split_once('.')?;
        Some(Self::Rows {
            database: from_hex(database)?,
            table: from_hex(table)?,
            behind,
        })
    }
}

fn put_hex(bytes: &[u8], out: &mut String) {
    const DIGITS: [char; 16] = [
        '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f',
    ];
    out.push_str("x'");
    for byte in bytes {
        for digit in [byte >> 4, byte & 15] {
            out.extend(DIGITS.get(usize::from(digit)));
        }
    }
    out.push('\'');
}

fn from_hex(literal: &str) -> Option<Vec<u8>> {
    let digits = literal.strip_prefix("x'")?.strip_suffix('\'')?.as_bytes();
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    let (pairs, rest) = digits.as_chunks::<2>();
    let bytes = pairs.iter().map(|[high, low]| {
        let byte = digit(*high)? << 4 | digit(*low)?;
        Some(byte)
    });
    bytes.collect::<Option<_>>().filter(|_| rest.is_empty())
}

/// Puts the checksum in front of `content`.
pub(crate) fn seal(content: &[u8]) -> Vec<u8> {
    let mut sealed = libdeflater::crc32(content).to_le_bytes().to_vec();
    sealed.extend_from_slice(content);
    sealed
}

/// What was sealed.
///
/// # Errors
/// [`ErrorKind::Checksum`], [`ErrorKind::Malformed`].
pub(crate) fn unseal<'a>(sealed: &'a [u8], what: &'static str) -> Result<&'a [u8]> {
    let mut reader = Reader::new(sealed, what);
    let checksum = reader.u32()?;
    let content = reader.rest();
    if libdeflater::crc32(content) != checksum {
        return Err(Error::new(
            ErrorKind::Checksum,
            format!("{what} differs from its checksum"),
        )
        .remedy("have another member cloned, and the donor's memory checked"));
    }
    Ok(content)
}

/// Puts rows into chunks.
#[derive(Debug)]
pub(crate) struct ChunkWriter {
    /// The chunk that is being made, with room for its head.
    bytes: Vec<u8>,
    number: u32,
    rows: u64,
}

impl ChunkWriter {
    pub(crate) fn new() -> Self {
        Self {
            bytes: vec![0; HEAD_BYTES],
            number: 0,
            rows: 0,
        }
    }

    /// Whether the chunk is to be [taken](Self::take) before a row of so many bytes.
    pub(crate) fn is_full(&self, row_bytes: usize) -> bool {
        self.bytes.len() > HEAD_BYTES && self.bytes.len() + 4 + row_bytes > CHUNK_BYTES
    }

    /// # Errors
    /// [`ErrorKind::Limit`] for a row of 4 GiB.
    pub(crate) fn push(&mut self, row: &[u8]) -> Result<()> {
        let Ok(length) = u32::try_from(row.len()) else {
            return Err(Error::new(
                ErrorKind::Limit,
                format!("a row of {} bytes cannot be cloned", row.len()),
            ));
        };
        self.bytes.extend_from_slice(&length.to_le_bytes());
        self.bytes.extend_from_slice(row);
        self.rows += 1;
        Ok(())
    }

    /// The chunk, sealed; what follows goes into the next one.
    pub(crate) fn take(&mut self) -> &[u8] {
        self.finish(ROWS)
    }

    /// The chunk behind all others.
    pub(crate) fn last(&mut self) -> &[u8] {
        self.clear();
        self.bytes.extend_from_slice(&self.rows.to_le_bytes());
        self.finish(LAST)
    }

    /// Begins the next chunk, in the same memory.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(2 * CHUNK_BYTES);
        self.bytes.resize(HEAD_BYTES, 0);
    }

    fn finish(&mut self, kind: u8) -> &[u8] {
        if let Some(head) = self.bytes.get_mut(4..HEAD_BYTES) {
            let [a, b, c, d] = self.number.to_le_bytes();
            head.copy_from_slice(&[a, b, c, d, kind]);
        }
        let checksum = libdeflater::crc32(self.bytes.get(4..).unwrap_or_default());
        if let Some(head) = self.bytes.get_mut(..4) {
            head.copy_from_slice(&checksum.to_le_bytes());
        }
        self.number = self.number.wrapping_add(1);
        &self.bytes
    }
}

/// Takes rows out of chunks.
#[derive(Debug, Default)]
pub(crate) struct ChunkReader {
    next: u32,
    rows: u64,
    is_complete: bool,
}

impl ChunkReader {
    /// Hands each row of a chunk to `each`, after the whole chunk was compared with its checksum.
    ///
    /// # Errors
    /// [`ErrorKind::Checksum`], [`ErrorKind::Malformed`] for chunks that are not what
    /// [`ChunkWriter`] makes or do not follow each other, and what `each` returns.
    pub(crate) fn read(
        &mut self,
        sealed: &[u8],
        each: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        const WHAT: &str = "chunk of a clone";
        let mut reader = Reader::new(unseal(sealed, WHAT)?, WHAT);
        let (number, kind) = (reader.u32()?, reader.u8()?);
        if number != self.next || self.is_complete {
            return Err(reader.malformed("the next chunk"));
        }
        self.next = self.next.wrapping_add(1);
        match kind {
            ROWS => {
                while !reader.is_empty() {
                    let length = reader.u32()?;
                    each(reader.take(length as usize)?)?;
                    self.rows += 1;
                }
                Ok(())
            }
            LAST if reader.u64()? == self.rows && reader.is_empty() => {
                self.is_complete = true;
                Ok(())
            }
            _ => Err(reader.malformed("as many rows as were sent")),
        }
    }

    /// # Errors
    /// [`ErrorKind::Malformed`] where the last chunk was missing.
    pub(crate) fn finish(self) -> Result<()> {
        if self.is_complete {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Malformed,
            "the rows of a table ended without their end",
        ))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn chunks(rows: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let mut writer = ChunkWriter::new();
        let mut chunks = Vec::new();
        for row in rows {
            if writer.is_full(row.len()) {
                chunks.push(writer.take().to_vec());
                writer.clear();
            }
            writer.push(row).unwrap();
        }
        chunks.push(writer.take().to_vec());
        chunks.push(writer.last().to_vec());
        chunks
    }

    fn rows(chunks: &[Vec<u8>]) -> Result<Vec<Vec<u8>>> {
        let mut reader = ChunkReader::default();
        let mut rows = Vec::new();
        for chunk in chunks {
            reader.read(chunk, &mut |row| {
                rows.push(row.to_vec());
                Ok(())
            })?;
        }
        reader.finish().map(|()| rows)
    }

    #[test]
    fn requests_survive_their_statements() {
        let set: GtidSet = "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5:tag:7"
            .parse()
            .unwrap();
        let of = |behind| CloneRequest::Rows {
            database: b"a.b".to_vec(),
            table: vec![0, 0x27, 0xff],
            behind,
        };
        for request in [
            CloneRequest::Snapshot {
                at_least: GtidSet::new(),
            },
            CloneRequest::Snapshot { at_least: set },
            CloneRequest::Session { snapshot: u64::MAX },
            of(None),
            of(Some(Vec::new())),
            of(Some((0..=255).collect())),
        ] {
            let statement = request.statement();
            assert!(CloneRequest::is_meant(statement.as_bytes()));
            assert_eq!(CloneRequest::parse(statement.as_bytes()), Some(request));
        }
        for statement in [
            "CLONE SNAPSHOT FORMAT 2",
            "CLONE ROWS OF x'0'.x''",
            "CLONE INSTANCE FROM a@b:1 IDENTIFIED BY 'c'",
            "CLONE",
        ] {
            assert!(CloneRequest::is_meant(statement.as_bytes()));
            assert_eq!(CloneRequest::parse(statement.as_bytes()), None);
        }
    }

    #[test]
    fn a_long_row_has_a_chunk_to_itself() {
        let given = [vec![1; 10], vec![2; 3 * CHUNK_BYTES], vec![3; 10]];
        let chunks = chunks(&given);
        assert_eq!(chunks.len(), 4);
        assert_eq!(rows(&chunks).unwrap(), given);
    }

    proptest! {
        #[test]
        fn rows_survive_their_chunks(
            given in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..70_000), 0..20),
        ) {
            prop_assert_eq!(rows(&chunks(&given)).unwrap(), given);
        }

        #[test]
        fn whatever_is_changed_lost_or_swapped_is_noticed(
            given in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200_000), 2..6),
            what in 0..4u8,
            place in any::<prop::sample::Index>(),
            bit in 0..8u8,
        ) {
            let mut chunks = chunks(&given);
            let index = place.index(chunks.len());
            match what {
                0 => {
                    let byte = place.index(chunks[index].len());
                    chunks[index][byte] ^= 1 << bit;
                }
                1 => {
                    chunks.remove(index);
                }
                2 => {
                    let again = chunks[index].clone();
                    chunks.insert(index, again);
                }
                _ => {
                    let length = place.index(chunks[index].len());
                    chunks[index].truncate(length);
                }
            }
            prop_assert!(rows(&chunks).is_err());
        }

        #[test]
        fn hostile_bytes_are_errors(
            content in prop::collection::vec(any::<u8>(), 0..200),
            statement in prop::collection::vec(any::<u8>(), 0..80),
        ) {
            let mut reader = ChunkReader::default();
            let _ = reader.read(&content, &mut |_| Ok(()));
            let _ = reader.read(&seal(&content), &mut |_| Ok(()));
            let _ = CloneRequest::parse(&statement);
            let _ = CloneRequest::parse(&[b"CLONE ROWS OF ", &statement[..]].concat());
        }
    }
}
