//! The events that begin a transaction: Gtid, Anonymous_Gtid and Gtid_tagged.
//!
//! ```text
//! Gtid, Anonymous_Gtid
//! u8 flags | 16 uuid | i64 gno | u8 2 | i64 last committed | i64 sequence number    (5.6: up to gno)
//! each of the rest only if there are bytes left:
//! u56 immediate commit timestamp; its top bit: u56 original commit timestamp follows
//! packed transaction length | u32 immediate server version; its top bit: u32 original one follows
//! u64 commit group ticket
//!
//! Gtid_tagged: a message of the serialization library, all numbers as in `varlen`
//! version 1 | size of the message | 1 + last field that must be known, or 0
//! (field id, value)*, ids ascending; fields with default values are left out
//! ```

use super::reader::{Reader, packed_length, put_packed};
use super::varlen;
use super::{EventHeader, EventType, FormatDescription};
use crate::gtid::{Gtid, Tag, Tsid, Uuid};
use crate::{Error, ErrorKind, Result};

/// The value of [`GtidEvent::immediate_server_version`] where it is not known.
pub const UNDEFINED_SERVER_VERSION: u32 = 999_999;

/// Marks in numbers of the untagged form that a second number follows.
const ORIGINAL_TIMESTAMP_FOLLOWS: u64 = 1 << 55;
const ORIGINAL_VERSION_FOLLOWS: u32 = 1 << 31;

/// The start of a transaction: its GTID, and how it may run beside others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GtidEvent {
    /// The GTID; the number is 0 in an anonymous one.
    pub gtid: Gtid,
    /// Bit 0: the transaction may have changes in statement format.
    pub flags: u8,
    /// Sequence number of the newest transaction of the same file that must be committed before
    /// this one starts; 0 where there is none.
    pub last_committed: i64,
    /// Number of this transaction in its file.
    pub sequence_number: i64,
    /// When it was committed on the server whose log this is, in microseconds since 1970.
    pub immediate_commit_timestamp: u64,
    /// When it was committed on the server that ran it first, in microseconds since 1970.
    pub original_commit_timestamp: u64,
    /// Bytes of the whole transaction in its file, this event and all checksums included; 0 where
    /// the source does not say.
    pub transaction_length: u64,
    /// Version of the server whose log this is, as 90704 for 9.7.4.
    pub immediate_server_version: u32,
    /// Version of the server that ran it first.
    pub original_server_version: u32,
    /// Ticket of the binary log group commit (inside Group Replication); 0 where there is none.
    pub commit_group_ticket: u64,
    form: Form,
}

/// In which of the forms an event came, so that it is written as it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// Gtid or Anonymous_Gtid, ending behind its last known part.
    Untagged {
        anonymous: bool,
        last_part: Part,
    },
    Tagged {
        last_non_ignorable: u64,
    },
}

/// The parts of the untagged form, each of which may be the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Gno,
    LogicalClock,
    Timestamps,
    Length,
    Versions,
    Ticket,
}

impl GtidEvent {
    /// The transaction may have changes in statement format.
    pub const MAY_HAVE_STATEMENTS: u8 = 1;

    /// A GTID event as mysqld 9.7 writes it: Gtid_tagged where the GTID has a tag, else Gtid. Times,
    /// versions and clock are to be set by the caller.
    pub fn new(gtid: Gtid) -> Self {
        let form = if gtid.tsid.tag.is_none() {
            Form::Untagged {
                anonymous: false,
                last_part: Part::Versions,
            }
        } else {
            Form::Tagged {
                last_non_ignorable: 0,
            }
        };
        Self {
            gtid,
            flags: 0,
            last_committed: 0,
            sequence_number: 0,
            immediate_commit_timestamp: 0,
            original_commit_timestamp: 0,
            transaction_length: 0,
            immediate_server_version: UNDEFINED_SERVER_VERSION,
            original_server_version: UNDEFINED_SERVER_VERSION,
            commit_group_ticket: 0,
            form,
        }
    }

