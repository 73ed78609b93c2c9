//! The events that end transactions: Xid and XA_prepare.
//!
//! ```text
//! Xid         u64
//! XA_prepare  u8 one phase | u32 format id | u32 length a | u32 length b | a bytes gtrid | b bytes bqual
//! ```

use super::reader::Reader;
use super::{EventType, FormatDescription};
use crate::Result;

/// Longest part of an XA transaction's name.
const XID_PART_LENGTH: u32 = 64;

/// Commit of a transaction of transactional engines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct XidEvent {
    /// The source's own number of the transaction.
    pub xid: u64,
}

impl XidEvent {
    /// Reads `event` (without its checksum).
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`](crate::ErrorKind::Malformed).
    pub fn decode(format: &FormatDescription, event: &[u8]) -> Result<Self> {
        let mut reader = Reader::at(event, format.body_offset(EventType::XID))?;
        let xid = reader.u64("XID")?;
        Ok(Self { xid })
    }

    pub(super) fn encode_body(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.xid.to_le_bytes());
    }
}

/// XA PREPARE, or XA COMMIT ... ONE PHASE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct XaPrepareEvent<'a> {
    /// Whether it is a commit in one phase; else XA COMMIT or XA ROLLBACK follows some time later.
    pub one_phase: bool,
    /// Format id of the transaction's name.
    pub format_id: u32,
    /// Global part of the name.
    pub gtrid: &'a [u8],
    /// Branch qualifier of the name.
    pub bqual: &'a [u8],
}

impl<'a> XaPrepareEvent<'a> {
    /// Reads `event` (without its checksum).
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`](crate::ErrorKind::Malformed).
    pub fn decode(format: &FormatDescription, event: &'a [u8]) -> Result<Self> {
        let mut reader = Reader::at(event, format.body_offset(EventType::XA_PREPARE))?;
        let one_phase = reader.u8("one-phase flag")?;
        let format_id = reader.u32("format id")?;
        let gtrid_length = reader.u32("length of gtrid")?;
        let bqual_length = reader.u32("length of bqual")?;
        if gtrid_length > XID_PART_LENGTH || bqual_length > XID_PART_LENGTH {
            return Err(reader.malformed(format_args!(
                "XA name of {gtrid_length} and {bqual_length} bytes"
            )));
        }
        let gtrid = reader.take(gtrid_length as usize, "gtrid")?;
        let bqual = reader.take(bqual_length as usize, "bqual")?;
        Ok(Self {
            one_phase: one_phase != 0,
            format_id,
            gtrid,
            bqual,
        })
    }

    pub(super) fn encode_body(&self, out: &mut Vec<u8>) {
        out.push(u8::from(self.one_phase));
        out.extend_from_slice(&self.format_id.to_le_bytes());
        out.extend_from_slice(&(self.gtrid.len() as u32).to_le_bytes());
        out.extend_from_slice(&(self.bqual.len() as u32).to_le_bytes());
        out.extend_from_slice(self.gtrid);
        out.extend_from_slice(self.bqual);
    }
}
