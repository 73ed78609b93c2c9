//! Events around statements: variables that a statement reads, files that it loads, its text.
//!
//! ```text
//! Intvar              u8 kind | u64 value
//! Rand                u64 seed 1 | u64 seed 2
//! User_var            u32 length, name | u8 NULL?
//!                     where not NULL: u8 type | u32 collation | u32 length, value | u8 flags, perhaps
//! Rows_query          u8, not used | statement to the end
//! Begin_load_query, Append_block   u32 file id | block to the end
//! Delete_file         u32 file id
//! Execute_load_query  head of a Query | u32 file id | u32, u32 range of the file name in the statement
//!                     u8 what happens to duplicates | body of a Query
//! ```

use super::query::{QueryEvent, QueryHead};
use super::reader::Reader;
use super::{EventType, FormatDescription};
use crate::Result;

/// LAST_INSERT_ID or INSERT_ID of the statement that follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IntvarEvent {
    /// 1: LAST_INSERT_ID, 2: INSERT_ID; servers write no other and read any.
    pub kind: u8,
    /// The value.
    pub value: u64,
}

impl IntvarEvent {
    /// Reads `event` (without its checksum).
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`](crate::ErrorKind::Malformed).
    pub fn decode(format: &FormatDescription, event: &[u8]) -> Result<Self> {
        let mut reader = Reader::at(event, format.body_offset(EventType::INTVAR))?;
        let kind = reader.u8("kind of Intvar")?;
        let value = reader.u64("value of Intvar")?;
        Ok(Self { kind, value })
    }

    pub(super) fn encode_body(&self, out: &mut Vec<u8>) {
        out.push(self.kind);
        out.extend_from_slice(&self.value.to_le_bytes());
    }
}

/// Seeds of RAND() of the statement that follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RandEvent {
    /// First seed.
    pub seed1: u64,
    /// Second seed.
    pub seed2: u64,
}

impl RandEvent {
    /// Reads `event` (without its checksum).
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`](crate::ErrorKind::Malformed).
    pub fn decode(format: &FormatDescription, event: &[u8]) -> Result<Self> {
        let mut reader = Reader::at(event, format.body_offset(EventType::RAND))?;
        let seed1 = reader.u64("seed")?;
        let seed2 = reader.u64("seed")?;
        Ok(Self { seed1, seed2 })
    }

    pub(super) fn encode_body(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.seed1.to_le_bytes());
        out.extend_from_slice(&self.seed2.to_le_bytes());
    }
}

/// A user variable of the statement that follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UserVarEvent<'a> {
    /// Its name, without `@`.
    pub name: &'a [u8],
    /// Its value; `None` for NULL.
    pub value: Option<UserVarValue<'a>>,
}

/// The value of a user variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UserVarValue<'a> {
    /// 0 string, 1 double, 2 integer, 4 DECIMAL (precision, scale, packed digits).
    pub type_number: u8,
    /// Its collation.
    pub collation: u32,
    /// Its bytes: 8 of a number, from any source in order.
    pub bytes: &'a [u8],
    /// Bit 0: UNSIGNED; `None` where the event ends before it.
    pub flags: Option<u8>,
}

impl<'a> UserVarEvent<'a> {
    /// Reads `event` (without its checksum).
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`](crate::ErrorKind::Malformed).
    pub fn decode(format: &FormatDescription, event: &'a [u8]) -> Result<Self> {
        /// 64 characters of at most 3 bytes.
        const LONGEST_NAME: u32 = 192;
        let mut reader = Reader::at(event, format.body_offset(EventType::USER_VAR))?;
        let length = reader.u32("length of a variable's name")?;
        if !(1..=LONGEST_NAME).contains(&length) {
            return Err(reader.malformed(format_args!("variable name of {length} bytes")));
        }
        let name = reader.take(length as usize, "variable name")?;
        if reader.u8("NULL flag")? != 0 {
            return Ok(Self { name, value: None });
        }
        let type_number = reader.u8("type of a variable")?;
        let collation = reader.u32("collation of a variable")?;
        let length = reader.u32("length of a variable's value")?;
        let bytes = reader.take(length as usize, "value of a variable")?;
        let fits = match type_number {
            0 => true,
            1 | 2 => true,
            4 => bytes.len() > 2,
            _ => false,
        };
        if !fits {
            return Err(reader.malformed(format_args!(
                "variable of type {type_number} in {length} bytes"
            )));
        }
        let flags = if reader.is_empty() {
            None
        } else {
            Some(reader.u8("flags of a variable")?)
        };
        Ok(Self {
            name,
            value: Some(UserVarValue {
                type_number,
                collation,
                bytes,
                flags,
            }),
        })
    }

    pub(super) fn encode_body(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&(self.name.len() as u32).to_le_bytes());
        out.extend_from_slice(self.name);
        out.push(u8::from(self.value.is_none()));
        if let Some(value) = &self.value {
            out.push(value.type_number);
            out.extend_from_slice(&value.collation.to_le_bytes());
            out.extend_from_slice(&(value.bytes.len() as u32).to_le_bytes());
            out.extend_from_slice(value.bytes);
            out.extend(value.flags);
        }
    }
}

/// The statement that made the row events that follow (`binlog_rows_query_log_events`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowsQueryEvent<'a> {
    /// The statement.
    pub statement: &'a [u8],
    /// A length that nobody reads.
    length: u8,
}

impl<'a> RowsQueryEvent<'a> {
    /// Reads `event` (without its checksum).
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`](crate::ErrorKind::Malformed).
    pub fn decode(format: &FormatDescription, event: &'a [u8]) -> Result<Self> {
        let mut reader = Reader::at(event, format.body_offset(EventType::ROWS_QUERY))?;
        let length = reader.u8("length of a statement")?;
        Ok(Self {
            statement: reader.take_rest(),
            length,
        })
    }

    pub(super) fn encode_body(&self, out: &mut Vec<u8>) {
        out.push(self.length);
        out.extend_from_slice(self.statement);
    }
}

