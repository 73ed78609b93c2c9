//! Events of Group Replication: view changes and certification data.
//!
//! ```text
//! View_change          40 view id, NUL-padded | u64 sequence number | u32 count
//!                      count * (u16 length, key | u32 length, value)
//! Transaction_context  u8 length of the uuid | u32 thread id | u8 GTID given | u32 length of snapshot
//!                      u32 write-set items | u32 read-set items | uuid | snapshot: a GTID set
//!                      (u16 length, item)* of the write set, then of the read set
//! ```

use super::format::before_nul;
use super::reader::Reader;
use super::{EventType, FormatDescription};
use crate::Result;

const VIEW_ID_LENGTH: usize = 40;

/// A view of the group was installed: members joined or left. Groups of 8.0 to 8.2 log it, between
/// a BEGIN and a COMMIT; newer ones do not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ViewChangeEvent<'a> {
    /// The view's id, as `<epoch>:<number>`.
    pub view_id: &'a [u8],
    /// Sequence number of certification.
    pub sequence_number: u64,
    /// How many entries the certification info has.
    pub certification_count: u32,
    view_id_field: &'a [u8],
    certification: &'a [u8],
}

impl<'a> ViewChangeEvent<'a> {
    /// Reads `event` (without its checksum).
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`](crate::ErrorKind::Malformed).
    pub fn decode(format: &FormatDescription, event: &'a [u8]) -> Result<Self> {
        let mut reader = Reader::at(event, format.body_offset(EventType::VIEW_CHANGE))?;
        let view_id_field = reader.take(VIEW_ID_LENGTH, "view id")?;
        let sequence_number = reader.u64("sequence number")?;
        let certification_count = reader.u32("size of the certification info")?;
        let view = Self {
            view_id: before_nul(view_id_field),
            sequence_number,
            certification_count,
            view_id_field,
            certification: reader.take_rest(),
        };
        for item in view.certification() {
            item?;
        }
        Ok(view)
    }

    /// The certification info, as `(hash of a row's key, GTID set in binary form)`. The key
    /// `gtid_extracted` holds the group's executed set.
    pub fn certification(&self) -> impl Iterator<Item = Result<(&'a [u8], &'a [u8])>> {
        let mut reader = Reader::new(self.certification);
        let mut left = self.certification_count;
        std::iter::from_fn(move || {
            left = left.checked_sub(1)?;
            let item = (|| {
                let length = reader.u16("length of a certification key")?;
                let key = reader.take(usize::from(length), "certification key")?;
                let length = reader.u32("length of a certification value")?;
                Ok((key, reader.take(length as usize, "certification value")?))
            })();
            if item.is_err() {
                left = 0;
            }
            Some(item)
        })
    }

    pub(super) fn encode_body(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.view_id_field);
        out.extend_from_slice(&self.sequence_number.to_le_bytes());
        out.extend_from_slice(&self.certification_count.to_le_bytes());
        out.extend_from_slice(self.certification);
    }
}

/// What certification needs to know about a transaction; travels inside a group only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransactionContextEvent<'a> {
    /// UUID of the server that ran it, as text.
    pub server_uuid: &'a [u8],
    /// Connection that ran it.
    pub thread_id: u32,
    /// Whether its GTID was given (`gtid_next`), not made.
    pub is_gtid_specified: bool,
    /// What the server had executed when it started: a GTID set in binary form.
    pub snapshot_version: &'a [u8],
    /// Number of items of the write set.
    pub write_set_count: u32,
    /// Number of items of the read set.
    pub read_set_count: u32,
    gtid_specified: u8,
    items: &'a [u8],
}

impl<'a> TransactionContextEvent<'a> {
    /// Reads `event` (without its checksum).
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`](crate::ErrorKind::Malformed).
    pub fn decode(format: &FormatDescription, event: &'a [u8]) -> Result<Self> {
        let start = format.body_offset(EventType::TRANSACTION_CONTEXT);
        let mut reader = Reader::at(event, start)?;
        let uuid_length = reader.u8("length of the server UUID")?;
        let thread_id = reader.u32("thread id")?;
        let gtid_specified = reader.u8("GTID flag")?;
        let snapshot_length = reader.u32("length of the snapshot version")?;
        let write_set_count = reader.u32("size of the write set")?;
        let read_set_count = reader.u32("size of the read set")?;
        let server_uuid = reader.take(usize::from(uuid_length), "server UUID")?;
        let snapshot_version = reader.take(snapshot_length as usize, "snapshot version")?;
        let context = Self {
            server_uuid,
            thread_id,
            is_gtid_specified: gtid_specified != 0,
            snapshot_version,
            write_set_count,
            read_set_count,
            gtid_specified,
            items: reader.take_rest(),
        };
        for item in context.items() {
            item?;
        }
        Ok(context)
    }

    /// The items of the write set, then those of the read set.
    pub fn items(&self) -> impl Iterator<Item = Result<&'a [u8]>> {
        let mut reader = Reader::new(self.items);
        let mut left = u64::from(self.write_set_count) + u64::from(self.read_set_count);
        std::iter::from_fn(move || {
            left = left.checked_sub(1)?;
            let item = reader
                .u16("length of a set item")
                .and_then(|length| reader.take(usize::from(length), "set item"));
            if item.is_err() {
                left = 0;
            }
            Some(item)
        })
    }

    pub(super) fn encode_body(&self, out: &mut Vec<u8>) {
        out.push(self.server_uuid.len() as u8);
        out.extend_from_slice(&self.thread_id.to_le_bytes());
        out.push(self.gtid_specified);
        out.extend_from_slice(&(self.snapshot_version.len() as u32).to_le_bytes());
        out.extend_from_slice(&self.write_set_count.to_le_bytes());
        out.extend_from_slice(&self.read_set_count.to_le_bytes());
        out.extend_from_slice(self.server_uuid);
        out.extend_from_slice(self.snapshot_version);
        out.extend_from_slice(self.items);
    }
}