    /// Reads the body of `event` (without its checksum).
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`]; [`ErrorKind::Unsupported`] where a message has a field that must be
    /// understood and is not.
    #[inline]
    pub fn decode(format: &FormatDescription, event: &[u8]) -> Result<Self> {
        let event_type = EventHeader::decode(event)?.event_type;
        let reader = Reader::at(event, format.body_offset(event_type))?;
        match event_type {
            EventType::GTID | EventType::ANONYMOUS_GTID => {
                Self::untagged(reader, event_type == EventType::ANONYMOUS_GTID)
            }
            EventType::GTID_TAGGED => Self::tagged(reader),
            other => Err(Error::new(
                ErrorKind::Malformed,
                format!("{other} event where a GTID event was expected"),
            )),
        }
    }

    /// [`decode`](Self::decode) of a Gtid event, as nearly all are. Put into its caller as it is, so that
    /// the fields go to where they are kept and not through memory on their way.
    #[inline(always)]
    pub(crate) fn decode_plain(format: &FormatDescription, event: &[u8]) -> Result<Self> {
        match Reader::at(event, format.header_length()) {
            Ok(reader) => Self::untagged(reader, false),
            Err(error) => Err(error),
        }
    }

    /// Whether the transaction has no GTID.
    pub fn is_anonymous(&self) -> bool {
        matches!(
            self.form,
            Form::Untagged {
                anonymous: true,
                ..
            }
        )
    }

    #[inline(always)]
    fn untagged(mut reader: Reader<'_>, anonymous: bool) -> Result<Self> {
        let mut front = reader.part(25, "flags and GTID")?;
        let flags = front.u8("GTID flags")?;
        let uuid = Uuid(front.bytes("GTID source")?);
        let gno = front.u64("GTID number")?;
        check_gno(gno, anonymous)?;
        let mut event = Self::new(Gtid {
            tsid: Tsid {
                uuid,
                tag: Tag::NONE,
            },
            gno,
        });
        event.flags = flags;
        let mut last_part = Part::Gno;
        // 5.7 before its release had another clock here: the type code tells.
        if reader.rest().first() == Some(&2) {
            last_part = Part::LogicalClock;
            let mut clock = reader.part(17, "logical clock")?;
            clock.u8("logical clock type")?;
            event.last_committed = clock.u64("last committed")? as i64;
            event.sequence_number = clock.u64("sequence number")? as i64;
            last_part = event.optional_parts(&mut reader)?.unwrap_or(last_part);
        }
        event.form = Form::Untagged {
            anonymous,
            last_part,
        };
        Ok(event)
    }

    /// Reads what newer servers added at the end, as far as it goes.
    #[inline(always)]
    fn optional_parts(&mut self, reader: &mut Reader<'_>) -> Result<Option<Part>> {
        if reader.rest().len() < 7 {
            return Ok(None);
        }
        let immediate = reader.u56("immediate commit timestamp")?;
        self.immediate_commit_timestamp = immediate & !ORIGINAL_TIMESTAMP_FOLLOWS;
        self.original_commit_timestamp = if immediate & ORIGINAL_TIMESTAMP_FOLLOWS == 0 {
            self.immediate_commit_timestamp
        } else {
            reader.u56("original commit timestamp")?
        };
        if reader.is_empty() {
            return Ok(Some(Part::Timestamps));
        }
        self.transaction_length = reader.packed("transaction length")?;
        if reader.rest().len() < 4 {
            return Ok(Some(Part::Length));
        }
        let immediate = reader.u32("immediate server version")?;
        self.immediate_server_version = immediate & !ORIGINAL_VERSION_FOLLOWS;
        self.original_server_version = if immediate & ORIGINAL_VERSION_FOLLOWS == 0 {
            self.immediate_server_version
        } else {
            reader.u32("original server version")?
        };
        if reader.rest().len() < 8 {
            return Ok(Some(Part::Versions));
        }
        self.commit_group_ticket = reader.u64("commit group ticket")?;
        Ok(Some(Part::Ticket))
    }

    fn tagged(mut reader: Reader<'_>) -> Result<Self> {
        let total = reader.rest().len() as u64;
        let version = varlen::unsigned(&mut reader, "message version")?;
        if version != 1 {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!("Gtid_tagged event in message version {version}"),
            ));
        }
        // The server computes the width of the size from the fields alone, so that the size may be
        // one too small near a step: the last field, of two bytes at least, begins before it all the
        // same. What is behind the message is passed over.
        let size = varlen::unsigned(&mut reader, "message size")?;
        if size > total + 1 {
            return Err(reader.malformed(format_args!(
                "message size {size} in a Gtid_tagged event of {total} bytes"
            )));
        }
        let last_non_ignorable = varlen::unsigned(&mut reader, "last field to be known")?;
        let mut fields = TaggedFields::default();
        let mut next_id = 0;
        while !reader.is_empty() && total - (reader.rest().len() as u64) < size {
            let id = varlen::unsigned(&mut reader, "field id")?;
            if id < next_id {
                return Err(reader.malformed(format_args!("field {id} out of its order")));
            }
            next_id = id.saturating_add(1);
            if !fields.read(id, &mut reader)? {
                if id < last_non_ignorable {
                    return Err(Error::new(
                        ErrorKind::Unsupported,
                        format!("field {id} of a Gtid_tagged event"),
                    ));
                }
                break;
            }
        }
        fields.finish(last_non_ignorable)
    }

    /// Appends the body in the form in which the event came.
    pub(crate) fn encode_body(&self, out: &mut Vec<u8>) {
        match self.form {
            Form::Untagged { last_part, .. } => self.encode_untagged(last_part, out),
            Form::Tagged { last_non_ignorable } => self.encode_tagged(last_non_ignorable, out),
        }
    }

    /// The body in that form.
    pub(crate) fn body(&self) -> Vec<u8> {
        let mut body = Vec::with_capacity(192);
        self.encode_body(&mut body);
        body
    }

    /// The type of the event in that form.
    pub fn event_type(&self) -> EventType {
        match self.form {
            Form::Untagged {
                anonymous: true, ..
            } => EventType::ANONYMOUS_GTID,
            Form::Untagged { .. } => EventType::GTID,
            Form::Tagged { .. } => EventType::GTID_TAGGED,
        }
    }

    fn encode_untagged(&self, last_part: Part, out: &mut Vec<u8>) {
        out.push(self.flags);
        out.extend_from_slice(&self.gtid.tsid.uuid.0);
        out.extend_from_slice(&self.gtid.gno.to_le_bytes());
        if last_part == Part::Gno {
            return;
        }
        out.push(2);
        out.extend_from_slice(&self.last_committed.to_le_bytes());
        out.extend_from_slice(&self.sequence_number.to_le_bytes());
        if last_part >= Part::Timestamps {
            let same = self.immediate_commit_timestamp == self.original_commit_timestamp;
            if same {
                put_u56(self.immediate_commit_timestamp, out);
            } else {
                put_u56(
                    self.immediate_commit_timestamp | ORIGINAL_TIMESTAMP_FOLLOWS,
                    out,
                );
                put_u56(self.original_commit_timestamp, out);
            }
        }
        if last_part >= Part::Length {
            put_packed(self.transaction_length, out);
        }
        if last_part >= Part::Versions {
            let immediate = self.immediate_server_version;
            if immediate == self.original_server_version {
                out.extend_from_slice(&immediate.to_le_bytes());
            } else {
                out.extend_from_slice(&(immediate | ORIGINAL_VERSION_FOLLOWS).to_le_bytes());
                out.extend_from_slice(&self.original_server_version.to_le_bytes());
            }
        }
        if last_part >= Part::Ticket {
            out.extend_from_slice(&self.commit_group_ticket.to_le_bytes());
        }
    }

    fn encode_tagged(&self, last_non_ignorable: u64, out: &mut Vec<u8>) {
        let mut fields = Vec::with_capacity(160);
        TaggedFields::write(self, &mut fields);
        let rest = 1 + varlen::unsigned_length(last_non_ignorable) + fields.len();
        // The server's own rule: the width of the size is that of the size without itself.
        let size = rest + varlen::unsigned_length(rest as u64);
        varlen::put_unsigned(1, out);
        varlen::put_unsigned(size as u64, out);
        varlen::put_unsigned(last_non_ignorable, out);
        out.extend_from_slice(&fields);
    }

    /// Bytes of the body in that form.
    fn body_length(&self) -> usize {
        self.body().len()
    }

    /// Sets [`transaction_length`](Self::transaction_length) so that it covers this event, with a
    /// checksum of `checksum_size` bytes, and `rest` bytes of events behind it. (The length of the
    /// field is part of the length.)
    pub fn set_transaction_length(&mut self, rest: u64, checksum_size: usize) {
        for _ in 0..4 {
            let own = EventHeader::SIZE + self.body_length() + checksum_size;
            let total = rest + own as u64;
            if total == self.transaction_length {
                return;
            }
            self.transaction_length = total;
        }
        debug_assert!(packed_length(self.transaction_length) <= 9);
    }
}

fn put_u56(value: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(value.to_le_bytes().get(..7).unwrap_or_default());
}

#[inline]
fn check_gno(gno: u64, anonymous: bool) -> Result<()> {
    let good = if anonymous {
        gno == 0
    } else {
        (1..=crate::gtid::MAX_GNO).contains(&gno)
    };
    if good {
        Ok(())
    } else {
        Err(Error::new(
            ErrorKind::Malformed,
            format!("GTID number {} in a GTID event", gno as i64),
        ))
    }
}

/// The fields of a Gtid_tagged event while it is read.
#[derive(Default)]
struct TaggedFields {
    flags: u8,
    uuid: [u8; 16],
    gno: i64,
    tag: Option<Tag>,
    last_committed: i64,
    sequence_number: i64,
    immediate_commit_timestamp: u64,
    original_commit_timestamp: Option<u64>,
    transaction_length: u64,
    immediate_server_version: Option<u32>,
    original_server_version: Option<u32>,
    commit_group_ticket: u64,
}

/// Field ids of Gtid_tagged.
mod field {
    pub(super) const FLAGS: u64 = 0;
    pub(super) const UUID: u64 = 1;
    pub(super) const GNO: u64 = 2;
    pub(super) const TAG: u64 = 3;
    pub(super) const LAST_COMMITTED: u64 = 4;
    pub(super) const SEQUENCE_NUMBER: u64 = 5;
    pub(super) const IMMEDIATE_COMMIT_TIMESTAMP: u64 = 6;
    pub(super) const ORIGINAL_COMMIT_TIMESTAMP: u64 = 7;
    pub(super) const TRANSACTION_LENGTH: u64 = 8;
    pub(super) const IMMEDIATE_SERVER_VERSION: u64 = 9;
    pub(super) const ORIGINAL_SERVER_VERSION: u64 = 10;
    pub(super) const COMMIT_GROUP_TICKET: u64 = 11;
}

impl TaggedFields {
    /// Reads field `id`; false where it is not known.
    fn read(&mut self, id: u64, reader: &mut Reader<'_>) -> Result<bool> {
        match id {
            field::FLAGS => self.flags = small(reader, "GTID flags")?,
            field::UUID => {
                for byte in &mut self.uuid {
                    *byte = small(reader, "GTID source")?;
                }
            }
            field::GNO => self.gno = varlen::signed(reader, "GTID number")?,
            field::TAG => {
                let length = varlen::unsigned(reader, "tag length")?;
                let text = reader.take_u64(length, "tag")?;
                if !text.is_empty() {
                    let tag = Tag::new(text);
                    self.tag = Some(tag.ok_or_else(|| reader.malformed("no valid tag"))?);
                }
            }
            field::LAST_COMMITTED => {
                self.last_committed = varlen::signed(reader, "last committed")?
            }
            field::SEQUENCE_NUMBER => {
                self.sequence_number = varlen::signed(reader, "sequence number")?;
            }
            field::IMMEDIATE_COMMIT_TIMESTAMP => {
                self.immediate_commit_timestamp =
                    varlen::unsigned(reader, "immediate commit timestamp")?;
            }
            field::ORIGINAL_COMMIT_TIMESTAMP => {
                self.original_commit_timestamp =
                    Some(varlen::unsigned(reader, "original commit timestamp")?);
            }
            field::TRANSACTION_LENGTH => {
                self.transaction_length = varlen::unsigned(reader, "transaction length")?;
            }
            field::IMMEDIATE_SERVER_VERSION => {
                self.immediate_server_version = Some(small(reader, "immediate server version")?);
            }
            field::ORIGINAL_SERVER_VERSION => {
                self.original_server_version = Some(small(reader, "original server version")?);
            }
            field::COMMIT_GROUP_TICKET => {
                self.commit_group_ticket = varlen::unsigned(reader, "commit group ticket")?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn finish(self, last_non_ignorable: u64) -> Result<GtidEvent> {
        let gno = u64::try_from(self.gno).unwrap_or(0);
        check_gno(gno, false)?;
        let immediate_server_version = self
            .immediate_server_version
            .unwrap_or(UNDEFINED_SERVER_VERSION);
        Ok(GtidEvent {
            gtid: Gtid {
                tsid: Tsid {
                    uuid: Uuid(self.uuid),
                    tag: self.tag.unwrap_or(Tag::NONE),
                },
                gno,
            },
            flags: self.flags,
            last_committed: self.last_committed,
            sequence_number: self.sequence_number,
            immediate_commit_timestamp: self.immediate_commit_timestamp,
            original_commit_timestamp: self
                .original_commit_timestamp
                .unwrap_or(self.immediate_commit_timestamp),
            transaction_length: self.transaction_length,
            immediate_server_version,
            original_server_version: self
                .original_server_version
                .unwrap_or(immediate_server_version),
            commit_group_ticket: self.commit_group_ticket,
            form: Form::Tagged { last_non_ignorable },
        })
    }

    fn write(event: &GtidEvent, out: &mut Vec<u8>) {
        let unsigned = |id: u64, value: u64, out: &mut Vec<u8>| {
            varlen::put_unsigned(id, out);
            varlen::put_unsigned(value, out);
        };
        let signed = |id: u64, value: i64, out: &mut Vec<u8>| {
            varlen::put_unsigned(id, out);
            varlen::put_signed(value, out);
        };
        unsigned(field::FLAGS, u64::from(event.flags), out);
        varlen::put_unsigned(field::UUID, out);
        for byte in event.gtid.tsid.uuid.0 {
            varlen::put_unsigned(u64::from(byte), out);
        }
        signed(field::GNO, event.gtid.gno as i64, out);
        let tag = event.gtid.tsid.tag.as_str();
        unsigned(field::TAG, tag.len() as u64, out);
        out.extend_from_slice(tag.as_bytes());
        signed(field::LAST_COMMITTED, event.last_committed, out);
        signed(field::SEQUENCE_NUMBER, event.sequence_number, out);
        let immediate = event.immediate_commit_timestamp;
        unsigned(field::IMMEDIATE_COMMIT_TIMESTAMP, immediate, out);
        if event.original_commit_timestamp != immediate {
            let original = event.original_commit_timestamp;
            unsigned(field::ORIGINAL_COMMIT_TIMESTAMP, original, out);
        }
        unsigned(field::TRANSACTION_LENGTH, event.transaction_length, out);
        let immediate = event.immediate_server_version;
        unsigned(field::IMMEDIATE_SERVER_VERSION, u64::from(immediate), out);
        if event.original_server_version != immediate {
            let original = u64::from(event.original_server_version);
            unsigned(field::ORIGINAL_SERVER_VERSION, original, out);
        }
        if event.commit_group_ticket != 0 {
            unsigned(field::COMMIT_GROUP_TICKET, event.commit_group_ticket, out);
        }
    }
}

/// A number whose type is smaller than 64 bits.
fn small<T: TryFrom<u64>>(reader: &mut Reader<'_>, what: &str) -> Result<T> {
    let value = varlen::unsigned(reader, what)?;
    T::try_from(value).map_err(|_| reader.malformed(format_args!("{what} {value}")))
}