/// A block of the file of a LOAD DATA: Begin_load_query for the first one, Append_block for others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileBlockEvent<'a> {
    /// The file's number.
    pub file_id: u32,
    /// The block.
    pub block: &'a [u8],
}

impl<'a> FileBlockEvent<'a> {
    /// Reads `event` (without its checksum).
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`](crate::ErrorKind::Malformed).
    pub fn decode(format: &FormatDescription, event: &'a [u8]) -> Result<Self> {
        let mut reader = Reader::at(event, format.body_offset(EventType::APPEND_BLOCK))?;
        Ok(Self {
            file_id: reader.u32("file id")?,
            block: reader.take_rest(),
        })
    }

    pub(super) fn encode_body(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.file_id.to_le_bytes());
        out.extend_from_slice(self.block);
    }
}

/// The file of a LOAD DATA is not needed any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeleteFileEvent {
    /// The file's number.
    pub file_id: u32,
}

impl DeleteFileEvent {
    /// Reads `event` (without its checksum).
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`](crate::ErrorKind::Malformed).
    pub fn decode(format: &FormatDescription, event: &[u8]) -> Result<Self> {
        let mut reader = Reader::at(event, format.body_offset(EventType::DELETE_FILE))?;
        let file_id = reader.u32("file id")?;
        if file_id == 0 {
            return Err(reader.malformed("file id 0"));
        }
        Ok(Self { file_id })
    }

    pub(super) fn encode_body(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.file_id.to_le_bytes());
    }
}

/// Executes a LOAD DATA whose file came before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExecuteLoadQueryEvent<'a> {
    /// The statement.
    pub query: QueryEvent<'a>,
    /// The file's number.
    pub file_id: u32,
    /// Where the file's name starts in the statement.
    pub file_name_start: u32,
    /// Where it ends.
    pub file_name_end: u32,
    /// What happens to rows whose key is there already: 0 error, 1 ignore, 2 replace.
    pub duplicate_handling: u8,
}

impl<'a> ExecuteLoadQueryEvent<'a> {
    /// Reads `event` (without its checksum).
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`](crate::ErrorKind::Malformed).
    pub fn decode(format: &FormatDescription, event: &'a [u8]) -> Result<Self> {
        const FIXED_LENGTH: usize = 26;
        let event_type = EventType::EXECUTE_LOAD_QUERY;
        let mut reader = Reader::at(event, format.body_offset(event_type))?;
        let head = QueryHead::read(&mut reader, None)?;
        let file_id = reader.u32("file id")?;
        let file_name_start = reader.u32("start of the file name")?;
        let file_name_end = reader.u32("end of the file name")?;
        let duplicate_handling = reader.u8("duplicate handling")?;
        if format.post_header_length(event_type) != Some(FIXED_LENGTH) {
            return Err(reader.malformed("fixed part of another length"));
        }
        let query = head.body(reader)?;
        let range = query
            .statement
            .get(file_name_start as usize..file_name_end as usize);
        if range.is_none() || duplicate_handling > 2 {
            return Err(Reader::new(event).malformed(format_args!(
                "LOAD DATA with file name {file_name_start}..{file_name_end} of {} bytes, duplicate handling {duplicate_handling}",
                query.statement.len()
            )));
        }
        Ok(Self {
            query,
            file_id,
            file_name_start,
            file_name_end,
            duplicate_handling,
        })
    }

    pub(super) fn encode_body(&self, out: &mut Vec<u8>) {
        self.query.encode_head(None, out);
        out.extend_from_slice(&self.file_id.to_le_bytes());
        out.extend_from_slice(&self.file_name_start.to_le_bytes());
        out.extend_from_slice(&self.file_name_end.to_le_bytes());
        out.push(self.duplicate_handling);
        self.query.encode_tail(out);
    }
}
