//! Query events: statements.
//!
//! ```text
//! u32 thread id | u32 execution time | u8 length of the database | u16 error | u16 length of status
//! status variables: u8 code, value | database, NUL | statement to the end
//! ```

use super::reader::Reader;
use super::{EventType, FormatDescription};
use crate::Result;

/// Length of the fixed part in the first 5.0 servers, which had no status variables.
const POST_HEADER_WITHOUT_STATUS: usize = 11;

/// A statement, with the session settings it depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueryEvent<'a> {
    /// Connection that ran it.
    pub thread_id: u32,
    /// Seconds that it took.
    pub execution_time: u32,
    /// The error that it ended with on the source (changes to tables without transactions stay).
    pub error_code: u16,
    /// The status variables as they stand in the event; see [`QueryEvent::status`].
    pub status_bytes: &'a [u8],
    /// The session's default database; empty where it had none.
    pub database: &'a [u8],
    /// The statement, in the character set of the session.
    pub statement: &'a [u8],
}

/// A session setting of a [`QueryEvent`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum StatusVariable<'a> {
    /// Bits of `foreign_key_checks`, `unique_checks`, `sql_auto_is_null`, `autocommit`.
    Flags2(u32),
    /// `sql_mode`.
    SqlMode(u64),
    /// The catalog, always `std`.
    Catalog(&'a [u8]),
    /// `auto_increment_increment`, `auto_increment_offset`.
    AutoIncrement(u16, u16),
    /// Collations of client, connection and server.
    Charset {
        /// `character_set_client`.
        client: u16,
        /// `collation_connection`.
        connection: u16,
        /// `collation_server`.
        server: u16,
    },
    /// `time_zone`.
    TimeZone(&'a [u8]),
    /// `lc_time_names`, as a number.
    LcTimeNames(u16),
    /// Collation of the default database.
    CharsetDatabase(u16),
    /// Tables of a multi-table update, as a bitmap.
    TableMapForUpdate(u64),
    /// Obsolete.
    MasterDataWritten(u32),
    /// User and host that a CREATE of a stored object without DEFINER is for.
    Invoker {
        /// User name.
        user: &'a [u8],
        /// Host name.
        host: &'a [u8],
    },
    /// Databases that the statement changes; `None` where they were too many to list.
    UpdatedDatabases(Option<&'a [u8]>),
    /// Microseconds of the event's timestamp.
    Microseconds(u32),
    /// `explicit_defaults_for_timestamp`.
    ExplicitDefaultsForTimestamp(u8),
    /// The statement is an atomic DDL with this XID.
    DdlXid(u64),
    /// `default_collation_for_utf8mb4`.
    DefaultCollationForUtf8mb4(u16),
    /// `sql_require_primary_key`.
    SqlRequirePrimaryKey(u8),
    /// `default_table_encryption`.
    DefaultTableEncryption(u8),
    /// Whether cascading foreign keys run triggers (9.6 and later).
    EnableCascadeTriggers(u8),
}

impl<'a> QueryEvent<'a> {
    /// Reads the body of `event` (without its checksum).
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`](crate::ErrorKind::Malformed).
    #[inline]
    pub fn decode(format: &FormatDescription, event: &'a [u8]) -> Result<Self> {
        let reader = Reader::at(event, format.body_offset(EventType::QUERY))?;
        Self::read(reader, format.post_header_length(EventType::QUERY))
    }

    #[inline]
    pub(super) fn read(mut reader: Reader<'a>, post_header: Option<usize>) -> Result<Self> {
        let head = QueryHead::read(&mut reader, post_header)?;
        head.body(reader)
    }

    /// The session settings, in the order of the event. The reading ends before the first that is
    /// not known, since its length is not known either.
    pub fn status(&self) -> impl Iterator<Item = Result<StatusVariable<'a>>> {
        let mut reader = Reader::new(self.status_bytes);
        std::iter::from_fn(move || {
            if reader.is_empty() {
                return None;
            }
            let next = status_variable(&mut reader).transpose();
            if !matches!(next, Some(Ok(_))) {
                reader.take_rest();
            }
            next
        })
    }

    /// `sql_mode` of the session; 0 where the event does not say.
    pub fn sql_mode(&self) -> u64 {
        self.status()
            .find_map(|variable| match variable {
                Ok(StatusVariable::SqlMode(mode)) => Some(mode),
                _ => None,
            })
            .unwrap_or(0)
    }

    pub(super) fn encode_body(&self, format: &FormatDescription, out: &mut Vec<u8>) {
        self.encode_head(format.post_header_length(EventType::QUERY), out);
        self.encode_tail(out);
    }

    pub(super) fn encode_head(&self, post_header: Option<usize>, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.thread_id.to_le_bytes());
        out.extend_from_slice(&self.execution_time.to_le_bytes());
        out.push(self.database.len() as u8);
        out.extend_from_slice(&self.error_code.to_le_bytes());
        if post_header != Some(POST_HEADER_WITHOUT_STATUS) {
            out.extend_from_slice(&(self.status_bytes.len() as u16).to_le_bytes());
        }
    }

    pub(super) fn encode_tail(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.status_bytes);
        out.extend_from_slice(self.database);
        out.push(0);
        out.extend_from_slice(self.statement);
    }
}

/// The fixed part of a query event.
#[derive(Debug, Clone, Copy)]
pub(super) struct QueryHead {
    thread_id: u32,
    execution_time: u32,
    database_length: u8,
    error_code: u16,
    status_length: u16,
}

impl QueryHead {
    #[inline]
    pub(super) fn read(reader: &mut Reader<'_>, post_header: Option<usize>) -> Result<Self> {
        let mut front = reader.part(POST_HEADER_WITHOUT_STATUS, "fixed part of a statement")?;
        let thread_id = front.u32("thread id")?;
        let execution_time = front.u32("execution time")?;
        let database_length = front.u8("length of the database name")?;
        let error_code = front.u16("error code")?;
        let status_length = match post_header {
            Some(POST_HEADER_WITHOUT_STATUS) => 0,
            _ => reader.u16("length of the status variables")?,
        };
        Ok(Self {
            thread_id,
            execution_time,
            database_length,
            error_code,
            status_length,
        })
    }

    #[inline]
    pub(super) fn body(self, mut reader: Reader<'_>) -> Result<QueryEvent<'_>> {
        let status_bytes = reader.take(usize::from(self.status_length), "status variables")?;
        let database = reader.take(usize::from(self.database_length), "database name")?;
        if reader.u8("NUL behind the database name")? != 0 {
            return Err(reader.malformed("database name without its NUL"));
        }
        Ok(QueryEvent {
            thread_id: self.thread_id,
            execution_time: self.execution_time,
            error_code: self.error_code,
            status_bytes,
            database,
            statement: reader.take_rest(),
        })
    }
}

fn status_variable<'a>(reader: &mut Reader<'a>) -> Result<Option<StatusVariable<'a>>> {
    /// In place of a count: the databases were more than 16.
    const TOO_MANY_DATABASES: u8 = 254;
    const MOST_DATABASES: u8 = 16;
    let what = "status variable";
    let text = |reader: &mut Reader<'a>| {
        let length = reader.u8(what)?;
        reader.take(usize::from(length), what)
    };
    Ok(Some(match reader.u8(what)? {
        0 => StatusVariable::Flags2(reader.u32(what)?),
        1 => StatusVariable::SqlMode(reader.u64(what)?),
        2 => {
            let catalog = text(reader)?;
            reader.u8(what)?;
            StatusVariable::Catalog(catalog)
        }
        3 => StatusVariable::AutoIncrement(reader.u16(what)?, reader.u16(what)?),
        4 => StatusVariable::Charset {
            client: reader.u16(what)?,
            connection: reader.u16(what)?,
            server: reader.u16(what)?,
        },
        5 => StatusVariable::TimeZone(text(reader)?),
        6 => StatusVariable::Catalog(text(reader)?),
        7 => StatusVariable::LcTimeNames(reader.u16(what)?),
        8 => StatusVariable::CharsetDatabase(reader.u16(what)?),
        9 => StatusVariable::TableMapForUpdate(reader.u64(what)?),
        10 => StatusVariable::MasterDataWritten(reader.u32(what)?),
        11 => StatusVariable::Invoker {
            user: text(reader)?,
            host: text(reader)?,
        },
        12 => match reader.u8(what)? {
            TOO_MANY_DATABASES => StatusVariable::UpdatedDatabases(None),
            count if count <= MOST_DATABASES => {
                let before = reader.rest();
                for _ in 0..count {
                    let Some(length) = reader.rest().iter().position(|byte| *byte == 0) else {
                        return Err(reader.malformed("database name without its NUL"));
                    };
                    reader.take(length + 1, what)?;
                }
                let length = before.len() - reader.rest().len();
                StatusVariable::UpdatedDatabases(before.get(..length))
            }
            count => return Err(reader.malformed(format_args!("list of {count} databases"))),
        },
        13 => StatusVariable::Microseconds(reader.u24(what)?),
        16 => StatusVariable::ExplicitDefaultsForTimestamp(reader.u8(what)?),
        17 => StatusVariable::DdlXid(reader.u64(what)?),
        18 => StatusVariable::DefaultCollationForUtf8mb4(reader.u16(what)?),
        19 => StatusVariable::SqlRequirePrimaryKey(reader.u8(what)?),
        20 => StatusVariable::DefaultTableEncryption(reader.u8(what)?),
        21 => StatusVariable::EnableCascadeTriggers(reader.u8(what)?),
        _ => return Ok(None),
    }))
}
